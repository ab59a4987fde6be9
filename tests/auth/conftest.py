"""A real OAuth server, and profiles that sign in to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from peers.oidc import OidcProvider

from platint_tui.drivers.http.driver import HttpDriver
from tests.auth.support import Open, Peers, connector, context_of
from tests.http.hostile import Hostile


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    """A server that does exactly what a test tells it."""
    server = Hostile()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def client_key() -> tuple[str, dict[str, Any]]:
    """The private key (PEM) of a client, and its public part as the server knows it (JWK)."""
    from joserfc.jwk import RSAKey

    vectors = json.loads(Path(__file__).with_name("vectors").joinpath("sdk.json").read_text())
    pem = str(vectors["jwt"]["key"])
    return pem, {**RSAKey.import_key(pem).as_dict(private=False), "use": "sig", "kid": "k1"}


@pytest.fixture(scope="module")
def oidc(
    tmp_path_factory: pytest.TempPathFactory, client_key: tuple[str, dict[str, Any]]
) -> Iterator[OidcProvider]:
    """A strict OAuth 2 server of another maker."""
    server = OidcProvider(tmp_path_factory.mktemp("oidc"), client_key[1])
    yield server
    server.stop()


@pytest.fixture
async def open_(hostile: Hostile) -> AsyncIterator[Open]:
    """`open_(auth, {secrets})`: a driver at the hostile server."""
    made: list[HttpDriver] = []

    def make(
        auth: Mapping[str, Any],
        secrets: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        peers: Peers | None = None,
        **changes: Any,
    ) -> HttpDriver:
        secrets = secrets or {}
        found = connector(auth, tuple(secrets), **changes)
        values = {"base_url": hostile.url, **(fields or {})}
        made.append(HttpDriver(context_of(found, values, secrets, peers=peers)))
        return made[-1]

    yield make
    for item in made:
        await item.close()
