"""The filter of the inbox over the list of issues: which of its words speak of issues, which of dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.core.filtertext import FilterText, parse_filter
from platint_tui.core.model import Issue
from platint_tui.services.letterfilters import FILTER_NAMES

_OF_ISSUES = ("platform", "profile", "integration", "stream", "code", "field", "class", "bin", "fingerprint")


def read(text: str) -> FilterText:
    """The filter as it was typed. Raises UsageError with the word that is wrong."""
    return parse_filter(text, FILTER_NAMES)


def asks_letters(wanted: FilterText) -> bool:
    """Whether it asks for something that only dead letters have: a key, a run, a time, a state."""
    return any(name not in _OF_ISSUES for name in wanted.values)


def narrowed(issues: Sequence[Issue], wanted: FilterText) -> list[Issue]:
    """The issues that the names in the filter allow; its words are looked for in the store."""
    return [
        issue
        for issue in issues
        if all(
            any(_is(issue, name, value) for value in values)
            for name, values in wanted.values.items()
            if name in _OF_ISSUES
        )
    ]


def _is(issue: Issue, name: str, value: str) -> bool:
    if name == "fingerprint":
        return issue.fingerprint.startswith(value)
    return bool(getattr(issue, "error_class" if name == "class" else name) == value)
