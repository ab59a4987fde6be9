"""A list of branches that open: each line is drawn for the width that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from platint_tui.tui.widgets.lineview import LineView

Pieces = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A line: its key, and what to draw on a number of cells."""

    key: str
    draw: Callable[[int], Pieces]


@dataclass(frozen=True, slots=True)
class Branch:
    """A line that opens, and the lines under it, which are made when it does."""

    key: str
    draw: Callable[[int], Pieces]
    leaves: Callable[[], tuple[Leaf, ...]]


class Outline(LineView, can_focus=True):
    """Branches with their leaves; the cursor and what is open stay when the branches change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("pagedown", "page(2)", "Page down", show=False),
        Binding("pageup", "page(-2)", "Page up", show=False),
        Binding("ctrl+d", "page(1)", "Half a page down", show=False),
        Binding("ctrl+u", "page(-1)", "Half a page up", show=False),
        Binding("g,home", "edge(-1)", "First line", show=False),
        Binding("G,end", "edge(1)", "Last line", show=False),
        Binding("enter,space", "fold", "Fold", show=False),
        Binding("right,l", "unfold", "Open", show=False),
        Binding("left,h", "fold_up", "Close", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is in another branch."""

        outline: Outline
        key: str

        @property
        def control(self) -> Outline:
            """The outline."""
            return self.outline

    def __init__(self, *, empty: str = "", ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._signs = ("-", "+", ">") if ascii_only else ("▾", "▸", "▌")
        self._empty = empty
        self._branches: tuple[Branch, ...] = ()
        self._open: set[str] = set()
        self._lines: list[tuple[Branch, Leaf | None]] = []
        self._cursor = 0

    @property
    def branch(self) -> str:
        """The key of the branch that the cursor is in, "" without any."""
        return self._lines[self._cursor][0].key if self._lines else ""

    def show(self, branches: Sequence[Branch], *, empty: str | None = None) -> None:
        """Show these branches."""
        held = self._lines[self._cursor] if self._lines else None
        self._branches = tuple(branches)
        if empty is not None:
            self._empty = empty
        self._arrange()
        if held is not None:
            self._go_to(held[0].key, held[1].key if held[1] else None)

    def open_branch(self, key: str) -> None:
        """Open a branch and put the cursor on it."""
        self._open.add(key)
        self._arrange()
        self._go_to(key, None)

    def _arrange(self) -> None:
        self._lines = []
        for branch in self._branches:
            self._lines.append((branch, None))
            if branch.key in self._open:
                self._lines += [(branch, leaf) for leaf in branch.leaves()]
        self._cursor = max(0, min(self._cursor, len(self._lines) - 1))
        self.virtual_size = Size(self.size.width, len(self._lines))
        self._reveal()
        self.refresh()

    def _go_to(self, branch: str, leaf: str | None) -> None:
        for index, (one, other) in enumerate(self._lines):
            if one.key == branch and (other.key if other else None) == leaf:
                self._go(index)
                return

    def on_resize(self, event: events.Resize) -> None:
        """Lines are drawn for the new width."""
        self.virtual_size = Size(event.size.width, len(self._lines))
        self._reveal()

    def on_focus(self) -> None:
        """The cursor gets its full colour."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor pales."""
        self.refresh()

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._lines) - 1))
        before = self.branch
        self._cursor = index
        self._reveal()
        self.refresh()
        if self.branch != before:
            self.post_message(self.Moved(self, self.branch))

    def _reveal(self) -> None:
        height = max(1, self.size.height)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def action_move(self, step: int) -> None:
        """A line up or down."""
        self._go(self._cursor + step)

    def action_page(self, halves: int) -> None:
        """Half a page, or a page."""
        self._go(self._cursor + halves * max(1, self.size.height // 2))

    def action_edge(self, direction: int) -> None:
        """The first or the last line."""
        self._go(0 if direction < 0 else len(self._lines) - 1)

    def action_fold(self) -> None:
        """Open or close the branch that the cursor is in."""
        if self._lines:
            key = self.branch
            self._open ^= {key}
            self._arrange()
            self._go_to(key, None)

    def action_unfold(self) -> None:
        """Open the branch."""
        if self._lines and self.branch not in self._open:
            self.action_fold()

    def action_fold_up(self) -> None:
        """Close the branch."""
        if self._lines and self.branch in self._open:
            self.action_fold()
        else:
            self.screen.focus_previous()

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the cursor's branch it folds."""
        index = event.y + self.scroll_offset.y
        if index == self._cursor and self._lines and self._lines[index][1] is None:
            self.action_fold()
        elif index < len(self._lines):
            self._go(index)

    def render_line(self, y: int) -> Strip:
        """One line."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= len(self._lines):
            lines = self._empty.split("\n") if not self._lines else []
            return self.strip_of([("  " + lines[y], "muted")] if y < len(lines) else [], width)
        branch, leaf = self._lines[index]
        here = index == self._cursor
        look = ("cursor" if self.has_focus else "cursor-blurred") if here else "plain"
        bar = (self._signs[2] if here else " ", "accent")
        if leaf is not None:
            return self.strip_of([bar, ("    ", ""), *leaf.draw(width - 6)], width, look)
        sign = self._signs[0] if branch.key in self._open else self._signs[1]
        return self.strip_of([bar, (f"{sign} ", "muted"), *branch.draw(width - 4)], width, look)
