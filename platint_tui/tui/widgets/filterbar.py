"""A line to type a filter or a search into: it speaks when the typing rests, and says what was found."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from platint_tui.tui.widgets.cells import tame
from platint_tui.tui.widgets.inputs import LineInput

DEBOUNCE_SECONDS = 0.13
MOST = 200


class FilterBar(Horizontal):
    """Hidden until `open` is called; `Changed` comes when nothing was typed for 130 ms."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; padding: 0 1; }
    FilterBar.-open { display: block; }
    FilterBar .sign { width: auto; color: $text-primary; }
    FilterBar Input { width: 1fr; border: none; height: 1; padding: 0; background: $background; }
    FilterBar Input:focus { border: none; background: $background; }
    FilterBar .found { width: auto; color: $foreground 60%; }
    """

    @dataclass
    class Changed(Message):
        """The text to look for, after the typing rested."""

        bar: FilterBar
        text: str

        @property
        def control(self) -> FilterBar:
            """The bar."""
            return self.bar

    @dataclass
    class Accepted(Message):
        """Enter was pressed: the filter stays and the list wants the focus."""

        bar: FilterBar

        @property
        def control(self) -> FilterBar:
            """The bar."""
            return self.bar

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._timer: Timer | None = None
        self._said = ""

    def compose(self) -> ComposeResult:
        """The sign, the input and what was found."""
        yield Static("/ ", classes="sign", markup=False)
        yield LineInput(compact=True, max_length=MOST, select_on_focus=False)
        yield Static("", classes="found", markup=False)

    @property
    def text(self) -> str:
        """What is being looked for."""
        return self._said

    @property
    def is_open(self) -> bool:
        """Whether the bar is shown."""
        return self.has_class("-open")

    def open(self) -> None:
        """Show the bar and type into it."""
        self.add_class("-open")
        self.query_one(Input).focus()

    def put(self, text: str) -> None:
        """Show the bar with a text already in it, and look for it."""
        self.add_class("-open")
        with self.prevent(Input.Changed):
            self.query_one(Input).value = text[:MOST]
        self._say(text[:MOST])

    def close(self) -> bool:
        """Clear and hide the bar; False when it was not open."""
        if not self.is_open:
            return False
        if self._timer is not None:
            self._timer.stop()
        with self.prevent(Input.Changed):
            self.query_one(Input).value = ""
        self.remove_class("-open")
        self.found("")
        if self._said:
            self._say("")
        return True

    def found(self, text: str) -> None:
        """Say what was found: `37 of 12,480`."""
        self.query_one(".found", Static).update(Content(tame(text)))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Wait until the typing rests."""
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE_SECONDS, lambda: self._say(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: look now, and give the focus back."""
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._say(event.value)
        self.post_message(self.Accepted(self))

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.post_message(self.Changed(self, text))
