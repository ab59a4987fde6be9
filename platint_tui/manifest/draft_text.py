"""YAML as a drafted manifest is written: a line a value, comments where a person must decide."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from platint_tui.core.model import Json
from platint_tui.core.text import clean

DECIDE = "# decide: "
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})
_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def scalar(value: Json) -> str:
    """One value as YAML that reads back as the same."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if clean(text) != text or not text.isprintable():
        return json.dumps(text)
    return "'" + text.replace("'", "''") + "'"


def flow(value: Json) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(name)}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def decisions(notes: Iterable[str], indent: int) -> list[str]:
    """What a person must decide, as comments."""
    return [f"{' ' * indent}{DECIDE}{note}" for note in dict.fromkeys(notes)]


def snake(text: str) -> str:
    """A name in small letters with underscores: `MessageSid` is `message_sid`."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", _SNAKE.sub("_", text)).strip("_").lower()
    return re.sub(r"__+", "_", words)


def sentence(text: Json, most: int = 160) -> str:
    """The first sentence of a description on one line."""
    if not isinstance(text, str):
        return ""
    line = clean(" ".join(re.sub(r"<[^>]{0,80}>", " ", text).split()))
    first = re.split(r"(?<=[.!?]) ", line, maxsplit=1)[0]
    return first if len(first) <= most else first[: most - 1].rstrip() + "…"
