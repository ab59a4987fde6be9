from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId, Timestamp
from drivers.mongodb.conftest import Reader, fail, mongodb_driver, what
from peers.mongodb import MongodbServer
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.errors import ConfigError, PositionLost, SystemicError, TransientError
from platint_tui.core.model import Op, Page, ReadOptions
from platint_tui.drivers.mongodb import MongodbDriver
from platint_tui.drivers.mongodb.events import position_time, token_time

Database = AsyncDatabase[dict[str, Any]]
FOLLOW = ReadOptions(sync="sync", mode="cdc", follow=True)


@contextlib.asynccontextmanager
async def followed(
    driver: MongodbDriver, position: Any = None, options: ReadOptions = FOLLOW
) -> AsyncIterator[AsyncIterator[Page]]:
    """The pages of `orders`, for at most a while."""
    async with asyncio.timeout(20):
        pages = driver.read("orders", position, options)
        async with contextlib.aclosing(pages):  # type: ignore[type-var]  # the driver gives a generator
            yield pages


async def test_inserts_updates_replaces_and_deletes_come_in_order(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.orders.insert_many([{"_id": number, "n": 0} for number in range(9)])
    reader = Reader(driver, "orders", "cdc")
    assert await reader.ids() == list(range(9))
    assert await reader.ids() == []
    before = datetime.now(UTC).timestamp() * 1000 - 2000
    one = ObjectId()
    await shop.orders.insert_one({"_id": one, "a": None})
    await shop.orders.update_one({"_id": 1}, {"$set": {"n": 5}})
    await shop.orders.replace_one({"_id": 2}, {"other": True})
    await shop.orders.delete_one({"_id": 3})
    pages = await reader.pages()
    records = [record for page in pages for record in page.records]
    assert [record.value for record in records] == [
        {"_id": str(one), "a": None},
        {"_id": 1, "n": 5},
        {"_id": 2, "other": True},
        {"_id": 3},
    ]
    assert [record.op for record in records] == ["", "", "", Op.DELETE]
    happened = [moment for page in pages for moment in page.happened]
    assert len(happened) == 4 and all(before < moment < before + 60_000 for moment in happened)
    assert await reader.ids() == []


async def test_what_happens_during_the_snapshot_comes_after_it(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_many([{"_id": number, "n": 0} for number in range(30)])
    state: dict[Any, Any] = {}
    position = None
    first = True
    for _ in range(2):
        async for page in driver.read("orders", position, ReadOptions(mode="cdc")):
            for record in page.records:
                if record.op is Op.DELETE:
                    state.pop(record.value["_id"], None)
                else:
                    state[record.value["_id"]] = record.value["n"]
            position = page.position
            if first:
                first = False
                # Behind and before the place of the snapshot; then it is interrupted.
                await shop.orders.update_many({"_id": {"$in": [0, 29]}}, {"$set": {"n": 1}})
                await shop.orders.delete_many({"_id": {"$in": [1, 28]}})
                await shop.orders.insert_one({"_id": -5, "n": 2})
                break
    assert state == {item["_id"]: item["n"] async for item in shop.orders.find()}


async def test_an_update_of_a_document_that_is_gone_is_left_out(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.orders.insert_one({"_id": 1})
    reader = Reader(driver, "orders", "cdc")
    await reader.ids()
    await shop.orders.update_one({"_id": 1}, {"$set": {"n": 5}})
    await shop.orders.delete_one({"_id": 1})
    assert await reader.ids() == [(1,)]


async def test_followed_it_gives_changes_at_once_and_signs_of_life(
    shop: Database, mongodb_server: MongodbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.mongodb.changes._ALIVE_SECONDS", 0.1)
    monkeypatch.setattr("platint_tui.drivers.mongodb.events._WAIT_MS", 100)
    driver = mongodb_driver(mongodb_server, source={"heartbeat": 0.3})
    await shop.orders.insert_one({"_id": 1})
    assert driver.follows("orders", FOLLOW) and not driver.follows(
        "orders", ReadOptions(mode="cursor", follow=True)
    )
    async with followed(driver) as pages:
        begin = await anext(pages)
        assert not begin.records and begin.position["phase"] == "snapshot", "stored before the first document"
        assert [what(record) for record in (await anext(pages)).records] == [1]
        for number in (2, 3):
            await shop.orders.insert_one({"_id": number})
            while not (page := await anext(pages)).records:
                assert not page.last
            assert [what(record) for record in page.records] == [number]
        held = page.position
        await shop.other.insert_one({"a": 1})
        quiet = [await anext(pages) for _ in range(6)]
    assert not any(page.records or page.last for page in quiet)
    assert quiet[0].position == held, "a sign of life stores nothing"
    resumed = Reader(driver, "orders", "cdc")
    for page in quiet:
        resumed.position = page.position
        assert await resumed.ids() == []
    await driver.close()


async def test_a_dropped_collection_is_emptied_and_read_anew(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_many([{"_id": 1}, {"_id": 2}])
    reader = Reader(driver, "orders", "cdc")
    await reader.ids()
    await shop.orders.insert_one({"_id": 3})
    await shop.orders.drop()
    assert await reader.ids() == [3, "*"]
    assert await reader.ids() == []
    await shop.orders.insert_many([{"_id": 4}, {"_id": 5}])
    assert await reader.ids() == [4, 5]
    await shop.orders.drop()
    await shop.orders.insert_one({"_id": 6})
    pages = await reader.pages()
    found = [what(record) for page in pages for record in page.records]
    assert found[0] == "*" and set(found[1:]) == {6}
    seen: set[Any] = set()
    for page in pages[:-1]:
        seen |= {what(record) for record in page.records}
        resumed = Reader(driver, "orders", "cdc")
        resumed.position = page.position
        assert seen | set(await resumed.ids()) == {"*", 6}


async def test_a_collection_that_another_replaces_is_read_anew(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_many([{"_id": 1}, {"_id": 2}])
    reader = Reader(driver, "orders", "cdc")
    await reader.ids()
    await shop.fresh.insert_many([{"_id": 10}, {"_id": 2}])
    await shop.fresh.rename("orders", dropTarget=True)
    pages = await reader.pages()
    assert [what(record) for page in pages for record in page.records] == ["*", 2, 10]
    await shop.orders.insert_one({"_id": 11})
    # The emulator refuses its own token of the moment after a rename; the one before it does.
    reader.position = pages[0].position
    found = await reader.ids()
    assert set(found) - {"*"} == {2, 10, 11}


async def test_a_renamed_collection_is_for_the_operator_to_decide(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.orders.insert_one({"_id": 1})
    reader = Reader(driver, "orders", "cdc")
    await reader.ids()
    await shop.orders.insert_one({"_id": 2})
    await shop.orders.rename("archive")
    await shop.orders.insert_one({"_id": 3})
    held = reader.position
    with pytest.raises(PositionLost, match="was renamed to 'archive'") as caught:
        await reader.ids()
    assert caught.value.hint and reader.position != held, "what came before was given"
    again = Reader(driver, "orders", "cdc", on_lost="resnapshot")
    again.position = reader.position
    found = await again.ids()
    assert found[0] == "*" and set(found[1:]) == {3}
    skipping = Reader(driver, "orders", "cdc", on_lost="skip")
    skipping.position = reader.position
    pages = await skipping.pages()
    [gap] = [gap for page in pages for gap in page.gaps]
    assert "archive" in gap.reason and gap.start
    assert [what(record) for page in pages for record in page.records] == [3]


@pytest.mark.parametrize(("code", "command"), [(286, "getMore"), (280, "aggregate"), (260, "aggregate")])
async def test_lost_history_is_a_lost_position(
    shop: Database, driver: MongodbDriver, code: int, command: str
) -> None:
    await shop.orders.insert_many([{"_id": 1}, {"_id": 2}])
    reader = Reader(driver, "orders", "cdc")
    await reader.ids()
    await shop.orders.insert_one({"_id": 3})
    lost = {"errorCode": code, "errorLabels": ["NonResumableChangeStreamError"]}
    for on_lost in ("ask", "stop"):
        await fail(shop, command, **lost)
        asking = Reader(driver, "orders", "cdc", on_lost=on_lost)
        asking.position = reader.position
        with pytest.raises(PositionLost, match="no longer has the changes") as caught:
            await asking.pages()
        assert caught.value.code == "position_lost" and caught.value.hint
    await fail(shop, command, **lost)
    skipping = Reader(driver, "orders", "cdc", on_lost="skip")
    skipping.position = reader.position
    pages = await skipping.pages()
    [gap] = [gap for page in pages for gap in page.gaps]
    assert "no longer has the changes" in gap.reason and gap.end
    await fail(shop, command, **lost)
    again = Reader(driver, "orders", "cdc", on_lost="resnapshot")
    again.position = reader.position
    pages = await again.pages()
    assert {what(record) for page in pages for record in page.records} == {1, 2, 3}
    assert ["deleted" in gap.reason for page in pages for gap in page.gaps] == [True]
    if command == "getMore":
        await fail(shop, command, times=2, **lost)
        again.position = reader.position
        with pytest.raises(PositionLost, match="oplog is too short"):
            await again.pages()
    await shop.client.admin.command("configureFailPoint", "failCommand", mode="off")


async def test_a_token_of_another_server_is_a_lost_position(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_one({"_id": 1})
    reader = Reader(driver, "orders", "cdc")
    reader.position = {"v": 1, "mode": "cdc", "token": {"_data": "8265a1b2c3000000052b042c0100296e5a1004"}}
    with pytest.raises(PositionLost):
        await reader.ids()
    assert position_time(reader.position) == "2024-01-12T21:44:35+00:00"
    assert token_time({"_data": "8265a1b2c3000000052b"}) == Timestamp(0x65A1B2C3, 5)
    assert token_time({"_data": "2e00"}) is None and token_time({"_data": "82zz"}) is None


async def test_other_failures_are_no_lost_position(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_one({"_id": 1})
    reader = Reader(driver, "orders", "cdc", on_lost="skip")
    await reader.ids()
    await fail(shop, "aggregate", times=4, closeConnection=True)
    with pytest.raises(TransientError):
        await reader.pages()
    await shop.client.admin.command("configureFailPoint", "failCommand", mode="off")
    await fail(shop, "aggregate", errorCode=10334)
    with pytest.raises(SystemicError, match="16 MB"):
        await reader.pages()
    await fail(shop, "aggregate", errorCode=40573)
    with pytest.raises(ConfigError, match="change streams need a replica set") as caught:
        await reader.pages()
    assert "rs.initiate" in caught.value.hint


async def test_killed_while_it_is_followed_the_server_loses_nothing(
    shop: Database, mongodb_server: MongodbServer
) -> None:
    driver = mongodb_driver(mongodb_server, connect=0.6)
    await shop.orders.insert_one({"_id": 1})
    async with followed(driver) as pages:
        while "phase" in (position := (await anext(pages)).position):
            pass
        mongodb_server.kill()
        with pytest.raises(TransientError):
            while True:
                position = (await anext(pages)).position
    mongodb_server.start_again()
    await shop.orders.insert_one({"_id": 2})
    async with followed(driver, position) as pages:
        while not (page := await anext(pages)).records:
            pass
    assert [what(record) for record in page.records] == [2]
    await driver.close()
