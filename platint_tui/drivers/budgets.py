"""What platforms have announced of their limits, shared by every driver of a credential in this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """What is known of one limit right now. `left` calls (or points) remained when an answer last told, None
    when nothing is known; what is out and unanswered (`flying`) is still to be taken from it.

    A budget ends at `until_ms` as a whole (0: it is not said when), or fills up by `restore` a second to at
    most `most`. `costs` are what the last call of each kind cost, `learning` the kinds whose first call is
    out. Times are epoch milliseconds.
    """

    left: float | None = None
    told_ms: int = 0
    until_ms: int = 0
    restore: float = 0.0
    most: float = 0.0
    flying: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)
    learning: set[str] = field(default_factory=set)
    slots: asyncio.Semaphore | None = None
    _changed: asyncio.Event | None = None
    """Made by whoever waits first."""

    def available(self, now_ms: int) -> float | None:
        """What may be sent now; None when nothing is known, so that nothing is forbidden."""
        if self.left is None:
            return None
        if self.until_ms and now_ms >= self.until_ms and not self.restore:
            self.left = None
            return None
        filled = self.left + self.restore * max(0, now_ms - self.told_ms) / 1000
        return (min(filled, self.most) if self.most else filled) - self.flying

    def announce(self, left: float, now_ms: int, until_ms: int) -> None:
        """An answer says what remains until `until_ms`.

        Answers may overtake each other: within the same span of time the lowest number is the latest.
        """
        same = until_ms and abs(until_ms - self.until_ms) < 1500
        if self.left is None or not same or self.restore or left < self.left:
            self.left = left
        self.told_ms, self.until_ms = now_ms, until_ms
        self.stir()

    def forget(self) -> None:
        """The span that the budget was told for is over."""
        self.left = None
        self.stir()

    def stir(self) -> None:
        """Wake whoever waits for an answer."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def change(self) -> None:
        """Wait until an answer comes, or a call ends without one."""
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()


class Budgets:
    """The budgets of one credential by the name of the limit."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}

    def of(self, limit: str) -> Budget:
        """The budget of a limit; a new one knows nothing."""
        found = self._budgets.get(limit)
        if found is None:
            found = self._budgets[limit] = Budget()
        return found
