"""The signers of one profile: one for the platform, and one for each endpoint with an auth of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from platint_tui.drivers.http.auth import Authorizer
from platint_tui.manifest import schema


class Signers:
    """Finds the signer of an endpoint; those of endpoints are opened when they are first needed."""

    def __init__(self, connector: schema.Connector, open_: Callable[[str | None], Authorizer]) -> None:
        """`open_` makes the signer of an endpoint, None for the platform's own.

        Raises ConfigError and CredentialError when that one cannot be made.
        """
        endpoints = connector.transport.endpoints.items()
        self._own = frozenset(name for name, item in endpoints if item.auth is not None)
        self._open = open_
        self._opened: dict[str | None, Authorizer] = {None: open_(None)}

    def at(self, endpoint: str | None) -> Authorizer:
        """The signer of requests to `endpoint`. Raises ConfigError and CredentialError."""
        key = endpoint if endpoint in self._own else None
        found = self._opened.get(key)
        if found is None:
            found = self._opened[key] = self._open(key)
        return found

    def __iter__(self) -> Iterator[Authorizer]:
        return iter(list(self._opened.values()))
