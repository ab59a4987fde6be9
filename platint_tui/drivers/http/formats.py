"""The forms that answers have: their elements, and the document around them where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

from platint_tui.core.errors import SystemicError, TransientError
from platint_tui.core.jsontext import dumps, loads, split_page
from platint_tui.core.model import BadElement, Json, Record
from platint_tui.drivers.http.body import gunzip
from platint_tui.drivers.http.csvtext import split_csv
from platint_tui.drivers.http.xmltree import parse_xml

Form: TypeAlias = Literal["json", "ndjson", "csv", "xml"]
Elements: TypeAlias = list[Record | BadElement]

_ENDINGS: dict[str, Form] = {
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".xml": "xml",
}
_GZIP = b"\x1f\x8b"


class Shape(NamedTuple):
    """How an answer is written, and whether it is packed in itself."""

    form: Form
    gzip: bool


def shape_of(form: str, compression: str | None, url: str) -> Shape | None:
    """The shape of an answer; for the form `file` by the ending of the address. None when that is unknown."""
    if form in ("json", "ndjson", "csv", "xml"):
        return Shape(form, compression == "gzip")  # type: ignore[arg-type] # tested in the line above
    name = file_name(url).lower()
    packed = name.endswith(".gz")
    ending = name.removesuffix(".gz").rpartition(".")
    found = _ENDINGS.get(f".{ending[2]}") if ending[1] else None
    return Shape(found, packed or compression == "gzip") if found else None


def file_name(url: str) -> str:
    """The last part of an address's path; '' for a folder."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def unpacked(body: bytes, cap: int, host: str) -> bytes:
    """A body that is packed in itself, at most `cap` bytes of it. What is not packed stays as it is: a server
    may have unpacked it already. Raises SystemicError.
    """
    if not body.startswith(_GZIP):
        return body
    try:
        return gunzip(body, cap, host)
    except TransientError as error:
        # The same file comes again, however often it is asked for.
        raise SystemicError(error.message, code=error.code) from None


def text_of(body: bytes, where: str) -> str:
    """The text of a body. Raises SystemicError (code `encoding`)."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SystemicError(
            f"The text is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.",
            hint="It looks like UTF-16." if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "",
            where=where,
            code="encoding",
        ) from None


def split_lines(body: bytes, where: str) -> Elements:
    """A JSON document on each line (NDJSON); blank lines are left out, a broken one is a BadElement."""
    elements: Elements = []
    for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = line.strip(b" \t\r")
        if not line:
            continue
        try:
            value = loads(line, where)
        except SystemicError as error:
            elements.append(BadElement(line.decode("utf-8", "replace"), _reason(error)))
            continue
        elements.append(as_record(line.decode(), value))
    return elements


def split_tree(tree: Json, path: Sequence[str]) -> Elements:
    """The elements at a path of a tree, where each step, and the end, may be one or a list of them."""
    return [as_record(dumps(item), item) for item in leaves(tree, path)]


def leaves(value: Json, path: Sequence[str] = ()) -> Iterator[Json]:
    """What a path leads to where each step may be one or a list; null is nothing."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        yield from leaves(value.get(path[0]), path[1:])


def as_record(raw: str, value: Json) -> Record | BadElement:
    """An element as a record, when it is an object."""
    if type(value) is dict:
        return Record(raw, value)
    return BadElement(raw, "a record is an object, this is none")


def split_json(
    body: bytes, path: tuple[str, ...], optional: bool, where: str
) -> tuple[Mapping[str, Json] | None, Elements]:
    """The records of a JSON document and what is around them (see `jsontext.split_page`).

    `optional`: a document without the list, or with null there, has none.
    """
    try:
        return split_page(body, path, where)
    except SystemicError as error:
        if error.code != "records_path" or not optional:
            raise
        document = loads(body, where)
        if not isinstance(document, dict) or _present(document, path):
            raise
        return document, []


def _present(value: Json, path: Sequence[str]) -> bool:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else value
        if value is None:
            return False
    return True


def split_csv_body(body: bytes, delimiter: str, where: str) -> Elements:
    """The lines of a CSV (see `csvtext`)."""
    return split_csv(text_of(body, where), delimiter, where)


def xml_tree(body: bytes, host: str) -> Json:
    """The tree of an XML document (see `xmltree`)."""
    return parse_xml(body, host)


def _reason(error: SystemicError) -> str:
    text = error.message.rstrip(".")
    return text[:1].lower() + text[1:]
