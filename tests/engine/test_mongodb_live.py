"""Whole syncs from and to a MongoDB (an emulator): nothing lost and nothing doubled, whoever is killed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from engine.support import Installation, until
from peers.mongodb import MongodbServer
from pymongo import MongoClient
from pymongo.database import Database

from platint_tui.core.states import RunState

COPY = """
integration: copy
platforms:
  - {name: mongodb, profile: shop, type: sync, endpoints: [orders]}
  - {name: mongodb, profile: shop, type: sync}
sync_frequency: on_demand
streams:
  orders: {target: goal, mode: cdc}
"""
LIVE = """
integration: live
platforms:
  - {name: mongodb, profile: shop, type: sync, endpoints: [orders]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_frequency: real_time
streams:
  orders: {target: orders, mode: cdc, deletes: ignore}
"""


@pytest.fixture
def shop(mongodb_server: MongodbServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MONGO_PASSWORD", mongodb_server.password)
    with MongoClient(mongodb_server.url, tz_aware=True) as client:
        client.drop_database("shop")
        yield client["shop"]


async def set_up(installation: Installation, server: MongodbServer, text: str) -> str:
    installation.environ["MONGO_PASSWORD"] = server.password
    fields = {"host": server.host, "port": str(server.port), "user": server.user, "database": "shop"}
    await installation.profile(
        "shop", "mongodb", {**fields, "tls": "disable"}, {"password": "env:MONGO_PASSWORD"}
    )
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    # The key and the types of the fields are what discovery finds.
    await installation.submit("discover", profile="shop")
    return await installation.integrate(text)


def document(number: int) -> dict[str, Any]:
    return {"_id": ObjectId(), "n": number, "at": datetime(2026, 1, 1, tzinfo=UTC), "fee": Decimal128("1.50")}


def same(shop: Database[dict[str, Any]]) -> bool:
    def held(name: str) -> dict[Any, Any]:
        return {item["_id"]: {k: v for k, v in item.items() if k != "_platint"} for item in shop[name].find()}

    return held("orders") == held("goal")


async def test_A3_killed_between_the_commits_the_copy_is_the_same(
    installation: Installation, mongodb_server: MongodbServer, shop: Database[dict[str, Any]]
) -> None:
    shop.orders.insert_many([document(number) for number in range(30)])
    name = await set_up(installation, mongodb_server, COPY)
    code, said = installation.finish()
    assert code == 0, said[-2000:]
    await installation.submit("run", integration=name, streams=[])
    # The first page holds the place in the stream of changes, the second the documents.
    code, said = installation.finish(PLATINT_FAILPOINT="after_target_commit:2")
    assert code == -9, said[-2000:]
    shop.orders.update_one({"n": 5}, {"$set": {"n": 500}})
    shop.orders.delete_one({"n": 6})
    code, said = installation.finish()
    assert code == 0, said[-2000:]
    [run] = await installation.store.runs.list()
    assert run.state == RunState.SUCCEEDED and same(shop), run
    shop.orders.insert_one(document(31))
    shop.orders.delete_one({"n": 7})
    await installation.submit("run", integration=name, streams=[])
    code, said = installation.finish()
    assert code == 0 and same(shop), said[-2000:]
    assert await installation.letters() == []


async def test_in_real_time_through_a_crash_of_the_database(
    installation: Installation, mongodb_server: MongodbServer, shop: Database[dict[str, Any]]
) -> None:
    shop.orders.insert_many([document(number) for number in range(40)])
    name = await set_up(installation, mongodb_server, LIVE)
    async with installation.engine():
        await until(lambda: installation.store.catalogues.latest("shop"))
        answer = await installation.call("run", integration=name, streams=[])
        assert answer.state == "done", answer.error
        number = str((answer.result or {})["run"])

        async def there(count: int) -> bool:
            with contextlib.suppress(sqlite3.OperationalError):  # not made yet
                return len(installation.table("orders")) >= count
            return False

        await until(lambda: there(40))
        mongodb_server.kill()
        mongodb_server.start_again()
        shop.orders.insert_many([document(number) for number in range(40, 60)])
        await until(lambda: there(60))
        await installation.call("cancel", run=number)
        assert (await installation.ended(number)).state == RunState.CANCELLED
    rows = installation.table("orders")
    assert sorted(row["n"] for row in rows) == list(range(60))
    assert json.loads(rows[0]["_raw"])["at"] == "2026-01-01T00:00:00.000+00:00"
