"""How one page leads to the next: pure state machines over small JSON documents, kept in the position.

Nothing here trusts a platform to stop: a state that comes back is an error, empty pages are counted, totals
only ever confirm an end that the records show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Json, Record
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.wire import names_credential
from platint_tui.drivers.http.links import find_link
from platint_tui.drivers.http.origin import Origins
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

MAX_EMPTY_PAGES = 100
_OUT_OF_RANGE = (400, 404, 416, 422)
_MISSING: Any = object()

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page showed: its envelope, headers, address and elements (in order, broken ones included)."""

    envelope: Mapping[str, Json] | None
    headers: Mapping[str, str]
    url: str
    elements: Sequence[Record | BadElement]


@dataclass(slots=True)
class Pager:
    """The pages of one scan. `private` names query parameters (lower case) that hold
    secrets: they are never stored, and neither is a credential that a next link repeats."""

    page: schema.Page
    origins: Origins
    private: frozenset[str] = frozenset()
    _passed: set[str] = field(default_factory=set)
    _empty: int = 0

    def start(self) -> State:
        """The state of the first page."""
        if isinstance(self.page, schema.OffsetPage):
            return {"offset": 0, "n": 1}
        if isinstance(self.page, schema.NumberPage):
            return {"page": self.page.start, "n": 1}
        return {"n": 1}

    def resume(self, state: Mapping[str, Json]) -> State:
        """A stored state, checked. Raises SystemicError (code `position`) when it is of another page type."""
        try:
            checked: State = {"n": int(state["n"])}
            if isinstance(self.page, schema.OffsetPage):
                checked["offset"] = int(state["offset"])
            elif isinstance(self.page, schema.NumberPage):
                checked["page"] = int(state["page"])
            elif isinstance(self.page, schema.CursorPage | schema.TokenHeaderPage) and checked["n"] > 1:
                checked["after"] = state["after"]
            elif isinstance(self.page, schema.LinkHeaderPage | schema.LinkBodyPage) and checked["n"] > 1:
                url = self.origins.follow(self.origins.base, str(state["url"]), "next page")
                checked["url"] = without(url, self.private)
            if state.get("past_end"):
                checked["past_end"] = True
        except (KeyError, ValueError, TypeError):
            raise stale_position() from None
        return checked

    def parameters(self, state: State) -> dict[str, Json]:
        """The parameters that ask for this page; `page.in` says where they go."""
        page = self.page
        if isinstance(page, schema.CursorPage | schema.TokenHeaderPage):
            return {page.param: state["after"]} if "after" in state else {}
        if isinstance(page, schema.OffsetPage):
            named = {page.param: state["offset"], page.limit_param: page.size}
        elif isinstance(page, schema.NumberPage):
            named = {page.param: state["page"], page.size_param: page.size}
        else:
            return {}
        return {name: value for name, value in named.items() if name}

    def query(self, state: State) -> dict[str, str]:
        """The query parameters that ask for this page."""
        return self._texts(state, "query")

    def headers(self, state: State) -> dict[str, str]:
        """The headers (lower case) that ask for this page. Raises SystemicError when one cannot hold it."""
        found = {name.lower(): value for name, value in self._texts(state, "header").items()}
        for value in found.values():
            if not value.isascii() or not value.isprintable():
                raise SystemicError("The page cursor is no text that a header can hold.", code="no_cursor")
        return found

    def into(self, body: Json, state: State) -> Json:
        """`body` with what asks for this page at its places; a body that is missing becomes an object."""
        if getattr(self.page, "in_", "query") != "body":
            return body
        for name, value in self.parameters(state).items():
            body = _placed(body, name.split("."), value)
        return body

    def scope(self, state: State) -> dict[str, Json]:
        """What `${page.…}` is in the request of this page: `n`, `offset`, `end`, `page`, `size`, `after`."""
        found = {name: value for name, value in state.items() if name in ("n", "offset", "page", "after")}
        if isinstance(self.page, schema.OffsetPage):
            found["end"] = state["offset"] + self.page.size
        size = getattr(self.page, "size", None)
        return found if size is None else {**found, "size": size}

    def _texts(self, state: State, place: str) -> dict[str, str]:
        if getattr(self.page, "in_", "query") != place:
            return {}
        return {name: _text(value) for name, value in self.parameters(state).items()}

    def url(self, state: State) -> str | None:
        """The whole address of this page where the platform gave one."""
        found = state.get("url")
        return str(found) if found is not None else None

    def expires(self, state: State) -> bool:
        """Whether this page is asked for by a token that a platform may forget."""
        return "after" in state or "url" in state

    def ends_with(self, status: int, state: State) -> bool:
        """Whether an error answer is just the page after the last one, where the total announced the end."""
        return bool(state.get("past_end")) and status in _OUT_OF_RANGE

    def advance(self, state: State, seen: Seen) -> State | None:
        """The state of the next page, None at the end of the scan.

        Raises SystemicError: `repeated_cursor`, `empty_pages`, `max_pages`, `no_cursor`, `no_more`, `origin`.
        """
        self._passed.add(_identity(state))
        if seen.elements:
            self._empty = 0
        else:
            self._empty += 1
            if self.page.stop_on_empty:
                return None
        following = self._next(state, seen)
        if following is None:
            return None
        following["n"] = number = state["n"] + 1
        if self.page.max_pages is not None and number > self.page.max_pages:
            raise SystemicError(
                f"The scan has more than the {self.page.max_pages} pages that the manifest allows.",
                code="max_pages",
            )
        if self.page.repeat_guard and _identity(following) in self._passed:
            raise SystemicError(
                f"The page cursor repeated at page {number}: the platform leads in a circle.",
                hint="Nothing after this page was read; the position stays before it.",
                code="repeated_cursor",
            )
        if self._empty >= MAX_EMPTY_PAGES:
            raise SystemicError(
                f"{self._empty} empty pages in a row, and the platform announces more.", code="empty_pages"
            )
        return following

    def _next(self, state: State, seen: Seen) -> State | None:
        page = self.page
        if isinstance(page, schema.CursorPage):
            return self._by_cursor(page, state, seen)
        if isinstance(page, schema.LinkHeaderPage):
            target = find_link(seen.headers.get("link", ""), page.rel)
            return self._link(target, seen)
        if isinstance(page, schema.LinkBodyPage):
            target = lookup(seen.envelope or {}, page.path)
            if page.rel is not None:
                target = _related(target, page.rel, page.href)
            if target is not None and not isinstance(target, str):
                raise SystemicError(f"The next page at '{page.path}' is no address.", code="no_cursor")
            return self._link(target, seen)
        if isinstance(page, schema.TokenHeaderPage):
            token = seen.headers.get(page.name.lower(), "")
            return {"after": token} if token and token not in page.end else None
        if isinstance(page, schema.OffsetPage):
            more = _announced(page.more, page.done, seen.envelope)
            if more is False or not (seen.elements or more):
                return None
            # An empty page that announces more has looked at as many records as it could have held.
            offset = state["offset"] + (len(seen.elements) or page.size)
            if more:
                return {"offset": offset}
            if page.short_ends and len(seen.elements) < page.size:
                return None
            total = _integer(seen.envelope, page.total)
            if offset == total and len(seen.elements) < page.size:
                return None
            return _numbered("offset", offset, total is not None and offset >= total)
        if isinstance(page, schema.NumberPage):
            more = _announced(page.more, None, seen.envelope)
            if more is False or not (seen.elements or more):
                return None
            if more:
                return {"page": state["page"] + 1}
            pages = _integer(seen.envelope, page.total_pages)
            read = state["page"] - page.start + 1
            if read == pages and len(seen.elements) < page.size:
                return None
            return _numbered("page", state["page"] + 1, pages is not None and read >= pages)
        return None

    def _by_cursor(self, page: schema.CursorPage, state: State, seen: Seen) -> State | None:
        more = _announced(page.more, page.done, seen.envelope)
        if more is False or (more is None and page.size is not None and len(seen.elements) < page.size):
            return None
        head, _, rest = page.from_.partition(".")
        if head == "last_record":
            last = next((item for item in reversed(seen.elements) if isinstance(item, Record)), None)
            value = lookup(last.value, rest) if last is not None else None
            if last is None and more and "after" in state:
                value = state["after"]
        else:
            value = lookup(seen.envelope or {}, page.from_)
        if value is None or value in ("", {}, []):
            if more or (head == "last_record" and seen.elements):
                raise SystemicError(
                    f"Page {state['n']} announces more but has no cursor at '{page.from_}'.", code="no_cursor"
                )
            return None
        if more is None and page.more is not None:
            raise SystemicError(
                f"Page {state['n']} has a cursor for the next page, but nothing at '{page.more}' that says whether "
                "there is one.",
                hint="Look in the platform's documentation whether it says that elsewhere now.",
                code="no_more",
            )
        if page.in_ != "body" and isinstance(value, dict | list | bool):
            raise SystemicError(f"The page cursor at '{page.from_}' is no text or number.", code="no_cursor")
        return {"after": value}

    def _link(self, target: str | None, seen: Seen) -> State | None:
        if not target:
            return None
        url = self.origins.follow(seen.url, target, "next page")
        return {"url": without(url, self.private)}


def stale_position() -> SystemicError:
    """The refusal of a position that another kind of paging has left."""
    return SystemicError(
        "The stored position is of another kind of paging than the manifest's.",
        hint="Reset the position of this stream to read it from the beginning.",
        code="position",
    )


def without(url: str, names: frozenset[str]) -> str:
    """`url` without the query parameters `names` (lower case) and without credentials that a platform has put
    into it: known values, and what is called like one. A parameter called just `token` may lead to the page.
    """
    base, mark, query = url.partition("?")
    pairs = query.split("&") if mark else []
    kept = [pair for pair in pairs if not _withheld(pair, names)]
    if len(kept) == len(pairs):
        return url
    return f"{base}?{'&'.join(kept)}" if kept else base


def _withheld(pair: str, names: frozenset[str]) -> bool:
    name, _, value = (unquote_plus(part) for part in pair.partition("="))
    named = name.lower() in names or (names_credential(name) and name.lower() != "token")
    return named or REDACTOR.holds_secret(value)


def _numbered(name: str, number: int, past_end: bool) -> State:
    """The state of a numbered page. A total that was passed is no end: only the records show that."""
    return {name: number, "past_end": True} if past_end else {name: number}


def _announced(more: str | None, done: str | None, envelope: Mapping[str, Json] | None) -> bool | None:
    """Whether the page says that another follows; None when the manifest names no flag for it, or the page
    does not have it.
    """
    path = more if more is not None else done
    value = lookup(envelope or {}, path, _MISSING) if path is not None else _MISSING
    if value is _MISSING:
        return None
    if more is not None:
        return _flag(value)
    return None if value is None else not _flag(value)


def _flag(value: Json) -> bool:
    """A flag as JSON has it, or in words: XML has only texts."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "0", "no")
    return bool(value)


def _related(links: Json, rel: str, href: str) -> Json:
    """The address of the link with this relation in a list of links (in XML the members are attributes)."""
    for link in links if isinstance(links, list) else [links]:
        if isinstance(link, Mapping) and rel in (link.get("rel"), link.get("@rel")):
            found = lookup(link, href)
            return found if found is not None else link.get(f"@{href}")
    return None


def _placed(body: Json, path: Sequence[str], value: Json) -> Json:
    """`body` with `value` at a path of members; objects that are missing on the way are made."""
    if not path:
        return value
    if body is not None and not isinstance(body, Mapping):
        raise ConfigError("A page parameter in the body needs a body that is an object.")
    members = dict(body or {})
    return {**members, path[0]: _placed(members.get(path[0]), path[1:], value)}


def _identity(state: State) -> str:
    return dumps({name: value for name, value in state.items() if name not in ("n", "past_end")})


def _integer(envelope: Mapping[str, Json] | None, path: str | None) -> int | None:
    value = lookup(envelope or {}, path) if path else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)
