"""The dashboard: one frozen snapshot of everything that an operator looks at first."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.model import Issue, LatencySummary, MetricPoint, Run
from platint_tui.core.states import ACTIVE_RUN_STATES, IssueState, RunState
from platint_tui.services import inbound, metrics, profiles
from platint_tui.services.engine import engine_is_running
from platint_tui.services.inbound import Inbound
from platint_tui.services.profiles import ProfileView
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import SeenQueue

_ENOUGH = 20
"""Requests of a window from which a share of errors above `_FAILING` is more than a bad moment."""
_FAILING = 0.2
_ERRORS = 0.05


@dataclass(frozen=True, slots=True)
class PlatformHealth:
    """One profile's health in a word: ok, errors, failing, failed or unknown; `reason` says why, `latency` is
    of this profile alone."""

    view: ProfileView
    word: str
    reason: str
    latency: LatencySummary | None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look."""
        return self.word in ("failed", "failing", "errors")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the first screen shows."""

    health: tuple[PlatformHealth, ...]
    active: tuple[Run, ...]
    parked: tuple[Run, ...]
    recent: tuple[Run, ...]
    issues: tuple[Issue, ...]
    open_dead_letters: int
    series: tuple[MetricPoint, ...]
    headline: metrics.Headline
    engine_running: bool
    incoming: Inbound
    queues: tuple[SeenQueue, ...] = ()
    lag_p95_ms: float | None = None
    """The worst p95 of the syncs in real time, of the same window."""

    @property
    def native_letters(self) -> int:
        """How many dead letters brokers keep in queues of their own, as last seen."""
        return sum(item.queue.depth or 0 for item in self.queues)


async def load(workspace: Workspace, window_s: float = 3600.0) -> Dashboard:
    """Read the snapshot."""
    views = await profiles.list_profiles(workspace)
    since = workspace.clock.now_ms() - int(window_s * 1000)
    latency = await workspace.store.metrics.by_profile(since)
    active = await workspace.store.runs.list(states=tuple(ACTIVE_RUN_STATES), limit=50)
    lags = await workspace.store.metrics.lags(since)
    issues = await workspace.store.dead_letters.issues((IssueState.OPEN, IssueState.ACKNOWLEDGED))
    return Dashboard(
        health=tuple(
            _health(view, latency.get((view.profile.platform, view.profile.name))) for view in views
        ),
        active=tuple(run for run in active if run.state != RunState.RATE_LIMITED),
        parked=tuple(run for run in active if run.state == RunState.RATE_LIMITED),
        recent=tuple(await workspace.store.runs.list(limit=8)),
        issues=tuple(issue for issue in issues if issue.open),
        open_dead_letters=sum(issue.open for issue in issues),
        series=tuple(await metrics.series(workspace, window_s)),
        headline=await metrics.headline(workspace, window_s),
        engine_running=engine_is_running(workspace),
        incoming=await inbound.load(workspace),
        queues=tuple(await workspace.store.dead_letters.dead_queues()),
        lag_p95_ms=max((item.p95_ms for item in lags.values() if item.p95_ms is not None), default=None),
    )


def _health(view: ProfileView, latency: LatencySummary | None) -> PlatformHealth:
    if view.check is not None and not view.check.ok:
        failed = next(item for item in view.check.capabilities if not item.ok and not item.optional)
        return PlatformHealth(view, "failed", failed.detail, latency)
    if latency is not None and latency.errors and latency.error_rate >= _ERRORS:
        failing = latency.count >= _ENOUGH and latency.error_rate > _FAILING
        reason = f"{latency.errors:,} of {latency.count:,} requests failed"
        return PlatformHealth(view, "failing" if failing else "errors", reason, latency)
    if view.check is None:
        return PlatformHealth(view, "unknown", "not tested yet", latency)
    return PlatformHealth(view, "ok", "", latency)
