"""A table over any number of rows: fetches what is seen, keeps the cursor by id, never blocks the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from platint_tui.core.errors import PlatintError
from platint_tui.tui.widgets.cells import GAP, Column, Slot, fit, layout, tame
from platint_tui.tui.widgets.lineview import LineView

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

GUTTER = 3
LOOK_AHEAD = 20
CACHED_ROWS = 2_000
REST = 3.0


class RowSource(Protocol[R_co]):
    """Where rows come from. Both methods may raise PlatintError; the table then shows its sentence."""

    async def ids(self) -> Sequence[int]:
        """The ids of all rows in their order; `array('q')` keeps a million of them compact."""

    async def rows(self, ids: Sequence[int]) -> Sequence[R_co]:
        """The rows with these ids; one that is gone is left out."""


@runtime_checkable
class Ahead(Protocol):
    """A source that has the first rows sooner than the ids of all of them."""

    async def first(self) -> Sequence[int]:
        """The ids of the first rows, enough for a screen, at once; none where that is not quicker."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of the table itself."""

    cursor: str = "▌"
    mark: str = "◆"
    loading: str = "…"


class VirtualTable(LineView, Generic[R], can_focus=True):
    """Rows of a source as a table with a cursor, marks and a header.

    `id_of` names a row. `reload()` asks the source for the ids again: the cursor stays on its row, marks stay
    on rows that are still there, and rows that are shown stay until their new version has come.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("ctrl+d", "half(1)", "Half a page down", show=False),
        Binding("ctrl+u", "half(-1)", "Half a page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("g,home", "edge(-1)", "First row", show=False),
        Binding("G,end", "edge(1)", "Last row", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    @dataclass
    class RowHighlighted(Message):
        """The cursor is on another row; `row` is None until it was fetched."""

        table: VirtualTable[Any]
        row_id: int
        row: Any

        @property
        def control(self) -> VirtualTable[Any]:
            """The table."""
            return self.table

    @dataclass
    class RowOpened(Message):
        """Enter was pressed, or the row under the cursor was clicked."""

        table: VirtualTable[Any]
        row_id: int
        row: Any

        @property
        def control(self) -> VirtualTable[Any]:
            """The table."""
            return self.table

    @dataclass
    class Changed(Message):
        """The rows or the marks changed: how many there are."""

        table: VirtualTable[Any]
        count: int
        marked: int

        @property
        def control(self) -> VirtualTable[Any]:
            """The table."""
            return self.table

    @dataclass
    class Failed(Message):
        """The source could not be read; `sentence` is shown in the table as well."""

        table: VirtualTable[Any]
        sentence: str

        @property
        def control(self) -> VirtualTable[Any]:
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[R]],
        id_of: Callable[[R], int],
        *,
        source: RowSource[R] | None = None,
        empty: str = "Nothing here yet.",
        glyphs: Glyphs | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._id_of = id_of
        self._source = source
        self._glyphs = glyphs or Glyphs()
        self._ids: Sequence[int] = ()
        self._cursor = 0
        self._marks: set[int] = set()
        self._cache: dict[int, R | None] = {}
        self._fresh: set[int] = set()
        self._slots: list[Slot] = []
        self._slots_width = -1
        self._note = "Loading…"
        self._empty = empty
        self._reloads = 0
        self._runner: object | None = None
        self._loaded = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # --- what there is ----------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many rows the source has."""
        return len(self._ids)

    @property
    def cursor(self) -> int:
        """The index of the cursor's row."""
        return self._cursor

    @property
    def cursor_id(self) -> int | None:
        """The id of the cursor's row, None without rows."""
        return self._ids[self._cursor] if self._ids else None

    @property
    def cursor_row(self) -> R | None:
        """The cursor's row, None while it is being fetched."""
        return self._cache.get(self._ids[self._cursor]) if self._ids else None

    @property
    def marked(self) -> tuple[int, ...]:
        """The ids of the marked rows in their order in the table."""
        return tuple(row for row in self._ids if row in self._marks) if self._marks else ()

    @property
    def marks(self) -> int:
        """How many rows are marked."""
        return len(self._marks)

    @property
    def note(self) -> str:
        """What is shown instead of rows: loading, empty, or why they cannot be read."""
        return self._note

    def set_source(self, source: RowSource[R], *, empty: str | None = None) -> None:
        """Show the rows of another source (another filter, say); the cursor keeps its id if it is there."""
        self._source = source
        if empty is not None:
            self._empty = empty
        self._reloads += 1
        self._start_reload()

    def set_columns(self, columns: Sequence[Column[R]]) -> None:
        """Show other columns."""
        self._columns = tuple(columns)
        self._slots_width = -1
        self.refresh()

    def reload(self) -> None:
        """Ask the source for its rows again, without blocking and without flicker.

        While a reload is under way one more follows it, and a slow source is given time to rest between two.
        """
        self._reloads += 1
        if self._runner is not None:
            self._loaded.clear()
            return
        self._start_reload()

    def _start_reload(self) -> None:
        self._loaded.clear()
        if self.is_attached:
            self._runner = runner = object()
            self.run_worker(self._reload(runner), group="ids", exclusive=True)

    async def settled(self) -> None:
        """Wait until the rows of the last `reload` are known and the visible ones fetched."""
        await self._loaded.wait()
        await self._idle.wait()

    def go_to(self, row_id: int) -> bool:
        """Put the cursor on the row with this id; False when there is none."""
        index = _index(self._ids, row_id)
        if index is None:
            return False
        self._go(index)
        return True

    def clear_marks(self) -> None:
        """Take all marks away."""
        if self._marks:
            self._marks.clear()
            self._changed()

    # --- loading ----------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Load when shown for the first time."""
        if self._source is not None:
            self.reload()

    async def _reload(self, runner: object) -> None:
        try:
            while True:
                turn, source = self._reloads, self._source
                if source is None:
                    return
                started = monotonic()
                try:
                    if not self._ids and isinstance(source, Ahead) and (first := await source.first()):
                        self._take(first)
                        await self._fetch()
                    self._take(await source.ids())
                except PlatintError as error:
                    self._fail(error)
                else:
                    await self._fetch()
                if turn == self._reloads:
                    self._loaded.set()
                    return
                await asyncio.sleep(min(2.0, REST * (monotonic() - started)))
        finally:
            if self._runner is runner:
                self._runner = None

    def _take(self, ids: Sequence[int]) -> None:
        """Adopt new ids: the cursor keeps its row, or its place where the row is gone."""
        held = self.cursor_id
        row_on_screen = self._cursor - self.scroll_offset.y
        self._ids = ids
        self._note = "" if ids else self._empty
        self._fresh.clear()
        if self._marks:
            self._marks.intersection_update(ids)
        index = _index(ids, held, near=self._cursor) if held is not None else None
        moved = index is None
        if index is None:
            index = min(self._cursor, max(0, len(ids) - 1))
        self._cursor = index
        self.virtual_size = Size(self.size.width, len(ids) + 1)
        self.scroll_to(y=max(0, index - max(0, row_on_screen)), animate=False, force=True)
        self._reveal()
        self._changed()
        if moved:
            self._highlighted()

    def _wanted(self) -> list[int]:
        """The ids that are visible, and a few beyond, of which no current row is there."""
        top = self.scroll_offset.y
        height = max(1, self.size.height - 1)
        visible = range(max(0, top), min(len(self._ids), top + height))
        missing = [self._ids[index] for index in visible if self._ids[index] not in self._fresh]
        if not missing:
            return []
        around = range(max(0, top - LOOK_AHEAD), min(len(self._ids), top + height + LOOK_AHEAD))
        return [self._ids[index] for index in around if self._ids[index] not in self._fresh]

    async def _fetch(self) -> None:
        """Fetch until everything visible is there; the window may move while a fetch is under way."""
        if not self._idle.is_set() or self._source is None:
            return
        self._idle.clear()
        try:
            while wanted := self._wanted():
                ids = self._ids
                try:
                    rows = await self._source.rows(wanted)
                except PlatintError as error:
                    self._fail(error)
                    return
                if ids is not self._ids:
                    continue
                self._store(wanted, rows)
        finally:
            self._idle.set()

    def _store(self, wanted: Sequence[int], rows: Sequence[R]) -> None:
        if len(self._cache) > CACHED_ROWS:
            self._cache.clear()
            self._fresh.clear()
        found = {self._id_of(row): row for row in rows}
        held = self.cursor_id
        before = self._cache.get(held) if held is not None else None
        for row_id in wanted:
            self._cache[row_id] = found.get(row_id)
            self._fresh.add(row_id)
        if held is not None and self._cache.get(held) != before:
            self._highlighted()
        self.refresh()

    def _fetch_soon(self) -> None:
        if self._idle.is_set() and self._source is not None and self.is_attached and self._wanted():
            self.run_worker(self._fetch(), group="rows")

    def _fail(self, error: PlatintError) -> None:
        self._note = error.sentence()
        self.refresh()
        self.post_message(self.Failed(self, self._note))

    # --- moving -----------------------------------------------------------------------------------------

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._ids) - 1))
        if not self._ids or index == self._cursor:
            self._reveal()
            return
        self._cursor = index
        self._reveal()
        self.refresh()
        self._highlighted()

    def _reveal(self) -> None:
        """Scroll so that the cursor is seen."""
        height = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Fetch what came into view."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._fetch_soon()

    def on_resize(self, event: events.Resize) -> None:
        """More rows may be visible now."""
        self.virtual_size = Size(event.size.width, len(self._ids) + 1)
        self._reveal()
        self._fetch_soon()

    def on_focus(self) -> None:
        """The cursor gets its full colour."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor pales."""
        self.refresh()

    def _highlighted(self) -> None:
        if (row_id := self.cursor_id) is not None:
            self.post_message(self.RowHighlighted(self, row_id, self._cache.get(row_id)))

    def _changed(self) -> None:
        self.refresh()
        self.post_message(self.Changed(self, len(self._ids), len(self._marks)))

    def action_move(self, step: int) -> None:
        """One row up or down."""
        self._go(self._cursor + step)

    def action_half(self, direction: int) -> None:
        """Half a page."""
        self._go(self._cursor + direction * max(1, (self.size.height - 1) // 2))

    def action_page(self, direction: int) -> None:
        """A page."""
        self._go(self._cursor + direction * max(1, self.size.height - 2))

    def action_edge(self, direction: int) -> None:
        """The first or the last row."""
        self._go(0 if direction < 0 else len(self._ids) - 1)

    def action_mark(self) -> None:
        """Mark or unmark the row and go on to the next."""
        if (row_id := self.cursor_id) is None:
            return
        self._marks ^= {row_id}
        self._changed()
        self._go(self._cursor + 1)

    def action_open(self) -> None:
        """Open the row."""
        if (row_id := self.cursor_id) is not None:
            self.post_message(self.RowOpened(self, row_id, self._cache.get(row_id)))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the cursor's row it opens it."""
        index = event.y - 1 + self.scroll_offset.y
        if event.y < 1 or not 0 <= index < len(self._ids):
            return
        if index == self._cursor:
            self.action_open()
        else:
            self._go(index)

    # --- drawing ----------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the table: the header, a row, a placeholder, or the note."""
        width = self.size.width
        if self._slots_width != width:
            self._slots = layout(self._columns, width - GUTTER)
            self._slots_width = width
        if y == 0:
            return self._header(width)
        index = y - 1 + self.scroll_offset.y
        if index < len(self._ids):
            return self._row(index, width)
        if self._note and y >= 2:
            lines = self._note.split("\n")
            if y - 2 < len(lines):
                return self.strip_of([("  " + fit(lines[y - 2], max(0, width - 2)), "muted")], width)
        return self.strip_of([], width)

    def _header(self, width: int) -> Strip:
        text = " " * GUTTER
        for slot in self._slots:
            column = self._columns[slot.index]
            text += fit(column.title, slot.width, column.align) + " " * GAP
        return self.strip_of([(text, "")], width, "head")

    def _row(self, index: int, width: int) -> Strip:
        row_id = self._ids[index]
        here = index == self._cursor
        marked = row_id in self._marks
        line = ("cursor" if self.has_focus else "cursor-blurred") if here else "marked" if marked else "plain"
        pieces = [
            (self._glyphs.cursor if here else " ", "accent"),
            ((self._glyphs.mark if marked else " ") + " ", "accent"),
        ]
        row = self._cache.get(row_id)
        if row is None:
            # A row that was asked for and did not come has gone; the next reload takes it away.
            text = "gone" if row_id in self._fresh else self._glyphs.loading
            return self.strip_of([*pieces, (text, "muted")], width, line)
        for slot in self._slots:
            column = self._columns[slot.index]
            cell = column.render(row)
            pieces.append((fit(cell.text, slot.width, column.align), cell.tone))
            pieces.append((" " * GAP, ""))
        return self.strip_of(pieces, width, line)

    def cell_texts(self, row: R) -> list[str]:
        """What every column shows for a row, unclamped and clean."""
        return [tame(column.render(row).text) for column in self._columns]


def _index(ids: Sequence[int], wanted: int, near: int = 0) -> int | None:
    """Where `wanted` is in `ids`, looking at its old place first."""
    if 0 <= near < len(ids) and ids[near] == wanted:
        return near
    try:
        return ids.index(wanted)
    except ValueError:
        return None
