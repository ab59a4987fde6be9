"""Webhooks at platforms that we have: compared with what is there, paused, renewed and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

from platint_tui.core.errors import NotFound, PlatintError
from platint_tui.core.gaps import GapKind
from platint_tui.core.model import JsonObject, Profile
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.subscriptions import RemoteWebhook, Subscription, SubscriptionState
from platint_tui.drivers.http.webhooks.reaching import reach
from platint_tui.engine.context import Context
from platint_tui.engine.planner import find_profile
from platint_tui.engine.subscribing import settle_found, unclaimed
from platint_tui.engine.webhookaccounts import (
    Account,
    document,
    opened,
    public_url,
    saved,
    state_of,
    wanted_of,
    way_of,
)


async def _found(context: Context, args: JsonObject) -> Subscription:
    name = str(args.get("id") or "")
    row = await context.store.subscriptions.get(name)
    if row is None:
        raise NotFound(
            f"There is no subscription '{name}'.", hint="`platint-tui events subscriptions` lists them."
        )
    return row


@asynccontextmanager
async def _account_of(context: Context, row: Subscription) -> AsyncIterator[Account]:
    profile = await find_profile(context, row.profile)
    way = way_of(context.registry.get(profile.platform), row.scope)
    async with opened(context, profile, way) as account:
        yield account


async def unsubscribe(context: Context, args: JsonObject) -> dict[str, Any]:
    """`unsubscribe {id}`: remove the webhook at its platform, then here. One that is gone there is only forgotten."""
    row = await _found(context, args)
    if row.remote_id and row.state is not SubscriptionState.GONE:
        async with _account_of(context, row) as account:
            await account.registrar.remove(wanted_of(row))
    await context.store.subscriptions.remove(row.id)
    await context.store.gaps.end(row.profile, GapKind.WEBHOOK_PAUSED, context.clock.now_ms())
    return {"subscription": document(row)}


async def pause(context: Context, args: JsonObject) -> dict[str, Any]:
    """`pause_subscription {id}`: the platform sends nothing until it is resumed, which is noted as a gap."""
    row = await _found(context, args)
    async with _account_of(context, row) as account:
        await account.registrar.pause(wanted_of(row))
    now = context.clock.now_ms()
    reason = "The webhook is paused at the platform, which sends nothing meanwhile."
    await context.store.gaps.begin(row.profile, GapKind.WEBHOOK_PAUSED, reason, now)
    row = replace(row, state=SubscriptionState.PAUSED, checked_ms=now)
    await context.store.subscriptions.put(row)
    return {"subscription": document(row)}


async def resume(context: Context, args: JsonObject) -> dict[str, Any]:
    """`resume_subscription {id}`: the platform sends again what happens from now on."""
    row = await _found(context, args)
    async with _account_of(context, row) as account:
        await account.registrar.resume(wanted_of(row))
    now = context.clock.now_ms()
    row = replace(row, state=SubscriptionState.ACTIVE, checked_ms=now, error="")
    await context.store.subscriptions.put(row)
    rows = await context.store.subscriptions.list(row.profile)
    if not any(item.state is SubscriptionState.PAUSED for item in rows):
        await context.store.gaps.end(row.profile, GapKind.WEBHOOK_PAUSED, now)
    return {"subscription": document(row)}


async def renew(context: Context, args: JsonObject) -> dict[str, Any]:
    """`renew {id}`: have a webhook that expires live longer. Without an id, all that expire."""
    if args.get("id"):
        rows = [await _found(context, args)]
    else:
        rows = [item for item in await context.store.subscriptions.list() if item.expires_ms is not None]
    done, errors = [], dict[str, str]()
    for row in rows:
        try:
            done.append(document(await renewed(context, row)))
        except PlatintError as error:
            if args.get("id"):
                raise
            errors[row.id] = REDACTOR.redact(error.sentence())
    return {"subscriptions": done, "errors": errors}


async def renewed(context: Context, row: Subscription) -> Subscription:
    """A subscription that lives longer; its failure is kept with it. Raises PlatintError."""
    try:
        async with _account_of(context, row) as account:
            until = await account.registrar.renew(wanted_of(row))
    except PlatintError as error:
        await context.store.subscriptions.put(replace(row, error=REDACTOR.redact(error.sentence())))
        raise
    now = context.clock.now_ms()
    row = replace(row, expires_ms=until or row.expires_ms, checked_ms=now, error="")
    await context.store.subscriptions.put(row)
    return row


async def check(context: Context, args: JsonObject) -> dict[str, Any]:
    """`check_subscriptions {profile}`: compare what we have with what the platforms have; without a profile, all.

    `strangers` are webhooks that the platform has for our address and that are none of ours. A profile whose
    platform cannot be asked has its sentence in `errors`.
    """
    name = str(args.get("profile") or "")
    if name:
        await find_profile(context, name)
    rows = await context.store.subscriptions.list(name or None)
    strangers: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    for profile in dict.fromkeys(row.profile for row in rows):
        try:
            strangers += await compared(context, [row for row in rows if row.profile == profile])
        except PlatintError as error:
            errors[profile] = REDACTOR.redact(error.sentence())
    rows = await context.store.subscriptions.list(name or None)
    return {"subscriptions": [document(row) for row in rows], "strangers": strangers, "errors": errors}


async def check_address(context: Context, args: JsonObject) -> dict[str, Any]:
    """`check_address {profile}`: whether the public address leads to this receiver, and the whole addresses of the
    profile, or of all that have webhooks."""
    base = await public_url(context)
    found = await reach(base, context.probe_key)
    profiles = (
        [await find_profile(context, str(args["profile"]))]
        if args.get("profile")
        else [item for item in await context.store.profiles.list() if _receives(context, item)]
    )
    return {**asdict(found), "profiles": {item.name: f"{base}/webhooks/{item.name}" for item in profiles}}


def _receives(context: Context, profile: Profile) -> bool:
    try:
        return context.registry.get(profile.platform).webhooks is not None
    except PlatintError:  # a manifest that is not there any more
        return False


async def compared(context: Context, rows: Sequence[Subscription]) -> list[dict[str, Any]]:
    """Bring the rows of one profile up to what its platform has; the webhooks there that are none of ours."""
    strangers: list[dict[str, Any]] = []
    known = {row.remote_id for row in rows}
    for scope in {tuple(sorted(row.scope.items())): row.scope for row in rows}.values():
        ours = [row for row in rows if row.scope == scope]
        async with _account_of(context, ours[0]) as account:
            # A platform that tells of one webhook at a time is asked for each.
            apart = account.way.list is not None and account.way.list.items is None
            there = [] if apart else list(await account.registrar.list(wanted_of(ours[0])))
            for row in ours:
                if row.state is SubscriptionState.CREATING:
                    await _find_lost(account, row)
                    continue
                found = list(await account.registrar.list(wanted_of(row))) if apart else there
                await _update(account, row, found)
                if apart:
                    there += [item for item in found if item not in there]
        strangers += [
            {"profile": ours[0].profile, "id": item.id, "types": list(item.types), "active": item.active}
            for item in there
            if item.url == ours[0].url and item.confirmed and item.id not in known
        ]
    return strangers


async def _find_lost(account: Account, row: Subscription) -> None:
    """A webhook of which it is not known whether it was made: found by its address, or not made. One that is being
    made is left alone."""
    command = await account.context.store.commands.get(row.command)
    if command is not None and command.state == "pending":
        return
    there = await unclaimed(account, row)
    if there is not None and await settle_found(account, row, there) is not None:
        return
    await account.context.store.subscriptions.remove(row.id)


async def _update(account: Account, row: Subscription, there: Sequence[RemoteWebhook]) -> None:
    found = next((item for item in there if item.id == row.remote_id), None)
    if found is None:
        # Before it is confirmed a platform may list it under another name.
        found = next((item for item in there if item.url == row.url and not item.confirmed), None)
    name = account.connector.name
    if found is None:
        error = f"{name} has this webhook no more."
        state, expires = SubscriptionState.GONE, row.expires_ms
    else:
        state, expires = state_of(found), found.expires_ms or row.expires_ms
        error = (
            f"{name} sends it to another address: {found.url}" if found.url and found.url != row.url else ""
        )
        if state is SubscriptionState.DISABLED and row.state is SubscriptionState.PAUSED:
            state = SubscriptionState.PAUSED
        elif state is SubscriptionState.DISABLED:
            error = error or f"{name} has stopped sending: it was switched off there, or failed too often."
    context = account.context
    if (error and error != row.error) or (state is SubscriptionState.GONE and row.state is not state):
        await context.store.alerts.raise_alert(
            "error", f"webhook {row.profile}/{row.id}", REDACTOR.redact(error)
        )
    if (
        state in (SubscriptionState.GONE, SubscriptionState.DISABLED)
        and row.state is SubscriptionState.ACTIVE
    ):
        since = row.checked_ms or row.created_ms
        await context.store.gaps.begin(row.profile, GapKind.WEBHOOK_PAUSED, REDACTOR.redact(error), since)
    elif state is SubscriptionState.ACTIVE and row.state is not state:
        await context.store.gaps.end(row.profile, GapKind.WEBHOOK_PAUSED, context.clock.now_ms())
    await saved(account, row, state, row.remote_id, expires, REDACTOR.redact(error))
