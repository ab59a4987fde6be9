from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.core.model import StreamMapping
from platint_tui.manifest.mapping import apply_mapping, compile_mapping, parse_expression

RECORD: dict[str, Any] = {
    "id": 7,
    "email": " Ada@Example.com ",
    "name": None,
    "vip": True,
    "fee": Decimal("0.10"),
    "address": {"city": "Berlin", "lines": ["a", "b"]},
    "dotted.name": "d",
}


def mapped(select: tuple[str, ...] = (), **fields: str) -> dict[str, Any]:
    return apply_mapping(StreamMapping("s", "t", ("id",), select, fields), RECORD)


def test_nothing_listed_is_the_record_as_it_is() -> None:
    assert mapped() is RECORD
    assert mapped(("*",)) is RECORD


def test_what_is_listed_goes_and_nothing_else() -> None:
    assert mapped(("id", "name", "gone")) == {"id": 7, "name": None}
    assert mapped((), external_id="id", city="address.city", line="address.lines.1", d="dotted.name") == {
        "external_id": 7,
        "city": "Berlin",
        "line": "b",
        "d": "d",
    }
    assert mapped(("id",), email="lower(email)") == {"id": 7, "email": " ada@example.com "}


def test_a_star_keeps_the_rest() -> None:
    result = mapped(("*",), email="trim(email)", id="gone")
    assert result["email"] == "Ada@Example.com"
    assert "id" not in result
    assert RECORD["id"] == 7


def test_functions() -> None:
    assert mapped(
        (), a="upper(address.city)", b="string(id)", c="string(vip)", d="string(fee)", e="lower(name)"
    ) == {
        "a": "BERLIN",
        "b": "7",
        "c": "true",
        "d": "0.10",
        "e": None,
    }
    assert mapped((), a="string(address)") == {"a": '{"city":"Berlin","lines":["a","b"]}'}


def test_a_text_function_on_something_else_is_the_records_fault() -> None:
    with pytest.raises(RecordError, match=r"lower\(id\) needs a text, the record has a number") as caught:
        mapped((), a="lower(id)")
    assert caught.value.where == "id"


@pytest.mark.parametrize(
    "text", ["", "lowr(a)", "lower(a", "a b", "lower(upper(a))", "${a}", "a..b", ".a", "lower()"]
)
def test_expressions_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_expression(text)
    with pytest.raises(ConfigError):
        compile_mapping(StreamMapping("s", "t", (), (), {"x": text}))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), _json),
    st.sampled_from(["a", "a.b", "a.0.b", "lower(a)", "string(a.b)"]),
)
def test_any_record_is_mapped_or_refused(value: dict[str, Any], expression: str) -> None:
    before = repr(value)
    try:
        apply_mapping(StreamMapping("s", "t", (), ("b",), {"x": expression}), value)
    except PlatintError as error:
        assert isinstance(error, RecordError)
    assert repr(value) == before
