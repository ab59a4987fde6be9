"""The wire: an httpx transport over aiohttp, which costs a quarter of httpx's own.

It takes nothing from the environment (no proxy, no CA file, no key log), keeps no cookies, follows no
redirect, never decompresses, and sends the URL exactly as given. Errors are httpx's own types with the
cause kept in `__cause__`, and tell whether a request may have been sent: the package httpx-aiohttp calls a
connection that broke later a connect timeout, which would have writes repeated.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import certifi
import httpx
from multidict import CIMultiDict
from yarl import URL

from platint_tui.core.errors import ConfigError

MAX_HEADER = 64 * 1024
_CHUNK_BUFFER = 256 * 1024
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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send and wait for the head of the answer. Raises httpx.TransportError."""
        session = self._session or self._open()
        tls: ssl.SSLContext | bool = True
        if request.url.scheme == "https":
            tls = self._tls or self._load_tls()
        content = request.content
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
        if session is not None:
            await session.close()


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
def _translated(request: httpx.Request) -> Iterator[None]:
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
    except aiohttp.ClientResponseError as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(str(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error), request=request) from error
