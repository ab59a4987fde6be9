"""Text in terminal cells: cleaning, clamping and the geometry of columns. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size

from platint_tui.core.text import clean

R = TypeVar("R")

ELLIPSIS = "…"
GAP = 2
_TAIL = 8
_MARKS = 2
_ASCII = re.compile("[\x20-\x7e]*")


class Cell(NamedTuple):
    """What a column shows for one row; `tone` is one of TONES and never the only carrier of the meaning."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """A column of a table.

    `width` is the least number of cells, `grow` its share of the space that is left. A column with a
    `priority` above 0 goes when the screen is too narrow, the highest first.
    """

    title: str
    render: Callable[[R], Cell]
    width: int
    grow: int = 0
    align: Literal["left", "right"] = "left"
    priority: int = 0
    most: int = 0
    """Cells beyond which a growing column does not grow; 0 means no limit."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a column is drawn: its index, first cell and width."""

    index: int
    x: int
    width: int


def tame(text: str) -> str:
    """`text` without control characters and without floods of combining marks (at most two per character)."""
    text = clean(text)
    if text.isascii():
        return text
    parts: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run <= _MARKS:
            parts.append(char)
    return "".join(parts)


def fit(text: str, width: int, align: str = "left") -> str:
    """`text` on exactly `width` cells: cleaned, cut with an ellipsis when too long, padded when short."""
    if width <= 0:
        return ""
    # Cut before measuring: a cell of a table must not cost what a payload of megabytes costs.
    longer = len(text) > width * _TAIL
    text = tame(text[: width * _TAIL])
    size = len(text) if _ASCII.fullmatch(text) else cell_len(text)
    if size > width or longer:
        text = set_cell_size(text, width - 1).rstrip() + ELLIPSIS
        size = cell_len(text)
    padding = " " * (width - size)
    return padding + text if align == "right" else text + padding


def layout(columns: Sequence[Column[R]], available: int, gap: int = GAP) -> list[Slot]:
    """Where each column goes on `available` cells.

    Columns that do not fit are left out, the highest priority number first, then from the right; the last one
    that remains is clamped.
    """
    chosen = list(range(len(columns)))
    while len(chosen) > 1 and _need(columns, chosen, gap) > available:
        chosen.remove(max(chosen, key=lambda index: (columns[index].priority, index)))
    if not chosen or available <= 0:
        return []
    widths = {index: columns[index].width for index in chosen}
    if len(chosen) == 1:
        widths[chosen[0]] = min(widths[chosen[0]], available)
    _share(columns, widths, available - _total(list(widths.values()), gap))
    slots: list[Slot] = []
    x = 0
    for index in chosen:
        slots.append(Slot(index, x, widths[index]))
        x += widths[index] + gap
    return slots


def _need(columns: Sequence[Column[R]], chosen: Sequence[int], gap: int) -> int:
    return _total([columns[index].width for index in chosen], gap)


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _share(columns: Sequence[Column[R]], widths: dict[int, int], free: int) -> None:
    """Give `free` cells to the growing columns by their share, none beyond its limit."""
    while free > 0:
        growing = [
            index
            for index in widths
            if columns[index].grow and (not columns[index].most or widths[index] < columns[index].most)
        ]
        if not growing:
            return
        shares = sum(columns[index].grow for index in growing)
        before = free
        for index in growing:
            column = columns[index]
            more = max(1, before * column.grow // shares)
            if column.most:
                more = min(more, column.most - widths[index])
            more = min(more, free)
            widths[index] += more
            free -= more
            if not free:
                return
