"""A few real records of a stream as they came, and the exact requests that brought them."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from platint_tui.services.discovery import Preview
from platint_tui.tui import glyphs
from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.present import joined
from platint_tui.tui.screens.discovery.words import bad_lines, request_lines
from platint_tui.tui.widgets.lines import LinesView
from platint_tui.tui.widgets.payload import PayloadView


class PreviewScreen(Dialog[None]):
    """Records in a foldable tree (`v` shows them raw), and behind `tab` the requests."""

    CSS_PATH = ["../../dialogs/dialog.tcss", "preview.tcss"]  # type: ignore[assignment]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "turn", "Raw or tree", show=False),
        Binding("tab,shift+tab,right,left", "other", "Records or requests", show=False),
    ]

    def __init__(self, title: str, preview: Preview) -> None:
        super().__init__()
        self.add_class("previewing", "wide", "tall")
        self._title = title
        self._preview = preview
        self._requests = bool(preview.error or not preview.records)

    def compose(self) -> ComposeResult:
        """Title, what went wrong, records or requests, keys."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            if self._preview.error is not None:
                yield words(self._preview.error.sentence(), "bad", classes="problem")
            yield PayloadView(ascii_only=glyphs.current() is glyphs.ASCII)
            yield LinesView(id="requests")
            keys = [("tab", "key"), (" records or requests   ", "muted"), ("v", "key")]
            keys += [(" raw or tree   ", "muted"), ("esc", "key"), (" close", "muted")]
            yield Static(joined(keys), markup=False)

    def on_mount(self) -> None:
        """Show the records, or the requests where there are none."""
        texts = [str(record["raw"]) for record in self._preview.records]
        self.query_one(PayloadView).show("[" + ",\n".join(texts) + "]")
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Requests are broken into lines for the new width."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.query_one("#requests", LinesView)
        width = max(20, view.size.width - 2)
        bad = bad_lines(self._preview.bad, width)
        view.show([*bad, *([[]] if bad else []), *request_lines(self._preview.requests, width)], keep=True)

    def _show(self) -> None:
        records, requests = self.query_one(PayloadView), self.query_one("#requests", LinesView)
        records.display, requests.display = not self._requests, self._requests
        (requests if self._requests else records).focus()
        self.call_after_refresh(self._draw)

    def action_other(self) -> None:
        """Records or requests."""
        self._requests = not self._requests
        self._show()

    def action_turn(self) -> None:
        """Raw or tree."""
        if not self._requests:
            self.query_one(PayloadView).change_mode()
