"""Identities for messages whose sender gave none.

An identity is made at the first delivery. A broker delivers a message again whose acknowledgement did not arrive,
and marks it as redelivered: one that was stored already has to be known by its content then, so that it replaces
itself. For that the position keeps the identities of the last deliveries, as many as can be unacknowledged, and for
a while those of earlier connections: a broker may notice late that one is gone, or restart, and give what is new
before what it has to give once more.

Two messages without an identity that are equal in everything, of which the first was acknowledged in the moment of
a crash and the second not yet stored, cannot be told apart: they count as one. And a classic queue of RabbitMQ that
is killed may have forgotten more acknowledgements than the broker allows to be outstanding: what it gives again
beyond those is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from platint_tui.core.model import JsonObject

KEPT_MS = 600_000
"""How long identities of earlier connections are kept."""
_CONNECTIONS = 3
"""Of how many earlier connections, at most."""
_DIGITS = 16


class Unnamed:
    """Makes and remembers identities: `<digest of the message>-<run of numbers>-<number>`.

    `mark` sets apart the runs of numbers that start again from 1 after a position was forgotten.
    """

    def __init__(self, kept: JsonObject | None, most: int, now_ms: Callable[[], int]) -> None:
        """`kept` is what `position` gave, `most` how many deliveries of one connection are remembered."""
        kept = kept or {}
        self.mark = str(kept.get("mark", ""))
        self._count = int(kept.get("count", 0))
        self._recent: deque[str] = deque(maxlen=most)
        self._now_ms = now_ms
        now = now_ms()
        earlier = [(int(until), list(ids)) for until, ids in kept.get("before", ()) if now < int(until)]
        earlier.append((now + KEPT_MS, list(kept.get("recent", ()))))
        self._before = earlier[-_CONNECTIONS:]
        self._stored: dict[str, deque[tuple[str, list[str]]]] = {}
        for _, ids in self._before:
            for item in ids:
                self._stored.setdefault(item.partition("-")[0], deque()).append((item, ids))

    def identity(self, digest: str, redelivered: bool) -> str:
        """The identity of a message with this digest: its own of before when it is delivered once more."""
        short = digest[:_DIGITS]
        known = self._stored.get(short) if redelivered else None
        if known:
            item, among = known.popleft()
            among.remove(item)
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
        position: dict[str, Any] = {"mark": self.mark, "count": self._count, "recent": list(self._recent)}
        now = self._now_ms()
        if before := [[until, list(ids)] for until, ids in self._before if ids and now < until]:
            position["before"] = before
        return position
