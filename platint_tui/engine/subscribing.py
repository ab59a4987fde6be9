"""Registering webhooks at platforms.

A webhook that is to be made is a row before the platform is asked, so that one that was made and never answered is
found by its address. Its signing secret goes from the answer, or from where it is made, to the vault and nowhere
else; the one before it stays active.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    UnknownOutcome,
    UsageError,
)
from platint_tui.core.ids import new_id
from platint_tui.core.model import JsonObject
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.subscriptions import (
    MadeWebhook,
    RemoteWebhook,
    Subscription,
    SubscriptionState,
)
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.planner import find_profile
from platint_tui.engine.webhookaccounts import (
    LIVING,
    Account,
    document,
    opened,
    public_url,
    saved,
    state_of,
    unverified,
    wanted_of,
    way_of,
)
from platint_tui.manifest.hosts import origin
from platint_tui.manifest.subscribing import Subscribe

KEPT_SECRETS = 2
"""Signing secrets that a profile holds: the present one and the one before."""
_MADE_UNSEEN = ("no_id", "no_secret")


@dataclass(frozen=True, slots=True)
class _Options:
    """What somebody said may be done with what is there: take it over, replace it."""

    adopt: bool
    replace: bool


async def subscribe(context: Context, args: JsonObject, command: str) -> dict[str, Any]:
    """`subscribe {profile, types, scope, url, adopt, replace}`: register webhooks of a profile at its platform.

    The result has the subscriptions, or the sentences for doing it by hand. With `adopt` a webhook that is there
    already with this address becomes ours, if the profile has its secret. A command that a crash repeats goes on
    where it was.
    """
    profile = await find_profile(context, str(args.get("profile") or ""))
    scope = {str(name): str(value) for name, value in dict(args.get("scope") or {}).items()}
    connector = context.registry.get(profile.platform)
    way = way_of(connector, scope)
    url = str(args.get("url") or "") or f"{await public_url(context)}/webhooks/{profile.name}"
    origin(url)  # https, or http on this machine
    if way.by_hand:
        return {"profile": profile.name, "url": url, "by_hand": list(way.by_hand), "subscriptions": []}
    scope = {**way.options, **scope}
    types = tuple(str(item) for item in args.get("types") or ()) or way.types
    if not types and way.typed:
        raise UsageError(f"Name the events of {connector.name} that are wanted, each with --type.")
    options = _Options(adopt=bool(args.get("adopt")), replace=bool(args.get("replace")))
    made: list[Subscription] = []
    async with opened(context, profile, way) as account:
        secret = await _our_secret(account)
        for group in [(item,) for item in types] if way.each else [types]:
            wanted = (url, group, scope)
            made.append(await _one(account, wanted, command, secret, options))
    profile = await find_profile(context, profile.name)
    return {
        "profile": profile.name,
        "url": url,
        "subscriptions": [document(item) for item in made],
        "notes": [*([way.note] if way.note else []), *unverified(connector, profile)],
    }


async def _our_secret(account: Account) -> Secret | None:
    """The signing secret that is sent: the profile's own, or a new one that is in the vault when this returns."""
    way, context, profile = account.way, account.context, account.profile
    field = way.secret_field
    if field is None or way.secret_from is not None:
        return None  # the platform makes it
    held = (await context.present_secrets(profile, (field,))).get(field)
    if held is not None:
        return held
    made = secrets.token_bytes(32)
    text = made.hex() if way.made_as == "hex" else f"whsec_{base64.b64encode(made).decode()}"
    secret = Secret(text)
    await _keep(account, {field: secret})
    return secret


async def _keep(account: Account, values: Mapping[str, Secret | str]) -> None:
    """Put secrets into the vault and what is no secret into the profile; values before them stay as earlier ones."""
    context, profile = account.context, account.profile
    known = {item.id: item for item in account.connector.profile.fields}
    earlier = {name: f"{name}_previous" for name in values if f"{name}_previous" in known}
    fields: dict[str, str] = {}
    references: dict[str, str] = {}
    for name, value in values.items():
        spec = known.get(name)
        if spec is not None and spec.secret:
            secret = value if isinstance(value, Secret) else Secret(value)
            references[name] = await context.keeper.store(profile.name, name, secret)
        else:
            fields[name] = value.reveal() if isinstance(value, Secret) else value
    failpoint("subscribe.after_secret")
    for gone in await context.store.profiles.fill(profile.name, fields, references, earlier):
        try:
            await context.keeper.delete(gone)
        except CredentialError:
            pass  # nothing names it any more; a keyring that is locked keeps it
    for follow in context.followers:
        await follow()


async def _one(
    account: Account,
    wanted: tuple[str, tuple[str, ...], Mapping[str, str]],
    command: str,
    secret: Secret | None,
    options: _Options,
) -> Subscription:
    """One webhook: the row that is there already, or a new one."""
    url, types, scope = wanted
    store, way = account.context.store.subscriptions, account.way
    same = [item for item in await account.rows() if item.url == url and dict(item.scope) == dict(scope)]
    begun = next((item for item in same if item.command == command and item.types == types), None)
    if begun is not None and begun.state is not SubscriptionState.CREATING:
        return begun
    other = next((item for item in same if item.state in LIVING and _alike(item.types, types)), None)
    if other is not None and begun is None:
        raise ConfigError(
            f"{account.connector.name} sends {', '.join(sorted(set(other.types) & set(types))) or 'events'} to this "
            f"address already: {other.id}.",
            hint="Remove that subscription first, or name other events.",
            code="subscribed",
        )
    await _refuse_third(account)
    row = begun or Subscription(
        id=new_id("sub"),
        profile=account.profile.name,
        remote_id="",
        url=url,
        types=types,
        scope=scope,
        state=SubscriptionState.CREATING,
        created_ms=account.context.clock.now_ms(),
        command=command,
    )
    if account.way.replaces and begun is None and not options.replace:
        await _refuse_replacing(account, row)
    there = await unclaimed(account, row)
    if there is not None and begun is None and not _tells_no_address(account):
        return await _adopt(account, row, there, adopt=options.adopt)
    if begun is None:
        await store.put(row)
        failpoint("subscribe.after_intent")
    elif there is not None:
        settled = await settle_found(account, row, there)
        if settled is not None:
            return settled
    await _admit(account, row)
    return await _create(account, row, secret, way)


def _alike(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether both send some event: without types, everything is sent."""
    return not some or not others or bool(set(some) & set(others))


async def _create(account: Account, row: Subscription, secret: Secret | None, way: Subscribe) -> Subscription:
    store = account.context.store.subscriptions
    try:
        made = await account.registrar.create(wanted_of(row, secret))
    except PlatintError as error:
        if not isinstance(error, UnknownOutcome) and error.code not in _MADE_UNSEEN:
            await store.remove(row.id)  # it was refused: there is nothing to look for
            raise
        await store.put(replace(row, error=REDACTOR.redact(error.sentence())))
        there = await unclaimed(account, row)
        settled = await settle_found(account, row, there) if there is not None else None
        if settled is not None:
            return settled
        await store.remove(row.id)
        raise
    failpoint("subscribe.after_create")
    return await _settle_made(account, row, made, way)


async def _settle_made(
    account: Account, row: Subscription, made: MadeWebhook, way: Subscribe
) -> Subscription:
    """Keep the secret, then the row: a webhook whose secret is not kept is never taken for a good one."""
    values: dict[str, Secret | str] = {
        name: text for name, text in made.fields.items() if account.profile.fields.get(name) != text
    }
    if made.secret is not None and way.secret_field is not None:
        values[way.secret_field] = made.secret
    if values:
        await _keep(account, values)
    state = SubscriptionState.ACTIVE
    if way.list is not None and way.list.confirmed is not None:
        state = SubscriptionState.PENDING
    found = made.webhook
    return await saved(account, row, state, found.id, found.expires_ms)


async def unclaimed(account: Account, row: Subscription) -> RemoteWebhook | None:
    """A webhook at the platform with this row's address and events that no row knows. Where the platform does not
    tell addresses, one with exactly these events."""
    known = {item.remote_id for item in await account.rows() if item.id != row.id}
    for item in await account.registrar.list(wanted_of(row)):
        if item.id in known:
            continue
        if item.url == row.url and (
            not item.types or set(item.types) & set(row.types) or not account.way.each
        ):
            return item
        if _tells_no_address(account) and set(item.types) == set(row.types):
            return item
    return None


def _tells_no_address(account: Account) -> bool:
    return account.way.list is not None and account.way.list.url is None


async def _refuse_replacing(account: Account, row: Subscription) -> None:
    """Where there is one address only, another one that is there is not silently replaced."""
    there = await account.registrar.address(wanted_of(row))
    if there and there != row.url:
        raise ConfigError(
            f"{account.connector.name} calls another address now, which this would replace: {there}.",
            hint="Say --replace if that is meant.",
            code="replaces",
        )


async def _admit(account: Account, row: Subscription) -> None:
    """Fill in what the profile must know to accept what comes, before the platform is asked: it may call at once."""
    profile = await find_profile(account.context, account.profile.name)
    values: dict[str, Secret | str] = {}
    for field, name in account.way.fills.items():
        held, wanted = profile.fields.get(field, ""), row.scope.get(name, "")
        if held and held != wanted:
            raise ConfigError(
                f"The profile has another '{field}': {held}.", hint="Use another profile of the same account."
            )
        if wanted and not held:
            values[field] = wanted
    for field, name in account.way.adds.items():
        listed = profile.fields.get(field, "").split()
        if row.scope.get(name) and row.scope[name] not in listed:
            values[field] = " ".join([*listed, row.scope[name]])
    if account.way.secret_first and account.way.secret_field:
        secret = await account.registrar.secret(wanted_of(row))
        if profile.fields.get(account.way.secret_field) != secret.reveal():
            values[account.way.secret_field] = secret
    if values:
        await _keep(account, values)


async def settle_found(account: Account, row: Subscription, there: RemoteWebhook) -> Subscription | None:
    """A webhook that was made and whose answer was lost: ours, where we know its secret; otherwise it is removed
    (None), because nobody can know it any more."""
    if account.way.secret_from is None or account.way.secret_first:
        return await saved(account, row, state_of(there), there.id, there.expires_ms)
    await account.registrar.remove(wanted_of(replace(row, remote_id=there.id)))
    return None


async def _adopt(account: Account, row: Subscription, there: RemoteWebhook, *, adopt: bool) -> Subscription:
    """Take over a webhook that somebody else made for this address."""
    if not adopt:
        raise ConfigError(
            f"{account.connector.name} has a webhook for this address already: {there.id}.",
            hint="Take it over with --adopt (the profile must have its secret), or remove it there.",
            code="exists",
        )
    missing = unverified(account.connector, account.profile)
    if missing:
        raise ConfigError("Its signing secret is not known here.", hint=missing[0], code="no_secret")
    row = replace(row, types=there.types or row.types)
    return await saved(account, row, state_of(there), there.id, there.expires_ms)


async def _refuse_third(account: Account) -> None:
    """Each webhook has a secret of its own, and a profile holds two: a third would make the first one's unknown."""
    own_secret = account.way.secret_from is not None and not account.way.secret_first
    if not own_secret and not account.way.keep:
        return
    living = [item for item in await account.rows() if item.state in LIVING]
    if len(living) >= KEPT_SECRETS:
        raise ConfigError(
            f"The profile has {len(living)} webhooks already, each with a secret of its own, and holds no more.",
            hint="Remove one, or use another profile of the same account.",
            code="too_many",
        )
