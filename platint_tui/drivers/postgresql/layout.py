"""The shape of a target table in PostgreSQL: made, checked, and given new columns."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.postgresql.values import DECLARED, STORED
from platint_tui.drivers.tables import (
    COLUMNS,
    OWN_COLUMNS,
    POSITIONS,
    RowEncoder,
    accepted_cells,
    plan_columns,
    quoted,
)

_OWN_TYPES = {
    "_key": "text",
    "_raw": "text",
    "_version": "jsonb",
    "_synced_at": "timestamp with time zone",
    "_run": "text",
}
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid")
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
}
_POSITION_COLUMNS = {"sync", "stream", "seq", "epoch", "position", "run", "target"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns after the last commit, in the order of the encoded row; `seen` are all keys known."""

    names: tuple[str, ...]
    seen: frozenset[str]
    encoder: RowEncoder
    upsert: str


async def prepare(connection: asyncpg.Connection[Any], address: Address, plan: TargetPlan) -> Layout:
    """Make or check the tables of `plan`. Raises ConfigError for another shape."""
    schema = quoted(address.schema)
    # Two engines that start at once would both make the tables; the lock ends with the transaction.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('platint-tui tables'))")
    if await connection.fetchval("SELECT to_regnamespace($1)", schema) is None:
        raise ConfigError(
            f"There is no schema '{clean(address.schema)}' in this database.",
            where=address.where,
            hint="Create it, or name another in the profile.",
            code="3F000",
        )
    await _own_tables(connection, address)
    target = plan.target
    types = await _columns_of(connection, address, target)
    known: dict[str, str] = {}
    if types is None:
        own = ", ".join(f"{name} {kind}" for name, kind in _OWN_TYPES.items() if name != "_key")
        await connection.execute(
            f"CREATE TABLE {schema}.{quoted(target)} (_key text NOT NULL PRIMARY KEY, {own})"
        )
        # What an earlier table of this name left behind says nothing about this one.
        for name in (POSITIONS, COLUMNS):
            await connection.execute(f"DELETE FROM {schema}.{name} WHERE target = $1", target)
        types = dict(_OWN_TYPES)
    else:
        await _check_shape(connection, address, target, types)
        known = await _known_columns(connection, address, target, types)
    return await _with_columns(connection, address, plan, types, known, ())


async def evolve(
    connection: asyncpg.Connection[Any],
    address: Address,
    plan: TargetPlan,
    layout: Layout,
    keys: Sequence[str],
) -> Layout:
    """The layout with columns for further `keys`, which are added to the table.

    Columns are read again first: another stream may write to the same table.
    """
    types = await _columns_of(connection, address, plan.target) or {}
    known = await _known_columns(connection, address, plan.target, types)
    return await _with_columns(connection, address, plan, types, known, [*layout.seen, *keys])


async def _known_columns(
    connection: asyncpg.Connection[Any], address: Address, target: str, types: Mapping[str, str]
) -> dict[str, str]:
    rows = await connection.fetch(
        f"SELECT key, name FROM {quoted(address.schema)}.{COLUMNS} WHERE target = $1", target
    )
    return {row["key"]: row["name"] for row in rows if row["name"] in types}


async def _own_tables(connection: asyncpg.Connection[Any], address: Address) -> None:
    schema = quoted(address.schema)
    for name, wanted, definition in (
        (
            POSITIONS,
            _POSITION_COLUMNS,
            "sync text NOT NULL, stream text NOT NULL, seq bigint NOT NULL, epoch bigint NOT NULL,"
            " position jsonb NOT NULL, run text NOT NULL, target text NOT NULL, PRIMARY KEY (sync, stream)",
        ),
        (
            COLUMNS,
            {"target", "key", "name"},
            "target text NOT NULL, key text NOT NULL, name text NOT NULL, PRIMARY KEY (target, key)",
        ),
    ):
        found = await _columns_of(connection, address, name)
        if found is None:
            await connection.execute(f"CREATE TABLE {schema}.{name} ({definition})")
        elif not wanted <= found.keys():
            raise _other_shape(address, name, "its columns are not those of this program")


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
        raise _other_shape(address, table, f"it is {_KINDS.get(kind, 'no table')}")
    rows = await connection.fetch(
        "SELECT a.attname, format_type(a.atttypid, NULL) AS type FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        address.schema,
        table,
    )
    return {row["attname"]: row["type"] for row in rows}


async def _check_shape(
    connection: asyncpg.Connection[Any], address: Address, table: str, types: Mapping[str, str]
) -> None:
    for name in OWN_COLUMNS:
        if name not in types:
            raise _other_shape(address, table, f"it has no column {name}")
        if types[name] != _OWN_TYPES[name]:
            raise _other_shape(address, table, f"its column {name} is {types[name]}, not {_OWN_TYPES[name]}")
    keyed = await connection.fetchval(
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indpred IS NULL"
        " AND i.indnkeyatts = 1 AND a.attnum = i.indkey[0] AND a.attname = '_key'",
        address.schema,
        table,
    )
    if not keyed:
        raise _other_shape(address, table, "its primary key is not _key")


def _other_shape(address: Address, table: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The table '{clean(table)}' is there already and has another shape: {reason}.",
        where=address.where,
        hint="Name another target in the integration, or rename that table.",
        code="target_shape",
    )


async def _with_columns(
    connection: asyncpg.Connection[Any],
    address: Address,
    plan: TargetPlan,
    types: Mapping[str, str],
    known: Mapping[str, str],
    keys: Sequence[str],
) -> Layout:
    schema, target = quoted(address.schema), plan.target
    taken = {*types, *_SYSTEM_COLUMNS}
    columns, added = plan_columns(plan.fields, keys, known, taken, fold=False)
    types = dict(types)
    for column in added:
        kind = DECLARED[column.type]
        types[column.name] = kind
        await connection.execute(
            f"ALTER TABLE {schema}.{quoted(target)} ADD COLUMN {quoted(column.name)} {kind}"
        )
        await connection.execute(
            f"INSERT INTO {schema}.{COLUMNS} VALUES ($1, $2, $3)"
            " ON CONFLICT (target, key) DO UPDATE SET name = excluded.name",
            target,
            _storable(column.key),
            column.name,
        )
    for column in columns:
        if types[column.name] not in STORED:
            reason = f"its column {clean(column.name)} is of the type {clean(types[column.name])}"
            raise _other_shape(address, target, reason)
    cells = [accepted_cells(column, STORED[types[column.name]]) for column in columns]
    names = (*(column.name for column in columns), *OWN_COLUMNS)
    return Layout(
        names,
        frozenset(known).union(keys, (column.key for column in columns)),
        RowEncoder(columns, cells),
        _upsert(f"{schema}.{quoted(target)}", names),
    )


def _upsert(table: str, names: Sequence[str]) -> str:
    """Insert what was copied, or replace by key unless the stored version is newer."""
    listed = ", ".join(quoted(name) for name in names)
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name != "_key")
    return (
        f"INSERT INTO {table} AS t ({listed}) SELECT {listed} FROM pg_temp._platint_rows"
        f" ON CONFLICT (_key) DO UPDATE SET {changes}"
        " WHERE excluded._version IS NULL OR t._version IS NULL OR excluded._version >= t._version"
    )


def _storable(key: str) -> str:
    """A key as the mapping table can hold it: NUL and half a surrogate pair become escapes."""
    return key.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
