"""The behaviour that every driver has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from drivers.mqtt.conftest import Bench, mqtt_driver, numbered, scan
from peers.mosquitto import MosquittoServer

from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


@pytest.fixture
def version() -> str:
    return "5"


@pytest.fixture
async def kit(bench: Bench, mosquitto_server: MosquittoServer, topic: str, version: str) -> Kit:
    sent = 0
    options = ReadOptions(sync="suite")
    # Before a session is there the broker keeps nothing for it.
    first = mqtt_driver(mosquitto_server, version=version)
    await scan(first, f"{topic}/+", options=options)
    await first.close()
    await bench.collect(f"held-{topic}", f"{topic}/target/#")

    async def put(count: int) -> Sequence[str]:
        nonlocal sent
        bodies = numbered(count, sent)
        sent += count
        # Without user properties, which MQTT 3.1.1 would not give us, the key is in the body.
        await bench.send(f"{topic}/one", bodies, user=[("message-id", "{id}")])
        return [str(body["id"]) for body in bodies]

    found: dict[str, Any] = {}

    async def held() -> Mapping[str, Any]:
        for message in await bench.collect(f"held-{topic}", f"{topic}/target/#"):
            assert isinstance(message.payload, bytes)
            value = loads(message.payload.decode())
            user = dict(getattr(message.properties, "UserProperty", ()))
            if user.get("platint-op") == "delete":
                found.pop(str(value["id"]))
            else:
                found[str(value["id"])] = value
        return found

    async def crash() -> None:
        # Not in another thread: the server would end with it.
        mosquitto_server.flush()
        mosquitto_server.kill()
        mosquitto_server.start_again()

    class MqttKit(Kit):
        def key_of(self, record: Any) -> str:
            return str(record.value["body"]["id"])

    return MqttKit(
        driver=lambda: mqtt_driver(mosquitto_server, version=version, topics=f"{topic}/+"),
        refused=lambda: mqtt_driver(mosquitto_server, version=version, password="wrong-canary-7d"),
        stream=f"{topic}/+",
        options=options,
        put=put,
        missing="no/#/filter",
        consumes=True,
        target=f"{topic}/target/rows",
        bad=lambda number: {"id": number, "name": "\ud800"},
        held=held,
        crash=crash,
    )


class TestMqtt(ReadSuite, WriteSuite):
    """A filter of Mosquitto with version 5."""


class TestOldMqtt(WriteSuite):
    """Version 3.1.1; reading is in `test_mqtt_reading`: there a broker sends only so many unacknowledged messages,
    and the suite acknowledges late."""

    @pytest.fixture
    def version(self) -> str:
        return "3.1.1"
