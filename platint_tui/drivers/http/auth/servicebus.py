"""Azure Service Bus: shared access signatures made from a policy's name and key.

Source: Microsoft, "Service Bus access control with Shared Access Signatures". The key is used as text, it is
not decoded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote_plus, urlsplit

from platint_tui.core.clock import Clock
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned


class ServiceBusSas(Authorizer):
    """`Authorization: SharedAccessSignature …` for the whole namespace, good for `ttl` seconds."""

    def __init__(self, key_name: str, key: Secret, clock: Clock, ttl: float) -> None:
        self._key_name = key_name
        self._key = key
        self._clock = clock
        self._ttl = ttl
        self._made: dict[str, tuple[str, int]] = {}

    def token(self, resource: str) -> tuple[str, int]:
        """A token for everything under the address `resource`, and until when it is good (epoch seconds). One is
        given out for half of its life."""
        now = self._clock.now_ms() / 1000
        token, expiry = self._made.get(resource, ("", 0))
        if not now + self._ttl / 2 < expiry <= now + self._ttl:
            expiry = int(now + self._ttl)
            token = sas_token(resource, self._key_name, self._key, expiry)
            self._made[resource] = (token, expiry)
        return token, expiry

    async def sign(self, request: Unsigned) -> Signed:
        """The request with a token for its namespace."""
        parts = urlsplit(request.url)
        token, _ = self.token(f"{parts.scheme}://{parts.netloc.lower()}/")
        return Signed(request.url, {**request.headers, "authorization": token})


def sas_token(resource: str, key_name: str, key: Secret, expiry: int) -> str:
    """A token for everything under the address `resource` until `expiry` (epoch seconds)."""
    encoded = quote_plus(resource)
    digest = hmac.new(key.reveal().encode(), f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote_plus(base64.b64encode(digest).decode())
    token = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}&skn={quote_plus(key_name)}"
    Secret(signature)
    return token
