"""The tables and views of a database as streams, from its catalogue and statistics alone: no row is read, and no
table is locked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql import slots
from platint_tui.drivers.postgresql.catalog import (
    IDENTITIES,
    KEYS,
    KINDS,
    Column,
    Relation,
    grant,
    identity_of,
)
from platint_tui.drivers.postgresql.slots import identity_fault, size_text
from platint_tui.drivers.postgresql.table import field_of
from platint_tui.drivers.postgresql.textvalues import Types
from platint_tui.drivers.tables import OWN_COLUMNS

MOST_RELATIONS = 5_000
_MOST_CURSORS = 5
_NEWEST_FIRST = ("updat", "modif", "chang", "edit", "synced", "insert", "creat")
_RELATIONS = """
WITH RECURSIVE tree (root, oid) AS (
    SELECT oid, oid FROM pg_class WHERE relkind = 'p' AND NOT relispartition
    UNION ALL
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
), sums AS (
    SELECT tree.root, sum(greatest(l.reltuples, 0))::bigint AS rows, sum(l.relpages) AS pages
    FROM tree JOIN pg_class l ON l.oid = tree.oid WHERE l.relkind <> 'p' GROUP BY tree.root
)
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       c.relreplident::text AS identity, c.relpersistence = 'p' AS logged,
       obj_description(c.oid, 'pg_class') AS comment,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable,
       row_security_active(c.oid) AS hidden, c.relhassubclass AND c.relkind = 'r' AS inherited,
       pg_has_role(c.relowner, 'USAGE') AS own,
       CASE WHEN c.relkind = 'p' THEN s.rows ELSE c.reltuples::bigint END AS rows,
       current_setting('block_size')::bigint
         * CASE WHEN c.relkind = 'p' THEN s.pages ELSE c.relpages + coalesce(t.relpages, 0) END AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN sums s ON s.root = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
  AND NOT starts_with(c.relname::text, '_platint_')
ORDER BY n.nspname <> $1, n.nspname, c.relname LIMIT $2
"""
_COLUMNS = """
SELECT a.attrelid AS relation, a.attname::text AS name, a.atttypid AS type,
       format_type(a.atttypid, a.atttypmod) AS native, a.attnotnull AS required, a.attgenerated <> '' AS generated,
       d.description AS comment
FROM pg_attribute a
LEFT JOIN pg_description d ON d.objoid = a.attrelid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
# Columns that an index of all rows begins with.
_LEADING = """
SELECT DISTINCT i.indrelid AS relation, a.attname::text AS name
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisvalid AND i.indpred IS NULL
"""
_PUBLISHED = """
SELECT r.prrelid AS relation, p.pubname::text AS name
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE starts_with(p.pubname::text, $1)
"""


@dataclass(slots=True)
class _Found:
    """What the catalogue says of one relation."""

    row: asyncpg.Record
    columns: list[asyncpg.Record] = field(default_factory=list)
    keys: list[asyncpg.Record] = field(default_factory=list)
    leading: set[str] = field(default_factory=set)
    slots: list[slots.Slot] = field(default_factory=list)


async def discover(connection: asyncpg.Connection[Any], schema: str, user: str) -> list[Stream]:
    """Every table and view of every schema, those of `schema` first and by their bare names."""
    rows = await connection.fetch(_RELATIONS, schema, MOST_RELATIONS + 1)
    cut = len(rows) > MOST_RELATIONS
    found = {row["oid"]: _Found(row) for row in rows[:MOST_RELATIONS]}
    for query, part in ((_COLUMNS, "columns"), (KEYS, "keys")):
        for row in await connection.fetch(query, list(found)):
            getattr(found[row["relation"]], part).append(row)
    for row in await connection.fetch(_LEADING, list(found)):
        found[row["relation"]].leading.add(row["name"])
    await _add_slots(connection, found)
    types = Types()
    await types.load(connection, (column["type"] for item in found.values() for column in item.columns))
    obstacle = (await slots.replication(connection, user)).first()
    streams = [_stream(item, schema, user, types, obstacle) for item in found.values()]
    if cut:
        more = (
            f"only the first {MOST_RELATIONS:,} tables and views are listed; others can be named all the same"
        )
        streams.append(Stream("*", (), None, (), notes=(more,), incomplete=True))
    return streams


async def _add_slots(connection: asyncpg.Connection[Any], found: Mapping[int, _Found]) -> None:
    ours = {slot.name: slot for slot in await slots.slots(connection)}
    if not ours:
        return
    for row in await connection.fetch(_PUBLISHED, slots.PREFIX):
        if row["relation"] in found and row["name"] in ours:
            found[row["relation"]].slots.append(ours[row["name"]])


def _stream(found: _Found, schema: str, user: str, types: Types, obstacle: tuple[str, str] | None) -> Stream:
    row = found.row
    name = row["name"] if row["schema"] == schema else f"{row['schema']}.{row['name']}"
    ours = {column["name"] for column in found.columns}.issuperset(OWN_COLUMNS)
    columns = [column for column in found.columns if not ours or column["name"] not in OWN_COLUMNS]
    fields = tuple(field_of(_column(column), types, column["comment"] or "") for column in columns)
    relation = _relation(found)
    if ours:
        return Stream(
            name,
            relation.key,
            None,
            fields,
            readable=False,
            writable=row["schema"] == schema,
            estimate=_estimate(row),
            kind=KINDS[row["kind"]],
            facts=_facts(found),
        )
    cursors = _cursors(fields, relation, found.leading)
    modes, notes = _ways(found, relation, cursors, obstacle)
    refused = (
        ""
        if row["readable"]
        else f"SELECT is missing; its owner can run: {grant(row['schema'], row['name'], user)}"
    )
    return Stream(
        name,
        relation.key,
        None,
        fields,
        writable=False,
        estimate=_estimate(row),
        notes=tuple(notes),
        cursors=cursors,
        needs=() if row["readable"] else (f"SELECT on {name}",),
        refused=clean(refused),
        kind=KINDS[row["kind"]],
        modes=modes,
        facts=_facts(found),
        typed=True,
    )


def _column(row: asyncpg.Record) -> Column:
    return Column(row["name"], row["type"], row["native"], row["required"], row["generated"])


def _relation(found: _Found) -> Relation:
    row = found.row
    columns = tuple(map(_column, found.columns))
    return Relation(
        row["oid"],
        row["schema"],
        row["name"],
        row["kind"],
        columns,
        tuple(found.keys[0]["names"]) if found.keys else (),
        row["identity"],
        identity_of(row["identity"], columns, found.keys),
        row["logged"],
    )


def _estimate(row: asyncpg.Record) -> int | None:
    """Rows by the statistics; None for views and for tables that were never analysed."""
    rows: int | None = row["rows"]
    return None if rows is None or rows < 0 or row["kind"] == "v" else rows


def _facts(found: _Found) -> tuple[tuple[str, str], ...]:
    row = found.row
    facts = []
    if row["kind"] in ("r", "p", "m") and row["bytes"]:
        facts.append(("size", f"about {size_text(row['bytes'])}"))
    if row["kind"] in ("r", "p"):
        facts.append(("replica identity", IDENTITIES.get(row["identity"], row["identity"])))
    for slot in found.slots:
        state = "lost" if slot.lost else "read now" if slot.active else "not read now"
        kept = "" if slot.retained is None else f", keeps {size_text(slot.retained)} of log"
        facts.append((f"slot {slot.name}", f"{state}{kept}"))
    return tuple(facts)


def _cursors(fields: Iterable[Field], relation: Relation, leading: set[str]) -> tuple[str, ...]:
    """Columns that may say how new a row is: times by their names, then whole numbers that are keys."""

    def rank(item: Field) -> int:
        known = [at for at, part in enumerate(_NEWEST_FIRST) if part in item.name.lower()]
        return known[0] if known else len(_NEWEST_FIRST)

    times = sorted((item for item in fields if item.type == "timestamp"), key=rank)
    numbers = [item for item in fields if item.type == "integer" and relation.key == (item.name,)]
    return tuple(item.name for item in [*times, *numbers])[:_MOST_CURSORS]


def _ways(
    found: _Found, relation: Relation, cursors: Sequence[str], obstacle: tuple[str, str] | None
) -> tuple[tuple[str, ...], list[str]]:
    """The modes in which a relation can be read, and what is to be known of them."""
    modes, notes = ["snapshot"], []
    if found.row["hidden"]:
        notes.append("row security hides rows from this user: what it may not see is not read")
    if found.row["inherited"]:
        notes.append(
            "rows of the tables that inherit from it are not read with it: each is a stream of its own"
        )
    if not relation.key and relation.blocks:
        notes.append(
            "no key: rows are read in the order of their blocks and told apart by their content; one that is"
            " updated meanwhile may be missed until the next scan"
        )
    elif not relation.key:
        notes.append("no key: name the columns that identify a row as `key` in the integration file")
    if cursors:
        modes.append("cursor")
        notes += _cursor_notes(found, cursors[0])
    if relation.kind in ("r", "p"):
        fault = _no_feed(relation) or obstacle
        if fault is None:
            modes.append("cdc")
            notes += _feed_notes(found, relation)
        else:
            notes.append(f"no change feed: {fault[0]} {fault[1]}")
    return tuple(modes), notes


def _cursor_notes(found: _Found, cursor: str) -> list[str]:
    column = next(item for item in found.columns if item["name"] == cursor)
    notes = []
    if cursor not in found.leading:
        notes.append(f"{cursor} has no index: every scan by it reads and sorts the whole table")
    if not column["required"]:
        notes.append(f"rows without {cursor} are read in the first scan by it only")
    return [clean(note) for note in notes]


def _no_feed(relation: Relation) -> tuple[str, str] | None:
    if not relation.logged:
        return "the table is not in the server's log.", "Run ALTER TABLE ... SET LOGGED."
    return identity_fault(relation, relation.key)


def _feed_notes(found: _Found, relation: Relation) -> list[str]:
    notes = []
    if not found.row["own"]:
        notes.append("a change feed needs a publication, which only the table's owner can make")
    if relation.kind == "p":
        notes.append("a feed does not tell when a single partition is attached, detached or truncated")
    generated = [column.name for column in relation.columns if column.generated]
    if generated:
        notes.append(clean(f"a feed does not bring the computed columns {', '.join(generated)}"))
    return notes
