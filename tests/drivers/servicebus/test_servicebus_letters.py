"""Dead letters of Service Bus, and what its library tells when sending goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus import exceptions as sb
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.amqp import AmqpAnnotatedMessage
from drivers.servicebus.conftest import Bus

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.model import Batch, NativeLetter, Row, TargetPlan, WriteResult
from platint_tui.drivers.servicebus import ServicebusDriver, letters, target

DEAD = "/$DeadLetterQueue"


async def letters_of(driver: ServicebusDriver, queue: str, limit: int = 100) -> list[NativeLetter]:
    return [item async for item in driver.browse_dead(queue, limit)]


def message(number: int, **more: Any) -> ServiceBusMessage:
    return ServiceBusMessage(
        json.dumps({"n": number}),
        message_id=f"m{number}",
        subject="order",
        content_type="application/json",
        application_properties={"k": number},
        **more,
    )


async def test_dead_letters_are_looked_at_and_left(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    await bus.bury(name, *(message(number) for number in range(3)))
    bus.management.settings[name] = (
        "<CountDetails><DeadLetterMessageCount>3</DeadLetterMessageCount></CountDetails>"
    )
    queue = next(item for item in await driver.dead_queues() if item.name == name + DEAD)
    assert (queue.origin, queue.depth) == (name, 3)
    found = await letters_of(driver, queue.name)
    assert [json.loads(item.payload)["n"] for item in found] == [0, 1, 2]
    assert {(item.origin, item.queue, item.code, item.reason) for item in found} == {
        (name, queue.name, "bad", "bad: of no use")
    }
    assert found[0].properties["properties"] == {"k": 0} and found[0].properties["subject"] == "order"
    assert len(await letters_of(driver, queue.name, 2)) == 2
    assert [item.delivery_count for item in await bus.held(name, dead=True)] == [0, 0, 0]


async def test_a_dead_letter_goes_back_and_is_then_removed(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    await bus.bury(name, *(message(number) for number in range(5)))
    found = await letters_of(driver, name + DEAD)
    edited = replace(found[3], payload=b'{"n": 3, "fixed": true}')
    assert (await driver.return_dead(edited, "k3")).outcome == "sent"
    assert (await driver.return_dead(found[0], "k0")).outcome == "sent"
    first, second = await bus.held(name)
    assert (str(first), first.message_id, first.subject) == ('{"n": 3, "fixed": true}', "m3", "order")
    assert second.application_properties == {b"k": 0} and second.content_type == "application/json"
    assert (await driver.discard_dead(found[1])).outcome == "gone"
    assert [item.message_id for item in await bus.held(name, dead=True)] == ["m2", "m4"]
    assert (await driver.return_dead(found[0], "k0")).outcome == "gone" and len(await bus.held(name)) == 2
    # What was locked on the way can be had by others at once.
    assert (await driver.discard_dead(found[2])).outcome == "gone"


async def test_a_queue_that_drops_duplicates_gets_a_new_message_id(
    driver: ServicebusDriver, bus: Bus
) -> None:
    name = bus.queue()
    bus.management.settings[name] = "<RequiresDuplicateDetection>true</RequiresDuplicateDetection>"
    await bus.bury(name, message(1))
    letter = (await letters_of(driver, name + DEAD))[0]
    assert (await driver.return_dead(letter, "the-key")).outcome == "sent"
    assert [item.message_id for item in await bus.held(name)] == ["the-key"]


async def test_bodies_that_are_values_go_back_as_values(driver: ServicebusDriver, bus: Bus) -> None:
    name = bus.queue()
    async with bus.client() as client:
        async with client.get_queue_sender(name) as sender:
            await sender.send_messages(AmqpAnnotatedMessage(value_body={"a": 1}))
        async with client.get_queue_receiver(name) as receiver:
            await receiver.dead_letter_message((await receiver.receive_messages(1, max_wait_time=5))[0])
    letter = (await letters_of(driver, name + DEAD))[0]
    assert (letter.payload, letter.reason) == (b'{"a":1}', "It does not say why.")
    broken = await driver.return_dead(replace(letter, payload=b"{"), "k")
    assert broken.outcome == "refused" and "must stay JSON" in broken.message
    assert (await driver.return_dead(letter, "k")).outcome == "sent"
    assert [item.body for item in await bus.held(name)] == [{b"a": 1}]


async def test_dead_letters_of_a_subscription_go_to_the_topic_only_where_that_is_meant(bus: Bus) -> None:
    await bus.bury("single/subscriptions/only", message(1))
    driver = bus.driver()
    letter = (await letters_of(driver, f"single/subscriptions/only{DEAD}"))[0]
    refused = await driver.return_dead(letter, "k")
    await driver.close()
    assert refused.outcome == "refused" and "Dead letters of subscriptions" in refused.message
    driver = bus.driver(fields={"subscription_letters": "topic"})
    assert (await driver.return_dead(letter, "k")).outcome == "sent"
    await driver.close()
    assert len(await bus.held("single/subscriptions/only")) == 1
    assert await bus.held("single/subscriptions/only", dead=True) == []


async def test_without_the_management_dead_letters_are_counted_by_looking(bus: Bus) -> None:
    name = bus.queue()
    await bus.bury(name, *(message(number) for number in range(3)))
    driver = bus.driver(
        bus.server.listen_key_name, bus.server.listen_key, {"entities": f"{name}, events/subscriptions/audit"}
    )
    found = {item.name: item for item in await driver.dead_queues()}
    await driver.close()
    assert found[name + DEAD].depth == 3 and found[name + DEAD].oldest_ms
    assert found[f"events/subscriptions/audit{DEAD}"].depth == 0
    stranger = bus.driver(bus.server.listen_key_name, bus.server.listen_key)
    with pytest.raises(CredentialError):
        await stranger.dead_queues()
    await stranger.close()


async def test_a_letter_that_another_reader_holds_is_not_sent(
    driver: ServicebusDriver, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_WAIT", 0.2)
    name = bus.queue()
    await bus.bury(name, message(1))
    letter = (await letters_of(driver, name + DEAD))[0]
    async with bus.client() as client, client.get_queue_receiver(name, sub_queue="deadletter") as other:
        assert len(await other.receive_messages(1, max_wait_time=5)) == 1
        returned = await driver.return_dead(letter, "k")
    assert returned.outcome == "refused" and "Another reader" in returned.message
    assert await bus.held(name) == []


# --- what the library tells when sending goes wrong ---------------------------------------------------------


class Sends:
    """Stands in for `send_messages`: answers in turn; None sends. `sent` are the message ids of each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[BaseException | Callable[[list[str]], BaseException | None] | None] = []
        self.sent: list[list[str]] = []
        real = ServiceBusSender.send_messages

        async def send(sender: ServiceBusSender, content: Any) -> None:
            several = content._messages if isinstance(content, ServiceBusMessageBatch) else content
            messages = several if isinstance(several, list) else [several]
            ids = [str(item.message_id) for item in messages]
            self.sent.append(ids)
            answer = self.answers.pop(0) if self.answers else None
            if callable(answer):
                answer = answer(ids)
            if answer is not None:
                raise answer
            await real(sender, content)

        monkeypatch.setattr(ServiceBusSender, "send_messages", send)


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Sends:
    return Sends(monkeypatch)


@pytest.fixture
async def writes(driver: ServicebusDriver, bus: Bus) -> AsyncIterator[Callable[..., Any]]:
    """Write rows to a queue of its own: `await writes(count, batch=…)`; `writes.name` is the queue."""
    name = bus.queue()
    opened: list[Any] = []

    async def write(count: int, most: int = 200) -> WriteResult:
        plan = TargetPlan("s", "orders", f"queue.{name}", ("id",), None, (), 1, "r")
        found: Any = await driver.open_target(plan)
        opened.append(found)
        found._most = most
        rows = [Row(f"[{n}]", json.dumps({"id": n}), {"id": n}, None, f"key-{n}") for n in range(count)]
        result: WriteResult = await found.write(Batch(rows, None))
        return result

    write.name = name  # type: ignore[attr-defined]
    write.opened = opened  # type: ignore[attr-defined]
    yield write
    for item in opened:
        await item.close()


async def test_a_lost_confirmation_is_unknown_and_never_sent_again(
    writes: Any, sends: Sends, bus: Bus
) -> None:
    sends.answers = [None, sb.ServiceBusConnectionError(), None]
    result = await writes(6, most=2)
    assert [(index, fault.code) for index, fault in result.faults] == [
        (2, "unknown_outcome"),
        (3, "unknown_outcome"),
    ]
    assert result.written == 4 and sends.sent == [["key-0", "key-1"], ["key-2", "key-3"], ["key-4", "key-5"]]


async def test_an_entity_that_drops_duplicates_is_sent_it_again(writes: Any, sends: Sends, bus: Bus) -> None:
    bus.management.settings[writes.name] = (
        "<RequiresDuplicateDetection>true</RequiresDuplicateDetection>"
        "<DuplicateDetectionHistoryTimeWindow>PT10M</DuplicateDetectionHistoryTimeWindow>"
    )
    sends.answers = [sb.OperationTimeoutError(), None]
    assert (await writes(2)).written == 2
    assert sends.sent == [["key-0", "key-1"]] * 2


async def test_a_busy_service_is_asked_again(writes: Any, sends: Sends) -> None:
    sends.answers = [sb.ServiceBusServerBusyError(condition=b"com.microsoft:server-busy"), None]
    assert (await writes(2)).written == 2 and len(sends.sent) == 2


async def test_the_row_to_blame_is_found(writes: Any, sends: Sends) -> None:
    def refuse(ids: list[str]) -> BaseException | None:
        bad = "key-5" in ids
        return sb.ServiceBusError("No.", condition=b"com.microsoft:argument-error") if bad else None

    sends.answers = [refuse] * 20
    result = await writes(8)
    assert result.written == 7 and [index for index, _ in result.faults] == [5]


async def test_what_is_too_large_is_a_fault(writes: Any, sends: Sends) -> None:
    sends.answers = [sb.MessageSizeExceededError()]
    result = await writes(1)
    assert [(fault.code, bool(fault.hint)) for _, fault in result.faults] == [("too_large", True)]


async def test_what_ends_a_batch_early_leaves_the_rest_unsent(writes: Any, sends: Sends) -> None:
    disabled = sb.MessagingEntityDisabledError(condition=b"com.microsoft:entity-disabled")
    sends.answers = [disabled]
    with pytest.raises(ConfigError, match="is disabled"):
        await writes(4, most=2)
    sends.answers = [None, disabled]
    result = await writes(4, most=2)
    assert [(index, fault.code) for index, fault in result.faults] == [(2, "not_sent"), (3, "not_sent")]
    assert isinstance(writes.opened[-1].failure, ConfigError)


async def test_a_cancelled_send_is_told_as_unknown(writes: Any, sends: Sends) -> None:
    sends.answers = [None, asyncio.CancelledError()]
    result = await writes(6, most=2)
    assert [fault.code for _, fault in result.faults] == ["unknown_outcome"] * 2 + ["not_sent"] * 2


async def test_an_unknown_return_keeps_the_old_one(driver: ServicebusDriver, bus: Bus, sends: Sends) -> None:
    name = bus.queue()
    sends.answers = [None, sb.OperationTimeoutError(), sb.ServiceBusServerBusyError(), None]
    await bus.bury(name, message(1))
    letter = (await letters_of(driver, name + DEAD))[0]
    returned = await driver.return_dead(letter, "k")
    assert returned.outcome == "unknown" and "still there" in returned.message
    assert len(await bus.held(name, dead=True)) == 1 and len(sends.sent) == 2
    assert (
        await driver.return_dead(letter, "k")
    ).outcome == "sent"  # it was given back, and can be locked again


async def test_an_idle_link_is_opened_anew(writes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await writes(1)
    before = writes.opened[-1]._sender
    monkeypatch.setattr(target, "_IDLE", -1.0)
    row = Row("[9]", '{"id":9}', {"id": 9}, None, "key-9")
    assert (await writes.opened[-1].write(Batch([row], None))).written == 1
    assert writes.opened[-1]._sender is not before
