"""The Service Bus driver: what the manifest declares as requests, and the messages of queues, topics and
subscriptions beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    DeadQueue,
    Field,
    JsonObject,
    NativeLetter,
    Page,
    ReadOptions,
    Returned,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.discover import fields_of
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.servicebus.connection import Connection, needs_sessions
from platint_tui.drivers.servicebus.entities import (
    MOST_ENTITIES,
    Entity,
    Management,
    as_stream,
    entity_of,
    named_entities,
)
from platint_tui.drivers.servicebus.letters import Letters
from platint_tui.drivers.servicebus.probes import run_probe
from platint_tui.drivers.servicebus.receiver import Receiver, look
from platint_tui.drivers.servicebus.records import COUNT
from platint_tui.drivers.servicebus.target import ServicebusTarget
from platint_tui.manifest import schema
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Sink, Source

_NOT_LISTED = (CredentialError, TransientError)
"""What the management may answer while messages can be received and sent all the same."""


class ServicebusDriver:
    """One namespace. Streams `queue.<name>` and `subscription.<topic>/<name>` are consumed, `queue.<name>` and
    `topic.<name>` sent to; the others are those of the http driver."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError and CredentialError."""
        self._context = context
        self._http = HttpDriver(context)
        self._connection = Connection(context, self._http.session)
        self._management = Management(self._http)
        fields = context.profile.fields
        self._named = named_entities(fields.get("entities", ""))
        self._letters = Letters(
            self._connection, self._management, fields.get("subscription_letters") == "topic"
        )
        self._receivers: dict[str, Receiver] = {}

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order. Where the profile names its entities, the management need not
        be allowed."""
        probes = {item.id: item for item in self._context.connector.check}
        told = await self._http.check()
        managed = all(item.ok for item in told if item.tried and not _is_open(probes, item))
        entities = self._named or (await self._management.some() if managed else [])
        done = []
        for outcome in told:
            probe = probes.get(outcome.id)
            if probe is not None and probe.open and (outcome.tried or self._named):
                outcome = await run_probe(self._connection, probe, entities)
            elif not outcome.ok and self._named:
                outcome = replace(outcome, optional=True)
            done.append(outcome)
        return done

    async def discover(self) -> Sequence[Stream]:
        """The streams of the manifest, and every entity; those that the profile names when the management may not
        be asked. Raises CredentialError and what else the http driver raises."""
        try:
            entities, complete = await self._management.entities()
            streams = list(await self._http.discover())
        except _NOT_LISTED:
            if not self._named:
                raise
            entities, complete, streams = self._named, True, []
        for entity in entities:
            family = self._family(entity.stream)
            notes = (family.description, *family.notes)
            streams.append(as_stream(entity, fields_of(family), notes, family.needs))
        if not complete:
            told = f"There are more than {MOST_ENTITIES:,} queues, topics and subscriptions: the others are not listed."
            streams.append(Stream("queue.*", (), None, (), readable=False, notes=(told,), incomplete=True))
        return streams

    def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of `stream`. Those of a queue or subscription are what can be received now, whatever the
        position: the service itself knows what was completed."""
        entity = entity_of(stream)
        if entity is None:
            return self._http.read(stream, position, options)
        return self._receive(stream, entity, options)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Queues and subscriptions are waited for."""
        return stream.startswith(("queue.", "subscription.")) and not options.peek

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Complete the messages of the pages up to `position`. Raises PlatintError; then they come again."""
        receiver = self._receivers.get(stream)
        if receiver is not None:
            await receiver.acknowledge(position)

    async def open_target(self, plan: TargetPlan) -> Target:
        """A queue or topic to send to; else a target of the http driver. Raises ConfigError, CredentialError."""
        entity = entity_of(plan.target)
        if entity is None:
            return await self._http.open_target(plan)
        if entity.kind == "subscription":
            raise ConfigError(
                f"Nothing can be sent to a subscription: '{clean(plan.target)}'.",
                where=clean(plan.target),
                hint=f"Send to topic.{clean(entity.name)}.",
                code="not_writable",
            )
        sink = self._family(plan.target).sink or Sink()
        described = await self._management.describe(entity)
        target = ServicebusTarget(self._connection, described, sink.batch)
        await target.open()
        return target

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None for a queue or topic, which takes any field; else what the http driver says."""
        return await self._http.describe_target(target) if entity_of(target) is None else None

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """The dead-letter subqueues of every queue and subscription."""
        try:
            entities, _ = await self._management.entities()
        except _NOT_LISTED:
            if not self._named:
                raise
            entities = self._named
        return await self._letters.queues(entities)

    def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Messages of a dead-letter subqueue, which stay as they are."""
        return self._letters.browse(queue, limit)

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send a dead letter to where it came from, then complete the old one."""
        return await self._letters.give_back(letter, idempotency_key)

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Remove a dead letter for good."""
        return await self._letters.discard(letter)

    async def close(self) -> None:
        """Give back what was received and not acknowledged, and release connections."""
        receivers, self._receivers = self._receivers, {}
        try:
            await asyncio.gather(*(receiver.close() for receiver in receivers.values()))
        finally:
            await self._http.close()

    def _family(self, stream: str) -> schema.Resource:
        return resource(self._context.connector, f"{stream.partition('.')[0]}.x")

    async def _receive(self, stream: str, entity: Entity, options: ReadOptions) -> AsyncIterator[Page]:
        if entity.kind == "topic":
            raise ConfigError(
                f"A topic is read by its subscriptions: '{clean(stream)}' cannot be read.",
                where=clean(stream),
                hint=f"Name one like subscription.{clean(entity.name)}/NAME.",
                code="not_readable",
            )
        counted = COUNT in options.columns
        if options.peek:
            pages = look(self._connection, entity, counted=counted)
        else:
            described = await self._management.describe(entity)
            if described.sessions:
                raise needs_sessions(entity.path, clean(stream))
            source = self._family(stream).source or Source(modes=("consume",))
            receiver = Receiver(self._connection, described, source, follow=options.follow, counted=counted)
            before = self._receivers.pop(stream, None)
            if before is not None:
                await before.close()
            self._receivers[stream] = receiver
            pages = receiver.pages()
        async with aclosing(pages):  # type: ignore[type-var]  # both are generators
            async for page in pages:
                yield page


def _is_open(probes: dict[str, schema.Probe], outcome: Capability) -> bool:
    """Whether an outcome is of a probe over AMQP, which the http driver cannot run."""
    probe = probes.get(outcome.id)
    return probe is not None and bool(probe.open)


def open_servicebus(context: DriverContext) -> ServicebusDriver:
    """The servicebus driver of one profile."""
    return ServicebusDriver(context)
