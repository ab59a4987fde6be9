"""The tokens of a sign-in as they are kept: one small JSON document in the profile's token store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.auth.renewing import margin_of
from platint_tui.drivers.http.auth.token_endpoint import Grant


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """Tokens, their ends in epoch seconds, the seconds they were given for, scopes, and the API's address.

    `seed` names the refresh token of the profile that they came from, `ended` says that the server has
    refused to go on with them, `unanswered` that the answer to the last request with the refresh token was lost.
    """

    access: str
    refresh: str = ""
    expires_at: float | None = None
    lifetime: float | None = None
    refresh_expires_at: float | None = None
    scopes: tuple[str, ...] | None = None
    base_url: str = ""
    seed: str = ""
    ended: bool = False
    unanswered: bool = False

    @classmethod
    def load(cls, document: Mapping[str, Json] | None) -> Kept | None:
        """From the store; None for nothing and for what is no such document."""
        if not isinstance(document, Mapping):
            return None
        access, refresh = document.get("access_token"), document.get("refresh_token")
        if not isinstance(access, str) or not isinstance(refresh, str | None):
            return None
        for text in (access, refresh):
            if text:
                Secret(text)
        scope = document.get("scope")
        return cls(
            access,
            refresh or "",
            _number(document.get("expires_at")),
            _number(document.get("lifetime")),
            _number(document.get("refresh_expires_at")),
            tuple(scope.split()) if isinstance(scope, str) else None,
            str(document.get("base_url") or ""),
            str(document.get("seed") or ""),
            document.get("ended") is True,
            document.get("unanswered") is True,
        )

    @classmethod
    def of(
        cls, grant: Grant, now_ms: int, before: Kept | None = None, refresh: str = "", seed: str = ""
    ) -> Kept:
        """What a token endpoint gave at `now_ms`; what it left out stays as it was (RFC 6749, 6)."""
        now = now_ms / 1000
        old = before or cls("")
        rotated = grant.refresh is not None and grant.refresh != refresh
        ends = None if rotated else old.refresh_expires_at
        return cls(
            grant.access,
            grant.refresh or refresh,
            now + grant.lifetime if grant.lifetime is not None else None,
            grant.lifetime,
            now + grant.refresh_lifetime if grant.refresh_lifetime is not None else ends,
            tuple(sorted(grant.scopes)) if grant.scopes is not None else old.scopes,
            grant.base_url or old.base_url,
            seed,
        )

    def document(self) -> dict[str, Json]:
        """For the store."""
        found: dict[str, Json] = {"access_token": self.access}
        if self.refresh:
            found["refresh_token"] = self.refresh
        if self.expires_at is not None:
            found["expires_at"] = round(self.expires_at, 3)
        if self.lifetime is not None:
            found["lifetime"] = self.lifetime
        if self.refresh_expires_at is not None:
            found["refresh_expires_at"] = round(self.refresh_expires_at, 3)
        if self.scopes is not None:
            found["scope"] = " ".join(self.scopes)
        for name in ("base_url", "seed", "ended", "unanswered"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found

    def good(self, now: float, margin: float) -> bool:
        """Whether the access token can be used at `now` (epoch seconds) and a little longer."""
        if not self.access or self.ended:
            return False
        if self.expires_at is None:
            return True
        return self.expires_at - now > (margin if self.lifetime is None else margin_of(margin, self.lifetime))

    def refused(self) -> Kept:
        """The same after the server has refused the refresh token: at its end.

        The first refusal after a lost answer ends nothing yet: a server that allows a token once more for a
        short while may still be busy with the request before.
        """
        return replace(self, ended=not self.unanswered, unanswered=False)


class MemoryTokens:
    """Tokens that are kept as long as the program runs."""

    def __init__(self) -> None:
        self._document: Mapping[str, Json] | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> Mapping[str, Json] | None:
        """The tokens, None before any were saved."""
        return self._document

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep other tasks out."""
        async with self._lock:
            yield

    async def save(self, tokens: Mapping[str, Json]) -> None:
        """Keep the tokens."""
        self._document = dict(tokens)


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
