"""The fingerprint of a failure: equal for failures with one cause, whatever ids and values they name."""

from __future__ import annotations

import re

from platint_tui.core.ids import digest
from platint_tui.core.model import Fault

_LONGEST = 2_000
_NAMING = (
    "argument|attribute|column|constraint|element|enum|field|header|index|member|method|option|param|parameter"
    "|permission|property|relation|scope|table|type"
)
_NAME = r"[A-Za-z_][\w.\[\]-]{0,63}"
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    # What is named in quotes is a part of the cause, what merely stands in quotes is a value.
    (re.compile(rf"\b((?:{_NAMING})s?:?\s+)([\"'`])({_NAME})\2", re.I), r"\1\3"),
    (re.compile(rf"([\"'`])({_NAME})\1(\s+(?:is an? required\s+)?(?:{_NAMING})\b)", re.I), r"\2\3"),
    (re.compile(r"=\([^()]{0,500}\)"), "=(<value>)"),
    (re.compile(r"[^\s\"'`<>()\[\]{},;:@]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), "<email>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>]+", re.I), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I), "<n>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<date>"),
    (
        re.compile(r"\"(?:[^\"\\]|\\.)*\"|(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|`[^`]*`|“[^”]*”|‘[^’]*’|«[^»]*»"),
        "<value>",
    ),
    # One kind for all of these: a number may have any length, and some hex digits are digits alone.
    (re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?!\w)", re.I), "<n>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.I), "<n>"),
    (re.compile(r"\b(?=\w*\d)[A-Za-z]+(?:[_-][A-Za-z]+)*[_-][A-Za-z0-9]*\d[A-Za-z0-9]*\b"), "<n>"),
    (re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{6,}\b"), "<n>"),
    (re.compile(r"[-+]?\b\d+(?:[.,]\d+)*(?:e[-+]?\d+)?\b", re.I), "<n>"),
    (re.compile(r"\s+"), " "),
)


def normalise(message: str) -> str:
    """`message` with everything that differs from record to record replaced by its kind."""
    text = message[:_LONGEST]
    for pattern, kind in _STEPS:
        text = pattern.sub(kind, text)
    return text.strip().lower()


def fingerprint(platform: str, integration: str, stream: str, fault: Fault) -> str:
    """The name of the issue that `fault` belongs to: 16 hex digits."""
    return digest(
        platform,
        integration,
        stream,
        fault.error_class,
        fault.code,
        fault.field,
        normalise(fault.message),
        length=16,
    )
