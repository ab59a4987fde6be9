"""One request whose answer does not end: signed, sent and redirected by the rules of the http driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import httpx

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError, TransientError
from platint_tui.core.text import clean
from platint_tui.drivers.http.auth import Signed, Unsigned
from platint_tui.drivers.http.client import MAX_HOPS, Answer
from platint_tui.drivers.http.headers import Headers
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.translate import translate
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.template import render

_MOST_OF_REFUSAL = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
EVENT_STREAM = "text/event-stream"


class Ended(Exception):
    """The server has nothing more to say, and says so: status 204 (HTML standard, 9.2.3)."""


class Feed:
    """An open answer. `chunks` gives its bytes as they come."""

    def __init__(self, transport: AiohttpTransport, response: httpx.Response, url: str) -> None:
        self._transport = transport
        self._response = response
        self._url = url

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises TransientError when the connection breaks."""
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx.TransportError as error:
            raise _translated(error, self._url) from None

    async def close(self) -> None:
        """End the connection."""
        await self._response.aclose()
        await self._transport.aclose()


async def open_feed(
    session: Session, endpoint: str | None, url: str, headers: Mapping[str, str], stream: str
) -> Feed:
    """Ask for the events at an address, which may be redirected to where the credential may go.

    Raises Ended, and what a refusal means by the rules of the manifest: CredentialError, RateLimited, ConfigError,
    SystemicError, TransientError.
    """
    settings = session.context.connector.transport
    transport = AiohttpTransport(
        connect=settings.timeout.connect,
        read=10 * 86_400.0,  # silence is measured by whoever reads
        ca_file=render(settings.ca_file, session.scope, "query") if settings.ca_file else None,
        proxy=render(settings.proxy, session.scope, "query") if settings.proxy else None,
    )
    try:
        return await _opened(transport, session, endpoint, url, headers, stream)
    except BaseException:
        await transport.aclose()
        raise


async def _opened(
    transport: AiohttpTransport,
    session: Session,
    endpoint: str | None,
    url: str,
    headers: Mapping[str, str],
    stream: str,
) -> Feed:
    signer, origins = session.caller.signers.at(endpoint), session.origins.at(endpoint)
    refreshed = False
    hops = 0
    while True:
        signed = await signer.sign(Unsigned("GET", url, headers))
        response = await _sent(transport, session, signed, url)
        if response.status_code == 200 and _is_events(response):
            return Feed(transport, response, url)
        answer = await _refusal(response, url)
        if answer.status == 204:
            raise Ended
        if answer.status in _REDIRECTS and (location := answer.headers.get("location")):
            hops += 1
            if hops > MAX_HOPS:
                raise SystemicError(f"{_host(url)} redirects more than {MAX_HOPS} times.", code="redirects")
            url = origins.follow(url, location, "redirect")
            continue
        if answer.status == 401 and signer.refreshable and not refreshed:
            refreshed = True
            await signer.refresh(signed)
            continue
        raise _meaning(session, answer, stream)


async def _sent(transport: AiohttpTransport, session: Session, signed: Signed, url: str) -> httpx.Response:
    clock, started, ok = session.context.clock, session.context.clock.monotonic(), False
    request = httpx.Request("GET", signed.url, headers=signed.headers)
    try:
        async with asyncio.timeout(session.context.connector.transport.timeout.total):
            response = await transport.handle_async_request(request)
        ok = response.status_code < 400
        return response
    except httpx.TransportError as error:
        raise _translated(error, url) from None
    except TimeoutError:
        raise TransientError(f"{_host(url)} did not answer in time.", code="timeout") from None
    finally:
        session.context.telemetry.observe("connect feed", clock.monotonic() - started, ok)


def _is_events(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = response.headers.get("content-encoding", "").strip().lower()
    return kind == EVENT_STREAM and coding in ("", "identity")


async def _refusal(response: httpx.Response, url: str) -> Answer:
    """What was answered instead of events, or its beginning."""
    body = bytearray()
    try:
        async with asyncio.timeout(5):
            async for chunk in response.aiter_raw():
                body += chunk[: _MOST_OF_REFUSAL - len(body)]
                if len(body) >= _MOST_OF_REFUSAL:
                    break
    except (httpx.TransportError, TimeoutError):
        pass  # its status is enough
    finally:
        await response.aclose()
    return Answer(response.status_code, Headers(response.headers.raw), bytes(body), url, len(body))


def _meaning(session: Session, answer: Answer, stream: str) -> PlatintError:
    host, clock = _host(answer.url), session.context.clock
    verdict = session.caller.rules.judge(answer, "read", host, clock.now_ms())
    if verdict is not None and verdict.code != "not_json":
        return verdict.error(stream, clock.now_ms())
    if answer.headers.get("content-encoding"):
        return SystemicError(
            f"{host} compresses its events, which was not asked for.", where=stream, code="coding"
        )
    kind = clean(answer.headers.get("content-type", ""))[:100] or "nothing"
    return ConfigError(
        f"{host} answered with {kind} where {EVENT_STREAM} is expected.",
        where=stream,
        hint="Check the address: it is to be that of a stream of events.",
        code="content_type",
    )


def _translated(error: httpx.TransportError, url: str) -> PlatintError:
    parsed = urlsplit(url)
    return translate(error, parsed.hostname or "", parsed.scheme)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the platform"
