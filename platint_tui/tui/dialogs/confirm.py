"""Ask before something that cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input

from platint_tui.tui.dialogs.base import Dialog, label, paragraphs, words
from platint_tui.tui.present import plural
from platint_tui.tui.widgets.inputs import LineInput


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is about to happen, so that a person can say yes to it.

    `lines` are shown under the title; they may be remote text. `host`, `method` and `count` name where it
    goes and how much. `typed` is a name (of the profile) that has to be typed first: see `needs_name`.
    """

    title: str
    verb: str
    lines: tuple[str, ...] = ()
    host: str = ""
    method: str = ""
    count: int | None = None
    typed: str = ""
    noun: str = "record"


BULK = 50
"""More objects than this at once want the profile's name typed."""


def needs_name(*, environment: str = "", count: int = 1, deletes: bool = False) -> bool:
    """Whether an action must be confirmed by typing the profile's name."""
    return environment == "production" or count > BULK or deletes


class ConfirmScreen(Dialog[bool]):
    """The question. Focus is on Cancel; `y` confirms, or the name has to be typed and the button pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Confirm", show=False),
        Binding("n", "leave", "Cancel", show=False),
    ]

    def __init__(self, confirmation: Confirmation) -> None:
        super().__init__()
        self._confirmation = confirmation

    def compose(self) -> ComposeResult:
        """Title, what happens where, the name if it is wanted, and the two buttons."""
        asked = self._confirmation
        with Vertical():
            yield words(asked.title, "strong", classes="title")
            if asked.lines:
                yield words(paragraphs(asked.lines), classes="text")
            facts = self._facts()
            if facts:
                yield words("\n".join(facts), "muted", classes="text")
            if asked.typed:
                yield words(f"Type {asked.typed} to confirm.", "warn")
                yield LineInput(id="name")
            with Horizontal(classes="buttons"):
                yield Button(label("Cancel  n"), id="cancel")
                verb = asked.verb if asked.typed else f"{asked.verb}  y"
                yield Button(label(verb), id="confirm", classes="danger", disabled=bool(asked.typed))

    def _facts(self) -> list[str]:
        asked = self._confirmation
        facts = []
        if asked.host:
            facts.append(f"where   {asked.host}")
        if asked.method:
            facts.append(f"how     {asked.method}")
        if asked.count is not None:
            facts.append(f"count   {plural(asked.count, asked.noun)}")
        return facts

    def on_mount(self) -> None:
        """The safe choice has the focus."""
        self.query_one("#cancel", Button).focus()

    @on(Input.Changed, "#name")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#confirm", Button).disabled = event.value != self._confirmation.typed

    @on(Input.Submitted, "#name")
    def _submitted(self) -> None:
        self.action_confirm()

    @on(Button.Pressed, "#confirm")
    def _pressed(self) -> None:
        self.action_confirm()

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self.dismiss(False)

    def action_confirm(self) -> None:
        """Confirm, when a wanted name has been typed."""
        if not self.query_one("#confirm", Button).disabled:
            self.dismiss(True)

    def action_leave(self) -> None:
        """Cancel."""
        self.dismiss(False)
