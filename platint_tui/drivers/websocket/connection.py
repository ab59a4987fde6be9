"""One WebSocket of a platform: opened under the credential and the origin rule of the http driver, signed in, and
what its end means.

Close codes are those of RFC 6455, 7.4.1, of IANA's registry (1012, 1013, 3000, 3003), and of the custom to put 4000
before the status of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    SystemicError,
    TransientError,
)
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Json
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import one_line
from platint_tui.drivers.http.auth import Signed, Unsigned
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.headers import Headers
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.requests import address, lower, with_query
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.translate import translate
from platint_tui.drivers.http.transport import tls_context
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.sockets import open_socket
from platint_tui.manifest.live import SignIn, Socket
from platint_tui.manifest.template import render, render_body, render_map

LARGEST = 64 * 1024 * 1024
"""Bytes of a message beyond which the connection is given up."""
_NOT_OURS = ("accept", "accept-encoding", "connection", "host", "upgrade")
_SIGN_IN = {3000, 3003, 4401, 4403}
_REFUSED = {1002, 1003, 1007, 1008, 1010, 4400, 4404}
FAILURES = (OSError, EOFError, TimeoutError, ConnectionClosed)
"""What sending and receiving may end with."""


class Connection:
    """An open, signed-in WebSocket. Messages that are answered by themselves (`replies`) do not show up."""

    def __init__(self, session: Session, stream: str, live: Socket, socket: ClientConnection) -> None:
        self._session = session
        self._stream = stream
        self._live = live
        self._socket = socket
        self.host = session.caller.host
        self._rules = session.caller.rules

    async def receive(self) -> bytes:
        """The next message, whatever frame it came in. Raises PlatintError when the connection is gone."""
        try:
            return await self._socket.recv(decode=False)
        except FAILURES as error:
            raise self.error(error) from None

    async def send(self, message: Json | bytes) -> None:
        """Send a message: bytes in a binary frame, text as it is, anything else as JSON. Raises PlatintError."""
        data = message if isinstance(message, bytes | str) else dumps(message)
        try:
            await self._socket.send(data)
        except FAILURES as error:
            raise self.error(error) from None

    async def ping(self) -> None:
        """Return when the other side has answered a ping. Raises PlatintError when the connection is gone."""
        try:
            await (await self._socket.ping())
        except FAILURES as error:
            raise self.error(error) from None

    async def answered(self, document: Json) -> bool:
        """Whether a message is one that only wants an answer, which it gets. Raises what the manifest's error rules
        make of it."""
        for reply in self._live.replies:
            if body_holds(reply.when, document):
                scope = {**self._session.scope_of(self._stream), "record": document}
                await self.send(render_body(reply.send, scope))
                return True
        answer = Answer(200, Headers(), dumps(document).encode(), "", 0)
        if self._rules.looks_into(answer, graphql=False):
            now = self._session.context.clock.now_ms()
            verdict = self._rules.judge(answer, "read", self.host, now)
            if verdict is not None and verdict.action != "ignore":
                raise verdict.error(self._stream, now)
        return False

    def error(self, error: BaseException) -> PlatintError:
        """What the end of the connection means."""
        if not isinstance(error, ConnectionClosed):
            return TransientError(
                f"The connection to {self.host} broke.", where=self._stream, code="connection_broken"
            )
        if error.sent is not None and error.sent.code == 1009 and not error.rcvd_then_sent:
            return ConfigError(
                f"{self.host} sent a message of more than {LARGEST:,} bytes.",
                where=self._stream,
                hint="Subscribe to less, or have it sent in smaller messages.",
                code="1009",
            )
        if error.rcvd is None:
            return TransientError(
                f"The connection to {self.host} broke.", where=self._stream, code="connection_broken"
            )
        found = closed(error.rcvd.code, error.rcvd.reason, self.host, self._stream)
        return by_rules(found, self._session.context.connector, str(error.rcvd.code))

    async def close(self) -> None:
        """Say goodbye and end the connection."""
        await self._socket.close()


def closed(code: int, reason: str, host: str, stream: str) -> PlatintError:
    """What a close code means."""
    said = one_line(REDACTOR.redact(reason)).rstrip(".")
    message = f"{host} closed the connection with code {code}{f': {said}' if said else ''}."
    if code in _SIGN_IN:
        hint = "Check the credential of the profile."
        if code in (3003, 4403):
            hint = "The credential is not allowed to do this."
        return CredentialError(message, where=stream, hint=hint, code=str(code))
    if code in _REFUSED:
        hint = "It does not accept what it was sent: check path, credential and subscription."
        return ConfigError(message, where=stream, hint=hint, code=str(code))
    if code == 1009:
        return ConfigError(message, where=stream, hint="It takes only smaller messages.", code="1009")
    hint = "It asks to come back later." if code == 1013 else ""
    return TransientError(message, where=stream, hint=hint, code=str(code))


async def open_connection(
    session: Session, stream: str, live: Socket, *, resume_after: str = "", subscribe: bool = True
) -> Connection:
    """Connect, sign in, and subscribe. Raises PlatintError."""
    scope = {**session.scope_of(stream), "cursor": {"start": resume_after or None, "end": None}}
    base = session.address_for(live.endpoint)
    url = with_query(
        address(base, live.path, scope) if live.path else base, render_map(live.query, scope, "query")
    )
    resume = live.resume
    if resume is not None and resume.param and resume_after and subscribe:
        url = with_query(url, {resume.param: resume_after})
    headers = {**session.headers_for(live.endpoint), **lower(render_map(live.headers, scope, "header"))}
    headers = {name: value for name, value in headers.items() if name not in _NOT_OURS}
    socket, secret = await _shaken(session, stream, live, url, headers)
    connection = Connection(session, stream, live, socket)
    try:
        async with asyncio.timeout(session.context.connector.transport.timeout.total):
            await _sign_in(connection, live.sign_in, secret)
            for message in live.subscribe if subscribe else ():
                if (rendered := _rendered(message, scope)) not in (None, ""):
                    await connection.send(rendered)
            if resume is not None and resume.message is not None and resume_after and subscribe:
                await connection.send(render_body(resume.message, scope))
    except TimeoutError:
        await connection.close()
        raise TransientError(
            f"{connection.host} did not accept the sign-in in time.", where=stream, code="timeout"
        ) from None
    except BaseException:
        await connection.close()
        raise
    return connection


def _rendered(message: Any, scope: Mapping[str, Json]) -> Json:
    """A message of the manifest. A text that is one lookup alone may have no value: then there is no message."""
    holder: dict[str, Json] = render_body({"message": message}, scope)
    return holder.get("message")


async def _shaken(
    session: Session, stream: str, live: Socket, url: str, headers: Mapping[str, str]
) -> tuple[ClientConnection, str]:
    """A WebSocket after its handshake, and the credential for what comes after it."""
    signer, refreshed = session.caller.signers.at(live.endpoint), False
    settings = session.context.connector.transport
    ca_file = render(settings.ca_file, session.scope, "query") if settings.ca_file else None
    proxy = render(settings.proxy, session.scope, "query") if settings.proxy else None
    while True:
        signed = await signer.sign(Unsigned("GET", url, headers))
        place, own, secret = signed.url, dict(signed.headers), ""
        protocols = list(live.subprotocols)
        if live.sign_in is not None:
            secret = _credential(signed, headers, url)
            place, own = url, dict(headers)
            if live.sign_in.subprotocol is not None:
                protocols.append(live.sign_in.subprotocol + secret)
        clock, started, ok = session.context.clock, session.context.clock.monotonic(), False
        try:
            tls = tls_context(ca_file) if url.startswith("https:") else None
            async with asyncio.timeout(settings.timeout.connect):
                socket = await open_socket(
                    f"ws{place.removeprefix('http')}",
                    tls=tls,
                    headers=own,
                    subprotocols=protocols,
                    largest=LARGEST,
                    proxy=proxy,
                )
            ok = True
            return socket, secret
        except InvalidStatus as error:
            if error.response.status_code == 401 and signer.refreshable and not refreshed:
                refreshed = True
                await signer.refresh(signed)
                continue
            raise _refused(session, stream, error, url) from None
        except (InvalidHandshake, InvalidURI, *FAILURES) as error:
            raise _unreached(error, url, stream) from None
        finally:
            session.context.telemetry.observe("connect feed", clock.monotonic() - started, ok)


def _credential(signed: Signed, headers: Mapping[str, str], url: str) -> str:
    """What a signer added to a request: the value of its header without a scheme, or of its query parameter."""
    for name, value in signed.headers.items():
        if headers.get(name) != value:
            return value.removeprefix("Bearer ")
    added = signed.url.removeprefix(url).lstrip("?&")
    return next(iter(httpx.QueryParams(added).values()), "")


async def _sign_in(connection: Connection, way: SignIn | None, secret: str) -> None:
    if way is None:
        return
    if way.message is not None:
        message: dict[str, Any] = loads(dumps(way.message))
        if way.at is not None:
            _put(message, way.at, secret)
        await connection.send(message)
    while way.accepted is not None:
        data = await connection.receive()
        with contextlib.suppress(SystemicError):
            document = loads(data)
            if body_holds(way.accepted, document):
                return
            await connection.answered(document)


def _put(document: dict[str, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document.setdefault(name, {})
    document[last] = value


def _refused(session: Session, stream: str, error: InvalidStatus, url: str) -> PlatintError:
    response = error.response
    host, now = urlsplit(url).hostname or "", session.context.clock.now_ms()
    headers = Headers(list(response.headers.raw_items()))
    answer = Answer(response.status_code, headers, bytes(response.body or b""), url, 0)
    verdict = session.caller.rules.judge(answer, "read", host, now)
    if verdict is None or 300 <= response.status_code < 400:
        return ConfigError(
            f"{host} answered {response.status_code} where a WebSocket is expected.",
            where=stream,
            hint="Check the address; redirects are not followed.",
            code="handshake",
        )
    return verdict.error(stream, now)


def _unreached(error: Exception, url: str, stream: str) -> PlatintError:
    host = urlsplit(url).hostname or ""
    if isinstance(error, TimeoutError):
        return TransientError(f"{host} did not answer in time.", where=stream, code="timeout")
    if isinstance(error, InvalidHandshake | InvalidURI | EOFError):
        return ConfigError(
            f"{host} does not speak WebSocket at this address.",
            where=stream,
            hint="Check the address.",
            code="handshake",
        )
    wrapped = httpx.ConnectError(str(error))
    wrapped.__cause__ = error
    return translate(wrapped, host, urlsplit(url).scheme)
