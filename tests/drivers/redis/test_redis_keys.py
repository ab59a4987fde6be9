"""Families of keys: every type, what is no text, what is too large, and a scan that is interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from drivers.redis.conftest import SYNC, limited_driver, records, redis_driver, scan
from peers.redis import RedisServer
from redis.asyncio import Redis

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.drivers.redis import RedisDriver
from platint_tui.drivers.redis.connection import Wire, connect
from platint_tui.drivers.redis.keys import read_family
from platint_tui.drivers.redis.names import Family
from platint_tui.manifest.sources import Source


async def test_every_type_is_a_record(driver: RedisDriver, admin: Redis) -> None:
    await admin.set("user:text", "Zoë", px=60_000)
    await admin.set("user:empty", "")
    await admin.set("user:json", '{"a": [1, 0.10000000000000000001]}')
    await admin.set("user:almost", '{"a": 1, "a": 2}')
    await admin.hset("user:hash", mapping={"z": "1", "a": ""})
    await admin.rpush("user:list", "b", "a", "b")
    await admin.sadd("user:set", "b", "a")
    await admin.zadd("user:zset", {"x": 1.5, "y": 2, "last": float("inf")})
    await admin.xadd("user:stream", {"left": "out"})
    await admin.set("other:1", "left out")
    pages = await scan(driver, "user:*")
    found = records(pages)
    assert {key: value["value"] for key, value in found.items()} == {
        "user:text": "Zoë",
        "user:empty": "",
        "user:json": {"a": [1, Decimal("0.10000000000000000001")]},
        "user:almost": '{"a": 1, "a": 2}',
        "user:hash": {"a": "", "z": "1"},
        "user:list": ["b", "a", "b"],
        "user:set": ["a", "b"],
        "user:zset": [
            {"member": "x", "score": 1.5},
            {"member": "y", "score": 2},
            {"member": "last", "score": "inf"},
        ],
    }
    assert found["user:json"]["encoding"] == "json" and "encoding" not in found["user:almost"]
    assert 0 < found["user:text"]["ttl_ms"] <= 60_000 and found["user:empty"]["ttl_ms"] is None
    assert {value["type"] for value in found.values()} == {"string", "hash", "list", "set", "zset"}
    raw = next(item.raw for page in pages for item in page.records if item.value["key"] == "user:json")
    assert "0.10000000000000000001" in raw
    assert list(records(await scan(driver, "user:* hash"))) == ["user:hash"]
    assert len(records(await scan(driver, "*"))) == 9


async def test_bytes_that_are_no_text_are_marked(driver: RedisDriver, admin: Redis) -> None:
    await admin.set(b"bin:\xff", b"\x00\xfe")
    await admin.hset("bin:h", mapping={b"\xff": b"x", b"name": b"\xfe"})
    await admin.rpush("bin:l", b"\xfe", "text")
    await admin.set("bin:[a-z]?", "a glob in the prefix is none")
    found = records(await scan(driver, "bin:*"))
    assert found["base64:YmluOv8="] == {
        "key": "base64:YmluOv8=",
        "type": "string",
        "value": {"base64": "AP4="},
        "ttl_ms": None,
        "encoding": "base64",
    }
    assert found["bin:h"]["value"] == {"base64:/w==": "x", "name": {"base64": "/g=="}}
    assert found["bin:h"]["encoding"] == "base64"
    assert found["bin:l"]["value"] == [{"base64": "/g=="}, "text"] and "encoding" not in found["bin:l"]
    assert list(records(await scan(driver, "bin:[a-z]?*"))) == ["bin:[a-z]?"]


async def test_a_value_too_large_is_kept_out_and_told(driver: RedisDriver, admin: Redis) -> None:
    await admin.setrange("user:huge", 64 * 1024**2 - 1, "x")
    await admin.set("user:small", "fits")
    pages = await scan(driver, "user:*")
    assert list(records(pages)) == ["user:small"]
    [bad] = [item for page in pages for item in page.bad]
    assert json.loads(bad.raw)["key"] == "user:huge" and "16,777,216 are the most" in bad.reason
    await admin.delete("user:huge")


async def test_large_values_come_in_small_pages(make: Callable[..., RedisDriver], admin: Redis) -> None:
    for number in range(6):
        await admin.setrange(f"user:{number}", 3 * 1024**2, "x")
    pages = await scan(make(), "user:*")
    assert [len(page.records) for page in pages] == [2, 2, 2] and len(records(pages)) == 6
    # The scan has one cursor for all of them: until the last part is stored, it begins before them.
    assert pages[0].position["cursor"] == pages[1].position["cursor"] == "0"
    assert [page.last for page in pages] == [False, False, True]


class Hooked(Wire):
    """A connection that does something else before it fetches values."""

    def __init__(self, wire: Wire, before: Callable[[], Any]) -> None:
        super().__init__(wire._connection, wire._address)
        self.server = wire.server
        self._before = before

    async def exchange(self, commands: Any, into: Any = None) -> list[Any]:
        if commands[0][0] in ("GET", "HGETALL", "LRANGE"):
            await self._before()
        return await super().exchange(commands, into)


async def test_keys_that_vanish_or_change_meanwhile(driver: RedisDriver, admin: Redis) -> None:
    await admin.set("user:stays", "here")
    await admin.set("user:goes", "away")
    await admin.set("user:turns", "text")

    async def change() -> None:
        await admin.delete("user:goes")
        if await admin.type("user:turns") == b"string":
            await admin.delete("user:turns")
            await admin.rpush("user:turns", "list")

    wire = Hooked(await connect(driver._address), change)
    pages = [
        page
        async for page in read_family(wire, Family("user:"), None, Source(modes=("snapshot",)), SystemClock())
    ]
    await wire.close()
    found = records(pages)
    assert {key: value["value"] for key, value in found.items()} == {
        "user:stays": "here",
        "user:turns": ["list"],
    }
    assert found["user:turns"]["type"] == "list" and not any(page.bad for page in pages)


async def test_a_cursor_of_another_run_of_the_server_is_not_gone_on_with(
    make: Callable[..., RedisDriver], admin: Redis, redis_server: RedisServer
) -> None:
    for number in range(300):
        await admin.set(f"user:{number}", "x")
    driver = make(chunk=20)
    first = (await scan(driver, "user:*"))[3]
    assert first.position["cursor"] != "0"
    # The same run of the server: only the rest comes.
    assert len(records(await scan(driver, "user:*", first.position))) < 300
    redis_server.kill()
    redis_server.start_again()
    assert len(records(await scan(driver, "user:*", first.position))) == 300


async def test_without_info_an_interrupted_scan_begins_again(admin: Redis, redis_server: RedisServer) -> None:
    for number in range(40):
        await admin.set(f"app:{number}", "x")
    driver = limited_driver(redis_server)
    pages = await scan(driver, "app:*")
    assert pages[0].position["run"] == "" and len(records(pages)) == 40
    assert len(records(await scan(driver, "app:*", {"v": 1, "cursor": "7", "run": ""}))) == 40


async def test_keys_that_the_account_may_not_use(admin: Redis, redis_server: RedisServer) -> None:
    await admin.set("user:1", "x")
    with pytest.raises(ConfigError) as caught:
        await scan(limited_driver(redis_server), "user:*")
    assert caught.value.code == "NOPERM" and caught.value.hint.endswith("ACL SETUSER app ~user:*")


async def test_a_family_is_read_by_snapshot_only(driver: RedisDriver) -> None:
    with pytest.raises(ConfigError, match="A family of keys such as 'user:\\*' is read by snapshot"):
        await scan(driver, "user:*", options=replace(SYNC, mode="consume"))


async def test_a_wrong_password_and_a_server_that_is_away(redis_server: RedisServer, admin: Redis) -> None:
    with pytest.raises(CredentialError) as caught:
        await scan(redis_driver(redis_server, "wrong-canary-7d"), "user:*")
    assert "wrong-canary" not in caught.value.sentence() and caught.value.code == "WRONGPASS"
    redis_server.kill()
    try:
        with pytest.raises(TransientError, match="cannot be reached"):
            await scan(redis_driver(redis_server), "user:*")
    finally:
        redis_server.start_again()
