"""Values of MySQL as JSON, and the places of rows in an order as literals.

Values come as the text of the server. Numbers keep their digits; a timestamp is in UTC with an offset, a datetime
without; a time is text (it may be negative or beyond a day); zero dates (`0000-00-00`) stay what they are; binary
values, and geometries, are base64.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.drivers.sql.catalog import Column
from platint_tui.drivers.sql.connection import ticked

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


def selected(column: Column) -> str:
    """The column as it is asked for: the server would write a FLOAT with six digits only."""
    return f"{ticked(column.name)} + 0e0" if column.base == "float" else ticked(column.name)


def ordered(column: Column) -> str:
    """The column as rows are put in order by it: enumerations have the order of their numbers."""
    if column.base == "float":
        return f"({selected(column)})"
    return f"({ticked(column.name)} + 0)" if column.base in ("enum", "set", "bit") else ticked(column.name)


def reader_of(column: Column) -> Callable[[Any], Any]:
    """What makes the JSON value of a column; it is never given None."""
    base = column.base
    if base in _INTEGERS:
        return int
    if base == "bit":
        return _bits
    if base == "decimal":
        return loads
    if base == "float":
        return _single
    if base == "double":
        return float
    if base == "timestamp":
        return lambda text: f"{text.replace(' ', 'T')}+00:00"
    if base == "datetime":
        return lambda text: text.replace(" ", "T")
    return _document if base == "json" else _text


def _text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _bits(value: Any) -> int:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)


def _single(text: Any) -> float:
    """A number of 32 bits, written as short as it can be told apart from its neighbours."""
    number = float(text)
    for digits in range(6, 10):
        short = float(f"{number:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", number):
            return short
    return number


def _document(text: Any) -> Any:
    try:
        return loads(text)
    except SystemicError:
        return text


def mark(value: Any) -> str | None:
    """A value of an order as a position keeps it."""
    return f"x{value.hex()}" if isinstance(value, bytes) else None if value is None else f"t{value}"


def unmarked(kept: str, column: Column) -> Any:
    """The value to compare with, of a type that the server compares exactly."""
    text = kept[1:]
    if kept.startswith("x"):
        data = bytes.fromhex(text)
        return int.from_bytes(data, "big") if column.base == "bit" else data
    if column.base in _INTEGERS or column.base in ("enum", "set", "bit"):
        return int(Decimal(text))
    if column.base == "decimal":
        return Decimal(text)
    return float(text) if column.base in ("float", "double") else text
