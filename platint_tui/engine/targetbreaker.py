"""A circuit breaker for each target: one that fails again and again is left alone, then asked once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from platint_tui.core.backoff import RetryPolicy

OPENS_AFTER = 5
"""Transient failures in a row after which nothing more is sent for a while."""
_SHORTEST = 1.0
_LONGEST = 60.0


class BreakerState(StrEnum):
    """closed: everything is sent. open: nothing is. half_open: one send shows whether the target works again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker at one moment; `wait` are the seconds until one send is let through."""

    state: BreakerState
    failures: int
    wait: float
    message: str


class TargetBreaker:
    """Counts the failures of one target. Times are seconds of a monotonic clock, given by the caller.

    It stays open as long as the policy of the target's connector would wait after so many failures, at most a
    minute; twice as long after each try that failed.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._opened = 0
        self._until = 0.0
        self._open = False
        self._probing = False
        self._message = ""

    def view(self, now: float) -> BreakerView:
        """How it stands."""
        state = BreakerState.CLOSED
        if self._open:
            state = BreakerState.HALF_OPEN if self._probing or now >= self._until else BreakerState.OPEN
        return BreakerView(state, self._failures, max(0.0, self._until - now), self._message)

    def admit(self, now: float) -> int | None:
        """How many sends are let through: None for any number, 1 for a try that the caller must report (or
        `give_back`), 0 for none."""
        if not self._open:
            return None
        if self._probing or now < self._until:
            return 0
        self._probing = True
        return 1

    def give_back(self) -> None:
        """The try was not made."""
        self._probing = False

    def succeeded(self) -> bool:
        """The target answered; True when that closed the breaker."""
        was = self._open
        self._failures = self._opened = 0
        self._open = self._probing = False
        self._message = ""
        return was

    def failed(self, now: float, message: str) -> bool:
        """The target did not answer, or not as if it worked; True when that opened the breaker (again)."""
        self._failures += 1
        self._message = message
        if not self._probing and (self._open or self._failures < OPENS_AFTER):
            return False
        longest = min(self._policy.cap, _LONGEST)
        shortest = min(max(self._policy.base, 0.0), _SHORTEST, longest)
        self._until = now + min(longest, shortest * 2.0 ** min(self._opened, 30))
        self._opened += 1
        self._open, self._probing = True, False
        return True
