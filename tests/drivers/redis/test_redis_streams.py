"""Redis streams: records, groups, acknowledgement, waiting, and entries that are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from drivers.redis.conftest import SYNC, records, scan
from peers.redis import RedisServer
from redis.asyncio import Redis

from platint_tui.core.errors import ConfigError, PositionLost, TransientError
from platint_tui.core.model import Page, ReadOptions
from platint_tui.drivers.redis import RedisDriver

GROUP = "platint-sales"
SNAPSHOT = replace(SYNC, mode="snapshot")
SKIP = replace(SYNC, on_lost="skip")
MODES = pytest.mark.parametrize("options", [SYNC, SNAPSHOT], ids=["consume", "snapshot"])


async def add(admin: Redis, count: int, start: int = 1, **fields: str) -> list[str]:
    """Entries with the ids 1-1, 2-1 and so on."""
    pipe = admin.pipeline(transaction=False)
    for number in range(start, start + count):
        pipe.xadd("orders", fields or {"n": str(number)}, id=f"{number}-1")
    return [identity.decode() for identity in await pipe.execute()]


async def group(admin: Redis) -> dict[str, Any]:
    [found] = [item for item in await admin.xinfo_groups("orders") if item["name"] == GROUP.encode()]
    return dict(found)


def ids(pages: list[Page]) -> list[str]:
    return [item.value["id"] for page in pages for item in page.records]


def gaps(pages: list[Page]) -> list[tuple[str, str]]:
    return [(gap.start, gap.end) for page in pages for gap in page.gaps]


async def test_an_entry_is_a_record_in_the_shape_of_a_message(driver: RedisDriver, admin: Redis) -> None:
    await admin.xadd(
        "orders", {"name": "Zoë", "data": '{"customer": {"id": 7}}', "n": "1"}, id="1700000000123-4"
    )
    await admin.execute_command("XADD", "orders", "1700000000124-0", "a", "1", "a", b"\xff")
    await admin.execute_command("XADD", "orders", "1700000000125-0", b"\xff", "x")
    [page] = await scan(driver, "orders")
    first, second, third = (record.value for record in page.records)
    assert first == {
        "id": "1700000000123-4",
        "stream": "orders",
        "timestamp": "2023-11-14T22:13:20.123+00:00",
        "key": None,
        "headers": {},
        "body": {"name": "Zoë", "data": {"customer": {"id": 7}}, "n": "1"},
    }
    assert second["body"] == [["a", "1"], ["a", {"base64": "/w=="}]]
    assert third["body"] == {"base64:/w==": "x"} and third["encoding"] == "base64"
    assert list(page.happened) == [1700000000123, 1700000000124, 1700000000125]


async def test_consuming_leaves_pending_what_is_not_acknowledged(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 40)
    pages = await scan(driver, "orders")
    assert len(pages) > 1 and (await group(admin))["pending"] == 40
    await driver.acknowledge("orders", pages[0].position)
    assert (await group(admin))["pending"] == 40 - len(pages[0].records)
    await driver.acknowledge("orders", pages[-1].position)
    assert (await group(admin))["pending"] == 0
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    later = await scan(driver, "orders", pages[-1].position)
    assert ids(later) == [] and later[-1].position["unacked"] == []


async def test_after_a_crash_between_commit_and_acknowledgement_nothing_comes_twice(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 40)
    first = (await scan(make(chunk=16), "orders"))[0]
    # Stored with this position, but not acknowledged: the next reader does that, and goes on behind it.
    rest = await scan(make(chunk=16), "orders", first.position)
    assert ids(rest) == [f"{number}-1" for number in range(17, 41)]
    assert {item["message_id"] for item in await admin.xpending_range("orders", GROUP, "-", "+", 100)} == {
        identity.encode() for identity in ids(rest)
    }


async def test_a_position_that_was_set_back_is_read_from_again(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 5)
    pages = await scan(driver, "orders")
    await driver.acknowledge("orders", pages[-1].position)
    assert ids(await scan(driver, "orders", {"v": 1, "id": "3-1"})) == ["4-1", "5-1"]
    assert ids(await scan(driver, "orders", None)) == ["1-1", "2-1", "3-1", "4-1", "5-1"]


async def test_entries_that_another_consumer_left_behind_are_claimed(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 6)
    await admin.xgroup_create("orders", GROUP, "0")
    await admin.xreadgroup(GROUP, "gone", {"orders": ">"}, count=2)
    pages = await scan(make(), "orders", {"v": 1, "id": "2-1", "group": GROUP, "unacked": []})
    assert ids(pages) == ["3-1", "4-1", "5-1", "6-1"]  # it may still be at work
    await admin.xclaim("orders", GROUP, "gone", 0, ["1-1", "2-1"], idle=120_000)
    pages = await scan(make(), "orders", pages[-1].position)
    assert ids(pages) == ["1-1", "2-1"]
    # Claimed, but not stored: they come once more, as our own.
    assert ids(await scan(make(), "orders", {**pages[-1].position, "unacked": []})) == ["1-1", "2-1"]
    driver = make()
    await driver.acknowledge("orders", pages[-1].position)
    assert (await group(admin))["pending"] == 0


async def test_a_new_consumer_may_begin_with_what_comes(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 3)
    first = await scan(make(start="latest"), "orders")
    assert ids(first) == [] and first[-1].position["id"] == "3-1"
    await add(admin, 2, 4)
    # The first position was never stored: the group remembers where it began.
    assert ids(await scan(make(start="latest"), "orders")) == ["4-1", "5-1"]
    assert ids(await scan(make(start="latest"), "orders")) == ["4-1", "5-1"]


async def test_looking_makes_no_group(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 3)
    assert ids(await scan(driver, "orders", None, replace(SYNC, peek=True))) == ["1-1", "2-1", "3-1"]
    assert ids(await scan(driver, "orders", None, ReadOptions())) == ["1-1", "2-1", "3-1"]
    assert ids(await scan(driver, "orders", None, SNAPSHOT)) == ["1-1", "2-1", "3-1"]
    assert await admin.xinfo_groups("orders") == []
    with pytest.raises(ConfigError, match="There is no stream 'absent'"):
        await scan(driver, "absent")
    assert await admin.exists("absent") == 0


async def test_a_group_that_was_removed_is_made_at_the_position(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 4)
    pages = await scan(driver, "orders")
    await admin.xgroup_destroy("orders", GROUP)
    await add(admin, 2, 5)
    assert ids(await scan(driver, "orders", pages[-1].position)) == ["5-1", "6-1"]


@MODES
async def test_trimmed_entries_are_a_gap(driver: RedisDriver, admin: Redis, options: ReadOptions) -> None:
    await add(admin, 4)
    position = (await scan(driver, "orders", None, options))[-1].position
    await admin.xtrim("orders", maxlen=0, approximate=False)
    assert gaps(await scan(driver, "orders", position, options)) == []  # only what was read is gone
    await add(admin, 6, 5)
    await admin.xtrim("orders", maxlen=2, approximate=False)
    with pytest.raises(PositionLost) as caught:
        await scan(driver, "orders", position, options)
    assert "4 entries were removed before being read: it begins at 9-1 now" in caught.value.message
    for answer in ("skip", "resnapshot"):
        pages = await scan(driver, "orders", position, replace(options, on_lost=answer))
        assert (ids(pages), gaps(pages)) == (["9-1", "10-1"], [("4-1", "9-1")])
    assert gaps(await scan(driver, "orders", pages[-1].position, options)) == []
    await add(admin, 3, 11)
    await admin.xtrim("orders", maxlen=0, approximate=False)
    pages = await scan(driver, "orders", pages[-1].position, replace(options, on_lost="skip"))
    assert (ids(pages), gaps(pages)) == ([], [("10-1", "13-1")])
    assert gaps(await scan(driver, "orders", pages[-1].position, options)) == []


@MODES
async def test_a_stream_that_was_made_anew_is_told(
    driver: RedisDriver, admin: Redis, options: ReadOptions
) -> None:
    await add(admin, 5)
    position = (await scan(driver, "orders", None, options))[-1].position
    for first in (1, 100):
        await admin.delete("orders")
        await add(admin, 2, first)
        with pytest.raises(PositionLost, match="deleted and made anew"):
            await scan(driver, "orders", position, options)
        pages = await scan(driver, "orders", position, replace(options, on_lost="skip"))
        assert ids(pages) == [f"{first}-1", f"{first + 1}-1"] and len(gaps(pages)) == 1


async def test_entries_deleted_while_they_were_pending_are_a_gap(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 4)
    await scan(driver, "orders")
    await admin.xdel("orders", "2-1", "3-1")
    pages = await scan(driver, "orders", None)
    assert (ids(pages), gaps(pages)) == (["1-1", "4-1"], [("2-1", "3-1")])
    await driver.acknowledge("orders", pages[-1].position)
    assert (await group(admin))["pending"] == 0


async def test_an_entry_too_large_is_kept_as_a_dead_letter(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 1, 1, blob="x" * 5_000)
    await add(admin, 1, 2, blob="x" * 50)
    [page] = await scan(make(max_message=1_000), "orders")
    assert ids([page]) == ["2-1"] and len(page.bad) == 1 and "x" * 5_000 in page.bad[0].raw
    assert page.position["unacked"] == ["1-1", "2-1"]


async def test_pages_of_large_entries_are_small(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 30, blob="x" * 200_000)
    pages = await scan(driver, "orders")
    assert len(ids(pages)) == 30 and max(len(page.records) for page in pages[1:]) <= 5


@contextlib.asynccontextmanager
async def following(driver: RedisDriver, options: ReadOptions, position: Any = None) -> AsyncIterator[Any]:
    """The pages of a followed stream, closed in the end."""
    pages = driver.read("orders", position, replace(options, follow=True))
    async with contextlib.aclosing(pages), asyncio.timeout(10):  # type: ignore[type-var]
        yield aiter(pages)


@MODES
async def test_following_waits_and_gives_signs_of_life(
    make: Callable[..., RedisDriver], admin: Redis, options: ReadOptions
) -> None:
    await add(admin, 2)
    driver = make(heartbeat=0.1)
    assert driver.follows("orders", options) and not driver.follows("user:*", options)
    async with following(driver, options) as pages:
        assert ids([await anext(pages)]) == ["1-1", "2-1"]
        quiet = [await anext(pages), await anext(pages), await anext(pages)]
        assert all(not page.records and not page.last for page in quiet)
        assert quiet[1].position == quiet[2].position
        await add(admin, 1, 3)
        while not (page := await anext(pages)).records:
            pass
        assert ids([page]) == ["3-1"]


async def test_a_reader_that_is_stopped_while_it_waits_takes_nothing(
    driver: RedisDriver, admin: Redis
) -> None:
    await add(admin, 1)
    async with following(driver, SYNC) as pages:
        await driver.acknowledge("orders", (await anext(pages)).position)
        await anext(pages)
        waiting = asyncio.create_task(anext(pages))
        async with asyncio.timeout(5):
            while not any(item["cmd"] == "xread" for item in await admin.client_list()):
                await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await driver.close()
    async with asyncio.timeout(5):
        while any(item["name"] == "platint-tui" for item in await admin.client_list()):
            await asyncio.sleep(0.01)
    await add(admin, 1, 2)
    assert await group(admin) | {"lag": 1, "pending": 0} == await group(admin)


async def test_a_cancelled_reader_ends_at_once(driver: RedisDriver, admin: Redis) -> None:
    await add(admin, 20)
    loop = asyncio.get_running_loop()
    for number in range(40):
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.004 + number * 0.0002):
                while True:
                    await scan(driver, "orders", None, SNAPSHOT)
        assert loop.time() - began < 2


async def test_entries_trimmed_while_a_reader_is_behind_are_a_gap(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 40)
    async with following(make(chunk=8), SKIP) as pages:
        first = await anext(pages)
        await admin.xtrim("orders", maxlen=10, approximate=False)
        second = await anext(pages)
    assert ids([first]) == [f"{number}-1" for number in range(1, 9)]
    assert (ids([second])[0], gaps([second])) == ("31-1", [("8-1", "31-1")])
    assert "22 entries were removed" in second.gaps[0].reason
    async with following(make(chunk=8), SYNC) as pages:
        # What the last reader took was never stored, and is gone.
        assert gaps([await anext(pages)]) == [("1-1", "8-1")]
        await anext(pages)
        await admin.xtrim("orders", maxlen=1, approximate=False)
        with pytest.raises(PositionLost):
            await anext(pages)


async def test_a_stream_that_is_removed_while_it_is_followed(
    make: Callable[..., RedisDriver], admin: Redis
) -> None:
    await add(admin, 1)
    async with following(make(heartbeat=0.1), SYNC) as pages:
        await anext(pages)
        await admin.delete("orders")
        with pytest.raises(ConfigError, match="There is no stream 'orders'"):
            while True:
                await anext(pages)
    await admin.set("orders", "a text")
    with pytest.raises(ConfigError, match="The key 'orders' is no stream"):
        await scan(make(), "orders")


async def test_a_lost_connection_is_transient(
    driver: RedisDriver, admin: Redis, redis_server: RedisServer
) -> None:
    await add(admin, 40)
    async with following(driver, SYNC) as pages:
        first = await anext(pages)
        redis_server.kill()
        with pytest.raises(TransientError):
            await anext(pages)
        with pytest.raises(TransientError):
            await driver.acknowledge("orders", first.position)
    redis_server.start_again()
    await driver.acknowledge("orders", first.position)
    rest = await scan(driver, "orders", first.position)
    assert [*ids([first]), *ids(rest)] == [f"{number}-1" for number in range(1, 41)]
    assert records(rest)
