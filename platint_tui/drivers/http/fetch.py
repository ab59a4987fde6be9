"""Fetches one public document, without a credential: https, or http on this machine."""

from __future__ import annotations

from platint_tui import __version__
from platint_tui.core.errors import SystemicError
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.hosts import origin

_SECONDS = 60.0


async def fetch(url: str, cap: int) -> bytes:
    """The body at `url`, at most `cap` bytes of it, within a minute; redirects stay on the same origin.

    Raises ConfigError for an address that is neither https nor on this machine, SystemicError or
    TransientError for what came instead.
    """
    base = origin(url)
    client = HttpClient(
        AiohttpTransport(connect=10.0, read=30.0), Origins(base, (base,)), total=_SECONDS, cap=cap
    )
    headers = {
        "accept": "application/json, application/yaml, */*",
        "accept-encoding": "gzip",
        "user-agent": f"platint-tui/{__version__}",
    }
    try:
        answer = await client.exchange("GET", url, headers)
    finally:
        await client.close()
    if answer.status != 200:
        raise SystemicError(f"There is no document: it was answered with {answer.status}.", where=base)
    return answer.body
