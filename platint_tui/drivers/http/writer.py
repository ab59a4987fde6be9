"""Writing rows to a platform over HTTP: one request for a row or for many, several in flight, each row's outcome
told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import ErrorClass, PlatintError, RecordError
from platint_tui.core.model import Batch, Confirmed, Fault, Row, TargetPlan, WriteResult
from platint_tui.drivers.http.calls import UNKNOWN, Trace
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.sending import Item, Outcome, Sender
from platint_tui.drivers.http.session import Session
from platint_tui.manifest.writes import ChosenWrite, chosen_write

IN_FLIGHT = 8
NOT_SENT = "not_sent"
_AGAIN = (ErrorClass.TRANSIENT, ErrorClass.RATE_LIMITED)
"""Refusals of single rows of a bulk request after which the row is sent again."""


def open_http_target(session: Session, plan: TargetPlan) -> HttpTarget:
    """A target for `plan.target`. Raises ConfigError when the manifest cannot write it."""
    write = chosen_write(session.context.connector, plan.target, plan.operation)
    return HttpTarget(session, plan, write, plan.in_flight or IN_FLIGHT)


class HttpTarget:
    """Rows go out in units: one request each, for one row or (bulk) for many. The position follows when all of a
    batch is answered.

    `idempotent` says whether a repeated write does no more than one: then a lost answer is tried again. Where
    it is false, no row that was taken is sent again: what stops a batch after its first taken row lets it end
    early, and `failure` says what it was. Only a process that is killed in the middle of a batch cannot keep
    that: the next start sends the whole batch (one page) again, the rows that were taken before with it.
    """

    transactional = False

    def __init__(
        self, session: Session, plan: TargetPlan, write: ChosenWrite, in_flight: int = IN_FLIGHT
    ) -> None:
        """`in_flight` units are out at a time; with one they go in the order of the rows."""
        self._session = session
        self._plan = plan
        self._sender = Sender(session, plan, write)
        self.idempotent = write.idempotent
        limits = [
            item.concurrency
            for item in session.context.connector.limits
            if item.concurrency and item.match.op in ("write", "any")
        ]
        self._slots = asyncio.Semaphore(min([in_flight, *limits]))
        self._name = f"{write.name if plan.operation else 'write'} {plan.target}"
        self._stopping = False
        self.failure: PlatintError | None = None

    async def confirmed(self) -> Confirmed | None:
        """An HTTP platform keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: a target that must not be sent anything twice begins no further row."""
        self._stopping = True

    async def write(self, batch: Batch) -> WriteResult:
        """Write every row. Refused rows come back as faults; what is not about one row is raised, and then
        the whole batch is written again later (the idempotency keys stay the same).

        Without idempotency it is raised only while no row was taken. After that the batch ends early: rows
        without an answer are faults `unknown_outcome`, rows that were not sent faults `not_sent`, `failure`
        has the error. A cancellation ends it in the same way.
        """
        await self._session.ready()
        once = _Once(len(batch.rows))
        units = self._units(batch.rows, once)
        # One alone (of a replay) needs no task of its own.
        tasks = [asyncio.create_task(self._run(once, unit)) for unit in units] if len(units) > 1 else []
        cancelled: asyncio.CancelledError | None = None
        try:
            if tasks:
                await asyncio.gather(*tasks)
            elif units:
                await self._run(once, units[0])
        except BaseException as error:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.idempotent or not isinstance(error, asyncio.CancelledError):
                raise
            cancelled = error
        self._settle(once)
        if not once.touched and (once.failure or cancelled):
            raise once.failure or cancelled or AssertionError
        if cancelled is not None and (me := asyncio.current_task()) is not None:
            me.uncancel()  # what became of the rows is to be stored before anything ends
        self.failure = once.failure
        left = _not_sent(once.failure)
        return _result([left if item is None else item for item in once.outcomes])

    async def close(self) -> None:
        """Nothing is held; the connections are the driver's."""

    def _units(self, rows: Sequence[Row], once: _Once) -> list[list[Item]]:
        items: list[Item] = []
        for number, row in enumerate(rows):
            ready = self._sender.prepare(number, row)
            if isinstance(ready, Fault):
                once.outcomes[number] = ready
            else:
                items.append(ready)
        return list(self._sender.units(items))

    def _settle(self, once: _Once) -> None:
        """Rows that are out without an answer: what became of them is not known."""
        for number, trace in enumerate(once.traces):
            if once.outcomes[number] is None and trace is not None and trace.sent:
                once.outcomes[number] = _lost(once.failure)
                once.touched = True

    async def _run(self, once: _Once, unit: list[Item]) -> None:
        async with self._slots:
            if self.idempotent:
                await self._send(once, unit)
                return
            if once.failure is not None or (self._stopping and once.touched):
                return
            try:
                await self._send(once, unit)
            except PlatintError as error:
                once.failure = once.failure or error

    async def _send(self, once: _Once, unit: Sequence[Item]) -> None:
        """Write a unit. A unit that is refused as a whole is halved until the rows to blame stand alone; rows
        that the platform asks to send again are sent again.
        """
        policy = self._session.context.connector.errors.policy.retry_policy()
        for attempt in range(1, policy.attempts + 1):
            again = await self._once(once, unit)
            if not again or attempt == policy.attempts:
                return
            await self._session.context.clock.sleep(backoff(policy, attempt, self._session.context.rng))
            unit = again

    async def _once(self, once: _Once, unit: Sequence[Item]) -> list[Item]:
        """Send a unit once; the rows that were refused for now."""
        trace = Trace()
        for item in unit:
            once.traces[item.number] = trace
            once.outcomes[item.number] = None
        try:
            request = self._sender.request(unit, trace)
        except RecordError as error:
            if len(unit) > 1:
                raise
            once.outcomes[unit[0].number] = Fault(
                ErrorClass.RECORD, error.code, error.message, hint=error.hint
            )
            return []
        result = await self._session.caller.call(self._name, "write", request)
        verdict, answer = result.verdict, result.answer
        gone = answer is not None and self._sender.is_gone(answer)
        if verdict is None and not gone:
            assert answer is not None
            return await self._told(once, unit, self._sender.outcomes(unit, answer, request))
        if gone or (verdict is not None and verdict.action == "ignore" and verdict.code != UNKNOWN):
            # By the manifest this refusal is as good as a success: of a row, not of all that were sent with it.
            if len(unit) == 1:
                once.settle(unit, [{}])
                return []
            if self.idempotent:
                return await self._halves(once, unit)
            assert answer is not None
            once.settle(unit, [self._sender.unclear(answer, request) for _ in unit])
            return []
        assert verdict is not None
        if not _about_row(verdict):
            raise verdict.error(self._plan.target, self._session.context.clock.now_ms())
        if len(unit) == 1 or verdict.code == UNKNOWN or verdict.error_class in _AGAIN:
            # What may pass by itself is no row's fault: fewer of them would not help.
            once.settle(unit, [self._sender.fault(verdict, answer, request) for _ in unit])
            return []
        return await self._halves(once, unit)

    async def _halves(self, once: _Once, unit: Sequence[Item]) -> list[Item]:
        middle = len(unit) // 2
        return [*await self._once(once, unit[:middle]), *await self._once(once, unit[middle:])]

    async def _told(
        self, once: _Once, unit: Sequence[Item], outcomes: Sequence[Outcome | None]
    ) -> list[Item]:
        """Take what an answer told of each row; the rows that were refused for now."""
        told = [(item, outcome) for item, outcome in zip(unit, outcomes, strict=True) if outcome is not None]
        once.settle([item for item, _ in told], [outcome for _, outcome in told])
        again = [
            item
            for item, outcome in told
            if isinstance(outcome, Fault) and outcome.error_class in _AGAIN and outcome.code != UNKNOWN
        ]
        blurred = [item for item, outcome in zip(unit, outcomes, strict=True) if outcome is None]
        if blurred:
            send = self._halves if len(blurred) == len(unit) else self._once
            again += await send(once, blurred)
        return again


class _Once:
    """What became of the rows of a batch; None: it was not sent, or no answer came. `touched`: at least one row
    was taken, or may have been.
    """

    def __init__(self, count: int) -> None:
        self.traces: list[Trace | None] = [None] * count
        self.outcomes: list[Outcome | None] = [None] * count
        self.touched = False
        self.failure: PlatintError | None = None

    def settle(self, unit: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        """Note the outcomes of a unit."""
        for item, outcome in zip(unit, outcomes, strict=True):
            self.outcomes[item.number] = outcome
            if not isinstance(outcome, Fault) or outcome.code == UNKNOWN:
                self.touched = True


def _result(outcomes: Sequence[Outcome]) -> WriteResult:
    faults: list[tuple[int, Fault]] = []
    responses = {}
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Fault):
            faults.append((index, outcome))
        elif outcome:
            responses[index] = outcome
    return WriteResult(len(outcomes) - len(faults), 0, faults, responses)


def _lost(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped before the answer came."
    return Fault(
        ErrorClass.TRANSIENT,
        UNKNOWN,
        f"{why} Whether the write was carried out is not known.",
        hint="Look on the platform before replaying: this write has no idempotency key.",
    )


def _not_sent(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped."
    return Fault(
        ErrorClass.TRANSIENT,
        NOT_SENT,
        f"Not written: {why}",
        hint="Other rows of its page were written and must not be sent twice, so this one waits here. "
        "Replay it.",
    )


def _about_row(verdict: Verdict) -> bool:
    """Whether a verdict concerns one row alone, so that the others go on."""
    if verdict.code == UNKNOWN or verdict.action == "dead_letter":
        return True
    if verdict.action == "retry":
        return verdict.then == "dead_letter"
    return verdict.error_class is ErrorClass.RECORD and verdict.action not in ("fail_stream", "fail_run")
