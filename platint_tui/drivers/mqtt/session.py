"""What one subscription was delivered waits here in order, and is acknowledged over the same connection.

A broker sends as many messages as may be unacknowledged (the receive maximum of version 5; its own number in 3.1.1).
So that large ones do not fill the memory, the connection is not read on while much of it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass

from platint_tui.core.errors import TransientError
from platint_tui.core.ids import new_id
from platint_tui.core.text import clean
from platint_tui.drivers.mqtt.link import Link
from platint_tui.drivers.mqtt.packets import V5, Message

MOST_WAITING = 32 * 1024 * 1024
"""Bytes of contents that wait; beyond it the broker waits."""
_GATHER = 0.01
"""Seconds that a page is given to fill up after its first message."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The `tag`-th message of a session's connection."""

    tag: int
    message: Message


class Session:
    """The messages of one connection. `token` names it in positions; acknowledgements of another one mean nothing
    here."""

    def __init__(self, link: Link, topic: str, receive: int) -> None:
        """`receive` is how many may be unacknowledged."""
        self.link = link
        self.topic = topic
        self.token = new_id("c")
        self.given = 0
        """The tag of the last message that went out in a page."""
        self.bounded = False
        """Whether the broker may have to wait: not before it has answered the subscription."""
        self._receive = receive
        self._count = 0
        self._waiting: deque[Delivery] = deque()
        self._unacknowledged: deque[Delivery] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._left = False
        link.on_message = self._on_message
        link.on_end = self._arrived.set

    @property
    def outstanding(self) -> bool:
        """Whether something that went out in a page is not acknowledged yet."""
        return bool(self._unacknowledged) and self._unacknowledged[0].tag <= self.given

    @property
    def full(self) -> bool:
        """Whether the broker may hold more that it does not send before something is acknowledged."""
        if self.link.version != V5:
            return self.outstanding
        return len(self._unacknowledged) >= self._receive

    @property
    def arrived(self) -> list[Message]:
        """What has arrived and was not taken."""
        return [item.message for item in self._waiting]

    def _on_message(self, message: Message) -> None:
        if self._left or (message.dup and self._is_here(message)):
            return
        self._count += 1
        found = Delivery(self._count, message)
        self._waiting.append(found)
        if message.qos:
            self._unacknowledged.append(found)
        self._bytes += len(message.payload)
        self._arrived.set()
        if self._bytes > MOST_WAITING and self.bounded:
            self.link.hold()

    def _is_here(self, message: Message) -> bool:
        """Whether this packet came over this connection and is not acknowledged: then it is the same message."""
        return any(item.message.packet == message.packet for item in self._unacknowledged)

    async def take(self, most: int, size: int, seconds: float) -> list[Delivery]:
        """What has arrived, in order: up to `most` messages and about `size` bytes; empty when nothing came within
        `seconds`. Raises TransientError or ConfigError when the connection is gone."""
        if not self._waiting and self.link.failure is None:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if len(self._waiting) < most and self._waiting:
            await asyncio.sleep(_GATHER)
        if self.link.failure is not None:
            raise self.link.failure
        found: list[Delivery] = []
        weight = 0
        while self._waiting and len(found) < most and weight < size:
            found.append(self._waiting.popleft())
            weight += len(found[-1].message.payload)
        self._bytes -= weight
        if self._bytes <= MOST_WAITING // 2:
            self.link.release()
        return found

    async def acknowledge(self, tag: int) -> None:
        """Acknowledge every message up to this tag, in the order in which they came (MQTT 5.0, 4.6). Raises
        TransientError when the connection is gone."""
        if self.link.closed:
            raise stale(self.link.address.where, self.topic)
        while self._unacknowledged and self._unacknowledged[0].tag <= tag:
            try:
                await self.link.acknowledge(self._unacknowledged[0].message)
            except TransientError:
                raise stale(self.link.address.where, self.topic) from None
            self._unacknowledged.popleft()

    def leave(self) -> None:
        """Nothing more is taken: what comes is delivered again to the next connection."""
        self._left = True
        self._waiting.clear()
        self.link.release()


def stale(where: str, topic: str) -> TransientError:
    """The connection over which messages came is gone; the broker delivers them again."""
    return TransientError(
        f"The connection over which messages of '{clean(topic)}' came is gone.",
        where=where,
        hint="They are delivered again, and what was stored already replaces itself.",
        code="stale_connection",
    )
