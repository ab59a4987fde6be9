"""The depths of the section: sources, what came from them, one event or refused request; and the gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from platint_tui.core.events import Rejection
from platint_tui.core.gaps import StoredGap
from platint_tui.core.webhooks import Verdict
from platint_tui.services.inbound import EventRow, EventView, SourceView
from platint_tui.tui import glyphs, present
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.events import words
from platint_tui.tui.screens.events.words import Lines
from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.payload import PayloadView
from platint_tui.tui.widgets.virtual_table import Glyphs, VirtualTable

Now = Callable[[], int]
EMPTY_SOURCES = (
    "No webhook can arrive yet.\n\n"
    "2  adds a profile of a platform that sends webhooks, or of `webhook` for any other sender\n"
    "9  shows the address to listen on and the public URL that vendors call\n"
    "a  then registers a webhook, or tells what to enter at the vendor by hand"
)
EVENT_FACES = ("payload", "raw", "headers", "deliveries", "signature")
REJECTION_FACES = ("signature", "payload", "raw", "headers")


class SourcesPane(Vertical):
    """Who listens, the sources, and the facts of the one under the cursor."""

    def __init__(self, now: Now) -> None:
        super().__init__(id="pane-sources")
        self._now = now

    def compose(self) -> ComposeResult:
        """Head line, list, facts."""
        yield Static("", id="receiver", markup=False)
        yield Listing(
            words.source_columns(self._now), lambda row: row.name, empty=EMPTY_SOURCES, id="sources"
        )
        yield Static("", id="source-facts", markup=False)

    @property
    def listing(self) -> Listing[SourceView]:
        """The list."""
        found: Listing[SourceView] = self.query_one("#sources", Listing)
        return found

    def head(self, pieces: Sequence[tuple[str, str]]) -> None:
        """Say who listens."""
        self.query_one("#receiver", Static).update(present.joined(pieces))

    def draw_facts(self) -> None:
        """Facts of the source under the cursor."""
        row = self.listing.current
        self.set_class(row is None, "-bare")
        lines = words.source_facts(row, self._now()) if row is not None else []
        self.query_one("#source-facts", Static).update(present.lined(lines))


class EventsPane(Vertical):
    """What came from one source or from all: the events, or what was refused."""

    def __init__(self, now: Now) -> None:
        super().__init__(id="pane-events")
        self._now = now
        self.refused = False

    def compose(self) -> ComposeResult:
        """A line about the list, filter, and both lists of which one is shown."""
        yield Static("", id="events-head", markup=False)
        yield FilterBar(id="filter-events")
        signs = glyphs.current()
        ascii_only = signs is glyphs.ASCII
        table_signs = Glyphs(cursor=">", mark="+", loading=signs.ellipsis) if ascii_only else Glyphs()
        columns = words.event_columns(self._now, every=True)
        yield VirtualTable(columns, lambda row: row.event.number, glyphs=table_signs, id="events")
        yield Listing(
            words.rejection_columns(self._now, every=True), lambda row: str(row.number), id="rejections"
        )

    @property
    def table(self) -> VirtualTable[EventRow]:
        """The events."""
        found: VirtualTable[EventRow] = self.query_one("#events", VirtualTable)
        return found

    @property
    def listing(self) -> Listing[Rejection]:
        """The refused requests."""
        found: Listing[Rejection] = self.query_one("#rejections", Listing)
        return found

    def turn(self, *, refused: bool, every: bool) -> None:
        """Show events or refused requests, of all sources or of one."""
        self.refused = refused
        self.set_class(refused, "-refused")
        self.table.set_columns(words.event_columns(self._now, every=every))
        self.listing.set_columns(words.rejection_columns(self._now, every=every))

    def draw_head(self, source: str, rejected: int) -> None:
        """What is listed, how many, and that there is something else behind `v`."""
        pieces = [(source or "All sources", "strong")]
        if self.refused:
            pieces.append((f"   {present.plural(len(self.listing.rows), 'refused request')}", "bad"))
            pieces += [("   v", "key"), (" events", "muted")]
        else:
            pieces.append((f"   {present.plural(self.table.count, 'event')}", "muted"))
            if self.table.marks:
                pieces.append((f"   {present.count(self.table.marks)} marked", "accent"))
            if rejected:
                pieces += [("   v", "key"), (f" {present.count(rejected)} refused", "bad")]
        self.query_one("#events-head", Static).update(present.joined(pieces))

    def focus_list(self) -> None:
        """Put the focus into the list that is shown."""
        (self.listing if self.refused else self.table).focus()


class EventPane(Vertical):
    """One event, or one refused request: facts, and one of its faces."""

    def __init__(self, now: Now) -> None:
        super().__init__(id="pane-event")
        self._now = now
        self.event: EventView | None = None
        self.rejection: Rejection | None = None
        self.face = "payload"

    def compose(self) -> ComposeResult:
        """Facts, names of the faces, and what the chosen one shows."""
        yield Static("", id="event-facts", markup=False)
        yield Static("", id="event-faces", markup=False)
        yield FilterBar(id="filter-event")
        yield PayloadView(ascii_only=glyphs.current() is glyphs.ASCII, id="body")
        for name in ("headers", "deliveries", "signature"):
            with VerticalScroll(id=f"lines-{name}", classes="lines"):
                yield Static("", markup=False)

    @property
    def payload(self) -> PayloadView:
        """The body."""
        return self.query_one("#body", PayloadView)

    @property
    def faces(self) -> tuple[str, ...]:
        """The faces of what is shown."""
        return REJECTION_FACES if self.rejection is not None else EVENT_FACES

    @property
    def searchable(self) -> bool:
        """Whether the face is one that can be searched in."""
        return self.face in ("payload", "raw")

    def forget(self) -> None:
        """The next one is another one."""
        self.event = self.rejection = None
        self.query_one("#event-facts", Static).update(present.toned("Reading…", "muted"))

    def draw_event(self, view: EventView) -> None:
        """Show an event; position and folding stay while it is the same."""
        before, self.event, self.rejection = self.event, view, None
        self._facts(words.event_facts(view, self._now()))
        if before is None or before.event.id != view.event.id:
            self.payload.show(view.event.body)
            self._lines("headers", words.headers_lines(view.event.headers))
            waiting: Lines = [[("The check is made again when this is shown.", "muted")]]
            self._lines("signature", waiting)
            self.turn_to("payload")
        self._lines("deliveries", words.deliveries_lines(view.deliveries, self._now()))

    def draw_rejection(self, item: Rejection) -> None:
        """Show a refused request, its check first: that is why one looks at it."""
        before, self.rejection, self.event = self.rejection, item, None
        self._facts(words.rejection_facts(item, self._now()))
        if before is None or before.number != item.number:
            self.payload.show(item.body)
            self._lines("headers", words.headers_lines(item.headers))
            self._lines("signature", words.check_lines(item.steps))
            self.turn_to("signature")

    def draw_check(self, verdict: Verdict, note: str) -> None:
        """Show how the check of the event came out this time."""
        self._lines("signature", words.check_lines(verdict.steps, verdict, note))

    def say_check(self, text: str, tone: str) -> None:
        """Say why the check cannot be made again."""
        self._lines("signature", [[(text, tone)]])

    def _facts(self, lines: Lines) -> None:
        self.query_one("#event-facts", Static).update(present.lined(lines))

    def _lines(self, name: str, lines: Lines) -> None:
        self.query_one(f"#lines-{name} Static", Static).update(present.lined(lines))

    def next_face(self) -> str:
        """The face after this one."""
        return self.turn_to(self.faces[(self.faces.index(self.face) + 1) % len(self.faces)])

    def turn_to(self, face: str) -> str:
        """Show a face; a body that is no JSON has no tree, and is shown as it is."""
        if face in ("payload", "raw"):
            wanted = "raw" if face == "raw" else "tree"
            if self.payload.mode != wanted and self.payload.change_mode() != wanted:
                face = "raw"
        self.face = face
        self.query_one("#filter-event", FilterBar).close()
        self.payload.display = self.searchable
        for name in ("headers", "deliveries", "signature"):
            self.query_one(f"#lines-{name}").display = name == face
        self.draw_faces()
        self.focus_face()
        return face

    def focus_face(self) -> None:
        """Put the focus into what is shown."""
        (self.payload if self.searchable else self.query_one(f"#lines-{self.face}")).focus()

    def draw_faces(self) -> None:
        """The names of the faces, the one that is shown strong; what is odd about the body."""
        pieces: list[tuple[str, str]] = []
        for name in self.faces:
            pieces += [(name, "strong" if name == self.face else "muted"), ("   ", "")]
        if self.payload.note and self.searchable:
            pieces.append((self.payload.note, "warn"))
        self.query_one("#event-faces", Static).update(present.joined(pieces))


class GapsPane(Vertical):
    """Spans in which something may have happened that did not arrive."""

    def __init__(self, now: Now) -> None:
        super().__init__(id="pane-gaps")
        self._now = now

    def compose(self) -> ComposeResult:
        """List over facts."""
        empty = (
            "No gap is open.\n\n"
            "b on a source compares what its platform sent with what is here; what is missing becomes a gap."
        )
        yield Listing(words.gap_columns(self._now), lambda gap: str(gap.number), empty=empty, id="gaps")
        yield Static("", id="gap-facts", markup=False)

    @property
    def listing(self) -> Listing[StoredGap]:
        """The list."""
        found: Listing[StoredGap] = self.query_one("#gaps", Listing)
        return found

    def draw_facts(self) -> None:
        """Facts of the gap under the cursor."""
        gap = self.listing.current
        self.set_class(gap is None, "-bare")
        lines = words.gap_facts(gap, self._now()) if gap is not None else []
        self.query_one("#gap-facts", Static).update(present.lined(lines))
