"""The behaviour suite for targets that are tables."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from peers.postgres import PostgresServer

from platint_tui.core.model import Field, TargetPlan
from platint_tui.drivers.postgresql import PostgresqlDriver
from platint_tui.drivers.sqlite import SqliteDriver
from platint_tui.drivers.suite import Kit, WriteSuite

FIELDS = (
    Field("id", "integer", required=True, native="postgresql:bigint"),
    Field("name", "string", native="postgresql:text"),
)


def bad(number: int) -> dict[str, Any]:
    return {"id": number, "name": "half a pair \ud800"}


class _Mirrored(WriteSuite):
    def plan(self, kit: Kit, **changes: Any) -> TargetPlan:
        return super().plan(kit, **{"typed": True, **changes})


class _Postgres:
    @pytest.fixture
    async def kit(self, tools: Any, postgres_server: PostgresServer) -> AsyncIterator[Kit]:
        server = postgres_server

        async def empty(*then: str) -> None:
            admin = await asyncpg.connect(server.dsn, ssl=False)
            await admin.execute("; ".join(["DROP SCHEMA IF EXISTS suite CASCADE", *then]))
            await admin.close()

        await empty("CREATE SCHEMA suite")
        place = {"host": server.host, "port": str(server.port), "database": server.database}
        fields = {**place, "user": server.user, "schema": "suite"}

        def driver(password: str = server.password) -> PostgresqlDriver:
            return PostgresqlDriver(tools.context("postgresql", fields, password=password))

        async def held() -> Mapping[str, Any]:
            connection = await asyncpg.connect(server.dsn, ssl=False)
            rows = await connection.fetch("SELECT id::text, name FROM suite.things")
            await connection.close()
            return {row["id"]: row["name"] for row in rows}

        async def crash() -> None:
            # Not in another thread: a server ends with the thread that started it.
            server.kill()
            server.start_again()

        yield Kit(
            driver, lambda: driver("wrong"), target="things", fields=FIELDS, held=held, bad=bad, crash=crash
        )
        await empty()


class _Sqlite:
    @pytest.fixture
    def kit(self, tools: Any, tmp_path: Path) -> Kit:
        path = tmp_path / "warehouse.sqlite3"

        def driver() -> SqliteDriver:
            return SqliteDriver(tools.context("sqlite", {"path": str(path)}))

        async def held() -> Mapping[str, Any]:
            connection = sqlite3.connect(path)
            found = dict(connection.execute("SELECT CAST(id AS TEXT), name FROM things"))
            connection.close()
            return found

        return Kit(driver, target="things", fields=FIELDS, held=held, bad=bad)


class TestPostgresKeepsTexts(_Postgres, WriteSuite):
    pass


class TestPostgresMirror(_Postgres, _Mirrored):
    pass


class TestSqliteKeepsTexts(_Sqlite, WriteSuite):
    pass


class TestSqliteMirror(_Sqlite, _Mirrored):
    pass
