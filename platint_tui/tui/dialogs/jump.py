"""Move the focus to a pane by its letter."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.listing import Listing
from platint_tui.tui.panel import Panel
from platint_tui.tui.present import joined
from platint_tui.tui.sections import SectionView

_LETTERS = "abcdefghiklmnopqrstuvwxyz"


class JumpScreen(Dialog[None]):
    """The panes of a view, each with a letter."""

    def __init__(self, view: SectionView) -> None:
        super().__init__()
        self._panes = dict(zip(_LETTERS, view.panes(), strict=False))

    def compose(self) -> ComposeResult:
        """The letters."""
        with Vertical():
            yield words("Jump to", "strong", classes="title")
            for letter, pane in self._panes.items():
                yield Static(joined([(f"{letter}  ", "key"), (_name(pane), "")]), markup=False)

    def on_key(self, event: events.Key) -> None:
        """Focus the pane of the letter."""
        pane = self._panes.get(event.key)
        if pane is not None:
            event.stop()
            self.dismiss(None)
            pane.focus()


def _name(pane: Widget) -> str:
    """The heading of the panel around it, else what the widget calls itself."""
    for around in pane.ancestors_with_self:
        if isinstance(around, Panel):
            return around.title
        if isinstance(around, Listing) and around.heading:
            return around.heading
    return (pane.name or pane.id or "pane").replace("-", " ")
