"""The check of an event's signature made again, step by step, with the secrets of today."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.events import WEBHOOK, Event
from platint_tui.core.webhooks import Verdict, WebhookRequest
from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CheckedAgain:
    """How the check came out this time; `note` is what has to be known to read it."""

    verdict: Verdict
    note: str


async def check_again(workspace: Workspace, event: Event, public_url: str) -> CheckedAgain:
    """Verify an event once more as it was received, by the clock of its arrival and the secrets of today.

    `public_url` is what the platform called, for signatures over the address. Raises ConfigError where nothing can
    be said: it came without a request, its profile is gone, or its source is known by a token, which is not kept.
    """
    if event.origin != WEBHOOK:
        raise ConfigError("It was fetched over the account's API: no request came, so nothing was signed.")
    profile = await workspace.store.profiles.get(event.profile)
    if profile is None:
        raise ConfigError(f"The profile '{event.profile}' is gone, and its secrets with it.")
    connector = workspace.registry.get(profile.platform)
    if connector.webhooks is None:
        raise ConfigError(f"The connector of {connector.name} no longer says how its webhooks are verified.")
    from platint_tui.drivers.http.webhooks import Certificates, fields_of, needs, verify
    from platint_tui.engine.serve import make_context
    from platint_tui.manifest.webhooks import SHOWN

    request = WebhookRequest(
        event.method, event.target, event.headers, event.body, f"{public_url.rstrip('/')}{event.target}"
    )
    context = make_context(workspace.store, workspace.registry, workspace.vault, clock=workspace.clock)
    names = fields_of(connector)
    hidden = {item.id for item in connector.profile.fields if item.secret}
    values = {name: profile.fields[name] for name in names if profile.fields.get(name)}
    secrets = await context.present_secrets(profile, sorted(set(names) & hidden))
    certificates = Certificates(connector, workspace.clock)
    try:
        await certificates.fetch(needs(connector, request))
        found = verify(
            connector, request, {**values, **secrets}, event.received_ms / 1000, certificates, explain=True
        )
    except PlatintError as error:
        raise ConfigError(error.message, hint=error.hint) from None
    finally:
        await certificates.aclose()
    shown = all(item.scheme in SHOWN for item in connector.webhooks.verify)
    if not found.accepted and shown:
        raise ConfigError(
            f"{connector.name} is known by a token in the request, which is not kept with the event.",
            hint=f"It was accepted with {event.verified_by or 'it'} when it came.",
        )
    note = "Made again just now, with the secrets of today and the clock of the event's arrival."
    if not found.accepted:
        note += (
            f" When it came it was accepted with {event.verified_by or 'a secret'}: since then the secret was changed,"
            " or the request had several events and was signed as a whole."
        )
    return CheckedAgain(found, note)
