"""What the parts of the engine share."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from platint_tui.core.clock import Clock
from platint_tui.core.model import Profile
from platint_tui.core.ports import Driver
from platint_tui.core.secret import Secret
from platint_tui.engine.limits import LimiterHub
from platint_tui.engine.pressure import Pressure
from platint_tui.engine.telemetry import TelemetryHub
from platint_tui.manifest.registry import Registry
from platint_tui.store.ports import Store

Secrets = Callable[[Profile], Awaitable[Mapping[str, Secret]]]
"""Gives the secrets of a profile by field id. Raises CredentialError when one is missing or locked away."""


class Keeper(Protocol):
    """Where new secrets are put: the vault."""

    async def store(self, profile: str, field: str, value: Secret, /) -> str:
        """Keep a secret and return the reference to it; on return it is kept. Raises CredentialError."""

    async def delete(self, ref: str, /) -> None:
        """Forget a stored secret."""


class PresentSecrets(Protocol):
    """Where the secrets are asked for that a profile may have or not."""

    def __call__(self, profile: Profile, fields: Collection[str], /) -> Awaitable[Mapping[str, Secret]]:
        """Those of `fields` that are there. Raises CredentialError when nobody can tell (a locked keyring)."""


class DriverFactory(Protocol):
    """Makes the driver of an account."""

    def __call__(self, profile: Profile, secrets: Mapping[str, Secret], /, *, retries: bool = True) -> Driver:
        """Raises ConfigError when its library is not installed. Without `retries` it tries everything once."""


@dataclass(frozen=True)
class Context:
    """One engine: its store, manifests, secrets, clock and name. `wake` makes the main loop look again."""

    store: Store
    registry: Registry
    secrets: Secrets
    make_driver: DriverFactory
    clock: Clock
    rng: random.Random
    worker: str
    limits: LimiterHub
    telemetry: TelemetryHub
    keeper: Keeper
    present_secrets: PresentSecrets
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pressure: Pressure = field(default_factory=Pressure)
    registering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while webhooks at platforms are made, changed or compared: each of it looks first and writes then."""
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a gap is filled, so that nothing is asked for twice."""
    followers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Called when a profile was changed here that somebody in this process follows: before a platform is told to send
    webhooks, the receiver must know the secret that they are signed with."""
    probe_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """What this process proves with that a request came to its own receiver."""
    cancelled: set[str] = field(default_factory=set)
    """Commands that go on for a while and that somebody wants ended."""
    held: set[str] = field(default_factory=set)
    """Replays that were paused or cancelled: what they have claimed and not sent yet is not sent."""

    async def open_driver(self, profile: Profile, *, retries: bool = True) -> Driver:
        """The driver of `profile` with its secrets. Raises CredentialError or ConfigError.

        Without `retries` it tries everything once, for a caller that keeps the tries itself.
        """
        return self.make_driver(profile, await self.secrets(profile), retries=retries)
