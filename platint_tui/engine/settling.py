"""What came of items, stored together: what comes while one commit runs shares the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from platint_tui.core.errors import SystemicError
from platint_tui.core.replays import Settlement
from platint_tui.engine.failpoints import failpoint
from platint_tui.store.ports import Replays

_AT_ONCE = 200
_BUSY = 4
"""Settlements of one commit from which on the next one waits a moment for more: a commit costs as much as several."""
_MOMENT = 0.015


class Settler:
    """Stores the settlements of one job in the order in which they come. `stored` is told how many are on disk
    each time; `failed` what kept some from being stored: nothing more is tried then.
    """

    def __init__(
        self,
        replays: Replays,
        job: str,
        stored: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._replays = replays
        self._job = job
        self._stored = stored
        self._failed = failed
        self._waiting: deque[Settlement] = deque()
        self._drain: asyncio.Task[None] | None = None

    def put(self, *settlements: Settlement) -> None:
        """Store these as soon as may be."""
        self._waiting.extend(settlements)
        if self._waiting and (self._drain is None or self._drain.done()):
            self._drain = asyncio.create_task(self._store())

    async def flush(self) -> None:
        """Wait until everything is stored, or cannot be."""
        while self._drain is not None and not self._drain.done():
            await asyncio.wait({self._drain})

    async def _store(self) -> None:
        busy = False
        while self._waiting:
            if busy and len(self._waiting) < _AT_ONCE:
                await asyncio.sleep(_MOMENT)
            batch = list(islice(self._waiting, _AT_ONCE))
            busy = len(batch) >= _BUSY
            try:
                await self._write(batch)
            except Exception as error:
                self._waiting.clear()
                self._failed(error)
                return
            for _ in batch:
                self._waiting.popleft()
            self._stored(len(batch))

    async def _write(self, batch: Sequence[Settlement]) -> None:
        try:
            await self._replays.settle_all(self._job, batch)
        except SystemicError:
            if len(batch) == 1:
                raise
            # One of them is not being sent: the others must not wait for a person.
            for settlement in batch:
                await self._replays.settle_all(self._job, [settlement])
        failpoint("replay.after_settle")
