"""One run: its streams side by side, each failing alone, until every one has an end or a reason to wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import Fenced, PlatintError, RateLimited, StoreError
from platint_tui.core.model import Run, StreamProgress
from platint_tui.core.ports import Driver
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import FINAL_RUN_STATES, RunState
from platint_tui.engine.context import Context
from platint_tui.engine.plan import IntegrationPlan, StreamPlan
from platint_tui.engine.planner import plan_integration
from platint_tui.engine.streams import StreamRun

log = logging.getLogger("platint.engine")

STREAMS_AT_ONCE = 4
CANCEL_POLL = 0.5
LONGEST_PARK_MS = 86_400_000 + 60_000
"""A platform parks a stream for at most a day: a time further ahead says that the clock was set back."""
_CLOCK_SLACK_MS = 1_000
"""Milliseconds that a clock may be put right by without anything being made of it."""
GRACE = 2.0
"""Seconds that a page in flight is given to be finished when the run is to stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stream ended in this slice of the run."""

    state: RunState
    code: str = ""
    text: str = ""
    resume_at_ms: int | None = None
    error_class: str = ""
    parked_ms: int = 0
    """When it was parked; a clock that shows an earlier time was set back, and `resume_at_ms` means nothing."""


class RunTask:
    """Executes one claimed run. `shutdown` is set when the engine stops; then the run is left resumable."""

    def __init__(self, context: Context, run: Run, shutdown: asyncio.Event) -> None:
        self._context = context
        self._runs = context.store.runs
        self._run = run
        self._shutdown = shutdown
        self._halt = asyncio.Event()
        self._cancelled = False
        self._outcomes: dict[str, Outcome] = {}

    async def execute(self) -> None:
        """Run to an end. Returns quietly when another engine took the run over.

        Raises StoreError when the store takes nothing: then the run is to be put back and tried again later.
        """
        try:
            await self._execute()
        except Fenced:
            log.info("run %s was taken over by another engine", self._run.number)

    async def _execute(self) -> None:
        pending = [item for item in self._run.streams if item.state not in FINAL_RUN_STATES]
        watcher = asyncio.create_task(self._watch())
        try:
            try:
                plan = await self._plan([item.stream for item in pending])
            except StoreError:
                raise
            except Exception as error:
                await self._fail_all(pending, error)
            else:
                await self._with_drivers(plan, pending)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await self._finish()

    async def _plan(self, streams: list[str]) -> IntegrationPlan:
        run = self._run
        integration = await self._context.store.integrations.get(run.integration, run.version)
        return await plan_integration(self._context, integration, streams, name=run.integration)

    async def _with_drivers(self, plan: IntegrationPlan, pending: list[StreamProgress]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            try:
                source = await self._context.open_driver(plan.source.profile)
                stack.push_async_callback(_close, source)
                destination = source
                if plan.target.profile.name != plan.source.profile.name:
                    destination = await self._context.open_driver(plan.target.profile)
                    stack.push_async_callback(_close, destination)
            except StoreError:
                raise
            except Exception as error:
                await self._fail_all(pending, error)
                return
            await self._supervise(plan, pending, source, destination)

    async def _supervise(
        self, plan: IntegrationPlan, pending: list[StreamProgress], source: Driver, destination: Driver
    ) -> None:
        """Run the streams, a few at a time; a parked one goes on by itself while others still run."""
        plans = {item.stream: item for item in plan.streams}
        # In real time no stream ends to make room for the next one.
        endless = any(item.follow for item in plan.streams)
        slots = asyncio.Semaphore(len(plan.streams) if endless else STREAMS_AT_ONCE)
        tasks: dict[asyncio.Task[None], str] = {}
        for item in pending:
            waits = item.resume_at_ms if item.state == RunState.RATE_LIMITED else None
            if waits is not None and not self._over(waits):
                self._outcomes[item.stream] = Outcome(
                    RunState.RATE_LIMITED,
                    item.error_code,
                    item.error,
                    waits,
                    item.error_class,
                    self._context.clock.now_ms(),
                )
                continue
            work = self._stream(plans[item.stream], item.state, slots, source, destination)
            tasks[asyncio.create_task(work)] = item.stream
        halting: asyncio.Task[Any] = asyncio.create_task(self._halt.wait())
        try:
            while tasks:
                waiting: set[asyncio.Task[Any]] = {*tasks} if halting.done() else {*tasks, halting}
                limit = GRACE if halting.done() else self._until_resume()
                done, _ = await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                if halting.done() and not done:
                    break
                for task in [item for item in tasks if item in done]:
                    tasks.pop(task)
                    task.result()
                for stream in [] if halting.done() else self._due():
                    parked = self._outcomes.pop(stream)
                    work = self._stream(plans[stream], parked.state, slots, source, destination)
                    tasks[asyncio.create_task(work)] = stream
        finally:
            for task in (*tasks, halting):
                task.cancel()
            await asyncio.gather(*tasks, halting, return_exceptions=True)
        for item in pending:
            ended = self._outcomes.get(item.stream)
            waits_still = ended is not None and ended.state == RunState.RATE_LIMITED
            if ended is None or (waits_still and self._cancelled):
                await self._move(item.stream, self._halted())

    def _until_resume(self) -> float | None:
        times = [item.resume_at_ms for item in self._outcomes.values() if item.resume_at_ms is not None]
        if not times:
            return None
        # Not longer than a moment: the wall clock that the platform's time is in may be set.
        return min(max(0.01, (min(times) - self._context.clock.now_ms()) / 1000), CANCEL_POLL)

    def _due(self) -> list[str]:
        return [
            name
            for name, item in self._outcomes.items()
            if item.resume_at_ms is not None and self._over(item.resume_at_ms, item.parked_ms)
        ]

    def _over(self, resume_at_ms: int, parked_ms: int = 0) -> bool:
        """Whether a parked stream goes on now: its time has come, or cannot be meant."""
        now = self._context.clock.now_ms()
        return parked_ms > now + _CLOCK_SLACK_MS or not 0 < resume_at_ms - now <= LONGEST_PARK_MS

    def _halted(self) -> Outcome:
        if self._cancelled:
            return Outcome(RunState.CANCELLED, "cancelled", "Cancelled; the position is kept.")
        return Outcome(RunState.INTERRUPTED, "interrupted", "Interrupted; it goes on from its position.")

    async def _stream(
        self,
        plan: StreamPlan,
        state: RunState,
        slots: asyncio.Semaphore,
        source: Driver,
        destination: Driver,
    ) -> None:
        async with slots:
            if self._halt.is_set():
                return
            work = self._work(plan)
            try:
                if state != RunState.RUNNING:
                    await self._runs.move_stream(
                        self._run.id,
                        self._run.epoch,
                        plan.stream,
                        RunState.RUNNING,
                        total=await self._expected(plan),
                    )
                done = await work.run(source, destination, self._halt)
                outcome = await self._ended(plan.stream, work.note) if done else self._halted()
            except StoreError:
                raise  # nothing about this stream can be stored
            except RateLimited as error:
                now = self._context.clock.now_ms()
                until = max(min(error.until_ms, now + LONGEST_PARK_MS), 1)
                outcome = Outcome(
                    RunState.RATE_LIMITED, error.code, error.sentence(), until, error.error_class, now
                )
            except PlatintError as error:
                # Fenced by the target: when the store says the same, the move below raises it again; when the
                # run is still ours, another installation writes there, and this stream has failed.
                outcome = _failure(error)
            except Exception as error:
                outcome = _internal(error, f"stream {plan.stream} of run {self._run.number}")
            await self._move(plan.stream, outcome, work.requests)
            self._outcomes[plan.stream] = outcome

    def _work(self, plan: StreamPlan) -> StreamRun:
        context, side = self._context, plan.source

        def lag(seconds: float) -> None:
            context.telemetry.lag(
                side.platform, side.profile.name, f"{plan.integration}/{plan.stream}", seconds
            )

        async def told(keys: Sequence[str], since_ms: int) -> Collection[str]:
            return await context.store.deliveries.came_since(plan.integration, plan.stream, keys, since_ms)

        return StreamRun(
            plan,
            self._runs,
            context.clock,
            self._run.id,
            self._run.epoch,
            lag=lag,
            told=told if plan.fed else None,
            rng=context.rng,
        )

    async def _expected(self, plan: StreamPlan) -> int | None:
        """How many records will come, where discovery can know it: when all of them are read, and that ends."""
        if plan.follow:
            return None
        state = await self._runs.sync_state(plan.integration, plan.stream)
        return plan.estimate if state is None or state.confirmed is None else None

    async def _ended(self, stream: str, note: str) -> Outcome:
        run = await self._runs.get(self._run.id)
        rejected = (
            next((item.dead_lettered for item in run.streams if item.stream == stream), 0) if run else 0
        )
        state = RunState.PARTIAL if rejected else RunState.SUCCEEDED
        return Outcome(state, "note" if note else "", note)

    async def _move(self, stream: str, outcome: Outcome, requests: int = 0) -> None:
        await self._runs.move_stream(
            self._run.id,
            self._run.epoch,
            stream,
            outcome.state,
            error_class=outcome.error_class,
            error_code=outcome.code,
            error=outcome.text,
            resume_at_ms=outcome.resume_at_ms,
            requests=requests,
        )

    async def _fail_all(self, pending: list[StreamProgress], error: Exception) -> None:
        """What stops the whole run before its first request is said by each of its streams."""
        what = f"run {self._run.number}"
        outcome = _failure(error) if isinstance(error, PlatintError) else _internal(error, what)
        for item in pending:
            if item.state == RunState.INTERRUPTED:
                await self._move(item.stream, Outcome(RunState.RUNNING))
            await self._move(item.stream, outcome)

    async def _watch(self) -> None:
        """Notice a cancellation or the engine's end, whatever the streams are doing."""
        while not self._halt.is_set():
            if self._shutdown.is_set():
                self._halt.set()
            elif await self._asked_to_cancel():
                self._cancelled = True
                self._halt.set()
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._shutdown.wait(), CANCEL_POLL)

    async def _asked_to_cancel(self) -> bool:
        try:
            return await self._runs.cancel_requested(self._run.id)
        except PlatintError:
            return False

    async def _finish(self) -> None:
        run = await self._runs.get(self._run.id)
        if run is None:
            return
        states = [item.state for item in run.streams]
        texts = [item.error for item in run.streams if item.state == RunState.FAILED and item.error]
        state = run_state(states)
        await self._runs.finish(self._run.id, self._run.epoch, state, texts[0] if texts else "")
        await self._alert(run, state, texts[0] if texts else "")

    async def _alert(self, run: Run, state: RunState, text: str) -> None:
        """Tell somebody how a run ended that did not bring everything, where the strategy is alert."""
        if state not in (RunState.FAILED, RunState.PARTIAL):
            return
        integration = await self._context.store.integrations.get(run.integration, run.version)
        if integration is None or integration.error_strategy != "alert":
            return
        failed = sum(item.dead_lettered for item in run.streams)
        said = text or f"{failed:,} of its records failed."
        await self._context.store.alerts.raise_alert(
            "warning", run.integration, f"Run {run.number} of '{run.integration}' is {state}: {said}"
        )


def run_state(states: list[RunState]) -> RunState:
    """The state of a run from those of its streams."""
    for one in (RunState.CANCELLED, RunState.INTERRUPTED):
        if one in states:
            return one
    if RunState.QUEUED in states or RunState.RUNNING in states:
        return RunState.INTERRUPTED
    if RunState.RATE_LIMITED in states:
        return RunState.RATE_LIMITED
    kinds = set(states)
    if kinds <= {RunState.SUCCEEDED}:
        return RunState.SUCCEEDED
    return RunState.FAILED if kinds == {RunState.FAILED} else RunState.PARTIAL


def _failure(error: PlatintError) -> Outcome:
    text = REDACTOR.redact(error.sentence())
    return Outcome(RunState.FAILED, error.code, text, None, error.error_class)


def _internal(error: Exception, what: str) -> Outcome:
    """An error that nobody foresaw: the log has where, the operator one sentence."""
    log.error("%s: %s", what, REDACTOR.redact(repr(error)), exc_info=error)
    return Outcome(
        RunState.FAILED,
        "internal",
        REDACTOR.redact(
            f"An unexpected error stopped it: {type(error).__name__}: {error} (see the engine's log)"
        ),
    )


async def _close(driver: Driver) -> None:
    try:
        await driver.close()
    except Exception as error:
        log.warning("a driver did not close: %s", REDACTOR.redact(repr(error)))
