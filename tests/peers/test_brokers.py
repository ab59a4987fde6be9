"""Each server of databases and brokers does with its real client what the other tests build on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from peers.grpc_server import GrpcServer
    from peers.kafka import KafkaServer
    from peers.mariadb import MariadbServer
    from peers.mongodb import MongodbServer
    from peers.mosquitto import MosquittoServer
    from peers.nchan import NchanServer
    from peers.postgres import PostgresServer
    from peers.rabbitmq import RabbitmqServer
    from peers.redis import RedisServer
    from peers.servicebus import ServicebusServer


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


async def test_kafka_keeps_partitions_headers_and_a_committed_offset(kafka_server: KafkaServer) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("orders", 2, 1)])
    assert "orders" in await admin.list_topics()
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap, compression_type="zstd")
    async with producer:
        for number in range(6):
            await producer.send_and_wait(
                "orders", b"%d" % number, partition=number % 2, headers=[("h", b"1")]
            )
    first, second = TopicPartition("orders", 0), TopicPartition("orders", 1)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_server.bootstrap,
        group_id="g",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        consumer.assign([first, second])
        assert await consumer.end_offsets([first, second]) == {first: 3, second: 3}
        records = [await asyncio.wait_for(consumer.getone(), 20) for _ in range(6)]
        assert {(record.partition, record.offset, record.value) for record in records} == {
            (number % 2, number // 2, b"%d" % number) for number in range(6)
        }
        assert all(record.headers == (("h", b"1"),) for record in records)
        await consumer.commit({first: 2})
        assert await consumer.committed(first) == 2
    assert_loopback_only(kafka_server.port)


async def test_kafka_can_refuse_everybody(tmp_path: Path) -> None:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaConnectionError
    from peers.kafka import KafkaServer

    server = KafkaServer(tmp_path, options=["--authentication"])
    try:
        stranger = AIOKafkaConsumer(bootstrap_servers=server.bootstrap)
        with pytest.raises(KafkaConnectionError):
            await stranger.start()
        await stranger.stop()
        unknown = AIOKafkaConsumer(
            bootstrap_servers=server.bootstrap,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="ada",
            sasl_plain_password="wrong",
        )
        with pytest.raises(KeyError, match="v"):  # it reads no `e=unknown-user` where the proof would be
            await unknown.start()
        await unknown.stop()
    finally:
        server.stop()


async def test_mongodb_has_rights_and_its_change_stream_goes_on_after_a_kill(
    mongodb_server: MongodbServer,
) -> None:
    from pymongo import AsyncMongoClient
    from pymongo.errors import OperationFailure

    quickly = {"serverSelectionTimeoutMS": 20_000}
    async with AsyncMongoClient(mongodb_server.url, **quickly) as client:
        orders = client.shop.orders
        async with await orders.watch(max_await_time_ms=200) as stream:
            await orders.insert_one({"_id": 1})
            async with asyncio.timeout(20):
                token = (await anext(stream))["_id"]
        await orders.insert_one({"_id": 2})
    mongodb_server.kill()
    mongodb_server.start_again()
    async with AsyncMongoClient(mongodb_server.url, **quickly) as client:
        orders = client.shop.orders
        assert await orders.count_documents({}) == 2
        async with await orders.watch(resume_after=token, max_await_time_ms=200) as stream:
            async with asyncio.timeout(20):
                assert (await anext(stream))["documentKey"] == {"_id": 2}
    async with AsyncMongoClient(mongodb_server.limited_url, **quickly) as client:
        assert await client.shop.orders.count_documents({}) == 2
        with pytest.raises(OperationFailure, match="not authorized"):
            await client.shop.orders.insert_one({"_id": 3})
    for url in (
        mongodb_server.url.replace(mongodb_server.password, "wrong"),
        f"mongodb://127.0.0.1:{mongodb_server.port}",
    ):
        async with AsyncMongoClient(url, **quickly) as client:
            with pytest.raises(OperationFailure, match="authentication"):
                await client.shop.orders.count_documents({})
    assert_loopback_only(mongodb_server.port)


async def test_nchan_replays_events_and_carries_websockets(nchan_server: NchanServer) -> None:
    import aiohttp
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    async def events(url: str, count: int, **headers: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = [{}]
        sent = {"Accept": "text/event-stream", **headers}
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as session,
            session.get(url, headers=sent) as answer,
        ):
            answer.raise_for_status()
            while len(found) <= count:
                line = (await answer.content.readline()).decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if name in ("id", "event", "data"):
                    found[-1][name] = value
                elif not line and "data" in found[-1]:
                    found.append({})
        return found[:count]

    for number in range(3):
        nchan_server.publish("orders", f"message {number}", event="order")
    first = await events(nchan_server.sse_url("orders"), 3)
    assert [(event["event"], event["data"]) for event in first] == [
        ("order", f"message {n}") for n in range(3)
    ]
    rest = await events(nchan_server.sse_url("orders"), 2, **{"Last-Event-ID": first[0]["id"]})
    assert rest == first[1:]
    with pytest.raises(aiohttp.ClientResponseError, match="401"):
        await events(nchan_server.sse_url("orders", private=True), 1, Authorization="Bearer wrong")
    bearer = f"Bearer {nchan_server.token}"
    assert await events(nchan_server.sse_url("orders", private=True), 3, Authorization=bearer) == first

    async with asyncio.timeout(20), connect(nchan_server.ws_url("talk")) as reader:
        private = nchan_server.ws_url("talk", private=True)
        async with connect(f"{private}?token={nchan_server.token}") as writer:
            await writer.send("hello")
            assert await reader.recv() == "hello"
        with pytest.raises(InvalidStatus, match="401"):
            await connect(private)
    assert_loopback_only(nchan_server.port)


async def test_microsofts_client_works_with_the_service_bus(servicebus_server: ServicebusServer) -> None:
    from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
    from azure.servicebus.aio import ServiceBusClient

    def client(connection_string: str) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(connection_string, retry_total=0)

    async with client(servicebus_server.connection_string) as bus:
        async with bus.get_queue_sender("orders") as sender:
            message = ServiceBusMessage("first", message_id="m1", application_properties={"k": 1})
            await sender.send_messages(message)
            await sender.send_messages(
                [ServiceBusMessage(text) for text in ("second", "third", "fourth", "fifth")]
            )
        async with bus.get_queue_receiver("orders") as receiver:
            peeked = await receiver.peek_messages(max_message_count=10, sequence_number=2)
            assert [(str(one), one.sequence_number) for one in peeked] == [
                ("second", 2),
                ("third", 3),
                ("fourth", 4),
                ("fifth", 5),
            ]
            got = await receiver.receive_messages(max_message_count=5, max_wait_time=10)
            assert (got[0].message_id, got[0].application_properties, got[0].delivery_count) == (
                "m1",
                {b"k": 1},
                0,
            )
            assert got[0].enqueued_time_utc is not None and len({one.lock_token for one in got}) == 5
            await receiver.complete_message(got[0])
            await receiver.dead_letter_message(got[1], reason="bad", error_description="cannot be read")
            await receiver.defer_message(got[2])
            await receiver.renew_message_lock(got[3])
            await receiver.complete_message(got[3])
            await receiver.abandon_message(got[4])
            (deferred,) = await receiver.receive_deferred_messages([3])
            await receiver.complete_message(deferred)
            for count in (1, 2):
                (again,) = await receiver.receive_messages(max_wait_time=10)
                assert (str(again), again.delivery_count) == ("fifth", count)
                await receiver.abandon_message(again)
            assert await receiver.peek_messages() == []
        async with bus.get_queue_receiver("orders", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
            dead = [
                (str(one), one.dead_letter_reason, one.dead_letter_error_description)
                for one in await receiver.peek_messages(max_message_count=10)
            ]
            assert dead == [
                ("second", "bad", "cannot be read"),
                (
                    "fifth",
                    "MaxDeliveryCountExceeded",
                    "Message could not be consumed after 3 delivery attempts.",
                ),
            ]


async def test_a_lost_lock_a_topic_and_a_kill_of_the_service_bus(servicebus_server: ServicebusServer) -> None:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient
    from azure.servicebus.exceptions import MessageLockLostError

    connection_string = servicebus_server.connection_string
    async with ServiceBusClient.from_connection_string(connection_string) as bus:
        async with bus.get_queue_sender("short") as sender, bus.get_topic_sender("events") as topic:
            await sender.send_messages(ServiceBusMessage("slow"))
            await topic.send_messages(ServiceBusMessage("event"))
        async with bus.get_queue_receiver("short") as receiver:
            (first,) = await receiver.receive_messages(max_wait_time=10)
            (second,) = await receiver.receive_messages(max_wait_time=10)
            assert (first.delivery_count, second.delivery_count) == (0, 1)
            with pytest.raises(MessageLockLostError):
                await receiver.complete_message(first)
            await receiver.complete_message(second)
    servicebus_server.kill()
    servicebus_server.start_again()
    async with ServiceBusClient.from_connection_string(connection_string) as bus:
        for subscription in ("billing", "audit"):
            async with bus.get_subscription_receiver("events", subscription) as receiver:
                (event,) = await receiver.receive_messages(max_wait_time=10)
                assert (str(event), event.sequence_number) == ("event", 1)
                await receiver.complete_message(event)
                assert await receiver.peek_messages() == []


async def test_the_service_bus_refuses_wrong_keys_and_missing_rights(
    servicebus_server: ServicebusServer,
) -> None:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient
    from azure.servicebus.exceptions import (
        MessagingEntityNotFoundError,
        ServiceBusAuthenticationError,
        ServiceBusError,
    )

    def client(connection_string: str) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(connection_string, retry_total=0)

    wrong = servicebus_server.connection_string_of(servicebus_server.key_name, "d3Jvbmc=")
    async with client(wrong) as bus:
        with pytest.raises(ServiceBusAuthenticationError):
            await bus.get_queue_receiver("orders").peek_messages()
    async with client(servicebus_server.listen_connection_string) as bus:
        assert await bus.get_queue_receiver("other").peek_messages() == []
        with pytest.raises(ServiceBusError):
            await bus.get_queue_sender("other").send_messages(ServiceBusMessage("not allowed"))
        with pytest.raises(MessagingEntityNotFoundError):
            await bus.get_queue_receiver("missing").receive_messages(max_wait_time=1)
    assert_loopback_only(servicebus_server.port)


class Orders:
    """The methods of the gRPC server, from its reflection."""

    def __init__(self, server: GrpcServer, token: str) -> None:
        import grpc
        from google.protobuf import descriptor_pool, message_factory
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
            ProtoReflectionDescriptorDatabase,
        )

        options = [("grpc.enable_http_proxy", 0)]
        if server.certificate is None:
            self.channel = grpc.insecure_channel(server.target, options)
        else:
            trusted = grpc.ssl_channel_credentials(server.certificate.certificate.read_bytes())
            self.channel = grpc.secure_channel(server.target, trusted, options)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        assert server.service in database.get_services()
        pool = descriptor_pool.DescriptorPool(database)
        self._service = pool.FindServiceByName(server.service)
        self._of = message_factory.GetMessageClass
        self._metadata = [("authorization", f"Bearer {token}")]

    def call(self, name: str, **fields: object) -> object:
        method = self._service.methods_by_name[name]
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        asks, gives = self._of(method.input_type), self._of(method.output_type)
        path = f"/{self._service.full_name}/{name}"
        callable_ = make(path, asks.SerializeToString, gives.FromString)
        return callable_(asks(**fields), metadata=self._metadata, timeout=20)


def test_grpc_has_reflection_streams_errors_and_a_token(grpc_server: GrpcServer) -> None:
    import grpc

    orders = Orders(grpc_server, grpc_server.token)
    for customer in ("ada", "bob", "eve"):
        orders.call("Create", customer=customer, items=[{"sku": "a", "count": 2}], state=1)
    page = orders.call("List", page_size=2)
    assert [order.customer for order in page.orders] == ["ada", "bob"] and page.next_page_token == "2"
    stream = orders.call("Watch", after_id=2)
    assert next(stream).customer == "eve"
    orders.call("Create", customer="zoe")
    assert next(stream).customer == "zoe"
    stream.cancel()
    for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED):
        with pytest.raises(grpc.RpcError) as caught:
            orders.call("Fail", code=code.value[0], message="slow down")
        assert (caught.value.code(), caught.value.details()) == (code, "slow down")
        assert (("retry-after", "7") in caught.value.trailing_metadata()) == (code.value[0] == 8)
    stranger = Orders(grpc_server, "wrong")
    for method in ("List", "Export"):
        with pytest.raises(grpc.RpcError) as caught:
            list(getattr(stranger.call(method), "orders", None) or stranger.call(method))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    orders.channel.close()
    stranger.channel.close()

    grpc_server.kill()
    grpc_server.start_again()
    orders = Orders(grpc_server, grpc_server.token)
    assert [order.id for order in orders.call("Export")] == [1, 2, 3, 4]
    orders.channel.close()
    assert_loopback_only(grpc_server.port)


def test_grpc_may_have_a_certificate(tmp_path: Path) -> None:
    import grpc
    from peers.grpc_server import GrpcServer

    server = GrpcServer(tmp_path, tls=True)
    try:
        orders = Orders(server, server.token)
        assert not orders.call("List").orders
        orders.channel.close()
        with (
            grpc.insecure_channel(server.target, [("grpc.enable_http_proxy", 0)]) as channel,
            pytest.raises(grpc.RpcError),
        ):
            channel.unary_unary("/shop.v1.Orders/List")(b"", timeout=5)
    finally:
        server.stop()


async def test_mariadb_has_rights_and_keeps_what_was_committed(mariadb_server: MariadbServer) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.ext.asyncio import create_async_engine

    async def run(url: str, *statements: str) -> list[tuple[object, ...]]:
        engine = create_async_engine(url.replace("mysql://", "mysql+aiomysql://"))
        try:
            async with engine.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            await engine.dispose()

    made = "CREATE TABLE peer_check (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))"
    await run(mariadb_server.url, made, "INSERT INTO peer_check (name) VALUES ('é'), ('b')")
    mariadb_server.kill()
    mariadb_server.start_again()
    assert await run(mariadb_server.limited_url, "SELECT * FROM peer_check") == [(1, "é"), (2, "b")]
    with pytest.raises(OperationalError, match="denied"):
        await run(mariadb_server.limited_url, "INSERT INTO peer_check (name) VALUES ('c')")
    url = mariadb_server.url
    for stranger in (url.replace(mariadb_server.password, "wrong"), f"mysql://root@{url.partition('@')[2]}"):
        with pytest.raises(OperationalError, match="Access denied"):
            await run(stranger, "SELECT 1")
    await run(mariadb_server.url, "DROP TABLE peer_check")
    assert_loopback_only(mariadb_server.port)
