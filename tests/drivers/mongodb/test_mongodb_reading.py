from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from drivers.mongodb.conftest import Reader, fail, mongodb_driver
from peers.mongodb import MongodbServer
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.mongodb import MongodbDriver
from platint_tui.drivers.mongodb.values import plain_id

Database = AsyncDatabase[dict[str, Any]]
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


async def test_ids_of_every_type_are_read_in_chunks_and_none_is_left_out(
    shop: Database, driver: MongodbDriver
) -> None:
    ids: list[Any] = [
        MinKey(),
        MaxKey(),
        True,
        False,
        Timestamp(1, 1),
        Timestamp(1, 2),
        float("nan"),
        float("-inf"),
    ]
    ids += [1, 2.5, Int64(2**60), Decimal128("4.5"), Decimal128("1E+6000"), {"a": 1}, {"a": 2}]
    # The emulator sorts binary values rightly, but `$gt` takes some of them in another order; not these.
    ids += [UUID(int=number << 120) for number in range(0x80, 0x89)]
    ids += [START, at(1), *(f"text {number:02}" for number in range(16))]
    ids += [ObjectId() for _ in range(9)]
    raw = shop.client.get_database(
        "shop", codec_options=shop.codec_options.with_options(uuid_representation=4)
    )
    await raw.orders.insert_many([{"_id": value, "n": number} for number, value in enumerate(ids)])
    # Null is no key to the engine, but it is read.
    await shop.orders.insert_one({"_id": None, "n": -1})
    reader = Reader(driver, "orders", "snapshot")
    pages = await reader.pages()
    found = [record.value for page in pages for record in page.records]
    assert sorted(value["n"] for value in found) == list(range(-1, len(ids)))
    assert {str(plain_id(value)) for value in [*ids, None]} == {str(value["_id"]) for value in found}
    assert max(len(page.records) for page in pages) == 7 and not any(page.bad for page in pages)
    # Every position inside leads to exactly the rest.
    for number in range(len(pages) - 1):
        reader.position = pages[number].position
        rest = await reader.values()
        assert [v["n"] for v in rest] == [r.value["n"] for page in pages[number + 1 :] for r in page.records]
    assert [v["n"] for v in found] == [v["n"] for v in await reader.values()], "the next scan begins again"


async def test_an_object_id_and_a_text_that_look_the_same_are_never_one_record(
    shop: Database, driver: MongodbDriver
) -> None:
    one, other = ObjectId(), ObjectId()
    await shop.orders.insert_many([{"_id": one}, {"_id": str(one)}, {"_id": other}, {"_id": "else"}])
    [page] = await Reader(driver, "orders", "snapshot").pages()
    assert {record.value["_id"] for record in page.records} == {str(one), str(other), "else"}
    [bad] = page.bad
    assert "as a text" in bad.reason and str(one) in bad.raw
    changes = Reader(driver, "orders", "cdc")
    await changes.pages()
    await shop.orders.delete_one({"_id": one})
    await shop.orders.delete_one({"_id": other})
    pages = await changes.pages()
    assert [record.value for page in pages for record in page.records] == [{"_id": str(other)}]
    assert len([bad for page in pages for bad in page.bad]) == 1, (
        "the text is still there, so nothing is deleted"
    )


async def test_a_large_document_ends_a_page(
    shop: Database, driver: MongodbDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.mongodb.chunks.MOST_BYTES", 1000)
    await shop.orders.insert_many([{"_id": number, "x": "y" * 600} for number in range(5)])
    pages = await Reader(driver, "orders", "snapshot").pages()
    assert [len(page.records) for page in pages] == [2, 2, 1] and pages[0].bytes > 1200


async def test_views_and_time_series_are_read_whole(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_many([{"_id": number, "at": at(number)} for number in range(20)])
    await shop.create_collection("shown", viewOn="orders", pipeline=[{"$project": {"_id": 0}}])
    await shop.create_collection("measured", timeseries={"timeField": "at"})
    await shop.measured.insert_many([{"at": at(number)} for number in range(9)])
    reader = Reader(driver, "shown", "snapshot")
    pages = await reader.pages()
    assert [len(page.records) for page in pages] == [7, 7, 6] and "_id" not in pages[0].records[0].value
    assert {str(page.position) for page in pages} == {str({"v": 1, "mode": "snapshot"})}
    assert len(await Reader(driver, "measured", "snapshot").values()) == 9
    with pytest.raises(ConfigError, match="view, which has no changes"):
        await Reader(driver, "shown", "cdc").pages()


@pytest.mark.parametrize("mode", ["snapshot", "cursor"])
async def test_a_collection_that_goes_away_in_mid_read_is_no_finished_scan(
    shop: Database, driver: MongodbDriver, mode: str
) -> None:
    await shop.orders.insert_many([{"_id": number, "n": number} for number in range(30)])
    pages = driver.read("orders", None, ReadOptions(mode=mode, cursor="n"))
    with pytest.raises(ConfigError, match="'orders' was dropped while it was read"):
        async for page in pages:
            assert not page.last
            await shop.orders.drop()
    await shop.orders.insert_many([{"_id": number, "n": number} for number in range(30)])
    reader = Reader(driver, "orders", mode, cursor="n")
    async with contextlib.aclosing(driver.read("orders", None, reader.options)) as begun:  # type: ignore[type-var]
        reader.position = (await anext(aiter(begun))).position
    await shop.orders.drop()
    await shop.orders.insert_many([{"_id": number, "n": -number} for number in range(3)])
    # The emulator gives a collection that is made anew the identity of the old one; the position tells of another.
    assert reader.position["mark"]
    reader.position = {**reader.position, "mark": "0" * 32}
    assert len(await reader.ids()) == 3, "a collection that was made anew is read from the beginning"


async def test_what_is_not_there_is_said_with_the_nearest_name(
    shop: Database, driver: MongodbDriver, mongodb_server: MongodbServer
) -> None:
    await shop.orders.insert_one({})
    with pytest.raises(ConfigError, match="no collection 'order'") as caught:
        await Reader(driver, "order", "snapshot").pages()
    assert caught.value.code == "no_collection" and caught.value.hint == "Did you mean 'orders'?"
    elsewhere = mongodb_driver(mongodb_server, database="nowhere")
    with pytest.raises(ConfigError, match="'nowhere' has no collection 'orders'"):
        await Reader(elsewhere, "orders", "cdc").pages()
    await elsewhere.close()


async def test_by_a_field_ties_are_never_cut_and_a_scan_goes_on_at_any_page(
    shop: Database, driver: MongodbDriver
) -> None:
    # 3 documents at the first minute, 20 at the second, 1 at the third ...
    times = [1] * 3 + [2] * 20 + [3] + [4] * 7 + [5] * 8 + [6]
    await shop.orders.insert_many([{"_id": number, "t": at(minute)} for number, minute in enumerate(times)])
    reader = Reader(driver, "orders", "cursor", cursor="t")
    pages = await reader.pages()
    found = [record.value["_id"] for page in pages for record in page.records]
    assert sorted(found) == list(range(len(times))) and len(pages) > 5
    seen: set[int] = set()
    for page in pages[:-1]:
        seen |= {record.value["_id"] for record in page.records}
        resumed = Reader(driver, "orders", "cursor", cursor="t")
        resumed.position = page.position
        assert seen | set(await resumed.ids()) == set(range(len(times)))
    await shop.orders.insert_many([{"_id": 100, "t": at(5)}, {"_id": 101, "t": at(9)}])
    assert await reader.ids() == [40 - 1, 101], "the last value is read again, for what came with the same"
    assert await reader.ids() == [101]


async def test_by_a_field_the_overlap_finds_what_came_late(
    mongodb_server: MongodbServer, shop: Database
) -> None:
    driver = mongodb_driver(mongodb_server, source={"overlap": 90.0})
    await shop.orders.insert_many([{"_id": number, "t": at(number)} for number in range(5)])
    reader = Reader(driver, "orders", "cursor", cursor="t")
    assert await reader.ids() == [0, 1, 2, 3, 4]
    await shop.orders.insert_one({"_id": "late", "t": at(3.5)})
    assert await reader.ids() == [3, "late", 4]
    await shop.orders.delete_many({"_id": {"$in": [3, 4, "late"]}})
    assert await reader.ids() == []
    assert await reader.ids() == [], "the greatest value stays when its document goes"
    await driver.close()


async def test_by_a_field_documents_without_it_are_read_every_time(
    shop: Database, driver: MongodbDriver
) -> None:
    odd = [
        {"_id": "missing"},
        {"_id": "null", "t": None},
        {"_id": "text", "t": "soon"},
        {"_id": "number", "t": 5},
    ]
    await shop.orders.insert_many([*odd, *({"_id": number, "t": at(number)} for number in range(10))])
    reader = Reader(driver, "orders", "cursor", cursor="t")
    assert sorted(map(str, await reader.ids())) == sorted(
        map(str, ["missing", "null", "text", "number", *range(10)])
    )
    await shop.orders.insert_one({"_id": "more"})
    assert set(await reader.ids()) == {"missing", "null", "text", "number", "more", 9}
    await shop.orders.insert_one({"_id": "stamp", "t": Timestamp(5, 1)})
    assert len(await reader.ids()) == 16, "a greater type is the one that counts from now on"
    await shop.orders.insert_one({"_id": "stamped", "t": Timestamp(6, 1)})
    found = await reader.ids()
    assert len(found) == 17 and found[-2:] == ["stamp", "stamped"]
    await shop.orders.delete_many({"_id": {"$in": ["stamp", "stamped"]}})
    nobody = Reader(driver, "orders", "cursor", cursor="nothing")
    assert len(await nobody.ids()) == len(await nobody.ids()) == 15
    await shop.orders.insert_one({"_id": "list", "t": [at(100)]})
    with pytest.raises(ConfigError, match="'t' holds lists"):
        await Reader(driver, "orders", "cursor", cursor="t").pages()
    with pytest.raises(ConfigError, match="Nothing says by which field"):
        await Reader(driver, "orders", "cursor").pages()


async def test_a_nested_field_and_an_empty_collection_can_be_read_by(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.create_collection("orders")
    reader = Reader(driver, "orders", "cursor", cursor="meta.changed")
    assert await reader.ids() == []
    await shop.orders.insert_many([{"_id": number, "meta": {"changed": number}} for number in range(9)])
    assert await reader.ids() == list(range(9))
    assert await reader.ids() == [8]


async def test_a_cut_connection_is_a_lost_one_and_reading_goes_on_from_the_position(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.orders.insert_many([{"_id": number} for number in range(20)])
    reader = Reader(driver, "orders", "snapshot")
    seen: list[Any] = []
    with pytest.raises(TransientError, match="connection to the database was lost"):
        async for page in driver.read("orders", None, reader.options):
            seen += [record.value["_id"] for record in page.records]
            reader.position = page.position
            await fail(shop, "find", times=2, closeConnection=True)
    assert seen == list(range(7)) and await reader.ids() == list(range(7, 20))


async def test_a_position_of_another_mode_or_field_is_none(shop: Database, driver: MongodbDriver) -> None:
    await shop.orders.insert_many([{"_id": number, "n": number} for number in range(3)])
    reader = Reader(driver, "orders", "cursor", cursor="n")
    await reader.ids()
    other = Reader(driver, "orders", "snapshot")
    other.position = reader.position
    assert await other.ids() == [0, 1, 2]
    with pytest.raises(ConfigError, match="cannot be read with mode consume"):
        await Reader(driver, "orders", "consume").pages()
