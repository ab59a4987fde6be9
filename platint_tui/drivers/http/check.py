"""The probes of a manifest: what this account can do, one request each."""

from __future__ import annotations

from platint_tui.core.errors import PlatintError, joined
from platint_tui.core.model import Capability
from platint_tui.drivers.http.documents import tree_of, words
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.session import Session
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup


async def run_probes(session: Session) -> list[Capability]:
    """Every probe in order. A failing probe is an outcome with its sentence, never an exception; after a
    required one failed the others are not sent."""
    done: list[Capability] = []
    blocked = ""
    for probe in session.context.connector.check:
        if blocked:
            said = f"Not tried: '{blocked}' failed."
            done.append(Capability(probe.id, False, probe.optional, said, tried=False))
            continue
        if probe.needs is not None and not session.context.profile.fields.get(probe.needs):
            said = f"Nothing to try: the profile has no '{probe.needs}'."
            done.append(Capability(probe.id, True, True, said, tried=False))
            continue
        outcome = await run_probe(session, probe)
        done.append(outcome)
        if not outcome.ok and not probe.optional:
            blocked = probe.label or probe.id
    return done


async def run_probe(session: Session, probe: schema.Probe) -> Capability:
    """One probe. Its failure is an outcome with its sentence, never an exception."""
    clock = session.context.clock
    if probe.request is None:
        return Capability(probe.id, False, probe.optional, "The manifest gives this probe no request.")
    started = clock.monotonic()
    try:
        await session.ready()
        request = session.outgoing(probe.request, session.scope)
        result = await session.caller.call(f"check {probe.id}", "read", request, brief=True)
    except PlatintError as error:
        return Capability(probe.id, False, probe.optional, error.sentence(), error_class=error.error_class)
    latency = (clock.monotonic() - started) * 1000
    host, answer, verdict = session.caller.host, result.answer, result.verdict
    status = answer.status if answer is not None else None
    if answer is not None and probe.expect.status.matches(answer.status) and _clean(verdict, answer.status):
        tree = tree_of(answer) if probe.expect.body or probe.shows else None
        test = probe.expect.body
        if test is None or body_holds(test, tree):
            shown = words(lookup(tree, probe.shows)) if probe.shows else ""
            detail = f"{status} from {host}" + (f": {shown}" if shown else "")
            return Capability(probe.id, True, probe.optional, detail, latency)
        found = words(lookup(tree, test.path)) or "nothing"
        detail = f"{host} answered {status}, but with {found} at '{test.path}'."
    elif verdict is not None:
        detail = joined(verdict.message, verdict.hint)
    else:
        detail = f"{host} answered {status}, which the manifest does not take as good."
    kind = verdict.error_class.value if verdict is not None else ""
    return Capability(probe.id, False, probe.optional, detail, latency, kind)


def _clean(verdict: object, status: int) -> bool:
    """A success whose body an error rule recognises is none; an expected error status is."""
    return verdict is None or status >= 300
