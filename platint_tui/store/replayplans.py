# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Which dead letters a replay job takes, counted before and reported after. Functions on an open connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import TypeAlias

from platint_tui.core.model import JsonObject, ReplayJob, Trigger
from platint_tui.core.replays import Order, Outcome, ReplayOptions, Survey
from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.store.codec import chunks, load_optional, marks
from platint_tui.store.lifecycle import count_items, end_job
from platint_tui.store.replayitems import advance

NextState: TypeAlias = ReplayState | Callable[[sqlite3.Connection, ReplayJob], ReplayState]
_EXAMPLES = 5
_BUSY = "EXISTS (SELECT 1 FROM replay_items AS i WHERE i.dead_letter = d.id AND i.state IN ('pending', 'sending'))"
_PLACE = (
    "CASE WHEN d.parent IS NULL THEN d.number ELSE (WITH RECURSIVE up (parent, number) AS ("
    " SELECT o.parent, o.number FROM dead_letters AS o WHERE o.id = d.parent UNION ALL"
    " SELECT o.parent, o.number FROM dead_letters AS o JOIN up ON o.id = up.parent)"
    " SELECT MIN(number) FROM up) END"
)
"""When a dead letter arrived; an edit has the place of its original."""


def _states(options: ReplayOptions) -> list[DeadLetterState]:
    states = [DeadLetterState.OPEN]
    if options.unknown:
        states.append(DeadLetterState.UNKNOWN)
    if options.forced:
        states.append(DeadLetterState.SUCCEEDED)
    return states


def add_items(
    connection: sqlite3.Connection, job: str, ids: list[str], trigger: Trigger, options: ReplayOptions
) -> None:
    """Items for those of these dead letters that the job may send and does not have yet, while it is planned."""
    if not _is_planned(connection, job):
        return
    states = _states(options)
    for some in chunks(ids):
        connection.execute(
            "INSERT OR IGNORE INTO replay_items (job, dead_letter, number, state, trigger, idempotency_key)"
            f" SELECT ?, d.id, {_PLACE}, 'pending', CASE d.state WHEN 'succeeded' THEN 'forced' ELSE ? END,"
            " d.idempotency_key FROM dead_letters AS d"
            # An expression, so that SQLite does not walk the index of states instead.
            f" WHERE d.id IN ({marks(some)}) AND d.state || '' IN ({marks(states)})"
            f" AND d.newer_written = 0 AND NOT {_BUSY}",
            [job, trigger, *some, *states],
        )


def begin(connection: sqlite3.Connection, job: str, options: ReplayOptions, now: int) -> None:
    """All items are there: count them, and let the job go."""
    if not _is_planned(connection, job):
        return
    count(connection, job)
    first = ReplayState.CANARY if options.canary else ReplayState.RUNNING
    connection.execute("UPDATE replay_jobs SET state = ? WHERE id = ?", (first, job))
    if options.forced and options.order is Order.NEWEST:
        _leave_older(connection, job, now)
    end_job(connection, job, now)


def _is_planned(connection: sqlite3.Connection, job: str) -> bool:
    row = connection.execute("SELECT state FROM replay_jobs WHERE id = ?", (job,)).fetchone()
    return row is not None and row["state"] == ReplayState.PLANNING


def count(connection: sqlite3.Connection, job: str) -> None:
    """Count the items that were planned."""
    total = connection.execute("SELECT COUNT(*) FROM replay_items WHERE job = ?", (job,)).fetchone()[0]
    pending = connection.execute(
        "SELECT COUNT(*) FROM replay_items WHERE job = ? AND state = 'pending'", (job,)
    ).fetchone()[0]
    connection.execute("UPDATE replay_jobs SET total = ?, pending = ? WHERE id = ?", (total, pending, job))


def _leave_older(connection: sqlite3.Connection, job: str, now: int) -> None:
    """Of records that arrived in several versions only the newest one that was chosen is sent again."""
    older = connection.execute(
        "UPDATE replay_items SET state = 'superseded' WHERE job = ?1 AND state = 'pending' AND trigger = 'forced'"
        " AND dead_letter IN (SELECT id FROM (SELECT d.id, ROW_NUMBER() OVER (PARTITION BY d.integration,"
        " d.stream, d.record_key ORDER BY d.rank DESC, d.number DESC) AS place FROM replay_items AS i"
        " JOIN dead_letters AS d ON d.id = i.dead_letter WHERE i.job = ?1 AND d.record_key <> '')"
        " WHERE place > 1)",
        (job,),
    ).rowcount
    count_items(connection, job, "superseded", older, now)
    advance(connection, job, now)


def survey(connection: sqlite3.Connection, ids: list[str], options: ReplayOptions) -> Survey:
    """Count what a job over these dead letters would take, and what it would leave out, by the reason."""
    states = _states(options)
    chosen = "WITH chosen AS (SELECT value AS id FROM json_each(?))"
    source = "FROM chosen AS c CROSS JOIN dead_letters AS d ON d.id = c.id"
    wanted = json.dumps(list(dict.fromkeys(ids)))
    taken = f"d.state || '' IN ({marks(states)}) AND d.newer_written = 0 AND NOT {_BUSY}"
    total, oldest, lost, newest = connection.execute(
        f"{chosen} SELECT COUNT(*), MIN(d.first_seen_ms), COUNT(*) FILTER (WHERE d.state = 'unknown'),"
        f" COALESCE(MAX(d.number), 0) {source} WHERE {taken}",
        [wanted, *states],
    ).fetchone()
    equal = [
        connection.execute(
            f"{chosen} SELECT COALESCE(SUM(n - 1), 0) FROM (SELECT COUNT(*) AS n {source} WHERE {taken}"
            f" AND {column} <> '' GROUP BY d.integration, d.stream, {column})",
            [wanted, *states],
        ).fetchone()[0]
        for column in ("d.record_key", "d.content_hash")
    ]
    places = connection.execute(
        f"{chosen} SELECT CASE d.direction WHEN 'native' THEN '' ELSE d.integration END,"
        " CASE d.direction WHEN 'native' THEN d.profile ELSE d.stream END, d.integration_version, COUNT(*)"
        f" {source} WHERE {taken} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        [wanted, *states],
    ).fetchall()
    first = connection.execute(
        f"{chosen} SELECT d.id {source} WHERE {taken} ORDER BY d.number LIMIT {_EXAMPLES}", [wanted, *states]
    ).fetchall()
    return Survey(
        total=total,
        oldest_ms=oldest,
        same_record=equal[0],
        same_content=equal[1],
        left_out=_left_out(connection, chosen, source, wanted, states),
        by_place={(row[0], row[1], row[2]): row[3] for row in places},
        first=tuple(row[0] for row in first),
        lost=lost,
        newest=newest,
    )


def _left_out(
    connection: sqlite3.Connection, chosen: str, source: str, wanted: str, states: list[DeadLetterState]
) -> dict[str, int]:
    rows = connection.execute(
        f"{chosen} SELECT CASE WHEN {_BUSY} THEN 'busy' WHEN d.newer_written = 1 THEN 'outdated'"
        " WHEN d.state = 'unknown' THEN 'unknown' WHEN d.state = 'succeeded' THEN 'delivered'"
        f" ELSE 'closed' END AS why, COUNT(*) {source} WHERE NOT (d.state || '' IN ({marks(states)})"
        f" AND d.newer_written = 0 AND NOT {_BUSY}) GROUP BY 1",
        [wanted, *states],
    )
    return {row[0]: row[1] for row in rows}


def ranked(connection: sqlite3.Connection, ids: list[str]) -> list[tuple[str, bool]]:
    """These dead letters so that of each record the newest version comes first, and whether the target was given a
    newer one since."""
    rows = connection.execute(
        "SELECT d.id, d.newer_written FROM json_each(?) AS c CROSS JOIN dead_letters AS d ON d.id = c.value"
        " ORDER BY d.rank DESC, d.number DESC",
        (json.dumps(ids),),
    )
    return [(row[0], bool(row[1])) for row in rows]


def last_answers(
    connection: sqlite3.Connection, ids: list[str]
) -> dict[str, tuple[JsonObject | None, JsonObject | None]]:
    """Per dead letter that was replayed: request and answer of its last attempt that was answered."""
    found: dict[str, tuple[JsonObject | None, JsonObject | None]] = {}
    for some in chunks(ids):
        for row in connection.execute(
            "SELECT dead_letter, request, response FROM attempts WHERE response IS NOT NULL"
            f" AND dead_letter IN ({marks(some)}) ORDER BY number",
            some,
        ):
            found[row["dead_letter"]] = (load_optional(row["request"]), load_optional(row["response"]))
    return found


def outcomes(connection: sqlite3.Connection, job: str) -> list[Outcome]:
    """What came of the items of a job that have ended, by outcome, code and message."""
    rows = connection.execute(
        "SELECT i.state AS outcome, COALESCE(a.code, '') AS code, COALESCE(a.message, '') AS message,"
        " COUNT(*) AS items, MAX(d.number) AS newest, group_concat(d.number) AS numbers"
        " FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
        " LEFT JOIN attempts AS a ON a.dead_letter = i.dead_letter AND a.number ="
        " (SELECT MAX(number) FROM attempts AS o WHERE o.dead_letter = i.dead_letter AND o.job = i.job)"
        " WHERE i.job = ? AND i.state NOT IN ('pending', 'sending') GROUP BY 1, 2, 3 ORDER BY items DESC, newest",
        (job,),
    )
    return [
        Outcome(
            row["outcome"],
            row["code"],
            row["message"],
            row["items"],
            tuple(sorted(map(int, row["numbers"].split(",")))[:_EXAMPLES]),
        )
        for row in rows
    ]
