"""A titled part of a view: a quiet heading over a list or a text."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from platint_tui.tui.present import joined


class Panel(Vertical):
    """A heading, with a remark in a quiet tone beside it, over one widget."""

    DEFAULT_CSS = """
    Panel {
        height: auto;
        & > .heading { height: 1; padding: 0 0 0 2; }
    }
    """

    def __init__(
        self, title: str, body: Widget, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self._body = body

    def compose(self) -> ComposeResult:
        """Heading and body."""
        yield Static(joined([(self.title, "strong")]), classes="heading", markup=False)
        yield self._body

    def remark(self, text: str, tone: str = "muted") -> None:
        """Say something beside the heading."""
        heading = joined([(self.title, "strong"), ("   ", ""), (text, tone)])
        self.query_one(".heading", Static).update(heading)
