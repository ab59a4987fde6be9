"""The dead-letter subqueues of queues and subscriptions. They are looked at without a lock, by peeking.

Source: Microsoft, "Overview of Service Bus dead-letter queues", "Message browsing".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.amqp import AmqpAnnotatedMessage

from platint_tui.core.errors import PlatintError, RecordError, TransientError
from platint_tui.core.model import DeadQueue, NativeLetter, Returned
from platint_tui.drivers.http.calls import UNKNOWN
from platint_tui.drivers.servicebus.connection import FAILURES, Connection
from platint_tui.drivers.servicebus.entities import DEAD, Entity, Management, entity_at
from platint_tui.drivers.servicebus.receiver import opened, settle
from platint_tui.drivers.servicebus.records import enqueued_ms, letter_of, returned
from platint_tui.drivers.servicebus.target import ServicebusTarget

SEARCHED = 1_000
"""Messages that are locked to find one."""
COUNTED = 1_000
"""Messages up to which a subqueue is counted by looking at it."""
DATED = 25
"""Subqueues that are looked at for their oldest message."""
_PAGE = 100
_AT_ONCE = 4
_WAIT = 1.0


class Letters:
    """Looks into dead-letter subqueues, sends their messages back, removes them."""

    def __init__(self, connection: Connection, management: Management, to_topic: bool) -> None:
        """`to_topic`: dead letters of a subscription may go back to its topic, and so to its other
        subscriptions."""
        self._connection = connection
        self._management = management
        self._to_topic = to_topic

    async def queues(self, entities: Sequence[Entity]) -> list[DeadQueue]:
        """The subqueues of these entities: counted by the management, else by looking; with the age of the oldest
        message of those that hold some. What cannot be looked at stays unknown."""
        turn = asyncio.Semaphore(_AT_ONCE)
        held = sorted((item for item in entities if item.kind != "topic"), key=lambda item: item.path)
        dated = [item for item in held if item.count("DeadLetterMessageCount") != 0][:DATED]

        async def one(entity: Entity) -> DeadQueue:
            depth, oldest = entity.count("DeadLetterMessageCount"), None
            if entity in dated:
                async with turn:
                    with contextlib.suppress(PlatintError):
                        depth, oldest = await self._seen(entity, depth)
            return DeadQueue(entity.path + DEAD, "dead-letter subqueue", entity.path, depth, oldest)

        return list(await asyncio.gather(*(one(entity) for entity in held)))

    async def browse(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` messages of a subqueue, oldest first. Raises PlatintError."""
        entity = _entity(queue)
        async with opened(self._connection, entity, dead=True) as receiver:
            left, number = limit, 1
            while left > 0:
                found = await receiver.peek_messages(
                    max_message_count=min(_PAGE, left), sequence_number=number
                )
                if not found:
                    return
                for message in found:
                    yield letter_of(message, queue, entity.path)
                left -= len(found)
                number = _number(found[-1]) + 1

    async def give_back(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send a letter to its origin, then complete the old one, which is locked meanwhile. Raises
        TransientError when the service is away: then nothing was sent."""
        origin = entity_at(letter.origin)
        if origin.subscription and not self._to_topic:
            return Returned(
                "refused",
                "It can only be sent to the topic, which gives it to the other subscriptions too. Set 'Dead "
                "letters of subscriptions' of the profile to topic if that is meant.",
            )
        goal = await self._management.describe(
            Entity("topic", origin.name) if origin.subscription else origin
        )
        # An entity that drops duplicates would drop the message id that it knows, and the message with it.
        keeps = goal.settings.get("RequiresDuplicateDetection") == "false"
        told = letter.properties.get("message_id")
        try:
            message = returned(letter, str(told) if keeps and told else idempotency_key)
        except RecordError as error:
            return Returned("refused", error.message)
        async with opened(self._connection, _entity(letter.queue), dead=True) as receiver:
            found, others, missing = await self._locked(receiver, letter)
            try:
                if found is None:
                    return missing
                failed = await self._sent(goal, message)
                if failed is not None:
                    others.append(found)
                    return failed
                return await self._completed(receiver, found, letter)
            finally:
                await _shown(receiver, others)

    async def discard(self, letter: NativeLetter) -> Returned:
        """Remove a letter for good. Raises PlatintError."""
        async with opened(self._connection, _entity(letter.queue), dead=True) as receiver:
            found, others, missing = await self._locked(receiver, letter)
            try:
                if found is None:
                    return missing
                await receiver.complete_message(found)
                return Returned("gone", "Removed.")
            finally:
                await _shown(receiver, others)

    async def _seen(self, entity: Entity, depth: int | None) -> tuple[int | None, int | None]:
        """How many dead letters there are (None: more than are counted), and since when the oldest one is."""
        count, oldest, number = 0, None, 1
        async with opened(self._connection, entity, dead=True) as receiver:
            while count < COUNTED:
                wanted = 1 if depth is not None else _PAGE
                found = await receiver.peek_messages(max_message_count=wanted, sequence_number=number)
                if found and oldest is None:
                    oldest = enqueued_ms(found[0])
                if depth is not None:
                    return depth, oldest
                if not found:
                    return count, oldest
                count += len(found)
                number = _number(found[-1]) + 1
        return None, oldest

    async def _locked(
        self, receiver: ServiceBusReceiver, letter: NativeLetter
    ) -> tuple[ServiceBusReceivedMessage | None, list[ServiceBusReceivedMessage], Returned]:
        """The message of a letter, locked; the others that were locked on the way; and what it means when it was
        not found."""
        wanted = int(letter.id)
        there = await receiver.peek_messages(max_message_count=1, sequence_number=wanted)
        if not there or _number(there[0]) != wanted:
            return None, [], Returned("gone", f"It is not in {letter.queue} any more.")
        others: list[ServiceBusReceivedMessage] = []
        ask = 1
        while len(others) < SEARCHED:
            found = await receiver.receive_messages(max_message_count=ask, max_wait_time=_WAIT)
            hits = [item for item in found if _number(item) == wanted]
            others += [item for item in found if _number(item) != wanted]
            if hits:
                return hits[0], others, Returned("gone")
            if not found:
                held = f"Another reader has it locked in {letter.queue}; try again in a minute."
                return None, others, Returned("refused", held)
            ask = min(_PAGE, ask * 10)
        far = f"It is behind {len(others):,} older messages of {letter.queue}; send those back first."
        return None, others, Returned("refused", far)

    async def _sent(self, goal: Entity, message: ServiceBusMessage | AmqpAnnotatedMessage) -> Returned | None:
        """Send a message; what became of it if it was not taken. Raises TransientError when it surely was not."""
        target = ServicebusTarget(self._connection, goal, 1)
        try:
            await target.send_alone(message)
        except TransientError as error:
            if error.code != UNKNOWN:
                raise
            return Returned("unknown", f"{error.message} The old one is still there.")
        except PlatintError as error:
            return Returned("refused", error.sentence())
        finally:
            await target.close()
        return None

    async def _completed(
        self, receiver: ServiceBusReceiver, found: ServiceBusReceivedMessage, letter: NativeLetter
    ) -> Returned:
        try:
            await receiver.complete_message(found)
        except FAILURES as error:
            why = self._connection.error(error, letter.queue).message
            return Returned("sent", f"The old one is still in {letter.queue}: {why}")
        return Returned("sent")


def _entity(queue: str) -> Entity:
    return entity_at(queue.removesuffix(DEAD))


def _number(message: ServiceBusReceivedMessage) -> int:
    return int(message.sequence_number or 0)


async def _shown(receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
    """Unlock messages for others. Where that fails, they are when their time is over."""
    with contextlib.suppress(*FAILURES):
        await settle(receiver, messages, complete=False)
