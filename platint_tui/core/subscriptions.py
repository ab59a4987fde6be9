"""Subscriptions: webhooks that are registered at a platform. Times are UTC epoch milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from platint_tui.core.secret import Secret


class SubscriptionState(StrEnum):
    """States of a subscription.

    `creating`: the platform is being asked for it, or whether it was made is not known. `pending`: made, and not
    confirmed by the platform yet. `disabled`: the platform stopped sending. `gone`: the platform has it no more.
    """

    CREATING = "creating"
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook that is registered at a platform. `remote_id` is its id there, "" while it is not known.

    `types` are the platform's names of the events, `scope` what it is for (a repository), `command` what asked
    for it. `error` is what is wrong with it, in a sentence.
    """

    id: str
    profile: str
    remote_id: str
    url: str
    types: tuple[str, ...]
    scope: Mapping[str, str]
    state: SubscriptionState
    created_ms: int
    expires_ms: int | None = None
    checked_ms: int | None = None
    command: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class WantedWebhook:
    """A webhook as it is to be made, or was: what the requests of the manifest may look up.

    `name` is unique and safe in a path, for platforms that let the caller choose the id. `remote_id` is "" until
    the platform has named it. `secret` is the signing secret where the program makes it.
    """

    name: str
    url: str
    types: tuple[str, ...]
    scope: Mapping[str, str]
    remote_id: str = ""
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class RemoteWebhook:
    """A webhook as its platform has it. `active` is None where the platform does not say."""

    id: str
    url: str
    types: tuple[str, ...] = ()
    active: bool | None = None
    confirmed: bool = True
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class MadeWebhook:
    """What came of making one: as the platform has it, the signing secret where the platform made it, and further
    profile fields that its answer fills."""

    webhook: RemoteWebhook
    secret: Secret | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
