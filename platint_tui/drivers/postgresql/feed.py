"""Reading the changes of one table: its slot and publication, a snapshot first, then what the server streams.

The slot is made before the first row is read, so every change since is in it: a row that changed while the
snapshot was read comes again as a change. Changes are streamed (START_REPLICATION) rather than asked for with
`pg_logical_slot_peek_changes`, which decodes the log again from the slot's oldest point at every call and
holds the whole of a large transaction on the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError, PositionLost, TransientError
from platint_tui.core.model import Gap, JsonObject, Page, ReadOptions
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql import pgoutput, slots
from platint_tui.drivers.postgresql.changes import Changes
from platint_tui.drivers.postgresql.connection import FAILURES
from platint_tui.drivers.postgresql.pgoutput import lsn_number, lsn_text
from platint_tui.drivers.postgresql.table import Table
from platint_tui.drivers.postgresql.walsender import Data, Walsender
from platint_tui.manifest.sources import Source

_LINGER = 0.1
"""Seconds that a change waits for others to share its page."""
_PAGE_BYTES = 2 * 1024**2
_ALIVE_EVERY = 5.0
_ASK_EVERY = 2.0
_SILENT = 60.0
_BUSY_SECONDS = 3.0
_BUSY_WAIT = 0.1
_LOST_CODES = frozenset({"42704", "55000", "58P01"})
"""SQLSTATEs of a stream whose slot, publication or log is gone."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading begins. `scan`: the place in the snapshot that comes first, None when it is done."""

    position: dict[str, Any]
    lsn: int
    done: tuple[int, int]
    scan: JsonObject | None
    gap: Gap | None = None

    @property
    def slot(self) -> str:
        """The name of the slot and of the publication."""
        return str(self.position["slot"])


class FeedLost(PositionLost):
    """The server no longer has the changes that follow a place in its log, for this reason."""

    def __init__(self, table: Table, lsn: str, reason: str) -> None:
        super().__init__(
            f"The changes of '{clean(table.stream)}' after {clean(lsn)} are not to be had any more: {clean(reason)}.",
            where=table.address.where,
            hint="Read the table again from the beginning (resnapshot), or go on from now with a gap (skip).",
        )
        self.reason = reason


async def begin(
    table: Table, options: ReadOptions, position: JsonObject | None, most: int, reason: str = ""
) -> Start:
    """Where to go on from `position`; without one the slot and the publication are made anew.

    `reason` is why what follows the position is lost, when the stream has shown it already.
    Raises ConfigError with the remedy when there can be no feed, TransientError when somebody reads a slot that is
    to be made anew, FeedLost when the server no longer has what follows the position and `options.on_lost` does not
    say how to go on.
    """
    name = slots.slot_name(options.sync, table.stream)
    try:
        if position is None:
            return await _first(table, options, name)
        reason = await _why_lost(table, name, position) or reason
        if reason:
            return await _after_loss(table, options, name, position, reason)
        slot = await slots.find(table.connection, name)
        if slot is not None:
            slots.check_retained(table.address, slot, most)
    except FAILURES as error:
        raise table.failed(error) from None
    kept = {part: position[part] for part in ("v", "mode", "slot", "system", "table", "member")}
    commit = lsn_number(position["commit"]) if "commit" in position else 0
    return Start(kept, lsn_number(position["lsn"]), (commit, position.get("index", 0)), position.get("scan"))


async def _first(table: Table, options: ReadOptions, name: str) -> Start:
    """A new feed. A slot of this name may be older than its publication, which the server then does not find."""
    connection, address = table.connection, table.address
    await slots.check_publishable(connection, address, table.relation, options.key)
    state = await slots.replication(connection, address.user)
    if await slots.find(connection, name) is not None:
        state = replace(state, slots=None)  # one becomes free
    slots.must_be_ready(state, address)
    await slots.drop(connection, address, name)
    async with connection.transaction():
        await slots.withdraw(connection, name)
        await slots.publish(connection, address, name, table.relation)
    lsn = await slots.create(connection, address, name)
    return Start(await _new_position(table, name), lsn, (0, 0), {})


async def _new_position(table: Table, name: str) -> dict[str, Any]:
    here = await slots.here(table.connection)
    member = await slots.membership(table.connection, name, table.relation)
    return {
        "v": 1,
        "mode": "cdc",
        "slot": name,
        "system": here.system,
        "table": table.relation.oid,
        "member": member,
    }


async def _why_lost(table: Table, name: str, position: JsonObject) -> str:
    """Why the server no longer has what follows the position; empty when it has."""
    connection = table.connection
    slot = await slots.find(connection, name)
    here = await slots.here(connection)
    lsn = lsn_number(position["lsn"])
    if position["system"] != here.system:
        return "this is another database server than before"
    if here.lsn is None:
        raise _standby(table)
    if slot is None:
        return f"the replication slot '{name}' is gone"
    if slot.lost:
        return f"the server has given up the log that the replication slot '{name}' needs"
    if slot.confirmed > lsn:
        return f"the replication slot '{name}' was moved on to {lsn_text(slot.confirmed)} by somebody else"
    if lsn > here.lsn:
        return f"the server's log ends at {lsn_text(here.lsn)}: it was restored, or another one took over"
    if position["table"] != table.relation.oid:
        return "the table was dropped and made again"
    if position["member"] != await slots.membership(connection, name, table.relation):
        return f"the table was taken out of the publication '{name}'"
    return ""


async def _after_loss(
    table: Table, options: ReadOptions, name: str, position: JsonObject, reason: str
) -> Start:
    """A new feed in place of a lost one, if the integration says so. Raises PositionLost otherwise."""
    if options.on_lost not in ("skip", "resnapshot"):
        raise FeedLost(table, position["lsn"], reason)
    fresh = await _first(table, options, name)
    until = lsn_text(fresh.lsn)
    if options.on_lost == "skip":
        if "scan" not in position:
            gap = Gap(f"Changes were not read: {reason}.", position["lsn"], until)
            return Start(fresh.position, fresh.lsn, fresh.done, None, gap)
        # What the snapshot has not come to is not in the target yet. Its place means nothing in another table.
        same = all(position[part] == fresh.position[part] for part in ("system", "table"))
        gap = Gap(
            f"Changes of rows that had been read before were not seen: {reason}.", position["lsn"], until
        )
        return Start(fresh.position, fresh.lsn, fresh.done, position["scan"] if same else {}, gap)
    gap = Gap(f"Rows that were deleted may still be at the target: {reason}.", position["lsn"], until)
    return Start(fresh.position, fresh.lsn, fresh.done, {}, gap)


def _standby(table: Table) -> ConfigError:
    return ConfigError(
        "This server has become a standby, which has no change feed of its own.",
        where=table.address.where,
        hint="Connect to the primary.",
        code="replication",
    )


class Feed:
    """The open stream of one slot. `confirm` may be called while `pages` goes on."""

    def __init__(
        self, table: Table, key: tuple[str, ...], start: Start, settings: Source, clock: Clock
    ) -> None:
        self._table = table
        self._start = start
        self._settings = settings
        self._clock = clock
        self._changes = Changes(table, key, start.position, start.lsn, start.done)
        self._sender: Walsender | None = None

    def confirm(self, lsn: int) -> bool:
        """Tell the server that everything before `lsn` is stored. False when the stream is not open."""
        if self._sender is None:
            return False
        self._sender.confirm(lsn)
        return True

    async def pages(self, *, follow: bool) -> AsyncIterator[Page]:
        """The changes; without `follow` up to what is in the server's log now, with a last page.

        Raises FeedLost, TransientError.
        """
        end: int | None = None
        if not follow:
            try:
                end = (await slots.here(self._table.connection)).lsn
            except FAILURES as error:
                raise self._table.failed(error) from None
            if end is None:
                raise _standby(self._table)
        self._sender = await self._open()
        try:
            async for page in self._gathered(self._sender, end):
                yield page
        except PlatintError as error:
            self._observed(None, ok=False)
            if error.code in _LOST_CODES:
                raise self._lost(error.message) from None
            raise self._table.told(error) from None
        finally:
            sender, self._sender = self._sender, None
            await sender.close()

    async def _open(self) -> Walsender:
        """The stream; an earlier connection of ours may hold the slot for a moment."""
        address, name = self._table.address, self._start.slot
        until = self._clock.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return await Walsender.open(address, name, name, self._start.lsn)
            except PlatintError as error:
                if error.code in _LOST_CODES:
                    raise self._lost(error.message) from None
                if error.code != "55006":
                    raise
                if self._clock.monotonic() >= until:
                    raise slots.in_use(address, name, error.message) from None
            await asyncio.sleep(_BUSY_WAIT)

    def _lost(self, reason: str) -> FeedLost:
        return FeedLost(self._table, lsn_text(self._changes.lsn), reason.rstrip("."))

    async def _gathered(self, sender: Walsender, end: int | None) -> AsyncIterator[Page]:
        changes, now = self._changes, self._clock.monotonic
        heard = asked = moved = shown = looked = now()
        since: float | None = None
        patience = min(_ASK_EVERY, self._settings.heartbeat)
        position: JsonObject = changes.position()
        while True:
            wait = patience if since is None else max(0.0, since + _LINGER - now())
            if end is not None and since is None and changes.lsn < end:
                sender.ask()
            found = await sender.read(wait)
            heard = now() if found else heard
            for item in found:
                if isinstance(item, Data):
                    await changes.take(pgoutput.decode(item.payload), len(item.payload))
                    if changes.count >= self._settings.chunk or changes.size >= _PAGE_BYTES:
                        page = await changes.page()
                        self._observed(since, ok=True)
                        position, since, moved, shown = page.position, None, now(), now()
                        yield page
                else:
                    changes.passed(item.end)
            if changes.count and since is None:
                since = now()
            finished = end is not None and changes.between and changes.lsn >= end
            if finished or (since is not None and now() - since >= _LINGER):
                page = await changes.page(last=finished)
                self._observed(since, ok=True)
                position, since, moved, shown = page.position, None, now(), now()
                yield page
                if finished:
                    return
            if now() - heard > _SILENT:
                raise self._silent()
            if now() - asked >= patience:
                asked = now()
                sender.ask()
            if now() - looked >= self._settings.heartbeat:
                looked = now()
                await self._look()
            if since is None and now() - shown >= min(_ALIVE_EVERY, self._settings.heartbeat):
                # A quiet table must not keep the log of all others: the position moves on without a change.
                if now() - moved >= self._settings.heartbeat and changes.between:
                    position, moved = changes.position(), now()
                shown = now()
                yield Page((), position, False, requests=0)

    def _observed(self, since: float | None, *, ok: bool) -> None:
        """Report a page: how long its first change has waited, at the least."""
        now = self._clock.monotonic()
        self._table.telemetry.observe(
            f"follow {self._table.stream}", now - (now if since is None else since), ok
        )

    async def _look(self) -> None:
        """See that the slot does not keep too much, and that the table is still the one of the publication."""
        table, name = self._table, self._start.slot
        try:
            await table.look(force=True)
            slot = await slots.find(table.connection, name)
            if slot is not None:
                slots.check_retained(table.address, slot, self._settings.max_retained)
            member = await slots.membership(table.connection, name, table.relation)
        except FAILURES as error:
            raise table.failed(error) from None
        if member != self._start.position["member"]:
            raise self._lost(f"the table was taken out of the publication '{name}'")

    def _silent(self) -> TransientError:
        return TransientError(
            f"The database has said nothing for {_SILENT:.0f} seconds.",
            where=self._table.address.where,
            code="silent",
        )
