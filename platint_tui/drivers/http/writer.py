"""Writing rows to a platform over HTTP: one request a row, several in flight, each outcome told apart."""

from __future__ import annotations

import asyncio

from platint_tui.core.errors import ConfigError, ErrorClass, PlatintError, RecordError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Batch, Confirmed, Fault, Json, JsonObject, Row, TargetPlan, WriteResult
from platint_tui.core.redaction import MASK, REDACTOR, SENSITIVE_NAME, mask_headers
from platint_tui.core.text import clean
from platint_tui.drivers.http.calls import UNKNOWN, Outgoing, Result
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.reader import Session, resource_of
from platint_tui.drivers.http.requests import address, encode_body, with_query
from platint_tui.drivers.http.rules import Verdict
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup, render, render_map

IN_FLIGHT = 8
EXCERPT = 4096
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

    `idempotent` says whether a repeated write does no more than one: then a lost answer is tried again.
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

    async def confirmed(self) -> Confirmed | None:
        """An HTTP platform keeps no position for us."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Write every row. Refused rows come back as faults; what is not about one row is raised, and then
        the whole batch is written again later (the idempotency keys stay the same).
        """
        tasks = [asyncio.create_task(self._one(row)) for row in batch.rows]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        faults: list[tuple[int, Fault]] = []
        responses: dict[int, JsonObject] = {}
        for index, task in enumerate(tasks):
            outcome = task.result()
            if isinstance(outcome, Fault):
                faults.append((index, outcome))
            elif outcome:
                responses[index] = outcome
        return WriteResult(len(tasks) - len(faults), 0, faults, responses)

    async def _one(self, row: Row) -> Fault | JsonObject:
        """Write one row: what the answer returns, or why it was refused."""
        async with self._slots:
            try:
                request = self._request(row)
            except RecordError as error:
                return Fault(ErrorClass.RECORD, error.code, error.message, hint=error.hint)
            result = await self._session.caller.call(self._name, "write", request)
            verdict = result.verdict
            if verdict is None:
                assert result.answer is not None
                return self._returned(result.answer)
            if _about_row(verdict):
                return self._fault(verdict, result, request)
            raise self._raised(verdict)

    def _raised(self, verdict: Verdict) -> PlatintError:
        return verdict.error(self._plan.target, self._session.context.clock.now_ms())

    def _request(self, row: Row) -> Outgoing:
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
        return Outgoing(operation.method, url, headers, content, self.idempotent)

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


def _about_row(verdict: Verdict) -> bool:
    """Whether a verdict concerns one row alone, so that the others go on."""
    if verdict.code == UNKNOWN or verdict.action in ("dead_letter", "ignore"):
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
