"""`platint-tui runs`: the history."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from platint_tui.cli.output import document, line, moment, note, table
from platint_tui.cli.session import opened, tty
from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ExitCode
from platint_tui.core.model import Integration, Run, StreamProgress
from platint_tui.core.states import ACTIVE_RUN_STATES, RunState
from platint_tui.services import runs, syncs
from platint_tui.services.engine import engine_is_running
from platint_tui.services.workspace import Workspace

GLYPHS = {
    RunState.QUEUED: ". queued",
    RunState.RUNNING: "* running",
    RunState.RATE_LIMITED: "|| rate limited",
    RunState.SUCCEEDED: "ok",
    RunState.PARTIAL: "! partial",
    RunState.FAILED: "x failed",
    RunState.CANCELLED: "- cancelled",
    RunState.INTERRUPTED: "! interrupted",
}


def state_words(item: Run | StreamProgress) -> str:
    """The state of a run or stream; of one that waits for the platform also until when."""
    waits = runs.resumes_ms(item.streams if isinstance(item, Run) else (item,))
    if item.state != RunState.RATE_LIMITED or waits is None:
        return GLYPHS[item.state]
    left = (waits - SystemClock().now_ms()) / 1000
    return f"{GLYPHS[item.state]}, goes on {f'in {_span(left)}' if left > 0 else 'now'}"


def _span(seconds: float) -> str:
    """`3.2 s`, `4 min 5 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def run_document(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    return asdict(run)


async def list_runs(options: Namespace) -> int:
    """Runs, newest first."""
    async with opened(options) as workspace:
        found = await runs.list_runs(workspace, integration=options.integration, limit=options.limit)
        alive = engine_is_running(workspace)
    if options.json:
        document([run_document(run) for run in found])
        return ExitCode.DONE
    table(
        ("RUN", "INTEGRATION", "STATE", "READ", "WRITTEN", "DEAD", "STARTED", "SECONDS"),
        [
            (
                run.number,
                run.integration,
                state_words(run),
                f"{sum(item.read for item in run.streams):,}",
                f"{sum(item.written for item in run.streams):,}",
                f"{sum(item.dead_lettered for item in run.streams):,}",
                moment(run.started_ms),
                ""
                if not (run.started_ms and run.ended_ms)
                else f"{(run.ended_ms - run.started_ms) / 1000:.1f}",
            )
            for run in found
        ],
    )
    _say_orphans(found, alive)
    if not found:
        note("Nothing has run yet: `platint-tui syncs run FILE` runs an integration.")
    return ExitCode.DONE


def _say_orphans(found: Sequence[Run], alive: bool) -> None:
    """An active run without an engine makes no progress, whatever its last state says."""
    waiting = [str(run.number) for run in found if run.state in ACTIVE_RUN_STATES]
    if waiting and not alive:
        note(
            f"No engine is at work: run {', '.join(waiting)} stands still and goes on from its confirmed position "
            "with the console, `platint-tui serve` or `platint-tui runs watch`."
        )


async def show(options: Namespace) -> int:
    """One run with its streams."""
    async with opened(options) as workspace:
        run = await syncs.get_run(workspace, options.run)
        alive = engine_is_running(workspace)
    if options.json:
        document(run_document(run))
    else:
        print_run(run)
        _say_orphans([run], alive)
    return ExitCode.DONE


def print_run(run: Run) -> None:
    """A run for a person."""
    line(
        f"run {run.number}  {run.integration} version {run.version}  {state_words(run)}  {run.error}".rstrip()
    )
    if run.started_ms is not None:
        ended = run.ended_ms if run.ended_ms is not None else SystemClock().now_ms()
        took = f"{'took' if run.ended_ms is not None else 'for'} {_span((ended - run.started_ms) / 1000)}"
        line(f"started {moment(run.started_ms)}, {took}")
    table(
        ("STREAM", "STATE", "READ", "WRITTEN", "DEAD", "SUPERSEDED", "REQUESTS", "NOTE"),
        [
            (
                item.stream,
                state_words(item),
                f"{item.read:,}",
                f"{item.written:,}",
                f"{item.dead_lettered:,}",
                f"{item.superseded:,}",
                f"{item.requests:,}",
                item.error,
            )
            for item in run.streams
        ],
    )


async def watch(options: Namespace) -> int:
    """Follow a run to its end; the exit code is the run's."""
    async with opened(options) as workspace:
        run = await follow(workspace, options.run)
    if run.error:
        note(run.error)
    if options.json:
        document(run_document(run))
    else:
        print_run(run)
    return syncs.exit_code(run)


async def run_to_end(
    workspace: Workspace, integration: Integration, streams: Sequence[str] = (), *, alone: bool
) -> Run:
    """Run and narrate; returns the run's last state. `alone`: this process is the engine.

    Then a run that an earlier engine left behind goes on first; it is all that is to be done unless other
    streams are wanted, or the integration was changed since.
    """
    left = await syncs.unfinished(workspace, integration.name) if alone else None
    if left is not None:
        waits = runs.resumes_ms(left.streams)
        if left.state == RunState.RATE_LIMITED and waits is not None:
            note(f"Run {left.number} waits for the platform: {state_words(left)}.")
        else:
            note(f"Run {left.number} was interrupted; it goes on from its position.")
        left = await follow(workspace, left.id, start_engine=False)
        wanted = set(streams) or {item.stream for item in integration.streams}
        same = left.version == integration.version and wanted <= set(left.wanted)
        if left.state in ACTIVE_RUN_STATES or (same and left.state != RunState.CANCELLED):
            return left
    started = await syncs.run(workspace, integration.name, streams)
    return await follow(workspace, started.id, start_engine=not alone)


async def follow(workspace: Workspace, run_id: str, *, start_engine: bool = True) -> Run:
    """Narrate a run until it ends or is parked; returns its last state."""
    latest: Run | None = None
    async for run in runs.watch(workspace, run_id, start_engine=start_engine):
        latest = run
        if tty():
            sys.stderr.write(f"\r\x1b[K{_progress(run)}")
            sys.stderr.flush()
    if latest is None:
        return await syncs.get_run(workspace, run_id)
    if tty():
        sys.stderr.write("\r\x1b[K")
    note(_progress(latest))
    return latest


def _progress(run: Run) -> str:
    parts = [
        f"{item.stream} {item.written:,}{'' if item.total is None else f' of {item.total:,}'}"
        + (f" ({item.dead_lettered:,} dead)" if item.dead_lettered else "")
        for item in run.streams
    ]
    return f"run {run.number} {run.integration}: {state_words(run)} | {' | '.join(parts)}"
