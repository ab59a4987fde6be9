"""The filter that a person types: `stream:charges code:invalid_email since:2h "free text"`.

`name:value` narrows by a field, several of `state:` mean any of them, everything else is looked for in the text.
A value with blanks or a colon goes into double quotes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from platint_tui.core.errors import ConfigError, UsageError
from platint_tui.core.units import parse_duration

LETTER_NAMES = (
    *("platform", "profile", "integration", "stream", "run", "code", "field", "key", "fingerprint"),
    *("class", "bin", "direction", "state", "since", "until"),
)
"""The names that may stand before a colon in a filter of dead letters."""
_TERM = re.compile(r'(?:([A-Za-z_]+):)?(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_EARLIEST, _LATEST = 0, 253_402_300_799_999
"""Epoch milliseconds of 1970 and of the end of year 9999."""


@dataclass(frozen=True, slots=True)
class FilterText:
    """A filter as it was read: values by field name, and the words that are looked for in the text."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def one(self, name: str) -> str:
        """The value of a field that can have one only, "" without it. Raises UsageError for several."""
        found = self.values.get(name, ())
        if len(found) > 1:
            raise UsageError(
                f"The filter has {len(found)} values for {name}:, which takes one.",
                hint="Leave the others out.",
            )
        return found[0] if found else ""

    def plus(self, name: str, *values: str) -> FilterText:
        """With these values of a field too; empty ones are none."""
        more = tuple(value for value in values if value)
        if not more:
            return self
        return FilterText({**self.values, name: (*self.values.get(name, ()), *more)}, self.words)

    @property
    def text(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


def parse_filter(text: str, known: Collection[str]) -> FilterText:
    """Read a filter. `known` are the names that may stand before a colon.

    Any other name with a colon is an error, unless it begins an address (`https://…`), which is a word. Raises
    UsageError with the word that is wrong and what was meant.
    """
    values: dict[str, list[str]] = {}
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TERM.match(text, at)
        if match is None:
            raise UsageError(
                f"The filter has a quotation mark that belongs to nothing: {_near(text, at)}.",
                hint='Write a text with blanks as "two words", and a quotation mark in it as \\".',
            )
        at = match.end()
        name, quoted, plain = match.groups()
        value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain
        if name is None and plain is not None and plain[:-1].lower() in known and plain.endswith(":"):
            raise UsageError(
                f"The filter has no value after {plain}",
                hint=f"Write it without a blank between, {plain}VALUE, or the word itself in quotes.",
            )
        if name is None or (plain is not None and plain.startswith("//")):
            words.append(value if name is None else f"{name}:{value}")
            continue
        if name.lower() not in known:
            raise UsageError(f"The filter knows no '{name}:'.", hint=_meant(name.lower(), known))
        values.setdefault(name.lower(), []).append(value)
    return FilterText({name: tuple(found) for name, found in values.items()}, tuple(words))


def write_filter(wanted: FilterText) -> str:
    """The filter as a person would type it: `parse_filter` reads it back."""
    terms = [f"{name}:{_quoted(value)}" for name, found in wanted.values.items() for value in found]
    return " ".join([*terms, *(_quoted(word, word=True) for word in wanted.words)])


def moment_of(value: str, now_ms: int, name: str = "since") -> int:
    """The moment that `2h` (ago) or `2026-11-30T04:00` (local time without an offset) means, in epoch ms.

    Raises UsageError.
    """
    try:
        return max(_EARLIEST, now_ms - int(parse_duration(value) * 1000))
    except (ConfigError, ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(value)
        return min(max(_EARLIEST, int(found.timestamp() * 1000)), _LATEST)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"'{value}' after {name}: is no time.",
            hint="Write how long ago (15m, 2h, 7d), or 2026-11-30T04:00.",
        ) from None


def _quoted(value: str, *, word: bool = False) -> str:
    plain = bool(value) and not re.search(r'[\s"\\]', value)
    if plain and not (word and re.match(r"[A-Za-z_]+:", value)):
        return value
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'"{escaped}"'


def _near(text: str, at: int) -> str:
    return repr(text[at : at + 20])


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"Did you mean {near[0]}:?"
    return (
        f"It knows {', '.join(f'{item}:' for item in sorted(known))}; a text with a colon goes into quotes."
    )
