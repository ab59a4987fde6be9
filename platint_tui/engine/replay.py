"""Replays: dead letters sent again through the same target, each with the key that is stored with it.

What is about to be sent is a row before it is sent, and its outcome a row after. A crash between the two is
settled at the next start: sent again with the same key where that is harmless, else unknown, for a person to
decide.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from platint_tui.core.errors import (
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
from platint_tui.core.model import (
    NATIVE,
    Batch,
    DeadLetter,
    Fault,
    JsonObject,
    Profile,
    ReplayJob,
    Row,
    WriteResult,
)
from platint_tui.core.ports import Driver, Target
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import DeadLetterState
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.native import RETURNED, holder_of, native_letter
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.planner import plan_integration
from platint_tui.engine.rows import make_row
from platint_tui.store.ports import DeadLetterFilter

log = logging.getLogger("platint.engine")

IN_FLIGHT = 8
CLAIMED = 32
"""Dead letters taken at a time where a repeat does no harm; elsewhere no more than are in flight, because what
is claimed when the engine dies counts as sent."""
STOP_AFTER = 5
"""Transient failures in a row after which a job stops: the target is down, not the records bad."""
_POLL = 0.5


class _Stop(Exception):
    """The job ends here; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class _Route:
    """An open way to one target of one stream."""

    plan: StreamPlan
    target: Target


class ReplayTask:
    """Works through one job. `shutdown` is set when the engine stops; the rest of the job waits."""

    def __init__(self, context: Context, job: ReplayJob, shutdown: asyncio.Event) -> None:
        self._context = context
        self._replays = context.store.replays
        self._job = job
        self._shutdown = shutdown
        self._drivers: dict[str, Driver] = {}
        self._opening = asyncio.Lock()
        self._routes: dict[tuple[str, str], _Route | PlatintError] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._ended: _Stop | None = None
        self._failures = 0
        self._not_before_ms = 0

    async def execute(self) -> None:
        """Send what is pending until nothing is, the job was cancelled, or the target seems to be down."""
        try:
            # Nobody else works at this job: what is on its way was left by a dead engine, or by an earlier try
            # of this one that could not store what came of it.
            await _recover(self._context, self._job)
            while not self._shutdown.is_set():
                job = await self._replays.get(self._job.id)
                if job is None or job.ended_ms is not None:
                    return
                await self._await_limit()
                claimed = await self._replays.claim(self._job.id, self._context.worker, self._batch_size())
                if not claimed:
                    if not await self._still_open():
                        return
                    continue
                failpoint("replay.after_intent")
                await self._send_all(claimed)
        except _Stop as stop:
            log.warning("replay %s stopped: %s", self._job.id, stop.sentence)
            await self._replays.cancel(self._job.id, stop.sentence)
        finally:
            await self._close()

    def _batch_size(self) -> int:
        known = [route for route in self._routes.values() if isinstance(route, _Route)]
        return CLAIMED if known and all(route.plan.idempotent for route in known) else IN_FLIGHT

    async def _still_open(self) -> bool:
        """Nothing was claimed: whether something may still come (released items of a rate limit)."""
        job = await self._replays.get(self._job.id)
        if job is None or job.ended_ms is not None or not job.pending:
            return False
        await self._pause(_POLL)
        return not self._shutdown.is_set()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._shutdown.wait(), seconds)
        except TimeoutError:
            pass

    async def _await_limit(self) -> None:
        while not self._shutdown.is_set():
            wait = (self._not_before_ms - self._context.clock.now_ms()) / 1000
            if wait <= 0:
                return
            job = await self._replays.get(self._job.id)
            if job is None or job.ended_ms is not None:
                return
            await self._pause(min(wait, _POLL))

    async def _send_all(self, letters: Sequence[DeadLetter]) -> None:
        """Send claimed dead letters: together to a transactional target, side by side to any other."""
        groups: dict[tuple[str, str], list[DeadLetter]] = {}
        for letter in letters:
            of = letter.profile if letter.direction == NATIVE else letter.integration
            groups.setdefault((of, letter.stream), []).append(letter)
        for key, group in groups.items():
            if group[0].direction == NATIVE:
                await asyncio.gather(*(self._return(letter) for letter in group))
                continue
            route = await self._route(*key)
            if isinstance(route, PlatintError):
                await self._give_back(group)
                self._end(route.sentence())
                continue
            ready = await self._rows(route, group)
            if route.target.transactional:
                works = [self._send(route, ready)] if ready else []
            else:
                works = [self._send(route, [item]) for item in ready]
            results = await asyncio.gather(*works, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        if self._ended is not None:
            raise self._ended

    def _end(self, sentence: str) -> None:
        """Let nothing more be sent; the first reason is the one that is told."""
        self._ended = self._ended or _Stop(REDACTOR.redact(sentence))

    async def _route(self, integration: str, stream: str) -> _Route | PlatintError:
        key = (integration, stream)
        if key not in self._routes:
            try:
                self._routes[key] = await self._open(integration, stream)
            except StoreError:
                raise
            except PlatintError as error:
                self._routes[key] = error
        return self._routes[key]

    async def _open(self, integration: str, stream: str) -> _Route:
        found = await self._context.store.integrations.get(integration)
        plan = (await plan_integration(self._context, found, [stream], name=integration)).streams[0]
        driver = await self._driver(plan.target.profile)
        # A replay moves no position, so it needs no epoch of a run.
        return _Route(plan, await driver.open_target(plan.target_plan(0, self._job.id)))

    async def _driver(self, profile: Profile) -> Driver:
        async with self._opening:
            if profile.name not in self._drivers:
                self._drivers[profile.name] = await self._context.open_driver(profile)
            return self._drivers[profile.name]

    async def _return(self, letter: DeadLetter) -> None:
        """Send a dead letter that its platform keeps itself back to where it came from, through that platform."""
        async with self._slots:
            if self._ended is not None or self._shutdown.is_set() or self._held_back():
                await self._give_back([letter])
                return
            try:
                driver = await holder_of(self._context, letter.profile, self._driver)
                returned = await driver.return_dead(native_letter(letter), letter.idempotency_key)
                failpoint("replay.after_send")
            except StoreError:
                raise
            except TransientError as error:
                self._not_before_ms = self._context.clock.now_ms() + 500 * (self._failures + 1)
                await self._give_back([letter])
                self._count_failure(_text(error))
            except PlatintError as error:
                await self._give_back([letter])
                self._end(error.sentence())
            except Exception as error:
                log.exception("replay %s", self._job.id)
                await self._lost([letter], error)
            else:
                outcome = RETURNED[returned.outcome]
                self._failures = 0
                await self._settle(letter, outcome, returned.outcome, REDACTOR.redact(returned.message))

    async def _rows(self, route: _Route, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, Row]]:
        """The payloads as rows, mapped as in a sync; one that is still no record is settled as failed."""
        ready = []
        for letter in letters:
            try:
                raw = letter.payload.decode("utf-8")
                value = loads(raw)
                if not isinstance(value, dict):
                    raise NotFound("The payload is no JSON object.", code="not_a_record")
                row = make_row(route.plan, raw, value, letter.idempotency_key, letter.op)
            except (PlatintError, UnicodeDecodeError) as error:
                await self._settle(letter, "failed", _code(error), _text(error))
            else:
                ready.append((letter, row))
        return ready

    async def _send(self, route: _Route, items: Sequence[tuple[DeadLetter, Row]]) -> None:
        letters = [letter for letter, _ in items]
        async with self._slots:
            if self._ended is not None or self._shutdown.is_set() or self._held_back():
                await self._give_back(letters)
                return
            # The sync may have written newer versions since these were claimed.
            gone = await self._replays.newer_written(self._job.id)
            await self._give_back([letter for letter in letters if letter.id in gone])
            items = [item for item in items if item[0].id not in gone]
            letters = [letter for letter, _ in items]
            if not items:
                return
            try:
                result = await route.target.write(Batch([row for _, row in items], None))
                failpoint("replay.after_send")
            except RateLimited as error:
                self._not_before_ms = max(self._not_before_ms, error.until_ms)
                await self._give_back(letters)
            except UnknownOutcome as error:
                await self._lost(letters, error)
            except StoreError:
                raise
            except PlatintError as error:
                await self._refused(route, letters, error)
            except Exception as error:
                log.exception("replay %s", self._job.id)
                await self._lost(letters, error)
            else:
                await self._settle_written(route, items, result)

    def _held_back(self) -> bool:
        return self._not_before_ms > self._context.clock.now_ms()

    async def _settle_written(
        self, route: _Route, items: Sequence[tuple[DeadLetter, Row]], result: WriteResult
    ) -> None:
        faults = dict(result.faults)
        if 0 < result.superseded < len(items) - len(faults):
            # The target holds newer versions of some of the rows and does not say of which: asked one by one.
            for item in items:
                again = await route.target.write(Batch([item[1]], None))
                await self._settle_written(route, [item], again)
            return
        outcome = "superseded" if result.superseded else "succeeded"
        for index, (letter, _) in enumerate(items):
            fault = faults.get(index)
            if fault is not None:
                await self._settle_fault(letter, fault)
                continue
            self._failures = 0
            await self._settle(letter, outcome, response=result.responses.get(index))

    async def _settle_fault(self, letter: DeadLetter, fault: Fault) -> None:
        unknown = fault.code == UnknownOutcome.code
        await self._settle(
            letter,
            "unknown" if unknown else "failed",
            fault.code,
            REDACTOR.redact(joined(fault.message, fault.hint)),
            request=fault.request,
            response=fault.response,
        )
        if fault.error_class in (ErrorClass.TRANSIENT, ErrorClass.AUTH, ErrorClass.SYSTEMIC):
            self._count_failure(fault.message)
        else:
            self._failures = 0

    async def _lost(self, letters: Sequence[DeadLetter], error: Exception) -> None:
        for letter in letters:
            await self._settle(letter, "unknown", _code(error), _text(error))
        self._count_failure(_text(error))

    async def _refused(self, route: _Route, letters: Sequence[DeadLetter], error: PlatintError) -> None:
        """The target refused everything: nothing was written."""
        if isinstance(error, Fenced) or error.error_class in (ErrorClass.AUTH, ErrorClass.CONFIG):
            await self._give_back(letters)
            self._end(error.sentence())
            return
        if route.target.transactional:
            # No record's fault: all of them wait a moment, then are tried again.
            self._not_before_ms = self._context.clock.now_ms() + 500 * (self._failures + 1)
            await self._give_back(letters)
        else:
            for letter in letters:
                await self._settle(letter, "failed", _code(error), _text(error))
        self._count_failure(_text(error))

    def _count_failure(self, text: str) -> None:
        self._failures += 1
        if self._failures >= STOP_AFTER:
            self._end(
                f"{self._failures} sends in a row failed ({text}), so the replay stopped; what was delivered "
                "stays delivered, the rest is open. Replay it when the target works."
            )

    async def _give_back(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            await self._settle(letter, "released")

    async def _settle(
        self,
        letter: DeadLetter,
        outcome: str,
        code: str = "",
        message: str = "",
        *,
        request: JsonObject | None = None,
        response: JsonObject | None = None,
    ) -> None:
        await self._replays.settle(
            self._job.id,
            letter.id,
            outcome,
            code=code,
            message=message,
            request=request,
            response=response,
        )

    async def _close(self) -> None:
        for route in self._routes.values():
            if isinstance(route, _Route):
                await _quietly(route.target)
        for driver in self._drivers.values():
            await _quietly(driver)


async def _quietly(thing: Target | Driver) -> None:
    try:
        await thing.close()
    except Exception as error:
        log.warning("a target did not close: %s", REDACTOR.redact(repr(error)))


def _code(error: Exception) -> str:
    return error.code if isinstance(error, PlatintError) else "internal"


def _text(error: Exception) -> str:
    text = error.sentence() if isinstance(error, PlatintError) else f"{type(error).__name__}: {error}"
    return REDACTOR.redact(text)


async def _recover(context: Context, job: ReplayJob) -> None:
    """Settle what was left in flight: sent again where the target takes a repeat, else unknown."""
    # A job may go to several targets; one that does not take a repeat makes the answer for all of them.
    idempotent = await _idempotent(context, job)
    count = await context.store.replays.recover(job.id, [], idempotent)
    if count:
        log.info("replay %s: %d in flight recovered (idempotent=%s)", job.id, count, idempotent)


async def _idempotent(context: Context, job: ReplayJob) -> bool:
    """Whether every target that something of this job is on its way to takes a repeat."""
    inbox = context.store.dead_letters
    routes: set[tuple[str, str]] = set()
    numbers = await inbox.numbers(DeadLetterFilter(states=(DeadLetterState.REPLAYING,)))
    for letter in await inbox.rows(numbers):
        attempts = await inbox.attempts(letter.id)
        if any(item.job == job.id for item in attempts):
            if letter.direction == NATIVE:
                return False  # whether it was sent back is not known, and the origin takes it twice
            routes.add((letter.integration, letter.stream))
    try:
        for integration, stream in routes:
            found = await context.store.integrations.get(integration)
            plan = await plan_integration(context, found, [stream], name=integration)
            if not plan.streams[0].idempotent:
                return False
    except PlatintError as error:
        log.warning("replay %s: %s", job.id, REDACTOR.redact(error.sentence()))
        return False
    return True
