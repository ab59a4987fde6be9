"""The Link header (RFC 8288), read as its grammar says, whatever a server sends."""

from __future__ import annotations

from typing import NamedTuple

MAX_HEADER = 64 * 1024
_SPACE = " \t"


class Link(NamedTuple):
    """One link: its target as written and its parameters (the first of each name, names in lower case)."""

    target: str
    params: dict[str, str]


def parse_links(value: str) -> list[Link]:
    """Every well-formed link of a header value; what is not one ends the reading, nothing is guessed."""
    links: list[Link] = []
    value = value[:MAX_HEADER]
    index, size = 0, len(value)
    while index < size:
        while index < size and value[index] in " \t,":
            index += 1
        if index >= size or value[index] != "<":
            break
        end = value.find(">", index)
        if end < 0:
            break
        target = value[index + 1 : end]
        params, index = _params(value, end + 1)
        links.append(Link(target, params))
        if index < size and value[index] != ",":
            break
    return links


def _params(value: str, index: int) -> tuple[dict[str, str], int]:
    params: dict[str, str] = {}
    size = len(value)
    while True:
        index = _skip(value, index)
        if index >= size or value[index] != ";":
            return params, index
        index = _skip(value, index + 1)
        start = index
        while index < size and value[index] not in " \t=;,":
            index += 1
        name = value[start:index].lower()
        index = _skip(value, index)
        content = ""
        if index < size and value[index] == "=":
            content, index = _content(value, _skip(value, index + 1))
        if name:
            params.setdefault(name, content)


def _content(value: str, index: int) -> tuple[str, int]:
    size = len(value)
    if index < size and value[index] == '"':
        index += 1
        parts: list[str] = []
        while index < size and value[index] != '"':
            if value[index] == "\\" and index + 1 < size:
                index += 1
            parts.append(value[index])
            index += 1
        return "".join(parts), min(index + 1, size)
    start = index
    while index < size and value[index] not in " \t;,":
        index += 1
    return value[start:index], index


def _skip(value: str, index: int) -> int:
    while index < len(value) and value[index] in _SPACE:
        index += 1
    return index


def find_link(value: str, rel: str) -> str | None:
    """The target of the first link with the relation `rel` (relations are compared without case)."""
    wanted = rel.lower()
    for link in parse_links(value):
        if wanted in link.params.get("rel", "").lower().split() and "anchor" not in link.params:
            return link.target
    return None
