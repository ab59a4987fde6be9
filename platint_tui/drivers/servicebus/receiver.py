"""Receiving from one queue or subscription in peek-lock: what was given out stays locked until it is stored.

The library's receivers are for one task at a time. So one task owns the receiver: it receives, renews locks,
completes what it is told to, and ends. What others want of it they put into its orders.

Source: Microsoft, "Message transfers, locks, and settlement".
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from azure.servicebus import ServiceBusReceivedMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError

from platint_tui.core.errors import ConfigError, PlatintError, RecordError, SystemicError, TransientError
from platint_tui.core.model import BadElement, JsonObject, Page, Record
from platint_tui.core.wire import count_request
from platint_tui.drivers.servicebus.connection import FAILURES, Connection
from platint_tui.drivers.servicebus.entities import Entity
from platint_tui.drivers.servicebus.records import enqueued_ms, record_of
from platint_tui.manifest.sources import Source

CHUNK = 100
"""Messages that are asked for at most."""
_FEWEST = 10
_SLICE = 0.25
"""Seconds of one receive, so that nobody waits longer for an order to be carried out."""
_FRESH = 2
"""Pages in a row with nothing but what arrived after a scan began, after which it ends."""
_LOOK = 100
_RELEASE = 5.0


@dataclass(slots=True)
class _Held:
    """A message in hand, for how long it was locked, and when that is to be renewed (monotonic seconds)."""

    message: ServiceBusReceivedMessage
    seconds: float
    renew_at: float


@dataclass(slots=True)
class _Order:
    """Complete everything up to a page; `done` is told when that has happened."""

    page: int
    done: asyncio.Future[None]


@contextlib.asynccontextmanager
async def opened(
    connection: Connection, entity: Entity, *, dead: bool = False
) -> AsyncIterator[ServiceBusReceiver]:
    """A receiver on an entity, or on its dead letters. Errors of the library come out as PlatintError."""
    client = connection.client()
    receiver = _receiver(client, entity, dead)
    started = connection.context.clock.monotonic()
    try:
        try:
            await receiver.__aenter__()
        except BaseException:
            _observe(connection, f"open {entity.stream}", started, False)
            raise
        _observe(connection, f"open {entity.stream}", started, True)
        yield receiver
    except FAILURES as error:
        judged = connection.error(error, entity.path, entity.stream)
        if isinstance(judged, RecordError):  # there is none: it is our request that was refused
            judged = SystemicError(judged.message, hint=judged.hint, where=judged.where, code=judged.code)
        raise judged from None
    finally:
        await closed(receiver, client)


async def closed(*handlers: ServiceBusReceiver | ServiceBusSender | ServiceBusClient) -> None:
    """Close what may be broken already."""
    for handler in handlers:
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(_RELEASE):
                await handler.close()


class Receiver:
    """One reader of one entity, with its locks."""

    def __init__(
        self, connection: Connection, entity: Entity, source: Source, *, follow: bool, counted: bool
    ) -> None:
        """With `follow` it goes on without an end. `counted`: records have their delivery count."""
        self._connection = connection
        self._clock = connection.context.clock
        self._entity = entity
        self._source = source
        self._follow = follow
        self._silence = source.heartbeat if follow else source.idle
        self._counted = counted
        self._reader = secrets.token_hex(4)
        self._number = 0
        self._held: dict[int, list[_Held]] = {}
        self._found: asyncio.Queue[list[ServiceBusReceivedMessage]] = asyncio.Queue(maxsize=2)
        self._orders: list[_Order] = []
        self._wake = asyncio.Event()
        self._reading = self._open = True
        self._failure: PlatintError | None = None
        self._owner: asyncio.Task[None] | None = None

    async def pages(self) -> AsyncIterator[Page]:
        """Pages of what is received. Closed early, it gives back what was not acknowledged. Raises PlatintError."""
        finished = False
        try:
            async for page in self._pages():
                finished = page.last
                yield page
        finally:
            self._reading = False
            self._wake.set()
            if not finished:
                await self.close()

    async def acknowledge(self, position: JsonObject) -> None:
        """Complete the messages of every page up to the one with this position.

        Raises TransientError when the connection over which they came is gone.
        """
        if position.get("reader") != self._reader:
            return  # of a reader before: its messages come again and are known by their ids
        page = int(position["page"])
        if not any(number <= page for number in self._held):
            return
        if self._owner is None or self._owner.done():
            raise self._failure or self._gone()
        order = _Order(page, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._wake.set()
        await order.done

    async def close(self) -> None:
        """Give back what is still locked, and release the connection. An entity counts that as a delivery."""
        self._open = self._reading = False
        self._wake.set()
        if self._owner is not None:
            done, _ = await asyncio.wait([self._owner], timeout=2 * _RELEASE)
            if not done:
                self._owner.cancel()
                await asyncio.gather(self._owner, return_exceptions=True)

    # --- the side that reads ------------------------------------------------------------------------------

    async def _pages(self) -> AsyncIterator[Page]:
        begun = self._clock.now_ms()
        fresh = 0
        self._owner = asyncio.create_task(self._own())
        while True:
            messages = await self._next()
            if messages:
                yield self._page(messages)
                newer = all((enqueued_ms(item) or 0) > begun for item in messages)
                fresh = fresh + 1 if newer else 0
            if not self._follow and (not messages or fresh >= _FRESH):
                yield self._empty(last=True)
                return
            if not messages:
                yield self._empty()

    async def _next(self) -> list[ServiceBusReceivedMessage]:
        """The next messages, or none after a silence. Raises what ended the owner."""
        assert self._owner is not None
        getting = asyncio.create_task(self._found.get())
        try:
            await asyncio.wait({getting, self._owner}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                self._wake.set()
                return getting.result()
            raise self._failure or self._gone()
        finally:
            getting.cancel()

    def _page(self, messages: Sequence[ServiceBusReceivedMessage]) -> Page:
        made = [record_of(item, self._entity.place, self._counted) for item in messages]
        self._number += 1
        return Page(
            [item for item in made if isinstance(item, Record)],
            self._position(),
            last=False,
            bytes=sum(len(item.raw) for item in made),
            bad=[item for item in made if isinstance(item, BadElement)],
            happened=[when for item in messages if (when := enqueued_ms(item)) is not None],
        )

    def _empty(self, last: bool = False) -> Page:
        return Page((), self._position(), last=last, requests=0)

    def _position(self) -> dict[str, int | str]:
        return {"v": 1, "kind": "consume", "reader": self._reader, "page": self._number}

    def _gone(self) -> TransientError:
        return TransientError(
            "The connection over which messages came is closed; they come again.", where=self._entity.stream
        )

    # --- the side that owns the receiver --------------------------------------------------------------------

    async def _own(self) -> None:
        """Receive, renew and complete until this is closed or something fails."""
        try:
            async with opened(self._connection, self._entity) as receiver:
                await self._work(receiver)
                await self._abandon(receiver)
        except PlatintError as error:
            self._failure = error
        finally:
            for order in self._orders:
                if not order.done.done():
                    order.done.set_exception(self._failure or self._gone())

    async def _work(self, receiver: ServiceBusReceiver) -> None:
        ask, heard, given = CHUNK, self._clock.monotonic(), 0
        while self._open:
            await self._carry_out(receiver)
            await self._renew(receiver)
            if not self._reading or self._found.full() or self._unsettled() >= self._source.prefetch:
                heard = self._clock.monotonic()
                await self._pause()
                continue
            started = self._clock.monotonic()
            found = await receiver.receive_messages(max_message_count=ask, max_wait_time=_SLICE)
            now = self._clock.monotonic()
            if found:
                given += 1
                heard = now
                self._hold(given, found, now)
                ask = min(CHUNK, max(_FEWEST, 2 * len(found)))
                _observe(self._connection, f"receive {self._entity.stream}", started, True)
                self._found.put_nowait(found)  # there is room: nobody else puts anything
            elif now - heard >= self._silence:
                heard = now
                self._reading = self._follow  # what a scan that ends does not see is not to be locked
                self._found.put_nowait([])

    async def _pause(self) -> None:
        self._wake.clear()
        if self._orders or not self._open:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SLICE):
                await self._wake.wait()

    def _unsettled(self) -> int:
        return sum(len(page) for page in self._held.values())

    def _hold(self, page: int, messages: Sequence[ServiceBusReceivedMessage], now: float) -> None:
        held = []
        for message in messages:
            until = message.locked_until_utc
            left = until.timestamp() - self._clock.now_ms() / 1000 if until is not None else 1.0
            if left <= 0:
                raise ConfigError(
                    f"The clock of this machine is ahead by more than a lock lasts ({-left:.0f} s too late), so no "
                    "message could be completed.",
                    where=self._entity.stream,
                    hint="Set the clock by NTP.",
                    code="clock",
                )
            held.append(_Held(message, max(left, 1.0), now + max(left, 1.0) / 2))
        self._held[page] = held

    async def _renew(self, receiver: ServiceBusReceiver) -> None:
        """Renew the locks of which half is over. A lock that is lost is left: its message comes again."""
        now = self._clock.monotonic()
        for page in list(self._held.values()):
            for held in page:
                if held.renew_at > now:
                    continue
                try:
                    await receiver.renew_message_lock(held.message)
                except (MessageLockLostError, MessageAlreadySettled):
                    held.renew_at = float("inf")
                else:
                    held.renew_at = now + held.seconds / 2

    async def _carry_out(self, receiver: ServiceBusReceiver) -> None:
        """Complete what was ordered."""
        while self._orders:
            order = self._orders[0]
            due = [number for number in self._held if number <= order.page]
            messages = [held.message for number in due for held in self._held[number]]
            started = self._clock.monotonic()
            try:
                await settle(receiver, messages, complete=True)
            except BaseException:
                _observe(self._connection, f"complete {self._entity.stream}", started, False)
                raise
            _observe(self._connection, f"complete {self._entity.stream}", started, True)
            for number in due:
                del self._held[number]
            self._orders.pop(0)
            if not order.done.done():
                order.done.set_result(None)

    async def _abandon(self, receiver: ServiceBusReceiver) -> None:
        messages = [held.message for page in self._held.values() for held in page]
        self._held.clear()
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(_RELEASE):
                await settle(receiver, messages, complete=False)


async def settle(
    receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage], *, complete: bool
) -> None:
    """Complete or abandon messages. A lock that is lost is passed over: its message comes again.

    A link carries what is said of its messages in order, so the confirmation of the last one stands for all of
    them. Raises what the library raises.
    """
    operation = receiver.complete_message if complete else receiver.abandon_message
    try:
        for place, message in enumerate(messages):
            # The library would wait for a confirmation of each: a round trip for every message.
            receiver._await_settlement_outcome = place == len(messages) - 1
            with contextlib.suppress(MessageLockLostError, MessageAlreadySettled):
                await operation(message)
    finally:
        receiver._await_settlement_outcome = True


async def look(connection: Connection, entity: Entity, *, counted: bool) -> AsyncIterator[Page]:
    """The first messages of an entity, which it keeps as they are. Raises PlatintError."""
    async with opened(connection, entity) as receiver:
        messages = await receiver.peek_messages(max_message_count=_LOOK, sequence_number=1)
    made = [record_of(item, entity.place, counted) for item in messages]
    yield Page(
        [item for item in made if isinstance(item, Record)],
        {"v": 1, "kind": "consume", "reader": "", "page": 0},
        last=True,
        bad=[item for item in made if isinstance(item, BadElement)],
        happened=[when for item in messages if (when := enqueued_ms(item)) is not None],
    )


def _receiver(client: ServiceBusClient, entity: Entity, dead: bool) -> ServiceBusReceiver:
    below = ServiceBusSubQueue.DEAD_LETTER if dead else None
    if entity.subscription:
        return client.get_subscription_receiver(entity.name, entity.subscription, sub_queue=below)
    return client.get_queue_receiver(entity.name, sub_queue=below)


def _observe(connection: Connection, operation: str, started: float, ok: bool) -> None:
    count_request()
    context = connection.context
    context.telemetry.observe(operation, context.clock.monotonic() - started, ok)
