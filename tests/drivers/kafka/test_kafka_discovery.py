"""What discovery tells of topics, and how little it asks of a cluster that tells little."""

from __future__ import annotations

import asyncio

import pytest
from drivers.kafka.between import DESCRIBE_CONFIGS, LIST_GROUPS, LIST_OFFSETS, METADATA, Asked, between
from drivers.kafka.conftest import Kafka, Make
from peers.kafka import KafkaServer

from platint_tui.drivers.kafka import KafkaDriver, discover


async def test_the_facts_of_a_topic(kafka: Kafka, driver: KafkaDriver) -> None:
    topic = await kafka.create(partitions=2, retention_ms="604800000", cleanup_policy="compact,delete")
    await kafka.create(kafka.name().replace("topic", "__internal"))
    await kafka.put(topic, *({"value": b"%d" % n, "partition": n % 2} for n in range(5)), each=True)
    found = {item.name: item for item in await driver.discover()}
    stream = found[topic]
    assert (stream.kind, stream.modes, stream.key, stream.estimate) == ("topic", ("consume",), ("id",), 5)
    assert stream.readable and stream.writable and not stream.typed
    assert {"id", "key", "body", "headers", "timestamp"} <= {item.name for item in stream.fields}
    assert stream.facts[:4] == (
        ("partitions", "2"),
        ("offsets", "0 to 3"),
        ("retention", "7 d"),
        ("clean-up", "compact,delete"),
    )
    assert any("compacted" in note for note in stream.notes)
    assert not any(name.startswith("__") for name in found)


async def test_what_cannot_be_asked_is_left_out(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "SECONDS", 0.2)
    topic = await kafka.create(retention_ms="60000")
    await kafka.put(topic, b"1")
    async with between(kafka_server.port) as listener:

        async def silent(asked: Asked) -> bytes:
            await asyncio.sleep(30)
            return b""

        async def curt(asked: Asked) -> None:
            return None

        listener.on(LIST_OFFSETS, silent)
        listener.on(DESCRIBE_CONFIGS, curt)
        listener.on(LIST_GROUPS, curt)
        [stream] = [item for item in await make(listener.bootstrap).discover() if item.name == topic]
        assert stream.estimate is None and stream.facts == (("partitions", "1"),)


async def test_a_topic_that_may_not_be_seen_says_so(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic, other = await kafka.create(), await kafka.create()
    async with between(kafka_server.port) as listener:

        async def denied(asked: Asked) -> bytes:
            found = listener.metadata(await asked.forward())
            found.topics = [
                (29 if name == topic else code, name, internal, [] if name == topic else partitions)
                for code, name, internal, partitions in found.topics
            ]
            return bytes(found.encode())

        listener.on(METADATA, denied)
        driver = make(listener.bootstrap)
        found = {item.name: item for item in await driver.discover()}
        assert not found[topic].readable and "may not read" in found[topic].refused
        assert found[other].readable and not found[other].refused
        assert (await driver.check())[1].ok


async def test_a_large_cluster_is_looked_at_in_part(
    kafka: Kafka, driver: KafkaDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await kafka.put(await kafka.create(), b"1")
    monkeypatch.setattr(discover, "MOST_PARTITIONS", 1)
    monkeypatch.setattr(discover, "MOST_SAMPLES", 0)
    monkeypatch.setattr(discover, "MOST_GROUPS", 0)
    found = await driver.discover()
    assert len(found) >= 3 and sum(item.estimate is not None for item in found) <= 1
