"""The wire: an httpx transport over aiohttp's connections, which costs a quarter of httpx's own.

Connections (addresses, TLS, proxies, keeping them) and the parser of answers are aiohttp's. What goes between is
written here, since aiohttp's objects for a request and its answer cost more than everything else: `exchange` gives
what came without making any, `handle_async_request` is the same for whoever speaks httpx.

It takes nothing from the environment (no proxy, no CA file, no key log), keeps no cookies, follows no
redirect, never decompresses, and sends the URL exactly as given. Errors are httpx's own types with the
cause kept in `__cause__`, and tell whether a request may have been sent: the package httpx-aiohttp calls a
connection that broke later a connect timeout, which would have writes repeated.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import certifi
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from platint_tui.core.errors import ConfigError

MAX_HEADER = 64 * 1024
_CHUNK_BUFFER = 256 * 1024
AT_ONCE = 64 * 1024
"""Bytes of a body up to which it is written in one go, before the answer is looked at."""
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_IDLE = 4.0
# Seconds; many servers close after 5, and a write on a closing connection has an unknown outcome.

for _name in ("httpx", "httpcore", "hpack", "aiohttp", "aiohttp.client", "aiohttp.internal"):
    # These log whole URLs, with keys in their queries.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates checked against `ca_file` or the shipped authorities; no key log whatever the environment.

    Raises ConfigError when the file is no certificate bundle.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=str(Path(ca_file).expanduser()) if ca_file else certifi.where())
    except (OSError, ssl.SSLError):
        raise ConfigError(
            f"The CA file {ca_file} cannot be read as certificates.",
            hint="Give a PEM file with the certificate of the authority.",
            code="ca_file",
        ) from None
    return context


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One pool of connections. Timeouts in seconds: `connect` covers DNS, TCP and TLS, `read` one silence."""

    def __init__(
        self, *, connect: float, read: float, ca_file: str | None = None, proxy: str | None = None
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect, sock_connect=connect, sock_read=read
        )
        self._ca_file = ca_file
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._places: dict[str, tuple[aiohttp.ClientRequest, str]] = {}

    def _open(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
            requote_redirect_url=False,
            timeout=self._timeout,
            read_bufsize=_CHUNK_BUFFER,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        self._session = session
        return session

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Incoming:
        """Send a request and wait for the head of the answer; the body is read from what is returned, which must be
        closed. Raises httpx.TransportError.
        """
        with _translated(None):
            # As aiohttp does: where a repeat does no harm, a connection that the server has just closed is no failure.
            if method in _REPEATABLE:
                try:
                    return await self._exchange(method, url, headers, content)
                except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError):
                    raise
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                    pass
            return await self._exchange(method, url, headers, content)

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Incoming:
        origin, target = _split(url)
        place = self._places.get(origin)
        if place is None:
            place = self._places[origin] = self._place(origin)
        request, host = place
        head = _head(
            method, f"{origin}{target}" if self._absolute(origin) else target, host, headers, content
        )
        session = self._session
        assert session is not None and session.connector is not None
        while True:
            try:
                connection = await session.connector.connect(request, [], self._timeout)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError(f"Connection timeout to {origin}") from error
            protocol = connection.protocol
            if protocol is not None and protocol.is_connected():
                break
            connection.close()  # it was closed while it waited, and nothing was written to it
        try:
            return await self._converse(connection, protocol, head + (content or b""), method)
        except BaseException:
            connection.close()
            raise

    async def _converse(
        self, connection: Connection, protocol: ResponseHandler, data: bytes, method: str
    ) -> Incoming:
        protocol.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self._timeout.sock_read,
            read_bufsize=_CHUNK_BUFFER,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )
        assert isinstance(protocol.transport, asyncio.WriteTransport)
        protocol.transport.write(data)
        protocol.start_timeout()
        while True:
            message, payload = await protocol.read()
            # Answers before the answer: 100 Continue, 103 Early Hints.
            if not 100 <= message.code <= 199 or message.code == 101:
                return Incoming(message.code, message.raw_headers, payload, connection)

    def _absolute(self, origin: str) -> bool:
        """Whether a proxy is to be told the whole address."""
        return self._proxy is not None and origin.startswith("http:")

    def _place(self, origin: str) -> tuple[aiohttp.ClientRequest, str]:
        """What aiohttp needs to know of an origin to connect to it, and its Host header."""
        session = self._session or self._open()
        url = URL(origin, encoded=True)
        tls: ssl.SSLContext | bool = True
        if url.scheme == "https":
            tls = self._tls or self._load_tls()
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise aiohttp.NonHttpUrlClientError(url)
        proxy = URL(self._proxy) if self._proxy else None
        request = aiohttp.ClientRequest(
            "GET", url, loop=asyncio.get_running_loop(), session=session, ssl=tls, proxy=proxy
        )
        return request, request.headers["Host"]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send and wait for the head of the answer. Raises httpx.TransportError."""
        content = request.content
        if len(content) <= AT_ONCE:
            incoming = await self.exchange(
                request.method, str(request.url), dict(request.headers.items()), content or None
            )
            return httpx.Response(
                incoming.status, headers=list(incoming.headers), stream=incoming, request=request
            )
        # A large body is written while the answer is read: the platform may refuse it half-way.
        session = self._session or self._open()
        tls: ssl.SSLContext | bool = True
        if request.url.scheme == "https":
            tls = self._tls or self._load_tls()
        with _translated(request):
            response = await session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=CIMultiDict(request.headers.items()),
                data=content or None,
                allow_redirects=False,
                ssl=tls,
                proxy=self._proxy,
            )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, request),
            request=request,
        )

    def _load_tls(self) -> ssl.SSLContext:
        self._tls = tls_context(self._ca_file)
        return self._tls

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        self._places.clear()
        if session is not None:
            await session.close()


class Incoming(httpx.AsyncByteStream):
    """An answer whose head has come: iterating gives its undecoded body. `headers` are names and values as sent."""

    def __init__(
        self,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...],
        payload: aiohttp.StreamReader,
        connection: Connection,
    ) -> None:
        self.status = status
        self.headers = headers
        self._payload = payload
        self._connection: Connection | None = connection
        payload.on_eof(self._release)

    def _release(self) -> None:
        """The whole body has come: the connection may be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        payload = self._payload
        with _translated(None):
            while chunk := await payload.readany():
                yield chunk

    def whole(self) -> bytes | None:
        """The body, when all of it has come with the head; None when it must be waited for."""
        return self._payload.read_nowait(-1) if self._payload.is_eof() else None

    async def aclose(self) -> None:
        """Give the connection back, or close it when the rest of the body is not wanted."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _split(url: str) -> tuple[str, str]:
    """An address as scheme and authority, and the target that a server is asked for."""
    start = url.find("://") + 3
    if start < 3:
        raise aiohttp.InvalidURL(url)
    end = min((at for mark in "/?#" if (at := url.find(mark, start)) >= 0), default=len(url))
    target = url[end:].partition("#")[0]
    return url[:end], target if target.startswith("/") else f"/{target}"


def _head(method: str, target: str, host: str, headers: Mapping[str, str], content: bytes | None) -> bytes:
    """The request line and headers. Raises ValueError for a line break in one of them."""
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in headers:
        lines.append(f"host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if (content or method not in _WITHOUT_BODY) and "content-length" not in headers:
        lines.append(f"content-length: {len(content or b'')}")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise ValueError("A header or the address of a request holds a line break.")
    return f"{text}\r\n\r\n".encode()


class _Body(httpx.AsyncByteStream):
    """The undecoded body of an answer."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _translated(self._request):
            while True:
                chunk = await content.readany()
                if not chunk:
                    return
                yield chunk

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            # The rest is not wanted: the connection cannot be used again.
            self._response.close()


@contextmanager
def _translated(request: httpx.Request | None) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        kind = (
            httpx.ProxyError if isinstance(error, aiohttp.ClientProxyConnectionError) else httpx.ConnectError
        )
        raise kind(str(error), request=request) from error
    except aiohttp.ClientHttpProxyError as error:
        raise httpx.ProxyError(str(error), request=request) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error), request=request) from error
    except TimeoutError as error:
        if isinstance(error, aiohttp.ServerTimeoutError):
            raise httpx.ReadTimeout(str(error), request=request) from error
        raise
    except (aiohttp.ClientResponseError, HttpProcessingError) as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(str(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error), request=request) from error
