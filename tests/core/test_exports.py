"""What is written out is exact, runs nothing, and holds no secret."""

from __future__ import annotations

import csv
import io
import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.core.exports import as_curl, as_http, csv_line, json_line, payload_of
from platint_tui.core.redaction import MASK


@given(st.binary(max_size=200))
def test_a_payload_comes_back_byte_by_byte(payload: bytes) -> None:
    line = json_line({"number": 1}, payload)
    assert "\n" not in line and line.isascii()
    assert payload_of(json.loads(line)) == payload


@pytest.mark.parametrize(
    "document", [{}, {"payload": 1}, {"payload": "ä", "encoding": "base64"}, {"payload": "", "encoding": "x"}]
)
def test_a_line_without_a_payload_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        payload_of(document)


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=30)), min_size=1, max_size=5))
def test_no_cell_is_a_formula_and_the_text_is_all_there(values: list[object]) -> None:
    (row,) = list(csv.reader(io.StringIO(csv_line(values), newline="")))
    assert len(row) == len(values)
    for cell, value in zip(row, values, strict=True):
        if isinstance(value, str):
            assert cell.lstrip(" ")[:1] not in tuple("=@\t\r\n")
            assert cell.removeprefix("'") == value.replace("\x00", "\\0").removeprefix("'")
        else:
            assert cell == ("" if value is None else str(value))


def test_formulas_are_defused_and_numbers_stay() -> None:
    assert csv_line(["=1+1", "-2+3", "-5", "@SUM(A1)", " =x", "+49 170"]) == (
        "'=1+1,'-2+3,-5,'@SUM(A1),' =x,'+49 170"
    )


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(url=texts, value=texts, body=texts)
def test_a_shell_reads_the_line_as_it_is_meant(url: str, value: str, body: str) -> None:
    line = as_curl({"method": "POST", "url": url, "headers": {"X-Test": value}, "body": body})
    said = subprocess.run(
        ["/bin/sh", "-c", "curl() { printf '%s\\0' \"$@\"; }; " + line], capture_output=True, check=True
    )
    words = said.stdout.decode().split("\0")[:-1]
    one_line = [word.replace("\r", "\n") for word in (url, f"X-Test: {value}")]
    assert words[:3] == ["--request", "POST", "--url"] and words[4] == "--header"
    for word, meant in zip((words[3], words[5]), one_line, strict=True):
        assert "\n" not in word and word.split() == meant.split()
    assert words[6:] == (["--data-binary", body] if body else [])


def test_secrets_are_variables() -> None:
    request = {
        "method": "post",
        "url": "https://api.example.com/v1/x?a=1&b='2'",
        "headers": {
            "Authorization": MASK,
            "X-Api-Key": "sk_live_1",
            "Content-Type": "application/json",
            "Content-Length": "9",
        },
        "body": '{"a":"it\'s"}',
    }
    curl, http = as_curl(request), as_http(request)
    assert '"Authorization: $AUTHORIZATION"' in curl and '"X-Api-Key: $X_API_KEY"' in curl
    assert "X-Api-Key: {{X_API_KEY}}" in http and http.startswith("POST https://api.example.com/v1/x")
    assert http.endswith('\n\n{"a":"it\'s"}\n')
    for text in (curl, http):
        assert "sk_live_1" not in text and MASK not in text and "Content-Length" not in text
