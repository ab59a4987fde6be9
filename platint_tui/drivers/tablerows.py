"""Rows on their way into a table: checked against the types of its columns, and made the tuples to write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Evolution, Fault, Field, Op, Row
from platint_tui.core.text import clean
from platint_tui.drivers.tables import TYPE_CODES, Cell, Column, Refusal, record_fault

_MOST_SHAPES = 256
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


class Unreadable(str):
    """A value that cannot be decoded, as the text that it was: every target refuses it."""

    __slots__ = ()


class RowEncoder:
    """Checks rows against the declared fields and makes the tuples that are written.

    `cells` gives, per column, how a value of each accepted Python type is stored (None: as it is). `types` says
    what becomes of a value of another type: `discard_value` leaves it out where the column may be empty,
    everything else refuses it.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Sequence[Mapping[type, Cell | None]],
        types: Evolution = Evolution.DEAD_LETTER,
    ) -> None:
        self._columns = tuple(columns)
        self._cells = tuple(cells)
        self._discards = types is Evolution.DISCARD_VALUE
        self._keys = tuple(column.key for column in columns)
        self._limited = [
            (at, column.max_length)
            for at, column in enumerate(columns)
            if column.max_length is not None and types is not Evolution.EVOLVE
        ]
        # Records of one stream have few different sequences of types; what to do about each is worked out once.
        self._known: dict[tuple[type, ...], list[tuple[int, Cell]]] = {}

    def values(self, value: Mapping[str, Any]) -> list[Any]:
        """The values of the columns in order. Raises Refusal naming field and column."""
        result = list(map(value.get, self._keys))
        types = tuple(map(type, result))
        changes = self._known.get(types)
        if changes is None:
            changes = self._changes(types, result, value)
        for at, cell in changes:
            try:
                result[at] = cell(result[at])
            except Refusal as refusal:
                result[at] = self._without(at, _in_field(refusal, self._keys[at]))
        for at, longest in self._limited:
            item = value.get(self._keys[at])
            if type(item) is str and len(item) > longest:
                result[at] = self._without(at, _too_long(self._columns[at]))
        return result

    def _without(self, at: int, fault: Fault) -> Any:
        """What stands for a value that is refused, when the row goes on without it."""
        column = self._columns[at]
        if not self._discards or column.required or fault.code not in TYPE_CODES:
            raise Refusal(fault, column) from None
        return None

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
                    raise Refusal(_missing(column.key, column.key in value), column)
            elif kind in cells:
                cell = cells[kind]
                if cell is not None:
                    changes.append((at, cell))
            else:
                # Depends on the value and not on its type alone, so this sequence of types is not remembered.
                changes.append((at, _always(self._of_other_type(at, item))))
                general = False
        if general:
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known[types] = changes
        return changes

    def _of_other_type(self, at: int, item: Any) -> Any:
        try:
            return _whole_number(item, self._columns[at], self._cells[at])
        except Refusal as refusal:
            return self._without(at, refusal.fault)


class Item(NamedTuple):
    """What is done with the `at`-th row of a batch: `cells` are the values that are written, or the key to delete."""

    at: int
    key: str
    op: Op
    cells: list[Any]


class Misfit(NamedTuple):
    """A value that its column could hold if it were of another type."""

    column: Column
    value: Any
    fault: Fault


@dataclass(slots=True)
class Encoded:
    """The rows of a batch: those that can be written, and what stands against the others."""

    items: list[Item] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)


def encode_rows(
    rows: Iterable[tuple[int, Row]],
    cells: Mapping[Op, Callable[[Row], list[Any]]],
) -> Encoded:
    """Encode rows by what `cells` does for their operation.

    A value of another type than its column is a misfit and a fault; the caller decides which of them it is.
    """
    result = Encoded()
    items, faults = result.items, result.faults
    for index, row in rows:
        try:
            items.append(Item(index, row.key, row.op, cells[row.op](row)))
        except Refusal as refusal:
            faults.append((index, refusal.fault))
            if refusal.column is not None and refusal.fault.code in TYPE_CODES:
                result.misfits.append(
                    Misfit(refusal.column, row.value.get(refusal.column.key), refusal.fault)
                )
    return result


def rounds(items: Iterable[Item]) -> list[list[Item]]:
    """The items in parts of which none has a key twice: one statement cannot touch a row a second time.

    A truncate is a part of its own.
    """
    parts: list[list[Item]] = []
    times: dict[str, int] = {}
    base = 0
    for item in items:
        if item.op is Op.TRUNCATE:
            parts.append([item])
            base, times = len(parts), {}
            continue
        number = times.get(item.key, 0)
        times[item.key] = number + 1
        if base + number == len(parts):
            parts.append([])
        parts[base + number].append(item)
    return parts


def _always(stored: Any) -> Cell:
    return lambda _: stored


def accepted_cells(
    column: Column, stored: Mapping[type, Cell | None], types: Evolution = Evolution.DEAD_LETTER
) -> dict[type, Cell | None]:
    """The part of `stored` that the column's declared type accepts; all of it where types may evolve, and where
    the field has a native type, which says more than the declared one.
    """
    if column.native or types is Evolution.EVOLVE:
        return dict(stored)
    return {kind: cell for kind, cell in stored.items() if kind in _ACCEPTED[column.type]}


def _whole_number(item: Any, column: Column, cells: Mapping[type, Cell | None]) -> Any:
    """A whole number written with decimals (5.0) is an integer; anything else of another type is refused."""
    kind = type(item)
    if kind is Unreadable:
        message = (
            f"The field '{clean(column.key)}' holds JSON that cannot be kept exactly (a key twice, say)."
        )
        raise Refusal(record_fault("unreadable", message, column.key))
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


def kind_of_value(value: Any) -> str:
    """What a value is, for a message."""
    return "nothing" if value is None else _KINDS.get(type(value), "something else")


def _missing(key: str, present: bool) -> Fault:
    state = "is null" if present else "is missing"
    return record_fault("missing_field", f"The required field '{clean(key)}' {state}.", key)


def _too_long(column: Column) -> Fault:
    message = f"The field '{clean(column.key)}' is longer than the {column.max_length} characters allowed."
    return record_fault("too_long", message, column.key)


def _in_field(refusal: Refusal, key: str) -> Fault:
    fault = refusal.fault
    return record_fault(fault.code, f"The field '{clean(key)}' {fault.message}", key, fault.hint)


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


class TupleRows(Protocol):
    """A block of the form `tuples`."""

    fields: tuple[Field, ...]

    def tuples(self) -> Iterable[tuple[Any, ...]]:
        """Rows of None, bool, int, float, Decimal, bytes and str, in the order of the fields: every other value
        is its text, json its document."""
