"""Messages of Service Bus received and sent, against the stand-in that Microsoft's client accepts."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage
from drivers.servicebus.conftest import Bus
from platforms.vendor import Reply, Vendor, running

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import Batch, Page, ReadOptions, Row, TargetPlan
from platint_tui.core.ports import Acknowledging, Following, HoldsDeadLetters
from platint_tui.drivers.servicebus import ServicebusDriver, connection, receiver
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite

OPTIONS = ReadOptions(sync="orders")


class TestServicebus(ReadSuite, WriteSuite):
    @pytest.fixture
    def kit(self, bus: Bus) -> Kit:
        name, goal = bus.queue(), bus.queue()

        async def put(count: int) -> Sequence[str]:
            ids = [str(uuid.uuid4()) for _ in range(count)]
            for start in range(0, count, 100):
                messages = [
                    ServiceBusMessage(f'{{"id": "{one}"}}', message_id=one)
                    for one in ids[start : start + 100]
                ]
                await bus.send(name, *messages)
            return ids

        async def held() -> Mapping[str, Any]:
            found = [json.loads(str(item)) for item in await bus.held(goal)]
            return {str(item["id"]): item for item in found}

        return Kit(
            driver=bus.driver,
            refused=lambda: bus.driver(key="d3Jvbmc="),
            stream=f"queue.{name}",
            put=put,
            missing="queue.no-such-queue",
            consumes=True,
            target=f"queue.{goal}",
            bad=lambda number: {"id": number, "name": "\ud800"},
            held=held,
            crash=bus.crash,
        )


async def scan(
    driver: ServicebusDriver, stream: str, options: ReadOptions = OPTIONS, acknowledge: bool = True
) -> list[Page]:
    pages = []
    async for page in driver.read(stream, None, options):
        pages.append(page)
        if acknowledge:
            await driver.acknowledge(stream, page.position)
    return pages


def records(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [item.value for page in pages for item in page.records]


def row(number: int, **more: Any) -> Row:
    value = {"id": number, **more}
    return Row(f"[{number}]", json.dumps(value), value, None, f"key-{number}")


def plan(target: str) -> TargetPlan:
    return TargetPlan("s", "orders", target, ("id",), None, (), 1, "r")


async def test_the_driver_has_what_messages_can_do(driver: ServicebusDriver) -> None:
    for protocol in (Following, Acknowledging, HoldsDeadLetters):
        assert isinstance(driver, protocol)
    follow = replace(OPTIONS, follow=True)
    assert driver.follows("queue.a", follow) and driver.follows("subscription.a/b", follow)
    assert not driver.follows("queues", follow) and not driver.follows("queue.a", replace(follow, peek=True))


async def test_entities_are_discovered_with_their_state(driver: ServicebusDriver, bus: Bus) -> None:
    bus.management.settings["q0"] = (
        "<LockDuration>PT1M30S</LockDuration><RequiresDuplicateDetection>true</RequiresDuplicateDetection>"
        "<DuplicateDetectionHistoryTimeWindow>PT10M</DuplicateDetectionHistoryTimeWindow>"
        '<MaxDeliveryCount>10</MaxDeliveryCount><CountDetails xmlns:d="x"><d:ActiveMessageCount>1200'
        "</d:ActiveMessageCount><d:DeadLetterMessageCount>3</d:DeadLetterMessageCount></CountDetails>"
    )
    bus.management.settings["q1"] = "<RequiresSession>true</RequiresSession>"
    found = {item.name: item for item in await driver.discover()}
    stream = found["queue.q0"]
    assert (stream.kind, stream.modes, stream.key, stream.estimate) == ("queue", ("consume",), ("id",), 1200)
    assert dict(stream.facts) == {
        "waiting": "1,200",
        "dead letters": "3",
        "lock": "90 s",
        "duplicates dropped for": "600 s",
        "deliveries": "10",
    }
    assert not found["queue.q1"].readable and "sessions" in found["queue.q1"].refused
    assert found["subscription.events/billing"].readable and not found["subscription.events/billing"].writable
    assert found["topic.events"].writable and not found["topic.events"].readable
    assert {"queues", "messages.q0", "rules"} <= set(found)


async def test_a_record_has_what_the_message_had(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rich = ServiceBusMessage(
        b'{"customer": {"id": 7}}',
        message_id="m7",
        subject="order",
        content_type="application/json",
        correlation_id="c7",
        application_properties={"n": 5, "at": when, "sign": b"ab", "who": "ada", "yes": True},
    )
    await bus.send(
        name, rich, ServiceBusMessage("7", message_id="text"), ServiceBusMessage(b"\xff", message_id="raw")
    )
    page = (await scan(driver, f"queue.{name}"))[0]
    found = {item.value["id"]: item.value for item in page.records}
    assert found["m7"]["body"] == {"customer": {"id": 7}} and found["m7"]["subject"] == "order"
    assert found["m7"]["headers"] == {
        "n": 5,
        "at": int(when.timestamp() * 1000),
        "sign": "ab",
        "who": "ada",
        "yes": True,
    }
    assert found["m7"]["queue"] == name and found["m7"]["correlation_id"] == "c7"
    assert found["m7"]["timestamp"].endswith("+00:00") and found["m7"]["sequence_number"] == 1
    assert (
        found["text"]["body"] == "7" and found["raw"] | {"body": "/w==", "encoding": "base64"} == found["raw"]
    )
    assert abs(page.happened[0] - time.time() * 1000) < 60_000 and "delivery_count" not in found["m7"]
    assert await bus.held(name) == []


async def test_bodies_that_are_values_and_messages_without_an_id(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    async with bus.client() as client, client.get_queue_sender(name) as sender:
        await sender.send_messages(AmqpAnnotatedMessage(value_body={"a": [1, 2**30]}))
        await sender.send_messages(AmqpAnnotatedMessage(value_body="text"))
        await sender.send_messages(AmqpAnnotatedMessage(sequence_body=[[1, "b"]]))
        await sender.send_messages(ServiceBusMessage('{"a": 1, "a": 2}', message_id="double"))
    pages = await scan(driver, f"queue.{name}")
    found = records(pages)
    assert [item["id"] for item in found] == ["1", "2", "3"]
    assert [item["body"] for item in found] == [{"a": [1, 2**30]}, "text", [[1, "b"]]]
    bad = [item for page in pages for item in page.bad]
    assert len(bad) == 1 and "cannot be kept exactly" in bad[0].reason and await bus.held(name) == []


async def test_a_message_that_comes_again_is_the_same_record(bus: Bus) -> None:
    name = bus.queue()
    await bus.send(name, ServiceBusMessage("a", message_id="1"))
    stored: list[str] = []
    for _ in range(2):  # stored, and then this process dies
        driver = bus.driver()
        pages = await scan(driver, f"queue.{name}", acknowledge=False)
        stored += [content_hash(item.raw) for page in pages for item in page.records]
        await driver.close()
    driver = bus.driver()
    await driver.acknowledge(f"queue.{name}", pages[-1].position)  # of a reader that is gone
    counted = await scan(driver, f"queue.{name}", replace(OPTIONS, columns=("id", "delivery_count")))
    await driver.close()
    assert len(stored) == 2 and len(set(stored)) == 1
    assert records(counted)[0]["delivery_count"] == 2 and await bus.held(name) == []


async def test_only_stored_pages_are_completed(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "CHUNK", 15)
    name = bus.queue()
    await bus.send(name, *(ServiceBusMessage(str(number), message_id=str(number)) for number in range(60)))
    driver = bus.driver()
    pages = [page for page in await scan(driver, f"queue.{name}", acknowledge=False) if page.records]
    assert len(pages) > 2
    await driver.acknowledge(f"queue.{name}", pages[1].position)
    await driver.acknowledge(f"queue.{name}", pages[0].position)  # is done already
    kept = sum(len(page.records) for page in pages[2:])
    assert len(await bus.held(name)) == kept
    await driver.close()  # gives the others back at once, though they were locked for 30 s
    driver = bus.driver()
    assert len(records(await scan(driver, f"queue.{name}"))) == kept
    await driver.close()


async def test_pages_that_wait_stay_locked(bus: Bus) -> None:
    await bus.send("short", ServiceBusMessage("a", message_id="1"), ServiceBusMessage("b", message_id="2"))
    driver = bus.driver()
    pages = await scan(driver, "queue.short", acknowledge=False)
    await asyncio.sleep(1.3)
    other = bus.driver()
    assert records(await scan(other, "queue.short")) == []
    await other.close()
    await driver.acknowledge("queue.short", pages[-1].position)
    await driver.close()
    assert await bus.held("short") == []


async def test_followed_it_gives_signs_of_life_and_what_comes(bus: Bus) -> None:
    name = bus.queue()
    driver = bus.driver(heartbeat=0.3)
    stream = f"queue.{name}"
    pages = driver.read(stream, None, replace(OPTIONS, follow=True))
    quiet = [await anext(pages), await anext(pages)]
    assert [(page.records, page.last) for page in quiet] == [((), False)] * 2
    assert quiet[0].position == quiet[1].position
    await bus.send(name, ServiceBusMessage("new", message_id="n"))
    seen: list[Page] = []
    async with asyncio.timeout(5):
        while not records(seen):
            seen.append(await anext(pages))
            await driver.acknowledge(stream, seen[-1].position)
    assert [item["id"] for item in records(seen)] == ["n"] and not seen[-1].last
    await pages.aclose()  # type: ignore[attr-defined]
    await driver.close()
    assert await bus.held(name) == []


async def test_no_more_than_the_prefetch_is_locked(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "CHUNK", 15)
    name = bus.queue()
    await bus.send(name, *(ServiceBusMessage(str(number), message_id=str(number)) for number in range(60)))
    driver = bus.driver(prefetch=20)
    stream, seen = f"queue.{name}", 0
    async with asyncio.timeout(10):
        async for page in driver.read(stream, None, OPTIONS):
            seen += len(page.records)
            await asyncio.sleep(0.05)
            held = driver._receivers[stream]._unsettled()
            assert held < 20 + receiver.CHUNK
            await driver.acknowledge(stream, page.position)
    await driver.close()
    assert seen == 60 and await bus.held(name) == []


async def test_a_look_locks_nothing(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    await bus.send(name, *(ServiceBusMessage(str(number), message_id=str(number)) for number in range(5)))
    pages = [page async for page in driver.read(f"queue.{name}", None, replace(OPTIONS, peek=True))]
    assert [item["id"] for item in records(pages)] == ["0", "1", "2", "3", "4"] and pages[-1].last
    assert [item.delivery_count for item in await bus.held(name)] == [0] * 5


async def test_a_queue_that_is_filled_all_the_time_ends_a_scan(bus: Bus) -> None:
    name = bus.queue()
    await bus.send(name, ServiceBusMessage("old", message_id="old"))
    driver = bus.driver(idle=2.0)
    stream, count = f"queue.{name}", 0
    async with asyncio.timeout(10):
        async for page in driver.read(stream, None, OPTIONS):
            count += len(page.records)
            await driver.acknowledge(stream, page.position)
            await bus.send(name, ServiceBusMessage("new"))
    await driver.close()
    assert 3 <= count < 10


async def test_subscriptions_are_read_and_topics_written(driver: ServicebusDriver, bus: Bus) -> None:
    target = await driver.open_target(plan("topic.news"))
    assert (await target.write(Batch([row(1)], None))).written == 1
    await target.close()
    found = records(await scan(driver, "subscription.news/all"))
    assert [(item["body"], item["topic"], item["subscription"]) for item in found] == [
        ({"id": 1}, "news", "all")
    ]
    for stream, match in (("topic.news", "by its subscriptions"), ("subscription.news", "no subscription")):
        with pytest.raises(ConfigError, match=match):
            await scan(driver, stream)
    with pytest.raises(ConfigError, match="sent to a subscription"):
        await driver.open_target(plan("subscription.news/all"))


async def test_a_queue_with_sessions_is_refused_with_a_sentence(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    bus.management.settings[name] = "<RequiresSession>true</RequiresSession>"
    with pytest.raises(ConfigError, match="has sessions") as caught:
        await scan(driver, f"queue.{name}")
    assert caught.value.hint


async def test_large_messages_come_whole(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    for number in range(3):
        await bus.send(name, ServiceBusMessage("ü" * 240_000, message_id=str(number)))
    found = records(await scan(driver, f"queue.{name}"))
    assert {len(item["body"]) for item in found} == {240_000} and len(found) == 3


async def test_a_lost_connection_is_told_and_everything_comes_again(bus: Bus) -> None:
    name = bus.queue()
    await bus.send(name, *(ServiceBusMessage(str(number), message_id=str(number)) for number in range(30)))
    driver = bus.driver()
    stream = f"queue.{name}"
    pages = driver.read(stream, None, replace(OPTIONS, follow=True))
    first = await anext(pages)
    await bus.crash()
    with pytest.raises(TransientError):
        async with asyncio.timeout(5):
            async for _ in pages:
                pass
    with pytest.raises(TransientError):
        await driver.acknowledge(stream, first.position)
    found = records(await scan(driver, stream))
    assert {item["id"] for item in found} == {str(number) for number in range(30)}
    await driver.close()


async def test_a_clock_that_is_ahead_is_told(driver: ServicebusDriver, bus: Bus) -> None:
    """The library takes every lock for lost then, and the same messages would come until they are dead."""

    class Ahead(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + 600_000

    object.__setattr__(driver._context, "clock", Ahead())
    driver._receivers.clear()
    name = bus.queue()
    await bus.send(name, ServiceBusMessage("a"))
    with pytest.raises(ConfigError, match="clock of this machine is ahead") as caught:
        await scan(driver, f"queue.{name}")
    assert "NTP" in caught.value.hint


# --- writing ----------------------------------------------------------------------------------------------


async def test_rows_become_messages_with_their_key(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    target = await driver.open_target(plan(f"queue.{name}"))
    message = {
        "id": "m1",
        "body": "as it was",
        "headers": {"trace": "t1", "n": 2**40, "deep": {"a": 1}},
        "key": None,
        "topic": "other",
        "timestamp": None,
        "subject": "order",
    }
    rows = [
        row(1, name="ü"),
        row(2)._replace(value=message),
        row(3, text="\ud800"),
        row(4, big="x" * 300_000),
    ]
    result = await target.write(Batch(rows, None))
    await target.close()
    assert result.written == 3 and [(index, fault.code) for index, fault in result.faults] == [(2, "body")]
    first, second, third = await bus.held(name)
    assert (str(first), first.message_id, first.content_type) == (
        '{"id":1,"name":"ü"}',
        "key-1",
        "application/json",
    )
    assert (str(second), second.subject, second.message_id) == ("as it was", "order", "key-2")
    assert second.application_properties == {b"trace": b"t1", b"n": 2**40, b"deep": b'{"a":1}'}
    assert len(str(third)) > 300_000


async def test_a_queue_with_sessions_gets_a_batch_for_each(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    bus.management.settings[name] = "<RequiresSession>true</RequiresSession>"
    target = await driver.open_target(plan(f"queue.{name}"))
    rows = [row(number)._replace(key=f"[{number % 2}]") for number in range(6)]
    assert (await target.write(Batch(rows, None))).written == 6
    await target.close()
    assert [item.session_id for item in await bus.held(name)] == ["[0]", "[1]"] * 3


async def test_rights_and_places_are_told_before_anything_is_sent(bus: Bus) -> None:
    driver = bus.driver()
    with pytest.raises(ConfigError) as missing:
        await driver.open_target(plan("queue.nope"))
    assert "nope" in missing.value.sentence()
    await driver.close()
    listener = bus.driver(bus.server.listen_key_name, bus.server.listen_key, {"entities": "q0"})
    with pytest.raises(CredentialError) as refused:
        await listener.open_target(plan("queue.q0"))
    assert "Send" in refused.value.sentence() and refused.value.hint
    probes = {item.id: item for item in await listener.check()}
    assert probes["receive"].ok and not probes["send"].ok and "Send" in probes["send"].detail
    assert not probes["namespace"].ok and probes["namespace"].optional
    assert [item.name for item in await listener.discover()] == ["queue.q0"]
    await listener.close()


async def test_probes_pass_with_every_right(driver: ServicebusDriver) -> None:
    probes = {item.id: item for item in await driver.check()}
    assert all(probes[name].ok for name in ("namespace", "queues", "receive", "send")), probes
    assert probes["receive"].detail == "Allowed on q0"


async def test_an_app_signs_in_to_messages_with_the_token_of_its_requests(bus: Bus) -> None:
    vendor = Vendor()
    issued = {"access_token": "a-token-of-entra", "token_type": "Bearer", "expires_in": 3600}
    vendor.on("POST /shop/oauth2/v2.0/token", Reply(issued))
    async with running(vendor):
        fields = {"sign_in": "app", "tenant_id": "shop", "client_id": "app", "login_url": vendor.url}
        app = bus.driver(fields=fields, secrets={"client_secret": "app-secret"})
        giver = connection.credential(app._http.session.caller.signers.at(None), app._context)
        tokens = [await giver.get_token("https://servicebus.azure.net/.default") for _ in range(2)]
        await app.close()
    assert [item.token for item in tokens] == ["a-token-of-entra"] * 2 and len(vendor.seen) == 1
    assert 3000 < tokens[0].expires_on - time.time() <= 3600 and not hasattr(giver, "token_type")


async def test_the_key_goes_nowhere_else_than_it_was_entered_for(bus: Bus) -> None:
    with pytest.raises(ConfigError, match="was entered for"):
        bus.driver(
            fields={"endpoint": "https://other.example.com"}, origins=("https://shop.example.com:443",)
        )
    with pytest.raises(ConfigError, match="Plain http"):
        bus.driver(fields={"endpoint": "http://other.example.com"})
