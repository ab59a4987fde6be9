"""Packets over a connection: TCP, TLS, or a WebSocket (MQTT 5.0, 6: binary frames, in which packets may begin and
end anywhere)."""

from __future__ import annotations

import asyncio
import contextlib

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from platint_tui.drivers.mqtt.profile import Address
from platint_tui.drivers.mqtt.properties import Malformed
from platint_tui.drivers.sockets import CLOSE_SECONDS, open_socket

LARGEST = 64 * 1024 * 1024
"""Bytes of a packet that are taken."""


class TooLarge(Malformed):
    """A packet that nobody has memory for; `size` is what it says of itself."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a packet of {size:,} bytes, more than the {LARGEST:,} that are taken")
        self.size = size


class Wire:
    """One connection, whatever it runs over. Errors are those of the network (see `codes.FAILURES`)."""

    async def exactly(self, count: int) -> bytes:
        """The next bytes. Raises EOFError at the end."""
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        """Send, waiting while the other side takes nothing."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the connection."""
        raise NotImplementedError

    async def packet(self) -> tuple[int, bytes]:
        """The first byte and the body of the next packet. Raises TooLarge."""
        first = (await self.exactly(1))[0]
        size = 0
        for shift in (0, 7, 14, 21):
            digit = (await self.exactly(1))[0]
            size |= (digit & 0x7F) << shift
            if not digit & 0x80:
                break
        else:
            raise Malformed("the length of a packet has more than four bytes")
        if size > LARGEST:
            raise TooLarge(size)
        return first, await self.exactly(size)


class _Tcp(Wire):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def exactly(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()


class _WebSocket(Wire):
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes:
        try:
            while len(self._buffer) < count:
                frame = await self._connection.recv(decode=False)
                self._buffer += frame
        except ConnectionClosed:
            raise EOFError from None
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def send(self, data: bytes) -> None:
        await self._connection.send(data)

    async def close(self) -> None:
        await self._connection.close()


async def open_wire(address: Address) -> Wire:
    """Connect. Nothing is taken from the environment (no proxy). Raises what `codes.of_wire` translates."""
    tls = address.tls_context()
    if not address.websocket:
        name = address.host if tls else None
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=tls, server_hostname=name
        )
        return _Tcp(reader, writer)
    return _WebSocket(await open_socket(address.url, tls=tls, subprotocols=["mqtt"], largest=LARGEST))
