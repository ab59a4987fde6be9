"""Cuts the text of one value out of a JSON document, exactly as it stands there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from json.decoder import scanstring as _scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

# Whatever the numbers are: only where a value ends is of interest.
_FORM = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
_scan: Callable[[str, int], tuple[Any, int]] = _FORM.scan_once  # type: ignore[attr-defined]  # and this
_SPACE = " \t\n\r"


def cut(text: str, path: Sequence[str]) -> str | None:
    """The text of the value at `path` (members of objects by name, of lists by number), None when it is not there.

    An empty path is the document without the space around it. What follows the value is not looked at. Raises
    ValueError for a text that is no JSON up to there, and RecursionError for one that is nested too deep.
    """
    try:
        index = _skip(text, 1 if text[:1] == "\ufeff" else 0)
        for name in path:
            found = _member(text, index, name)
            if found is None:
                return None
            index = found
        return text[index : _scan(text, index)[1]]
    except StopIteration:
        raise ValueError("a value is expected") from None


def equal_but(one: bytes, other: bytes, paths: Sequence[Sequence[str]]) -> bool:
    """Whether two JSON documents are equal when the members at `paths` are left out; False when one is no JSON."""
    try:
        values = [_FORM.decode(text.decode("utf-8").strip()) for text in (one, other)]
    except (ValueError, RecursionError):
        return False
    for value in values:
        for path in paths:
            _leave_out(value, path)
    return bool(values[0] == values[1])


def _leave_out(value: Any, path: Sequence[str]) -> None:
    *parents, last = path
    for name in parents:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(last, None)


def _member(text: str, index: int, name: str) -> int | None:
    """Where the member `name` of the object or list at `index` begins."""
    opening = text[index : index + 1]
    if opening not in ("{", "["):
        return None
    wanted = int(name) if opening == "[" and name.isascii() and name.isdigit() else -1
    closing, number = ("}" if opening == "{" else "]"), 0
    index = _skip(text, index + 1)
    if text[index : index + 1] == closing:
        return None
    while True:
        if opening == "{":
            if text[index : index + 1] != '"':
                raise ValueError("a key in double quotes is expected")
            key, index = _scanstring(text, index + 1, True)
            index = _skip(text, index)
            if text[index : index + 1] != ":":
                raise ValueError("':' is expected")
            index = _skip(text, index + 1)
            if key == name:
                return index
        elif number == wanted:
            return index
        index = _skip(text, _scan(text, index)[1])
        mark = text[index : index + 1]
        if mark == closing:
            return None
        if mark != ",":
            raise ValueError(f"',' or '{closing}' is expected")
        index = _skip(text, index + 1)
        number += 1


def _skip(text: str, index: int) -> int:
    while text[index : index + 1] and text[index] in _SPACE:
        index += 1
    return index
