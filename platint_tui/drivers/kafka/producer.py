"""Producing: batches that a broker appends once however often they are sent, and what became of each message.

Each batch has the producer's id and a sequence number. A broker that has appended it already takes it for done
(KIP-98), so a batch whose answer was lost is sent again as it was. One that stays without an answer is of unknown
outcome; the sequence numbers of its partition are not used further.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from zlib import crc32

from aiokafka.partitioner import murmur2
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest_v0
from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import ErrorClass, PlatintError, TransientError, UnknownOutcome
from platint_tui.core.model import Fault
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.cluster import Cluster
from platint_tui.drivers.kafka.codes import (
    ABOUT_RECORDS,
    AMBIGUOUS,
    COORDINATOR_MOVED,
    DUPLICATE,
    PRODUCER_LOST,
    UNKNOWN_TOPIC,
    error_of,
)

_BATCH_BYTES = 512 * 1024
_OVERHEAD = 64
_ALL_REPLICAS = -1
_NO_LEADER = 5
_TIMED_OUT = 7
_SEQUENCE = 45
_MAGIC = 2
_UNBOUNDED = 2**31 - 1
_FOR_EVER_MS = 2**31 - 1
_NO_PRODUCER = (-1, -1)


class InitProducerIdResponse_v3(Response):  # type: ignore[misc]  # noqa: N801 - untyped, and called as there
    """The answer from Kafka 2.5 on (KIP-360)."""

    API_KEY = 22
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class InitProducerIdRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801 - untyped, and called as there
    """Ask for a producer's id, from Kafka 2.5 on. aiokafka has version 0 only, which not every broker answers."""

    FLEXIBLE_VERSION = True
    API_KEY = 22
    API_VERSION = 3
    RESPONSE_TYPE = InitProducerIdResponse_v3
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class InitProducerId(Request[InitProducerIdRequest_v0 | InitProducerIdRequest_v3]):  # type: ignore[misc]  # untyped
    """Ask for the id of a producer without transactions."""

    API_KEY = 22

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION == 0:
            return request_struct_class(None, _FOR_EVER_MS)
        return request_struct_class(None, _FOR_EVER_MS, *_NO_PRODUCER, {})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be produced. A null value is a tombstone; without a key `spread` chooses the partition."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    spread: str = ""

    def partition(self, count: int) -> int:
        """The partition of a topic with `count` of them, as Kafka's own clients choose it for a key."""
        number: int = (
            crc32(self.spread.encode("utf-8", "surrogatepass")) if self.key is None else murmur2(self.key)
        )
        return (number & 0x7FFFFFFF) % count

    @property
    def size(self) -> int:
        """Bytes that it takes in a batch, about."""
        headers = sum(len(name) + len(data or b"") + 4 for name, data in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + _OVERHEAD


@dataclass(slots=True)
class _Batch:
    """Messages of one partition that are appended together. `flying`: it is sent and not answered yet, `doubt`: an
    answer to it was lost.
    """

    partition: int
    items: list[tuple[int, Outgoing]]
    data: bytes = b""
    flying: bool = False
    doubt: bool = False

    def halves(self) -> tuple[_Batch, _Batch]:
        """Two batches in its place."""
        middle = len(self.items) // 2
        return _Batch(self.partition, self.items[:middle]), _Batch(self.partition, self.items[middle:])


_Queues: TypeAlias = Mapping[int, deque[_Batch]]


@dataclass(slots=True)
class Delivery:
    """What became of messages by their index: `places` (partition, offset or -1) of those that are appended, `faults`
    of those that are refused or of unknown outcome. `failure` is what kept the rest from being sent.
    """

    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    failure: PlatintError | None = None
    touched: bool = False
    """Whether a message was appended, or may have been."""


class Producer:
    """Sends to one topic. `stopping` says that no more time is to be spent on what does not get through."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        context: DriverContext,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._context = context
        self._stopping = stopping
        self._policy = context.connector.errors.policy.retry_policy()
        self._leaders: dict[int, int] = {}
        self._id: tuple[int, int] | None = None
        self._sequences: dict[int, int] = defaultdict(int)
        self._now_ms = 0

    async def send(self, messages: Iterable[tuple[int, Outgoing]], delivery: Delivery) -> None:
        """Send the messages and note in `delivery` what becomes of each, also when this is cancelled.

        What does not get through is tried again under the connector's policy; then `delivery.failure` says why.
        """
        queues: dict[int, deque[_Batch]] = {}
        try:
            self._leaders = self._leaders or (await self._cluster.topic(self._topic, "write to")).leaders
            queues = self._queues(messages)
            await self._work(queues, delivery)
        except PlatintError as error:
            delivery.failure = error
        finally:
            self._settle(queues, delivery)

    def _queues(self, messages: Iterable[tuple[int, Outgoing]]) -> dict[int, deque[_Batch]]:
        """The messages as batches by partition, in their order."""
        queues: dict[int, deque[_Batch]] = {}
        sizes: dict[int, int] = {}
        count = len(self._leaders)
        for index, message in messages:
            partition = message.partition(count)
            size = message.size
            queue = queues.setdefault(partition, deque())
            if not queue or sizes[partition] + size > _BATCH_BYTES:
                queue.append(_Batch(partition, []))
                sizes[partition] = 0
            queue[-1].items.append((index, message))
            sizes[partition] += size
        return queues

    async def _work(self, queues: _Queues, delivery: Delivery) -> None:
        """Send the first batch of every partition, again and again until none is left."""
        tries, waited = 0, 0.0
        while heads := [queue[0] for queue in queues.values() if queue]:
            before = sum(len(queue) for queue in queues.values()), len(delivery.faults)
            try:
                error = await self._round(heads, queues, delivery)
            except TransientError as lost:
                error = lost
            after = sum(len(queue) for queue in queues.values()), len(delivery.faults)
            tries = 0 if after != before else tries + 1
            if error is None:
                continue
            wait = backoff(self._policy, max(1, tries), self._context.rng)
            # A batch in doubt may be sent again for as long as the broker knows this producer, so it is given all
            # the time that there is: a person would have to look after each of its messages.
            patient = any(queue[0].doubt for queue in queues.values() if queue)
            spent = (tries >= self._policy.attempts and not patient) or waited + wait > self._policy.budget
            if spent or self._stopping() or not isinstance(error, TransientError):
                raise error
            await self._context.clock.sleep(wait)
            waited += wait
            try:
                self._leaders = (await self._cluster.topic(self._topic, "write to")).leaders
            except TransientError:
                continue  # the next round says what is wrong

    async def _round(
        self, heads: Sequence[_Batch], queues: _Queues, delivery: Delivery
    ) -> PlatintError | None:
        """Send these batches, one request a broker; the error after which some of them are sent again."""
        if self._id is None:
            self._id = await self._new_id()
            self._sequences.clear()
        by_node: dict[int, list[_Batch]] = defaultdict(list)
        for batch in heads:
            by_node[self._leaders.get(batch.partition, -1)].append(batch)
        errors: list[PlatintError] = []
        if by_node.pop(-1, None):
            errors.append(error_of(_NO_LEADER, self._cluster.address))
        answers = await asyncio.gather(*(self._ask(node, batches) for node, batches in by_node.items()))
        spoilt = False
        for batches, answer in zip(by_node.values(), answers, strict=True):
            for batch in batches:
                if isinstance(answer, PlatintError):
                    errors.append(answer)
                    continue
                code, offset = answer.get(batch.partition, (_TIMED_OUT, -1))
                error = self._judge(batch, code, offset, queues, delivery)
                if error is not None:
                    errors.append(error)
                spoilt |= code in PRODUCER_LOST or (error is not None and code == DUPLICATE)
        if spoilt or (self._id == _NO_PRODUCER and any(batch.doubt for batch in heads)):
            self._renew(queues, delivery)
        fatal = (item for item in errors if not isinstance(item, TransientError))
        return next(fatal, errors[0] if errors else None)

    def _judge(
        self, batch: _Batch, code: int, offset: int, queues: _Queues, delivery: Delivery
    ) -> PlatintError | None:
        """What an answer means for a batch; the error after which it is sent again, or is not."""
        if code == 0 or (code == DUPLICATE and batch.doubt):
            queues[batch.partition].popleft()
            self._sequences[batch.partition] += len(batch.items)
            delivery.touched = True
            for number, (index, _) in enumerate(batch.items):
                delivery.places[index] = (batch.partition, offset + number if offset >= 0 else -1)
            return None
        error = error_of(code, self._cluster.address, topic=self._topic, act="write to")
        if code in ABOUT_RECORDS:
            # One of its records is to blame: it is halved until that stands alone.
            queue = queues[batch.partition]
            queue.popleft()
            if len(batch.items) > 1:
                queue.extendleft(reversed(batch.halves()))
            else:
                index = batch.items[0][0]
                delivery.faults[index] = Fault(error.error_class, error.code, error.message, hint=error.hint)
            return None
        batch.doubt |= code in AMBIGUOUS
        if code == DUPLICATE:
            return error_of(_SEQUENCE, self._cluster.address)
        if code == UNKNOWN_TOPIC:
            # The metadata, which are asked for before the next try, tell whether it is not there at all.
            return error_of(_NO_LEADER, self._cluster.address)
        return error

    async def _ask(
        self, node: int, batches: Sequence[_Batch]
    ) -> Mapping[int, tuple[int, int]] | PlatintError:
        """(error code, offset) by partition, or the error that kept the broker from answering."""
        clock, telemetry = self._context.clock, self._context.telemetry
        self._now_ms = clock.now_ms()
        parts = [(batch.partition, self._data(batch)) for batch in batches]
        timeout = int(self._cluster.address.request_seconds * 1000)
        request = ProduceRequest(None, _ALL_REPLICAS, timeout, [(self._topic, parts)])
        started, ok = clock.monotonic(), False
        try:
            await self._cluster.ready(node)
            for batch in batches:
                batch.flying = True
            answer = await self._cluster.ask(request, node)
            ok = True
        except PlatintError as error:
            for batch in batches:
                batch.doubt |= batch.flying  # whatever it was that came, it was no answer
            _land(batches)
            return error
        finally:
            telemetry.observe(f"produce {self._topic}", clock.monotonic() - started, ok)
        _land(batches)
        return {item[0]: (item[1], item[2]) for _, partitions in answer.topics for item in partitions}

    def _data(self, batch: _Batch) -> bytes:
        """The batch as it goes over the wire: the same bytes whenever it is sent under the same id."""
        if not batch.data:
            assert self._id is not None
            builder = DefaultRecordBatchBuilder(
                _MAGIC, 0, 0, *self._id, self._sequence(batch.partition), _UNBOUNDED
            )
            for number, (_, message) in enumerate(batch.items):
                builder.append(number, self._now_ms, message.key, message.value, list(message.headers))
            batch.data = bytes(builder.build())
        return batch.data

    def _sequence(self, partition: int) -> int:
        return -1 if self._id == _NO_PRODUCER else self._sequences[partition]

    def _renew(self, queues: _Queues, delivery: Delivery) -> None:
        """Go on under another id. A broker would append again under it what it may have appended already, so
        batches in doubt are of unknown outcome.
        """
        for queue in queues.values():
            if queue and (queue[0].doubt or queue[0].flying):
                _unknown(queue.popleft(), delivery)
            for batch in queue:
                batch.data = b""
        self._id = None

    def _settle(self, queues: _Queues, delivery: Delivery) -> None:
        """What was sent and stays without an answer is of unknown outcome."""
        if any(queue[0].doubt or queue[0].flying for queue in queues.values() if queue):
            self._renew(queues, delivery)

    async def _new_id(self) -> tuple[int, int]:
        """An id for this producer, or none where the broker gives none: then nothing is sent a second time."""
        answer = await self._cluster.ask(InitProducerId())
        if answer.error_code in COORDINATOR_MOVED | AMBIGUOUS:
            raise error_of(answer.error_code, self._cluster.address)
        return _NO_PRODUCER if answer.error_code else (answer.producer_id, answer.producer_epoch)


def _land(batches: Sequence[_Batch]) -> None:
    for batch in batches:
        batch.flying = False


def _unknown(batch: _Batch, delivery: Delivery) -> None:
    delivery.touched = True
    for index, _ in batch.items:
        delivery.faults[index] = Fault(
            ErrorClass.TRANSIENT,
            UnknownOutcome.code,
            "The message was sent and the broker's answer was lost: whether it is in the topic is not known.",
            hint="Look in the topic for its idempotency-key header before replaying.",
        )
