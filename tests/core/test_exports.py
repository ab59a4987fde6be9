"""What is written out is exact, runs nothing, and holds no secret."""

from __future__ import annotations

import csv
import http.server
import io
import json
import shutil
import subprocess
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.core.exports import (
    Credential,
    as_curl,
    as_http,
    comment,
    csv_line,
    json_line,
    payload_of,
    variables,
)
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


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
bodies = st.one_of(texts, st.binary(max_size=60))
RECORDER = 'curl() { printf \'%s\\0\' "$#" "$@"; case "$*" in *@-) cat;; esac; }; '


def said(line: str, **environ: str) -> tuple[list[str], bytes]:
    """The arguments that a real shell hands to curl, and what it pipes into it."""
    done = subprocess.run(["/bin/sh", "-c", RECORDER + line], capture_output=True, check=True, env=environ)
    assert done.stderr == b""
    number, _, rest = done.stdout.partition(b"\0")
    *words, piped = rest.split(b"\0", int(number))
    return [word.decode() for word in words], piped


@settings(max_examples=60, deadline=None)
@given(url=texts, value=texts, body=bodies)
def test_a_shell_reads_the_line_as_it_is_meant(url: str, value: str, body: str | bytes) -> None:
    line = as_curl(
        {"method": "POST", "url": url, "headers": {"X-Test": value}, "body": body},
        Credential(headers=(("Authorization", "Bearer `$x\\", "API_KEY"),)),
    )
    words, piped = said(line, API_KEY='it\'s "$HOME" `id`')
    assert words.pop(0) == "--globoff"
    assert words[:3] == ["--request", "POST", "--url"] and words[4] == words[6] == "--header"
    assert words[3].split() == url.replace("\0", " ").split() or "\0" in url
    assert words[5].startswith("X-Test: ") and "\n" not in words[3] + words[5]
    assert words[7] == 'Authorization: Bearer `$x\\it\'s "$HOME" `id`'
    raw = body.encode() if isinstance(body, str) else body
    if words[8:9] == ["--data-binary"]:
        assert words[9] == "@-" and piped == raw and raw
    else:
        assert words[8:] == (["--data-raw", raw.decode()] if raw else [])


def test_secrets_are_variables() -> None:
    request = {
        "method": "post",
        "url": f"https://api.example.com/v1/x?a=1&b='2'&api_key={MASK}",
        "headers": {
            "X-Signature": MASK,
            "X-Api-Key": "sk_live_1",
            "Content-Type": "application/json",
            "Content-Length": "9",
        },
        "body": '{"a":"it\'s"}',
    }
    credential = Credential(query=(("sig", "SAS"), ("api_key", "KEY")), basic=("USER", "PASSWORD"))
    curl, file = as_curl(request, credential), as_http(request, credential)
    values = {
        "X_SIGNATURE": "s",
        "X_API_KEY": "k",
        "API_KEY": "a",
        "SAS": "t",
        "USER": "u",
        "PASSWORD": "p w",
    }
    words, _ = said(curl, **values)
    assert words.pop(0) == "--globoff"
    assert words[3] == "https://api.example.com/v1/x?a=1&b='2'&api_key=a&sig=t"
    assert words[4:6] == ["--user", "u:p w"]
    assert words[6:] == [
        *(
            "--header",
            "X-Signature: s",
            "--header",
            "X-Api-Key: k",
            "--header",
            "Content-Type: application/json",
        ),
        *("--data-raw", '{"a":"it\'s"}'),
    ]
    assert sorted(variables(request, credential)) == sorted(values)
    assert "X-Api-Key: {{X_API_KEY}}" in file and "Authorization: Basic {{USER}} {{PASSWORD}}" in file
    assert file.startswith("POST https://api.example.com/v1/x?a=1&b='2'&api_key={{API_KEY}}&sig={{SAS}}\n")
    assert file.endswith('\n\n{"a":"it\'s"}\n')
    for text in (curl, file):
        assert "sk_live_1" not in text and MASK not in text and "Content-Length" not in text


@pytest.mark.parametrize("body", ["a\n### b", "< ./secret", "x{{HOME}}", b"\xff", "// c", "a\0"])
def test_a_body_that_an_http_file_would_misread_is_refused(body: str | bytes) -> None:
    with pytest.raises(ConfigError, match="HTTP file"):
        as_http({"method": "POST", "url": "https://x.example", "headers": {}, "body": body})


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_itself_makes_one_request_of_brackets_braces_and_a_long_body() -> None:
    body = json.dumps({"text": "it's " * 40_000})
    taken: list[tuple[str, bytes]] = []

    class Target(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        request = {"url": f"http://127.0.0.1:{server.server_port}/a{{x,y}}?b=[1-3]", "body": body}
        line = as_curl(request)
        subprocess.run(["/bin/sh"], input=line.encode(), check=True, capture_output=True, timeout=20)
        server.shutdown()
    assert taken == [("/a{x,y}?b=[1-3]", body.encode())]


@pytest.mark.parametrize(
    "request_",
    [{"url": "https://x.example/{{$guid}}"}, {"url": "https://x.example", "headers": {"A": "{{$x}}"}}],
)
def test_what_an_http_file_would_take_for_a_variable_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="variable"):
        as_http(request_)


@given(texts)
def test_a_comment_is_one_line(text: str) -> None:
    assert len(comment(text).splitlines()) == 1 and comment(text).startswith("# ")
