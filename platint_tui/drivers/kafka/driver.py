"""The Kafka driver: one cluster, its topics read and written, and the dead letters in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from platint_tui.core.errors import PlatintError, TransientError
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
    SchemaChange,
    Stream,
    TargetPlan,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka import deadletters, target
from platint_tui.drivers.kafka.address import address_of
from platint_tui.drivers.kafka.cluster import Cluster, connected
from platint_tui.drivers.kafka.codes import error_of
from platint_tui.drivers.kafka.deadletters import DeadTopics
from platint_tui.drivers.kafka.discover import discover, groups, marked_topics, user_topics
from platint_tui.drivers.kafka.offsets import Committed, commit, end_offsets, first_offsets, leaders_of
from platint_tui.drivers.kafka.reader import Reader, offsets_of
from platint_tui.drivers.kafka.target import KafkaTarget, counted
from platint_tui.drivers.retries import Retries
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Probe
from platint_tui.manifest.sources import Source


class KafkaDriver:
    """One cluster. The profile has bootstrap_servers, security_protocol, sasl_mechanism, user, ca_file, client_id and
    group_prefix; its secret is password.

    Where reading stands is our own position. After a commit the offsets are also committed to the consumer group
    `<group_prefix><sync>.<stream>`, so that other tools see the lag; nobody joins that group.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._cluster: Cluster | None = None
        self._opening = asyncio.Lock()
        self._groups: dict[str, str] = {}
        self._committed: dict[str, dict[int, int]] = {}

    @contextlib.asynccontextmanager
    async def _shared(self) -> AsyncIterator[Cluster]:
        """The connections for short questions; after a lost one the next question opens them again."""
        async with self._opening:
            if self._cluster is None:
                cluster = Cluster(self._address, self._context)
                try:
                    await cluster.open()
                except BaseException:
                    await cluster.close()
                    raise
                self._cluster = cluster
            cluster = self._cluster
        try:
            yield cluster
        except TransientError:
            if self._cluster is cluster:
                self._cluster = None
            await cluster.close()
            raise

    async def check(self) -> Sequence[Capability]:
        """Connect, then ask what the probes of the manifest are for: topics, groups."""
        clock = self._context.clock
        results: list[Capability] = []
        for probe in self._context.connector.check:
            if results and not results[0].ok:
                skipped = "Not tried: the cluster cannot be reached."
                results.append(Capability(probe.id, False, probe.optional, skipped, tried=False))
                continue
            started = clock.monotonic()
            try:
                ok, kind, detail = True, "", await self._probe(probe)
            except PlatintError as error:
                ok, kind, detail = False, error.error_class.value, error.sentence()
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {probe.id}", seconds, ok)
            results.append(Capability(probe.id, ok, probe.optional, detail, seconds * 1000, kind))
        return results

    async def _probe(self, probe: Probe) -> str:
        async with self._shared() as cluster:
            if probe.query == "topics":
                found = await user_topics(cluster)
                denied = [item for item in found if item.code]
                if found and len(denied) == len(found):
                    raise error_of(denied[0].code, self._address, topic=denied[0].name)
                return counted(len(found), "topic")
            if probe.query == "groups":
                return counted(len(await groups(cluster)), "consumer group")
            place = cluster.brokers.get(cluster.controller)
            controller = f", controller {clean(place[0])}:{place[1]}" if place else ""
            named = f" {clean(cluster.id)}" if cluster.id else ""
            return f"Kafka cluster{named}: {counted(len(cluster.brokers), 'broker')}{controller}"

    async def discover(self) -> Sequence[Stream]:
        """The topics but Kafka's own. Raises CredentialError, ConfigError, TransientError."""
        async with self._shared() as cluster:
            return await discover(cluster)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Every topic can be followed."""
        return True

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of messages from the position; a scan ends at the ends that the partitions had at its start.

        Raises ConfigError without such a topic or the right to read it, PositionLost when the retention has
        passed the position, TransientError when a broker is lost.
        """
        source = resource(self._context.connector, stream).source or Source(modes=("consume",))
        if options.sync and self._address.prefix and not options.peek:
            self._groups[stream] = f"{self._address.prefix}{options.sync}.{stream}"
            self._committed.pop(stream, None)
        async with connected(self._address, self._context) as cluster:
            reader = Reader(cluster, stream, options, source, self._context)
            pages = reader.pages(position)
            async with contextlib.aclosing(pages):
                async for page in pages:
                    yield page

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Commit the offsets to the group of the sync. Raises ConfigError when that is not allowed."""
        group = self._groups.get(stream)
        known = self._committed.setdefault(stream, {})
        wanted = {
            item: offset for item, offset in (offsets_of(position) or {}).items() if known.get(item) != offset
        }
        if group is None or not wanted:
            return

        async def send() -> None:
            async with self._shared() as cluster:
                offsets = {item: Committed(offset) for item, offset in wanted.items()}
                await commit(cluster, group, stream, offsets)

        await Retries(self._context, f"commit {stream}").run(send)
        known |= wanted

    async def open_target(self, plan: TargetPlan) -> KafkaTarget:
        """The topic `plan.target`, created when it is missing and the contract allows that.

        Raises ConfigError, CredentialError, TransientError.
        """
        return await target.open_target(self._address, plan, self._context)

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The topic that `open_target` would create."""
        return await target.plan_target(self._address, plan, self._context)

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a topic takes any field."""
        return None

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """The topics that hold dead letters, by their names or the headers of their messages."""
        async with self._shared() as cluster:
            topics = [item for item in await user_topics(cluster) if not item.code and item.leaders]
            others = [item for item in topics if deadletters.origin_by_name(item.name) is None]
            leaders = leaders_of({item.name: item.leaders for item in others})
            marked = await marked_topics(
                cluster, others, await first_offsets(cluster, leaders), await end_offsets(cluster, leaders)
            )
            held = self._dead(cluster)
            return [
                await held.queue(item)
                for item in topics
                if item.name in marked or deadletters.origin_by_name(item.name) is not None
            ]

    async def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` dead letters that nobody has dealt with, oldest first; nothing is committed."""
        async with connected(self._address, self._context) as cluster:
            letters = self._dead(cluster).browse(queue, limit)
            async with contextlib.aclosing(letters):
                async for letter in letters:
                    yield letter

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Produce it to its origin, then note it as dealt with: it cannot be taken out of its topic."""
        async with self._shared() as cluster:
            return await self._dead(cluster).give_back(letter, idempotency_key)

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Note it as dealt with; it stays in its topic until the retention has passed."""
        async with self._shared() as cluster:
            return await self._dead(cluster).discard(letter)

    def _dead(self, cluster: Cluster) -> DeadTopics:
        prefix = self._address.prefix
        return DeadTopics(cluster, self._context, f"{prefix}{deadletters.GROUP}" if prefix else "")

    async def close(self) -> None:
        """Close the connections that are not those of a reader or a target."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.close()
