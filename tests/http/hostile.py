"""A hostile HTTP server on loopback that does exactly what a test tells it, and drivers that read from it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Page
from platint_tui.drivers.http.driver import HttpDriver

SECRET = "canary-0123456789-key"

MANIFEST: dict[str, Any] = {
    "manifest": 1,
    "platform": "hostile",
    "name": "Hostile",
    "version": "0.1.0",
    "category": "other",
    "docs": "none",
    "driver": "http",
    "profile": {
        "fields": [
            {"id": "base_url", "type": "url", "required": True},
            {"id": "key", "secret": True},
            {"id": "client", "default": "client-1"},
        ]
    },
    "auth": {"type": "bearer", "secret": "key"},
    "transport": {
        "base_url": "${profile.base_url}",
        "allowed_hosts": ["${profile.base_url}"],
        "timeout": {"connect": "5s", "read": "5s", "total": "20s"},
    },
    "errors": {"policy": {"attempts": 3, "base": "10ms", "cap": "20ms", "budget": "1m"}},
    "check": [{"id": "alive", "request": {"path": "/check"}}],
    "resources": {
        "items": {
            "key": ["id"],
            "read": {
                "request": {"path": "/items", "query": {"limit": 2}},
                "records": "data",
                "page": {"type": "cursor", "from": "next", "param": "after"},
            },
        }
    },
    "tests": [
        {
            "name": "none",
            "kind": "error",
            "code": "0",
            "expect": {"class": "systemic", "action": "fail_stream"},
        }
    ],
}


class Whole(dict):  # type: ignore[type-arg]
    """A map that replaces instead of merging."""


def merged(base: Any, changes: Any) -> Any:
    """Maps merge deep, everything else is replaced."""
    if isinstance(changes, Whole):
        return dict(changes)
    if isinstance(base, dict) and isinstance(changes, dict):
        result = dict(base)
        for name, value in changes.items():
            result[name] = merged(base[name], value) if name in base else value
        return result
    return changes


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Handler = Callable[[Seen, asyncio.StreamWriter], Awaitable[None] | None]


class Hostile:
    """`routes[path]` gets the request and the raw writer; it may close the connection or leave it open."""

    def __init__(self) -> None:
        self.routes: dict[str, Handler] = {}
        self.seen: list[Seen] = []
        self.scheme = "http"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.scheme = "https" if tls else "http"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *rest = head.decode("latin1").split("\r\n")
                method, target, _ = line.split(" ", 2)
                headers = {n.lower(): v.strip() for n, _, v in (item.partition(":") for item in rest if item)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                seen = Seen(method, target, headers, body)
                self.seen.append(seen)
                handler = self.routes.get(seen.path)
                if handler is None:
                    writer.write(answer(404, {"message": "no such path"}))
                    continue
                waited = handler(seen, writer)
                if waited is not None:
                    await waited
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.discard(writer)
            with suppress(ConnectionError, RuntimeError):
                writer.close()

    def json(
        self, path: str, *documents: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with these documents in turn, the last one for ever."""
        queue = list(documents)

        def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
            document = queue.pop(0) if len(queue) > 1 else queue[0]
            writer.write(answer(status, document, headers))

        self.routes[path] = handle

    def raw(self, path: str, data: bytes, close: bool = True) -> None:
        """Answer with these bytes and close."""

        def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            if close:
                writer.close()

        self.routes[path] = handle


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
    """A complete answer; `body` is bytes or a document."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin1") + data


class Limits:
    """Notes what the driver asks of the limiter."""

    def __init__(self) -> None:
        self.acquired: list[tuple[str, int, float, int]] = []
        self.weights: list[int] = []
        self.blocked: list[tuple[str, float]] = []

    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        self.acquired.append((limit, count, period, burst))
        self.weights.append(weight)

    async def block(self, limit: str, seconds: float) -> None:
        self.blocked.append((limit, seconds))


class Notes:
    """Telemetry as a list."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        assert seconds >= 0
        self.seen.append((operation, ok))


class Hurried(SystemClock):
    """Sleeps are noted, and over at once; `skip` moves the monotonic clock."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.skip = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skip

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@dataclass
class Rig:
    """A driver with everything around it."""

    driver: HttpDriver
    limits: Limits
    notes: Notes
    clock: Hurried
    pages: list[Page] = field(default_factory=list)

    async def read(self, position: Any = None, stream: str = "items") -> list[Any]:
        """Every record of a scan, decoded; the pages are kept."""
        self.pages = []
        async for page in self.driver.read(stream, position):
            self.pages.append(page)
        return [record.value for page in self.pages for record in page.records]

    @property
    def position(self) -> Any:
        # As the engine does it: through text.
        return json.loads(json.dumps(self.pages[-1].position))


Build = Callable[..., Rig]
