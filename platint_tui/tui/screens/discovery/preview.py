"""A few real records of a stream, as they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.tui import glyphs
from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.present import joined
from platint_tui.tui.widgets.payload import PayloadView


class PreviewScreen(Dialog[None]):
    """Records in a foldable tree; `v` shows them raw."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "preview.tcss"]  # type: ignore[assignment]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "turn", "Raw or tree", show=False)]

    def __init__(self, title: str, records: Sequence[str]) -> None:
        super().__init__()
        self.add_class("previewing", "wide", "tall")
        self._title = title
        self._records = records

    def compose(self) -> ComposeResult:
        """Title, records, keys."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            yield PayloadView(ascii_only=glyphs.current() is glyphs.ASCII)
            keys = [("enter", "key"), (" fold   ", "muted"), ("v", "key"), (" raw or tree   ", "muted")]
            yield Static(joined([*keys, ("esc", "key"), (" close", "muted")]), markup=False)

    def on_mount(self) -> None:
        """Show the records."""
        view = self.query_one(PayloadView)
        view.show("[" + ",\n".join(self._records) + "]")
        view.focus()

    def action_turn(self) -> None:
        """Raw or tree."""
        self.query_one(PayloadView).change_mode()
