"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter. Durations in seconds; `budget` bounds the sum of waits."""

    attempts: int = 5
    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    budget: float = 600.0


def backoff(policy: RetryPolicy, attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the `attempt`-th failure (1 is the first): uniform in 0..min(cap, base*factor^n)."""
    ceiling = min(policy.cap, policy.base * policy.factor ** min(attempt - 1, 60))
    return rng.uniform(0.0, ceiling)


def parse_retry_after(value: str, now_ms: int) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; None when it says nothing usable.

    Accepts whole or fractional seconds and the date form; a date in the past is 0.
    """
    value = value.strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now_ms / 1000)
    return seconds if 0 <= seconds < 1e9 else None
