"""History: every run, and in it every stream: counts, errors, positions, configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Static

from platint_tui.core.model import Run
from platint_tui.core.states import RunState
from platint_tui.tui import glyphs, present
from platint_tui.tui.listing import Listing
from platint_tui.tui.progress import dead_cell
from platint_tui.tui.screens.history.actions import ACTIONS
from platint_tui.tui.screens.history.detail import compare, describe
from platint_tui.tui.screens.syncs.question import run_question
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.cells import Cell, Column
from platint_tui.tui.widgets.inputs import LineInput

if TYPE_CHECKING:
    from platint_tui.services.runs import RunDetail
    from platint_tui.services.workspace import Workspace

PAGE = 200
_TYPING_SECONDS = 0.13


@dataclass(frozen=True, slots=True)
class Page:
    """A page of runs, newest first; `older` tells whether there are more, `detail` is the opened run."""

    runs: tuple[Run, ...]
    older: bool
    detail: RunDetail | None
    other: RunDetail | None


def _columns(now_ms: int, marked: str) -> tuple[Column[Run], ...]:
    def number(run: Run) -> Cell:
        sign = glyphs.current().dot if run.id == marked else ""
        return Cell(f"{sign}{run.number}", "accent" if sign else "muted")

    return (
        Column("run", number, 6, align="right"),
        Column("state", lambda run: Cell(*present.state_cell(run.state)), 13),
        Column("integration", lambda run: Cell(run.integration), 14, grow=2, most=36),
        Column("read", lambda run: Cell(_total(run, "read"), "muted"), 10, align="right", priority=3),
        Column("written", lambda run: Cell(_total(run, "written")), 10, align="right"),
        Column("dead", lambda run: dead_cell(sum(s.dead_lettered for s in run.streams)), 6, align="right"),
        Column("took", lambda run: Cell(_took(run, now_ms), "muted"), 10, align="right", priority=2),
        Column("why", lambda run: Cell(run.trigger, "muted"), 9, priority=5),
        Column(
            "started",
            lambda run: Cell(present.age(run.started_ms or run.created_ms, now_ms), "muted"),
            16,
            align="right",
            priority=1,
        ),
    )


def _total(run: Run, name: str) -> str:
    return present.count(sum(getattr(stream, name) for stream in run.streams))


def _took(run: Run, now_ms: int) -> str:
    if run.started_ms is None:
        return "-"
    return present.duration(((run.ended_ms or now_ms) - run.started_ms) / 1000)


class HistorySection(SectionView):
    """The list of runs, or one run (or two beside each other) opened over it."""

    SECTION = "history"
    ACTIONS = ACTIONS
    EMPTY = "No run yet.\n\n4  shows the syncs; r there starts one"
    BINDINGS = [  # noqa: RUF012 - as the screen library declares it
        Binding("right", "older", "Older", show=False),
        Binding("left", "newer", "Newer", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._before: list[int] = []
        self._filter = ""
        self._opened = ""
        self._compared = ""
        self.marked = ""
        self._page: Page | None = None
        self._typing: Timer | None = None

    def compose(self) -> ComposeResult:
        """Filter, list, and the opened run."""
        with Vertical(id="list-pane"):
            yield LineInput(placeholder="integration or state", id="filter")
            yield Listing(_columns(0, ""), lambda run: run.id, empty="Loading", id="runs-list")
            yield Static(id="pager", markup=False)
        with VerticalScroll(id="run-pane"):
            yield Static(id="run-detail", markup=False)

    @property
    def listing(self) -> Listing[Run]:
        """The list."""
        return self.query_one("#runs-list", Listing)

    @property
    def chosen(self) -> Run | None:
        """The opened run, else the one under the cursor."""
        if self._opened and self._page is not None and self._page.detail is not None:
            return self._page.detail.run
        return self.listing.current

    @property
    def opened(self) -> bool:
        """Whether a run is open over the list."""
        return bool(self._opened)

    async def load(self, workspace: Workspace) -> Page:
        """One page of runs that match, and the opened run whole."""
        from platint_tui.services import runs

        before = self._before[-1] if self._before else None
        found = await runs.search(workspace, self._filter, limit=PAGE + 1, before=before)
        detail = await runs.detail(workspace, self._opened) if self._opened else None
        other = await runs.detail(workspace, self._compared) if self._compared else None
        return Page(tuple(found[:PAGE]), len(found) > PAGE, detail, other)

    def identities(self, snapshot: Page | None) -> list[str]:
        """The runs."""
        return [run.id for run in snapshot.runs] if snapshot is not None else []

    def show(self, snapshot: Page) -> None:
        """Fill the list or the opened run."""
        self._page = snapshot
        now = self.console.clock.now_ms()
        empty = f"No run matches '{self._filter}'.\n\nesc clears the filter" if self._filter else self.EMPTY
        self.listing.set_columns(_columns(now, self.marked))
        self.listing.show(snapshot.runs, empty=empty)
        self.query_one("#pager", Static).update(present.joined([(self._pager(snapshot), "muted")]))
        self._arrange()
        if snapshot.detail is not None:
            if snapshot.other is not None:
                content = compare(snapshot.other, snapshot.detail, now)
            else:
                content = describe(snapshot.detail, now)
            self.query_one("#run-detail", Static).update(content)

    def _pager(self, page: Page) -> str:
        if not page.older and not self._before:
            return ""
        shown = f"{page.runs[0].number} to {page.runs[-1].number}" if page.runs else "none"
        hints = [
            *(["h newer"] if self._before else []),
            *(["l older"] if page.older else []),
        ]
        return f"runs {shown}   {'   '.join(hints)}"

    def _arrange(self) -> None:
        self.query_one("#list-pane").display = not self._opened
        self.query_one("#run-pane").display = bool(self._opened)
        field = self.query_one("#filter", Input)
        field.display = bool(self._filter) or field.has_focus

    def on_mount(self) -> None:
        """The list first."""
        self._arrange()

    def crumbs(self) -> tuple[str, ...]:
        """The opened run."""
        run = self.chosen
        if not self._opened or run is None:
            return (f"filter {self._filter}",) if self._filter else ()
        trail = (run.integration, f"run {run.number}")
        if self._page is not None and self._page.other is not None:
            return (*trail, f"against run {self._page.other.run.number}")
        return trail

    def open_object(self, kind: str, id: str) -> None:
        """Open a run by its id or number."""
        if kind == "run":
            self._open(id)

    def _open(self, run: str, compared: str = "") -> None:
        self._opened, self._compared = run, compared
        self.console.reload()

    def go_back(self) -> bool:
        """Close the run, else clear the filter."""
        if self._opened:
            self._opened = self._compared = ""
            self._arrange()
            self.listing.focus()
            self.console.reload()
            return True
        field = self.query_one("#filter", Input)
        if self._filter or field.has_focus:
            field.value = ""
            self._filter = ""
            self._before.clear()
            self.listing.focus()
            self._arrange()
            self.console.reload()
            return True
        return False

    def focus_first(self) -> None:
        """The list, or the opened run."""
        self.query_one("#run-pane").focus() if self._opened else self.listing.focus()

    # --- actions ----------------------------------------------------------------------------------------

    @on(Listing.Opened)
    def _row_opened(self) -> None:
        self.open_run()

    def open_run(self) -> None:
        """Open the run under the cursor."""
        run = self.listing.current
        if run is not None and not self._opened:
            self._open(run.id)
            self.query_one("#run-pane").focus()

    async def run_again(self) -> str | None:
        """Queue the same integration again, with the streams of that run."""
        from platint_tui.services import syncs

        run = self.chosen
        if run is None:
            return None
        workspace = self.console.workspace
        made = await syncs.find(workspace, run.integration)
        asked = await run_question(workspace, made, run.wanted, f"{made.name} again")
        if asked is not None and not await self.console.confirm(asked):
            return "Nothing was started."
        new = await syncs.run(workspace, run.integration, run.wanted)
        return f"Run {new.number} of {new.integration} is {new.state.value}."

    async def cancel_run(self) -> str | None:
        """Stop the run at its next page border."""
        from platint_tui.services import syncs

        if self.chosen is None:
            return None
        run = await syncs.cancel(self.console.workspace, self.chosen.id)
        return f"Run {run.number} stops at its next page border; its position is kept."

    def mark(self) -> None:
        """Mark a run for a comparison, or take the mark away."""
        run = self.chosen
        if run is not None:
            self.marked = "" if self.marked == run.id else run.id
            self.console.reload()

    def compare_runs(self) -> None:
        """Show the marked run beside this one."""
        run = self.chosen
        if run is not None and self.marked:
            self._open(run.id, self.marked)

    def copy_row(self) -> None:
        """The run as JSON."""
        run = self.chosen
        if run is None:
            return
        document = {
            "id": run.id,
            "number": run.number,
            "integration": run.integration,
            "version": run.version,
            "state": run.state.value,
            "error": run.error,
            "streams": [
                {
                    "stream": stream.stream,
                    "state": stream.state.value,
                    "read": stream.read,
                    "written": stream.written,
                    "dead_lettered": stream.dead_lettered,
                    "error": stream.error,
                }
                for stream in run.streams
            ],
        }
        self.console.copy(json.dumps(document, ensure_ascii=False), f"run {run.number}")

    def start_filter(self) -> None:
        """Type to narrow."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_SECONDS, lambda: self._apply(event.value.strip()))

    def _apply(self, text: str) -> None:
        if text != self._filter:
            self._filter = text
            self._before.clear()
            self.console.reload()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.listing.focus()

    def action_older(self) -> None:
        """The next 200 runs."""
        if not self._opened and self._page is not None and self._page.older:
            self._before.append(self._page.runs[-1].number)
            self.console.reload()

    def action_newer(self) -> None:
        """The 200 runs before."""
        if not self._opened and self._before:
            self._before.pop()
            self.console.reload()

    @property
    def may_cancel(self) -> bool:
        """Whether the chosen run is active."""
        run = self.chosen
        return run is not None and run.state in (
            RunState.QUEUED,
            RunState.RUNNING,
            RunState.RATE_LIMITED,
            RunState.INTERRUPTED,
        )
