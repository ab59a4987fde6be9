"""The filter of the inbox as it is typed, and as the store takes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import ErrorClass, UsageError
from platint_tui.core.filtertext import FilterText
from platint_tui.core.states import DeadLetterState
from platint_tui.services.letterfilters import FILTER_NAMES, filter_of, letter_filter
from platint_tui.store.ports import DeadLetterFilter

NOW = 1_780_000_000_000


def test_what_is_typed_is_what_is_meant() -> None:
    found = letter_filter(
        'stream:charges code:invalid_email since:2h key:cus_* bin:record class:record "free text"', NOW
    )
    assert found == DeadLetterFilter(
        stream="charges",
        code="invalid_email",
        key="cus_*",
        bin="record",
        error_class=ErrorClass.RECORD,
        since_ms=NOW - 7_200_000,
        text="free text",
        states=(DeadLetterState.OPEN,),
    )


def test_states() -> None:
    assert letter_filter("state:unknown state:open", NOW).states == (
        DeadLetterState.UNKNOWN,
        DeadLetterState.OPEN,
    )
    assert letter_filter("state:any", NOW).states == ()
    assert letter_filter("", NOW, ()) == DeadLetterFilter()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state:opne", "'opne' is no state of a dead letter. Did you mean open?"),
        ("bin:records", "Did you mean record?"),
        ("class:bad", "'bad' is no class"),
        ("direction:in", "One of record, event, native."),
        ("since:yesterday", "is no time"),
        ("stream:a stream:b", "2 values for stream:"),
        ("strem:a", "Did you mean stream:?"),
    ],
)
def test_a_wrong_value_is_said_with_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        letter_filter(text, NOW)
    assert said in caught.value.sentence()


def test_options_and_text_together_are_one_filter() -> None:
    read = FilterText({"stream": ("a",)}).plus("code", "b", "").plus("field", "")
    assert filter_of(read, NOW, ()) == DeadLetterFilter(stream="a", code="b")
    with pytest.raises(UsageError, match="2 values"):
        filter_of(read.plus("stream", "c"), NOW)


@given(st.lists(st.tuples(st.sampled_from(FILTER_NAMES), st.text(max_size=8)), max_size=4))
def test_anything_typed_is_a_filter_or_one_sentence(terms: list[tuple[str, str]]) -> None:
    try:
        assert isinstance(
            letter_filter(" ".join(f"{name}:{value}" for name, value in terms), NOW), DeadLetterFilter
        )
    except UsageError as error:
        assert error.hint
