from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.problems import FileError
from platint_tui.manifest.yamltext import MAX_BYTES, MAX_DEPTH, parse, read_document


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(FileError) as caught:
        parse(text, "x.yaml")
    return [(item.line, item.column, item.text) for item in caught.value.problems]


def test_positions_of_keys_and_values() -> None:
    document = parse("a: 1\nb:\n  - x\n  - {c: two, d: 3}\n")
    assert document.data == {"a": 1, "b": ["x", {"c": "two", "d": 3}]}
    assert document.position(("b", 1, "d")) == (4, 17)
    assert document.position(("b", 1, "d"), key=True) == (4, 14)
    assert document.position(("b", 7, "nowhere")) == (3, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("22:22", "22:22"),
        ("017", "017"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1e5", "1e5"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2026-03-10", "2026-03-10"),
        ("2026-03-10T00:00:00Z", "2026-03-10T00:00:00Z"),
        ("0.1.0", "0.1.0"),
        ("+1", "+1"),
        ("=", "="),
        ("<<", "<<"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1", 1),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_L5_plain_scalars_stay_what_they_look_like(text: str, value: object) -> None:
    got = parse(f"k: {text}").data["k"]
    assert got == value
    assert type(got) is type(value)


def test_L5_a_decimal_that_would_lose_its_text_is_refused() -> None:
    assert problems("version: 1.10") == [(1, 10, "1.10 would be read as 1.1; write it in quotes")]


def test_keys_are_always_text() -> None:
    assert parse("404: a\nno: b\n").data == {"404": "a", "no": "b"}


def test_L4_duplicate_keys_are_all_refused_with_line() -> None:
    text = "a: 1\nb: {c: 1, c: 2}\na: 3\n"
    assert problems(text) == [
        (2, 11, "the key 'c' is here twice (first on line 2)"),
        (3, 1, "the key 'a' is here twice (first on line 1)"),
    ]


def test_L1_aliases_and_anchors_are_refused() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert problems(bomb)[0][:2] == (1, 4)
    assert "anchors" in problems(bomb)[0][2]
    assert "aliases" in problems("a: [*x]")[0][2]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [x]", "!!str 1", "!x 1", "! 1", "!!map {}"])
def test_L2_tags_are_refused(tag: str) -> None:
    assert "tags" in problems(f"a: {tag}")[0][2]


def test_L3_depth_size_and_number_of_values_are_bounded() -> None:
    assert "deeper" in problems("a: " + "[" * 100_000)[0][2]
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(deepest).data is not None
    with pytest.raises(ConfigError, match="1 MiB"):
        parse("a: " + "x" * MAX_BYTES)
    flow_map = "{" + ", ".join(f"k{n}: {n}" for n in range(20_001)) + "}"
    assert "20,000" in problems(flow_map)[0][2]


def test_L3_files(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="1 MiB"):
        read_document(big)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match="at byte 3"):
        read_document(latin)
    with pytest.raises(ConfigError, match="No such file") as caught:
        read_document(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in caught.value.sentence()
    fifo = tmp_path / "pipe.yaml"
    os.mkfifo(fifo)
    with pytest.raises(ConfigError, match="not a file"):
        read_document(fifo)
    with pytest.raises(ConfigError):
        read_document(tmp_path)
    marked = tmp_path / "bom.yaml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(marked).data == {"a": 1}


def test_other_things_that_are_refused() -> None:
    assert "second document" in problems("a: 1\n---\nb: 2\n")[0][2]
    assert "key must be text" in problems("[a, b]: 1")[0][2]
    assert "control character" in problems('a: "\\e[31m"')[0][2]
    assert problems("a: 1\nb: \x1b")[0][:2] == (2, 1)
    assert problems("a: [1, 2\nb: 3")[0][0] == 2
    assert "valid YAML" in problems("\tfoo: 1")[0][2]


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=300) | st.text("ab:-[]{},#&*!|>'\"%@` \n\t0123.?~", max_size=200))
def test_any_text_gives_a_value_or_a_config_error(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert error.sentence()


_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
_data = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdé ", min_size=1), inner, max_size=4)
    ),
)


@settings(max_examples=200, deadline=None)
@given(_data)
def test_json_is_read_as_json_means_it(data: object) -> None:
    import json

    text = json.dumps(data)
    try:
        got = parse(text).data
    except ConfigError as error:
        assert "control character" in error.message or "valid YAML" in error.message
    else:
        assert got == data
