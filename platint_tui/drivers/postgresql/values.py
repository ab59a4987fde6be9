"""How JSON values are stored in PostgreSQL columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from platint_tui.drivers.tables import Cell, Refusal, document, fits_int64, record_fault

DECLARED = {
    "string": "text",
    "integer": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamp with time zone",
    "object": "jsonb",
    "array": "jsonb",
    "any": "jsonb",
}
"""Column type per field type. `any` is jsonb, which holds every value exactly."""

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SECONDS_BELOW = 100_000_000_000


def _nul() -> Refusal:
    return Refusal(record_fault("invalid_text", "holds a NUL character, which PostgreSQL cannot store."))


def _text(value: str) -> str:
    if "\0" in value:
        raise _nul()
    return value


def _document(value: Any) -> str:
    text = document(value)
    if "\\u0000" in text and _NUL_ESCAPE.search(text):
        raise _nul()
    return text


def _bigint(value: int) -> int:
    if not fits_int64(value):
        raise Refusal(record_fault("out_of_range", "is beyond the 64 bits of its column."))
    return value


def _numeric(value: int | float | Decimal) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Refusal(record_fault("wrong_type", "is no ISO 8601 date and time.")) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _epoch(value: int | float | Decimal) -> datetime:
    """Epoch seconds, or milliseconds for numbers that would lie beyond the year 5138."""
    try:
        number = float(value)
        return datetime.fromtimestamp(number if abs(number) < _SECONDS_BELOW else number / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Refusal(record_fault("wrong_type", "is no point in time.")) from None


def _naive(cell: Cell) -> Cell:
    return lambda value: cell(value).astimezone(UTC).replace(tzinfo=None)


_JSON: dict[type, Cell | None] = dict.fromkeys((str, bool, int, float, Decimal, dict, list), _document)
_TEXT: dict[type, Cell | None] = {**_JSON, str: _text}
_WHOLE: dict[type, Cell | None] = {int: _bigint}
_FLOAT: dict[type, Cell | None] = {int: float, float: None, Decimal: float}
_MOMENT: dict[type, Cell | None] = {str: _moment, int: _epoch, float: _epoch, Decimal: _epoch}

STORED: Mapping[str, Mapping[type, Cell | None]] = {
    "text": _TEXT,
    "character varying": _TEXT,
    "bigint": _WHOLE,
    "integer": _WHOLE,
    "smallint": _WHOLE,
    "numeric": {int: _numeric, float: _numeric, Decimal: _numeric},
    "double precision": _FLOAT,
    "boolean": {bool: None},
    "timestamp with time zone": _MOMENT,
    "timestamp without time zone": {kind: _naive(cell) for kind, cell in _MOMENT.items() if cell is not None},
    "jsonb": _JSON,
    "json": _JSON,
}
"""Per column type (as format_type names it, without its length) how each Python type is stored."""
