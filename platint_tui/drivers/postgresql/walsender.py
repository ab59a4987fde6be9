"""The streaming replication protocol over a connection that asyncpg has opened and signed in.

asyncpg does the sign-in (TLS, SCRAM) and knows nothing of replication; after that its transport is given to a
plain reader, which speaks what "Streaming Replication Protocol" of the PostgreSQL manual describes.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from platint_tui.core.errors import PlatintError, TransientError
from platint_tui.drivers.postgresql.connection import FAILURES, Address, connect, translate
from platint_tui.drivers.postgresql.pgoutput import lsn_text
from platint_tui.drivers.tables import quoted

_ALIVE_EVERY = 10.0
"""Seconds between two signs of life of ours, well below the server's usual `wal_sender_timeout` of 60."""
_READ = 256 * 1024
_LONGEST = 1024**3 + 64 * 1024
_FRAME = struct.Struct(">ci")
_DATA = struct.Struct(">QQq")
_KEEPALIVE = struct.Struct(">QqB")
_STATUS = struct.Struct(">cicQQQqB")


@dataclass(frozen=True, slots=True)
class Data:
    """A message of the plugin."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Everything that was committed before `end` has been sent."""

    end: int


class Walsender:
    """One stream of a replication slot. It is opened by `open`, and holds the slot until it is closed."""

    def __init__(self, connection: asyncpg.Connection[Any], address: Address) -> None:
        self._address = address
        self._connection = connection
        transport = connection._transport  # type: ignore[attr-defined]  # asyncpg has no public way to it
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=_READ, loop=loop)
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        self._rest = bytearray()
        self._received = 0
        self._confirmed = 0
        self._alive: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, address: Address, slot: str, publication: str, start: int) -> Walsender:
        """Begin to stream the changes of a publication from `start`, or from where the slot is if that is later.

        Raises TransientError when another connection reads the slot, ConfigError, CredentialError.
        """
        sender = cls(await connect(address, replication=True), address)
        try:
            names = quoted(publication).replace("'", "''")
            await sender._command(
                f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(start)}"
                f" (proto_version '1', publication_names '{names}')"
            )
        except BaseException:
            await sender.close()
            raise
        sender._received = start
        sender._alive = asyncio.create_task(sender._stay_alive())
        return sender

    async def _command(self, text: str) -> None:
        """Send a replication command and wait until the server streams."""
        body = text.encode() + b"\0"
        self._writer.write(_FRAME.pack(b"Q", len(body) + 4) + body)
        async with self._failures(), asyncio.timeout(self._address.command_seconds):
            while True:
                for kind, message in self._frames():
                    if kind == b"W":
                        return
                    self._refuse(kind, message)
                await self._more()

    async def read(self, seconds: float) -> list[Data | Keepalive]:
        """What has come, after waiting up to `seconds` for something. Raises PlatintError when the stream ended."""
        found = self._take()
        if found:
            return found
        async with self._failures():
            try:
                async with asyncio.timeout(seconds):
                    await self._more()
            except TimeoutError:
                return []
        return self._take()

    def _take(self) -> list[Data | Keepalive]:
        found: list[Data | Keepalive] = []
        for kind, message in self._frames():
            if kind != b"d":
                self._refuse(kind, message)
            elif message[:1] == b"w":
                _, end, _ = _DATA.unpack_from(message, 1)
                self._received = max(self._received, end)
                found.append(Data(message[1 + _DATA.size :]))
            elif message[:1] == b"k":
                end, _, wanted = _KEEPALIVE.unpack_from(message, 1)
                self._received = max(self._received, end)
                found.append(Keepalive(end))
                if wanted:
                    self._status()
        return found

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        """The whole messages that are there, each taken out when it is given."""
        rest, at = self._rest, 0
        try:
            while len(rest) - at >= _FRAME.size:
                kind, length = _FRAME.unpack_from(rest, at)
                if not 4 <= length <= _LONGEST:
                    raise TransientError(
                        "The database sent something that is no message of its protocol.",
                        where=self._address.where,
                        code="protocol",
                    )
                end = at + 1 + length
                if end > len(rest):
                    return
                message = bytes(rest[at + _FRAME.size : end])
                at = end
                yield kind, message
        finally:
            del rest[:at]

    async def _more(self) -> None:
        data = await self._reader.read(_READ)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._rest += data

    def _refuse(self, kind: bytes, message: bytes) -> None:
        """Raise the server's error; notices and changed settings pass."""
        if kind == b"E":
            raise translate(_error(message), self._address)
        if kind in b"cCZX":
            raise TransientError(
                "The database ended the stream of changes.", where=self._address.where, code="stream_ended"
            )

    @contextlib.asynccontextmanager
    async def _failures(self) -> Any:
        try:
            yield
        except PlatintError:
            raise
        except FAILURES as error:
            raise translate(error, self._address) from None

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is stored for good: the server may forget it. Raises TransientError."""
        if self._writer.is_closing() or self._reader.at_eof() or self._reader.exception() is not None:
            raise TransientError(
                "The connection that the changes came over is gone.", where=self._address.where, code="08006"
            )
        if lsn > self._confirmed:
            self._confirmed = lsn
            self._status()

    def ask(self) -> None:
        """Ask the server to say how far it is."""
        self._status(answer=True)

    def _status(self, *, answer: bool = False) -> None:
        """Say what has arrived and what is stored; 0 is nothing new. The time of ours is for the server's views."""
        confirmed = self._confirmed
        written = max(self._received, confirmed)
        self._writer.write(
            _STATUS.pack(b"d", _STATUS.size - 1, b"r", written, confirmed, confirmed, 0, answer)
        )

    async def _stay_alive(self) -> None:
        """While nobody reads (the target is slow), the server must still hear of us."""
        while not self._writer.is_closing():
            await asyncio.sleep(_ALIVE_EVERY)
            self._status()

    async def close(self) -> None:
        """Give the slot back."""
        if self._alive is not None:
            self._alive.cancel()
        with contextlib.suppress(OSError):
            self._writer.write(_FRAME.pack(b"X", 4))
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        self._connection.terminate()  # asyncpg does not notice by itself


def _error(message: bytes) -> asyncpg.PostgresError:
    """The fields of an ErrorResponse as the exception that asyncpg would raise."""
    fields = {}
    for part in message.split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode("utf-8", "replace")
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error
