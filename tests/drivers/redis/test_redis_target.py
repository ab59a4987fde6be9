"""Targets: what is written, what is left alone, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from drivers.redis.between import Between, between
from drivers.redis.conftest import fields_of, limited_driver, plan, redis_context, redis_driver, row, scan
from peers.redis import RedisServer
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, SystemicError, TransientError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import Batch, Op, Row, WriteResult
from platint_tui.drivers.redis import RedisDriver
from platint_tui.drivers.redis.connection import Wire
from platint_tui.drivers.redis.target import RowsTarget

SHAPES = pytest.mark.parametrize("target", ["orders", "json.orders"])


async def write(driver: RedisDriver, target: str, *rows: Row, **changes: Any) -> WriteResult:
    opened = await driver.open_target(plan(target, **changes))
    try:
        return await opened.write(Batch(rows, None))
    finally:
        await opened.close()


def own(item: Row) -> dict[str, Any]:
    return {"_key": item.key, "_hash": content_hash(item.raw)}


async def texts(admin: Redis, key: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (await admin.hgetall(key)).items()}


async def test_a_hash_holds_exactly_the_fields_of_the_row(driver: RedisDriver, admin: Redis) -> None:
    value = {"id": 7, "name": "Zoë", "fee": Decimal("0.10"), "paid": True, "none": None, "tags": [1, "a"]}
    first = row({**value, "at": 5})
    result = await write(driver, "orders", first)
    assert (result.written, result.superseded, list(result.faults)) == (1, 0, [])
    assert await texts(admin, "orders:7") == {
        "id": "7",
        "name": "Zoë",
        "fee": "0.10",
        "paid": "true",
        "none": "null",
        "tags": '[1,"a"]',
        "at": "5",
        "_version": "5",
        **own(first),
    }
    await admin.hset("orders:7", "added", "by somebody else")
    second = row({"id": 7, "name": "Zoë"})
    assert (await write(driver, "orders", second)).written == 1
    assert await texts(admin, "orders:7") == {"id": "7", "name": "Zoë", "_version": "", **own(second)}
    assert await admin.keys("*") == [b"orders:7"]


async def test_a_text_of_json_keeps_every_type(driver: RedisDriver, admin: Redis) -> None:
    item = row({"id": "a", "fee": Decimal("0.10"), "none": None, "deep": {"x": [True]}, "at": 5})
    empty = Row('["e"]', "{}", {}, None, "")
    assert (await write(driver, "json.orders", item, empty)).written == 2
    text = (await admin.get("orders:a")).decode()
    assert json.loads(text) == {**own(item), "_version": 5, "id": "a", "fee": 0.1, "none": None} | {
        "deep": {"x": [True]},
        "at": 5,
    }
    assert '"fee":0.10,' in text and text.startswith('{"_key":')
    assert json.loads(await admin.get("orders:e")) == own(empty)
    assert (await write(driver, "json.orders", row({"id": "a"}), empty)).written == 2
    assert json.loads(await admin.get("orders:a")) == {**own(row({"id": "a"})), "id": "a"}
    assert {item async for item in driver.scan_keys("json.orders")} == {
        ('["a"]', content_hash('{"id":"a"}')),
        ('["e"]', content_hash("{}")),
    }


@SHAPES
async def test_an_older_version_never_replaces_a_newer_one(
    driver: RedisDriver, admin: Redis, target: str
) -> None:
    for newest, older in [(20, 3), ("2026-05-01T12:00:00.5Z", "2026-05-01T12:00:00Z")]:
        await write(driver, target, row({"id": 1, "n": "new", "at": newest}))
        result = await write(driver, target, row({"id": 1, "n": "old", "at": older}), row({"id": 2}))
        assert (result.written, result.superseded) == (1, 1)
        assert (await write(driver, target, row({"id": 1, "n": "same", "at": newest}))).written == 1
        assert {key for key, _ in [item async for item in driver.scan_keys(target)]} == {"[1]", "[2]"}
        await admin.flushall()


@SHAPES
async def test_what_somebody_else_wrote_is_left_alone(driver: RedisDriver, admin: Redis, target: str) -> None:
    await admin.hset("orders:1", "of", "an application")
    await admin.set("orders:2", "of an application")
    await admin.rpush("orders:3", "of an application")
    result = await write(driver, target, *(row({"id": number}) for number in range(1, 5)))
    assert result.written == 1 and [index for index, _ in result.faults] == [0, 1, 2]
    assert {fault.error_class for _, fault in result.faults} == {ErrorClass.RECORD}
    assert {fault.code for _, fault in result.faults} == {"foreign_key", "WRONGTYPE"}
    result = await write(driver, target, *(row({"id": number}, op=Op.DELETE) for number in range(1, 6)))
    assert result.written == 2 and len(result.faults) == 3
    assert sorted(await admin.keys("*")) == [b"orders:1", b"orders:2", b"orders:3"]
    assert await admin.get("orders:2") == b"of an application"


@SHAPES
async def test_a_truncate_removes_only_what_was_written(
    driver: RedisDriver, admin: Redis, target: str
) -> None:
    await admin.set("orders:foreign", "stays")
    await admin.set("ordersnot:1", "stays")
    await write(driver, target, *(row({"id": number}) for number in range(30)))
    gone = Row("", "", {}, None, "", Op.TRUNCATE)
    result = await write(driver, target, row({"id": 77}), gone, row({"id": 99}))
    assert (result.written, list(result.faults)) == (3, [])
    assert sorted(await admin.keys("*")) == [b"orders:99", b"orders:foreign", b"ordersnot:1"]


async def test_keys_of_several_fields_and_rows_that_cannot_be_written(
    driver: RedisDriver, admin: Redis
) -> None:
    rows = [
        row({"id": 1, "x": 1}, key=["a:b", "c"]),
        row({"id": 1, "x": 2}, key=["a", "b:c"]),
        row({"id": 1}, key=[True, 5]),
        row({"id": 2, "_key": "taken"}),
        row({"id": "x" * 5_000}),
        Row('["s"]', "{}", {"id": "\ud800"}, None, ""),
        row({str(number): number for number in range(3_001)} | {"id": 3}),
        row({"id": "4"}),
        row({"id": 4}),  # the same key for Redis, another one for the source
    ]
    result = await write(driver, "orders", *rows)
    assert result.written == 4
    assert [(index, fault.code) for index, fault in result.faults] == [
        (3, "reserved_name"),
        (4, "key_too_long"),
        (5, "invalid_text"),
        (6, "too_many_fields"),
        (8, "foreign_key"),
    ]
    assert sorted(await admin.keys("*")) == [
        b"orders:4",
        b"orders:a%3Ab:c",
        b"orders:a:b%3Ac",
        b"orders:true:5",
    ]


@SHAPES
async def test_a_key_that_changes_meanwhile_is_looked_at_again(
    driver: RedisDriver, admin: Redis, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another engine writes a newer version between our look and our write."""
    other = redis_driver_like(driver)
    inner = RowsTarget._commit
    newer = row({"id": 1, "n": "newer", "at": 9})

    async def commit(self: Any, *args: Any) -> Any:
        monkeypatch.setattr(RowsTarget, "_commit", inner)
        await write(other, target, newer)
        return await inner(self, *args)

    monkeypatch.setattr(RowsTarget, "_commit", commit)
    result = await write(driver, target, row({"id": 1, "n": "older", "at": 5}), row({"id": 2}))
    assert (result.written, result.superseded) == (1, 1)
    found = dict([item async for item in driver.scan_keys(target)])
    assert found["[1]"] == content_hash(newer.raw) and "[2]" in found


def redis_driver_like(driver: RedisDriver) -> RedisDriver:
    return RedisDriver(driver._context)


async def test_a_right_that_is_missing_is_named_before_anything_is_written(
    admin: Redis, redis_server: RedisServer
) -> None:
    driver = limited_driver(redis_server)
    assert (await write(driver, "app:orders", row({"id": 1}))).written == 1
    with pytest.raises(ConfigError) as caught:
        await write(driver, "orders", row({"id": 1}))
    assert caught.value.hint == "Allow it on the server: ACL SETUSER app ~orders:*"
    await admin.execute_command("ACL", "SETUSER", "app", "-hset")
    try:
        with pytest.raises(ConfigError) as caught:
            await write(driver, "app:orders", row({"id": 1}))
    finally:
        await admin.execute_command("ACL", "SETUSER", "app", "+hset")
    assert "may not run HSET" in caught.value.message
    assert caught.value.hint == "Allow it on the server: ACL SETUSER app +hset"


@pytest.mark.parametrize("target", ["orders", "json.orders", "stream.orders"])
async def test_full_memory_is_nobody_s_row(driver: RedisDriver, admin: Redis, target: str) -> None:
    opened = await driver.open_target(plan(target))
    await admin.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(SystemicError) as caught:
            await opened.write(Batch([row({"id": 1})], None))
    finally:
        await admin.config_set("maxmemory", "0")
        await opened.close()
    assert caught.value.code == "OOM" and "memory of the server is full" in caught.value.message


async def test_a_script_that_keeps_the_server_busy_is_waited_for(driver: RedisDriver, admin: Redis) -> None:
    opened = await driver.open_target(plan("orders"))
    await admin.config_set("busy-reply-threshold", "10")
    busy = asyncio.create_task(admin.eval("while true do end", 0))
    await asyncio.sleep(0.1)
    with pytest.raises(TransientError) as caught:
        await opened.write(Batch([row({"id": 1})], None))
    assert caught.value.code == "BUSY"
    await admin.script_kill()
    await asyncio.gather(busy, return_exceptions=True)
    assert (await opened.write(Batch([row({"id": 1})], None))).written == 1
    await opened.close()


@pytest.mark.parametrize("name", ["", "user:*", "json.", "a\u200b\x07"])
async def test_names_that_can_be_no_prefix(driver: RedisDriver, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a target"):
        await driver.open_target(plan(name))


# --- streams --------------------------------------------------------------------------------------------


async def entries(admin: Redis) -> list[dict[str, str]]:
    found = await admin.xrange("orders")
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


async def test_rows_become_entries(driver: RedisDriver, admin: Redis) -> None:
    message = {
        "id": "m",
        "body": {"a": 1},
        "headers": {"h": "1"},
        "key": "k",
        "queue": "q",
        "timestamp": None,
    }
    rows = [
        row({"id": 1, "name": "Zoë"}),
        row({"id": 1}, op=Op.DELETE),
        row(message),
        Row('["s"]', "{}", {"id": "\ud800"}, None, "bad"),
    ]
    result = await write(driver, "stream.orders", *rows)
    assert result.written == 3 and [(index, fault.code) for index, fault in result.faults] == [(3, "body")]
    assert await entries(admin) == [
        {"id": "sent-[1]", "op": "upsert", "key": "[1]", "body": '{"id":1,"name":"Zoë"}'},
        {"id": "sent-[1]", "op": "delete", "key": "[1]", "body": '{"id":1}'},
        {"id": 'sent-["m"]', "op": "upsert", "key": '["m"]', "body": '{"a":1}', "headers": '{"h":"1"}'},
    ]
    found = [record.value for page in await scan(driver, "orders") for record in page.records]
    assert found[0]["body"]["body"] == {"id": 1, "name": "Zoë"}
    await admin.delete("orders")
    await admin.set("orders", "a text")
    with pytest.raises(PlatintError) as caught:
        await write(driver, "stream.orders", row({"id": 1}))
    assert caught.value.code == "WRONGTYPE"


@pytest.fixture
async def relayed(
    admin: Redis, redis_server: RedisServer
) -> AsyncIterator[tuple[Between, Callable[[], RedisDriver]]]:
    """A relay, and drivers that go through it."""
    async with between(redis_server.host, redis_server.port) as relay:
        fields = {**fields_of(redis_server), "port": str(relay.port)}
        yield relay, lambda: RedisDriver(redis_context(fields, redis_server.password))


async def test_entries_whose_answer_was_lost_are_looked_for(relayed: Any, admin: Redis) -> None:
    relay, driver = relayed
    target = await driver().open_target(plan("stream.orders"))
    relay.lose_answers(b"XADD")
    result = await target.write(Batch([row({"id": number}) for number in range(50)], None))
    await target.close()
    assert (result.written, list(result.faults)) == (50, []) and await admin.xlen("orders") == 50


async def test_a_batch_that_is_partly_there_is_not_sent_again(
    driver: RedisDriver, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Wire.exchange

    async def exchange(self: Wire, commands: Any, into: Any = None) -> Any:
        done = await inner(self, commands, into)
        if commands[0][0] == "XADD":
            done[1] = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        return done

    monkeypatch.setattr(Wire, "exchange", exchange)
    result = await write(driver, "stream.orders", row({"id": 1}), row({"id": 2}))
    assert result.written == 1
    [(index, fault)] = result.faults
    assert (index, fault.code, fault.error_class) == (1, "OOM", ErrorClass.SYSTEMIC)


async def test_entries_that_may_not_have_arrived_are_unknown(relayed: Any, admin: Redis) -> None:
    relay, driver = relayed
    target = await driver().open_target(plan("stream.orders"))
    relay.lose_questions(b"XADD")
    result = await target.write(Batch([row({"id": 1}), row({"id": 2})], None))
    assert result.written == 0 and {fault.code for _, fault in result.faults} == {"unknown_outcome"}
    assert await admin.exists("orders") == 0
    # A connection that is found dead before anything is sent costs nothing.
    relay.lose_questions(b"PING")
    assert (await target.write(Batch([row({"id": 3})], None))).written == 1
    await target.close()


@SHAPES
async def test_rows_whose_answer_was_lost_are_written_again(relayed: Any, admin: Redis, target: str) -> None:
    relay, driver = relayed
    opened = await driver().open_target(plan(target))
    for lose in (relay.lose_answers, relay.lose_questions):
        lose(b"EVAL")
        rows = [row({"id": number, "at": 5}) for number in range(20)]
        result = await opened.write(Batch(rows, None))
        assert (result.written, result.superseded, list(result.faults)) == (20, 0, [])
    await opened.close()
    assert len(await admin.keys("orders:*")) == 20


async def test_a_server_killed_while_rows_are_written(redis_server: RedisServer, admin: Redis) -> None:
    rows = [row({"id": number, "text": "x" * 500}) for number in range(1_500)]
    driver = redis_driver(redis_server)
    target = await driver.open_target(plan("orders"))
    writing = asyncio.create_task(target.write(Batch(rows, None)))
    await asyncio.sleep(0.05)
    redis_server.kill()
    with contextlib.suppress(TransientError):
        await writing
    redis_server.start_again()
    result = await target.write(Batch(rows, None))
    await target.close()
    assert (result.written, list(result.faults)) == (1_500, [])
    redis_server.kill()
    redis_server.start_again()
    found = dict([item async for item in driver.scan_keys("orders")])
    assert found == {item.key: content_hash(item.raw) for item in rows}
