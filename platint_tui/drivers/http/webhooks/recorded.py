"""Runs the webhook tests that a manifest ships: is the request known for what it is, and refused where it must be?"""

from __future__ import annotations

from collections.abc import Sequence

from platint_tui.core.events import NewEvent
from platint_tui.core.webhooks import Verdict
from platint_tui.drivers.http.webhooks.events import events_of
from platint_tui.drivers.http.webhooks.handshakes import accepted, answer, handshake_of
from platint_tui.drivers.http.webhooks.records import records_of
from platint_tui.drivers.http.webhooks.verifying import verify
from platint_tui.manifest.schema import Connector, TestCase, TestExpect
from platint_tui.manifest.webhook_vectors import HookVector
from platint_tui.manifest.webhooks import Handshake


def run_hook(connector: Connector, test: TestCase, vector: HookVector) -> tuple[str, ...]:
    """What differs between a webhook test and what comes about; empty when it passes."""
    expect, request = test.expect, vector.request
    failures: list[str] = []
    handshake = handshake_of(connector, request)
    _compare(failures, "handshake", expect.handshake, handshake.name if handshake else None, always=True)
    unverified = handshake is not None and not handshake.verified
    verdict = Verdict(True) if unverified else _verdict(connector, vector)
    if expect.accepted is not None and verdict.accepted != expect.accepted:
        why = f" ({verdict.cause}: {verdict.message})" if verdict.cause else ""
        failures.append(f"it is {'accepted' if verdict.accepted else 'refused'}{why}")
    _compare(failures, "cause", expect.cause, verdict.cause)
    if verdict.accepted:
        failures += _answered(connector, expect, vector, handshake)
    return tuple(failures)


def _verdict(connector: Connector, vector: HookVector) -> Verdict:
    values = {**vector.profile, **vector.secrets}
    return verify(
        connector,
        vector.request,
        values,
        vector.now_ms / 1000,
        vector.certificates.get,
        authorities=vector.authorities,
    )


def _answered(
    connector: Connector, expect: TestExpect, vector: HookVector, handshake: Handshake | None
) -> list[str]:
    failures: list[str] = []
    reply = answer(handshake, vector.request) if handshake else accepted(connector)
    _compare(failures, "status", expect.status, reply.status)
    if handshake is None:
        events = events_of(connector, "vector", vector.request, vector.now_ms)
        _compare(failures, "events", expect.events, len(events))
        _compare(failures, "id", expect.id, events[0].event_id)
        _compare(failures, "type", expect.type, events[0].type)
        if expect.resources is not None:
            failures += _resources(connector, expect.resources, events)
    return failures


def _resources(connector: Connector, wanted: Sequence[str], events: Sequence[NewEvent]) -> list[str]:
    records = [item for event in events for item in records_of(connector, event)]
    failures = [f"a record of {item.resource} is none: {item.fault}" for item in records if item.fault]
    _compare(failures, "resources", sorted(wanted), sorted({item.resource for item in records}))
    return failures


def _compare(failures: list[str], what: str, wanted: object, got: object, *, always: bool = False) -> None:
    if wanted != got and (wanted is not None or always):
        failures.append(f"{what} {wanted} is expected, {got} came")
