"""Pasted text as one event, whatever it holds.

The screen library reads escape sequences inside a bracketed paste as keys: a pasted text with an ESC in it
comes out in another order, its end before its beginning, and may press keys. Here an ESC inside a paste is
replaced by SUB before the library sees it; the inputs take both out.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

BEGIN, END = "\x1b[200~", "\x1b[201~"
_SUB = "\x1a"


class PasteGuard:
    """Takes ESC out of bracketed pastes in a stream of text that comes in pieces."""

    def __init__(self) -> None:
        self._inside = False
        self._tail = ""

    def pass_on(self, data: str) -> str:
        """What may be read of the stream now. Inside a paste the beginning of its end mark waits for the rest."""
        parts: list[str] = []
        while data:
            before, found, data = self._inner(data) if self._inside else self._outer(data)
            parts += [before, found]
            if found:
                self._inside = not self._inside
        return "".join(parts)

    def _outer(self, data: str) -> tuple[str, str, str]:
        """Up to the begin of a paste; nothing waits, a lone ESC is a key."""
        seen = self._tail + data
        at = seen.find(BEGIN)
        if at < 0:
            self._tail = seen[-(len(BEGIN) - 1) :]
            return data, "", ""
        cut = at + len(BEGIN) - len(self._tail)
        self._tail = ""
        return "", data[:cut], data[cut:]

    def _inner(self, data: str) -> tuple[str, str, str]:
        """Up to the end of a paste."""
        data, self._tail = self._tail + data, ""
        before, found, after = data.partition(END)
        if not found:
            held = next((size for size in range(len(END) - 1, 0, -1) if before.endswith(END[:size])), 0)
            before, self._tail = before[: len(before) - held], before[len(before) - held :]
        return before.replace("\x1b", _SUB), found, after


class PasteParser(XTermParser):
    """The parser of the terminal's input, behind the guard."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._guard = PasteGuard()

    def feed(self, data: str) -> Iterable[Message]:
        """Events of the next piece of input."""
        passed = self._guard.pass_on(data)
        # An empty text would be the end of the input.
        return super().feed(passed) if passed or not data else ()


def install() -> None:
    """Let the driver of the terminal use this parser; it names its parser in its module."""
    vars(linux_driver)["XTermParser"] = PasteParser
