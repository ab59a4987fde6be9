"""Messages as records, sessions that keep what comes while we are away, acknowledgements, and what ends a reading."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from drivers.mqtt.conftest import FOLLOW, SCAN, Bench, Proxy, mqtt_driver, numbered, reading, scan, values
from peers.mosquitto import MosquittoServer

from platint_tui.core.errors import ConfigError, PositionLost, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.mqtt import reader
from platint_tui.drivers.mqtt import session as sessions

SNAPSHOT = ReadOptions(sync="sales", mode="snapshot")


async def begin(server: MosquittoServer, topic: str, **changes: str) -> None:
    """Have the broker make the session of the sync."""
    driver = mqtt_driver(server, **changes)
    await scan(driver, topic)
    await driver.close()


async def test_a_message_is_a_record_with_what_its_sender_said(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    await begin(mosquitto_server, f"{topic}/#")
    await bench.send(
        f"{topic}/a/b",
        [b'{"total": 12.50, "big": 12345678901234567890}'],
        user=[("message-id", "order-1"), ("tenant", "é"), ("tag", "x"), ("tag", "y")],
        ContentType="application/json",
        ResponseTopic="answers/1",
        CorrelationData=b"\xff\x00",
        MessageExpiryInterval=300,
    )
    await bench.send(topic, ["plain"], user=[("message-id", "text")])
    await bench.send(topic, [b"\xff\x00"], user=[("message-id", "bytes")], qos=2)
    driver = mqtt_driver(mosquitto_server)
    json_one, text, binary = values(pages := await scan(driver, f"{topic}/#"))
    assert json_one == {
        "id": "order-1",
        "body": {"total": 12.5, "big": 12345678901234567890},
        "headers": {"message-id": "order-1", "tenant": "é", "tag": ["x", "y"]},
        "key": None,
        "topic": f"{topic}/a/b",
        "timestamp": None,
        "qos": 1,
        "retained": False,
        "content_type": "application/json",
        "response_topic": "answers/1",
        "correlation_data": "/wA=",
    }
    assert loads(next(page for page in pages if page.records).records[0].raw) == json_one
    assert (text["body"], "encoding" in text) == ("plain", False)
    assert (binary["body"], binary["encoding"]) == ("/wA=", "base64")
    await driver.close()


async def test_what_cannot_be_a_record_is_kept_whole_and_acknowledged(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    await begin(mosquitto_server, topic)
    await bench.send(topic, [b'{"a": 1, "a": 2}', b"x" * 2_000, b'{"good": 1}'], user=[("h", "1")])
    driver = mqtt_driver(mosquitto_server, source={"max_message": 1_000})
    pages = await scan(driver, topic)
    twice, large = [bad for page in pages for bad in page.bad]
    assert "occurs twice" in twice.reason and loads(twice.raw)["headers"] == {"h": "1"}
    assert "2,000 bytes" in large.reason and len(loads(large.raw)["body"]) > 2_000
    assert [item["body"] for item in values(pages)] == [{"good": 1}]
    assert values(await scan(driver, topic, pages[-1].position)) == []
    await driver.close()


@pytest.mark.parametrize(("version", "qos"), [("5", 1), ("5", 2), ("3.1.1", 1), ("3.1.1", 2)])
async def test_what_comes_while_we_are_away_is_there_later_and_once(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, version: str, qos: int
) -> None:
    driver = mqtt_driver(mosquitto_server, version=version, source={"qos": qos})
    first = await scan(driver, topic)
    await driver.close()
    await bench.send(topic, numbered(70), qos=qos)
    driver = mqtt_driver(mosquitto_server, version=version, source={"qos": qos})
    # A broker of 3.1.1 sends 20 at a time: the scan goes on as they are acknowledged.
    pages = await scan(driver, topic, first[-1].position)
    found = values(pages)
    assert [item["body"]["n"] for item in found] == list(range(70)) and {item["qos"] for item in found} == {
        qos
    }
    assert len({item["id"] for item in found}) == 70
    await driver.close()
    driver = mqtt_driver(mosquitto_server, version=version, source={"qos": qos})
    assert values(await scan(driver, topic, pages[-1].position)) == []
    await driver.close()


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_was_stored_and_not_acknowledged_comes_again_with_the_same_id(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, qos: int
) -> None:
    options = {"qos": qos}
    await begin(mosquitto_server, topic)
    first = mqtt_driver(mosquitto_server, source=options)
    # Equal in everything: only its place tells one from another.
    await scan(first, topic)
    await bench.send(topic, ["same"] * 12 + ["other"], qos=qos)
    stored = await scan(first, topic, ack=False)
    await first.close()  # a crash between the commit and the acknowledgement
    again = mqtt_driver(mosquitto_server, source=options)
    pages = await scan(again, topic, stored[-1].position)
    before, after = values(stored), values(pages)
    assert len({item["id"] for item in before}) == 13 and before == after
    # And one between the target's commit and ours, which goes on from the page before.
    await bench.send(topic, ["same"] * 3, qos=qos)
    lost = await scan(again, topic, pages[-1].position, ack=False)
    await again.close()
    last = mqtt_driver(mosquitto_server, source=options)
    repeated = await scan(last, topic, pages[-1].position)
    assert values(repeated) == values(lost)
    assert not {item["id"] for item in values(lost)} & {item["id"] for item in before}
    await last.close()


async def test_a_crash_before_the_first_position_makes_no_second_ids(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    await begin(mosquitto_server, topic)
    await bench.send(topic, ["same", "same"])
    driver = mqtt_driver(mosquitto_server)
    pages = await scan(driver, topic, ack=False)
    # The page that names the run of identities goes before the first message that has one.
    named = next(page for page in pages if "unnamed" in page.position)
    assert not named.records
    await driver.close()
    driver = mqtt_driver(mosquitto_server)
    again = await scan(driver, topic, named.position)
    assert values(again) == values(pages)
    await driver.close()


async def test_a_killed_broker_in_the_middle_loses_and_doubles_nothing(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    await begin(mosquitto_server, topic)
    await bench.send(topic, ["equal"] * 30)
    driver = mqtt_driver(mosquitto_server)
    position, found, killed = None, {}, False
    for _ in range(10):
        with contextlib.suppress(TransientError):
            async with reading(driver, topic, position) as pages:
                async for page in pages:
                    for record in page.records:
                        found[record.value["id"]] = record.raw
                    position = page.position
                    if page.records and not killed:
                        killed = True
                        mosquitto_server.flush()
                        mosquitto_server.kill()
                        mosquitto_server.start_again()
                    await driver.acknowledge(topic, page.position)
                break
    assert killed and len(found) == 30
    await driver.close()


async def test_a_lost_session_is_told_with_the_span_that_is_missing(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    driver = mqtt_driver(mosquitto_server)
    await bench.send(f"{topic}/kept", ["state"], retain=True)
    await scan(driver, f"{topic}/#")
    await bench.send(f"{topic}/x", ["one"])
    position = (await scan(driver, f"{topic}/#"))[-1].position
    await driver.release("sales", f"{topic}/#")
    await bench.send(f"{topic}/x", ["nobody keeps this"])
    with pytest.raises(PositionLost, match="no longer has the session") as caught:
        await scan(driver, f"{topic}/#", position)
    assert position["at"] in caught.value.hint
    await driver.release("sales", f"{topic}/#")
    skipped = await scan(driver, f"{topic}/#", position, options=replace(SCAN, on_lost="skip"))
    (gap,) = [gap for page in skipped for gap in page.gaps]
    assert (gap.start, values(skipped)) == (position["at"], []) and gap.end > gap.start
    assert values(await scan(driver, f"{topic}/#", skipped[-1].position)) == []
    await driver.release("sales", f"{topic}/#")
    anew = await scan(driver, f"{topic}/#", position, options=replace(SCAN, on_lost="resnapshot"))
    assert [gap.start for page in anew for gap in page.gaps] == [position["at"]]
    assert [(item["body"], item["retained"]) for item in values(anew)] == [("state", True)]
    await driver.close()


async def test_a_snapshot_is_what_the_broker_retains_by_topic(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    for number in range(25):
        await bench.send(f"{topic}/{number}", [{"v": 1}, {"v": 2}], retain=True)
    driver = mqtt_driver(mosquitto_server)

    over = asyncio.Event()

    async def live() -> None:
        while not over.is_set():
            await bench.send(f"{topic}/live", ["now"])

    task = asyncio.create_task(live())
    pages = await scan(driver, f"{topic}/+", options=SNAPSHOT)
    over.set()
    await task
    found = values(pages)
    assert {item["id"] for item in found} == {f"{topic}/{number}" for number in range(25)}
    assert all(item["retained"] and item["body"] == {"v": 2} for item in found)
    assert not driver.follows(topic, replace(FOLLOW, mode="snapshot"))
    with pytest.raises(ConfigError, match="shared"):
        await scan(driver, f"$share/g/{topic}", options=SNAPSHOT)
    with pytest.raises(ConfigError, match="no mode 'cdc'"):
        await scan(driver, topic, options=replace(SCAN, mode="cdc"))
    await driver.close()


async def test_a_new_consumer_gets_retained_messages_or_only_new_ones(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    await bench.send(topic, ["old"], retain=True)
    driver = mqtt_driver(mosquitto_server)
    assert [(item["body"], item["retained"]) for item in values(await scan(driver, topic))] == [("old", True)]
    late = mqtt_driver(mosquitto_server, source={"start": "latest"})
    assert values(await scan(late, topic, options=ReadOptions(sync="late"))) == []
    await driver.close()
    await late.close()


async def test_a_silent_feed_shows_signs_of_life_and_a_deaf_broker_is_told(
    mosquitto_server: MosquittoServer, topic: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "ALIVE", 0.05)
    monkeypatch.setattr("platint_tui.drivers.mqtt.link._ANSWER_WITHIN", 0.3)
    driver = mqtt_driver(mosquitto_server, port=str(proxy.port))
    async with reading(driver, topic, options=FOLLOW) as pages:
        quiet = [await anext(pages) for _ in range(4)]
        assert not any(page.records or page.last for page in quiet)
        assert quiet[1].position == quiet[3].position
        proxy.mute = True
        with pytest.raises(TransientError, match="did not answer"):
            while True:
                await anext(pages)
    await driver.close()


async def test_a_cut_connection_and_a_stale_acknowledgement_are_transient(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, proxy: Proxy
) -> None:
    driver = mqtt_driver(mosquitto_server, port=str(proxy.port))
    await scan(driver, topic)
    await bench.send(topic, numbered(5))
    async with reading(driver, topic, options=FOLLOW) as pages:
        async for page in pages:
            if page.records:
                break
        proxy.cut()
        with pytest.raises(TransientError):
            await anext(pages)
    with pytest.raises(TransientError, match="is gone"):
        await driver.acknowledge(topic, page.position)
    assert len(values(await scan(driver, topic, page.position))) == 5
    with pytest.raises(TransientError, match="is gone"):
        await driver.acknowledge(topic, page.position)
    await driver.close()


async def test_large_messages_wait_at_the_broker(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, size = 1_000_000, 200_000
    monkeypatch.setattr(sessions, "MOST_WAITING", room)
    await begin(mosquitto_server, topic)
    await bench.send(topic, [number.to_bytes(2, "big") + b"\xff" * size for number in range(30)])
    driver = mqtt_driver(mosquitto_server, source={"chunk": 2})
    most, count = 0, 0
    async with reading(driver, topic) as pages:
        async for page in pages:
            scanned = driver._scans[topic]
            await asyncio.sleep(0.01)
            most = max(most, scanned.session._bytes)
            count += len(page.records)
            await driver.acknowledge(topic, page.position)
    assert count == 30 and most <= room + 2 * size
    await driver.close()


async def test_a_shared_subscription_and_a_session_that_is_given_back(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str
) -> None:
    shared = f"$share/group/{topic}"
    driver = mqtt_driver(mosquitto_server)
    await scan(driver, shared)
    await bench.send(topic, numbered(3))
    assert len(values(await scan(driver, shared))) == 3
    await bench.send(topic, numbered(3))
    await driver.release("sales", shared)
    await driver.release("nobody", "never/read")
    assert values(await scan(driver, shared)) == []
    await driver.close()


@pytest.mark.parametrize("topic_filter", ["a/#/b", "a+/b", "a/b#", "$share/g", "$share/+/a"])
async def test_what_is_no_filter_is_refused_before_anything_is_sent(
    mosquitto_server: MosquittoServer, topic_filter: str
) -> None:
    driver = mqtt_driver(mosquitto_server, port="1")
    with pytest.raises(ConfigError, match="no topic filter"):
        await scan(driver, topic_filter)
