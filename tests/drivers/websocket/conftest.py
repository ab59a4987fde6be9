"""WebSockets of a server that does what a test tells it to, and drivers on it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from drivers.conftest import FreeLimiter, Observed
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from platint_tui.core.model import Environment, JsonObject, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.websocket import WebsocketDriver
from platint_tui.manifest.live import Socket
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"
SCAN = ReadOptions(sync="sales")
FOLLOW = ReadOptions(sync="sales", follow=True)
Script = Callable[[ServerConnection], Awaitable[None]]
TOKEN = "ws-canary-61e"


class SocketServer:
    """Handles each connection by the next script; the last one stays. `refusal` is a status instead of a handshake."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.asked: list[Request] = []
        self.got: list[str | bytes] = []
        self.refusal: tuple[int, Mapping[str, str]] | None = None
        self.protocols: list[str] | None = None
        self.url = ""

    async def start(self) -> None:
        self._server: Server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            process_request=self._request,
            select_subprotocol=self._select,
            ping_interval=None,
        )
        self.url = f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close(close_connections=True)

    def _select(self, _: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        self.protocols = list(offered)
        return offered[0] if offered else None

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked.append(request)
        if self.refusal is None:
            return None
        response = connection.respond(self.refusal[0], "no\n")  # type: ignore[arg-type]
        for name, value in self.refusal[1].items():
            response.headers[name] = value
        return response

    async def _handle(self, connection: ServerConnection) -> None:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        with contextlib.suppress(ConnectionClosed):
            await script(connection)

    def says(self, *messages: str | bytes, code: int | None = None, reason: str = "") -> None:
        """The next connection is sent these, and is closed with a code or stays open, noting what it is sent."""

        async def script(connection: ServerConnection) -> None:
            for message in messages:
                await connection.send(message)
            if code is not None:
                await connection.close(code, reason)
            async for got in connection:
                self.got.append(got)

        self.scripts.append(script)


@pytest.fixture
async def sockets() -> AsyncIterator[SocketServer]:
    server = SocketServer()
    await server.start()
    yield server
    await server.stop()


def ws_driver(
    url: str,
    *,
    token: str = "",
    source: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    origins: tuple[str, ...] = (),
    fields: Mapping[str, str] | None = None,
    total: float = 5.0,
    **socket: Any,
) -> WebsocketDriver:
    """A driver on the WebSocket at an address; `socket` replaces what the manifest says of it."""
    connector = load_connector(FOLDER / "websocket.yaml")
    feed = connector.resources["messages"]
    assert feed.source is not None and feed.source.socket is not None
    live = feed.source.socket
    if socket:
        live = Socket.model_validate({"subscribe": ["${profile.subscribe}"], **socket})
    changed = {"idle": 0.15, "socket": live, **(source or {})}
    resource = feed.model_copy(update={"source": feed.source.model_copy(update=changed)})
    timeout = connector.transport.timeout.model_copy(update={"total": total})
    updates = {
        "resources": {"messages": resource},
        "transport": connector.transport.model_copy(update={"timeout": timeout}),
        **(changes or {}),
    }
    connector = connector.model_copy(update=updates)
    profile = Profile("p", "websocket", Environment.DEVELOPMENT, {"url": url, **(fields or {})}, {}, origins)
    secrets = {"token": Secret(token)} if token else {}
    context = DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))
    return WebsocketDriver(context)


@contextlib.asynccontextmanager
async def reading(
    driver: WebsocketDriver, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> AsyncIterator[AsyncIterator[Page]]:
    """The pages of the feed; the reading is closed in the end."""
    async with contextlib.aclosing(driver.read("messages", position, options)) as pages, asyncio.timeout(20):  # type: ignore[type-var]
        yield pages


async def scan(
    driver: WebsocketDriver, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> list[Page]:
    """One scan, each page acknowledged."""
    found = []
    async with reading(driver, position, options) as pages:
        async for page in pages:
            found.append(page)
            if not options.peek:
                await driver.acknowledge("messages", page.position)
    assert found[-1].last
    return found


def values(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]
