"""Deliveries and events as rows, and the dead letters that deliveries leave."""

from __future__ import annotations

import sqlite3

from platint_tui.core.events import WAITING_DELIVERIES, Delivery, DeliveryState, Event, EventState
from platint_tui.core.model import NewDeadLetter, Op
from platint_tui.store.codec import load, text

WAITING = "state IN ('pending', 'sending', 'fallback')"
"""A delivery that has not ended; written like this wherever its index is to serve."""
READ = (
    "number, event, integration, stream, record_key, state, attempts, idempotency_key, next_ms, created_ms,"
    " ended_ms, code, message, event_number, profile, occurred_ms, received_ms, version, place, waited_ms,"
    " fallback_ms, dead_letter, op, partial"
)
"""Columns of a delivery without its record."""
_EVENT = (
    "id",
    "number",
    "profile",
    "platform",
    "event_id",
    "type",
    "order_key",
    "occurred_ms",
    "received_ms",
    "method",
    "target",
    "size",
    "verified_by",
    "origin",
    "seen",
    "last_seen_ms",
)


def ended(state: DeliveryState) -> bool:
    """Whether nothing more is done about a delivery in this state."""
    return state not in WAITING_DELIVERIES


def of_row(row: sqlite3.Row) -> Delivery:
    """The delivery of a row with READ."""
    return Delivery(
        number=row["number"],
        event=row["event"],
        integration=row["integration"],
        stream=row["stream"],
        record_key=row["record_key"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        idempotency_key=row["idempotency_key"],
        next_ms=row["next_ms"],
        created_ms=row["created_ms"],
        ended_ms=row["ended_ms"],
        code=row["code"],
        message=row["message"],
        event_number=row["event_number"],
        profile=row["profile"],
        occurred_ms=row["occurred_ms"],
        received_ms=row["received_ms"],
        version=row["version"],
        place=row["place"],
        waited_ms=row["waited_ms"],
        fallback_ms=row["fallback_ms"],
        dead_letter=row["dead_letter"],
        op=Op(row["op"]),
        partial=bool(row["partial"]),
    )


def _headers(stored: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((name, value) for name, value in load(stored))
    except (ValueError, TypeError):
        # The disk changed them, which is told of the whole event.
        return ()


def event_of(row: sqlite3.Row) -> Event:
    """The event of a whole row."""
    return Event(
        **{
            **{name: row[name] for name in _EVENT},
            "headers": _headers(row["headers"]),
            "body": bytes(row["body"]),
            "state": EventState(row["state"]),
        }
    )


def find_letter(connection: sqlite3.Connection, letter: NewDeadLetter) -> str | None:
    """The dead letter that has this record: the one that was made, or the one that counts it as well."""
    row = connection.execute(
        "SELECT id FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ? AND record_key = ?"
        " AND content_hash = ? AND parent IS NULL ORDER BY number DESC LIMIT 1",
        (letter.integration, letter.stream, text(letter.record_key), letter.content_hash),
    ).fetchone()
    return None if row is None else str(row["id"])
