"""Azure Service Bus through its manifest: a server in the shapes of Microsoft's client that checks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, quote_plus
from xml.etree import ElementTree

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError

KEY = "c2VjcmV0LWtleQ=="
ATOM = {"Content-Type": "application/atom+xml;charset=utf-8"}
SPACE = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"


def entry(name: str, kind: str, inner: str = "") -> str:
    return (
        f'<entry xmlns="http://www.w3.org/2005/Atom"><id>https://shop/{name}</id><title type="text">{name}</title>'
        f'<updated>2026-01-02T00:00:00Z</updated><content type="application/xml"><{kind} xmlns="{SPACE}">{inner}'
        f"</{kind}></content></entry>"
    )


class ServiceBus(Vendor):
    """130 queues, a topic with two subscriptions; what was sent is in `sent`."""

    def __init__(self) -> None:
        super().__init__("servicebus", guard=self.signed)
        self.queues = [f"queue{number:03}" for number in range(130)]
        self.sent: list[tuple[str, Asked]] = []
        names = entry("shop", "NamespaceInfo", "<Name>shop</Name>")
        self.on("GET /$namespaceinfo", Reply(names, headers=ATOM))
        self.on("GET /$Resources/queues", lambda asked: self.feed(asked, self.queues, "QueueDescription"))
        self.on("GET /$Resources/topics", lambda asked: self.feed(asked, ["news"], "TopicDescription"))
        self.on(
            "GET /news/subscriptions",
            lambda asked: self.feed(asked, ["all", "few"], "SubscriptionDescription"),
        )
        path = "/news/subscriptions/{name}/rules"
        self.on(f"GET {path}", lambda asked, name: self.feed(asked, [f"{name}-rule"], "RuleDescription"))
        self.on("PUT /{name}", self.put)
        self.on("DELETE /{name}", self.delete)
        self.on("POST /{name}/messages", self.send)

    @staticmethod
    def feed(asked: Asked, names: list[str], kind: str) -> Reply:
        start, size = int(asked.query["$skip"]), int(asked.query["$top"])
        inner = "".join(entry(name, kind) for name in names[start : start + size])
        return Reply(f'<feed xmlns="http://www.w3.org/2005/Atom">{inner}</feed>', headers=ATOM)

    @staticmethod
    def error(status: int, detail: str) -> Reply:
        body = f"<?xml version='1.0'?><Error><Code>{status}</Code><Detail>{detail}</Detail></Error>"
        return Reply(body, status, {"Content-Type": "application/xml"})

    def signed(self, asked: Asked) -> Reply | None:
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        parts = {name: values[0] for name, values in parse_qs(token).items()}
        text = f"{quote_plus(parts['sr'])}\n{parts['se']}".encode()
        wanted = base64.b64encode(hmac.new(KEY.encode(), text, hashlib.sha256).digest()).decode()
        good = kind == "SharedAccessSignature" and parts["sig"] == wanted and parts["skn"] == "reader"
        if not good or not self.url.startswith(parts["sr"].rstrip("/")):
            return self.error(401, "InvalidSignature: The token has an invalid signature.")
        return None

    def put(self, asked: Asked, name: str) -> Reply:
        if name in self.queues:
            return self.error(409, "SubCode=40900. Conflict.")
        root = ElementTree.fromstring(asked.body)
        found = root.find(f".//{{{SPACE}}}QueueDescription")
        assert found is not None and "type=entry" in asked.headers["content-type"]
        assert [item.tag.rpartition("}")[2] for item in found] == ["LockDuration", "MaxDeliveryCount"]
        self.queues.append(name)
        return Reply(entry(name, "QueueDescription"), 201, ATOM)

    def delete(self, asked: Asked, name: str) -> Reply:
        if name not in self.queues:
            return self.error(404, "No service is hosted at the specified address.")
        self.queues.remove(name)
        return Reply(None, 200)

    def send(self, asked: Asked, name: str) -> Reply:
        assert asked.headers["content-type"] == "application/vnd.microsoft.servicebus.json"
        self.sent.append((name, asked))
        return Reply(None, 201)


@pytest.fixture
async def bus() -> AsyncIterator[ServiceBus]:
    async with running(ServiceBus()) as vendor:
        assert isinstance(vendor, ServiceBus)
        yield vendor


def fields(bus: ServiceBus) -> dict[str, str]:
    return {"namespace": "shop-bus", "base_url": bus.url, "key_name": "reader"}


@pytest.fixture
async def ada(bus: ServiceBus) -> AsyncIterator[Account]:
    async with account("servicebus", fields(bus), {"key": KEY}) as opened:
        yield opened


async def test_everything_in_the_namespace(ada: Account, bus: ServiceBus) -> None:
    probes = await ada.check()
    assert probes["namespace"].ok and probes["namespace"].detail.endswith("shop") and probes["queues"].ok
    assert {"messages.queue000", "messages.queue129", "messages.news", "rules"} <= await ada.streams()
    queues = await ada.read(stream="queues")
    assert [item["title"]["#text"] for item in queues] == bus.queues
    assert [item["topic"] for item in await ada.read(stream="subscriptions")] == ["news", "news"]
    rules = await ada.read(stream="rules")
    assert [(item["topic"], item["subscription"]) for item in rules] == [("news", "all"), ("news", "few")]
    space = (await ada.read(stream="namespace"))[0]
    assert space["content"]["NamespaceInfo"]["Name"] == "shop"


async def test_queues_are_made_and_deleted(ada: Account, bus: ServiceBus) -> None:
    row = {"name": "new", "LockDuration": "PT1M", "MaxDeliveryCount": 5}
    result = await ada.write("queues", "create", row, {**row, "name": "queue000"})
    assert result.written == 1 and [index for index, _ in result.faults] == [1]
    assert "Conflict" in result.faults[0][1].message
    assert (await ada.write("queues", "delete", {"name": "new"}, {"name": "nope"})).written == 2
    assert "new" not in bus.queues


async def test_messages_go_out_together(ada: Account, bus: ServiceBus) -> None:
    rows = [{"Body": f"order {number}", "UserProperties": {"n": number}} for number in range(130)]
    assert (await ada.write("messages.queue001", "create", *rows)).written == 130
    batches = [asked.json for _, asked in bus.sent]
    assert sorted(len(batch) for batch in batches) == [30, 100]
    assert {name for name, _ in bus.sent} == {"queue001"}
    every = [item for batch in batches for item in batch]
    assert {item["Body"] for item in every} == {row["Body"] for row in rows}
    # For duplicate detection: the same row has the same id.
    ids = {item["BrokerProperties"]["MessageId"] for item in every}
    assert len(ids) == 130
    assert set(every[0]) == {"Body", "BrokerProperties", "UserProperties"}


async def test_a_busy_namespace_is_waited_for(ada: Account, bus: ServiceBus) -> None:
    bus.refuse(
        "/$Resources/queues", bus.error(503, "The request was terminated because it is being throttled.")
    )
    assert len(await ada.read(stream="queues")) == 130 and ada.waited(10)


async def test_a_right_that_is_missing_is_named(ada: Account, bus: ServiceBus) -> None:
    said = "Unauthorized access. 'Manage' claim(s) are required to perform this operation."
    bus.refuse("/$Resources/queues", bus.error(401, said))
    error = await ada.refused("queues")
    assert isinstance(error, CredentialError) and "'Manage' claim(s) are required" in error.message


async def test_a_wrong_key_ends_the_run(bus: ServiceBus) -> None:
    async with account("servicebus", fields(bus), {"key": "d3Jvbmc="}) as stranger:
        probe = (await stranger.check())["namespace"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("queues"), CredentialError)
