"""Events on their way to the disk: what arrives while one batch is committed is the next one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import PlatintError, StoreError
from platint_tui.core.events import Ingested, IngestOutcome, NewEvent
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint

log = logging.getLogger("platint.receiver")

MAX_EVENTS = 128
MAX_BYTES = 8 * 1024 * 1024
"""Of one batch, unless a single request has more."""
_LOOK_SECONDS = 0.25
"""How often the engine is told that events came; while many come it looks by itself."""

Done = Callable[[bool], None]
"""Called with True once the events are on the disk, with False when they could not be stored."""


@dataclass(slots=True)
class _Entry:
    """The events of one request."""

    events: Sequence[NewEvent]
    size: int
    done: Done


class Batches:
    """Group commit: nothing waits but for the disk, and everything that waits meanwhile shares the next commit."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: deque[_Entry] = deque()
        self._batch: list[_Entry] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._told = float("-inf")
        self._failing = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, events: Sequence[NewEvent], done: Done) -> None:
        """Store the events of one request, all of them or none, and call `done`."""
        size = len(events[0].body) if len(events) == 1 else sum(len(event.body) for event in events)
        self._waiting.append(_Entry(events, size, done))
        if self._idle.is_set():
            self._idle.clear()
            self._begin()

    async def drained(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    def _begin(self) -> None:
        """Store what waits, or rest."""
        while self._waiting:
            try:
                self._context.store.events.ingest_soon(self._take, self._ended)
            except PlatintError as error:
                self._batch = self._next()
                self._fail(error)
            else:
                return
        self._idle.set()

    def _take(self) -> Sequence[NewEvent]:
        """The next batch. It is called on the writer's thread, as late as can be."""
        failpoint("ingest.before_commit")
        self._batch = self._next()
        return [event for entry in self._batch for event in entry.events]

    def _next(self) -> list[_Entry]:
        batch = [self._waiting.popleft()]
        events, size = len(batch[0].events), batch[0].size
        while self._waiting:
            entry = self._waiting[0]
            events, size = events + len(entry.events), size + entry.size
            if events > MAX_EVENTS or size > MAX_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _ended(self, outcome: Sequence[Ingested] | Exception) -> None:
        """A batch was stored, or could not be."""
        if isinstance(outcome, Exception):
            if not self._batch:
                self._batch = self._next()
            if len(self._batch) > 1 and not _hopeless(outcome):
                batch, self._batch = self._batch, []
                task = asyncio.create_task(self._one_by_one(batch))
                task.add_done_callback(lambda _: self._begin())
                return
            self._fail(outcome)
        else:
            failpoint("ingest.after_commit")
            batch, self._batch = self._batch, []
            # The next one is on its way while the senders of this one hear of it.
            self._begin()
            self._tell(outcome)
            self._context.pressure.stored(len(batch))
            failpoint("ingest.before_answer")
            _settle(batch, stored=True)
            return
        self._begin()

    async def _one_by_one(self, batch: list[_Entry]) -> None:
        """One that cannot be stored (too large for what is left of the disk) does not take the others along."""
        for entry in batch:
            try:
                self._tell(await self._context.store.events.ingest(entry.events))
            except Exception as error:
                self._complain(error)
                _settle([entry], stored=False)
            else:
                _settle([entry], stored=True)

    def _fail(self, error: Exception) -> None:
        batch, self._batch = self._batch, []
        self._complain(error)
        _settle(batch, stored=False)

    def _tell(self, outcomes: Sequence[Ingested]) -> None:
        if self._failing:
            log.info("webhooks are stored again")
            self._failing = ""
        now = self._context.clock.monotonic()
        fresh = any(item.outcome is not IngestOutcome.DUPLICATE for item in outcomes)
        if fresh and not self._context.pressure.busy and now - self._told >= _LOOK_SECONDS:
            self._told = now
            self._context.wake.set()

    def _complain(self, error: Exception) -> None:
        known = isinstance(error, PlatintError)
        text = REDACTOR.redact(error.sentence() if isinstance(error, PlatintError) else repr(error))
        if text != self._failing:
            self._failing = text
            log.error(
                "webhooks cannot be stored, so their senders are told to wait: %s",
                text,
                exc_info=None if known else error,
            )


def _hopeless(error: Exception) -> bool:
    """Whether trying the requests one by one would only take longer."""
    return isinstance(error, StoreError) and error.code in ("busy", "closed", "damaged", "upgraded")


def _settle(batch: list[_Entry], *, stored: bool) -> None:
    for entry in batch:
        try:
            entry.done(stored)
        except Exception as error:
            log.error("answering a webhook: %s", REDACTOR.redact(repr(error)), exc_info=error)
