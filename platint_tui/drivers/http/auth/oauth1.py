"""OAuth 1.0a (RFC 5849): each request is signed with the consumer's secret, and the token's where there is one.

With `in: query` the parameters travel in the address, as servers want them that do not see the Authorization
header (WooCommerce over http). Bodies other than forms are not covered.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from platint_tui.core.clock import Clock
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned, add_query

_DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
PARAMETERS = frozenset(
    {
        "oauth_consumer_key",
        "oauth_token",
        "oauth_signature_method",
        "oauth_timestamp",
        "oauth_nonce",
        "oauth_version",
        "oauth_signature",
    }
)
_FORM = "application/x-www-form-urlencoded"


class OAuth1(Authorizer):
    """Signs with a consumer's key and secret; `token` and its secret stay empty for one-legged requests."""

    def __init__(
        self,
        consumer: tuple[str, Secret],
        token: tuple[str, Secret | None] | None,
        clock: Clock,
        *,
        method: str = "HMAC-SHA256",
        query: bool = True,
    ) -> None:
        self._consumer = consumer
        self._token = token
        self._clock = clock
        self._method = method
        self._query = query
        self.private = PARAMETERS if query else frozenset()

    async def sign(self, request: Unsigned) -> Signed:
        """The request with its signature; parameters of an older signature in its address are left out."""
        url, pairs = _without_old(request.url)
        values = [
            ("oauth_consumer_key", self._consumer[0]),
            ("oauth_nonce", secrets.token_hex(16)),
            ("oauth_signature_method", self._method),
            ("oauth_timestamp", str(self._clock.now_ms() // 1000)),
            ("oauth_version", "1.0"),
        ]
        if self._token is not None:
            values.append(("oauth_token", self._token[0]))
        covered = [*pairs, *values, *_form(request)]
        token_secret = self._token[1] if self._token is not None else None
        signature = signature_of(
            base_string(request.method, url, covered), self._method, self._consumer[1], token_secret
        )
        values.append(("oauth_signature", signature))
        if self._query:
            return Signed(add_query(url, values), dict(request.headers))
        return Signed(url, {**request.headers, "authorization": _header(values)})


def base_string(method: str, url: str, parameters: Sequence[tuple[str, str]]) -> str:
    """The signature base string (RFC 5849, 3.4.1) of decoded parameters, `oauth_signature` not among them."""
    from authlib.oauth1.rfc5849.signature import (
        normalize_base_string_uri,
        normalize_parameters,
    )
    from authlib.oauth1.rfc5849.util import escape

    normal = (normalize_base_string_uri(url), normalize_parameters(parameters))
    return "&".join(escape(part) for part in (method.upper(), *normal))


def signature_of(base: str, method: str, consumer: Secret, token: Secret | None = None) -> str:
    """The signature, in base64 (RFC 5849, 3.4.2; the same with SHA-256)."""
    from authlib.oauth1.rfc5849.util import escape

    key = f"{escape(consumer.reveal())}&{escape(token.reveal()) if token else ''}"
    return base64.b64encode(hmac.new(key.encode(), base.encode(), _DIGESTS[method]).digest()).decode()


def _header(values: Sequence[tuple[str, str]]) -> str:
    from authlib.oauth1.rfc5849.util import escape

    return "OAuth " + ", ".join(f'{name}="{escape(text)}"' for name, text in values)


def _without_old(url: str) -> tuple[str, list[tuple[str, str]]]:
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [pair for pair in pairs if pair[0] not in PARAMETERS]
    if len(kept) < len(pairs):
        url = urlunsplit(parts._replace(query=urlencode(kept)))
    return url, kept


def _form(request: Unsigned) -> list[tuple[str, str]]:
    kind = next((text for name, text in request.headers.items() if name.lower() == "content-type"), "")
    if not request.content or kind.partition(";")[0].strip().lower() != _FORM:
        return []
    return parse_qsl(request.content.decode("utf-8", "replace"), keep_blank_values=True)
