"""Service Bus as the stand-in over AMQP has it, a management over HTTP beside it, and drivers on both."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import itertools
import random
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus._common._configuration import Configuration
from azure.servicebus._common.receiver_mixins import ReceiverMixin
from azure.servicebus._pyamqp.aio import _client_async, _connection_async, _session_async
from azure.servicebus.aio import ServiceBusClient, _servicebus_receiver_async, _servicebus_sender_async
from drivers.conftest import FreeLimiter, Observed
from peers.servicebus import KEY, KEY_NAME, LISTEN_KEY, LISTEN_KEY_NAME, ServicebusServer
from platforms.vendor import Asked, Reply, Vendor, running

from platint_tui.core.model import Environment, Profile
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.servicebus import ServicebusDriver, receiver
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.schema import Connector

FOLDER = Path(__file__).parents[3] / "connectors"


@functools.cache
def manifest() -> Connector:
    """The manifest, read once."""
    return load_connector(FOLDER / "servicebus.yaml")


SPACE = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
ATOM = {"Content-Type": "application/atom+xml;charset=utf-8"}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Not used without TLS, but made anew by the client for each connection otherwise."""
PLAIN = (
    "<RequiresDuplicateDetection>false</RequiresDuplicateDetection>"
    "<CountDetails><DeadLetterMessageCount>0</DeadLetterMessageCount></CountDetails>"
)
_names = itertools.count()
QUEUES = [f"q{number}" for number in range(90)]
"""Empty queues, so that each test has its own; they let a message be delivered often."""


def entry(name: str, kind: str, inner: str) -> str:
    return (
        f'<entry xmlns="http://www.w3.org/2005/Atom"><id>x/{name}</id><title type="text">{name}</title><content '
        f'type="application/xml"><{kind} xmlns="{SPACE}">{inner}</{kind}></content></entry>'
    )


class Management(Vendor):
    """The management of a namespace. `settings` are members of the descriptions, by path; the counts come from
    there too."""

    def __init__(self, queues: Sequence[str], topics: Mapping[str, Sequence[str]]) -> None:
        super().__init__(guard=self.signed)
        self.queues, self.topics = list(queues), dict(topics)
        self.settings: dict[str, str] = {}
        self.on("GET /$namespaceinfo", lambda asked: self.one("shop", "NamespaceInfo", "<Name>shop</Name>"))
        self.on("GET /$Resources/queues", lambda asked: self.feed(asked, self.queues, "QueueDescription"))
        self.on(
            "GET /$Resources/topics", lambda asked: self.feed(asked, list(self.topics), "TopicDescription")
        )
        self.on("GET /{topic}/subscriptions", self.subscriptions)
        self.on("GET /{name}", self.described)

    def of(self, path: str) -> str:
        return self.settings.get(path, PLAIN)

    def one(self, name: str, kind: str, inner: str) -> Reply:
        return Reply(entry(name, kind, inner), headers=ATOM)

    def described(self, asked: Asked, name: str) -> Reply:
        kind = "TopicDescription" if name in self.topics else "QueueDescription"
        return self.one(name, kind, self.of(name))

    def subscriptions(self, asked: Asked, topic: str) -> Reply:
        return self.feed(asked, self.topics[topic], "SubscriptionDescription", f"{topic}/subscriptions/")

    def feed(self, asked: Asked, names: Sequence[str], kind: str, prefix: str = "") -> Reply:
        start, size = int(asked.query["$skip"]), int(asked.query["$top"])
        shown = "".join(entry(name, kind, self.of(prefix + name)) for name in names[start : start + size])
        return Reply(f'<feed xmlns="http://www.w3.org/2005/Atom">{shown}</feed>', headers=ATOM)

    def signed(self, asked: Asked) -> Reply | None:
        parts = parse_qs(asked.headers.get("authorization", "").partition(" ")[2])
        name = parts.get("skn", [""])[0]
        text = f"{quote_plus(parts.get('sr', [''])[0])}\n{parts.get('se', [''])[0]}".encode()
        key = {KEY_NAME: KEY, LISTEN_KEY_NAME: LISTEN_KEY}.get(name, "")
        wanted = base64.b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest()).decode()
        told = ""
        if not key or parts.get("sig") != [wanted]:
            told = "InvalidSignature: The token has an invalid signature."
        elif name == LISTEN_KEY_NAME:
            told = "Unauthorized access. 'Manage' claim(s) are required to perform this operation."
        if not told:
            return None
        body = f"<Error><Code>401</Code><Detail>{told}</Detail></Error>"
        return Reply(body, 401, {"Content-Type": "application/xml"})


class Bus:
    """The namespace, spoken to beside the driver by Microsoft's client."""

    def __init__(self, server: ServicebusServer, management: Management) -> None:
        self.server, self.management = server, management

    def queue(self) -> str:
        """An empty queue that no other test has."""
        return f"q{next(_names)}"

    def driver(
        self,
        key_name: str = KEY_NAME,
        key: str = KEY,
        fields: Mapping[str, str] | None = None,
        *,
        secrets: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
        **source: Any,
    ) -> ServicebusDriver:
        """A driver whose scans end soon. `origins` are those that its credential was entered for."""
        connector = manifest()
        changed = {}
        for name in ("queue.*", "subscription.*"):
            family = connector.resources[name]
            assert family.source is not None
            update = {"idle": 0.1, **source}
            changed[name] = family.model_copy(update={"source": family.source.model_copy(update=update)})
        policy = connector.errors.policy.model_copy(update={"attempts": 3, "base": 0.02})
        connector = connector.model_copy(
            update={
                "resources": {**connector.resources, **changed},
                "errors": connector.errors.model_copy(update={"policy": policy}),
            }
        )
        given = {
            "namespace": "shop-bus",
            "key_name": key_name,
            "base_url": self.management.url,
            "endpoint": f"http://127.0.0.1:{self.server.port}",
            **(fields or {}),
        }
        held = {name: Secret(value) for name, value in (secrets or {"key": key}).items()}
        checked = validate_fields(connector, given, secrets=dict.fromkeys(held))
        entered = tuple(origins) or origins_of(connector, checked, held, "development")
        profile = Profile("bus", "servicebus", Environment.DEVELOPMENT, checked, {}, entered)
        limits, notes = FreeLimiter(), Observed()
        return ServicebusDriver(DriverContext(connector, profile, held, limits, notes, rng=random.Random(7)))

    def client(self) -> ServiceBusClient:
        string = self.server.connection_string
        return ServiceBusClient.from_connection_string(string, retry_total=0, ssl_context=NO_TLS)

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        async with self.client() as client, client.get_queue_sender(queue) as sender:
            await sender.send_messages(list(messages))

    async def publish(self, topic: str, *messages: ServiceBusMessage) -> None:
        async with self.client() as client, client.get_topic_sender(topic) as sender:
            await sender.send_messages(list(messages))

    async def held(self, queue: str, *, dead: bool = False) -> list[Any]:
        """Every message of a queue, or of its dead letters, as they are peeked at."""
        below = ServiceBusSubQueue.DEAD_LETTER if dead else None
        topic, _, subscription = queue.rpartition("/subscriptions/")
        async with self.client() as client:
            if topic:
                receiver = client.get_subscription_receiver(topic, subscription, sub_queue=below)
            else:
                receiver = client.get_queue_receiver(queue, sub_queue=below)
            async with receiver:
                found: list[Any] = []
                while more := await receiver.peek_messages(
                    200, sequence_number=found[-1].sequence_number + 1 if found else 1
                ):
                    found += more
                return found

    async def bury(self, queue: str, *messages: ServiceBusMessage, reason: str = "bad") -> None:
        """Make messages dead letters of a queue or subscription."""
        topic, _, subscription = queue.rpartition("/subscriptions/")
        await (self.publish(topic, *messages) if topic else self.send(queue, *messages))
        async with self.client() as client:
            receiver = (
                client.get_subscription_receiver(topic, subscription)
                if topic
                else client.get_queue_receiver(queue)
            )
            async with receiver:
                left = len(messages)
                while left:
                    for message in await receiver.receive_messages(left, max_wait_time=5):
                        await receiver.dead_letter_message(message, reason, "of no use")
                        left -= 1

    async def crash(self) -> None:
        """Kill the server with -9 and start it again on its messages. It lives as long as the thread that starts
        it, so that is this one."""
        self.server.kill()
        self.server.start_again()


_AMQP = (_client_async, _connection_async, _session_async)


class _Hurried:
    """asyncio with short sleeps, for a module."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Microsoft's client sleeps at each step of opening a connection, and up to a second when it closes one."""
    for module in (*_AMQP, _servicebus_receiver_async, _servicebus_sender_async):
        monkeypatch.setattr(module, "asyncio", _Hurried())
    monkeypatch.setattr(receiver, "_SLICE", 0.06)
    populate = ReceiverMixin._populate_attributes

    def populated(self: ReceiverMixin, **how: Any) -> None:
        populate(self, **how)
        self._further_pull_receive_timeout = 0.03

    monkeypatch.setattr(ReceiverMixin, "_populate_attributes", populated)
    monkeypatch.setattr(REDACTOR, "_values", set())  # each test has tokens of its own
    monkeypatch.setattr(REDACTOR, "_pattern", None)
    made = Configuration.__init__
    monkeypatch.setattr(
        Configuration, "__init__", lambda self, **how: made(self, **{**how, "socket_timeout": 0.02})
    )


@pytest.fixture(scope="session")
def bus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicebusServer]:
    often = {"max_delivery": 100.0, "lock_seconds": 30.0}
    queues = {**dict.fromkeys(QUEUES, often), "short": {"lock_seconds": 1.0, "max_delivery": 100.0}}
    topics = {
        "events": {"billing": often, "audit": often},
        "single": {"only": often},
        "news": {"all": often},
    }
    server = ServicebusServer(tmp_path_factory.mktemp("servicebus"), queues, topics)
    yield server
    server.stop()


@pytest.fixture
async def bus(bus_server: ServicebusServer) -> AsyncIterator[Bus]:
    topics = {"events": ["billing", "audit"], "single": ["only"], "news": ["all"]}
    async with running(Management([*QUEUES, "short"], topics)) as management:
        assert isinstance(management, Management)
        yield Bus(bus_server, management)


@pytest.fixture
async def driver(bus: Bus) -> AsyncIterator[ServicebusDriver]:
    opened = bus.driver()
    yield opened
    await opened.close()
