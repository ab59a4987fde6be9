# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Dead letters as rows: writing new ones, reading them back, noticing what the disk changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import ErrorClass, StoreError, UnknownOutcome
from platint_tui.core.ids import new_id
from platint_tui.core.model import DeadLetter, NewDeadLetter, Op
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.store.codec import Fields, dump_optional, load_optional, row_hash, text
from platint_tui.store.search import add_words

SUMMARY = (
    "d.number, d.id, d.state, d.direction, d.profile, d.platform, d.integration, d.stream, d.run,"
    " d.manifest_version, d.record_key, d.content_hash, d.idempotency_key, d.fingerprint, d.error_class,"
    " d.code, d.message, d.field, d.hint, d.parent, d.occurrences, d.attempts, d.first_seen_ms,"
    " d.last_seen_ms, d.size, d.row_hash, d.rank, d.newer_written, d.op, d.origin,"
    " d.integration_version"
)
"""Columns of a dead letter without its body; the table is `dead_letters AS d`."""
HOUR_MS = 3_600_000
BODY = "b.payload, b.request, b.response"
"""Columns of the body; the table is `dead_letter_bodies AS b`."""

_INSERT = (
    "INSERT INTO dead_letters (id, state, live, direction, profile, platform, integration, stream, run,"
    " manifest_version, record_key, content_hash, idempotency_key, fingerprint, error_class, code, message,"
    " field, hint, parent, first_seen_ms, last_seen_ms, size, row_hash, rank, op, origin, integration_version)"
    " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_BODY = "INSERT INTO dead_letter_bodies (number, payload, request, response) VALUES (?, ?, ?, ?)"


def insert_new(connection: sqlite3.Connection, letters: Sequence[NewDeadLetter], now: int) -> int:
    """Keep failed records; returns how many rows are new.

    A record that failed with the same content before, and whose dead letter is not settled for good, counts
    as one more occurrence of it.
    """
    new = 0
    for letter in letters:
        key = text(letter.record_key)
        known = connection.execute(
            "SELECT number, fingerprint, rank FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ?"
            " AND record_key = ? AND content_hash = ? AND parent IS NULL ORDER BY number DESC LIMIT 1",
            (letter.integration, letter.stream, key, letter.content_hash),
        ).fetchone()
        if known is not None:
            connection.execute(
                "UPDATE dead_letters SET occurrences = occurrences + 1, last_seen_ms = ? WHERE number = ?",
                (now, known["number"]),
            )
            _read_last(connection, letter.integration, letter.stream, key, known["rank"])
            connection.execute(
                "UPDATE issues SET last_seen_ms = ? WHERE fingerprint = ?", (now, known["fingerprint"])
            )
            _count_hour(connection, known["fingerprint"], now)
            continue
        insert_one(connection, letter, key, now)
        new += 1
    return new


def insert_one(connection: sqlite3.Connection, letter: NewDeadLetter, key: str, now: int) -> None:
    """Keep a failed record that is not here yet, and count it in its issue."""
    _insert(connection, letter, key, now)
    _count_in_issue(connection, letter, now)


def _next_rank(connection: sqlite3.Connection, integration: str, stream: str, key: str) -> int:
    """The rank of a version of this record that is newer than all others here."""
    if not key:
        return 0
    row = connection.execute(
        "SELECT COALESCE(MAX(rank), 0) + 1 FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ?"
        " AND record_key = ?",
        (integration, stream, key),
    ).fetchone()
    return int(row[0])


def _read_last(connection: sqlite3.Connection, integration: str, stream: str, key: str, rank: int) -> None:
    """A version that is here already (with its edits) was read again, so it is the record's newest one."""
    if not key:
        return
    connection.execute(
        "UPDATE dead_letters SET rank = ?, newer_written = 0 WHERE live = 1 AND integration = ? AND stream = ?"
        " AND record_key = ? AND rank = ?",
        (_next_rank(connection, integration, stream, key), integration, stream, key, rank),
    )


def _insert(connection: sqlite3.Connection, letter: NewDeadLetter, key: str, now: int) -> None:
    fault, identity = letter.fault, new_id("dl")
    request, response = dump_optional(fault.request), dump_optional(fault.response)
    checked = _checksum(identity, letter.idempotency_key, letter.payload, request, response)
    cursor = connection.execute(
        _INSERT,
        (
            identity,
            _first_state(letter),
            letter.direction,
            letter.profile,
            letter.platform,
            letter.integration,
            letter.stream,
            letter.run,
            letter.manifest_version,
            key,
            letter.content_hash,
            letter.idempotency_key,
            letter.fingerprint,
            fault.error_class,
            text(fault.code),
            text(fault.message),
            text(fault.field),
            f"{text(fault.hint)} {_corrected_before(connection, letter, key)}".strip(),
            None,
            now,
            now,
            len(letter.payload),
            checked,
            _next_rank(connection, letter.integration, letter.stream, key),
            letter.op,
            dump_optional(letter.origin),
            letter.integration_version,
        ),
    )
    _insert_body(connection, cursor, letter.payload, request, response)


def _corrected_before(connection: sqlite3.Connection, letter: NewDeadLetter, key: str) -> str:
    """A sentence when the same content failed before and its correction was delivered; else nothing.

    It is a new dead letter all the same: nothing tells whether the target still holds the correction.
    """
    row = connection.execute(
        "SELECT o.number, c.number AS child FROM dead_letters AS o JOIN dead_letters AS c ON c.parent = o.id"
        " WHERE o.state = 'edited' AND o.content_hash = ? AND o.integration = ? AND o.stream = ?"
        " AND o.record_key = ? AND c.state || '' = 'succeeded' ORDER BY c.number DESC LIMIT 1",
        (letter.content_hash, letter.integration, letter.stream, key),
    ).fetchone()
    if row is None:
        return ""
    return (
        f"Dead letter {row['number']} had the same content, and its correction (dead letter {row['child']}) was "
        "delivered: discard this one if the target still holds that."
    )


def _first_state(letter: NewDeadLetter) -> DeadLetterState:
    """Open; unknown when it was sent and the answer is lost, so that no replay sends it by the way."""
    return DeadLetterState.UNKNOWN if letter.fault.code == UnknownOutcome.code else DeadLetterState.OPEN


def _count_in_issue(connection: sqlite3.Connection, letter: NewDeadLetter, now: int) -> None:
    fault = letter.fault
    connection.execute(
        "INSERT INTO issues (fingerprint, state, platform, profile, integration, stream, error_class, code,"
        " field, message, hint, open, total, first_seen_ms, last_seen_ms)"
        f" VALUES (?, '{IssueState.OPEN}', ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1, ?, ?)"
        " ON CONFLICT (fingerprint) DO UPDATE SET open = issues.open + 1, total = issues.total + 1,"
        " last_seen_ms = excluded.last_seen_ms, state = CASE"
        f" WHEN issues.state = '{IssueState.RESOLVED}' OR (issues.state = '{IssueState.IGNORED}' AND"
        " (issues.ignored_until_total <= issues.total + 1 OR issues.ignored_until_ms <= excluded.last_seen_ms))"
        f" THEN '{IssueState.OPEN}' ELSE issues.state END",
        (
            letter.fingerprint,
            letter.platform,
            letter.profile,
            letter.integration,
            letter.stream,
            fault.error_class,
            text(fault.code),
            text(fault.field),
            text(fault.message),
            text(fault.hint),
            now,
            now,
        ),
    )
    _count_hour(connection, letter.fingerprint, now)


def _count_hour(connection: sqlite3.Connection, fingerprint: str, now: int) -> None:
    """One failure more in this hour."""
    connection.execute(
        "INSERT INTO issue_hours (fingerprint, hour_ms, failures) VALUES (?, ?, 1)"
        " ON CONFLICT (fingerprint, hour_ms) DO UPDATE SET failures = failures + 1",
        (fingerprint, now // HOUR_MS * HOUR_MS),
    )


def insert_child(
    connection: sqlite3.Connection,
    original: sqlite3.Row,
    identity: str,
    idempotency_key: str,
    payload: bytes,
    record_key: str,
    content_hash: str,
    now: int,
) -> None:
    """An edit of `original` (a row with SUMMARY and BODY): its cause and origin, another payload and key."""
    request, response = original["request"], original["response"]
    rank = original["rank"]
    if record_key != original["record_key"]:
        rank = _next_rank(connection, original["integration"], original["stream"], record_key)
    cursor = connection.execute(
        _INSERT,
        (
            identity,
            DeadLetterState.OPEN,
            original["direction"],
            original["profile"],
            original["platform"],
            original["integration"],
            original["stream"],
            original["run"],
            original["manifest_version"],
            record_key,
            content_hash,
            idempotency_key,
            original["fingerprint"],
            original["error_class"],
            original["code"],
            original["message"],
            original["field"],
            original["hint"],
            original["id"],
            now,
            now,
            len(payload),
            _checksum(identity, idempotency_key, payload, request, response),
            rank,
            original["op"],
            original["origin"],
            original["integration_version"],
        ),
    )
    _insert_body(connection, cursor, payload, request, response)


def _insert_body(
    connection: sqlite3.Connection,
    cursor: sqlite3.Cursor,
    payload: bytes,
    request: str | None,
    response: str | None,
) -> None:
    """What is large of the row that `cursor` inserted, and the words by which it is found."""
    number = cursor.lastrowid
    assert number is not None
    connection.execute(_INSERT_BODY, (number, payload, request, response))
    add_words(connection, number)


def _checksum(
    identity: str, idempotency_key: str, payload: bytes, request: str | None, response: str | None
) -> str:
    return row_hash(identity, idempotency_key, payload, request or "", response or "")


def is_intact(row: Fields) -> bool:
    """Whether a row with SUMMARY and BODY is what was written."""
    return bool(
        row["row_hash"]
        == _checksum(row["id"], row["idempotency_key"], row["payload"], row["request"], row["response"])
    )


def verified(row: sqlite3.Row) -> DeadLetter:
    """The dead letter of a row with SUMMARY and BODY. Raises StoreError when the disk changed it."""
    if not is_intact(row):
        raise StoreError(
            f"Dead letter {row['number']} is not what was stored: the disk changed it.",
            hint="It is not sent. Restore a backup, or discard it and read the record from its source again.",
            code="damaged",
        )
    return letter_of(row, row["payload"], row["request"], row["response"])


def letter_of(
    row: Fields,
    payload: bytes = b"",
    request: str | None = None,
    response: str | None = None,
    *,
    state: DeadLetterState | None = None,
    attempt: int = 0,
) -> DeadLetter:
    """The dead letter of a row with SUMMARY; with another state and an attempt more where it is being claimed."""
    return DeadLetter(
        id=row["id"],
        number=row["number"],
        direction=row["direction"],
        profile=row["profile"],
        platform=row["platform"],
        integration=row["integration"],
        stream=row["stream"],
        run=row["run"],
        manifest_version=row["manifest_version"],
        record_key=row["record_key"],
        payload=payload,
        content_hash=row["content_hash"],
        idempotency_key=row["idempotency_key"],
        fingerprint=row["fingerprint"],
        error_class=ErrorClass(row["error_class"]),
        code=row["code"],
        message=row["message"],
        field=row["field"],
        hint=row["hint"],
        state=state or DeadLetterState(row["state"]),
        parent=row["parent"],
        occurrences=row["occurrences"],
        attempts=row["attempts"] + attempt,
        first_seen_ms=row["first_seen_ms"],
        last_seen_ms=row["last_seen_ms"],
        size=row["size"],
        request=load_optional(request),
        response=load_optional(response),
        op=Op(row["op"]),
        origin=load_optional(row["origin"]),
        integration_version=row["integration_version"],
    )
