"""The progress of runs as rows: what is committed, how fast, and how long still where a total is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.states import RunState
from platint_tui.tui import present
from platint_tui.tui.pace import Pace
from platint_tui.tui.widgets.cells import Cell, Column


@dataclass(frozen=True, slots=True)
class Progress:
    """One stream of a run as it is shown. Rates are per second; `left_s` is None where no total is known."""

    run: Run
    stream: StreamProgress
    rate: float | None
    requests: float | None
    left_s: float | None
    share: float | None

    @property
    def key(self) -> str:
        """Names the row."""
        return f"{self.run.id}/{self.stream.stream}"


def settled(stream: StreamProgress) -> int:
    """Records that are done with: written, dead-lettered, or superseded by a newer one at the target."""
    return stream.written + stream.dead_lettered + stream.superseded


def progress_of(runs: Sequence[Run], pace: Pace, now_ms: int) -> list[Progress]:
    """A row for each stream of the runs; rates come from what `pace` saw before."""
    rows = []
    names: set[str] = set()
    for run in runs:
        for stream in run.streams:
            name = f"{run.id}/{stream.stream}"
            names |= {name, f"{name}#requests"}
            moving = stream.state == RunState.RUNNING
            done = settled(stream)
            rate = pace.note(name, now_ms, done, stream.started_ms)
            requests = pace.note(f"{name}#requests", now_ms, stream.requests, stream.started_ms)
            known = stream.total if stream.total and stream.total >= done else None
            left = (known - done) / rate if moving and known and rate else None
            rows.append(
                Progress(
                    run,
                    stream,
                    rate if moving else None,
                    requests if moving else None,
                    left,
                    done / known if known else None,
                )
            )
    pace.keep(names)
    return rows


def committed_words(row: Progress) -> str:
    """What was written: `1,200 of 2,000`, or `1,200` where no total is known."""
    done = present.count(row.stream.written)
    return f"{done} of {present.count(row.stream.total)}" if row.share is not None else done


def columns(now_ms: int) -> tuple[Column[Progress], ...]:
    """Columns of a live list of streams."""
    return (
        Column("", lambda row: Cell(*present.state_cell(row.stream.state)), 13),
        Column("", lambda row: Cell(f"{row.run.integration}/{row.stream.stream}"), 14, grow=3, most=40),
        Column("", lambda row: Cell(_bar(row), "info"), 10, priority=2),
        Column("committed", lambda row: Cell(committed_words(row)), 14, align="right"),
        Column("records", lambda row: Cell(present.rate(row.rate), "muted"), 8, align="right"),
        Column(
            "requests", lambda row: Cell(present.rate(row.requests), "muted"), 8, align="right", priority=4
        ),
        Column("dead", lambda row: _dead(row.stream.dead_lettered), 6, align="right", priority=1),
        Column("left", lambda row: Cell(_left(row, now_ms), "muted"), 10, align="right", priority=3),
    )


def _bar(row: Progress) -> str:
    return "" if row.share is None else present.bar(row.share, 10)


def _left(row: Progress, now_ms: int) -> str:
    if row.stream.state == RunState.RATE_LIMITED:
        return present.countdown(row.stream.resume_at_ms, now_ms)
    return "" if row.left_s is None else present.duration(row.left_s)


def _dead(number: int) -> Cell:
    return Cell(present.count(number), "bad" if number else "muted")


def dead_cell(number: int) -> Cell:
    """A count of dead letters: red only when there are any."""
    return _dead(number)
