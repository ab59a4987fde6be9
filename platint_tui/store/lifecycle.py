# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""The moves of dead letters, and what each takes with it: issue counts and items of replay jobs.

Functions on an open write transaction, shared by the inbox, replays, runs and retention.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from platint_tui.core.states import (
    UNRESOLVED_DEAD_LETTER_STATES,
    DeadLetterState,
    IssueState,
    check_dead_letter_move,
)
from platint_tui.store.codec import Fields, chunks, marks

RESOLVED_FOR_GOOD = frozenset({DeadLetterState.SUCCEEDED, DeadLetterState.SUPERSEDED})
_COUNTED = {"succeeded", "failed", "unknown", "superseded"}


class IssueCounts:
    """Changes of `open` and `total` per fingerprint, gathered and written once per transaction."""

    def __init__(self) -> None:
        self._changes: dict[str, list[int]] = {}

    def add(self, fingerprint: str, *, opened: int = 0, total: int = 0) -> None:
        """`opened` unresolved dead letters more (or less), `total` rows more (or less)."""
        change = self._changes.setdefault(fingerprint, [0, 0])
        change[0] += opened
        change[1] += total

    def write(self, connection: sqlite3.Connection) -> None:
        """Apply. The last unresolved dead letter resolves its issue, a new one reopens it; ignored stays."""
        for fingerprint, (opened, total) in self._changes.items():
            if opened or total:
                connection.execute(
                    "UPDATE issues SET open = open + ?1, total = total + ?2, state = CASE"
                    f" WHEN state = '{IssueState.IGNORED}' THEN state"
                    f" WHEN ?1 < 0 AND open + ?1 <= 0 THEN '{IssueState.RESOLVED}'"
                    f" WHEN ?1 > 0 AND state = '{IssueState.RESOLVED}' THEN '{IssueState.OPEN}'"
                    " ELSE state END WHERE fingerprint = ?3",
                    (opened, total, fingerprint),
                )
        self._changes.clear()


def move(
    connection: sqlite3.Connection,
    letter: Fields,
    new: DeadLetterState,
    now: int,
    counts: IssueCounts,
) -> None:
    """Move one dead letter (a row with number, state, parent and fingerprint).

    Raises SystemicError when its state machine does not know the move.
    """
    move_all(connection, [letter], new, now, counts)


def move_all(
    connection: sqlite3.Connection,
    letters: Sequence[Fields],
    new: DeadLetterState,
    now: int,
    counts: IssueCounts,
) -> None:
    """Move dead letters, as `move` does. Raises SystemicError before anything is moved."""
    unresolved = new in UNRESOLVED_DEAD_LETTER_STATES
    for letter in letters:
        old = DeadLetterState(letter["state"])
        check_dead_letter_move(old, new)
        counts.add(letter["fingerprint"], opened=unresolved - (old in UNRESOLVED_DEAD_LETTER_STATES))
    for old in dict.fromkeys(letter["state"] for letter in letters):
        numbers = [letter["number"] for letter in letters if letter["state"] == old]
        # One statement for all: each step of one by one would hand Python's lock to and fro.
        connection.execute(
            "UPDATE dead_letters SET state = ?, resolved_ms = ?, live = CASE WHEN ? THEN 0 ELSE live END"
            " WHERE number IN (SELECT value FROM json_each(?)) AND state || '' = ?",
            (new, None if unresolved else now, new in RESOLVED_FOR_GOOD, json.dumps(numbers), old),
        )
    if new in RESOLVED_FOR_GOOD:
        for letter in letters:
            _settle_ancestors(connection, letter["parent"])


def _settle_ancestors(connection: sqlite3.Connection, parent: str | None) -> None:
    """The originals of an edit that arrived are history: should the same record fail again, that is new."""
    while parent is not None:
        row = connection.execute(
            "UPDATE dead_letters SET live = 0 WHERE id = ? RETURNING parent", (parent,)
        ).fetchone()
        parent = row["parent"] if row is not None else None


def close_items(connection: sqlite3.Connection, letters: Sequence[str], outcome: str, now: int) -> None:
    """Dead letters left the inbox another way: their waiting items end with `outcome` unsent."""
    for some in chunks(list(letters)):
        rows = connection.execute(
            f"SELECT job, COUNT(*) AS items FROM replay_items WHERE state = 'pending'"
            f" AND dead_letter IN ({marks(some)}) GROUP BY job",
            some,
        ).fetchall()
        if not rows:
            continue
        connection.execute(
            f"UPDATE replay_items SET state = ? WHERE state = 'pending' AND dead_letter IN ({marks(some)})",
            [outcome, *some],
        )
        for row in rows:
            count_items(connection, row["job"], outcome, row["items"], now)


def count_items(connection: sqlite3.Connection, job: str, outcome: str, items: int, now: int) -> None:
    """`items` waiting items of a job ended with `outcome`; the job ends with its last one."""
    counter = f", {outcome} = {outcome} + {int(items)}" if outcome in _COUNTED else ""
    connection.execute(f"UPDATE replay_jobs SET pending = pending - ?{counter} WHERE id = ?", (items, job))
    end_job(connection, job, now)


def end_job(connection: sqlite3.Connection, job: str, now: int) -> None:
    """End the job when nothing of it is left to do; not while its items are still being written."""
    connection.execute(
        "UPDATE replay_jobs SET ended_ms = ?, state = CASE WHEN state = 'cancelling' THEN 'cancelled'"
        " ELSE 'done' END WHERE id = ? AND pending = 0 AND ended_ms IS NULL AND state <> 'planning'",
        (now, job),
    )


def waiting_keys(connection: sqlite3.Connection, integration: str, stream: str) -> list[str]:
    """The records of a stream that have dead letters which are not settled for good."""
    rows = connection.execute(
        "SELECT DISTINCT record_key FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ?",
        (integration, stream),
    )
    return [row["record_key"] for row in rows]


def supersede(
    connection: sqlite3.Connection,
    integration: str,
    stream: str,
    keys: Iterable[str],
    now: int,
    below: int | None = None,
    seen_before: int | None = None,
    spare: Collection[str] = (),
) -> int:
    """A later version of these records was written: their waiting dead letters are superseded.

    What cannot be superseded now (on its way, discarded, edited) is marked, so that it does not follow the later
    version. `below`: only versions of a lower rank; `seen_before`: only those that failed before this moment; not
    those whose ids are in `spare`. Returns how many became superseded.
    """
    some_live = connection.execute(
        "SELECT 1 FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ? LIMIT 1",
        (integration, stream),
    ).fetchone()
    if some_live is None:
        return 0
    counts, gone, marked = IssueCounts(), list[str](), list[int]()
    for some in chunks([key for key in keys if key]):
        rows = connection.execute(
            "SELECT number, id, state, parent, fingerprint, rank, last_seen_ms FROM dead_letters WHERE live = 1"
            f" AND integration = ? AND stream = ? AND record_key IN ({marks(some)})",
            [integration, stream, *some],
        ).fetchall()
        for row in rows:
            if below is not None and row["rank"] >= below:
                continue
            if row["id"] in spare or (seen_before is not None and row["last_seen_ms"] > seen_before):
                continue
            # Compared here: in the query it would tempt SQLite to walk the index of states.
            if row["state"] in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN):
                move(connection, row, DeadLetterState.SUPERSEDED, now, counts)
                gone.append(row["id"])
            else:
                marked.append(row["number"])
    for numbers in chunks(marked):
        connection.execute(
            f"UPDATE dead_letters SET newer_written = 1 WHERE number IN ({marks(numbers)})", numbers
        )
    if gone:
        close_items(connection, gone, "superseded", now)
        counts.write(connection)
    return len(gone)
