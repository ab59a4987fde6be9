"""How fast something grows: a rate over the last seconds from snapshots that come now and then."""

from __future__ import annotations

from collections import deque

WINDOW_MS = 10_000
_LEAST_MS = 1_000


class Pace:
    """Counts of named things over time; a rate is of the last ten seconds, or since the start if shorter."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[int, int]]] = {}

    def note(self, name: str, at_ms: int, value: int, started_ms: int | None) -> float | None:
        """Take a value in and return its rate per second; None as long as nothing can be said."""
        seen = self._seen.setdefault(name, deque())
        if not seen or at_ms > seen[-1][0]:
            seen.append((at_ms, value))
        while len(seen) > 2 and seen[1][0] <= at_ms - WINDOW_MS:
            seen.popleft()
        first_ms, first = seen[0]
        if at_ms - first_ms >= _LEAST_MS:
            return max(0, value - first) / (at_ms - first_ms) * 1000
        if started_ms is not None and at_ms - started_ms >= _LEAST_MS:
            return value / (at_ms - started_ms) * 1000
        return None

    def keep(self, names: set[str]) -> None:
        """Forget what is not among these."""
        for name in self._seen.keys() - names:
            del self._seen[name]
