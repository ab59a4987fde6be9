"""What a profile may do with messages: links are opened, nothing is sent or taken."""

from __future__ import annotations

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Capability
from platint_tui.core.text import clean
from platint_tui.drivers.servicebus.connection import Connection
from platint_tui.drivers.servicebus.entities import Entity
from platint_tui.drivers.servicebus.receiver import opened
from platint_tui.drivers.servicebus.target import ServicebusTarget
from platint_tui.manifest import schema

LISTEN = "receive"
SEND = "send"


async def run_probe(connection: Connection, probe: schema.Probe, entities: list[Entity]) -> Capability:
    """A probe by its id: `receive` looks at the dead letters of an entity (the same right, and nobody waits for
    them), `send` opens a sender. Its failure is an outcome with its sentence, never an exception."""
    kinds = ("queue", "subscription") if probe.id == LISTEN else ("queue", "topic")
    entity = next((item for item in entities if item.kind in kinds), None)
    if entity is None:
        told = "Not tried: no queue is known; name one in the profile."
        return Capability(probe.id, False, True, told, tried=False)
    clock = connection.context.clock
    started = clock.monotonic()
    try:
        if probe.id == LISTEN:
            async with opened(connection, entity, dead=True) as receiver:
                await receiver.peek_messages(max_message_count=1, sequence_number=1)
        else:
            target = ServicebusTarget(connection, entity, 1)
            try:
                await target.open()
            finally:
                await target.close()
    except PlatintError as error:
        return Capability(probe.id, False, probe.optional, error.sentence(), error_class=error.error_class)
    latency = (clock.monotonic() - started) * 1000
    return Capability(probe.id, True, probe.optional, f"Allowed on {clean(entity.path)}", latency)
