"""A network that answers what was recorded, and refuses what was not asked for then."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

import httpx

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Json
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import tree_of
from platint_tui.drivers.http.headers import Headers
from platint_tui.manifest.vectors import Exchange, VectorRequest


class ReplayTransport(httpx.AsyncBaseTransport):
    """Answers from recorded exchanges; a request that was not recorded is a SystemicError.

    In order, or (`ordered=False`, where requests go out side by side) the first that fits.
    """

    def __init__(self, exchanges: Sequence[Exchange], bases: Sequence[str], *, ordered: bool = True) -> None:
        """`bases` are the addresses that the paths of the exchanges may be added to, the usual one first."""
        self._left = list(exchanges)
        self._bases = [base.rstrip("/") for base in bases]
        self._ordered = ordered
        self.served = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The recorded answer to `request`."""
        if not self._left:
            raise _unexpected(request, f"only {self.served} requests were recorded")
        reasons = [
            _difference(item.request, request, self._bases)
            for item in (self._left[:1] if self._ordered else self._left)
        ]
        if "" not in reasons:
            raise _unexpected(request, reasons[0])
        answer = self._left.pop(reasons.index("")).response
        self.served += 1
        headers = {"content-type": "application/json", **{k.lower(): v for k, v in answer.headers.items()}}
        body = answer.body.encode()
        headers["content-length"] = str(len(body))
        # As a stream: content that is given whole counts as read already.
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(body), request=request)


def _unexpected(request: httpx.Request, reason: str) -> SystemicError:
    return SystemicError(
        f"The request {request.method} {request.url.path} is not the recorded one: {reason}.",
        code="unexpected_request",
    )


def _difference(recorded: VectorRequest, request: httpx.Request, bases: Sequence[str]) -> str:
    """What differs, '' when the request is the recorded one."""
    if recorded.method != request.method:
        return f"{recorded.method} was recorded"
    address, _, query = str(request.url).partition("?")
    expected = urlsplit(recorded.path)
    if expected.scheme:
        wanted_address = recorded.path.partition("?")[0]
        if address != wanted_address:
            return f"the address '{wanted_address}' was recorded"
    elif urlsplit(address).path not in [urlsplit(base).path + expected.path for base in bases]:
        return f"the path '{urlsplit(bases[0]).path}{expected.path}' was recorded"
    if recorded.query is not None or expected.query:
        wanted = sorted([*(recorded.query or {}).items(), *parse_qsl(expected.query, keep_blank_values=True)])
        got = sorted(parse_qsl(query, keep_blank_values=True))
        if wanted != got:
            only = sorted({name for name, _ in set(wanted) ^ set(got)})
            return f"the query differs in {', '.join(only)}"
    for name, value in recorded.headers.items():
        if request.headers.get(name) != value:
            return f"the header {name}: {value} was recorded"
    if recorded.body is not None and _sent(recorded.body, request) != recorded.body:
        return f"the body {dumps(recorded.body)[:200]} was recorded"
    return ""


def _sent(recorded: Json, request: httpx.Request) -> Json:
    """The body of a request in the form of the recorded one: the text, or what the text says."""
    text = request.content.decode("utf-8", "replace")
    if isinstance(recorded, str):
        return text
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(text, keep_blank_values=True))
        if kind.endswith(("ndjson", "jsonl")) and isinstance(recorded, list):
            return [loads(line) for line in text.splitlines()]
        if kind.endswith("xml"):
            return tree_of(Answer(200, Headers({"content-type": kind}), request.content, "", 0))
        return loads(text, "the request's body") if text else None
    except SystemicError:
        return text
