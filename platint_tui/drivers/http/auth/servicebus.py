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
        self._made: dict[str, tuple[float, str]] = {}

    def token(self, resource: str) -> tuple[str, int]:
        """A token for everything under the address `resource`, and until when it is good (epoch seconds)."""
        expiry = int(self._clock.now_ms() / 1000 + self._ttl)
        return sas_token(resource, self._key_name, self._key, expiry), expiry

    async def sign(self, request: Unsigned) -> Signed:
        """The request with a token for its namespace; a token is used for half of its life."""
        parts = urlsplit(request.url)
        resource = f"{parts.scheme}://{parts.netloc.lower()}/"
        now = self._clock.now_ms() / 1000
        renew_at, token = self._made.get(resource, (0.0, ""))
        if now >= renew_at or now < renew_at - self._ttl:
            token, _ = self.token(resource)
            self._made = {resource: (now + self._ttl / 2, token)}
        return Signed(request.url, {**request.headers, "authorization": token})


def sas_token(resource: str, key_name: str, key: Secret, expiry: int) -> str:
    """A token for everything under the address `resource` until `expiry` (epoch seconds)."""
    encoded = quote_plus(resource)
    digest = hmac.new(key.reveal().encode(), f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote_plus(base64.b64encode(digest).decode())
    token = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}&skn={quote_plus(key_name)}"
    Secret(signature)
    return token
