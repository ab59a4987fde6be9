"""The dead letters that SQS keeps: queues that others name in their redrive policies.

SQS has no look at a message without receiving it, and each receive counts. So everything that is looked at is
given back at once, and a queue that itself moves messages on after a few receives is left alone.

Sources: AWS, "Using dead-letter queues in Amazon SQS", "StartMessageMoveTask".
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.model import DeadQueue, Json, JsonObject, NativeLetter, Returned
from platint_tui.core.text import clean
from platint_tui.drivers.http.calls import UNKNOWN
from platint_tui.drivers.sqs.api import BATCH, RECEIVE, Api
from platint_tui.drivers.sqs.queues import Queue, Queues, name_of, stream_of
from platint_tui.drivers.sqs.records import checked, group_of, receive_count, sent_ms

HIDDEN = 30
"""Seconds for which a message that is looked at is hidden from others, unless it is given back before."""
SEARCHED = 1_000
"""Messages that are received to find one."""
FEW_RECEIVES = 10
"""A dead-letter queue that moves messages on after so many receives or fewer is not looked into."""
EMPTY = 2
"""Empty answers in a row that end a search; one is enough when as many came as the queue tells of."""
WAIT = 1
"""Seconds for which a receive waits: the least with which every server of the queue is asked."""
_MARGIN = 10.0


@dataclass(frozen=True, slots=True)
class _Hold:
    """A message in hand: until when it is hidden from others (monotonic seconds)."""

    message: JsonObject
    until: float


class Letters:
    """Looks into dead-letter queues, sends their messages back, removes them."""

    def __init__(self, api: Api, queues: Queues, clock: Clock) -> None:
        self._api = api
        self._queues = queues
        self._clock = clock
        self._held: dict[str, dict[str, _Hold]] = {}
        self._oldest: dict[str, int] = {}

    async def queues(self) -> list[DeadQueue]:
        """The queues that keep dead letters of others, with what is known of them; how old the oldest one is,
        only when it was looked at."""
        found, _ = await self._queues.all()
        return [
            DeadQueue(
                queue.name,
                "queue",
                queue.sources[0] if len(queue.sources) == 1 else "",
                queue.depth,
                self._oldest.get(queue.name) if queue.depth else None,
            )
            for queue in found
            if queue.sources
        ]

    async def browse(self, name: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` messages of a queue, oldest first; they were given back before the first one comes.

        Raises ConfigError when looking would move them on (see the module).
        """
        await self.release()
        queue = await self._usable(name)
        sources = await self._queues.sources(name)
        messages: dict[str, JsonObject] = {}
        try:
            empty = 0
            while len(messages) < limit and empty < (1 if len(messages) >= (queue.depth or limit) else EMPTY):
                received = await self._receive(queue, min(BATCH, limit - len(messages)))
                empty = 0 if received else empty + 1
                messages |= {str(item["MessageId"]): item for item in received}
        finally:
            await self._show(queue, list(messages.values()))
        letters = sorted((_letter(queue, sources, item) for item in messages.values()), key=_age)
        if letters:
            self._oldest[name] = _age(letters[0])
        for letter in letters:
            yield letter

    async def give_back(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send a letter to the queue that it came from, then delete the old one. Raises TransientError when the
        platform is away: then nothing was sent."""
        if not letter.origin:
            return Returned(
                "refused",
                f"Several queues send their dead letters to {letter.queue}, and this one does not say which it "
                "came from.",
            )
        try:
            text = letter.payload.decode()
        except UnicodeDecodeError:
            return Returned("refused", "SQS takes texts only, and this payload is none.")
        queue = await self._usable(letter.queue)
        origin = await self._queues.url(letter.origin)
        found = await self._find(queue, letter.id)
        if found is None:
            return await self._not_found(queue)
        body: dict[str, Json] = {
            "QueueUrl": origin,
            "MessageBody": text,
            "MessageAttributes": letter.properties.get("attributes") or {},
        }
        if letter.origin.endswith(".fifo"):
            body["MessageGroupId"] = group_of(str(letter.properties.get("group") or letter.id))
            body["MessageDeduplicationId"] = idempotency_key
        elif letter.properties.get("group"):
            body["MessageGroupId"] = letter.properties["group"]
        try:
            await self._api.call(
                "SendMessage", body, operation="return", stream=stream_of(letter.origin), safe=False
            )
        except TransientError as error:
            await self._show(queue, [found])
            if error.code != UNKNOWN:
                raise
            return Returned("unknown", f"{error.message} The old one is still in {queue.name}.")
        except PlatintError as error:
            await self._show(queue, [found])
            return Returned("refused", error.sentence())
        try:
            await self._delete(queue, found)
        except PlatintError as error:
            return Returned("sent", f"The old one is still in {queue.name}: {error.sentence()}")
        return Returned("sent")

    async def discard(self, letter: NativeLetter) -> Returned:
        """Delete a letter for good. Raises PlatintError."""
        queue = await self._usable(letter.queue)
        found = await self._find(queue, letter.id)
        if found is None:
            return await self._not_found(queue)
        await self._delete(queue, found)
        return Returned("gone", "Deleted.")

    async def redrive(self, name: str, rate: int | None) -> str:
        """Have SQS move every message of a dead-letter queue back to where it came from, at most `rate` a
        second (1 to 500); the handle of its task. Raises PlatintError."""
        queue = await self._queues.describe(name)
        body: dict[str, Json] = {"SourceArn": queue.attributes.get("QueueArn", "")}
        if rate is not None:
            body["MaxNumberOfMessagesPerSecond"] = rate
        answer = await self._api.call(
            "StartMessageMoveTask", body, operation="redrive", stream=stream_of(name), safe=False
        )
        return str(answer.get("TaskHandle", ""))

    async def release(self) -> None:
        """Give back every message in hand. One that cannot be is shown again by itself within seconds."""
        held, self._held = self._held, {}
        for name, messages in held.items():
            queue = Queue(name, await self._queues.url(name))
            await self._show(queue, [item.message for item in messages.values()])

    async def _usable(self, name: str) -> Queue:
        """A queue that may be looked into. Raises ConfigError."""
        queue = await self._queues.describe(name)
        redrive = queue.redrive
        if redrive is not None and redrive[1] <= FEW_RECEIVES:
            raise ConfigError(
                f"Looking into {clean(name)} would move its messages to {clean(redrive[0])}: its own redrive "
                f"policy does that after {redrive[1]} receives.",
                where=clean(name),
                hint="Remove the redrive policy of this dead-letter queue, or raise its maxReceiveCount.",
                code="receives",
            )
        return queue

    async def _find(self, queue: Queue, identity: str) -> JsonObject | None:
        """A message by its id, hidden from others for some seconds; what is received on the way stays in hand
        for the next one that is wanted."""
        held = self._held.setdefault(queue.name, {})
        empty = received = 0
        while True:
            now = self._clock.monotonic()
            known = held.get(identity)
            if known is not None and known.until > now + _MARGIN:
                return held.pop(identity).message
            if empty >= EMPTY or received >= SEARCHED:
                return None
            messages = await self._receive(queue, BATCH)
            empty = 0 if messages else empty + 1
            received += len(messages)
            held |= {str(item["MessageId"]): _Hold(item, now + HIDDEN) for item in messages}

    async def _not_found(self, queue: Queue) -> Returned:
        """What it means that a search ended: gone, when nothing is in the queue that was not looked at."""
        seen = len(self._held.get(queue.name, {}))
        await self.release()
        if queue.fifo:
            told = "It may be held back by earlier messages of its group: send those back first."
        elif seen >= SEARCHED:
            told = f"It is not among the {seen:,} messages that were looked at; redrive the queue as a whole."
        else:
            return Returned("gone", f"It is not in {queue.name} any more, or another reader has it just now.")
        return Returned("refused", f"Not found in {queue.name}. {told}")

    async def _receive(self, queue: Queue, count: int) -> list[JsonObject]:
        answer = await self._api.call(
            "ReceiveMessage",
            {
                "QueueUrl": queue.url,
                "MaxNumberOfMessages": count,
                "WaitTimeSeconds": WAIT,
                "VisibilityTimeout": HIDDEN,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            },
            operation=RECEIVE,
            stream=stream_of(queue.name),
        )
        return [checked(item, queue.name) for item in answer.get("Messages") or ()]

    async def _show(self, queue: Queue, messages: list[JsonObject]) -> None:
        entries: list[dict[str, Json]] = [
            {"ReceiptHandle": item["ReceiptHandle"], "VisibilityTimeout": 0} for item in messages
        ]
        with contextlib.suppress(PlatintError):
            await self._api.batch(
                "ChangeMessageVisibilityBatch",
                queue.url,
                entries,
                operation="show",
                stream=stream_of(queue.name),
            )

    async def _delete(self, queue: Queue, message: JsonObject) -> None:
        await self._api.call(
            "DeleteMessage",
            {"QueueUrl": queue.url, "ReceiptHandle": message["ReceiptHandle"]},
            operation="delete",
            stream=stream_of(queue.name),
        )


def _letter(queue: Queue, sources: list[str], message: JsonObject) -> NativeLetter:
    system = message.get("Attributes") or {}
    told = system.get("DeadLetterQueueSourceArn")
    origin = name_of(told) if isinstance(told, str) else sources[0] if len(sources) == 1 else ""
    count = receive_count(message)
    properties: dict[str, Json] = {
        "attributes": message.get("MessageAttributes") or {},
        "group": system.get("MessageGroupId"),
        "sent_ms": sent_ms(message),
    }
    return NativeLetter(
        id=str(message["MessageId"]),
        queue=queue.name,
        origin=origin,
        reason="It was received as often as the redrive policy of its queue allows, and never deleted.",
        payload=str(message.get("Body", "")).encode("utf-8", "surrogatepass"),
        properties=properties,
        code="max_receives",
        deliveries=count,
        died_ms=None,
    )


def _age(letter: NativeLetter) -> int:
    sent = letter.properties.get("sent_ms")
    return sent if isinstance(sent, int) else 0
