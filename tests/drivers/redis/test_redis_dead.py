"""Entries that were delivered again and again and never acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from drivers.redis.conftest import SYNC, fields_of, limited_driver, redis_context, scan
from peers.redis import RedisServer
from redis.asyncio import Redis

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import NativeLetter
from platint_tui.core.ports import HoldsDeadLetters
from platint_tui.drivers.redis import RedisDriver
from platint_tui.drivers.redis.connection import Wire


async def deliver(
    admin: Redis, count: int, times: int, group: str = "billing", stream: str = "orders"
) -> None:
    """The next `count` entries of a group, delivered so many times, with the time that they have waited."""
    taken = await admin.xreadgroup(group, "worker 3", {stream: ">"}, count=count)
    ids = [identity for identity, _ in taken[0][1]]
    await admin.xclaim(stream, group, "worker 3", 0, ids, idle=90_000, retrycount=times)


async def letters(driver: RedisDriver, queue: str = "billing@orders", limit: int = 100) -> list[NativeLetter]:
    return [letter async for letter in driver.browse_dead(queue, limit)]


@pytest.fixture
async def pending(admin: Redis) -> Redis:
    """Five entries of a group: two delivered often, two a few times, one not at all."""
    for number in range(1, 6):
        fields = {"n": str(number), "data": '{"a": 1}'} if number > 1 else {"data": b"\xff", b"\xfe": "x"}
        await admin.xadd("orders", fields, id=f"170000000000{number}-0")
    await admin.xgroup_create("orders", "billing", "0")
    await deliver(admin, 2, 7)
    await deliver(admin, 2, 4)
    return admin


async def state(admin: Redis) -> list[tuple[bytes, int]]:
    found = await admin.xpending_range("orders", "billing", "-", "+", 100)
    return [(item["message_id"], item["times_delivered"]) for item in found]


async def test_places_of_dead_letters(
    driver: RedisDriver, pending: Redis, make: Callable[..., RedisDriver]
) -> None:
    assert isinstance(driver, HoldsDeadLetters)
    [queue] = await driver.dead_queues()
    assert (queue.name, queue.origin, queue.depth) == ("billing@orders", "orders", 2)
    assert queue.oldest_ms == 1_700_000_000_001 and queue.kind
    assert [item.depth for item in await make(max_deliveries=3).dead_queues()] == [4]
    assert await make(max_deliveries=8).dead_queues() == []


async def test_looking_changes_nothing(driver: RedisDriver, pending: Redis) -> None:
    before = await state(pending)
    found = await letters(driver)
    assert [letter.id for letter in found] == ["1700000000001-0", "1700000000002-0"]
    assert [letter.id for letter in await letters(driver, limit=1)] == ["1700000000001-0"]
    second = found[1]
    assert loads(second.payload) == {"n": "2", "data": '{"a": 1}'}
    assert (second.deliveries, second.origin, second.code) == (7, "orders", "not_acknowledged")
    assert "Delivered 7 times, last to 'worker 3' 90 s ago" in second.reason
    assert await state(pending) == before
    for queue in ("nobody@orders", "billing@absent", "orders"):
        with pytest.raises(ConfigError):
            await letters(driver, queue)


async def test_returned_it_is_a_new_entry_and_the_old_one_is_done(
    driver: RedisDriver, pending: Redis
) -> None:
    binary, plain = await letters(driver)
    assert (await driver.return_dead(binary, "key-1")).outcome == "sent"
    edited = replace(plain, payload=b'{"n":"2","data":"{\\"a\\": 2}","fixed":true}')
    returned = await driver.return_dead(edited, "key-2")
    assert returned.outcome == "sent"
    entries = await pending.xrange("orders")
    assert len(entries) == 7 and entries[-1][0].decode() in returned.message
    assert entries[-2][1] == {b"data": b"\xff", b"\xfe": b"x"}
    assert entries[-1][1] == {b"n": b"2", b"data": b'{"a": 2}', b"fixed": b"true"}
    assert [identity for identity, _ in await state(pending)] == [b"1700000000003-0", b"1700000000004-0"]
    again = await driver.return_dead(plain, "key-2")
    assert again.outcome == "gone" and await pending.xlen("orders") == 7


async def test_discarded_it_stays_in_the_stream(driver: RedisDriver, pending: Redis) -> None:
    first, _ = await letters(driver)
    assert (await driver.discard_dead(first)).outcome == "sent"
    assert (await driver.discard_dead(first)).outcome == "gone"
    assert await pending.xlen("orders") == 5 and len(await state(pending)) == 3


async def test_what_cannot_be_returned_stays(driver: RedisDriver, pending: Redis) -> None:
    first, second = await letters(driver)
    for payload in (b'"a text"', b"{}", b"[1]", b"{", b'[["a"]]'):
        assert (await driver.return_dead(replace(second, payload=payload), "k")).outcome == "refused"
    await pending.config_set("maxmemory", "1mb")
    refused = await driver.return_dead(second, "k")
    await pending.config_set("maxmemory", "0")
    assert refused.outcome == "refused" and "memory of the server is full" in refused.message
    await pending.xdel("orders", first.id)
    deleted = (await letters(driver))[0]
    assert deleted.id == first.id and "deleted from the stream" in deleted.reason
    assert (await driver.return_dead(deleted, "k")).outcome == "refused"
    assert (await driver.discard_dead(deleted)).outcome == "sent"
    assert len(await state(pending)) == 3


async def test_an_answer_that_does_not_come_is_unknown(
    driver: RedisDriver, pending: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [_, second] = await letters(driver)
    inner = Wire.exchange
    lost = ""

    async def exchange(self: Wire, commands: Any, into: Any = None) -> Any:
        done = await inner(self, commands, into)
        if commands[0][0] == lost:
            raise TransientError("The connection was lost.")
        return done

    monkeypatch.setattr(Wire, "exchange", exchange)
    lost = "XACK"
    returned = await driver.return_dead(second, "k")
    assert returned.outcome == "unknown" and "is in the stream" in returned.message
    lost = "XPENDING"
    with pytest.raises(TransientError):
        await driver.return_dead(second, "k")
    lost = "XADD"
    await pending.xclaim("orders", "billing", "w", 0, [second.id], retrycount=9, force=True)
    assert (await driver.return_dead(second, "k")).outcome == "unknown"
    assert second.id.encode() in [identity for identity, _ in await state(pending)]
    redis_server.kill()
    try:
        with pytest.raises(TransientError):
            await driver.return_dead(second, "k")
        with pytest.raises(TransientError):
            await driver.dead_queues()
    finally:
        redis_server.start_again()


async def test_groups_of_ours_hold_none_and_names_may_be_odd(driver: RedisDriver, admin: Redis) -> None:
    await admin.xadd("a@b", {"n": "1"})
    await admin.xgroup_create("a@b", "x@y %", "0")
    await deliver(admin, 1, 9, "x@y %", "a@b")
    await scan(driver, "a@b", None, SYNC)
    await admin.xclaim(
        "a@b", "platint-sales", "platint", 0, [(await admin.xrange("a@b"))[0][0]], retrycount=9
    )
    [queue] = await driver.dead_queues()
    assert queue.name == "x%40y %25@a@b" and [
        item.deliveries for item in await letters(driver, queue.name)
    ] == [9]


async def test_streams_of_others_are_not_looked_into(pending: Redis, redis_server: RedisServer) -> None:
    await pending.xadd("app:jobs", {"n": "1"})
    await pending.xgroup_create("app:jobs", "billing", "0")
    await deliver(pending, 1, 9, stream="app:jobs")
    assert [item.name for item in await limited_driver(redis_server).dead_queues()] == ["billing@app:jobs"]
    context = redis_context({**fields_of(redis_server), "database": "3"}, redis_server.password)
    assert await RedisDriver(context).dead_queues() == []
