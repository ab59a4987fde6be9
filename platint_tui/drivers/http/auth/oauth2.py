"""OAuth 2 (RFC 6749, 7523): the signers. How a person signs in for the first time is in `login`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from platint_tui.core.errors import CredentialError, TransientError
from platint_tui.core.model import Json
from platint_tui.core.ports import TokenStore
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import secret
from platint_tui.drivers.http.auth.jwt import Assertions
from platint_tui.drivers.http.auth.kept import Kept, MemoryTokens
from platint_tui.drivers.http.auth.renewing import Renewing, Token, attempts, to_the_end
from platint_tui.drivers.http.auth.token_endpoint import Grant, TokenEndpoint, TokenRefused
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.translate import NetworkError
from platint_tui.manifest import schema

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ENDED = ("invalid_grant", "token_expired", "invalid_refresh_token", "bad_refresh_token", "token_revoked")


class _OAuth2(Renewing):
    """What the grants share: the token endpoint, and what its last answer said."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.OAuth2Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises ConfigError and CredentialError for what the profile lacks."""
        super().__init__(context, auth.header, auth.prefix, auth.expiry_margin)
        self.auth = auth
        self.endpoint = TokenEndpoint(context, auth, client, scope)
        self._notes: list[str] = []
        self._base_url: str | None = None

    def notes(self) -> list[str]:
        """Scopes that were not granted."""
        return self._notes

    def base_url(self) -> str | None:
        """The API's address as the token answer named it."""
        return self._base_url

    async def prepare(self) -> None:
        """Get a token where its answer names the API's address."""
        if self.auth.base_url_from:
            await self.present()

    def _take(self, grant: Grant) -> Token:
        self._notes = self.endpoint.missing(grant.scopes)
        self._base_url = grant.base_url or self._base_url
        return self.token_of(grant.access, grant.lifetime, self.endpoint.host)


class ClientCredentials(_OAuth2):
    """The client is the account. Tokens live in memory only."""

    async def _renew(self, refused: Token | None) -> Token:
        return self._take(
            await self.attempts(
                lambda: self.endpoint.post("client_credentials", scope=self.endpoint.scope_text)
            )
        )


class JwtBearer(_OAuth2):
    """A signed assertion is exchanged for a token (RFC 7523, 2.1). Tokens live in memory only."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.OAuth2Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises ConfigError and CredentialError for what the profile lacks."""
        super().__init__(context, auth, client, scope)
        if auth.assertion is None:
            raise CredentialError("The manifest describes no assertion for this grant.")
        self._assertions = Assertions(context, auth.assertion, scope, self.endpoint.url)

    async def _renew(self, refused: Token | None) -> Token:
        return self._take(
            await self.attempts(
                lambda: self.endpoint.post(
                    JWT_BEARER, assertion=self._assertions.make(), scope=self.endpoint.scope_text
                )
            )
        )


class SignedIn(_OAuth2):
    """A person's sign-in that goes on with refresh tokens, kept in the profile's token store.

    Under the store's lock, whatever number of tasks and processes want a new token: the first asks for it and
    keeps it before it is used, the others find it there.
    """

    def __init__(
        self,
        context: DriverContext,
        auth: schema.OAuth2Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises ConfigError and CredentialError for what the profile lacks."""
        super().__init__(context, auth, client, scope)
        # A refresh token that works again and again is in the profile already; nothing has to be kept then,
        # which an unattended run could perhaps not do.
        again = auth.grant == "refresh_token" and not auth.rotates
        self._store: TokenStore = MemoryTokens() if again or context.tokens is None else context.tokens
        self._given = secret(context, auth.refresh_token).reveal() if auth.refresh_token else ""
        # Tokens that came from another refresh token than the profile's own are no longer wanted.
        self._seed = hashlib.sha256(self._given.encode()).hexdigest()[:16] if self._given else ""
        self._unsaved: Kept | None = None
        self._kept: Kept | None = None

    async def _renew(self, refused: Token | None) -> Token:
        async with self._store.locked():
            kept = self._unsaved or self._fitting(await self._store.load())
            if self._unsaved is not None:
                await self._save(self._unsaved)
            now = self.context.clock.now_ms() / 1000
            known = refused.value.reveal() if refused is not None else ""
            if kept is None or not kept.good(now, self._margin) or kept.access == known:
                kept = await self._refreshed(kept)
            return self._use(kept)

    async def _refreshed(self, kept: Kept | None) -> Kept:
        refresh = (kept.refresh if kept else "") or self._given
        if kept is not None and kept.ended:
            raise self._sign_in("The sign-in has ended")
        if not refresh:
            raise self._sign_in("The token has expired" if kept else "Nobody has signed in yet")
        before = kept or Kept("", refresh, seed=self._seed)
        try:
            # Once the request is out the old token may be spent: whoever cancels waits for the new one to be kept.
            return await attempts(
                self.context, lambda: to_the_end(self._exchanged(before, refresh)), self._spent
            )
        except TokenRefused as error:
            if error.error not in _ENDED:
                raise
            # Kept as ended: the others that wait do not ask with it again.
            await self._save(before.refused())
            raise self._sign_in(f"The sign-in has ended: {error.message}") from None

    async def _exchanged(self, before: Kept, refresh: str) -> Kept:
        """The tokens for a refresh token, asked for once, and kept."""
        try:
            grant = await self.endpoint.post("refresh_token", refresh_token=refresh)
        except NetworkError as error:
            if self._spent(error):
                await self._save(replace(before, unanswered=True))
            raise
        fresh = Kept.of(grant, self.context.clock.now_ms(), before, refresh, self._seed)
        await self._save(fresh)
        return fresh

    def _spent(self, error: TransientError) -> bool:
        """Whether asking again at once with the same refresh token would look like the use of a stolen one."""
        lost = isinstance(error, NetworkError) and error.sent and self.auth.rotates
        return lost or self._unsaved is not None

    async def _save(self, kept: Kept) -> None:
        # Should it not be kept now, it is the next time: the old refresh token may be worth nothing.
        self._unsaved = kept
        await self._store.save(kept.document())
        self._unsaved = None

    def _fitting(self, document: Mapping[str, Json] | None) -> Kept | None:
        kept = Kept.load(document)
        return kept if kept is not None and kept.seed == self._seed else None

    def _use(self, kept: Kept) -> Token:
        self._kept = kept
        self._base_url = kept.base_url or None
        self._notes = self.endpoint.missing(frozenset(kept.scopes) if kept.scopes is not None else None)
        now = self.context.clock.now_ms() / 1000
        left = None if kept.expires_at is None else kept.expires_at - now
        return self.token_of(kept.access, kept.lifetime, self.endpoint.host, left)

    def facts(self) -> list[str]:
        """Until when the sign-in is good."""
        kept = self._kept
        if kept is None:
            return []
        if not kept.refresh and kept.expires_at is not None:
            again = f"sign in again then with `platint-tui profiles login {self.context.profile.name}`"
            return [f"The token expires {_moment(kept.expires_at)}; {again}."]
        if kept.refresh_expires_at is not None:
            return [f"The sign-in is good until {_moment(kept.refresh_expires_at)}."]
        if kept.expires_at is not None:
            return [f"The token is good until {_moment(kept.expires_at)} and is renewed by itself."]
        return []

    def _sign_in(self, what: str) -> CredentialError:
        name = self.context.profile.name
        again = f"Sign in again with `platint-tui profiles login {name}`."
        if self._given:
            again = f"Enter a new {self.auth.refresh_token} with `platint-tui profiles edit {name}`."
        return CredentialError(
            what if what.endswith(".") else f"{what}.",
            hint=again,
            where=self.endpoint.host,
            code="sign_in_needed",
        )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
