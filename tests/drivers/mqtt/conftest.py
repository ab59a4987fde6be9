"""A real Mosquitto, spoken to beside the driver with another client, and drivers on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from drivers.conftest import FreeLimiter, Observed
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from peers.mosquitto import MosquittoServer

from platint_tui.core.model import Environment, JsonObject, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mqtt import MqttDriver
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"
SCAN = ReadOptions(sync="sales")
FOLLOW = ReadOptions(sync="sales", follow=True)
_END = b"\0end"


def mqtt_driver(
    server: MosquittoServer,
    *,
    password: str | None = None,
    source: Mapping[str, Any] | None = None,
    sink: Mapping[str, Any] | None = None,
    attempts: int = 3,
    total: float = 10.0,
    **fields: str,
) -> MqttDriver:
    """A driver on the broker; `source` and `sink` change what the manifest says of topics."""
    connector = load_connector(FOLDER / "mqtt.yaml")
    family = connector.resources["*"]
    assert family.source is not None and family.sink is not None
    changes = {
        "source": family.source.model_copy(update={"idle": 0.2, "chunk": 10, **(source or {})}),
        "sink": family.sink.model_copy(update=dict(sink or {})),
    }
    policy = connector.errors.policy.model_copy(update={"attempts": attempts, "base": 0.02})
    timeout = connector.transport.timeout.model_copy(update={"connect": 5.0, "total": total})
    connector = connector.model_copy(
        update={
            "resources": {"*": family.model_copy(update=changes)},
            "errors": connector.errors.model_copy(update={"policy": policy}),
            "transport": connector.transport.model_copy(update={"timeout": timeout}),
        }
    )
    given = {"host": server.host, "port": str(server.port), "user": server.user, "tls": "disable", **fields}
    profile = Profile("broker", "mqtt", Environment.DEVELOPMENT, given, {})
    secrets = {"password": Secret(server.password if password is None else password)}
    context = DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))
    return MqttDriver(context)


class Bench:
    """The broker as another client (paho) sees it."""

    def __init__(self, server: MosquittoServer) -> None:
        self.server = server

    def client(self, name: str | None = None, *, session: bool = False) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if session:
            properties.SessionExpiryInterval = 3600
        return aiomqtt.Client(
            self.server.host,
            self.server.port,
            username=self.server.user,
            password=self.server.password,
            identifier=name,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=not session,
            properties=properties,
        )

    async def send(
        self,
        topic: str,
        bodies: Sequence[Any],
        *,
        qos: int = 1,
        retain: bool = False,
        user: Sequence[tuple[str, str]] = (),
        **properties: Any,
    ) -> None:
        """Publish; `{id}` in a user property is the member `id` of the body."""
        async with self.client() as client:
            client.pending_calls_threshold = len(bodies)
            sends = []
            for body in bodies:
                own = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                for name, value in properties.items():
                    setattr(own, name, value)
                if user:
                    filled = body if isinstance(body, dict) else {}
                    own.UserProperty = [(name, value.format(**filled)) for name, value in user]
                data = body if isinstance(body, bytes | str) else json.dumps(body)
                sends.append(client.publish(topic, data, qos=qos, retain=retain, properties=own))
            await asyncio.gather(*sends)

    async def collect(self, name: str, topic: str) -> list[aiomqtt.Message]:
        """What a durable subscriber called `name` has got since the last time; the first call subscribes it."""
        found = []
        async with self.client(name, session=True) as client, asyncio.timeout(20):
            await client.subscribe(topic, qos=1)
            # A broker keeps the order: when our own message has come, everything before it has.
            await client.publish(topic.replace("#", "end"), _END, qos=1)
            async for message in client.messages:
                if message.payload == _END:
                    break
                found.append(message)
        return found


@pytest.fixture
def bench(mosquitto_server: MosquittoServer) -> Bench:
    return Bench(mosquitto_server)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return f"t/{request.node.name.replace('[', '-').replace(']', '')}"


@contextlib.asynccontextmanager
async def reading(
    driver: MqttDriver, topic: str, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> AsyncIterator[AsyncIterator[Page]]:
    """The pages of a filter; the reading is closed in the end."""
    async with contextlib.aclosing(driver.read(topic, position, options)) as pages, asyncio.timeout(30):  # type: ignore[type-var]
        yield pages


async def scan(
    driver: MqttDriver,
    topic: str,
    position: JsonObject | None = None,
    *,
    ack: bool = True,
    options: ReadOptions = SCAN,
) -> list[Page]:
    """One scan."""
    found = []
    async with reading(driver, topic, position, options) as pages:
        async for page in pages:
            found.append(page)
            if ack:
                await driver.acknowledge(topic, page.position)
    assert found[-1].last
    return found


def values(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Bodies that differ."""
    return [{"id": f"m{number}", "n": number} for number in range(start, start + count)]


class Proxy:
    """Stands between driver and broker; can cut every connection, or keep one side's words to itself."""

    def __init__(self, server: MosquittoServer) -> None:
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []
        self._listening: asyncio.Server | None = None
        self.mute = False
        self.deaf = False
        self.port = 0

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._relay, self._server.host, 0)
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
                    if not (self.mute if answers else self.deaf):
                        sink.write(data)
                        await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, inner_writer, False), copy(inner_reader, writer, True))


@pytest.fixture
async def proxy(mosquitto_server: MosquittoServer) -> AsyncIterator[Proxy]:
    opened = Proxy(mosquitto_server)
    await opened.start()
    yield opened
    opened.stop()


@pytest.fixture
async def broker() -> AsyncIterator[Any]:
    """A broker that says what a test tells it to (`broker.ScriptedBroker`)."""
    from drivers.mqtt.broker import ScriptedBroker

    opened = ScriptedBroker()
    await opened.start()
    yield opened
    opened.stop()
