"""The probes of a profile: what this user can do in this database. None of them changes anything."""

from __future__ import annotations

from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql import slots
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.tables import quoted

NAMES = ("read", "create", "wal_level", "replication", "slots")
"""Probes that have an answer of their own; every other one is its query, which must not answer no."""

_READABLE = """
SELECT count(*) FILTER (WHERE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) AS may,
       count(c.oid) AS there
FROM pg_namespace n
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
WHERE n.nspname = $1 GROUP BY n.oid
"""
_CREATE = """
SELECT n.oid IS NOT NULL AS there, coalesce(has_schema_privilege(n.oid, 'CREATE, USAGE'), false) AS may
FROM (SELECT to_regnamespace($1) AS oid) n
"""


async def probe(name: str, connection: asyncpg.Connection[Any], address: Address) -> str:
    """What the probe `name` found. Raises ConfigError with the remedy when the answer is no."""
    if name == "read":
        return await _read(connection, address)
    if name == "create":
        return await _create(connection, address)
    state = await slots.replication(connection, address.user)
    obstacle = {
        "wal_level": state.wal_level,
        "replication": state.role,
        "slots": state.slots or state.waits,
    }[name]
    if obstacle is not None:
        raise ConfigError(obstacle[0], where=address.where, hint=obstacle[1], code="replication")
    if name == "wal_level":
        return "The server's wal_level is logical."
    if name == "replication":
        return f"The user '{clean(address.user)}' may use replication."
    return f"{state.free} replication slots are free; a stream that is read as a change feed takes one."


async def _read(connection: asyncpg.Connection[Any], address: Address) -> str:
    row = await connection.fetchrow(_READABLE, address.schema)
    if row is None:
        raise _no_schema(address)
    may, there = row["may"], row["there"]
    schema, user = quoted(address.schema), quoted(address.user)
    if may < there:
        raise ConfigError(
            f"{may} of the {there} tables and views of {clean(schema)} can be read.",
            where=address.where,
            hint=f"Let their owner run: GRANT USAGE ON SCHEMA {clean(schema)} TO {clean(user)}; GRANT SELECT ON ALL"
            f" TABLES IN SCHEMA {clean(schema)} TO {clean(user)};",
            code="42501",
        )
    return f"All {there} tables and views of {clean(schema)} can be read."


async def _create(connection: asyncpg.Connection[Any], address: Address) -> str:
    schema, user = quoted(address.schema), quoted(address.user)
    row = await connection.fetchrow(_CREATE, schema)
    assert row is not None, "a SELECT of one row has one row"
    if not row["there"]:
        raise _no_schema(address)
    if not row["may"]:
        raise ConfigError(
            f"The user '{clean(address.user)}' may not make tables in {clean(schema)}.",
            where=address.where,
            hint=f"Run GRANT USAGE, CREATE ON SCHEMA {clean(schema)} TO {clean(user)};",
            code="42501",
        )
    return f"Tables can be made in {clean(schema)}."


def _no_schema(address: Address) -> ConfigError:
    schema = clean(quoted(address.schema))
    return ConfigError(
        f"There is no schema {schema} in this database.",
        where=address.where,
        hint=f"Run CREATE SCHEMA {schema};, or name another in the profile.",
        code="3F000",
    )
