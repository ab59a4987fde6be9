"""The edge between data and a terminal: nothing that moves, hides or turns text around gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.text import LONGEST_LINE, clean, one_line

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
SIGNS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Format characters that are signs to be seen, before or around numbers of some scripts."""
INVISIBLE = [
    0xAD,
    0x34F,
    0x61C,
    0x115F,
    0x17B4,
    0x180E,
    0x200B,
    0x2062,
    0x3164,
    0xFEFF,
    0xFFA0,
    0xE0041,
    0xE0100,
]
nasty = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(
            ["\x1b[2J", "\x9b31m", "\x1b]0;x\x07", "\u202eabc\u202c", "\r\n", "\u2028", "\ud800", "\x7f"]
        ),
        st.sampled_from(INVISIBLE).map(chr),
    ),
    max_size=12,
).map("".join)


def unsafe(text: str) -> list[str]:
    """What a terminal would act on, or an eye would not see."""
    return [
        f"U+{ord(char):04X}"
        for char in text
        if (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp", "Cf") and ord(char) not in SIGNS)
        or unicodedata.bidirectional(char) in BIDI
        or ord(char) in INVISIBLE
    ]


@given(nasty)
def test_nothing_unsafe_survives(text: str) -> None:
    assert unsafe(clean(text)) == []
    kept = clean(text, lines=True)
    assert unsafe(kept.replace("\n", "").replace("\t", "")) == []
    assert kept.count("\n") == text.count("\n") and kept.count("\t") == text.count("\t")


@given(nasty)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    for lines in (False, True):
        once = clean(text, lines=lines)
        assert clean(once, lines=lines) == once and len(once) >= len(text)


@given(st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="\u115f\u1160\u3164\uffa0")))
def test_what_is_seen_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *INVISIBLE])
def test_each_of_them_is_shown_as_something(code: int) -> None:
    shown = clean(f"a{chr(code)}b")
    assert shown.startswith("a") and shown.endswith("b") and len(shown) > 2
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in shown)


@given(st.one_of(nasty, st.none(), st.integers(), st.lists(st.text())))
def test_one_line_is_one_short_line(value: object) -> None:
    line = one_line(value)
    assert len(line) <= LONGEST_LINE and unsafe(line) == [] and len(line.splitlines()) <= 1
    assert bool(line) == (isinstance(value, str) and bool(value.split()))
