"""Ask for one line of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One line of text wanted. `check` returns what is wrong with an answer, None when it is fine."""

    title: str
    label: str = ""
    value: str = ""
    placeholder: str = ""
    hint: str = ""
    verb: str = "OK"
    check: Callable[[str], str | None] | None = None
