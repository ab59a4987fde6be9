"""Webhooks: whether a request is from whom it says, the events in it, and what they are records of."""

from __future__ import annotations

from platint_tui.drivers.http.webhooks.certificates import Certificates
from platint_tui.drivers.http.webhooks.events import events_of
from platint_tui.drivers.http.webhooks.handshakes import accepted, answer, handshake_of, visit_of
from platint_tui.drivers.http.webhooks.records import EventRecord, event_record, records_of
from platint_tui.drivers.http.webhooks.verifying import (
    Verifier,
    compile_verifier,
    fields_of,
    needs,
    verify,
)

__all__ = [
    "Certificates",
    "EventRecord",
    "Verifier",
    "accepted",
    "answer",
    "compile_verifier",
    "event_record",
    "events_of",
    "fields_of",
    "handshake_of",
    "needs",
    "records_of",
    "verify",
    "visit_of",
]
