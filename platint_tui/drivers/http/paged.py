"""Reading page by page: the request of each page, and what its answers mean."""

from __future__ import annotations

from collections.abc import Mapping

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import Json
from platint_tui.drivers.http.answers import Split
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.pagination import Pager, Seen, State
from platint_tui.drivers.http.requests import body_value, encoded, looked_up, with_query
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.session import Parts
from platint_tui.drivers.http.source import Asking

_GONE = (404, 410)


class Pages:
    """The pages of one scan, as a `Source`."""

    def __init__(self, asking: Asking) -> None:
        session, request = asking.session, asking.read.request
        self._asking = asking
        self._pager = Pager(
            asking.read.page, session.origins.at(request.endpoint), session.private_for(request.endpoint)
        )
        self._by_page = any(name.startswith("page.") for name in looked_up(request))
        # What stays the same for the whole scan is rendered once.
        self._parts: Parts | None = None if self._by_page else self._rendered({})
        self._plain = request.body is None and request.graphql is None

    def start(self) -> State:
        """The first page."""
        return self._pager.start()

    def resume(self, state: Mapping[str, Json]) -> State:
        """A stored page, checked."""
        return self._pager.resume(state)

    async def fetch(self, state: State) -> Split:
        """One page."""

        def refused(verdict: Verdict, answer: Answer | None) -> Split | None:
            if verdict.status and self._pager.ends_with(verdict.status, state):
                return Split(None, (), (), answer, 0, ended=True)
            if verdict.status in _GONE and self._pager.expires(state):
                raise SystemicError(
                    f"{self._asking.session.caller.host} forgot the page to go on with ({verdict.status}): "
                    "it expired.",
                    hint="Reset the position of this stream to read it from the beginning.",
                    where=self._asking.name,
                    code="cursor_expired",
                )
            return None

        return await self._asking.fetch(lambda: self._request(state), refused)

    def following(self, state: State, split: Split) -> State | None:
        """The page after this one."""
        if split.ended or split.answer is None:
            return None
        seen = Seen(split.envelope, split.answer.headers, split.answer.url, split.elements)
        return self._pager.advance(state, seen)

    async def close(self) -> None:
        """Nothing goes on between two pages."""

    def _rendered(self, page: Mapping[str, Json]) -> Parts:
        asking = self._asking
        scope = {**asking.scope, "page": page} if page else asking.scope
        parts = asking.session.parts(asking.read.request, scope)
        parts.query.update(asking.bounds())
        return parts

    def _request(self, state: State) -> Outgoing:
        asking, pager = self._asking, self._pager
        request = asking.read.request
        page = pager.scope(state)
        parts = self._parts or self._rendered(page)
        url = pager.url(state) or with_query(parts.url, {**parts.query, **pager.query(state)})
        headers: Mapping[str, str] = {**parts.headers, **pager.headers(state)}
        content = None
        body = None if self._plain else body_value(request, {**asking.scope, "page": page})
        body = pager.into(body, state)
        if body is not None:
            content, headers = encoded(request, body, headers)
        return asking.session.sendable(request, asking.scope, url, headers, content)
