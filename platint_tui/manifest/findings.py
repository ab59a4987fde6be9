"""What the checks of a manifest share: collecting findings by place, walking texts, checking paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest.loader import origin_of
from platint_tui.manifest.problems import Problem, shown
from platint_tui.manifest.template import compile_template
from platint_tui.manifest.yamltext import Document, PathKey


class Findings:
    """Collects problems by path."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._raw = document.data
        self.problems: list[Problem] = []

    def add(self, path: PathKey, text: str) -> None:
        """Something is wrong at `path` of the merged data."""
        problem = self._document.problem(origin_of(self._raw, path), text.rstrip("."))
        if problem not in self.problems:
            self.problems.append(problem)

    def error(self, path: PathKey, error: ConfigError) -> None:
        """An error of another module, at `path`."""
        self.add(path, f"{error.message} {error.hint}".strip())


def texts(value: Json, path: PathKey) -> Iterator[tuple[PathKey, str]]:
    """Every text below `value`, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, (*path, number))


def check_path(found: Findings, path: PathKey, text: str) -> None:
    """Paths begin with a slash, hold no query and no dot segments."""
    plain = text.lower().replace("%2e", ".")
    if not text.startswith("/") or text.startswith("//"):
        found.add(path, f"a path begins with one '/', {shown(text)} does not")
    elif "?" in (plain_text := _literals(text)) or "#" in plain_text:
        found.add(path, "a path holds no '?' and no '#'; parameters go under query")
    elif {".", ".."} & set(plain.split("/")):
        found.add(path, "a path holds no '.' and no '..'")
    elif not text.isascii() or not text.isprintable() or " " in _literals(text):
        found.add(path, "a path is printable ASCII without spaces; encode others with %")


def _literals(text: str) -> str:
    try:
        return "".join(part for part in compile_template(text).parts if isinstance(part, str))
    except ConfigError:
        return ""
