"""The filter language: what is read is what was meant, and anything else is one clear sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import UsageError
from platint_tui.core.filtertext import FilterText, moment_of, parse_filter, write_filter

KNOWN = ("stream", "code", "since", "key", "state")
NOW = 1_780_000_000_000


def test_fields_and_words() -> None:
    found = parse_filter('stream:charges code:a code:b since:2h "free text" jane@example.com', KNOWN)
    assert found.values == {"stream": ("charges",), "code": ("a", "b"), "since": ("2h",)}
    assert found.words == ("free text", "jane@example.com")
    assert found.one("stream") == "charges" and found.one("key") == ""
    with pytest.raises(UsageError, match="2 values for code:"):
        found.one("code")


def test_a_value_in_quotes_may_hold_blanks_colons_and_quotes() -> None:
    assert parse_filter(r'key:"a b:\"c\""', KNOWN).values == {"key": ('a b:"c"',)}


def test_an_address_is_a_word() -> None:
    assert parse_filter("https://example.com/x?y=1", KNOWN).words == ("https://example.com/x?y=1",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strem:x", "knows no 'strem:'. Did you mean stream:?"),
        ("zzz:x", "It knows code:, key:, since:, state:, stream:"),
        ('key:"open', "quotation mark that belongs to nothing"),
        ("stream: charges", "no value after stream:"),
        ("code:", "no value after code:"),
        ('a"b', "quotation mark that belongs to nothing"),
    ],
)
def test_what_is_wrong_is_said_with_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_filter(text, KNOWN)
    assert said in caught.value.sentence()


words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
filters = st.builds(
    FilterText,
    st.dictionaries(st.sampled_from(KNOWN), st.lists(words, min_size=1, max_size=3).map(tuple), max_size=3),
    st.lists(words, max_size=3).map(tuple),
)


@given(filters)
def test_what_is_written_is_read_back(wanted: FilterText) -> None:
    assert parse_filter(write_filter(wanted), KNOWN) == wanted


@given(st.text(max_size=200))
def test_any_text_is_a_filter_or_one_sentence(text: str) -> None:
    try:
        parse_filter(text, KNOWN)
    except UsageError as error:
        assert error.hint and "\n" not in error.hint


def test_times() -> None:
    assert moment_of("2h", NOW) == NOW - 7_200_000
    assert moment_of("2026-05-28T20:26:40+00:00", NOW) == NOW
    for wrong in ("yesterday", "", "2026-13-01", "12"):
        with pytest.raises(UsageError, match="is no time"):
            moment_of(wrong, NOW)


@given(st.text(max_size=30))
def test_any_time_is_one_or_one_sentence(text: str) -> None:
    try:
        assert 0 <= moment_of(text, NOW) <= 253_402_300_799_999
    except UsageError:
        pass
