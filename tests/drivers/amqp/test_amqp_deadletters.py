"""The broker's own dead letters: found, looked at, sent back, removed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from drivers.amqp.conftest import Broker, Proxy, amqp_driver, numbered
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.model import NativeLetter
from platint_tui.drivers.amqp import AmqpDriver, deadletters, management

HEADERS = {"tenant": "a", "CC": ["elsewhere"]}


class Dead:
    """A queue `<name>`, whose rejected messages go through an exchange to `<name>-dlq`."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self.origin = name
        self.queue = f"{name}-dlq"

    async def make(self, kind: str = "classic", **limits: Any) -> None:
        channel = await self._broker.channel()
        await channel.exchange_declare(f"{self.origin}-dlx", exchange_type="fanout")
        await self._broker.queue(self.queue, queue_type=kind, **limits)
        await channel.queue_bind(self.queue, f"{self.origin}-dlx")
        await self._broker.queue(self.origin, dead_letter_exchange=f"{self.origin}-dlx")

    async def reject(self, count: int, **properties: Any) -> None:
        """Send messages to the origin, and reject each."""
        await self._broker.send(self.origin, numbered(count), **properties)
        channel = await self._broker.channel()
        for _ in range(count):
            message = await channel.basic_get(self.origin)
            await channel.basic_reject(message.delivery_tag or 0, requeue=False)
        await self._broker.until_ready(self.queue, count)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else holds letters here."""
    monkeypatch.setattr(deadletters, "_BETWEEN", 0.01)


@pytest.fixture
async def dead(broker: Broker, make_name: str) -> Dead:
    made = Dead(broker, make_name)
    await made.make()
    return made


async def letters_of(driver: AmqpDriver, queue: str, limit: int = 100) -> list[NativeLetter]:
    return [letter async for letter in driver.browse_dead(queue, limit)]


def ids(messages: list[DeliveredMessage]) -> list[str | None]:
    return [message.header.properties.message_id for message in messages]


async def test_dead_letter_queues_are_found_by_what_leads_to_them(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    channel = await broker.channel()
    await channel.exchange_declare("x-topic-dlx", exchange_type="topic")
    await channel.exchange_declare("x-inner-dlx", exchange_type="direct")
    await channel.exchange_bind("x-inner-dlx", "x-topic-dlx", "dead.#")
    names = [await broker.queue(f"{make_name}-{number}") for number in range(4)]
    await channel.queue_bind(names[0], "x-topic-dlx", "dead.orders.*")
    await channel.queue_bind(names[1], "x-topic-dlx", "alive.#")
    await channel.queue_bind(names[2], "x-inner-dlx", "dead.orders.eu")
    source = {"dead_letter_exchange": "x-topic-dlx", "dead_letter_routing_key": "dead.orders.eu"}
    await broker.queue(f"{make_name}-a", **source)
    await broker.queue(f"{make_name}-b", **source)
    await broker.queue(f"{make_name}-c", dead_letter_exchange="", dead_letter_routing_key=names[3])
    await broker.send(names[3], numbered(2))
    driver = amqp_driver(rabbitmq_server)
    found = {item.name: item for item in await driver.dead_queues()}
    assert names[1] not in found and {names[0], names[2], names[3]} <= set(found)
    assert found[names[0]].origin == "" and found[names[3]].origin == f"{make_name}-c"
    assert found[names[3]].depth == 2
    await driver.close()


async def test_a_look_says_where_and_why_and_takes_nothing(
    dead: Dead, broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    moment = datetime.now(UTC).timestamp() * 1000
    await dead.reject(5, message_id="{id}", headers=HEADERS, content_type="application/json")
    driver = amqp_driver(rabbitmq_server)
    letters = await letters_of(driver, dead.queue)
    first = letters[0]
    assert [letter.payload for letter in letters][1] == b'{"id": "m1", "n": 1}'
    assert (first.origin, first.reason, first.code, first.deliveries) == (
        dead.origin,
        "A consumer rejected it",
        "rejected",
        1,
    )
    assert first.died_ms is not None and abs(first.died_ms - moment) < 10_000
    assert first.properties["message_id"] == "m0" and first.properties["headers"]["tenant"] == "a"
    assert [letter.id for letter in await letters_of(driver, dead.queue, 2)] == [
        item.id for item in letters[:2]
    ]
    some = driver.browse_dead(dead.queue, 100)
    assert (await anext(some)).id == first.id
    await some.aclose()  # type: ignore[attr-defined]
    await broker.until_ready(dead.queue, 5)
    assert ids(await broker.drain(dead.queue)) == [f"m{number}" for number in range(5)]
    await driver.close()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_letters_go_back_to_the_queue_they_died_in_and_nowhere_else(
    kind: str, broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    dead = Dead(broker, make_name)
    await dead.make(kind)
    await broker.queue("elsewhere")
    await dead.reject(
        6,
        message_id="{id}",
        headers={"tenant": "a"},
        correlation_id="c",
        timestamp=datetime(2024, 1, 1, tzinfo=UTC),
    )
    driver = amqp_driver(rabbitmq_server)
    letters = await letters_of(driver, dead.queue)
    edited = replace(
        letters[4],
        payload=b'{"id": "m4", "fixed": true}',
        properties={
            **letters[4].properties,
            "headers": {**letters[4].properties["headers"], "CC": ["elsewhere"]},
        },
    )
    # As a replay does it: side by side.
    returned = await asyncio.gather(*(driver.return_dead(item, "key") for item in (edited, letters[1])))
    assert [item.outcome for item in returned] == ["sent", "sent"]
    assert (await driver.return_dead(letters[1], "key")).outcome == "gone"
    assert (await driver.discard_dead(letters[0])).outcome == "sent"
    await driver.close()
    await broker.until_ready(dead.queue, 3)
    back = {message.header.properties.message_id: message for message in await broker.drain(dead.origin)}
    assert set(back) == {"m1", "m4"} and back["m4"].body == edited.payload
    given = back["m1"].header.properties
    headers: dict[str, Any] = dict(given.headers or {})
    assert headers.pop("tenant") == "a" and "x-death" not in headers
    assert headers["x-platint-death"][0]["queue"] == dead.origin
    assert headers["x-platint-first-death-reason"] == "rejected"
    assert (given.correlation_id, given.timestamp) == ("c", datetime(2024, 1, 1, tzinfo=UTC))
    assert await broker.ready("elsewhere") == 0
    assert ids(await broker.drain(dead.queue)) == ["m2", "m3", "m5"]


async def test_a_letter_without_an_id_gets_the_idempotency_key(
    dead: Dead, broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    await dead.reject(1)
    driver = amqp_driver(rabbitmq_server)
    [letter] = await letters_of(driver, dead.queue)
    assert (await driver.return_dead(letter, "key-9")).outcome == "sent"
    assert ids(await broker.drain(dead.origin)) == ["key-9"]
    await driver.close()


async def test_what_is_held_goes_back_by_itself(
    dead: Dead, broker: Broker, rabbitmq_server: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "_IDLE", 0.1)
    await dead.reject(3, message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    letters = await letters_of(driver, dead.queue)
    assert (await driver.discard_dead(letters[2])).outcome == "sent"
    assert await broker.ready(dead.queue) == 0
    await broker.until_ready(dead.queue, 2)
    assert (await driver.discard_dead(letters[0])).outcome == "sent"
    await driver.close()
    assert ids(await broker.drain(dead.queue)) == ["m1"]


async def test_a_letter_that_cannot_go_back_stays(
    dead: Dead, broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    await dead.reject(2, message_id="{id}")
    await broker.send(dead.queue, [b"by hand"], message_id="direct")
    driver = amqp_driver(rabbitmq_server)
    letters = await letters_of(driver, dead.queue)
    assert letters[2].origin == dead.origin  # the only one that leads here
    poison = {
        "properties": {"timestamp": 1_700_000_000_000_000},  # microseconds: no time that there is
        "routing_key": dead.queue,
        "payload": "poison",
        "payload_encoding": "string",
    }
    rabbitmq_server.manage("POST", "exchanges/%2F/amq.default/publish", poison)
    strange = (await letters_of(driver, dead.queue))[3]
    assert strange.payload == b"poison"
    assert "cannot be sent once more" in (await driver.return_dead(strange, "k")).message
    assert (await driver.discard_dead(strange)).outcome == "sent"
    homeless = await driver.return_dead(replace(letters[2], origin=""), "k")
    assert homeless.outcome == "refused" and "by hand" in homeless.message
    await (await broker.channel()).queue_delete(dead.origin)
    gone = await driver.return_dead(letters[0], "k")
    assert gone.outcome == "refused" and f"no queue '{dead.origin}'" in gone.message
    await driver.close()
    assert ids(await broker.drain(dead.queue)) == ["m0", "m1", "direct"]


async def test_a_connection_that_is_lost_while_one_goes_back(
    dead: Dead, broker: Broker, rabbitmq_server: RabbitmqServer, proxy: Proxy
) -> None:
    await dead.reject(1, message_id="{id}")
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port), connect=0.2)
    [letter] = await letters_of(driver, dead.queue)
    proxy.mute = True
    with pytest.raises(TransientError):
        await driver.return_dead(letter, "k")
    proxy.mute = False
    proxy.cut()
    await broker.until_ready(dead.queue, 1)
    assert await broker.ready(dead.origin) == 0
    assert (await driver.return_dead(letter, "k")).outcome == "sent"
    assert await broker.ready(dead.queue) == 0
    await driver.close()


async def test_a_delivery_limit_ends_looking_in_time(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    dead = Dead(broker, make_name)
    await dead.make("quorum", delivery_limit=6)
    await dead.reject(2, message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    for _ in range(3):
        assert len(await letters_of(driver, dead.queue)) == 2
    with pytest.raises(ConfigError, match="delivery limit is 6: 2 more, and it is gone") as caught:
        await letters_of(driver, dead.queue)
    assert "-1" in caught.value.hint
    await broker.until_ready(dead.queue, 2)
    await driver.close()


async def test_queues_that_the_profile_names(dead: Dead, rabbitmq_server: RabbitmqServer) -> None:
    await dead.reject(2, message_id="{id}")
    driver = amqp_driver(rabbitmq_server, platform="amqp", dead_letter_queues=f" {dead.queue} ,")
    [found] = await driver.dead_queues()
    assert (found.name, found.depth, found.origin) == (dead.queue, 2, "")
    letters = await letters_of(driver, dead.queue)
    assert letters[0].origin == dead.origin
    assert (await driver.return_dead(letters[0], "k")).outcome == "sent"
    await driver.close()
    with pytest.raises(ConfigError, match="which queues hold dead letters"):
        await amqp_driver(rabbitmq_server, platform="amqp").dead_queues()


def test_what_the_management_api_says_of_a_queue() -> None:
    """As RabbitMQ 3.10 answers once its statistics are there, some seconds after the first message."""
    item = {
        "name": "orders",
        "type": "quorum",
        "durable": True,
        "arguments": {"x-dead-letter-exchange": "", "x-queue-type": "quorum"},
        "effective_policy_definition": {"delivery-limit": 9, "dead-letter-exchange": "of-policy"},
        "messages_ready": 2,
        "messages_unacknowledged": 1,
        "consumers": 0,
        "head_message_timestamp": 1_704_067_200,
        "message_stats": {"publish_details": {"rate": 1.5}, "deliver_get_details": {}},
    }
    queue = management._queue(item, "3")
    assert (queue.ready, queue.unacknowledged, queue.consumers) == (2, 1, 0)
    assert (queue.head_ms, queue.rate_in, queue.rate_out) == (1_704_067_200_000, 1.5, None)
    assert (queue.dead_letter_exchange, queue.dead_letter_key, queue.delivery_limit) == ("", None, 9)
    bare = management._queue({"name": "bare", "type": "quorum"}, "4")
    assert bare.delivery_limit == 20 and bare.ready is None and bare.dead_letter_exchange is None
    assert management._queue({"name": "old", "type": "quorum"}, "3").delivery_limit is None
    unlimited = management._queue({"name": "u", "type": "quorum", "arguments": {"x-delivery-limit": -1}}, "4")
    assert unlimited.delivery_limit is None
