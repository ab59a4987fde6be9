"""A JSON text as a tree of lines: exact numbers, folded branches, shortened texts. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rich.cells import cell_len

from platint_tui.core.text import clean
from platint_tui.tui.widgets.cells import tame

PAGE = 500
SHORT = 60
TEXT_LINES = 400
MATCHES = 10_000
ALIGNED = 24

_WIDE = re.compile("[^\x00-\u10ff\u2010-\u203a\u2400-\u2421⟨⟩]")

Path = tuple[int, ...]
Pieces = list[tuple[str, str]]


class Number(str):
    """A number (or NaN, Infinity) exactly as it is written."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """An object as its (name, value) pairs in their order, names that occur twice included."""

    __slots__ = ()


def _number(text: str) -> Number:
    return Number(text)


def _members_of(pairs: list[tuple[str, Any]]) -> Members:
    return Members(pairs)


# Functions of Python, not the classes themselves: in them the interpreter lets other threads go on, so that the
# screen stays alive while a large payload is parsed beside it.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_members_of,
    parse_int=_number,
    parse_float=_number,
    parse_constant=_number,
    strict=False,
)


def parse(text: str) -> Any:
    """The tree of a JSON text. Raises ValueError with a sentence when it is none, or is nested too deeply."""
    try:
        value, end = _DECODER.raw_decode(text.lstrip("\ufeff \t\r\n"))
    except json.JSONDecodeError as error:
        raise ValueError(f"No JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise ValueError("Nested too deeply for a tree.") from None
    if text.lstrip("\ufeff \t\r\n")[end:].strip(" \t\r\n"):
        raise ValueError("No single JSON value: there is text after it.")
    return value


@dataclass(frozen=True, slots=True)
class Line:
    """One visible line. `kind`: object, array, text, long (a shortened text), number, word, part, more."""

    path: Path
    kind: str
    name: str | None
    value: str
    folds: bool = False
    open: bool = False
    hint: str = ""
    pad: int = 0
    """Cells that the names beside this one take, so that values stand below each other."""


@dataclass(slots=True)
class Folding:
    """Which branches are open, and how many pages of a long branch are shown."""

    open: set[Path] = field(default_factory=lambda: {()})
    pages: dict[Path, int] = field(default_factory=dict)


def child(value: Any, index: int) -> Any:
    """The member or element at `index`."""
    return value[index][1] if isinstance(value, Members) else value[index]


def scalar(value: Any) -> str:
    """A scalar as JSON writes it; a text without its quotes."""
    if isinstance(value, str):
        return value
    return {None: "null", True: "true", False: "false"}[value]


def flatten(root: Any, folding: Folding, width: int) -> list[Line]:
    """The visible lines for a screen of `width` cells."""
    lines: list[Line] = []
    stack: list[tuple[Path, str | None, Any, int] | Line] = [((), None, root, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, Line):
            lines.append(item)
            continue
        path, name, value, pad = item
        lines.append(replace(_line(path, name, value, path in folding.open), pad=pad))
        if path not in folding.open:
            continue
        if isinstance(value, list):
            shown = min(len(value), PAGE * folding.pages.get(path, 1))
            if shown < len(value):
                stack.append(Line(path, "more", None, f"{len(value) - shown:,} more"))
            pairs = value[:shown] if isinstance(value, Members) else enumerate(value[:shown])
            members = [(str(label), inner) for label, inner in pairs]
            widest = max((cell_len(label[:ALIGNED]) for label, _ in members), default=0)
            for index in range(shown - 1, -1, -1):
                stack.append(((*path, index), *members[index], min(widest, ALIGNED)))
        elif isinstance(value, str) and _is_long(value):
            lines += _parts(path, value, max(8, width - 2 * len(path) - 4))
    return lines


def _line(path: Path, name: str | None, value: Any, opened: bool) -> Line:
    if isinstance(value, Members):
        return Line(path, "object", name, _members(len(value), "field"), bool(value), opened)
    if isinstance(value, list):
        return Line(path, "array", name, _members(len(value), "item"), bool(value), opened)
    if isinstance(value, Number):
        return Line(path, "number", name, value)
    if isinstance(value, str):
        if _is_long(value):
            return Line(path, "long", name, value[:SHORT], True, opened, f"{len(value):,} characters")
        return Line(path, "text", name, value)
    return Line(path, "word", name, scalar(value))


def _members(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _is_long(value: str) -> bool:
    return not isinstance(value, Number) and (len(value) > SHORT or "\n" in value)


def _parts(path: Path, value: str, width: int) -> Iterator[Line]:
    """The lines of an opened text, at most TEXT_LINES of them."""
    shown = 0
    for row in wrap(value[: TEXT_LINES * width], width):
        if shown == TEXT_LINES:
            break
        shown += 1
        yield Line(path, "part", None, row)
    if shown == TEXT_LINES or len(value) > TEXT_LINES * width:
        yield Line(path, "part", None, "the rest is in the raw view", hint="cut")


def wrap(text: str, width: int) -> Iterator[str]:
    """Lines of a text, cleaned, on rows of at most `width` cells."""
    for line in text.split("\n"):
        safe = tame(line.expandtabs(4))
        step = width if is_narrow(safe) else max(1, width // 2)
        for start in range(0, max(1, len(safe)), step):
            yield safe[start : start + step]


def is_narrow(text: str) -> bool:
    """Whether no character of a cleaned text can be wider than one cell."""
    return text.isascii() or _WIDE.search(text) is None


def open_small(root: Any, most: int = 200) -> Folding:
    """A folding that shows everything of a small document, and the first level of a large one."""
    folding = Folding()
    seen = 1
    level: list[tuple[Path, Any]] = [((), root)]
    while level:
        following: list[tuple[Path, Any]] = []
        for path, value in level:
            if not isinstance(value, list):
                continue
            seen += len(value)
            if path and seen > most:
                return folding
            folding.open.add(path)
            following += [((*path, index), child(value, index)) for index in range(min(len(value), most))]
        level = following
    return folding


def find(root: Any, needle: str, most: int = MATCHES) -> list[Path]:
    """Paths of the values whose name or text contains `needle` (any case), in document order."""
    wanted = needle.casefold()
    found: list[Path] = []
    stack: list[tuple[Path, str | None, Any]] = [((), None, root)]
    while stack and len(found) < most:
        path, name, value = stack.pop()
        if (name is not None and wanted in name.casefold()) or (
            not isinstance(value, list) and wanted in scalar(value).casefold()
        ):
            found.append(path)
        if isinstance(value, list):
            pairs = value if isinstance(value, Members) else [(None, item) for item in value]
            stack.extend(
                ((*path, index), pairs[index][0], pairs[index][1]) for index in range(len(pairs) - 1, -1, -1)
            )
    return found


def reveal(folding: Folding, path: Path) -> None:
    """Open every branch above `path`, with enough pages to see it."""
    for depth in range(len(path)):
        parent = path[:depth]
        folding.open.add(parent)
        folding.pages[parent] = max(folding.pages.get(parent, 1), path[depth] // PAGE + 1)


def path_of(root: Any, dotted: str) -> Path | None:
    """The path of a field named like `address.lines.0` or `address.zip`; None when it is not there."""
    value, path = root, []
    for part in dotted.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, Members):
            index = next((at for at, (name, _) in enumerate(value) if name == part), None)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            index = int(part)
        else:
            index = None
        if index is None:
            return None
        path.append(index)
        value = child(value, index)
    return tuple(path)


def pretty(root: Any) -> str:
    """The document as indented JSON: numbers exactly as they were, control characters as escapes."""
    parts: list[str] = []
    stack: list[Any] = [(root, 0, "")]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
            continue
        value, depth, end = item
        if not isinstance(value, list):
            parts.append(_scalar_json(value) + end)
            continue
        opening, closing = ("{", "}") if isinstance(value, Members) else ("[", "]")
        if not value:
            parts.append(opening + closing + end)
            continue
        parts.append(opening + "\n")
        stack.append("  " * depth + closing + end)
        for index in range(len(value) - 1, -1, -1):
            after = ",\n" if index < len(value) - 1 else "\n"
            inner = child(value, index)
            stack.append((inner, depth + 1, after))
            name = f"{_quoted(value[index][0])}: " if isinstance(value, Members) else ""
            stack.append("  " * (depth + 1) + name)
    return "".join(parts)


def _scalar_json(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) and not isinstance(value, Number) else scalar(value)


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    if clean(quoted) == quoted:
        return quoted
    return "".join(char if clean(char) == char else json.dumps(char)[1:-1] for char in quoted)
