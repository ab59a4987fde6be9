"""Ask for one line of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from platint_tui.tui.dialogs.base import Dialog, label, words
from platint_tui.tui.present import toned
from platint_tui.tui.widgets.inputs import LineInput


@dataclass(frozen=True, slots=True)
class Question:
    """One line of text wanted. `check` returns what is wrong with an answer, None when it is fine."""

    title: str
    label: str = ""
    value: str = ""
    placeholder: str = ""
    hint: str = ""
    verb: str = "OK"
    check: Callable[[str], str | None] | None = None


class AskScreen(Dialog[str]):
    """The question with its input; enter answers, escape leaves."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Title, label, input, what is wrong, hint."""
        asked = self._question
        with Vertical():
            yield words(asked.title, "strong", classes="title")
            if asked.label:
                yield words(asked.label)
            yield LineInput(asked.value, placeholder=asked.placeholder, id="answer")
            yield Static(id="problem", classes="problem", markup=False)
            if asked.hint:
                yield words(asked.hint, "muted", classes="hint")
            with Horizontal(classes="buttons"):
                yield Button(label("Cancel"), id="cancel")
                yield Button(label(asked.verb), id="answer-button")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one("#answer", Input).focus()

    @on(Input.Submitted)
    @on(Button.Pressed, "#answer-button")
    def _answered(self) -> None:
        value = self.query_one("#answer", Input).value.strip()
        problem = self._question.check(value) if self._question.check else None
        if not value and problem is None:
            problem = "Type something, or leave with escape."
        if problem is None:
            self.dismiss(value)
        else:
            self.query_one("#problem", Static).update(toned(problem, "bad"))

    @on(Button.Pressed, "#cancel")
    def _left(self) -> None:
        self.dismiss(None)
