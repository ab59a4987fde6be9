"""Text in cells and columns: whatever it is, it takes exactly the room that it was given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from platint_tui.core.text import clean
from platint_tui.tui.widgets.cells import GAP, Cell, Column, fit, layout, tame


def column(width: int, grow: int, priority: int, most: int) -> Column[str]:
    return Column("c", Cell, width, grow=grow, priority=priority, most=most)


COLUMNS = st.lists(
    st.builds(
        column, st.integers(1, 40), st.integers(0, 4), st.integers(0, 6), st.sampled_from([0, 10, 50, 90])
    ),
    max_size=12,
)


@given(COLUMNS, st.integers(-5, 300))
def test_columns_fit_their_screen(columns: list[Column[str]], available: int) -> None:
    slots = layout(columns, available)
    if not columns or available <= 0:
        assert slots == []
        return
    assert slots
    end = 0
    for number, slot in enumerate(slots):
        assert slot.x == (end + GAP if number else 0)
        assert slot.width >= (
            min(columns[slot.index].width, available) if len(slots) == 1 else columns[slot.index].width
        )
        end = slot.x + slot.width
    assert end <= max(available, 0)
    assert [slot.index for slot in slots] == sorted(slot.index for slot in slots)


@given(COLUMNS, st.integers(1, 300))
def test_a_column_that_is_left_out_is_less_important(columns: list[Column[str]], available: int) -> None:
    shown = {slot.index for slot in layout(columns, available)}
    gone = set(range(len(columns))) - shown
    if shown and gone:
        worst = min(columns[index].priority for index in gone)
        assert all(columns[index].priority <= worst for index in shown)


@given(st.text(max_size=200), st.integers(0, 80), st.sampled_from(["left", "right"]))
def test_M5_text_takes_exactly_its_cells(text: str, width: int, align: str) -> None:
    shown = fit(text, width, align)
    assert cell_len(shown) == width
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 5, "abcd…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日… "),
        ("\x1b[2J", 5, "␛[2J "),
        ("[red]x", 6, "[red]x"),
    ],
)
def test_long_text_is_cut_with_an_ellipsis(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown


def test_M5_a_flood_of_combining_marks_is_dammed() -> None:
    assert len(tame("e" + "\u0301" * 500)) == 3
    assert cell_len(fit("e" + "\u0301" * 100_000, 10)) == 10
