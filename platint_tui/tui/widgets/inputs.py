"""Inputs that hold no character which could move a terminal: the only ones that the console uses."""

from __future__ import annotations

import json
import re

from textual import events
from textual.widgets import Input, TextArea
from textual.widgets.text_area import Edit, EditResult

from platint_tui.core.text import clean

_LINE_ENDS = re.compile("\r\n|\r")


def harmless(text: str) -> str:
    """`text` without control, C1, bidi and zero-width characters."""
    return text if clean(text) == text else "".join(char for char in text if clean(char) == char)


def escaped(text: str) -> str:
    """JSON text with such characters as JSON escapes: inside a string they mean the same."""
    text = _LINE_ENDS.sub("\n", text)
    if clean(text, lines=True) == text:
        return text
    return "".join(
        char if clean(char, lines=True) == char else json.dumps(char, ensure_ascii=True)[1:-1]
        for char in text
    )


class LineInput(Input):
    """An input of one line; what is pasted comes as one line, and no value holds a harmful character."""

    def validate_value(self, value: str) -> str:
        """The value as it may be drawn."""
        return harmless(value)

    def replace(self, text: str, start: int, end: int) -> None:
        """Put `text` in the place of a part; the cursor is behind what was really put there."""
        super().replace(harmless(text), start, end)

    def on_paste(self, event: events.Paste) -> None:
        """What was pasted as one line, in order, as far as it has room."""
        event.stop()
        event.prevent_default()
        text = harmless("".join(event.text.strip().splitlines()))
        start, end = sorted(self.selection)
        if self.max_length:
            text = text[: max(0, self.max_length - len(self.value) + (end - start))]
        if text:
            self.replace(text, start, end)


class JsonArea(TextArea):
    """An area to edit JSON in; harmful characters come in as JSON escapes."""

    def __init__(self, text: str, *, id: str) -> None:
        super().__init__(escaped(text), show_line_numbers=True, compact=True, id=id)

    def load_text(self, text: str) -> None:
        """Begin with this text."""
        super().load_text(escaped(text))

    def edit(self, edit: Edit) -> EditResult:
        """Do one edit."""
        edit.text = escaped(edit.text)
        return super().edit(edit)
