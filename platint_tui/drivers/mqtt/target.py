"""Writing to topics: one message a row, each acknowledged by the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Batch, Confirmed, Fault, Op, Row, TargetPlan, WriteResult
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.messages import sendable
from platint_tui.drivers.mqtt.codes import FAILED, name_of, words
from platint_tui.drivers.mqtt.link import Link
from platint_tui.drivers.mqtt.messages import MESSAGE_ID
from platint_tui.drivers.mqtt.packets import V5, Answer, Message
from platint_tui.drivers.mqtt.properties import LONGEST_TEXT, Malformed
from platint_tui.manifest.sources import Sink

WINDOW = 256
"""Messages on their way at a time, where the broker takes so many."""
WINDOW_BYTES = 8 * 1024 * 1024
NOT_SENT = "not_sent"
_GRACE = 2.0
"""Seconds that acknowledgements are waited for after a cancellation."""
_BUSY = {0x89, 0x96, 0x97}
_OF_RECORD = {0x90, 0x95, 0x99}
_ACL = (
    "Allow this account to publish to '{topic}': Mosquitto has `topic write {topic}` in its acl_file, other brokers a "
    "publish rule of their own. Then replay."
)


def check_target(target: str) -> None:
    """Raises ConfigError for what cannot be published to: a topic, or a prefix with `#` behind it, below which each
    message goes to the topic that it came from."""
    fixed = target.removesuffix("#")
    own = fixed != target
    valid = (
        not any(char in fixed for char in "+#\0")
        and len(fixed.encode("utf-8", "surrogatepass")) <= LONGEST_TEXT
    )
    if valid and (not own or not fixed or fixed.endswith("/")) and (fixed or own):
        return
    raise ConfigError(
        f"'{clean(target[:200])}' is no topic to publish to.",
        hint="Write a topic without + and #, or mirror/# to publish each message below mirror/ by its own topic.",
        code="TOPIC_NAME_INVALID",
    )


@dataclass(frozen=True, slots=True)
class _Item:
    """A row that is ready to be sent, and its place in the batch."""

    number: int
    message: Message
    identity: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a message: confirmed, refused (see `answer`), busy (the broker takes none now), malformed,
    unsent, or unknown."""

    state: Literal["confirmed", "refused", "busy", "malformed", "unsent", "unknown"]
    why: str = ""
    answer: Answer | None = None
    error: PlatintError | None = None


class MqttTarget:
    """Messages that stand for rows. When the connection is lost, messages that were sent and not acknowledged are
    faults `unknown_outcome` (they are not sent again), and the others go on over a new connection.

    What ends a batch after its first message leaves the rest as faults `not_sent`, and `failure` says why.
    """

    transactional = False

    def __init__(
        self,
        plan: TargetPlan,
        context: DriverContext,
        sink: Sink,
        seconds: float,
        connect: Callable[[], Coroutine[Any, Any, Link]],
    ) -> None:
        """Raises ConfigError for a target that is no topic."""
        check_target(plan.target)
        self._plan = plan
        self._context = context
        self._sink = sink
        self._seconds = seconds
        self._connect = connect
        self._link: Link | None = None
        self._proved = False
        self._stopping = False
        self._interrupted = False
        self.failure: PlatintError | None = None
        # A deletion is told by a user property, which MQTT 3.1.1 does not have.
        self.applies: frozenset[Op] = frozenset({Op.UPSERT})

    async def open(self) -> None:
        """Connect, and see that the broker can do what the manifest asks for. Raises PlatintError."""
        link = await self._ready()
        where = link.address.where
        if self._sink.qos > int(link.features.get("maximum_qos", 2)):
            raise ConfigError(
                f"The broker takes QoS {link.features['maximum_qos']} at most.",
                where=where,
                hint="Set `sink: {qos: 1}` in the manifest, or let the broker take more.",
                code="QOS_NOT_SUPPORTED",
            )
        if self._sink.retain and not link.features.get("retain_available", 1):
            raise ConfigError(
                "The broker retains no messages.",
                where=where,
                hint="Set `sink: {retain: false}` in the manifest.",
                code="RETAIN_NOT_SUPPORTED",
            )
        if link.version == V5:
            self.applies = frozenset({Op.UPSERT, Op.DELETE})

    async def confirmed(self) -> Confirmed | None:
        """A broker keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: no further portion is begun."""
        self._stopping = True

    async def close(self) -> None:
        """End the connection."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def write(self, batch: Batch) -> WriteResult:
        """Publish every row and wait for the acknowledgements.

        Raises TransientError, CredentialError or ConfigError when no row of the batch was sent.
        """
        work = _Work()
        for number, row in enumerate(batch.rows):
            try:
                identity = self._identity(row)
                work.todo.append(_Item(number, self._message(row, identity), identity))
            except RecordError as error:
                work.faults[number] = Fault(ErrorClass.RECORD, error.code, error.message, error.where)
        interrupted = await self._send(work)
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

    def _identity(self, row: Row) -> str:
        own = row.value.get("id") if "topic" in row.value and "headers" in row.value else None
        if isinstance(own, str) and own:
            return own
        return row.idempotency_key or digest(self._plan.sync, self._plan.stream, row.key, row.raw)

    def _message(self, row: Row, identity: str) -> Message:
        """A row as a message. Raises RecordError for what has no form."""
        content = sendable(row.value)
        properties: dict[str, Any] = {}
        user = [
            (name, item if isinstance(item, str) else dumps(item))
            for name, value in content.headers.items()
            if name != MESSAGE_ID
            for item in (value if isinstance(value, list) else [value])
        ]
        user += [(MESSAGE_ID, identity), ("platint-integration", self._plan.sync)]
        user.append(("platint-stream", self._plan.stream))
        if row.op is Op.DELETE:
            user.append(("platint-op", "delete"))
        properties["user"] = tuple(dict.fromkeys(user))
        media = content.native.get("content_type") or content.media
        if isinstance(media, str) and media:
            properties["content_type"] = media
        for name in ("response_topic", "correlation_data"):
            if isinstance(value := content.native.get(name), str):
                properties[name] = value.encode("utf-8", "replace") if name == "correlation_data" else value
        topic = self._topic(row)
        return Message(topic, content.content, self._sink.qos, self._sink.retain, properties=properties)

    def _topic(self, row: Row) -> str:
        prefix = self._plan.target.removesuffix("#")
        if prefix == self._plan.target:
            return prefix
        own = row.value.get("topic")
        if not isinstance(own, str) or not own or any(char in own for char in "+#\0"):
            raise RecordError(
                "The record has no topic of its own to be published by.",
                code="TOPIC_NAME_INVALID",
                where="topic",
            )
        return prefix + own

    async def _send(self, work: _Work) -> bool:
        """Send what is to do, portion by portion; whether a cancellation came meanwhile."""
        policy = self._context.connector.errors.policy.retry_policy()
        clock, name = self._context.clock, f"publish {self._plan.target}"
        self._interrupted = False
        tries = 0
        while work.todo and not (self._stopping and work.touched):
            started, before = clock.monotonic(), len(work.todo)
            try:
                link = await self._ready()
                portion = _portion(work.todo, self._window(link))
                sent = await self._publish(link, portion)
            except PlatintError as error:
                trouble: PlatintError | None = error
            else:
                trouble = work.settle(portion, sent)
                self._proved = self._proved or any(item.state == "confirmed" for item in sent)
            self._context.telemetry.observe(name, clock.monotonic() - started, trouble is None)
            if self._interrupted:
                return True
            tries = tries + 1 if len(work.todo) == before else 1
            if trouble is None:
                continue
            if not isinstance(trouble, TransientError) or tries >= policy.attempts:
                work.failure = trouble
                return False
            if work.todo:
                await clock.sleep(backoff(policy, tries, self._context.rng))
        return False

    def _window(self, link: Link) -> int:
        """How many go together: over a new connection one alone, so that a broker that ends the connection because
        of it leaves the outcome of no other one unknown."""
        return min(WINDOW, int(link.features.get("receive_maximum", WINDOW))) if self._proved else 1

    async def _ready(self) -> Link:
        if self._link is not None and not self._link.closed:
            return self._link
        await self.close()
        self._proved = False
        self._link = await self._connect()
        return self._link

    async def _publish(self, link: Link, portion: Sequence[_Item]) -> list[_Sent]:
        tasks = [asyncio.create_task(self._one(link, item.message)) for item in portion]
        pending: set[asyncio.Task[_Sent]] = set(tasks)
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        while pending:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            try:
                _, pending = await asyncio.wait(pending, timeout=left)
            except asyncio.CancelledError:
                # What is on its way is on its way: its outcome is to be known before anything ends.
                self._interrupted = True
                deadline = deadline or loop.time() + _GRACE
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        late = _Sent("unknown", "The broker did not acknowledge a message in time.")
        sent = [late if task.cancelled() else task.result() for task in tasks]
        if any(item.state == "unknown" for item in sent):
            await self.close()  # what comes late over this connection belongs to nothing any more
        return sent

    async def _one(self, link: Link, message: Message) -> _Sent:
        if link.failure is not None:
            return _Sent("unsent", link.failure.message, error=link.failure)
        try:
            answer = await link.publish(message, self._seconds)
        except Malformed as error:
            return _Sent("malformed", f"{error}")
        except PlatintError as error:
            return _Sent("unknown", error.message, error=error)
        if answer.code < FAILED:
            return _Sent("confirmed")
        if answer.code in _BUSY:
            why = f"The broker takes no messages now: {words(answer)}."
            busy = TransientError(why, where=link.address.where, code=name_of(answer.code))
            return _Sent("busy", why, answer, busy)
        return _Sent("refused", words(answer), answer)


class _Work:
    """The rows of a batch: those still to be sent, and what became of the others (no fault: confirmed)."""

    def __init__(self) -> None:
        self.todo: deque[_Item] = deque()
        self.faults: dict[int, Fault] = {}
        self.touched = False
        self.failure: PlatintError | None = None

    def settle(self, portion: Sequence[_Item], sent: Sequence[_Sent]) -> PlatintError | None:
        """Take what became of a portion; what may be sent again is to be done first. The error that stands in the
        way of going on at once, if there is one."""
        again: list[_Item] = []
        trouble: PlatintError | None = None
        for item, outcome in zip(portion, sent, strict=True):
            if outcome.state in ("unsent", "busy"):
                again.append(item)
            elif outcome.state != "confirmed":
                self.faults[item.number] = _fault(item, outcome)
            if outcome.state in ("confirmed", "unknown"):
                self.touched = True
            trouble = trouble or outcome.error
        self.todo.extendleft(reversed(again))
        return trouble


def _portion(todo: deque[_Item], window: int) -> list[_Item]:
    portion: list[_Item] = []
    size = 0
    while todo and len(portion) < window:
        size += len(todo[0].message.payload)
        if portion and size > WINDOW_BYTES:
            break
        portion.append(todo.popleft())
    return portion


def _fault(item: _Item, outcome: _Sent) -> Fault:
    topic = clean(item.message.topic[:200])
    if outcome.state == "malformed":
        small = "PACKET_TOO_LARGE" if "bytes" in outcome.why else "malformed"
        return Fault(ErrorClass.RECORD, small, f"The row does not fit into a message: {outcome.why}.")
    if outcome.answer is None:
        return Fault(
            ErrorClass.TRANSIENT,
            UnknownOutcome.code,
            f"{outcome.why} Whether the message was taken is not known.",
            hint="Look for its message-id at the subscribers before replaying.",
            request={"message_id": item.identity, "topic": topic},
        )
    code = outcome.answer.code
    message = f"The broker refuses a message to '{topic}': {outcome.why}."
    kind = ErrorClass.RECORD if code in _OF_RECORD else ErrorClass.CONFIG
    return Fault(kind, name_of(code), message, hint=_ACL.format(topic=topic) if code == 0x87 else "")


def _not_sent(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped."
    return Fault(
        ErrorClass.TRANSIENT,
        NOT_SENT,
        f"Not written: {why}",
        hint="Other rows of its page were sent and must not be sent twice, so this one waits here. Replay it.",
    )
