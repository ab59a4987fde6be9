"""What the SQL targets share: the type contract of a row, names of columns, the version that guards a row.

A target table has one column per declared field and one per further key that a record brought, and beside
them `_key` (the record's identity), `_raw` (its exact text), `_version`, `_synced_at` (epoch milliseconds)
and `_run`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from platint_tui.core.errors import ConfigError, ErrorClass, RecordError
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Fault, Field, Row
from platint_tui.core.text import clean

POSITIONS = "_platint_positions"
COLUMNS = "_platint_columns"
OWN_COLUMNS = ("_key", "_raw", "_version", "_synced_at", "_run")
MOST_COLUMNS = 1_000
"""Keys beyond this many columns are kept in `_raw` only."""

_LONGEST_NAME = 63
_MAIL_DATE = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}")
_MOST_SHAPES = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = 2**63

_NUMBERS = frozenset({int, float, Decimal})
_ACCEPTED: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": _NUMBERS,
    "boolean": frozenset({bool}),
    "timestamp": frozenset({str}) | _NUMBERS,
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "any": frozenset({str, bool, dict, list}) | _NUMBERS,
}
_KINDS: dict[type, str] = {
    str: "a text",
    bool: "a boolean",
    int: "an integer",
    float: "a number with decimals",
    Decimal: "a number with decimals",
    dict: "an object",
    list: "a list",
}


class Refusal(Exception):
    """One value that the target does not take: carries the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Column:
    """A column for one key of the records. `type` is a field type."""

    key: str
    name: str
    type: str
    required: bool = False
    max_length: int | None = None


Cell = Callable[[Any], Any]
"""Turns one accepted value into what the database stores. Raises Refusal (without a field) for a bad one."""


def record_fault(code: str, message: str, field: str = "", hint: str = "") -> Fault:
    """A fault of class record."""
    return Fault(ErrorClass.RECORD, code, message, field=field, hint=hint)


class RowEncoder:
    """Checks rows against the declared fields and makes the tuples that are written.

    `cells` gives, per column, how a value of each accepted Python type is stored (None: as it is).
    """

    def __init__(self, columns: Sequence[Column], cells: Sequence[Mapping[type, Cell | None]]) -> None:
        self._columns = tuple(columns)
        self._cells = tuple(cells)
        self._keys = tuple(column.key for column in columns)
        self._limited = [
            (column.key, column.max_length, column) for column in columns if column.max_length is not None
        ]
        # Records of one stream have few different sequences of types; what to do about each is worked out once.
        self._known: dict[tuple[type, ...], list[tuple[int, Cell]]] = {}

    def values(self, row: Row) -> list[Any]:
        """The values of the row's own columns in order. Raises Refusal naming the field."""
        value = row.value
        result = list(map(value.get, self._keys))
        types = tuple(map(type, result))
        changes = self._known.get(types)
        if changes is None:
            changes = self._changes(types, result, value)
        for at, cell in changes:
            try:
                result[at] = cell(result[at])
            except Refusal as refusal:
                raise _in_field(refusal, self._keys[at]) from None
        for key, longest, column in self._limited:
            item = value.get(key)
            if type(item) is str and len(item) > longest:
                raise _too_long(column)
        return result

    def _changes(
        self, types: tuple[type, ...], items: Sequence[Any], value: Mapping[str, Any]
    ) -> list[tuple[int, Cell]]:
        """Which values of a row with these types are stored in another form. Raises Refusal for a wrong type."""
        changes: list[tuple[int, Cell]] = []
        general = True
        for at, (kind, item) in enumerate(zip(types, items, strict=True)):
            column, cells = self._columns[at], self._cells[at]
            if item is None:
                if column.required:
                    raise _missing(column.key, column.key in value)
            elif kind in cells:
                cell = cells[kind]
                if cell is not None:
                    changes.append((at, cell))
            else:
                # Depends on the value and not on its type alone, so this sequence of types is not remembered.
                changes.append((at, _always(_whole_number(item, column, cells))))
                general = False
        if general:
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known[types] = changes
        return changes


def _always(stored: Any) -> Cell:
    return lambda _: stored


def accepted_cells(column: Column, stored: Mapping[type, Cell | None]) -> dict[type, Cell | None]:
    """The part of `stored` that the column's declared type accepts."""
    return {kind: cell for kind, cell in stored.items() if kind in _ACCEPTED[column.type]}


def _whole_number(item: Any, column: Column, cells: Mapping[type, Cell | None]) -> Any:
    """A whole number written with decimals (5.0) is an integer; anything else of another type is refused."""
    kind = type(item)
    if column.type == "integer" and kind in _NUMBERS and int in cells and item == int(item):
        cell = cells[int]
        return int(item) if cell is None else cell(int(item))
    name = clean(column.key)
    if kind in _ACCEPTED[column.type]:
        message = f"The column of the field '{name}' cannot hold {_KINDS[kind]}."
        raise Refusal(record_fault("wrong_type", message, column.key, "The table was made for another type."))
    raise Refusal(
        record_fault(
            "wrong_type",
            f"The field '{name}' is declared {column.type}, the record has"
            f" {_KINDS.get(kind, 'something else')} there.",
            column.key,
            "Edit the value and replay it, or change the field's type in the manifest.",
        )
    )


def _missing(key: str, present: bool) -> Refusal:
    state = "is null" if present else "is missing"
    return Refusal(record_fault("missing_field", f"The required field '{clean(key)}' {state}.", key))


def _too_long(column: Column) -> Refusal:
    message = f"The field '{clean(column.key)}' is longer than the {column.max_length} characters allowed."
    return Refusal(record_fault("too_long", message, column.key))


def _in_field(refusal: Refusal, key: str) -> Refusal:
    fault = refusal.fault
    return Refusal(record_fault(fault.code, f"The field '{clean(key)}' {fault.message}", key, fault.hint))


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def document(value: Any) -> str:
    """Compact JSON text of an object or list. Raises Refusal for what JSON cannot hold."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        # The exact, slower writer: Decimals with all their digits.
        return dumps(value)
    except RecordError as error:
        raise Refusal(record_fault("wrong_type", f"cannot be stored: {error.message}")) from None


def fits_int64(number: int) -> bool:
    """Whether a signed 64-bit column holds it."""
    return -_INT64 <= number < _INT64


def instant_us(text: str) -> int | None:
    """Epoch microseconds of an ISO 8601 date and time (UTC where no zone is given), None for other text."""
    if len(text) < 16 or text[4] != "-" or text[10] not in "Tt ":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def version_of(value: Any) -> int | float | str | None:
    """A cursor value in a form that orders as the platform means it; None does not guard.

    Times become epoch microseconds, also those of RFC 2822: as text, 12:00:00Z would come after 12:00:00.5Z, and
    a Wednesday after a Thursday.
    """
    kind = type(value)
    if kind is str:
        instant = instant_us(value) if not _MAIL_DATE.match(value) else _mail_us(value)
        return value if instant is None else instant
    if kind is int:
        return int(value) if fits_int64(value) else float(value) if abs(value) < 2**1000 else None
    return float(value) if kind in (float, Decimal) else None


def _mail_us(text: str) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MICROSECOND


def check_table_name(name: str, longest: int = _LONGEST_NAME) -> None:
    """Raise ConfigError unless `name` can be the name of a target table."""
    reason = ""
    if not name or not name.isprintable():
        reason = "it is empty or holds characters that cannot be shown"
    elif len(name.encode()) > longest:
        reason = f"it is longer than {longest} bytes"
    elif name.lower().startswith(("sqlite_", "_platint_", "pg_")):
        reason = "names with this beginning are reserved"
    if reason:
        raise ConfigError(
            f"'{clean(name)}' cannot be the name of a target table: {reason}.",
            hint="Choose another target in the integration.",
            code="target_name",
        )


def column_name(key: str, taken: Collection[str], *, fold: bool) -> str:
    """A column name for `key` that is not in `taken`; the key itself when that is possible.

    `fold`: the database takes names that differ only in ASCII case for one. Otherwise the name is a readable
    part of the key with a digest behind it.
    """

    def folded(name: str) -> str:
        return name.translate(_LOWER) if fold else name

    used = {folded(name) for name in taken}
    if key.isprintable() and 0 < len(key.encode()) <= _LONGEST_NAME and folded(key) not in used:
        return key
    slug = re.sub(r"[^A-Za-z0-9]+", "_", key).strip("_")[:40] or "column"
    name = f"{slug}_{digest(key, length=8)}"
    number = 1
    while folded(name) in used:
        number += 1
        name = f"{slug}_{digest(key, str(number), length=8)}"
    return name


_LOWER = {code: code + 32 for code in range(65, 91)}


def plan_columns(
    fields: Iterable[Field],
    keys: Iterable[str],
    known: Mapping[str, str],
    taken: Iterable[str],
    *,
    fold: bool,
) -> tuple[list[Column], list[Column]]:
    """(all columns, those to be added) for the declared `fields` and further `keys` of records.

    `known` maps keys to the columns that they have already, `taken` are all column names of the table.
    """
    declared = {field.name: field for field in fields}
    used = {*taken, *OWN_COLUMNS}
    columns: list[Column] = []
    added: list[Column] = []
    for key in dict.fromkeys([*declared, *known, *keys]):
        field = declared.get(key)
        name = known.get(key)
        if name is None:
            if len(used) >= MOST_COLUMNS:
                continue
            name = column_name(key, used, fold=fold)
            used.add(name)
        column = Column(
            key,
            name,
            field.type if field is not None and field.type in _ACCEPTED else "any",
            field.required if field is not None else False,
            field.max_length if field is not None else None,
        )
        columns.append(column)
        if key not in known:
            added.append(column)
    return columns, added


def new_keys(rows: Iterable[Row], known: frozenset[str]) -> list[str]:
    """Keys of the rows that have no column yet, in order of appearance."""
    found: dict[str, None] = {}
    for row in rows:
        if not known.issuperset(row.value):
            found.update(dict.fromkeys(key for key in row.value if key not in known))
    return list(found)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
