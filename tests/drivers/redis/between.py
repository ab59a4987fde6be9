"""A relay between a driver and its server, which loses answers or questions and cuts the connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Between:
    """Passes everything on. After `lose_answers` or `lose_questions` the next bytes in that direction are dropped
    and the connection is cut; then it passes everything on again.
    """

    port: int

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._lose = ""
        self._after = b""

    def lose_answers(self, after: bytes = b"") -> None:
        """Lose the answers to what contains `after`."""
        self._lose, self._after = "answers", after

    def lose_questions(self, after: bytes = b"") -> None:
        """Lose what contains `after`."""
        self._lose, self._after = "questions", after

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._address)
        losing = asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(65_536):
                if self._lose and self._after in data:
                    lost, self._lose = self._lose, ""
                    if lost == "questions":
                        return
                    losing.set()
                server_writer.write(data)

        async def answer() -> None:
            while data := await server_reader.read(65_536):
                if losing.is_set():
                    return
                writer.write(data)

        tasks = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for end in (writer, server_writer):
            end.close()


@contextlib.asynccontextmanager
async def between(host: str, port: int) -> AsyncIterator[Between]:
    """A relay to a server, on a free port of its own."""
    relay = Between(host, port)
    server = await asyncio.start_server(relay._serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    async with server:
        yield relay
