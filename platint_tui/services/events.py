"""Events and their deliveries: what came, where it went, sending it once more, pausing and refusing sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.events import (
    WAITING_DELIVERIES,
    Delivery,
    DeliveryState,
    Event,
    EventState,
    Hold,
    Source,
    SourceState,
    TargetHealth,
)
from platint_tui.core.exports import exact
from platint_tui.core.model import Json
from platint_tui.manifest.problems import did_you_mean
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeliveryFilter, EventFilter

__all__ = ["DeliveryFilter", "EventFilter"]

_AT_ONCE = 500
"""Events that the engine is asked to deliver once more at a time."""
_MOST = 1_000
_DAY_MS = 86_400_000


async def numbers(workspace: Workspace, where: EventFilter, limit: int | None = None) -> Sequence[int]:
    """The numbers of the events that match, newest first."""
    return await workspace.store.events.numbers(where, limit=limit)


async def rows(workspace: Workspace, wanted: Sequence[int]) -> list[Event]:
    """The events with these numbers, without their bodies."""
    return list(await workspace.store.events.rows(wanted))


async def find(workspace: Workspace, event: str) -> Event:
    """An event whole, by its number, its id here, or the id that its source gave it (the newest of that id).

    Raises NotFound, StoreError when the disk changed it.
    """
    events = workspace.store.events
    found = await events.get(event)
    if found is None:
        matches = await events.rows(await events.numbers(EventFilter(text=event), limit=_MOST))
        same = next((item for item in matches if item.event_id == event), None)
        found = await events.get(same.id) if same is not None else None
    if found is None:
        raise NotFound(f"There is no event '{event}'.", hint="`platint-tui events list` shows them.")
    return found


async def deliveries(workspace: Workspace, where: DeliveryFilter, limit: int = 100) -> list[Delivery]:
    """Deliveries, newest first."""
    return list(await workspace.store.deliveries.list(where, limit))


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A profile with webhooks: its state and counts, its deliveries that wait, and those that ended
    lately (see `sources`): arrived, or given up."""

    source: Source
    waiting: int
    delivered: int
    given_up: int

    @property
    def success_rate(self) -> float | None:
        """Of the deliveries that ended lately, the share that arrived; None when none ended."""
        ended = self.delivered + self.given_up
        return self.delivered / ended if ended else None


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources, and what holds up their deliveries: routes that wait, and targets that are left alone."""

    rows: tuple[SourceRow, ...]
    holds: tuple[Hold, ...]
    targets: tuple[TargetHealth, ...]


async def sources(workspace: Workspace, within_ms: int = _DAY_MS) -> Sources:
    """Every profile whose platform has webhooks, as it stands; deliveries that ended are counted `within_ms`."""
    store = workspace.store
    known = {item.profile: item for item in await store.events.sources()}
    counts = await store.deliveries.counts(workspace.clock.now_ms() - within_ms)
    found = []
    for profile in await store.profiles.list():
        source = known.get(profile.name)
        if source is None and not _receives(workspace, profile.platform):
            continue

        def count(*states: DeliveryState, name: str = profile.name) -> int:
            return sum(counts.get((name, state), 0) for state in states)

        found.append(
            SourceRow(
                source or Source(profile.name, SourceState.ACTIVE, 0),
                count(*WAITING_DELIVERIES),
                count(DeliveryState.DONE),
                count(DeliveryState.DEAD),
            )
        )
    return Sources(
        tuple(found), tuple(await store.deliveries.holds()), tuple(await store.deliveries.health())
    )


def _receives(workspace: Workspace, platform: str) -> bool:
    try:
        return workspace.registry.get(platform).webhooks is not None
    except ConfigError:
        return False  # its manifest is gone or broken, which its own section says


async def set_state(workspace: Workspace, profile: str, state: SourceState) -> bool:
    """Deliver, keep or refuse the webhooks of a profile from now on; False when it is so already.

    Raises NotFound, ConfigError for a platform without webhooks.
    """
    refuse_read_only(workspace, "change a source")
    found = await workspace.store.profiles.get(profile)
    if found is None:
        names = [item.name for item in await workspace.store.profiles.list()]
        raise NotFound(f"There is no profile '{profile}'{did_you_mean(profile, names) or '.'}")
    if not _receives(workspace, found.platform):
        raise ConfigError(
            f"'{profile}' has no webhooks: the connector of {found.platform} knows of none.",
            hint="`platint-tui events sources` shows the profiles that have.",
        )
    return await workspace.store.sources.set_state(profile, state)


@dataclass(slots=True)
class Resent:
    """What came, or would come, of delivering events once more. Counts are of deliveries, by `integration/stream`.

    `new` have not been delivered before, `again` have ended and happen once more. `left` are left as they are: they
    have ended, wait, or were overtaken by a later event of their record. `unwanted` are events that no integration
    wants, `waiting` those that are not routed yet.
    """

    events: int = 0
    new: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    unwanted: int = 0
    waiting: int = 0

    @property
    def total(self) -> int:
        """How many deliveries are made."""
        return sum(self.new.values()) + sum(self.again.values())


async def matching(workspace: Workspace, events: Sequence[str], where: EventFilter) -> list[str]:
    """The ids of the named events and of those that match, in the order in which they came. Raises NotFound."""
    wanted = [(await find(workspace, item)).number for item in events]
    if not events or where != EventFilter():
        wanted += await workspace.store.events.numbers(where)
    wanted = sorted(set(wanted))
    found: list[str] = []
    for start in range(0, len(wanted), _MOST):
        found += [item.id for item in await workspace.store.events.rows(wanted[start : start + _MOST])]
    return found


async def resend(
    workspace: Workspace,
    ids: Sequence[str],
    *,
    integration: str = "",
    again: bool = False,
    dry_run: bool = False,
) -> Resent:
    """Deliver events to the integrations of today that have not had them; with `again` also to those that have.

    With `dry_run` only what would be delivered is counted. Raises NotFound, ConfigError.
    """
    total = Resent(events=len(ids))
    for start in range(0, len(ids), _AT_ONCE):
        asked = {
            "events": list(ids[start : start + _AT_ONCE]),
            "integration": integration,
            "again": again,
            "dry_run": dry_run,
        }
        part = await call(workspace, "resend", asked)
        for kind in ("new", "again", "left"):
            counts: dict[str, int] = getattr(total, kind)
            for where, number in part[kind].items():
                counts[where] = counts.get(where, 0) + number
        total.unwanted += int(part["unwanted"])
        total.waiting += int(part["waiting"])
    return total


async def receiver_url(workspace: Workspace) -> str:
    """The address under which platforms reach the receiver, or its own on this machine."""
    kept = await workspace.store.settings.get("webhooks")
    said = kept if isinstance(kept, dict) else {}
    return str(said.get("public_url") or f"http://{said.get('listen') or '127.0.0.1:8787'}").rstrip("/")


def summary(event: Event) -> dict[str, Json]:
    """An event as a JSON document without its body."""
    return {
        "number": event.number,
        "id": event.id,
        "profile": event.profile,
        "platform": event.platform,
        "event_id": event.event_id,
        "type": event.type,
        "order_key": event.order_key,
        "state": EventState(event.state).value,
        "origin": event.origin,
        "occurred_ms": event.occurred_ms,
        "received_ms": event.received_ms,
        "last_seen_ms": event.last_seen_ms,
        "seen": event.seen,
        "verified_by": event.verified_by,
        "method": event.method,
        "target": event.target,
        "headers": [list(pair) for pair in event.headers],
        "size": event.size,
    }


def document(event: Event, sent: Sequence[Delivery]) -> dict[str, Json]:
    """An event as a JSON document: the body as exact text (or base64 when it is no UTF-8), and its deliveries."""
    return {**summary(event), **exact(event.body), "deliveries": [asdict(item) for item in sent]}
