"""Runs, their streams and the pages that they commit. An engine's writes are fenced by (run, epoch)."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence
from typing import Any

from platint_tui.core.errors import Fenced, NotFound, SystemicError
from platint_tui.core.ids import new_id
from platint_tui.core.model import (
    Counters,
    Gap,
    Integration,
    JsonObject,
    NewDeadLetter,
    Run,
    SyncState,
)
from platint_tui.core.states import (
    FINAL_RUN_STATES,
    RunState,
    check_run_move,
)
from platint_tui.store import codec, positions
from platint_tui.store.codec import dump, marks, text
from platint_tui.store.letters import insert_new
from platint_tui.store.lifecycle import supersede, waiting_keys
from platint_tui.store.noun import Noun
from platint_tui.store.runrows import end_run, find_run, refuse_second, requeue, runs_of

_DUE = (
    "SELECT id, state, epoch FROM runs AS r WHERE state = 'queued' OR (state = 'rate_limited' AND ("
    " EXISTS (SELECT 1 FROM run_streams AS s WHERE s.run = r.id AND s.state = 'rate_limited'"
    " AND (COALESCE(s.resume_at_ms, 0) <= ?1 OR s.parked_ms > ?1 + 1000))"
    " OR NOT EXISTS (SELECT 1 FROM run_streams AS s WHERE s.run = r.id AND s.state = 'rate_limited')))"
    " ORDER BY number LIMIT 1"
)


class Runs(Noun):
    """ports.Runs in SQLite."""

    async def create(
        self, integration: Integration, streams: Sequence[str], trigger: str, *, command: str | None = None
    ) -> Run:
        """A new queued run of these streams, of all without any; the run of `command` when there is one.

        Raises ConfigError (code `already_running`, naming the run) when the integration has an active one,
        NotFound for a stream that it does not have.
        """
        known = [item.stream for item in integration.streams]
        wanted = list(dict.fromkeys(streams)) or known
        for name in wanted:
            if name not in known:
                raise NotFound(
                    f"Integration '{integration.name}' has no stream '{name}'.",
                    hint=f"It has: {', '.join(known) or 'none'}.",
                )
        now, run = self._clock.now_ms(), new_id("run")

        def task(connection: sqlite3.Connection) -> Run:
            made = runs_of(connection, "command = ?", [command]) if command else []
            if made:
                return made[0]
            refuse_second(connection, integration.name)
            # An epoch never repeats for an integration, so that a target can tell an old run from a new one.
            connection.execute(
                "INSERT INTO runs (id, integration, version, trigger, wanted, state, epoch, created_ms, command)"
                " SELECT ?1, ?2, ?3, ?4, ?5, 'queued', COALESCE(MAX(epoch), 0), ?6, ?7 FROM runs"
                " WHERE integration = ?2",
                (run, integration.name, integration.version, trigger, dump(wanted), now, command),
            )
            connection.executemany(
                "INSERT INTO run_streams (run, place, stream, state) VALUES (?, ?, ?, 'queued')",
                [(run, place, name) for place, name in enumerate(wanted)],
            )
            return find_run(connection, run)

        return await self._database.write(task)

    async def get(self, run: str) -> Run | None:
        """By id or by number as text."""

        def task(connection: sqlite3.Connection) -> Run | None:
            if run.isdecimal() and len(run) < 19:
                found = runs_of(connection, "number = ?", [int(run)])
            else:
                found = runs_of(connection, "id = ?", [run])
            return found[0] if found else None

        return await self._database.read(task)

    async def list(
        self,
        *,
        integration: str | None = None,
        states: Sequence[RunState] = (),
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Run]:
        """Newest first; `before` pages by run number."""
        conditions, values = ["1 = 1"], list[Any]()
        if integration is not None:
            conditions.append("integration = ?")
            values.append(integration)
        if states:
            conditions.append(f"state IN ({marks(states)})")
            values += states
        if before is not None:
            conditions.append("number < ?")
            values.append(before)
        condition = f"{' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"

        def task(connection: sqlite3.Connection) -> builtins.list[Run]:
            return runs_of(connection, condition, [*values, limit])

        return await self._database.read(task)

    async def claim(self, worker: str) -> Run | None:
        """Take the oldest queued run, or a rate_limited one with a stream whose `resume_at_ms` has come:
        state running, epoch + 1. None when there is nothing to do.

        A run that was parked in the future (the clock was set back since) is due: its time means nothing any more.
        """
        now = self._clock.now_ms()

        def look(connection: sqlite3.Connection) -> bool:
            return connection.execute(_DUE, (now,)).fetchone() is not None

        def task(connection: sqlite3.Connection) -> Run | None:
            due = connection.execute(_DUE, (now,)).fetchone()
            if due is None:
                return None
            check_run_move(RunState(due["state"]), RunState.RUNNING)
            taken = connection.execute(
                "UPDATE runs SET state = 'running', epoch = epoch + 1, worker = ?, ended_ms = NULL,"
                " error = '', started_ms = COALESCE(started_ms, ?) WHERE id = ? AND state = ? AND epoch = ?",
                (worker, now, due["id"], due["state"], due["epoch"]),
            )
            # Parked in the future: until when means nothing any more.
            connection.execute(
                "UPDATE run_streams SET resume_at_ms = NULL WHERE run = ? AND state = 'rate_limited'"
                " AND parked_ms > ? + 1000",
                (due["id"], now),
            )
            return find_run(connection, due["id"]) if taken.rowcount == 1 else None

        # Looking first: an idle engine asks often, and a reader needs no lock.
        if not await self._database.read(look):
            return None
        return await self._database.write(task)

    async def request_cancel(self, run: str) -> bool:
        """Ask for cancellation; a run that no worker holds (queued, interrupted, rate_limited) is cancelled
        at once. False when it has ended already. Raises NotFound."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> bool:
            found = find_run(connection, run)
            if found.state in FINAL_RUN_STATES:
                return False
            connection.execute("UPDATE runs SET cancel_requested = 1 WHERE id = ?", (run,))
            if found.state != RunState.RUNNING:
                end_run(connection, found, RunState.CANCELLED, "", now, fence_off=True)
            return True

        return await self._database.write(task)

    async def cancel_requested(self, run: str) -> bool:
        """Whether somebody asked to cancel this run."""

        def task(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT cancel_requested FROM runs WHERE id = ?", (run,)).fetchone()
            return row is not None and bool(row[0])

        return await self._database.read(task)

    async def move_stream(
        self,
        run: str,
        epoch: int,
        stream: str,
        state: RunState,
        *,
        error_class: str = "",
        error_code: str = "",
        error: str = "",
        resume_at_ms: int | None = None,
        total: int | None = None,
        requests: int = 0,
    ) -> None:
        """Change a stream's state (checked against the state machine; sets started/ended).

        The state that it has already only updates the rest; `requests` are added to its count.
        Raises Fenced, NotFound, SystemicError.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            _fence(connection, run, epoch)
            row = connection.execute(
                "SELECT state FROM run_streams WHERE run = ? AND stream = ?", (run, stream)
            ).fetchone()
            if row is None:
                raise NotFound(f"Run '{run}' has no stream '{stream}'.")
            if row["state"] != state or state in FINAL_RUN_STATES:
                check_run_move(RunState(row["state"]), state)
            connection.execute(
                "UPDATE run_streams SET state = ?, error_class = ?, error_code = ?, error = ?, resume_at_ms = ?,"
                " parked_ms = ?, requests = requests + ?,"
                " total = COALESCE(?, total), started_ms = CASE WHEN ? THEN COALESCE(started_ms, ?)"
                " ELSE started_ms END, ended_ms = ? WHERE run = ? AND stream = ?",
                (
                    state,
                    text(error_class),
                    text(error_code),
                    text(error),
                    resume_at_ms,
                    now if state == RunState.RATE_LIMITED else None,
                    requests,
                    total,
                    state == RunState.RUNNING,
                    now,
                    now if state in FINAL_RUN_STATES else None,
                    run,
                    stream,
                ),
            )

        await self._database.write(task)

    async def finish(self, run: str, epoch: int, state: RunState, error: str = "") -> None:
        """Move the run itself (final, rate_limited or interrupted).

        Streams that have not ended follow it when it was cancelled, failed or interrupted. Raises Fenced,
        SystemicError.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            _fence(connection, run, epoch)
            end_run(connection, find_run(connection, run), state, text(error), now)

        await self._database.write(task)

    async def commit_page(
        self,
        run: str,
        epoch: int,
        stream: str,
        *,
        seq: int,
        confirmed: JsonObject,
        counters: Counters,
        dead_letters: Sequence[NewDeadLetter],
        written_keys: Sequence[str],
        gaps: Sequence[Gap] = (),
        outdated: Sequence[NewDeadLetter] = (),
        emptied: bool = False,
    ) -> int:
        """One transaction: fence check, dead letters, mirrored position, counters, gaps.

        `outdated` are dead letters of the page whose record came again later in it: kept, and superseded at once.
        `emptied`: the target was emptied by this page, so every older dead letter of the stream is superseded.

        `seq` must be greater than the stored one. A dead letter whose (integration, stream, record_key,
        content_hash) is already there counts as one more occurrence of it. Open dead letters of this stream
        whose record_key is in `written_keys` become superseded (a later version arrived). Returns the number
        of new dead letter rows. Raises Fenced, SystemicError.
        """
        now, position = self._clock.now_ms(), dump(confirmed)
        keys = [text(key) for key in written_keys]

        def task(connection: sqlite3.Connection) -> int:
            integration = _count_page(connection, run, epoch, stream, counters, now)
            positions.confirm(connection, integration, stream, seq, position, run, now)
            for gap in gaps:
                connection.execute(_SAVE_GAP, (integration, stream, run, *map(text, gap_values(gap)), now))
            new = insert_new(connection, outdated, now) if outdated else 0
            earlier = [text(letter.record_key) for letter in outdated]
            if emptied:
                earlier = waiting_keys(connection, integration, stream)
            if keys or earlier:
                supersede(connection, integration, stream, dict.fromkeys([*earlier, *keys]), now)
            return new + (insert_new(connection, dead_letters, now) if dead_letters else 0)

        return await self._database.write(task)

    async def save_read_position(self, run: str, epoch: int, stream: str, read: JsonObject) -> None:
        """Keep where reading has come to; only shown, never resumed from. Raises Fenced."""
        now, document = self._clock.now_ms(), dump(read)

        def task(connection: sqlite3.Connection) -> None:
            integration = _fence(connection, run, epoch)
            positions.save_read(connection, integration, stream, document, run, now)
            connection.execute(
                "UPDATE run_streams SET heard_ms = ? WHERE run = ? AND stream = ?", (now, run, stream)
            )

        await self._database.write(task, durable=False)

    async def tell(self, run: str, epoch: int, stream: str, code: str, text: str) -> None:
        """What a running stream has to say, "" when that is over. Raises Fenced."""
        values = (codec.text(code), codec.text(text), run, stream)

        def task(connection: sqlite3.Connection) -> None:
            _fence(connection, run, epoch)
            connection.execute(
                "UPDATE run_streams SET error_code = ?, error = ? WHERE run = ? AND stream = ?"
                " AND state = 'running'",
                values,
            )

        await self._database.write(task)

    async def waits_for_records(self, integration: str, stream: str) -> bool:
        """Whether dead letters of the stream wait to learn which records are written."""

        def task(connection: sqlite3.Connection) -> bool:
            found = connection.execute(
                "SELECT 1 FROM dead_letters WHERE live = 1 AND integration = ? AND stream = ? LIMIT 1",
                (integration, stream),
            )
            return found.fetchone() is not None

        return await self._database.read(task)

    async def sync_state(self, integration: str, stream: str) -> SyncState | None:
        """Where this sync stands; None when it begins at the beginning."""

        def task(connection: sqlite3.Connection) -> SyncState | None:
            return positions.get(connection, integration, stream)

        return await self._database.read(task)

    async def sync_states(self) -> Sequence[SyncState]:
        """All syncs that have a position."""
        return await self._database.read(positions.get_all)

    async def reset_position(self, integration: str, stream: str) -> SyncState | None:
        """Forget the position (next run reads from the beginning); returns what was there, for undo."""

        def task(connection: sqlite3.Connection) -> SyncState | None:
            return positions.reset(connection, integration, stream)

        return await self._database.write(task)

    async def restore_position(self, state: SyncState) -> None:
        """Set a position as it was; the one that it replaces is kept in the history.

        Its `seq` goes on above all earlier ones: a page number that comes again would give rows the idempotency
        keys of then, and the target would take them for done.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            positions.restore(connection, state, now)

        await self._database.write(task)

    async def position_history(self, integration: str, stream: str, limit: int = 50) -> Sequence[SyncState]:
        """The position and those that earlier runs left or a reset forgot, newest first."""

        def task(connection: sqlite3.Connection) -> builtins.list[SyncState]:
            return positions.history(connection, integration, stream, limit)

        return await self._database.read(task)

    async def reap(self, alive: Sequence[str]) -> Sequence[Run]:
        """Running runs of workers not in `alive` become interrupted, then queued again; returns them.

        So do runs that their engine left interrupted. One whose cancellation was asked for is cancelled.
        """
        now, living = self._clock.now_ms(), frozenset(alive)

        def orphans(connection: sqlite3.Connection) -> builtins.list[Run]:
            found = runs_of(connection, "state IN ('running', 'interrupted') ORDER BY number", [])
            return [run for run in found if run.state != RunState.RUNNING or run.worker not in living]

        def task(connection: sqlite3.Connection) -> builtins.list[Run]:
            reaped = []
            for run in orphans(connection):
                if run.cancel_requested:
                    end_run(connection, run, RunState.CANCELLED, "", now, fence_off=True)
                else:
                    requeue(connection, run)
                reaped.append(find_run(connection, run.id))
            return reaped

        if not await self._database.read(orphans):
            return []
        return await self._database.write(task)


_SAVE_GAP = (
    "INSERT INTO gaps (integration, stream, run, reason, start, end, noticed_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def gap_values(gap: Gap) -> tuple[str, str, str]:
    """The columns of a gap."""
    return gap.reason, gap.start, gap.end


def _fence(connection: sqlite3.Connection, run: str, epoch: int) -> str:
    """The run's integration. Raises Fenced unless `epoch` is its epoch (which the write lock holds still)."""
    row = connection.execute("SELECT integration, epoch FROM runs WHERE id = ?", (run,)).fetchone()
    if row is None:
        raise NotFound(f"There is no run '{run}'.")
    if row["epoch"] != epoch:
        raise Fenced(
            f"Run '{run}' was taken over by another engine (epoch {row['epoch']}, not {epoch}).",
            hint="Nothing was written; the other engine goes on.",
        )
    return str(row["integration"])


def _count_page(
    connection: sqlite3.Connection, run: str, epoch: int, stream: str, counters: Counters, now: int
) -> str:
    """Add to the stream's progress under the fence; returns the run's integration."""
    row = connection.execute(
        "UPDATE run_streams SET read = read + ?, written = written + ?, dead_lettered = dead_lettered + ?,"
        " superseded = superseded + ?, pages = pages + ?, requests = requests + ?, bytes = bytes + ?,"
        " heard_ms = ?"
        " WHERE run = ? AND stream = ? AND state = 'running'"
        " AND EXISTS (SELECT 1 FROM runs WHERE id = run_streams.run AND epoch = ?)"
        " RETURNING (SELECT integration FROM runs WHERE id = run_streams.run)",
        (
            counters.read,
            counters.written,
            counters.dead_lettered,
            counters.superseded,
            counters.pages,
            counters.requests,
            counters.bytes,
            now,
            run,
            stream,
            epoch,
        ),
    ).fetchone()
    if row is None:
        _fence(connection, run, epoch)
        raise SystemicError(f"Stream '{stream}' of run '{run}' is not running.", code="state")
    return str(row[0])
