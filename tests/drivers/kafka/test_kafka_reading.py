"""Reading topics: positions, the end of a scan, following, what is lost, and the offsets that other tools see."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.offset import OffsetResponse_v3
from drivers.kafka.between import (
    FETCH,
    LIST_OFFSETS,
    METADATA,
    OFFSET_COMMIT,
    Asked,
    Between,
    Torn,
    between,
)
from drivers.kafka.conftest import Kafka, Make
from peers.kafka import KafkaServer

from platint_tui.core.errors import ConfigError, PositionLost, SystemicError, TransientError
from platint_tui.core.model import Op, Page, ReadOptions
from platint_tui.core.ports import Acknowledging, Following, HoldsDeadLetters, PlansTarget
from platint_tui.drivers.kafka import KafkaDriver, reader
from platint_tui.drivers.suite import PATIENCE

SYNC = ReadOptions(sync="sales")
FOLLOW = ReadOptions(sync="sales", follow=True)


async def scan(
    driver: KafkaDriver, topic: str, position: Any = None, options: ReadOptions = SYNC
) -> list[Page]:
    async with asyncio.timeout(PATIENCE):
        return [page async for page in driver.read(topic, position, options)]


def ids(pages: list[Page]) -> list[str]:
    return [record.value["id"] for page in pages for record in page.records]


@contextlib.asynccontextmanager
async def following(driver: KafkaDriver, topic: str, position: Any = None, **more: Any) -> AsyncIterator[Any]:
    pages = driver.read(topic, position, ReadOptions(sync="sales", follow=True, **more))
    async with contextlib.aclosing(pages), asyncio.timeout(PATIENCE):  # type: ignore[type-var]
        yield pages


async def until(pages: Any, done: Callable[[list[Page]], bool]) -> list[Page]:
    """Pages up to the one with which it is done."""
    found: list[Page] = []
    async for page in pages:
        found.append(page)
        if done(found):
            break
    return found


def test_the_driver_can_what_it_promises(driver: KafkaDriver) -> None:
    for protocol in (Following, Acknowledging, HoldsDeadLetters, PlansTarget):
        assert isinstance(driver, protocol)
    assert driver.follows("orders", FOLLOW)


async def test_a_scan_ends_where_the_topic_ended_when_it_began(kafka: Kafka, make: Make) -> None:
    topic = await kafka.create(partitions=3)
    first = await kafka.put(topic, *(b"%d" % number for number in range(30)))
    driver = make(source={"chunk": 7})
    pages = driver.read(topic, None, SYNC)
    found = []
    async for page in pages:
        found.append(page)
        if len(found) == 2:
            later = await kafka.put(topic, *(b"later %d" % number for number in range(5)))
    assert sorted(ids(found)) == sorted(first)
    assert [page.last for page in found] == [False] * (len(found) - 1) + [True]
    assert all(len(page.records) <= 7 and len(page.happened) == len(page.records) for page in found)
    assert sorted(ids(await scan(driver, topic, found[-1].position))) == sorted(later)


async def test_the_newest_only(kafka: Kafka, make: Make) -> None:
    topic = await kafka.create(partitions=2)
    await kafka.put(topic, {"value": b"old", "partition": 0}, each=True)
    driver = make(source={"start": "latest"})
    pages = await scan(driver, topic)
    assert ids(pages) == [] and pages[0].position == {"offsets": {"0": 1, "1": 0}}
    # The place is kept before the first message: what came while nobody read is not passed over.
    new = await kafka.put(topic, {"value": b"new", "partition": 0})
    assert ids(await scan(driver, topic, pages[0].position)) == new


async def test_an_empty_topic_and_a_topic_of_tombstones(kafka: Kafka, driver: KafkaDriver) -> None:
    topic = await kafka.create()
    assert [(page.last, len(page.records)) for page in await scan(driver, topic)] == [(False, 0), (True, 0)]
    await kafka.put(topic, {"key": b"a", "value": b"1"}, {"key": b"a", "value": None})
    by_key = ReadOptions(sync="sales", key=("key",))
    [one, gone] = [item for page in await scan(driver, topic, None, by_key) for item in page.records]
    assert (one.op, gone.op, gone.value["key"]) == (Op.UPSERT, Op.DELETE, "a")
    records = [item for page in await scan(driver, topic) for item in page.records]
    assert [item.op for item in records] == [Op.UPSERT, Op.UPSERT]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches(kafka: Kafka, driver: KafkaDriver, codec: str) -> None:
    topic = await kafka.create()
    sent = await kafka.put(topic, *(b"%d" % number * 50 for number in range(40)), compression_type=codec)
    assert ids(await scan(driver, topic)) == sent


async def test_a_bad_message_among_good_ones(kafka: Kafka, make: Make) -> None:
    topic = await kafka.create()
    values = [b'{"n": 1}', b'{"n": 1, "n": 2}', b"x" * 3000, b"\xff\xfe", b'{"n": 2}']
    sent = await kafka.put(topic, *values)
    pages = await scan(make(source={"max_message": 2000}), topic)
    bad = [item for page in pages for item in page.bad]
    assert len(bad) == 2 and "occurs twice" in bad[0].reason and "3,000 bytes" in bad[1].reason
    assert ids(pages) == [sent[0], sent[3], sent[4]]
    assert pages[-1].position == {"offsets": {"0": 5}}


async def test_other_tools_see_the_lag_and_nobody_joins(
    kafka: Kafka, driver: KafkaDriver, make: Make
) -> None:
    topic = await kafka.create(partitions=2)
    group = f"platint.sales.{topic}"
    await kafka.put(
        topic, *({"value": b"%d" % number, "partition": number % 2} for number in range(8)), each=True
    )
    found = []
    async for page in driver.read(topic, None, SYNC):
        found.append(page)
        # Nothing is committed before the acknowledgement.
        assert await kafka.committed(group, topic, 2) in ({}, {0: 0, 1: 0})
    await driver.acknowledge(topic, found[0].position)
    await driver.acknowledge(topic, found[-1].position)
    assert await kafka.committed(group, topic, 2) == {0: 4, 1: 4}
    await kafka.put(topic, {"value": b"more", "partition": 1})
    [stream] = [item for item in await driver.discover() if item.name == topic]
    assert (f"lag of {group}", "1") in stream.facts
    # What the group has committed has no say in where reading begins.
    assert len(ids(await scan(driver, topic, None))) == 9
    silent = make(group_prefix="none")
    pages = await scan(silent, topic)
    await silent.acknowledge(topic, pages[-1].position)
    looking = make()
    await scan(looking, topic, None, ReadOptions(sync="looking", peek=True))
    await looking.acknowledge(topic, pages[-1].position)
    assert await kafka.committed(f"platint.looking.{topic}", topic, 2) == {}
    await driver.acknowledge(topic, pages[-1].position)
    assert await kafka.committed(group, topic, 2) == {0: 4, 1: 5}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (30, ConfigError, "kafka-acls"),
        (25, ConfigError, "group prefix"),
        (16, TransientError, ""),
        (3, ConfigError, "topic"),
    ],
)
async def test_offsets_that_cannot_be_committed(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, code: int, kind: type[Exception], words: str
) -> None:
    topic = await kafka.create()
    await kafka.put(topic, b"1")
    async with between(kafka_server.port) as listener:

        async def refuse(asked: Asked) -> bytes:
            name = topic.encode()
            return (
                b"\0\0\0\0\0\0\0\x01"
                + len(name).to_bytes(2, "big")
                + name
                + b"\0\0\0\x01\0\0\0\0"
                + code.to_bytes(2, "big")
            )

        listener.on(OFFSET_COMMIT, refuse)
        driver = make(listener.bootstrap)
        pages = await scan(driver, topic)
        with pytest.raises(kind) as caught:
            await driver.acknowledge(topic, pages[-1].position)
        assert isinstance(caught.value, ConfigError | TransientError) and words in caught.value.sentence()
        if kind is TransientError:
            assert listener.seen.count(OFFSET_COMMIT) == 3
            listener.rules.clear()
            await driver.acknowledge(topic, pages[-1].position)
            assert await kafka.committed(f"platint.sales.{topic}", topic) == {0: 1}


async def test_followed_it_says_that_it_is_alive(
    kafka: Kafka, driver: KafkaDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "ALIVE_SECONDS", 0.1)
    topic = await kafka.create()
    async with following(driver, topic) as pages:
        found = await until(pages, lambda pages: len(pages) == 3)
        assert all(not page.records and page.position == found[0].position for page in found)
        sent = await kafka.put(topic, b"1")
        assert ids(await until(pages, lambda pages: bool(ids(pages)))) == sent


def hide(listener: Between, partition: int) -> None:
    """Metadata without a partition, as before it was added."""

    async def hidden(asked: Asked) -> bytes:
        found = listener.metadata(await asked.forward())
        found.topics = [
            (code, name, internal, [item for item in partitions if item[1] != partition])
            for code, name, internal, partitions in found.topics
        ]
        return bytes(found.encode())

    listener.on(METADATA, hidden)


async def test_a_new_partition_is_noticed_and_read_from_its_beginning(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "METADATA_SECONDS", 0.1)
    topic = await kafka.create(partitions=2)
    sent = await kafka.put(topic, {"value": b"0", "partition": 0}, {"value": b"1", "partition": 1})
    async with between(kafka_server.port) as listener:
        hide(listener, 1)
        driver = make(listener.bootstrap, source={"start": "latest"})
        async with following(driver, topic) as pages:
            assert (await anext(pages)).position == {"offsets": {"0": 1}}
            listener.rules.clear()
            found = await until(pages, lambda pages: bool(ids(pages)))
            assert ids(found) == sent[1:] and found[-1].position == {"offsets": {"0": 1, "1": 1}}
        # So it is when reading goes on from a position of before.
        assert ids(await scan(driver, topic, {"offsets": {"0": 1}})) == sent[1:]


def out_of_range(listener: Between, topic: str, begin: int, end: int) -> None:
    """As after the retention has passed: what lies before `begin` is out of range."""

    async def fetch(asked: Asked) -> bytes:
        request = FetchRequest_v11.decode(asked.body)
        answer = FetchResponse_v11.decode(await asked.forward())
        asked_for = {item[0]: item[2] for _, partitions in request.topics for item in partitions}
        answer.topics = [
            (
                name,
                [
                    (item[0], 1, -1, -1, -1, [], -1, b"")
                    if name == topic and item[0] == 0 and asked_for[0] < begin
                    else item
                    for item in partitions
                ],
            )
            for name, partitions in answer.topics
        ]
        return bytes(answer.encode())

    async def offsets(asked: Asked) -> bytes:
        earliest = (-2).to_bytes(8, "big", signed=True) in asked.body
        answer = OffsetResponse_v3.decode(await asked.forward())
        answer.topics = [
            (
                name,
                [
                    (*item[:-1], begin if earliest else end) if name == topic and item[0] == 0 else item
                    for item in partitions
                ],
            )
            for name, partitions in answer.topics
        ]
        return bytes(answer.encode())

    listener.on(FETCH, fetch)
    listener.on(LIST_OFFSETS, offsets)


@pytest.mark.parametrize("follow", [False, True])
async def test_a_position_that_the_retention_has_passed(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, follow: bool
) -> None:
    topic = await kafka.create(partitions=2)
    messages = [{"value": b"%d" % number, "partition": number % 2} for number in range(20)]
    sent = await kafka.put(topic, *messages)
    here = [item for item in sent if f"{topic}/0/" in item]
    async with between(kafka_server.port) as listener:
        out_of_range(listener, topic, begin=6, end=10)
        driver = make(listener.bootstrap)

        async def read(on_lost: str, wanted: int) -> list[Page]:
            options = ReadOptions(sync="sales", follow=follow, on_lost=on_lost)
            pages = driver.read(topic, {"offsets": {"0": 2, "1": 10}}, options)
            async with contextlib.aclosing(pages), asyncio.timeout(PATIENCE):  # type: ignore[type-var]
                return await until(pages, lambda pages: pages[-1].last or len(ids(pages)) == wanted)

        for on_lost in ("ask", "stop"):
            with pytest.raises(PositionLost) as caught:
                await read(on_lost, 1)
            assert "begins at offset 6, and 2 comes next" in caught.value.message and caught.value.hint
        skipped = await read("skip", 4)
        assert ids(skipped) == here[6:]
        [gap] = [item for page in skipped for item in page.gaps]
        assert (gap.start, gap.end) == (f"{topic}/0/2", f"{topic}/0/6") and "retention" in gap.reason
        # The gap is told before what comes after it.
        told = next(number for number, page in enumerate(skipped) if page.gaps)
        assert told <= next(number for number, page in enumerate(skipped) if page.records)
        whole = await read("resnapshot", 14)
        assert sorted(ids(whole)) == sorted(here[6:] + [item for item in sent if f"{topic}/1/" in item])
        assert [item.start for page in whole for item in page.gaps] == [f"{topic}/0/2"]


@pytest.mark.parametrize("follow", [False, True])
async def test_a_topic_that_was_made_anew_is_shorter_than_the_position(
    kafka: Kafka, driver: KafkaDriver, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    monkeypatch.setattr(reader, "BEHIND_SECONDS", 0.2)
    topic = await kafka.create()
    await kafka.put(topic, b"new")
    options = ReadOptions(sync="sales", follow=follow)
    with pytest.raises(PositionLost, match="ends at offset 1, and 9 comes next"):
        async with asyncio.timeout(PATIENCE):
            async for _ in driver.read(topic, {"offsets": {"0": 9}}, options):
                pass
    with pytest.raises(PositionLost, match=r"Partition 3 of .* is gone"):
        await scan(driver, topic, {"offsets": {"0": 1, "3": 5}})
    skipped = await scan(
        driver, topic, {"offsets": {"0": 0, "3": 5}}, ReadOptions(sync="sales", on_lost="skip")
    )
    assert len(ids(skipped)) == 1 and skipped[-1].position == {"offsets": {"0": 1}}
    assert [gap.start for page in skipped for gap in page.gaps] == [f"{topic}/3/5"]


async def test_a_topic_that_vanishes_while_it_is_followed(
    kafka: Kafka, driver: KafkaDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "METADATA_SECONDS", 0.1)
    topic = await kafka.create()
    await kafka.put(topic, b"1")
    async with following(driver, topic) as pages:
        await until(pages, lambda pages: bool(ids(pages)))
        await kafka.delete(topic)
        with pytest.raises(ConfigError, match=f"There is no topic '{topic}'"):
            await until(pages, lambda _: False)


def change(listener: Between, code: int, times: int) -> None:
    """Answer fetches with an error code for each partition."""

    async def fetch(asked: Asked) -> bytes:
        answer = FetchResponse_v11.decode(await asked.forward())
        answer.topics = [
            (name, [(item[0], code, -1, -1, -1, [], -1, b"") for item in partitions])
            for name, partitions in answer.topics
        ]
        return bytes(answer.encode())

    listener.on(FETCH, fetch, times=times)


async def test_a_leader_that_moves_is_found_again(
    kafka_server: KafkaServer, kafka: Kafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_MOVE_SECONDS", 0.01)
    topic = await kafka.create()
    sent = await kafka.put(topic, b"1", b"2")
    async with between(kafka_server.port) as listener:
        change(listener, 6, times=3)
        driver = make(listener.bootstrap)
        assert ids(await scan(driver, topic)) == sent
        change(listener, 6, times=1000)
        with pytest.raises(TransientError, match="without a leader"):
            await scan(driver, topic)


async def test_a_topic_that_may_not_be_read(kafka_server: KafkaServer, kafka: Kafka, make: Make) -> None:
    topic = await kafka.create()
    async with between(kafka_server.port) as listener:
        change(listener, 29, times=1000)
        with pytest.raises(ConfigError) as caught:
            await scan(make(listener.bootstrap), topic)
        assert f"may not read the topic '{topic}'" in caught.value.message
        assert f"--operation Read --topic {topic}" in caught.value.hint


async def test_a_connection_that_is_lost_in_the_middle(
    kafka_server: KafkaServer, kafka: Kafka, make: Make
) -> None:
    topic = await kafka.create()
    sent = await kafka.put(topic, *(b"x" * 6_000 for _ in range(60)))
    async with between(kafka_server.port) as listener:
        driver = make(listener.bootstrap, source={"chunk": 5})
        asked = 0

        async def cut(request: Asked) -> bytes | None:
            """A little at a time, with a batch that is cut off; every second answer ends halfway."""
            nonlocal asked
            asked += 1
            answer = FetchResponse_v11.decode(await request.forward())
            answer.topics = [
                (name, [(*item[:-1], item[-1][:100_000]) for item in partitions])
                for name, partitions in answer.topics
            ]
            return Torn(answer.encode()) if asked % 2 == 0 else bytes(answer.encode())

        listener.on(FETCH, cut)
        seen: list[str] = []
        position, lost, last = None, 0, False
        async with asyncio.timeout(PATIENCE):
            while not last:
                try:
                    async for page in driver.read(topic, position, SYNC):
                        seen += ids([page])
                        await driver.acknowledge(topic, page.position)
                        position, last = page.position, page.last
                except TransientError as error:
                    assert error.code == "answer_lost"
                    lost += 1
        assert lost >= 2 and seen == sent  # nothing is missing, and nothing came twice
        for _ in range(200):
            if listener.open <= 1:  # that of the commits
                break
            await asyncio.sleep(0.01)
        assert listener.open <= 1


async def test_after_a_crash_of_ours_what_was_not_confirmed_comes_again(kafka: Kafka, make: Make) -> None:
    topic = await kafka.create(partitions=2)
    sent = await kafka.put(topic, *(b'{"n": %d}' % number for number in range(200)))
    table: dict[str, str] = {}
    confirmed, position, crashes, last = None, None, 0, False
    while not last:
        driver = make(source={"chunk": 20})
        pages = driver.read(topic, confirmed, SYNC)
        async with contextlib.aclosing(pages):  # type: ignore[type-var]
            async for page in pages:
                for record in page.records:  # the target's commit: rows replace each other by key
                    assert table.setdefault(record.value["id"], record.raw) == record.raw
                position, last = page.position, page.last
                if crashes < 5 and len(table) > 30 * (crashes + 1):
                    crashes += 1
                    last = False
                    break  # before the position is confirmed and acknowledged
                confirmed = position
                await driver.acknowledge(topic, confirmed)
    assert crashes == 5 and sorted(table) == sorted(sent)


async def test_a_position_of_something_else(kafka: Kafka, driver: KafkaDriver) -> None:
    topic = await kafka.create()
    for position in ({}, {"offsets": 5}, {"offsets": {"x": 1}}):
        with pytest.raises(SystemicError, match="position"):
            await scan(driver, topic, position)
