"""Reading a queue: pages of messages, where reading goes on, and when a scan is finished.

A position says up to where what was read over a channel is acknowledged: `channel` and `tag`, which mean nothing
to a later connection (the broker itself knows what is left). Beside them `kind` is queue or stream: a stream (of
RabbitMQ, which keeps what was read) has the `offset` of the last message, and goes on from there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from aiormq.abc import DeliveredMessage

from platint_tui.core.errors import ConfigError, PlatintError, PositionLost
from platint_tui.core.ids import new_id
from platint_tui.core.model import BadElement, Gap, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.amqp.link import Link
from platint_tui.drivers.amqp.messages import OFFSET, Message, offset_of, record_of
from platint_tui.drivers.amqp.session import Session, ready_count
from platint_tui.drivers.amqp.unnamed import Unnamed
from platint_tui.manifest.sources import Source

PAGE_BYTES = 4 * 1024 * 1024
_ALIVE = 5.0
"""Seconds of silence after which a followed queue gives a sign of life."""
_FIRST = 5.0
"""Seconds within which a stream gives the message that was read last, or no longer has it."""
_STREAM, _QUEUE = "stream", "queue"
_STRIKES = 4
"""How often a queue that holds messages may give none before somebody else is taken to get them."""


class Scan:
    """One reading of one queue, over a connection of its own."""

    def __init__(
        self, link: Link, queue: str, source: Source, position: JsonObject | None, now_ms: Callable[[], int]
    ) -> None:
        self.link = link
        self.queue = queue
        self._source = source
        self._given = dict(position or {})
        self._offset: int | None = self._given.get("offset")
        self._checked = self._offset is None
        self._unnamed = Unnamed(self._given.get("unnamed"), source.prefetch, now_ms)
        first = "first" if source.start == "earliest" else "next"
        self._start: int | str = first if self._offset is None else self._offset
        self._gaps: list[Gap] = []
        self._strikes = 0
        self._there = 0
        """For a queue how many messages it held, for a stream the offset up to which it was filled."""
        self.is_stream = False
        self.session: Session

    async def open(self, prefetch: int | None = None, *, kind: str = "") -> None:
        """Look at the queue, and begin to consume. `kind` is stream, or another one, where it is known.

        Raises PlatintError: no such queue, no right to read it.
        """
        self._there = await ready_count(self.link, self.queue)
        known = kind or self._given.get("kind", "")
        # The broker logs it as an error when another kind of queue is read from an offset, so it is tried once.
        if self.link.is_rabbitmq and known in ("", _STREAM):
            await self._look_for_stream()
        await self._consume(prefetch)

    async def _look_for_stream(self) -> None:
        """Whether the queue is a stream, and up to which offset it is filled, about: every other kind of queue
        refuses to be read from an offset."""
        last = Session(self.link, self.queue, 1, 1, lambda: {OFFSET: "last"})
        try:
            await last.start()
        except ConfigError as error:
            if error.code != "PRECONDITION_FAILED" or OFFSET not in error.message:
                raise
            return
        self.is_stream = True
        found = await last.take(1, 1, self._source.idle)
        await last.end()
        self._there = (offset_of(found[0]) or 0) if found else 0

    async def _begin_as_stream(self) -> None:
        """The queue of this name was made anew, as a stream: consuming one begins with what is new."""
        await self.session.end()
        self._given = {}
        await self.open(kind=_STREAM)

    async def _consume(self, prefetch: int | None) -> None:
        wanted = prefetch or self._source.prefetch
        known = int(self._given.get("prefetch", wanted))
        self.session = Session(self.link, self.queue, wanted, known, self._arguments)
        await self.session.start()

    def _arguments(self) -> dict[str, Any] | None:
        if not self.is_stream:
            return None
        newest = self.session.newest
        offset = offset_of(newest) if newest is not None else None
        return {OFFSET: self._start if offset is None else offset + 1}

    def position(self) -> dict[str, Any]:
        """Where reading goes on after what was given so far."""
        session = self.session
        if not session.given and self._given:
            return self._given
        kind = _STREAM if self.is_stream else _QUEUE
        position: dict[str, Any] = {"kind": kind, "channel": session.token, "tag": session.given}
        if self._offset is not None:
            position["offset"] = self._offset
        if (unnamed := self._unnamed.position()) is not None:
            position["unnamed"] = unnamed
        if session.prefetch < session.wanted:
            position["prefetch"] = session.prefetch
        return position

    async def pages(self, options: ReadOptions) -> AsyncIterator[Page]:
        """The pages. Without `follow` they end when the queue is empty and nothing came for a moment; a queue that
        is filled all the time ends with what was there and one prefetch more."""
        follow = options.follow
        most = self._there + self.session.wanted
        count = 0
        while True:
            wait = _FIRST if not self._checked else _ALIVE if follow else self._source.idle
            delivered = await self.session.take(self._chunk(), PAGE_BYTES, wait)
            if delivered and not self.is_stream and offset_of(delivered[0]) is not None:
                await self._begin_as_stream()
                continue
            if not self._checked:
                delivered = await self._checked_offset(delivered, options.on_lost)
                if self._gaps and not delivered:
                    gaps, self._gaps = self._gaps, []
                    yield Page((), self.position(), last=False, gaps=gaps)
            elif not delivered:
                done = not follow and await self._is_drained()
                yield Page((), self.position(), last=done)
                if done:
                    return
            if not delivered:
                continue
            messages = [self.link.message(item) for item in delivered]
            if not self._unnamed.mark and any(not item.id and item.offset is None for item in messages):
                # Stored before the first identity is made, so that a repetition makes the same ones.
                self._unnamed.mark = new_id("m").removeprefix("m_")
                yield Page((), {**self.position(), "unnamed": self._unnamed.position()}, last=False)
            count += len(delivered)
            done = not follow and self._is_beyond(count, most, messages[-1])
            yield replace(self._page(messages), last=done)
            if done:
                return

    def _chunk(self) -> int:
        """Messages of a page: not all that may be unacknowledged, so that the broker goes on meanwhile."""
        return min(self._source.chunk, max(1, self.session.prefetch // 4))

    def _page(self, messages: list[Message]) -> Page:
        records: list[Record] = []
        bad: list[BadElement] = []
        happened: list[int] = []
        size = 0
        for message in messages:
            if message.offset is not None:
                if self._offset is not None and message.offset <= self._offset:
                    continue
                self._offset = message.offset
            size += len(message.body)
            if message.timestamp is not None:
                happened.append(message.timestamp)
            made = record_of(message, self.queue, self._identity(message), self._source.max_message)
            (records if isinstance(made, Record) else bad).append(made)  # type: ignore[arg-type]
        self.session.given = messages[-1].tag
        gaps, self._gaps = self._gaps, []
        return Page(records, self.position(), False, 1, size, bad, happened, gaps)

    def _identity(self, message: Message) -> str:
        if message.id:
            return message.id
        if message.offset is not None:
            return f"{self.queue}@{message.offset}"
        return self._unnamed.identity(message.digest(), message.redelivered)

    def _is_beyond(self, count: int, most: int, newest: Message) -> bool:
        return (newest.offset if newest.offset is not None else count) > most

    async def _is_drained(self) -> bool:
        """Whether a silence means that everything has come. Raises ConfigError when somebody else gets it."""
        session = self.session
        if session.full:
            return False
        count = await session.count()
        if count is None:
            return False
        if self.is_stream or count == 0:
            return True
        if session.outstanding:
            return False
        self._strikes += 1
        if self._strikes > _STRIKES:
            raise ConfigError(
                f"The queue '{clean(self.queue)}' holds messages, but the broker gives them to somebody else.",
                where=self.link.address.where,
                hint="It has a single active consumer, or one with a higher priority: stop that one first.",
                code="other_consumer",
            )
        return False

    async def _checked_offset(
        self, delivered: list[DeliveredMessage], on_lost: str
    ) -> list[DeliveredMessage]:
        """What was delivered, when the stream still has what follows the position: it was asked for the message that
        was read last. Empty when reading begins anew."""
        offset = self._offset
        assert offset is not None, "only a position with an offset is checked"
        if not self.is_stream:
            await self._lost(on_lost, f"'{self.queue}' is no stream any more", "")
            return delivered
        if not delivered:
            if await self.session.count() is not None:
                what = f"the stream '{self.queue}' does not reach up to offset {offset} any more"
                await self._lost(on_lost, what, "")
            return []
        self._checked = True
        first = offset_of(delivered[0]) or 0
        if first > offset + 1:
            what = f"the stream '{self.queue}' begins with offset {first} now"
            await self._lost(on_lost, what, str(first - 1))
        return delivered

    async def _lost(self, on_lost: str, what: str, end: str) -> None:
        """Go on as `on_lost` says, or raise PositionLost. `end` is the last offset that is not there any more, ""
        for a queue that was made anew: of that nothing (`skip`) or everything is read."""
        offset = self._offset
        if on_lost not in ("resnapshot", "skip"):
            raise PositionLost(
                f"Reading was to go on after offset {offset}, but {clean(what)}.",
                where=self.link.address.where,
                hint="Choose: read everything that is there, or go on from now with a gap.",
            )
        skip, anew = on_lost == "skip", not end and self.is_stream
        self._given, self._offset, self._checked = {}, None, True
        if anew:
            self._start = "first"
            await self.session.end()
            if skip and (newest := await self._newest()) is not None:
                self._offset, self._start, end = newest, newest, str(newest)
            await self._consume(None)
        if skip:
            self._gaps.append(Gap(f"{what}.", str((offset or 0) + 1), end))

    async def _newest(self) -> int | None:
        """The offset of the last message of the stream, None when it is empty."""
        last = Session(self.link, self.queue, self._source.prefetch, 1_000, lambda: {OFFSET: "last"})
        await last.start()
        newest: int | None = None
        while found := await last.take(1_000, PAGE_BYTES, self._source.idle):
            newest = offset_of(found[-1])
            await last.acknowledge(found[-1].delivery_tag or 0)
        await last.end()
        return newest


async def look(scan: Scan, most: int, seconds: float) -> list[Message]:
    """Up to `most` messages from the front of the queue, which then go back to where they were."""
    delivered: list[DeliveredMessage] = []
    session = scan.session
    while len(delivered) < most:
        more = await session.take(most - len(delivered), PAGE_BYTES, seconds)
        delivered += more
        if not more:
            break
    messages = [scan.link.message(item) for item in delivered]
    await session.end()
    return messages


def only_consumes(options: ReadOptions, address: str) -> PlatintError | None:
    """Why a queue cannot be read in the wanted mode, None when it can."""
    if options.mode in ("", "consume"):
        return None
    return ConfigError(
        f"Queues are consumed; there is no mode '{clean(options.mode)}' for them.",
        where=address,
        hint="Leave `mode` out of the integration file.",
        code="mode",
    )
