"""A listener between the driver and a broker: what is asked and answered passes through it, changed as a test wants.

It speaks Kafka's frames (length, api key, version, correlation id, client id) and, for the sign-in that the broker
of the tests has not, SASL with PLAIN and SCRAM.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.admin import (
    SaslAuthenticateResponse_v0,
    SaslAuthenticateResponse_v1,
    SaslHandShakeResponse_v1,
)
from aiokafka.protocol.metadata import MetadataResponse_v5

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
FIND_COORDINATOR, LIST_GROUPS, HANDSHAKE, API_VERSIONS, CREATE_TOPICS, INIT_PRODUCER = 10, 16, 17, 18, 19, 22
DESCRIBE_CONFIGS, AUTHENTICATE = 32, 36
USER, PASSWORD = "ada", "kafka-canary-5b7e"


@dataclass
class Asked:
    """A request. `forward` gives the broker's answer, without length and correlation id; it may be given another
    body to ask with."""

    key: int
    version: int
    body: bytes
    forward: Callable[..., Awaitable[bytes]]


class Torn(bytes):
    """An answer of which half is sent before the connection ends."""


Rule = Callable[[Asked], Awaitable[bytes | None]]
"""What is answered; None closes the connection."""


class Between:
    """A broker's address of its own. `rules` answer requests by their api key, `seen` has the keys that came."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.port = 0
        self.rules: dict[int, Rule] = {}
        self.seen: list[int] = []
        self.open = 0
        self.mechanisms: tuple[str, ...] = ()
        self.impostor = False
        """Let everybody in, without knowing the password."""
        self._scram: dict[Any, _Scram] = {}

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def on(self, key: int, rule: Rule, *, times: int = 10**9) -> None:
        """Answer requests with this key by `rule`, so many of them; the others pass."""
        left = [times]

        async def limited(asked: Asked) -> bytes | None:
            if left[0] <= 0:
                return await self._pass(asked)
            left[0] -= 1
            return await rule(asked)

        self.rules[key] = limited

    async def _pass(self, asked: Asked) -> bytes:
        """The broker's answer, in which this is the only broker."""
        answer = await asked.forward()
        if asked.key != METADATA:
            return answer
        return self.metadata(answer).encode()

    def metadata(self, answer: bytes) -> Any:
        """Metadata with this as the address of the broker."""
        found = MetadataResponse_v5.decode(answer)
        found.brokers = [(node, "127.0.0.1", self.port, rack) for node, _, _, rack in found.brokers]
        return found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.behind)
        signed_in = not self.mechanisms

        async def forwarded(head: bytes, body: bytes) -> bytes:
            frame = head + body
            up_writer.write(struct.pack(">i", len(frame)) + frame)
            length = struct.unpack(">i", await up_reader.readexactly(4))[0]
            return (await up_reader.readexactly(length))[4:]

        try:
            while True:
                frame = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
                key, version, correlation, named = struct.unpack(">hhih", frame[:10])
                self.seen.append(key)
                flexible = (key, version) == (INIT_PRODUCER, 3)
                begin = 10 + max(0, named) + flexible
                head, body = frame[:begin], frame[begin:]

                async def forward(changed: bytes = body, head: bytes = head) -> bytes:
                    return await forwarded(head, changed)

                asked = Asked(key, version, body, forward)
                answer: bytes | None
                if key in (HANDSHAKE, AUTHENTICATE) and self.mechanisms:
                    answer = self._sign_in(asked, writer)
                    signed_in = signed_in or answer == self._done
                elif not signed_in and key != API_VERSIONS:
                    return
                else:
                    answer = await self.rules.get(key, self._pass)(asked)
                if answer is None:
                    return
                whole = struct.pack(">ii", len(answer) + 4, correlation) + answer
                writer.write(whole[: len(whole) // 2] if isinstance(answer, Torn) else whole)
                await writer.drain()
                if isinstance(answer, Torn):
                    return
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()
            up_writer.close()

    _done: bytes = b"-"

    def _sign_in(self, asked: Asked, who: Any) -> bytes:
        if asked.key == HANDSHAKE:
            mechanism = asked.body[2:].decode()
            code = 0 if mechanism in self.mechanisms else 33
            self._scram[who] = _Scram(mechanism, self.impostor)
            return bytes(SaslHandShakeResponse_v1(code, list(self.mechanisms)).encode())
        said = self._scram[who].step(asked.body[4:])
        kind = SaslAuthenticateResponse_v1 if asked.version else SaslAuthenticateResponse_v0
        more = (0,) if asked.version else ()
        if said is None:
            return bytes(kind(58, "Authentication failed", b"", *more).encode())
        answer = bytes(kind(0, None, said, *more).encode())
        if self._scram[who].finished:
            self._done = answer
        return answer


class _Scram:
    """The broker's side of PLAIN (RFC 4616) and SCRAM (RFC 5802) for one user."""

    def __init__(self, mechanism: str, impostor: bool) -> None:
        self._impostor = impostor
        self.kind = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}.get(mechanism, "")
        self.finished = False
        self._talk = ""

    def step(self, given: bytes) -> bytes | None:
        if not self.kind:
            self.finished = given.split(b"\0")[1:] == [USER.encode(), PASSWORD.encode()]
            return b"" if self.finished else None
        if not self._talk:
            first = given.decode().removeprefix("n,,")
            nonce = first.partition("r=")[2] + secrets.token_hex(8)
            salt = secrets.token_bytes(16)
            self._salted = hashlib.pbkdf2_hmac(self.kind, PASSWORD.encode(), salt, 4096)
            server = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
            self._talk = f"{first},{server}"
            return server.encode()
        plain, _, proof = given.decode().rpartition(",p=")
        talk = f"{self._talk},{plain}".encode()
        client = self._mac(self._salted, b"Client Key")
        signature = self._mac(hashlib.new(self.kind, client).digest(), talk)
        if self._impostor:
            return b"v=" + base64.b64encode(signature)
        if base64.b64decode(proof) != bytes(a ^ b for a, b in zip(client, signature, strict=True)):
            return None
        self.finished = True
        return b"v=" + base64.b64encode(self._mac(self._mac(self._salted, b"Server Key"), talk))

    def _mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.kind).digest()


@contextlib.asynccontextmanager
async def between(
    behind: int, tls: ssl.SSLContext | None = None, mechanisms: tuple[str, ...] = ()
) -> AsyncIterator[Between]:
    """A listener on a port of its own."""
    found = Between(behind)
    found.mechanisms = mechanisms
    tasks: set[asyncio.Task[Any]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(found.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
