"""Manifests and contexts for tests of credentials, on top of the hostile server's."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Environment, Profile
from platint_tui.core.ports import TokenStore
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.schema import Connector
from tests.http.hostile import MANIFEST, Hurried, Limits, Notes, Whole, merged

PLAIN: list[dict[str, Any]] = [
    {"id": "base_url", "type": "url", "required": True},
    {"id": "client", "default": "client-1"},
    {"id": "account"},
    {"id": "role"},
    {"id": "external"},
    {"id": "redirect_port", "type": "integer"},
]


def connector(auth: Mapping[str, Any], secrets: tuple[str, ...] = (), **changes: Any) -> Connector:
    """The hostile server's manifest with this auth, which uses these secret fields."""
    fields = [*PLAIN, *({"id": name, "secret": True} for name in secrets)]
    document = merged(MANIFEST, {"auth": Whole(auth), "profile": {"fields": fields}, **changes})
    return load_text(json.dumps(document), "hostile.yaml")


class Peers:
    """What a context is made of, for reading what was done with it."""

    def __init__(self) -> None:
        self.limits, self.notes, self.clock = Limits(), Notes(), Hurried()


def context_of(
    found: Connector,
    fields: Mapping[str, str],
    secrets: Mapping[str, str] | None = None,
    *,
    tokens: TokenStore | None = None,
    peers: Peers | None = None,
) -> DriverContext:
    """A context for one profile `p`, with a clock that does not wait."""
    peers = peers or Peers()
    profile = Profile("p", found.platform, Environment.DEVELOPMENT, dict(fields), {})
    values = {name: Secret(text) for name, text in (secrets or {}).items()}
    return DriverContext(
        found, profile, values, peers.limits, peers.notes, peers.clock, random.Random(7), tokens
    )


async def read(driver: HttpDriver, stream: str = "items") -> list[Any]:
    """Every record of a scan."""
    return [record.value async for page in driver.read(stream, None) for record in page.records]


Open = Callable[..., HttpDriver]
"""`open_(auth, {secrets}, {fields}, peers)`: a driver at the hostile server."""


async def refused(driver: HttpDriver) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await read(driver)
    assert "canary" not in caught.value.sentence() + repr(caught.value)
    return caught.value
