"""Reading what is new by a column that says how new a row is.

Rows come in the order of (cursor, key). The first scan reads the rows without a usable value first; later scans
begin `overlap` seconds before the greatest value that was read, and read that value again: rows with the same
one may have been committed since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from platint_tui.core.model import JsonObject
from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.keyset import Keyset, literal
from platint_tui.drivers.postgresql.scan import Step, by_blocks, by_key, named, order_of
from platint_tui.drivers.postgresql.table import Pace, Table, required
from platint_tui.drivers.tables import quoted


async def by_cursor(
    table: Table,
    cursor: str,
    key: tuple[str, ...],
    *,
    overlap: float,
    chunk: int,
    place: JsonObject | None,
    form: str,
) -> AsyncIterator[Step]:
    """One scan from a place of this same function (None: everything). The last step's place starts the next one.

    Raises ConfigError when there is no such column.
    """
    column = named(table, cursor)
    before: dict[str, Any] = dict(place) if place and place.get("cursor") == cursor else {}
    if "since" not in before and _may_lack(table, column):
        async for step in _without(table, column, key, chunk, before.get("without"), form):
            place = (
                {"cursor": cursor, "since": None} if step.done else {"cursor": cursor, "without": step.place}
            )
            yield Step(step.records, step.bad, step.bytes, place)
        before = {}
    own = order_of(table, key)
    others = [item for item in own.columns if item.name != cursor] if own else []
    order = Keyset((required(column), *others), own is not None and own.unique)
    since = before.get("since")
    start = _usable(table, column)
    if since is not None:
        start += f" AND {quoted(cursor)} >= {_since(table, column, since, overlap)}"
    pace = Pace.of(chunk, table.relation.width)
    async for step in by_key(table, order, pace, before.get("scan"), form, start):
        if step.done:
            reached = step.place["at"][0] if step.place else since
            yield Step(step.records, step.bad, step.bytes, {"cursor": cursor, "since": reached}, True)
        else:
            place = {"cursor": cursor, "since": since, "scan": step.place}
            yield Step(step.records, step.bad, step.bytes, place)


def _without(
    table: Table, column: Column, key: tuple[str, ...], chunk: int, place: JsonObject | None, form: str
) -> AsyncIterator[Step]:
    """The rows whose cursor is null or has no end, in the order of their key."""
    condition = f"NOT ({_usable(table, column)})"
    order = order_of(table, key)
    if order is None and table.relation.blocks:
        return by_blocks(table, chunk, place, form, condition)
    pace = Pace.of(chunk, table.relation.width)
    return by_key(table, order or Keyset((column,), False), pace, place, form, condition)


def _is_time(table: Table, column: Column) -> bool:
    return column.native == "date" or table.types.field_type(column.type) == "timestamp"


def _may_lack(table: Table, column: Column) -> bool:
    return not column.required or _is_time(table, column) or table.types.field_type(column.type) == "number"


def _usable(table: Table, column: Column) -> str:
    """A condition for the values that a later scan can go on from: infinity would be the end of all scans."""
    name = quoted(column.name)
    if _is_time(table, column):
        return f"coalesce(isfinite({name}), false)"
    if table.types.field_type(column.type) == "number":
        return f"coalesce({name} - {name} = 0, false)"
    return f"{name} IS NOT NULL"


def _since(table: Table, column: Column, text: str, overlap: float) -> str:
    value = literal(text, column.native)
    return f"{value} - interval '{overlap:f} seconds'" if overlap and _is_time(table, column) else value
