"""What is written out: exact JSON lines, tables that no spreadsheet runs, requests without secrets. No I/O."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.redaction import MASK, REDACTOR
from platint_tui.core.wire import shows_credential

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), full-width forms too."""
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NOT_SENT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
"""Headers that whoever sends the request makes himself."""


def exact(payload: bytes) -> dict[str, str]:
    """Bytes as members of a JSON document: `payload` as text where it is UTF-8, else as base64 with
    `encoding`. `payload_of` gives the same bytes back."""
    try:
        return {"payload": payload.decode("utf-8")}
    except UnicodeDecodeError:
        return {"payload": base64.b64encode(payload).decode("ascii"), "encoding": "base64"}


def payload_of(document: Mapping[str, Any]) -> bytes:
    """The bytes that `exact` wrote. Raises ConfigError when there are none."""
    text, encoding = document.get("payload"), document.get("encoding", "")
    try:
        if isinstance(text, str) and encoding == "base64":
            return base64.b64decode(text, validate=True)
        if isinstance(text, str) and not encoding:
            return text.encode("utf-8")
    except ValueError:
        pass
    raise ConfigError(
        "The line has no payload that can be read.", hint="It is `payload`, with `encoding` base64."
    )


def json_line(facts: Mapping[str, Any], payload: bytes) -> str:
    """One line: the facts and the exact payload. ASCII only, so that no terminal is driven by it."""
    return json.dumps({**facts, **exact(payload)}, ensure_ascii=True, separators=(",", ":"))


def csv_cell(value: object) -> str:
    """A value as a cell. A text that a spreadsheet would run gets an apostrophe before it; numbers stay."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # A NUL ends the text for many readers of tables.
    text = text.replace("\x00", "\\0")
    if text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def csv_line(values: Sequence[object]) -> str:
    """A line of a table by RFC 4180, without its end."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow([csv_cell(value) for value in values])
    return file.getvalue()


def _parts(request: Mapping[str, Any]) -> tuple[str, str, list[tuple[str, str]], str]:
    method = str(request.get("method") or "POST").upper()
    body = request.get("body")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    headers = request.get("headers")
    found: list[tuple[str, str]] = []
    if isinstance(headers, Mapping):
        found = [(str(name), str(value)) for name, value in headers.items()]
    elif isinstance(headers, Sequence) and not isinstance(headers, str):
        found = [(str(name), str(value)) for name, value in headers]
    shown = [
        (name, _variable(name) if value == MASK or shows_credential(name) else REDACTOR.redact(value))
        for name, value in found
        if name.lower() not in _NOT_SENT
    ]
    return method, str(request.get("url") or ""), shown, REDACTOR.redact(text)


def _variable(name: str) -> str:
    """The placeholder for a secret: the name of an environment variable after the header."""
    return "$" + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def as_curl(request: Mapping[str, Any]) -> str:
    """A request {method, url, headers, body} as a line for a shell. Secrets are variables to be set first."""
    method, url, headers, body = _parts(request)
    words = ["curl", "--request", shlex.quote(method), "--url", shlex.quote(_line(url))]
    for name, value in headers:
        # A variable is only filled in by the shell between double quotes.
        secret = value.startswith("$") and value == _variable(name)
        words += [
            "--header",
            f'"{_safe(name)}: {value}"' if secret else shlex.quote(_line(f"{name}: {value}")),
        ]
    if body:
        words += ["--data-binary", shlex.quote(body)]
    return " ".join(words)


def as_http(request: Mapping[str, Any]) -> str:
    """A request as an HTTP file (as editors of JetBrains and the REST client of VS Code read it).

    Secrets are `{{VARIABLES}}` of its environment.
    """
    method, url, headers, body = _parts(request)
    lines = [f"{_line(method)} {_line(url)}"]
    for name, value in headers:
        secret = value == _variable(name)
        lines.append(f"{_safe(name)}: {'{{' + value[1:] + '}}' if secret else _line(value)}")
    return "\n".join([*lines, "", body]) + "\n"


def _line(text: str) -> str:
    """A text that stays on its line."""
    return re.sub(r"[\r\n\x00]+", " ", text)


def _safe(name: str) -> str:
    """A name of a header as RFC 9110 allows it."""
    return re.sub(r"[^A-Za-z0-9!#%&'*+.^_|~-]", "-", name)
