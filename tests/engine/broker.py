"""A scripted broker: a driver from outside that loses connections, positions and answers when a test says so.

Real brokers are used in tests/drivers; what is here is what they cannot be made to do at a given moment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from engine.support import Installation

from platint_tui.core.errors import PlatintError, PositionLost, TransientError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    DeadQueue,
    Field,
    Gap,
    JsonObject,
    NativeLetter,
    Op,
    Page,
    ReadOptions,
    Record,
    Returned,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.drivers import base
from platint_tui.drivers.base import DriverContext

MANIFEST = """
manifest: 1
platform: scripted
name: Scripted broker
version: 1.0.0
category: queue
docs: https://example.org/
driver: python:scripted
profile: {fields: [{id: host}]}
auth: {type: driver}
errors: {policy: {attempts: 3, base: 10ms, cap: 50ms}}
check: [{id: open, open: true}]
discover: {type: introspect}
resources: {'*': {key: [id], source: {modes: [consume]}, notes: []}}
tests: [{name: x, kind: error, code: gone, expect: {class: record, action: dead_letter}}]
"""
INTEGRATION = """
integration: orders
platforms:
  - {name: scripted, profile: broker, type: sync, endpoints: [orders]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_frequency: FREQUENCY
"""


@dataclass
class Broker:
    """What the broker holds, what was done to it, and what goes wrong next."""

    messages: list[tuple[int, dict[str, Any], Op]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    asked: list[ReadOptions] = field(default_factory=list)
    lose: int = 0
    """How many times the connection is lost, each after the first page that is read."""
    lost_position: bool = False
    dead: list[NativeLetter] = field(default_factory=list)
    returned: list[tuple[str, bytes, str]] = field(default_factory=list)
    hidden: int = 0
    """Dead letters that count in the queue's depth and are not shown."""
    outcome: str = "sent"
    on_acknowledge: Callable[[int], None] = lambda number: None
    released: list[str] = field(default_factory=list)
    number: int = 0

    def put(self, *values: dict[str, Any], op: Op = Op.UPSERT) -> None:
        for value in values:
            self.number += 1
            self.messages.append((self.number, value, op))

    def kill(self, name: str, payload: bytes, origin: str = "orders", *, alike: bool = False) -> None:
        properties = {"headers": {"a": "1"}}
        letter = NativeLetter(name, "orders.dead", origin, "rejected", payload, properties, alike=alike)
        self.dead.append(letter)

    def take(self, name: str) -> None:
        """Remove one of the letters of this name."""
        self.dead.remove(next(item for item in self.dead if item.id == name))


class ScriptedDriver:
    """One connection to the broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def check(self) -> Sequence[Capability]:
        return [Capability("open", True, False, "open")]

    async def discover(self) -> Sequence[Stream]:
        return [Stream("orders", ("id",), None, (), kind="queue", modes=("consume",))]

    def follows(self, stream: str, options: ReadOptions) -> bool:
        return True

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        broker = self.broker
        broker.asked.append(options)
        gaps: list[Gap] = []
        at = int(position["at"]) if position else 0
        if broker.lost_position and position:
            if options.on_lost != "skip":
                raise PositionLost("The log was cut.", hint="Recover it.")
            broker.lost_position = False
            gaps = [Gap("the log was cut", str(at), str(broker.number))]
            at = broker.number
            yield Page([], {"at": at}, False, gaps=gaps)
        while True:
            waiting = [item for item in broker.messages if item[0] > at][:5]
            for number, _, _ in waiting:
                at = number
            records = [Record(json.dumps(value), value, op) for _, value, op in waiting]
            if waiting or options.follow:
                yield Page(records, {"at": at}, False, happened=[1_000] * len(records))
            if broker.lose and waiting:
                broker.lose -= 1
                raise TransientError("The connection was reset.")
            if not waiting and not options.follow:
                yield Page([], {"at": at}, True)
                return
            await asyncio.sleep(0.01)

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        broker = self.broker
        for number, _, _ in broker.messages:
            if number <= position["at"] and number not in broker.acknowledged:
                broker.on_acknowledge(number)
                broker.acknowledged.append(number)

    async def release(self, sync: str, stream: str) -> None:
        self.broker.released.append(f"{sync}/{stream}")

    async def open_target(self, plan: TargetPlan) -> Target:
        raise AssertionError("the broker is a source here")

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        return None

    async def dead_queues(self) -> Sequence[DeadQueue]:
        return [
            DeadQueue("orders.dead", "queue", "orders", len(self.broker.dead) + self.broker.hidden, 1_000)
        ]

    async def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        for letter in list(self.broker.dead)[:limit]:
            yield letter

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        if self.broker.outcome == "away":
            raise TransientError("The broker is away.")
        if self.broker.outcome != "sent":
            return Returned(self.broker.outcome, "as the test says")
        self.broker.returned.append((letter.origin, letter.payload, idempotency_key))
        self.broker.take(letter.id)
        return Returned("sent")

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        self.broker.take(letter.id)
        return Returned("sent")

    async def close(self) -> None: ...


def plug_in(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker, and its driver as an installed package would bring it."""
    broker = Broker()

    class Point(EntryPoint):
        def load(self) -> Any:
            def open_scripted(context: DriverContext) -> ScriptedDriver:
                return ScriptedDriver(broker)

            return open_scripted

    points = [Point("scripted", "nowhere:open", "platint_tui.drivers")]
    monkeypatch.setattr(base, "entry_points", lambda group: points if group == "platint_tui.drivers" else [])
    return broker


async def set_up(installation: Installation, frequency: str = "on_demand") -> str:
    """Profiles and the integration `orders`; returns its name."""
    folder = installation.paths.connectors
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scripted.yaml").write_text(MANIFEST)
    await installation.profile("broker", "scripted", {"host": "nowhere"})
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    return await installation.integrate(INTEGRATION.replace("FREQUENCY", frequency))


__all__ = ["Broker", "PlatintError", "plug_in", "set_up"]
