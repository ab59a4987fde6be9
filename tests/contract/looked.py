"""What the look-ups are made of: their results, what was found of a request and its records, and names in paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract.manifests import Data
from contract.schema import Schema, find, items, resolve
from contract.specs.view import Operation, level_at

STANDARD_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "content-type",
        "content-length",
        "host",
        "prefer",
        "user-agent",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "range",
    ]
)
"""Headers of HTTP itself, which descriptions do not list."""

MEDIA = {"json": "json", "xml": "xml", "csv": "csv", "ndjson": "json", "file": ""}

OPEN = "the description allows any name here, so this one must be known from elsewhere"


@dataclass(frozen=True, slots=True)
class Lookup:
    """One entry of a manifest and what the description says of it: nothing (`problem` is empty) when it fits."""

    entry: str
    value: str
    problem: str = ""


@dataclass
class Touched:
    """What the look-ups used of an operation: the places in its answers and its body."""

    operation: Operation
    answer: set[tuple[str, ...]] = field(default_factory=set)
    error: set[tuple[str, ...]] = field(default_factory=set)
    body: set[tuple[str, ...]] = field(default_factory=set)
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The operation of a request (None: unknown) and what it answers."""

    operation: Operation | None
    answers: tuple[Schema, ...] = ()
    root: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[Schema, ...] = ()
    """What the lines of a bulk operation's result are."""


@dataclass(frozen=True, slots=True)
class Records:
    """The schemas of one record of a resource, and where they are in the answer."""

    schemas: tuple[Schema, ...]
    found: Found
    prefix: tuple[str, ...]
    made: frozenset[str] = frozenset()
    """Members that the manifest itself puts into the record."""


def judged(schemas: Iterable[Schema], root: Mapping[str, Any], path: tuple[str, ...], what: str) -> str:
    """What is wrong with a path: nothing, unknown, or allowed only because anything is."""
    known = tuple(schemas)
    if find(known, root, path, named=True):
        return ""
    return OPEN if find(known, root, path) else f"{what} {'.'.join(path)}"


def made_by(read: Data) -> frozenset[str]:
    """The members of a record that come from its parent, or that name it."""
    return frozenset({*read["from_parent"], *(read[word] for word in ("entries", "scalar") if read[word])})


def own(value: Any, name: str) -> Any:
    """A resource with its own name in its templates; a family's streams have theirs only when they are read."""
    if name == "*" or name.endswith(".*"):
        return value
    if isinstance(value, str):
        return _OF.sub(name, value)
    if isinstance(value, Mapping):
        return {key: own(item, name) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [own(item, name) for item in value]
    return value


_OF = re.compile(r"\$\{resource\.of(?: *\| *\w+)*\}")


def parts_of(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def name_of(found: Found) -> str:
    return found.operation.name if found.operation is not None else "the query"


def as_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def signed(name: str) -> bool:
    """Parameters that the way to sign in adds."""
    return name.lower() in ("token", "x-amz-date", "authorization", "x-ms-date")


def sent_by(read: Data) -> frozenset[str]:
    """Parameters in the query that pages and the cursor send."""
    page, cursor = read["page"], read["cursor"] or {}
    found = [page.get("param"), page.get("limit_param"), page.get("size_param")]
    return frozenset(name for name in [*found, cursor.get("start_param"), cursor.get("end_param")] if name)


def form_parts(name: str) -> tuple[str, ...]:
    head, *rest = (part.rstrip("]") for part in name.split("["))
    return (head, *("0" if part == "" or part.isdigit() else part for part in rest))


def form_level(schemas: list[Schema], name: str, root: Mapping[str, Any]) -> list[Schema]:
    """The schemas of a form's field: itself, `name[member]`, `name[0]`, or `Name.member.1.Key`."""
    known = find(schemas, root, (name,))
    if known:
        return known
    parts = form_parts(name)
    if len(parts) > 1:
        return level_at(find(schemas, root, parts[:1]), parts[1:], root)
    level = schemas
    for part in name.split("."):
        if part.isdigit():
            level = items(level, root)
        else:
            named = [item for item in level if resolve(item, root).get("x-in") == part]
            level = named or find(level, root, (part,))
    return level if "." in name else []
