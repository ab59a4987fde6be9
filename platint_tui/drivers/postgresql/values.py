"""How JSON values are stored in PostgreSQL columns.

What PostgreSQL has no JSON form for (dates, times, addresses, ranges, arrays) comes as text and goes to the server
as text, which reads it: so it is exact, whatever Python's own types can hold.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from platint_tui.core.model import Evolution, Field
from platint_tui.drivers.natives import Native
from platint_tui.drivers.postgresql.columntypes import (
    BITS,
    DATES,
    KEPT,
    TEXTS,
    WRITTEN,
    base_name,
    column_type,
    taken_apart,
)
from platint_tui.drivers.tablerows import document
from platint_tui.drivers.tables import Cell, Column, Refusal, record_fault

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_DATED = re.compile(
    r"-?\d|-?infinity$|P|-P"
)  # never `now` or `today`, which PostgreSQL would take for a time
_ELEMENT_QUOTED = re.compile(r'[{}",\\\s]|^$|^null$', re.I)
_SECONDS_BELOW = 100_000_000_000


@dataclass(frozen=True, slots=True)
class Storage:
    """How values reach a column: they are copied into a column of the type `staged` and read from there as `cast`
    ("" as they are). `cells` make what is copied, by the Python type of the value.
    """

    staged: str
    cast: str
    cells: Mapping[type, Cell | None]


def _nul() -> Refusal:
    return Refusal(record_fault("invalid_text", "holds a NUL character, which PostgreSQL cannot store."))


def _wrong(what: str) -> Refusal:
    return Refusal(record_fault("wrong_type", what))


def _out_of_range(what: str) -> Refusal:
    return Refusal(record_fault("out_of_range", what))


def _text(value: str) -> str:
    if "\0" in value:
        raise _nul()
    return value


def _document(value: Any) -> str:
    text = document(value)
    if "\\u0000" in text and _NUL_ESCAPE.search(text):
        raise _nul()
    return text


def _whole(name: str) -> Cell:
    bits = BITS[name]

    def cell(value: int) -> int:
        if not -(2**bits) <= value < 2**bits:
            raise _out_of_range(f"is beyond the {bits + 1} bits of its column.")
        return value

    return cell


def _numeric(value: int | float | Decimal) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _written_number(value: str) -> Decimal:
    if value in _NOT_FINITE or _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise _wrong("is a text and no number.")


def _with_scale(cell: Cell, scale: int) -> Cell:
    """PostgreSQL would round what has more decimals than its column without a word."""

    def limited(value: Any) -> Decimal:
        number: Decimal = cell(value)
        if number.is_finite() and len(f"{number:f}".partition(".")[2].rstrip("0")) > scale:
            raise _out_of_range(f"has more than the {scale} decimals of its column.")
        return number

    return limited


def _exact_float(value: int | Decimal) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number != value and Decimal(repr(number)) != value:
        raise _out_of_range("has more digits than its column can hold.")
    return number


def _written_float(value: str) -> float:
    if value not in _NOT_FINITE:
        raise _wrong("is a text and no number.")
    return float(value)


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("is no base64, as bytes are written.") from None


def _dated(value: str) -> str:
    if not _DATED.match(value):
        raise _wrong("is no date or time as PostgreSQL writes them.")
    return _text(value)


def _limited(longest: int) -> Cell:
    def cell(value: str) -> str:
        if len(value) > longest and len(value.rstrip(" ")) > longest:
            raise Refusal(record_fault("too_long", f"is longer than the {longest} characters of its column."))
        return _text(value)

    return cell


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _wrong("is no ISO 8601 date and time.") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _epoch(value: int | float | Decimal) -> datetime:
    """Epoch seconds, or milliseconds for numbers that would lie beyond the year 5138."""
    try:
        number = float(value)
        return datetime.fromtimestamp(number if abs(number) < _SECONDS_BELOW else number / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise _wrong("is no point in time.") from None


def _naive(value: Any) -> datetime:
    moment: datetime = _moment(value) if isinstance(value, str) else _epoch(value)
    return moment.astimezone(UTC).replace(tzinfo=None)


def _array(native: Native) -> Cell:
    """An array as PostgreSQL writes it. Lists in a list of JSON documents are documents, not dimensions."""
    documents = native.name in ("json", "jsonb")

    def element(item: Any) -> str:
        if isinstance(item, list) and not documents:
            return braces(item)
        if item is None:
            return "NULL"
        if documents:
            text = _document(item)
        elif native.name == "bytea" and isinstance(item, str):
            text = f"\\x{_bytes(item).hex()}"
        elif isinstance(item, str):
            text = _text(item)
        elif isinstance(item, dict):
            raise _wrong("holds an object in a list of single values.")
        else:
            text = str(item).lower() if isinstance(item, bool) else str(item)
        if not _ELEMENT_QUOTED.search(text):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def braces(items: list[Any]) -> str:
        return "{" + ",".join(map(element, items)) + "}"

    return braces


_JSON: dict[type, Cell | None] = dict.fromkeys((str, bool, int, float, Decimal, dict, list), _document)
_FLOAT: dict[type, Cell | None] = {
    int: _exact_float,
    float: None,
    Decimal: _exact_float,
    str: _written_float,
}
_MOMENT: dict[type, Cell | None] = {str: _moment, int: _epoch, float: _epoch, Decimal: _epoch}
_NAIVE: dict[type, Cell | None] = dict.fromkeys((str, int, float, Decimal), _naive)
_LENIENT: Mapping[str, Storage] = {
    "text": Storage("text", "", {**_JSON, str: _text}),
    "character varying": Storage("text", "", {**_JSON, str: _text}),
    "timestamp with time zone": Storage("timestamp with time zone", "", _MOMENT),
    "timestamp without time zone": Storage("timestamp without time zone", "", _NAIVE),
}
"""For fields without a native type, whose values have the form that their platform gives them."""


def storage_of(column: Column, kind: str, types: Evolution) -> Storage | None:
    """How values of a field reach its column of this type; None for a type that is not written to."""
    native = taken_apart(kind)
    wanted = taken_apart(column_type(Field(column.key, column.type, native=column.native)))
    if not native.array and native.name in _LENIENT and _is_lenient(column, native.name, wanted.name, types):
        return _LENIENT[native.name]
    if base_name(native.name) not in KEPT:
        return None
    return _native_storage(native)


def _is_lenient(column: Column, name: str, wanted: str, types: Evolution) -> bool:
    """Whether a column takes what its type can hold, and not just what a field of that type has."""
    return not column.native or (name == "text" and (wanted not in TEXTS or types is Evolution.EVOLVE))


def _native_storage(native: Native) -> Storage:
    name = base_name(native.name)
    if native.array:
        # A cast to bit without a length would cut; the assignment to the column checks it.
        return Storage("text", f"{'bit varying' if name == 'bit' else name}[]", {list: _array(native)})
    if name in BITS:
        return Storage("bigint", "", {int: _whole(name)})
    if name == "numeric":
        return Storage("numeric", "", _numbers(native))
    if name in ("real", "double precision"):
        return Storage("double precision", "", _FLOAT)
    if name == "boolean":
        return Storage("boolean", "", {bool: None})
    if name == "bytea":
        return Storage("bytea", "", {str: _bytes})
    if name in ("json", "jsonb"):
        return Storage(name, "", _JSON)
    if name in DATES:
        return Storage("text", name, {str: _dated})
    if name in WRITTEN:
        return Storage("text", "bit varying" if name == "bit" else name, {str: _text})
    return Storage("text", "", {str: _limited(native.arguments[0]) if native.arguments else _text})


def _numbers(native: Native) -> dict[type, Cell | None]:
    cells: dict[type, Callable[[Any], Any]] = {
        int: _numeric,
        float: _numeric,
        Decimal: _numeric,
        str: _written_number,
    }
    if not native.arguments:
        return dict(cells)
    scale = native.arguments[1] if len(native.arguments) > 1 else 0
    return {kind: _with_scale(cell, scale) for kind, cell in cells.items()}
