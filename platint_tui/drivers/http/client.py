"""One exchange with a platform: a request goes out, a whole, checked answer comes back, or a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from platint_tui.core.errors import SystemicError
from platint_tui.drivers.http.body import DECODED_CAP, WIRE_CAP, decode_body, refuse_unframed, too_large
from platint_tui.drivers.http.headers import Headers
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.translate import NetworkError, translate
from platint_tui.drivers.http.transport import AT_ONCE, AiohttpTransport, Incoming
from platint_tui.manifest.fields import Statuses

MAX_HOPS = 5
SLOWEST = 8 * 1024
"""Bytes a second below which the total deadline of an answer is not extended."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN_HEADERS = ("accept", "accept-encoding", "range", "user-agent")


class Answer(NamedTuple):
    """A complete answer: `body` without its content coding, `wire` its size in bytes as it came."""

    status: int
    headers: Headers
    body: bytes
    url: str
    wire: int


class HttpClient:
    """Sends requests of one profile. The transport is spoken to directly: nothing in between adds cookies,
    follows redirects, takes credentials from addresses or logs them."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, origins: Origins, *, total: float, cap: int = DECODED_CAP
    ) -> None:
        """`total` seconds for a whole exchange (longer for bodies that keep coming), `cap` bytes of body."""
        self.transport = transport
        self.origins = origins
        self.unresolved: Callable[[str], str] = lambda url: ""
        self._total = total
        self._cap = cap
        # More than the usual is asked for by a manifest that expects large bodies, packed or not.
        self._wire_cap = cap if cap > DECODED_CAP else WIRE_CAP

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        ends: Statuses | None = None,
        endpoint: str | None = None,
        hop: Callable[[int], Awaitable[None]] | None = None,
    ) -> Answer:
        """Send one request and read its answer.

        At most five redirects are followed, and only to where requests to `endpoint` may go: 307 and 308 send
        the same request again, 303 asks with GET, 301 and 302 are followed by reads alone. To a host for
        downloads a read goes on without the credential. A redirect with a status of `ends` is the answer; `hop`
        is told the status of every other one before it is followed. Raises NetworkError, SystemicError or
        ConfigError with the host in the sentence.
        """
        origins = self.origins.at(endpoint)
        # 303 says that the request was carried out; what follows only asks for the result.
        acted = False
        for _ in range(MAX_HOPS + 1):
            try:
                answer = await self._once(method, url, headers, content)
            except NetworkError as error:
                error.sent = error.sent or acted
                raise
            if answer.status not in _REDIRECTS or (ends is not None and ends.matches(answer.status)):
                return answer
            if hop is not None:
                await hop(answer.status)
            if answer.status == 303:
                method, content, acted = "GET", None, True
                headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
            url, trusted = _redirected(origins, answer, method)
            if not trusted:
                headers = {name: value for name, value in headers.items() if name.lower() in _PLAIN_HEADERS}
        raise SystemicError(f"{_host(url)} redirects more than {MAX_HOPS} times.", code="redirects")

    async def _once(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        size = 0
        try:
            async with asyncio.timeout_at(started + self._total) as deadline:
                response = await self._sent(method, url, headers, content)
                try:
                    body = response.whole() if isinstance(response, Incoming) else None
                    if body is not None:
                        size = len(body)
                        if size > self._wire_cap:
                            raise too_large(_host(url), self._wire_cap, "body on the wire")
                    else:
                        parts: list[bytes] = []
                        async for chunk in response:
                            parts.append(chunk)
                            size += len(chunk)
                            if size > self._wire_cap:
                                raise too_large(_host(url), self._wire_cap, "body on the wire")
                            if size > SLOWEST:
                                deadline.reschedule(started + self._total + size / SLOWEST)
                        body = parts[0] if len(parts) == 1 else b"".join(parts)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._late(url, size, loop.time() - started) from None
        except httpx.TransportError as error:
            parsed = urlsplit(url)
            raise translate(error, parsed.hostname or "", parsed.scheme, self.unresolved(url)) from None
        return self._checked(response.status, Headers(response.headers), body, size, url)

    async def _sent(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Incoming | _Given:
        """The head of the answer, and its body to come."""
        transport = self.transport
        if isinstance(transport, AiohttpTransport) and len(content or b"") <= AT_ONCE:
            return await transport.exchange(method, url, headers, content)
        request = httpx.Request(method, url, headers=headers, content=content)
        return _Given(await transport.handle_async_request(request))

    def _late(self, url: str, size: int, seconds: float) -> NetworkError:
        rate = size / max(seconds, 0.001)
        told = f"{size} bytes came, {rate:.0f} a second" if size else "nothing came"
        return NetworkError(
            f"{_host(url)} did not finish its answer in {seconds:.0f} s: {told}.", code="deadline", sent=True
        )

    def _checked(self, status: int, headers: Headers, body: bytes, size: int, url: str) -> Answer:
        encoding = headers.get("transfer-encoding", "")
        if encoding and encoding.strip().lower() != "chunked":
            raise SystemicError(f"{_host(url)} uses a transfer coding that was not asked for.", code="coding")
        if not encoding and "content-length" not in headers:
            refuse_unframed(headers.get("content-type", "").lower(), False, _host(url))
        if body:
            body = decode_body(body, headers.get("content-encoding", ""), self._cap, _host(url))
        return Answer(status, headers, body, url, size)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


class _Given:
    """An answer of a transport that is not the network, as `Incoming` is of the network."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = response.headers.raw

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_raw()

    async def aclose(self) -> None:
        """Close it."""
        await self._response.aclose()


def _redirected(origins: Origins, answer: Answer, method: str) -> tuple[str, bool]:
    """Where a redirect leads, and whether the credential may go there."""
    location = answer.headers.get("location")
    host = _host(answer.url)
    if not location:
        raise SystemicError(f"{host} answered {answer.status} without saying where to go.", code="redirects")
    if method not in ("GET", "HEAD") and answer.status in (301, 302):
        raise SystemicError(
            f"{host} redirects a write ({answer.status}); what it means is not defined.",
            hint="Correct the path in the manifest.",
            code="redirects",
        )
    if method in ("GET", "HEAD"):
        return origins.download(answer.url, location, "redirect")
    return origins.follow(answer.url, location, "redirect"), True


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the platform"
