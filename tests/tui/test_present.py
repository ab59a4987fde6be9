"""The edge between model and view: words for values, harmless text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seeding import NOW_MS

from platint_tui.tui import glyphs, present, themes

DANGEROUS = {chr(code) for code in [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x202E, 0x2066, 0x200B, 0xFEFF]}


@pytest.mark.parametrize(
    ("ago_ms", "words"),
    [
        (0, "now"),
        (12_000, "12 s ago"),
        (200_000, "3 m ago"),
        (5 * 3_600_000 + 1, "5 h ago"),
        (26 * 3_600_000, "2026-03-01 12:05"),
        (-500_000, "2026-03-02 14:13"),
    ],
)
def test_an_age_is_relative_under_a_day(ago_ms: int, words: str) -> None:
    assert present.age(NOW_MS - ago_ms, NOW_MS) == words


def test_values_as_words() -> None:
    assert present.age(None, NOW_MS) == "never"
    assert present.count(12480) == "12,480"
    assert present.count(None) == "-"
    assert present.plural(1, "run") == "1 run"
    assert present.plural(2, "reply", "replies") == "2 replies"
    assert [present.duration(value) for value in (0.42, 59.4, 200, 18_120, 90_000, None)] == [
        "0.4 s",
        "59 s",
        "3 m 20 s",
        "5 h 02 m",
        "1 d 1 h",
        "-",
    ]
    assert present.countdown(NOW_MS + 200_500, NOW_MS) == "in 3 m 20 s"
    assert present.countdown(NOW_MS - 1, NOW_MS) == "now"
    assert [present.size(value) for value in (0, 999, 16_234, 1_500_000, None)] == [
        "0 B",
        "999 B",
        "16.2 kB",
        "1.5 MB",
        "-",
    ]
    assert [present.milliseconds(value) for value in (0.83, 38.2, 1240.0, None)] == [
        "0.8 ms",
        "38 ms",
        "1.24 s",
        "-",
    ]
    assert [present.percent(value) for value in (0, 0.004, 0.12, None)] == ["0 %", "0.4 %", "12 %", "-"]
    assert present.rate(340.4) == "340/s"
    assert present.rate(2.46, "requests") == "2.5/s requests"
    assert present.moment(10**18) == str(10**18)


def test_a_sparkline_has_the_width_that_was_asked_for() -> None:
    assert present.sparkline([0.0, None, 4.0], 5) == "  ▁ █"
    assert present.sparkline([], 3) == "   "
    assert present.sparkline([1.0], 0) == ""
    assert len(present.sparkline([float(value) for value in range(100)], 20)) == 20


def test_H13_progress_never_exceeds_its_bar() -> None:
    assert present.bar(3.0, 4) == "━━━━"
    assert present.bar(-1.0, 4) == "╌╌╌╌"


def test_a_position_is_short() -> None:
    assert present.position(None) == "from the beginning"
    assert present.position({"kind": "cursor", "since": "a", "high": "b"}) == "b"
    whole = {"v": 1, "kind": "cursor", "since": None, "high": None, "edge": [], "page": None}
    assert present.position(whole) == "read whole every time"
    assert present.position({**whole, "page": {"cursor": "x"}}) == "in the middle of a scan"
    assert present.position({**whole, "cursor": ["updated_at", "int"]}) == "nothing read yet"
    assert present.position({"kind": "partition", "partitions": {"x": {}, "y": {}}}) == "2 partitions"
    assert len(present.position({"x": "y" * 1000})) == 200


@given(st.text())
def test_M4_no_control_character_passes(text: str) -> None:
    plain = present.toned(text).plain
    assert not DANGEROUS & set(plain)


@given(st.text(alphabet="[/]@=()'\"abc", max_size=60))
def test_M1_markup_is_text(text: str) -> None:
    assert present.toned(text, "bad").plain == text


def test_every_state_has_a_word_in_both_glyph_sets() -> None:
    for chosen in (glyphs.UNICODE, glyphs.ASCII):
        glyphs.use(chosen)
        for state in ("queued", "running", "rate_limited", "succeeded", "failed", "open", "unheard-of"):
            text, tone = present.state_cell(state)
            assert len(text.split(" ", 1)[1]) > 1
            assert tone in present.TONE_STYLES
            assert chosen is glyphs.UNICODE or text.isascii()
    glyphs.use(glyphs.UNICODE)


def test_O14_ascii_is_chosen_where_nothing_else_can_be_shown() -> None:
    assert glyphs.choose({}, "utf-8") is glyphs.UNICODE
    assert glyphs.choose({}, "ANSI_X3.4-1968") is glyphs.ASCII
    assert glyphs.choose({"TERM": "linux"}, "utf-8") is glyphs.ASCII
    assert glyphs.choose({"PLATINT_ASCII": "1"}, "utf-8") is glyphs.ASCII


def test_themes_follow_one_another_round_and_round() -> None:
    name = themes.DEFAULT
    seen = []
    for _ in themes.THEMES:
        seen.append(name)
        name = themes.following(name)
    assert name == themes.DEFAULT
    assert set(seen) == set(themes.LABELS)
    assert themes.following("unheard-of") == themes.DEFAULT


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_tones_are_readable_on_the_background(theme: themes.Theme) -> None:
    from textual.color import Color

    background = Color.parse(theme.background or "")
    for name in ("foreground", "primary", "accent", "success", "warning", "error"):
        tone = Color.parse(getattr(theme, name))
        light, dark = sorted((_luminance(tone), _luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def _luminance(color: object) -> float:
    parts = [part / 255 for part in color.rgb]  # type: ignore[attr-defined]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
