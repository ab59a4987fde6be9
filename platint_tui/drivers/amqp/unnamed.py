"""Identities for messages whose sender gave none.

An identity is made at the first delivery. A broker delivers a message again whose acknowledgement did not arrive,
and marks it as redelivered: one that was stored already has to be known by its content then, so that it replaces
itself. For that the position keeps the identities of the last deliveries, as many as can be unacknowledged.

Two messages without an identity that are equal in everything, of which the first was acknowledged in the moment of
a crash and the second not yet stored, cannot be told apart: they count as one.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from platint_tui.core.model import JsonObject

_DIGITS = 16


class Unnamed:
    """Makes and remembers identities: `<digest of the message>-<run of numbers>-<number>`.

    `mark` sets apart the runs of numbers that start again from 1 after a position was forgotten.
    """

    def __init__(self, kept: JsonObject | None, most: int) -> None:
        """`kept` is what `position` gave, `most` how many deliveries are remembered."""
        kept = kept or {}
        self.mark = str(kept.get("mark", ""))
        self._count = int(kept.get("count", 0))
        self._recent: deque[str] = deque((str(item) for item in kept.get("recent", ())), maxlen=most)
        self._stored: dict[str, deque[str]] = {}
        for item in self._recent:
            self._stored.setdefault(item.partition("-")[0], deque()).append(item)

    def identity(self, digest: str, redelivered: bool) -> str:
        """The identity of a message with this digest: its own of before when it is delivered once more."""
        short = digest[:_DIGITS]
        known = self._stored.get(short) if redelivered else None
        if known:
            item = known.popleft()
            if item in self._recent:
                self._recent.remove(item)
        else:
            self._count += 1
            item = f"{short}-{self._count}"
        self._recent.append(item)
        head, _, number = item.partition("-")
        return f"{head}-{self.mark}-{number}"

    def position(self) -> dict[str, Any] | None:
        """What a position keeps of it; None before the first message without an identity."""
        if not self.mark:
            return None
        return {"mark": self.mark, "count": self._count, "recent": list(self._recent)}
