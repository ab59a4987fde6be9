"""Everything that changed against the discovery before."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.core.model import CatalogueChange
from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.present import joined
from platint_tui.tui.screens.discovery.words import all_changes
from platint_tui.tui.widgets.lines import LinesView


class ChangesScreen(Dialog[None]):
    """Breaking changes first, with the integrations that use what changed."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "preview.tcss"]  # type: ignore[assignment]  # noqa: RUF012

    def __init__(self, title: str, changes: Sequence[CatalogueChange]) -> None:
        super().__init__()
        self.add_class("previewing", "wide", "tall")
        self._title = title
        self._changes = changes

    def compose(self) -> ComposeResult:
        """Title, changes, keys."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            yield LinesView()
            yield Static(
                joined([("j k", "key"), (" scroll   ", "muted"), ("esc", "key"), (" close", "muted")])
            )

    def on_mount(self) -> None:
        """Show the changes."""
        view = self.query_one(LinesView)
        view.show(all_changes(self._changes))
        view.focus()
