# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""What arrived: events whole and once, requests that were refused, and the sources of both."""

from __future__ import annotations

import re
import sqlite3
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from platint_tui.core.events import (
    Event,
    EventState,
    Ingested,
    NewEvent,
    Rejection,
    Source,
    SourceState,
)
from platint_tui.core.webhooks import Step
from platint_tui.store.codec import chunks, contains, dump, load, marks, text
from platint_tui.store.deliveryrows import event_of
from platint_tui.store.eventrows import COLUMNS, NewRow, count, ingest, new_row, verified
from platint_tui.store.noun import Noun
from platint_tui.store.ports import EventFilter

_SUMMARY = COLUMNS.replace(", body", ", number, seen, x'' AS body")

EQUAL_MS = 60_000
"""Refused requests of one source and cause within this time are one row."""
REJECTIONS_KEPT = 200
"""Rows of a source; older ones go."""


class Events(Noun):
    """ports.Events in SQLite."""

    # --- what arrives -----------------------------------------------------------------------------------

    async def ingest(self, batch: Sequence[NewEvent]) -> Sequence[Ingested]:
        """One durable transaction: each event that is not here yet is stored, each that is counts once more.

        An event whose id is here with other bytes is stored too, under its id with the hash of its bytes, and
        raises an alert: nothing is lost where a platform uses an id twice.
        """
        rows, now = [new_row(event) for event in batch], self._clock.now_ms()
        return await self._database.write(lambda connection: ingest(connection, rows, now))

    def ingest_soon(
        self,
        take: Callable[[], Sequence[NewEvent]],
        done: Callable[[Sequence[Ingested] | Exception], None],
    ) -> None:
        """`ingest` of what `take` gives, without a task: `done` is called with the outcomes or the error.

        `take` is called once, on the writer's thread and inside the transaction, so that what arrives until then
        is in it; or never, when the database fails before that. Raises StoreError when nothing can be written.
        """
        rows: list[NewRow] = []
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> list[Ingested]:
            if not rows:
                rows.extend(new_row(event) for event in take())
            return ingest(connection, rows, now)

        self._database.submit(task, done)

    async def known(self, profile: str, event_ids: Collection[str]) -> frozenset[str]:
        """Which of these ids of a source are here."""

        def task(connection: sqlite3.Connection) -> frozenset[str]:
            found: set[str] = set()
            for some in chunks([text(item) for item in event_ids]):
                rows = connection.execute(
                    f"SELECT event_id FROM events WHERE profile = ? AND event_id IN ({marks(some)})",
                    (profile, *some),
                )
                found.update(row["event_id"] for row in rows)
            return frozenset(found)

        return await self._database.read(task)

    # --- looking at it ----------------------------------------------------------------------------------

    async def numbers(
        self, where: EventFilter, *, newest_first: bool = True, limit: int | None = None
    ) -> Sequence[int]:
        """The `number`s of all that match (or the first `limit`), in order, as array('q')."""
        condition, values = _condition(where)

        def task(connection: sqlite3.Connection) -> array[int]:
            found = connection.cursor()
            found.row_factory = None
            if limit is not None:
                order = "DESC" if newest_first else "ASC"
                # The plus keeps it on the order of arrival: the index would gather all of them first.
                found.execute(
                    f"SELECT number FROM events WHERE {condition} ORDER BY number {order} LIMIT ?",
                    (*values, limit),
                )
                return array("q", map(itemgetter(0), found))
            found.execute(f"SELECT number FROM events WHERE {condition}", values)
            return array("q", sorted(map(itemgetter(0), found), reverse=newest_first))

        return await self._database.read(task, scan=True)

    async def rows(self, numbers: Sequence[int]) -> Sequence[Event]:
        """The events with these numbers, in that order, without bodies; numbers that are gone are left out."""

        def task(connection: sqlite3.Connection) -> list[Event]:
            found: dict[int, Event] = {}
            for some in chunks(list(numbers)):
                rows = connection.execute(
                    f"SELECT {_SUMMARY} FROM events WHERE number IN ({marks(some)})", some
                )
                found |= {row["number"]: event_of(row) for row in rows}
            return [found[number] for number in numbers if number in found]

        return await self._database.read(task)

    async def get(self, id_or_number: str) -> Event | None:
        """Whole, with its body. Raises StoreError when the disk changed it."""
        column = "number" if id_or_number.isdecimal() else "id"

        def task(connection: sqlite3.Connection) -> Event | None:
            row = connection.execute(
                f"SELECT * FROM events WHERE {column} = ?", (id_or_number[:64],)
            ).fetchone()
            return None if row is None else verified(row)

        return await self._database.read(task)

    async def counts(self, since_ms: int = 0) -> Mapping[tuple[str, EventState], int]:
        """How many events each source has in each state, of those that came since."""

        def task(connection: sqlite3.Connection) -> dict[tuple[str, EventState], int]:
            rows = connection.execute(
                "SELECT profile, state, COUNT(*) AS n FROM events WHERE received_ms >= ? GROUP BY profile, state",
                (since_ms,),
            )
            return {(row["profile"], EventState(row["state"])): row["n"] for row in rows}

        return await self._database.read(task, scan=True)

    async def sources(self) -> Sequence[Source]:
        """The sources that something came from or that were paused or disabled, by name."""

        def task(connection: sqlite3.Connection) -> list[Source]:
            rows = connection.execute("SELECT * FROM sources ORDER BY profile")
            return [Source(**{**dict(row), "state": SourceState(row["state"])}) for row in rows]

        return await self._database.read(task)

    # --- what was refused -------------------------------------------------------------------------------

    async def reject(self, batch: Sequence[Rejection]) -> None:
        """Keep refused requests (their numbers are given here), not yet safe from a power cut.

        Of one source and cause there is one row a minute, which counts the others; of one source the newest
        REJECTIONS_KEPT rows are kept. `profile` "" is for requests of no source.
        """
        await self._database.write(lambda connection: _reject(connection, batch), durable=False)

    async def rejections(
        self, profile: str | None = None, cause: str = "", *, limit: int = 100, before: int | None = None
    ) -> Sequence[Rejection]:
        """Newest first, without bodies; `before` pages by number."""
        conditions, values = ["1 = 1"], list[Any]()
        for column, sign, value in (("profile", "=", profile), ("cause", "=", cause or None)):
            if value is not None:
                conditions.append(f"{column} {sign} ?")
                values.append(value)
        if before is not None:
            conditions.append("number < ?")
            values.append(before)

        def task(connection: sqlite3.Connection) -> list[Rejection]:
            rows = connection.execute(
                "SELECT number, profile, cause, message, received_ms, last_ms, times, method, target, headers,"
                f" steps, truncated, x'' AS body FROM rejections WHERE {' AND '.join(conditions)}"
                " ORDER BY number DESC LIMIT ?",
                (*values, limit),
            )
            return [_rejection(row) for row in rows]

        return await self._database.read(task)

    async def rejection(self, number: int) -> Rejection | None:
        """Whole, with its body."""

        def task(connection: sqlite3.Connection) -> Rejection | None:
            row = connection.execute("SELECT * FROM rejections WHERE number = ?", (number,)).fetchone()
            return None if row is None else _rejection(row)

        return await self._database.read(task)


def _condition(where: EventFilter) -> tuple[str, list[Any]]:
    conditions, values = ["1 = 1"], list[Any]()
    if where.profile:
        conditions.append("profile = ?")
        values.append(where.profile)
    if where.type:
        # Only `*` means something: a type may have a bracket in it.
        conditions.append("type GLOB ?" if "*" in where.type else "type = ?")
        values.append(re.sub(r"[?[]", r"[\g<0>]", where.type) if "*" in where.type else where.type)
    if where.states:
        conditions.append(f"state IN ({marks(where.states)})")
        values += where.states
    if where.since_ms:
        conditions.append("received_ms >= ?")
        values.append(where.since_ms)
    if where.text:
        columns = ("event_id", "type", "order_key")
        either = [f"{name} LIKE ? ESCAPE '\\'" for name in columns]
        conditions.append(f"({' OR '.join([*either, 'instr(body, ?) > 0'])})")
        values += [contains(where.text)] * len(columns)
        values.append(where.text.encode("utf-8", "surrogatepass"))
    return " AND ".join(conditions), values


# --- storing refusals -----------------------------------------------------------------------------------


def _reject(connection: sqlite3.Connection, batch: Sequence[Rejection]) -> None:
    for item in batch:
        counted = connection.execute(
            "UPDATE rejections SET times = times + ?, last_ms = MAX(last_ms, ?) WHERE number ="
            " (SELECT MAX(number) FROM rejections WHERE profile = ? AND cause = ? AND method = ?)"
            " AND received_ms BETWEEN ? AND ?",
            (
                item.times,
                item.last_ms,
                item.profile,
                item.cause,
                item.method,
                item.received_ms - EQUAL_MS,
                item.received_ms,
            ),
        )
        if not counted.rowcount:
            _insert_rejection(connection, item)
        if item.profile:
            count(connection, item.profile, item.last_ms, rejected=item.times)
    for profile in {item.profile for item in batch}:
        connection.execute(
            "DELETE FROM rejections WHERE profile = ?1 AND number <= (SELECT number FROM rejections"
            " WHERE profile = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (profile, REJECTIONS_KEPT),
        )


def _insert_rejection(connection: sqlite3.Connection, item: Rejection) -> None:
    connection.execute(
        "INSERT INTO rejections (profile, cause, message, received_ms, last_ms, times, method, target, headers,"
        " steps, truncated, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item.profile,
            item.cause,
            text(item.message),
            item.received_ms,
            item.last_ms,
            item.times,
            text(item.method),
            text(item.target),
            dump([list(pair) for pair in item.headers]),
            dump([[step.name, step.ok, step.detail] for step in item.steps]),
            item.truncated,
            item.body,
        ),
    )


def _rejection(row: sqlite3.Row) -> Rejection:
    return Rejection(
        **{
            **dict(row),
            "headers": tuple((name, value) for name, value in load(row["headers"])),
            "steps": tuple(Step(*item) for item in load(row["steps"])),
            "truncated": bool(row["truncated"]),
            "body": bytes(row["body"]),
        }
    )
