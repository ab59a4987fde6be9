"""Feeds of a server that says what a test tells it to, and drivers on it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from drivers.conftest import FreeLimiter, Observed

from platint_tui.core.model import Environment, JsonObject, Page, Profile, ReadOptions
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sse import SseDriver
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"
SCAN = ReadOptions(sync="sales")
FOLLOW = ReadOptions(sync="sales", follow=True)
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
Script = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


class Asked:
    """A request: its first line and its headers (names in lower case)."""

    def __init__(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.path = first.split(" ")[1]
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }


class EventServer:
    """Answers each request by the next script; the last one stays."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.asked: list[Asked] = []
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()

    def says(self, *answers: str | bytes, after: float | None = 0.0) -> None:
        """Each connection gets the next answer; `after` seconds later it ends (None: never)."""
        for answer in answers:
            data = answer if isinstance(answer, bytes) else answer.encode()

            async def script(_: Asked, writer: asyncio.StreamWriter, data: bytes = data) -> None:
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(3600 if after is None else after)

            self.scripts.append(script)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = Asked((await reader.readuntil(b"\r\n\r\n")).decode())
            self.asked.append(asked)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            await script(asked, writer)
        writer.close()


@pytest.fixture
async def events() -> AsyncIterator[EventServer]:
    server = EventServer()
    await server.start()
    yield server
    await server.stop()


def sse_driver(
    url: str,
    *,
    token: str = "",
    source: Mapping[str, Any] | None = None,
    origins: tuple[str, ...] = (),
    **live: Any,
) -> SseDriver:
    """A driver on the feed at an address; `live` changes what the manifest says of the feed."""
    connector = load_connector(FOLDER / "sse.yaml")
    feed = connector.resources["events"]
    assert feed.source is not None and feed.source.events is not None
    changed = {"idle": 0.15, "events": feed.source.events.model_copy(update=live), **(source or {})}
    resource = feed.model_copy(update={"source": feed.source.model_copy(update=changed)})
    connector = connector.model_copy(update={"resources": {"events": resource}})
    profile = Profile("p", "sse", Environment.DEVELOPMENT, {"url": url}, {}, origins)
    secrets = {"token": Secret(token)} if token else {}
    return SseDriver(
        DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))
    )


@contextlib.asynccontextmanager
async def reading(
    driver: SseDriver, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> AsyncIterator[AsyncIterator[Page]]:
    """The pages of the feed; the reading is closed in the end."""
    async with contextlib.aclosing(driver.read("events", position, options)) as pages, asyncio.timeout(20):  # type: ignore[type-var]
        yield pages


async def scan(
    driver: SseDriver, position: JsonObject | None = None, options: ReadOptions = SCAN
) -> list[Page]:
    """One scan."""
    async with reading(driver, position, options) as pages:
        found = [page async for page in pages]
    assert found[-1].last
    return found


def values(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]
