"""A receiver over a store of its own, and senders that speak to it with raw sockets."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platint_tui.core.clock import SystemClock
from platint_tui.core.events import Event
from platint_tui.core.model import Environment, Profile
from platint_tui.engine.context import Context
from platint_tui.engine.receiver import Receiver, ReceiverOptions
from platint_tui.engine.receiver.options import STATUS
from platint_tui.engine.serve import make_context
from platint_tui.manifest.registry import Registry, bundled_dir
from platint_tui.store import open_store
from platint_tui.store.ports import EventFilter, Store
from platint_tui.vault import Vault

SECRET = "a-webhook-secret-0123456789"
OTHER_SECRET = "another-webhook-secret-9876543210"
REGISTRY = Registry([bundled_dir("connectors")])


class MovedClock(SystemClock):
    """The machine's clock; a test moves its wall time and its monotonic time."""

    def __init__(self) -> None:
        self.wall_ms = 0
        self.later = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + self.wall_ms

    def monotonic(self) -> float:
        return super().monotonic() + self.later


@dataclass
class Answered:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Served:
    """A receiver that runs."""

    store: Store
    context: Context
    receiver: Receiver
    environ: dict[str, str]
    clock: MovedClock
    task: asyncio.Task[None] = field(init=False)

    @property
    def port(self) -> int:
        return int(self.receiver.address.rpartition(":")[2])

    async def listens(self) -> None:
        await until(lambda: self.receiver.address)

    async def profile(self, name: str, platform: str = "github", **secrets: str) -> None:
        """A profile whose secrets are references; the receiver has noticed it on return."""
        references = secrets or {"webhook_secret": "env:HOOK_SECRET"}
        await self.store.profiles.put(Profile(name, platform, Environment.SANDBOX, {}, references))
        await until(lambda: self.receiver.receives(name))

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Peer(reader, writer)

    async def send(self, data: bytes) -> Answered:
        """One request on a connection of its own."""
        peer = await self.connect()
        try:
            peer.write(data)
            return await peer.answer()
        finally:
            peer.close()

    async def events(self, **where: Any) -> list[Event]:
        numbers = await self.store.events.numbers(EventFilter(**where), newest_first=False)
        return [event for number in numbers if (event := await self.store.events.get(str(number)))]


class Peer:
    """A connection as a sender has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 10)

    async def answer(self) -> Answered:
        status = int((await self.line()).split()[1])
        headers: dict[str, str] = {}
        while (line := await self.line()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        return Answered(status, headers, await self.reader.readexactly(length))

    async def closed(self) -> bool:
        """Whether the other side has closed, with nothing more to read."""
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    def close(self) -> None:
        self.writer.close()


def body_of(number: int, size: int = 20) -> bytes:
    return json.dumps(
        {"number": number, "repository": {"node_id": f"R_{number % 7}"}, "text": "x" * size}
    ).encode()


def headers_of(body: bytes, delivery: str, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def request(
    body: bytes = b"{}",
    delivery: str = "d1",
    *,
    path: str = "/webhooks/gh",
    method: str = "POST",
    secret: str = SECRET,
    more: Mapping[str, str] | None = None,
    chunks: int = 0,
) -> bytes:
    """A webhook of GitHub as bytes; `chunks` sends the body in chunks of that size."""
    headers = {**headers_of(body, delivery, secret), **(more or {})}
    if chunks:
        headers["Transfer-Encoding"] = "chunked"
        parts = [body[start : start + chunks] for start in range(0, len(body), chunks)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        headers.setdefault("Content-Length", str(len(body)))
        sent = body
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + sent


async def until(what: Any, seconds: float = 10.0) -> Any:
    """Wait for a condition (a function, or one that is awaited); returns what it gave."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = what()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await asyncio.sleep(0.01)


async def serve(home: Path, **options: Any) -> Served:
    """A receiver on a free port, over a store in `home`; the caller ends it with `finish`."""
    clock = MovedClock()
    environ = {"HOOK_SECRET": SECRET}
    store = await open_store(home / "data" / "platint.sqlite", clock=clock, role="engine")
    context = make_context(store, REGISTRY, Vault(home / "config", environ), clock=clock)
    receiver = Receiver(context, ReceiverOptions(**{"listen": "127.0.0.1:0", **options}), environ)
    served = Served(store, context, receiver, environ, clock)
    served.task = asyncio.create_task(receiver.run())
    return served


async def finish(served: Served) -> None:
    served.task.cancel()
    await asyncio.gather(served.task, return_exceptions=True)
    await served.receiver.stop()
    status = await served.store.settings.get(STATUS)
    assert not status or status["address"] == ""
    await served.store.close()
