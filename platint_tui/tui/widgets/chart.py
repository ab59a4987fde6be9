"""A line chart in braille dots and its scale. The drawing is a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.geometry import Size
from textual.strip import Strip

from platint_tui.tui.widgets.cells import fit
from platint_tui.tui.widgets.lineview import LineView

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; None where nothing was measured. Later series are drawn over earlier ones."""

    name: str
    values: Sequence[float | None]
    tone: str


def nice_top(value: float) -> float:
    """The least round number (1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten) not below `value`; 1 for 0."""
    if not value > 1e-9 or math.isinf(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0):
        if step * power >= value * (1 - 1e-9):
            return step * power
    return 10.0 * power


def plot(
    series: Sequence[Series], width: int, height: int, top: float, *, ascii_only: bool = False
) -> list[list[tuple[str, str]]]:
    """`height` lines of `width` cells as (text, tone) pieces: each series as a connected line over 0..`top`.

    A cell that several series cross has the tone of the last. With `ascii_only` a point is a `*`.
    """
    dots = [bytearray(width) for _ in range(height)]
    owner = [bytearray(width) for _ in range(height)]
    for number, line in enumerate(series, 1):
        for x, upper, lower in _columns(line.values, width * 2, height * 4, top):
            for y in range(upper, lower + 1):
                dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
                owner[y // 4][x // 2] = number
    tones = ["", *(line.tone for line in series)]
    result = []
    for row_dots, row_owner in zip(dots, owner, strict=True):
        pieces: list[tuple[str, str]] = []
        for mask, who in zip(row_dots, row_owner, strict=True):
            char = " " if not mask else "*" if ascii_only else chr(_BLANK + mask)
            if pieces and pieces[-1][1] == tones[who]:
                pieces[-1] = (pieces[-1][0] + char, tones[who])
            else:
                pieces.append((char, tones[who]))
        result.append(pieces)
    return result


def _columns(
    values: Sequence[float | None], width: int, height: int, top: float
) -> list[tuple[int, int, int]]:
    """(x, first y, last y) of every dot column that the line crosses; y 0 is the top."""
    points: list[tuple[int, int] | None] = []
    last = max(1, len(values) - 1)
    for index, value in enumerate(values):
        if value is None or math.isnan(value):
            points.append(None)
            continue
        share = max(0.0, min(1.0, value / top))
        points.append((round(index * (width - 1) / last), round((1 - share) * (height - 1))))
    found: list[tuple[int, int, int]] = []
    before: tuple[int, int] | None = None
    for point in points:
        if point is not None:
            if before is None or before[0] == point[0]:
                y0 = before[1] if before is not None else point[1]
                found.append((point[0], min(y0, point[1]), max(y0, point[1])))
            else:
                found += _segment(before, point)
        before = point
    return found


def _segment(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int, int]]:
    (x0, y0), (x1, y1) = start, end
    result = []
    previous = y0
    for x in range(x0, x1 + 1):
        y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        result.append((x, min(previous, y), max(previous, y)))
        previous = y
    return result


class LineChart(LineView):
    """A chart with a scale at its left and times under it."""

    DEFAULT_CSS = "LineChart { height: 1fr; min-height: 4; overflow: hidden hidden; }"

    def __init__(
        self,
        *,
        label: Callable[[float], str],
        ascii_only: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._label = label
        self._ascii = ascii_only
        self._series: tuple[Series, ...] = ()
        self._times: tuple[str, ...] = ()
        self._note = ""
        self._lines: list[list[tuple[str, str]]] = []
        self._drawn = Size(-1, -1)

    def show(self, series: Sequence[Series], times: Sequence[str], *, note: str = "") -> None:
        """Draw these lines with `times` under them from left to right; `note` stands for no values at all."""
        self._series = tuple(series)
        self._times = tuple(times)
        self._note = note
        self._drawn = Size(-1, -1)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        if self._drawn != self.size:
            self._drawn = self.size
            self._lines = self._draw(self.size.width, self.size.height)
        return self.strip_of(self._lines[y] if y < len(self._lines) else [], self.size.width)

    def _draw(self, width: int, height: int) -> list[list[tuple[str, str]]]:
        values = [value for line in self._series for value in line.values if value is not None]
        if not values:
            return [[], [("  " + fit(self._note, max(0, width - 2)), "muted")]]
        top = nice_top(max(values))
        rows = max(1, height - 1)
        marks = {0: self._label(top), rows - 1: self._label(0.0)}
        if rows >= 7:
            marks[(rows - 1) // 2] = self._label(top * (1 - ((rows - 1) // 2 + 0.5) / rows))
        gutter = max(len(mark) for mark in marks.values()) + 2
        inner = max(1, width - gutter)
        wall = "|" if self._ascii else "│"
        picture = plot(self._series, inner, rows, top, ascii_only=self._ascii)
        lines = [
            [(marks.get(row, "").rjust(gutter - 2) + " ", "muted"), (wall, "muted"), *picture[row]]
            for row in range(rows)
        ]
        lines.append([(" " * gutter + _spread(self._times, inner), "muted")])
        return lines


def _spread(texts: Sequence[str], width: int) -> str:
    """Texts from the left edge to the right edge with even gaps; as many as fit."""
    while len(texts) > 2 and sum(map(len, texts)) + 3 * len(texts) > width:
        texts = [*texts[:-1:2], texts[-1]] if len(texts) % 2 else [texts[0], texts[-1]]
    if not texts:
        return ""
    line = [" "] * width
    for index, text in enumerate(texts):
        at = round(index * (width - len(text)) / max(1, len(texts) - 1))
        line[max(0, at) : max(0, at) + len(text)] = text
    return "".join(line)[:width]
