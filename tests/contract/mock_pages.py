"""Requests, replies and the page styles of the mock server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode


@dataclass
class Call:
    """A request that the mock server got. `params` are the values in the path, `pairs` the query in order."""

    method: str
    path: str
    query: dict[str, str]
    pairs: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any
    form: dict[str, str]
    fields: list[tuple[str, str]]
    raw: bytes
    media: str
    operation: str = ""
    params: dict[str, str] = field(default_factory=dict)
    status: int = 0

    @property
    def origin(self) -> str:
        """The address that the request was sent to."""
        return f"http://{self.headers.get('host', '')}"

    def with_query(self, **changes: str) -> str:
        """The address of the same request with other parameters."""
        return f"{self.origin}{self.path}?{urlencode({**self.query, **changes})}"


@dataclass
class Reply:
    """An answer: `json`, or `text`, or `raw` bytes. `checked`: it is held against the description."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    raw: bytes | None = None
    checked: bool = True


Pages: TypeAlias = Callable[[Call, list[dict[str, Any]]], tuple[Reply, list[dict[str, Any]]]]
"""From a call and all rows to the reply (its json: members beside the list) and the rows of this page."""


def refused(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the vendor's shape."""
    return Reply(status, body, dict(headers or {}), checked=False)


def too_many(headers: Mapping[str, str], body: Any = None, status: int = 429) -> Reply:
    """A refusal because of a rate limit."""
    return Reply(status, body if body is not None else {}, dict(headers), checked=False)


def one_page(extra: Mapping[str, Any] | None = None) -> Pages:
    """Everything in one answer."""
    return lambda call, rows: (Reply(json=dict(extra or {})), rows)


def link_header(page: str = "page", size: str = "per_page", most: int = 100, default: int = 30) -> Pages:
    """Page numbers, and the next one as `Link: <…>; rel="next"`."""

    def style(call: Call, rows: list[dict[str, Any]]) -> tuple[Reply, list[dict[str, Any]]]:
        number = int(call.query.get(page, "1"))
        count = min(int(call.query.get(size, str(default))), most)
        shown = rows[(number - 1) * count : number * count]
        links = [f'<{call.with_query(**{page: "1"})}>; rel="first"']
        if number * count < len(rows):
            links.insert(0, f'<{call.with_query(**{page: str(number + 1)})}>; rel="next"')
        return Reply(json={}, headers={"Link": ", ".join(links)}), shown

    return style


def cursor_pages(
    param: str,
    size: str = "limit",
    *,
    key: str = "",
    next_at: str = "",
    more: str = "",
    most: int = 100,
    default: int = 10,
    last: Any = None,
    source: str = "query",
) -> Pages:
    """The next page by the last row's `key` (the parameter is its value), or by a token at `next_at`; `more` is
    where the flag is that says whether another page follows. `last`: what is at `next_at` on the last page
    (None: null; ... : nothing). `source`: query, body or form.
    """

    def style(call: Call, rows: list[dict[str, Any]]) -> tuple[Reply, list[dict[str, Any]]]:
        sent = {"query": call.query, "form": call.form, "body": call.body or {}}[source]
        after = _in(sent, param)
        count = min(int(_in(sent, size) or default), most)
        start = 0
        if after not in (None, ""):
            if key:
                start = next(i for i, row in enumerate(rows) if str(row[key]) == str(after)) + 1
            else:
                start = int(str(after).removeprefix("cursor-"))
        end = start + count
        extra: dict[str, Any] = {}
        if next_at and (end < len(rows) or last is not ...):
            placed(extra, next_at, f"cursor-{end}" if end < len(rows) else last, None)
        if more:
            placed(extra, more, end < len(rows), None)
        return Reply(json=extra), rows[start:end]

    return style


def offset_pages(
    offset: str,
    size: str,
    *,
    total: str = "",
    more: str = "",
    last: str = "",
    echo: bool = False,
    most: int = 100,
) -> Pages:
    """Rows from an offset on; `total`, `more` and `last` are where their number and the flags are; `echo` repeats the
    parameters as members.
    """

    def style(call: Call, rows: list[dict[str, Any]]) -> tuple[Reply, list[dict[str, Any]]]:
        start = int(call.query.get(offset, "0"))
        count = min(int(call.query.get(size, str(most))), most)
        extra: dict[str, Any] = {}
        if total:
            placed(extra, total, len(rows), None)
        if more:
            placed(extra, more, start + count < len(rows), None)
        if last:
            placed(extra, last, start + count >= len(rows), None)
        if echo:
            extra |= {offset: start, size: count}
        return Reply(json=extra), rows[start : start + count]

    return style


def number_pages(
    page: str,
    size: str,
    *,
    total_pages: str = "",
    total: str = "",
    start: int = 1,
    most: int = 100,
    default: int = 10,
) -> Pages:
    """Pages by number; `total_pages` and `total` are where the answer tells how many there are."""

    def style(call: Call, rows: list[dict[str, Any]]) -> tuple[Reply, list[dict[str, Any]]]:
        number = int(call.query.get(page, str(start))) - start
        count = min(int(call.query.get(size, str(default))), most)
        extra: dict[str, Any] = {}
        if total_pages:
            placed(extra, total_pages, -(-len(rows) // count), None)
        if total:
            placed(extra, total, len(rows), None)
        return Reply(json=extra), rows[number * count : (number + 1) * count]

    return style


def next_link(
    at: str, param: str, size: str, *, relative: bool = False, most: int = 1000, default: int = 50
) -> Pages:
    """The address of the next page at `at`, null on the last one; `param` counts the rows before it."""

    def style(call: Call, rows: list[dict[str, Any]]) -> tuple[Reply, list[dict[str, Any]]]:
        start = int(call.query.get(param, "0") or 0)
        count = min(int(call.query.get(size, str(default))), most)
        address: str | None = None
        if start + count < len(rows):
            address = call.with_query(**{param: str(start + count)})
            address = address.removeprefix(call.origin) if relative else address
        extra: dict[str, Any] = {}
        placed(extra, at, address, None)
        return Reply(json=extra), rows[start : start + count]

    return style


def _in(sent: Any, path: str) -> Any:
    if isinstance(sent, Mapping) and path in sent:
        return sent[path]
    for name in path.split("."):
        sent = sent.get(name) if isinstance(sent, Mapping) else None
    return sent


def placed(target: Any, at: str, value: Any, extra: Any) -> Any:
    """`target` with `value` at the dotted path, and the members of `extra` merged in; '' is the value itself."""
    if not at:
        return value
    place = target
    *parents, last = at.split(".")
    for name in parents:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    place[last] = value
    return _merged(target, extra or {})


def _merged(target: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    for name, item in extra.items():
        if isinstance(item, Mapping) and isinstance(target.get(name), dict):
            _merged(target[name], item)
        else:
            target[name] = item
    return target
