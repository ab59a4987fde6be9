"""A real Redis, spoken to beside the driver with the library's own client, and drivers on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from drivers.conftest import FreeLimiter, Observed
from peers.redis import RedisServer
from redis.asyncio import Redis

from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import Environment, Op, Page, Profile, ReadOptions, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.redis import RedisDriver
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector

CONNECTOR = load_connector(Path(__file__).parents[3] / "connectors" / "redis.yaml")
SYNC = ReadOptions(sync="sales")


def redis_context(
    fields: Mapping[str, str], password: str = "", *, seconds: float = 20.0, **source: Any
) -> DriverContext:
    """A context with the product's manifest, which tries less often; `source` changes how streams are read."""
    resources = {
        name: item.model_copy(update={"source": item.source.model_copy(update=source)})
        for name, item in CONNECTOR.resources.items()
        if item.source is not None
    }
    policy = CONNECTOR.errors.policy.model_copy(update={"attempts": 4, "base": 0.02, "cap": 0.05})
    timeout = CONNECTOR.transport.timeout.model_copy(update={"connect": min(seconds, 10.0), "read": seconds})
    connector = CONNECTOR.model_copy(
        update={
            "resources": resources,
            "errors": CONNECTOR.errors.model_copy(update={"policy": policy}),
            "transport": CONNECTOR.transport.model_copy(update={"timeout": timeout}),
        }
    )
    secrets = {"password": password} if password else {}
    checked = validate_fields(connector, {"tls": "disable", **fields}, secrets=dict.fromkeys(secrets))
    profile = Profile("cache", "redis", Environment.DEVELOPMENT, checked, dict.fromkeys(secrets, "env:X"))
    held = {name: Secret(value) for name, value in secrets.items()}
    return DriverContext(connector, profile, held, FreeLimiter(), Observed(), rng=random.Random(7))


def fields_of(server: RedisServer) -> dict[str, str]:
    return {"host": server.host, "port": str(server.port), "user": server.user}


def redis_driver(server: RedisServer, password: str = "", **source: Any) -> RedisDriver:
    """A driver of the user who may do everything."""
    return RedisDriver(redis_context(fields_of(server), password or server.password, **source))


def limited_driver(server: RedisServer) -> RedisDriver:
    """A driver of the user who has `app:*` only."""
    fields = {**fields_of(server), "user": server.limited_user}
    return RedisDriver(redis_context(fields, server.limited_password))


@pytest.fixture
async def admin(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of the test's own, with bytes as replies, on an empty database."""
    async with Redis.from_url(redis_server.url, protocol=2, socket_timeout=30) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Callable[..., RedisDriver]]:
    """Drivers that are closed in the end; keywords change how streams are read."""
    made: list[RedisDriver] = []

    def build(**source: Any) -> RedisDriver:
        made.append(redis_driver(redis_server, **source))
        return made[-1]

    yield build
    for driver in made:
        await driver.close()


@pytest.fixture
def driver(make: Callable[..., RedisDriver]) -> RedisDriver:
    return make()


async def scan(
    driver: RedisDriver, stream: str, position: Any = None, options: ReadOptions = SYNC
) -> list[Page]:
    """The pages of one scan; nothing is acknowledged."""
    return [page async for page in driver.read(stream, position, options)]


def records(pages: list[Page]) -> dict[str, dict[str, Any]]:
    """The records by key or id."""
    values = [record.value for page in pages for record in page.records]
    return {value.get("key") or value["id"]: value for value in values}


def plan(target: str, **changes: Any) -> TargetPlan:
    base: dict[str, Any] = {
        "sync": "sales",
        "stream": "orders",
        "target": target,
        "key": ("id",),
        "cursor": "at",
        "fields": (),
        "epoch": 1,
        "run": "run_1",
    }
    return TargetPlan(**{**base, **changes})


def row(value: dict[str, Any], *, op: Op = Op.UPSERT, key: Any = None, sent: str = "") -> Row:
    identity = canonical_key([value["id"]] if key is None else key)
    return Row(identity, dumps(value), value, value.get("at"), sent or f"sent-{identity}", op)
