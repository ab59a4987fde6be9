"""How many items of a job may go by now: so many a second, reached over a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """`rate` items a second, 0 for no limit; reached evenly over `ramp` seconds from the first look on.

    What was not used in time is lost but for a second's worth: a job that waited does not burst.
    """

    rate: float
    ramp: float = 0.0
    _started: float | None = None
    _taken: float = 0.0

    def take(self, now: float, most: int) -> int:
        """How many of `most` may go at the monotonic time `now`; they count as gone."""
        if not self.rate:
            return most
        if self._started is None:
            self._started = now
        # The first one need not wait for its share.
        due = 1.0 + self._due(now - self._started)
        self._taken = max(self._taken, due - max(1.0, self.rate))
        count = max(0, min(most, int(due - self._taken + 1e-9)))
        self._taken += count
        return count

    def give_back(self, count: int) -> None:
        """So many of those that were taken did not go."""
        self._taken = max(0.0, self._taken - count)

    def _due(self, elapsed: float) -> float:
        if self.ramp and elapsed < self.ramp:
            return self.rate * elapsed * elapsed / (2 * self.ramp)
        return self.rate * (elapsed - self.ramp / 2)

    @property
    def pause(self) -> float:
        """Seconds after which it is worth asking again."""
        return min(0.5, max(0.01, 1.0 / self.rate)) if self.rate else 0.0
