"""Webhooks registered at platforms: made, listed, compared, paused, renewed and removed; and the address they call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.manifest.subscribing import Subscribe
from platint_tui.services import profiles
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of registering: `by_hand` are the sentences where a person must do it, at `url`; `notes` what else
    is to be known."""

    url: str
    subscriptions: tuple[Subscription, ...]
    by_hand: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the platforms have: ours as they are now, webhooks for our address that are none of ours, and profiles
    whose platform could not be asked, with the sentence."""

    subscriptions: tuple[Subscription, ...]
    strangers: tuple[Mapping[str, Any], ...]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Address:
    """Whether the public address leads here; else what is wrong and what to do. `profiles` are the whole addresses
    by profile."""

    ok: bool
    address: str
    code: str
    message: str
    hint: str
    profiles: Mapping[str, str]


def ways(workspace: Workspace, platform: str) -> tuple[Subscribe, ...]:
    """The ways in which a platform registers webhooks, for a form; none where that is not known."""
    webhooks = workspace.registry.get(platform).webhooks
    return webhooks.subscribe if webhooks is not None else ()


async def subscribe(
    workspace: Workspace,
    profile: str,
    *,
    types: Sequence[str] = (),
    scope: Mapping[str, str] | None = None,
    url: str = "",
    adopt: bool = False,
    replace: bool = False,
) -> Registered:
    """Register webhooks of a profile at its platform. `adopt` takes over one that is there for this address, `replace`
    puts this address in the place of another where the platform calls only one. Raises what the platform says, and
    ConfigError when no public address is set, or when there is something to adopt or replace."""
    refuse_read_only(workspace, "register webhooks")
    await profiles.get(workspace, profile)
    args = {
        "profile": profile,
        "types": list(types),
        "scope": dict(scope or {}),
        "url": url,
        "adopt": adopt,
        "replace": replace,
    }
    result = await call(workspace, "subscribe", args)
    return Registered(
        str(result.get("url", "")),
        _rows(result),
        tuple(result.get("by_hand") or ()),
        tuple(result.get("notes") or ()),
    )


async def list_subscriptions(workspace: Workspace, profile: str = "") -> list[Subscription]:
    """What is registered, as far as it is known here."""
    return list(await workspace.store.subscriptions.list(profile or None))


async def compare(workspace: Workspace, profile: str = "") -> Comparison:
    """Ask the platforms what they have, and bring the list up to it."""
    result = await call(workspace, "check_subscriptions", {"profile": profile})
    return Comparison(_rows(result), tuple(result.get("strangers") or ()), dict(result.get("errors") or {}))


async def unsubscribe(workspace: Workspace, subscription: str) -> Subscription:
    """Remove a webhook at its platform, then here."""
    return await _change(workspace, "unsubscribe", subscription)


async def pause(workspace: Workspace, subscription: str) -> Subscription:
    """Have the platform send nothing until it is resumed; what happens meanwhile is a gap."""
    return await _change(workspace, "pause_subscription", subscription)


async def resume(workspace: Workspace, subscription: str) -> Subscription:
    """Have the platform send again."""
    return await _change(workspace, "resume_subscription", subscription)


async def renew(workspace: Workspace, subscription: str = "") -> tuple[list[Subscription], dict[str, str]]:
    """Have a webhook that expires live longer, or all of them; those that could not, with the sentence."""
    refuse_read_only(workspace, "renew webhooks")
    result = await call(workspace, "renew", {"id": subscription})
    return list(_rows(result)), dict(result.get("errors") or {})


async def check_address(workspace: Workspace, profile: str = "") -> Address:
    """Whether the public address leads to the receiver of this installation."""
    if profile:
        await profiles.get(workspace, profile)
    result = await call(workspace, "check_address", {"profile": profile})
    return Address(**{**result, "profiles": dict(result.get("profiles") or {})})


async def _change(workspace: Workspace, kind: str, subscription: str) -> Subscription:
    refuse_read_only(workspace, "change webhooks")
    result = await call(workspace, kind, {"id": subscription})
    return _row(result["subscription"])


def _rows(result: Mapping[str, Any]) -> tuple[Subscription, ...]:
    return tuple(_row(item) for item in result.get("subscriptions") or ())


def _row(document: Mapping[str, Any]) -> Subscription:
    return Subscription(
        **{**document, "types": tuple(document["types"]), "state": SubscriptionState(document["state"])}
    )
