"""What is wrong in a file, with line and column, and how it is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError
from platint_tui.core.text import clean

MAX_SHOWN = 60
_SECRET_LOOK = re.compile(
    r"\b(?:[srp]k|rk)_(?:live|test)_|\bgh[pousr]_|github_pat_|\bxox[abposr]-|\bAKIA[0-9A-Z]{12}|\bwhsec_|\bSG\."
    r"|\beyJ[\w-]{10,}\.|-----BEGIN|^\s*(?:bearer|basic)\s+\S{8,}|://[^/\s:@]*:[^/\s@]+@",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; `field` is the dotted name ('' for the
    file); `file` is set when it stands in another file than the one that was read.
    """

    line: int
    column: int
    field: str
    text: str
    file: str = ""

    def describe(self) -> str:
        """`field: what is wrong`, without the place."""
        return f"{self.field}: {self.text}" if self.field else self.text


class FileError(ConfigError):
    """Everything that is wrong in one file; the message has one line for each problem."""

    code = "file"

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        lines = [
            f"{item.file or name}:{item.line}:{item.column}: {item.describe()}" for item in self.problems
        ]
        super().__init__("\n".join(lines))


def looks_secret(text: str) -> bool:
    """Whether a value has the form of a credential; such a value is never repeated in a message."""
    return bool(_SECRET_LOOK.search(text))


def shown(value: object) -> str:
    """A value as an error message may repeat it: short, cleaned, and never a credential."""
    text = value if isinstance(value, str) else repr(value)
    if looks_secret(text):
        return "(a value that looks like a credential)"
    text = clean(text)
    return f"'{text[:MAX_SHOWN]}…'" if len(text) > MAX_SHOWN else f"'{text}'"


def did_you_mean(word: str, known: Sequence[str] | Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to `word`, '' when none is near."""
    candidates = sorted(known)
    near = difflib.get_close_matches(word[:MAX_SHOWN], candidates, n=1, cutoff=0.6)
    if not near:
        near = [item for item in candidates if item.lower() == word.lower().replace("-", "_")][:1]
    return f"; did you mean '{near[0]}'?" if near else ""


def listing(words: Iterable[str]) -> str:
    """`a, b or c` for a sentence."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}" if items else "nothing"


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: `resources.issues.read`, `check[0].id`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return clean(text)[:200]
