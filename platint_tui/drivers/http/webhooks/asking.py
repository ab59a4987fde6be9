"""What registering and comparing have in common: what their templates look up, and lists that are read to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from platint_tui.core.errors import ErrorClass, SystemicError, UnknownOutcome
from platint_tui.core.model import Json, Record
from platint_tui.core.subscriptions import WantedWebhook
from platint_tui.drivers.http.calls import UNKNOWN
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.paged import Pages
from platint_tui.drivers.http.rules import Op, Verdict
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.source import Asking
from platint_tui.manifest import schema
from platint_tui.manifest.subscribing import ROOT

NAME = "webhooks"
"""What these requests are called in limits, latencies and errors."""
GONE = (404, 410)


def scope_of(session: Session, wanted: WantedWebhook | None) -> dict[str, Json]:
    """What the requests for one webhook may look up; without one, only the profile."""
    if wanted is None:
        return dict(session.scope)
    types = list(wanted.types)
    values: dict[str, Json] = {
        **wanted.scope,
        "name": wanted.name,
        "url": wanted.url,
        "scheme": wanted.url.partition(":")[0],
        "types": types,
        "type": types[0] if types else "",
        "flags": dict.fromkeys(types, True),
        "named": [{"name": item} for item in types],
    }
    if wanted.remote_id:
        values["id"] = wanted.remote_id
        if wanted.remote_id.isascii() and wanted.remote_id.isdigit():
            values["id_number"] = int(wanted.remote_id)
    if wanted.secret is not None:
        values["secret"] = wanted.secret.reveal()
    return {**session.scope, ROOT: values}


async def pages(
    session: Session, read: schema.Read, scope: Mapping[str, Json]
) -> AsyncIterator[Sequence[Record]]:
    """The items of a list, page by page to its end. Raises PlatintError, SystemicError for an item that is none."""
    await session.ready()
    source = Pages(Asking(session, NAME, read, None, scope))
    state = source.start()
    try:
        while True:
            split = await source.fetch(state)
            records = [item for item in split.given if type(item) is Record]
            if len(records) < len(split.given):
                raise SystemicError(
                    f"{session.caller.host} has something in its list of webhooks that is no object.",
                    where=NAME,
                    code="not_a_record",
                )
            yield records
            following = source.following(state, split)
            if following is None:
                return
            state = following
    finally:
        await source.close()


async def ask(session: Session, request: schema.Request, scope: Mapping[str, Json], what: str) -> Answer:
    """Send one request that changes something, or a question; `what` names it in the latencies.

    Raises UnknownOutcome when it was sent and its answer lost, else what the verdict says: a 404 has the code
    `gone`.
    """
    await session.ready()
    safe = request.method in ("GET", "HEAD")
    outgoing = replace(session.outgoing(request, scope), safe=safe)
    op: Op = "read" if safe else "write"
    result = await session.caller.call(f"{NAME} {what}", op, outgoing)
    if result.verdict is not None:
        raise refusal(session, result.verdict)
    assert result.answer is not None
    return result.answer


def refusal(session: Session, verdict: Verdict) -> Exception:
    """A refusal as the error that is told."""
    if verdict.code == UNKNOWN:
        return UnknownOutcome(verdict.message, hint="It is looked for in the list.", where=NAME)
    code = "gone" if verdict.status in GONE else verdict.code
    if verdict.error_class is ErrorClass.RECORD:
        return SystemicError(verdict.message, hint=verdict.hint, where=NAME, code=code)
    return replace(verdict, code=code).error(NAME, session.context.clock.now_ms())
