# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""The items of a replay job on their way: claimed, settled, recovered. Functions on an open write transaction.

All of a batch are read with one statement and written with one per table: a job of ten thousand is a matter of
seconds, and what costs time there is not the network alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import DeadLetter, Trigger
from platint_tui.core.replays import Order, ReplayOptions, Settlement, options_of
from platint_tui.core.states import SENDING_REPLAY_STATES, DeadLetterState, ReplayState
from platint_tui.store.codec import Fields, at_once, chunks, dump_optional, marks, text
from platint_tui.store.letters import SUMMARY, is_intact, letter_of
from platint_tui.store.lifecycle import IssueCounts, count_items, move_all, supersede

_SETTLED = {
    "succeeded": DeadLetterState.SUCCEEDED,
    "failed": DeadLetterState.OPEN,
    "unknown": DeadLetterState.UNKNOWN,
    "superseded": DeadLetterState.SUPERSEDED,
}
_LOST = "The engine ended before the answer arrived."
_REPLAYED = "A replay of its dead letter delivered it."
_OVERTAKEN = (
    "A newer version of this record was written while this one was on its way, so the target may hold either. "
    "Compare the record in the target; resetting the stream's position writes the newer one again."
)
_MOVING = (
    "d.number, d.id, d.state, d.parent, d.fingerprint, d.newer_written, d.integration, d.stream, d.record_key,"
    " d.rank, d.attempts, i.was, i.worker"
)

_MOST_BYTES = 16 * 1024 * 1024
"""Payloads that are claimed at a time."""
_MOVED = tuple(name.strip()[2:] for name in _MOVING.split(","))


@dataclass(frozen=True, slots=True)
class _Job:
    """What the items need to know of their job."""

    id: str
    state: ReplayState
    options: ReplayOptions
    operator: str

    @property
    def elsewhere(self) -> str:
        """The target that is not the integration's own, "" without one."""
        to = self.options.to_profile
        return f"{to}/{self.options.to_target}" if to and self.options.to_target else to


def _job(connection: sqlite3.Connection, job: str) -> _Job:
    row = connection.execute(
        "SELECT id, state, options, operator FROM replay_jobs WHERE id = ?", (job,)
    ).fetchone()
    if row is None:
        raise SystemicError(f"There is no replay '{job}'.", code="state")
    return _Job(row["id"], ReplayState(row["state"]), options_of(json.loads(row["options"])), row["operator"])


# --- claiming --------------------------------------------------------------------------------------------


def _turn(order: Order) -> str:
    """No other version of the record is on its way, and none waits in the same job that goes before it."""
    before = ">" if order is Order.NEWEST else "<"
    return (
        "(d.record_key = '' OR NOT EXISTS (SELECT 1 FROM dead_letters AS o WHERE o.live = 1"
        " AND o.integration = d.integration AND o.stream = d.stream AND o.record_key = d.record_key"
        f" AND o.number <> d.number AND (o.state || '' = 'replaying' OR ((o.rank, o.number) {before}"
        " (d.rank, d.number) AND EXISTS (SELECT 1 FROM replay_items AS w WHERE w.job = i.job"
        " AND w.dead_letter = o.id AND w.state = 'pending')))))"
    )


_CLAIMED = (
    *(name.strip().removeprefix("d.") for name in SUMMARY.split(",")),
    *("payload", "request", "response", "item_trigger", "item_key", "item_number"),
)


def claim(connection: sqlite3.Connection, job: str, worker: str, count: int, now: int) -> list[DeadLetter]:
    """Up to `count` pending items become sending: attempt rows written, dead letters replaying."""
    found = _job(connection, job)
    if found.state not in SENDING_REPLAY_STATES:
        return []
    sending = _sending_keys(connection, job, own=found.options.forced)
    if found.state is ReplayState.CANARY:
        count = min(count, found.options.canary - sent(connection, job))
    if found.options.order is Order.ARRIVED:
        busy = connection.execute(
            "SELECT 1 FROM replay_items WHERE job = ? AND state = 'sending' LIMIT 1", (job,)
        ).fetchone()
        count = 0 if busy is not None else min(count, 1)
    if count <= 0:
        return []
    count = _fitting(connection, job, count)
    turn = "1 = 1" if found.options.order is Order.ARRIVED else _turn(found.options.order)
    rows = at_once(
        connection,
        _CLAIMED,
        f"SELECT {SUMMARY}, hex(b.payload) AS payload, b.request, b.response, i.trigger AS item_trigger,"
        " i.idempotency_key AS item_key, i.number AS item_number"
        " FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
        " LEFT JOIN dead_letter_bodies AS b ON b.number = d.number"
        f" WHERE i.job = ? AND i.state = 'pending' AND {turn} ORDER BY i.number LIMIT ?",
        (job, count),
    )
    rows.sort(key=lambda row: (row["item_number"], row["number"]))
    for row in rows:
        row["payload"] = None if row["size"] and not row["payload"] else bytes.fromhex(row["payload"] or "")
    if sending is not None:
        rows = [row for row in rows if _alone(row, sending)]
    sound = [row for row in rows if row["payload"] is not None and _is_sound(row)]
    if len(sound) < len(rows):
        _fail_damaged(connection, job, [row["id"] for row in rows if row not in sound], now)
    _begin_attempts(connection, found, worker, sound, now)
    return [_claimed(row) for row in sound]


def _fitting(connection: sqlite3.Connection, job: str, count: int) -> int:
    """How many of the next `count` items may be in memory at once; one always may."""
    row = connection.execute(
        "SELECT COUNT(*) FROM (SELECT SUM(d.size) OVER (ORDER BY next.number, d.number) AS bytes"
        " FROM (SELECT dead_letter, number FROM replay_items WHERE job = ? AND state = 'pending'"
        " ORDER BY number LIMIT ?) AS next JOIN dead_letters AS d ON d.id = next.dead_letter) WHERE bytes <= ?",
        (job, count, _MOST_BYTES),
    ).fetchone()
    return max(1, min(count, int(row[0]))) if row[0] else 1


def _is_sound(row: Fields) -> bool:
    return is_intact(row) and row["item_key"] == row["idempotency_key"]


def _claimed(row: Fields) -> DeadLetter:
    arrived = row["state"] == DeadLetterState.SUCCEEDED
    state = DeadLetterState.SUCCEEDED if arrived else DeadLetterState.REPLAYING
    # What was sent and answered when it failed is no part of what is sent now.
    return letter_of(row, row["payload"], state=state, attempt=1)


def _sending_keys(connection: sqlite3.Connection, job: str, *, own: bool) -> set[tuple[str, str, str]] | None:
    """The records of which a version is on its way in another job, or in this one too (`own`); None where there is
    nothing to compare. Dead letters that had arrived are not marked by their state, so the items are asked."""
    jobs = [
        row["id"]
        for row in connection.execute("SELECT id FROM replay_jobs WHERE ended_ms IS NULL AND id <> ?", (job,))
    ]
    if own:
        jobs.append(job)
    elif not jobs:
        return None
    rows = connection.execute(
        "SELECT d.integration, d.stream, d.record_key FROM json_each(?) AS c CROSS JOIN replay_items AS i"
        " ON i.job = c.value AND i.state = 'sending' CROSS JOIN dead_letters AS d ON d.id = i.dead_letter",
        (json.dumps(jobs),),
    )
    return {(row["integration"], row["stream"], row["record_key"]) for row in rows}


def _alone(row: Fields, taken: set[tuple[str, str, str]]) -> bool:
    key = (row["integration"], row["stream"], row["record_key"])
    if row["record_key"] and key in taken:
        return False
    taken.add(key)
    return True


def sent(connection: sqlite3.Connection, job: str) -> int:
    """How many items of a job have been sent or are being sent."""
    row = connection.execute(
        "SELECT COUNT(*) FROM replay_items WHERE job = ? AND state IN ('sending', 'succeeded', 'failed', 'unknown')",
        (job,),
    ).fetchone()
    return int(row[0])


def _fail_damaged(connection: sqlite3.Connection, job: str, ids: list[str], now: int) -> None:
    """What the disk changed is not sent."""
    for some in chunks(ids):
        connection.execute(
            f"UPDATE replay_items SET state = 'failed' WHERE job = ? AND dead_letter IN ({marks(some)})",
            [job, *some],
        )
    count_items(connection, job, "failed", len(ids), now)


def _begin_attempts(
    connection: sqlite3.Connection, job: _Job, worker: str, rows: Sequence[Fields], now: int
) -> None:
    if not rows:
        return
    counts = IssueCounts()
    for state in dict.fromkeys(row["state"] for row in rows):
        connection.execute(
            "UPDATE replay_items SET state = 'sending', worker = ?, was = ? WHERE job = ?"
            " AND dead_letter IN (SELECT value FROM json_each(?))",
            (worker, state, job.id, json.dumps([row["id"] for row in rows if row["state"] == state])),
        )
    # What arrived already stays so while it is sent once more.
    waiting = [row for row in rows if row["state"] != DeadLetterState.SUCCEEDED]
    move_all(connection, waiting, DeadLetterState.REPLAYING, now, counts)
    _count_attempts(connection, rows, 1)
    connection.execute(
        "INSERT INTO attempts (dead_letter, number, trigger, job, idempotency_key, outcome, started_ms,"
        " operator, target) SELECT i.dead_letter, d.attempts, i.trigger, i.job, i.idempotency_key, 'sending',"
        " ?, ?, ? FROM json_each(?) AS c CROSS JOIN replay_items AS i ON i.job = ? AND i.dead_letter = c.value"
        " CROSS JOIN dead_letters AS d ON d.id = i.dead_letter",
        (now, job.operator, job.elsewhere, json.dumps([row["id"] for row in rows]), job.id),
    )
    counts.write(connection)


def _count_attempts(connection: sqlite3.Connection, rows: Sequence[Fields], more: int) -> None:
    connection.execute(
        "UPDATE dead_letters SET attempts = attempts + ? WHERE number IN (SELECT value FROM json_each(?))",
        (more, json.dumps([row["number"] for row in rows])),
    )


# --- settling --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    """How one item ends: its own outcome, its attempt's, and where its dead letter goes (None: it stays)."""

    row: Fields
    item: str
    attempt: tuple[str, str, str, str | None, str | None]
    letter: DeadLetterState | None


def settle(connection: sqlite3.Connection, job: str, settlements: Sequence[Settlement], now: int) -> None:
    """Store what came of items that are being sent, and take the job on with them.

    Raises SystemicError when one of them is not being sent (another process settled it).
    """
    found = _job(connection, job)
    for item in settlements:
        if item.outcome != "released" and item.outcome not in _SETTLED:
            raise SystemicError(f"A replay cannot end as '{item.outcome}'.", code="state")
    rows = _sending_rows(connection, job, [item.dead_letter for item in settlements])
    released, ends = list[Fields](), list[_End]()
    for item in settlements:
        row = rows.get(item.dead_letter)
        if row is None:
            raise SystemicError(
                f"Dead letter '{item.dead_letter}' is not being sent by replay '{job}'.", code="state"
            )
        overtaken = row["newer_written"] and row["was"] != DeadLetterState.SUCCEEDED
        if item.outcome == "released" and not overtaken:
            released.append(row)
        else:
            ends.append(_end(found, row, item, bool(overtaken)))
    _release(connection, job, released, now)
    _finish(connection, found, ends, now)
    advance(connection, job, now)


def _sending_rows(connection: sqlite3.Connection, job: str, ids: list[str]) -> dict[str, Fields]:
    rows = at_once(
        connection,
        _MOVED,
        f"SELECT {_MOVING} FROM json_each(?) AS c CROSS JOIN replay_items AS i ON i.job = ?"
        " AND i.dead_letter = c.value CROSS JOIN dead_letters AS d ON d.id = i.dead_letter"
        " WHERE i.state || '' = 'sending'",
        (json.dumps(ids), job),
    )
    return {row["id"]: row for row in rows}


def _end(job: _Job, row: Fields, item: Settlement, overtaken: bool) -> _End:
    outcome, code, message = item.outcome, text(item.code), text(item.message)
    letter: DeadLetterState | None
    if row["was"] == DeadLetterState.SUCCEEDED:
        letter = None
    elif job.options.keeps:
        letter = DeadLetterState.SUPERSEDED if overtaken else DeadLetterState(row["was"])
    else:
        letter = DeadLetterState.SUPERSEDED if overtaken else _SETTLED[outcome]
    end = "superseded" if overtaken and not job.options.keeps else outcome
    if overtaken and outcome == "succeeded" and not job.options.keeps:
        # It arrived, and so did a newer version: which came last is not known.
        end = outcome = "unknown"
        code, message, letter = "overtaken", _OVERTAKEN, DeadLetterState.UNKNOWN
    elif outcome == "released":
        end = outcome = "superseded"
    attempt = (outcome, code, message, dump_optional(item.request), dump_optional(item.response))
    return _End(row, end, attempt, letter)


def _finish(connection: sqlite3.Connection, job: _Job, ends: Sequence[_End], now: int) -> None:
    if not ends:
        return
    counts = IssueCounts()
    for state in dict.fromkeys(end.letter for end in ends):
        if state is not None:
            move_all(connection, [end.row for end in ends if end.letter is state], state, now, counts)
    connection.execute(
        "UPDATE attempts SET outcome = json_extract(c.value, '$[2]'), code = json_extract(c.value, '$[3]'),"
        " message = json_extract(c.value, '$[4]'), request = json_extract(c.value, '$[5]'),"
        " response = json_extract(c.value, '$[6]'), ended_ms = ? FROM json_each(?) AS c"
        " WHERE attempts.dead_letter = json_extract(c.value, '$[0]')"
        " AND attempts.number = json_extract(c.value, '$[1]') AND attempts.outcome = 'sending'",
        (now, json.dumps([[end.row["id"], end.row["attempts"], *end.attempt] for end in ends])),
    )
    for outcome in dict.fromkeys(end.item for end in ends):
        connection.execute(
            "UPDATE replay_items SET state = ? WHERE job = ?"
            " AND dead_letter IN (SELECT value FROM json_each(?))",
            (outcome, job.id, json.dumps([end.row["id"] for end in ends if end.item == outcome])),
        )
    counts.write(connection)
    for outcome in dict.fromkeys(end.item for end in ends):
        count_items(connection, job.id, outcome, sum(end.item == outcome for end in ends), now)
    arrived = [end.row for end in ends if end.letter is DeadLetterState.SUCCEEDED]
    _supersede_older(connection, arrived, now)
    _deliveries_arrived(connection, [row["id"] for row in arrived], now)


def _deliveries_arrived(connection: sqlite3.Connection, letters: Sequence[str], now: int) -> None:
    """Events whose dead letters arrived are delivered."""
    connection.execute(
        "UPDATE deliveries SET state = 'done', ended_ms = ?, code = '', message = ? WHERE state = 'dead'"
        " AND number IN (SELECT json_extract(letter.origin, '$.delivery') FROM json_each(?) AS one"
        " CROSS JOIN dead_letters AS letter ON letter.id = one.value WHERE letter.direction = 'event')",
        (now, _REPLAYED, json.dumps(letters)),
    )


def _supersede_older(connection: sqlite3.Connection, rows: Sequence[Fields], now: int) -> None:
    """Versions arrived: sending older ones after them would put old data over them."""
    places: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        if row["record_key"]:
            places.setdefault((row["integration"], row["stream"]), {})[row["record_key"]] = row["rank"]
    for (integration, stream), ranks in places.items():
        for keys in chunks(list(ranks)):
            others = connection.execute(
                "SELECT DISTINCT record_key FROM dead_letters WHERE live = 1 AND integration = ?"
                f" AND stream = ? AND record_key IN ({marks(keys)})",
                [integration, stream, *keys],
            ).fetchall()
            for other in others:
                key = other["record_key"]
                supersede(connection, integration, stream, [key], now, below=ranks[key])


def _release(connection: sqlite3.Connection, job: str, rows: Sequence[Fields], now: int) -> None:
    """Nothing was sent: as if the items had not been claimed."""
    if not rows:
        return
    counts = IssueCounts()
    for state in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN):
        move_all(connection, [row for row in rows if row["was"] == state], state, now, counts)
    connection.executemany(
        "DELETE FROM attempts WHERE dead_letter = ? AND number = ? AND outcome = 'sending'",
        [(row["id"], row["attempts"]) for row in rows],
    )
    _count_attempts(connection, rows, -1)
    connection.executemany(
        "UPDATE replay_items SET state = 'pending', worker = NULL WHERE job = ? AND dead_letter = ?",
        [(job, row["id"]) for row in rows],
    )
    counts.write(connection)


# --- the job that they are of ----------------------------------------------------------------------------


def advance(connection: sqlite3.Connection, job: str, now: int) -> None:
    """What follows for the job: a cancelled one gives back what waits, a canary that is over makes it wait."""
    release_cancelled(connection, job, now)
    row = connection.execute(
        "SELECT state, options, failed, unknown, pending FROM replay_jobs WHERE id = ?", (job,)
    ).fetchone()
    if row["state"] != ReplayState.CANARY or not row["pending"]:
        return
    options = options_of(json.loads(row["options"]))
    flying = connection.execute(
        "SELECT 1 FROM replay_items WHERE job = ? AND state = 'sending' LIMIT 1", (job,)
    ).fetchone()
    if flying is not None or sent(connection, job) < options.canary:
        return
    refused = row["failed"] + row["unknown"]
    state = ReplayState.RUNNING if options.auto and not refused else ReplayState.WAITING
    error = ""
    if refused:
        error = f"{refused} of the first {options.canary} did not arrive; the others wait for your word."
    connection.execute("UPDATE replay_jobs SET state = ?, error = ? WHERE id = ?", (state, error, job))


def release_cancelled(connection: sqlite3.Connection, job: str, now: int) -> None:
    """Give back the waiting items of a job that is being cancelled."""
    released = connection.execute(
        "UPDATE replay_items SET state = 'released' WHERE job = ?1 AND state = 'pending'"
        " AND EXISTS (SELECT 1 FROM replay_jobs WHERE id = ?1 AND state = 'cancelling')",
        (job,),
    ).rowcount
    count_items(connection, job, "released", released, now)


def recover(
    connection: sqlite3.Connection,
    job: str,
    living: frozenset[str],
    idempotent: bool | Collection[str],
    now: int,
) -> int:
    """Settle items that a dead worker left in sending; returns how many (see ports.Replays.recover)."""
    found = _job(connection, job)
    rows = connection.execute(
        f"SELECT {_MOVING} FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
        " WHERE i.job = ? AND i.state = 'sending'",
        (job,),
    ).fetchall()
    lost = [row for row in rows if row["worker"] not in living]
    again, ends = list[Fields](), list[_End]()
    for row in lost:
        repeats = idempotent if isinstance(idempotent, bool) else row["id"] in idempotent
        overtaken = row["newer_written"] and row["was"] != DeadLetterState.SUCCEEDED
        if repeats and not overtaken:
            again.append(row)
        else:
            settlement = Settlement(row["id"], "unknown", "engine_gone", _LOST)
            ends.append(_end(found, row, settlement, bool(overtaken)))
    _send_again(connection, job, again, now)
    _finish(connection, found, ends, now)
    if lost:
        advance(connection, job, now)
    return len(lost)


def _send_again(connection: sqlite3.Connection, job: str, rows: Sequence[Fields], now: int) -> None:
    """Pending again under the same key; what came of the lost attempt is not known."""
    counts = IssueCounts()
    waiting = [row for row in rows if row["state"] == DeadLetterState.REPLAYING]
    move_all(connection, waiting, DeadLetterState.OPEN, now, counts)
    connection.executemany(
        "UPDATE attempts SET outcome = 'unknown', code = 'engine_gone', message = ?, ended_ms = ?"
        " WHERE dead_letter = ? AND number = ? AND outcome = 'sending'",
        [(_LOST, now, row["id"], row["attempts"]) for row in rows],
    )
    connection.executemany(
        "UPDATE replay_items SET state = 'pending', worker = NULL,"
        " trigger = CASE WHEN trigger = 'forced' THEN trigger ELSE ? END WHERE job = ? AND dead_letter = ?",
        [(Trigger.RESUME, job, row["id"]) for row in rows],
    )
    counts.write(connection)
