"""Pick one row of a list: the keys of every list, and `/` to narrow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.listing import Listing
from platint_tui.tui.present import toned
from platint_tui.tui.widgets.cells import Column
from platint_tui.tui.widgets.inputs import LineInput

R = TypeVar("R")
T = TypeVar("T")
_HINT = "enter chooses   / filters   esc leaves"


class PickScreen(Dialog[T], Generic[R, T]):
    """Rows with a cursor; `picked` decides what a row gives. `text_of` is what the filter looks in."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "step(1)", "Down", show=False, priority=True),
        Binding("up", "step(-1)", "Up", show=False, priority=True),
        Binding("j", "step(1)", "Down", show=False),
        Binding("k", "step(-1)", "Up", show=False),
        Binding("g", "edge(-1)", "First row", show=False),
        Binding("G", "edge(1)", "Last row", show=False),
        Binding("slash", "filter", "Filter", show=False),
    ]

    def __init__(
        self,
        title: str,
        rows: Sequence[R],
        columns: Sequence[Column[R]],
        key_of: Callable[[R], str],
        text_of: Callable[[R], str],
        *,
        empty: str = "",
    ) -> None:
        super().__init__()
        self.add_class("wide", "tall")
        self._title = title
        self._rows = rows
        self._columns = columns
        self._key_of = key_of
        self._text_of = text_of
        self._empty = empty

    def compose(self) -> ComposeResult:
        """Title, filter, list."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            line = LineInput(placeholder="type to narrow the list", id="filter")
            line.display = False
            yield line
            yield Listing(
                self._columns, self._key_of, header=False, lit=True, empty=self._empty, id="choices"
            )
            yield Static(toned(_HINT, "muted"), id="problem", markup=False)

    @property
    def listing(self) -> Listing[R]:
        """The list."""
        found: Listing[R] = self.query_one("#choices", Listing)
        return found

    def on_mount(self) -> None:
        """Ready to choose."""
        self.listing.show(self._rows)
        self.listing.focus()

    def picked(self, row: R) -> None:
        """A row was chosen."""
        raise NotImplementedError

    def say(self, text: str, tone: str = "bad") -> None:
        """A sentence under the list."""
        self.query_one("#problem", Static).update(toned(text, tone))

    def action_step(self, step: int) -> None:
        """One row up or down; the ends hold."""
        listing = self.listing
        place = [self._key_of(row) for row in listing.rows]
        if listing.current is not None:
            index = place.index(self._key_of(listing.current)) + step
            if 0 <= index < len(place):
                listing.go_to(place[index])

    def action_edge(self, direction: int) -> None:
        """The first or the last row."""
        self.listing.action_edge(direction)

    def action_filter(self) -> None:
        """Begin to type."""
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def action_leave(self) -> None:
        """Take the filter away; without one, close without a decision."""
        line = self.query_one("#filter", Input)
        if not line.display:
            self.dismiss(None)
            return
        line.value = ""
        line.display = False
        self.listing.focus()

    @on(Input.Changed, "#filter")
    def _narrowed(self, event: Input.Changed) -> None:
        wanted = event.value.lower().split()
        rows = [row for row in self._rows if all(word in self._text_of(row).lower() for word in wanted)]
        self.listing.show(rows, empty="Nothing matches; esc shows all." if self._rows else self._empty)
        self.say(_HINT, "muted")

    @on(Input.Submitted, "#filter")
    @on(Listing.Opened)
    def _chosen(self) -> None:
        row = self.listing.current
        if row is not None:
            self.picked(row)
