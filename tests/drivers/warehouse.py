"""Databases as targets for the tests of tables: one way to open, ask and change them, whichever they are."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Batch, Confirmed, Field, Op, Row
from platint_tui.drivers.postgresql import PostgresqlDriver
from platint_tui.drivers.sqlite import SqliteDriver

NATIVE = {"id": "postgresql:integer", "name": "postgresql:text", "n": "postgresql:integer",
          "at": "postgresql:timestamp with time zone"}  # fmt: skip
ID = Field("id", "integer", required=True, native=NATIVE["id"])
NAME = Field("name", "string", native=NATIVE["name"])
N = Field("n", "integer", native=NATIVE["n"])


class Warehouse:
    """An empty database, as a driver and from outside."""

    kind = ""

    def __init__(self, driver: Any, tools: Any) -> None:
        self.driver, self.tools = driver, tools
        self._opened: list[Any] = []

    async def open(self, *fields: Field, **changes: Any) -> Any:
        """A target for the table `charges`; see `Tools.plan` for what can be said of it."""
        target = await self.driver.open_target(self.tools.plan(*fields, **{"cursor": None, **changes}))
        self._opened.append(target)
        return target

    async def mirror(self, *fields: Field, **changes: Any) -> Any:
        """A target whose source declares every column."""
        return await self.open(*(fields or (ID, NAME, N)), typed=True, **changes)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    async def execute(self, sql: str) -> None:
        raise NotImplementedError

    async def columns(self, table: str = "charges") -> dict[str, str]:
        """Types by the name of the column."""
        raise NotImplementedError

    async def close_targets(self) -> None:
        while self._opened:
            await self._opened.pop().close()

    async def close(self) -> None:
        await self.close_targets()
        await self.driver.close()


class Postgres(Warehouse):
    kind = "postgresql"

    def __init__(self, driver: Any, tools: Any, admin: asyncpg.Connection[Any]) -> None:
        super().__init__(driver, tools)
        self.admin = admin

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.admin.fetch(sql)]

    async def execute(self, sql: str) -> None:
        await self.admin.execute(sql)

    async def columns(self, table: str = "charges") -> dict[str, str]:
        return dict(
            await self.rows(
                "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
                f" WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            )
        )


class Sqlite(Warehouse):
    kind = "sqlite"

    def __init__(self, driver: Any, tools: Any, path: Path) -> None:
        super().__init__(driver, tools)
        self.path = path

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    async def execute(self, sql: str) -> None:
        await self.rows(sql)

    async def columns(self, table: str = "charges") -> dict[str, str]:
        return {row[1]: row[2] for row in await self.rows(f"PRAGMA table_info({table})")}


@pytest.fixture
async def postgres(tools: Any, postgres_server: Any) -> AsyncIterator[Postgres]:
    """A schema of PostgreSQL that goes at the end."""
    server = postgres_server
    admin = await asyncpg.connect(server.dsn, ssl=False)
    await admin.execute("DROP SCHEMA IF EXISTS work CASCADE; CREATE SCHEMA work; SET search_path = work")
    await admin.execute("SET timezone = 'UTC'")
    place = {"host": server.host, "port": str(server.port), "database": server.database, "schema": "work"}
    context = tools.context("postgresql", {**place, "user": server.user}, password=server.password)
    made = Postgres(PostgresqlDriver(context), tools, admin)
    yield made
    await made.close()
    await admin.execute("DROP SCHEMA work CASCADE")
    await admin.close()


@pytest.fixture
async def sqlite(tools: Any, tmp_path: Path) -> AsyncIterator[Sqlite]:
    """A file of SQLite."""
    path = tmp_path / "warehouse.sqlite3"
    made = Sqlite(SqliteDriver(tools.context("sqlite", {"path": str(path)})), tools, path)
    yield made
    await made.close()


@pytest.fixture(params=["postgres", "sqlite"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """Both of them."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found


def row(value: dict[str, Any], op: Op = Op.UPSERT, version: Any = None, key: str = "id") -> Row:
    """A row of a stream whose key is `id`."""
    if op is Op.TRUNCATE:
        return Row("", "{}", {}, None, "", op)
    return Row(canonical_key([value[key]]), "{}", value, version, "", op)


def batch(*rows: Row, seq: int | None = None, blocks: Any = ()) -> Batch:
    """A batch, with a position when it has a number."""
    return Batch(rows, None if seq is None else Confirmed(seq, {"at": seq}), blocks)
