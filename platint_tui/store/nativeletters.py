"""The dead letters that platforms keep themselves, mirrored in the inbox: functions on an open transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import ErrorClass, joined
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import NATIVE, DeadQueue, Fault, NativeLetter, NewDeadLetter, Profile
from platint_tui.core.states import DeadLetterState
from platint_tui.store.codec import text
from platint_tui.store.letters import insert_one
from platint_tui.store.lifecycle import IssueCounts, close_items, move
from platint_tui.store.ports import SeenQueue

_STILL_THERE = (DeadLetterState.OPEN, DeadLetterState.UNKNOWN)
_WAITING = (*_STILL_THERE, DeadLetterState.REPLAYING)


def mirror(
    connection: sqlite3.Connection,
    profile: Profile,
    queue: DeadQueue,
    letters: Sequence[NativeLetter],
    complete: bool,
    now: int,
) -> int:
    """Bring the rows of one queue up to what the platform holds; returns how many are new.

    What was settled here stays so: a topic gives a record for ever, whoever has dealt with it.
    """
    counts, new = IssueCounts(), 0
    seen: dict[str, list[NativeLetter]] = {}
    for item in letters:
        seen.setdefault(text(item.id), []).append(item)
    known: dict[str, list[sqlite3.Row]] = {}
    for row in _rows(connection, profile.name, queue.name):
        known.setdefault(row["record_key"], []).append(row)
    gone = [row for key, rows in known.items() for row in _surplus(rows, len(seen.get(key, ())))]
    for key, found in seen.items():
        for item in _missing(found, known.get(key, [])):
            back = next((row for row in known.get(key, []) if row["state"] == DeadLetterState.GONE), None)
            if back is not None:
                known[key].remove(back)
                move(connection, back, DeadLetterState.OPEN, now, counts)
            else:
                insert_one(connection, _new(profile, item), key, now)
                new += 1
    if complete:
        for row in gone:
            move(connection, row, DeadLetterState.GONE, now, counts)
        close_items(connection, [row["id"] for row in gone], "released", now)
    counts.write(connection)
    return new


def _surplus(rows: list[sqlite3.Row], there: int) -> list[sqlite3.Row]:
    """The waiting rows of one id that are more than the platform holds, the oldest first."""
    waiting = [row for row in rows if row["state"] in _STILL_THERE]
    return waiting[: max(0, len(waiting) - there)]


def _missing(found: list[NativeLetter], rows: list[sqlite3.Row]) -> list[NativeLetter]:
    """The letters of one id that have no row yet.

    Of letters that are alike, those that are settled here were removed there, so what is there is what waits. Any
    other id is one letter for ever: a topic gives a record again, whoever has dealt with it.
    """
    if found[0].alike:
        return found[sum(row["state"] in _WAITING for row in rows) :]
    return [] if any(row["state"] != DeadLetterState.GONE for row in rows) else found[:1]


def _rows(connection: sqlite3.Connection, profile: str, queue: str) -> list[sqlite3.Row]:
    """The newest row of each letter of a queue: an edit stands for its original."""
    return connection.execute(
        "SELECT number, id, state, parent, fingerprint, record_key FROM dead_letters WHERE profile = ?"
        " AND stream = ? AND direction = ? ORDER BY number",
        (profile, queue, NATIVE),
    ).fetchall()


def _new(profile: Profile, letter: NativeLetter) -> NewDeadLetter:
    reason = letter.reason or "The platform does not say why."
    where = f"It was meant for '{letter.origin}'." if letter.origin else ""
    return NewDeadLetter(
        profile=profile.name,
        platform=profile.platform,
        integration="",
        stream=letter.queue,
        run="",
        manifest_version="",
        record_key=letter.id,
        payload=letter.payload,
        content_hash=content_hash(letter.payload.decode("utf-8", "surrogateescape")),
        idempotency_key=digest("native", profile.name, letter.queue, letter.id),
        fingerprint=digest(
            "native", profile.platform, profile.name, letter.queue, letter.code, letter.origin
        ),
        fault=Fault(ErrorClass.RECORD, letter.code, joined(reason, where)),
        direction=NATIVE,
        origin={
            "queue": letter.queue,
            "id": letter.id,
            "origin": letter.origin,
            "reason": letter.reason,
            "properties": dict(letter.properties),
            "deliveries": letter.deliveries,
            "died_ms": letter.died_ms,
        },
    )


def save_queues(connection: sqlite3.Connection, profile: str, queues: Sequence[DeadQueue], now: int) -> None:
    """What a platform has of dead-letter queues, in place of what was known."""
    connection.execute("DELETE FROM dead_queues WHERE profile = ?", (profile,))
    connection.executemany(
        "INSERT INTO dead_queues (profile, name, kind, origin, depth, oldest_ms, seen_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (profile, text(item.name), item.kind, text(item.origin), item.depth, item.oldest_ms, now)
            for item in queues
        ],
    )


def queues_of(connection: sqlite3.Connection, profile: str | None) -> list[SeenQueue]:
    """The queues as last seen, of one profile or of all."""
    rows = connection.execute(
        "SELECT * FROM dead_queues WHERE ?1 IS NULL OR profile = ?1 ORDER BY profile, name", (profile,)
    )
    return [
        SeenQueue(
            row["profile"],
            DeadQueue(row["name"], row["kind"], row["origin"], row["depth"], row["oldest_ms"]),
            row["seen_ms"],
        )
        for row in rows
    ]
