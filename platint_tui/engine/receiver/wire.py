"""HTTP/1.1 as a server speaks it, over `httptools` (the parser of Node.js): requests in, answers out, in order.

RFC 9112 for the messages, RFC 9110 section 10.1.1 for `Expect: 100-continue`. The parser refuses what could be read
in two ways (two lengths, a length beside chunks, bare line feeds, folded headers); what it lets pass and a webhook
never needs is refused here (other transfer codings, HTTP/0.9).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol, TypeAlias, cast

import httptools

from platint_tui.core.webhooks import Reply

MAX_HEAD = 64 * 1024
"""Bytes of a request line with its headers."""
MAX_HEADERS = 200
HEAD_SECONDS = 10.0
"""How long a request line with its headers may take."""
BODY_SECONDS = 30.0
"""How long a whole request may take."""
IDLE_SECONDS = 75.0
"""How long a connection may wait for its next request."""
WRITE_SECONDS = 30.0
"""How long a sender may leave its answers unread."""
MAX_PIPELINED = 16
"""Requests of one connection that are worked on before more of it is read."""

_LINGER_SECONDS = 2.0
"""How long what is still sent is thrown away after a last answer: closing at once could destroy it on its way."""

Answer: TypeAlias = tuple[bytes, bytes]
"""An answer as it is sent: the status line, and everything after it but Date and Connection."""


@dataclass(slots=True)
class Head:
    """A request without its body, never changed.

    Header names are in lower case; bytes that are no UTF-8 are kept as surrogates.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """The value of the first header called `name`."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Handler(Protocol):
    """What is done with requests. Every exchange is answered once, at any time; nothing may be raised."""

    date: bytes
    """The present Date, as a whole header line."""
    now: float
    """The loop's time, at most a second old."""

    def begun(self, head: Head, length: int) -> int | Answer:
        """The head is there: how many bytes the body may have, or an answer that needs none of it.

        `length` is what was announced, 0 for a body in chunks.
        """

    def received(self, exchange: Exchange, body: bytes) -> None:
        """The whole request is there."""

    def too_large(self, head: Head, beginning: bytes) -> None:
        """The body is larger than `begun` allowed, and was refused; `beginning` is what was read of it."""

    def reserve(self, count: int) -> bool:
        """Account for `count` bytes of a body in memory; False when there is no room."""

    def release(self, count: int) -> None:
        """Those bytes are no longer in memory."""

    def opened(self, connection: Connection) -> bool:
        """A connection was made; False when there are too many."""

    def closed(self, connection: Connection) -> None:
        """It is gone."""


class Exchange:
    """One request and the answer to it."""

    __slots__ = ("answered", "connection", "expects", "head", "held", "keep")

    def __init__(self, connection: Connection, head: Head, keep: bool, expects: bool) -> None:
        self.connection = connection
        self.head = head
        self.keep = keep
        self.expects = expects
        self.held = 0
        self.answered: Answer | None = None

    def answer(self, reply: Answer) -> None:
        """Send an answer (see `rendered`) in its turn. Only the first one counts."""
        if self.answered is None:
            self.answered = reply
            self.connection.let_go(self)
            self.connection.flush()


class _Reading:
    """The request that is being read."""

    __slots__ = ("body", "exchange", "headers", "limit", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.exchange: Exchange | None = None
        self.limit = 0
        self.body: bytes | bytearray = b""


class _Refused(Exception):
    """Ends the reading of a connection from inside the parser's callbacks; its text is the status."""


class Connection(asyncio.Protocol):
    """One connection: reads requests, answers them in their order."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._reading: _Reading | None = None
        self._head_bytes = 0
        self._exchanges: deque[Exchange] = deque()
        self._done_reading = False
        self._replayed = False
        self._paused = False
        self._blocked = False
        self._cut = False
        self._encrypted = False
        self.since = handler.now
        """When the request that is being read began; the connection, before its first."""
        self.deadline = handler.now + HEAD_SECONDS
        """When the connection is closed unless something happens."""

    # --- the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        if not self._handler.opened(self):
            self._done_reading = True
            self._send(OVERLOADED, keep=False)
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._blocked = False
        self._stop_reading()
        self.flush()
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._done_reading:
            return
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data, upgrade)
        except (httptools.HttpParserError, _Refused) as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        """The sender is done writing: what is not whole will never be, what is whole is answered."""
        partial = self._reading.exchange if self._reading is not None else None
        self._stop_reading()
        if partial is not None and partial in self._exchanges:
            self._exchanges.remove(partial)
        self._cut = False
        self.flush()
        # A TLS connection cannot be half closed.
        return bool(self._exchanges) and not self._encrypted

    def pause_writing(self) -> None:
        self._blocked = True
        self.deadline = self._handler.now + WRITE_SECONDS
        self._pace()

    def resume_writing(self) -> None:
        self._blocked = False
        self.flush()
        self._pace()

    # --- reading ----------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if self._reading is None or self._reading.exchange is None:
            self._head_bytes += len(data)
        self._parser.feed_data(data)
        if self._head_bytes > MAX_HEAD and self._reading is not None and self._reading.exchange is None:
            raise _Refused("431")

    def on_message_begin(self) -> None:
        if self._replayed or self._done_reading:
            return
        self._reading = _Reading()
        self.since = self._handler.now
        self.deadline = self._handler.now + HEAD_SECONDS

    def on_url(self, part: bytes) -> None:
        reading = self._reading
        if reading is not None and reading.exchange is None:
            reading.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        reading = self._reading
        # What follows the chunks of a body is no part of what was signed, and is not kept.
        if reading is not None and reading.exchange is None:
            reading.headers.append((name, value))

    def on_headers_complete(self) -> None:
        reading, parser = self._reading, self._parser
        if reading is None or reading.exchange is not None:
            return
        # What was read at once may be more than this head; counted is only what can be too much.
        if self._head_bytes > MAX_HEAD or len(reading.headers) > MAX_HEADERS:
            size = len(reading.target) + sum(len(name) + len(value) for name, value in reading.headers)
            if size > MAX_HEAD or len(reading.headers) > MAX_HEADERS:
                raise _Refused("431")
        self._head_bytes = 0
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise _Refused("505")
        headers = tuple(
            [
                (_NAMES.get(name) or _lower(name), value.decode("utf-8", "surrogateescape"))
                for name, value in reading.headers
            ]
        )
        chunked, length, expects, hosts = False, 0, False, 0
        for name, value in headers:
            if name not in _FRAMING:
                continue
            if name == "content-length":
                length = int(value)
            elif name == "host":
                hosts += 1
            elif name == "expect":
                expects = value.lower() == "100-continue" and version == "1.1"
            elif value.strip().lower() == "chunked":
                chunked = True
            else:
                raise _Refused("501")
        if hosts > 1 or (version == "1.1" and hosts != 1) or (chunked and version == "1.0"):
            raise _Refused("400")
        method = parser.get_method().decode("latin-1")
        if method == "CONNECT":
            raise _Refused("405")
        head = Head(method, _origin_form(reading.target.decode("latin-1")), headers)
        has_body = chunked or length > 0
        keep = version == "1.1" and parser.should_keep_alive()
        exchange = reading.exchange = Exchange(self, head, keep, expects and has_body)
        self._exchanges.append(exchange)
        self.deadline = self._handler.now + BODY_SECONDS
        wanted = self._handler.begun(head, length)
        if not isinstance(wanted, int):
            if has_body:
                # Without it nothing that follows can be understood.
                self._stop_reading()
            exchange.answer(wanted)
            return
        reading.limit = wanted
        if length > wanted:
            self._too_large(reading)
        else:
            self._continue()

    def on_body(self, part: bytes) -> None:
        reading = self._reading
        if reading is None or self._done_reading or reading.exchange is None:
            return
        if len(reading.body) + len(part) > reading.limit:
            self._too_large(reading)
        elif self._handler.reserve(len(part)):
            reading.exchange.held += len(part)
            if not reading.body:
                reading.body = part
            else:
                # Many small chunks must not become many small objects.
                if isinstance(reading.body, bytes):
                    reading.body = bytearray(reading.body)
                reading.body += part
        else:
            exchange = reading.exchange
            self._stop_reading()
            exchange.answer(OVERLOADED)

    def on_message_complete(self) -> None:
        reading = self._reading
        if reading is None or reading.exchange is None or self._parser.should_upgrade():
            return
        self._reading = None
        self._replayed = False
        self.deadline = self._handler.now + IDLE_SECONDS
        if not reading.exchange.keep:
            self._done_reading = True
        if reading.exchange.answered is None:
            self._handler.received(reading.exchange, bytes(reading.body))
        if len(self._exchanges) > MAX_PIPELINED:
            self._pace()

    def _without_upgrade(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """A request that offers to speak another protocol: the offer is not taken (RFC 9110 section 7.8).

        The parser stops after its head, so a new one reads the body, told of it by a head of ours.
        """
        reading = self._reading
        if self._done_reading or reading is None or reading.exchange is None:
            return
        framing = [
            name + b": " + value + b"\r\n"
            for name, value in reading.headers
            if name.lower() in (b"content-length", b"transfer-encoding")
        ]
        self._parser = httptools.HttpRequestParser(self)
        self._replayed = True
        head = b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n"
        try:
            self._parser.feed_data(head + data[upgrade.args[0] :])
        except (httptools.HttpParserError, _Refused) as error:
            self._refuse(error)

    def _too_large(self, reading: _Reading) -> None:
        assert reading.exchange is not None
        self._stop_reading()
        self._handler.too_large(reading.exchange.head, bytes(reading.body))
        reading.exchange.answer(TOO_LARGE)

    def _refuse(self, error: Exception) -> None:
        """Answer what is no request, after what came before it, and close."""
        if self._done_reading:
            return
        status = str(error.__context__ if isinstance(error.__context__, _Refused) else error)
        self._end_with(_REFUSALS.get(status, _REFUSALS["400"]))

    def _end_with(self, reply: Answer) -> None:
        """Answer what is being read, whatever it is, as the last request of this connection."""
        reading = self._reading
        exchange = reading.exchange if reading is not None else None
        if exchange is None:
            exchange = Exchange(self, Head("", "", ()), keep=False, expects=False)
            self._exchanges.append(exchange)
        self._stop_reading()
        exchange.answer(reply)

    def _stop_reading(self) -> None:
        """Take nothing more from the sender."""
        self._done_reading = True
        reading, self._reading = self._reading, None
        if reading is not None:
            self._cut = True
            if reading.exchange is not None:
                reading.exchange.keep = False
                self.let_go(reading.exchange)

    def _pace(self) -> None:
        """Read on only while few requests wait and the sender takes its answers."""
        wanted = self._blocked or len(self._exchanges) > MAX_PIPELINED
        if wanted == self._paused or self._transport is None or self._transport.is_closing():
            return
        self._paused = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- answering --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send the answers that are there, up to the first one that is not."""
        exchanges = self._exchanges
        while exchanges and not self._blocked:
            exchange = exchanges[0]
            if exchange.answered is None:
                break
            exchanges.popleft()
            self._send(exchange.answered, keep=exchange.keep)
            if not exchange.keep:
                self._close()
                return
        if not exchanges and self._done_reading:
            self._close()
            return
        self._continue()
        if self._paused:
            self._pace()

    def _continue(self) -> None:
        """Ask for the body of a request whose sender waits for that, when its turn has come."""
        if self._exchanges and self._exchanges[0].expects and not self._blocked:
            self._exchanges[0].expects = False
            if self._exchanges[0].answered is None and self._transport is not None:
                self._transport.write(_CONTINUE)

    def let_go(self, exchange: Exchange) -> None:
        """The body of an exchange is no longer in memory."""
        if exchange.held:
            self._handler.release(exchange.held)
            exchange.held = 0

    def _send(self, answer: Answer, *, keep: bool) -> None:
        if self._transport is not None:
            line, rest = answer
            closing = b"" if keep else b"connection: close\r\n"
            self._transport.write(line + self._handler.date + closing + rest)

    def _close(self) -> None:
        self._done_reading = True
        self._exchanges.clear()
        if self._transport is None or self._transport.is_closing():
            return
        if self._cut and self._transport.can_write_eof():
            self._cut = False
            self._transport.write_eof()
            self.deadline = self._handler.now + _LINGER_SECONDS
        else:
            self._transport.close()

    # --- for the server ---------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing of it is being read or answered."""
        return self._reading is None and not self._exchanges

    @property
    def unfinished(self) -> bool:
        """Whether all that there is of it is a request that is not whole."""
        reading = self._reading
        return reading is not None and all(item is reading.exchange for item in self._exchanges)

    def finish(self) -> None:
        """Take nothing more; close after the answers to what is whole. What has begun gets a 503."""
        if self._reading is not None and self._reading.exchange is not None:
            self._end_with(OVERLOADED)
            return
        self._stop_reading()
        if self._exchanges:
            self._exchanges[-1].keep = False
        else:
            self._close()

    def expire(self) -> None:
        """The deadline has passed: nothing came in time, or an answer was not taken."""
        if self._reading is not None:
            self._end_with(_REFUSALS["408"])
        elif not self._exchanges or self._blocked:
            self.abort()
        else:
            # Whole requests wait for the store, which has deadlines of its own.
            self.deadline = self._handler.now + IDLE_SECONDS

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


# --- bytes ----------------------------------------------------------------------------------------------

_NAMES: dict[bytes, str] = {}
_MAX_NAMES = 1000
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect", "host"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {int(item): item.phrase for item in HTTPStatus}


def _lower(name: bytes) -> str:
    known = _NAMES.get(name)
    if known is None:
        known = name.decode("latin-1").lower()
        if len(_NAMES) < _MAX_NAMES:
            _NAMES[name] = known
    return known


def _origin_form(target: str) -> str:
    """Path and query of a request target, which a proxy may have sent with scheme and host."""
    if target.startswith("/"):
        return target
    _, found, rest = target.partition("://")
    if not found:
        return target
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"


def rendered(reply: Reply, *, body: bool = True) -> Answer:
    """An answer as it is sent; without `body` only its head, as for HEAD."""
    lines = [f"{name}: {value}\r\n" for name, value in reply.headers.items()]
    if reply.status != 204:
        lines.append(f"content-length: {len(reply.body)}\r\n")
    rest = "".join(lines).encode("latin-1", "replace") + b"\r\n" + (reply.body if body else b"")
    return f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, '')}\r\n".encode(), rest


def date_line(at: float) -> bytes:
    """The Date that RFC 9110 asks of a server with a clock; `at` in epoch seconds."""
    return f"date: {formatdate(at, usegmt=True)}\r\n".encode()


def empty(status: int, **headers: str) -> Answer:
    """An answer without a body; `retry_after` becomes `retry-after`."""
    return rendered(Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}))


OVERLOADED = empty(503, retry_after="5")
TOO_LARGE = empty(413)
_REFUSALS = {status: empty(int(status)) for status in ("400", "405", "408", "431", "501", "505")}
