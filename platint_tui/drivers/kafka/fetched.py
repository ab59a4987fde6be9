"""Taking apart what a broker answers to a fetch: batches, without what was never committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka.errors import UnsupportedCodecError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.text import clean
from platint_tui.drivers.kafka.cluster import Cluster
from platint_tui.drivers.kafka.codes import error_of
from platint_tui.drivers.kafka.records import Message

READ_COMMITTED = 1
"""The isolation level: nothing of open or aborted transactions."""
PARTITION_BYTES = 1024 * 1024
_LOOK_MS = 100
_LOG_OVERHEAD = 12
"""Bytes of a batch before what its length counts: the offset (8) and the length itself (4)."""


class Broken(NamedTuple):
    """A batch, or the rest of one, that cannot be taken apart: offsets `first` to before `after`, and why."""

    first: int
    after: int
    data: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one partition, asked for from `start` on: `after` is the offset to ask for next.

    `end` is the last stable offset: what lies before it is committed. `batches` stand with where they begin and
    end in `data`.
    """

    partition: int
    start: int
    after: int
    end: int
    data: bytes
    batches: Sequence[tuple[Any, int, int]]
    aborted: Sequence[tuple[int, int]]

    def messages(self) -> Iterator[Message | Broken]:
        """The committed messages in order, from `start` on. Raises SystemicError for a wrong checksum."""
        aborted = sorted(self.aborted, key=lambda item: item[1])
        ended: set[int] = set()
        for batch, begin, close in self.batches:
            if not batch.validate_crc():
                raise SystemicError(
                    f"A batch of partition {self.partition} before offset {batch.next_offset} has a wrong checksum.",
                    hint="It was damaged on the way or at the broker: read again, then look at the broker's disk.",
                    code="CORRUPT_MESSAGE",
                )
            producer = batch.producer_id
            if producer is not None:
                while aborted and aborted[0][1] <= batch.base_offset:
                    ended.add(aborted.pop(0)[0])
                if batch.is_control_batch:
                    # The marker at the end of a transaction; an aborted one of this producer ends here.
                    if any(ControlRecord.parse(item.key) == ABORT_MARKER for item in batch):
                        ended.discard(producer)
                    continue
                if batch.is_transactional and producer in ended:
                    continue
            yield from self._of_batch(batch, self.data[begin:close])

    def _of_batch(self, batch: Any, data: bytes) -> Iterator[Message | Broken]:
        # Batches of the old formats (before 0.11) do not say where they begin.
        following = max(self.start, getattr(batch, "base_offset", self.start))
        try:
            for message in batch:
                if message.offset >= self.start:
                    yield message
                    following = message.offset + 1
        except UnsupportedCodecError as error:
            raise ConfigError(
                f"The messages are compressed in a way that cannot be read here: {clean(str(error))}.",
                hint="Install it with: pip install 'platint-tui[kafka]'",
                code="missing_extra",
            ) from None
        except Exception as error:  # every compression has errors of its own
            yield Broken(following, batch.next_offset, data, clean(str(error))[:200])


class Part(NamedTuple):
    """What an answer to a fetch says of one partition: an error code, the high watermark, the last stable offset,
    the aborted transactions (producer, first offset) and the bytes of the batches.
    """

    partition: int
    code: int
    high: int
    stable: int
    aborted: Sequence[tuple[int, int]]
    data: bytes


def parts_of(answer: Any) -> Iterator[Part]:
    """The partitions in an answer to a fetch of one topic.

    The members are those of FetchResponse 4 to 11: partition, error, high watermark, last stable offset, (from 5
    on) log start, aborted transactions, (from 11 on) preferred replica, records.
    """
    for _, partitions in answer.topics:
        for partition, code, high, stable, *rest in partitions:
            aborted = next((part for part in rest if isinstance(part, list)), ())
            yield Part(partition, code, high, stable, aborted, rest[-1] or b"")


async def fetch_some(cluster: Cluster, topic: str, node: int, partition: int, offset: int) -> Fetched:
    """What comes next in one partition, whole batches, about a MiB of them. Raises PlatintError."""
    asked = [(topic, [(partition, offset, PARTITION_BYTES)])]
    answer = await cluster.ask(FetchRequest(_LOOK_MS, 1, PARTITION_BYTES, READ_COMMITTED, asked), node)
    part = next(parts_of(answer))
    if part.code:
        raise error_of(part.code, cluster.address, topic=topic)
    return fetched(offset, part)


def fetched(start: int, part: Part) -> Fetched:
    """What one partition of an answer holds; the batches are found, and taken apart when they are asked for.

    Raises ConfigError for a message that does not fit into what was asked for (brokers before 0.10.1).
    """
    partition, data = part.partition, part.data
    records = MemoryRecords(data)
    batches: list[tuple[Any, int, int]] = []
    after, begin = start, 0
    while records.has_next():
        batch = records.next_batch()
        close = begin + _LOG_OVERHEAD + int.from_bytes(data[begin + 8 : begin + _LOG_OVERHEAD], "big")
        batches.append((batch, begin, close))
        after, begin = max(after, batch.next_offset), close
    if data and not batches:
        raise ConfigError(
            f"The message at offset {start} of partition {partition} is larger than what is fetched at a time.",
            hint="Raise `max_message` of the connector's source.",
            code="MESSAGE_TOO_LARGE",
        )
    return Fetched(partition, start, after, part.stable, data, batches, part.aborted)
