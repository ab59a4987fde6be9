"""A short list as a table: rows given at once, a cursor that stays on its row, a header, columns that fit.

For lists of at most a few hundred rows that arrive in a snapshot; unbounded ones use `widgets.VirtualTable`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from platint_tui.tui import glyphs
from platint_tui.tui.widgets.cells import Column, Slot, fit, layout, tame
from platint_tui.tui.widgets.lineview import LineView

R = TypeVar("R")
_GUTTER = 2


class Listing(LineView, Generic[R], can_focus=True):
    """Rows as a table. `key_of` names a row; the cursor stays on its key when the rows change.

    `heading` is written over the first columns, in the line of their titles, which has room for `remark` too.
    `lit` shows the cursor without the focus too, for a list that is steered from an input.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", show=False),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("pagedown", "page(2)", "Page down", show=False),
        Binding("pageup", "page(-2)", "Page up", show=False),
        Binding("ctrl+d", "page(1)", "Half a page down", show=False),
        Binding("ctrl+u", "page(-1)", "Half a page up", show=False),
        Binding("home", "edge(-1)", "First row", show=False),
        Binding("end", "edge(1)", "Last row", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        listing: Listing[Any]
        key: str

        @property
        def control(self) -> Listing[Any]:
            """The list."""
            return self.listing

    @dataclass
    class Opened(Message):
        """Enter was pressed on a row, or the row under the cursor was clicked."""

        listing: Listing[Any]
        key: str

        @property
        def control(self) -> Listing[Any]:
            """The list."""
            return self.listing

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key_of: Callable[[R], str],
        *,
        empty: str = "Nothing yet.",
        header: bool = True,
        heading: str = "",
        lit: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._key_of = key_of
        self._rows: tuple[R, ...] = ()
        self._cursor = 0
        self._empty = empty
        self._loaded = False
        self._head = 1 if header else 0
        self._lit = lit
        self._steered = False
        self.heading = heading
        self._remark: tuple[str, str] = ("", "")
        self._slots: list[Slot] = []
        self._slots_width = -1

    @property
    def rows(self) -> tuple[R, ...]:
        """The rows as shown."""
        return self._rows

    @property
    def current(self) -> R | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    def show(self, rows: Sequence[R], *, empty: str | None = None) -> None:
        """Show these rows; the cursor keeps its key, or its place where the key is gone."""
        held = self._key_of(self._rows[self._cursor]) if self._rows else None
        before = len(self._rows)
        self._rows = tuple(rows)
        if empty is not None:
            self._empty = empty
        self._loaded = True
        keys = [self._key_of(row) for row in self._rows]
        self._cursor = keys.index(held) if held in keys else min(self._cursor, max(0, len(keys) - 1))
        self.virtual_size = Size(self.size.width, len(self._rows) + self._head)
        self._reveal()
        self.refresh(layout=len(self._rows) != before)

    @property
    def _said(self) -> str:
        """What stands in place of rows: that there are none is said only once that is known."""
        return self._empty if self._loaded else "Loading…"

    def remark(self, text: str, tone: str = "muted") -> None:
        """Say something beside the heading."""
        self._remark = (text, tone)
        self.refresh()

    def set_columns(self, columns: Sequence[Column[R]]) -> None:
        """Show the rows through other columns."""
        self._columns = tuple(columns)
        self._slots_width = -1

    def go_to(self, key: str) -> bool:
        """Put the cursor on the row with this key; False when there is none."""
        for index, row in enumerate(self._rows):
            if self._key_of(row) == key:
                self._go(index)
                return True
        return False

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as its rows, or as the sentence that stands for them."""
        if self._rows:
            return self._head + len(self._rows)
        return self._said.count("\n") + 1 + (1 if self.heading else 0)

    def on_resize(self, event: events.Resize) -> None:
        """The columns have another width now."""
        self.virtual_size = Size(event.size.width, len(self._rows) + self._head)
        self._reveal()

    def on_focus(self) -> None:
        """The cursor is seen."""
        self._steered = True
        self.refresh()

    def on_blur(self) -> None:
        """The cursor is not seen, but under a dialog it stays: the dialog is about its row."""
        self._steered = not self.screen.is_current
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the cursor's row it opens it."""
        index = event.y - self._head + self.scroll_offset.y
        if event.y < self._head or not 0 <= index < len(self._rows):
            return
        if index == self._cursor:
            self.action_open()
        else:
            self._go(index)

    def action_move(self, step: int) -> None:
        """One row up or down; at an end the focus goes to the list beyond it."""
        target = self._cursor + step
        if 0 <= target < len(self._rows):
            self._go(target)
        elif step > 0:
            self.screen.focus_next()
        else:
            self.screen.focus_previous()

    def action_page(self, halves: int) -> None:
        """Half a page or a page."""
        self._go(self._cursor + halves * max(1, (self.size.height - self._head) // 2))

    def action_edge(self, direction: int) -> None:
        """The first or the last row."""
        self._go(0 if direction < 0 else len(self._rows) - 1)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self._rows:
            self.post_message(self.Opened(self, self._key_of(self._rows[self._cursor])))

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._rows) - 1))
        if not self._rows or index == self._cursor:
            return
        self._cursor = index
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(self, self._key_of(self._rows[index])))

    def _reveal(self) -> None:
        height = max(1, self.size.height - self._head)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """The header, a row, or the sentence that stands for no rows."""
        width = self.size.width
        if self._slots_width != width:
            self._slots = layout(self._columns, width - 2 * _GUTTER)
            self._slots_width = width
        if y < self._head and (self._rows or self.heading):
            return self._header(width)
        if not self._rows:
            lines = self._said.split("\n")
            y -= 1 if self.heading else 0
            text = fit(lines[y], max(0, width - 2 * _GUTTER)) if y < len(lines) else ""
            return self.strip_of([("  " + text, "muted")], width)
        index = y - self._head + self.scroll_offset.y
        if index >= len(self._rows):
            return self.strip_of([], width)
        cells = [column.render(self._rows[index]) for column in self._columns]
        if index != self._cursor:
            return self._line(cells, width, "plain")
        return self._line(cells, width, "cursor" if self._steered or self._lit else "plain")

    def _header(self, width: int) -> Strip:
        """The heading, and the titles of the columns that it does not cover."""
        if not self.heading:
            return self._line([(column.title, "") for column in self._columns], width, "head")
        text, tone = self._remark
        pieces = [(" " * _GUTTER, ""), (self.heading, "strong")]
        used = cell_len(self.heading)
        if text:
            text = tame(text)
            pieces += [("   ", ""), (text, tone)]
            used += 3 + cell_len(text)
        for slot in self._slots:
            column = self._columns[slot.index]
            title = fit(column.title, slot.width, column.align)
            start = slot.x + len(title) - len(title.lstrip())
            if title.strip() and start >= used + 2 and self._rows:
                pieces += [(" " * (start - used), ""), (title.strip(), "muted")]
                used = start + cell_len(title.strip())
        return self.strip_of(pieces, width)

    def _line(self, cells: Sequence[tuple[str, str]], width: int, line: str) -> Strip:
        mark = glyphs.current().cursor if line == "cursor" else " "
        pieces: list[tuple[str, str]] = [(mark.ljust(_GUTTER), "key")]
        x = 0
        for slot in self._slots:
            text, tone = cells[slot.index]
            pieces.append((" " * (slot.x - x), ""))
            pieces.append((fit(text, slot.width, self._columns[slot.index].align), tone))
            x = slot.x + slot.width
        return self.strip_of(pieces, width, line)
