# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Events as rows: storing each once, telling what came again, noticing what the disk changed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring as _quoted
from typing import Any

from platint_tui.core.errors import StoreError
from platint_tui.core.events import FETCHED, Event, Ingested, IngestOutcome, NewEvent
from platint_tui.core.ids import new_id
from platint_tui.core.jsoncut import equal_but
from platint_tui.store import alerts
from platint_tui.store.codec import chunks, dump, marks, row_hash, text
from platint_tui.store.deliveryrows import event_of

COLUMNS = (
    "id, profile, platform, event_id, type, order_key, occurred_ms, received_ms, state, origin, verified_by,"
    " part, last_seen_ms, method, target, headers, size, row_hash, body"
)
_ONE = f"({marks(COLUMNS.split(','))})"
_TOGETHER = 64
"""Rows of one INSERT. After each statement the writer's thread waits for its turn in the process again, which costs
more than the statement when requests come in meanwhile: so a batch is as few statements as can be."""


@dataclass(slots=True)
class NewRow:
    """An event on its way into the table; `values` are those of COLUMNS."""

    event: NewEvent
    id: str
    event_id: str
    values: tuple[Any, ...]


def new_row(event: NewEvent, event_id: str = "") -> NewRow:
    """The row of a new event, which is known as `event_id` where that is not its own id."""
    identity = new_id("evt")
    event_id = text(event_id or event.event_id)
    kind, key, target = text(event.type), text(event.order_key), text(event.target)
    headers = f"[{','.join([f'[{_quoted(name)},{_quoted(value)}]' for name, value in event.headers])}]"
    if not headers.isascii():
        headers = dump([list(item) for item in event.headers])
    size = len(event.body)
    checksum = _checksum(
        identity, event.profile, event.platform, event_id, kind, key, event.occurred_ms, event.received_ms,
        event.verified_by, event.method, target, headers, event.body,
    )  # fmt: skip
    values = (
        identity, event.profile, event.platform, event_id, kind, key, event.occurred_ms, event.received_ms,
        event.state, event.origin, event.verified_by, event.part, event.received_ms, event.method, target,
        headers, size, checksum, event.body,
    )  # fmt: skip
    return NewRow(event, identity, event_id, values)


def ingest(connection: sqlite3.Connection, rows: Sequence[NewRow], now: int) -> list[Ingested]:
    """Store what is new and count what is not; see ports.Events.ingest."""
    if _insert(connection, rows) == len(rows):
        outcomes = [Ingested(IngestOutcome.STORED, row.event_id) for row in rows]
    else:
        outcomes = _sorted_out(connection, rows, now)
    new = Counter(
        row.event.profile
        for row, item in zip(rows, outcomes, strict=True)
        if item.outcome is not IngestOutcome.DUPLICATE
    )
    for profile in {row.event.profile for row in rows}:
        count(connection, profile, now, events=new[profile])
    return outcomes


def _insert(connection: sqlite3.Connection, rows: Sequence[NewRow]) -> int:
    """Insert those whose id is not here; returns how many."""
    made = 0
    for some in chunks(list(rows), _TOGETHER):
        try:
            made += _insert_all(connection, some)
        except sqlite3.IntegrityError:
            # Left to SQLite, each that is here already would use up a number, and look like an event that is lost.
            fresh = _fresh(connection, some)
            made += _insert_all(connection, fresh) if fresh else 0
    return made


def _insert_all(connection: sqlite3.Connection, rows: Sequence[NewRow]) -> int:
    connection.execute(
        f"INSERT INTO events ({COLUMNS}) VALUES {','.join([_ONE] * len(rows))}",
        [value for row in rows for value in row.values],
    )
    return len(rows)


def _fresh(connection: sqlite3.Connection, rows: Sequence[NewRow]) -> list[NewRow]:
    """The rows whose id is not here, each id once."""
    wanted: dict[tuple[str, str], NewRow] = {}
    for row in rows:
        wanted.setdefault((row.event.profile, row.event_id), row)
    names = list(wanted)
    # Padded, so that few statements are prepared.
    names += names[:1] * (_TOGETHER - len(names))
    known = connection.execute(
        "SELECT e.profile, e.event_id FROM"
        f" (VALUES {','.join(['(?, ?)'] * len(names))}) AS wanted CROSS JOIN events AS e"
        " ON e.profile = wanted.column1 AND e.event_id = wanted.column2",
        [value for name in names for value in name],
    )
    here = {(item["profile"], item["event_id"]) for item in known.fetchall()}
    return [row for name, row in wanted.items() if name not in here]


def _sorted_out(connection: sqlite3.Connection, rows: Sequence[NewRow], now: int) -> list[Ingested]:
    """What became of each row when not all of them were new."""
    made: set[str] = set()
    for some in chunks([row.id for row in rows]):
        # Padded, so that few statements are prepared.
        padded = some + [""] * (-len(some) % _TOGETHER)
        found = connection.execute(f"SELECT id FROM events WHERE id IN ({marks(padded)})", padded)
        made.update(item["id"] for item in found.fetchall())
    return [
        Ingested(IngestOutcome.STORED, row.event_id) if row.id in made else _come_again(connection, row, now)
        for row in rows
    ]


def _come_again(connection: sqlite3.Connection, row: NewRow, now: int) -> Ingested:
    """An event whose id is here: it counts once more, or has other bytes and is kept too."""
    if row.event.origin == FETCHED or _seen(connection, row.event_id, row.event, now):
        return Ingested(IngestOutcome.DUPLICATE, row.event_id)
    other = new_row(row.event, f"{row.event_id}~{hashlib.sha256(row.event.body).hexdigest()[:16]}")
    if not _insert(connection, [other]):
        _seen(connection, other.event_id, row.event, now)
        return Ingested(IngestOutcome.DUPLICATE, other.event_id)
    alerts.note(
        connection,
        "warning",
        f"events of {row.event.profile}",
        f"The id {row.event_id} came again with other content; both are kept. An id of '{row.event.profile}' may"
        " not identify one event.",
        now,
    )
    return Ingested(IngestOutcome.CONFLICT, other.event_id)


def _seen(connection: sqlite3.Connection, event_id: str, event: NewEvent, now: int) -> bool:
    """Count an event once more; False when the one with this id has other bytes.

    One that was fetched may have: a platform's list can write an event otherwise than its webhook does. So may the
    members that the manifest names as `varies`.
    """
    counted = connection.execute(
        "UPDATE events SET seen = seen + 1, last_seen_ms = MAX(last_seen_ms, ?)"
        " WHERE profile = ? AND event_id = ? AND (body = ? OR origin = ?)",
        (now, event.profile, event_id, event.body, FETCHED),
    )
    if counted.rowcount or not event.varies:
        return counted.rowcount > 0
    stored = connection.execute(
        "SELECT number, body FROM events WHERE profile = ? AND event_id = ?", (event.profile, event_id)
    ).fetchone()
    if stored is None or not equal_but(bytes(stored["body"]), event.body, event.varies):
        return False
    connection.execute(
        "UPDATE events SET seen = seen + 1, last_seen_ms = MAX(last_seen_ms, ?) WHERE number = ?",
        (now, stored["number"]),
    )
    return True


def count(
    connection: sqlite3.Connection, profile: str, now: int, *, events: int = 0, rejected: int = 0
) -> None:
    """Count what came from a source."""
    connection.execute(
        "INSERT INTO sources (profile, state, changed_ms, events, rejected, last_ms)"
        " VALUES (?1, 'active', ?2, ?3, ?4, ?2) ON CONFLICT (profile) DO UPDATE SET"
        " events = events + ?3, rejected = rejected + ?4, last_ms = MAX(COALESCE(last_ms, 0), ?2)",
        (profile, now, events, rejected),
    )


# --- reading back ---------------------------------------------------------------------------------------


def _checksum(
    identity: str,
    profile: str,
    platform: str,
    event_id: str,
    kind: str,
    key: str,
    occurred_ms: int | None,
    received_ms: int,
    verified_by: str,
    method: str,
    target: str,
    headers: str,
    body: bytes,
) -> str:
    # No column of text holds a NUL.
    return row_hash(
        f"{identity}\0{profile}\0{platform}\0{event_id}\0{kind}\0{key}\0{occurred_ms}\0{received_ms}"
        f"\0{verified_by}\0{method}\0{target}\0{headers}",
        body,
    )


def is_intact(row: sqlite3.Row) -> bool:
    """Whether a whole row of an event is what was written."""
    made = _checksum(
        row["id"], row["profile"], row["platform"], row["event_id"], row["type"], row["order_key"],
        row["occurred_ms"], row["received_ms"], row["verified_by"], row["method"], row["target"],
        row["headers"], row["body"],
    )  # fmt: skip
    return bool(row["row_hash"] == made)


def verified(row: sqlite3.Row) -> Event:
    """The event of a whole row. Raises StoreError when the disk changed it."""
    if not is_intact(row):
        raise StoreError(
            f"Event {row['number']} is not what was stored: the disk changed it.",
            hint="Restore a backup, or let the platform send it once more.",
            code="damaged",
        )
    return event_of(row)


def checked(row: sqlite3.Row) -> Event:
    """The event of a whole row, marked when the disk changed it."""
    return event_of(row) if is_intact(row) else replace(event_of(row), intact=False)
