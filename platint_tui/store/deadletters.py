# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""The inbox: dead letters with their payloads, and the issues that they form."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from typing import Any

from platint_tui.core.errors import ErrorClass, NotFound, StoreError, SystemicError
from platint_tui.core.ids import digest, new_id
from platint_tui.core.model import (
    NATIVE,
    Attempt,
    DeadLetter,
    DeadQueue,
    Issue,
    NativeLetter,
    Profile,
    Trigger,
)
from platint_tui.core.states import UNRESOLVED_DEAD_LETTER_STATES, DeadLetterState, IssueState
from platint_tui.store import nativeletters, search
from platint_tui.store.codec import chunks, contains, load_optional, marks, text
from platint_tui.store.codec import text as text_of
from platint_tui.store.letters import BODY, HOUR_MS, SUMMARY, insert_child, letter_of, verified
from platint_tui.store.lifecycle import IssueCounts, close_items, move
from platint_tui.store.noun import Noun
from platint_tui.store.ports import DeadLetterFilter, SeenQueue

_ISSUE = (
    "fingerprint, state, platform, profile, integration, stream, error_class, code, field, message, hint,"
    " open, total, first_seen_ms, last_seen_ms, bin, note, ignored_until_ms, ignored_until_total"
)
HOURS = 24
_LATEST = 5_000
_MOVING = "number, id, state, parent, fingerprint, newer_written, direction"


class DeadLetters(Noun):
    """ports.DeadLetters in SQLite."""

    async def issues(self, states: Sequence[IssueState] = (), text: str = "") -> Sequence[Issue]:
        """Issues by fingerprint, most open dead letters first."""
        conditions, values = ["1 = 1"], list[Any](states)
        if states:
            conditions.append(f"state IN ({marks(states)})")
        if text:
            columns = ("message", "code", "field", "platform", "integration", "stream", "fingerprint", "bin")
            conditions.append("(" + " OR ".join(f"{name} LIKE ? ESCAPE '\\'" for name in columns) + ")")
            values += [contains(text)] * len(columns)
        return await self._issues(" AND ".join(conditions), values)

    async def issue(self, fingerprint: str) -> Issue | None:
        """The issue with this fingerprint."""
        found = await self._issues("fingerprint = ?", [fingerprint])
        return found[0] if found else None

    async def keys(self, fingerprint: str, most: int = 100_000) -> int:
        """How many records wait in an issue, each counted once; counted up to `most` of them."""

        def task(connection: sqlite3.Connection) -> int:
            found = connection.execute(
                "SELECT COUNT(*) FROM (SELECT DISTINCT record_key FROM dead_letters WHERE fingerprint = ? AND state"
                f" IN ({marks(UNRESOLVED_DEAD_LETTER_STATES)}) LIMIT ?)",
                (fingerprint, *UNRESOLVED_DEAD_LETTER_STATES, most),
            )
            return int(found.fetchone()[0])

        return await self._database.read(task, scan=True)

    async def _issues(self, condition: str, values: Sequence[Any]) -> list[Issue]:
        hour = self._clock.now_ms() // HOUR_MS * HOUR_MS

        def task(connection: sqlite3.Connection) -> list[Issue]:
            rows = connection.execute(
                f"SELECT {_ISSUE} FROM issues WHERE {condition}"
                " ORDER BY open DESC, last_seen_ms DESC, fingerprint",
                values,
            ).fetchall()
            hours = _hours(connection, hour)
            return [_issue(row, hours.get(row["fingerprint"], ())) for row in rows]

        return await self._database.read(task)

    async def set_issue_state(
        self,
        fingerprint: str,
        state: IssueState,
        *,
        until_ms: int | None = None,
        until_total: int | None = None,
    ) -> None:
        """Acknowledge, resolve, ignore (until then, or up to that many failures) or reopen. Raises NotFound."""
        ends = (until_ms, until_total) if state is IssueState.IGNORED else (None, None)
        await self._change_issue(
            "state = ?, ignored_until_ms = ?, ignored_until_total = ?", (state, *ends), fingerprint
        )

    async def note_issue(self, fingerprint: str, note: str) -> None:
        """What a person has to say about it. Raises NotFound."""
        await self._change_issue("note = ?", (text_of(note),), fingerprint)

    async def _change_issue(self, change: str, values: tuple[Any, ...], fingerprint: str) -> None:
        def task(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                f"UPDATE issues SET {change} WHERE fingerprint = ?", (*values, fingerprint)
            )
            if not changed.rowcount:
                raise NotFound(f"There is no issue '{fingerprint}'.")

        await self._database.write(task)

    async def numbers(self, where: DeadLetterFilter, *, newest_first: bool = True) -> Sequence[int]:
        """The `number`s of all that match, in order, as array('q')."""

        def task(connection: sqlite3.Connection) -> array[int]:
            found = array("q", search.matching(connection, where))
            if newest_first:
                found.reverse()
            return found

        return await self._database.read(task, scan=True)

    async def newest(self, where: DeadLetterFilter, limit: int) -> Sequence[int]:
        """The first numbers of `numbers`, at most `limit`, of those that are among the latest to have come.

        Quick whatever there is: the rest of a million is not looked at. Fewer than `limit` do not mean that there
        are no others.
        """
        condition, values = search.condition(where, indexed=False)

        def task(connection: sqlite3.Connection) -> array[int]:
            found = connection.execute(
                "SELECT number FROM dead_letters WHERE number > (SELECT MAX(number) FROM dead_letters) - ?"
                f" AND {condition} ORDER BY number DESC LIMIT ?",
                (_LATEST, *values, limit),
            )
            return array("q", (row[0] for row in found))

        return await self._database.read(task)

    async def count(self, where: DeadLetterFilter) -> int:
        """How many match."""

        def task(connection: sqlite3.Connection) -> int:
            if where.text:
                return len(search.matching(connection, where))
            condition, values = search.led_condition(connection, where)
            found = connection.execute(f"SELECT COUNT(*) FROM dead_letters WHERE {condition}", values)
            return int(found.fetchone()[0])

        return await self._database.read(task, scan=True)

    async def rows(self, numbers: Sequence[int]) -> Sequence[DeadLetter]:
        """The dead letters with these numbers, in that order.

        `payload`, `request` and `response` are empty. Numbers that are gone are left out.
        """

        def task(connection: sqlite3.Connection) -> list[DeadLetter]:
            found: dict[int, DeadLetter] = {}
            for some in chunks(list(numbers)):
                for row in connection.execute(
                    f"SELECT {SUMMARY} FROM dead_letters AS d WHERE d.number IN ({marks(some)})", some
                ):
                    found[row["number"]] = letter_of(row)
            return [found[number] for number in numbers if number in found]

        return await self._database.read(task)

    async def get(self, id_or_number: str) -> DeadLetter | None:
        """Whole, with payload, request and response. Raises StoreError when the disk changed it."""

        def task(connection: sqlite3.Connection) -> DeadLetter | None:
            row = _find(connection, id_or_number)
            return None if row is None else verified(row)

        return await self._database.read(task)

    async def attempts(self, dead_letter: str) -> Sequence[Attempt]:
        """Its replays, oldest first. How it failed at first is the dead letter itself."""

        def task(connection: sqlite3.Connection) -> list[Attempt]:
            rows = connection.execute(
                "SELECT * FROM attempts WHERE dead_letter = ? ORDER BY number", (dead_letter,)
            )
            return [_attempt(row) for row in rows]

        return await self._database.read(task)

    async def edit(self, dead_letter: str, payload: bytes, record_key: str, content_hash: str) -> DeadLetter:
        """A child with the new payload and a new idempotency key; the original stays, as `edited`.

        Raises NotFound, or SystemicError when the original is not open.
        """
        now, child = self._clock.now_ms(), new_id("dl")
        # Of the child's own id: the same text edited in twice is still two different sendings.
        key = digest("edit", dead_letter, content_hash, child)

        def task(connection: sqlite3.Connection) -> DeadLetter:
            row = _find(connection, dead_letter)
            if row is None:
                raise NotFound(f"There is no dead letter '{dead_letter}'.")
            counts = IssueCounts()
            move(connection, row, DeadLetterState.EDITED, now, counts)
            close_items(connection, [row["id"]], "released", now)
            insert_child(connection, row, child, key, payload, text(record_key), content_hash, now)
            counts.add(row["fingerprint"], opened=1)
            counts.write(connection)
            made = _find(connection, child)
            assert made is not None
            return verified(made)

        return await self._database.write(task)

    async def undo_edit(self, child: str) -> DeadLetter:
        """Discard an edit that was not replayed; the original is open again and returned.

        Raises NotFound, or SystemicError when the edit was replayed or is no edit.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> DeadLetter:
            row = _find(connection, child)
            if row is None:
                raise NotFound(f"There is no dead letter '{child}'.")
            original = _find(connection, row["parent"]) if row["parent"] else None
            if original is None:
                raise SystemicError(f"Dead letter {row['number']} is not an edit of another.", code="state")
            if row["attempts"]:
                raise SystemicError(
                    f"Dead letter {row['number']} was sent already; its edit cannot be undone.", code="state"
                )
            if original["newer_written"]:
                raise SystemicError(
                    f"A newer version of the record of dead letter {original['number']} was written since; "
                    "the original stays closed.",
                    code="state",
                )
            if not _may_reopen(connection, row):
                raise SystemicError(
                    f"The edit {row['number']} was undone already, or another one took its place.",
                    code="state",
                )
            counts = IssueCounts()
            if row["state"] != DeadLetterState.DISCARDED:
                move(connection, row, DeadLetterState.DISCARDED, now, counts)
                close_items(connection, [row["id"]], "released", now)
            move(connection, original, DeadLetterState.OPEN, now, counts)
            counts.write(connection)
            again = _find(connection, original["id"])
            assert again is not None
            return verified(again)

        return await self._database.write(task)

    async def discard(self, ids: Sequence[str]) -> int:
        """Open and unknown ones become discarded; returns how many. Others are left as they are."""
        return await self._move_all(
            ids, (DeadLetterState.OPEN, DeadLetterState.UNKNOWN), DeadLetterState.DISCARDED
        )

    async def reopen(self, ids: Sequence[str]) -> int:
        """Discarded ones become open; returns how many.

        An edit stays while its original is open, and so does what a later version was written of since.
        """
        return await self._move_all(ids, (DeadLetterState.DISCARDED,), DeadLetterState.OPEN)

    async def native(
        self, profile: Profile, queue: DeadQueue, letters: Sequence[NativeLetter], complete: bool
    ) -> int:
        """Bring the inbox up to what a platform holds in a dead-letter queue; returns how many are new."""
        now = self._clock.now_ms()
        return await self._database.write(
            lambda connection: nativeletters.mirror(connection, profile, queue, letters, complete, now)
        )

    async def dead_queues(self, profile: str | None = None) -> Sequence[SeenQueue]:
        """The platforms' own dead-letter queues as last seen."""
        return await self._database.read(lambda connection: nativeletters.queues_of(connection, profile))

    async def save_dead_queues(self, profile: str, queues: Sequence[DeadQueue]) -> None:
        """What a platform has of them now, in place of what was known."""
        now = self._clock.now_ms()
        await self._database.write(
            lambda connection: nativeletters.save_queues(connection, profile, queues, now)
        )

    async def _move_all(
        self, ids: Sequence[str], old: tuple[DeadLetterState, ...], new: DeadLetterState
    ) -> int:
        """In transactions of some hundred, so that a large selection does not hold up a running sync."""
        now, moved = self._clock.now_ms(), 0
        for some in chunks(list(ids)):

            def task(connection: sqlite3.Connection, some: list[str] = some) -> int:
                # The state is compared here: in the query it would tempt SQLite to walk the index of states.
                found = connection.execute(
                    f"SELECT {_MOVING} FROM dead_letters WHERE id IN ({marks(some)})", some
                )
                rows = [row for row in found if row["state"] in old]
                if new == DeadLetterState.OPEN:
                    rows = [row for row in rows if _may_reopen(connection, row)]
                counts = IssueCounts()
                for row in rows:
                    move(connection, row, new, now, counts)
                close_items(connection, [row["id"] for row in rows], "released", now)
                counts.write(connection)
                return len(rows)

            moved += await self._database.write(task)
        return moved


def _may_reopen(connection: sqlite3.Connection, row: sqlite3.Row) -> bool:
    """Of an original and its edits only one may be open: else the record would be sent twice."""
    if row["newer_written"] or row["direction"] == NATIVE:
        # What a platform kept itself was removed there when it was discarded.
        return False
    if row["parent"] is None:
        return True
    others = connection.execute(
        "SELECT 1 FROM dead_letters WHERE id = ?1 AND state <> 'edited' UNION ALL"
        " SELECT 1 FROM dead_letters WHERE parent = ?1 AND id <> ?2 AND state <> 'discarded' LIMIT 1",
        (row["parent"], row["id"]),
    )
    return others.fetchone() is None


def _find(connection: sqlite3.Connection, id_or_number: str) -> sqlite3.Row | None:
    column, value = ("number", int(id_or_number)) if id_or_number.isdecimal() else ("id", id_or_number)
    if isinstance(value, int) and value >= 2**63:
        return None
    row: sqlite3.Row | None = connection.execute(
        f"SELECT {SUMMARY}, {BODY} FROM dead_letters AS d JOIN dead_letter_bodies AS b"
        f" ON b.number = d.number WHERE d.{column} = ?",
        (value,),
    ).fetchone()
    if row is None:
        kept = connection.execute(f"SELECT number FROM dead_letters WHERE {column} = ?", (value,)).fetchone()
        if kept is not None:
            raise StoreError(
                f"The payload of dead letter {kept['number']} is missing from the database.",
                hint="The file was damaged: restore a backup.",
                code="damaged",
            )
    return row


def _hours(connection: sqlite3.Connection, present: int) -> dict[str, tuple[int, ...]]:
    """Failures per hour of every issue that had some in the last 24 hours."""
    first = present - (HOURS - 1) * HOUR_MS
    found: dict[str, list[int]] = {}
    for row in connection.execute(
        "SELECT fingerprint, hour_ms, failures FROM issue_hours WHERE hour_ms BETWEEN ? AND ?",
        (first, present),
    ):
        hours = found.setdefault(row["fingerprint"], [0] * HOURS)
        hours[(row["hour_ms"] - first) // HOUR_MS] += row["failures"]
    return {name: tuple(hours) for name, hours in found.items()}


def _issue(row: sqlite3.Row, hours: tuple[int, ...]) -> Issue:
    return Issue(
        **{
            **dict(row),
            "state": IssueState(row["state"]),
            "error_class": ErrorClass(row["error_class"]),
            "hours": hours or (0,) * HOURS,
        }
    )


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        dead_letter=row["dead_letter"],
        number=row["number"],
        trigger=Trigger(row["trigger"]),
        job=row["job"],
        idempotency_key=row["idempotency_key"],
        outcome=row["outcome"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        code=row["code"],
        message=row["message"],
        request=load_optional(row["request"]),
        response=load_optional(row["response"]),
        operator=row["operator"],
        target=row["target"],
    )
