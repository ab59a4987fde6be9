"""Drivers: the code that speaks a protocol, made from a connector, a profile and its secrets."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from platint_tui.core.clock import Clock, SystemClock
from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Profile
from platint_tui.core.ports import Driver, Limiter, Telemetry, TokenStore
from platint_tui.core.secret import Secret
from platint_tui.drivers.budgets import Budgets
from platint_tui.manifest.kinds import DRIVER_KINDS, OUTSIDE
from platint_tui.manifest.schema import Connector

_GROUP = "platint_tui.drivers"


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
    if name.startswith(OUTSIDE):
        return _from_outside(name.removeprefix(OUTSIDE))
    if name not in DRIVER_KINDS:
        raise ConfigError(f"There is no driver '{name}'.", hint=f"Known drivers: {', '.join(DRIVER_KINDS)}.")
    try:
        module = importlib.import_module(f"platint_tui.drivers.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("platint_tui"):
            raise
        raise ConfigError(
            f"The driver '{name}' needs the Python package '{error.name}', which is not installed.",
            hint=f"Install it with: pip install 'platint-tui[{DRIVER_KINDS[name].extra or name}]'",
            code="missing_extra",
        ) from None
    opener: Callable[[DriverContext], Driver] = getattr(module, f"open_{name}")
    return opener


def _from_outside(name: str) -> Callable[[DriverContext], Driver]:
    """The driver that an installed package offers as an entry point of the group `platint_tui.drivers`."""
    found = {item.name: item for item in entry_points(group=_GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigError(
            f"No installed package brings a driver '{name}'.",
            hint=f"Install the package that has the entry point; there is {known} now.",
            code="missing_extra",
        )
    opener: Callable[[DriverContext], Driver] = found[name].load()
    return opener
