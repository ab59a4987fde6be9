"""A crash between the commit and the acknowledgement: what is delivered again replaces itself."""

from __future__ import annotations

from typing import Any

import pytest
from drivers.amqp.conftest import Broker, amqp_driver, numbered, reading, scan, values
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import JsonObject, Page
from platint_tui.drivers.amqp.unnamed import KEPT_MS, Unnamed


class Stored:
    """A target that keeps records by key, and the position that was committed with them."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.position: JsonObject | None = None
        self.writes = 0

    def commit(self, page: Page) -> None:
        for record in page.records:
            self.rows[record.value["id"]] = content_hash(record.raw)
            self.writes += 1
        self.position = page.position


@pytest.mark.parametrize(
    ("named", "kind"),
    [(True, "classic"), (False, "classic"), (False, "quorum")],
    ids=["ids", "no_ids", "quorum"],
)
async def test_a_crash_before_every_acknowledgement_doubles_nothing(
    named: bool, kind: str, broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, queue_type=kind)
    await broker.send(queue, numbered(60), **({"message_id": "{id}"} if named else {}))
    stored = Stored()
    for pages_before_crash in (1, 2, 3, 1):
        driver = amqp_driver(rabbitmq_server, source={"chunk": 7, "prefetch": 30})
        async with reading(driver, queue, stored.position) as pages:
            got = 0
            async for page in pages:
                stored.commit(page)
                got += bool(page.records)
                if got == pages_before_crash:
                    break  # committed, and the process ends before it acknowledges
                await driver.acknowledge(queue, page.position)
        await driver.close()
    driver = amqp_driver(rabbitmq_server, source={"chunk": 7, "prefetch": 30})
    async with reading(driver, queue, stored.position) as pages:
        async for page in pages:
            stored.commit(page)
            await driver.acknowledge(queue, page.position)
    await driver.close()
    assert len(stored.rows) == 60 and stored.writes == 60 + 4 * 7
    assert await broker.ready(queue) == 0


async def test_a_page_that_was_written_and_not_committed_gets_the_same_ids_again(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(5))
    driver = amqp_driver(rabbitmq_server)
    async with reading(driver, queue) as pages:
        before = await anext(pages)
        assert not before.records  # the engine stores it before any record has an identity
        first = await anext(pages)
    assert values(await scan(driver, queue, before.position)) == values([first])
    await driver.close()


async def test_what_comes_again_only_after_newer_messages_replaces_itself(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    """The broker has not noticed yet that the connection is gone over which it was delivered."""
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(40))
    stored = Stored()
    settings = {"chunk": 10, "prefetch": 10}
    hung = amqp_driver(rabbitmq_server, source=settings)
    async with reading(hung, queue) as pages:
        async for page in pages:
            stored.commit(page)
            if page.records:
                break
    for left in (10, 0):
        driver = amqp_driver(rabbitmq_server, source=settings)
        async with reading(driver, queue, stored.position) as pages:
            async for page in pages:
                stored.commit(page)
                await driver.acknowledge(queue, page.position)
        await driver.close()
        await hung.close()  # after the others were read
        await broker.until_ready(queue, left)
    assert len(stored.rows) == 40 and stored.writes > 40


async def test_equal_messages_without_ids_are_as_many_records(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, [b"tick"] * 9)
    driver = amqp_driver(rabbitmq_server)
    first = await scan(driver, queue)
    assert len({value["id"] for value in values(first)}) == 9
    await broker.send(queue, [b"tick"] * 3)
    later = await scan(driver, queue, first[-1].position)
    assert len({value["id"] for value in values([*first, *later])}) == 12
    await driver.close()


async def test_a_message_that_somebody_else_returned_is_new(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, [b"tick"])
    channel = await broker.channel()
    got = await channel.basic_get(queue)
    await channel.basic_nack(got.delivery_tag or 0)
    driver = amqp_driver(rabbitmq_server)
    pages = await scan(driver, queue)
    assert [value["id"].rpartition("-")[2] for value in values(pages)] == ["1"]
    await driver.close()


async def test_a_delivery_counted_by_the_broker_is_the_same_record(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, queue_type="quorum")
    await broker.send(queue, [b"{}"], message_id="one", headers={"own": 1})
    driver = amqp_driver(rabbitmq_server)
    raws = {
        record.raw
        for _ in range(3)
        for page in await scan(driver, queue, ack=False)
        for record in page.records
    }
    assert len(raws) == 1 and '"headers":{"own":1}' in raws.pop()
    await driver.close()


def digest(number: int) -> str:
    return f"{number:016x}"


def test_only_as_many_are_remembered_as_can_be_unacknowledged() -> None:
    unnamed = Unnamed(None, 3, lambda: 0)
    unnamed.mark = "x"
    made = [unnamed.identity(digest(number), False) for number in range(5)]
    kept = unnamed.position()
    assert kept is not None and len(kept["recent"]) == 3
    again = Unnamed(kept, 3, lambda: 0)
    assert [again.identity(digest(number), True) for number in (4, 2, 3)] == [made[4], made[2], made[3]]
    assert again.identity(digest(4), True).endswith("-6")  # a second one with that content is another message
    assert again.identity(digest(0), True).endswith("-7")  # too long ago
    third = Unnamed(again.position(), 3, lambda: 0)
    assert third.identity(digest(3), True) == made[3]


def test_what_a_broker_returns_late_is_known_for_a_while() -> None:
    """New messages come first, over one connection and the next: those of before are not forgotten over them."""
    first = Unnamed(None, 3, lambda: 0)
    first.mark = "x"
    made = [first.identity(digest(number), False) for number in range(3)]
    second = Unnamed(first.position(), 3, lambda: 0)
    for number in range(10, 20):
        second.identity(digest(number), False)
    late = second.position()
    third = Unnamed(late, 3, lambda: 1_000)
    assert third.identity(digest(1), True) == made[1]
    assert Unnamed(late, 3, lambda: KEPT_MS + 1).identity(digest(1), True) != made[1]
    # What has come again is not waited for any more; the others are, each for its own time.
    assert [len(ids) for _, ids in kept_before(third)] == [2, 3]
    for number in range(5):
        third = Unnamed(third.position(), 3, lambda: 2_000)
        third.identity(digest(100 + number), False)
    assert [until for until, _ in kept_before(third)] == [KEPT_MS + 2_000] * 3


def kept_before(unnamed: Unnamed) -> list[Any]:
    position = unnamed.position()
    assert position is not None
    return list(position["before"])
