"""The behaviour that every driver has to show."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from drivers.mongodb.conftest import mongodb_driver
from peers.mongodb import MongodbServer
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.model import ReadOptions
from platint_tui.drivers.mongodb import MongodbDriver
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite

_NUMBERS = itertools.count()


@pytest.fixture
async def shop(mongodb_server: MongodbServer) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """A database of its own for each test: the emulator takes long to empty one."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_server.url)
    yield client[f"suite{next(_NUMBERS)}"]
    await client.close()


def make_kit(server: MongodbServer, shop: AsyncDatabase[dict[str, Any]], mode: str) -> Kit:
    made = 0

    def driver() -> MongodbDriver:
        return mongodb_driver(server, source={"chunk": 25}, attempts=8, database=shop.name)

    async def put(count: int) -> Sequence[str]:
        nonlocal made
        ids = [f"o{number:05}" for number in range(made, made + count)]
        await shop.orders.insert_many([{"_id": name, "n": made + at} for at, name in enumerate(ids)])
        made += count
        return ids

    async def held() -> Mapping[str, Any]:
        return {str(item["_id"]): item async for item in shop.goal.find()}

    async def crash() -> None:
        server.kill()
        server.start_again()

    return Kit(
        driver=driver,
        refused=lambda: mongodb_driver(server, password="wrong-canary-3b"),
        stream="orders",
        options=ReadOptions(sync="suite", mode=mode, cursor="n" if mode == "cursor" else None),
        key=("_id",),
        put=put,
        target="goal",
        row=lambda number: {"_id": number, "name": f"row {number}"},
        bad=lambda number: {"_id": number, "name": "\ud800"},
        held=held,
        crash=crash if mode != "cursor" else None,
    )


class TestSnapshot(ReadSuite, WriteSuite):
    """A collection read whole, and one written."""

    @pytest.fixture
    async def kit(self, mongodb_server: MongodbServer, shop: AsyncDatabase[dict[str, Any]]) -> Kit:
        return make_kit(mongodb_server, shop, "snapshot")


class TestCursor(ReadSuite):
    """A collection read by a number that grows."""

    @pytest.fixture
    async def kit(self, mongodb_server: MongodbServer, shop: AsyncDatabase[dict[str, Any]]) -> Kit:
        return make_kit(mongodb_server, shop, "cursor")


class TestChanges(ReadSuite):
    """A collection read once, and then by its change stream."""

    @pytest.fixture
    async def kit(self, mongodb_server: MongodbServer, shop: AsyncDatabase[dict[str, Any]]) -> Kit:
        return make_kit(mongodb_server, shop, "cdc")
