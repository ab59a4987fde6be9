"""A payload as a foldable tree, or raw with line numbers; of any size, and harmless whatever it holds."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from platint_tui.core.text import clean
from platint_tui.tui.widgets import jsonview
from platint_tui.tui.widgets.cells import fit, tame
from platint_tui.tui.widgets.jsonview import Folding, Line, Path, Pieces
from platint_tui.tui.widgets.lineview import LineView

W = TypeVar("W")

INLINE = 64 * 1024
"""Payloads up to this many characters are parsed at once, larger ones in a thread."""


def text_of(payload: bytes) -> tuple[str, str]:
    """The text of a payload, and a note when it is no UTF-8 (its odd bytes are then shown as escapes)."""
    try:
        return payload.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        note = f"Not UTF-8 from byte {error.start:,} on; such bytes are shown as \\x escapes."
        return payload.decode("utf-8", "backslashreplace"), note


class RawText:
    """A text on rows of a width, with line numbers; finding a row costs no more in a large text."""

    def __init__(self, text: str, width: int) -> None:
        self.lines = clean(text.expandtabs(4) if "\t" in text else text, lines=True).split("\n")
        self.gutter = len(str(len(self.lines))) + 2
        self.width = width
        self._width = max(8, width - self.gutter)
        self._steps = bytearray()
        self._first = array("q")
        row = 0
        for line in self.lines:
            narrow = jsonview.is_narrow(line)
            step = self._width if narrow else max(1, self._width // 2)
            self._steps.append(1 if narrow else 2)
            self._first.append(row)
            row += max(1, -(-len(line) // step))
        self.height = row

    def row(self, index: int) -> Pieces:
        """One row: the number of its line where it begins one, and its text."""
        number = bisect_right(self._first, index) - 1
        step = max(1, self._width // self._steps[number])
        start = (index - self._first[number]) * step
        label = str(number + 1) if not start else ""
        return [
            (label.rjust(self.gutter - 2) + "  ", "muted"),
            (tame(self.lines[number][start : start + step]), ""),
        ]

    def row_of_line(self, number: int) -> int:
        """The first row of a line (from 0)."""
        return self._first[number]

    def find(self, needle: str, most: int = jsonview.MATCHES) -> list[int]:
        """Rows of the lines that contain `needle`, any case."""
        wanted = needle.casefold()
        found = []
        for number, line in enumerate(self.lines):
            at = line.casefold().find(wanted)
            if at >= 0:
                step = max(1, self._width // self._steps[number])
                found.append(self._first[number] + at // step)
                if len(found) == most:
                    break
        return found


class PayloadView(LineView, can_focus=True):
    """Shows one payload. Enter or the arrows fold, `v` (an action of the section) changes tree and raw."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("pagedown", "page(2)", "Page down", show=False),
        Binding("pageup", "page(-2)", "Page up", show=False),
        Binding("ctrl+d", "page(1)", "Half a page down", show=False),
        Binding("ctrl+u", "page(-1)", "Half a page up", show=False),
        Binding("g,home", "edge(-1)", "First line", show=False),
        Binding("G,end", "edge(1)", "Last line", show=False),
        Binding("enter", "fold", "Fold", show=False),
        Binding("right,l", "unfold", "Open", show=False),
        Binding("left,h", "fold_up", "Close", show=False),
        Binding("n", "match(1)", "Next match", show=False),
        Binding("N", "match(-1)", "Match before", show=False),
    ]

    DEFAULT_CSS = "PayloadView { height: 1fr; }"

    @dataclass
    class Searched(Message):
        """A search ended: how many places, and the one under the cursor (from 1)."""

        view: PayloadView
        count: int
        current: int

    def __init__(
        self, *, ascii_only: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._signs = ("-", "+", "<-", ">") if ascii_only else ("▾", "▸", "◂", "▌")
        self._text = ""
        self._root: Any = None
        self._folding = Folding()
        self._lines: list[Line] = []
        self._raw: RawText | None = None
        self._cursor = 0
        self._flaw: Path | None = None
        self._why = ""
        self._needle = ""
        self._matches: list[Any] = []
        self._match = -1
        self._parsed = False
        self._jobs = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.mode = "tree"
        """`tree` or `raw`."""
        self.note = ""
        """Why there is no tree, or what is odd about the payload; "" when all is well."""

    # --- what is shown ----------------------------------------------------------------------------------

    def show(self, payload: bytes | str, *, flaw: str = "", why: str = "") -> None:
        """Show a payload. `flaw` names the field (dotted) that was refused; `why` is written beside it."""
        text, note = text_of(payload) if isinstance(payload, bytes) else (payload, "")
        self._text, self.note, self._why = text, note, why
        self._root, self._lines, self._raw, self._flaw = None, [], None, None
        self._cursor, self._needle, self._matches, self._match = 0, "", [], -1
        self._parsed = False

        def take(found: tuple[Any, str]) -> None:
            self._take(found, flaw)
            self._arrange()

        self._beside(lambda: self._parse(text), take)
        self._arrange()

    async def settled(self) -> None:
        """Wait until a large payload has been parsed, laid out and searched."""
        await self._quiet.wait()

    def _beside(self, work: Callable[[], W], then: Callable[[W], None]) -> None:
        """Do `work` now, or in a thread for a large payload; `then` gets its result while that is still shown."""
        text = self._text
        if len(text) <= INLINE:
            then(work())
            return
        self._quiet.clear()
        self._jobs += 1

        async def run() -> None:
            try:
                found = await asyncio.to_thread(work)
                if text is self._text:
                    then(found)
            finally:
                self._jobs -= 1
                if not self._jobs:
                    self._quiet.set()

        self.run_worker(run(), group="payload")

    @staticmethod
    def _parse(text: str) -> tuple[Any, str]:
        try:
            return jsonview.parse(text), ""
        except ValueError as error:
            return None, str(error)

    def _take(self, found: tuple[Any, str], flaw: str) -> None:
        self._root, problem = found
        self._parsed = True
        if problem:
            self.note = f"{self.note} {problem}".strip()
            self.mode = "raw"
            return
        self._folding = jsonview.open_small(self._root)
        self._flaw = jsonview.path_of(self._root, flaw) if flaw else None
        if self._flaw is not None:
            jsonview.reveal(self._folding, self._flaw)

    def change_mode(self) -> str:
        """Tree or raw: the other one; stays raw when there is no tree. Returns the mode."""
        self.mode = "raw" if self.mode == "tree" else "tree"
        if self.mode == "tree" and self._parsed and self.note and self._root is None:
            self.mode = "raw"
        self._cursor, self._matches, self._match = 0, [], -1
        self._arrange()
        if self._needle:
            self.search(self._needle)
        return self.mode

    def _arrange(self) -> None:
        """Compute the lines for the width that there is."""
        width = self.size.width
        if self.mode == "raw" and (self._raw is None or self._raw.width != width - 1):
            self._raw, text = None, self._text
            self._beside(lambda: RawText(text, width - 1), self._take_raw)
        elif self.mode == "tree":
            self._lines = jsonview.flatten(self._root, self._folding, width - 2) if self._parsed else []
        self._cursor = max(0, min(self._cursor, self._height - 1))
        self.virtual_size = Size(width, self._height)
        self._reveal()
        self.refresh()

    def _take_raw(self, raw: RawText) -> None:
        self._raw = raw
        self.virtual_size = Size(self.size.width, raw.height)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Texts are wrapped for the new width."""
        if self._text or self._lines:
            self._arrange()

    def on_focus(self) -> None:
        """The cursor gets its full colour."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor pales."""
        self.refresh()

    # --- moving -----------------------------------------------------------------------------------------

    @property
    def _height(self) -> int:
        if self.mode == "raw":
            return self._raw.height if self._raw is not None else 0
        return len(self._lines)

    def _go(self, index: int) -> None:
        self._cursor = max(0, min(index, self._height - 1))
        self._reveal()
        self.refresh()

    def _reveal(self) -> None:
        height = max(1, self.size.height)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def action_move(self, step: int) -> None:
        """A line up or down."""
        self._go(self._cursor + step)

    def action_page(self, halves: int) -> None:
        """Half a page, or a page."""
        self._go(self._cursor + halves * max(1, self.size.height // 2))

    def action_edge(self, direction: int) -> None:
        """The first or the last line."""
        self._go(0 if direction < 0 else self._height - 1)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the cursor's line it folds."""
        index = event.y + self.scroll_offset.y
        if index == self._cursor:
            self.action_fold()
        elif index < self._height:
            self._go(index)

    # --- folding ----------------------------------------------------------------------------------------

    @property
    def _line(self) -> Line | None:
        return self._lines[self._cursor] if self.mode == "tree" and self._lines else None

    def action_fold(self) -> None:
        """Open or close the branch or the long text under the cursor; show more of a long branch."""
        line = self._line
        if line is None:
            return
        if line.kind == "more":
            self._folding.pages[line.path] = self._folding.pages.get(line.path, 1) + 1
            self._arrange()
        elif line.folds or line.kind == "part":
            self._folding.open ^= {line.path}
            self._arrange()
            self._go_to(line.path)

    def action_unfold(self) -> None:
        """Open what is under the cursor."""
        line = self._line
        if line is not None and (line.kind == "more" or (line.folds and not line.open)):
            self.action_fold()

    def action_fold_up(self) -> None:
        """Close what is under the cursor, or go to the branch that it is in."""
        line = self._line
        if line is None:
            return
        if line.folds and line.open:
            self.action_fold()
        elif line.path:
            self._go_to(line.path if line.kind in ("part", "more") else line.path[:-1])

    def _go_to(self, path: Path) -> None:
        for index, line in enumerate(self._lines):
            if line.path == path:
                self._go(index)
                return

    # --- searching --------------------------------------------------------------------------------------

    def search(self, needle: str) -> None:
        """Find `needle` in names and values (tree) or lines (raw) and go to the first; `Searched` tells how many."""
        self._needle = needle
        self._matches, self._match = [], -1
        root, raw = self._root, self._raw
        if not needle or not self._parsed or (raw is None and self.mode == "raw"):
            self._found([])
        elif self.mode == "raw" and raw is not None:
            self._beside(lambda: raw.find(needle), self._found)
        else:
            self._beside(lambda: jsonview.find(root, needle), self._found)

    def _found(self, matches: list[Any]) -> None:
        self._matches, self._match = matches, -1
        if matches:
            self.action_match(1)
        else:
            self.post_message(self.Searched(self, 0, 0))
        self.refresh()

    def action_match(self, step: int) -> None:
        """The next or the previous place that was found, round and round."""
        if not self._matches:
            return
        self._match = (self._match + step) % len(self._matches)
        found = self._matches[self._match]
        if self.mode == "raw":
            self._go(found)
        else:
            jsonview.reveal(self._folding, found)
            self._arrange()
            self._go_to(found)
        self.post_message(self.Searched(self, len(self._matches), self._match + 1))

    # --- drawing ----------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the tree or of the raw text."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= self._height:
            text = "  Reading…" if self._jobs and y == 0 else ""
            return self.strip_of([(text, "muted")], width)
        here = index == self._cursor
        look = ("cursor" if self.has_focus else "cursor-blurred") if here else "plain"
        if self.mode == "raw" and self._raw is not None:
            number, content = self._raw.row(index)
            pieces = [number, *self._lit(*content)]
        else:
            pieces = self._tree_pieces(self._lines[index], width)
        return self.strip_of([(self._signs[3] if here else " ", "accent"), *pieces], width, look)

    def _tree_pieces(self, line: Line, width: int) -> Pieces:
        indent = "  " * len(line.path)
        if line.kind == "part":
            return [
                (indent + "   ", ""),
                *self._lit(tame(line.value), "muted" if line.hint else ""),
            ]
        if line.kind == "more":
            return [(f"{indent}{self._signs[1]} {line.value}", "muted")]
        flawed = self._flaw is not None and line.path == self._flaw
        sign = (self._signs[0] if line.open else self._signs[1]) if line.folds else " "
        pieces: Pieces = [(f"{indent}{sign} ", "muted")]
        if line.name is not None:
            name = fit_free(line.name, 40)
            gap = " " * max(0, line.pad - cell_len(name))
            pieces += [*self._lit(name, "bad" if flawed else "key"), (f"{gap}  ", "")]
        room = max(6, width - 2 - sum(cell_len(text) for text, _ in pieces))
        tone = {"number": "accent", "word": "accent", "object": "muted", "array": "muted"}.get(line.kind, "")
        if line.kind == "long":
            tail = f"  {line.hint}"
            head = fit_free(line.value, max(4, room - len(tail) - 3))
            pieces += [('"', "muted"), *self._lit(head, tone), ('"' if line.open else '…"', "muted")]
            pieces.append((tail, "muted"))
        elif line.kind == "text":
            pieces += [('"', "muted"), *self._lit(fit_free(line.value, room - 2), tone), ('"', "muted")]
        else:
            pieces += self._lit(fit_free(line.value, room), tone)
        if flawed:
            pieces.append((f"  {self._signs[2]} {tame(self._why)}", "bad"))
        return pieces

    def _lit(self, text: str, tone: str) -> Pieces:
        """`text` with the places that were searched for lit up."""
        needle = self._needle.lower()
        low = text.lower()
        if not needle or len(low) != len(text) or needle not in low:
            return [(text, tone)]
        pieces: Pieces = []
        at = 0
        while (found := low.find(needle, at)) >= 0:
            pieces += [(text[at:found], tone), (text[found : found + len(needle)], "match")]
            at = found + len(needle)
        return [*pieces, (text[at:], tone)]


def fit_free(text: str, most: int) -> str:
    """`text` on at most `most` cells, without padding."""
    return fit(text, most).rstrip() if len(text) > most // 2 else tame(text)
