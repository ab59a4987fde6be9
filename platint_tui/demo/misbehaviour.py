"""How a demo platform misbehaves: latency, 429s, 5xx and lost answers, decided by seed and request count."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of requests (0..1) answered with 429, 500, 503, or carried out and then answered with 502."""

    limited: float = 0.0
    failed: float = 0.0
    unavailable: float = 0.0
    lost: float = 0.0


class Misbehaviour:
    """Decides per request of one server. After a fault the next three requests pass: a retry gets through."""

    def __init__(self, name: str, seed: int, rates: Rates | None, latency_ms: tuple[float, float]) -> None:
        self._salt = f"{name}/{seed}/".encode()
        self._rates = rates
        self._latency = latency_ms
        self._count = 0
        self._quiet_until = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """An aiohttp middleware that delays, refuses or loses answers."""
        count = self._count
        self._count += 1
        low, high = self._latency
        if self._rates is None and high <= 0:
            return await handler(request)
        digest = hashlib.sha256(self._salt + str(count).encode()).digest()
        if high > 0:
            await asyncio.sleep((low + (high - low) * digest[0] / 255) / 1000)
        status = self._fault(int.from_bytes(digest[1:5], "big") / 2**32, count)
        if status == 429:
            return refuse(429, "rate_limited", "Too many requests.", retry_after=str(digest[5] & 1))
        if status in (500, 503):
            return refuse(status, "server_error", "Something went wrong here.")
        response = await handler(request)
        if status == 502:
            return refuse(502, "bad_gateway", "The answer was lost on its way.")
        return response

    def _fault(self, chance: float, count: int) -> int:
        """The status to answer with instead, 0 for none."""
        if self._rates is None or count < self._quiet_until:
            return 0
        for share, status in (
            (self._rates.limited, 429),
            (self._rates.failed, 500),
            (self._rates.unavailable, 503),
            (self._rates.lost, 502),
        ):
            if chance < share:
                self._quiet_until = count + 4
                return status
            chance -= share
        return 0


class TokenBucket:
    """At most `rate` requests a second on average, `burst` at once. Not limited when `rate` is 0."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = time.monotonic()
        self._refusals = 0

    def take(self) -> str | None:
        """None when the request may pass, else a Retry-After value: seconds, every other time a date."""
        if self._rate <= 0:
            return None
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        self._refusals += 1
        wait = math.ceil((1 - self._tokens) / self._rate)
        # A date has whole seconds only, so it is rounded up to be never too early.
        return formatdate(math.ceil(time.time() + wait), usegmt=True) if self._refusals % 2 else str(wait)


def refuse(
    status: int, code: str, message: str, *, field: str = "", retry_after: str | None = None
) -> web.Response:
    """An error answer as all three platforms give it: `{"error": {"code", "message"[, "field"]}}`."""
    error = {"code": code, "message": message}
    if field:
        error["field"] = field
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return answer({"error": error}, status=status, headers=headers)


def answer(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def read_json(request: web.Request) -> dict[str, object] | None:
    """The JSON object in the body of a request, None when there is none."""
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def whole_number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A query parameter as a number, brought into low..high; the default when it is missing or no number."""
    text = request.query.get(name, "")
    if not text.isascii() or not text.isdigit():
        return default
    return max(low, min(high, int(text[:9])))
