"""Messages as records, what is acknowledged and when, how a scan ends, and what ends a reading."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import aiormq
import pytest
from drivers.amqp.conftest import FOLLOW, Broker, Proxy, amqp_driver, numbered, reading, scan, values
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.amqp import session


async def test_a_message_is_a_record_with_what_its_sender_said(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    moment = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
    await broker.send(
        queue,
        [b'{"total": 12.50, "big": 12345678901234567890}'],
        message_id="order-1",
        content_type="application/json",
        correlation_id="c",
        message_type="order.created",
        priority=3,
        timestamp=moment,
        headers={
            "tenant": "é",
            "raw": bytearray(b"\xff\x00"),
            "list": [1, {"a": None}],
            "when": moment,
            "share": 0.5,
        },
    )
    await broker.send(queue, [b"plain"], message_id="text")
    await broker.send(queue, [b"\xff\x00"], message_id="bytes")
    driver = amqp_driver(rabbitmq_server)
    pages = await scan(driver, queue)
    json_one, text, binary = values(pages)
    assert json_one == {
        "id": "order-1",
        "body": {"total": 12.5, "big": 12345678901234567890},
        "headers": {
            "tenant": "é",
            "raw": "/wA=",
            "list": [1, {"a": None}],
            "when": "2024-05-01T12:00:00.000+00:00",
            "share": 0.5,
        },
        "key": queue,
        "queue": queue,
        "exchange": "",
        "timestamp": "2024-05-01T12:00:00.000+00:00",
        "content_type": "application/json",
        "correlation_id": "c",
        "type": "order.created",
        "priority": 3,
    }
    assert loads(pages[0].records[0].raw) == json_one
    assert list(pages[0].happened) == [round(moment.timestamp() * 1000)]
    assert (text["body"], "encoding" in text) == ("plain", False)
    assert (binary["body"], binary["encoding"]) == ("/wA=", "base64")
    assert await broker.ready(queue) == 0
    await driver.close()


async def test_what_cannot_be_a_record_is_kept_whole_and_acknowledged(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, [b'{"a": 1, "a": 2}', b"x" * 2_000, b'{"good": 1}'], headers={"h": 1})
    driver = amqp_driver(rabbitmq_server, source={"max_message": 1_000})
    pages = await scan(driver, queue)
    twice, large = [bad for page in pages for bad in page.bad]
    assert "occurs twice" in twice.reason and loads(twice.raw)["headers"] == {"h": 1}
    assert "2,000 bytes, more than the 1,000" in large.reason
    assert len(loads(large.raw)["body"]) > 2_000  # base64 of all of it
    assert [value["body"] for value in values(pages)] == [{"good": 1}]
    await driver.close()
    assert await broker.ready(queue) == 0


async def test_only_what_was_acknowledged_is_taken(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(12), message_id="{id}")
    driver = amqp_driver(rabbitmq_server, source={"chunk": 5})
    async with reading(driver, queue) as pages:
        first = await anext(pages)
        second = await anext(pages)
        assert [len(page.records) for page in (first, second)] == [5, 5]
        await driver.acknowledge(queue, first.position)
    # Reading has ended; what it gave can still be acknowledged, and the rest goes back with it.
    await driver.acknowledge(queue, second.position)
    await broker.until_ready(queue, 2)
    assert [value["id"] for value in values(await scan(driver, queue, second.position))] == ["m10", "m11"]
    await driver.close()


async def test_an_acknowledgement_over_a_lost_connection_is_transient(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, proxy: Proxy
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(3), message_id="{id}")
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port))
    async with reading(driver, queue, options=FOLLOW) as pages:
        page = await anext(pages)
        proxy.cut()
        with pytest.raises(TransientError, match="cannot be reached"):
            await anext(pages)
    with pytest.raises(TransientError, match="is gone"):
        await driver.acknowledge(queue, page.position)
    assert len(values(await scan(driver, queue, page.position))) == 3
    with pytest.raises(TransientError, match="is gone"):  # the tag is of another channel
        await driver.acknowledge(queue, page.position)
    await driver.close()


async def test_a_scan_of_a_queue_that_is_filled_all_the_time_ends(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, numbered(50), message_id="{id}")

    async def fill() -> None:
        for start in range(50, 100_000, 10):
            await broker.send(queue, numbered(10, start), message_id="{id}")

    filling = asyncio.create_task(fill())
    driver = amqp_driver(rabbitmq_server, source={"prefetch": 20})
    try:
        found = values(await scan(driver, queue))
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
    assert 70 <= len(found) < 150 and len({value["id"] for value in found}) == len(found)
    await driver.close()


async def test_a_followed_queue_gives_signs_of_life_and_says_when_it_is_deleted(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.amqp.reader._ALIVE", 0.05)
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server)
    async with reading(driver, queue, {"channel": "old", "tag": 7}, FOLLOW) as pages:
        page = await anext(pages)
        assert (list(page.records), page.last, page.position) == ([], False, {"channel": "old", "tag": 7})
        await (await broker.channel()).queue_delete(queue)
        with pytest.raises(ConfigError, match=f"'{queue}' was deleted while it was read"):
            async for _ in pages:
                pass
    await driver.close()


async def test_somebody_else_has_the_queue(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    single = await broker.queue(f"{make_name}-single", single_active_consumer=True)
    taken = await broker.queue(f"{make_name}-taken")
    connection = await aiormq.connect(rabbitmq_server.url)
    channel = await connection.channel()

    async def ignore(_: Any) -> None: ...

    await channel.basic_qos(prefetch_count=1)
    await channel.basic_consume(single, ignore)
    await channel.basic_consume(taken, ignore, exclusive=True)
    await broker.send(single, numbered(5))
    driver = amqp_driver(rabbitmq_server, source={"idle": 0.05})
    with pytest.raises(ConfigError, match="gives them to somebody else") as caught:
        await scan(driver, single)
    assert "single active consumer" in caught.value.hint
    with pytest.raises(ConfigError, match="exclusive use") as caught:
        await scan(driver, taken)
    assert "stop it first" in caught.value.hint
    await driver.close()
    await connection.close()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_a_look_leaves_the_queue_as_it_was(
    kind: str, broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, queue_type=kind)
    await broker.send(queue, numbered(30), message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    async with reading(driver, queue, options=ReadOptions(peek=True)) as pages:
        found = [page async for page in pages]
    assert [value["id"] for value in values(found)] == [f"m{number}" for number in range(25)]
    await broker.until_ready(queue, 30)
    assert [message.header.properties.message_id for message in await broker.drain(queue)] == [
        f"m{number}" for number in range(30)
    ]
    await driver.close()


async def test_looking_stops_before_a_delivery_limit_takes_messages_away(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, queue_type="quorum", delivery_limit=6)
    tight = await broker.queue(f"{make_name}-tight", queue_type="quorum", delivery_limit=1)
    await broker.send(queue, numbered(2), message_id="{id}")
    await broker.send(tight, numbered(2), message_id="{id}")
    driver = amqp_driver(rabbitmq_server)
    peek = ReadOptions(peek=True)
    looks = 0
    with pytest.raises(ConfigError, match="delivery limit is 6") as caught:
        while looks < 10:
            async with reading(driver, queue, options=peek) as pages:
                assert len(values([page async for page in pages])) == 2
            looks += 1
    assert looks == 3 and "delivery-limit" in caught.value.hint
    with pytest.raises(ConfigError, match=r"delivery limit .* is 1"):
        async with reading(driver, tight, options=peek) as pages:
            await anext(pages)
    await broker.until_ready(queue, 2)
    await broker.until_ready(tight, 2)
    await driver.close()


async def test_large_messages_wait_at_the_broker(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, size = 1_000_000, 200_000
    monkeypatch.setattr(session, "MOST_WAITING", room)
    queue = await broker.queue(make_name)
    large = [number.to_bytes(2, "big") + b"\xff" * size for number in range(40)]
    await broker.send(queue, large)
    await broker.send(queue, numbered(60), message_id="{id}")
    driver = amqp_driver(rabbitmq_server, source={"prefetch": 64, "chunk": 4})
    most, smallest, count = 0, 64, 0
    async with reading(driver, queue) as pages:
        async for page in pages:
            scanned = driver._scans[queue].session
            await asyncio.sleep(0.02)
            most = max(most, scanned._bytes)
            smallest = min(smallest, scanned.prefetch)
            count += len(page.records)
            await driver.acknowledge(queue, page.position)
        assert count == 100 and most <= room + 3 * size
        assert smallest <= room // size and scanned.prefetch == 64
    await driver.close()
    assert await broker.ready(queue) == 0


async def test_a_message_that_is_larger_than_what_may_wait_is_read_whole(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    body = b"\x00" + bytes(range(256)) * 4 * 1024 * 40
    await broker.send(queue, [body, b"after"], message_id="big")
    driver = amqp_driver(rabbitmq_server)
    assert len(body) > session.MOST_WAITING
    large, small = values(await scan(driver, queue))
    assert len(large["body"]) > len(body) and small["body"] == "after"
    await driver.close()


async def test_a_message_with_undecodable_properties_is_kept_and_does_not_stop_the_others(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    await broker.send(queue, [b"before"], message_id="before")
    poison = {
        "properties": {"timestamp": 1_700_000_000_000_000, "message_id": "poison"},  # microseconds
        "routing_key": queue,
        "payload": "poisoned body",
        "payload_encoding": "string",
    }
    rabbitmq_server.manage("POST", "exchanges/%2F/amq.default/publish", poison)
    await broker.send(queue, [b"after"], message_id="after")
    driver = amqp_driver(rabbitmq_server)
    async with reading(driver, queue, options=ReadOptions(peek=True)) as pages:
        [page] = [page async for page in pages]
    assert [value["id"] for value in values([page])] == ["before", "after"] and len(page.bad) == 1
    with pytest.raises(TransientError) as caught:  # the engine opens it again then
        await scan(driver, queue)
    assert caught.value.code == "unreadable"
    pages_ = await scan(driver, queue)
    assert [value["id"] for value in values(pages_)] == ["before", "after"]
    [bad] = [item for page in pages_ for item in page.bad]
    whole = loads(bad.raw)
    assert base64.b64decode(whole["body"]) == b"poisoned body" and "properties" in bad.reason
    assert b"poison" in base64.b64decode(whole["properties"])
    await driver.close()
    assert await broker.ready(queue) == 0
