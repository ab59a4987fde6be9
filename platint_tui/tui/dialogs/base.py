"""What the dialogs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from platint_tui.core.text import clean
from platint_tui.tui.present import toned

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """A modal screen that escape leaves with nothing decided."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave", show=False),
        Binding("tab,down,right", "app.focus_next", "Next", show=False),
        Binding("shift+tab,up,left", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(classes="dialog")

    def action_leave(self) -> None:
        """Close without a decision."""
        self.dismiss(None)


def words(text: str, tone: str = "", *, classes: str = "", id: str | None = None) -> Static:
    """A static text, cleaned; empty lines between paragraphs are kept."""
    return Static(toned(text, tone, lines=True), classes=classes, id=id, markup=False)


def label(text: str) -> Content:
    """The text of a button, cleaned, in the colour that the rules give it."""
    return Content(clean(text))


def paragraphs(lines: Sequence[str]) -> str:
    """Lines of a dialog as one text."""
    return "\n".join(lines)
