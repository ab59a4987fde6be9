"""What the frame of the console shows and keeps alive: the engine, active work, objects to jump to."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.model import Run
from platint_tui.core.states import ACTIVE_RUN_STATES, IssueState, RunState
from platint_tui.services.engine import engine_is_running, ensure_engine
from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the installation in a line; `waiting` counts commands and replays not done yet."""

    engine_running: bool
    active: tuple[Run, ...]
    parked_until_ms: int | None
    waiting: int
    open_dead_letters: int
    configured: bool

    @property
    def busy(self) -> bool:
        """Whether there is work that needs an engine."""
        return bool(self.active) or self.waiting > 0


@dataclass(frozen=True, slots=True)
class Found:
    """An object that the palette can jump to."""

    section: str
    kind: str
    id: str
    title: str
    detail: str


async def status(workspace: Workspace) -> Status:
    """Read the status."""
    store = workspace.store
    active = tuple(await store.runs.list(states=tuple(ACTIVE_RUN_STATES), limit=50))
    parked = [
        stream.resume_at_ms
        for run in active
        if run.state == RunState.RATE_LIMITED
        for stream in run.streams
        if stream.resume_at_ms is not None
    ]
    issues = await store.dead_letters.issues((IssueState.OPEN, IssueState.ACKNOWLEDGED))
    return Status(
        engine_running=engine_is_running(workspace),
        active=active,
        parked_until_ms=min(parked, default=None),
        waiting=len(await store.commands.pending()) + len(await store.replays.unfinished()),
        open_dead_letters=sum(issue.open for issue in issues),
        configured=bool(await store.profiles.list()),
    )


def watch_engine(workspace: Workspace, now: Status) -> bool:
    """Start an engine when there is work and none runs; True when it did. A read-only console never does."""
    if workspace.read_only or now.engine_running or not now.busy:
        return False
    ensure_engine(workspace)
    return True


async def objects(workspace: Workspace, text: str, limit: int = 20) -> list[Found]:
    """Profiles, integrations, runs and issues whose title or detail has every word of `text`."""
    store = workspace.store
    words = text.lower().split()
    found: list[Found] = []
    for profile in await store.profiles.list():
        found.append(Found("profiles", "profile", profile.name, f"profile {profile.name}", profile.platform))
    for item in await store.integrations.list():
        route = f"{item.source_profile} to {item.target_profile}"
        found.append(Found("syncs", "sync", item.name, f"sync {item.name}", route))
    for run in await store.runs.list(limit=100):
        detail = f"{run.integration} {run.state.value}"
        found.append(Found("history", "run", run.id, f"run {run.number}", detail))
    for issue in await store.dead_letters.issues(text=""):
        title = f"dead {issue.platform} {issue.integration}/{issue.stream}"
        detail = f"{issue.open} open: {issue.code} {issue.message}"
        found.append(Found("deadletters", "issue", issue.fingerprint, title, detail))
    matching = [item for item in found if _matches(item, words)]
    return matching[:limit]


def _matches(item: Found, words: list[str]) -> bool:
    haystack = f"{item.title} {item.detail}".lower()
    return all(word in haystack for word in words)
