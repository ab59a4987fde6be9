"""WebSockets that go where they are told to, for the drivers that speak over them."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

CLOSE_SECONDS = 0.5

# It reports what it raises as well, with whole addresses.
for _name in ("websockets", "websockets.client"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class _Direct(connect):
    """Follows no redirect: a credential would go with it."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_socket(
    url: str,
    *,
    tls: ssl.SSLContext | None,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    largest: int,
    proxy: str | None = None,
) -> ClientConnection:
    """An open WebSocket that takes messages of up to `largest` bytes and sends no pings by itself.

    It takes nothing from the environment (no netrc, no proxy but the one given), compresses nothing and follows no
    redirect. Raises OSError, websockets.InvalidHandshake (InvalidStatus has the `response`) or InvalidURI.
    """
    return await _Direct(
        url,
        ssl=tls,
        additional_headers=dict(headers or {}),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        proxy=proxy,
        compression=None,
        user_agent_header=None,
        max_size=largest,
        max_queue=64,
        ping_interval=None,
        open_timeout=None,
        close_timeout=CLOSE_SECONDS,
    )
