"""An account at a platform while its webhooks are looked at, and what a subscription is to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Profile
from platint_tui.core.ports import HasWebhooks, Registers
from platint_tui.core.secret import Secret
from platint_tui.core.subscriptions import RemoteWebhook, Subscription, SubscriptionState, WantedWebhook
from platint_tui.drivers.http.webhooks.reaching import TUNNELS
from platint_tui.engine.context import Context
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.subscribing import Subscribe, subscribe_way

SETTING, STATUS = "webhooks", "receiver.status"
PUBLIC_URL = "PLATINT_PUBLIC_URL"
LIVING = frozenset({SubscriptionState.ACTIVE, SubscriptionState.PENDING, SubscriptionState.PAUSED})


@dataclass(frozen=True, slots=True)
class Account:
    """One profile while its platform is asked."""

    context: Context
    profile: Profile
    connector: Connector
    way: Subscribe
    registrar: Registers

    async def rows(self) -> Sequence[Subscription]:
        return await self.context.store.subscriptions.list(self.profile.name)


async def public_url(context: Context) -> str:
    """The address at which platforms reach this receiver, as the operator set it. Raises ConfigError without one."""
    setting = await context.store.settings.get(SETTING)
    status = await context.store.settings.get(STATUS)
    told = (
        (status.get("public_url") if isinstance(status, Mapping) else None)
        or os.environ.get(PUBLIC_URL)
        or (setting.get("public_url") if isinstance(setting, Mapping) else None)
    )
    if not isinstance(told, str) or not told:
        raise ConfigError(
            "No public address is set at which platforms reach this machine.",
            hint="Start a tunnel or a reverse proxy to the listener, and give its address: serve --public-url "
            f"https://…, or {PUBLIC_URL}. {TUNNELS}",
            code="no_public_url",
        )
    return told.rstrip("/")


def document(subscription: Subscription) -> dict[str, Any]:
    """A subscription as a result holds it."""
    return {**asdict(subscription), "types": list(subscription.types), "scope": dict(subscription.scope)}


def unverified(connector: Connector, profile: Profile) -> list[str]:
    """What the profile lacks to check signatures, as sentences."""
    schemes = connector.webhooks.verify if connector.webhooks is not None else ()
    needed = [tuple(getattr(item, "secret", ())) for item in schemes]
    held = {*profile.secrets, *(name for name, value in profile.fields.items() if value)}
    if not needed or any(not names or held.intersection(names) for names in needed):
        return []
    return [
        f"The profile has no '{needed[0][0]}' yet: every webhook is refused until it is entered with "
        f"`platint-tui profiles edit {profile.name}`."
    ]


def way_of(connector: Connector, scope: Mapping[str, str]) -> Subscribe:
    """How this platform registers webhooks of this scope. Raises ConfigError, UsageError."""
    if connector.webhooks is None:
        raise ConfigError(
            f"{connector.name} has no webhooks, as far as its connector knows.", code="no_webhooks"
        )
    return subscribe_way(connector.webhooks.subscribe, scope, connector.name)


@asynccontextmanager
async def opened(context: Context, profile: Profile, way: Subscribe) -> AsyncIterator[Account]:
    """The account of a profile, for as long as its platform is asked. Raises CredentialError, ConfigError."""
    driver = await context.open_driver(profile)
    try:
        if not isinstance(driver, HasWebhooks):
            raise ConfigError(
                f"The driver of '{profile.platform}' registers no webhooks.", code="no_subscribe"
            )
        connector = context.registry.get(profile.platform)
        yield Account(context, profile, connector, way, driver.registrar())
    finally:
        await driver.close()


async def saved(
    account: Account,
    row: Subscription,
    state: SubscriptionState,
    remote: str,
    expires_ms: int | None,
    error: str = "",
) -> Subscription:
    """Store what a subscription is now."""
    now = account.context.clock.now_ms()
    done = replace(row, state=state, remote_id=remote, expires_ms=expires_ms, checked_ms=now, error=error)
    await account.context.store.subscriptions.put(done)
    return done


def wanted_of(row: Subscription, secret: Secret | None = None) -> WantedWebhook:
    """A subscription as the requests of its manifest look it up."""
    name = f"platint-{row.id.replace('_', '-')}"
    return WantedWebhook(name, row.url, row.types, row.scope, row.remote_id, secret)


def state_of(there: RemoteWebhook) -> SubscriptionState:
    """The state of a webhook that the platform has."""
    if not there.confirmed:
        return SubscriptionState.PENDING
    return SubscriptionState.DISABLED if there.active is False else SubscriptionState.ACTIVE
