"""A cluster of two brokers: two listeners before one, each of which leads some of the partitions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.protocol.coordination import FindCoordinatorResponse_v1
from aiokafka.protocol.metadata import MetadataResponse_v5
from drivers.kafka.between import (
    FETCH,
    FIND_COORDINATOR,
    METADATA,
    OFFSET_COMMIT,
    PRODUCE,
    Asked,
    Between,
    between,
)
from drivers.kafka.conftest import Kafka, Make
from drivers.kafka.test_kafka_producing import page, plan, row
from drivers.kafka.test_kafka_reading import SYNC, ids, scan
from peers.kafka import KafkaServer

from platint_tui.core.errors import TransientError
from platint_tui.drivers.kafka import reader


class Pair:
    """Two brokers, 1 and 2; `leaders` says who leads a partition, by default 1 the even ones and 2 the odd ones."""

    def __init__(self, one: Between, two: Between) -> None:
        self.brokers = {1: one, 2: two}
        self.leaders: dict[int, int] = {}
        for listener in (one, two):
            listener.on(METADATA, self._metadata)
            listener.on(FIND_COORDINATOR, self._coordinator)
            for key in (FETCH, PRODUCE):
                listener.on(key, self._led)

    async def _metadata(self, asked: Asked) -> bytes:
        found = MetadataResponse_v5.decode(await asked.forward())
        found.brokers = [(node, "127.0.0.1", item.port, None) for node, item in self.brokers.items()]
        found.controller_id = 1
        found.topics = [
            (
                code,
                name,
                internal,
                [
                    (0, item[1], self.leaders.get(item[1], 1 + item[1] % 2), [1, 2], [1, 2], [])
                    for item in partitions
                ],
            )
            for code, name, internal, partitions in found.topics
        ]
        return bytes(found.encode())

    async def _coordinator(self, asked: Asked) -> bytes:
        found = FindCoordinatorResponse_v1.decode(await asked.forward())
        found.coordinator_id, found.port = 2, self.brokers[2].port
        return bytes(found.encode())

    async def _led(self, asked: Asked) -> bytes:
        return await asked.forward()


@asynccontextmanager
async def pair(server: KafkaServer) -> AsyncIterator[Pair]:
    async with between(server.port) as one, between(server.port) as two:
        yield Pair(one, two)


async def test_each_broker_is_asked_for_what_it_leads(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create(partitions=4)
    async with pair(kafka_server) as cluster:
        driver = make(cluster.brokers[2].bootstrap)
        assert "2 brokers, controller" in (await driver.check())[0].detail
        target = await driver.open_target(plan(topic))
        assert (await target.write(page([row(number) for number in range(100)]))).written == 100
        await target.close()
        pages = await scan(driver, topic)
        assert len(set(ids(pages))) == 100
        await driver.acknowledge(topic, pages[-1].position)
        for node in (1, 2):
            assert {FETCH, PRODUCE} <= set(cluster.brokers[node].seen)
        assert OFFSET_COMMIT in cluster.brokers[2].seen and OFFSET_COMMIT not in cluster.brokers[1].seen
    assert sum((await kafka.committed(f"platint.sales.{topic}", topic, 4)).values()) == 100
    assert sorted(json.loads(item.value)["id"] for item in await kafka.held(topic)) == list(range(100))


async def test_one_broker_goes_and_the_other_takes_over(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_MOVE_SECONDS", 0.01)
    topic = await kafka.create(partitions=2)
    sent = await kafka.put(
        topic, *({"value": b"%d" % number, "partition": number % 2} for number in range(20))
    )
    async with pair(kafka_server) as cluster:
        driver = make(cluster.brokers[1].bootstrap)

        async def away(asked: Asked) -> None:
            return None

        cluster.brokers[2].on(FETCH, away)
        seen: list[str] = []
        position = None
        with pytest.raises(TransientError):
            async for item in driver.read(topic, None, SYNC):
                seen += ids([item])
                position = item.position
        # A partition without a leader is waited for, while the others are read.
        cluster.leaders[1] = -1
        task = asyncio.create_task(scan(driver, topic, position))
        await asyncio.sleep(0.1)
        assert not task.done()
        cluster.leaders[1] = 1
        seen += ids(await task)
        assert sorted(seen) == sorted(sent)
        cluster.leaders[1] = -1
        with pytest.raises(TransientError, match="without a leader"):
            await scan(driver, topic, position)


async def test_a_write_goes_on_with_the_new_leader(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create(partitions=2)
    async with pair(kafka_server) as cluster:
        target = await make(cluster.brokers[1].bootstrap).open_target(plan(topic))
        assert (await target.write(page([row(number) for number in range(20)]))).written == 20

        async def away(asked: Asked) -> None:
            """It appends, dies before it answers, and the other one leads."""
            await asked.forward()
            cluster.leaders[1] = 1

        cluster.brokers[2].on(PRODUCE, away)
        result = await target.write(page([row(number) for number in range(20, 40)]))
        assert (result.written, list(result.faults)) == (20, [])
        await target.close()
    assert sorted(json.loads(item.value)["id"] for item in await kafka.held(topic)) == list(range(40))
