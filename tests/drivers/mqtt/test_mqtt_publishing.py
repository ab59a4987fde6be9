"""Rows as messages: what the broker took, what it refused and why, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from drivers.conftest import Tools
from drivers.mqtt.broker import ScriptedBroker
from drivers.mqtt.conftest import Bench, Proxy, mqtt_driver, scan, values
from peers.mosquitto import MosquittoServer

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, TransientError, UnknownOutcome
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Fault, Op, ReadOptions, Row


def rows(count: int, start: int = 0) -> list[Row]:
    return [
        Row(f'["{number}"]', "", {"id": number}, None, f"key-{number}")
        for number in range(start, start + count)
    ]


def codes(faults: Sequence[tuple[int, Fault]]) -> list[tuple[int, str]]:
    return [(index, fault.code) for index, fault in faults]


def user(message: Any) -> dict[str, str]:
    return dict(message.properties.UserProperty)


@pytest.mark.parametrize("qos", [1, 2])
async def test_rows_are_messages_with_ids(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, tools: Tools, qos: int
) -> None:
    await bench.collect(topic, topic)
    driver = mqtt_driver(mosquitto_server, sink={"qos": qos})
    target = await driver.open_target(tools.plan(target=topic))
    gone = Row('["9"]', "", {"id": 9}, None, "gone-9", Op.DELETE)
    result = await target.write(tools.batch([*rows(300), gone]))
    assert (result.written, list(result.faults)) == (301, [])
    found = await bench.collect(topic, topic)
    assert [loads(item.payload)["id"] for item in found] == [*range(300), 9]
    assert user(found[0]) == {
        "message-id": "key-0",
        "platint-integration": "sales",
        "platint-stream": "charges",
    }
    assert found[0].properties.ContentType == "application/json"
    assert user(found[-1])["platint-op"] == "delete"
    await target.close()
    await driver.close()


async def test_retained_messages_and_topics_of_their_own(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, tools: Tools
) -> None:
    await bench.send(f"{topic}/from/a", [b"\xff\x00"], retain=True, user=[("message-id", "m1"), ("t", "x")])
    driver = mqtt_driver(mosquitto_server, sink={"retain": True})
    snapshot = ReadOptions(mode="snapshot")
    (message,) = values(await scan(driver, f"{topic}/from/#", options=snapshot))
    target = await driver.open_target(tools.plan(target=f"{topic}/mirror/#"))
    result = await target.write(tools.batch([message, {"id": 1}, {**message, "topic": "a/+"}]))
    assert result.written == 1 and codes(result.faults) == [
        (1, "TOPIC_NAME_INVALID"),
        (2, "TOPIC_NAME_INVALID"),
    ]
    (copy,) = values(await scan(driver, f"{topic}/mirror/#", options=snapshot))
    assert copy["topic"] == f"{topic}/mirror/{topic}/from/a" and copy["retained"]
    assert (copy["body"], copy["encoding"], copy["headers"]["t"]) == ("/wA=", "base64", "x")
    await target.close()
    await driver.close()


async def test_a_missing_right_is_told_of_each_message(
    mosquitto_server: MosquittoServer, tools: Tools
) -> None:
    driver = mqtt_driver(
        mosquitto_server, user=mosquitto_server.limited_user, password=mosquitto_server.limited_password
    )
    target = await driver.open_target(tools.plan(target="forbidden/topic"))
    result = await target.write(tools.batch(rows(3)))
    # Mosquitto 2.0 sometimes ends the connection while it says so; what it refused is not known then.
    assert result.written == 0 and len(result.faults) == 3
    assert {fault.code for _, fault in result.faults} <= {"NOT_AUTHORIZED", UnknownOutcome.code}
    await target.close()
    allowed = await driver.open_target(tools.plan(target="app/in/x"))
    assert (await allowed.write(tools.batch(rows(3)))).written == 3
    await allowed.close()
    await driver.close()


@pytest.mark.parametrize("target", ["", "a/+", "a/#/b", "a#", "x\0y"])
async def test_what_is_no_topic_is_refused(mosquitto_server: MosquittoServer, target: str) -> None:
    driver = mqtt_driver(mosquitto_server, port="1")
    with pytest.raises(ConfigError, match="no topic to publish to"):
        await driver.describe_target(target)
    assert await driver.describe_target("a/b") is None and await driver.describe_target("#") is None


async def test_what_was_sent_before_a_cut_and_not_answered_is_unknown(
    bench: Bench, mosquitto_server: MosquittoServer, topic: str, tools: Tools, proxy: Proxy
) -> None:
    await bench.collect(topic, topic)
    driver = mqtt_driver(mosquitto_server, port=str(proxy.port))
    target = await driver.open_target(tools.plan(target=topic))
    assert (await target.write(tools.batch(rows(2)))).written == 2
    proxy.mute = True
    writing = asyncio.create_task(target.write(tools.batch(rows(5, 10))))
    await asyncio.sleep(0.2)
    proxy.mute = False
    proxy.cut()
    result = await writing
    # They arrived; nobody could know. None is sent a second time.
    assert codes(result.faults) == [(number, UnknownOutcome.code) for number in range(5)]
    assert result.faults[0][1].request == {"message_id": "key-10", "topic": topic}
    # The connection is gone before anything is sent: nothing is unknown, it is sent over a new one.
    proxy.cut()
    await asyncio.sleep(0.05)
    assert (await target.write(tools.batch(rows(5, 20)))).written == 5
    found = [loads(item.payload)["id"] for item in await bench.collect(topic, topic)]
    assert sorted(found) == [0, 1, *range(10, 15), *range(20, 25)]
    proxy.stop()
    await asyncio.sleep(0.05)
    with pytest.raises(TransientError):
        await target.write(tools.batch(rows(1)))
    await target.close()
    await driver.close()


@pytest.mark.parametrize(
    ("code", "wanted", "kind"),
    [
        (0x90, "TOPIC_NAME_INVALID", ErrorClass.RECORD),
        (0x95, "PACKET_TOO_LARGE", ErrorClass.RECORD),
        (0x99, "PAYLOAD_FORMAT_INVALID", ErrorClass.RECORD),
        (0x87, "NOT_AUTHORIZED", ErrorClass.CONFIG),
        (0x83, "IMPLEMENTATION_SPECIFIC_ERROR", ErrorClass.CONFIG),
    ],
)
async def test_reason_codes_of_messages(
    broker: ScriptedBroker, tools: Tools, code: int, wanted: str, kind: ErrorClass
) -> None:
    broker.publish_codes = [0, code, 0x10]
    target = await broker.driver().open_target(tools.plan(target="t"))
    result = await target.write(tools.batch(rows(3)))
    assert result.written == 2 and codes(result.faults) == [(1, wanted)]
    fault = result.faults[0][1]
    assert fault.error_class is kind and ("topic write t`" in fault.hint) is (code == 0x87)
    await target.close()


async def test_a_full_broker_is_asked_again_and_a_small_one_not_at_all(
    broker: ScriptedBroker, tools: Tools
) -> None:
    broker.publish_codes = [0x97, 0x97, 0]
    target = await broker.driver().open_target(tools.plan(target="t"))
    assert (await target.write(tools.batch(rows(2)))).written == 2
    broker.publish_codes = [0x97]
    with pytest.raises(TransientError, match="quota exceeded"):
        await target.write(tools.batch(rows(2)))
    await target.close()
    broker.publish_codes, broker.features = [0], {"maximum_packet_size": 200, "receive_maximum": 2}
    small = await broker.driver().open_target(tools.plan(target="t"))
    large = Row('["x"]', "", {"id": "x" * 300}, None, "k")
    result = await small.write(tools.batch([*rows(7), large]))
    assert result.written == 7 and codes(result.faults) == [(7, "PACKET_TOO_LARGE")]
    assert broker.most_in_flight <= 2
    await small.close()


@pytest.mark.parametrize(
    ("features", "sink", "code"),
    [
        ({"maximum_qos": 1}, {"qos": 2}, "QOS_NOT_SUPPORTED"),
        ({"retain_available": 0}, {"retain": True}, "RETAIN_NOT_SUPPORTED"),
    ],
)
async def test_what_a_broker_cannot_do_is_told_before_writing(
    broker: ScriptedBroker, tools: Tools, features: dict[str, int], sink: dict[str, Any], code: str
) -> None:
    broker.features = features
    with pytest.raises(PlatintError) as caught:
        await broker.driver(sink=sink).open_target(tools.plan(target="t"))
    assert (caught.value.code, caught.value.error_class) == (code, ErrorClass.CONFIG) and caught.value.hint
