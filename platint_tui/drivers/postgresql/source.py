"""PostgreSQL as a source: one stream read as a snapshot, by a cursor, or as a feed of changes.

Positions: `{"v": 1, "mode": "snapshot" | "cursor", "scan": place}`, or for a feed `{"v": 1, "mode": "cdc",
"slot", "system", "table", "member", "lsn"}` with `scan` while the first snapshot is read, and `commit` and
`index` inside a transaction.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError, PositionLost
from platint_tui.core.model import JsonObject, Page, ReadOptions
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.postgresql import catalog, slots
from platint_tui.drivers.postgresql.blocks import PGCOPY, TUPLES
from platint_tui.drivers.postgresql.bycursor import by_cursor
from platint_tui.drivers.postgresql.connection import FAILURES, Address, connect, translate
from platint_tui.drivers.postgresql.feed import Feed, FeedLost, begin
from platint_tui.drivers.postgresql.pgoutput import lsn_number, lsn_text
from platint_tui.drivers.postgresql.scan import Step, whole
from platint_tui.drivers.postgresql.slots import Slot
from platint_tui.drivers.postgresql.table import Table
from platint_tui.drivers.postgresql.textvalues import Types
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Mode
from platint_tui.manifest.sources import Source as Settings

MODES: tuple[Mode, ...] = ("snapshot", "cursor", "cdc")
_USUAL = Settings(modes=MODES)
_FORMS = (PGCOPY, TUPLES)
_NO_SYNC = frozenset({"", "account"})
"""Names under which no sync reads: a look from outside, and the account of a sync's records."""
_SLOT = re.compile(r"platint_[a-z0-9_]{1,55}")


class Source:
    """Reads the tables and views of one database. Every read has a connection of its own."""

    def __init__(self, context: DriverContext, address: Address) -> None:
        self._context = context
        self._address = address
        self._feeds: dict[str, Feed] = {}
        self._left: dict[str, str] = {}
        """Slots and publications of streams that are no longer read as feeds, to be dropped at an acknowledgement."""

    def mode_of(self, stream: str, options: ReadOptions) -> str:
        """The way in which a stream is read. Raises ConfigError for one that there is not."""
        if options.mode and options.mode not in MODES:
            raise ConfigError(
                f"A table cannot be read as '{clean(options.mode)}'.",
                hint=f"Use one of: {', '.join(MODES)}.",
                code="no_mode",
            )
        return options.mode or ("cursor" if options.cursor else self._settings(stream).modes[0])

    def _settings(self, stream: str) -> Settings:
        return resource(self._context.connector, stream).source or _USUAL

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions
    ) -> AsyncIterator[Page]:
        """Pages of a stream; see `Driver.read`."""
        mode = self.mode_of(stream, options)
        if mode == "cursor" and not options.cursor:
            raise ConfigError(
                f"'{clean(stream)}' is to be read by a cursor, and none is named.",
                where=self._address.where,
                hint="Name the column as `cursor` of the stream in the integration file.",
                code="no_cursor",
            )
        at = position if position and position.get("mode") == mode else None
        self._left.pop(stream, None)
        if mode == "cdc" and not options.peek:
            pages = self._followed(stream, at, options)
        else:
            if position and not options.peek and _is_slot(position):
                self._left[stream] = position["slot"]
            pages = self._scanned(stream, mode, at, options)
        async with contextlib.aclosing(pages) as closing:  # type: ignore[type-var]  # all are generators
            async for page in closing:
                yield page

    async def _scanned(
        self, stream: str, mode: str, position: JsonObject | None, options: ReadOptions
    ) -> AsyncIterator[Page]:
        async with self._table(stream, options, changes=False) as table:
            if not options.peek and options.sync not in _NO_SYNC:
                await self._look_for_left(table, position, options.sync)
            pages = self._preview(table) if options.peek else self._scan(table, mode, position, options)
            async with contextlib.aclosing(pages) as closing:  # type: ignore[type-var]
                async for page in closing:
                    yield page

    async def _look_for_left(self, table: Table, position: JsonObject | None, sync: str) -> None:
        """Find what an earlier feed of the stream left: an engine may have ended before it could be dropped."""
        stream, name = table.stream, slots.slot_name(sync, table.stream)
        if stream in self._left or not await slots.abandoned(table.connection, name):
            return
        self._left[stream] = name
        if position is not None:
            # A page of this mode is stored already, so the feed is done with; a scan of one page that has the
            # same position again is not acknowledged.
            await self._give_up(stream)

    async def _give_up(self, stream: str) -> None:
        """Drop what the stream left when it was a feed; it is remembered until that is done."""
        left = self._left.get(stream)
        if left is not None:
            await self._drop(left)
            self._left.pop(stream, None)

    async def _followed(
        self, stream: str, position: JsonObject | None, options: ReadOptions
    ) -> AsyncIterator[Page]:
        """The feed; one that is lost on the way goes on as `options.on_lost` says, after what was given out."""
        reason, restarted, begun = "", False, ""
        while True:
            try:
                async with self._table(stream, options, changes=True) as table:
                    pages = self._changes(table, position, options, reason)
                    async with contextlib.aclosing(pages) as closing:  # type: ignore[type-var]
                        async for page in closing:
                            position = page.position
                            if restarted and not begun:
                                begun = position["lsn"]
                            yield page
                return
            except PositionLost as error:
                # A new feed that is lost before it has moved would be lost again and again.
                stuck = position is None or (restarted and (not begun or position["lsn"] == begun))
                if stuck or options.on_lost not in ("resnapshot", "skip"):
                    raise
                reason = error.reason if isinstance(error, FeedLost) else ""
                restarted, begun = True, ""

    @contextlib.asynccontextmanager
    async def _table(self, stream: str, options: ReadOptions, *, changes: bool) -> AsyncIterator[Table]:
        """The table that a stream's name means, over a connection of its own."""
        address, types = self._address, Types()
        async with self.connection() as connection:
            relation = await catalog.relation(connection, stream, address.schema, address.user)
            await types.load(connection, (column.type for column in relation.columns))
            cursor = (options.cursor,) if options.cursor else ()
            wanted = {*options.columns, *options.key, *cursor} if options.columns else set()
            telemetry, clock = self._context.telemetry, self._context.clock
            table = Table(
                address, connection, telemetry, clock, stream, relation, types, wanted, changes=changes
            )
            try:
                yield table
            finally:
                table.close()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection that is closed in the end. Errors come out as PlatintError."""
        connection = await connect(self._address)
        try:
            yield connection
        except FAILURES as error:
            raise translate(error, self._address) from None
        finally:
            connection.terminate()

    async def _preview(self, table: Table) -> AsyncIterator[Page]:
        """Some rows of a table or view, whatever way it is read: nothing is made for it at the server."""
        chunk = self._settings(table.stream).chunk
        rows = await table.rows(table.columns, table.relation.source, f"LIMIT {chunk}")
        records, bad = table.records(table.columns, rows)
        yield Page(records, {"v": 1, "mode": "preview"}, True, table.requests, rows.bytes, bad)

    async def _scan(
        self, table: Table, mode: str, position: JsonObject | None, options: ReadOptions
    ) -> AsyncIterator[Page]:
        settings = self._settings(table.stream)
        place = position.get("scan") if position else None
        form = _form_of(options)
        if mode == "snapshot":
            steps = whole(table, options.key, settings.chunk, place, form)
        else:
            steps = by_cursor(
                table,
                options.cursor or "",
                options.key,
                overlap=settings.overlap,
                chunk=settings.chunk,
                place=place,
                form=form,
            )
        async for step in steps:
            # The next snapshot begins anew, the next scan by a cursor where this one ended.
            after = None if step.done and mode == "snapshot" else step.place
            yield _page(table, step, {"v": 1, "mode": mode, "scan": after}, last=step.done)

    async def _changes(
        self, table: Table, position: JsonObject | None, options: ReadOptions, reason: str
    ) -> AsyncIterator[Page]:
        settings = self._settings(table.stream)
        start = await begin(table, options, position, settings.max_retained, reason)
        base = {**start.position, "lsn": lsn_text(start.lsn)}
        if start.gap is not None:
            first = base if start.scan is None else {**base, "scan": start.scan}
            yield Page((), first, False, requests=0, gaps=(start.gap,))
        if start.scan is not None:
            place = start.scan or None
            async for step in whole(table, options.key, settings.chunk, place, _form_of(options)):
                after = {} if step.done else {"scan": step.place or {}}
                yield _page(table, step, {**base, **after}, last=False)
        feed = Feed(table, options.key, start, settings, self._context.clock)
        self._feeds[table.stream] = feed
        try:
            async with contextlib.aclosing(feed.pages(follow=options.follow)) as pages:  # type: ignore[type-var]
                async for page in pages:
                    yield page
        finally:
            if self._feeds.get(table.stream) is feed:
                del self._feeds[table.stream]

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Let the server forget the changes before `position`; all of them, when the stream is a feed no longer.

        Raises TransientError.
        """
        if position.get("mode") != "cdc":
            await self._give_up(stream)
            return
        if "scan" in position or not _is_slot(position):
            return
        lsn = lsn_number(position["lsn"])
        feed = self._feeds.get(stream)
        if feed is not None and feed.confirm(lsn):
            return
        async with self.connection() as connection:
            await slots.advance(connection, self._address, position["slot"], lsn)

    async def release(self, sync: str, stream: str) -> None:
        """Drop the slot and the publication that were made for a stream of a sync, if they are there.

        Raises TransientError when somebody goes on reading the slot, ConfigError without the right to drop it.
        """
        await self._drop(slots.slot_name(sync, stream))

    async def _drop(self, name: str) -> None:
        async with self.connection() as connection:
            await slots.drop(connection, self._address, name)
            await slots.withdraw(connection, name)

    async def slots(self) -> list[Slot]:
        """The slots of ours in this database, whoever made them."""
        async with self.connection() as connection:
            return await slots.slots(connection)


def _page(table: Table, step: Step, position: dict[str, Any], *, last: bool) -> Page:
    requests, table.requests = table.requests, 0
    return Page(step.records, position, last, requests, step.bytes, step.bad)


def _form_of(options: ReadOptions) -> str:
    """The form of block that the target likes best, "" when it takes records only."""
    return next((form for form in _FORMS if form in options.forms), "")


def _is_slot(position: Mapping[str, Any]) -> bool:
    return bool(_SLOT.fullmatch(str(position.get("slot", "")))) and "lsn" in position
