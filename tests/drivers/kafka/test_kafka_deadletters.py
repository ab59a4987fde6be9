"""Dead letters in topics: found, looked at without a trace, sent back once, and remembered as dealt with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest_v3, OffsetFetchRequest_v3, OffsetFetchResponse_v3
from drivers.kafka.between import OFFSET_COMMIT, OFFSET_FETCH, PRODUCE, Asked, Between, between
from drivers.kafka.conftest import Kafka, Make
from peers.kafka import KafkaServer

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.model import NativeLetter
from platint_tui.drivers.kafka import KafkaDriver

GROUP = "platint.dead-letters"
SPRING = [
    ("kafka_dlt-exception-fqcn", b"org.example.BadCustomer"),
    ("kafka_dlt-exception-message", b"no such customer"),
]


async def browse(driver: KafkaDriver, topic: str, limit: int = 100) -> list[NativeLetter]:
    return [letter async for letter in driver.browse_dead(topic, limit)]


async def dead_topic(kafka: Kafka, partitions: int = 1) -> tuple[str, str]:
    """A topic and that of its dead letters."""
    origin = await kafka.create()
    return origin, await kafka.create(f"{origin}.DLQ", partitions)


def keep_metadata(listener: Between) -> None:
    """Keep the metadata of commits, as Kafka does and Tansu does not."""
    kept: dict[tuple[str, str, int], str] = {}

    async def commit(asked: Asked) -> bytes:
        request = OffsetCommitRequest_v3.decode(asked.body)
        for topic, partitions in request.topics:
            kept.update({(request.consumer_group, topic, item[0]): item[2] for item in partitions})
        return await asked.forward()

    async def fetch(asked: Asked) -> bytes:
        group = OffsetFetchRequest_v3.decode(asked.body).consumer_group
        answer = OffsetFetchResponse_v3.decode(await asked.forward())
        answer.topics = [
            (
                topic,
                [
                    (number, offset, kept.get((group, topic, number), ""), code)
                    for number, offset, _, code in items
                ],
            )
            for topic, items in answer.topics
        ]
        return bytes(answer.encode())

    listener.on(OFFSET_COMMIT, commit)
    listener.on(OFFSET_FETCH, fetch)


@pytest.fixture
async def keeping(kafka_server: KafkaServer) -> AsyncIterator[Between]:
    """A listener that keeps what was committed with an offset."""
    async with between(kafka_server.port) as listener:
        keep_metadata(listener)
        yield listener


async def test_a_dead_letter_is_looked_at_sent_back_and_not_shown_again(
    kafka: Kafka, keeping: Between, make: Make
) -> None:
    origin, topic = await dead_topic(kafka)
    driver = make(keeping.bootstrap)
    headers = [*SPRING, ("kafka_dlt-original-topic", origin.encode()), ("trace", b"t1"), ("raw", b"\xff")]
    await kafka.put(
        topic, *({"key": b"ada", "value": b'{"n": %d}' % n, "headers": headers} for n in range(3)), each=True
    )
    [queue] = [item for item in await driver.dead_queues() if item.name == topic]
    assert (queue.kind, queue.origin, queue.depth) == ("topic", origin, 3) and queue.oldest_ms is not None
    first, second, third = await browse(driver, topic)
    assert (first.id, first.origin, first.reason, first.code) == (
        f"{topic}/0/0",
        origin,
        "no such customer",
        "BadCustomer",
    )
    assert (
        first.payload == b'{"n": 0}' and first.properties["key"] == "ada" and first.died_ms == queue.oldest_ms
    )
    assert await kafka.committed(GROUP, topic) == {} and len(await kafka.held(topic)) == 3

    edited = replace(second, payload=b'{"n": "fixed"}')
    returned = await driver.return_dead(edited, "key-1")
    assert (
        returned.outcome == "sent" and f"{origin}/0" in returned.message and "retention" in returned.message
    )
    [back] = await kafka.held(origin)
    assert (back.key, back.value) == (b"ada", b'{"n": "fixed"}')
    assert list(back.headers) == [("trace", b"t1"), ("raw", b"\xff"), ("idempotency-key", b"key-1")]
    # It is noted where every console sees it, though the message before it is still open.
    assert [item.id for item in await browse(make(keeping.bootstrap), topic)] == [first.id, third.id]
    assert (await driver.return_dead(second, "key-1")).outcome == "gone"
    assert len(await kafka.held(origin)) == 1

    discarded = await driver.discard_dead(first)
    assert discarded.outcome == "sent" and f"the group '{GROUP}' says" in discarded.message
    assert await kafka.committed(GROUP, topic) == {0: 2}
    assert [item.id for item in await browse(driver, topic)] == [third.id]
    [queue] = [item for item in await driver.dead_queues() if item.name == topic]
    assert queue.depth == 1 and len(await kafka.held(topic)) == 3


async def test_the_oldest_come_first_and_only_so_many(kafka: Kafka, driver: KafkaDriver) -> None:
    _, topic = await dead_topic(kafka, partitions=3)
    for number in range(9):
        await kafka.put(
            topic, {"value": b"%d" % number, "partition": number % 3, "timestamp_ms": 1000 + number}
        )
    assert [item.payload for item in await browse(driver, topic, 5)] == [b"0", b"1", b"2", b"3", b"4"]
    for letter in await browse(driver, topic, 4):
        await driver.discard_dead(letter)
    assert [item.payload for item in await browse(driver, topic, 2)] == [b"4", b"5"]
    assert await browse(driver, topic, 0) == []


async def test_topics_are_known_by_their_names_or_by_the_headers_of_their_messages(
    kafka: Kafka, driver: KafkaDriver
) -> None:
    named = await kafka.create(kafka.name("-dlt"))
    marked, plain = await kafka.create(kafka.name()), await kafka.create(kafka.name())
    failed = [("__connect.errors.topic", b"in"), ("__connect.errors.exception.message", b"bad")]
    await kafka.put(marked, {"value": b"1"}, {"value": b"2", "headers": failed}, each=True)
    await kafka.put(plain, {"value": b"1", "headers": [("x", b"1")]}, each=True)
    found = {item.name: item for item in await driver.dead_queues()}
    assert found[named].depth == 0 and found[named].oldest_ms is None
    assert found[marked].depth == 2 and plain not in found
    assert [item.origin for item in await browse(driver, marked)] == ["", "in"]
    notes = {item.name: item.notes for item in await driver.discover()}
    assert "by its name" in notes[named][0] and "headers" in notes[marked][0] and notes[plain] == ()


async def test_a_letter_without_a_way_back_is_refused(
    kafka: Kafka, driver: KafkaDriver, kafka_server: KafkaServer, make: Make
) -> None:
    topic = await kafka.create(kafka.name(".DLQ"))
    await kafka.put(topic, {"value": b"1"}, {"key": b"k", "value": None})
    letter, tombstone = await browse(driver, topic)
    assert (await driver.return_dead(replace(letter, origin=""), "k")).outcome == "refused"
    refused = await driver.return_dead(letter, "k")  # the topic that its name tells is not there
    assert refused.outcome == "refused" and "There is no topic" in refused.message
    assert len(await browse(driver, topic)) == 2
    back = await kafka.create(letter.origin)
    assert (await driver.return_dead(tombstone, "k")).outcome == "sent"
    assert [(item.key, item.value) for item in await kafka.held(back)] == [(b"k", None)]
    with pytest.raises(ConfigError, match="no message of a topic"):
        await driver.discard_dead(replace(letter, id="elsewhere"))


async def test_a_lost_answer_is_told_and_a_broker_that_is_away_is_an_error(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    origin, topic = await dead_topic(kafka)
    await kafka.put(topic, b"1", b"2")
    async with between(kafka_server.port) as listener:
        driver = make(listener.bootstrap)
        letter, other = await browse(driver, topic)

        async def lost(asked: Asked) -> None:
            await asked.forward()

        listener.on(PRODUCE, lost)
        assert (await driver.return_dead(letter, "k")).outcome == "unknown"
        assert len(await browse(driver, topic)) == 2  # it waits for somebody to look
        listener.rules.clear()
    with pytest.raises(TransientError):
        await driver.return_dead(other, "k")
    assert len(await kafka.held(origin)) == 1


async def test_where_nothing_may_be_noted_the_inbox_remembers(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, topic = await dead_topic(kafka)
    await kafka.put(topic, b"1", b"2", b"3")
    silent = make(group_prefix="none")
    letter, other, third = await browse(silent, topic)
    returned = await silent.return_dead(letter, "k")
    assert returned.outcome == "sent" and "only this inbox knows" in returned.message
    async with between(kafka_server.port) as listener:

        async def refuse(asked: Asked) -> bytes:
            name = topic.encode()
            head = b"\0\0\0\0\0\0\0\x01" + len(name).to_bytes(2, "big") + name
            return head + b"\0\0\0\x01\0\0\0\0" + b"\0\x1e"  # GROUP_AUTHORIZATION_FAILED (30)

        listener.on(OFFSET_COMMIT, refuse)
        discarded = await make(listener.bootstrap).discard_dead(other)
        assert discarded.outcome == "sent" and "kafka-acls" in discarded.message
    # Tansu keeps no metadata of a commit, so that only a beginning without holes can be noted there.
    driver = make()
    assert "only this inbox knows" in (await driver.discard_dead(third)).message
    assert f"the group '{GROUP}' says" in (await driver.discard_dead(letter)).message
    monkeypatch.setattr("platint_tui.drivers.kafka.handled.MOST_METADATA", 0)
    assert "only this inbox knows" in (await driver.discard_dead(third)).message
    assert [item.id for item in await browse(driver, topic)] == [other.id, third.id]
    assert len(await kafka.held(origin)) == 1
