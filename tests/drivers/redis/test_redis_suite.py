"""The behaviour that every driver has to show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from drivers.redis.conftest import redis_driver
from peers.redis import RedisServer
from redis.asyncio import Redis

from platint_tui.core.model import ReadOptions
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


class Kits:
    """Makes the kit of a kind of stream or target."""

    def __init__(self, server: RedisServer, admin: Redis) -> None:
        self._server = server
        self._admin = admin
        self._put = 0

    async def crash(self) -> None:
        self._server.kill()
        self._server.start_again()

    def _kit(self, **more: Any) -> Kit:
        return Kit(
            driver=lambda: redis_driver(self._server, chunk=30),
            refused=lambda: redis_driver(self._server, "wrong-canary-7d"),
            crash=self.crash,
            **more,
        )

    def family(self) -> Kit:
        async def put(count: int) -> Sequence[str]:
            names = [f"user:{self._put + number}" for number in range(count)]
            self._put += count
            pipe = self._admin.pipeline(transaction=False)
            for name in names:
                pipe.hset(name, mapping={"name": name})
            await pipe.execute()
            return names

        return self._kit(stream="user:*", key=("key",), put=put)

    def stream(self, mode: str) -> Kit:
        async def put(count: int) -> Sequence[str]:
            pipe = self._admin.pipeline(transaction=False)
            for number in range(count):
                pipe.xadd("orders", {"n": str(number)})
            return [identity.decode() for identity in await pipe.execute()]

        return self._kit(
            stream="orders", put=put, options=ReadOptions(sync="suite", mode=mode), consumes=mode == "consume"
        )

    def target(self, target: str, prefix: str) -> Kit:
        async def held() -> Mapping[str, Any]:
            found: dict[str, Any] = {}
            async for name in self._admin.scan_iter(f"{prefix}:*"):
                key = name.decode().partition(":")[2]
                if await self._admin.type(name) == b"hash":
                    found[key] = await self._admin.hgetall(name)
                elif (text := await self._admin.get(name)) != b"of somebody else":
                    found[key] = json.loads(text)
            return found

        return self._kit(target=target, held=held, bad=lambda number: {"id": number, "name": "\ud800"})


@pytest.fixture
def kits(redis_server: RedisServer, admin: Redis) -> Kits:
    return Kits(redis_server, admin)


class TestFamily(ReadSuite):
    @pytest.fixture
    def kit(self, kits: Kits) -> Kit:
        return kits.family()


class TestConsume(ReadSuite):
    @pytest.fixture
    def kit(self, kits: Kits) -> Kit:
        return kits.stream("consume")


class TestSnapshot(ReadSuite):
    @pytest.fixture
    def kit(self, kits: Kits) -> Kit:
        return kits.stream("snapshot")


class TestHashes(WriteSuite):
    @pytest.fixture
    def kit(self, kits: Kits) -> Kit:
        return kits.target("rows", "rows")


class TestJson(WriteSuite):
    @pytest.fixture
    def kit(self, kits: Kits) -> Kit:
        return kits.target("json.rows", "rows")
