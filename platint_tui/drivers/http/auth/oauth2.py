"""OAuth 2 (RFC 6749): tokens are fetched on first use and renewed before their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from platint_tui.core.backoff import RetryPolicy, backoff
from platint_tui.core.errors import CredentialError, PlatintError, SystemicError, TransientError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned
from platint_tui.drivers.http.auth.fields import secret, value
from platint_tui.drivers.http.body import expect_json
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.manifest import schema

_MAX_EXPIRY = 10 * 365 * 86400
_TOKEN_TRIES = 3


class ClientCredentials(Authorizer):
    """OAuth 2 client credentials: a token on first use, renewed before its end and once after a refusal.

    However many requests wait, one token request is made. Tokens live in memory only.
    """

    refreshable = True

    def __init__(
        self, context: DriverContext, auth: schema.OAuth2Auth, client: HttpClient, token_url: str
    ) -> None:
        self._context = context
        self._auth = auth
        self._client = client
        self._url = token_url
        self._lock = asyncio.Lock()
        self._headers: Mapping[str, str] | None = None
        self._renew_at: float | None = None
        self._notes: list[str] = []

    async def sign(self, request: Unsigned) -> Signed:
        """The request with a token that is not about to expire."""
        headers = self._headers
        if headers is None or self._expired():
            async with self._lock:
                if self._headers is headers:
                    await self._fetch()
                headers = self._headers
        assert headers is not None
        return Signed(request.url, {**request.headers, **headers})

    async def refresh(self, used: Signed) -> None:
        """A new token, unless another task has got one since `used` was sent."""
        async with self._lock:
            present = self._headers
            if present is None or all(used.headers.get(name) == text for name, text in present.items()):
                await self._fetch()

    def notes(self) -> list[str]:
        """Scopes that were not granted."""
        return self._notes

    def _expired(self) -> bool:
        return self._renew_at is not None and self._context.clock.monotonic() >= self._renew_at

    async def _fetch(self) -> None:
        policy = RetryPolicy(attempts=_TOKEN_TRIES, base=0.5, cap=5.0)
        for attempt in range(1, _TOKEN_TRIES + 1):
            started = self._context.clock.monotonic()
            ok = False
            try:
                answer = await self._ask()
                self._accept(answer)
                ok = True
                return
            except TransientError:
                if attempt == _TOKEN_TRIES:
                    raise
            finally:
                self._context.telemetry.observe("token", self._context.clock.monotonic() - started, ok)
            await self._context.clock.sleep(backoff(policy, attempt, self._context.rng))

    async def _ask(self) -> Answer:
        # Only platforms with OAuth pay for importing Authlib.
        from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
        from authlib.oauth2.rfc6749.parameters import prepare_token_request  # type: ignore[import-untyped]

        auth = self._auth
        method = "client_secret_basic" if auth.client_auth == "basic" else "client_secret_post"
        client = ClientAuth(
            value(self._context, auth.client_id or ""),
            secret(self._context, auth.client_secret or "").reveal(),
            method,
        )
        body = prepare_token_request("client_credentials", scope=list(auth.scopes) or None)
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            _, headers, body = client.prepare("POST", self._url, headers, body)
        except UnicodeEncodeError:
            raise CredentialError(
                "The client id or secret holds a character that HTTP Basic cannot carry.",
                code="credential_form",
            ) from None
        return await self._client.exchange("POST", self._url, headers, body.encode())

    def _accept(self, answer: Answer) -> None:
        host = self._client.origins.base
        if answer.status >= 500 or answer.status == 429:
            raise TransientError(
                f"The token endpoint answered {answer.status}.", where=host, code="token_endpoint"
            )
        expect_json(answer.body, answer.headers.get("content-type", ""), "The token endpoint")
        document = loads(answer.body, "the token endpoint")
        if not isinstance(document, dict):
            raise SystemicError(
                "The token endpoint answered with no JSON object.", where=host, code="token_endpoint"
            )
        if answer.status != 200 or "error" in document:
            raise self._refusal(answer.status, document)
        token = document.get("access_token")
        kind = document.get("token_type", "bearer")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise SystemicError(
                "The token endpoint gave no usable access token.", where=host, code="token_endpoint"
            )
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise SystemicError(
                "The token endpoint gave a token that is no bearer token.", where=host, code="token_type"
            )
        Secret(token)
        self._headers = {"authorization": f"Bearer {token}"}
        lifetime = _lifetime(document.get("expires_in"))
        self._renew_at = None
        if lifetime is not None:
            # A margin as long as the token's life would ask for a new one before every request.
            margin = min(self._auth.expiry_margin, lifetime / 2)
            self._renew_at = self._context.clock.monotonic() + lifetime - margin
        self._note_scopes(document.get("scope"))

    def _refusal(self, status: int, document: Mapping[str, Json]) -> PlatintError:
        code = clean(str(document.get("error", status)))[:60]
        said = clean(str(document.get("error_description", "")))[:200]
        tail = f" ({said})" if said else ""
        return CredentialError(
            f"The token endpoint refuses the credential: {code}{tail}.",
            hint="Check the client id and secret of the profile.",
            where=self._client.origins.base,
            code="token_refused",
        )

    def _note_scopes(self, granted: Json) -> None:
        if not isinstance(granted, str) or not self._auth.scopes:
            return
        missing = sorted(set(self._auth.scopes) - set(granted.split()))
        self._notes = (
            [f"The platform granted less than asked for: {', '.join(missing)} is missing."] if missing else []
        )


def _lifetime(value: Json) -> float | None:
    """Seconds until expiry; None (use it until it is refused) for anything that is no sensible number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MAX_EXPIRY:
        return float(value)
    return None
