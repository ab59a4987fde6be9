"""A strict reader for the YAML of manifests and integration files.

It builds plain dicts, lists, texts, numbers and booleans from parser events, so no constructor exists that
a tag could call. Refused, with line and column: tags, anchors and aliases, duplicate keys, keys that are no
text, a second document, control characters, more than 1 MiB, 32 levels or 20,000 values.

Plain scalars follow the YAML 1.2 core schema, narrowed: `true`, `false`, `null`, integers and decimals in
their plain form. Everything else is text: `no`, `on`, `22:22`, `017`, `0x1F`, `1e5`, `2026-03-10`. A
decimal that would not be printed as it was written (`1.10`) is refused, because its text would be lost.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest.problems import FileError, Problem, dotted, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
_TOO_DEEP = f"the file is nested deeper than {MAX_DEPTH} levels"
MAX_VALUES = 20_000

PathKey: TypeAlias = tuple[str | int, ...]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.[0-9]{1,15}")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file as plain data, with the place of every key and value by its path.

    `base` is the file that this one is merged over: what is not in this file stands there.
    """

    name: str
    data: Json
    values: Mapping[PathKey, Position]
    keys: Mapping[PathKey, Position]
    text: str = field(repr=False, default="")
    base: Document | None = None

    def home(self, path: PathKey) -> Document:
        """The file in which the value at `path` is written: this one, or the one below it."""
        own = path in self.values or path in self.keys
        if not own and self.base is not None and (path in self.base.values or path in self.base.keys):
            return self.base
        return self

    def position(self, path: PathKey, *, key: bool = False) -> Position:
        """Where the value at `path` stands in its file (`key=True`: its key); the nearest parent when it is
        not there.
        """
        home = self.home(path)
        if home is not self:
            return home.position(path, key=key)
        while path:
            found = (self.keys.get(path) if key else None) or self.values.get(path) or self.keys.get(path)
            if found:
                return found
            path = path[:-1]
        return self.values.get((), Position(1, 1))

    def problem(self, path: PathKey, text: str, *, key: bool = False) -> Problem:
        """A problem at `path`."""
        line, column = self.position(path, key=key)
        home = self.home(path)
        return Problem(line, column, dotted(path), text, "" if home is self else home.name)


def step(data: Json, part: str | int) -> tuple[bool, Json]:
    """(whether it is there, the member) of a map by name or of a list by number."""
    if isinstance(data, Mapping):
        return part in data, data.get(part)
    if isinstance(data, (list, tuple)) and isinstance(part, int) and 0 <= part < len(data):
        return True, data[part]
    return False, None


def read_document(path: Path, name: str | None = None) -> Document:
    """Read and parse a file; `name` is how messages call it. Raises ConfigError."""
    name = name if name is not None else str(path)
    return parse(read_text(path, name), name)


def read_text(path: Path, name: str | None = None) -> str:
    """The text of a file of at most 1 MiB. Raises ConfigError when it cannot be read or is no UTF-8 text."""
    name = name if name is not None else str(path)
    try:
        # A named pipe or a device would block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError("This is not a file.", where=name)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not usable"
        raise ConfigError(f"The file cannot be read: {reason}.", where=name) from None
    if len(data) > MAX_BYTES:
        raise ConfigError("The file is larger than 1 MiB.", where=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"The file is not UTF-8 text (at byte {error.start}).", where=name) from None


def parse(text: str, name: str = "<text>") -> Document:
    """Parse YAML text. Raises FileError (a ConfigError) with every problem found up to the first syntax
    error.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError("The file is larger than 1 MiB.", where=name)
    bad = _CONTROL.search(text.replace("\r\n", "\n").replace("\r", "\n"))
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        problem = Problem(line, 1, "", f"a control character (U+{ord(bad.group()):04X}) is not allowed here")
        raise FileError(name, [problem])
    builder = _Builder(name, text)
    for event in _events(text, name):
        builder.take(event)
    return builder.finish()


def _events(text: str, name: str) -> Iterator[Any]:
    import yaml  # kept out of start-up: only commands that read manifests pay for it

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        place = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        if "nesting depth" in what:  # newer versions of libyaml have a limit of their own, above ours
            raise FileError(name, [Problem(*place, "", _TOO_DEEP)]) from None
        raise FileError(name, [Problem(*place, "", f"this is not valid YAML: {what}")]) from None
    except yaml.YAMLError as error:
        what = getattr(error, "reason", "") or "it cannot be parsed"
        raise FileError(name, [Problem(1, 1, "", f"this is not valid YAML: {what}")]) from None


class _Frame:
    """A mapping or sequence that is being filled."""

    __slots__ = ("container", "key", "path")

    def __init__(self, container: dict[str, Json] | list[Json], path: PathKey) -> None:
        self.container = container
        self.path = path
        self.key: str | None = None


class _Builder:
    """Turns parser events into plain data; iterative, so depth costs no Python stack."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._stack: list[_Frame] = []
        self._values: dict[PathKey, Position] = {}
        self._keys: dict[PathKey, Position] = {}
        self._problems: list[Problem] = []
        self._root: Json = None
        self._documents = 0
        self._count = 0

    def take(self, event: Any) -> None:
        """Take one parser event."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._guard(event)
            self._scalar(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._guard(event)
            self._start({} if kind == "MappingStartEvent" else [], event)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._stack.pop()
        elif kind == "AliasEvent":
            self._stop(event, f"aliases (*{event.anchor}) are not allowed; write the value out")
        elif kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._stop(event, "a second document is not allowed; one file holds one document")

    def finish(self) -> Document:
        """The document. Raises FileError when problems were collected."""
        if self._problems:
            raise FileError(self._name, self._problems)
        return Document(self._name, self._root, self._values, self._keys, self._text)

    def _guard(self, event: Any) -> None:
        if event.anchor is not None:
            self._stop(event, f"anchors (&{event.anchor}) are not allowed; write the value where it is used")
        if event.tag is not None:
            self._stop(event, f"tags ({event.tag}) are not allowed; manifests are data only")
        self._count += 1
        if self._count > MAX_VALUES:
            self._stop(event, f"the file holds more than {MAX_VALUES:,} values")

    def _start(self, container: dict[str, Json] | list[Json], event: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._stop(event, _TOO_DEEP)
        path = self._place(container, event)
        self._stack.append(_Frame(container, path))

    def _scalar(self, event: Any) -> None:
        text = event.value
        if _CONTROL.search(text):
            self._stop(event, "a control character is not allowed in a value")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, dict) and frame.key is None:
            path = (*frame.path, text)
            if text in frame.container:
                first = self._keys[path]
                self._report(event, path, f"the key {shown(text)} is here twice (first on line {first.line})")
            else:
                self._keys[path] = _position(event)
            frame.key = text
            return
        plain = event.style is None or event.style == ""
        self._place(self._resolve(text, event) if plain else text, event)

    def _resolve(self, text: str, event: Any) -> Json:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            number = float(text)
            if repr(number) != text:
                self._report(event, self._path(), f"{text} would be read as {number!r}; write it in quotes")
            return number
        return text

    def _path(self) -> PathKey:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        return (*frame.path, len(frame.container) if isinstance(frame.container, list) else frame.key or "")

    def _place(self, value: Json, event: Any) -> PathKey:
        """Put a value where it belongs and remember its place."""
        path = self._path()
        if not self._stack:
            self._root = value
        else:
            frame = self._stack[-1]
            if isinstance(frame.container, list):
                frame.container.append(value)
            elif frame.key is None:
                self._stop(event, "a key must be text")
            else:
                if frame.key not in frame.container:
                    frame.container[frame.key] = value
                frame.key = None
        self._values.setdefault(path, _position(event))
        return path

    def _report(self, event: Any, path: PathKey, text: str) -> None:
        self._problems.append(Problem(*_position(event), dotted(path[:-1]), text))

    def _stop(self, event: Any, text: str) -> NoReturn:
        self._problems.append(Problem(*_position(event), "", text))
        raise FileError(self._name, self._problems)


def _position(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)
