"""Reading a Redis stream, in one of two ways.

- snapshot: XREAD from the position; nothing is changed on the server, the position is the only memory.
- consume: a consumer group of the sync's own. What was delivered stays pending in the group until it is
  acknowledged, so that others see how far the sync is. The position still decides: when reading begins the group
  is set to it, what the position knows to be stored is acknowledged, and what was delivered after it comes again.

A page is taken together with the extent of the stream, in one transaction, so that entries which were trimmed
away before they were read are noticed at once. Waiting is done by XREAD, which takes nothing: a reader that is
stopped while it waits leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError, PositionLost
from platint_tui.core.model import BadElement, Gap, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.redis.connection import Command, Reply, Wire, pairs
from platint_tui.drivers.redis.entries import (
    BEGINNING,
    Entry,
    Extent,
    Loss,
    added_after,
    entries_of,
    entries_read,
    extent_of,
    missing_before,
    order,
    record_of,
    time_ms,
    weight,
)
from platint_tui.manifest.sources import Source

CONSUMER = "platint"
"""One name for every engine, so that the next one is given what the last one left pending."""
GROUP_PREFIX = "platint-"
_SIGN_SECONDS = 5.0
_CLAIM_IDLE_MS = 60_000
_PAGE_BYTES = 1024 * 1024
_FIRST_COUNT = 16
_ACK_CHUNK = 1_000


def group_of(sync: str) -> str:
    """The consumer group of a sync; groups belong to one stream, so the stream need not be in it."""
    return GROUP_PREFIX + sync


async def acknowledge(wire: Wire, stream: str, group: str, ids: Sequence[str]) -> None:
    """Take entries off the pending ones of the group; those that are none any more do no harm."""
    for start in range(0, len(ids), _ACK_CHUNK):
        await wire.call("XACK", stream, group, *ids[start : start + _ACK_CHUNK], about=stream)


class StreamReader:
    """Reads one stream once. `group` is the consumer group, "" without one; `unacked` are the ids that were
    delivered, in order: whoever acknowledges them takes them out.
    """

    def __init__(self, wire: Wire, stream: str, options: ReadOptions, source: Source, clock: Clock) -> None:
        self._wire = wire
        self._stream = stream
        self._options = options
        self._source = source
        self._clock = clock
        taken = options.mode != "snapshot" and options.sync and not options.peek
        self.group = group_of(options.sync) if taken else ""
        self.unacked: dict[str, None] = {}
        self._read = BEGINNING
        self._added: int | None = None
        self._count = min(_FIRST_COUNT, source.chunk)
        self._claimed_at: float | None = None
        self._claims = True

    async def pages(self, position: JsonObject | None) -> AsyncGenerator[Page, None]:
        """Pages from the position. Raises PositionLost for entries that are not there any more, unless
        `on_lost` says otherwise; ConfigError when there is no such stream; PlatintError.
        """
        there = self._extent(await self._info())
        self._read = str(position.get("id", BEGINNING)) if position else BEGINNING
        self._added = position.get("added") if position else None
        order(self._read)
        if self.group:
            await self._join(position, there)
            after = "0"
            while after:
                after, page = await self._left_over(after)
                if page is not None:
                    yield page
        end = there.last
        while True:
            after = self._claim_from()
            while after:
                after, page = await self._claim(after)
                if page is not None:
                    yield page
            there, entries = await self._take()
            loss = missing_before(there, self._read, self._added)
            gaps = [self._gap(loss, there)] if loss else []
            if loss and loss.anew:
                await self._start_over()
                yield self._page((), gaps=gaps)
                continue
            if not there.length:
                self._read = there.last
            self._added = added_after(there, self._read, self._added, entries)
            if entries:
                self._read = entries[-1][0]
            last = not self._options.follow and (not entries or order(self._read) >= order(end))
            yield self._page(entries, gaps=gaps, last=last)
            if last:
                return
            if not entries:
                await self._wait(there.last)

    # --- the group ----------------------------------------------------------------------------------------

    async def _join(self, position: JsonObject | None, there: Extent) -> None:
        """Make the group, or set it to the position. What the position has stored is acknowledged first."""
        groups = [pairs(item) for item in await self._call("XINFO", "GROUPS", self._stream)]
        mine = next((item for item in groups if item["name"] == self.group.encode()), None)
        latest = self._source.start == "latest"
        if mine is None:
            if position is None and latest:
                self._read = there.last
            await self._call("XGROUP", "CREATE", self._stream, self.group, self._read)
            return
        if position is not None and position.get("group") == self.group:
            await acknowledge(self._wire, self._stream, self.group, position.get("unacked") or ())
        delivered = mine["last-delivered-id"].decode()
        if position is None and latest:
            self._read = delivered
        if delivered != self._read:
            await self._call("XGROUP", "SETID", self._stream, self.group, self._read)

    async def _left_over(self, after: str) -> tuple[str, Page | None]:
        """What was delivered to us before the position and not stored, and where to go on ("" at the end).

        What follows the position comes again anyway; pending ids whose entries were deleted are gaps.
        """
        entries = entries_read(await self._call(*self._reading(), "STREAMS", self._stream, after))
        before = [entry for entry in entries if self._is_before(entry)]
        return entries[-1][0] if entries else "", self._again(before)

    def _is_before(self, entry: Entry) -> bool:
        """Whether an entry is deleted, or does not follow the position."""
        return entry[1] is None or order(entry[0]) <= order(self._read)

    def _claim_from(self) -> str:
        """Where a look at what other consumers left behind begins, "" when it is not time for one."""
        now = self._clock.monotonic()
        waits = self._claimed_at is not None and now - self._claimed_at < _CLAIM_IDLE_MS / 1000
        return BEGINNING if self.group and self._claims and not waits else ""

    async def _claim(self, after: str) -> tuple[str, Page | None]:
        """Entries of our group that another consumer took and has not acknowledged for a while, and where to go
        on ("" at the end).
        """
        command = ("XAUTOCLAIM", self._stream, self.group, CONSUMER, _CLAIM_IDLE_MS, after)
        reply = (await self._wire.exchange([(*command, "COUNT", self._count)]))[0]
        if isinstance(reply, ResponseError):
            if "unknown command" not in str(reply):
                raise self._error(reply)
            self._claims = False  # Redis before 6.2
            return "", None
        deleted = [(identity.decode(), None) for identity in (reply[2] if len(reply) > 2 else ())]
        # Ours are claimed too when a target is slow; they are on their way already.
        entries = [entry for entry in [*entries_of(reply[1]), *deleted] if entry[0] not in self.unacked]
        if self._claimed_at is None:
            # What follows the position comes anyway.
            entries = [entry for entry in entries if self._is_before(entry)]
        next_after = reply[0].decode()
        if next_after == BEGINNING:
            self._claimed_at = self._clock.monotonic()
            next_after = ""
        return next_after, self._again(entries)

    def _again(self, entries: Sequence[Entry]) -> Page | None:
        """A page of entries that were delivered before, None when there are none."""
        gone = [identity for identity, flat in entries if flat is None]
        reason = f"{len(gone):,} pending entries were deleted from the stream '{clean(self._stream)}'"
        gaps = [Gap(reason, gone[0], gone[-1])] if gone else []
        return self._page(entries, gaps=gaps) if entries else None

    # --- taking -------------------------------------------------------------------------------------------

    def _reading(self) -> Command:
        if self.group:
            return ("XREADGROUP", "GROUP", self.group, CONSUMER, "COUNT", self._count)
        return ("XREAD", "COUNT", self._count)

    async def _take(self) -> tuple[Extent, list[Entry]]:
        """The extent of the stream and its next entries, at one moment."""
        after = ">" if self.group else self._read
        commands: list[Command] = [
            ("XINFO", "STREAM", self._stream),
            (*self._reading(), "STREAMS", self._stream, after),
        ]
        told, reply = await self._wire.atomically(commands, self._stream) or (None, None)
        there = self._extent(told)
        if isinstance(reply, ResponseError):
            raise self._error(reply)
        entries = entries_read(reply)
        size = sum(weight(flat) for _, flat in entries if flat)
        if entries:
            fitting = max(1, len(entries) * _PAGE_BYTES // max(1, size))
            self._count = min(fitting, 4 * self._count, self._source.chunk)
        return there, entries

    def _gap(self, loss: Loss, there: Extent) -> Gap:
        """The gap before the next entry. Raises PositionLost where `on_lost` wants none."""
        sentence = f"What follows the position in the stream '{clean(self._stream)}' is lost: {loss.reason}."
        if self._options.on_lost in ("ask", "stop"):
            raise PositionLost(
                sentence,
                hint="Decide how it goes on: skip and resnapshot both read what is left, and keep the gap on record.",
            )
        return Gap(sentence, self._read, there.first or there.last)

    async def _start_over(self) -> None:
        self._read, self._added = BEGINNING, None
        if self.group:
            await self._call("XGROUP", "SETID", self._stream, self.group, BEGINNING)

    async def _wait(self, after: str) -> None:
        """Until there is an entry beyond `after`, or it is time for a sign of life."""
        milliseconds = int(1000 * min(_SIGN_SECONDS, self._source.heartbeat, self._wire.patience / 2))
        await self._call("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._stream, after)

    # --- pages --------------------------------------------------------------------------------------------

    def _page(self, entries: Sequence[Entry], *, gaps: Sequence[Gap] = (), last: bool = False) -> Page:
        records: list[Record] = []
        bad: list[BadElement] = []
        happened: list[int] = []
        for identity, flat in entries:
            if flat is None:
                continue
            made = record_of(self._stream, identity, flat, self._source.max_message)
            if isinstance(made, BadElement):
                bad.append(made)
                continue
            records.append(made)
            moment = time_ms(identity)
            if moment is not None:
                happened.append(moment)
        if self.group:
            self.unacked.update(dict.fromkeys(identity for identity, _ in entries))
        size = sum(weight(flat) for _, flat in entries if flat)
        return Page(
            records,
            self._position(),
            last,
            bytes=size,
            bad=bad,
            happened=happened,
            gaps=gaps,
        )

    def _position(self) -> JsonObject:
        position: dict[str, Any] = {"v": 1, "id": self._read}
        if self._added is not None:
            position["added"] = self._added
        if self.group:
            # A page is stored after all earlier ones: with its position all of these are.
            position |= {"group": self.group, "unacked": list(self.unacked)}
        return position

    # --- calls --------------------------------------------------------------------------------------------

    async def _info(self) -> Reply:
        return (await self._wire.exchange([("XINFO", "STREAM", self._stream)]))[0]

    def _extent(self, told: Reply) -> Extent:
        if isinstance(told, ResponseError):
            raise self._error(told)
        return extent_of(pairs(told))

    async def _call(self, *command: bytes | str | int) -> Reply:
        reply = (await self._wire.exchange([command]))[0]
        if isinstance(reply, ResponseError):
            raise self._error(reply)
        return reply

    def _error(self, refusal: ResponseError) -> PlatintError:
        error = self._wire.error(refusal, self._stream)
        if error.code == "not_found":
            return ConfigError(
                f"There is no stream '{clean(self._stream)}'.",
                where=error.where,
                hint="The producer makes it with its first entry; a family of keys ends with *, like user:*",
                code="not_found",
            )
        if error.code == "WRONGTYPE":
            return ConfigError(
                f"The key '{clean(self._stream)}' is no stream.",
                where=error.where,
                hint="A family of keys is named with a * at its end, like user:*",
                code="WRONGTYPE",
            )
        return error
