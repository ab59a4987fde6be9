"""Reading a topic: fetches from the leaders of its partitions, and pages of what they bring.

The position is `{"offsets": {"<partition>": <next offset>}}`, and it is ours: no group is joined, and what a group
has committed has no say in where reading begins. A partition that the position does not know is new and is read
from its beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from platint_tui.core.errors import PlatintError, PositionLost, SystemicError, TransientError
from platint_tui.core.model import BadElement, Gap, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.cluster import Cluster
from platint_tui.drivers.kafka.codes import MOVED, OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC, error_of
from platint_tui.drivers.kafka.fetched import (
    PARTITION_BYTES,
    READ_COMMITTED,
    Broken,
    Fetched,
    Part,
    fetched,
    parts_of,
)
from platint_tui.drivers.kafka.offsets import (
    complete,
    end_offsets,
    first_offsets,
    leaders_of,
)
from platint_tui.drivers.kafka.records import Decoder, Message, broken_batch, deletes_by_key
from platint_tui.manifest.sources import Source

ALIVE_SECONDS = 5.0
METADATA_SECONDS = 10.0
BEHIND_SECONDS = 10.0
_FETCH_BYTES = 8 * 1024 * 1024
_PAGE_BYTES = 2 * 1024 * 1024
_WAIT_MS, _SCAN_WAIT_MS = 500, 100
_MOST_MOVES = 40
_MOVE_SECONDS = 0.25
"""The metadata are asked for so often, and so long apart, before a partition without a leader is a failure."""


@dataclass
class _Page:
    """A page in the making."""

    records: list[Record] = field(default_factory=list)
    bad: list[BadElement] = field(default_factory=list)
    happened: list[int] = field(default_factory=list)
    size: int = 0

    def full(self, chunk: int) -> bool:
        """Whether it is to be given out."""
        return len(self.records) + len(self.bad) >= chunk or self.size >= _PAGE_BYTES


class Reader:
    """One reading of one topic, over a cluster of its own. `pages` is called once."""

    def __init__(
        self, cluster: Cluster, topic: str, options: ReadOptions, source: Source, context: DriverContext
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._options = options
        self._source = source
        self._context = context
        self._decoder = Decoder(topic, deletes=deletes_by_key(options.key), largest=source.max_message)
        self._leaders: dict[int, int] = {}
        self._ahead: dict[int, int] = {}
        """The offset to ask for next; partitions that brought something lately stand last."""
        self._read: dict[int, int] = {}
        """The offset after what was given out: the position."""
        self._ends: dict[int, int] = {}
        """Of a scan: where each partition ends for it."""
        self._flying: dict[int, asyncio.Task[Any]] = {}
        self._behind: dict[int, float] = {}
        """Since when a partition seems to end before the offset that comes next."""
        self._gaps: list[Gap] = []
        self._anew = False
        self._moves = 0

    async def pages(self, position: JsonObject | None) -> AsyncGenerator[Page, None]:
        """Pages from `position`. Raises ConfigError, PositionLost, TransientError, SystemicError."""
        clock = self._context.clock
        try:
            await self._begin(position)
            # Where reading began is kept before the first message: it would be another place the next time.
            yield self._page(_Page())
            told = learned = clock.monotonic()
            while self._wanted():
                answers = await self._answers()
                self._fetch()  # the next ones are on their way while these are taken apart
                for page in self._pages_of(answers):
                    told = clock.monotonic()
                    yield page
                now = clock.monotonic()
                if self._gaps or (self._options.follow and now - told >= ALIVE_SECONDS):
                    told = now
                    yield self._page(_Page())
                if self._options.follow and now - learned >= METADATA_SECONDS:
                    learned = now
                    await self._learn()
                    if min(self._leaders.values()) < 0:
                        self._miss(10)  # the others go on, but not for long: somebody has to know
            yield self._page(_Page(), last=True)
        finally:
            await self._ground()

    async def _begin(self, position: JsonObject | None) -> None:
        """Where each partition is read from."""
        found = await self._cluster.topic(self._topic)
        self._leaders = found.leaders
        known = offsets_of(position)
        if known is None and self._source.start == "latest":
            self._go_to(await self._ask_offsets(end_offsets, self._leaders))
            return
        self._go_to(known or {})
        await self._welcome()

    def _go_to(self, offsets: Mapping[int, int]) -> None:
        self._ahead, self._read = dict(offsets), dict(offsets)
        self._ends.clear()
        self._behind.clear()

    async def _welcome(self) -> None:
        """Take up partitions that are new, from their beginning, and give up those that are gone."""
        for partition in sorted(set(self._ahead) - set(self._leaders)):
            if partition in self._ahead:
                await self._lose(partition)
        new = {item: node for item, node in self._leaders.items() if item not in self._ahead}
        if new:
            starts = await self._ask_offsets(first_offsets, new)
            self._ahead |= starts
            self._read |= starts

    async def _ask_offsets(self, ask: Any, partitions: Mapping[int, int]) -> dict[int, int]:
        leaders = leaders_of({self._topic: partitions})
        found = await ask(self._cluster, leaders)
        complete(found, leaders, self._cluster)
        return {item: offset for (_, item), offset in found.items()}

    def _wanted(self) -> bool:
        """Whether there is something left to ask for: always, or until every partition has come to its end."""
        return self._options.follow or any(not self._ended(item) for item in self._ahead)

    def _ended(self, partition: int) -> bool:
        end = self._ends.get(partition)
        return not self._options.follow and end is not None and self._ahead[partition] >= end

    def _fetch(self) -> None:
        """Ask every leader that is not being asked for what is wanted of its partitions."""
        by_node: dict[int, list[tuple[int, int, int]]] = {}
        for partition, offset in self._ahead.items():
            node = self._leaders.get(partition, -1)
            if node >= 0 and node not in self._flying and not self._ended(partition):
                by_node.setdefault(node, []).append((partition, offset, PARTITION_BYTES))
        wait = _WAIT_MS if self._options.follow else _SCAN_WAIT_MS
        for node, partitions in by_node.items():
            request = FetchRequest(wait, 1, _FETCH_BYTES, READ_COMMITTED, [(self._topic, partitions)])
            self._flying[node] = asyncio.create_task(self._ask(node, request))

    async def _ask(self, node: int, request: Any) -> Any:
        clock, telemetry = self._context.clock, self._context.telemetry
        started = clock.monotonic()
        try:
            answer = await self._cluster.ask(request, node)
        except PlatintError:
            telemetry.observe(f"fetch {self._topic}", clock.monotonic() - started, False)
            raise
        if any(part.data for part in parts_of(answer)):
            # How long a topic was quiet is no latency.
            telemetry.observe(f"fetch {self._topic}", clock.monotonic() - started, True)
        return answer

    async def _answers(self) -> list[Fetched]:
        """What the next broker to answer brings."""
        self._fetch()
        if not self._flying:
            await self._move()
            return []
        done, _ = await asyncio.wait(self._flying.values(), return_when=asyncio.FIRST_COMPLETED)
        found: list[Fetched] = []
        moved = False
        lost: list[int] = []
        for node in [node for node, task in self._flying.items() if task in done]:
            answer = self._flying.pop(node).result()
            if getattr(answer, "error_code", 0):
                raise error_of(answer.error_code, self._cluster.address, topic=self._topic)
            for part in parts_of(answer):
                moved |= self._take(part, found, lost)
        for partition in lost:
            if await self._look_for(partition):
                return []
        if moved:
            await self._move()
        elif self._behind:
            await self._context.clock.sleep(_MOVE_SECONDS)
        elif found and min(self._leaders.values()) >= 0:
            self._moves = 0
        return found

    def _take(self, part: Part, found: list[Fetched], lost: list[int]) -> bool:
        """Note what came of one partition; True when its leader has changed."""
        partition, offset = part.partition, self._ahead.get(part.partition)
        if offset is None:
            return False
        if part.code in MOVED or part.code == UNKNOWN_TOPIC:
            return True
        if part.code == OFFSET_OUT_OF_RANGE:
            lost.append(partition)
            return False
        if part.code:
            raise error_of(part.code, self._cluster.address, topic=self._topic)
        if part.high < offset:
            # A new leader may not know for a moment how far the others are. Later the topic was made anew.
            now = self._context.clock.monotonic()
            if now - self._behind.setdefault(partition, now) >= BEHIND_SECONDS:
                lost.append(partition)
            return False
        self._behind.pop(partition, None)
        self._ends.setdefault(partition, part.stable)
        taken = fetched(offset, part)
        if taken.after > offset:
            del self._ahead[partition]
            self._ahead[partition] = taken.after
            found.append(taken)
        return False

    def _pages_of(self, answers: Sequence[Fetched]) -> Iterator[Page]:
        """The pages of what some partitions brought; the position goes with them."""
        making = _Page()
        for found in answers:
            end = None if self._options.follow else self._ends.get(found.partition)
            for message in found.messages():
                if isinstance(message, Broken):
                    making.bad.append(broken_batch(self._topic, found.partition, *message))
                    self._read[found.partition] = message.after
                    continue
                if end is not None and message.offset >= end:
                    break
                self._add(making, found.partition, message)
                if making.full(self._source.chunk):
                    yield self._page(making)
                    making = _Page()
            after = found.after if end is None else min(found.after, max(end, found.start))
            self._read[found.partition] = after
        if making.records or making.bad:
            yield self._page(making)

    def _add(self, making: _Page, partition: int, message: Message) -> None:
        record = self._decoder.decode(partition, message)
        making.size += len(record.raw)
        if isinstance(record, BadElement):
            making.bad.append(record)
        else:
            making.records.append(record)
            if message.timestamp > 0:
                making.happened.append(message.timestamp)
        self._read[partition] = message.offset + 1

    def _page(self, making: _Page, *, last: bool = False) -> Page:
        gaps, self._gaps = tuple(self._gaps), []
        position = {"offsets": {str(item): self._read[item] for item in sorted(self._read)}}
        return Page(making.records, position, last, 1, making.size, making.bad, making.happened, gaps)

    async def _look_for(self, partition: int) -> bool:
        """Find out where a partition begins and ends now, when its offset is said to be in neither. True when the
        whole topic is read anew.
        """
        one = {partition: self._leaders[partition]}
        begin = (await self._ask_offsets(first_offsets, one))[partition]
        end = (await self._ask_offsets(end_offsets, one))[partition]
        if begin <= self._ahead[partition] <= end:
            await self._move()  # whoever said so may not be the leader any more
            return False
        return await self._lose(partition, begin, end)

    async def _lose(self, partition: int, begin: int = 0, end: int = 0) -> bool:
        """What comes next is not there: go on as `on_lost` says. True when the whole topic is read anew. Raises
        PositionLost.
        """
        topic, offset = clean(self._topic), self._ahead[partition]
        first, after = offset, begin
        if partition not in self._leaders:
            reason = f"Partition {partition} of '{topic}' is gone: the topic was made anew."
        elif offset < begin:
            reason = (
                f"The retention of '{topic}' has passed what was not read yet: partition {partition} begins at "
                f"offset {begin}, and {offset} comes next."
            )
        else:
            first, after = end, offset
            reason = (
                f"Partition {partition} of '{topic}' ends at offset {end}, and {offset} comes next: the topic was "
                "made anew, or has lost messages."
            )
        if self._options.on_lost not in ("skip", "resnapshot"):
            raise PositionLost(
                reason,
                where=self._cluster.address.where,
                hint="Read the topic again from its beginning (resnapshot), or go on with what is there (skip).",
            )
        there = partition in self._leaders
        place = f"{self._topic}/{partition}"
        self._gaps.append(Gap(reason, f"{place}/{first}", f"{place}/{after}" if there else ""))
        if self._options.on_lost == "resnapshot" and not self._anew:
            self._anew = True  # what is lost from now on, at the beginning, is lost for every reader
            await self._ground()
            self._go_to(await self._ask_offsets(first_offsets, self._leaders))
            return True
        if there:
            self._ahead[partition] = self._read[partition] = max(begin, min(offset, end))
            self._ends.pop(partition, None)
        else:
            del self._ahead[partition], self._read[partition]
        self._behind.pop(partition, None)
        return False

    async def _move(self) -> None:
        """A leader has changed, or is missing: learn the leaders again after a moment."""
        self._miss(1)
        await self._context.clock.sleep(_MOVE_SECONDS)
        await self._learn()

    def _miss(self, weight: int) -> None:
        """A leader is missing. Raises TransientError when that has been so for a while."""
        self._moves += weight
        if self._moves > _MOST_MOVES:
            raise TransientError(
                f"A partition of '{clean(self._topic)}' stays without a leader.",
                where=self._cluster.address.where,
                code="LEADER_NOT_AVAILABLE",
            )

    async def _learn(self) -> None:
        """Learn the leaders again; new partitions are read from their beginning."""
        self._leaders = (await self._cluster.topic(self._topic)).leaders
        if self._options.follow:
            await self._welcome()

    async def _ground(self) -> None:
        """Give up what is being asked."""
        flying, self._flying = list(self._flying.values()), {}
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


def offsets_of(position: JsonObject | None) -> dict[int, int] | None:
    """The offsets in a position, None without one. Raises SystemicError for one that we did not write."""
    if position is None:
        return None
    try:
        return {int(name): int(offset) for name, offset in position["offsets"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SystemicError(
            "The position of this stream is not one of a topic.",
            hint="Reset the stream to read it from the beginning.",
            code="position",
        ) from None
