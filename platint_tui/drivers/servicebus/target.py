"""Sending rows to one queue or topic in batches that the service takes as a whole.

Source: Microsoft, "Duplicate detection": a message with an id that was seen within the window is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus import exceptions as sb
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.amqp import AmqpAnnotatedMessage

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import (
    ErrorClass,
    PlatintError,
    RecordError,
    TransientError,
)
from platint_tui.core.model import Batch, Confirmed, Fault, WriteResult
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.core.wire import count_request
from platint_tui.drivers.http.calls import UNKNOWN
from platint_tui.drivers.http.writer import NOT_SENT
from platint_tui.drivers.servicebus.connection import FAILURES, Connection
from platint_tui.drivers.servicebus.entities import Entity
from platint_tui.drivers.servicebus.receiver import closed
from platint_tui.drivers.servicebus.records import message_of

Sendable = ServiceBusMessage | AmqpAnnotatedMessage
_IDLE = 60.0
"""Seconds after which a link is opened anew: the service detaches one that was idle for ten minutes, and a send
over it would end without anybody knowing how."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A row ready to be sent: its place in the batch and its message."""

    number: int
    message: ServiceBusMessage


class ServicebusTarget:
    """A sender on one entity.

    A batch whose confirmation was lost is `unknown_outcome`, and is never sent again, unless the entity has
    duplicate detection and still remembers it. What ends a batch after its first row was taken is in `failure`;
    the rows that were not sent are then faults `not_sent`.
    """

    transactional = False

    def __init__(self, connection: Connection, entity: Entity, most: int) -> None:
        """`most` rows go in one request."""
        self._connection = connection
        self._clock = connection.context.clock
        self._entity = entity
        self._most = most
        self._client: ServiceBusClient | None = None
        self._sender: ServiceBusSender | None = None
        self._used = 0.0
        self._stopping = False
        known = entity.settings.get("RequiresDuplicateDetection") == "true"
        window = entity.seconds("DuplicateDetectionHistoryTimeWindow") if known else None
        self._remembered = window / 2 if window is not None else 0.0
        self.failure: PlatintError | None = None

    async def open(self) -> None:
        """Connect. Raises CredentialError without the right Send, ConfigError when there is no such entity."""
        client = self._connection.client()
        name = self._entity.name
        make = client.get_topic_sender if self._entity.kind == "topic" else client.get_queue_sender
        sender = make(name)
        started, ok = self._clock.monotonic(), False
        try:
            await sender.__aenter__()
            # A link that the service refuses is attached first, and ended with what it sends next.
            for step in (sender._handler.do_work_async, sender._handler.client_ready_async):
                await sender._do_retryable_operation(step)
            ok = True
        except FAILURES as error:
            raise self._error(error) from None
        finally:
            self._observe("open", started, ok)
            if not ok:
                await closed(sender, client)
        self._client, self._sender, self._used = client, sender, self._clock.monotonic()

    async def confirmed(self) -> Confirmed | None:
        """An entity keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: no further batch is begun once a row was taken."""
        self._stopping = True

    async def write(self, batch: Batch) -> WriteResult:
        """Send every row. A row that does not fit or is refused is a fault, found by halving what was sent with
        it. Raises PlatintError only while no row was taken."""
        self.failure = None
        faults: dict[int, Fault] = {}
        run: list[_Item] = []
        for number, row in enumerate(batch.rows):
            try:
                run.append(_Item(number, message_of(row, self._entity.sessions)))
            except RecordError as error:
                faults[number] = _fault(error)
        await self._send(_Sending([run]), faults)
        return WriteResult(len(batch.rows) - len(faults), 0, sorted(faults.items()))

    async def close(self) -> None:
        """Release the connection."""
        handlers = [item for item in (self._sender, self._client) if item is not None]
        self._client = self._sender = None
        await closed(*handlers)

    async def _send(self, sending: _Sending, faults: dict[int, Fault]) -> None:
        """Send what is left, portion by portion."""
        while sending.left():
            if sending.taken and self._stopping:
                faults |= sending.not_sent("The run was stopped.")
                return
            out: list[_Item] = []
            sent = False
            try:
                sender = await self._ready()
                run = sending.runs[0]
                out = run[:1]
                count, content = await self._portion(sender, [item.message for item in run])
                out, sent = run[:count], True
                await self._post(content)
            except RecordError as error:
                if not out:
                    raise
                if len(out) == 1:
                    faults[out[0].number] = _fault(error)
                sending.refused(len(out))
                continue
            except (PlatintError, asyncio.CancelledError) as error:
                cancelled = isinstance(error, asyncio.CancelledError)
                unknown = sent and (cancelled or error.code == UNKNOWN)  # type: ignore[union-attr]
                if not unknown and not sending.taken:
                    raise
                if unknown:
                    faults |= {item.number: _lost(error) for item in out}
                    sending.done(len(out))
                    if not cancelled:
                        continue
                if cancelled and (me := asyncio.current_task()) is not None:
                    me.uncancel()  # what became of the rows is to be stored before anything ends
                self.failure = None if cancelled else error  # type: ignore[assignment]
                faults |= sending.not_sent(_why(error))
                return
            sending.done(len(out))

    async def _ready(self) -> ServiceBusSender:
        if self._sender is not None and self._clock.monotonic() - self._used > _IDLE:
            await self.close()
        if self._sender is None:
            await self.open()
        assert self._sender is not None
        return self._sender

    async def send_alone(self, message: Sendable) -> None:
        """Send one message. Raises what `write` makes faults of: RecordError, and TransientError with the code
        `unknown_outcome`; and what else the service says, when it was surely not taken."""
        _, content = await self._portion(await self._ready(), [message])
        await self._post(content)

    async def _portion(
        self, sender: ServiceBusSender, messages: Sequence[Sendable]
    ) -> tuple[int, Sendable | ServiceBusMessageBatch]:
        """How many of the first messages go out together, and as what. A session has a batch of its own.

        Raises RecordError when the first one has no form in which it can be sent.
        """
        count = 0
        try:
            batch = await sender.create_message_batch()
            for message in messages[: self._most]:
                if _session(message) != _session(messages[0]):
                    break
                batch.add_message(message)
                count += 1
        except sb.MessageSizeExceededError:
            pass  # the next portion begins with this one; one that fills no batch may be small enough by itself
        except (UnicodeError, ValueError, TypeError) as error:
            if count == 0:
                raise RecordError(
                    f"It has a value that cannot be sent: {clean(REDACTOR.redact(str(error)))[:200]}",
                    code="value",
                ) from None
        except FAILURES as error:
            await self.close()
            raise self._error(error) from None
        return (count, batch) if count > 1 else (1, messages[0])

    async def _post(self, content: Sendable | ServiceBusMessageBatch) -> None:
        """Send, and send again where that can do no harm. Raises as `send_alone`."""
        policy = self._connection.context.connector.errors.policy.retry_policy()
        begun = self._clock.monotonic()
        unsure = False
        for attempt in range(1, policy.attempts + 1):
            try:
                await self._post_once(content)
                return
            except _Failed as failed:
                judged = failed.judged
                unsure = unsure or not failed.sure
            except PlatintError as error:  # it cannot connect again
                judged = error
            forgotten = self._clock.monotonic() - begun >= self._remembered
            if (unsure and forgotten) or not isinstance(judged, TransientError) or attempt == policy.attempts:
                break
            await self._clock.sleep(backoff(policy, attempt, self._connection.context.rng))
        if unsure:
            raise TransientError(judged.message, where=judged.where, code=UNKNOWN)
        raise judged

    async def _post_once(self, content: Sendable | ServiceBusMessageBatch) -> None:
        """Raises _Failed, and what connecting raises."""
        sender = await self._ready()
        started, ok = self._clock.monotonic(), False
        try:
            await sender.send_messages(content)
            ok = True
            self._used = self._clock.monotonic()
        except FAILURES as error:
            raise _Failed(self._error(error), _surely_not_taken(error)) from None
        finally:
            self._observe("send", started, ok)
            if not ok:
                await self.close()  # what a failed link still carries is never known

    def _error(self, error: BaseException) -> PlatintError:
        return self._connection.error(error, self._entity.path, self._entity.stream)

    def _observe(self, operation: str, started: float, ok: bool) -> None:
        count_request()
        telemetry = self._connection.context.telemetry
        telemetry.observe(f"{operation} {self._entity.stream}", self._clock.monotonic() - started, ok)


class _Failed(Exception):
    """A send failed; `sure` when nothing was taken."""

    def __init__(self, judged: PlatintError, sure: bool) -> None:
        super().__init__(judged.message)
        self.judged, self.sure = judged, sure


class _Sending:
    """What is left of a batch: runs of rows, of which the next portion is the beginning of the first one."""

    def __init__(self, runs: list[list[_Item]]) -> None:
        self.runs = runs
        self.taken = False
        """Whether a row was taken, or may have been."""

    def left(self) -> bool:
        """Whether there is anything left."""
        while self.runs and not self.runs[0]:
            self.runs.pop(0)
        return bool(self.runs)

    def done(self, count: int) -> None:
        """The first rows were sent."""
        self.taken = True
        del self.runs[0][:count]

    def refused(self, count: int) -> None:
        """The first rows were refused as a whole: try halves of them, or leave the one that is to blame."""
        run = self.runs[0]
        if count <= 1:
            del run[:count]
            return
        half = count // 2
        self.runs[:1] = [run[:half], run[half:count], run[count:]]

    def not_sent(self, why: str) -> dict[int, Fault]:
        """The faults of everything that is left."""
        fault = Fault(
            ErrorClass.TRANSIENT,
            NOT_SENT,
            f"Not sent: {why}",
            hint="Other rows of its page were sent and must not be sent twice, so this one waits here. Replay it.",
        )
        return {item.number: fault for run in self.runs for item in run}


def _session(message: Sendable) -> str | None:
    return message.session_id if isinstance(message, ServiceBusMessage) else None


def _surely_not_taken(error: BaseException) -> bool:
    """Whether a failure is a refusal, and not a lost answer."""
    lost = (sb.ServiceBusConnectionError, sb.ServiceBusCommunicationError, sb.OperationTimeoutError)
    if not isinstance(error, sb.ServiceBusError) or isinstance(error, lost):
        return False
    return type(error) is not sb.ServiceBusError or bool(getattr(error, "_condition", ""))


def _fault(error: PlatintError) -> Fault:
    return Fault(ErrorClass.RECORD, error.code, error.message, field="", hint=error.hint)


def _why(error: BaseException) -> str:
    return error.message if isinstance(error, PlatintError) else "The run was stopped."


def _lost(error: BaseException) -> Fault:
    return Fault(
        ErrorClass.TRANSIENT,
        UNKNOWN,
        f"{_why(error)} Whether the message was taken is not known.",
        hint="Look on the platform before replaying: this entity drops no duplicates.",
    )
