"""Reading changes: everything once, then what a change stream tells.

The place in the stream of changes is taken before the first document is read, so what happens meanwhile comes
afterwards, and replaces by key. An update carries the document as it is when it is looked up; one that is gone
by then is left out, its delete follows.

A collection that is dropped, or replaced by another that is renamed to its name, is emptied and read anew. One
that is renamed away still has its documents: that is for the operator to decide, as a lost position is.

Position: `{"v": 1, "mode": "cdc", "token": <resume token>}`, with `phase: snapshot` and `after` (an `_id`) while
the collection is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import OperationFailure

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PositionLost
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Gap, JsonObject, Op, Page, Record
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.chunks import Twins, split
from platint_tui.drivers.mongodb.events import (
    Change,
    End,
    Events,
    Feed,
    Kind,
    Token,
    following,
    position_time,
    token_of_now,
)
from platint_tui.drivers.mongodb.failures import is_lost, said
from platint_tui.drivers.mongodb.reading import Reading, found_at, kept, walk
from platint_tui.drivers.mongodb.values import extended, identified, unextended

MODE = "cdc"
_ALIVE_SECONDS = 3.0


async def read_changes(reading: Reading, position: JsonObject | None, clock: Clock) -> AsyncIterator[Page]:
    """Pages of a snapshot and of the changes since it began, without an end when they are followed, else up to now.

    Raises PositionLost when the changes after the position are gone, or the collection was renamed; ConfigError
    where there are no change streams; and what pymongo raises.
    """
    if not reading.place.has_ids:
        raise ConfigError(
            f"'{clean(reading.place.name)}' is a {reading.place.kind}, which has no changes to follow.",
            where=reading.address.where,
            hint="Read it with mode snapshot or cursor.",
            code="no_change_streams",
        )
    if position is None:
        held: JsonObject = _at(await token_of_now(reading), phase="snapshot")
        # Stored before a document is written: a later token would not tell of what was deleted in between.
        yield Page((), held, False)
    else:
        held = position
    # From here on, reads see at least what the server had done by now, and so all that came before the token.
    await reading.database.command("ping", session=reading.session)
    scan = _Scan(reading, clock)
    recovered = False
    while True:
        try:
            async with contextlib.aclosing(scan.pages(held)) as pages:
                async for page in pages:
                    held = page.position
                    yield page
                    if page.last:
                        return
        except OperationFailure as error:
            if not is_lost(error):
                raise
            if recovered and not scan.heard:
                raise scan.lost(
                    "its place is gone again before the collection was read; the oplog is too short"
                ) from None
            scan.heard = False
            held, page = await scan.recover(
                held, f"the server no longer has the changes after it ({said(error)})"
            )
            recovered = True
            yield page


def _at(token: Token, **more: Any) -> dict[str, Any]:
    return {"v": 1, "mode": MODE, "token": extended(token), **more}


class _Scan:
    """One read of the changes of a collection."""

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self._reading = reading
        self._clock = clock
        self._twins = Twins(reading.collection, reading.session)
        self._until = reading.session.operation_time
        self.heard = False
        """Whether the server gave changes, or said that there are none, since a position was lost."""

    async def pages(self, held: JsonObject) -> AsyncGenerator[Page, None]:
        """Pages from a position to the end of the scan, or to a position at which the collection is another one."""
        if held.get("phase") == "snapshot":
            head = {"v": 1, "mode": MODE, "token": held["token"]}
            async for step in walk(self._reading, found_at(held, "after"), self._twins):
                held = {**head, **({"phase": "snapshot", **kept(step.place, "after")} if step.full else {})}
                yield step.page(held)
        async with following(self._reading, unextended(held["token"]), self._until) as feed:
            async for page in self._told(feed, held):
                yield page

    async def _told(self, feed: Feed, held: JsonObject) -> AsyncIterator[Page]:
        begun = heard = moved = self._clock.monotonic()
        while True:
            events = await feed.batch()
            self.heard = True
            now = self._clock.monotonic()
            if events.end is End.INVALID or events.changes:
                heard = moved = now
                async for page in self._changed(events):
                    held = page.position
                    yield page
            elif not self._reading.options.follow and now - begun > self._reading.source.heartbeat:
                events = Events((), events.token, End.THROUGH)
            if events.end is End.THROUGH:
                yield Page((), _at(events.token), True)
            if events.end:
                return
            if now - moved >= self._reading.source.heartbeat:
                heard = moved = now
                held = _at(events.token)
                yield Page((), held, False)
            elif now - heard >= _ALIVE_SECONDS:
                heard = now
                yield Page((), held, False)

    async def _changed(self, events: Events) -> AsyncIterator[Page]:
        """The page of a batch of changes, and what a change of the collection itself takes."""
        changes, again = events.changes, events.end is End.INVALID
        gaps: list[Gap] = []
        if changes and changes[-1].kind is Kind.RENAMED:
            renamed = changes[-1]
            gone = f"the collection was renamed to '{clean(renamed.to)}', where its documents are now"
            wanted = self._reading.options.on_lost
            if wanted not in ("resnapshot", "skip"):
                if len(changes) > 1:
                    yield await self._page(changes[:-1], _at(changes[-2].token), ())
                raise self.lost(gone)
            if wanted == "skip":
                again, changes = False, changes[:-1]
                when = datetime.fromtimestamp(renamed.happened_ms / 1000, UTC).isoformat()
                gaps.append(Gap(_sentence(gone), when, when))
        position = _at(events.token, phase="snapshot") if again else _at(events.token)
        yield await self._page(changes, position, gaps)

    async def _page(self, changes: Sequence[Change], position: JsonObject, gaps: Sequence[Gap]) -> Page:
        pairs = [pair for change in changes for pair in self._records(change)]
        records, bad = split(await self._twins.told_apart(pairs))
        size = sum(len(change.raw) for change in changes)
        happened = [change.happened_ms for change in changes]
        return Page(records, position, False, bytes=size, bad=bad, happened=happened, gaps=gaps)

    def _records(self, change: Change) -> list[tuple[Any, Record | BadElement]]:
        if change.kind is Kind.WRITTEN:
            return [identified(change.raw)]
        if change.kind is Kind.DELETED:
            return [identified(change.raw, Op.DELETE)]
        return [(None, Record(dumps({}), {}, Op.TRUNCATE))]

    def lost(self, reason: str) -> PositionLost:
        """The error for a position from which nobody can go on."""
        return PositionLost(
            f"The stream '{clean(self._reading.place.name)}' cannot go on: {reason}.",
            where=self._reading.address.where,
            hint="Read it again from the beginning, or go on from now with a gap.",
        )

    async def recover(self, held: JsonObject, reason: str) -> tuple[JsonObject, Page]:
        """How it goes on after a lost position, as the operator wants it. Raises PositionLost."""
        wanted = self._reading.options.on_lost
        if wanted not in ("resnapshot", "skip"):
            raise self.lost(reason)
        start, end = position_time(held), datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).isoformat()
        token = await token_of_now(self._reading)
        if wanted == "skip":
            position, text = _at(token), _sentence(reason)
        else:
            position = _at(token, phase="snapshot")
            text = f"{_sentence(reason)} Documents that were deleted in this time are still at the target."
        return position, Page((), position, False, gaps=[Gap(text, start, end)])


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
