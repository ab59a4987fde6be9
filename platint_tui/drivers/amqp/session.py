"""One consumer: what it was delivered waits here in order, and is acknowledged over the same channel.

AMQP bounds what may be unacknowledged by a number of messages, not by bytes (`basic.qos`). So that large ones do
not fill the memory, the connection is not read on while much of it waits, and the consumer then asks for as few at
a time as fit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp import commands

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.ids import new_id
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.errors import FAILURES
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.profile import Address

MOST_WAITING = 32 * 1024 * 1024
"""Bytes of bodies that wait; beyond it the broker waits."""
_GATHER = 0.02
"""Seconds that a page is given to fill up after its first message."""

Arguments = Callable[[], dict[str, Any] | None]


class Session:
    """A consumer of one queue. `token` names it in positions; acknowledgements of another one mean nothing here.

    `prefetch` is how many messages it may hold now, `wanted` how many when they are small.
    """

    def __init__(self, link: Link, queue: str, wanted: int, prefetch: int, arguments: Arguments) -> None:
        """`arguments` gives those of the next `basic.consume`."""
        self.link = link
        self.queue = queue
        self.token = new_id("c")
        self.wanted = wanted
        self.prefetch = min(prefetch, wanted)
        self.given = 0
        """The delivery tag of the last message that went out in a page."""
        self.newest: DeliveredMessage | None = None
        """The last message that arrived."""
        self.gathered = 0.0
        """Seconds that the first message of what was taken last waited here."""
        self._since = 0.0
        self._acknowledged = 0
        self._arguments = arguments
        self._clock = asyncio.get_running_loop().time
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._waiting: deque[DeliveredMessage] = deque()
        self._bytes = 0
        self._largest = 1
        self._arrived = asyncio.Event()
        self._failure: PlatintError | None = None
        self._cancelled = False
        self._closed_in_order = False
        self._left = False
        self._task: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[int] | None = None

    @property
    def outstanding(self) -> bool:
        """Whether something that went out is not acknowledged yet."""
        return self.given > self._acknowledged

    @property
    def full(self) -> bool:
        """Whether the broker delivers no more until something is acknowledged."""
        return self.given - self._acknowledged >= self.prefetch

    async def start(self) -> None:
        """Begin to consume. Raises PlatintError: the broker's refusal."""
        self._channel = await self.link.channel()
        self._channel.on_consumer_cancel_callbacks.add(self._on_cancel)
        self._channel.closing.add_done_callback(self._on_end)
        try:
            async with asyncio.timeout(self.link.address.connect_seconds):
                await self._consume()
        except FAILURES as error:
            raise self.link.error(error, "read") from None

    async def _consume(self) -> None:
        channel = self._opened()
        await channel.basic_qos(prefetch_count=self.prefetch)
        begun = await channel.basic_consume(self.queue, self._on_message, arguments=self._arguments())
        self._tag = begun.consumer_tag or ""

    def _opened(self) -> AbstractChannel:
        assert self._channel is not None, "start() comes first"
        return self._channel

    async def take(self, most: int, size: int, seconds: float) -> list[DeliveredMessage]:
        """What has arrived, in order: up to `most` messages and about `size` bytes; empty when nothing came within
        `seconds`. Raises TransientError when the channel is gone, ConfigError when the queue is."""
        if not self._waiting and self._failure is None:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if len(self._waiting) < most and self._waiting:
            await asyncio.sleep(_GATHER)
        if self._cancelled:
            await self._explain_cancel()
        if self._failure is not None:
            raise self._failure
        found: list[DeliveredMessage] = []
        weight = largest = 0
        while self._waiting and len(found) < most and weight < size:
            message = self._waiting.popleft()
            found.append(message)
            length = len(message.body)
            weight += length
            largest = max(largest, length)
        if found:
            self.gathered = self._clock() - self._since
            self._bytes -= weight
            self._largest = max(largest, self._largest // 2, 1)
            self._relax()
        return found

    def _relax(self) -> None:
        """Read on when little waits, and ask for more at a time when the messages have become small."""
        if self._bytes > MOST_WAITING // 2:
            return
        self.link.wire.release()
        if self.prefetch < self.wanted and self._fitting() >= min(self.wanted, 2 * self.prefetch):
            self._change(self._fitting())

    def _fitting(self) -> int:
        return min(self.wanted, max(1, MOST_WAITING // self._largest))

    async def _on_message(self, message: DeliveredMessage) -> None:
        if self._left:
            return  # it goes back to the queue when the connection ends
        if not self._waiting:
            self._since = self._clock()
        self.newest = message
        self._waiting.append(message)
        self._bytes += len(message.body)
        self._arrived.set()
        if self._bytes > MOST_WAITING:
            self.link.wire.hold()
            self._largest = max(self._largest, len(message.body))
            if self._fitting() < self.prefetch:
                self._change(self._fitting())

    def _change(self, prefetch: int) -> None:
        """Consume with another prefetch, beside everything else: the answers come behind what is on its way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._consume_again(prefetch))

    async def _consume_again(self, prefetch: int) -> None:
        try:
            await self._opened().basic_cancel(self._tag)
            self.prefetch = prefetch
            await self._consume()
        except FAILURES as error:
            self._failure = self._failure or self.link.error(error)
            self._arrived.set()

    async def _on_cancel(self, _: commands.Basic.Cancel) -> None:
        self._cancelled = True
        self._arrived.set()

    def _on_end(self, closing: asyncio.Future[Any]) -> None:
        error = closing.exception() if not closing.cancelled() else None
        self._failure = self._failure or self.link.error(error or ConnectionError("closed"))
        self._arrived.set()

    async def _explain_cancel(self) -> None:
        """Raise what the broker's cancellation of the consumer means."""
        self.link.wire.release()
        try:
            await ready_count(self.link, self.queue)
        except ConfigError as error:
            raise ConfigError(
                f"The queue '{clean(self.queue)}' was deleted while it was read.",
                where=self.link.address.where,
                hint="Make it again, or take the stream out of the integration.",
                code=error.code,
            ) from None
        raise TransientError(
            f"The broker cancelled the consumer of '{clean(self.queue)}'.",
            where=self.link.address.where,
            code="consumer_cancelled",
        )

    async def count(self) -> int | None:
        """Messages that are ready in the queue, None when one arrives meanwhile: the answer comes behind everything
        that is on its way. Raises ConfigError when there is no such queue any more."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(ready_count(self.link, self.queue))
        arrival = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait({self._counting, arrival}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()
        return self._counting.result() if self._counting.done() and not self._waiting else None

    async def acknowledge(self, tag: int) -> None:
        """Acknowledge everything up to this delivery tag. Raises TransientError when the channel is gone."""
        if self._failure is not None or self.link.closed:
            raise stale(self.link.address, self.queue)
        if tag > self._acknowledged:
            try:
                await self._opened().basic_ack(tag, multiple=True)
            except FAILURES:
                raise stale(self.link.address, self.queue) from None
            self._acknowledged = tag
        if self._left and not self.outstanding:
            await self.close()

    async def confirm(self) -> bool:
        """Whether the broker has taken every acknowledgement so far: an answer on their channel comes behind them."""
        if self._closed_in_order:
            return True
        if self._failure is not None or self.link.closed:
            return False
        try:
            await self._opened().basic_qos(prefetch_count=self.prefetch)
        except FAILURES:
            return False
        return True

    async def end(self) -> None:
        """End the consumer and its channel; the connection stays. What was delivered and not acknowledged is back in
        its place in the queue (a quorum queue puts at its end what is returned by itself, with `basic.nack`)."""
        self._left = True
        self._waiting.clear()
        await self._end_tasks()
        if self._channel is not None:
            with contextlib.suppress(*FAILURES):
                await self._channel.close(ConnectionError("closed"))
        self.link.wire.undecoded.clear()

    async def _end_tasks(self) -> None:
        tasks = [task for task in (self._task, self._counting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def leave(self) -> None:
        """Nothing more is taken. The connection stays while acknowledgements are to come; without any it ends."""
        self._left = True
        self._waiting.clear()
        self.link.wire.release()
        if self._failure is not None or not self.outstanding:
            await self.close()

    async def close(self) -> None:
        """End the connection; what is not acknowledged goes back to the queue."""
        self._left = True
        self._waiting.clear()
        await self._end_tasks()
        in_order = self._failure is None and not self.link.closed and not self.outstanding
        await self.link.close()
        self._closed_in_order = self._closed_in_order or in_order


async def ready_count(link: Link, queue: str) -> int:
    """Messages that are ready in a queue, by declaring it passively (which needs no rights and changes nothing).

    Raises ConfigError when there is no such queue, TransientError.
    """
    return await on_own_channel(link, lambda channel: _count(channel, queue))


async def _count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.queue_declare(queue, passive=True)
    return declared.message_count or 0


async def on_own_channel(
    link: Link, work: Callable[[AbstractChannel], Coroutine[Any, Any, int]], need: str = ""
) -> int:
    """What `work` returns on a channel of its own: the broker closes a channel when it refuses something."""
    channel = await link.channel()
    try:
        async with asyncio.timeout(link.address.total_seconds):
            found = await work(channel)
            await channel.close(ConnectionError("closed"))
    except FAILURES as error:
        raise link.error(error, need) from None
    return found


def stale(address: Address, queue: str) -> TransientError:
    """The channel over which messages came is gone; the broker delivers them again."""
    return TransientError(
        f"The connection over which messages of '{clean(queue)}' came is gone.",
        where=address.where,
        hint="They are delivered again, and what was stored already replaces itself.",
        code="stale_channel",
    )
