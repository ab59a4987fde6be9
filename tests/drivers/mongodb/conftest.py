"""MongoDB (an emulator), spoken to beside the driver, and drivers on it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from drivers.conftest import FreeLimiter, Observed
from peers.mongodb import MongodbServer
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import (
    Batch,
    Environment,
    Field,
    JsonObject,
    Op,
    Page,
    Profile,
    ReadOptions,
    Record,
    Row,
    TargetPlan,
)
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mongodb import MongodbDriver
from platint_tui.manifest.loader import load_connector

CONNECTOR = load_connector(Path(__file__).parents[3] / "connectors" / "mongodb.yaml")


def mongodb_driver(
    server: MongodbServer,
    *,
    password: str | None = None,
    source: Mapping[str, Any] | None = None,
    connect: float = 5.0,
    attempts: int = 3,
    telemetry: Observed | None = None,
    **fields: str,
) -> MongodbDriver:
    """A driver on the database `shop`; `source` changes what the manifest says of reading."""
    connector = CONNECTOR
    family = connector.resources["*"]
    assert family.source is not None
    changed = family.source.model_copy(update=dict(source or {}))
    policy = connector.errors.policy.model_copy(update={"attempts": attempts, "base": 0.02})
    timeout = connector.transport.timeout.model_copy(update={"connect": connect, "total": 20.0})
    connector = connector.model_copy(
        update={
            "resources": {"*": family.model_copy(update={"source": changed})},
            "errors": connector.errors.model_copy(update={"policy": policy}),
            "transport": connector.transport.model_copy(update={"timeout": timeout}),
        }
    )
    given = {"host": server.host, "port": str(server.port), "user": server.user, "database": "shop", **fields}
    profile = Profile("shop-db", "mongodb", Environment.DEVELOPMENT, given, {})
    secret = server.password if password is None else password
    secrets = {"password": Secret(secret)} if secret else {}
    return MongodbDriver(
        DriverContext(
            connector, profile, secrets, FreeLimiter(), telemetry or Observed(), rng=random.Random(7)
        )
    )


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodbServer]:
    """One server for all files: each test begins with an empty database."""
    server = MongodbServer(tmp_path_factory.mktemp("mongodb"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of what changed is found without a long wait."""
    monkeypatch.setattr("platint_tui.drivers.mongodb.events._SHORT_WAIT_MS", 40)


@pytest.fixture
async def shop(mongodb_server: MongodbServer) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """The database as its administrator sees it, emptied before each test."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_server.url, tz_aware=True)
    await client.admin.command("configureFailPoint", "failCommand", mode="off")
    for name in await client.shop.list_collection_names():
        await client.shop.drop_collection(name)
    yield client.shop
    await client.close()


@pytest.fixture
async def driver(mongodb_server: MongodbServer) -> AsyncIterator[MongodbDriver]:
    opened = mongodb_driver(mongodb_server, source={"chunk": 7})
    yield opened
    await opened.close()


class Reader:
    """Reads a stream, and remembers where it is."""

    def __init__(self, driver: MongodbDriver, stream: str, mode: str, **options: Any) -> None:
        self.driver, self.stream = driver, stream
        self.options = ReadOptions(sync="sync", mode=mode, **options)
        self.position: JsonObject | None = None

    async def pages(self) -> list[Page]:
        """One scan from the present position."""
        found = []
        async with contextlib.aclosing(self.driver.read(self.stream, self.position, self.options)) as pages:  # type: ignore[type-var]  # the driver gives a generator
            async for page in pages:
                found.append(page)
                self.position = page.position
                if page.last:
                    break
        assert found[-1].last
        return found

    async def values(self) -> list[dict[str, Any]]:
        """The values of one scan."""
        return [record.value for page in await self.pages() for record in page.records]

    async def ids(self) -> list[Any]:
        """The `_id`s of one scan, of deleted documents in a tuple, `*` for an emptied collection."""
        return [what(record) for page in await self.pages() for record in page.records]


def what(record: Record) -> Any:
    """A record in short."""
    if record.op is Op.TRUNCATE:
        return "*"
    return (record.value["_id"],) if record.op is Op.DELETE else record.value["_id"]


async def fail(shop: AsyncDatabase[dict[str, Any]], command: str, times: int = 1, **data: Any) -> None:
    """Let the next such commands of the driver fail."""
    await shop.client.admin.command(
        "configureFailPoint",
        "failCommand",
        mode={"times": times},
        data={"failCommands": [command], "appName": "platint-tui", **data},
    )


def plan(*fields: Field, **changes: Any) -> TargetPlan:
    """What a target is told."""
    base: dict[str, Any] = {
        "sync": "sync",
        "stream": "orders",
        "target": "goal",
        "key": ("_id",),
        "cursor": None,
    }
    return TargetPlan(fields=fields, **{**base, "epoch": 1, "run": "run_1", **changes})


def rows(
    values: Sequence[Mapping[str, Any]], key: str = "_id", op: Op = Op.UPSERT, version: Any = None
) -> list[Row]:
    """Rows of these values, all with one version."""
    return [
        Row(canonical_key([value[key]]), dumps(dict(value)), dict(value), version, f"i{number}", op)
        for number, value in enumerate(values)
    ]


def batch(values: Sequence[Mapping[str, Any]], **options: Any) -> Batch:
    """A batch of these values."""
    return Batch(rows(values, **options), None)
