"""Strict JSON that keeps the raw text (I1-I6, G4-G6): an exact round trip or a typed error, never anything else."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import PlatintError, RecordError, SystemicError
from platint_tui.core.jsontext import canonical_key, content_hash, dumps, loads, split_page
from platint_tui.core.model import BadElement, Record

# The machine may be busy with other tests.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NUMBER = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 300)
)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SPACE = st.text(" \t\n\r", max_size=3)


def exact(value: Any) -> Any:
    """A value whose numbers are compared by what they are, not by their types."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    return ("number", Decimal(repr(value) if isinstance(value, float) else value))


def spaced(value: Any, draw: Any) -> str:
    """JSON text of a value with white space wherever it may stand."""
    gap = lambda: draw(SPACE)  # noqa: E731
    if isinstance(value, dict):
        inner = ",".join(
            f"{gap()}{dumps(name)}{gap()}:{gap()}{spaced(item, draw)}{gap()}" for name, item in value.items()
        )
        return f"{{{inner or gap()}}}"
    if isinstance(value, list):
        return f"[{','.join(gap() + spaced(item, draw) + gap() for item in value) or gap()}]"
    return dumps(value)


@given(VALUE)
def test_values_round_trip(value: Any) -> None:
    again = loads(dumps(value))
    assert exact(again) == exact(value)
    assert dumps(again) == dumps(loads(dumps(again)))


@given(st.text(max_size=60) | st.text('{}[]",:0123456789.eE+-tfnu\\ \n', max_size=40))
def test_any_text_is_a_value_or_a_typed_error(text: str) -> None:
    try:
        value = loads(text)
    except SystemicError:
        return
    json.loads(text.lstrip("\ufeff"))
    dumps(value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_typed_error(data: bytes) -> None:
    for path in ((), ("data",), ("a", "b")):
        try:
            split_page(data, path)
        except SystemicError:
            pass
    try:
        loads(data)
    except SystemicError:
        pass


@settings(max_examples=150)
@given(st.lists(VALUE, max_size=6), st.sampled_from([(), ("data",), ("a", "b", "c")]), VALUE, st.data())
def test_pages_are_split_exactly(
    elements: list[Any], path: tuple[str, ...], other: Any, data: st.DataObject
) -> None:
    raws = [spaced(element, data.draw) for element in elements]
    gap = data.draw(SPACE)
    text = f"[{gap}{f' {gap},{gap}'.join(raws)}{gap}]"
    for name in reversed(path):
        pairs = [f"{gap}{dumps(name)}{gap}:{gap}{text}", f'"other":{gap}{spaced(other, data.draw)}{gap}']
        text = "{" + ",".join(data.draw(st.permutations(pairs))) + "}"
    text = gap + text + gap
    envelope, found = split_page(text.encode(), path)
    assert [item.raw for item in found] == raws
    for item, element in zip(found, elements, strict=True):
        if isinstance(element, dict):
            assert isinstance(item, Record) and exact(item.value) == exact(element) == exact(loads(item.raw))
        else:
            assert isinstance(item, BadElement) and item.reason
    if path:
        expected: Any = {"other": other}
        for name in reversed(path[:-1]):
            expected = {name: expected, "other": other}
        assert exact(envelope) == exact(expected)
    else:
        assert envelope is None


@given(st.lists(st.dictionaries(TEXT, VALUE, max_size=3), max_size=4), st.data())
def test_G4_every_cut_of_a_page_is_refused(records: list[Any], data: st.DataObject) -> None:
    text = dumps({"data": records, "next": "x"})
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(SystemicError) as caught:
        split_page(text[:cut].encode(), ("data",))
    assert caught.value.code == "json" and "byte" in caught.value.message


def test_I1_integers_stay_exact() -> None:
    for number in (2**63, -(2**63) - 1, 2**64, 10**400):
        assert loads(str(number)) == number and type(loads(str(number))) is int
        assert dumps(loads(f"[{number}]")) == f"[{number}]"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1.50", 1.5),
        ("1E5", 1e5),
        ("-0.0", -0.0),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        ("9007199254740993.0", Decimal("9007199254740993.0")),
        ("1e-400", Decimal("1e-400")),
        ("123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
    ],
)
def test_I2_decimals_are_never_rounded(text: str, value: Any) -> None:
    found = loads(text)
    assert found == value and type(found) is type(value)
    assert Decimal(dumps(found)) == Decimal(text)


@pytest.mark.parametrize("text", ["1" * 5000, "-" + "9" * 4400, '{"a": ' + "1" * 5000 + "}"])
def test_I3_numbers_of_5000_digits(text: str) -> None:
    with pytest.raises(SystemicError) as caught:
        loads(text)
    assert "4300 digits" in caught.value.message
    _, found = split_page(f'[{{"id": 1}}, {{"n": {text if text[0] != "{" else 1}}}, {text}]', ())
    assert isinstance(found[0], Record) and isinstance(found[2], BadElement)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999999999999999999999"])
def test_I4_numbers_that_are_none(text: str) -> None:
    for document in (text, f"[{text}]", f'{{"a": {text}}}'):
        with pytest.raises(SystemicError):
            loads(document)
    _, found = split_page(f'[{{"a": {text}}}, {{"id": 1}}]', ())
    assert isinstance(found[0], BadElement) and found[0].raw == f'{{"a": {text}}}'
    assert isinstance(found[1], Record)


def test_I4_underflow_that_no_decimal_holds() -> None:
    with pytest.raises(SystemicError):
        loads("1e-99999999999999999999999999")


def test_I5_duplicate_keys() -> None:
    for text in ('{"a": 1, "a": 1}', '[{"b": {"a": 1, "\\u0061": 2}}]'):
        with pytest.raises(SystemicError) as caught:
            loads(text)
        assert 'the key "a" occurs twice' in caught.value.message
    for text in ('{"data": [], "data": []}', '{"x": 1, "data": [], "x": 2}'):
        with pytest.raises(SystemicError):
            split_page(text, ("data",))


def test_I6_lone_surrogates() -> None:
    with pytest.raises(SystemicError):
        loads('"\\ud800"')
    assert loads('"\\ud83d\\ude00"') == "\U0001f600"
    raws = ['{"a": "\\ud800"}', '{"\\uDFFF": 1}', '{"a": ["\\udc00\\ud800"]}', '{"a": "\\ud83d\\ude00"}']
    _, found = split_page("[" + ",".join(raws) + "]", ())
    assert [type(item) for item in found] == [BadElement, BadElement, BadElement, Record]
    assert [item.raw for item in found] == raws


def test_I7_nul_in_text_is_kept() -> None:
    assert loads('"a\\u0000b"') == "a\0b" and dumps("a\0b") == '"a\\u0000b"'


@pytest.mark.parametrize("depth", [199, 200, 201, 900, 1100, 100_000])
@pytest.mark.parametrize("form", ["[]", "{}"])
def test_G6_depth(depth: int, form: str) -> None:
    text = "[" * depth + "]" * depth if form == "[]" else '{"a":' * depth + "1" + "}" * depth
    if depth <= 200:
        loads(text)
    else:
        with pytest.raises(SystemicError) as caught:
            loads(text)
        assert "200 levels" in caught.value.message


def test_G6_brackets_in_text_are_no_depth() -> None:
    assert loads(dumps(["[{" * 500, '\\"[' * 500]))


def test_G5_bytes_that_are_no_utf8() -> None:
    assert loads(b"\xef\xbb\xbf[1]") == [1]
    with pytest.raises(SystemicError) as caught:
        loads(b'["\xc3\x28"]')
    assert "byte 2 is 0xc3" in caught.value.message
    with pytest.raises(SystemicError) as caught:
        loads('["a"]'.encode("utf-16"))
    assert "UTF-16" in caught.value.hint
    for text in ('["a"]'.encode("utf-16-le"), b'"\xed\xa0\x80"', b"\xff"):
        with pytest.raises(SystemicError):
            loads(text)


def test_offsets_count_bytes() -> None:
    with pytest.raises(SystemicError) as caught:
        loads('["é", x]'.encode())
    assert "byte 7" in caught.value.message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"data": null}', "null"),
        ('{"data": {}}', "an object"),
        ('{"x": []}', "nothing"),
        ('{"data": 1}', "a number"),
    ],
)
def test_H11_no_list_where_the_records_should_be(text: str, found: str) -> None:
    with pytest.raises(SystemicError) as caught:
        split_page(text, ("data",))
    assert caught.value.code == "records_path" and found in caught.value.message


def test_a_path_through_something_else() -> None:
    for text in ('{"a": []}', '{"a": null}', '{"a": {"c": []}}', "[]", "null", '"x"'):
        with pytest.raises(SystemicError) as caught:
            split_page(text, ("a", "b"))
        assert caught.value.code == "records_path"


@given(
    st.lists(
        st.integers() | TEXT | st.booleans() | st.floats(allow_nan=False, allow_infinity=False), max_size=3
    )
)
def test_H8_keys_are_typed(values: list[Any]) -> None:
    key = canonical_key(values)
    assert loads(key) == values
    assert canonical_key([1]) != canonical_key(["1"]) and canonical_key([True]) != canonical_key([1])


@pytest.mark.parametrize("value", [None, {}, [], {"a": 1}])
def test_H8_keys_that_are_none(value: Any) -> None:
    with pytest.raises(RecordError):
        canonical_key(["a", value])


@pytest.mark.parametrize("value", [{"a": object()}, float("nan"), Decimal("NaN"), {"a": {1, 2}}, b"x"])
def test_values_that_are_no_json(value: Any) -> None:
    with pytest.raises(PlatintError):
        dumps({"value": value})


def test_dumps_of_endless_nesting() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecordError):
        dumps(value)


def test_I8_hashes_are_of_the_exact_text() -> None:
    assert content_hash('{"a":1}') != content_hash('{"a": 1}')
    assert len(content_hash("\ud800")) == 32


@pytest.mark.parametrize(
    "element",
    [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":2}}',
        '{"a":[{"b":1,"b":2}]}',
        '{"a" :1,"b":2,"b":3}',
        '{"a"  :1,"b":2,"b":3}',
        '{"a"\n:1,"b":2,"b":3}',
    ],
)
def test_I5_a_repeated_key_is_seen_however_it_is_written(element: str) -> None:
    _, [good, found] = split_page(f'{{"data":[{{"ok":"\\":"}},{element}]}}', ("data",))
    assert isinstance(good, Record) and good.value == {"ok": '":'}
    assert isinstance(found, BadElement) and "twice" in found.reason
