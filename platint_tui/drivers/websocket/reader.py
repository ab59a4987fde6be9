"""Reading a WebSocket: pages, signs of life, and where reading goes on.

A position holds the `id` of the last record, which the platform is asked to go on after where it can, and `at`, when
the last message came. Where messages are acknowledged there are `connection` and `tag` beside them: up to where what
came over that connection may be acknowledged.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from platint_tui.core.errors import PlatintError, SystemicError, TransientError
from platint_tui.core.ids import new_id
from platint_tui.core.model import Gap, Json, JsonObject, Page
from platint_tui.core.text import clean
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.live import ALIVE, LONGEST_SCAN, Portion, Shaper
from platint_tui.drivers.messages import BASE64, iso
from platint_tui.drivers.websocket.connection import Connection, open_connection
from platint_tui.manifest.live import Socket
from platint_tui.manifest.sources import Source
from platint_tui.manifest.template import render_body

_GATHER = 0.01
"""Seconds that a page is given to fill up."""


class Scan:
    """One reading of one feed, over a connection of its own."""

    def __init__(
        self, session: Session, stream: str, source: Source, live: Socket, position: JsonObject | None
    ) -> None:
        given = position or {}
        self.token = new_id("w")
        self.begun = dict(given)
        self._given_tag = 0
        self._session = session
        self._stream = stream
        self._source = source
        self._live = live
        self._clock = session.context.clock
        self._id = str(given.get("id", ""))
        self._at = str(given.get("at", ""))
        self._resumed = bool(self._at)
        self._shaper = Shaper(stream, live, source.max_message)
        self._unacknowledged: deque[tuple[int, Json]] = deque()
        self._count = 0
        self._heard = self._clock.monotonic()
        self._connection: Connection | None = None

    @property
    def outstanding(self) -> bool:
        """Whether something that was given out is to be acknowledged."""
        return bool(self._unacknowledged) and self._unacknowledged[0][0] <= self._given_tag

    def position(self) -> dict[str, Any]:
        """Where reading goes on."""
        position: dict[str, Any] = {"id": self._id, "at": self._at}
        if self._live.acknowledge is not None and self._given_tag:
            position |= {"connection": self.token, "tag": self._given_tag}
        return position

    async def acknowledge(self, tag: int) -> None:
        """Send the acknowledgement of every message up to this one. Raises TransientError."""
        if self._connection is None:
            raise stale(self._stream)
        while self._unacknowledged and self._unacknowledged[0][0] <= tag:
            scope = {**self._session.scope_of(self._stream), "record": self._unacknowledged[0][1]}
            await self._connection.send(render_body(self._live.acknowledge, scope))
            self._unacknowledged.popleft()

    async def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def pages(self, follow: bool, most: int | None = None) -> AsyncIterator[Page]:
        """The pages; with `most` they end after about so many messages. Raises PlatintError."""
        live = self._live
        resumes = live.resume is not None and bool(self._id)
        self._connection = await open_connection(
            self._session, self._stream, live, resume_after=self._id if resumes else ""
        )
        if not (self._resumed and (resumes or live.acknowledge is not None)):
            yield Page((), self._began(), last=False, gaps=self._gaps)
        self._heard = self._clock.monotonic()
        async for page in self._read(self._connection, follow, most):
            yield page

    def _began(self) -> dict[str, Any]:
        """Note what is not here when the platform could not be told where to go on."""
        now = iso(self._clock.now_ms())
        why = f"not resumable: what was sent between {self._at} and {now} is not here."
        self._gaps = [Gap(why, self._at, now)] if self._resumed else []
        self._at = now
        return self.position()

    async def _read(self, connection: Connection, follow: bool, most: int | None) -> AsyncIterator[Page]:
        started = told = quiet_since = self._clock.monotonic()
        count = 0
        waiting: asyncio.Task[bytes] | None = None
        beat = asyncio.create_task(self._beat(connection))
        try:
            while True:
                waiting = waiting or asyncio.create_task(connection.receive())
                await asyncio.wait({waiting}, timeout=min(self._source.idle, ALIVE))
                portion, tag = Portion(), self._count
                try:
                    while waiting is not None and waiting.done() and self._count - tag < self._source.chunk:
                        data, waiting = waiting.result(), None
                        self._heard = self._clock.monotonic()
                        await self._take(connection, portion, data)
                        waiting = asyncio.create_task(connection.receive())
                        await asyncio.wait({waiting}, timeout=_GATHER)
                except PlatintError as error:
                    if portion:
                        yield self._page(portion, False)
                    if follow or error.code not in ("1000", "1001"):
                        raise
                    yield Page((), self.position(), last=True)
                    return
                now = self._clock.monotonic()
                if portion:
                    quiet_since = told = now
                    count += self._count - tag
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
                elif follow and self._heard > told and now - told >= min(ALIVE, self._source.idle):
                    told = now
                    yield Page((), self.position(), last=False)
        finally:
            tasks = [task for task in (waiting, beat) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self, connection: Connection) -> None:
        """Ask for a sign of life now and then. That the connection is gone shows where messages are received."""
        while True:
            if self._live.ping is not None:
                scope = self._session.scope_of(self._stream)
                await connection.send(render_body(self._live.ping, scope))
            else:
                await connection.ping()
                self._heard = self._clock.monotonic()
            await asyncio.sleep(self._live.heartbeat)

    def _silent(self) -> TransientError:
        since = iso(self._clock.now_ms() - round((self._clock.monotonic() - self._heard) * 1000))
        return TransientError(
            f"The feed is silent since {since}.",
            where=clean(self._stream),
            hint="It is opened again; a platform that sends nothing for longer needs a greater stale_after.",
            code="stale",
        )

    async def _take(self, connection: Connection, portion: Portion, data: bytes) -> None:
        live, around = self._live, {"key": None}
        document: Json = None
        body: dict[str, Json]
        refusal, parsed = "", False
        if live.form == "base64":
            body = {"body": base64.b64encode(data).decode(), "encoding": BASE64}
        else:
            body = {}
            try:
                text = data.decode()
                body = {"body": text}
                if live.form == "json":
                    document, parsed = self._shaper.document(text), True
                    body = {"body": document}
            except UnicodeDecodeError:
                refusal = "it is no UTF-8"
            except SystemicError as error:
                refusal = error.message.rstrip(".")
        if parsed and (await connection.answered(document) or self._shaper.ignores(document)):
            return
        self._count += 1
        if live.acknowledge is not None:
            self._unacknowledged.append((self._count, document))
        own = self._shaper.id_in(document) if parsed and live.records is None else ""
        identity = own or self._shaper.made()
        if refusal:
            self._shaper.refuse(portion, data, {"id": identity}, refusal)
        else:
            self._shaper.add(portion, data, document, identity, around, parsed=parsed, body=body)
        if parsed and live.id is not None:
            self._id = self._last_id(portion, document, own) or self._id

    def _last_id(self, portion: Portion, document: Json, own: str) -> str:
        if self._live.records is None:
            return own
        return self._shaper.id_in(portion.records[-1].value) if portion.records else ""

    def _page(self, portion: Portion, last: bool) -> Page:
        self._at = iso(self._clock.now_ms())
        self._given_tag = self._count
        return Page(portion.records, self.position(), last, 1, portion.bytes, portion.bad, portion.happened)


def stale(stream: str) -> TransientError:
    """The connection over which messages came is gone."""
    return TransientError(
        f"The connection over which messages of '{clean(stream)}' came is gone.",
        hint="What was not acknowledged is sent again, and what was stored already replaces itself.",
        code="stale_connection",
    )
