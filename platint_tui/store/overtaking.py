# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Which of two events of a record happened later: platforms promise no order, and what was missed comes late.

By the time that the platform gives them; of equal times, and without times, by arrival.
"""

from __future__ import annotations

import sqlite3

from platint_tui.core.events import Event, NewDelivery
from platint_tui.core.jsontext import canonical_key, content_hash
from platint_tui.store.codec import text
from platint_tui.store.deliveryrows import WAITING
from platint_tui.store.lifecycle import supersede

OVERTAKEN = "A later event of this record was delivered before."
_AHEAD_MS = 86_400_000
_RECORD = "integration = :integration AND stream = :stream AND record_key = :key"
_LATER = (
    "occurred_ms > :occurred",
    "occurred_ms IS :occurred AND event_number > :event",
    "(occurred_ms IS NULL) <> (:occurred IS NULL) AND event_number > :event",
)
"""What happened later, each by itself over the index of records."""
_WRITTEN = (
    "(state = 'done' OR fallback_ms IS NOT NULL OR (state = 'dead' AND EXISTS (SELECT 1 FROM dead_letters AS letter"
    " WHERE letter.id = deliveries.dead_letter AND letter.state = 'succeeded')))"
)


def happened_ms(event: Event) -> int | None:
    """When an event happened, None when that is not known: a time far ahead of its arrival is that of a wrong clock,
    and would be later than everything that comes for years."""
    occurred = event.occurred_ms
    return None if occurred is not None and occurred > event.received_ms + _AHEAD_MS else occurred


def later_written(connection: sqlite3.Connection, event: Event, item: NewDelivery) -> bool:
    """Whether a later event of the same record was delivered: an older one must not follow it."""
    values = {
        "integration": item.integration,
        "stream": item.stream,
        "key": text(item.record_key),
        "occurred": happened_ms(event),
        "event": event.number,
    }
    return any(
        connection.execute(
            f"SELECT 1 FROM deliveries WHERE {_RECORD} AND {later} AND {_WRITTEN} LIMIT 1", values
        ).fetchone()
        for later in _LATER
    ) and not _without_key(item.record_key, item.raw)


def overtake(connection: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
    """What a delivery (its whole row before) wrote overtakes what came after it, waits, and happened before."""
    if row["occurred_ms"] is None:
        return
    numbers = [
        found["number"]
        for found in connection.execute(
            f"SELECT number FROM deliveries WHERE {WAITING} AND state <> 'sending' AND {_RECORD}"
            " AND event_number > :event AND occurred_ms < :occurred",
            _values(row),
        )
    ]
    if numbers and not _without_key(row["record_key"], row["raw"]):
        connection.executemany(
            "UPDATE deliveries SET state = 'superseded', ended_ms = ?, code = '', message = ?, raw = NULL"
            " WHERE number = ?",
            [(now, OVERTAKEN, number) for number in numbers],
        )


def supersede_older(connection: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
    """The record of a delivery was written: its dead letters of before are done with.

    Not those that failed later, nor those of events that happened later.
    """
    later = {
        found["id"]
        for found in connection.execute(
            "SELECT letter.id FROM dead_letters AS letter JOIN deliveries ON deliveries.number ="
            " json_extract(letter.origin, '$.delivery') WHERE letter.live = 1 AND letter.integration = :integration"
            " AND letter.stream = :stream AND letter.record_key = :key"
            f" AND ({' OR '.join(f'({condition})' for condition in _LATER)})",
            _values(row),
        )
    }
    supersede(
        connection,
        row["integration"],
        row["stream"],
        [row["record_key"]],
        now,
        seen_before=row["received_ms"],
        spare=later,
    )


def _values(row: sqlite3.Row) -> dict[str, object]:
    return {
        "integration": row["integration"],
        "stream": row["stream"],
        "key": row["record_key"],
        "occurred": row["occurred_ms"],
        "event": row["event_number"],
    }


def _without_key(record_key: str, raw: bytes | None) -> bool:
    """Whether the record is told apart by its content alone: then each event of it is a record of its own."""
    content = bytes(raw or b"").decode("utf-8", "surrogatepass")
    return record_key == canonical_key([content_hash(content)])
