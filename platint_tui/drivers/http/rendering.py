"""Writes that are looked at and not made: the request of one row, and what a recorded answer means."""

from __future__ import annotations

from dataclasses import replace

from platint_tui.core.errors import ErrorClass, RecordError
from platint_tui.core.model import Fault, JsonObject, Op, Row, TargetPlan
from platint_tui.drivers.http.calls import Trace
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.headers import Headers
from platint_tui.drivers.http.sending import Sender
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.shown import shown_request
from platint_tui.manifest.writes import chosen_write


def rendered(session: Session, plan: TargetPlan, row: Row) -> JsonObject:
    """The request for `row` alone, secrets masked (see `shown_request`).

    Raises RecordError when the row does not fit, ConfigError when the manifest cannot write the target.
    """
    if row.op is Op.DELETE:
        plan = replace(plan, operation="delete")
    write = chosen_write(session.context.connector, plan.target, plan.operation)
    sender = Sender(session, plan, write)
    item = sender.prepare(0, row)
    if isinstance(item, Fault):
        raise RecordError(item.message, code=item.code, hint=item.hint)
    return shown_request(sender.request([item], Trace()))


def judged(session: Session, response: JsonObject) -> Fault | None:
    """Why a recorded answer (see `shown_answer`) refuses what was written, by the manifest's rules of today.

    None when it was a success, a refusal that counts as one, or a failure of something else than the record.
    """
    status = response.get("status")
    if not isinstance(status, int):
        return None
    headers = response.get("headers")
    body = response.get("body")
    answer = Answer(
        status,
        Headers({str(name): str(value) for name, value in (headers or {}).items()}),
        body.encode("utf-8", "replace") if isinstance(body, str) else b"",
        session.base_url,
        0,
    )
    caller, clock = session.caller, session.context.clock
    verdict = caller.rules.judge(answer, "write", caller.host, clock.now_ms())
    # Every other class is about the moment (a limit, a credential, an outage), not about what was sent.
    if verdict is None or verdict.action == "ignore" or verdict.error_class is not ErrorClass.RECORD:
        return None
    return Fault(verdict.error_class, verdict.code, verdict.message, hint=verdict.hint)
