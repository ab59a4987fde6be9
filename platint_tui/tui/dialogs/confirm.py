"""Ask before something that cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is about to happen, so that a person can say yes to it.

    `lines` are shown under the title; they may be remote text. `host`, `method` and `count` name where it
    goes and how much. `typed` is a name (of the profile) that has to be typed first: see `needs_name`.
    """

    title: str
    verb: str
    lines: tuple[str, ...] = ()
    host: str = ""
    method: str = ""
    count: int | None = None
    typed: str = ""


BULK = 50
"""More objects than this at once want the profile's name typed."""


def needs_name(*, environment: str = "", count: int = 1, deletes: bool = False) -> bool:
    """Whether an action must be confirmed by typing the profile's name."""
    return environment == "production" or count > BULK or deletes
