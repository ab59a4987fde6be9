"""The behaviour that every driver has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from drivers.amqp.conftest import Broker, amqp_driver, numbered
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.jsontext import loads
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


@pytest.fixture
async def kit(broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str) -> Kit:
    queue = await broker.queue(make_name)
    target = await broker.queue(f"{make_name}-target")
    sent = 0

    async def put(count: int) -> Sequence[str]:
        nonlocal sent
        bodies = numbered(count, sent)
        sent += count
        await broker.send(queue, bodies, message_id="{id}", content_type="application/json")
        return [body["id"] for body in bodies]

    async def held() -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for message in await broker.drain(target):
            value = loads(message.body)
            headers = message.header.properties.headers or {}
            if headers.get("platint-op") == "delete":
                found.pop(str(value["id"]))
            else:
                found[str(value["id"])] = value
        return found

    def bad(number: int) -> dict[str, Any]:
        return {"id": number, "name": "\ud800"}

    return Kit(
        driver=lambda: amqp_driver(rabbitmq_server),
        refused=lambda: amqp_driver(rabbitmq_server, password="wrong-canary-7d"),
        stream=queue,
        put=put,
        consumes=True,
        target=target,
        held=held,
        bad=bad,
    )


class TestAmqp(ReadSuite, WriteSuite):
    """A classic queue. A crash of the broker has tests of its own: it takes long to start."""
