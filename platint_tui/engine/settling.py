"""What came of items, stored together: whoever waits while one commit runs shares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from platint_tui.core.errors import SystemicError
from platint_tui.core.replays import Settlement
from platint_tui.engine.failpoints import failpoint
from platint_tui.store.ports import Replays

_AT_ONCE = 200


class Settler:
    """Stores the settlements of one job; `settle` returns when its own is on disk."""

    def __init__(self, replays: Replays, job: str) -> None:
        self._replays = replays
        self._job = job
        self._waiting: list[tuple[Settlement, asyncio.Future[None]]] = []
        self._drain: asyncio.Task[None] | None = None

    async def settle(self, *settlements: Settlement) -> None:
        """Store what came of items. Raises StoreError when that is not possible now."""
        if not settlements:
            return
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in settlements]
        self._waiting += zip(settlements, futures, strict=True)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._store())
        for future in futures:
            await future

    async def _store(self) -> None:
        while self._waiting:
            batch = self._waiting[:_AT_ONCE]
            del self._waiting[:_AT_ONCE]
            error = await self._stored([settlement for settlement, _ in batch])
            if isinstance(error, SystemicError) and len(batch) > 1:
                # One of them is not being sent: it must not take the others with it.
                for settlement, future in batch:
                    _tell(future, await self._stored([settlement]))
                continue
            for _, future in batch:
                _tell(future, error)

    async def _stored(self, settlements: Sequence[Settlement]) -> Exception | None:
        try:
            await self._replays.settle_all(self._job, settlements)
            failpoint("replay.after_settle")
        except Exception as error:
            return error
        return None


def _tell(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
