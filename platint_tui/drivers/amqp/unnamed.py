"""Identities for messages whose sender gave none.

An identity is made at the first delivery. A broker delivers a message again whose acknowledgement did not arrive,
and marks it as redelivered: one that was stored already has to be known by its content then, so that it replaces
itself. For that the position keeps the identities of the last deliveries, as many as can be unacknowledged, and for
a while those of earlier connections: a broker may notice late that one is gone, or restart, and give what is new
before what it has to give once more.

The mark says only that somebody was given the message before, so where nothing is in doubt it means nothing: when
reading ends in order, the broker has answered behind every acknowledgement, and the identities are forgotten. After a
crash, of messages that are equal in everything those that are remembered twice are ambiguous: they count as new ones,
so that some may be stored twice, and none is lost. What cannot be told apart is a message that was acknowledged in the
moment of a crash from an equal one that was not yet stored: these two count as one. And a classic queue of RabbitMQ
that is killed may have forgotten more acknowledgements than the broker allows to be outstanding: what it gives again
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
        for short in [short for short, known in self._stored.items() if len(known) > 1]:
            del self._stored[short]

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

    @staticmethod
    def settled(kept: JsonObject) -> dict[str, Any] | None:
        """What a position keeps when nothing of before is in doubt; None when it has no more than that."""
        if not kept.get("recent") and not kept.get("before"):
            return None
        return {"mark": kept.get("mark", ""), "count": kept.get("count", 0)}

    def position(self) -> dict[str, Any] | None:
        """What a position keeps of it; None before the first message without an identity."""
        if not self.mark:
            return None
        position: dict[str, Any] = {"mark": self.mark, "count": self._count, "recent": list(self._recent)}
        now = self._now_ms()
        if before := [[until, list(ids)] for until, ids in self._before if ids and now < until]:
            position["before"] = before
        return position
