"""A real OAuth server, and profiles that sign in to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.oidc import OidcProvider

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
