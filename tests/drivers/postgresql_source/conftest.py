"""PostgreSQL, spoken to beside the driver, and drivers on a database of the test's own."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from drivers.conftest import FreeLimiter, Observed
from peers.postgres import PostgresServer

from platint_tui.core.model import Environment, JsonObject, Op, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.postgresql import PostgresqlDriver
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.schema import Connector

MANIFEST = Path(__file__).parents[3] / "connectors" / "postgresql.yaml"
DATABASE = "shop"


@functools.cache
def connector() -> Connector:
    return load_connector(MANIFEST)


def driver_on(
    server: PostgresServer,
    *,
    password: str | None = None,
    source: Mapping[str, Any] | None = None,
    telemetry: Observed | None = None,
    total: float = 20.0,
    **fields: str,
) -> PostgresqlDriver:
    """A driver on the database `shop`; `source` changes what the manifest says of reading."""
    found = connector()
    family = found.resources["*"]
    assert family.source is not None
    changed = family.source.model_copy(update=dict(source or {}))
    timeout = found.transport.timeout.model_copy(update={"connect": 5.0, "total": total})
    found = found.model_copy(
        update={
            "resources": {"*": family.model_copy(update={"source": changed})},
            "transport": found.transport.model_copy(update={"timeout": timeout}),
        }
    )
    place = {"host": server.host, "port": str(server.port), "user": server.user, "tls": "disable"}
    profile = Profile(
        "shop",
        "postgresql",
        Environment.DEVELOPMENT,
        {**place, "database": DATABASE, **fields},
        {"password": "env:X"},
    )
    return PostgresqlDriver(
        DriverContext(
            found,
            profile,
            {"password": Secret(server.password if password is None else password)},
            FreeLimiter(),
            telemetry or Observed(),
            rng=random.Random(7),
        )
    )


class Shop:
    """A database of its own: `admin` speaks to it beside the driver."""

    def __init__(self, server: PostgresServer, admin: asyncpg.Connection[Any]) -> None:
        self.server = server
        self.admin = admin

    def driver(self, **changes: Any) -> PostgresqlDriver:
        return driver_on(self.server, **changes)

    async def run(self, sql: str) -> None:
        await self.admin.execute(sql)

    async def table(self, stream: str = "t", key: str = "id") -> dict[str, str]:
        """What a table holds, as the snapshot says it: the raw text of each row by its key."""
        pages = await read(self.driver(), stream, None, ReadOptions(key=(key,)))
        return replica(pages, key)

    async def slots(self) -> list[str]:
        return [row[0] for row in await self.admin.fetch("SELECT slot_name::text FROM pg_replication_slots")]


async def connected(server: PostgresServer, database: str = DATABASE) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=database,
        ssl=False,
    )


@pytest.fixture(scope="session")
def shop_database(postgres_server: PostgresServer) -> PostgresServer:
    postgres_server.psql(f"CREATE DATABASE {DATABASE}")
    return postgres_server


@pytest.fixture
async def shop(shop_database: PostgresServer) -> AsyncIterator[Shop]:
    """An empty database; the slots that a test leaves are dropped after it."""
    admin = await connected(shop_database)
    await admin.execute("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
    made = Shop(shop_database, admin)
    yield made
    if made.admin.is_closed():  # a test has killed the server
        made.admin = await connected(shop_database)
    await clean(made.admin)
    await made.admin.close()


async def clean(admin: asyncpg.Connection[Any]) -> None:
    """Drop everything that a test has made."""
    if await admin.fetchval("SELECT count(*) FROM pg_replication_slots"):
        await admin.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE active"
        )
        await admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    for row in await admin.fetch("SELECT pubname FROM pg_publication"):
        await admin.execute(f'DROP PUBLICATION "{row[0]}"')
    for row in await admin.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_|public)'"
    ):
        await admin.execute(f'DROP SCHEMA "{row[0]}" CASCADE')


async def read(
    driver: PostgresqlDriver,
    stream: str,
    position: JsonObject | None = None,
    options: ReadOptions | None = None,
    *,
    most: int | None = None,
    acknowledge: bool = False,
) -> list[Page]:
    """The pages of one scan, or the first `most` of them."""
    found: list[Page] = []
    pages = driver.read(stream, position, options or ReadOptions())
    async with contextlib.aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            found.append(page)
            if acknowledge:
                await driver.acknowledge(stream, page.position)
            if len(found) == most:
                break
    assert most is not None or found[-1].last
    return found


def replica(pages: Iterable[Page], key: str = "id", held: dict[str, str] | None = None) -> dict[str, str]:
    """What a target holds after these pages: upserts and deletes by key, in the order in which they came."""
    rows = {} if held is None else held
    for page in pages:
        assert not page.bad
        for record in page.records:
            if record.op is Op.TRUNCATE:
                rows.clear()
            elif record.op is Op.DELETE:
                rows.pop(str(record.value[key]), None)
            else:
                rows[str(record.value[key])] = record.raw
    return rows


def values(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]


CDC = ReadOptions(sync="sales", mode="cdc", key=("id",))
