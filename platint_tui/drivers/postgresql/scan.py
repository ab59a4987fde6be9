"""Reading a whole table in chunks, each a short statement of its own: by its key, or by its blocks.

A chunk sees the table as it is then. A row that is changed in the meantime is read in its old or its new form;
one whose key (or, without a key, whose place) moves may be missed until the next scan, or the feed of changes.
"""

# ruff: noqa: S608 - identifiers are quoted, values are literals of ours
from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import BadElement, JsonObject, Record
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql.catalog import KINDS, Column, Leaf, leaves
from platint_tui.drivers.postgresql.connection import FAILURES
from platint_tui.drivers.postgresql.keyset import Keyset
from platint_tui.drivers.postgresql.rows import Texts
from platint_tui.drivers.postgresql.table import Pace, Table, key_texts, with_columns
from platint_tui.drivers.tables import quoted

_FIRST_BLOCKS = 64
_TID = re.compile(r"\((\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class Step:
    """What one chunk brought, where the scan goes on behind it (None: nothing was there), and whether it is over."""

    records: Sequence[Record]
    bad: Sequence[BadElement]
    bytes: int
    place: JsonObject | None
    done: bool = False


def order_of(table: Table, key: Sequence[str]) -> Keyset | None:
    """The order by which a table is read: its own key, or the one that the integration names, or none."""
    if table.relation.key:
        return Keyset(tuple(named(table, name) for name in table.relation.key), True)
    if key and not table.relation.blocks:
        return Keyset(tuple(named(table, name) for name in key), False)
    return None


def named(table: Table, name: str) -> Column:
    """The column called `name`. Raises ConfigError when there is none."""
    column = table.relation.column(name)
    if column is None:
        raise ConfigError(
            f"'{clean(table.stream)}' has no column '{clean(name)}'.",
            where=table.address.where,
            hint="Correct the `key` or `cursor` of the stream in the integration file.",
            code="no_column",
        )
    return column


def whole(
    table: Table, key: Sequence[str], chunk: int, place: JsonObject | None, form: str
) -> AsyncIterator[Step]:
    """Every row, from a place of this same function. Raises ConfigError when there is no order to read in."""
    order = order_of(table, key)
    if order is not None:
        return by_key(table, order, Pace.of(chunk, table.relation.width), place, form)
    if table.relation.blocks:
        return by_blocks(table, chunk, place, form)
    raise ConfigError(
        f"The {KINDS[table.relation.kind]} '{clean(table.stream)}' has no key by which its rows could be read in"
        " order.",
        where=table.address.where,
        hint="Name the columns that identify a row as `key` of the stream in the integration file.",
        code="key_needed",
    )


async def by_key(
    table: Table, order: Keyset, pace: Pace, place: JsonObject | None, form: str, where: str = ""
) -> AsyncIterator[Step]:
    """The rows (for which `where` holds) in this order, from a place of this same function."""
    names = [column.name for column in order.columns]
    at: Texts | None = place["at"] if place and place.get("by") == names else None
    done = False
    while not done:
        await table.look()
        conditions = [item for item in (where, order.after(at) if at is not None else "") if item]
        asked = pace.now
        found: _Found | None
        if form:
            found = await _block(table, order, conditions, pace, form)
        else:
            found = await _rows(table, order, conditions, pace)
        if found is None:
            continue
        records, bad, size, last, done = found
        at = last or at
        pace.saw(asked, size)
        yield Step(records, bad, size, None if at is None else {"by": names, "at": list(at)}, done)


_Found = tuple[Sequence[Record], Sequence[BadElement], int, Texts | None, bool]
"""Records, what is none, bytes, the key of the last row, and whether these were the last ones."""


async def _rows(table: Table, order: Keyset, conditions: Sequence[str], pace: Pace) -> _Found | None:
    """One chunk; None when it was too large and is to be asked for again in a smaller size."""
    columns = with_columns(table.columns, order.columns)
    asked = pace.now
    chunk = await table.rows(columns, table.relation.source, f"{where_of(conditions)} {order.limit(asked)}")
    if chunk.cut and not order.unique:
        # Rows that are alike must come together, so the part that came is of no use.
        if asked == 1:
            raise ConfigError(
                f"Too many rows of '{clean(table.stream)}' have the same values in {clean(order.names)}.",
                where=table.address.where,
                hint="Name columns that identify a row as `key` of the stream in the integration file.",
                code="key_needed",
            )
        pace.now = max(1, min(asked, len(chunk.rows)) // 2)
        return None
    records, bad = table.records(columns, chunk)
    names = [column.name for column in order.columns]
    last = key_texts(columns, names, chunk.rows[-1]) if chunk.rows else None
    return records, bad, chunk.bytes, last, not chunk.cut and len(chunk.rows) < asked


async def _block(
    table: Table, order: Keyset, conditions: Sequence[str], pace: Pace, form: str
) -> _Found | None:
    """One chunk as a block: its last key is found by the index first, so that it needs no order.

    None when it would be too large and is to be asked for again in a smaller size.
    """
    source, asked = table.relation.source, pace.now
    backwards = ", ".join(f"{number} DESC" for number in range(1, len(order.columns) + 1))
    weighed = f'{table.weight()} AS "~weight"'
    ends = await table.ask(
        f"WITH part AS (SELECT {order.names}, {weighed} FROM {source} {where_of(conditions)} {order.limit(asked)})"
        f' SELECT {order.names}, (SELECT count(*) FROM part), (SELECT sum("~weight") FROM part)'
        f" FROM part ORDER BY {backwards} LIMIT 1"
    )
    if not ends.rows:
        return (), (), 0, None, True
    *texts, count, weight = ends.rows[0]
    if pace.is_too_much(asked, int(weight or 0)):
        return None
    bounded = where_of([*conditions, order.up_to(texts)])
    block = await table.block(f"SELECT {_listed(table)} FROM {source} {bounded}", form)
    return block, (), block.size, texts, int(count or 0) < asked


async def by_blocks(
    table: Table, chunk: int, place: JsonObject | None, form: str, where: str = ""
) -> AsyncIterator[Step]:
    """The rows of a table without a key, partition by partition in the order of their blocks."""
    pace = Pace(chunk, _FIRST_BLOCKS)
    parts = await leaves(table.connection, table.relation)
    resume = place or {}
    begun = int(resume.get("relation", 0))
    for part in parts:
        if part.oid < begun:
            continue
        if part.kind == "f":
            raise ConfigError(
                f"A partition of '{clean(table.stream)}' is a foreign table, which has no blocks to read by.",
                where=table.address.where,
                hint="Give the table a primary key.",
                code="key_needed",
            )
        same = part.oid == begun
        tid = str(resume["tid"]) if same else "(0,0)"
        end = int(resume["end"]) if same else await _block_count(table, part)
        while _block_of(tid) < end:
            await table.look()
            step = await _range(table, part, tid, end, pace, form, where)
            if step is not None and step.place is not None:
                tid = step.place["tid"]
                yield step
    yield Step((), (), 0, None, True)


async def _range(
    table: Table, part: Leaf, tid: str, end: int, pace: Pace, form: str, where: str
) -> Step | None:
    """The rows behind `tid` in the next blocks; None when they are too many bytes at once."""
    asked = pace.now
    after = f"({min(_block_of(tid) + asked, end)},0)"
    bounds = [f"ctid > '{tid}'::tid", f"ctid < '{after}'::tid"]
    source = f"FROM ONLY {part.sql} {where_of([*bounds, where] if where else bounds)}"
    if form:
        if table.relation.wide:
            weighed = await table.ask(f"SELECT sum({table.weight()}) {source}")
            if pace.is_too_much(asked, int(weighed.rows[0][0] or 0)):
                return None
        block = await table.block(f"SELECT {_listed(table)} {source}", form)
        pace.saw(asked, block.size)
        return Step(block, (), block.size, _place(part, after, end))
    columns = table.columns
    listed = ", ".join(["ctid", *([_listed(table)] if columns else [])])
    chunk = await table.ask(f"SELECT {listed} {source} ORDER BY ctid")
    pace.saw(asked, chunk.bytes)
    if chunk.cut:
        after = str(chunk.rows[-1][0])
    chunk.rows[:] = [row[1:] for row in chunk.rows]
    records, bad = table.records(columns, chunk)
    return Step(records, bad, chunk.bytes, _place(part, after, end))


def _place(part: Leaf, tid: str, end: int) -> dict[str, Any]:
    return {"relation": part.oid, "tid": tid, "end": end}


def _block_of(tid: str) -> int:
    match = _TID.fullmatch(tid)
    return int(match[1]) if match else 0


async def _block_count(table: Table, part: Leaf) -> int:
    try:
        count = await table.connection.fetchval(
            "SELECT pg_relation_size($1::oid) / current_setting('block_size')::bigint", part.oid
        )
    except FAILURES as error:
        raise table.failed(error) from None
    return int(count or 0)


def _listed(table: Table) -> str:
    return ", ".join(quoted(column.name) for column in table.columns)


def where_of(conditions: Sequence[str]) -> str:
    """The WHERE of these conditions."""
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
