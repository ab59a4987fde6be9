"""Calling the address by which a platform wants a handshake confirmed (Amazon SNS: `SubscribeURL`)."""

from __future__ import annotations

from platint_tui import __version__
from platint_tui.core.errors import PlatintError
from platint_tui.core.redaction import REDACTOR
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.hosts import origin

_SECONDS = 10.0
_CAP = 64 * 1024


async def visit(address: str) -> str:
    """Call `address` (one of `visit_of`) once, following redirects on its own host only: "" when it was answered
    with success, else why not. Never raises for what is wrong there.
    """
    try:
        base = origin(address)
        client = HttpClient(
            AiohttpTransport(connect=_SECONDS, read=_SECONDS),
            Origins(base, (base,)),
            total=_SECONDS,
            cap=_CAP,
        )
        headers = {"accept-encoding": "gzip", "user-agent": f"platint-tui/{__version__}"}
        try:
            answer = await client.exchange("GET", address, headers)
        finally:
            await client.close()
    except PlatintError as error:
        return REDACTOR.redact(error.message)
    return "" if 200 <= answer.status < 300 else f"The answer was HTTP {answer.status}."
