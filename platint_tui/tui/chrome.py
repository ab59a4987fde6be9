"""The frame around every section: rail, breadcrumb, status line and the bar of keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from platint_tui.core.text import clean
from platint_tui.tui import glyphs
from platint_tui.tui.actions import SECTION_TITLES, Action, Context, key_name
from platint_tui.tui.present import joined

COLLAPSE_BELOW = 100
Pieces = list[tuple[str, str]]


@dataclass
class Clicked(Message):
    """A door of the frame was clicked: the id of an action."""

    action_id: str


class Doors(Widget):
    """A line of pieces, some of which do an action when they are clicked."""

    DEFAULT_CSS = "Doors { height: 1; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._content = Content("")
        self._doors: list[tuple[int, int, str]] = []

    def draw(self, pieces: Iterable[tuple[str, str, str]]) -> None:
        """Show (text, tone, action id or "") pieces."""
        shown: Pieces = []
        doors = []
        x = 0
        for text, tone, door in pieces:
            shown.append((text, tone))
            wide = cell_len(clean(text))
            if door:
                doors.append((x, x + wide, door))
            x += wide
        self._doors = doors
        content = joined(shown)
        if not content.is_same(self._content):
            self._content = content
            self.refresh()

    def render(self) -> Content:
        """The line."""
        return self._content

    def on_click(self, event: events.Click) -> None:
        """Open the door under the pointer."""
        x = event.x - self.styles.padding.left
        for start, end, action_id in self._doors:
            if start <= x < end:
                self.post_message(Clicked(action_id))


class Rail(Doors):
    """The nine sections in one line; under 100 columns only the current one has its name."""

    def show(self, current: str, badges: dict[str, int], width: int) -> None:
        """Draw for a terminal of `width` columns; `badges` are counts beside a title."""
        room = width - 4
        for short, gap in ((False, "   "), (False, "  "), (False, " "), (True, "   ")):
            if width < COLLAPSE_BELOW and not short:
                continue
            pieces = self._pieces(current, badges, short, gap)
            if sum(cell_len(text) for text, _, _ in pieces) <= room:
                break
        self.draw(pieces)

    @staticmethod
    def _pieces(current: str, badges: dict[str, int], short: bool, gap: str) -> list[tuple[str, str, str]]:
        pieces: list[tuple[str, str, str]] = []
        for number, section, title in SECTION_TITLES:
            here = section == current
            badge = badges.get(section, 0)
            door = f"go.{section}"
            if pieces:
                pieces.append((gap, "", ""))
            pieces.append((number, "key" if here else "muted", door))
            if here or not short:
                pieces.append((f" {title}", "strong" if here else "", door))
            if badge:
                pieces.append((f" {badge if badge < 1000 else '999+'}", "bad", door))
        return pieces


class Trail(Doors):
    """Where the person is, at the left, and what the engine does, at the right."""

    def show(self, crumbs: Sequence[str], right: Sequence[tuple[str, str]], width: int) -> None:
        """Draw for a line of `width` columns; the left side gives way."""
        sign = glyphs.current()
        tail = sum(cell_len(clean(text)) for text, _ in right)
        room = max(10, width - tail - 2)
        pieces: Pieces = []
        for index, crumb in enumerate(crumbs):
            if index:
                pieces.append((f" {sign.crumb} ", "muted"))
            pieces.append((crumb, "strong" if index == len(crumbs) - 1 else "muted"))
        left = joined(pieces).truncate(room, ellipsis=True)
        self.styles.height = 1
        padding = " " * max(1, width - left.cell_length - tail)
        content = Content.assemble(left, padding, joined(right))
        self._doors = []
        if not content.is_same(self._content):
            self._content = content
            self.refresh()


class KeyBar(Doors):
    """What works here and now; what does not is dim."""

    def show(self, actions: Sequence[Action], context: Context, width: int) -> None:
        """Draw as many actions as fit, the most useful first, and always help at the end.

        Where not all of them fit, those that do not work now give way: help has them, with the reason.
        """
        anchor = [action for action in actions if action.id in ("help", "quit")]
        rest = [action for action in actions if action not in anchor]
        room = width - sum(self._width(action) for action in anchor)
        if sum(map(self._width, rest)) > room:
            rest = [action for action in rest if action.unavailable(context) is None]
        chosen: list[Action] = []
        for action in rest:
            wide = self._width(action)
            if wide > room:
                break
            chosen.append(action)
            room -= wide
        pieces: list[tuple[str, str, str]] = []
        for action in [*chosen, *anchor]:
            works = action.unavailable(context) is None
            pieces.append((key_name(action.keys[0]), "key" if works else "faint", action.id))
            pieces.append((f" {action.label}", "muted" if works else "faint", action.id))
            pieces.append(("   ", "", ""))
        self.draw(pieces)

    @staticmethod
    def _width(action: Action) -> int:
        return len(key_name(action.keys[0])) + 1 + cell_len(action.label) + 3
