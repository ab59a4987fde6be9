"""A real MariaDB, spoken to beside the driver with another client, and drivers on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest
from drivers.conftest import FreeLimiter, Observed
from peers.mariadb import MariadbServer

from platint_tui.core.model import Environment, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sql import SqlDriver
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"
SCAN = ReadOptions(sync="sales")
Ask = Callable[..., Any]


def sql_context(
    server: MariadbServer,
    *,
    user: str = "",
    password: str = "",
    platform: str = "mysql",
    chunk: int = 5000,
    **fields: str,
) -> DriverContext:
    """A context with the product's manifest, which tries less often."""
    connector = load_connector(FOLDER / f"{platform}.yaml")
    policy = connector.errors.policy.model_copy(update={"attempts": 4, "base": 0.05, "cap": 0.2})
    resources = {
        name: item.model_copy(update={"source": item.source.model_copy(update={"chunk": chunk})})
        for name, item in connector.resources.items()
        if item.source is not None
    }
    connector = connector.model_copy(
        update={"errors": connector.errors.model_copy(update={"policy": policy}), "resources": resources}
    )
    given = {
        "host": server.host,
        "port": str(server.port),
        "database": server.database,
        "user": user or server.user,
        "tls": "disable",
        **fields,
    }
    checked = validate_fields(connector, given, secrets={"password": None})
    profile = Profile("shop", platform, Environment.DEVELOPMENT, checked, {"password": "env:X"})
    secrets = {"password": Secret(password or server.password)}
    return DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))


def sql_driver(server: MariadbServer, **more: Any) -> SqlDriver:
    return SqlDriver(sql_context(server, **more))


@pytest.fixture
def ask(mariadb_server: MariadbServer) -> Ask:
    """Runs one statement with another client and gives its rows."""

    def run(statement: str, values: Sequence[Any] = (), many: bool = False) -> Any:
        client = pymysql.connect(
            host=mariadb_server.host,
            port=mariadb_server.port,
            user=mariadb_server.user,
            password=mariadb_server.password,
            database=mariadb_server.database,
            charset="utf8mb4",
            init_command="SET time_zone = '+00:00', sql_mode = ''",
            autocommit=True,
        )
        try:
            with client.cursor() as cursor:
                if many:
                    cursor.executemany(statement, values)
                else:
                    cursor.execute(statement, values or None)
                return cursor.fetchall()
        finally:
            client.close()

    return run


@pytest.fixture(autouse=True)
def empty(ask: Ask) -> None:
    """A database without tables."""
    for name, kind in ask("SHOW FULL TABLES"):
        ask(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} `{name}`")


@pytest.fixture
async def make(mariadb_server: MariadbServer) -> AsyncIterator[Callable[..., SqlDriver]]:
    """Drivers that are closed in the end."""
    made: list[SqlDriver] = []

    def build(**more: Any) -> SqlDriver:
        made.append(sql_driver(mariadb_server, **more))
        return made[-1]

    yield build
    for driver in made:
        await driver.close()


async def scan(
    driver: SqlDriver, stream: str, position: Any = None, options: ReadOptions = SCAN
) -> list[Page]:
    async with asyncio.timeout(30):
        return [page async for page in driver.read(stream, position, options)]
