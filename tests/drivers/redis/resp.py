"""A server that answers by a table, for what the real one of the tests does not have: modules and old versions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any


def packed(value: Any) -> bytes:
    """A reply in RESP2: bytes, integers, None, lists, and errors as exceptions."""
    if isinstance(value, Exception):
        return f"-{value}\r\n".encode()
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(packed, value))
    return b"$%d\r\n%b\r\n" % (len(value), value)


async def _command(reader: asyncio.StreamReader) -> list[str]:
    count = int((await reader.readline())[1:])
    parts = []
    for _ in range(count):
        size = int((await reader.readline())[1:])
        parts.append((await reader.readexactly(size + 2))[:-2].decode())
    return parts


@contextlib.asynccontextmanager
async def answering(answer: Callable[[list[str]], Any]) -> AsyncIterator[int]:
    """The port of a server that answers each command with what `answer` returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError, EOFError, ConnectionError, asyncio.CancelledError):
            while True:
                writer.write(packed(answer(await _command(reader))))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
