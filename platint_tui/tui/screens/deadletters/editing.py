"""Editing a payload: a text area with live validation, and the difference before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Static, TextArea

from platint_tui.core.errors import PlatintError
from platint_tui.core.jsontext import loads
from platint_tui.core.patch import Patch
from platint_tui.core.text import clean
from platint_tui.services.edits import EditCheck
from platint_tui.tui.dialogs.base import Dialog
from platint_tui.tui.present import joined, toned
from platint_tui.tui.widgets import jsonview
from platint_tui.tui.widgets.inputs import JsonArea
from platint_tui.tui.widgets.lines import LinesView, difference

MOST_IN_PLACE = 256 * 1024
_CHECK_SECONDS = 0.15
_KEPT = "The original is kept. The edited copy is stored, nothing is sent."

Checker = Callable[[str], Awaitable[EditCheck]]


def editable(text: str) -> str:
    """A payload as a person edits it: indented, numbers as they are, control characters as escapes."""
    try:
        return jsonview.pretty(jsonview.parse(text))
    except ValueError:
        return clean(text, lines=True)


def problem_of(text: str) -> str:
    """Why a text cannot be a record, "" when it can."""
    try:
        value = loads(text)
    except PlatintError as error:
        try:
            json.loads(text)
        except json.JSONDecodeError as place:
            return f"Line {place.lineno}, column {place.colno}: {place.msg}."
        except (ValueError, RecursionError):
            pass
        return error.message
    return "" if isinstance(value, dict) else "A record is an object: {…}."


class EditScreen(Dialog[str]):
    """Edit a payload. `ctrl+s` shows the difference, then saves; escape goes back, never dropping work at once.

    `check` says what the schemas of stream and target have against an edit; it is asked before it may be saved.
    """

    # A list adds to the rules of every dialog those of this one.
    CSS_PATH = ["../../dialogs/dialog.tcss", "editing.tcss"]  # type: ignore[assignment]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,f2", "forward", "Review, then save", show=False, priority=True),
    ]

    def __init__(
        self, title: str, original: str, edited: str | None = None, *, check: Checker | None = None
    ) -> None:
        super().__init__()
        self._checker = check
        self.patch: Patch = ()
        """The edit as steps, once it was reviewed."""
        self.add_class("editing", "tall", "wide")
        self._title = title
        self._original = original
        self._text = original if edited is None else edited
        self._reviewing = False
        self._warned = False
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, the text or the difference, what is wrong with it, buttons."""
        with Vertical():
            yield Static(toned(self._title, "strong"), classes="title", markup=False)
            area = JsonArea(self._text, id="text")
            area.highlight_cursor_line = True
            yield area
            yield LinesView(id="difference")
            yield Static("", id="verdict", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(Content("Cancel  esc"), id="cancel")
                yield Button(Content("Review  ^s"), id="forward")

    def on_mount(self) -> None:
        """Ready to type; an edit from outside is shown as a difference first."""
        self._check()
        if self._text != self._original:
            self._review()
        else:
            self.query_one("#text", TextArea).focus()

    @on(TextArea.Changed)
    def _typed(self) -> None:
        self._warned = False
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_CHECK_SECONDS, self._check)

    @property
    def _edited(self) -> str:
        return self.query_one("#text", TextArea).text

    def _check(self) -> str:
        problem = problem_of(self._edited)
        if problem:
            verdict = toned(problem, "bad")
        elif self._edited == self._original:
            verdict = toned("Nothing changed yet.", "muted")
        else:
            verdict = toned("Valid JSON. ^s shows what changed.", "ok")
        if not self._reviewing:
            self.query_one("#verdict", Static).update(verdict)
        return problem

    @on(Button.Pressed, "#forward")
    def action_forward(self) -> None:
        """From the text to the difference, from there to saving."""
        if self._reviewing:
            self.dismiss(self._edited)
        else:
            self._review()

    def _review(self) -> None:
        if self._check():
            self.query_one("#text", TextArea).focus()
            return
        if self._edited == self._original:
            self.query_one("#verdict", Static).update(toned("Nothing was changed.", "warn"))
            return
        self._reviewing = True
        self.add_class("-review")
        view = self.query_one("#difference", LinesView)
        view.show(difference(self._original, self._edited))
        view.focus()
        self._verdict([(_KEPT, "muted")])
        if self._checker is not None:
            self.run_worker(self._judge(self._checker), group="judge", exclusive=True)
        self.query_one("#forward", Button).label = Content("Save  ^s")
        self.query_one("#cancel", Button).label = Content("Back  esc")

    async def _judge(self, check: Checker) -> None:
        """What the schemas say of the edit: errors do not hinder saving, the person decides."""
        try:
            found = await check(self._edited)
        except PlatintError as error:
            found = EditCheck((error.sentence(),), (), (), ())
        self.patch = found.patch
        if self._reviewing:
            pieces = [(f"The target would refuse this: {text}\n", "bad") for text in found.errors]
            pieces += [(f"{text}\n", "warn") for text in found.warnings]
            if not found.errors:
                pieces.append(("Nothing is known that would refuse it. ", "ok"))
            self._verdict([*pieces, (_KEPT, "muted")])

    def _verdict(self, pieces: list[tuple[str, str]]) -> None:
        self.query_one("#verdict", Static).update(joined(pieces, lines=True))

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """One step back: from the difference to the text, from there out; changes are dropped knowingly."""
        if self._reviewing:
            self._reviewing = False
            self.remove_class("-review")
            self.query_one("#forward", Button).label = Content("Review  ^s")
            self.query_one("#cancel", Button).label = Content("Cancel  esc")
            self.query_one("#text", TextArea).focus()
            self._check()
        elif self._edited != self._original and not self._warned:
            self._warned = True
            text = "There are changes. Escape again drops them, ^s keeps them."
            self.query_one("#verdict", Static).update(toned(text, "warn"))
        else:
            self.dismiss(None)
