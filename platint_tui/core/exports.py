"""What is written out: exact JSON lines, tables that no spreadsheet runs, requests without secrets. No I/O."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.redaction import MASK, REDACTOR
from platint_tui.core.text import clean
from platint_tui.core.wire import shows_credential

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), full-width forms too."""
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NOT_SENT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
"""Headers that whoever sends the request makes himself."""
_MASKED_PARAMETER = re.compile(rf"([?&]([^=&#]+)=){MASK}")
_LONGEST_WORD = 100_000
"""Bytes of a body that are one word of a command; Linux takes no word of 128 KiB or more."""
_OWN_LINE = re.compile(r"^\s*(###|//|#|[<>] |[<>]\{)", re.M)
"""What an HTTP file takes for a border, a comment, or the name of a file to read or to write."""


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
    # The writer quotes the characters of the end that it writes, and a cell may hold those.
    csv.writer(file, lineterminator="\r\n").writerow([csv_cell(value) for value in values])
    return file.getvalue().removesuffix("\r\n")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request needs beside what is stored of it: each value is a variable named after a profile's field.

    `headers` are (name, prefix, variable), `query` (name, variable), `basic` the variables of user and password
    (RFC 7617). `note` is a sentence about what has to be done by hand, "" where nothing has.
    """

    headers: tuple[tuple[str, str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    basic: tuple[str, str] | None = None
    note: str = ""


NO_CREDENTIAL = Credential()


def variable(name: str) -> str:
    """The environment variable that stands for a secret: after a header or a field."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "SECRET"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a value: `text` as it is, or the content of the variable called `text`."""

    text: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class _Parts:
    method: str
    url: tuple[_Piece, ...]
    headers: tuple[tuple[str, tuple[_Piece, ...]], ...]
    body: bytes
    basic: tuple[str, str] | None

    @property
    def variables(self) -> list[str]:
        """The variables to be set first, each once."""
        pieces = [*self.url, *(piece for _, value in self.headers for piece in value)]
        names = [piece.text for piece in pieces if piece.secret] + list(self.basic or ())
        return list(dict.fromkeys(names))


def _parts(request: Mapping[str, Any], credential: Credential) -> _Parts:
    stored = request.get("headers")
    found: list[tuple[str, str]] = []
    if isinstance(stored, Mapping):
        found = [(str(name), str(value)) for name, value in stored.items()]
    elif isinstance(stored, Sequence) and not isinstance(stored, str):
        found = [(str(name), str(value)) for name, value in stored]
    added = {name.lower() for name, _, _ in credential.headers} | (
        {"authorization"} if credential.basic else set()
    )
    headers = [
        (_safe(name), _value(name, value))
        for name, value in found
        if name.lower() not in _NOT_SENT and name.lower() not in added
    ]
    headers += [
        (_safe(name), (_Piece(prefix), _Piece(held, True))) for name, prefix, held in credential.headers
    ]
    return _Parts(
        _line(str(request.get("method") or "POST").upper()),
        _url(_line(str(request.get("url") or "")), credential.query),
        tuple(headers),
        _body(request.get("body")),
        credential.basic,
    )


def _value(name: str, value: str) -> tuple[_Piece, ...]:
    if MASK in value or shows_credential(name):
        return (_Piece(variable(name), True),)
    return (_Piece(_line(REDACTOR.redact(value))),)


def _url(url: str, query: Sequence[tuple[str, str]]) -> tuple[_Piece, ...]:
    """An address whose masked parameters are variables, and those of the credential added."""
    pieces: list[_Piece] = []
    at = 0
    for match in _MASKED_PARAMETER.finditer(url):
        pieces += [_Piece(url[at : match.end(1)]), _Piece(variable(match.group(2)), True)]
        at = match.end()
    pieces.append(_Piece(REDACTOR.redact(url[at:])))
    known = {match.group(2) for match in _MASKED_PARAMETER.finditer(url)}
    mark = "&" if "?" in url else "?"
    for name, held in query:
        if name not in known:
            pieces += [_Piece(f"{mark}{name}="), _Piece(held, True)]
            mark = "&"
    return tuple(piece for piece in pieces if piece.text)


def _body(body: Any) -> bytes:
    """A body without secrets."""
    if isinstance(body, bytes):
        try:
            return REDACTOR.redact(body.decode("utf-8")).encode()
        except UnicodeDecodeError:
            return REDACTOR.redact(body.decode("latin-1")).encode("latin-1", "replace")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    return REDACTOR.redact(text).encode("utf-8", "replace")


def as_curl(request: Mapping[str, Any], credential: Credential = NO_CREDENTIAL) -> str:
    """A request {method, url, headers, body} as a line for a POSIX shell.

    Secrets are variables of the shell. A body that is no text, or too long for a word of a command, goes through a
    pipe. Brackets and braces in the address mean themselves: curl would make several requests of them.
    """
    parts = _parts(request, credential)
    words = ["curl", "--globoff", "--request", shlex.quote(parts.method), "--url", _shell(parts.url) or "''"]
    if parts.basic is not None:
        words += ["--user", _shell((_Piece(parts.basic[0], True), _Piece(":"), _Piece(parts.basic[1], True)))]
    for name, value in parts.headers:
        words += ["--header", _shell((_Piece(f"{name}: "), *value))]
    if not parts.body:
        return " ".join(words)
    try:
        text = parts.body.decode("utf-8")
        quoted = shlex.quote(text) if "\x00" not in text else ""
    except UnicodeDecodeError:
        quoted = ""
    if quoted and len(quoted.encode()) <= _LONGEST_WORD:
        # --data-raw: a body that begins with @ is no file.
        return " ".join([*words, "--data-raw", quoted])
    # printf is part of the shell, so its words may be of any length.
    octal = "".join(f"\\{byte:03o}" for byte in parts.body)
    printed = f"printf %s {quoted}" if quoted else f"printf '{octal}'"
    return f"{printed} | {' '.join([*words, '--data-binary', '@-'])}"


def _shell(pieces: Sequence[_Piece]) -> str:
    """One word of a POSIX shell: texts in single quotes, variables in double quotes."""
    words: list[str] = []
    for secret, run in itertools.groupby(pieces, lambda piece: piece.secret):
        texts = [piece.text for piece in run]
        words += [f'"${{{text}}}"' for text in texts] if secret else [shlex.quote("".join(texts))]
    return "".join(words)


def as_http(request: Mapping[str, Any], credential: Credential = NO_CREDENTIAL) -> str:
    """A request as an HTTP file (as editors of JetBrains and the REST client of VS Code read it).

    Secrets are `{{VARIABLES}}` of its environment. Raises ConfigError for a body that the format cannot hold (one
    that is no text, or has lines that it takes for its own), and for an address or a header that an editor would
    take for a variable (`{{$processEnv HOME}}`).
    """
    parts = _parts(request, credential)
    values = [parts.url, *(value for _, value in parts.headers)]
    if any("{{" in piece.text for value in values for piece in value if not piece.secret):
        raise ConfigError(
            "Its address or a header has braces that an HTTP file takes for a variable.",
            hint="Export it as curl, which is exact.",
        )
    lines = [f"{parts.method} {_braces(parts.url)}"]
    if parts.basic is not None:
        lines.append(f"Authorization: Basic {{{{{parts.basic[0]}}}}} {{{{{parts.basic[1]}}}}}")
    lines += [f"{name}: {_braces(value)}" for name, value in parts.headers]
    try:
        body = parts.body.decode("utf-8")
    except UnicodeDecodeError:
        body = "\x00"
    if "\x00" in body or "{{" in body or _OWN_LINE.search(body):
        raise ConfigError(
            "Its body cannot stand in an HTTP file as it is.", hint="Export it as curl, which is exact."
        )
    return "\n".join([*lines, "", body]) + "\n"


def _braces(pieces: Sequence[_Piece]) -> str:
    return "".join(f"{{{{{piece.text}}}}}" if piece.secret else piece.text for piece in pieces)


def variables(request: Mapping[str, Any], credential: Credential = NO_CREDENTIAL) -> list[str]:
    """The variables that a request needs, in the order in which they stand in it."""
    return _parts(request, credential).variables


def comment(text: str) -> str:
    """A line of a script or an HTTP file that says something and does nothing."""
    return f"# {clean(text)}"


def _line(text: str) -> str:
    """A text that stays on its line."""
    return re.sub(r"[\r\n\x00\x0b\x0c\x85\u2028\u2029]+", " ", text)


def _safe(name: str) -> str:
    """A name of a header as RFC 9110 allows it."""
    return re.sub(r"[^A-Za-z0-9!#%&'*+.^_|~-]", "-", name)
