"""What a console shows of webhooks: who listens, the sources with their state, events with what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import PlatintError, UsageError
from platint_tui.core.events import (
    Alert,
    Delivery,
    DeliveryState,
    Event,
    EventState,
    Hold,
    Rejection,
    Source,
    SourceState,
    TargetHealth,
)
from platint_tui.core.filtertext import moment_of, parse_filter
from platint_tui.core.gaps import OPEN_GAP_STATES, GapKind, StoredGap
from platint_tui.core.model import Profile
from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.engine.receiver.options import DEFAULT, LISTEN, OFF, PUBLIC_URL, SETTING, STATUS
from platint_tui.services import events
from platint_tui.services.engine import engine_is_running, refuse_read_only
from platint_tui.services.events import SourceRow
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeliveryFilter, EventFilter

__all__ = ["EventFilter"]

STALE_MS = 30_000
"""After this time without a sign of life an engine is not believed to listen."""
_HOUR_MS = 3_600_000
"""Deliveries that ended are counted within this time: a screen is read again and again."""
_DELIVERIES = 200
"""Deliveries of one event that are shown."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who listens for webhooks, and by which address vendors know it.

    `state` is listening, stale (the engine gives no sign of life since `beat_ms`), failed (`error` says why), off
    (by the setting) or idle (no engine runs). `address` is where, as `http://127.0.0.1:8787`.
    """

    state: str
    address: str
    public_url: str
    listen: str = ""
    """Where it was told to listen: HOST:PORT, "" for the usual place, or off."""
    error: str = ""
    since_ms: int | None = None
    beat_ms: int | None = None


async def receiver(workspace: Workspace) -> Receiver:
    """The state of the receiver as its engine last told it, held against whether that engine still lives."""
    chosen = await workspace.store.settings.get(SETTING)
    setting = chosen if isinstance(chosen, dict) else {}
    listen = workspace.environ.get(LISTEN) or str(setting.get("listen") or "")
    told = await workspace.store.settings.get(STATUS)
    status = told if isinstance(told, dict) else {}
    configured = workspace.environ.get(PUBLIC_URL) or str(setting.get("public_url") or "")
    public = str(status.get("public_url") or "") or configured
    address, error = str(status.get("address") or ""), str(status.get("error") or "")
    since = status.get("since_ms")
    beats = [item.heartbeat_ms for item in await workspace.store.workers.list() if item.kind == "engine"]
    beat = max(beats, default=None)
    if listen == OFF:
        state = "off"
    elif not engine_is_running(workspace):
        state = "idle"
    elif error:
        state = "failed"
    elif not address:
        state = "idle"
    else:
        silent = beat is None or workspace.clock.now_ms() - beat > STALE_MS
        state = "stale" if silent else "listening"
    return Receiver(
        state,
        address if "://" in address else f"http://{address or listen or DEFAULT}",
        public,
        listen,
        error,
        since if isinstance(since, int) else None,
        beat,
    )


@dataclass(frozen=True, slots=True)
class SourceView:
    """The webhooks of one profile. `address` is what its platform is to call ("" while no public URL is set),
    `feeds` names the integrations that its events go to, `gaps` are those in which something may be missing.
    """

    profile: Profile
    platform_name: str
    row: SourceRow
    address: str
    subscriptions: tuple[Subscription, ...]
    gaps: tuple[StoredGap, ...]
    feeds: tuple[str, ...]

    @property
    def source(self) -> Source:
        """State and counts."""
        return self.row.source

    @property
    def name(self) -> str:
        """The name of the profile, which is the source's."""
        return self.profile.name

    @property
    def used(self) -> bool:
        """Whether anything goes on here."""
        heard = self.source.last_ms is not None or self.source.state is not SourceState.ACTIVE
        return heard or bool(self.subscriptions or self.gaps or self.feeds)

    @property
    def expires_ms(self) -> int | None:
        """When the first of its subscriptions ends."""
        return min((item.expires_ms for item in self.subscriptions if item.expires_ms), default=None)

    @property
    def trouble(self) -> str:
        """What is wrong with its subscriptions, in a sentence, "" for nothing."""
        for item in self.subscriptions:
            if item.error:
                return item.error
            if item.state in (SubscriptionState.GONE, SubscriptionState.DISABLED):
                return f"The webhook at the platform is {item.state}."
        return ""


@dataclass(frozen=True, slots=True)
class Inbound:
    """Everything that comes in, at a glance."""

    receiver: Receiver
    sources: tuple[SourceView, ...]
    holds: tuple[Hold, ...]
    health: tuple[TargetHealth, ...]
    alerts: tuple[Alert, ...]

    @property
    def used(self) -> tuple[SourceView, ...]:
        """The sources at which anything goes on."""
        return tuple(item for item in self.sources if item.used)

    @property
    def gaps(self) -> int:
        """How many gaps are open."""
        return sum(len(item.gaps) for item in self.sources)


async def load(workspace: Workspace) -> Inbound:
    """The sources in use first, then the other profiles whose platform sends webhooks, each by name."""
    store = workspace.store
    listener = await receiver(workspace)
    found = await events.sources(workspace, _HOUR_MS)
    subscriptions = await store.subscriptions.list()
    gaps = [
        item
        for item in await store.gaps.list(states=OPEN_GAP_STATES, limit=1_000)
        if item.kind is not GapKind.PAUSED and not item.integration
    ]
    feeds: dict[str, list[str]] = {}
    for item in await store.integrations.list():
        if item.receives:
            feeds.setdefault(item.source_profile, []).append(item.name)
    profiles = {item.name: item for item in await store.profiles.list()}
    views = []
    for row in found.rows:
        profile = profiles.get(row.source.profile)
        if profile is None:
            continue
        views.append(
            SourceView(
                profile,
                _platform_name(workspace, profile.platform),
                row,
                f"{listener.public_url.rstrip('/')}/webhooks/{profile.name}" if listener.public_url else "",
                tuple(item for item in subscriptions if item.profile == profile.name),
                tuple(item for item in gaps if item.profile == profile.name),
                tuple(feeds.get(profile.name, ())),
            )
        )
    views.sort(key=lambda view: (not view.used, view.name))
    return Inbound(listener, tuple(views), found.holds, found.targets, tuple(await store.alerts.list()))


def _platform_name(workspace: Workspace, platform: str) -> str:
    try:
        return workspace.registry.get(platform).name
    except PlatintError:
        return platform  # its manifest is gone or broken, which its own section says


FILTER_NAMES = ("source", "type", "state", "since")


def event_filter(text: str, profile: str, now_ms: int) -> EventFilter:
    """What a person typed as a filter of events: `type:customer.* state:unwanted since:2h "free text"`.

    Raises UsageError with the word that is wrong.
    """
    read = parse_filter(text, FILTER_NAMES)
    states = []
    for value in read.values.get("state", ()):
        if value not in tuple(EventState):
            raise UsageError(f"An event is never '{value}'.", hint=f"It is {', '.join(EventState)}.")
        states.append(EventState(value))
    since = read.one("since")
    return EventFilter(
        profile=read.one("source") or profile,
        type=read.one("type"),
        states=tuple(states),
        text=read.text,
        since_ms=moment_of(since, now_ms) if since else 0,
    )


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the list, with how many of its deliveries are in each state."""

    event: Event
    deliveries: Mapping[DeliveryState, int]


async def rows(workspace: Workspace, wanted: Sequence[int]) -> list[EventRow]:
    """The events with these numbers, without bodies."""
    found = await events.rows(workspace, wanted)
    states = await workspace.store.deliveries.states_of([event.number for event in found])
    return [EventRow(event, states.get(event.number, {})) for event in found]


@dataclass(frozen=True, slots=True)
class EventView:
    """One event whole, with its deliveries."""

    event: Event
    deliveries: tuple[Delivery, ...]


async def show(workspace: Workspace, event: str) -> EventView:
    """One event with its deliveries. Raises NotFound."""
    found = await events.find(workspace, event)
    sent = await events.deliveries(workspace, DeliveryFilter(event=found.id), limit=_DELIVERIES)
    return EventView(found, tuple(sent))


async def acknowledge_alert(workspace: Workspace, number: int) -> None:
    """Somebody has seen an alert; what comes after it is a new one. Raises NotFound."""
    refuse_read_only(workspace, "acknowledge alerts")
    await workspace.store.alerts.acknowledge(number)


async def rejections(workspace: Workspace, profile: str = "") -> list[Rejection]:
    """Refused requests of a source or of all, newest first, without bodies."""
    return list(await workspace.store.events.rejections(profile or None, limit=1_000))


async def rejection(workspace: Workspace, number: int) -> Rejection | None:
    """One refused request, whole."""
    return await workspace.store.events.rejection(number)
