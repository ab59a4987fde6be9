"""The history of runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from platint_tui.core.model import Run
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
            if run.state in FINAL_RUN_STATES or run.state == RunState.RATE_LIMITED:
                return
        elif start_engine and workspace.clock.monotonic() - looked > 2.0:
            looked = workspace.clock.monotonic()
            ensure_engine(workspace)
        await asyncio.sleep(0.05)
