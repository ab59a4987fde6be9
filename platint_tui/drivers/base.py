"""Drivers: the code that speaks a protocol, made from a connector, a profile and its secrets."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from platint_tui.core.clock import Clock, SystemClock
from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Profile
from platint_tui.core.ports import Driver, Limiter, Telemetry, TokenStore
from platint_tui.core.secret import Secret
from platint_tui.drivers.budgets import Budgets
from platint_tui.manifest.schema import Connector

_FACTORIES = {
    "http": ("platint_tui.drivers.http", "open_http"),
    "sqlite": ("platint_tui.drivers.sqlite", "open_sqlite"),
    "postgresql": ("platint_tui.drivers.postgresql", "open_postgresql"),
}


@dataclass(frozen=True)
class DriverContext:
    """Everything a driver is given; it looks for nothing elsewhere (no environment, no files of its own)."""

    connector: Connector
    profile: Profile
    secrets: Mapping[str, Secret]
    limiter: Limiter
    telemetry: Telemetry
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    tokens: TokenStore | None = None
    """Where the tokens of a person's sign-in are kept; None keeps them in memory."""
    budgets: Budgets = field(default_factory=Budgets)
    """What the platform announced of its limits, shared by every driver of the same credential."""


def open_driver(context: DriverContext) -> Driver:
    """The driver that the connector names; nothing is connected yet.

    Raises ConfigError like `load_driver`, CredentialError when the profile lacks a secret that it needs.
    """
    return load_driver(context.connector.driver)(context)


def load_driver(name: str) -> Callable[[DriverContext], Driver]:
    """Import a driver, with the client library behind it, and return what opens it.

    Raises ConfigError when the driver is unknown or its client library is not installed.
    """
    if name not in _FACTORIES:
        raise ConfigError(f"There is no driver '{name}'.", hint=f"Known drivers: {', '.join(_FACTORIES)}.")
    module_name, factory = _FACTORIES[name]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("platint_tui"):
            raise
        raise ConfigError(
            f"The driver '{name}' needs the Python package '{error.name}', which is not installed.",
            hint=f"Install it with: pip install 'platint-tui[{name}]'",
            code="missing_extra",
        ) from None
    opener: Callable[[DriverContext], Driver] = getattr(module, factory)
    return opener
