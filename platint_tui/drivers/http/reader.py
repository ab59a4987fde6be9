"""Reading a stream page by page: request, check, split, count, and where the next page is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from platint_tui.core.errors import ConfigError, ErrorClass, NotFound, SystemicError
from platint_tui.core.jsontext import canonical_key, dumps, split_page
from platint_tui.core.model import BadElement, Json, JsonObject, Page, Record
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.pagination import Pager, Seen, State
from platint_tui.drivers.http.partitions import Partitions
from platint_tui.drivers.http.positions import CursorRule, Scan
from platint_tui.drivers.http.requests import address, encode_body, with_query
from platint_tui.drivers.http.session import Session as Session
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup, render_map

_LARGE = 1024 * 1024
"""Bytes of a body above which it is taken apart in a thread, so that everything else goes on meanwhile."""
_RETRIED_ONCE = ("json", "encoding", "empty_body")


class Chunk(NamedTuple):
    """One page of one scan."""

    records: Sequence[Record]
    bad: list[BadElement]
    last: bool
    requests: int
    bytes: int


class _Split(NamedTuple):
    """An answer taken apart; `ended` says that it closes the scan by itself."""

    envelope: Mapping[str, Json] | None
    elements: Sequence[Record | BadElement]
    answer: Answer | None
    requests: int
    ended: bool = False


@dataclass(slots=True)
class _Tally:
    """Requests and bytes spent on parents, added to the next page that is given out."""

    requests: int = 0
    bytes: int = 0

    def take(self) -> tuple[int, int]:
        """What was counted, starting again from zero."""
        counted = (self.requests, self.bytes)
        self.requests = self.bytes = 0
        return counted


def resource_of(connector: schema.Connector, name: str) -> schema.Resource:
    """The resource called `name`. Raises NotFound."""
    found = connector.resources.get(name)
    if found is None:
        raise NotFound(
            f"{connector.name} has no stream '{name}'.",
            hint=f"It has: {', '.join(sorted(connector.resources))}.",
        )
    return found


def cursor_rule(resource: schema.Resource) -> CursorRule | None:
    """How the cursor of a resource is read, None without one."""
    spec = resource.read.cursor if resource.read else None
    if spec is None:
        return None
    return CursorRule(
        tuple(spec.field.split(".")),
        spec.type,
        spec.order,
        abs(spec.lag),
        spec.missing,
        spec.start_param is not None,
    )


async def read_stream(session: Session, name: str, position: JsonObject | None) -> AsyncIterator[Page]:
    """Pages of one stream from `position` to the end of one scan (see `positions` and `partitions`)."""
    resource = resource_of(session.context.connector, name)
    if resource.read is None:
        raise ConfigError(f"The stream '{name}' of {session.context.connector.name} cannot be read.")
    if resource.parent is not None:
        async for page in _read_partitions(session, name, resource, position):
            yield page
        return
    scan = Scan.load(cursor_rule(resource), position)
    async for chunk in _Scanner(session, name, resource, scan).chunks():
        yield Page(chunk.records, scan.document(), chunk.last, chunk.requests, chunk.bytes, chunk.bad)


async def _read_partitions(
    session: Session, name: str, resource: schema.Resource, position: JsonObject | None
) -> AsyncIterator[Page]:
    state = Partitions.load(cursor_rule(resource), position)
    key_paths = _parent_key(session, resource)
    tally = _Tally()
    # With a shared position only the place of the interruption is known: skip to it, and should that parent
    # be gone, read all of them.
    wanted = state.current if state.shared else None
    for skip in (True, False) if wanted is not None else (False,):
        skipping = skip
        async for parent in _parents(session, resource, tally):
            key = canonical_key(lookup(parent.value, path) for path in key_paths)
            if key in state.done:
                continue
            if skipping:
                if key != wanted:
                    continue
                skipping = False
                if state.page is None:
                    continue
            scan = state.scan(key)
            async for chunk in _Scanner(session, name, resource, scan, parent.value).chunks():
                if chunk.last:
                    state.complete(key, scan)
                else:
                    state.inside(key, scan)
                requests, size = tally.take()
                yield Page(
                    chunk.records,
                    state.document(),
                    False,
                    chunk.requests + requests,
                    chunk.bytes + size,
                    chunk.bad,
                )
        if not skipping:
            break
    state.finish()
    requests, size = tally.take()
    yield Page((), state.document(), True, requests, size)


def _parent_key(session: Session, resource: schema.Resource) -> tuple[str, ...]:
    assert resource.parent is not None
    parent = resource_of(session.context.connector, resource.parent.resource)
    if not parent.key:
        raise ConfigError(
            f"The parent '{resource.parent.resource}' has no key, so its partitions cannot be told apart.",
            hint="Give it a key in the manifest.",
        )
    return parent.key


async def _parents(session: Session, resource: schema.Resource, tally: _Tally) -> AsyncIterator[Record]:
    """Every record of the parent resource; the parent may have a parent itself."""
    assert resource.parent is not None
    name = resource.parent.resource
    parent = resource_of(session.context.connector, name)
    if parent.parent is None:
        async for record in _all(session, name, parent, None, tally):
            yield record
        return
    async for grand in _parents(session, parent, tally):
        async for record in _all(session, name, parent, grand.value, tally):
            yield record


async def _all(
    session: Session, name: str, resource: schema.Resource, parent: Json, tally: _Tally
) -> AsyncIterator[Record]:
    async for chunk in _Scanner(session, name, resource, Scan(None), parent).chunks():
        tally.requests += chunk.requests
        tally.bytes += chunk.bytes
        if chunk.bad:
            raise SystemicError(
                f"A record of '{name}' cannot be read: {chunk.bad[0].reason}.",
                code="parent",
            )
        for record in chunk.records:
            yield record


@dataclass(slots=True)
class _Scanner:
    """One scan of one resource (for one parent): the requests, and what they bring."""

    session: Session
    name: str
    resource: schema.Resource
    scan: Scan
    parent: Json = None
    _scope: dict[str, Json] = field(default_factory=dict)
    _url: str = ""
    _query: dict[str, str] = field(default_factory=dict)
    _headers: dict[str, str] = field(default_factory=dict)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The pages from where the scan stands; after each, `scan` says where it goes on."""
        read = self.resource.read
        if read is None:
            raise ConfigError(f"The stream '{self.name}' cannot be read.")
        pager = Pager(read.page, self.session.origins, self.session.private_for(read.request.endpoint))
        state = self._open(read, pager)
        records_path = tuple(read.records.split(".")) if read.records else ()
        while True:
            split = await self._fetch(read, pager, state, records_path)
            elements = split.elements
            records: Sequence[Record]
            records = [item for item in elements if type(item) is Record]
            bad = (
                [item for item in elements if type(item) is BadElement]
                if len(records) < len(elements)
                else []
            )
            records, excluded = self.scan.take(records)
            following = None
            if not split.ended and split.answer is not None and not self._passed():
                seen = Seen(split.envelope, split.answer.headers, split.answer.url, elements)
                following = pager.advance(state, seen)
            if following is None:
                self.scan.finish()
            else:
                self.scan.page = following
            size = split.answer.wire if split.answer else 0
            yield Chunk(records, bad + excluded, following is None, split.requests, size)
            if following is None:
                return
            state = following

    def _passed(self) -> bool:
        rule = self.scan.rule
        return rule is not None and rule.order == "desc" and self.scan.passed

    def _open(self, read: schema.Read, pager: Pager) -> State:
        """Render what stays the same for the whole scan; the state of the page to begin with."""
        spec, scan = read.cursor, self.scan
        clock = self.session.context.clock
        ascending = spec is not None and spec.order == "asc" and spec.start_param is not None
        if (
            scan.page is not None
            and ascending
            and scan.high is not None
            and isinstance(read.page, schema.OffsetPage | schema.NumberPage)
        ):
            # Rows shift under a page number; an ascending filter finds the place again.
            scan.restart()
        if spec is not None and scan.rule is not None and scan.page is None:
            if (
                scan.since is None
                and spec.initial is not None
                and spec.type in ("iso8601", "epoch_s", "epoch_ms")
            ):
                scan.since = scan.rule.at(clock.now_ms(), -abs(spec.initial))
            if spec.end_param and spec.type in ("iso8601", "epoch_s", "epoch_ms"):
                # One second ahead: an exclusive bound would leave out what was made just now.
                scan.until = scan.rule.at(clock.now_ms(), 1)
        start = scan.start()
        scope: dict[str, Json] = {
            **self.session.scope,
            "resource": {"name": self.name},
            "cursor": {"start": start, "end": scan.until},
        }
        if self.parent is not None:
            scope["parent"] = self.parent
        request = read.request
        self._scope = scope
        self._url = address(self.session.base_url, request.path, scope)
        self._query = render_map(request.query, scope, "query")
        if spec is not None and spec.start_param and start is not None:
            self._query[spec.start_param] = start if isinstance(start, str) else dumps(start)
        if spec is not None and spec.end_param and scan.until is not None:
            self._query[spec.end_param] = scan.until if isinstance(scan.until, str) else dumps(scan.until)
        self._headers = {**self.session.headers, **_lower(render_map(request.headers, scope, "header"))}
        return pager.start() if scan.page is None else pager.resume(scan.page)

    def _request(self, read: schema.Read, pager: Pager, state: State) -> Outgoing:
        url = pager.url(state) or with_query(self._url, {**self._query, **pager.query(state)})
        if read.request.body is None:
            return Outgoing(read.request.method, url, self._headers)
        content, kind = encode_body(read.request.body, "json", {**self._scope, "page": state})
        return Outgoing(read.request.method, url, {**self._headers, "content-type": kind}, content)

    async def _fetch(
        self, read: schema.Read, pager: Pager, state: State, records_path: tuple[str, ...]
    ) -> _Split:
        """One page, decoded. A page that is no JSON is asked for once more before it is an error."""
        requests = 0
        caller = self.session.caller
        while True:
            result = await caller.call(f"read {self.name}", "read", self._request(read, pager, state))
            requests += result.requests
            verdict, answer = result.verdict, result.answer
            if verdict is not None:
                if verdict.action == "ignore" or (verdict.status and pager.ends_with(verdict.status, state)):
                    return _Split(None, (), answer, requests, ended=True)
                if verdict.status in (404, 410) and pager.expires(state):
                    raise SystemicError(
                        f"{caller.host} forgot the page to go on with ({verdict.status}): it expired.",
                        hint="Reset the position of this stream to read it from the beginning.",
                        where=self.name,
                        code="cursor_expired",
                    )
                if verdict.error_class is ErrorClass.RECORD:
                    raise SystemicError(
                        verdict.message, hint=verdict.hint, where=self.name, code=verdict.code
                    )
                raise verdict.error(self.name, self.session.context.clock.now_ms())
            assert answer is not None
            try:
                if len(answer.body) > _LARGE:
                    return await asyncio.to_thread(self._split, read, answer, records_path, requests)
                return self._split(read, answer, records_path, requests)
            except SystemicError as error:
                if error.code not in _RETRIED_ONCE or requests > result.requests:
                    raise

    def _split(
        self, read: schema.Read, answer: Answer, records_path: tuple[str, ...], requests: int
    ) -> _Split:
        host = self.session.caller.host
        if answer.status in (204, 205):
            if read.page.stop_on_empty:
                return _Split(None, (), answer, requests, ended=True)
            raise SystemicError(
                f"{host} answered {answer.status} (no content) where records are expected.",
                hint="If that means the end, say stop_on_empty in the manifest.",
                where=self.name,
                code="no_content",
            )
        if answer.status not in (200, 203):
            raise SystemicError(
                f"{host} answered {answer.status} where a page of records is expected.",
                where=self.name,
                code="unexpected_status",
            )
        expect_json(answer.body, answer.headers.get("content-type", ""), host)
        if read.single:
            return _Split(None, self._one(answer.body), answer, requests, ended=True)
        envelope, elements = split_page(answer.body, records_path, self.name)
        return _Split(envelope, elements, answer, requests)

    def _one(self, body: bytes) -> list[Record | BadElement]:
        """The answer as the one record that it is, by the same splitter, so that its exact text is kept."""
        _, elements = split_page(b"[" + body.removeprefix(b"\xef\xbb\xbf") + b"]", (), self.name)
        if len(elements) != 1:
            raise SystemicError("The answer is not one JSON document.", where=self.name, code="json")
        return elements


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
