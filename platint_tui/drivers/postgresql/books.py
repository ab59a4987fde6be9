"""What a PostgreSQL database has of our tables: looked at, made and changed.

Beside the targets there are three small tables in the same schema: the positions of syncs, the columns that keys
of records have, and which targets are mirrors.
"""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError
from platint_tui.core.jsontext import dumps
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.shapes import Found, Shape
from platint_tui.drivers.tables import COLUMNS, MIRROR_COLUMNS, OWN_COLUMNS, POSITIONS, TABLES, quoted

OWN_TYPES = {
    "_key": "text",
    "_raw": "text",
    "_version": "jsonb",
    "_synced_at": "timestamp with time zone",
    "_run": "text",
}
"""Types of the columns that a target has for us."""

_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
}
_BOOKS = (
    (
        POSITIONS,
        {"sync", "stream", "seq", "epoch", "position", "run", "target"},
        "sync text NOT NULL, stream text NOT NULL, seq bigint NOT NULL, epoch bigint NOT NULL,"
        " position jsonb NOT NULL, run text NOT NULL, target text NOT NULL, PRIMARY KEY (sync, stream)",
    ),
    (
        COLUMNS,
        {"target", "key", "name"},
        "target text NOT NULL, key text NOT NULL, name text NOT NULL, PRIMARY KEY (target, key)",
    ),
    (
        TABLES,
        {"target", "layout", "key"},
        "target text NOT NULL PRIMARY KEY, layout text NOT NULL, key jsonb NOT NULL",
    ),
)


async def lock(connection: asyncpg.Connection[Any]) -> None:
    """Wait until no other engine makes or changes tables; it lasts as long as the transaction.

    Two that start at once would both make them.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('platint-tui tables'))")


async def make_books(connection: asyncpg.Connection[Any], address: Address) -> None:
    """Make the tables of our own. Raises ConfigError for a schema that is not there, and for other tables of
    these names."""
    await _check_schema(connection, address)
    for name, wanted, definition in _BOOKS:
        found = await _columns_of(connection, address, name)
        if found is None:
            await connection.execute(f"CREATE TABLE {quoted(address.schema)}.{name} ({definition})")
        elif not wanted <= found.keys():
            raise other_shape(address, name, "its columns are not those of this program")


async def look(connection: asyncpg.Connection[Any], address: Address, target: str) -> Found:
    """The table as it is. Raises ConfigError for one that is not ours."""
    await _check_schema(connection, address)
    types = await _columns_of(connection, address, target)
    if types is None:
        return Found()
    key = await mirror_key(connection, address, target)
    await _check_shape(connection, address, target, types, key)
    rows = []
    if await _columns_of(connection, address, COLUMNS) is not None:
        rows = await connection.fetch(
            f"SELECT key, name FROM {quoted(address.schema)}.{COLUMNS} WHERE target = $1", target
        )
    return Found(types, {row["key"]: row["name"] for row in rows if row["name"] in types}, key)


async def make(connection: asyncpg.Connection[Any], address: Address, shape: Shape) -> None:
    """Carry the changes of a shape out. Raises ConfigError for more columns than there can be."""
    schema, target = quoted(address.schema), shape.target
    try:
        for change in shape.changes:
            await connection.execute(change.statement)
    except asyncpg.TooManyColumnsError:
        raise ConfigError(
            f"PostgreSQL cannot give the table '{clean(target)}' another column: it had 1600, dropped ones included.",
            where=address.where,
            hint="Choose fields with `select` in the integration file, or have the table made anew.",
            code="column_limit",
        ) from None
    if shape.new:
        # What an earlier table of this name left behind says nothing about this one.
        for name in (POSITIONS, COLUMNS, TABLES):
            await connection.execute(f"DELETE FROM {schema}.{name} WHERE target = $1", target)
        if shape.mirror:
            statement = f"INSERT INTO {schema}.{TABLES} VALUES ($1, 'mirror', $2)"
            await connection.execute(statement, target, dumps(shape.key))
    if shape.added:
        await connection.executemany(
            f"INSERT INTO {schema}.{COLUMNS} VALUES ($1, $2, $3)"
            " ON CONFLICT (target, key) DO UPDATE SET name = excluded.name",
            [(target, _storable(column.key), column.name) for column in shape.added],
        )


async def mirror_key(connection: asyncpg.Connection[Any], address: Address, target: str) -> tuple[str, ...]:
    """The key columns of a table that is a mirror of ours; none for any other."""
    table = f"{quoted(address.schema)}.{TABLES}"
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return ()
    key = await connection.fetchval(
        f"SELECT key::text FROM {table} WHERE target = $1 AND layout = 'mirror'", target
    )
    return () if key is None else tuple(json.loads(key))


async def _check_schema(connection: asyncpg.Connection[Any], address: Address) -> None:
    if await connection.fetchval("SELECT to_regnamespace($1)", quoted(address.schema)) is None:
        raise ConfigError(
            f"There is no schema '{clean(address.schema)}' in this database.",
            where=address.where,
            hint="Create it, or name another in the profile.",
            code="3F000",
        )


async def _columns_of(
    connection: asyncpg.Connection[Any], address: Address, table: str
) -> dict[str, str] | None:
    """Column types by name, None when there is no such table. Raises ConfigError when it is no table."""
    kind = await connection.fetchval(
        "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2",
        address.schema,
        table,
    )
    if kind is None:
        return None
    if kind not in ("r", "p"):
        raise other_shape(address, table, f"it is {_KINDS.get(kind, 'no table')}")
    rows = await connection.fetch(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        address.schema,
        table,
    )
    return {row["attname"]: row["type"] for row in rows}


async def _check_shape(
    connection: asyncpg.Connection[Any],
    address: Address,
    table: str,
    types: Mapping[str, str],
    key: Sequence[str],
) -> None:
    for name in MIRROR_COLUMNS if key else OWN_COLUMNS:
        if name not in types:
            raise other_shape(address, table, f"it has no column {name}")
        if types[name] != OWN_TYPES[name]:
            raise other_shape(address, table, f"its column {name} is {types[name]}, not {OWN_TYPES[name]}")
    wanted = list(key) or ["_key"]
    keyed = await connection.fetchval(
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indpred IS NULL AND $3 ="
        " (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1])"
        " WITH ORDINALITY AS k (number, place)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)",
        address.schema,
        table,
        wanted,
    )
    if not keyed:
        raise other_shape(address, table, f"its primary key is not {', '.join(map(clean, wanted))}")


def other_shape(address: Address, table: str, reason: str) -> ConfigError:
    """That a table is there already and not as ours are."""
    return ConfigError(
        f"The table '{clean(table)}' is there already and has another shape: {reason}.",
        where=address.where,
        hint="Name another target in the integration, or rename that table.",
        code="target_shape",
    )


def _storable(key: str) -> str:
    """A key as the mapping table can hold it: NUL and half a surrogate pair become escapes."""
    return key.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
