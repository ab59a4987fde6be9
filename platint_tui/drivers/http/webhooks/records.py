"""What events are records of, as the manifest's `webhooks.map` says. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from platint_tui.core.errors import PlatintError, SystemicError
from platint_tui.core.events import Event, NewEvent
from platint_tui.core.jsoncut import cut
from platint_tui.core.jsontext import dumps, loads, split_page
from platint_tui.core.model import Json, Op
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.webhooks.views import MASK, form_of, is_form
from platint_tui.manifest.feeds import events_stream
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.template import lookup, render_body
from platint_tui.manifest.webhooks import EventMap, Webhooks


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A record that an event holds: the stream, its exact JSON text and the same decoded.

    `fault` says why it is no record after all (then `value` is empty); `partial` that it has some of its fields only.
    """

    resource: str
    raw: str
    value: dict[str, Any]
    op: Op = Op.UPSERT
    partial: bool = False
    fault: str = ""


def records_of(connector: Connector, event: Event | NewEvent) -> list[EventRecord]:
    """The records that an event holds, one of each resource that its type belongs to (several for a list).

    An event whose body is not JSON, or that has nothing where the manifest says, holds none. What is there but is no
    record (no object, a name twice in one object, a text that cannot be kept) comes with its `fault`.
    """
    webhooks = connector.webhooks
    if webhooks is None:
        return []
    entries = [entry for entry, fits in _entries(webhooks) if fits(event.type)]
    if not entries:
        return []
    text = document_of(webhooks, event)
    result: list[EventRecord] = []
    done: set[str] = set()
    for entry in entries:
        if entry.resource not in done and text is not None:
            found = _records(entry, text)
            result += found
            if found:
                done.add(entry.resource)
    return result


def event_record(connector: Connector, event: Event) -> EventRecord:
    """The event itself as a record of its stream: {id, type, time, received, profile, body, headers}.

    `body` is the JSON value exactly as it came, a text where it is none, or {base64: ...} where it is no text.
    Times are epoch milliseconds.
    """
    text = document_of(connector.webhooks, event)
    body: Json
    try:
        body = loads(text) if text is not None else None
        raw = text.strip() if text is not None else "null"
    except SystemicError:
        body, raw = text, dumps(text)
    if text is None and event.body:
        try:
            body = event.body.decode()
        except UnicodeDecodeError:
            body = {"base64": base64.b64encode(event.body).decode()}
        raw = dumps(body)
    head = {
        "id": event.event_id,
        "type": event.type,
        "time": event.occurred_ms,
        "received": event.received_ms,
        "profile": event.profile,
    }
    headers = dict(event.headers)
    value = {**head, "body": body, "headers": headers}
    exact = f'{dumps(head)[:-1]},"body":{raw},"headers":{dumps(headers)}}}'
    return EventRecord(events_stream(connector), exact, value)


def document_of(webhooks: Webhooks | None, event: Event | NewEvent) -> str | None:
    """The JSON text of an event: its body, the parameter of a form that holds it, or the form as an object; of an
    event without a body the parameters of its address (those that are no secret). None when the body is no text.
    """
    if not event.body:
        query = form_of(event.target.partition("?")[2])
        shown = {name: value for name, value in query.items() if value != MASK}
        return dumps(shown) if shown else None
    try:
        text = event.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    content_type = next((value for name, value in event.headers if name == "content-type"), "")
    if not is_form(content_type):
        return text
    form = form_of(text)
    for shape in webhooks.event if webhooks else ():
        if shape.payload and shape.payload in form:
            return form[shape.payload]
    return dumps(form)


def _records(entry: EventMap, text: str) -> list[EventRecord]:
    try:
        raw = cut(text, entry.record.split(".") if entry.record else ())
        if raw is None or raw == "null":
            return []
        if entry.encoded is not None:
            raw = _unpacked(loads(raw), entry.encoded)
            raw = cut(raw, ()) if raw else None
            if raw is None:
                return []
        if raw[:1] != "[":
            return _record(entry, raw, text)
        return [one for part in split_page(raw, ())[1] for one in _record(entry, part.raw, text)]
    except (ValueError, RecursionError, SystemicError):
        return []


def _record(entry: EventMap, raw: str, whole: str) -> list[EventRecord]:
    op = Op.DELETE if entry.op == "delete" else Op.UPSERT
    try:
        value = loads(raw)
    except SystemicError as error:
        return [EventRecord(entry.resource, raw, {}, op, entry.partial, error.message)]
    if not all(body_holds(test, value) for test in entry.when):
        return []
    if entry.fields:
        try:
            value = render_body(entry.fields, {"record": value, "parent": _parent(entry, whole)})
        except PlatintError as error:
            return [EventRecord(entry.resource, raw, {}, op, entry.partial, error.message)]
        raw = dumps(value)
    if not isinstance(value, Mapping):
        return [
            EventRecord(entry.resource, raw, {}, op, entry.partial, "A record is an object; this is not.")
        ]
    name = entry.resource
    if entry.of is not None:
        member = lookup(value, entry.of)
        if not isinstance(member, str) or not member:
            return [EventRecord(name, raw, {}, op, entry.partial, f"There is no name at '{entry.of}'.")]
        name = name.removesuffix("*") + member
    return [EventRecord(name, raw, dict(value), op, entry.partial)]


def _parent(entry: EventMap, whole: str) -> Json:
    """The whole document, decoded only where the fields of an entry use it."""
    return loads(whole) if any("${parent." in str(item) for item in entry.fields.values()) else None


def _unpacked(value: Json, encoded: str) -> str:
    """The text in an encoded value; '' when there is none."""
    if not isinstance(value, str):
        return ""
    return base64.b64decode(value, validate=True).decode() if encoded == "base64" else value


_Entries = tuple[tuple[EventMap, Callable[[str], object]], ...]
_ENTRIES: dict[int, tuple[Webhooks, _Entries]] = {}
_MAX_KEPT = 200


def _entries(webhooks: Webhooks) -> _Entries:
    """The entries of the map with the test of their types, compiled once."""
    known = _ENTRIES.get(id(webhooks))
    if known is not None and known[0] is webhooks:
        return known[1]
    entries = tuple(
        (entry, re.compile("|".join(translate(item) for item in entry.types)).match) for entry in webhooks.map
    )
    if len(_ENTRIES) >= _MAX_KEPT:
        _ENTRIES.clear()
    _ENTRIES[id(webhooks)] = (webhooks, entries)
    return entries
