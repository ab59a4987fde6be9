"""How busy the receiver of webhooks is, so that what can wait does not hold up what a sender waits for."""

from __future__ import annotations

import asyncio
import time

BUSY = 12
"""Requests in one commit from which on the receiver is busy: they came faster than the disk takes them one by one."""
_LASTS = 0.25
"""Seconds for which that is believed."""
_SHARE = 15.0
"""What can wait rests this many times as long as it worked."""
_LONGEST = 1.0


class Pressure:
    """One of an engine: the receiver tells, the others give way."""

    def __init__(self) -> None:
        self._busy_until = float("-inf")

    def stored(self, requests: int) -> None:
        """The receiver has stored so many requests in one commit."""
        if requests >= BUSY:
            self._busy_until = time.monotonic() + _LASTS

    @property
    def busy(self) -> bool:
        """Whether requests come faster than the disk takes them one by one."""
        return time.monotonic() < self._busy_until

    async def give_way(self, worked: float) -> None:
        """Rest after `worked` seconds of work that can wait, while the receiver is busy; at most a second."""
        if self.busy:
            await asyncio.sleep(min(worked * _SHARE, _LONGEST))
