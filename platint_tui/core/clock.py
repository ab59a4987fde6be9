"""Time as a parameter: wall clock for what is shown, a monotonic clock for waiting and leases."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the program knows of time."""

    def now_ms(self) -> int:
        """UTC wall clock in epoch milliseconds."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a test clock may return at once."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """UTC wall clock in epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)
