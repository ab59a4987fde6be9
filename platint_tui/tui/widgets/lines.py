"""A scrolling text of toned lines: differences, previews."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip

from platint_tui.tui.widgets.cells import tame
from platint_tui.tui.widgets.lineview import LineView

Pieces = Sequence[tuple[str, str]]
_SLOW = 5_000
_CROP = 2_000


class LinesView(LineView, can_focus=True):
    """Shows lines of (text, tone) pieces; what is too wide is cropped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_lines(1)", "Down", show=False),
        Binding("up,k", "scroll_lines(-1)", "Up", show=False),
        Binding("pagedown,ctrl+d", "scroll_lines(10)", "Page down", show=False),
        Binding("pageup,ctrl+u", "scroll_lines(-10)", "Page up", show=False),
        Binding("home,g", "scroll_home", "Top", show=False),
        Binding("end,G", "scroll_end", "End", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Pieces] = []

    def show(self, lines: Sequence[Pieces], *, keep: bool = False) -> None:
        """Show these lines from the first one, or where the view was (`keep`)."""
        self._lines = list(lines)
        self.virtual_size = Size(self.size.width, len(self._lines))
        if not keep:
            self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    @property
    def line_count(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by lines."""
        self.scroll_relative(y=lines, animate=False)

    def render_line(self, y: int) -> Strip:
        """One line."""
        index = y + self.scroll_offset.y
        if index >= len(self._lines):
            return self.strip_of([], self.size.width)
        pieces = [(tame(text[:_CROP]), tone) for text, tone in self._lines[index]]
        return self.strip_of(pieces, self.size.width)


def difference(old: str, new: str) -> list[list[tuple[str, str]]]:
    """What changed between two texts, as lines with three lines of surroundings; `+` and `-` carry the meaning."""
    before, after = old.split("\n"), new.split("\n")
    if len(before) + len(after) > _SLOW:
        start, end = _same_ends(before, after)
        before, after = before[start : len(before) - end], after[start : len(after) - end]
    if len(before) + len(after) > _SLOW:
        changed = f"{len(before):,} lines became {len(after):,}; too many to show one by one."
        return [[(changed, "muted")]]
    lines: list[list[tuple[str, str]]] = []
    for line in difflib.unified_diff(before, after, lineterm="", n=3):
        if line.startswith(("---", "+++")) and not lines:
            continue
        if line.startswith("@@"):
            if lines:
                lines.append([("    ...", "muted")])
            continue
        tone = {"+": "ok", "-": "bad"}.get(line[:1], "muted")
        lines.append([(f"  {line[:1]} {line[1:]}", tone)])
    return lines


def _same_ends(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many lines are the same at the start and at the end, less three that are shown around a change."""
    most = min(len(before), len(after))
    start = 0
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return max(0, start - 3), max(0, end - 3)
