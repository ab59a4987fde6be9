"""One scan of one resource: window by window and page by page, and after each where it goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import BadElement, Json, Record
from platint_tui.drivers.http.answers import Split
from platint_tui.drivers.http.cursors import TIMES, CursorRule
from platint_tui.drivers.http.discover_fields import field_names
from platint_tui.drivers.http.jobs import Job
from platint_tui.drivers.http.paged import Pages
from platint_tui.drivers.http.pagination import State
from platint_tui.drivers.http.positions import Scan
from platint_tui.drivers.http.requests import looked_up
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.source import Asking, Source
from platint_tui.manifest import schema


class Chunk(NamedTuple):
    """One page of one scan."""

    records: Sequence[Record]
    bad: list[BadElement]
    last: bool
    requests: int
    bytes: int


def cursor_rule(read: schema.Read | None) -> CursorRule | None:
    """How the cursor of a read is understood, None without one."""
    spec = read.cursor if read is not None else None
    if spec is None:
        return None
    server_side = spec.side == "server" if spec.side is not None else spec.start_param is not None
    return CursorRule(
        tuple(spec.field.split(".")),
        spec.type,
        spec.order,
        abs(spec.lag),
        spec.missing,
        server_side,
        spec.format,
        spec.window if spec.type in TIMES else None,
    )


@dataclass(slots=True)
class Scanner:
    """Reads from where `scan` stands to its end; `parent` is the record that it is for."""

    session: Session
    name: str
    read: schema.Read
    scan: Scan
    parent: Json = None
    _source: Source = field(init=False)
    _names: list[str] | None = None
    _read: int = 0
    """Elements that the running query has brought."""

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The pages from where the scan stands; after each, `scan` says where it goes on."""
        scan = self.scan
        of = f"A record of '{self.name}' from {self.session.caller.host}"
        self._begin()
        if "resource.fields" in looked_up(self.read.request):
            self._names = await field_names(self.session, self.name)
        self._source = self._open()
        try:
            if scan.page is not None:
                self._read = int(scan.page.get("read", 0))
            state = self._source.start() if scan.page is None else self._source.resume(scan.page)
            while True:
                split = await self._source.fetch(state)
                given = split.given
                records: Sequence[Record] = [item for item in given if type(item) is Record]
                bad = (
                    [item for item in given if type(item) is BadElement] if len(records) < len(given) else []
                )
                records, excluded = scan.take(records, of)
                following = None if self._passed() else self._source.following(state, split)
                if following is None:
                    following = await self._next_window()
                elif self._exhausted(split):
                    following = await self._anew()
                scan.page = following
                if following is not None and self.read.page.cap is not None:
                    scan.page = {**following, "read": self._read}
                if following is None:
                    scan.finish()
                size = split.answer.wire if split.answer else 0
                yield Chunk(records, bad + excluded, following is None, split.requests, size)
                if following is None:
                    return
                state = following
        finally:
            await self._source.close()

    def _passed(self) -> bool:
        rule = self.scan.rule
        return rule is not None and rule.order == "desc" and self.scan.passed

    def _exhausted(self, split: Split) -> bool:
        """Count a page; whether another one would be more than the platform gives for one query."""
        cap = self.read.page.cap
        self._read += len(split.elements)
        return cap is not None and self._read + len(split.elements) > cap

    async def _anew(self) -> State:
        """The first page of the same query from the greatest cursor value seen.

        Raises SystemicError (code `cap`) when that is where it began.
        """
        scan, rule = self.scan, self.scan.rule
        start = scan.start()
        stays = start is not None and rule is not None and rule.sent(scan.high) == rule.sent(start)
        if rule is None or scan.high is None or stays:
            raise SystemicError(
                f"{self.session.caller.host} gives {self.read.page.cap:,} records for one query, and more have "
                f"the same {'.'.join(rule.path) if rule else 'cursor'}.",
                where=self.name,
                code="cap",
            )
        until, end = scan.until, scan.end
        scan.anew()
        scan.until, scan.end = until, end
        return await self._reopened()

    async def _next_window(self) -> State | None:
        """The first page of the next window, None after the last."""
        if self._passed() or not self.scan.next_window():
            return None
        return await self._reopened()

    async def _reopened(self) -> State:
        """The first page of a query with other bounds."""
        self._read = 0
        await self._source.close()
        self._source = self._open()
        return self._source.start()

    def _begin(self) -> None:
        """Where the scan starts in time, and where it ends."""
        read, scan = self.read, self.scan
        spec, rule = read.cursor, scan.rule
        if spec is None or rule is None:
            return
        now_ms = self.session.context.clock.now_ms()
        ascending = rule.order == "asc" and rule.server_side
        numbered = isinstance(read.page, schema.OffsetPage | schema.NumberPage)
        if scan.page is not None and ascending and scan.high is not None and numbered:
            # Rows shift under a page number; an ascending filter finds the place again.
            scan.restart()
        if scan.page is not None and rule.window is not None and scan.step is None:
            # The position is from a scan without windows.
            scan.page = scan.until = None
        if scan.page is not None or rule.type not in TIMES:
            return
        if scan.since is None and spec.initial is not None:
            scan.since = rule.at(now_ms, -abs(spec.initial))
        if rule.window is not None:
            scan.first_window(now_ms)
        if scan.until is None and (spec.end_param or "cursor.end" in looked_up(read.request)):
            # Ahead of now: an exclusive bound would leave out what was made just now.
            scan.until = rule.after(now_ms)

    def _open(self) -> Source:
        scan, rule = self.scan, self.scan.rule
        bounds = {"start": scan.start(), "end": scan.until}
        cursor = {
            name: rule.sent(value) for name, value in bounds.items() if rule is not None and value is not None
        }
        scope: dict[str, Json] = {**self.session.scope_of(self.name), "cursor": cursor}
        if self._names is not None:
            scope["resource"] = {**scope["resource"], "fields": self._names}
        if self.parent is not None:
            scope["parent"] = self.parent
        asking = Asking(self.session, self.name, self.read, self.parent, scope)
        return Job(asking, self.read.page) if isinstance(self.read.page, schema.JobPage) else Pages(asking)
