"""Replays: dead letters sent again, each with the key that is stored with it.

What is about to be sent is a row before it is sent, and its outcome a row after. A crash between the two is
settled at the next start: sent again with the same key where that is harmless, else unknown, for a person to
decide.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from platint_tui.core.errors import (
    ConfigError,
    ErrorClass,
    Fenced,
    NotFound,
    PlatintError,
    RateLimited,
    StoreError,
    TransientError,
    UnknownOutcome,
    joined,
)
from platint_tui.core.jsontext import loads
from platint_tui.core.model import NATIVE, Batch, DeadLetter, Fault, ReplayJob, Row, WriteResult
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.replays import Settlement
from platint_tui.core.states import SENDING_REPLAY_STATES
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.native import RETURNED, holder_of, native_letter
from platint_tui.engine.pace import Pace
from platint_tui.engine.replayroutes import Route, Routes
from platint_tui.engine.rows import make_row
from platint_tui.engine.settling import Settler

log = logging.getLogger("platint.engine")

AHEAD = 500
"""Dead letters taken beyond those in flight where a repeat does no harm; elsewhere none are, because what is
claimed when the engine dies counts as sent."""
STOP_AFTER = 5
"""Transient failures in a row after which a job stops: the target is down, not the records bad."""
_POLL = 0.25
_FRESH = 0.05
"""Seconds for which it is believed that no sync has written a newer version of what is about to be sent."""


class ReplayTask:
    """Works through one job. `shutdown` is set when the engine stops; the rest of the job waits."""

    def __init__(self, context: Context, job: ReplayJob, shutdown: asyncio.Event) -> None:
        self._context = context
        self._replays = context.store.replays
        self._job = job
        self._shutdown = shutdown
        self._routes = Routes(context, job)
        self._settler = Settler(self._replays, job.id, self._land, self._break)
        self._pace = Pace(job.options.rate, job.options.ramp)
        self._lanes: dict[Route, deque[tuple[DeadLetter, Row]]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._out = 0
        """Items that are claimed and whose outcome is not on disk."""
        self._enough = 0
        self._room = asyncio.Event()
        self._broken: BaseException | None = None
        self._ended = ""
        self._failures = 0
        self._not_before_ms = 0
        self._overtaken: frozenset[str] = frozenset()
        self._looked = -1.0

    async def execute(self) -> None:
        """Send what is pending until nothing is, the job was paused or ended, or the target seems to be down."""
        self._context.held.discard(self._job.id)
        try:
            # Nobody else works at this job: what is on its way was left by a dead engine, or by an earlier try
            # of this one that could not store what came of it.
            await self._routes.recover()
            while not self._stopping() and await self._more():
                pass
            await self._landed(0)
            if self._broken is not None:
                raise self._broken
            if self._ended:
                await self._stop(self._ended)
        finally:
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            await self._settler.flush()
            await self._routes.close()

    def _stopping(self) -> bool:
        """Whether nothing more is to be sent: the engine stops, the job was held, or something is wrong."""
        held = self._job.id in self._context.held
        return held or self._shutdown.is_set() or bool(self._ended) or self._broken is not None

    async def _stop(self, sentence: str) -> None:
        """Pause or end the job, as it was asked for; `sentence` says why."""
        log.warning("replay %s stopped: %s", self._job.id, sentence)
        if not self._job.options.pauses:
            await self._replays.cancel(self._job.id, sentence)
            return
        try:
            await self._replays.pause(self._job.id, sentence)
        except ConfigError as error:
            log.info("replay %s: %s", self._job.id, error.message)  # it waits after its canary, or has ended

    async def _more(self) -> bool:
        """Claim and send what there is room for; whether there may be more to come."""
        await self._await_limit()
        most = self._routes.in_flight
        repeatable = self._routes.idempotent
        # A few at a time, so that a claim is not a transaction for each item.
        await self._landed(most + AHEAD // 2 if repeatable else most - max(1, most // 4))
        if self._stopping():
            return False
        wanted = most + AHEAD - self._out if repeatable else most - self._out
        count = self._pace.take(self._context.clock.monotonic(), wanted)
        if not count:
            await self._rest(self._pace.pause)
            return True
        claimed = await self._replays.claim(self._job.id, self._context.worker, count)
        self._pace.give_back(count - len(claimed))
        if not claimed:
            return await self._still_open()
        failpoint("replay.after_intent")
        await self._dispatch(claimed)
        return True

    async def _landed(self, left: int) -> None:
        """Wait until the outcomes of all but `left` items are on disk, or cannot be."""
        self._enough = left
        while self._out > left and self._broken is None:
            self._room.clear()
            await self._room.wait()

    def _land(self, count: int) -> None:
        self._out -= count
        if self._out <= self._enough:
            self._room.set()

    def _break(self, error: BaseException) -> None:
        """Something of ours went wrong: what is not stored now is settled by the next try."""
        self._broken = self._broken or error
        self._room.set()

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._workers.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    async def _still_open(self) -> bool:
        """Nothing was claimed: whether something may still come (items that were given back, or wait for others)."""
        if self._out:
            await self._landed(self._out - 1)
            return True
        job = await self._replays.get(self._job.id)
        if job is None or job.ended_ms is not None or job.state not in SENDING_REPLAY_STATES:
            return False
        await self._rest(_POLL)
        return bool(job.pending)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._shutdown.wait(), seconds)
        except TimeoutError:
            pass

    async def _await_limit(self) -> None:
        while not self._stopping():
            wait = (self._not_before_ms - self._context.clock.now_ms()) / 1000
            if wait <= 0:
                return
            await self._rest(min(wait, _POLL))

    async def _dispatch(self, letters: Sequence[DeadLetter]) -> None:
        """Send claimed dead letters: together to a transactional target, side by side to any other."""
        self._out += len(letters)
        groups: dict[Route, list[tuple[DeadLetter, Row]]] = {}
        for letter in letters:
            if letter.direction == NATIVE:
                self._work(self._return(letter))
                continue
            route = await self._routes.of(letter)
            if isinstance(route, PlatintError):
                self._end(route.sentence())
                self._give_back([letter])
            elif (row := self._row(route, letter)) is not None:
                groups.setdefault(route, []).append((letter, row))
        for route, items in groups.items():
            if route.target.transactional:
                self._work(self._send(route, items))
                continue
            lane = self._lanes.setdefault(route, deque())
            lane.extend(items)
            for _ in range(min(len(lane), route.in_flight - route.busy)):
                route.busy += 1
                self._work(self._drain(route, lane))

    async def _drain(self, route: Route, lane: deque[tuple[DeadLetter, Row]]) -> None:
        """Send what waits for a route, one after the other; as many of these run as may be in flight on it."""
        try:
            while lane:
                await self._send(route, [lane.popleft()])
        finally:
            route.busy -= 1

    def _end(self, sentence: str) -> None:
        """Let nothing more be sent; the first reason is the one that is told."""
        self._ended = self._ended or REDACTOR.redact(sentence)

    async def _return(self, letter: DeadLetter) -> None:
        """Send a dead letter that its platform keeps itself back to where it came from, through that platform."""
        async with self._routes.returning:
            if self._stopping() or self._held_back():
                self._give_back([letter])
                return
            try:
                driver = await holder_of(self._context, letter.profile, self._routes.driver)
                returned = await driver.return_dead(native_letter(letter), letter.idempotency_key)
                failpoint("replay.after_send")
            except StoreError:
                raise
            except TransientError as error:
                self._wait_a_moment()
                self._give_back([letter])
                self._count_failure(_text(error))
            except PlatintError as error:
                self._end(error.sentence())
                self._give_back([letter])
            except Exception as error:
                log.exception("replay %s", self._job.id)
                self._lost([letter], error)
            else:
                self._failures = 0
                outcome, message = RETURNED[returned.outcome], REDACTOR.redact(returned.message)
                self._settler.put(Settlement(letter.id, outcome, returned.outcome, message))

    def _row(self, route: Route, letter: DeadLetter) -> Row | None:
        """The payload as a row, mapped as in a sync; one that is still no record is settled as failed."""
        try:
            raw = letter.payload.decode("utf-8")
            value = loads(raw)
            if not isinstance(value, dict):
                raise NotFound("The payload is no JSON object.", code="not_a_record")
            return make_row(route.plan, raw, value, letter.idempotency_key, letter.op)
        except (PlatintError, UnicodeDecodeError) as error:
            self._settler.put(Settlement(letter.id, "failed", _code(error), _text(error)))
            return None

    async def _send(self, route: Route, items: Sequence[tuple[DeadLetter, Row]]) -> None:
        letters = [letter for letter, _ in items]
        if self._stopping() or self._held_back():
            self._give_back(letters)
            return
        # The sync may have written newer versions since these were claimed.
        gone = await self._newer_written()
        if gone:
            self._give_back([letter for letter in letters if letter.id in gone])
            items = [item for item in items if item[0].id not in gone]
            letters = [letter for letter, _ in items]
        if not items:
            return
        try:
            result = await self._write(route, items)
            failpoint("replay.after_send")
        except RateLimited as error:
            self._not_before_ms = max(self._not_before_ms, error.until_ms)
            self._give_back(letters)
        except UnknownOutcome as error:
            self._lost(letters, error)
        except StoreError:
            raise
        except PlatintError as error:
            self._refused(route, letters, error)
        except Exception as error:
            log.exception("replay %s", self._job.id)
            self._lost(letters, error)
        else:
            await self._settle_written(route, items, result)

    async def _write(self, route: Route, items: Sequence[tuple[DeadLetter, Row]]) -> WriteResult:
        return await route.target.write(Batch([row for _, row in items], None))

    async def _newer_written(self) -> frozenset[str]:
        """Those on their way whose record was written in a newer version since. One look serves many items; what is
        missed in between is told by the settlement: it is unknown then."""
        now = self._context.clock.monotonic()
        if now - self._looked > _FRESH:
            self._looked = now
            self._overtaken = await self._replays.newer_written(self._job.id)
        return self._overtaken

    def _held_back(self) -> bool:
        return self._not_before_ms > self._context.clock.now_ms()

    def _wait_a_moment(self) -> None:
        self._not_before_ms = self._context.clock.now_ms() + 500 * (self._failures + 1)

    async def _settle_written(
        self, route: Route, items: Sequence[tuple[DeadLetter, Row]], result: WriteResult
    ) -> None:
        faults = dict(result.faults)
        if 0 < result.superseded < len(items) - len(faults):
            # The target holds newer versions of some of the rows and does not say of which: asked one by one.
            for item in items:
                await self._settle_written(route, [item], await self._write(route, [item]))
            return
        outcome = "superseded" if result.superseded else "succeeded"
        settled = []
        for index, (letter, _) in enumerate(items):
            fault = faults.get(index)
            if fault is not None:
                settled.append(self._faulty(letter, fault))
                continue
            self._failures = 0
            settled.append(Settlement(letter.id, outcome, response=result.responses.get(index)))
        self._settler.put(*settled)

    def _faulty(self, letter: DeadLetter, fault: Fault) -> Settlement:
        if fault.error_class in (ErrorClass.TRANSIENT, ErrorClass.AUTH, ErrorClass.SYSTEMIC):
            self._count_failure(fault.message)
        else:
            self._failures = 0
        return Settlement(
            letter.id,
            "unknown" if fault.code == UnknownOutcome.code else "failed",
            fault.code,
            REDACTOR.redact(joined(fault.message, fault.hint)),
            fault.request,
            fault.response,
        )

    def _lost(self, letters: Sequence[DeadLetter], error: Exception) -> None:
        self._settle_all(letters, "unknown", error)
        self._count_failure(_text(error))

    def _refused(self, route: Route, letters: Sequence[DeadLetter], error: PlatintError) -> None:
        """The target refused everything: nothing was written."""
        if isinstance(error, Fenced) or error.error_class in (ErrorClass.AUTH, ErrorClass.CONFIG):
            self._end(error.sentence())
            self._give_back(letters)
            return
        if route.target.transactional:
            # No record's fault: all of them wait a moment, then are tried again.
            self._wait_a_moment()
            self._give_back(letters)
        else:
            self._settle_all(letters, "failed", error)
        self._count_failure(_text(error))

    def _count_failure(self, text: str) -> None:
        self._failures += 1
        if self._failures >= STOP_AFTER:
            rest = "resume it when" if self._job.options.pauses else "replay it when"
            self._end(
                f"{self._failures} sends in a row failed ({text}), so the replay stopped; what was delivered "
                f"stays delivered, the rest is open: {rest} the target works."
            )

    def _give_back(self, letters: Sequence[DeadLetter]) -> None:
        self._settler.put(*(Settlement(letter.id, "released") for letter in letters))

    def _settle_all(self, letters: Sequence[DeadLetter], outcome: str, error: Exception) -> None:
        code, text = _code(error), _text(error)
        self._settler.put(*(Settlement(letter.id, outcome, code, text) for letter in letters))


def _code(error: Exception) -> str:
    return error.code if isinstance(error, PlatintError) else "internal"


def _text(error: Exception) -> str:
    text = error.sentence() if isinstance(error, PlatintError) else f"{type(error).__name__}: {error}"
    return REDACTOR.redact(text)
