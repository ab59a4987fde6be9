"""What a native error code of a database means, by the ordered error rules of its manifest."""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.manifest import schema


def rule_of(rules: Sequence[schema.ErrorRule], code: str) -> schema.ErrorRule | None:
    """The first rule that names `code`, by itself or as `class:XX` (its first letters); None without one."""
    for rule in rules:
        for wanted in rule.when.code:
            if wanted == code or (wanted.startswith("class:") and code.startswith(wanted[6:])):
                return rule
    return None
