"""Reading a feed of events: pages, where reading goes on, and what is known of the time away.

A position holds the `id` of the last event, which the server is asked to go on after (Last-Event-ID), and `at`, when
something was last heard. `run` counts how many ids in a row were one greater than the one before: only where all of
them were can a hole be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from platint_tui.core.errors import ConfigError, SystemicError, TransientError
from platint_tui.core.model import Gap, Json, JsonObject, Page
from platint_tui.drivers.http.requests import address, lower, with_query
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.live import ALIVE, LONGEST_SCAN, Portion, Shaper
from platint_tui.drivers.messages import iso
from platint_tui.drivers.sse.exchange import EVENT_STREAM, Ended, Feed, open_feed
from platint_tui.drivers.sse.parser import Event, Parser
from platint_tui.manifest.live import Events, Live
from platint_tui.manifest.sources import Source
from platint_tui.manifest.template import render_map

_SURE = 3
"""Ids that followed each other before a hole is taken for one."""
_BROKEN = -1


def address_of(session: Session, live: Live, scope: Mapping[str, Json]) -> str:
    """Where a feed is."""
    base = session.address_for(live.endpoint)
    url = address(base, live.path, scope) if live.path else base
    return with_query(url, render_map(live.query, scope, "query"))


def headers_of(session: Session, live: Live, scope: Mapping[str, Json]) -> dict[str, str]:
    """The headers of a request for a feed, without the credential; names in lower case."""
    return {**session.headers_for(live.endpoint), **lower(render_map(live.headers, scope, "header"))}


class Scan:
    """One reading of one feed."""

    def __init__(
        self, session: Session, stream: str, source: Source, live: Events, position: JsonObject | None
    ) -> None:
        given = position or {}
        self._session = session
        self._stream = stream
        self._source = source
        self._live = live
        self._clock = session.context.clock
        self._id = str(given.get("id", ""))
        self._at = str(given.get("at", ""))
        self._run = int(given.get("run", 0))
        self._since = int(given.get("since", 0))
        self._resumed = bool(self._at)
        self._gaps: list[Gap] = []
        self._parser = Parser(source.max_message, self._id)
        self._shaper = Shaper(stream, live, source.max_message)
        self._heard = self._clock.monotonic()

    @property
    def retry(self) -> float | None:
        """Seconds that the server wants between two connections."""
        return self._parser.retry

    @property
    def _resumable(self) -> bool:
        """Whether the server can be told after what to go on."""
        return bool(self._id) and self._id.isascii() and self._id.isprintable()

    def position(self) -> dict[str, Any]:
        """Where reading goes on."""
        position: dict[str, Any] = {"id": self._id, "at": self._at, "run": self._run}
        return {**position, "since": self._since} if self._since else position

    async def pages(self, follow: bool, most: int | None = None) -> AsyncIterator[Page]:
        """The pages; with `most` they end after about so many records. Raises PlatintError."""
        session, live = self._session, self._live
        scope = {**session.scope_of(self._stream), "cursor": {"start": self._id or None, "end": None}}
        headers = {**headers_of(session, live, scope), "accept": EVENT_STREAM, "cache-control": "no-store"}
        headers["accept-encoding"] = "identity"
        if self._resumable:
            headers["last-event-id"] = self._id
        try:
            feed = await open_feed(
                session, live.endpoint, address_of(session, live, scope), headers, self._stream
            )
        except Ended:
            if not follow:
                yield Page((), self.position(), last=True)
                return
            raise ConfigError(
                "The server says that there is nothing more to come (204).",
                where=self._stream,
                hint="Take the stream out of the integration, or read it on a schedule.",
                code="ended_for_good",
            ) from None
        try:
            async for page in self._read(feed, follow, most):
                yield page
        finally:
            await feed.close()

    async def _read(self, feed: Feed, follow: bool, most: int | None) -> AsyncIterator[Page]:
        started = self._heard = told = self._clock.monotonic()
        if not (self._resumed and self._resumable):
            self._begin()
            gaps, self._gaps = self._gaps, []
            yield Page((), self.position(), last=False, gaps=gaps)
        chunks = aiter(feed.chunks())
        waiting: asyncio.Task[bytes] | None = None
        quiet_since, count = started, 0
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(_next(chunks))
                done, _ = await asyncio.wait({waiting}, timeout=min(self._source.idle, ALIVE))
                now = self._clock.monotonic()
                portion = Portion()
                if done:
                    chunk, waiting = waiting.result(), None
                    if not chunk:
                        yield self._at_end(follow)
                        return
                    self._heard = now
                    for event in self._parser.feed(chunk):
                        self._take(portion, event)
                if portion:
                    quiet_since = told = now
                    count += len(portion.records) + len(portion.bad)
                    self._at = iso(self._clock.now_ms())
                    over = most is not None and count >= most
                    ends = over or (not follow and now - started > LONGEST_SCAN)
                    yield self._page(portion, ends)
                    if ends:
                        return
                    # While the page was stored nobody listened.
                    self._heard = self._clock.monotonic()
                elif not follow and now - quiet_since >= self._source.idle:
                    yield Page((), self.position(), last=True)
                    return
                elif now - self._heard >= self._live.stale_after:
                    raise self._silent()
                elif follow and done and now - told >= min(ALIVE, self._source.idle):
                    told = now
                    yield Page((), self.position(), last=False)
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)

    def _begin(self) -> None:
        """Note what is not here when the server could not be told where to go on."""
        now = iso(self._clock.now_ms())
        if self._resumed:
            self._gaps.append(
                Gap(f"not resumable: what was sent between {self._at} and {now} is not here.", self._at, now)
            )
        self._at = now

    def _at_end(self, follow: bool) -> Page:
        if not follow:
            return Page((), self.position(), last=True)
        raise TransientError("The server ended the feed.", where=self._stream, code="ended")

    def _silent(self) -> TransientError:
        since = iso(self._clock.now_ms() - round((self._clock.monotonic() - self._heard) * 1000))
        return TransientError(
            f"The feed is silent since {since}.",
            where=self._stream,
            hint="It is opened again; a server that sends nothing for longer needs a greater stale_after.",
            code="stale",
        )

    def _take(self, portion: Portion, event: Event) -> None:
        identity = self._identity(event)
        if self._live.names and event.name not in self._live.names:
            return
        around: dict[str, Json] = {"event": event.name}
        if event.cut:
            reason = f"the event has {event.size:,} bytes; its beginning is here"
            self._shaper.refuse(portion, event.data, {"id": identity, **around}, reason)
            return
        try:
            text = event.data.decode()
        except UnicodeDecodeError:
            self._shaper.refuse(portion, event.data, {"id": identity, **around}, "it is no UTF-8")
            return
        try:
            document = self._shaper.document(text)
        except SystemicError:
            document, parsed = None, False
        else:
            parsed = True
        if parsed and self._shaper.ignores(document):
            return
        own = self._shaper.id_in(document) if parsed and self._live.records is None else ""
        self._shaper.add(portion, text, document, own or identity, around, parsed=parsed)

    def _identity(self, event: Event) -> str:
        """The id of an event. One without an own id is counted after the last that has one: the server gives it
        again when it is asked to go on after that."""
        if event.id:
            self._compare(event.id)
            self._id, self._since = event.id, 0
            return event.id
        if event.id == "":
            self._id, self._since = "", 0
        if not self._id:
            return self._shaper.made()
        self._since += 1
        return f"{self._id}+{self._since}"

    def _compare(self, new: str) -> None:
        """See whether ids follow each other, and note a hole after a new connection."""
        before, resumed, self._resumed = self._id, self._resumed, False
        if not (before.isascii() and before.isdigit() and new.isascii() and new.isdigit()):
            self._run = _BROKEN if before else 0
            return
        step = int(new) - int(before)
        if resumed and self._run >= _SURE and step > 1:
            first, last = str(int(before) + 1), str(int(new) - 1)
            why = f"ids went up by one until {before}, and the server went on with {new}"
            self._gaps.append(Gap(f"{why}: what was between them did not come.", first, last))
        elif step == 1:
            self._run = self._run + 1 if 0 <= self._run < _SURE else self._run
        elif not (resumed and step <= 0):
            self._run = _BROKEN

    def _page(self, portion: Portion, last: bool) -> Page:
        gaps, self._gaps = self._gaps, []
        return Page(
            portion.records,
            self.position(),
            last,
            1,
            portion.bytes,
            portion.bad,
            portion.happened,
            gaps,
        )


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    """The next bytes, none at the end."""
    try:
        while not (chunk := await anext(chunks)):
            pass
    except StopAsyncIteration:
        return b""
    return chunk
