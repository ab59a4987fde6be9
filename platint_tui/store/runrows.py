# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Runs as rows, with their streams, and their moves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.states import (
    ACTIVE_RUN_STATES,
    FINAL_RUN_STATES,
    RUN_MOVES,
    RunState,
    check_run_move,
)
from platint_tui.store.codec import chunks, load, marks

_STREAM = (
    "run, stream, state, read, written, dead_lettered, superseded, pages, requests, bytes, total, started_ms,"
    " ended_ms, error_class, error_code, error, resume_at_ms, heard_ms"
)


def find_run(connection: sqlite3.Connection, run: str) -> Run:
    """The run with this id. Raises NotFound."""
    found = runs_of(connection, "id = ?", [run])
    if not found:
        raise NotFound(f"There is no run '{run}'.")
    return found[0]


def runs_of(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Run]:
    """Runs that meet a condition (with its order and limit), each with its streams."""
    rows = connection.execute(f"SELECT * FROM runs WHERE {condition}", values).fetchall()
    streams: dict[str, list[StreamProgress]] = {row["id"]: [] for row in rows}
    for some in chunks(list(streams)):
        for row in connection.execute(
            f"SELECT {_STREAM} FROM run_streams WHERE run IN ({marks(some)}) ORDER BY run, place", some
        ):
            streams[row["run"]].append(StreamProgress(**{**dict(row), "state": RunState(row["state"])}))
    return [_run(row, streams[row["id"]]) for row in rows]


def _run(row: sqlite3.Row, streams: Sequence[StreamProgress]) -> Run:
    return Run(
        id=row["id"],
        number=row["number"],
        integration=row["integration"],
        version=row["version"],
        trigger=row["trigger"],
        state=RunState(row["state"]),
        epoch=row["epoch"],
        worker=row["worker"],
        created_ms=row["created_ms"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        cancel_requested=bool(row["cancel_requested"]),
        streams=tuple(streams),
        wanted=tuple(load(row["wanted"])),
        error=row["error"],
    )


def refuse_second(connection: sqlite3.Connection, integration: str) -> None:
    """Raise ConfigError (code `already_running`) when the integration has an active run."""
    for active in runs_of(
        connection,
        f"integration = ? AND state IN ({marks(ACTIVE_RUN_STATES)})",
        [integration, *ACTIVE_RUN_STATES],
    ):
        raise ConfigError(
            f"Run {active.number} of '{integration}' is {active.state.replace('_', ' ')}.",
            hint=f"Watch it (runs watch {active.number}) or cancel it (syncs cancel {active.number}).",
            code="already_running",
        )


def end_run(
    connection: sqlite3.Connection,
    run: Run,
    state: RunState,
    error: str,
    now: int,
    *,
    fence_off: bool = False,
) -> None:
    """Move a run that gives its worker back; `fence_off` when somebody else than its engine ends it."""
    check_run_move(run.state, state)
    final = state in FINAL_RUN_STATES
    connection.execute(
        "UPDATE runs SET state = ?, worker = NULL, error = ?, ended_ms = ?, epoch = epoch + ? WHERE id = ?",
        (state, error, now if final else None, int(fence_off), run.id),
    )
    if state not in {RunState.CANCELLED, RunState.FAILED, RunState.INTERRUPTED}:
        return
    for item in run.streams:
        if state in RUN_MOVES[item.state]:
            connection.execute(
                "UPDATE run_streams SET state = ?, ended_ms = ?, resume_at_ms = NULL,"
                " error = CASE WHEN error = '' THEN ? ELSE error END WHERE run = ? AND stream = ?",
                (state, now if final else None, error, run.id, item.stream),
            )


def requeue(connection: sqlite3.Connection, run: Run) -> None:
    """Queue a run again that nobody works on, with those of its streams that had not ended."""
    if run.state == RunState.RUNNING:
        check_run_move(run.state, RunState.INTERRUPTED)
    check_run_move(RunState.INTERRUPTED, RunState.QUEUED)
    # The new epoch fences the old engine off at once, not only when another one has claimed the run.
    connection.execute(
        "UPDATE runs SET state = 'queued', epoch = epoch + 1, worker = NULL, ended_ms = NULL WHERE id = ?",
        (run.id,),
    )
    connection.execute(
        "UPDATE run_streams SET state = 'queued', ended_ms = NULL WHERE run = ?"
        " AND state IN ('running', 'interrupted')",
        (run.id,),
    )
