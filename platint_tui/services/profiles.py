"""Profiles: list, add, test, remove; secrets go straight to the vault."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as made
from pathlib import Path
from typing import Literal

from platint_tui.core.errors import ConfigError, CredentialError, NotFound
from platint_tui.core.model import Capability, Environment, Profile, ProfileCheck
from platint_tui.core.secret import Secret
from platint_tui.manifest.addresses import auth_addresses, origins_of, profile_fields
from platint_tui.manifest.documents import document_fields, normal_document
from platint_tui.manifest.form import FormView, environment_of, form_view, plain_fields, validate_fields
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.signin import asks_person, chosen_auth, needed_fields
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.syncs import restart_users
from platint_tui.services.workspace import Workspace
from platint_tui.vault.references import parse
from platint_tui.vault.tokens import FIELD as TOKENS

BEFORE = "profile"
"""The capability that stands for all of them when a test failed before its first request."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile as it is shown. `secret_places` tells per secret field where it lives, never what it is.

    `asks` when a person signs in to it (browser or code); `signed_in` when somebody has.
    `labels` are what the manifest calls its probes, by id.
    """

    profile: Profile
    platform_name: str
    secret_places: Mapping[str, str]
    check: ProfileCheck | None
    asks: bool = False
    signed_in: bool = False
    labels: Mapping[str, str] = made(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlatformView:
    """A platform that a profile can be made for."""

    platform: str
    name: str
    category: str
    docs: str
    error: str = ""


def platforms(workspace: Workspace) -> list[PlatformView]:
    """Every platform that has a manifest; a broken manifest is listed with its error."""
    views = []
    for platform in workspace.registry.list():
        try:
            connector = workspace.registry.get(platform)
        except ConfigError as error:
            views.append(PlatformView(platform, platform, "", "", error.sentence()))
        else:
            views.append(PlatformView(platform, connector.name, connector.category, connector.docs))
    return views


def form(workspace: Workspace, platform: str) -> FormView:
    """The form for a profile of `platform`: fields with label, help, secret, required, default. Raises NotFound."""
    return form_view(workspace.registry.get(platform))


async def list_profiles(workspace: Workspace) -> list[ProfileView]:
    """All profiles with their last check."""
    checks = await workspace.store.profiles.checks()
    views = []
    for profile in await workspace.store.profiles.list():
        try:
            name = workspace.registry.get(profile.platform).name
            asks = asks_person_of(workspace, profile)
            labels = probe_labels(workspace, profile.platform)
        except ConfigError:
            name, asks, labels = profile.platform, False, {}
        places = {item: reference.partition(":")[0] for item, reference in profile.secrets.items()}
        signed = TOKENS in profile.secrets
        views.append(ProfileView(profile, name, places, checks.get(profile.name), asks, signed, labels))
    return views


def probe_labels(workspace: Workspace, platform: str) -> Mapping[str, str]:
    """What the manifest of a platform calls its probes, by id; those without a label are left out."""
    connector = workspace.registry.get(platform)
    return {BEFORE: "The profile", **{item.id: item.label for item in connector.check if item.label}}


async def get(workspace: Workspace, name: str) -> Profile:
    """The profile called `name`. Raises NotFound."""
    profile = await workspace.store.profiles.get(name)
    if profile is None:
        known = ", ".join(item.name for item in await workspace.store.profiles.list()) or "none yet"
        raise NotFound(f"There is no profile '{name}'.", hint=f"Profiles here: {known}.")
    return profile


async def add(
    workspace: Workspace,
    *,
    name: str,
    platform: str,
    environment: str,
    values: Mapping[str, str],
    secrets: Mapping[str, Secret | str],
    place: Literal["keyring", "vault"] | None = None,
    replace_existing: bool = False,
    same_account: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Profile:
    """Check the form, put the secrets into the vault, then store the profile with references to them.

    A profile that is replaced by one with other fields is another account: what reads from it starts from the
    beginning, which `tell` is told. `same_account` says that only its address has changed.

    `secrets` maps a field to a Secret (stored in `place`: keyring or vault, None chooses) or to a reference
    such as `env:NAME` or `file:/path`. Raises ConfigError naming the field, CredentialError when a secret cannot
    be stored; then no profile is written.
    """
    existing = await check_plain(
        workspace,
        name=name,
        platform=platform,
        environment=environment,
        values=values,
        replace_existing=replace_existing,
    )
    connector = workspace.registry.get(platform)
    _check_references(secrets)
    secrets = {field: _normal(connector, field, value) for field, value in secrets.items()}
    texts = {field: value.reveal() if isinstance(value, Secret) else None for field, value in secrets.items()}
    checked = _absolute_paths(connector, validate_fields(connector, values, secrets=texts))
    # A live key makes it a production profile whatever was said.
    effective = environment_of(connector, {**checked, **texts}) or Environment(environment)
    origins = origins_of(connector, checked, secrets, effective.value)
    references: dict[str, str] = {}
    try:
        for field, value in secrets.items():
            references[field] = (
                await workspace.vault.store(name, field, value, place) if isinstance(value, Secret) else value
            )
    except BaseException:
        for field, reference in references.items():
            if isinstance(secrets[field], Secret):
                await workspace.vault.delete(reference)
        raise
    now = workspace.clock.now_ms()
    other = existing is not None and (existing.platform, dict(existing.fields)) != (platform, checked)
    profile = Profile(
        name=name,
        platform=platform,
        environment=effective,
        fields=checked,
        secrets=references,
        origins=origins,
        created_ms=existing.created_ms if existing else now,
        updated_ms=now,
    )
    await _put(workspace, profile, other and not same_account, tell)
    if existing is not None:
        await _forget(workspace, set(existing.secrets.values()) - set(references.values()))
    return profile


async def check_plain(
    workspace: Workspace,
    *,
    name: str,
    platform: str,
    environment: str,
    values: Mapping[str, str],
    replace_existing: bool = False,
) -> Profile | None:
    """Check what is known of a new profile before its secrets are there; returns the profile that it replaces.
    Raises ConfigError naming the field.
    """
    refuse_read_only(workspace, "add a profile")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name[:80]}' is not a profile name.",
            hint="Use 1 to 64 of a-z, 0-9, '-' and '_', starting with a letter or digit.",
        )
    existing = await workspace.store.profiles.get(name)
    if existing is not None and not replace_existing:
        raise ConfigError(
            f"There is already a profile '{name}'.", hint="Choose another name, or edit that one."
        )
    connector = workspace.registry.get(platform)
    if environment not in connector.profile.environments:
        raise ConfigError(
            f"'{environment[:80]}' is no environment of {connector.name}.",
            where="environment",
            hint=f"One of {', '.join(connector.profile.environments)}.",
        )
    plain_fields(connector, values)
    return existing


def _normal(connector: Connector, field: str, value: Secret | str) -> Secret | str:
    """A document that is stored has its line ends."""
    kind = document_fields(connector).get(field)
    return Secret(normal_document(kind, value.reveal())) if kind and isinstance(value, Secret) else value


def asks_person_of(workspace: Workspace, profile: Profile) -> bool:
    """Whether somebody signs in to this profile once, in the browser or by a code."""
    filled = frozenset(profile.secrets) | {name for name, text in profile.fields.items() if text}
    return asks_person(workspace.registry.get(profile.platform), filled, profile.fields)


async def _put(workspace: Workspace, profile: Profile, other: bool, tell: Callable[[str], None]) -> None:
    """Store a profile; `other`: it is another account than before, so positions say nothing about it."""
    if other:
        restarted = await restart_users(workspace, profile.name, profile.platform)
        await workspace.store.profiles.put(profile)
        # Once more: a run may have come in between, and read the account of before.
        await restart_users(workspace, profile.name, profile.platform)
        for sync in restarted:
            tell(f"'{sync}' is read from the beginning: '{profile.name}' is another account now.")
    else:
        await workspace.store.profiles.put(profile)


def _check_references(secrets: Mapping[str, Secret | str]) -> None:
    """Raise ConfigError for a reference that is none; it is not repeated, it may be the secret itself."""
    for field, value in secrets.items():
        if isinstance(value, Secret):
            continue
        try:
            reference = parse(value)
        except CredentialError:
            reference = None
        if reference is None or (reference.kind == "file" and not Path(reference.name).is_absolute()):
            raise ConfigError(
                "This is no reference to a secret.",
                where=field,
                hint="Write env:NAME or file:/path; the secret itself is never an argument.",
            )


def _absolute_paths(connector: Connector, fields: Mapping[str, str]) -> dict[str, str]:
    """Paths as seen from anywhere: an engine of its own has another working folder."""
    kinds = {field.id: field.type for field in connector.profile.fields}
    return {
        name: text if kinds[name] != "path" or text.startswith("~") else str(Path(text).absolute())
        for name, text in fields.items()
    }


async def _forget(workspace: Workspace, references: set[str]) -> list[str]:
    """Delete secrets that no profile refers to any more; returns a sentence for each that could not be deleted."""
    used = {
        reference for other in await workspace.store.profiles.list() for reference in other.secrets.values()
    }
    left = []
    for reference in sorted(references - used):
        try:
            await workspace.vault.delete(reference)
        except CredentialError as error:
            left.append(f"The secret {reference} stays where it is: {error.message}")
    return left


async def edit_fields(
    workspace: Workspace, name: str, values: Mapping[str, str], tell: Callable[[str], None] = lambda _: None
) -> Profile:
    """Change plain fields of a profile; what reads from it starts from the beginning, which `tell` is told.

    Raises ConfigError when the change would send credentials to another origin.
    """
    refuse_read_only(workspace, "edit a profile")
    profile = await get(workspace, name)
    connector = workspace.registry.get(profile.platform)
    merged = {**profile.fields, **values}
    checked = validate_fields(connector, merged, secrets=dict.fromkeys(_entered(profile)))
    checked = _absolute_paths(connector, checked)
    origins = origins_of(connector, checked, profile.secrets, profile.environment.value)
    if profile.secrets and origins != profile.origins:
        raise ConfigError(
            f"This would send the credentials of '{name}' to {', '.join(origins)}, not {', '.join(profile.origins)}.",
            hint="Add a new profile and enter the credential for that address.",
        )
    changed = replace(profile, fields=checked, updated_ms=workspace.clock.now_ms())
    tokens = profile.secrets.get(TOKENS)
    if tokens is not None and _signs_in_otherwise(connector, profile, checked):
        # The tokens are of the account, or of the app, that the profile was before.
        changed = replace(changed, secrets={k: v for k, v in profile.secrets.items() if k != TOKENS})
        tell(f"Sign in again: platint-tui profiles login {name}")
    await _put(workspace, changed, dict(profile.fields) != checked, tell)
    if changed.secrets != profile.secrets:
        await _forget(workspace, {tokens} if tokens else set())
    return changed


def _entered(profile: Profile) -> list[str]:
    """The secrets that a person entered: all but the tokens of a sign-in."""
    return [field for field in profile.secrets if field != TOKENS]


def _signs_in_otherwise(connector: Connector, profile: Profile, fields: Mapping[str, str]) -> bool:
    """Whether other fields of a profile mean another sign-in: those that its auth, or its addresses, use."""
    filled = frozenset(profile.secrets)

    def way(values: Mapping[str, str]) -> tuple[object, ...]:
        known = filled | {name for name, text in values.items() if text}
        auth = chosen_auth(connector.auth, known, values)
        used = needed_fields(auth) | profile_fields(auth_addresses(auth))
        return (auth, {name: values.get(name) for name in used})

    return way(profile.fields) != way(fields)


async def test(workspace: Workspace, name: str) -> ProfileCheck:
    """Run every probe of the platform's manifest through the engine; the outcome is stored and returned."""
    await get(workspace, name)
    refuse_read_only(workspace, "test a profile")
    try:
        await call(workspace, "check", {"profile": name})
    except (ConfigError, CredentialError) as error:
        # Before the first request: a secret that is not there, an address that is none.
        kind = error.error_class.value
        failed = Capability(BEFORE, False, False, error.sentence(), error_class=kind)
        with contextlib.suppress(NotFound):
            await workspace.store.profiles.save_check(name, False, (failed,))
        raise
    checks = await workspace.store.profiles.checks()
    return checks[name]


async def set_secret(workspace: Workspace, name: str, field: str, value: Secret | str) -> Profile:
    """Replace one secret of a profile (a Secret to store, or a reference). Raises ConfigError, CredentialError."""
    refuse_read_only(workspace, "change a secret")
    profile = await get(workspace, name)
    connector = workspace.registry.get(profile.platform)
    _check_references({field: value})
    value = _normal(connector, field, value)
    text = value.reveal() if isinstance(value, Secret) else None
    validate_fields(connector, profile.fields, secrets={**dict.fromkeys(_entered(profile)), field: text})
    reference = await workspace.vault.store(name, field, value) if isinstance(value, Secret) else value
    changed = replace(
        profile,
        secrets={**profile.secrets, field: reference},
        environment=environment_of(connector, {**profile.fields, field: text}) or profile.environment,
        updated_ms=workspace.clock.now_ms(),
    )
    await workspace.store.profiles.put(changed)
    await _forget(workspace, set(profile.secrets.values()) - {reference})
    return changed


async def remove(workspace: Workspace, name: str) -> list[str]:
    """Remove a profile and its secrets; runs and dead letters stay.

    Returns a sentence for each secret that could not be deleted (a locked keyring). Raises ConfigError while an
    integration uses the profile.
    """
    refuse_read_only(workspace, "remove a profile")
    profile = await get(workspace, name)
    users = [
        item.name
        for item in await workspace.store.integrations.list()
        if name in (item.source_profile, item.target_profile, item.fallback_profile)
    ]
    if users:
        raise ConfigError(
            f"Profile '{name}' is used by {', '.join(users)}.",
            hint="Remove first what uses it: `platint-tui syncs remove NAME`.",
        )
    await workspace.store.profiles.remove(name)
    return await _forget(workspace, set(profile.secrets.values()))
