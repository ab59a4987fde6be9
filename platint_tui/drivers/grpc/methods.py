"""How methods are read and written: by what the manifest says, or by the conventions of listings.

A method is a listing (https://google.aip.dev/132, https://google.aip.dev/158) when its answer has one repeated
message and a `next_page_token`, and its request a `page_token`; or one repeated message, and its name says `List`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.grpc.messages import field_of, is_map
from platint_tui.drivers.grpc.reflection import Described, Method
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.sources import Call, PageTokens, Send, Source

_TOKENS = PageTokens()
_USUAL = Source(modes=("snapshot",))
_KEYS = ("id", "name", "uid")


@dataclass(frozen=True, slots=True)
class Reading:
    """A method that is read. `path` leads to the repeated field with the records (none: the answer is one), `record`
    describes a record.
    """

    method: Method
    call: Call
    path: tuple[FieldDescriptor, ...]
    record: Descriptor
    source: Source


@dataclass(frozen=True, slots=True)
class Writing:
    """A method that is called for each row: `path` leads to the field of the request that holds the row."""

    method: Method
    send: Send
    path: tuple[FieldDescriptor, ...]

    @property
    def row(self) -> Descriptor:
        """The message that a row becomes."""
        return (self.path[-1].message_type if self.path else None) or self.method.input


def source_of(connector: Connector, stream: str) -> Source:
    """What the manifest says of reading a stream."""
    return resource(connector, stream).source or _USUAL


def reading_of(described: Described, connector: Connector, stream: str, where: str) -> Reading:
    """How a stream is read. Raises ConfigError when there is no such method, or nobody says how it is called."""
    source = source_of(connector, stream)
    call = source.call
    method = described.method((call.method if call else None) or stream, where)
    if method.sends_many:
        raise ConfigError(
            f"'{clean(stream)}' takes a stream of requests; only methods with one request are read.",
            where=where,
            code="client_streaming",
        )
    call = call or convention(method)
    if call is None:
        raise ConfigError(
            f"Nothing says that '{clean(stream)}' only reads: it is no listing by its messages.",
            where=where,
            hint="Say `source: {call: {method: …, request: …, records: …}}` for it in a manifest of your own.",
            code="call_unknown",
        )
    path = _path(method.output, call.records, where) if call.records else ()
    if path and (not path[-1].is_repeated or path[-1].message_type is None or is_map(path[-1])):
        raise ConfigError(
            f"'{clean(call.records or '')}' of {method.output.full_name} is no list of messages.",
            where=where,
            hint="Correct `records` of the call in the manifest.",
        )
    record = (path[-1].message_type if path else None) or method.output
    return Reading(method, call, path, record, source)


def writing_of(described: Described, connector: Connector, target: str, where: str) -> Writing:
    """How rows are sent to a target. Raises ConfigError."""
    sink = resource(connector, target).sink
    send = (sink.call if sink else None) or Send()
    method = described.method(send.method or target, where)
    if method.sends_many or method.gives_many:
        raise ConfigError(
            f"'{clean(target)}' is a stream; rows are sent by methods with one request and one answer.",
            where=where,
            code="not_unary",
        )
    path = _path(method.input, send.row, where) if send.row else ()
    if path and (path[-1].is_repeated or path[-1].message_type is None):
        raise ConfigError(
            f"'{clean(send.row or '')}' of {method.input.full_name} is no message that could hold a row.",
            where=where,
            hint="Correct `row` of the call in the manifest.",
        )
    return Writing(method, send, path)


def _path(descriptor: Descriptor, dotted: str, where: str) -> tuple[FieldDescriptor, ...]:
    found: list[FieldDescriptor] = []
    inside: Descriptor | None = descriptor
    for name in dotted.split("."):
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            raise ConfigError(
                f"The messages of the server have no field '{clean(dotted)}'.",
                where=where,
                hint="Correct the path in the manifest.",
                code="no_field",
            )
        found.append(field)
        inside = field.message_type
    return tuple(found)


def convention(method: Method) -> Call | None:
    """How a method is called that nobody described further; None for one that may change something."""
    lists = [
        field
        for field in method.output.fields
        if field.is_repeated and field.message_type is not None and not is_map(field)
    ]
    tokens = _TOKENS.token in method.input.fields_by_name and _TOKENS.next in method.output.fields_by_name
    named = method.name.rpartition("/")[2].startswith("List")
    if len(lists) == 1 and not method.gives_many and (tokens or named or method.safe):
        return Call(records=lists[0].name, page=_TOKENS if tokens else None)
    return Call() if method.gives_many or method.safe else None


def streams(described: Described, connector: Connector, where: str) -> list[Stream]:
    """Every method as a stream, those of the manifest under their own names."""
    named: dict[str, str] = {}
    for name, item in connector.resources.items():
        for call in (item.source and item.source.call, item.sink and item.sink.call):
            if call and call.method:
                named[call.method] = name
    return [
        _stream(described, connector, named.get(method.name, method.name), method, where)
        for method in described.methods.values()
    ]


def _stream(described: Described, connector: Connector, name: str, method: Method, where: str) -> Stream:
    notes: list[str] = []
    fields: tuple[Field, ...] = ()
    key: tuple[str, ...] = ()
    cursor = None
    source = source_of(connector, name)
    readable = False
    try:
        reading = reading_of(described, connector, name, where)
    except ConfigError as error:
        notes.append(error.message)
        fields = tuple(map(field_of, method.input.fields))
    else:
        readable = True
        own = {field.name for field in reading.record.fields}
        fields = tuple(map(field_of, reading.record.fields))
        key = (resource(connector, name).key or ()) or next(((item,) for item in _KEYS if item in own), ())
        cursor = reading.call.resume.record if reading.call.resume else None
        if reading.call.follow:
            notes.append("its answer does not end by itself: it is followed")
    writable = not (method.sends_many or method.gives_many or readable)
    facts: Mapping[str, Any] = {"request": method.input.full_name, "answer": method.output.full_name}
    return Stream(
        name,
        key,
        cursor,
        fields,
        readable=readable,
        writable=writable,
        notes=tuple(map(clean, notes)),
        kind="method",
        modes=source.modes if readable else (),
        facts=tuple(facts.items()),
    )
