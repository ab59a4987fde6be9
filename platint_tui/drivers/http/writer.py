"""Writing rows to a platform over HTTP: one request a row, several in flight, each outcome told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, RecordError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Batch, Confirmed, Fault, Json, JsonObject, Row, TargetPlan, WriteResult
from platint_tui.core.redaction import MASK, REDACTOR, SENSITIVE_NAME, mask_headers
from platint_tui.core.text import clean
from platint_tui.drivers.http.calls import UNKNOWN, Outgoing, Result, Trace
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.reader import Session, resource_of
from platint_tui.drivers.http.requests import address, encode_body, with_query
from platint_tui.drivers.http.rules import Verdict
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup, render, render_map

IN_FLIGHT = 8
EXCERPT = 4096
NOT_SENT = "not_sent"
_IDEMPOTENT_METHODS = ("PUT", "DELETE", "GET", "HEAD")


def open_http_target(session: Session, plan: TargetPlan) -> HttpTarget:
    """A target for `plan.target`. Raises NotFound, or ConfigError when the manifest cannot write it."""
    connector = session.context.connector
    resource = resource_of(connector, plan.target)
    write = resource.write
    operation = (write.upsert or write.create) if write else None
    if write is None or operation is None:
        writable = sorted(name for name, item in connector.resources.items() if item.write)
        raise ConfigError(
            f"Nothing can be written to '{plan.target}' of {connector.name}.",
            hint=f"Writable: {', '.join(writable)}." if writable else "The connector only reads.",
        )
    return HttpTarget(session, plan, operation, by_key=write.upsert is not None)


class HttpTarget:
    """Rows go out one request each. The position follows when all of a batch is answered.

    `idempotent` says whether a repeated write does no more than one: then a lost answer is tried again. Where
    it is false, no row that was taken is sent again: what stops a batch after its first taken row lets it end
    early, and `failure` says what it was. Only a process that is killed in the middle of a batch cannot keep
    that: the next start sends the whole batch (one page) again, the rows that were taken before with it.
    """

    transactional = False

    def __init__(
        self, session: Session, plan: TargetPlan, operation: schema.WriteOp, *, by_key: bool
    ) -> None:
        self._session = session
        self._plan = plan
        self._operation = operation
        self.idempotent = (
            by_key or operation.idempotency is not None or operation.method in _IDEMPOTENT_METHODS
        )
        limits = [
            item.concurrency
            for item in session.context.connector.limits
            if item.concurrency and item.match.op in ("write", "any")
        ]
        self._slots = asyncio.Semaphore(min([IN_FLIGHT, *limits]))
        self._name = f"write {plan.target}"
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
        if not self.idempotent:
            return await self._write_once(batch.rows)
        tasks = [asyncio.create_task(self._one(row, Trace())) for row in batch.rows]
        try:
            outcomes = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        return _result(outcomes)

    async def _write_once(self, rows: Sequence[Row]) -> WriteResult:
        once = _Once(len(rows))
        tasks = [asyncio.create_task(self._row_once(once, index, row)) for index, row in enumerate(rows)]
        cancelled: asyncio.CancelledError | None = None
        try:
            await asyncio.gather(*tasks)
        except BaseException as error:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not isinstance(error, asyncio.CancelledError):
                raise
            cancelled = error
        for index, trace in enumerate(once.traces):
            if once.outcomes[index] is None and trace.sent:
                once.outcomes[index] = _lost()
                once.touched = True
        if not once.touched and (once.failure or cancelled):
            raise once.failure or cancelled or AssertionError
        if cancelled is not None and (me := asyncio.current_task()) is not None:
            me.uncancel()  # what became of the rows is to be stored before anything ends
        self.failure = once.failure
        left = _not_sent(once.failure)
        return _result([left if item is None else item for item in once.outcomes])

    async def _row_once(self, once: _Once, index: int, row: Row) -> None:
        async with self._slots:
            if once.failure is not None or (self._stopping and once.touched):
                return
            try:
                outcome = await self._send(row, once.traces[index])
            except PlatintError as error:
                once.failure = once.failure or error
                return
            once.outcomes[index] = outcome
            if not isinstance(outcome, Fault) or outcome.code == UNKNOWN:
                once.touched = True

    async def _one(self, row: Row, trace: Trace) -> Fault | JsonObject:
        async with self._slots:
            return await self._send(row, trace)

    async def _send(self, row: Row, trace: Trace) -> Fault | JsonObject:
        """Write one row: what the answer returns, or why it was refused."""
        try:
            request = self._request(row, trace)
        except RecordError as error:
            return Fault(ErrorClass.RECORD, error.code, error.message, hint=error.hint)
        result = await self._session.caller.call(self._name, "write", request)
        verdict = result.verdict
        if verdict is None:
            assert result.answer is not None
            return self._returned(result.answer)
        if verdict.action == "ignore" and verdict.code != UNKNOWN:
            return {}  # by the manifest's rule this refusal is as good as a success (it is there already)
        if _about_row(verdict):
            return self._fault(verdict, result, request)
        raise self._raised(verdict)

    def _raised(self, verdict: Verdict) -> PlatintError:
        return verdict.error(self._plan.target, self._session.context.clock.now_ms())

    def _request(self, row: Row, trace: Trace) -> Outgoing:
        operation = self._operation
        scope: dict[str, Json] = {
            **self._session.scope,
            "record": row.value,
            "run": {"item_key": row.idempotency_key, "sync": self._plan.sync, "id": self._plan.run},
            "resource": {"name": self._plan.target},
        }
        url = with_query(
            address(self._session.base_url, operation.path, scope),
            render_map(operation.query, scope, "query"),
        )
        headers = dict(self._session.headers)
        for name, value in render_map(operation.headers, scope, "header").items():
            headers[name.lower()] = value
        if operation.idempotency is not None:
            headers[operation.idempotency.header.lower()] = render(
                operation.idempotency.value, scope, "header"
            )
        content: bytes | None = None
        if operation.body is not None:
            content, headers["content-type"] = encode_body(operation.body, operation.encode, scope)
        return Outgoing(operation.method, url, headers, content, self.idempotent, trace)

    def _returned(self, answer: Answer) -> JsonObject:
        if not self._operation.returns or not answer.body:
            return {}
        try:
            body = loads(answer.body)
        except SystemicError:
            return {}
        return {name: lookup(body, path) for name, path in self._operation.returns.items()}

    def _fault(self, verdict: Verdict, result: Result, request: Outgoing) -> Fault:
        answer = result.answer
        field = ""
        if answer is not None and self._operation.error_field:
            try:
                named = lookup(loads(answer.body), self._operation.error_field) if answer.body else None
            except SystemicError:
                named = None
            field = clean(str(named))[:128] if isinstance(named, str | int) else ""
        return Fault(
            verdict.error_class,
            verdict.code,
            verdict.message,
            field,
            verdict.hint,
            shown_request(request),
            shown_answer(answer) if answer is not None else None,
        )

    async def close(self) -> None:
        """Nothing is held; the connections are the driver's."""


class _Once:
    """What became of the rows of a batch of which none may be sent twice; None: it was not sent, or no
    answer came. `touched`: at least one row was taken, or may have been."""

    def __init__(self, count: int) -> None:
        self.traces = [Trace() for _ in range(count)]
        self.outcomes: list[Fault | JsonObject | None] = [None] * count
        self.touched = False
        self.failure: PlatintError | None = None


def _result(outcomes: Sequence[Fault | JsonObject]) -> WriteResult:
    faults: list[tuple[int, Fault]] = []
    responses: dict[int, JsonObject] = {}
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Fault):
            faults.append((index, outcome))
        elif outcome:
            responses[index] = outcome
    return WriteResult(len(outcomes) - len(faults), 0, faults, responses)


def _lost() -> Fault:
    return Fault(
        ErrorClass.TRANSIENT,
        UNKNOWN,
        "The run was stopped before the answer came. Whether the write was carried out is not known.",
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


def shown_request(request: Outgoing) -> JsonObject:
    """A request as it may be stored: without its credential, secrets masked, the body cut at 4 KiB."""
    return {
        "method": request.method,
        "url": masked_url(request.url),
        "headers": mask_headers(dict(request.headers)),
        "body": excerpt(request.content or b""),
    }


def shown_answer(answer: Answer) -> JsonObject:
    """An answer as it may be stored: secrets masked, the body cut at 4 KiB."""
    return {
        "status": answer.status,
        "headers": mask_headers(dict(answer.headers.items())),
        "body": excerpt(answer.body),
    }


def masked_url(url: str) -> str:
    """An address with the values of sensitive query parameters masked."""
    base, mark, query = url.partition("?")
    if mark:
        pairs = [item.partition("=") for item in query.split("&")]
        shown = [(name, sign, MASK if SENSITIVE_NAME.search(name) else value) for name, sign, value in pairs]
        url = f"{base}?{'&'.join(name + sign + value for name, sign, value in shown)}"
    return REDACTOR.redact(url)


def excerpt(body: bytes) -> str:
    """The beginning of a body as text, redacted before it is cut so that no secret is left in half."""
    text = REDACTOR.redact(body[: 16 * EXCERPT].decode("utf-8", "replace"))
    return text[:EXCERPT]
