"""The demo payments platform: API key, cursor pages, webhook endpoints.

`X-Api-Key` is required everywhere.

    GET    /v1/account
    GET    /v1/customers, /v1/charges   ?limit=1..100 &starting_after=ID &updated_since=ISO8601 (inclusive)
    GET    /v1/webhook_endpoints        POST {url, events}      DELETE /v1/webhook_endpoints/ID
    POST   /v1/test_events {count}      sends `charge.created` of the newest charges to every endpoint

A list answers `{"data": [...], "has_more": bool, "total": N}` in ascending order of (updated_at, id).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from platint_tui.core.secret import Secret
from platint_tui.demo.misbehaviour import Handler, Misbehaviour, answer, read_json, refuse, whole_number
from platint_tui.demo.records import Dataset, iso, parse_iso

_CACHE_BYTES = 64 * 1024 * 1024
_DELIVERY_TRIES = 3
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Payments:
    """State of the platform: its records, its page cache, its webhook endpoints."""

    def __init__(self, dataset: Dataset, key: Secret, misbehaviour: Misbehaviour) -> None:
        self._dataset = dataset
        self._key = key.reveal().encode()
        self._misbehaviour = misbehaviour
        self._pages: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._cached = 0
        self._endpoints: dict[str, dict[str, Any]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._deliveries: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._authorize, self._misbehaviour.middleware])
        app.router.add_get("/v1/charges", self._charges)
        app.router.add_get("/v1/customers", self._customers)
        app.router.add_get("/v1/account", self._account)
        app.router.add_get("/v1/webhook_endpoints", self._list_endpoints)
        app.router.add_post("/v1/webhook_endpoints", self._add_endpoint)
        app.router.add_delete("/v1/webhook_endpoints/{id}", self._remove_endpoint)
        app.router.add_post("/v1/test_events", self._test_events)
        app.on_cleanup.append(self._cleanup)
        return app

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Api-Key", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._key):
            return refuse(401, "invalid_api_key", "This API key is not known here.")
        return await handler(request)

    async def _account(self, request: web.Request) -> web.Response:
        counts = {stream: self._dataset.total(stream) for stream in ("customers", "charges")}
        return answer({"id": "acct_demo", "name": "Demo payments", "country": "DE", "counts": counts})

    async def _charges(self, request: web.Request) -> web.Response:
        return self._list(request, "charges")

    async def _customers(self, request: web.Request) -> web.Response:
        return self._list(request, "customers")

    def _list(self, request: web.Request, stream: str) -> web.Response:
        limit = whole_number(request, "limit", 20, 1, 100)
        start = 0
        since = request.query.get("updated_since")
        if since:
            try:
                start = self._dataset.first_since(stream, parse_iso(since))
            except (ValueError, OverflowError):
                return refuse(
                    400, "invalid_parameter", "updated_since is no ISO 8601 time.", field="updated_since"
                )
        after = request.query.get("starting_after")
        if after:
            index = self._dataset.index_of(stream, after)
            if index is None:
                return refuse(404, "not_found", "There is no such record.", field="starting_after")
            start = max(start, index + 1)
        return web.Response(body=self._page(stream, start, limit), content_type="application/json")

    def _page(self, stream: str, start: int, limit: int) -> bytes:
        """The bytes of one answer, from the cache when it was made before."""
        where = (stream, start, limit)
        page = self._pages.get(where)
        if page is not None:
            self._pages.move_to_end(where)
            return page
        rows = self._dataset.rows(stream, start, limit)
        total = self._dataset.total(stream)
        more = "true" if start + len(rows) < total else "false"
        page = f'{{"data":[{",".join(rows)}],"has_more":{more},"total":{total}}}'.encode()
        self._pages[where] = page
        self._cached += len(page)
        while self._cached > _CACHE_BYTES:
            self._cached -= len(self._pages.popitem(last=False)[1])
        return page

    async def _list_endpoints(self, request: web.Request) -> web.Response:
        shown = [{k: v for k, v in item.items() if k != "secret"} for item in self._endpoints.values()]
        return answer({"data": shown, "has_more": False, "total": len(shown)})

    async def _add_endpoint(self, request: web.Request) -> web.Response:
        document = await read_json(request) or {}
        url = document.get("url")
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or parts.hostname not in _LOOPBACK:
            return refuse(422, "wrong_type", "url must be an http address on loopback.", field="url")
        identifier = f"we_{secrets.token_hex(8)}"
        endpoint = {
            "id": identifier,
            "url": url,
            "events": ["charge.created"],
            "secret": f"whsec_{secrets.token_hex(16)}",
            "delivered": 0,
            "failed": 0,
            "created_at": iso(time.time_ns() // 1_000_000),
        }
        self._endpoints[identifier] = endpoint
        return answer(endpoint, status=201)

    async def _remove_endpoint(self, request: web.Request) -> web.Response:
        if self._endpoints.pop(request.match_info["id"], None) is None:
            return refuse(404, "not_found", "There is no such endpoint.")
        return answer({"deleted": True})

    async def _test_events(self, request: web.Request) -> web.Response:
        document = await read_json(request) or {}
        count = document.get("count", 1)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100:
            return refuse(422, "wrong_type", "count must be a number from 1 to 100.", field="count")
        total = self._dataset.total("charges")
        first = max(0, total - count)
        rows = self._dataset.rows("charges", first, count)
        sent = []
        for n, row in enumerate(rows, first):
            event = f"evt_{self._dataset.identifier('charges', n)[3:]}"
            stamp = iso(self._dataset.updated_ms("charges", n))
            body = f'{{"id":"{event}","type":"charge.created","created_at":"{stamp}","data":{row}}}'.encode()
            sent.append(event)
            for endpoint in list(self._endpoints.values()):
                task = asyncio.create_task(self._deliver(endpoint, body))
                self._deliveries.add(task)
                task.add_done_callback(self._deliveries.discard)
        return answer({"events": sent, "endpoints": len(self._endpoints)}, status=202)

    async def _deliver(self, endpoint: dict[str, Any], body: bytes) -> None:
        """Send one event, up to three times, signed over `timestamp.body` as HMAC-SHA256."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=False, timeout=aiohttp.ClientTimeout(total=5), raise_for_status=False
            )
        for attempt in range(_DELIVERY_TRIES):
            stamp = str(int(time.time()))
            signature = sign(endpoint["secret"], stamp, body)
            headers = {"Content-Type": "application/json", "Demo-Signature": f"t={stamp},v1={signature}"}
            try:
                async with self._session.post(
                    endpoint["url"], data=body, headers=headers, allow_redirects=False
                ) as response:
                    if response.status < 300:
                        endpoint["delivered"] += 1
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.2 * 4**attempt)
        endpoint["failed"] += 1

    async def _cleanup(self, app: web.Application) -> None:
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The hex signature of a webhook delivery."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
