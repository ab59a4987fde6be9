"""One connection to a broker, which is never opened again by itself: whoever holds it learns that it is gone.

What aiormq reads passes through `Wire`, which knows where frames begin (AMQP 0-9-1, 2.3.5): it can let the broker
wait while too much is in memory, and it notes what the broker says of the connection itself.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from collections import deque
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.connection import TransportFactory
from pamqp import commands
from pamqp.header import ContentHeader
from yarl import URL

from platint_tui import __version__
from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import one_line
from platint_tui.drivers.amqp.errors import FAILURES, translate
from platint_tui.drivers.amqp.messages import Message, message_of
from platint_tui.drivers.amqp.profile import Address

# It reports what its exceptions say as well, and would write it across the console.
logging.getLogger("aiormq").setLevel(logging.CRITICAL + 1)

UNDECODED = "!"
"""The `cluster_id` (which has to be empty in AMQP 0-9-1) of a message whose properties cannot be decoded."""
_ONLY_CLUSTER_ID = b"\0\x04"
_METHOD, _HEADER = 1, 2
_CHUNK = 64 * 1024
_LONGEST_HOLD = 20.0
"""Seconds after which one frame passes all the same, so that a heartbeat behind it is heard."""
_CLOSE_SECONDS = 5.0


class Wire(asyncio.StreamReader):
    """The bytes of the broker. aiormq reads each frame in three steps: its type (1 byte), its channel and size
    (6 bytes), and the rest; here they are cut out of larger chunks.

    `careful`: each message's properties are tried before aiormq sees them, which would end the connection over one
    that it cannot decode (a time in microseconds, a text that is not UTF-8).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, careful: bool = False) -> None:
        super().__init__(loop=loop)
        self._careful = careful
        self._chunk = b""
        self._at = 0
        self._open = asyncio.Event()
        self._open.set()
        self._step = 0
        self._kind = 0
        self._about_connection = False
        self.free = asyncio.Event()
        """Set while the broker takes messages from this connection."""
        self.free.set()
        self.blocked = ""
        """Why the broker takes no messages now."""
        self.closed: tuple[int, str] | None = None
        """Code and text with which the broker closed the connection."""
        self.undecoded: deque[bytes] = deque()
        """Properties as they came, of the messages that carry `UNDECODED` instead, in order."""

    def hold(self) -> None:
        """Read nothing more, so that the broker has to wait."""
        self._open.clear()

    def release(self) -> None:
        """Read on."""
        self._open.set()

    async def readexactly(self, n: int) -> bytes:
        """The next part of a frame."""
        step, self._step = self._step, (self._step + 1) % 3
        if step == 0 and not self._open.is_set():
            try:
                async with asyncio.timeout(_LONGEST_HOLD):
                    await self._open.wait()
            except TimeoutError:
                pass
        end = self._at + n
        if end > len(self._chunk):
            await self._fill(n)
            end = n
        data = self._chunk[self._at : end]
        self._at = end
        if step == 0:
            self._kind = data[0]
        elif step == 1:
            self._about_connection = self._kind == _METHOD and data[:2] == b"\0\0"
        elif self._about_connection:
            self._listen(data)
        elif self._careful and self._kind == _HEADER:
            data = self._decodable(data)
        return data

    def at_eof(self) -> bool:
        """Whether nothing more comes."""
        return self._at >= len(self._chunk) and super().at_eof()

    async def _fill(self, n: int) -> None:
        """Begin a chunk with the rest of the last one; it has at least `n` bytes. Raises IncompleteReadError."""
        parts = [self._chunk[self._at :]]
        size = len(parts[0])
        while size < n:
            more = await self.read(_CHUNK)
            if not more:
                raise asyncio.IncompleteReadError(b"".join(parts), n)
            parts.append(more)
            size += len(more)
        self._chunk, self._at = b"".join(parts), 0

    def _decodable(self, payload: bytes) -> bytes:
        """A content header (4.2.6.1) as it is, or one of the same length with `UNDECODED` as its only property."""
        try:
            ContentHeader().unmarshal(payload[:-1])
        except (ValueError, OverflowError, OSError, struct.error):
            self.undecoded.append(payload[12:-1])
            kept = payload[:12] + _ONLY_CLUSTER_ID + bytes([len(UNDECODED)]) + UNDECODED.encode()
            return kept + bytes(len(payload) - 1 - len(kept)) + payload[-1:]
        return payload

    def _listen(self, payload: bytes) -> None:
        """Note what a method on channel 0 says; its number is in the first four bytes."""
        number = int.from_bytes(payload[:4], "big")
        if number == commands.Connection.Close.index:
            said = commands.Connection.Close()
            said.unmarshal(payload[4:-1])
            self.closed = (said.reply_code or 0, said.reply_text or "")
        elif number == commands.Connection.Blocked.index:
            blocked = commands.Connection.Blocked()
            blocked.unmarshal(payload[4:-1])
            self.blocked = one_line(REDACTOR.redact(blocked.reason or "")) or "it does not say why"
            self.free.clear()
        elif number == commands.Connection.Unblocked.index:
            self.blocked = ""
            self.free.set()


class _Opener(TransportFactory):
    """Opens the socket with a `Wire` behind it."""

    def __init__(self, tls: ssl.SSLContext | None, careful: bool) -> None:
        self._tls = tls
        self.wire = Wire(asyncio.get_running_loop(), careful)
        self.transport: asyncio.WriteTransport | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self.wire, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol,
            url.host or "",
            url.port or 0,
            ssl=self._tls,
            server_hostname=url.host if self._tls else None,
        )
        self.transport = transport
        return self.wire, asyncio.StreamWriter(transport, protocol, self.wire, loop)


class Link:
    """An open connection. `product` and `version` are what the broker calls itself."""

    def __init__(self, address: Address, connection: aiormq.Connection, opener: _Opener) -> None:
        self.address = address
        self.wire = opener.wire
        self._transport = opener.transport
        self._connection = connection
        self.product = one_line(connection.server_properties.get("product"))
        self.version = one_line(connection.server_properties.get("version"))

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.is_closed

    @property
    def is_rabbitmq(self) -> bool:
        """Whether the broker is RabbitMQ, which has kinds of queues."""
        return self.product == "RabbitMQ"

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new channel. Raises PlatintError."""
        try:
            async with asyncio.timeout(self.address.connect_seconds):
                return await self._connection.channel(publisher_confirms=confirms)
        except FAILURES as error:
            raise self.error(error) from None
        except ValueError:
            raise ConfigError(
                "The broker does not confirm what is published.",
                where=self.address.where,
                hint="It has to support publisher confirms, as RabbitMQ does.",
                code="no_confirms",
            ) from None

    def message(self, delivered: DeliveredMessage) -> Message:
        """What was delivered over this connection; to be called once for each delivery, in order."""
        undecoded = self.wire.undecoded
        marked = undecoded and delivered.header.properties.cluster_id == UNDECODED
        return message_of(delivered, undecoded.popleft() if marked else None)

    def error(self, error: BaseException, need: str = "") -> PlatintError:
        """The typed form of an error of this connection or of one of its channels."""
        return translate(error, self.address, self.wire.closed, need)

    async def close(self) -> None:
        """End the connection: what was delivered over it and not acknowledged goes back to its queues."""
        self.wire.release()
        if self.wire.blocked and self._transport is not None:
            self._transport.abort()  # it would not be answered
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._connection.close(ConnectionError("closed"))
        except FAILURES:
            pass


async def open_link(address: Address, purpose: str = "", *, careful: bool = False) -> Link:
    """Connect and sign in. `purpose` is shown at the broker in the connection's name, `careful` is as in `Wire`.

    Raises CredentialError, ConfigError or TransientError.
    """
    opener = _Opener(address.tls_context(), careful)
    name = f"platint-tui: {purpose}" if purpose else "platint-tui"
    properties: dict[str, Any] = {"connection_name": name, "product": "platint-tui", "version": __version__}
    connection = aiormq.Connection(
        address.url(),
        transport_factory=opener,
        client_properties=properties,
    )
    try:
        async with asyncio.timeout(address.connect_seconds):
            await connection.connect()
    except FAILURES as error:
        raise translate(error, address, opener.wire.closed) from None
    return Link(address, connection, opener)
