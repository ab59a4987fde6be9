"""Whether the public address leads to this receiver: a question that only it can answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from platint_tui import __version__
from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.redaction import REDACTOR
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.hosts import origin

PROBE = "_check"
"""The name after `/webhooks/` that no profile has: GET /webhooks/_check?nonce=… is answered with `proof`."""
TUNNELS = (
    "`cloudflared tunnel --url http://127.0.0.1:8787`, `ngrok http 8787` or `tailscale funnel 8787` give this machine "
    "a public address."
)
MAX_NONCE = 128
_SECONDS = 20.0
_CAP = 4096


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether the address leads here; else what is wrong and what to do. `code` is "" when it does."""

    ok: bool
    address: str
    code: str = ""
    message: str = ""
    hint: str = ""


def proof(key: bytes, nonce: str) -> str:
    """What the receiver answers to a nonce: nobody without its key (which it made when it started) can."""
    return hmac.new(key, b"platint-tui receiver:" + nonce.encode(), hashlib.sha256).hexdigest()


async def reach(public_url: str, key: bytes) -> Reached:
    """Ask the receiver at `public_url` from here, through the network as it is. Never raises for what is wrong."""
    address = f"{public_url.rstrip('/')}/webhooks/{PROBE}"
    nonce = secrets.token_hex(16)
    try:
        base = origin(address)
        client = HttpClient(
            AiohttpTransport(connect=10.0, read=10.0), Origins(base, (base,)), total=_SECONDS, cap=_CAP
        )
        headers = {
            "accept": "text/plain",
            "accept-encoding": "gzip",
            "user-agent": f"platint-tui/{__version__}",
        }
        try:
            answer = await client.exchange("GET", f"{address}?nonce={nonce}", headers)
        finally:
            await client.close()
    except PlatintError as error:
        return Reached(
            False,
            address,
            error.code,
            REDACTOR.redact(error.message),
            _hint(error.code) or REDACTOR.redact(error.hint),
        )
    if answer.status == 200 and hmac.compare_digest(answer.body.strip(), proof(key, nonce).encode()):
        return Reached(True, address)
    host = base.partition("://")[2]
    if answer.status == 200 and len(answer.body.strip()) == 64:
        said = f"{host} leads to another platint-tui, or to an engine that was started since."
        return Reached(
            False, address, "other_receiver", said, "Is the tunnel of this machine the one that runs?"
        )
    return Reached(
        False,
        address,
        "other_server",
        f"{host} answered {answer.status}, and it is not this receiver that answered.",
        "Does the proxy or tunnel lead to the address on which `serve` listens, with the path as it is?",
    )


def _hint(code: str) -> str:
    if code in ("dns", "connection_refused", "connect", "connect_timeout"):
        return f"Does the tunnel or proxy run? {TUNNELS}"
    if code == ConfigError.code:
        return f"Platforms call https addresses. {TUNNELS}"
    return ""
