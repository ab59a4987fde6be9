"""The SQS driver: what the manifest declares as requests, and beside it every queue as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    DeadQueue,
    Evolution,
    Field,
    JsonObject,
    NativeLetter,
    Page,
    ReadOptions,
    Returned,
    SchemaChange,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.discover import fields_of
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.sqs.api import Api, Measured
from platint_tui.drivers.sqs.consumer import Consumer
from platint_tui.drivers.sqs.letters import Letters
from platint_tui.drivers.sqs.probes import run_probe
from platint_tui.drivers.sqs.queues import FAMILY, MISSING, MOST_QUEUES, Queue, Queues, as_stream, name_of
from platint_tui.drivers.sqs.records import COUNT
from platint_tui.drivers.sqs.target import SqsTarget
from platint_tui.manifest import schema
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Source


class SqsDriver:
    """One account in one region. Streams `queue.<name>` are consumed; the others are those of the http driver."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError and CredentialError."""
        self._context = context
        self._http = HttpDriver(replace(context, telemetry=Measured(context.telemetry)))
        self._api = Api(self._http.session)
        self._own_url = context.profile.fields.get("queue_url", "")
        self._queues = Queues(self._api, self._own_url)
        self._letters = Letters(self._api, self._queues, context.clock)
        self._consumers: dict[str, Consumer] = {}

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order, those that need a queue on one that nobody misses."""
        done = []
        for outcome in await self._http.check():
            probe = next((item for item in self._context.connector.check if item.id == outcome.id), None)
            own = probe is not None and probe.open and outcome.tried
            done.append(
                await run_probe(self._api, self._queues, probe, self._own_url) if own and probe else outcome
            )
        return done

    async def discover(self) -> Sequence[Stream]:
        """The streams of the manifest and every queue. A credential that may not list the queues sees the one
        that the profile names. Raises CredentialError and what else the http driver raises."""
        try:
            found, complete = await self._queues.all()
            streams = list(await self._http.discover())
        except CredentialError:
            if not self._own_url:
                raise
            streams, complete = [], True
            found = [await self._queues.describe(name_of(self._own_url))]
        family = self._family
        notes = (family.description, *family.notes)
        streams += [as_stream(queue, fields_of(family), notes, family.needs) for queue in found]
        if not complete:
            told = f"There are more than {MOST_QUEUES:,} queues: the others are not listed."
            streams.append(Stream(f"{FAMILY}*", (), None, (), readable=False, notes=(told,), incomplete=True))
        return streams

    def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of `stream`. Those of a queue are what can be received now, whatever the position: the queue
        itself knows what was acknowledged."""
        if not stream.startswith(FAMILY):
            return self._http.read(stream, position, options)
        return self._consume(stream, options)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Queues are waited for."""
        return stream.startswith(FAMILY) and not options.peek

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Delete the messages of the pages up to `position`. Raises PlatintError; then they come again."""
        consumer = self._consumers.get(stream)
        if consumer is not None:
            await consumer.acknowledge(position)

    async def open_target(self, plan: TargetPlan) -> Target:
        """A queue to send to, made when it is missing and the contract lets tables be made; else a target of
        the http driver. Raises ConfigError."""
        if not plan.target.startswith(FAMILY):
            return await self._http.open_target(plan)
        name = _own(plan.target)
        queue = await self._existing(name)
        if queue is None:
            if plan.contract.tables is not Evolution.EVOLVE:
                raise _missing(name)
            await self._queues.create(name)
            queue = await self._queues.describe(name)
        return SqsTarget(self._http.session, plan, queue)

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The queue that `open_target` would make."""
        if not plan.target.startswith(FAMILY) or await self._existing(_own(plan.target)) is not None:
            return ()
        name = _own(plan.target)
        if plan.contract.tables is not Evolution.EVOLVE:
            raise _missing(name)
        return (
            SchemaChange("create_queue", plan.target, "", f"The queue {clean(name)} is made.", "CreateQueue"),
        )

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None for a queue, which takes any field; else what the http driver says."""
        return None if target.startswith(FAMILY) else await self._http.describe_target(target)

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """The queues that keep dead letters of others."""
        return await self._letters.queues()

    def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Messages of a dead-letter queue (see `Letters.browse`); each look counts as a receive."""
        return self._letters.browse(queue, limit)

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send a dead letter to the queue that it came from, then delete the old one."""
        return await self._letters.give_back(letter, idempotency_key)

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Delete a dead letter for good."""
        return await self._letters.discard(letter)

    async def redrive(self, queue: str, rate: int | None = None) -> str:
        """Have SQS move everything in a dead-letter queue back by itself, `rate` messages a second."""
        return await self._letters.redrive(queue, rate)

    async def close(self) -> None:
        """Give back what was received and not acknowledged, and release connections."""
        try:
            for consumer in self._consumers.values():
                await consumer.release()
            await self._letters.release()
        except PlatintError:
            pass  # what is hidden is shown again by itself
        finally:
            self._consumers.clear()
            await self._http.close()

    @property
    def _family(self) -> schema.Resource:
        return resource(self._context.connector, f"{FAMILY}x")

    async def _consume(self, stream: str, options: ReadOptions) -> AsyncIterator[Page]:
        name = _own(stream)
        queue = Queue(name, await self._queues.url(name))
        if options.peek:
            await self._check_look(name)
        source = self._family.source or Source(modes=("consume",))
        consumer = Consumer(self._api, queue, source, self._context.clock, counted=COUNT in options.columns)
        if not options.peek:
            before = self._consumers.pop(stream, None)
            if before is not None:
                await before.release()
            self._consumers[stream] = consumer
        async with aclosing(consumer.pages(follow=options.follow, peek=options.peek)) as pages:
            async for page in pages:
                yield page

    async def _check_look(self, name: str) -> None:
        """Raises ConfigError when one more receive would move messages to the dead-letter queue."""
        try:
            redrive = (await self._queues.describe(name)).redrive
        except CredentialError:
            return  # it may receive and not describe: then nobody can tell
        if redrive is not None and redrive[1] == 1:
            raise ConfigError(
                f"A look at {clean(name)} would send its messages to {clean(redrive[0])}: its redrive policy "
                "allows one receive.",
                where=clean(name),
                hint="Read it with a sync, or raise its maxReceiveCount.",
                code="receives",
            )

    async def _existing(self, name: str) -> Queue | None:
        try:
            return await self._queues.describe(name)
        except ConfigError as error:
            if error.code not in MISSING:
                raise
            self._queues.forget(name)
            return None
        except CredentialError:
            # It may send and not describe: the queue's own limits are not known then.
            return Queue(name, await self._queues.url(name))


def _own(stream: str) -> str:
    """The name of the queue of a stream."""
    return stream.removeprefix(FAMILY)


def _missing(name: str) -> ConfigError:
    return ConfigError(
        f"There is no queue {clean(name)}, and the contract of the stream is not to make one.",
        where=clean(name),
        hint="Make the queue, or set `contract: {tables: evolve}`.",
        code="no_queue",
    )


def open_sqs(context: DriverContext) -> SqsDriver:
    """The sqs driver of one profile."""
    return SqsDriver(context)
