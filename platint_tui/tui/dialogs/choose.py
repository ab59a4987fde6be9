"""Choose one of a few things, by key or by button."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from platint_tui.tui.actions import key_name
from platint_tui.tui.dialogs.base import Dialog, label, paragraphs, words
from platint_tui.tui.present import joined

_BUTTONS = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices: what is returned, the key that takes it, its label and what it does."""

    id: str
    key: str
    label: str
    detail: str


class ChooseScreen(Dialog[str]):
    """The first choice has the focus; escape leaves with nothing decided."""

    def __init__(self, title: str, lines: tuple[str, ...], choices: tuple[Choice, ...]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._choices = choices
        self.set_class(len(choices) > 3, "wide")

    def compose(self) -> ComposeResult:
        """Title, lines, what each choice does, the buttons."""
        with Vertical():
            yield words(self._title, "strong", classes="title")
            if self._lines:
                yield words(paragraphs(self._lines), classes="text")
            wide = max(len(choice.label) for choice in self._choices)
            for choice in self._choices:
                pieces = [
                    (f"{key_name(choice.key):>3}  ", "key"),
                    (choice.label.ljust(wide + 2), ""),
                    (choice.detail, "muted"),
                ]
                yield Static(joined(pieces), markup=False)
            with Horizontal(classes="buttons"):
                # More buttons than fit would hide some of them; the keys above do the same.
                for choice in self._choices[: _BUTTONS if len(self._choices) <= _BUTTONS else 1]:
                    yield Button(label(choice.label), id=choice.id)

    def on_mount(self) -> None:
        """The first choice is the safe one."""
        self.query_one(f"#{self._choices[0].id}", Button).focus()

    def on_key(self, event: events.Key) -> None:
        """Take a choice by its key."""
        for choice in self._choices:
            if event.key == choice.key:
                event.stop()
                event.prevent_default()
                self.dismiss(choice.id)
                return

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)
