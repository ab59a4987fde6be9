"""What PostgreSQL's catalogue says of one table or view that is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.text import clean
from platint_tui.drivers.tables import quoted

KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
"""What PostgreSQL calls a relation, by `pg_class.relkind`."""
IDENTITIES = {"d": "default", "f": "full", "i": "index", "n": "nothing"}
"""What of a row's old version the log keeps, by `pg_class.relreplident`."""

_RELATION = """
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       c.relreplident::text AS identity, c.relpersistence = 'p' AS logged,
       CASE WHEN c.reltuples > 0 THEN current_setting('block_size')::float8
            * (c.relpages + coalesce(t.relpages, 0)) / c.reltuples END AS width,
       c.relkind NOT IN ('r', 'm') OR (c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > 0) AS wide,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))
ORDER BY array_position($1::text[], n.nspname::text) LIMIT 1
"""
_COLUMNS = """
SELECT a.attname::text AS name, a.atttypid AS type, format_type(a.atttypid, a.atttypmod) AS native,
       a.attnotnull AS required, a.attgenerated <> '' AS generated
FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# A unique index is a key when none of its columns can be null and every row is in it.
KEYS = """
SELECT i.indrelid AS relation, array_agg(a.attname::text ORDER BY k.place) AS names, i.indisprimary AS main,
       i.indisreplident AS identity
FROM pg_index i
CROSS JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND i.indexprs IS NULL
GROUP BY i.indexrelid, i.indisprimary, i.indisreplident HAVING bool_and(a.attnotnull)
ORDER BY i.indrelid, i.indisprimary DESC, count(*), i.indexrelid
"""
"""The keys of relations, the best one of each first: (relation, names, whether it is the primary key or the replica
identity)."""

_LEAVES = """
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relreplident::text AS identity,
       c.relkind::text AS kind
FROM pg_partition_tree($1::oid::regclass) t JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.isleaf AND c.relkind <> 'p' ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `type` is the oid of its type, `native` the type as PostgreSQL writes it."""

    name: str
    type: int
    native: str = ""
    required: bool = False
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """A partition that holds rows itself, or a table without partitions."""

    oid: int
    sql: str
    identity: str
    kind: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view with its columns.

    `key` are the columns of its primary key or else of a unique index without nulls, () without either.
    `identity` says what the log keeps of a row's old version, `identity_columns` which columns those are.
    `width` are bytes per row, about, None when nothing is known; `wide`: some rows may be larger than a block.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    identity: str
    identity_columns: tuple[str, ...]
    logged: bool = True
    width: float | None = None
    wide: bool = False

    @property
    def sql(self) -> str:
        """The qualified name as an identifier."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def source(self) -> str:
        """What stands behind FROM: tables that inherit from a table are streams of their own."""
        return f"ONLY {self.sql}" if self.kind == "r" else self.sql

    @property
    def blocks(self) -> bool:
        """Whether its rows can be found by the number of their block."""
        return self.kind in ("r", "p", "m")

    def column(self, name: str) -> Column | None:
        """The column called `name`."""
        return next((column for column in self.columns if column.name == name), None)


def candidates(stream: str, schema: str) -> list[tuple[str, str]]:
    """(schema, name) that a stream's name may mean: a table of the profile's schema, or one with its schema."""
    found = [(schema, stream)]
    for at, letter in enumerate(stream):
        if letter == "." and 0 < at < len(stream) - 1:
            found.append((stream[:at], stream[at + 1 :]))
    return found


async def relation(connection: asyncpg.Connection[Any], stream: str, schema: str, user: str) -> Relation:
    """The relation that a stream's name means.

    Raises NotFound when there is none, ConfigError with the GRANT when the user may not read it.
    """
    places = candidates(stream, schema)
    row = await connection.fetchrow(_RELATION, [place[0] for place in places], [place[1] for place in places])
    if row is None:
        raise NotFound(
            f"There is no table or view '{clean(stream)}' in this database.",
            hint="Name one of the profile's schema by its name, others with their schema before it.",
            code="no_table",
        )
    if not row["readable"]:
        raise unreadable(row["schema"], row["name"], user)
    columns = tuple(Column(**dict(item)) for item in await connection.fetch(_COLUMNS, row["oid"]))
    keys = await connection.fetch(KEYS, [row["oid"]]) if row["kind"] in ("r", "p", "m") else []
    return Relation(
        row["oid"],
        row["schema"],
        row["name"],
        row["kind"],
        columns,
        tuple(keys[0]["names"]) if keys else (),
        row["identity"],
        identity_of(row["identity"], columns, keys),
        row["logged"],
        row["width"],
        row["wide"],
    )


def identity_of(identity: str, columns: Sequence[Column], keys: Sequence[asyncpg.Record]) -> tuple[str, ...]:
    """The columns of a row's old version that the log keeps."""
    if identity == "f":
        return tuple(column.name for column in columns)
    marked = "main" if identity == "d" else "identity"
    found = [key["names"] for key in keys if key[marked]] if identity in ("d", "i") else []
    return tuple(found[0]) if found else ()


def grant(schema: str, name: str, user: str) -> str:
    """The statements that let `user` read a table."""
    where, who = quoted(schema), quoted(user)
    return f"GRANT USAGE ON SCHEMA {where} TO {who}; GRANT SELECT ON {where}.{quoted(name)} TO {who};"


def unreadable(schema: str, name: str, user: str) -> ConfigError:
    """That the user may not read a table, with what allows it."""
    return ConfigError(
        f"The user '{clean(user)}' may not read '{clean(schema)}.{clean(name)}'.",
        hint=f"Let its owner run: {clean(grant(schema, name, user))}",
        code="42501",
    )


async def leaves(connection: asyncpg.Connection[Any], found: Relation) -> list[Leaf]:
    """The parts of a relation that hold rows, in the order of their oids; itself when it has no partitions."""
    if found.kind != "p":
        return [Leaf(found.oid, found.sql, found.identity, found.kind)]
    return [
        Leaf(row["oid"], f"{quoted(row['schema'])}.{quoted(row['name'])}", row["identity"], row["kind"])
        for row in await connection.fetch(_LEAVES, found.oid)
    ]
