"""Events: who listens for webhooks, what arrived, what was refused, and what did not arrive."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.reactive import var
from textual.widgets import ContentSwitcher

from platint_tui.core.errors import PlatintError, UsageError
from platint_tui.core.events import Event, Rejection
from platint_tui.core.gaps import StoredGap
from platint_tui.services import gaps, inbound, signatures
from platint_tui.services.events import EventFilter
from platint_tui.services.inbound import EventView, Inbound, SourceView
from platint_tui.tui import present
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.events import receiverwords
from platint_tui.tui.screens.events.handlers import Handlers
from platint_tui.tui.screens.events.keys import ACTIONS
from platint_tui.tui.screens.events.panes import EMPTY_SOURCES, EventPane, EventsPane, GapsPane, SourcesPane
from platint_tui.tui.screens.events.source import EventRows
from platint_tui.tui.sections import SectionView
from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.payload import PayloadView
from platint_tui.tui.widgets.virtual_table import VirtualTable

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one load brings. `version` tells whether anything in the store changed since another load."""

    version: int
    inbound: Inbound
    rejections: tuple[Rejection, ...]
    gaps: tuple[StoredGap, ...]
    event: EventView | None
    rejection: Rejection | None


class EventsSection(Handlers, SectionView):
    """Sources, then the events (or refused requests) of one, then one of them; gaps lie beside the sources."""

    SECTION = "events"
    ACTIONS = ACTIONS
    EMPTY = EMPTY_SOURCES
    LEVELS: ClassVar[tuple[str, ...]] = ("sources", "events", "event", "gaps")

    level: var[str] = var("sources", init=False)
    source = ""
    """The source whose events are listed, "" for all."""
    opened = ""
    """The event that is open, or the number of the refused request."""
    snapshot: Snapshot | None = None
    _listed = -1
    _checked = ""

    def compose(self) -> ComposeResult:
        """The panes."""
        with ContentSwitcher(initial="pane-sources", id="panes"):
            yield SourcesPane(self._now)
            yield EventsPane(self._now)
            yield EventPane(self._now)
            yield GapsPane(self._now)

    def _now(self) -> int:
        return self.console.clock.now_ms()

    # --- parts ------------------------------------------------------------------------------------------

    @property
    def sources_pane(self) -> SourcesPane:
        """The sources."""
        return self.query_one(SourcesPane)

    @property
    def events_pane(self) -> EventsPane:
        """What came."""
        return self.query_one(EventsPane)

    @property
    def event_pane(self) -> EventPane:
        """One event or refused request."""
        return self.query_one(EventPane)

    @property
    def gaps_pane(self) -> GapsPane:
        """What did not come."""
        return self.query_one(GapsPane)

    @property
    def filter_bar(self) -> FilterBar | None:
        """The filter of the depth that is shown, None where nothing is filtered."""
        names = {"events": "#filter-events", "event": "#filter-event"}
        return self.query_one(names[self.level], FilterBar) if self.level in names else None

    @property
    def current_source(self) -> SourceView | None:
        """The source under the cursor, or the one whose events are shown."""
        if self.level == "sources":
            return self.sources_pane.listing.current
        return self.view_of(self.source)

    def view_of(self, name: str) -> SourceView | None:
        """A source by name."""
        rows = self.sources_pane.listing.rows
        return next((row for row in rows if row.name == name), None)

    @property
    def chosen_events(self) -> Sequence[int]:
        """The numbers of the events that are meant: the open one, the marked ones, or the one under the cursor."""
        if self.level == "event":
            shown = self.event_pane.event
            return (shown.event.number,) if shown is not None else ()
        if self.level != "events" or self.events_pane.refused:
            return ()
        table = self.events_pane.table
        return table.marked or ((table.cursor_id,) if table.cursor_id is not None else ())

    @property
    def one_event(self) -> Event | None:
        """The event that is open or under the cursor."""
        if self.level == "event":
            return self.event_pane.event.event if self.event_pane.event is not None else None
        row = self.events_pane.table.cursor_row if self.level == "events" else None
        return row.event if row is not None else None

    @property
    def something(self) -> bool:
        """Whether anything is chosen that can be copied."""
        if self.level == "sources":
            return self.current_source is not None
        if self.level == "gaps":
            return self.gaps_pane.listing.current is not None
        if self.level == "events" and self.events_pane.refused:
            return self.events_pane.listing.current is not None
        return bool(self.chosen_events) or self.event_pane.rejection is not None

    # --- snapshot ---------------------------------------------------------------------------------------

    async def load(self, workspace: Workspace) -> Snapshot:
        """The sources, and what is open below them."""
        version = await workspace.changed()
        found = await inbound.load(workspace)
        refused: tuple[Rejection, ...] = ()
        holes: tuple[StoredGap, ...] = ()
        event, rejection = None, None
        if self.level == "events" and self.events_pane.refused:
            refused = tuple(await inbound.rejections(workspace, self.source))
        if self.level == "gaps":
            holes = tuple(await gaps.list_gaps(workspace, profile=self.source, limit=500))
        if self.level == "event" and self.opened:
            if self.events_pane.refused:
                rejection = await inbound.rejection(workspace, int(self.opened))
            else:
                event = await inbound.show(workspace, self.opened)
        return Snapshot(version, found, refused, holes, event, rejection)

    def show(self, snapshot: Snapshot) -> None:
        """Put a snapshot on the screen."""
        self.snapshot = snapshot
        pane = self.sources_pane
        pane.head(receiverwords.head(snapshot.inbound, self._now()))
        pane.listing.show(snapshot.inbound.sources)
        pane.draw_facts()
        if self.level == "events":
            self.events_pane.listing.show(snapshot.rejections, empty="Nothing was refused.")
            if snapshot.version != self._listed and not self.events_pane.refused:
                self._listed = snapshot.version
                self.events_pane.table.reload()
            self._draw_head()
        if self.level == "gaps":
            self.gaps_pane.listing.show(snapshot.gaps)
            self.gaps_pane.draw_facts()
        if self.level == "event":
            if snapshot.rejection is not None:
                self.event_pane.draw_rejection(snapshot.rejection)
            elif snapshot.event is not None:
                self.event_pane.draw_event(snapshot.event)
        self.console.refresh_keys()

    def identities(self, snapshot: Snapshot) -> Sequence[Hashable]:
        """One per thousand events that ever came, and one per refused request: enough to say that there is more."""
        found: list[Hashable] = []
        for row in snapshot.inbound.sources:
            found += [
                (row.name, number) for number in range(max(0, row.source.events - 1000), row.source.events)
            ]
        return found

    # --- where the person is ----------------------------------------------------------------------------

    def watch_level(self) -> None:
        """Show the pane of the depth."""
        self.query_one("#panes", ContentSwitcher).current = f"pane-{self.level}"
        self.focus_first()
        self.console.refresh_keys()

    def crumbs(self) -> tuple[str, ...]:
        """The source, what of it, the event."""
        if self.level == "sources":
            return ()
        where = self.source or "all sources"
        if self.level == "gaps":
            return (where, "gaps")
        refused = ("refused",) if self.events_pane.refused else ()
        opened = (f"#{self.opened}",) if self.level == "event" else ()
        return (where, *refused, *opened)

    def go_back(self) -> bool:
        """Close the filter, else the event, else the source."""
        bar = self.filter_bar
        if bar is not None and bar.close():
            self.focus_first()
            return True
        if self.level == "event":
            self.level = "events"
            self._show_events()
            self.console.reload()
            return True
        if self.level in ("events", "gaps"):
            self.level = "sources"
            self.console.reload()
            return True
        return False

    def focus_first(self) -> None:
        """The list, or what is open."""
        if self.level == "sources":
            self.sources_pane.listing.focus()
        elif self.level == "events":
            self.events_pane.focus_list()
        elif self.level == "gaps":
            self.gaps_pane.listing.focus()
        else:
            self.event_pane.focus_face()

    def open_object(self, kind: str, id: str) -> None:
        """A source by name ("" for all), its gaps, an event by number or id."""
        if kind == "source":
            self.open_source(id)
        elif kind == "refused":
            self.open_source(id, refused=True)
        elif kind == "gaps":
            self.open_gaps(id)
        elif kind == "event":
            self.events_pane.refused = False
            self._open(id)

    def open_source(self, name: str, *, refused: bool = False) -> None:
        """List the events of a source, or of all."""
        self.source = name
        self.query_one("#filter-events", FilterBar).close()
        self.events_pane.table.clear_marks()
        self.events_pane.turn(refused=refused, every=not name)
        self.level = "events"
        self._show_events()
        self.console.reload()

    def open_gaps(self, name: str) -> None:
        """List the gaps of a source, or of all."""
        self.source = name
        self.level = "gaps"
        self.console.reload()

    def _open(self, number: str) -> None:
        self.opened = number
        self.event_pane.forget()
        self.level = "event"
        self.console.reload()

    # --- the list ---------------------------------------------------------------------------------------

    @property
    def where(self) -> EventFilter:
        """Which events the table lists. Raises UsageError for a filter that cannot be read."""
        text = self.query_one("#filter-events", FilterBar).text
        return inbound.event_filter(text, self.source, self._now())

    def _show_events(self) -> None:
        bar = self.query_one("#filter-events", FilterBar)
        try:
            where = self.where
        except UsageError as error:
            bar.found(error.sentence())
            return
        empty = (
            "Nothing matches. esc clears the filter."
            if bar.text
            else "Nothing has arrived from here yet.\n\nt tests the public URL, a registers a webhook."
        )
        self.events_pane.table.set_source(EventRows(self.console.workspace, where, self._found), empty=empty)

    def _found(self, count: int, whole: int | None) -> None:
        bar = self.query_one("#filter-events", FilterBar)
        bar.found(
            f"{present.count(count)} of {present.count(whole)}" if bar.text and whole is not None else ""
        )

    def _draw_head(self) -> None:
        rows = self.sources_pane.listing.rows
        rejected = sum(row.source.rejected for row in rows if self.source in ("", row.name))
        self.events_pane.draw_head(self.source, rejected)

    # --- what widgets say -------------------------------------------------------------------------------

    @on(Listing.Moved, "#sources")
    def _source_moved(self) -> None:
        self.sources_pane.draw_facts()
        self.console.refresh_keys()

    @on(Listing.Opened, "#sources")
    def _source_opened(self) -> None:
        row = self.sources_pane.listing.current
        if row is not None:
            self.open_source(row.name)

    @on(Listing.Moved, "#gaps")
    def _gap_moved(self) -> None:
        self.gaps_pane.draw_facts()
        self.console.refresh_keys()

    @on(Listing.Opened, "#rejections")
    def _rejection_opened(self, message: Listing.Opened) -> None:
        self._open(message.key)

    @on(VirtualTable.RowOpened, "#events")
    def _event_opened(self, message: VirtualTable.RowOpened) -> None:
        self._open(str(message.row_id))

    @on(VirtualTable.RowHighlighted, "#events")
    @on(VirtualTable.Changed, "#events")
    def _table_changed(self) -> None:
        self._draw_head()
        self.console.refresh_keys()

    @on(FilterBar.Changed)
    def _filter_changed(self, message: FilterBar.Changed) -> None:
        if message.bar.id == "filter-events":
            self._show_events()
        elif self.event_pane.searchable:
            self.event_pane.payload.search(message.text)

    @on(FilterBar.Accepted)
    def _filter_accepted(self) -> None:
        self.focus_first()

    @on(PayloadView.Searched)
    def _searched(self, message: PayloadView.Searched) -> None:
        bar = self.query_one("#filter-event", FilterBar)
        if bar.text:
            bar.found(f"{message.current:,} of {message.count:,}  n N" if message.count else "nothing found")

    # --- the check --------------------------------------------------------------------------------------

    def check_again(self) -> None:
        """Make the check of the open event again, once for each that is opened."""
        shown = self.event_pane.event
        if shown is None or self._checked == shown.event.id or self.snapshot is None:
            return
        self._checked = shown.event.id
        self.event_pane.say_check("Checking…", "muted")
        self.run_worker(self._check(shown.event, self.snapshot.inbound.receiver.public_url), group="check")

    async def _check(self, event: Event, public_url: str) -> None:
        try:
            found = await signatures.check_again(self.console.workspace, event, public_url)
        except PlatintError as error:
            self._checked = ""
            if self._is_open(event):
                self.event_pane.say_check(error.sentence(), "warn")
            return
        if self._is_open(event):
            self.event_pane.draw_check(found.verdict, found.note)

    def _is_open(self, event: Event) -> bool:
        shown = self.event_pane.event
        return shown is not None and shown.event.id == event.id
