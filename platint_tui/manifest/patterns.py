r"""The regular expressions that a manifest may hold: those that cannot run away.

Allowed: literals, escapes (`\d \w \s \. \-` …), classes, `.`, anchors, one quantifier behind a single atom,
and groups of literal alternatives without a quantifier behind them. No nesting, look-around,
back-references or flags. What backtracking can cost in the worst case is computed from the quantifiers and
bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.problems import shown

MAX_INPUT = 4096
"""Longer values are refused before they are matched."""
MAX_COST = 20_000_000
_ATOM = re.compile(
    r"\\[dDwWsS.^$*+?()\[\]{}|/\\-]"  # escapes
    r"|\[\^?\]?(?:\\[dDwWsS\]\[\\^./-]|[^\]\[\\])*\]"  # a class
    r"|[^\\^$*+?()\[\]{}|]"  # a literal, or `.`
)
_QUANTIFIER = re.compile(r"([*+?])|\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_GROUP = re.compile(
    r"\((?:\?:)?((?:\\[.^$*+?()\[\]{}|/\\-]|[^\\^$*+?()\[\]{}|.])*(?:\|(?:\\[.^$*+?()\[\]{}|/\\-]|[^\\^$*+?()\[\]{}|.])*)*)\)"
)


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A compiled pattern for `search`. Raises ConfigError when it is not one of the allowed ones."""
    at = 0
    cost = 1
    if not pattern.startswith("^"):
        cost = MAX_INPUT
    else:
        at = 1
    while at < len(pattern):
        if pattern[at] == "$":
            if at != len(pattern) - 1:
                raise _refused(pattern, "'$' stands at the end only")
            break
        group = _GROUP.match(pattern, at)
        if group:
            cost *= group.group(1).count("|") + 1
            at = group.end()
            if _QUANTIFIER.match(pattern, at):
                raise _refused(pattern, "a group cannot be repeated")
            continue
        if pattern[at] == "(":
            raise _refused(pattern, "a group holds literal alternatives only, such as (test|live)")
        atom = _ATOM.match(pattern, at)
        if not atom:
            raise _refused(pattern, f"{shown(pattern[at : at + 8])} is not supported")
        at = atom.end()
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier:
            at = quantifier.end()
            cost *= _choices(quantifier)
            if at < len(pattern) and pattern[at] in "?*+{":
                raise _refused(pattern, "one quantifier is allowed, not two")
        if cost > MAX_COST:
            raise _refused(pattern, "it has too many variable repetitions to be safe")
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise _refused(pattern, str(error)) from None


def _choices(quantifier: re.Match[str]) -> int:
    """In how many ways a quantifier can match."""
    symbol, low, comma, high = quantifier.groups()
    if symbol == "?":
        return 2
    if symbol or (comma and high is None):
        return MAX_INPUT
    return max(1, int(high) - int(low) + 1) if comma else 1


def matches(pattern: str, value: str) -> bool:
    """Whether `value` has the form. Raises ConfigError for a pattern that is not allowed."""
    return len(value) <= MAX_INPUT and compile_pattern(pattern).search(value) is not None


def _refused(pattern: str, why: str) -> ConfigError:
    return ConfigError(f"The pattern {shown(pattern)} is not allowed: {why}.")
