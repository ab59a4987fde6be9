"""The redirect address of a sign-in: a listener on 127.0.0.1 that takes one answer from the browser (RFC 8252)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.secret import Secret

PATH = "/callback"
_HEAD = 16 * 1024
_FIELDS = 100
_PATIENCE = 10.0
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>platint-tui</title>
<style>body{{font:16px/1.5 sans-serif;max-width:32em;margin:4em auto;padding:0 1em}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_DONE = ("Back to the terminal", "The answer has arrived. You can close this page.")
_REFUSED = ("Not signed in", "The platform did not give access. The terminal says more.")
_OTHER = ("Not this sign-in", "This answer belongs to another sign-in. Start again in the terminal.")
_NOTHING = ("Nothing here", "This address only takes the answer of a sign-in.")


class Listener:
    """Waits for the browser. `uri` is the redirect address to register and to send."""

    def __init__(self) -> None:
        self.port = 0
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._state = ""
        self._others = 0

    @property
    def uri(self) -> str:
        """The redirect address."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    async def answer(self, state: str, seconds: float) -> str:
        """The address that the browser came to with `state`, within `seconds`. Others are not taken.

        Raises CredentialError when none came.
        """
        self._state = state
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await self._answers.get()
                    if self._belongs(found):
                        return found
                    self._others += 1
        except TimeoutError:
            told = " One came that belongs to another sign-in." if self._others else ""
            raise CredentialError(
                f"No answer came from the browser within {seconds:.0f} s.{told}",
                hint="Start the sign-in again.",
                code="login_timeout",
            ) from None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one page."""
        try:
            async with asyncio.timeout(_PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, page, found = self._judge(head)
                writer.write(_page(status, page))
                await writer.drain()
            if found:
                await self._answers.put(found)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            with suppress(ConnectionError):
                writer.close()

    def _judge(self, head: str) -> tuple[str, tuple[str, str], str]:
        """Status, page and answer for a request."""
        line, *rest = head.split("\r\n")
        parts = line.split(" ")
        headers = {
            name.strip().lower(): text.strip() for name, _, text in (item.partition(":") for item in rest)
        }
        # Another name that leads here is a page on the web that guesses.
        if headers.get("host") not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return "400 Bad Request", _NOTHING, ""
        try:
            target = urlsplit(parts[1] if len(parts) == 3 and parts[0] == "GET" else "")
            query = dict(parse_qsl(target.query, max_num_fields=_FIELDS))
        except ValueError:
            return "400 Bad Request", _NOTHING, ""
        if target.path != PATH:
            return "404 Not Found", _NOTHING, ""
        if "code" not in query and "error" not in query:
            return "404 Not Found", _NOTHING, ""
        if "code" in query:
            Secret(query["code"])
        if not self._belongs(parts[1]):
            return "400 Bad Request", _OTHER, parts[1]
        return "200 OK", _DONE if "code" in query else _REFUSED, parts[1]

    def _belongs(self, target: str) -> bool:
        given = dict(parse_qsl(urlsplit(target).query)).get("state", "")
        return not self._state or hmac.compare_digest(given.encode(), self._state.encode())


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Listener]:
    """A listener on 127.0.0.1, on a free port or on the one that the platform has on record.

    Raises ConfigError when that port is taken.
    """
    listener = Listener()
    try:
        server = await asyncio.start_server(listener.serve, "127.0.0.1", port, limit=_HEAD)
    except OSError:
        raise ConfigError(
            f"Port {port} of this machine is taken, so no answer from the browser could be received.",
            hint="End what uses it, or wait for a sign-in that is under way.",
            code="redirect_port",
        ) from None
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


def _page(status: str, page: tuple[str, str]) -> bytes:
    body = _PAGE.format(title=page[0], text=page[1]).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n"
    )
    return head.encode() + body
