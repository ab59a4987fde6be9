"""What signs requests: the seam between the calls of the driver and the schemes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from platint_tui.core.secret import Secret
from platint_tui.drivers.http.client import Answer


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request without its credential: exactly what will be sent, the body as bytes."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """The complete address and headers to send."""

    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Signed(•••)"


class Authorizer(Protocol):
    """What signs the requests of one profile at one endpoint."""

    refreshable: bool = False
    """Whether a refused credential can be replaced by a new one without a person."""
    private: frozenset[str] = frozenset()
    """Names (lower case) of the query parameters that it adds: they are never stored or shown."""

    async def sign(self, request: Unsigned) -> Signed:
        """The request with its credential. Raises CredentialError, or what fetching a token raises.

        What it asks for by itself (a token, a crumb, a role) is not counted in the limits of the manifest: that is
        one request in the life of what it brings, platforms count it apart from the API's, and the slot that it
        would wait for is held by the call that is signed.
        """
        ...

    async def refresh(self, used: Signed) -> None:
        """Replace a credential that was refused; does nothing when `used` is not the present one."""
        return

    def learn(self, answer: Answer) -> bool:
        """Take what a refusal tells (the platform's clock, a crumb that is out of date).

        True when the same request, signed again, may succeed.
        """
        return False

    def notes(self) -> list[str]:
        """What a person should know of the credential: scopes that were not granted, when it expires."""
        return []

    def facts(self) -> list[str]:
        """What is good to know and no problem: until when the sign-in lasts."""
        return []

    def base_url(self) -> str | None:
        """The API's address as the token answer named it, None when it does not; after `prepare`."""
        return None

    async def prepare(self) -> None:
        """Get what `base_url` needs; nothing for most schemes."""
        return


class Static(Authorizer):
    """A credential that does not change: none, bearer, basic or an API key."""

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        query_name: str = "",
        query_value: Secret | None = None,
    ) -> None:
        """`headers` have names in lower case."""
        self._headers = dict(headers or {})
        self._name = query_name
        self._value = query_value
        self.private = frozenset({query_name.lower()} if query_name else ())

    async def sign(self, request: Unsigned) -> Signed:
        """The request with the fixed headers and query parameter."""
        url = request.url
        if self._name and self._value is not None:
            url = add_query(url, [(self._name, self._value.reveal())])
        return Signed(url, {**request.headers, **self._headers})


def add_query(url: str, pairs: list[tuple[str, str]]) -> str:
    """`url` with more query parameters at its end, percent-encoded (RFC 3986 unreserved characters stay)."""
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    if not added:
        return url
    mark = "?" if "?" not in url else "" if url.endswith(("?", "&")) else "&"
    return f"{url}{mark}{added}"
