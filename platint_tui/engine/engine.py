"""The engine's main loop: commands, runs, events and replays of one store, as level-triggered as a thermostat.

It asks the store what is to be done whenever something was committed, by whomever, and starts what is not
already being done. Nothing is remembered between two looks but the tasks that run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from platint_tui import __version__
from platint_tui.core.errors import Fenced, PlatintError, StoreError
from platint_tui.core.model import ReplayJob, Run, Worker
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import ACTIVE_RUN_STATES, WORKED_REPLAY_STATES, RunState
from platint_tui.engine.commands import QUICK, carry_out
from platint_tui.engine.context import Context
from platint_tui.engine.inflow import Inflow
from platint_tui.engine.lock import EngineLock
from platint_tui.engine.receiver import Receiver
from platint_tui.engine.replay import ReplayTask
from platint_tui.engine.runner import GRACE, RunTask
from platint_tui.engine.webhookkeeping import WebhookKeeping

log = logging.getLogger("platint.engine")

MAX_RUNS = 4
BEAT = 2.0
CONSOLE_FRESH_MS = 15_000
_POLL = 0.05
_LOOK_ANYWAY = 0.5
_CLEAN_EVERY = 3600.0
_STORE_PAUSE = 1.0
_LONGEST_SETBACK = 60.0


@dataclass(slots=True)
class _Setback:
    """A run or replay that ended because nothing could be stored: when to try again, and how often that was so."""

    run: Run | None
    text: str
    times: int
    due: float
    marked: bool = False
    tried_again: bool = False


class Engine:
    """Works on one store until told to stop. It watches `lock`: an engine that lost its lock ends itself.

    With a `receiver` it takes webhooks while it works.
    """

    def __init__(
        self,
        context: Context,
        lock: EngineLock | None = None,
        *,
        max_runs: int = MAX_RUNS,
        receiver: Receiver | None = None,
    ) -> None:
        self.context = context
        self._lock = lock
        self._receiver = receiver
        self._max_runs = max_runs
        self._started_ms = context.clock.now_ms()
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._endless: set[str] = set()
        self._replays: dict[str, asyncio.Task[None]] = {}
        self._commands: dict[str, asyncio.Task[None]] = {}
        self._setbacks: dict[str, _Setback] = {}
        self._stop = asyncio.Event()
        self._inflow = Inflow(context, self._stop)

    def wake(self) -> None:
        """Look at once; for somebody in the same process who has just asked for something."""
        self.context.wake.set()

    async def run(self, stop: asyncio.Event, *, until_idle: bool = False, linger: float = 2.0) -> None:
        """Work until `stop` is set, or, with `until_idle`, until nothing is to be done for `linger` seconds
        and no console looks. Pages in flight are finished; runs are left resumable.

        Raises Fenced when another engine took the lock, StoreError when the store cannot be opened for work.
        """
        await self._begin()
        helpers = [
            asyncio.create_task(self._keep_house(stop)),
            asyncio.create_task(self._clean_up()),
            asyncio.create_task(WebhookKeeping(self.context).run()),
        ]
        if self._receiver is not None:
            helpers.append(asyncio.create_task(self._receiver.run()))
        try:
            await self._loop(stop, until_idle, linger)
            if self._lock is not None and self._lock.lost():
                raise Fenced("Another engine took over; this one has stopped.")
        finally:
            self._stop.set()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            if self._receiver is not None:
                await self._receiver.stop()
            await self._end()

    async def _begin(self) -> None:
        await self._beat()
        store, me = self.context.store, self.context.worker
        for worker in await store.workers.list():
            if worker.kind == "engine" and worker.id != me:
                await store.workers.gone(worker.id)
        # There is one engine: whatever another one holds, it holds no more.
        for run in await store.runs.reap([me]):
            log.info("run %s goes on: its engine had ended", run.number)
        await self._inflow.begin()

    async def _loop(self, stop: asyncio.Event, until_idle: bool, linger: float) -> None:
        clock = self.context.clock
        seen = -1
        looked = idle_since = clock.monotonic()
        while not stop.is_set():
            try:
                version = await self.context.store.data_version()
                woken = self.context.wake.is_set()
                if woken or version != seen or clock.monotonic() - looked >= _LOOK_ANYWAY:
                    self.context.wake.clear()
                    seen, looked = version, clock.monotonic()
                    await self._look()
                    if not until_idle or self._busy() or await self._wanted():
                        idle_since = clock.monotonic()
                    elif clock.monotonic() - idle_since >= linger:
                        return
            except Fenced:
                raise
            except PlatintError as error:
                # A full disk, a locked file: what runs keeps its place, and it is tried again.
                log.error("%s", REDACTOR.redact(error.sentence()))
                await _sleep(stop, _STORE_PAUSE)
            # Every webhook that is stored is a change; while many come, the engine need not look at each.
            await _first(stop, self.context.wake, _LOOK_ANYWAY if self.context.pressure.busy else _POLL)

    async def _look(self) -> None:
        self._forget_done()
        for command in await self.context.store.commands.pending():
            if command.id in self._commands:
                continue
            work = carry_out(self.context, command)
            if command.kind in QUICK:
                await work
            else:
                self._commands[command.id] = self._start(work, f"command {command.kind}")
        await self._put_back()
        self._endless.intersection_update(self._runs)
        while len(self._runs) - len(self._endless) < self._max_runs:
            run = await self.context.store.runs.claim(self.context.worker)
            if run is None:
                break
            if await self._in_real_time(run):
                self._endless.add(run.id)
            self._runs[run.id] = self._start(self._execute(run), f"run {run.number}")
        await self._inflow.look()
        for job in await self._replays_at_work():
            back = self._setbacks.get(job.id)
            if job.id not in self._replays and (back is None or self.context.clock.monotonic() >= back.due):
                self._replays[job.id] = self._start(self._replay(job), f"replay {job.id}")

    async def _replays_at_work(self) -> list[ReplayJob]:
        """Replays that something is to be done for: none that is paused, or waits for an operator."""
        found = await self.context.store.replays.unfinished()
        return [job for job in found if job.state in WORKED_REPLAY_STATES]

    async def _in_real_time(self, run: Run) -> bool:
        """Whether a run goes on without an end: then it takes no place from those that do."""
        found = await self.context.store.integrations.get(run.integration, run.version)
        return found is not None and found.sync_frequency == "real_time"

    async def _execute(self, run: Run) -> None:
        try:
            await RunTask(self.context, run, self._stop).execute()
        except Exception as error:
            self._set_back(run.id, f"run {run.number}", run, error)
        else:
            self._setbacks.pop(run.id, None)

    async def _replay(self, job: ReplayJob) -> None:
        try:
            await ReplayTask(self.context, job, self._stop).execute()
        except Exception as error:
            self._set_back(job.id, f"replay {job.id}", None, error)
        else:
            self._setbacks.pop(job.id, None)

    def _set_back(self, key: str, what: str, run: Run | None, error: Exception) -> None:
        """Note that `what` is to be tried again: after 2 s, then twice as long each time, at most 60 s."""
        before = self._setbacks.get(key)
        times = before.times + 1 if before else 1
        due = self.context.clock.monotonic() + min(2.0**times, _LONGEST_SETBACK)
        text = REDACTOR.redact(error.sentence() if isinstance(error, PlatintError) else repr(error))
        self._setbacks[key] = _Setback(run, text, times, due)
        log.error("%s: %s", what, text, exc_info=error)

    async def _put_back(self) -> None:
        """Runs that the store did not take (a full disk): marked as soon as it can be, tried again later."""
        for key, setback in list(self._setbacks.items()):
            run = setback.run
            if run is None or key in self._runs or setback.tried_again:
                continue
            if not setback.marked:
                try:
                    await self.context.store.runs.finish(key, run.epoch, RunState.INTERRUPTED, setback.text)
                except StoreError:
                    raise
                except PlatintError as error:  # somebody else has moved it since
                    log.info("run %s: %s", run.number, REDACTOR.redact(error.sentence()))
                setback.marked = True
            if self.context.clock.monotonic() >= setback.due:
                setback.tried_again = True
                await self.context.store.runs.reap([self.context.worker])

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self.context.wake.set())
        return task

    def _forget_done(self) -> None:
        for table in (self._runs, self._replays, self._commands):
            for key, task in list(table.items()):
                if task.done():
                    del table[key]
                    if not task.cancelled() and task.exception() is not None:
                        text = REDACTOR.redact(repr(task.exception()))
                        log.error("%s ended: %s", task.get_name(), text, exc_info=task.exception())

    def _busy(self) -> bool:
        return bool(self._runs or self._replays or self._commands or self._inflow.busy())

    async def _wanted(self) -> bool:
        """Whether something waits to be done, or a console is open."""
        store = self.context.store
        if await store.runs.list(states=tuple(ACTIVE_RUN_STATES), limit=1):
            return True
        if await store.commands.pending() or await self._replays_at_work() or await self._inflow.wanted():
            return True
        fresh = self.context.clock.now_ms() - CONSOLE_FRESH_MS
        return any(
            item.kind == "console" and item.heartbeat_ms > fresh for item in await store.workers.list()
        )

    async def _beat(self) -> None:
        await self.context.store.workers.beat(
            Worker(
                self.context.worker,
                "engine",
                socket.gethostname(),
                os.getpid(),
                __version__,
                self._started_ms,
                self.context.clock.now_ms(),
            )
        )

    async def _keep_house(self, stop: asyncio.Event) -> None:
        """Heartbeat, latencies, and a look at the lock."""
        beaten = 0.0
        while True:
            try:
                if self.context.clock.monotonic() - beaten >= BEAT:
                    beaten = self.context.clock.monotonic()
                    await self._beat()
                    if self._lock is not None:
                        if self._lock.lost():
                            stop.set()
                            return
                        self._lock.touch()
                await self.context.telemetry.flush()
            except (PlatintError, OSError) as error:
                log.error("%s", REDACTOR.redact(str(error)))
            except Exception as error:
                # Without its heartbeat a working engine looks dead.
                log.error("the engine's upkeep: %s", REDACTOR.redact(repr(error)), exc_info=error)
            await asyncio.sleep(1.0)

    async def _clean_up(self) -> None:
        """Retention, in small transactions beside everything else."""
        while True:
            try:
                await self.context.store.purge()
            except PlatintError as error:
                log.error("%s", REDACTOR.redact(error.sentence()))
            await asyncio.sleep(_CLEAN_EVERY)

    async def _end(self) -> None:
        """Bring everything to a page border, then leave."""
        for task in self._commands.values():
            task.cancel()
        own = [*self._runs.values(), *self._replays.values(), *self._commands.values()]
        tasks = [*own, *self._inflow.tasks()]
        if tasks:
            # Whatever hangs is cut off: runs go on at the next start, sends without an answer are settled then.
            _, hanging = await asyncio.wait(tasks, timeout=GRACE + 1.0)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._forget_done()
        with contextlib.suppress(PlatintError):
            await self.context.telemetry.flush()
            await self.context.store.workers.gone(self.context.worker)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _first(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(wake.wait())]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
