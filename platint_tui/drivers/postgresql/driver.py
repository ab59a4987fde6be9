"""The PostgreSQL driver: checks and lists a database, opens its tables as targets."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    Field,
    JsonObject,
    Page,
    ReadOptions,
    Stream,
    TargetPlan,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.postgresql.connection import FAILURES, address_of, connect, translate
from platint_tui.drivers.postgresql.target import PostgresqlTarget
from platint_tui.drivers.tables import OWN_COLUMNS, check_table_name, quoted

_TYPES = {
    "text": "string",
    "character varying": "string",
    "uuid": "string",
    "bigint": "integer",
    "integer": "integer",
    "smallint": "integer",
    "numeric": "number",
    "double precision": "number",
    "real": "number",
    "boolean": "boolean",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "timestamp",
}
_CHUNK = 2_000
_TABLES = """
SELECT c.relname AS name, c.relkind::text AS kind, c.reltuples::bigint AS rows, a.attname AS field,
       format_type(a.atttypid, NULL) AS type, a.attnotnull AS required,
       coalesce(a.attnum = ANY (i.indkey::int2[]), false) AS key
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT starts_with(c.relname::text, '_platint_')
ORDER BY c.relname, a.attnum
"""


class PostgresqlDriver:
    """One database. The profile has host, port, database, user, schema, tls, ca_file; its secret is password.

    `tls` is disable, prefer, require, verify-ca or verify-full; without it prefer on loopback and verify-full
    elsewhere.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection for a few statements. Errors come out as PlatintError."""
        connection = await connect(self._address)
        try:
            yield connection
        except FAILURES as error:
            raise translate(error, self._address) from None
        finally:
            connection.terminate()

    async def check(self) -> Sequence[Capability]:
        """Sign in and run the probes of the manifest."""
        clock = self._context.clock
        results = []
        for probe in self._context.connector.check:
            started = clock.monotonic()
            try:
                ok, detail = await self._probe(probe.query or "SELECT 1")
                kind = "" if ok else ErrorClass.AUTH.value
            except PlatintError as error:
                ok, detail, kind = False, error.sentence(), error.error_class.value
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {probe.id}", seconds, ok)
            results.append(Capability(probe.id, ok, probe.optional, detail, seconds * 1000, kind))
        return results

    async def _probe(self, query: str) -> tuple[bool, str]:
        """Whether the query answers, with something else than false or null."""
        async with self._connection() as connection:
            answer = await connection.fetchval(query)
            version = connection.get_server_version()
        if answer is None or answer is False:
            return False, f"The server answers no to: {clean(query)}."
        return True, f"PostgreSQL {version.major}.{version.minor}"

    async def discover(self) -> Sequence[Stream]:
        """The tables of the schema, as targets. Raises CredentialError, ConfigError, TransientError."""
        async with self._connection() as connection:
            rows = await connection.fetch(_TABLES, self._address.schema)
        tables: dict[str, list[asyncpg.Record]] = {}
        for row in rows:
            tables.setdefault(row["name"], []).append(row)
        return [_stream(name, columns) for name, columns in tables.items()]

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """PostgreSQL is a target only as yet: raises ConfigError."""
        raise ConfigError(
            f"PostgreSQL tables are targets only; '{clean(stream)}' cannot be read from one.",
            where=self._context.profile.name,
            hint="Name another platform as the source of the integration.",
            code="not_readable",
        )
        yield  # makes this an iterator, as the protocol wants it

    async def open_target(self, plan: TargetPlan) -> PostgresqlTarget:
        """The table `plan.target`, made or checked, with a column for each declared field.

        Raises ConfigError when it has another shape, CredentialError, TransientError, Fenced.
        """
        target = PostgresqlTarget(self._address, plan, self._context)
        try:
            await target.prepare()
        except BaseException:
            await target.close()
            raise
        return target

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a table takes any field; new ones get a column."""
        check_table_name(target)
        return None

    async def scan_keys(self, table: str) -> AsyncIterator[tuple[str, str]]:
        """(key, content hash of the raw text) of every row of a target table, in the order of the keys.

        For the account of what a source has and a target holds. Empty when there is no such table.
        """
        check_table_name(table)
        name = f"{quoted(self._address.schema)}.{quoted(table)}"
        async with self._connection() as connection:
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                return
            after = ""
            while True:
                rows = await connection.fetch(
                    f"SELECT _key, _raw FROM {name} WHERE _key > $1 ORDER BY _key LIMIT {_CHUNK}", after
                )
                for row in rows:
                    yield row["_key"], content_hash(row["_raw"])
                if len(rows) < _CHUNK:
                    return
                after = rows[-1]["_key"]

    async def close(self) -> None:
        """Nothing to release: each target has its own connection."""


def _stream(name: str, columns: Sequence[asyncpg.Record]) -> Stream:
    ours = {column["field"] for column in columns}.issuperset(OWN_COLUMNS)
    fields = tuple(
        Field(column["field"], _TYPES.get(column["type"], "any"), required=column["required"])
        for column in columns
        if not ours or column["field"] not in OWN_COLUMNS
    )
    key = tuple(column["field"] for column in columns if column["key"])
    rows = columns[0]["rows"]
    note = () if ours else ("not made by platint-tui: choose another target name",)
    estimate = rows if rows >= 0 else None
    return Stream(name, key, None, fields, readable=False, writable=ours, estimate=estimate, notes=note)
