"""What PostgreSQL writes for a value of each type, as JSON.

Snapshots (COPY in text form) and the feed of changes (pgoutput) both bring the text of the type's output function,
under the same session settings, and both go through here: a row has the same JSON whichever way it came. The forms
are those of `jsonvalues`.
"""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import asyncpg

from platint_tui.core.jsontext import dumps
from platint_tui.drivers.postgresql import jsonvalues


class Decoded(NamedTuple):
    """A value as compact JSON text, and decoded."""

    raw: str
    value: Any


Decoder = Callable[[str], Decoded]
"""From the text of a value that is not null. Raises RecordError for JSON that strict readers refuse."""

_TRUE, _FALSE = Decoded("true", True), Decoded("false", False)
_DIGITS = re.compile(r"-?[0-9]{1,300}")
_CLOCK = re.compile(r"(\d\d:\d\d:\d\d)(?:\.(\d+))?([+-]\d\d(?::\d\d)*)?")
_BOUNDS = re.compile(r"^(?:\[-?\d+:-?\d+\])+=")
_ESCAPED = re.compile(r"\\(.)", re.S)
_BOUND = re.compile(r'"((?:[^"\\]|\\.|"")*)"|([^",\\]*)', re.S)
_FLOAT4 = struct.Struct(">f")
NULL = Decoded("null", None)


def text(value: str) -> Decoded:
    """The text itself."""
    return Decoded(encode_basestring(value), value)


def boolean(value: str) -> Decoded:
    """`t` or `f`."""
    return _TRUE if value == "t" else _FALSE


def integer(value: str) -> Decoded:
    """A whole number."""
    return Decoded(value, int(value))


def numeric(value: str) -> Decoded:
    """All digits that the server has."""
    if _DIGITS.fullmatch(value):
        return Decoded(value, int(value))
    return _number(jsonvalues.numeric(Decimal(value)))


def double(value: str) -> Decoded:
    """The shortest text that is read back as the same number."""
    return _number(jsonvalues.float8(float(value)))


def real(value: str) -> Decoded:
    """As `double`, in single precision."""
    return _number(jsonvalues.float4(_FLOAT4.unpack(_FLOAT4.pack(float(value)))[0]))


def _number(value: int | float | Decimal | str) -> Decoded:
    return text(value) if isinstance(value, str) else Decoded(str(value), value)


def moment(value: str) -> Decoded:
    """`2026-01-02 03:04:05.678+00`, with the T, the digits and the offset of ISO 8601."""
    day, blank, rest = value.partition(" ")
    if not blank or rest == "BC":
        return text(value)
    clock, _, era = rest.partition(" ")
    return text(f"{day}T{_clock(clock)}{' BC' if era else ''}")


def clock(value: str) -> Decoded:
    """A time of day."""
    return text(_clock(value))


def _clock(value: str) -> str:
    match = _CLOCK.fullmatch(value)
    if match is None:
        return value
    time, fraction, zone = match.groups()
    if fraction:
        time = f"{time}.{fraction:0<6}"
    return time if zone is None else f"{time}{zone}{':00' if len(zone) == 3 else ''}"


def binary(value: str) -> Decoded:
    """Bytes in hexadecimal digits, as base64."""
    return text(b64encode(bytes.fromhex(value[2:])).decode())


def document(value: str) -> Decoded:
    """JSON, compact."""
    found = jsonvalues.document(value)
    return Decoded(dumps(found), found)


def array_of(element: Decoder, delimiter: str = ",") -> Decoder:
    """Lists, nested like the array."""
    # What is not in quotes holds neither blanks, braces, backslashes nor the delimiter.
    tokens = re.compile(r'[{}]|"((?:[^"\\]|\\.)*)"|[^{}"' + re.escape(delimiter) + "]+", re.S)

    def array(value: str) -> Decoded:
        parts: list[str] = []
        lists: list[list[Any]] = [[]]
        for match in tokens.finditer(_BOUNDS.sub("", value)):
            part, inside = match.group(), match.group(1)
            if part == "}":
                parts.append("]")
                lists.pop()
                continue
            if parts and parts[-1] != "[":
                parts.append(",")
            if part == "{":
                parts.append("[")
                inner: list[Any] = []
                lists[-1].append(inner)
                lists.append(inner)
            elif inside is None and part == "NULL":
                parts.append("null")
                lists[-1].append(None)
            else:
                raw, item = element(part if inside is None else _ESCAPED.sub(r"\1", inside))
                parts.append(raw)
                lists[-1].append(item)
        return Decoded("".join(parts), lists[0][0])

    return array


def range_of(element: Decoder) -> Decoder:
    """A range, or several in braces, as text; the bounds have the forms of their type."""

    def ranges(value: str) -> Decoded:
        several = value.startswith("{")
        body = value[1:-1] if several else value
        found: list[str] = []
        at = 0
        while at < len(body):
            item, at = _range(body, at, element)
            found.append(item)
            at += 1
        return text("{" + ",".join(found) + "}" if several else found[0])

    return ranges


def _range(body: str, at: int, element: Decoder) -> tuple[str, int]:
    """One range that begins at `at`, and where it ends."""
    if body.startswith("empty", at):
        return "empty", at + 5
    lower, middle = _bound(body, at + 1, ",", element)
    upper, end = _bound(body, middle + 1, ")]", element)
    closed = body[end] == "]"
    return jsonvalues.range_text(lower, upper, lower_inc=body[at] == "[", upper_inc=closed), end + 1


def _bound(body: str, at: int, ends: str, element: Decoder) -> tuple[Any, int]:
    if body[at] == '"':
        match = _BOUND.match(body, at)
        assert match is not None
        inside = match[1].replace('""', '"')
        return element(_ESCAPED.sub(r"\1", inside)).value, match.end()
    end = next(place for place in range(at, len(body)) if body[place] in ends)
    return (element(body[at:end]).value if end > at else None), end


_Known = tuple[Decoder, str]
_BY_NAME: Mapping[str, _Known] = {
    "bool": (boolean, "boolean"),
    "int2": (integer, "integer"),
    "int4": (integer, "integer"),
    "int8": (integer, "integer"),
    "oid": (integer, "integer"),
    "numeric": (numeric, "number"),
    "float4": (real, "number"),
    "float8": (double, "number"),
    "timestamp": (moment, "timestamp"),
    "timestamptz": (moment, "timestamp"),
    "time": (clock, "string"),
    "timetz": (clock, "string"),
    "bytea": (binary, "string"),
    "json": (document, "any"),
    "jsonb": (document, "any"),
    "int4range": (range_of(integer), "string"),
    "int8range": (range_of(integer), "string"),
    "numrange": (range_of(numeric), "string"),
    "tsrange": (range_of(moment), "string"),
    "tstzrange": (range_of(moment), "string"),
    "int4multirange": (range_of(integer), "string"),
    "int8multirange": (range_of(integer), "string"),
    "nummultirange": (range_of(numeric), "string"),
    "tsmultirange": (range_of(moment), "string"),
    "tstzmultirange": (range_of(moment), "string"),
}
"""Types of the system whose form is another one than their text."""
_TEXT: _Known = (text, "string")
# pg_type.oid of common types, which are the same on every server: they need not be looked up.
_COMMON = {16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 26: "oid", 114: "json", 700: "float4",
           701: "float8", 1083: "time", 1114: "timestamp", 1184: "timestamptz", 1700: "numeric",
           3802: "jsonb"}  # fmt: skip
_COMMON_TEXTS = (18, 19, 25, 1042, 1043, 1082, 1186, 2950)
_TYPES = """
WITH RECURSIVE wanted (oid) AS (
    SELECT unnest($1::oid[])
    UNION
    SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
    FROM wanted JOIN pg_catalog.pg_type t ON t.oid = wanted.oid
    WHERE t.typtype = 'd' OR t.typelem <> 0
)
SELECT t.oid, t.typname::text AS name, t.typnamespace = 'pg_catalog'::regnamespace AS own,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype END AS base, format_type(t.typbasetype, t.typtypmod) AS native,
       CASE WHEN e.typarray = t.oid THEN t.typelem END AS element, e.typdelim::text AS delimiter
FROM wanted JOIN pg_catalog.pg_type t ON t.oid = wanted.oid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
"""


class Types:
    """The types of one database by oid: how each is decoded, which field type it is, what a domain is made of.

    Common types of the system are known; others are looked up once.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {oid: _BY_NAME[name] for oid, name in _COMMON.items()}
        self._known.update(dict.fromkeys(_COMMON_TEXTS, _TEXT))
        self._natives: dict[int, str] = {}

    def decoder(self, oid: int) -> Decoder:
        """How the type is decoded; a type that nobody knows any more is its text."""
        return self._known.get(oid, _TEXT)[0]

    def field_type(self, oid: int) -> str:
        """The type of a field that holds it."""
        return self._known.get(oid, _TEXT)[1]

    def native(self, oid: int, name: str) -> str:
        """The type as PostgreSQL writes it; what a domain is made of instead of the domain."""
        return self._natives.get(oid, name)

    async def load(self, connection: asyncpg.Connection[Any], oids: Iterable[int]) -> None:
        """Look up the types that are not known yet."""
        missing = [oid for oid in dict.fromkeys(oids) if oid not in self._known]
        if missing:
            self.add(await connection.fetch(_TYPES, missing))

    def add(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Take in rows of the catalogue with everything that the types in them are made of."""
        rows = {row["oid"]: row for row in found}
        for oid in rows:
            self._known[oid] = self._made(oid, rows)
            native = self._native_of(oid, rows)
            if native:
                self._natives[oid] = native

    def _made(self, oid: int, rows: Mapping[int, Mapping[str, Any]]) -> _Known:
        if oid in self._known:
            return self._known[oid]
        row = rows[oid]
        if row["base"]:
            return self._made(row["base"], rows)
        if row["element"]:
            return array_of(self._made(row["element"], rows)[0], row["delimiter"]), "array"
        return _BY_NAME.get(row["name"], _TEXT) if row["own"] else _TEXT

    def _native_of(self, oid: int, rows: Mapping[int, Mapping[str, Any]]) -> str:
        """The name of what a domain, or an array of one, is made of; "" for other types."""
        row = rows.get(oid)
        if row is None:
            return ""
        if row["base"]:
            return self._native_of(row["base"], rows) or str(row["native"])
        inner = self._native_of(row["element"], rows) if row["element"] else ""
        return f"{inner}[]" if inner else ""
