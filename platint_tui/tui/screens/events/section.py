"""Events: webhooks as they arrive. No receiver can be configured in this version, and the view says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Center
from textual.widgets import Static

from platint_tui.tui.present import joined
from platint_tui.tui.sections import SectionView

if TYPE_CHECKING:
    from platint_tui.services.workspace import Workspace


class EventsSection(SectionView, can_focus=True):
    """The empty state, honest about why it is empty."""

    SECTION = "events"
    EMPTY = "No events."

    def compose(self) -> ComposeResult:
        """The sentences."""
        text = joined(
            [
                ("No events.\n\n", "strong"),
                ("This version has no webhook receiver, so nothing can arrive here.\n", ""),
                ("Events will be listed once a receiver can be configured, in a later version.\n\n", ""),
                ("Until then syncs read from the platforms: ", "muted"),
                ("4", "key"),
                (" shows them.", "muted"),
            ],
            lines=True,
        )
        with Center(classes="empty"):
            yield Static(text, markup=False)

    async def load(self, workspace: Workspace) -> None:
        """There is nothing to read."""

    def show(self, snapshot: None) -> None:
        """There is nothing to show."""

    def focus_first(self) -> None:
        """The view itself."""
        self.focus()
