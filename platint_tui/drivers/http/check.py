"""The probes of a manifest: what this account can do, one request each."""

from __future__ import annotations

from collections.abc import Mapping

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Capability
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.reader import Session
from platint_tui.drivers.http.requests import address, encode_body, with_query
from platint_tui.manifest import schema
from platint_tui.manifest.template import render_map


async def run_probes(session: Session) -> list[Capability]:
    """Every probe in order. A failing probe is an outcome with its sentence, never an exception; after a
    required one failed the others are not sent."""
    done: list[Capability] = []
    blocked = ""
    for probe in session.context.connector.check:
        if blocked:
            done.append(Capability(probe.id, False, probe.optional, f"Not tried: {blocked} failed."))
            continue
        outcome = await run_probe(session, probe)
        done.append(outcome)
        if not outcome.ok and not probe.optional:
            blocked = probe.id
    return done


async def run_probe(session: Session, probe: schema.Probe) -> Capability:
    """One probe. Its failure is an outcome with its sentence, never an exception."""
    clock = session.context.clock
    if probe.request is None:
        return Capability(probe.id, False, probe.optional, "The manifest gives this probe no request.")
    started = clock.monotonic()
    try:
        result = await session.caller.call(
            f"check {probe.id}", "read", _request(session, probe.request), brief=True
        )
    except PlatintError as error:
        return Capability(probe.id, False, probe.optional, error.sentence(), error_class=error.error_class)
    latency = (clock.monotonic() - started) * 1000
    status = result.answer.status if result.answer is not None else None
    if status is not None and probe.expect.status.matches(status) and _clean_success(result.verdict, status):
        return Capability(probe.id, True, probe.optional, f"{status} from {session.caller.host}", latency)
    if result.verdict is not None:
        detail = f"{result.verdict.message} {result.verdict.hint}".strip()
    else:
        detail = f"{session.caller.host} answered {status}, which the manifest does not take as good."
    kind = result.verdict.error_class.value if result.verdict is not None else ""
    return Capability(probe.id, False, probe.optional, detail, latency, kind)


def _clean_success(verdict: object, status: int) -> bool:
    """A success whose body an error rule recognises is none; an expected error status is."""
    return verdict is None or status >= 300


def _request(session: Session, request: schema.Request) -> Outgoing:
    scope = session.scope
    url = with_query(
        address(session.base_url, request.path, scope), render_map(request.query, scope, "query")
    )
    headers: Mapping[str, str] = {
        **session.headers,
        **{name.lower(): value for name, value in render_map(request.headers, scope, "header").items()},
    }
    if request.body is None:
        return Outgoing(request.method, url, headers)
    content, kind = encode_body(request.body, "json", scope)
    return Outgoing(request.method, url, {**headers, "content-type": kind}, content)
