"""Each server of databases and brokers does with its real client what the other tests build on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from peers.mosquitto import MosquittoServer
    from peers.postgres import PostgresServer
    from peers.rabbitmq import RabbitmqServer
    from peers.redis import RedisServer


def assert_loopback_only(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return
        own = probe.getsockname()[0]
    if not own.startswith("127."):
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex((own, port)) != 0, f"port {port} is open on {own}"


async def test_redis_has_rights_and_loses_nothing_in_a_kill(redis_server: RedisServer) -> None:
    from redis.asyncio import Redis
    from redis.exceptions import AuthenticationError, NoPermissionError

    async with Redis.from_url(redis_server.url, decode_responses=True) as admin:
        last = ""
        for number in range(20):
            last = str(await admin.xadd("app:orders", {"n": str(number)}))
    redis_server.kill()
    redis_server.start_again()
    async with Redis.from_url(redis_server.url, decode_responses=True) as admin:
        assert await admin.xlen("app:orders") == 20
        assert [entry[0] for entry in await admin.xrevrange("app:orders", count=1)] == [last]
    async with Redis.from_url(redis_server.limited_url) as limited:
        assert await limited.xlen("app:orders") == 20
        with pytest.raises(NoPermissionError):
            await limited.get("other")
        with pytest.raises(NoPermissionError):
            await limited.execute_command("CONFIG", "GET", "*")
    for url in (
        redis_server.url.replace(redis_server.password, "wrong"),
        f"redis://127.0.0.1:{redis_server.port}",
    ):
        async with Redis.from_url(url) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    assert_loopback_only(redis_server.port)


async def test_rabbitmq_confirms_and_keeps_what_is_durable(rabbitmq_server: RabbitmqServer) -> None:
    import aio_pika
    import aiormq

    connection = await aio_pika.connect(rabbitmq_server.url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue("peer-check", durable=True)
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT, headers={"h": 1})
        await channel.default_exchange.publish(message, "peer-check")
    with pytest.raises(aiormq.exceptions.ProbableAuthenticationError):
        await aio_pika.connect(rabbitmq_server.url.replace(rabbitmq_server.password, "wrong"))

    limited = await aio_pika.connect(rabbitmq_server.limited_url)
    async with limited:
        channel = await limited.channel()
        with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
            await channel.declare_queue("app.new")

    rabbitmq_server.kill()
    rabbitmq_server.start_again()
    connection = await aio_pika.connect(rabbitmq_server.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("peer-check")
        got = await queue.get(timeout=10)
        assert (got.body, got.headers) == (b"kept", {"h": 1})
        await got.ack()
        await queue.delete()
    assert {queue["name"] for queue in rabbitmq_server.manage("GET", "queues")}.isdisjoint({"peer-check"})
    assert_loopback_only(rabbitmq_server.port)
    assert_loopback_only(rabbitmq_server.management_port)


async def test_postgresql_streams_changes_and_survives_a_kill(postgres_server: PostgresServer) -> None:
    postgres_server.psql("CREATE TABLE peer_check (id int PRIMARY KEY)")
    postgres_server.psql("SELECT pg_create_logical_replication_slot('peer_check', 'test_decoding')")
    postgres_server.psql("INSERT INTO peer_check VALUES (1)")
    postgres_server.kill()
    postgres_server.start_again()
    changes = postgres_server.psql("SELECT data FROM pg_logical_slot_get_changes('peer_check', NULL, NULL)")
    assert "INSERT: id[integer]:1" in changes
    postgres_server.psql("SELECT pg_drop_replication_slot('peer_check')")
    connection = await asyncpg.connect(postgres_server.dsn)
    assert await connection.fetchval("SELECT count(*) FROM peer_check") == 1
    await connection.execute("DROP TABLE peer_check")
    await connection.close()
    assert postgres_server.tool("pgbench").endswith("pgbench")


async def test_mosquitto_keeps_a_session_and_a_retained_message(mosquitto_server: MosquittoServer) -> None:
    import aiomqtt

    def client(user: str, password: str, **more: object) -> aiomqtt.Client:
        known = {"port": mosquitto_server.port, "protocol": aiomqtt.ProtocolVersion.V5, **more}
        return aiomqtt.Client(mosquitto_server.host, username=user, password=password, **known)

    admin = (mosquitto_server.user, mosquitto_server.password)
    lasting = {"identifier": "lasting", "protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    async with client(*admin, **lasting) as reader:
        await reader.subscribe("app/#", qos=2)
    over_websocket = {
        "port": mosquitto_server.websocket_port,
        "transport": "websockets",
        "websocket_path": "/mqtt",
    }
    async with client(*admin, **over_websocket) as writer:
        await writer.publish("app/state", b"on", qos=1, retain=True)
        await writer.publish("app/in/1", b"queued", qos=2)
    mosquitto_server.flush()
    mosquitto_server.kill()
    mosquitto_server.start_again()
    async with client(*admin, **lasting) as reader:
        got = {}
        async with asyncio.timeout(20):
            async for message in reader.messages:
                got[str(message.topic)] = message.payload
                if len(got) == 2:
                    break
        assert got == {"app/state": b"on", "app/in/1": b"queued"}
    async with client(mosquitto_server.limited_user, mosquitto_server.limited_password) as limited:
        await limited.subscribe("app/state", qos=1)
        async with asyncio.timeout(20):
            async for message in limited.messages:
                assert message.payload == b"on" and message.retain
                break
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)authori"):
        async with client(mosquitto_server.user, "wrong"):
            pass
    with contextlib.suppress(aiomqtt.MqttError):
        async with client("nobody", ""):
            raise AssertionError("let in without a password")
    assert_loopback_only(mosquitto_server.port)
    assert_loopback_only(mosquitto_server.websocket_port)
