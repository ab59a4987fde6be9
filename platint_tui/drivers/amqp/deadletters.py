"""The broker's own dead letters: looked at, sent back to where they came from, removed.

RabbitMQ says in the header `x-death` (https://www.rabbitmq.com/docs/dlx) where a message died and why, the latest
first: `queue`, `reason` (rejected, expired, maxlen, delivery_limit), `count`, `exchange`, `routing-keys`, `time`.

Nobody can take one message out of the middle of a queue: what is looked for is taken from the front together with
all before it, and all but that one go back. They keep their order, and are marked as redelivered; meanwhile nobody
else sees them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiormq.abc import AbstractChannel
from pamqp import commands

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.model import Json, JsonObject, NativeLetter, Returned
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.deadqueues import Patience
from platint_tui.drivers.amqp.errors import FAILURES
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.messages import (
    UNDECODED_PROPERTIES,
    Message,
    document_of,
    outside_headers,
    properties_of,
)
from platint_tui.drivers.amqp.publisher import Outgoing, Publisher, unroutable, unroutable_hint

_REASONS = {
    "rejected": "A consumer rejected it",
    "expired": "It was not consumed in time",
    "maxlen": "Its queue was full",
    "delivery_limit": "It was delivered too often without being acknowledged",
    "": "It was published to this queue itself",
}
_ROUNDS = 3
_BETWEEN = 0.3
"""Seconds between two looks for one that is not there: somebody else may hold it for a moment."""
_IDLE = 5.0
"""Seconds after which what is held is given back when nothing more is asked for."""


@dataclass(frozen=True, slots=True)
class Death:
    """The latest entry of `x-death`, "" and None where there is none."""

    queue: str = ""
    reason: str = ""
    count: int | None = None
    died_ms: int | None = None


def death_of(headers: Mapping[str, Json]) -> Death:
    """Where and why a message died last."""
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(latest, Mapping):
        return Death()
    count, died = latest.get("count"), latest.get("time")
    return Death(
        str(latest.get("queue", "")),
        str(latest.get("reason", "")),
        count if isinstance(count, int) else None,
        _moment(died),
    )


def _moment(text: Json) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000) if isinstance(text, str) else None
    except ValueError:
        return None


def letter_of(message: Message, queue: str, origin: str) -> NativeLetter:
    """A message of a dead-letter queue; `origin` is where the queue's letters come from when it does not say."""
    death = death_of(message.headers)
    why = _REASONS.get(death.reason, death.reason.replace("_", " "))
    return NativeLetter(
        id=message.digest(),
        queue=queue,
        origin=death.queue or origin,
        reason=why if death.count is None or death.count < 2 else f"{why}, {death.count} times",
        payload=message.body,
        properties=document_of(message),
        code=death.reason or "dead_lettered",
        deliveries=death.count,
        died_ms=death.died_ms,
        alike=True,
    )


async def browse(
    link: Link, queue: str, origin: str, limit: int, patience: Patience
) -> AsyncIterator[NativeLetter]:
    """Up to `limit` letters from the front of a queue. Raises ConfigError when looking may cost one."""
    where = link.address.where
    patience.before(where)
    channel = await link.channel()
    try:
        for _ in range(limit):
            message = await _next(link, channel, queue)
            if message is None:
                break
            patience.check(message.deliveries, where)
            yield letter_of(message, queue, origin)
    except FAILURES as error:
        raise link.error(error, "read") from None
    finally:
        # The end of the channel puts them back in their places; after basic.nack a quorum queue has them at its end.
        with contextlib.suppress(*FAILURES):
            await channel.close(ConnectionError("closed"))


async def _next(link: Link, channel: AbstractChannel, queue: str) -> Message | None:
    delivered = await channel.basic_get(queue)
    return None if isinstance(delivered.delivery, commands.Basic.GetEmpty) else link.message(delivered)


class Hand:
    """Holds letters of one queue while some of them are looked for, so that a queue is gone through once for many.

    What nobody asked for goes back to the queue some seconds after the last request, or with `close`.
    """

    def __init__(self, queue: str, connect: Callable[[], Awaitable[Link]], patience: Patience) -> None:
        self.queue = queue
        self.lock = asyncio.Lock()
        self._connect = connect
        self._patience = patience
        self._link: Link | None = None
        self._channel: AbstractChannel | None = None
        self._held: dict[str, list[int]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None

    async def publisher(self, seconds: float) -> Publisher:
        """What letters of this queue are sent with, over a connection of its own. Raises PlatintError."""
        if self._publisher is not None and not self._publisher.usable:
            await self._publisher.close()
            self._publisher = None
        if self._publisher is None:
            self._publisher = await Publisher.open(await self._connect(), seconds)
        return self._publisher

    async def find(self, identity: str) -> int | None:
        """The delivery tag of a letter, None when the queue does not hold it. Call it, and what follows, under
        `lock`. Raises TransientError, ConfigError."""
        for round_ in range(_ROUNDS):
            if round_:
                await asyncio.sleep(_BETWEEN)
            if tags := self._held.get(identity):
                return tags[0]
            if (tag := await self._search(identity)) is not None:
                return tag
        return None

    async def remove(self, identity: str, tag: int) -> None:
        """Take a letter that `find` found out of the queue for good. Raises TransientError."""
        link, channel = await self._opened()
        try:
            await channel.basic_ack(tag)
            # The answer to a later request says that the broker has seen the acknowledgement.
            await channel.basic_qos(prefetch_count=0)
        except FAILURES as error:
            raise link.error(error) from None
        self._held[identity].remove(tag)

    async def _search(self, identity: str) -> int | None:
        link, channel = await self._opened()
        try:
            while (message := await _next(link, channel, self.queue)) is not None:
                found = message.digest()
                self._held.setdefault(found, []).append(message.tag)
                if found == identity:
                    return message.tag
                self._patience.check(message.deliveries, link.address.where)
        except FAILURES as error:
            await self._release()
            raise link.error(error, "read") from None
        except ConfigError:
            await self._release()
            raise
        return None

    async def _opened(self) -> tuple[Link, AbstractChannel]:
        if self._link is None or self._channel is None or self._link.closed or self._channel.is_closed:
            await self._release()
            self._link = await self._connect()
            self._channel = await self._link.channel()
        return self._link, self._channel

    def keep(self) -> None:
        """Hold for a while from now on what is held."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(_IDLE)
        async with self.lock:
            await self._release()

    async def _release(self) -> None:
        """End the connection: what is held and not removed goes back to its place in the queue."""
        link, self._link, self._channel = self._link, None, None
        publisher, self._publisher = self._publisher, None
        self._held.clear()
        if link is not None:
            await link.close()
        if publisher is not None:
            await publisher.close()

    async def close(self) -> None:
        """Give back what is held."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        async with self.lock:
            await self._release()


async def return_letter(hand: Hand, letter: NativeLetter, idempotency_key: str, seconds: float) -> Returned:
    """Send a letter to the queue that it died in, and remove the old one when the broker has confirmed the new one.

    It goes straight to that queue, through the default exchange: through its own exchange it would also reach
    queues whose consumers have dealt with it. `seconds` is how long the confirmation is waited for. Raises
    TransientError when nothing was sent.
    """
    if not letter.origin:
        return Returned("refused", "Nothing says which queue it came from: send it by hand, then discard it.")
    if UNDECODED_PROPERTIES in letter.properties:
        return Returned(
            "refused", "Its properties are not those of AMQP 0-9-1, so they cannot be sent once more."
        )
    tag = await hand.find(letter.id)
    if tag is None:
        return Returned("gone", f"'{clean(letter.queue)}' does not hold it any more.")
    publisher = await hand.publisher(seconds)
    await publisher.ready()
    [sent] = await publisher.publish([_outgoing(letter, idempotency_key)])
    if sent.state == "confirmed":
        return await _settled(hand, letter, tag)
    if sent.state == "unknown":
        return Returned(
            "unknown", f"{sent.why} Whether it was sent is not known; the old one is still there."
        )
    if sent.state == "returned":
        told = unroutable("", letter.origin, sent.why)
        return Returned("refused", f"{told} {unroutable_hint('')}")
    if sent.state == "malformed":
        return Returned("refused", f"Its properties do not fit into a message: {sent.why}.")
    if isinstance(sent.error, TransientError):
        raise sent.error
    if sent.error is not None:
        return Returned("refused", sent.error.sentence())
    return Returned("refused", f"'{clean(letter.origin)}' takes no more messages now (basic.nack).")


async def _settled(hand: Hand, letter: NativeLetter, tag: int) -> Returned:
    """Remove the old one of a letter that was sent."""
    try:
        await hand.remove(letter.id, tag)
    except TransientError as error:
        return Returned(
            "unknown",
            f"It was sent, but the old one could not be removed: {error.message} Discard it in"
            f" '{clean(letter.queue)}'.",
        )
    return Returned("sent")


async def discard_letter(hand: Hand, letter: NativeLetter) -> Returned:
    """Remove a letter for good."""
    tag = await hand.find(letter.id)
    if tag is None:
        return Returned("gone", f"'{clean(letter.queue)}' does not hold it any more.")
    await hand.remove(letter.id, tag)
    return Returned("sent")


def _outgoing(letter: NativeLetter, idempotency_key: str) -> Outgoing:
    document: JsonObject = letter.properties
    headers = document.get("headers")
    kept: dict[str, Any] = outside_headers(headers) if isinstance(headers, Mapping) else {}
    identity = str(document.get("message_id") or idempotency_key)
    properties = properties_of(document, message_id=identity, headers=kept)
    return Outgoing(letter.payload, properties, "", letter.origin)


@contextlib.asynccontextmanager
async def held(
    hands: dict[str, Hand], queue: str, make: Callable[[], Awaitable[Hand]]
) -> AsyncIterator[Hand]:
    """The hand for a queue, for one request at a time."""
    if queue not in hands:
        made = await make()
        hands.setdefault(queue, made)
    hand = hands[queue]
    async with hand.lock:
        try:
            yield hand
        finally:
            hand.keep()
