"""A real RabbitMQ, spoken to beside the driver, and drivers on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiormq
import pytest
from aiormq.abc import AbstractChannel, ChannelFrame, DeliveredMessage
from drivers.conftest import FreeLimiter, Observed
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.model import Environment, JsonObject, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.amqp import AmqpDriver
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"


def amqp_driver(
    server: RabbitmqServer,
    *,
    platform: str = "rabbitmq",
    password: str = "",
    source: Mapping[str, Any] | None = None,
    sink: Mapping[str, Any] | None = None,
    connect: float = 5.0,
    total: float = 20.0,
    attempts: int = 3,
    **fields: str,
) -> AmqpDriver:
    """A driver on the broker; `source` and `sink` change what the manifest says of queues."""
    connector = load_connector(FOLDER / f"{platform}.yaml")
    family = connector.resources["*"]
    assert family.source is not None
    changes: dict[str, Any] = {"source": family.source.model_copy(update={"idle": 0.06, **(source or {})})}
    if sink:
        assert family.sink is not None
        changes["sink"] = family.sink.model_copy(update=dict(sink))
    policy = connector.errors.policy.model_copy(update={"attempts": attempts, "base": 0.02})
    timeout = connector.transport.timeout.model_copy(update={"connect": connect, "total": total})
    connector = connector.model_copy(
        update={
            "resources": {"*": family.model_copy(update=changes)},
            "errors": connector.errors.model_copy(update={"policy": policy}),
            "transport": connector.transport.model_copy(update={"timeout": timeout}),
        }
    )
    given = {"host": server.host, "port": str(server.port), "user": server.user, "tls": "disable", **fields}
    if platform == "rabbitmq":
        given.setdefault("management", server.management_url)
    profile = Profile("broker", platform, Environment.DEVELOPMENT, given, {})
    secrets = {"password": Secret(password or server.password)}
    return AmqpDriver(
        DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))
    )


class Broker:
    """The broker as its administrator sees it."""

    def __init__(self, server: RabbitmqServer) -> None:
        self.server = server
        self._connection: aiormq.Connection | None = None
        self._channel: AbstractChannel | None = None
        self._names = 0

    async def channel(self) -> AbstractChannel:
        if self._connection is None or self._connection.is_closed:
            self._connection = await aiormq.connect(self.server.url)
            self._channel = None
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._connection.channel()
        return self._channel

    async def queue(self, name: str, **arguments: Any) -> str:
        """An empty durable queue with these `x-` arguments (underscores for hyphens)."""
        channel = await self.channel()
        await channel.queue_delete(name)
        table = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        await channel.queue_declare(name, durable=True, arguments=table)
        return name

    async def send(
        self,
        queue: str,
        bodies: Sequence[bytes | str | Mapping[str, Any]],
        exchange: str = "",
        **properties: Any,
    ) -> None:
        """Persistent messages to a queue (or an exchange), confirmed; without `message_id` they have none."""
        channel = await self.channel()
        if "message_id" not in properties:
            # aiormq itself gives an id to every message that has none, and counts what it confirms.
            assert self._connection is not None
            channel = await self._connection.channel(publisher_confirms=False)
            await channel.tx_select()
            for body in bodies:
                data = _encoded(body)
                given = commands.Basic.Properties(delivery_mode=2, **properties)
                frames = [
                    commands.Basic.Publish(exchange=exchange, routing_key=queue),
                    ContentHeader(properties=given, body_size=len(data)),
                    *(ContentBody(data[at : at + 100_000]) for at in range(0, len(data), 100_000)),
                ]
                await channel.write_queue.put(ChannelFrame.marshall(channel.number, frames))  # type: ignore[attr-defined]
            await channel.tx_commit()
            await channel.close()
            return
        for start in range(0, len(bodies), 500):
            await asyncio.gather(
                *(
                    channel.basic_publish(
                        _encoded(body),
                        exchange=exchange,
                        routing_key=queue,
                        properties=commands.Basic.Properties(
                            **{"delivery_mode": 2, **self._filled(body, properties)}
                        ),
                    )
                    for body in bodies[start : start + 500]
                )
            )

    @staticmethod
    def _filled(body: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
        """`{id}` in a property is the member `id` of the body."""
        return {
            name: value.format(**body) if isinstance(value, str) and isinstance(body, Mapping) else value
            for name, value in properties.items()
        }

    async def ready(self, queue: str) -> int:
        declared = await (await self.channel()).queue_declare(queue, passive=True)
        return declared.message_count or 0

    async def drain(self, queue: str) -> list[DeliveredMessage]:
        """Take everything out of a queue."""
        channel = await self.channel()
        count = await self.ready(queue)
        found: list[DeliveredMessage] = []
        full = asyncio.Event()

        async def keep(message: DeliveredMessage) -> None:
            found.append(message)
            if len(found) >= count:
                full.set()

        if count:
            begun = await channel.basic_consume(queue, keep, no_ack=True)
            await asyncio.wait_for(full.wait(), 20)
            await channel.basic_cancel(begun.consumer_tag or "")
        return found

    async def until_ready(self, queue: str, count: int, seconds: float = 10.0) -> None:
        """Wait until so many messages are ready."""
        async with asyncio.timeout(seconds):
            while await self.ready(queue) != count:
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


SCAN = ReadOptions(sync="sales")
FOLLOW = ReadOptions(sync="sales", follow=True)


@contextlib.asynccontextmanager
async def reading(
    driver: AmqpDriver, queue: str, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> AsyncIterator[AsyncIterator[Page]]:
    """The pages of a queue; the reading is closed in the end."""
    async with contextlib.aclosing(driver.read(queue, position, options)) as pages, asyncio.timeout(20):  # type: ignore[type-var]
        yield pages


async def scan(
    driver: AmqpDriver, queue: str, position: JsonObject | None = None, *, ack: bool = True
) -> list[Page]:
    """One scan."""
    found = []
    async with reading(driver, queue, position) as pages:
        async for page in pages:
            found.append(page)
            if ack:
                await driver.acknowledge(queue, page.position)
    assert found[-1].last
    return found


def values(pages: list[Page]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]


class Proxy:
    """Stands between driver and broker; can cut every connection, or keep the broker's answers to itself."""

    def __init__(self, server: RabbitmqServer, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []
        self._listening: asyncio.Server | None = None
        self.mute = False
        self.port = 0

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._relay, self._server.host, 0, ssl=self._tls)
        self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End what is open; new connections are taken."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()
        self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(self._server.host, self._server.port)
        self._writers += [writer, inner_writer]

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65_536):
                    if not (answers and self.mute):
                        sink.write(data)
                        await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, inner_writer, False), copy(inner_reader, writer, True))


@pytest.fixture
async def proxy(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Proxy]:
    opened = Proxy(rabbitmq_server)
    await opened.start()
    yield opened
    opened.stop()


def _encoded(body: bytes | str | Mapping[str, Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Bodies that differ."""
    return [{"id": f"m{number}", "n": number} for number in range(start, start + count)]


@pytest.fixture
async def broker(rabbitmq_server: RabbitmqServer) -> AsyncIterator[Broker]:
    opened = Broker(rabbitmq_server)
    yield opened
    await opened.close()


@pytest.fixture
def make_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of a queue that no other test uses."""
    yield request.node.name.replace("[", "-").replace("]", "")[:80]
