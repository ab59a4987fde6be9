# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Runs as rows, with their streams."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from platint_tui.core.errors import NotFound
from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.states import RunState
from platint_tui.store.codec import chunks, load, marks

_STREAM = (
    "run, stream, state, read, written, dead_lettered, superseded, pages, requests, bytes, total, started_ms,"
    " ended_ms, error_code, error, resume_at_ms"
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
