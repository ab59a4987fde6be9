"""The three depths of the inbox: issues, the dead letters of one issue, one dead letter."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from platint_tui.core.jsontext import dumps
from platint_tui.core.model import DeadLetter, Issue
from platint_tui.core.rules import FixRule
from platint_tui.services.deadletters import DeadLetterView, SeenQueue
from platint_tui.tui import glyphs, present
from platint_tui.tui.listing import Listing
from platint_tui.tui.screens.deadletters import words
from platint_tui.tui.widgets.filterbar import FilterBar
from platint_tui.tui.widgets.payload import PayloadView
from platint_tui.tui.widgets.virtual_table import Glyphs, VirtualTable

EMPTY_ISSUES = (
    "No dead letters.\n\n"
    "A record that its target refuses is kept here, whole, with its cause.\n"
    "Syncs that are running (4) put theirs here as they meet them.\n"
    "a  brings in those that brokers keep in queues of their own."
)
FACES = ("payload", "raw", "exchange", "attempts")


class IssuesPane(Vertical):
    """Issues by fingerprint, and the facts of the one under the cursor."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(id="pane-issues")
        self._now = now
        self.queues: tuple[SeenQueue, ...] = ()
        self.rules: tuple[FixRule, ...] = ()

    def compose(self) -> ComposeResult:
        """Filter, list, facts."""
        yield FilterBar(id="filter-issues")
        yield Listing(
            words.issue_columns(self._now), lambda issue: issue.fingerprint, empty=EMPTY_ISSUES, id="issues"
        )
        yield Static("", id="issue-facts", markup=False)

    @property
    def listing(self) -> Listing[Issue]:
        """The list."""
        found: Listing[Issue] = self.query_one("#issues", Listing)
        return found

    def draw_facts(self) -> None:
        """Facts of the issue under the cursor."""
        issue = self.listing.current
        pieces = words.issue_facts(issue, self._now()) if issue else []
        for rule in self.rules:
            if issue is not None and rule.fingerprint == issue.fingerprint:
                pieces += words.rule_facts(rule, issue.open)
        if issue is not None and not issue.integration:
            for queue in self.queues:
                if (queue.profile, queue.queue.name) == (issue.profile, issue.stream):
                    pieces += words.queue_facts(queue, self._now())
        self.query_one("#issue-facts", Static).update(present.joined(pieces, lines=True))
        self.set_class(issue is None, "-bare")


class ItemsPane(Vertical):
    """The dead letters of one issue."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(id="pane-items")
        self._now = now

    def compose(self) -> ComposeResult:
        """A line about the issue, filter, table."""
        yield Static("", id="items-head", markup=False)
        yield FilterBar(id="filter-items")
        signs = glyphs.current()
        table_signs = Glyphs()
        if signs is glyphs.ASCII:
            table_signs = Glyphs(cursor=">", mark="+", loading=signs.ellipsis)
        yield VirtualTable(
            words.item_columns(self._now), lambda letter: letter.number, glyphs=table_signs, id="letters"
        )

    @property
    def table(self) -> VirtualTable[DeadLetter]:
        """The table."""
        found: VirtualTable[DeadLetter] = self.query_one("#letters", VirtualTable)
        return found

    def draw_head(self, title: str, whole: bool) -> None:
        """What is listed, how many, how many are marked."""
        table = self.table
        kind = "of every state" if whole else "unresolved"
        pieces = [(title, "strong"), (f"   {present.count(table.count)} {kind}", "muted")]
        if table.marks:
            pieces.append((f"   {present.count(table.marks)} marked", "accent"))
        self.query_one("#items-head", Static).update(present.joined(pieces))


class ItemPane(Vertical):
    """One dead letter: its facts, and its payload, exchange or attempts."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(id="pane-item")
        self._now = now
        self._view: DeadLetterView | None = None
        self.face = "payload"

    def compose(self) -> ComposeResult:
        """Facts, faces, and what the chosen face shows."""
        ascii_only = glyphs.current() is glyphs.ASCII
        yield Static("", id="item-facts", markup=False)
        yield Static("", id="faces", markup=False)
        yield FilterBar(id="filter-item")
        yield PayloadView(ascii_only=ascii_only, id="payload")
        yield PayloadView(ascii_only=ascii_only, id="exchange")
        with VerticalScroll(id="attempts"):
            yield Static("", id="attempts-text", markup=False)

    @property
    def payload(self) -> PayloadView:
        """The view of the payload, or of request and response."""
        return self.query_one("#exchange" if self.face == "exchange" else "#payload", PayloadView)

    @property
    def shown(self) -> DeadLetterView | None:
        """The dead letter on the screen."""
        return self._view

    def draw(self, view: DeadLetterView) -> None:
        """Show a dead letter; folding and position stay while its payload is the same."""
        before, self._view = self._view, view
        letter = view.letter
        facts = present.joined(words.item_facts(view, self._now()), lines=True)
        self.query_one("#item-facts", Static).update(facts)
        if before is None or before.letter.id != letter.id or before.letter.payload != letter.payload:
            self.query_one("#payload", PayloadView).show(letter.payload, flaw=letter.field, why=letter.code)
            exchange = dumps({"request": letter.request, "response": letter.response})
            if letter.request is None and letter.response is None:
                exchange = dumps({"exchange": "Nothing was sent over HTTP for this record."})
            self.query_one("#exchange", PayloadView).show(exchange)
            if before is None or before.letter.id != letter.id:
                self.turn_to("payload")
        attempts = present.joined(words.attempts_text(view, self._now()), lines=True)
        self.query_one("#attempts-text", Static).update(attempts)
        self.draw_faces()

    def forget(self) -> None:
        """The next dead letter is another one."""
        self._view = None
        self.query_one("#item-facts", Static).update(present.toned("Reading…", "muted"))

    def next_face(self) -> None:
        """The face after this one."""
        self.turn_to(FACES[(FACES.index(self.face) + 1) % len(FACES)])

    def turn_to(self, face: str) -> None:
        """Show payload, raw, exchange or attempts."""
        payload = self.query_one("#payload", PayloadView)
        if face in ("payload", "raw"):
            wanted = "raw" if face == "raw" else "tree"
            if payload.mode != wanted and payload.change_mode() != wanted:
                face = "exchange" if self.face == "raw" and face == "payload" else "raw"
        self.face = face
        self.query_one("#filter-item", FilterBar).close()
        for name in ("payload", "exchange", "attempts"):
            self.query_one(f"#{name}").display = name == ("payload" if face in ("payload", "raw") else face)
        self.draw_faces()
        self.focus_face()

    def focus_face(self) -> None:
        """Put the focus into what is shown."""
        name = "attempts" if self.face == "attempts" else self.payload.id
        self.query_one(f"#{name}").focus()

    def draw_faces(self) -> None:
        """The names of the faces, the one that is shown strong; what is odd about the payload."""
        pieces: list[tuple[str, str]] = []
        for name in FACES:
            pieces += [(name, "strong" if name == self.face else "muted"), ("   ", "")]
        note = self.query_one("#payload", PayloadView).note
        if note and self.face in ("payload", "raw"):
            pieces.append((note, "warn"))
        self.query_one("#faces", Static).update(present.joined(pieces))
