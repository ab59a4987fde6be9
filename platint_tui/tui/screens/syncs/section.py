"""Syncs: integrations and their streams, where they stand, and what a run of one is doing now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from platint_tui.core.states import ACTIVE_RUN_STATES
from platint_tui.tui import present
from platint_tui.tui.dialogs.ask import Question
from platint_tui.tui.dialogs.choose import Choice, ChooseScreen
from platint_tui.tui.dialogs.confirm import Confirmation
from platint_tui.tui.listing import Listing
from platint_tui.tui.pace import Pace
from platint_tui.tui.panel import Panel
from platint_tui.tui.screens.syncs.actions import ACTIONS
from platint_tui.tui.screens.syncs.detail import describe
from platint_tui.tui.screens.syncs.plan import PlanScreen
from platint_tui.tui.screens.syncs.question import run_question
from platint_tui.tui.screens.syncs.rows import SyncRow, columns, rows_of
from platint_tui.tui.sections import SectionView

if TYPE_CHECKING:
    from platint_tui.core.model import SyncState
    from platint_tui.services.syncs import SyncView
    from platint_tui.services.workspace import Workspace


class SyncsSection(SectionView):
    """A list of integrations with their streams, and what the chosen one does."""

    SECTION = "syncs"
    ACTIONS = ACTIONS
    EMPTY = (
        "No integration yet.\n\n"
        "a  import an integration file: which streams go from which profile to which\n"
        "3  discover a profile first, to see what it offers"
    )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pace = Pace()
        self._wanted = ""
        self._views: tuple[SyncView, ...] = ()

    def compose(self) -> ComposeResult:
        """The list, and below it the chosen integration."""
        listing = Listing(columns(0), lambda row: row.key, empty="Loading", id="syncs-list")
        yield listing
        with VerticalScroll(id="detail-scroll", can_focus=False):
            yield Panel("", Static(id="detail", markup=False), id="detail-panel")

    @property
    def listing(self) -> Listing[SyncRow]:
        """The list."""
        return self.query_one("#syncs-list", Listing)

    @property
    def current(self) -> SyncRow | None:
        """The row under the cursor."""
        return self.listing.current

    async def load(self, workspace: Workspace) -> tuple[SyncView, ...]:
        """All integrations with their states."""
        from platint_tui.services import syncs

        return tuple(await syncs.list_syncs(workspace))

    def identities(self, snapshot: tuple[SyncView, ...] | None) -> list[str]:
        """Integrations and their newest runs."""
        return [f"{view.integration.name}/{view.last_run and view.last_run.id}" for view in snapshot or ()]

    def show(self, snapshot: tuple[SyncView, ...]) -> None:
        """Fill the list; the detail follows the cursor."""
        self._views = snapshot
        now = self.console.clock.now_ms()
        self.listing.set_columns(columns(now))
        self.listing.show(rows_of(snapshot), empty=self.EMPTY)
        self.query_one("#detail-scroll").display = bool(snapshot)
        if self._wanted and self.listing.go_to(self._wanted):
            self._wanted = ""
        self._show_detail()

    @on(Listing.Moved)
    def _moved(self) -> None:
        self._show_detail()
        self.console.refresh_keys()

    def _show_detail(self) -> None:
        row = self.current
        if row is None:
            return
        content = describe(row.view, row.stream, self._pace, self.console.clock.now_ms(), self.size.width)
        self.query_one("#detail", Static).update(content)
        panel = self.query_one("#detail-panel", Panel)
        panel.title = row.view.integration.name
        view = row.view.integration
        panel.remark(f"{view.source_profile} to {view.target_profile}   version {view.version}")

    def crumbs(self) -> tuple[str, ...]:
        """The chosen integration or stream."""
        row = self.current
        return (row.name_with_integration,) if row is not None else ()

    def open_object(self, kind: str, id: str) -> None:
        """Put the cursor on an integration, or on a stream as `integration/stream`."""
        if kind == "sync" and not self.listing.go_to(id):
            self._wanted = id

    # --- actions ----------------------------------------------------------------------------------------

    @on(Listing.Opened)
    def _opened(self) -> None:
        self.console.perform("syncs.open")

    def open_run(self) -> None:
        """The newest run in the history."""
        row = self.current
        if row is not None and row.view.last_run is not None:
            self.console.go("history", "run", row.view.last_run.id)

    async def run_sync(self) -> str | None:
        """Run the integration, or only the stream under the cursor."""
        from platint_tui.services import syncs

        row = self.current
        if row is None:
            return None
        made = row.view.integration
        workspace = self.console.workspace
        streams = (row.stream.stream,) if row.stream is not None else ()
        asked = await run_question(workspace, made, streams, row.name_with_integration)
        if asked is not None and not await self.console.confirm(asked):
            return "Nothing was started."
        run = await syncs.run(workspace, made.name, streams)
        return f"Run {run.number} of {row.name_with_integration} is {run.state.value}."

    async def cancel_run(self) -> str | None:
        """Stop the active run at its next page border."""
        from platint_tui.services import syncs

        row = self.current
        if row is None or row.view.last_run is None:
            return None
        run = await syncs.cancel(self.console.workspace, row.view.last_run.id)
        return f"Run {run.number} stops at its next page border; its position is kept."

    async def reset_stream(self) -> str | None:
        """Forget where a stream was read to, after asking."""
        from platint_tui.services import syncs

        row = self.current
        if row is None or row.stream is None:
            return None
        made = row.view.integration
        stream = row.stream.stream
        lines = (
            "The next run reads this stream from its beginning.",
            f"Forgotten: {present.position(row.state.confirmed if row.state else None)}",
            "Rows at the target stay; they are updated by key. z takes the reset back.",
        )
        asked = Confirmation(
            f"Reset {made.name}/{stream}",
            "Reset",
            lines,
            host=made.source_profile,
            method="forget the position",
        )
        if not await self.console.confirm(asked):
            return "The position is kept."
        before = await syncs.reset(self.console.workspace, made.name, stream)
        if before is not None:
            self.console.offer_undo(f"reset of {made.name}/{stream}", lambda: self._put_back(before))
        return f"{made.name}/{stream} is read from its beginning next time."

    async def _put_back(self, state: SyncState) -> str:
        from platint_tui.services import syncs

        await syncs.undo_reset(self.console.workspace, state)
        return f"{state.integration}/{state.stream} goes on where it was."

    async def recover_stream(self) -> str | None:
        """How a stream goes on whose position its platform has lost."""
        from platint_tui.services import syncs

        row = self.current
        if row is None or row.stream is None or row.progress is None:
            return None
        made, stream = row.view.integration.name, row.stream.stream
        how = await self.app.push_screen_wait(
            ChooseScreen(
                f"{made}/{stream} has lost its place",
                (row.progress.error,),
                (
                    Choice("stop", "s", "Leave it", "nothing is done; it stays stopped"),
                    Choice(
                        "resnapshot", "a", "Read all again", "rows are replaced by key; nothing is missing"
                    ),
                    Choice("skip", "g", "Go on from now", "what came in between is a recorded gap"),
                ),
            )
        )
        if how not in ("resnapshot", "skip"):
            return "Nothing was decided."
        await syncs.recover(self.console.workspace, made, stream, how)
        what = "reads everything again" if how == "resnapshot" else "goes on from now; the gap is recorded"
        return f"The next run of {made}/{stream} {what}: r runs it."

    async def plan_target(self) -> str | None:
        """Tables and columns that a run would make or change."""
        from platint_tui.services import syncs

        row = self.current
        if row is None:
            return None
        made = row.view.integration
        streams = (row.stream.stream,) if row.stream is not None else ()
        planned = await syncs.plan_target(self.console.workspace, made.name, streams)
        await self.app.push_screen_wait(
            PlanScreen(f"What a run of {row.name_with_integration} changes", planned)
        )
        return None

    async def import_file(self) -> str | None:
        """Import an integration file by its path."""
        from platint_tui.services import syncs

        answer = await self.console.ask(
            Question(
                "Import an integration",
                label="File",
                placeholder="/path/to/billing.yaml",
                hint="Importing a changed file again makes a new version; a run keeps the one it ran with.",
                verb="Import",
                check=_check_file,
            )
        )
        if answer is None:
            return None
        made = await syncs.import_file(self.console.workspace, _path(answer))
        self._wanted = made.name
        return f"{made.name} version {made.version} is imported: r runs it."

    def preview(self) -> None:
        """Real records of the stream, in Discovery."""
        row = self.current
        if row is not None and row.stream is not None:
            source = row.view.integration.source_profile
            self.console.go("discovery", "stream", f"{source}/{row.stream.stream}")

    def copy_row(self) -> None:
        """The row as JSON."""
        row = self.current
        if row is not None:
            self.console.copy(row.as_json(), row.name_with_integration)

    @property
    def active(self) -> bool:
        """Whether the chosen integration has an active run."""
        row = self.current
        run = row.view.last_run if row is not None else None
        return run is not None and run.state in ACTIVE_RUN_STATES


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _check_file(text: str) -> str | None:
    if not text:
        return None
    path = _path(text)
    if not path.is_file():
        return f"There is no file {path}."
    return None if path.suffix in (".yaml", ".yml") else "An integration file ends in .yaml."
