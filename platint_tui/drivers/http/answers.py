"""From an answer to records: its form, what each element becomes, and which are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsoncut import cut
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, Record
from platint_tui.drivers.http import formats
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.formats import Elements, Shape
from platint_tui.drivers.http.matching import body_holds
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

_OK = (200, 203)
_EMPTY = (204, 205)
_PARTLY = 207
"""Of several things that were asked for by name some are not there (WebDAV, HubSpot); of one, that one."""


class Split(NamedTuple):
    """An answer taken apart: the document around the records, every element as it came, and what is given
    out. `ended` says that the answer closes the scan by itself.
    """

    envelope: Mapping[str, Json] | None
    elements: Sequence[Record | BadElement]
    given: Sequence[Record | BadElement]
    answer: Answer | None
    requests: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Splitter:
    """Takes the answers of one read apart. `cap` is the most bytes that a packed body may become."""

    read: schema.Read
    stream: str
    host: str
    parent: Json
    cap: int

    def split(self, answer: Answer, requests: int, shape: Shape) -> Split:
        """The records of an answer that is written as `shape` says.

        Raises SystemicError for what is none of the form that is expected.
        """
        if answer.status in _EMPTY:
            return self._empty(answer, requests)
        partly = answer.status == _PARTLY and self.read.single
        if answer.status not in _OK and not partly:
            raise SystemicError(
                f"{self.host} answered {answer.status} where a page of records is expected.",
                where=self.stream,
                code="unexpected_status",
            )
        envelope, elements = self._elements(answer, shape)
        if self.read.scalar:
            elements = [_wrapped(item, self.read.scalar) for item in elements]
        return Split(envelope, elements, self._given(elements), answer, requests, ended=self.read.single)

    def _empty(self, answer: Answer, requests: int) -> Split:
        read = self.read
        if read.page.stop_on_empty or read.optional or read.format in ("ndjson", "csv", "file"):
            return Split(None, (), (), answer, requests, ended=True)
        raise SystemicError(
            f"{self.host} answered {answer.status} (no content) where records are expected.",
            hint="If that means the end, say stop_on_empty in the manifest.",
            where=self.stream,
            code="no_content",
        )

    def _elements(self, answer: Answer, shape: Shape) -> tuple[Mapping[str, Json] | None, Elements]:
        read = self.read
        path = tuple(read.records.split(".")) if read.records else ()
        body = formats.unpacked(answer.body, self.cap, self.host) if shape.gzip else answer.body
        if not body and (shape.form in ("ndjson", "csv") or read.format == "file"):
            return None, []
        if shape.form == "json":
            expect_json(body, "" if shape.gzip else answer.headers.get("content-type", ""), self.host)
            return self._json(body, path)
        if shape.form == "ndjson":
            return None, formats.split_lines(body, self.stream)
        if shape.form == "csv":
            return None, formats.split_csv_body(body, read.csv.delimiter, self.stream)
        if not body:
            raise SystemicError(
                f"{self.host} answered with an empty body where XML is expected.", code="empty_body"
            )
        tree = formats.xml_tree(body, self.host)
        envelope = tree if isinstance(tree, Mapping) else None
        if read.entries:
            return envelope, _members(lookup(tree, path), read)
        return envelope, formats.split_tree(tree, path)

    def _json(self, body: bytes, path: tuple[str, ...]) -> tuple[Mapping[str, Json] | None, Elements]:
        read = self.read
        if read.single:
            return None, self._one(body, path)
        if not read.entries:
            return formats.split_json(body, path, read.optional, self.stream)
        document = loads(body, self.stream)
        found = lookup(document, path)
        if found is None and read.optional:
            found = {}
        if not isinstance(found, Mapping):
            raise SystemicError(
                f"An object whose members are records is expected at '{read.records or 'the document'}'.",
                where=self.stream,
                code="records_path",
            )
        return document if isinstance(document, Mapping) else None, _members(found, read)

    def _one(self, body: bytes, path: tuple[str, ...]) -> Elements:
        """The answer, or the value at `path` in it, as the one record that it is, by the same splitter, so that its
        exact text is kept. With `optional` it may be null, not there, or a list, whose elements are the records."""
        text = body.removeprefix(b"\xef\xbb\xbf").strip()
        if path:
            try:
                text = (cut(formats.text_of(text, self.stream), path) or "null").encode(
                    "utf-8", "surrogatepass"
                )
            except (ValueError, RecursionError):
                raise SystemicError("The answer is not JSON.", where=self.stream, code="json") from None
        if self.read.optional and text == b"null":
            return []
        listed = self.read.optional and text[:1] == b"["
        _, elements = formats.split_json(text if listed else b"[" + text + b"]", (), False, self.stream)
        if not listed and len(elements) != 1:
            raise SystemicError("The answer is not one JSON document.", where=self.stream, code="json")
        return elements

    def _given(self, elements: Elements) -> Sequence[Record | BadElement]:
        read = self.read
        given: Sequence[Record | BadElement] = elements
        if read.skip:
            given = [
                item
                for item in given
                if not isinstance(item, Record) or not any(body_holds(test, item.value) for test in read.skip)
            ]
        if read.from_parent and self.parent is not None:
            added = {name: lookup(self.parent, place) for name, place in read.from_parent.items()}
            text = dumps(added)[1:]
            given = [_with(item, added, text) if isinstance(item, Record) else item for item in given]
        return given


def _members(found: Json, read: schema.Read) -> Elements:
    """The members of an object as records, each with its own name in the member `entries`."""
    assert read.entries is not None
    elements: Elements = []
    for key, value in found.items() if isinstance(found, Mapping) else ():
        record = value
        if isinstance(value, Mapping) and value.get(read.entries, key) != key:
            reason = f"its own member '{read.entries}' is not its name, which the manifest puts there"
            elements.append(BadElement(dumps({key: value}), reason))
            continue
        if isinstance(value, Mapping):
            record = {**value, read.entries: key}
        elif read.scalar and value is not None and not isinstance(value, list):
            record = {read.entries: key, read.scalar: value}
        elements.append(formats.as_record(dumps(record), record))
    return elements


def _wrapped(item: Record | BadElement, name: str) -> Record | BadElement:
    """A plain value as an object with this one member, its text as it came."""
    if isinstance(item, Record):
        return item
    try:
        value = loads(item.raw)
    except SystemicError:
        return item
    if value is None or isinstance(value, Mapping | list):
        return item
    return Record(f"{{{dumps(name)}:{item.raw}}}", {name: value})


def _with(record: Record, added: Mapping[str, Json], text: str) -> Record:
    """A record with values of its parent; its own text stays as it came where no name is taken."""
    value = {**record.value, **added}
    if any(name in record.value for name in added):
        return Record(dumps(value), value)
    body = record.raw.rstrip()[:-1]
    return Record(f"{body},{text}" if record.value else f"{{{text}", value)
