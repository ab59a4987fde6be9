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
    seen = {text(item.id): item for item in letters}
    known = {row["record_key"]: row for row in _rows(connection, profile.name, queue.name)}
    for key, item in seen.items():
        row = known.get(key)
        if row is None:
            insert_one(connection, _new(profile, item), key, now)
            new += 1
        elif row["state"] == DeadLetterState.GONE:
            move(connection, row, DeadLetterState.OPEN, now, counts)
    if complete:
        gone = [row for key, row in known.items() if key not in seen and row["state"] in _STILL_THERE]
        for row in gone:
            move(connection, row, DeadLetterState.GONE, now, counts)
        close_items(connection, [row["id"] for row in gone], "released", now)
    counts.write(connection)
    return new


def _rows(connection: sqlite3.Connection, profile: str, queue: str) -> list[sqlite3.Row]:
    """The newest row of each letter of a queue: an edit stands for its original."""
    return connection.execute(
        "SELECT number, id, state, parent, fingerprint, record_key FROM dead_letters WHERE profile = ?"
        " AND stream = ? AND origin IS NOT NULL ORDER BY number",
        (profile, queue),
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
