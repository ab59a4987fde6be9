"""A topic as a target: each row becomes a message, appended once and acknowledged by all replicas."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence

from aiokafka.protocol.admin import CreateTopicsRequest

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, RecordError, TransientError
from platint_tui.core.model import (
    Batch,
    Confirmed,
    Evolution,
    Fault,
    Json,
    JsonObject,
    Op,
    Row,
    SchemaChange,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.address import Address
from platint_tui.drivers.kafka.cluster import Cluster, connected
from platint_tui.drivers.kafka.codes import TOPIC_EXISTS, UNKNOWN_TOPIC, error_of
from platint_tui.drivers.kafka.producer import Delivery, Outgoing, Producer
from platint_tui.drivers.kafka.records import header_bytes
from platint_tui.drivers.messages import BASE64, is_message, sendable
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Sink

IDEMPOTENCY, INTEGRATION, STREAM = "idempotency-key", "platint-integration", "platint-stream"
"""The headers of a message: what stays the same when it is sent again, and where it comes from."""
NOT_SENT = "not_sent"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LARGEST = 64 * 1024 * 1024
_USUAL_REPLICATION = 3
_LEADER_SECONDS = 10.0


class KafkaTarget:
    """Writes rows of one stream to one topic; made by `open_target`.

    The key of a message is the text of the row's key (a JSON array where there are several), its value the row
    as JSON, none for a deleted row. A row that was a message itself is sent on as that (see `drivers.messages`).
    It ends a batch early rather than send a message twice: see `failure`. `changes` has the topic that was made.
    """

    transactional = False
    applies = frozenset({Op.UPSERT, Op.DELETE})

    def __init__(
        self, cluster: Cluster, plan: TargetPlan, context: DriverContext, changes: list[SchemaChange]
    ) -> None:
        self.changes = changes
        self._cluster = cluster
        self._plan = plan
        self._stopping = False
        self._producer = Producer(cluster, plan.target, context, lambda: self._stopping)
        self._headers = (
            (INTEGRATION, plan.sync.encode("utf-8", "surrogatepass")),
            (STREAM, plan.stream.encode("utf-8", "surrogatepass")),
        )
        self.failure: PlatintError | None = None

    async def confirmed(self) -> Confirmed | None:
        """A topic keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: what does not get through is not tried for long any more."""
        self._stopping = True

    async def write(self, batch: Batch) -> WriteResult:
        """Append every row. Refused rows come back as faults, rows without an answer as faults `unknown_outcome`.

        What is not about one row is raised while no row was appended: then the whole batch is written again
        later. After that it is kept in `failure`, and the rows that were not sent are faults `not_sent`. A
        cancellation ends the batch in the same way.
        """
        messages: list[tuple[int, Outgoing]] = []
        delivery = Delivery()
        for index, row in enumerate(batch.rows):
            try:
                messages.append((index, self._message(row)))
            except RecordError as error:
                delivery.faults[index] = Fault(
                    ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint
                )
        try:
            await self._producer.send(messages, delivery)
        except asyncio.CancelledError:
            if not delivery.touched:
                raise
            if (me := asyncio.current_task()) is not None:
                me.uncancel()  # what became of the rows is to be stored before anything ends
        if delivery.failure is not None and not delivery.touched:
            raise delivery.failure
        self.failure = delivery.failure
        for index, _ in messages:
            if index not in delivery.places and index not in delivery.faults:
                delivery.faults[index] = _not_sent(delivery.failure)
        places = delivery.places if batch.confirmed is None else {}
        return WriteResult(
            len(batch.rows) - len(delivery.faults),
            0,
            sorted(delivery.faults.items()),
            {index: self._place(*place) for index, place in places.items()},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    def _place(self, partition: int, offset: int) -> JsonObject:
        place: dict[str, Json] = {"topic": self._plan.target, "partition": partition}
        return place if offset < 0 else {**place, "offset": offset}

    def _message(self, row: Row) -> Outgoing:
        """Raises RecordError for a row that is no message: not JSON, not text, or too large for any broker."""
        own = [(IDEMPOTENCY, row.idempotency_key.encode("utf-8", "surrogatepass")), *self._headers]
        if row.op is Op.DELETE:
            return Outgoing(_key(row), None, own, row.idempotency_key)
        sent = sendable(row.value)
        content = None if sent.native.get("tombstone") is True else sent.content
        if content is not None and len(content) > _LARGEST:
            raise RecordError(
                f"The message has {len(content):,} bytes; more than {_LARGEST:,} are not sent.",
                code="too_large",
            )
        ours = {name for name, _ in own}
        headers = [
            (name, data)
            for name, value in sent.headers.items()
            if name not in ours
            for data in header_bytes(value)
        ]
        return Outgoing(_key(row), content, [*headers, *own], row.idempotency_key)


def _key(row: Row) -> bytes | None:
    """The key of a message: its own for a row that was one, else the text of the row's key (a JSON array of
    several). Raises RecordError for half of a surrogate pair.
    """
    if is_message(row.value) and isinstance(own := row.value.get("key"), str | None):
        if own is not None and row.value.get("key_encoding") == BASE64:
            return base64.b64decode(own)
        text = own
    else:
        values = json.loads(row.key)
        text = row.key if len(values) > 1 else values[0] if isinstance(values[0], str) else row.key[1:-1]
    try:
        return None if text is None else text.encode()
    except UnicodeEncodeError:
        raise RecordError(
            "The key holds half of a surrogate pair, which is no character.", code="invalid_text"
        ) from None


def _not_sent(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped."
    return Fault(
        ErrorClass.TRANSIENT,
        NOT_SENT,
        f"Not sent: {why}",
        hint="Other rows of its page were appended and must not be sent twice, so this one waits here. Replay it.",
    )


async def open_target(address: Address, plan: TargetPlan, context: DriverContext) -> KafkaTarget:
    """The topic `plan.target`, created when it is missing and the contract allows that.

    Raises ConfigError, CredentialError, TransientError.
    """
    check_name(plan.target)
    cluster = Cluster(address, context)
    changes: list[SchemaChange] = []
    try:
        await cluster.open()
        if not await _exists(cluster, plan.target):
            sink = _sink(context, plan.target)
            await _create(cluster, plan, sink)
            changes.append(_creation(cluster, plan, sink))
            await _wait_for_leaders(cluster, plan.target, context)
    except BaseException:
        await cluster.close()
        raise
    return KafkaTarget(cluster, plan, context, changes)


async def plan_target(address: Address, plan: TargetPlan, context: DriverContext) -> Sequence[SchemaChange]:
    """The topic that `open_target` would create. Raises like it."""
    check_name(plan.target)
    async with connected(address, context) as cluster:
        if await _exists(cluster, plan.target):
            return ()
        _check_allowed(plan, cluster)
        return (_creation(cluster, plan, _sink(context, plan.target)),)


def _creation(cluster: Cluster, plan: TargetPlan, sink: Sink) -> SchemaChange:
    replication = _replication(cluster, sink)
    detail = (
        f"a topic of {counted(sink.partitions, 'partition')}, each kept by {counted(replication, 'broker')}"
    )
    statement = (
        f"kafka-topics --create --topic {plan.target} --partitions {sink.partitions}"
        f" --replication-factor {replication}"
    )
    return SchemaChange("create_topic", plan.target, "", detail, statement)


def counted(number: int, what: str) -> str:
    """A number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def check_name(topic: str) -> None:
    """Raise ConfigError for what Kafka does not take as the name of a topic."""
    if not _NAME.fullmatch(topic) or topic in (".", ".."):
        raise ConfigError(
            f"'{clean(topic)}' is no name of a topic.",
            hint="Use letters, digits, '.', '_' and '-', at most 249 of them.",
            code="INVALID_TOPIC_EXCEPTION",
        )


def _sink(context: DriverContext, target: str) -> Sink:
    return resource(context.connector, target).sink or Sink()


def _replication(cluster: Cluster, sink: Sink) -> int:
    return sink.replication or min(_USUAL_REPLICATION, len(cluster.brokers))


async def _exists(cluster: Cluster, name: str) -> bool:
    """Raises ConfigError when this user may not write to it."""
    found = next((item for item in await cluster.topics([name]) if item.name == name), None)
    if found is None or found.code == UNKNOWN_TOPIC:
        return False
    if found.code:
        raise error_of(found.code, cluster.address, topic=name, act="write to")
    return True


def _check_allowed(plan: TargetPlan, cluster: Cluster) -> None:
    if plan.contract.tables is not Evolution.EVOLVE:
        raise ConfigError(
            f"There is no topic '{plan.target}', and the contract of the stream does not allow to create it.",
            where=cluster.address.where,
            hint="Create the topic, or set `tables: evolve` in the stream's contract.",
            code="UNKNOWN_TOPIC_OR_PARTITION",
        )


async def _create(cluster: Cluster, plan: TargetPlan, sink: Sink) -> None:
    _check_allowed(plan, cluster)
    timeout = int(cluster.address.request_seconds * 1000)
    request = CreateTopicsRequest(
        [(plan.target, sink.partitions, _replication(cluster, sink), [], [])], timeout, False
    )
    answer = await cluster.ask(request, cluster.controller if cluster.controller in cluster.brokers else None)
    for _, code, *said in answer.topic_errors:
        if code not in (0, TOPIC_EXISTS):
            raise error_of(
                code, cluster.address, topic=plan.target, act="create", said=(said[0] or "") if said else ""
            )


async def _wait_for_leaders(cluster: Cluster, name: str, context: DriverContext) -> None:
    """A new topic is usable when its partitions have leaders and every broker has heard of it."""
    clock = context.clock
    deadline = clock.monotonic() + _LEADER_SECONDS
    while True:
        found = next((item for item in await cluster.topics([name]) if item.name == name), None)
        if found is not None and not found.code and found.leaders and min(found.leaders.values()) >= 0:
            return
        if clock.monotonic() > deadline:
            raise TransientError(
                f"The new topic '{name}' has no leaders yet.", where=cluster.address.where, code="timeout"
            )
        await clock.sleep(0.1)
