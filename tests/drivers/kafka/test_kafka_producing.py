"""Writing to topics: what a message is, lost answers, refused records, topics that are made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from aiokafka.record.memory_records import MemoryRecords
from drivers.kafka.between import CREATE_TOPICS, INIT_PRODUCER, METADATA, PRODUCE, Asked, Between, between
from drivers.kafka.conftest import Kafka, Make
from peers.kafka import KafkaServer

from platint_tui.core.errors import ConfigError, ErrorClass, TransientError
from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import (
    Batch,
    Confirmed,
    Contract,
    Evolution,
    Op,
    Row,
    TargetPlan,
)
from platint_tui.core.ports import AppliesOps
from platint_tui.drivers.kafka import KafkaDriver
from platint_tui.drivers.kafka.target import KafkaTarget
from platint_tui.engine.streams import EndsEarly


def plan(topic: str, **changes: Any) -> TargetPlan:
    base: dict[str, Any] = {"sync": "sales", "stream": "orders", "target": topic, "key": ("id",)}
    return TargetPlan(**{**base, "cursor": None, "fields": (), "epoch": 1, "run": "r1", **changes})


def row(number: Any, op: Op = Op.UPSERT, **more: Any) -> Row:
    value = {"id": number, **more}
    return Row(canonical_key([number]), dumps(value), value, None, f"key-{number}", op)


async def opened(driver: KafkaDriver, topic: str, **changes: Any) -> KafkaTarget:
    return await driver.open_target(plan(topic, **changes))


def page(rows: Sequence[Row]) -> Batch:
    return Batch(rows, Confirmed(1, {}))


async def test_a_row_becomes_a_message(kafka: Kafka, driver: KafkaDriver) -> None:
    topic = await kafka.create(partitions=3)
    target = await opened(driver, topic)
    assert isinstance(target, EndsEarly) and isinstance(target, AppliesOps) and not target.transactional
    assert await target.confirmed() is None
    rows = [row("ü", n=1), row(7), row(True), Row('["a",1]', "", {"a": "a", "b": 1}, None, "two")]
    result = await target.write(Batch([*rows, row("gone", Op.DELETE)], None))
    assert (result.written, list(result.faults)) == (5, [])
    found = {item.key.decode(): item for item in await kafka.held(topic)}
    assert set(found) == {"ü", "7", "true", '["a",1]', "gone"}
    assert json.loads(found["ü"].value) == {"id": "ü", "n": 1} and found["gone"].value is None
    assert dict(found["7"].headers) == {
        "idempotency-key": b"key-7",
        "platint-integration": b"sales",
        "platint-stream": b"orders",
    }
    for index, name in enumerate(("ü", "7", "true")):
        assert result.responses[index] == {
            "topic": topic,
            "partition": found[name].partition,
            "offset": found[name].offset,
        }
        # The same key goes where Kafka's own clients send it.
        assert found[name].partition == DefaultPartitioner()(name.encode(), [0, 1, 2], [0, 1, 2])
    await target.close()


async def test_a_message_is_sent_on_as_it_was(kafka: Kafka, driver: KafkaDriver) -> None:
    source, topic = await kafka.create(), await kafka.create()
    headers = [("trace", b"1"), ("trace", b"\xff"), ("none", None), ("idempotency-key", b"old")]
    sent: list[Any] = [
        {"key": b"a", "value": b'{"n": 1.50}', "headers": headers},
        {"key": b"\xff\0", "value": b"text"},
        {"key": None, "value": b"\0\1\2"},
        {"key": b"b", "value": None},
        {"key": b"c", "value": b"[1]"},
    ]
    await kafka.put(source, *sent)
    records = [item for page in [p async for p in driver.read(source, None)] for item in page.records]
    rows = [
        Row(canonical_key([item.value["id"]]), item.raw, item.value, None, str(number))
        for number, item in enumerate(records)
    ]
    target = await opened(driver, topic)
    assert (await target.write(page(rows))).written == 5
    found = await kafka.held(topic)
    assert [(item.key, item.value) for item in found] == [
        (b"a", b'{"n":1.5}'),
        (b"\xff\0", b"text"),
        (None, b"\0\1\2"),
        (b"b", None),
        (b"c", b"[1]"),
    ]
    own = [item for item in found[0].headers if not item[0].startswith("platint-")]
    assert own == [*headers[:3], ("idempotency-key", b"0")]
    await target.close()


async def test_rows_that_are_no_messages_are_faults(
    kafka: Kafka, driver: KafkaDriver, monkeypatch: Any
) -> None:
    monkeypatch.setattr("platint_tui.drivers.kafka.target._LARGEST", 1000)
    topic = await kafka.create()
    target = await opened(driver, topic)
    rows = [row(1), row(2, text="\ud800"), row(3, text="x" * 2000), row("\ud800"), row(5)]
    result = await target.write(page(rows))
    assert result.written == 2 and [index for index, _ in result.faults] == [1, 2, 3]
    assert {fault.error_class for _, fault in result.faults} == {ErrorClass.RECORD}
    await target.close()


def drop(listener: Between, *, times: int, sent: bool) -> None:
    """Lose the answers to so many produce requests; `sent`: after the broker has carried them out."""

    async def lost(asked: Asked) -> bytes | None:
        if sent:
            await asked.forward()
        return None

    listener.on(PRODUCE, lost, times=times)


@pytest.mark.parametrize("sent", [True, False])
async def test_a_lost_answer_is_asked_for_again_without_a_second_message(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, sent: bool
) -> None:
    topic = await kafka.create(partitions=2)
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        drop(listener, times=2, sent=sent)
        for number in range(3):
            result = await target.write(page([row(item) for item in range(number * 50, number * 50 + 50)]))
            assert (result.written, list(result.faults), target.failure) == (50, [], None)
        assert listener.seen.count(PRODUCE) == 5
        await target.close()
    held = [json.loads(item.value)["id"] for item in await kafka.held(topic)]
    assert sorted(held) == list(range(150))


async def test_an_answer_that_never_comes_is_an_unknown_outcome(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        assert (await target.write(page([row(1)]))).written == 1
        drop(listener, times=100, sent=True)
        result = await target.write(page([row(2), row(3)]))
        assert result.written == 0 and [fault.code for _, fault in result.faults] == ["unknown_outcome"] * 2
        assert isinstance(target.failure, TransientError)
        # What comes after it does not pass for what was lost.
        listener.rules.clear()
        result = await target.write(page([row(4), row(5)]))
        assert (result.written, target.failure) == (2, None)
        await target.close()
    assert [json.loads(item.value)["id"] for item in await kafka.held(topic)] == [1, 2, 3, 4, 5]


async def test_without_an_id_nothing_is_sent_a_second_time(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:

        async def none(asked: Asked) -> bytes:
            return b"\0\0\0\0\0\0\x1f" + b"\xff" * 10 + b"\0"  # CLUSTER_AUTHORIZATION_FAILED (31)

        listener.on(INIT_PRODUCER, none)
        target = await opened(make(listener.bootstrap), topic)
        assert (await target.write(page([row(1)]))).written == 1
        drop(listener, times=1, sent=True)
        result = await target.write(page([row(2)]))
        assert [fault.code for _, fault in result.faults] == ["unknown_outcome"]
        assert (await target.write(page([row(3)]))).written == 1
        await target.close()
    assert [json.loads(item.value)["id"] for item in await kafka.held(topic)] == [1, 2, 3]


async def test_a_broker_that_forgot_the_sequence_numbers(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        assert (await target.write(page([row(1)]))).written == 1
        answer_with(listener, 59, times=1)
        assert (await target.write(page([row(2)]))).written == 1
        # In doubt it may not be sent under another id.
        answers = [None, 45]

        async def doubt(asked: Asked) -> bytes | None:
            code = answers.pop(0)
            return None if code is None else changed(await asked.forward(), code)

        listener.on(PRODUCE, doubt, times=2)
        result = await target.write(page([row(3)]))
        assert [fault.code for _, fault in result.faults] == ["unknown_outcome"]
        await target.close()


def changed(answer: bytes, code: int) -> bytes:
    found = ProduceResponse_v7.decode(answer)
    found.topics = [
        (name, [(item[0], code, -1, -1, -1) for item in partitions]) for name, partitions in found.topics
    ]
    return bytes(found.encode())


def answer_with(listener: Between, code: int, times: int = 10**9) -> None:
    """Answer produce requests with an error for each partition; nothing is produced."""

    async def refuse(asked: Asked) -> bytes:
        request = ProduceRequest_v7.decode(asked.body)
        topics = [(name, [(item[0], code, -1, -1, -1) for item in parts]) for name, parts in request.topics]
        return bytes(ProduceResponse_v7(topics, 0).encode())

    listener.on(PRODUCE, refuse, times=times)


async def test_a_message_that_the_topic_does_not_take_stands_alone(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create(partitions=2)
    async with between(kafka_server.port) as listener:

        async def check(asked: Asked) -> bytes:
            """Refuse batches with a value of more than 900 bytes, as a topic with max.message.bytes does."""
            request = ProduceRequest_v7.decode(asked.body)
            codes = {}
            for _, parts in request.topics:
                for partition, data in parts:
                    records = MemoryRecords(data)
                    values = [len(item.value) for item in records.next_batch()]
                    codes[partition] = 10 if max(values) > 900 else 0
            if not any(codes.values()):
                return await asked.forward()
            return bytes(
                ProduceResponse_v7(
                    # Those that are fine are told to come again, so that nothing is produced here.
                    [(topic, [(item, code or 6, -1, -1, -1) for item, code in codes.items()])],
                    0,
                ).encode()
            )

        listener.on(PRODUCE, check)
        target = await opened(make(listener.bootstrap), topic)
        rows = [row(number, text="x" * (1000 if number in (7, 8, 21) else 10)) for number in range(30)]
        result = await target.write(page(rows))
        assert result.written == 27 and [index for index, _ in result.faults] == [7, 8, 21]
        assert {(fault.error_class, fault.code) for _, fault in result.faults} == {
            ("record", "MESSAGE_TOO_LARGE")
        }
        await target.close()
    held = [json.loads(item.value)["id"] for item in await kafka.held(topic)]
    assert sorted(held) == [number for number in range(30) if number not in (7, 8, 21)]


async def test_what_is_not_about_a_row(kafka_server: KafkaServer, kafka: Kafka, make: Make) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        answer_with(listener, 29)
        with pytest.raises(ConfigError) as caught:
            await target.write(page([row(1)]))
        assert f"may not write to the topic '{topic}'" in caught.value.message
        assert "--operation Write" in caught.value.hint
        answer_with(listener, 19)
        with pytest.raises(TransientError, match="NOT_ENOUGH_REPLICAS"):
            await target.write(page([row(1)]))
        answer_with(listener, 6, times=2)
        assert (await target.write(page([row(1)]))).written == 1
        await target.close()
    assert len(await kafka.held(topic)) == 1


async def test_a_batch_ends_early_rather_than_be_sent_twice(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create(partitions=2)
    here = [DefaultPartitioner()(b"%d" % number, [0, 1], [0, 1]) == 0 for number in range(20)]
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        code = 19  # NOT_ENOUGH_REPLICAS: refused before it is appended

        async def half(asked: Asked) -> bytes:
            """Take what is for partition 0 and refuse the other."""
            request = ProduceRequest_v7.decode(asked.body)
            [(name, parts)] = request.topics
            request.topics = [(name, [item for item in parts if item[0] == 0])]
            answer = ProduceResponse_v7([(name, [])], 0)
            if request.topics[0][1]:
                answer = ProduceResponse_v7.decode(await asked.forward(request.encode()))
            answer.topics[0][1].extend((item[0], code, -1, -1, -1) for item in parts if item[0] == 1)
            return bytes(answer.encode())

        listener.on(PRODUCE, half)
        result = await target.write(page([row(number) for number in range(20)]))
        assert result.written == sum(here)
        assert [index for index, _ in result.faults] == [index for index in range(20) if not here[index]]
        assert {fault.code for _, fault in result.faults} == {"not_sent"}
        assert isinstance(target.failure, TransientError)
        # While nothing was taken there is nothing to be sent twice.
        with pytest.raises(TransientError):
            await target.write(page([row(number) for number in range(20) if not here[number]]))
        code = 20  # NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is in the topic, but may be lost with its leader
        result = await target.write(page([row(number) for number in range(20) if not here[number]]))
        assert {fault.code for _, fault in result.faults} == {"unknown_outcome"}
        listener.rules.clear()
        assert (
            await target.write(page([row(number) for number in range(20) if not here[number]]))
        ).faults == []
        await target.close()
    assert len(await kafka.held(topic)) == 20


async def test_a_stop_shortens_what_does_not_get_through(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        answer_with(listener, 19)
        target.stop_soon()
        with pytest.raises(TransientError):
            await target.write(page([row(1)]))
        assert listener.seen.count(PRODUCE) == 1
        await target.close()


async def test_a_cancelled_write_tells_what_became_of_the_rows(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        target = await opened(make(listener.bootstrap), topic)
        reached = asyncio.Event()

        async def silent(asked: Asked) -> bytes:
            await asked.forward()
            reached.set()
            await asyncio.sleep(60)
            return b""

        listener.on(PRODUCE, silent)
        task = asyncio.create_task(target.write(page([row(1)])))
        await reached.wait()
        task.cancel()
        result = await task
        assert [fault.code for _, fault in result.faults] == ["unknown_outcome"]
        await target.close()
        # Before anything was sent a cancellation is one.
        again = await opened(make(listener.bootstrap), topic)
        listener.on(METADATA, silent)
        task = asyncio.create_task(again.write(page([row(2)])))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await again.close()
    assert len(await kafka.held(topic)) == 1


async def test_a_topic_is_made_when_the_contract_allows_it(kafka: Kafka, driver: KafkaDriver) -> None:
    topic = kafka.name()
    [change] = await driver.plan_target(plan(topic))
    assert (change.kind, change.target) == ("create_topic", topic) and "3 partitions" in change.detail
    frozen = Contract(tables=Evolution.FREEZE)
    for attempt in (driver.plan_target, driver.open_target):
        with pytest.raises(ConfigError, match="does not allow"):
            await attempt(plan(topic, contract=frozen))
    target = await opened(driver, topic)
    assert target.changes == [change] and (await target.write(page([row(1)]))).written == 1
    await target.close()
    assert await driver.plan_target(plan(topic)) == ()
    await (await driver.open_target(plan(topic, contract=frozen))).close()
    [stream] = [item for item in await driver.discover() if item.name == topic]
    assert ("partitions", "3") in stream.facts
    for name in ("bad name!", "", "..", "x" * 250):
        with pytest.raises(ConfigError, match="no name of a topic"):
            await driver.open_target(plan(name))
    assert await driver.describe_target(topic) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [(31, "kafka-acls"), (38, "replication"), (44, "It says: too many"), (29, "may not create")],
)
async def test_a_topic_that_may_not_be_made(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, code: int, words: str
) -> None:
    topic = kafka.name()
    async with between(kafka_server.port) as listener:

        async def refuse(asked: Asked) -> bytes:
            name = topic.encode()
            said = b"\0\x08too many"
            return (
                b"\0\0\0\0\0\0\0\x01" + len(name).to_bytes(2, "big") + name + code.to_bytes(2, "big") + said
            )

        listener.on(CREATE_TOPICS, refuse)
        with pytest.raises(ConfigError) as caught:
            await opened(make(listener.bootstrap), topic)
        assert words in caught.value.sentence()
