"""What the parts of the engine share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from platint_tui.core.clock import Clock
from platint_tui.core.model import Profile
from platint_tui.core.ports import Driver
from platint_tui.core.secret import Secret
from platint_tui.engine.limits import LimiterHub
from platint_tui.engine.telemetry import TelemetryHub
from platint_tui.manifest.registry import Registry
from platint_tui.store.ports import Store

Secrets = Callable[[Profile], Awaitable[Mapping[str, Secret]]]
"""Gives the secrets of a profile by field id. Raises CredentialError when one is missing or locked away."""


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
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def open_driver(self, profile: Profile, *, retries: bool = True) -> Driver:
        """The driver of `profile` with its secrets. Raises CredentialError or ConfigError.

        Without `retries` it tries everything once, for a caller that keeps the tries itself.
        """
        return self.make_driver(profile, await self.secrets(profile), retries=retries)
