from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.patterns import MAX_INPUT, compile_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^(sk|rk)_(test|live)_", "sk_test_abc", "pk_test_abc"),
        ("^acct_", "acct_1", "xacct_1"),
        ("_live_", "sk_live_1", "sk_test_1"),
        ("^[a-z_][a-z0-9_]{0,62}$", "public", "Public"),
        (r"^\d{4}-\d\d$", "2026-01", "2026-1"),
        (r"^[^@\s]+@[^@\s]+$", "a@b", "a b@c"),
        (r"^a\.b\-c?$", "a.b-", "axb-"),
        ("^(?:gh[pousr]_|github_pat_)", None, "x"),
    ],
)
def test_what_is_allowed(pattern: str, good: str | None, bad: str) -> None:
    if good is None:
        with pytest.raises(ConfigError):
            compile_pattern(pattern)
        return
    assert matches(pattern, good)
    assert not matches(pattern, bad)


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$",
        "(a|aa)+",
        "(a*)*",
        "^(a|b|ab)*c$",
        r"(.*)\1",
        "(?=a)b",
        "(?i)abc",
        "(?P<n>a)",
        r"\bword",
        "a**",
        "a+?",
        "^a*b*c*$",
        "a*b*",
        r"^\w*\w*\w*x",
        "^a{0,4000}b{0,4000}c{0,4000}$",
        "[a",
        "(a",
        "a$b",
        r"a\q",
        "[[:alpha:]",
        "a{5,2}",
    ],
)
def test_L8_catastrophic_or_unsupported_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is not allowed"):
        compile_pattern(pattern)


def test_L8_the_worst_allowed_pattern_ends() -> None:
    assert not matches("^a*[a-c]*$", "a" * (MAX_INPUT - 1) + "!")
    assert not matches("[a-z]*!", "a" * MAX_INPUT)
    assert not matches("^a", "a" * (MAX_INPUT + 1))


@settings(max_examples=500, deadline=None)
@given(st.text("ab.*+?()[]{}|\\^$,0123456789d-", max_size=12), st.text("ab.0", max_size=20))
def test_any_pattern_matches_as_re_does_or_is_refused(pattern: str, value: str) -> None:
    try:
        got = matches(pattern, value)
    except ConfigError:
        return
    assert got == bool(re.search(pattern, value, re.ASCII))
