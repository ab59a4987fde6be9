"""How JSON values are stored in SQLite, whose columns hold values of every type.

| kind (see `drivers.natives`)                | stored as                                                         |
| ------------------------------------------- | ----------------------------------------------------------------- |
| boolean                                     | INTEGER 0 or 1                                                    |
| int16 to int64                              | INTEGER                                                           |
| decimal                                     | INTEGER or REAL where that is exactly the number, else TEXT       |
| float32, float64                            | REAL; NaN and infinity TEXT                                       |
| binary                                      | BLOB                                                              |
| text, uuid, date, time, timestamp(tz)       | TEXT as in JSON                                                   |
| json, arrays                                | TEXT, the JSON document                                           |
| none: by its field type                     | the same; integers beyond 64 bits TEXT, objects and lists as JSON |

A column is declared TEXT or BLOB or has no type: SQLite would round a text that looks like a number in any other.
A mirror's only key column, when it holds integers, is INTEGER PRIMARY KEY and so the rowid.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from platint_tui.core.model import Evolution, Field
from platint_tui.drivers.natives import kind_of_field
from platint_tui.drivers.tablerows import accepted_cells, document
from platint_tui.drivers.tables import Cell, Column, Refusal, fits_int64, record_fault

_DECLARED = {"string": "TEXT", "object": "TEXT", "array": "TEXT"}
_BY_KIND = {
    **dict.fromkeys(("boolean", "int16", "int32", "int64", "decimal", "float32", "float64"), ""),
    "binary": "BLOB",
}
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def column_type(field: Field) -> str:
    """The declared type of the column for a field."""
    kind = kind_of_field(field)
    return _DECLARED.get(field.type, "") if kind is None else _BY_KIND.get(kind.name, "TEXT")


def integer(value: int) -> int | str:
    """An integer, or its text beyond 64 bits."""
    return value if fits_int64(value) else str(value)


def decimal(value: Decimal) -> int | float | str:
    """A decimal as the number that it is exactly, or as its text."""
    number = float(value) if value.is_finite() else math.inf
    if math.isfinite(number) and Decimal(repr(number)) == value:
        return number
    return str(value)


def _small(value: int) -> int:
    if not fits_int64(value):
        raise Refusal(record_fault("out_of_range", "is beyond the 64 bits of an integer."))
    return value


def _written(value: str) -> str:
    if value not in _NOT_FINITE:
        raise Refusal(record_fault("wrong_type", "is a text and no number."))
    return value


def _written_decimal(value: str) -> str:
    """A number that JSON readers refuse comes as text."""
    if value not in _NOT_FINITE and not value.lstrip("-").replace(".", "", 1).isdigit():
        raise Refusal(record_fault("wrong_type", "is a text and no number."))
    return value


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(record_fault("wrong_type", "is no base64, as bytes are written.")) from None


_ANY: Mapping[type, Cell | None] = {
    str: None,
    int: integer,
    float: None,
    Decimal: decimal,
    bool: int,
    dict: document,
    list: document,
}
_TEXT: Mapping[type, Cell | None] = {str: None}
_INTEGER: Mapping[type, Cell | None] = {int: _small}
_FLOAT: Mapping[type, Cell | None] = {float: None, int: integer, Decimal: decimal, str: _written}
_CELLS: Mapping[str, Mapping[type, Cell | None]] = {
    "boolean": {bool: int},
    "int16": _INTEGER,
    "int32": _INTEGER,
    "int64": _INTEGER,
    "decimal": {float: None, int: integer, Decimal: decimal, str: _written_decimal},
    "float32": _FLOAT,
    "float64": _FLOAT,
    "binary": {str: _bytes},
    "json": dict.fromkeys((str, bool, int, float, Decimal, dict, list), document),
}


def cells_of(column: Column, types: Evolution) -> dict[type, Cell | None]:
    """How values of a field are stored. Where types may evolve, every other value is stored too."""
    kind = kind_of_field(Field(column.key, column.type, native=column.native))
    stored = _ANY if kind is None else _CELLS.get(kind.name, _TEXT)
    return accepted_cells(column, {**_ANY, **stored} if types is Evolution.EVOLVE else stored, types)


def plain_cell(field: Field) -> Cell | None:
    """How values of a `TupleRows` are stored, None for as they are. It is never given None."""
    kind = kind_of_field(field)
    if kind is None or kind.name not in ("decimal", "float32", "float64"):
        return None
    return _plain_number


def _plain_number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return decimal(value)
    return integer(value) if isinstance(value, int) else value
