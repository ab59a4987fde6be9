# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Replay jobs: each step of each item is a row before it happens."""

from __future__ import annotations

import builtins
import json
import sqlite3
from collections.abc import Collection, Sequence

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.ids import new_id
from platint_tui.core.model import DeadLetter, JsonObject, ReplayJob, Trigger
from platint_tui.core.replays import NAMED, Outcome, ReplayOptions, Settlement, Survey, options_of
from platint_tui.core.states import ReplayState
from platint_tui.store import replayitems, replayplans
from platint_tui.store.codec import chunks, dump, marks, text
from platint_tui.store.letters import BODY, SUMMARY, is_intact, letter_of
from platint_tui.store.lifecycle import end_job
from platint_tui.store.noun import Noun

_JOB = (
    "id, state, trigger, created_ms, ended_ms, total, succeeded, failed, unknown, superseded, pending, error,"
    " options, operator"
)
_AT_ONCE = 2_000
"""Items that are planned in one transaction: a running sync waits for no more than that."""


class Replays(Noun):
    """ports.Replays in SQLite. See `core.states.ReplayState` for the life of a job."""

    async def plan(
        self,
        dead_letters: Sequence[str],
        trigger: Trigger,
        *,
        command: str | None = None,
        options: ReplayOptions = NAMED,
        operator: str = "",
    ) -> ReplayJob:
        """A job with one item per dead letter that it may send, its idempotency key stored with it.

        Those are the open ones, with `options.unknown` the unknown ones and with `options.forced` those that
        arrived. A dead letter that is in another unfinished job is left out, and so is one whose record was
        written in a newer version since. A job without items has ended at once. When `command` has a job, that one
        is returned; if a crash interrupted its planning, after the rest of it is done.
        """
        job = await self._database.write(
            lambda connection: self._begin(connection, trigger, command, options, operator)
        )
        if job.state is not ReplayState.PLANNING:
            return job
        wanted = list(dict.fromkeys(dead_letters))
        for some in chunks(wanted, _AT_ONCE):
            await self._database.write(
                lambda connection, some=some: replayplans.add_items(  # type: ignore[misc]  # the default binds the loop's variable
                    connection, job.id, some, trigger, options
                )
            )

        def ready(connection: sqlite3.Connection) -> ReplayJob:
            replayplans.begin(connection, job.id, options, self._clock.now_ms())
            return _get(connection, job.id)

        return await self._database.write(ready)

    def _begin(
        self,
        connection: sqlite3.Connection,
        trigger: Trigger,
        command: str | None,
        options: ReplayOptions,
        operator: str,
    ) -> ReplayJob:
        made = connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE command = ?", (command,)).fetchone()
        if made is not None:
            return _job(made)
        job = new_id("job")
        connection.execute(
            "INSERT INTO replay_jobs (id, state, trigger, created_ms, command, options, operator)"
            " VALUES (?, 'planning', ?, ?, ?, ?, ?)",
            (job, trigger, self._clock.now_ms(), command, dump(options.document()), text(operator)),
        )
        return _get(connection, job)

    async def get(self, job: str) -> ReplayJob | None:
        """The job with this id."""
        found = await self._jobs("id = ?", job)
        return found[0] if found else None

    async def of_command(self, command: str) -> ReplayJob | None:
        """The job that this command made."""
        found = await self._jobs("command = ?", command)
        return found[0] if found else None

    async def list(self, limit: int = 50) -> Sequence[ReplayJob]:
        """The newest jobs, newest first."""
        return await self._jobs("1 = 1 ORDER BY number DESC LIMIT ?", limit)

    async def unfinished(self) -> Sequence[ReplayJob]:
        """Jobs that have not ended, oldest first."""
        return await self._jobs("ended_ms IS NULL ORDER BY number")

    async def _jobs(self, condition: str, *values: int | str) -> Sequence[ReplayJob]:
        def task(connection: sqlite3.Connection) -> builtins.list[ReplayJob]:
            return [
                _job(row)
                for row in connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE {condition}", values)
            ]

        return await self._database.read(task)

    async def claim(self, job: str, worker: str, count: int) -> Sequence[DeadLetter]:
        """Up to `count` pending items become sending (attempt row written, dead letter replaying).

        They come with payload, each with the idempotency key that was stored when the job was planned. An item whose
        dead letter was changed by the disk fails instead of being sent. Versions of one record are never on
        their way together; which goes first is the job's order. Nothing comes of a job that is not sending.
        """
        now = self._clock.now_ms()
        return await self._database.write(
            lambda connection: replayitems.claim(connection, job, worker, count, now)
        )

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
        """`settle_all` for one item."""
        await self.settle_all(job, [Settlement(dead_letter, outcome, code, message, request, response)])

    async def settle_all(self, job: str, settlements: Sequence[Settlement]) -> None:
        """Store what came of items, all in one transaction, and take the job on with them.

        Moves the dead letters with them and finishes the job with its last item. When one succeeded, waiting older
        versions of the same record are superseded. When a newer version was written meanwhile, one that did not
        arrive is superseded, and one that arrived is unknown: which came last is not known. Raises SystemicError
        when one is not being sent (another process settled it); then nothing is stored.
        """
        now = self._clock.now_ms()
        await self._database.write(lambda connection: replayitems.settle(connection, job, settlements, now))

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

    async def on_their_way(self, job: str) -> Sequence[DeadLetter]:
        """The dead letters that this job is sending, without payload."""

        def task(connection: sqlite3.Connection) -> builtins.list[DeadLetter]:
            rows = connection.execute(
                f"SELECT {SUMMARY} FROM replay_items AS i JOIN dead_letters AS d ON d.id = i.dead_letter"
                " WHERE i.job = ? AND i.state = 'sending'",
                (job,),
            )
            return [letter_of(row) for row in rows]

        return await self._database.read(task)

    async def recover(self, job: str, alive: Sequence[str], idempotent: bool | Collection[str]) -> int:
        """Items left in sending by a dead worker: pending again with the same key when the target is
        idempotent, else unknown; superseded when a newer version was written. Returns how many.

        `idempotent` may be the ids of the dead letters whose target is.
        """
        now, living = self._clock.now_ms(), frozenset(alive)
        return await self._database.write(
            lambda connection: replayitems.recover(connection, job, living, idempotent, now)
        )

    async def cancel(self, job: str, error: str = "") -> None:
        """Pending items are released; items in flight settle. `error` says why when no operator asked.

        Raises NotFound.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            if _get(connection, job).state is ReplayState.PLANNING:
                replayplans.count(connection, job)
            connection.execute(
                "UPDATE replay_jobs SET state = 'cancelling', error = ? WHERE id = ? AND ended_ms IS NULL",
                (text(error), job),
            )
            replayitems.release_cancelled(connection, job, now)

        await self._database.write(task)

    async def pause(self, job: str, error: str = "") -> None:
        """Claim nothing more until it is resumed; what is in flight settles. Raises NotFound, ConfigError."""
        await self._move(job, (ReplayState.CANARY, ReplayState.RUNNING), ReplayState.PAUSED, error)

    async def resume(self, job: str) -> None:
        """Go on where it was paused, with the canary when that was not over. Raises NotFound, ConfigError."""

        def next_state(connection: sqlite3.Connection, found: ReplayJob) -> ReplayState:
            canary = found.options.canary
            unfinished = canary and replayitems.sent(connection, job) < canary
            return ReplayState.CANARY if unfinished else ReplayState.RUNNING

        await self._move(job, (ReplayState.PAUSED,), next_state)

    async def proceed(self, job: str) -> None:
        """The operator's word after a canary: the others go. Raises NotFound, ConfigError."""
        await self._move(job, (ReplayState.WAITING,), ReplayState.RUNNING)

    async def _move(
        self, job: str, old: Collection[ReplayState], new: replayplans.NextState, error: str = ""
    ) -> None:
        def task(connection: sqlite3.Connection) -> None:
            found = _get(connection, job)
            if found.state not in old:
                words = " or ".join(sorted(old))
                raise ConfigError(f"This replay is {found.state}; only one that is {words} can do that.")
            state = new if isinstance(new, ReplayState) else new(connection, found)
            connection.execute(
                "UPDATE replay_jobs SET state = ?, error = ? WHERE id = ?", (state, text(error), job)
            )
            end_job(connection, job, self._clock.now_ms())

        await self._database.write(task)

    async def ids(self, numbers: Sequence[int]) -> Sequence[str]:
        """The ids of the dead letters with these numbers, in that order; those that are gone are left out."""

        def task(connection: sqlite3.Connection) -> builtins.list[str]:
            found: dict[int, str] = {}
            for some in chunks(builtins.list(numbers)):
                found.update(
                    (row["number"], row["id"])
                    for row in connection.execute(
                        f"SELECT number, id FROM dead_letters WHERE number IN ({marks(some)})", some
                    )
                )
            return [found[number] for number in numbers if number in found]

        return await self._database.read(task, scan=True)

    async def whole(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Dead letters with payload, request and response, in that order. Those that are gone, or that the disk
        changed, are left out."""

        def task(connection: sqlite3.Connection) -> builtins.list[DeadLetter]:
            found: dict[str, DeadLetter] = {}
            for some in chunks(builtins.list(ids)):
                for row in connection.execute(
                    f"SELECT {SUMMARY}, {BODY} FROM dead_letters AS d JOIN dead_letter_bodies AS b"
                    f" ON b.number = d.number WHERE d.id IN ({marks(some)})",
                    some,
                ):
                    if is_intact(row):
                        found[row["id"]] = letter_of(row, row["payload"], row["request"], row["response"])
            return [found[identity] for identity in ids if identity in found]

        return await self._database.read(task, scan=True)

    async def ranked(self, ids: Sequence[str]) -> Sequence[tuple[str, bool]]:
        """These dead letters so that of each record the newest version comes first, and whether the target was
        given a newer one since."""
        return await self._database.read(
            lambda connection: replayplans.ranked(connection, builtins.list(ids)), scan=True
        )

    async def last_answers(
        self, ids: Sequence[str]
    ) -> dict[str, tuple[JsonObject | None, JsonObject | None]]:
        """Per dead letter that was replayed: what its last attempt that was answered sent and got."""
        return await self._database.read(
            lambda connection: replayplans.last_answers(connection, builtins.list(ids)), scan=True
        )

    async def survey(self, ids: Sequence[str], options: ReplayOptions) -> Survey:
        """Count what a job over these dead letters would take, and what it would leave out."""
        return await self._database.read(
            lambda connection: replayplans.survey(connection, builtins.list(ids), options), scan=True
        )

    async def outcomes(self, job: str) -> Sequence[Outcome]:
        """What came of the items of a job, by outcome, code and message, most of them first."""
        return await self._database.read(lambda connection: replayplans.outcomes(connection, job), scan=True)


def _get(connection: sqlite3.Connection, job: str) -> ReplayJob:
    row = connection.execute(f"SELECT {_JOB} FROM replay_jobs WHERE id = ?", (job,)).fetchone()
    if row is None:
        raise NotFound(f"There is no replay '{job}'.")
    return _job(row)


def _job(row: sqlite3.Row) -> ReplayJob:
    return ReplayJob(
        **{
            **dict(row),
            "state": ReplayState(row["state"]),
            "trigger": Trigger(row["trigger"]),
            "options": options_of(json.loads(row["options"])),
        }
    )
