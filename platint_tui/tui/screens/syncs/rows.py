"""The rows of the list: an integration, and below it each of its streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platint_tui.tui import glyphs, present
from platint_tui.tui.progress import dead_cell
from platint_tui.tui.widgets.cells import Cell, Column

if TYPE_CHECKING:
    from platint_tui.core.model import StreamMapping, StreamProgress, SyncState
    from platint_tui.services.syncs import Fed, SyncView


@dataclass(frozen=True, slots=True)
class SyncRow:
    """An integration (`stream` is None) or one of its streams."""

    view: SyncView
    stream: StreamMapping | None
    state: SyncState | None
    progress: StreamProgress | None

    @property
    def key(self) -> str:
        """Names the row."""
        return self.name_with_integration

    @property
    def name_with_integration(self) -> str:
        """`billing` or `billing/customers`."""
        name = self.view.integration.name
        return name if self.stream is None else f"{name}/{self.stream.stream}"

    def as_json(self) -> str:
        """What the row shows, as a document."""
        made = self.view.integration
        document: dict[str, object] = {
            "integration": made.name,
            "version": made.version,
            "source": made.source_profile,
            "target": made.target_profile,
        }
        if self.stream is not None:
            document |= {
                "stream": self.stream.stream,
                "into": self.stream.target,
                "key": list(self.stream.key),
                "position": self.state.confirmed if self.state else None,
            }
        return json.dumps(document, ensure_ascii=False)


def rows_of(views: Sequence[SyncView]) -> list[SyncRow]:
    """Each integration followed by its streams."""
    rows = []
    for view in views:
        rows.append(SyncRow(view, None, None, None))
        states = {state.stream: state for state in view.states}
        rows += [
            SyncRow(view, item, states.get(item.stream), view.progress.get(item.stream))
            for item in view.integration.streams
        ]
    return rows


def columns(now_ms: int) -> tuple[Column[SyncRow], ...]:
    """The columns; ages are as of `now_ms`."""
    return (
        Column("sync", _name, 14, grow=2, most=36),
        Column("route", _route, 14, grow=2, most=40, priority=3),
        Column("state", _state, 13),
        Column("position", _position, 20, grow=2, most=34, priority=2),
        Column("written", _written, 9, align="right"),
        Column("open", _dead, 6, align="right", priority=1),
        Column("last run", lambda row: _when(row, now_ms), 16, align="right", priority=4),
    )


def _name(row: SyncRow) -> Cell:
    return Cell(row.view.integration.name, "strong") if row.stream is None else Cell(f"  {row.stream.stream}")


def _route(row: SyncRow) -> Cell:
    made = row.view.integration
    if row.stream is None:
        return Cell(f"{made.source_profile} to {made.target_profile}", "muted")
    return Cell(f"into {row.stream.target}", "muted")


def _state(row: SyncRow) -> Cell:
    if row.view.fed and (row.stream is None or row.progress is None) and _idle(row):
        return Cell(*fed_state(row.view, row.stream))
    if row.stream is None:
        run = row.view.last_run
        return Cell(*present.state_cell(run.state)) if run else Cell("never run", "muted")
    return Cell(*present.state_cell(row.progress.state)) if row.progress else Cell("-", "muted")


def _idle(row: SyncRow) -> bool:
    run = row.view.last_run
    return run is None or run.ended_ms is not None


def fed_state(view: SyncView, stream: StreamMapping | None) -> tuple[str, str]:
    """The state of what webhooks feed: a target that is left alone, something held, or fed."""
    signs = glyphs.current()
    if view.breaker is not None and view.breaker.state != "closed":
        return f"{signs.slash} breaker", "bad"
    parts = (
        [view.fed[stream.stream]] if stream is not None and stream.stream in view.fed else view.fed.values()
    )
    if any(item.held for item in parts):
        return f"{signs.pause} held", "warn"
    return f"{signs.dot} by webhook", "ok"


def fed_words(fed: Fed) -> str:
    """What webhooks brought within an hour: `35 arrived, 5 waiting`."""
    words = [f"{present.count(fed.delivered)} arrived"]
    if fed.waiting:
        words.append(f"{present.count(fed.waiting)} waiting")
    if fed.given_up:
        words.append(f"{present.count(fed.given_up)} given up")
    return ", ".join(words)


def _position(row: SyncRow) -> Cell:
    if row.stream is None:
        return Cell("")
    fed = row.view.fed.get(row.stream.stream)
    if fed is not None and row.state is None:
        return Cell(fed_words(fed), "warn" if fed.held else "muted")
    return Cell(present.position(row.state.confirmed if row.state else None), "muted")


def _written(row: SyncRow) -> Cell:
    if row.stream is not None:
        return Cell(present.count(row.progress.written if row.progress else None), "muted")
    run = row.view.last_run
    return Cell(present.count(sum(item.written for item in run.streams) if run else None))


def _dead(row: SyncRow) -> Cell:
    if row.stream is not None:
        return dead_cell(row.view.open.get(row.stream.stream, 0))
    return dead_cell(row.view.unresolved)


def _when(row: SyncRow, now_ms: int) -> Cell:
    run = row.view.last_run
    if row.stream is not None or run is None:
        return Cell("")
    return Cell(present.age(run.started_ms or run.created_ms, now_ms), "muted")
