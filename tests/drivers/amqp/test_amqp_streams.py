"""Streams of RabbitMQ: queues that keep what was read, with an offset for each message."""

from __future__ import annotations

import pytest
from drivers.amqp.conftest import Broker, amqp_driver, numbered, reading, scan, values
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.errors import PositionLost
from platint_tui.core.model import ReadOptions


async def test_a_stream_is_read_from_its_offset_and_again_from_the_beginning(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    stream = await broker.queue(make_name, queue_type="stream")
    await broker.send(stream, numbered(30))
    driver = amqp_driver(rabbitmq_server, source={"chunk": 8})
    first = await scan(driver, stream)
    assert [value["offset"] for value in values(first)] == list(range(30))
    assert values(first)[3]["id"] == f"{stream}@3"
    assert first[-1].position["offset"] == 29
    assert values(await scan(driver, stream, first[-1].position)) == []
    await broker.send(stream, numbered(5, 30), message_id="{id}")
    later = await scan(driver, stream, first[-1].position)
    assert [value["id"] for value in values(later)] == [f"m{number}" for number in range(30, 35)]
    middle = next(page for page in first if page.records)
    rest = values(await scan(driver, stream, middle.position, ack=False))
    assert [value["offset"] for value in rest] == list(range(8, 35))
    assert len(values(await scan(driver, stream))) == 35
    await driver.close()


async def test_a_look_at_a_stream_leaves_it_as_it_is(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    stream = await broker.queue(make_name, queue_type="stream")
    await broker.send(stream, numbered(3), message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    async with reading(driver, stream, options=ReadOptions(peek=True)) as pages:
        assert len(values([page async for page in pages])) == 3
    assert len(values(await scan(driver, stream))) == 3
    await driver.close()


async def test_a_stream_that_no_longer_reaches_back_or_was_made_anew(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.amqp.reader._FIRST", 0.25)
    stream = await broker.queue(
        make_name, queue_type="stream", max_length_bytes=20_000, stream_max_segment_size_bytes=10_000
    )
    for _ in range(20):
        # Each call is a chunk of its own: whole segments of chunks are dropped.
        await broker.send(stream, [b"x" * 2_000] * 3)
    driver = amqp_driver(rabbitmq_server)
    old = {"kind": "stream", "channel": "c", "tag": 3, "offset": 2}
    with pytest.raises(PositionLost, match="begins with offset") as caught:
        await scan(driver, stream, old)
    assert "gap" in caught.value.hint
    skip = ReadOptions(sync="s", on_lost="skip")
    async with reading(driver, stream, old, skip) as pages:
        first = await anext(pages)
    [gap] = first.gaps
    start = values([first])[0]["offset"]
    assert (gap.start, gap.end) == ("3", str(start - 1)) and start > 3
    async with reading(driver, stream, old, ReadOptions(sync="s", on_lost="resnapshot")) as pages:
        again = await anext(pages)
    assert values([again])[0]["offset"] == start and not again.gaps

    await broker.queue(make_name, queue_type="stream")
    await broker.send(stream, numbered(2), message_id="{id}")
    far = {"kind": "stream", "channel": "c", "tag": 3, "offset": 1_000}
    with pytest.raises(PositionLost, match="does not reach up to offset 1000"):
        await scan(driver, stream, far)
    async with reading(driver, stream, far, ReadOptions(sync="s", on_lost="resnapshot")) as pages:
        found = [page async for page in pages]
    assert [value["id"] for value in values(found)] == ["m0", "m1"]
    async with reading(driver, stream, far, skip) as pages:
        found = [page async for page in pages]
    assert values(found) == []
    assert [(gap.start, gap.end) for page in found for gap in page.gaps] == [("1001", "1")]
    await broker.send(stream, numbered(1, 2), message_id="{id}")
    later = await scan(driver, stream, found[-1].position)
    assert [value["id"] for value in values(later)] == ["m2"]
    await driver.close()


async def test_an_empty_stream_misses_nothing_that_comes_later(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    stream = await broker.queue(make_name, queue_type="stream")
    driver = amqp_driver(rabbitmq_server)
    empty = await scan(driver, stream)
    assert values(empty) == []
    await broker.send(stream, numbered(3), message_id="{id}")
    assert len(values(await scan(driver, stream, empty[-1].position))) == 3
    await driver.close()


async def test_a_queue_that_was_made_anew_as_a_stream_is_read_from_its_beginning(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.amqp.reader._ALIVE", 0.05)
    name = await broker.queue(make_name)
    await broker.send(name, numbered(2), message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    first = await scan(driver, name)
    assert first[-1].position["kind"] == "queue"
    await broker.queue(make_name, queue_type="stream")
    await broker.send(name, numbered(3, 2), message_id="{id}")
    async with reading(driver, name, first[-1].position, ReadOptions(sync="s", follow=True)) as pages:
        await anext(pages)  # a stream shows itself with the first message that comes
        await broker.send(name, numbered(1, 5), message_id="{id}")
        found: list[str] = []
        while len(found) < 4:
            page = await anext(pages)
            found += [value["id"] for value in values([page])]
    assert found == ["m2", "m3", "m4", "m5"] and page.position["kind"] == "stream"
    await driver.close()
