"""Profiles, probes, discovery, and servers that are not what was expected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from drivers.redis.conftest import (
    fields_of,
    limited_driver,
    plan,
    records,
    redis_context,
    redis_driver,
    row,
    scan,
)
from drivers.redis.resp import answering
from peers.certificate import make_certificate
from peers.redis import PASSWORD, USER, RedisServer
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError, SystemicError, TransientError
from platint_tui.core.model import Batch, Capability, Stream
from platint_tui.drivers.redis import RedisDriver
from platint_tui.drivers.redis.connection import address_of
from platint_tui.drivers.redis.errors import translate


async def checked(driver: RedisDriver) -> dict[str, Capability]:
    return {item.id: item for item in await driver.check()}


async def found(driver: RedisDriver) -> dict[str, Stream]:
    return {item.name: item for item in await driver.discover()}


def facts(stream: Stream) -> dict[str, str]:
    return dict(stream.facts)


async def test_what_an_account_may_do(driver: RedisDriver, admin: Redis) -> None:
    probes = await checked(driver)
    assert all(item.ok for item in probes.values())
    assert probes["connect"].detail == f"Redis 7.0.15, primary, signed in as {USER}"
    assert "appendfsync always: nothing that was answered is lost" in probes["durable"].detail
    assert "noeviction" in probes["eviction"].detail and "off" in probes["notifications"].detail
    await admin.config_set("maxmemory", "100mb")
    await admin.config_set("maxmemory-policy", "allkeys-lru")
    await admin.config_set("appendonly", "no")
    await admin.config_set("notify-keyspace-events", "KEA")
    probes = await checked(driver)
    assert not probes["eviction"].ok and "drops any key by itself (allkeys-lru)" in probes["eviction"].detail
    assert not probes["durable"].ok and "Nothing is saved to disk" in probes["durable"].detail
    assert probes["eviction"].optional and probes["durable"].optional
    assert "on (AKE)" in probes["notifications"].detail
    await admin.config_set("save", "60 1")
    assert "Snapshots only" in (await checked(driver))["durable"].detail
    for name, value in (("maxmemory", "0"), ("maxmemory-policy", "noeviction"), ("save", "")):
        await admin.config_set(name, value)
    await admin.config_set("notify-keyspace-events", "")
    await admin.config_set("appendonly", "yes")


async def test_what_a_limited_account_may_not_do(admin: Redis, redis_server: RedisServer) -> None:
    driver = limited_driver(redis_server)
    probes = await checked(driver)
    assert probes["read"].ok and probes["write"].ok and probes["consume"].ok
    for name, rule in (("durable", "+info"), ("eviction", "+info"), ("notifications", "+config|get")):
        assert not probes[name].ok and f"ACL SETUSER app {rule}" in probes[name].detail
    await admin.execute_command("ACL", "SETUSER", "app", "-xack", "-hgetall", "-eval")
    try:
        probes = await checked(driver)
        for name, rule in (("read", "+hgetall"), ("consume", "+xack"), ("write", "+eval")):
            assert not probes[name].ok and probes[name].detail.endswith(f"ACL SETUSER app {rule}")
    finally:
        await admin.execute_command("ACL", "SETUSER", "app", "+xack", "+hgetall", "+eval")
    assert await admin.dbsize() == 0


async def test_discovery_finds_families_and_streams(driver: RedisDriver, admin: Redis) -> None:
    pipe = admin.pipeline(transaction=False)
    for number in range(90):
        pipe.hset(f"user:{number}", mapping={"email": "x", "name": "y"})
    for number in range(10):
        pipe.set(f"user:s{number}", '{"plan": 1, "tags": []}', ex=600)
    pipe.set("cache/1", "text")
    pipe.set("plain", "no prefix")
    pipe.set(b"bin:\xff", "no text")
    for number in range(7):
        pipe.xadd("orders", {"n": "1", "data": "[1]"}, id=f"170000000000{number}-0")
    pipe.xadd("odd*", {"n": "1"})
    pipe.xgroup_create("orders", "billing", "0")
    await pipe.execute()
    await admin.xreadgroup("billing", "c", {"orders": ">"}, count=3)
    streams = await found(driver)
    assert list(streams) == ["user:*", "cache/*", "orders", "*"]
    users = streams["user:*"]
    assert (users.kind, users.key, users.modes, users.estimate) == ("keys", ("key",), ("snapshot",), 100)
    assert facts(users) == {"types": "hash 90 %, string 10 %", "time to live": "10 % have one"}
    assert {"value.email", "value.name", "value.plan", "value.tags"} <= {item.name for item in users.fields}
    assert any("user:* hash" in note for note in users.notes)
    orders = streams["orders"]
    assert (orders.kind, orders.key, orders.modes) == ("stream", ("id",), ("consume", "snapshot"))
    assert orders.estimate == 7 and {"body.n", "body.data"} <= {item.name for item in orders.fields}
    assert facts(orders) == {
        "entries": "7",
        "first": "1700000000000-0 (2023-11-14T22:13:20.000+00:00)",
        "last": "1700000000006-0 (2023-11-14T22:13:20.006+00:00)",
        "groups": "1",
        "group billing": "3 pending, lag 4, 1 consumers",
    }
    assert streams["*"].estimate == 105 and "1 Redis streams are not listed" in " ".join(streams["*"].notes)
    assert not streams["*"].incomplete


async def test_discovery_of_a_large_account_is_a_sample(driver: RedisDriver, admin: Redis) -> None:
    await admin.eval(
        "for i = 1, 12000 do redis.call('SET', (i % 3 == 0 and 'a:' or 'b:') .. i, 'x') end"
        " for i = 1, 300 do redis.call('SET', 'family' .. i .. ':x', 'x') end"
        " redis.call('XADD', 'late', '*', 'n', '1')",
        0,
    )
    streams = await found(driver)
    assert len(streams) < 203 and "late" in streams
    assert streams["*"].incomplete and "there may be more" in " ".join(streams["*"].notes)
    assert abs((streams["a:*"].estimate or 0) - 4_000) < 400 and "sampled" in facts(streams["a:*"])


async def test_discovery_says_what_an_account_may_not_use(admin: Redis, redis_server: RedisServer) -> None:
    await admin.set("app:1", "x")
    await admin.set("user:1", "x")
    await admin.xadd("app:jobs", {"n": "1"})
    streams = await found(limited_driver(redis_server))
    assert streams["app:*"].readable and not streams["app:*"].refused
    users = streams["user:*"]
    assert not users.readable and users.needs == ("~user:*",) and "ACL SETUSER app ~user:*" in users.refused
    assert streams["app:jobs"].readable


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts further servers with options of their own."""
    started: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        class Other(RedisServer):
            ports = 2

            def command(self) -> list[str]:
                return [*super().command(), *(option.format(next=self.port + 1) for option in options)]

        started.append(Other(tmp_path_factory.mktemp("other")))
        return started[-1]

    yield start
    for server in started:
        server.stop()


async def test_a_replica_is_read_and_never_written(
    admin: Redis, redis_server: RedisServer, second: Any
) -> None:
    other = second("--masteruser", USER, "--masterauth", PASSWORD)
    await admin.config_set("repl-diskless-sync-delay", "0")
    await admin.xadd("orders", {"n": "1"})
    await admin.set("user:1", "x")
    driver = redis_driver(other)
    target = await driver.open_target(plan("orders"))
    async with Redis.from_url(other.url) as beside:
        await beside.execute_command("REPLICAOF", redis_server.host, redis_server.port)
        # It was the primary when the target was opened: that is a failover, which passes.
        with pytest.raises(TransientError) as failing:
            await target.write(Batch([row({"id": 1})], None))
        assert failing.value.code == "READONLY"
        async with asyncio.timeout(10):
            while not await beside.exists("user:1"):
                await asyncio.sleep(0.02)
    await target.close()
    fresh = redis_driver(other)
    with pytest.raises(ConfigError, match="This server is a replica"):
        await fresh.open_target(plan("orders"))
    probes = await checked(fresh)
    assert "replica, which can be read only" in probes["connect"].detail
    assert probes["read"].ok and not probes["write"].ok and not probes["consume"].ok
    assert list(records(await scan(fresh, "user:*"))) == ["user:1"]
    with pytest.raises(ConfigError) as caught:
        await scan(fresh, "orders")
    assert caught.value.code == "READONLY" and "primary" in caught.value.hint


async def test_a_shard_of_a_cluster_is_refused(second: Any) -> None:
    server, other = (second("--cluster-enabled", "yes", "--cluster-port", "{next}") for _ in range(2))
    driver = redis_driver(server)
    with pytest.raises(TransientError, match="The cluster is down"):
        await scan(driver, "user:*")

    async def until(client: Redis, told: bytes) -> None:
        async with asyncio.timeout(10):
            while told not in await client.execute_command("CLUSTER", "INFO"):
                await asyncio.sleep(0.02)

    async with Redis.from_url(server.url) as first, Redis.from_url(other.url) as last:
        # A cluster of one shard holds all the keys.
        await first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await until(first, b"cluster_state:ok")
        await first.set("user:1", "x")
        assert list(records(await scan(driver, "user:*"))) == ["user:1"]
        await first.execute_command("CLUSTER", "DELSLOTSRANGE", 8192, 16383)
        await last.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 9)
        await last.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        await first.execute_command("CLUSTER", "MEET", other.host, other.port, other.port + 1)
        await until(first, b"cluster_size:2")
    with pytest.raises(ConfigError, match="one shard of a Redis Cluster"):
        await scan(driver, "user:*")


async def test_tls_is_verified(second: Any, tmp_path: Path, admin: Redis, redis_server: RedisServer) -> None:
    made = make_certificate(tmp_path / "tls")
    authority = str(made.certificate)
    files = ("--tls-cert-file", authority, "--tls-key-file", str(made.key), "--tls-ca-cert-file", authority)
    options = ("--tls-auth-clients", "no", "--bind", "127.0.0.1", "127.0.0.2")
    server = second(*files, *options, "--tls-port", "{next}")
    tls_port = server.port + 1

    def through(**fields: str) -> RedisDriver:
        given = {**fields_of(server), "port": str(tls_port), **fields}
        return RedisDriver(redis_context(given, server.password))

    assert (await checked(through(tls="verify-full", ca_file=authority)))["connect"].ok
    assert (await checked(through(tls="require")))["connect"].ok
    for fields, told in (
        ({"tls": "verify-full"}, "certificate is not trusted"),
        ({"tls": "verify-full", "ca_file": str(tmp_path / "absent.pem")}, "cannot be read"),
        ({"tls": "verify-full", "ca_file": authority, "host": "127.0.0.2"}, "not trusted"),
    ):
        probe = (await checked(through(**fields)))["connect"]
        assert not probe.ok and told in probe.detail, probe.detail
    assert not (await checked(through(tls="disable")))["connect"].ok


async def test_profiles_that_cannot_be_used(redis_server: RedisServer, admin: Redis) -> None:
    fields = fields_of(redis_server)
    nobody = RedisDriver(redis_context({"host": fields["host"], "port": fields["port"]}))
    with pytest.raises(CredentialError, match="wants a password"):
        await nobody.discover()
    for extra, told in (({"database": "99"}, "no database 99"), ({"port": "1"}, "cannot be reached")):
        with pytest.raises(PlatintError, match=told):
            await RedisDriver(redis_context({**fields, **extra}, redis_server.password)).discover()
    context = redis_context(fields, redis_server.password)
    for name, value in (("host", ""), ("port", "70000"), ("database", "x"), ("tls", "maybe")):
        broken = {**context.profile.fields, name: value}
        object.__setattr__(context.profile, "fields", broken)
        with pytest.raises(ConfigError):
            address_of(context)
        object.__setattr__(context.profile, "fields", {**fields, "tls": "disable"})


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("LOADING Redis is loading the dataset in memory", TransientError, "LOADING"),
        ("MISCONF Redis is configured to save RDB snapshots", SystemicError, "MISCONF"),
        ("CLUSTERDOWN The cluster is down", TransientError, "CLUSTERDOWN"),
        ("MOVED 1 10.0.0.1:6379", ConfigError, "MOVED"),
        ("NOREPLICAS Not enough good replicas to write.", TransientError, "NOREPLICAS"),
        ("UNBLOCKED the stream key no longer exists", TransientError, "UNBLOCKED"),
        ("ERR max number of clients reached", TransientError, "clients"),
        ("ERR unknown command 'XADD'", ConfigError, "ERR"),
        ("ERR something else", SystemicError, "ERR"),
        (
            "ERR Error running script (call to f_1): @user_script:12: @user_script: 12: -OOM command not allowed",
            SystemicError,
            "OOM",
        ),
    ],
)
def test_what_errors_mean(redis_server: RedisServer, text: str, kind: type[PlatintError], code: str) -> None:
    from redis._parsers.base import BaseParser

    address = address_of(redis_context(fields_of(redis_server), PASSWORD))
    error = translate(BaseParser.parse_error(text), address)
    assert type(error) is kind and error.code == code, error
    assert isinstance(BaseParser.parse_error(text), ResponseError) or code in ("LOADING", "clients")


def old_server(command: Sequence[str]) -> Any:
    """Redis 5 with RedisJSON: no HELLO, no XAUTOCLAIM."""
    info = b"redis_version:5.0.14\r\nredis_mode:standalone\r\nrole:master\r\nrun_id:abc\r\n"
    match [command[0], *command[1:]]:
        case ["INFO", *_]:
            return info
        case ["SCAN", *_]:
            return [b"0", [b"doc:1", b"doc:2"]]
        case ["TYPE", key]:
            return b"ReJSON-RL" if key == "doc:1" else b"MBbloom--"
        case ["PTTL", _]:
            return -1
        case ["MEMORY", *_]:
            return 100
        case ["JSON.GET", _]:
            return b'{"a":[1,2.50]}'
        case _:
            return ResponseError(f"ERR unknown command `{command[0]}`")


async def test_an_old_server_and_values_of_modules() -> None:
    """RedisJSON is not among the servers of these tests: what is asked is checked, not what it answers."""
    async with answering(old_server) as port:
        driver = RedisDriver(redis_context({"host": "127.0.0.1", "port": str(port)}))
        [page] = await scan(driver, "doc:*")
    assert records([page])["doc:1"] == {
        "key": "doc:1",
        "type": "json",
        "value": {"a": [1, 2.5]},
        "ttl_ms": None,
        "encoding": "json",
    }
    assert [item.reason for item in page.bad] == [
        "values of the type MBbloom--, which a module has made, cannot be read"
    ]


async def test_what_is_no_redis_and_what_is_a_sentinel() -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConfigError, match="no Redis server"):
            await RedisDriver(redis_context({"host": "127.0.0.1", "port": str(port)})).discover()
    hello = [b"version", b"7.0", b"mode", b"sentinel", b"role", b"sentinel", b"modules", []]
    async with answering(lambda command: hello if command[0] == "HELLO" else b"OK") as port:
        with pytest.raises(ConfigError, match="This is a Sentinel"):
            await RedisDriver(redis_context({"host": "127.0.0.1", "port": str(port)})).discover()
