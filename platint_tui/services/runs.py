"""The history of runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.model import Integration, Run, StreamProgress, SyncState
from platint_tui.core.states import FINAL_RUN_STATES, RunState
from platint_tui.services.engine import ensure_engine
from platint_tui.services.syncs import get_run
from platint_tui.services.workspace import Workspace


async def list_runs(
    workspace: Workspace,
    *,
    integration: str | None = None,
    states: Sequence[RunState] = (),
    limit: int = 100,
    before: int | None = None,
) -> list[Run]:
    """Runs, newest first; `before` (a run number) pages."""
    return list(
        await workspace.store.runs.list(integration=integration, states=states, limit=limit, before=before)
    )


async def watch(workspace: Workspace, run_id: str, *, start_engine: bool = True) -> AsyncIterator[Run]:
    """The run each time that it changed, at most 8 times a second, until it has ended or is parked."""
    shown: Run | None = None
    version = -1
    looked = workspace.clock.monotonic()
    while True:
        current = await workspace.changed()
        if current != version:
            version = current
            run = await get_run(workspace, run_id)
            if run != shown:
                shown = run
                yield run
            if run.state in FINAL_RUN_STATES or _parked(run, workspace.clock.now_ms()):
                return
        elif start_engine and workspace.clock.monotonic() - looked > 2.0:
            looked = workspace.clock.monotonic()
            ensure_engine(workspace)
        await asyncio.sleep(0.05)


def _parked(run: Run, now_ms: int) -> bool:
    """Whether the run waits for a time that has not come; else an engine takes it up at once."""
    until = resumes_ms(run.streams)
    return run.state == RunState.RATE_LIMITED and (until is None or until > now_ms)


def resumes_ms(streams: Sequence[StreamProgress]) -> int | None:
    """When the first of the streams that wait for their platform goes on; None when none waits."""
    return min((item.resume_at_ms for item in streams if item.resume_at_ms is not None), default=None)


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run, the configuration that it ran with (None when gone) and where its streams stand now."""

    run: Run
    integration: Integration | None
    positions: Mapping[str, SyncState]


async def detail(workspace: Workspace, run_id: str) -> RunDetail:
    """One run whole, by id or number. Raises NotFound."""
    run = await get_run(workspace, run_id)
    states = await workspace.store.runs.sync_states()
    return RunDetail(
        run,
        await workspace.store.integrations.get(run.integration, run.version),
        {state.stream: state for state in states if state.integration == run.integration},
    )


async def search(
    workspace: Workspace, text: str, *, limit: int = 100, before: int | None = None
) -> list[Run]:
    """Runs whose integration has `text` in its name, or whose state begins with it; newest first."""
    text = text.strip().lower()
    if not text:
        return await list_runs(workspace, limit=limit, before=before)
    states = [state for state in RunState if state.value.replace("_", " ").startswith(text)]
    names = [item.name for item in await workspace.store.integrations.list() if text in item.name.lower()]
    found: dict[str, Run] = {}
    if states:
        for run in await list_runs(workspace, states=states, limit=limit, before=before):
            found[run.id] = run
    for name in names:
        for run in await list_runs(workspace, integration=name, limit=limit, before=before):
            found[run.id] = run
    return sorted(found.values(), key=lambda run: run.number, reverse=True)[:limit]
