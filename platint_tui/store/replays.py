# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Replay jobs: each step of each item is a row before it happens."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import NotFound, SystemicError
from platint_tui.core.ids import new_id
from platint_tui.core.model import DeadLetter, JsonObject, ReplayJob, Trigger
from platint_tui.core.states import DeadLetterState
from platint_tui.store.codec import chunks, dump_optional, marks, text
from platint_tui.store.letters import BODY, SUMMARY, is_intact, letter_of
from platint_tui.store.lifecycle import IssueCounts, count_items, end_job, move, supersede
from platint_tui.store.noun import Noun

_JOB = (
    "id, state, trigger, created_ms, ended_ms, total, succeeded, failed, unknown, superseded, pending, error"
)
_SETTLED = {
    "succeeded": DeadLetterState.SUCCEEDED,
    "failed": DeadLetterState.OPEN,
    "unknown": DeadLetterState.UNKNOWN,
    "superseded": DeadLetterState.SUPERSEDED,
}


class Replays(Noun):
    """ports.Replays in SQLite. A job is running, cancelling, then done or cancelled (`ended_ms` is set)."""

    async def plan(
        self, dead_letters: Sequence[str], trigger: Trigger, *, command: str | None = None
    ) -> ReplayJob:
        """A job with one item per dead letter that is open or unknown, its idempotency key stored with it.

        A dead letter that is in another unfinished job is left out, and so is one whose record was written in a
        newer version since. A job without items has ended at once. When `command` has a job, that one is returned.
        """
        now, job = self._clock.now_ms(), new_id("job")
        wanted = list(dict.fromkeys(dead_letters))

        def task(connection: sqlite3.Connection) -> ReplayJob:
            made = connection.execute(
                f"SELECT {_JOB} FROM replay_jobs WHERE command = ?", (command,)
            ).fetchone()
            if made is not None:
                return _job(made)
            connection.execute(
                "INSERT INTO replay_jobs (id, state, trigger, created_ms, command)"
                " VALUES (?, 'running', ?, ?, ?)",
                (job, trigger, now, command),
            )
            total = 0
            for some in chunks(wanted):
                total += connection.execute(
                    "INSERT INTO replay_items (job, dead_letter, number, state, trigger, idempotency_key)"
                    " SELECT ?, id, number, 'pending', ?, idempotency_key FROM dead_letters"
                    # An expression, so that SQLite does not walk the index of states instead.
                    f" WHERE id IN ({marks(some)}) AND state || '' IN ('open', 'unknown')"
                    " AND newer_written = 0"
                    " AND NOT EXISTS (SELECT 1 FROM replay_items AS i WHERE i.dead_letter = dead_letters.id"
                    " AND i.state IN ('pending', 'sending'))",
                    [job, trigger, *some],
                ).rowcount
            connection.execute(
                "UPDATE replay_jobs SET total = ?, pending = ? WHERE id = ?", (total, total, job)
            )
            end_job(connection, job, now)
            return _get(connection, job)

        return await self._database.write(task)

    async def get(self, job: str) -> ReplayJob | None:
        """The job with this id."""

        def task(connection: sqlite3.Connection) -> ReplayJob | None:
            row = connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE id = ?", (job,)).fetchone()
            return None if row is None else _job(row)

        return await self._database.read(task)

    async def of_command(self, command: str) -> ReplayJob | None:
        """The job that this command made."""

        def task(connection: sqlite3.Connection) -> ReplayJob | None:
            row = connection.execute(
                f"SELECT {_JOB} FROM replay_jobs WHERE command = ?", (command,)
            ).fetchone()
            return None if row is None else _job(row)

        return await self._database.read(task)

    async def list(self, limit: int = 50) -> Sequence[ReplayJob]:
        """The newest jobs, newest first."""
        return await self._jobs("1 = 1 ORDER BY number DESC LIMIT ?", limit)

    async def unfinished(self) -> Sequence[ReplayJob]:
        """Jobs that have not ended, oldest first."""
        return await self._jobs("ended_ms IS NULL ORDER BY number")

    async def _jobs(self, condition: str, *values: int) -> Sequence[ReplayJob]:
        def task(connection: sqlite3.Connection) -> builtins.list[ReplayJob]:
            return [
                _job(row)
                for row in connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE {condition}", values)
            ]

        return await self._database.read(task)

    async def claim(self, job: str, worker: str, count: int) -> Sequence[DeadLetter]:
        """Up to `count` pending items become sending (attempt row written, dead letter replaying).

        They come whole, each with the idempotency key that was stored when the job was planned. An item whose
        dead letter was changed by the disk fails instead of being sent. Versions of one record are never on
        their way together, and the newest comes first, which supersedes the others once it has arrived.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> builtins.list[DeadLetter]:
            rows = connection.execute(
                f"SELECT {SUMMARY}, {BODY}, i.trigger AS item_trigger, i.idempotency_key AS item_key"
                " FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
                " LEFT JOIN dead_letter_bodies AS b ON b.number = d.number"
                f" WHERE i.job = ? AND i.state = 'pending' AND {_ITS_TURN} ORDER BY i.number LIMIT ?",
                (job, count),
            ).fetchall()
            counts, claimed = IssueCounts(), list[DeadLetter]()
            for row in rows:
                letter = _claim_item(connection, job, worker, row, now, counts)
                if letter is not None:
                    claimed.append(letter)
            counts.write(connection)
            return claimed

        return await self._database.write(task)

    async def settle(
        self,
        job: str,
        dead_letter: str,
        outcome: str,
        *,
        code: str = "",
        message: str = "",
        request: JsonObject | None = None,
        response: JsonObject | None = None,
    ) -> None:
        """Outcome succeeded, failed, unknown, superseded, or released (not sent; pending again).

        Moves the dead letter with it and finishes the job with its last item. When it succeeded, waiting older
        versions of the same record are superseded. When a newer version was written meanwhile, one that did not
        arrive is superseded, and one that arrived is unknown: which came last is not known. Raises SystemicError
        when the item is not being sent (another process settled it).
        """
        now = self._clock.now_ms()
        if outcome != "released" and outcome not in _SETTLED:
            raise SystemicError(f"A replay cannot end as '{outcome}'.", code="state")
        ending = (outcome, now, text(code), text(message), dump_optional(request), dump_optional(response))

        def task(connection: sqlite3.Connection) -> None:
            row = _sending(connection, job, dead_letter)
            counts = IssueCounts()
            if row["newer_written"]:
                _settle_overtaken(connection, job, row, ending, counts)
            elif outcome == "released":
                _release(connection, job, row, now, counts)
            else:
                move(connection, row, _SETTLED[outcome], now, counts)
                _end_attempt(connection, row, ending)
                _end_item(connection, job, dead_letter, outcome)
                count_items(connection, job, outcome, 1, now)
            counts.write(connection)
            if outcome == "succeeded" and not row["newer_written"]:
                _supersede_older(connection, row, now)

        await self._database.write(task)

    async def newer_written(self, job: str) -> frozenset[str]:
        """Dead letters on their way in this job whose record was written in a newer version since."""

        def task(connection: sqlite3.Connection) -> frozenset[str]:
            rows = connection.execute(
                "SELECT d.id FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
                " WHERE i.job = ? AND i.state = 'sending' AND d.newer_written = 1",
                (job,),
            )
            return frozenset(row["id"] for row in rows)

        return await self._database.read(task)

    async def recover(self, job: str, alive: Sequence[str], idempotent: bool) -> int:
        """Items left in sending by a dead worker: pending again with the same key when the target is
        idempotent, else unknown; superseded when a newer version was written. Returns how many."""
        now, living = self._clock.now_ms(), frozenset(alive)

        def task(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                f"SELECT {SUMMARY}, i.worker AS item_worker FROM replay_items AS i"
                " JOIN dead_letters AS d ON d.id = i.dead_letter WHERE i.job = ? AND i.state = 'sending'",
                (job,),
            ).fetchall()
            counts, ending = IssueCounts(), ("unknown", now, "engine_gone", _LOST, None, None)
            lost = [row for row in rows if row["item_worker"] not in living]
            for row in lost:
                if row["newer_written"]:
                    _settle_overtaken(connection, job, row, ending, counts)
                    continue
                _end_attempt(connection, row, ending)
                if idempotent:
                    move(connection, row, DeadLetterState.OPEN, now, counts)
                    connection.execute(
                        "UPDATE replay_items SET state = 'pending', worker = NULL, trigger = ?"
                        " WHERE job = ? AND dead_letter = ?",
                        (Trigger.RESUME, job, row["id"]),
                    )
                else:
                    move(connection, row, DeadLetterState.UNKNOWN, now, counts)
                    _end_item(connection, job, row["id"], "unknown")
                    count_items(connection, job, "unknown", 1, now)
            counts.write(connection)
            if lost:
                _release_pending_of_cancelled(connection, job, now)
            return len(lost)

        return await self._database.write(task)

    async def cancel(self, job: str, error: str = "") -> None:
        """Pending items are released; items in flight settle. `error` says why when no operator asked.

        Raises NotFound.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            _get(connection, job)
            connection.execute(
                "UPDATE replay_jobs SET state = 'cancelling', error = ? WHERE id = ? AND ended_ms IS NULL",
                (text(error), job),
            )
            _release_pending_of_cancelled(connection, job, now)

        await self._database.write(task)


_LOST = "The engine ended before the answer arrived."
_OVERTAKEN = (
    "A newer version of this record was written while this one was on its way, so the target may hold either. "
    "Compare the record in the target; resetting the stream's position writes the newer one again."
)
_ITS_TURN = (
    "(d.record_key = '' OR NOT EXISTS (SELECT 1 FROM dead_letters AS o WHERE o.live = 1"
    " AND o.integration = d.integration AND o.stream = d.stream AND o.record_key = d.record_key"
    " AND o.number <> d.number AND (o.state || '' = 'replaying' OR ((o.rank, o.number) > (d.rank, d.number)"
    " AND EXISTS (SELECT 1 FROM replay_items AS w WHERE w.job = i.job AND w.dead_letter = o.id"
    " AND w.state = 'pending')))))"
)
"""No other version of the record is on its way, and no newer one waits in the same job."""


def _claim_item(
    connection: sqlite3.Connection,
    job: str,
    worker: str,
    row: sqlite3.Row,
    now: int,
    counts: IssueCounts,
) -> DeadLetter | None:
    if row["payload"] is None or not is_intact(row) or row["item_key"] != row["idempotency_key"]:
        _end_item(connection, job, row["id"], "failed", "pending")
        count_items(connection, job, "failed", 1, now)
        return None
    taken = connection.execute(
        "UPDATE replay_items SET state = 'sending', worker = ?, was = ?"
        " WHERE job = ? AND dead_letter = ? AND state = 'pending'",
        (worker, row["state"], job, row["id"]),
    )
    if taken.rowcount != 1:
        return None
    move(connection, row, DeadLetterState.REPLAYING, now, counts)
    number = connection.execute(
        "UPDATE dead_letters SET attempts = attempts + 1 WHERE number = ? RETURNING attempts",
        (row["number"],),
    ).fetchone()[0]
    connection.execute(
        "INSERT INTO attempts (dead_letter, number, trigger, job, idempotency_key, outcome, started_ms)"
        " VALUES (?, ?, ?, ?, ?, 'sending', ?)",
        (row["id"], number, row["item_trigger"], job, row["item_key"], now),
    )
    current = connection.execute(
        f"SELECT {SUMMARY} FROM dead_letters AS d WHERE number = ?", (row["number"],)
    ).fetchone()
    return letter_of(current, row["payload"], row["request"], row["response"])


def _sending(connection: sqlite3.Connection, job: str, dead_letter: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        f"SELECT {SUMMARY}, i.was AS item_was FROM replay_items AS i JOIN dead_letters AS d"
        " ON d.id = i.dead_letter WHERE i.job = ? AND i.dead_letter = ? AND i.state = 'sending'",
        (job, dead_letter),
    ).fetchone()
    if row is None:
        raise SystemicError(f"Dead letter '{dead_letter}' is not being sent by replay '{job}'.", code="state")
    return row


def _settle_overtaken(
    connection: sqlite3.Connection,
    job: str,
    row: sqlite3.Row,
    ending: tuple[str, int, str, str, str | None, str | None],
    counts: IssueCounts,
) -> None:
    """A newer version was written while this one was on its way: it is not sent again, whatever came of it."""
    outcome, now, code, message, request, response = ending
    end = "superseded"
    if outcome == "succeeded":
        end = outcome = "unknown"
        code, message = "overtaken", _OVERTAKEN
    elif outcome == "released":
        outcome = "superseded"
    move(connection, row, _SETTLED[end], now, counts)
    _end_attempt(connection, row, (outcome, now, code, message, request, response))
    _end_item(connection, job, row["id"], end)
    count_items(connection, job, end, 1, now)


def _supersede_older(connection: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
    """A version arrived: sending an older one after it would put old data over it."""
    supersede(connection, row["integration"], row["stream"], [row["record_key"]], now, below=row["rank"])


def _release(
    connection: sqlite3.Connection, job: str, row: sqlite3.Row, now: int, counts: IssueCounts
) -> None:
    """Nothing was sent: as if the item had not been claimed."""
    move(connection, row, DeadLetterState(row["item_was"]), now, counts)
    connection.execute(
        "DELETE FROM attempts WHERE dead_letter = ? AND number = ? AND outcome = 'sending'",
        (row["id"], row["attempts"]),
    )
    connection.execute("UPDATE dead_letters SET attempts = attempts - 1 WHERE number = ?", (row["number"],))
    connection.execute(
        "UPDATE replay_items SET state = 'pending', worker = NULL WHERE job = ? AND dead_letter = ?",
        (job, row["id"]),
    )
    _release_pending_of_cancelled(connection, job, now)


def _release_pending_of_cancelled(connection: sqlite3.Connection, job: str, now: int) -> None:
    released = connection.execute(
        "UPDATE replay_items SET state = 'released' WHERE job = ?1 AND state = 'pending'"
        " AND EXISTS (SELECT 1 FROM replay_jobs WHERE id = ?1 AND state = 'cancelling')",
        (job,),
    ).rowcount
    count_items(connection, job, "released", released, now)


def _end_attempt(
    connection: sqlite3.Connection,
    row: sqlite3.Row,
    ending: tuple[str, int, str, str, str | None, str | None],
) -> None:
    connection.execute(
        "UPDATE attempts SET outcome = ?, ended_ms = ?, code = ?, message = ?, request = ?, response = ?"
        " WHERE dead_letter = ? AND number = ? AND outcome = 'sending'",
        (*ending, row["id"], row["attempts"]),
    )


def _end_item(
    connection: sqlite3.Connection, job: str, dead_letter: str, outcome: str, old: str = "sending"
) -> None:
    connection.execute(
        "UPDATE replay_items SET state = ? WHERE job = ? AND dead_letter = ? AND state = ?",
        (outcome, job, dead_letter, old),
    )


def _get(connection: sqlite3.Connection, job: str) -> ReplayJob:
    row = connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise NotFound(f"There is no replay '{job}'.")
    return _job(row)


def _job(row: sqlite3.Row) -> ReplayJob:
    return ReplayJob(**{**dict(row), "trigger": Trigger(row["trigger"])})
