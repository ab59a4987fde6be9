"""What every key does here, and a short tour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from platint_tui.tui.actions import SECTION_TITLES, Action, Context, Registry, key_name
from platint_tui.tui.dialogs.base import Dialog, words
from platint_tui.tui.present import joined

TOUR = (
    ("Profiles", "accounts on platforms; secrets live in a keyring or vault, never here"),
    ("Discovery", "what an account offers: streams, fields, keys"),
    ("Syncs", "integrations that copy streams from one profile to another"),
    ("Dead letters", "records that were refused, kept whole; edit and replay them"),
    ("Events", "webhooks that arrived"),
    ("History", "every run, and what became of each stream"),
    ("Metrics", "latency and errors per platform and operation"),
)


_KEYS = 16


class HelpScreen(Dialog[None]):
    """Keys of this section first, then those that work everywhere, then the tour."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "leave", "Close", show=False),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, registry: Registry, section: str, context: Context) -> None:
        super().__init__()
        self.add_class("wide", "tall")
        self._registry = registry
        self._section = section
        self._now = context

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        title = next(title for _, section, title in SECTION_TITLES if section == self._section)
        lines: list[Content] = []
        own = self._registry.of(self._section, everywhere=False)
        if own:
            lines += [joined([(title, "strong")]), *self._table(own), Content("")]
        lines.append(joined([("Everywhere", "strong")]))
        lines += self._entry("1 to 9", "Show a section.", "key", "")
        lines += self._table(self._registry.of("", everywhere=False))
        lines += [Content(""), joined([("What is where", "strong")])]
        for name, text in TOUR:
            lines += self._entry(name, text, "key", "muted")
        with Vertical():
            yield words("Help", "strong", classes="title")
            with VerticalScroll(id="help"):
                yield Static(Content("\n").join(lines), markup=False)
            yield words("esc closes", "muted")

    def _table(self, actions: Iterable[Action]) -> list[Content]:
        lines: list[Content] = []
        for action in actions:
            if action.id.startswith("go."):
                continue
            keys = " ".join(key_name(key) for key in action.keys)
            reason = action.unavailable(self._now)
            lines += self._entry(keys, action.help, "faint" if reason else "key", "muted" if reason else "")
            if reason:
                lines += self._entry("", reason, "", "warn")
        return lines

    def _entry(self, keys: str, text: str, key_tone: str, tone: str) -> list[Content]:
        """Keys, and beside them the text, wrapped in its own column."""
        room = max(20, min(88, self.app.size.width - 14) - _KEYS)
        head = f"  {keys:<{_KEYS - 2}}"
        lines = []
        for part in textwrap.wrap(text, room) or [""]:
            lines.append(joined([(head, key_tone), (part, tone)]))
            head = " " * _KEYS
        return lines

    def action_scroll(self, step: int) -> None:
        """A line up or down."""
        self.query_one("#help", VerticalScroll).scroll_relative(y=step, animate=False)
