"""Webhooks: whether a request is from whom it says, the events in it, and what they are records of."""

from __future__ import annotations

from platint_tui.drivers.http.webhooks.events import events_of
from platint_tui.drivers.http.webhooks.handshakes import accepted, answer, handshake_of, visit_of
from platint_tui.drivers.http.webhooks.records import EventRecord, event_record, records_of

__all__ = [
    "EventRecord",
    "accepted",
    "answer",
    "event_record",
    "events_of",
    "handshake_of",
    "records_of",
    "visit_of",
]
