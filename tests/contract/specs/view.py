"""The common view of API descriptions: operations with their parameters, bodies and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from contract.schema import Document, Schema, find, items, resolve

HOLE = "\x01"
"""Stands for a value in a path that is only known when the request is made."""

HOLES = "\x02"
"""The same for a value that may be several segments of a path."""
_MOST_SEGMENTS = 4

Place = Literal["query", "header", "path"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter. `deep`: members are written in brackets, `created[gte]`."""

    schema: Schema
    required: bool = False
    deep: bool = False


@dataclass(frozen=True)
class Operation:
    """One operation of one document.

    `paths` are complete path templates with the server's own path before them, alternatives of each other.
    `selectors` tell operations of one path apart: (place, name, value), the place being header, query or
    form. `answers` maps a status (`2XX`, `default`) to media types and their schemas; `answer_headers` is None
    where the description lists none at all.
    """

    document: str
    method: str
    paths: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    path: Mapping[str, Param] = field(default_factory=dict)
    query: Mapping[str, Param] = field(default_factory=dict)
    header: Mapping[str, Param] = field(default_factory=dict)
    body: Mapping[str, Schema] = field(default_factory=dict)
    body_required: bool = False
    answers: Mapping[str, Mapping[str, Schema]] = field(default_factory=dict)
    answer_headers: tuple[str, ...] | None = None
    selectors: tuple[tuple[str, str, str], ...] = ()
    root: Document = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Its method, path and selectors: unique in a platform."""
        chosen = "".join(f" {name}={value}" for _, name, value in self.selectors)
        return f"{self.method} {self.paths[0]}{chosen}"

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], int], ...]:
        """Each path as a pattern, with the number of its literal characters."""
        return tuple((pattern_of(path), len(re.sub(r"\{[^}]*\}", "", path))) for path in self.paths)

    def match(self, path: str) -> tuple[int, dict[str, str]] | None:
        """How well a path fits (more literal characters are better) and the text at each parameter."""
        for pattern, weight in self.patterns:
            found = pattern.fullmatch(path)
            if found:
                names = re.findall(r"\{([^}]*)\}", self.paths[[p for p, _ in self.patterns].index(pattern)])
                texts = dict(zip(names, found.groups(), strict=True))
                if all(self._fits(name, text) for name, text in texts.items() if "+" in name):
                    return weight, {name.strip("+"): text for name, text in texts.items()}
        return None

    def _fits(self, name: str, text: str) -> bool:
        """Whether a text of several segments has the form that the description gives for it."""
        param = self.path.get(name.strip("+"))
        wanted = resolve(param.schema, self.root).get("pattern") if param else None
        return (
            not wanted or set(text) <= {HOLE, "/"} or re.search(wanted, text.replace(HOLE, "x")) is not None
        )

    def successes(self, media: str = "") -> list[Schema]:
        """The schemas of the good answers, of `media` (a part of the type's name) where there are such."""
        good = [self.answers[status] for status in self.answers if status.startswith("2")]
        if not good and "default" in self.answers:
            good = [self.answers["default"]]
        chosen = [schema for answer in good for name, schema in answer.items() if media in name]
        return chosen or [schema for answer in good for schema in answer.values()]

    def errors(self) -> list[Schema]:
        """The schemas of refusals."""
        return [
            schema
            for status, answer in self.answers.items()
            if not status.startswith(("1", "2", "3"))
            for schema in answer.values()
        ]

    def body_of(self, encoding: str) -> list[Schema] | None:
        """The schemas of a body in an encoding of manifests, None when the description takes no such body."""
        wanted = {
            "json": ("json",),
            "form": ("x-www-form-urlencoded",),
            "ndjson": ("ndjson", "json"),
            "multipart": ("multipart", "x-www-form-urlencoded"),
            "xml": ("xml",),
            "text": ("",),
        }[encoding]
        for word in wanted:
            chosen = [schema for name, schema in self.body.items() if word in name or name == "*/*"]
            if chosen:
                return chosen
        return None


def pattern_of(path: str) -> re.Pattern[str]:
    """A path template as a pattern: `{name}` is one segment or a part of one, `{+name}` and `{name+}` several."""
    text = ""
    for part in re.split(r"(\{[^}]*\})", path):
        if part.startswith("{"):
            text += "(.+)" if "+" in part else "([^/]+?)"
        else:
            text += re.escape(part)
    return re.compile(text, re.DOTALL)


@dataclass(frozen=True)
class View:
    """What the descriptions of a platform say together. `graphql` is a schema in SDL."""

    platform: str
    operations: tuple[Operation, ...]
    sources: tuple[Mapping[str, Any], ...] = ()
    graphql: str = ""

    def candidates(self, method: str, path: str) -> Iterator[tuple[int, Operation, dict[str, str]]]:
        """The operations that a request may be, with what `Operation.match` says."""
        paths = [path]
        while HOLES in paths[0]:
            paths = [
                item.replace(HOLES, "/".join([HOLE] * count), 1)
                for item in paths
                for count in range(1, _MOST_SEGMENTS + 1)
            ]
        for operation in self.operations:
            if operation.method == method:
                for one in paths:
                    found = operation.match(one)
                    if found is not None:
                        literal = any(HOLE not in text for text in found[1].values())
                        yield found[0] - 100 * literal, operation, found[1]


def param_schemas(params: Mapping[str, Param], name: str, root: Document) -> list[Schema]:
    """The schemas of a parameter by the name that it is sent with: itself, `name[member]`, or `name[]`."""
    if name in params:
        return [resolve(params[name].schema, root)]
    head, *rest = [part.rstrip("]") for part in name.split("[")]
    for base in (head, head + "[]"):
        if base in params and rest:
            level = [resolve(params[base].schema, root)]
            return level_at(level, tuple(rest), root)
    return []


def level_at(level: list[Schema], parts: tuple[str, ...], root: Document) -> list[Schema]:
    """Schemas below others by the parts of a form's name: members, and `` or a number for list elements."""
    for part in parts:
        if part == "" or part.isdigit():
            level = items(level, root)
        else:
            level = find(level, root, (part,)) or find(items(level, root), root, (part,))
    return level
