"""Writing to a queue or an exchange: one persistent message a row, each confirmed by the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import (
    ConfigError,
    ErrorClass,
    PlatintError,
    RecordError,
    TransientError,
    UnknownOutcome,
)
from platint_tui.core.ids import digest
from platint_tui.core.model import (
    Batch,
    Confirmed,
    Evolution,
    Fault,
    Op,
    Row,
    SchemaChange,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.errors import FAILURES
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.messages import outside_headers, properties_of
from platint_tui.drivers.amqp.publisher import (
    Outgoing,
    Publisher,
    Sent,
    no_such_exchange,
    unroutable,
    unroutable_hint,
)
from platint_tui.drivers.amqp.session import on_own_channel
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.messages import sendable
from platint_tui.manifest.sources import Sink

WINDOW = 256
"""Messages on their way at a time."""
WINDOW_BYTES = 8 * 1024 * 1024
NOT_SENT = "not_sent"
_OF_MESSAGE = frozenset({"PRECONDITION_FAILED", "CONTENT_TOO_LARGE"})
"""Refusals of one message, which is larger than the broker takes."""
_LONGEST_NAME = 255
_LONGEST_ID = 255


@dataclass(frozen=True, slots=True)
class Route:
    """Where a target's messages go: an exchange with a routing key, or a queue (the default exchange)."""

    exchange: str
    key: str

    @property
    def queue(self) -> str | None:
        """The queue's name, None for an exchange."""
        return None if self.exchange else self.key


def route_of(target: str) -> Route:
    """`queue`, or `exchange/routing.key` (the key may be empty). A queue with a slash in its name is written with
    one in front. Raises ConfigError for what AMQP has no name for."""
    exchange, slash, key = target.partition("/")
    route = Route(exchange, key) if slash else Route("", target)
    for name in (route.exchange, route.key):
        if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME or "\0" in name:
            raise ConfigError(
                f"'{clean(target[:80])}' cannot be the name of a queue, or an exchange with a key.",
                hint="A name has at most 255 bytes.",
                code="target_name",
            )
    if not route.exchange and not route.key:
        raise ConfigError(
            "The target names no queue.",
            hint="Write the name of a queue, or exchange/routing.key.",
            code="target_name",
        )
    return route


async def changes_at(link: Link, plan: TargetPlan, sink: Sink) -> list[SchemaChange]:
    """The queue that would be made for a plan, if it is not there. Raises ConfigError when it must not be made, or
    when the exchange is not there."""
    route = route_of(plan.target)
    try:
        await on_own_channel(link, lambda channel: _look(channel, route))
    except ConfigError as error:
        if error.code != "NOT_FOUND":
            raise
    else:
        return []
    where = link.address.where
    if route.queue is None:
        raise no_such_exchange(route.exchange, where)
    if plan.contract.tables is not Evolution.EVOLVE:
        raise ConfigError(
            f"There is no queue '{clean(route.queue)}', and the contract of the stream lets none be made.",
            where=where,
            hint="Make the queue, or say `contract: {tables: evolve}` for the stream.",
            code="NOT_FOUND",
        )
    kind = f"{sink.queue} queue" if link.is_rabbitmq else "queue"
    statement = f"queue.declare {route.queue} durable" + (
        f" x-queue-type={sink.queue}" if link.is_rabbitmq else ""
    )
    return [SchemaChange("new_queue", plan.target, "", f"a durable {kind} is made", statement)]


async def _look(channel: Any, route: Route) -> int:
    if route.queue is not None:
        await channel.queue_declare(route.queue, passive=True)
    else:
        await channel.exchange_declare(route.exchange, passive=True)
    return 0


async def make_queue(link: Link, queue: str, sink: Sink) -> None:
    """Declare a durable queue. Raises ConfigError: no right to, or another one was made meanwhile."""
    arguments = {"x-queue-type": sink.queue} if link.is_rabbitmq else None

    async def declare(channel: Any) -> int:
        await channel.queue_declare(queue, durable=True, arguments=arguments)
        return 0

    await on_own_channel(link, declare, "configure")


@dataclass(frozen=True, slots=True)
class _Item:
    """A row that is ready to be sent, and its place in the batch."""

    number: int
    message: Outgoing


class AmqpTarget:
    """Messages that stand for rows. A batch goes out in portions; when the connection is lost, messages that were
    sent and not confirmed are faults `unknown_outcome` (they are not sent again), and the others go on over a new
    connection.

    What ends a batch after its first message leaves the rest as faults `not_sent`, and `failure` says why.
    """

    transactional = False
    applies = frozenset({Op.UPSERT, Op.DELETE})

    def __init__(
        self,
        plan: TargetPlan,
        context: DriverContext,
        seconds: float,
        connect: Callable[[], Coroutine[Any, Any, Link]],
    ) -> None:
        self._plan = plan
        self._route = route_of(plan.target)
        self._context = context
        self._seconds = seconds
        self._connect = connect
        self._publisher: Publisher | None = None
        self._stopping = False
        self.failure: PlatintError | None = None

    async def confirmed(self) -> Confirmed | None:
        """A broker keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: no further portion is begun."""
        self._stopping = True

    async def close(self) -> None:
        """End the connection."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()

    async def write(self, batch: Batch) -> WriteResult:
        """Publish every row and wait for the confirmations.

        Raises TransientError or ConfigError when no row of the batch was sent.
        """
        work = _Work()
        for number, row in enumerate(batch.rows):
            try:
                work.todo.append(_Item(number, self._message(row)))
            except RecordError as error:
                work.faults[number] = Fault(ErrorClass.RECORD, error.code, error.message, error.where)
        try:
            interrupted = await self._send(work)
        except asyncio.CancelledError:
            work.give_up()
            if not work.touched:
                raise
            interrupted = True
        if work.failure is not None and not work.touched:
            raise work.failure
        if interrupted:
            if not work.touched:
                raise asyncio.CancelledError
            if (me := asyncio.current_task()) is not None:
                me.uncancel()  # what became of the rows is to be stored before anything ends
        self.failure = work.failure
        for item in work.todo:
            work.faults[item.number] = _not_sent(work.failure)
        return WriteResult(len(batch.rows) - len(work.faults), 0, sorted(work.faults.items()))

    def _message(self, row: Row) -> Outgoing:
        """A row as a message. Raises RecordError for what has no JSON form."""
        content = sendable(row.value)
        native = content.native
        identity = str(native["id"]) if native else row.idempotency_key
        if not identity or len(identity.encode("utf-8", "replace")) > _LONGEST_ID:
            identity = row.idempotency_key or digest(self._plan.sync, self._plan.stream, row.key, row.raw)
        headers: dict[str, Any] = {
            **outside_headers(content.headers),
            "platint-integration": self._plan.sync,
            "platint-stream": self._plan.stream,
        }
        if row.op is Op.DELETE:
            headers["platint-op"] = "delete"
        document = {"content_type": content.media, "app_id": "platint-tui", **native}
        document.pop("timestamp", None)
        properties = properties_of(document, message_id=identity, headers=headers)
        return Outgoing(content.content, properties, self._route.exchange, self._route.key)

    async def _send(self, work: _Work) -> bool:
        """Send what is to do, portion by portion; whether a cancellation came meanwhile."""
        policy = self._context.connector.errors.policy.retry_policy()
        clock, name = self._context.clock, f"publish {self._plan.target}"
        tries = 0
        while work.todo and not (self._stopping and work.touched):
            started, before = clock.monotonic(), len(work.todo)
            try:
                publisher = await self._ready()
                await publisher.ready()
                if publisher.interrupted:
                    return True
                work.sending = _portion(work.todo, publisher.proved)
                sent = await publisher.publish([item.message for item in work.sending])
            except PlatintError as error:
                trouble: PlatintError | None = error
            else:
                trouble = work.settle(sent)
                if publisher.interrupted:
                    return True
            self._context.telemetry.observe(name, clock.monotonic() - started, trouble is None)
            tries = tries + 1 if len(work.todo) == before else 1
            if trouble is None:
                continue
            if not isinstance(trouble, TransientError) or tries >= policy.attempts:
                work.failure = trouble
                return False
            if work.todo:
                await clock.sleep(backoff(policy, tries, self._context.rng))
        return False

    async def _ready(self) -> Publisher:
        publisher = self._publisher
        if publisher is not None and publisher.usable:
            return publisher
        await self.close()
        self._publisher = await Publisher.open(await self._connect(), self._seconds)
        return self._publisher


class _Work:
    """The rows of a batch: those to be sent, those on their way, and what became of the others (no fault:
    confirmed). `touched`: one was taken, or may have been."""

    def __init__(self) -> None:
        self.todo: deque[_Item] = deque()
        self.sending: list[_Item] = []
        self.faults: dict[int, Fault] = {}
        self.touched = False
        self.failure: PlatintError | None = None

    def give_up(self) -> None:
        """Nothing is waited for any more: what becomes of the rows on their way is not known."""
        self.settle([Sent("unknown", "The run was stopped.")] * len(self.sending))

    def settle(self, sent: Sequence[Sent]) -> PlatintError | None:
        """Take what became of the rows on their way; what may be sent again is to be done first. The error that
        stands in the way of going on at once, if there is one."""
        portion, self.sending = self.sending, []
        again: list[_Item] = []
        trouble: PlatintError | None = None
        for item, outcome in zip(portion, sent, strict=True):
            too_large = outcome.error is not None and outcome.error.code in _OF_MESSAGE
            if outcome.state in ("nacked", "unsent", "refused") and not too_large:
                again.append(item)
                trouble = trouble or outcome.error or _nacked()
                continue
            if outcome.state in ("confirmed", "unknown"):
                self.touched = True
            if outcome.state != "confirmed":
                self.faults[item.number] = _fault(item.message, outcome)
                trouble = trouble or (None if too_large else outcome.error)
        self.todo.extendleft(reversed(again))
        return trouble


def _portion(todo: deque[_Item], proved: bool) -> list[_Item]:
    """The next messages to go out together: one alone over a new connection, and none twice with the same id (by
    which the broker's returns are told apart)."""
    portion: list[_Item] = []
    ids: set[str] = set()
    size = 0
    while todo and len(portion) < (WINDOW if proved else 1):
        message = todo[0].message
        identity = message.properties.message_id or ""
        if portion and (identity in ids or size + len(message.body) > WINDOW_BYTES):
            break
        ids.add(identity)
        size += len(message.body)
        portion.append(todo.popleft())
    return portion


def _nacked() -> TransientError:
    return TransientError(
        "The broker did not take a message (basic.nack).",
        hint="The queue is full and refuses more, or the broker is in trouble: look at the queue and its log.",
        code="nacked",
    )


def _fault(message: Outgoing, outcome: Sent) -> Fault:
    if outcome.state == "returned":
        return Fault(
            ErrorClass.CONFIG,
            "NO_ROUTE",
            unroutable(message.exchange, message.key, outcome.why),
            hint=unroutable_hint(message.exchange),
        )
    if outcome.state == "refused" and outcome.error is not None:
        hint = "The broker's max_message_size bounds what it takes."
        return Fault(ErrorClass.RECORD, outcome.error.code, outcome.error.message, hint=hint)
    if outcome.state == "malformed":
        return Fault(ErrorClass.RECORD, "malformed", f"The row does not fit into a message: {outcome.why}.")
    return Fault(
        ErrorClass.TRANSIENT,
        UnknownOutcome.code,
        f"{outcome.why} Whether the message was taken is not known.",
        hint="Look for its message id at the consumers before replaying.",
        request={"message_id": message.properties.message_id or ""},
    )


def _not_sent(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped."
    return Fault(
        ErrorClass.TRANSIENT,
        NOT_SENT,
        f"Not written: {why}",
        hint="Other rows of its page were sent and must not be sent twice, so this one waits here. Replay it.",
    )


async def prepare(link: Link, plan: TargetPlan, sink: Sink) -> None:
    """Make the queue of a plan when it is not there and may be made. Raises ConfigError."""
    try:
        if await changes_at(link, plan, sink):
            await make_queue(link, route_of(plan.target).key, sink)
    except FAILURES as error:
        raise link.error(error) from None
