# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Events on their way: which streams want them, what is being sent, and what came of it.

Every step of a delivery is a row before it happens: its key is stored when the event is routed, and that it is
being sent before anything is sent.
"""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from platint_tui.core.events import (
    PRIMARY,
    Delivery,
    DeliveryOutcome,
    DeliveryState,
    Event,
    EventState,
    Hold,
    NewDelivery,
    TargetHealth,
)
from platint_tui.core.ids import digest
from platint_tui.core.model import NewDeadLetter
from platint_tui.store import alerts
from platint_tui.store.codec import chunks, marks, text
from platint_tui.store.deliveryrows import (
    READ,
    WAITING,
    ended,
    find_letter,
    of_row,
)
from platint_tui.store.eventrows import checked
from platint_tui.store.letters import insert_new
from platint_tui.store.noun import Noun
from platint_tui.store.overtaking import OVERTAKEN, happened_ms, later_written, overtake, supersede_older
from platint_tui.store.ports import ClaimedDelivery, DeliveryFilter, RoutedEvent

_PAUSED = "(SELECT profile FROM sources WHERE state = 'paused')"
REMOVED = "The integration was removed before this event was delivered."
LOST = "The integration was removed while this was on its way: whether it arrived is not known."
_LONGEST_MS = 86_400_000 + 60_000
"""No delivery waits longer: a time further ahead says that the clock was set back."""
_DUE = f"(d.next_ms <= ?1 OR d.next_ms > ?1 + {_LONGEST_MS})"


class Deliveries(Noun):
    """ports.Deliveries in SQLite."""

    # --- routing ----------------------------------------------------------------------------------------

    async def unrouted_sources(self) -> Sequence[str]:
        """The sources with new events that are not paused."""
        return await self._database.read(_sources_with_new)

    async def unwanted(self, profile: str, limit: int) -> int:
        """Up to `limit` new events of a source that nobody wants anything of; returns how many they were."""

        def task(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE events SET state = 'unwanted' WHERE number IN (SELECT number FROM events INDEXED BY events_new"
                " WHERE state = 'new' AND profile = ? ORDER BY number LIMIT ?)",
                (profile, limit),
            ).rowcount

        return await self._database.write(task)

    async def unrouted(self, limit: int, skip: Collection[str] = ()) -> Sequence[Event]:
        """Up to `limit` new events of sources that are not paused nor in `skip`, whole; those of one in order."""

        def task(connection: sqlite3.Connection) -> list[Event]:
            found: list[Event] = []
            for profile in _sources_with_new(connection):
                if profile in skip:
                    continue
                rows = connection.execute(
                    "SELECT * FROM events INDEXED BY events_new WHERE state = 'new' AND profile = ?"
                    " ORDER BY number LIMIT ?",
                    (profile, limit - len(found)),
                )
                found += [checked(row) for row in rows]
                if len(found) >= limit:
                    break
            return found

        return await self._database.read(task)

    async def whole(self, ids: Sequence[str]) -> Sequence[Event]:
        """The events with these ids, with their bodies, in the order in which they came."""
        wanted = list(ids)

        def task(connection: sqlite3.Connection) -> builtins.list[Event]:
            found: dict[str, Event] = {}
            for some in chunks(wanted):
                rows = connection.execute(f"SELECT * FROM events WHERE id IN ({marks(some)})", some)
                found.update((row["id"], checked(row)) for row in rows)
            return sorted(found.values(), key=lambda event: event.number)

        return await self._database.read(task, scan=True)

    async def route(self, events: Sequence[RoutedEvent]) -> int:
        """One transaction: the deliveries of these events, dead letters of what cannot be one, and the events'
        states. An event that was routed meanwhile is left as it is. Returns how many deliveries are new."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> int:
            made = 0
            plain = [item for item in events if not item.deliveries and not item.alert]
            for state in {item.state for item in plain}:
                numbers = [item.event.number for item in plain if item.state is state]
                for some in chunks(numbers):
                    connection.execute(
                        f"UPDATE events SET state = ? WHERE state = 'new' AND number IN ({marks(some)})",
                        (state, *some),
                    )
            for item in events:
                if not item.deliveries and not item.alert:
                    continue
                moved = connection.execute(
                    "UPDATE events SET state = ? WHERE number = ? AND state = 'new'",
                    (item.state, item.event.number),
                )
                if moved.rowcount:
                    if item.alert:
                        alerts.note(
                            connection, "critical", f"events of {item.event.profile}", item.alert, now
                        )
                    made += sum(_insert(connection, item.event, one, now) for one in item.deliveries)
            return made

        return await self._database.write(task)

    async def resend(self, event: Event, deliveries: Sequence[NewDelivery], *, again: bool = False) -> int:
        """Deliveries of an event that was routed before: those that are new, and with `again` also those that
        have ended, each with another key, because it is meant to happen once more. Returns how many wait now."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> int:
            made = 0
            for item in deliveries:
                known = _known(connection, event.id, item)
                if known is None:
                    made += _insert(connection, event, item, now, overtakes=again)
                elif again and known["ended_ms"] is not None and item.state is DeliveryState.PENDING:
                    made += _once_more(connection, known, item, now)
            if made:
                connection.execute(
                    "UPDATE events SET state = ? WHERE number = ? AND state IN ('new', 'unwanted')",
                    (EventState.ROUTED, event.number),
                )
            return made

        return await self._database.write(task)

    async def known(self, event: str) -> Mapping[tuple[str, str, str], DeliveryState]:
        """The deliveries of an event: their states by (integration, stream, record key)."""

        def task(connection: sqlite3.Connection) -> dict[tuple[str, str, str], DeliveryState]:
            rows = connection.execute(
                "SELECT integration, stream, record_key, state FROM deliveries WHERE event = ?", (event,)
            )
            return {
                (row["integration"], row["stream"], row["record_key"]): DeliveryState(row["state"])
                for row in rows
            }

        return await self._database.read(task)

    async def overtaken(self, event: Event, deliveries: Sequence[NewDelivery]) -> Sequence[NewDelivery]:
        """Those of these deliveries whose record had a later event that was delivered: an older one must not follow
        it."""

        def task(connection: sqlite3.Connection) -> list[NewDelivery]:
            return [item for item in deliveries if later_written(connection, event, item)]

        return await self._database.read(task)

    async def came_since(
        self, integration: str, stream: str, keys: Sequence[str], since_ms: int
    ) -> Collection[str]:
        """The records, of these, of which an event came at or after `since_ms` that waits or was delivered."""
        wanted = list(keys)

        def task(connection: sqlite3.Connection) -> set[str]:
            found: set[str] = set()
            for some in chunks(wanted):
                rows = connection.execute(
                    "SELECT DISTINCT record_key FROM deliveries WHERE integration = ? AND stream = ?"
                    f" AND record_key IN ({marks(some)}) AND received_ms >= ?"
                    " AND state || '' IN ('pending', 'sending', 'fallback', 'done')",
                    (integration, stream, *some, since_ms),
                )
                found.update(row["record_key"] for row in rows)
            return found

        return await self._database.read(task)

    # --- delivering -------------------------------------------------------------------------------------

    async def waiting(self) -> Sequence[tuple[str, str]]:
        """The (integration, stream) for which something waits or is on its way; not what is paused."""

        def task(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            found: list[tuple[str, str]] = []
            last = ("", "")
            while True:
                # From one pair to the next over the index: there may be a million of one.
                row = connection.execute(
                    f"SELECT integration, stream, profile IN {_PAUSED} AS paused FROM deliveries"
                    f" WHERE {WAITING} AND (integration, stream) > (?, ?) ORDER BY integration, stream LIMIT 1",
                    last,
                ).fetchone()
                if row is None:
                    return found
                last = (row["integration"], row["stream"])
                if not row["paused"]:
                    found.append(last)

        return await self._database.read(task)

    async def next_due(self, integration: str, stream: str) -> int | None:
        """When the next delivery of a route is due, in epoch milliseconds; None when none waits."""

        def task(connection: sqlite3.Connection) -> int | None:
            row = connection.execute(
                f"SELECT MIN(next_ms) AS due FROM deliveries WHERE {WAITING} AND integration = ? AND stream = ?"
                f" AND profile NOT IN {_PAUSED}",
                (integration, stream),
            ).fetchone()
            return None if row["due"] is None else int(row["due"])

        return await self._database.read(task)

    async def claimable(
        self, integration: str, stream: str, place: str = PRIMARY, *, all_of_it: bool = False
    ) -> bool:
        """Whether `claim` would find something."""

        query, now = _claimable(place, all_of_it), self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> bool:
            return connection.execute(query, (now, integration, stream, 1)).fetchone() is not None

        return await self._database.read(task)

    async def claim(
        self,
        integration: str,
        stream: str,
        worker: str,
        count: int,
        place: str = PRIMARY,
        *,
        all_of_it: bool = False,
    ) -> Sequence[ClaimedDelivery]:
        """Up to `count` deliveries that are due become sending, in the order in which their events came.

        Of one record only the oldest is taken, and only when none of it is on its way. What lies in the fallback
        target goes to the primary in its turn. To the fallback goes what is meant for it, and what is of a record
        that lies there; with `all_of_it` everything that does not lie there yet.
        """
        now = self._clock.now_ms()
        query = _claimable(place, all_of_it)
        values = (now, integration, stream, count)

        def task(connection: sqlite3.Connection) -> builtins.list[ClaimedDelivery]:
            rows = connection.execute(query, values).fetchall()
            connection.executemany(
                "UPDATE deliveries SET state = 'sending', place = ?, worker = ?, attempts = attempts + 1"
                " WHERE number = ?",
                [(place, worker, row["number"]) for row in rows],
            )
            return [_claimed(row, place) for row in rows]

        return await self._database.write(task)

    async def sending(self, integration: str, stream: str) -> Sequence[ClaimedDelivery]:
        """What is on its way, whole."""

        def task(connection: sqlite3.Connection) -> list[ClaimedDelivery]:
            rows = connection.execute(
                f"SELECT * FROM deliveries WHERE {WAITING} AND state = 'sending' AND integration = ?"
                " AND stream = ? ORDER BY event_number, number",
                (integration, stream),
            )
            return [ClaimedDelivery(of_row(row), bytes(row["raw"] or b"")) for row in rows]

        return await self._database.read(task)

    async def fetched(self, records: Mapping[int, bytes], worker: str = "") -> None:
        """One transaction: the whole records, by the numbers of deliveries that are on their way and had some fields
        only. With `worker` only what that one sends."""

        def task(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "UPDATE deliveries SET raw = ?1, partial = 0 WHERE number = ?2 AND state = 'sending'"
                " AND ?3 IN ('', worker)",
                [(raw, number, worker) for number, raw in records.items()],
            )

        await self._database.write(task)

    async def settle(self, outcomes: Sequence[DeliveryOutcome], worker: str = "") -> None:
        """One transaction: what became of deliveries that were on their way, with dead letters and alerts.

        What was written supersedes older dead letters of its record. With `worker` only what that one sends: another
        engine may have taken it over since.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            for item in outcomes:
                row = connection.execute(
                    "SELECT * FROM deliveries WHERE number = ?1 AND state = 'sending' AND ?2 IN ('', worker)",
                    (item.number, worker),
                ).fetchone()
                if row is not None:
                    _settle(connection, row, item, now)

        await self._database.write(task)

    async def abandon(self, integration: str, stream: str) -> int:
        """Skip what waits for a stream of an integration that is gone, and what was on its way when its engine died,
        with the reason. Returns how many; 0 when the integration is there again."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> int:
            if connection.execute("SELECT 1 FROM integrations WHERE name = ?", (integration,)).fetchone():
                return 0
            lost = connection.execute(
                f"UPDATE deliveries SET state = 'skipped', ended_ms = ?, code = 'unknown', message = ?, raw = NULL"
                f" WHERE {WAITING} AND state = 'sending' AND integration = ? AND stream = ?",
                (now, LOST, integration, stream),
            ).rowcount
            return lost + cancel_waiting(connection, integration, REMOVED, now)

        return await self._database.write(task)

    # --- held routes and broken targets ------------------------------------------------------------------

    async def hold(self, integration: str, stream: str, code: str, message: str, until_ms: int) -> None:
        """Nothing is delivered for this stream until `until_ms`, and why."""
        now = self._clock.now_ms()
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT INTO delivery_holds (integration, stream, code, message, since_ms, until_ms)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (integration, stream) DO UPDATE SET"
                " code = ?3, message = ?4, until_ms = ?6",
                (integration, stream, text(code), text(message), now, until_ms),
            )
        )

    async def release(self, integration: str, stream: str) -> None:
        """The stream is delivered to again."""

        def look(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT 1 FROM delivery_holds WHERE integration = ? AND stream = ?", (integration, stream)
            ).fetchone()
            return row is not None

        if await self._database.read(look):
            await self._database.write(
                lambda connection: connection.execute(
                    "DELETE FROM delivery_holds WHERE integration = ? AND stream = ?", (integration, stream)
                )
            )

    async def holds(self) -> Sequence[Hold]:
        """The streams that nothing is delivered for at present."""

        def task(connection: sqlite3.Connection) -> list[Hold]:
            rows = connection.execute("SELECT * FROM delivery_holds ORDER BY integration, stream")
            return [Hold(**dict(row)) for row in rows]

        return await self._database.read(task)

    async def save_health(self, health: TargetHealth) -> None:
        """Show the breaker of a target; one that is closed is forgotten."""

        def task(connection: sqlite3.Connection) -> None:
            if health.state == "closed":
                connection.execute("DELETE FROM breakers WHERE profile = ?", (health.profile,))
                return
            connection.execute(
                "INSERT OR REPLACE INTO breakers (profile, state, failures, changed_ms, until_ms, message)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    health.profile,
                    health.state,
                    health.failures,
                    health.changed_ms,
                    health.until_ms,
                    text(health.message),
                ),
            )

        await self._database.write(task)

    async def health(self) -> Sequence[TargetHealth]:
        """The targets whose breaker is not closed."""

        def task(connection: sqlite3.Connection) -> list[TargetHealth]:
            rows = connection.execute("SELECT * FROM breakers ORDER BY profile")
            return [TargetHealth(**dict(row)) for row in rows]

        return await self._database.read(task)

    async def forget_health(self) -> None:
        """Breakers are in the memory of an engine: those of an earlier one are no more."""
        await self._database.write(lambda connection: connection.execute("DELETE FROM breakers"))

    # --- looking ----------------------------------------------------------------------------------------

    async def list(self, where: DeliveryFilter, limit: int = 100) -> Sequence[Delivery]:
        """Those that match, newest first."""
        condition, values = _condition(where)

        def task(connection: sqlite3.Connection) -> builtins.list[Delivery]:
            rows = connection.execute(
                f"SELECT {READ} FROM deliveries AS d WHERE {condition} ORDER BY number DESC LIMIT ?",
                [*values, limit],
            )
            return [of_row(row) for row in rows]

        return await self._database.read(task, scan=True)

    async def states_of(self, events: Collection[int]) -> Mapping[int, Mapping[DeliveryState, int]]:
        """By the number of an event: how many of its deliveries are in each state."""

        def task(connection: sqlite3.Connection) -> dict[int, dict[DeliveryState, int]]:
            found: dict[int, dict[DeliveryState, int]] = {}
            for some in chunks(builtins.list(events)):
                for row in connection.execute(
                    "SELECT event_number, state, COUNT(*) AS number FROM deliveries"
                    f" WHERE event_number IN ({marks(some)}) GROUP BY event_number, state",
                    some,
                ):
                    found.setdefault(row["event_number"], {})[DeliveryState(row["state"])] = row["number"]
            return found

        return await self._database.read(task)

    async def counts_by_route(
        self, since_ms: int = 0
    ) -> Mapping[tuple[str, str], Mapping[DeliveryState, int]]:
        """By (integration, stream): how many deliveries are in each state, as `counts` counts them."""

        def task(connection: sqlite3.Connection) -> dict[tuple[str, str], dict[DeliveryState, int]]:
            found: dict[tuple[str, str], dict[DeliveryState, int]] = {}
            for condition, values in ((WAITING, ()), ("ended_ms >= ?", (since_ms,))):
                for row in connection.execute(
                    "SELECT integration, stream, state, COUNT(*) AS number FROM deliveries"
                    f" WHERE {condition} GROUP BY integration, stream, state",
                    values,
                ):
                    states = found.setdefault((row["integration"], row["stream"]), {})
                    states[DeliveryState(row["state"])] = row["number"]
            return found

        return await self._database.read(task, scan=True)

    async def counts(self, since_ms: int = 0) -> Mapping[tuple[str, DeliveryState], int]:
        """How many deliveries each source has in each state: all that wait, and those that ended since."""

        def task(connection: sqlite3.Connection) -> dict[tuple[str, DeliveryState], int]:
            found: dict[tuple[str, DeliveryState], int] = {}
            for condition, values in ((WAITING, ()), ("ended_ms >= ?", (since_ms,))):
                for row in connection.execute(
                    "SELECT profile, state, COUNT(*) AS number FROM deliveries"
                    f" WHERE {condition} GROUP BY profile, state",
                    values,
                ):
                    found[row["profile"], DeliveryState(row["state"])] = row["number"]
            return found

        return await self._database.read(task, scan=True)


def _claimable(place: str, all_of_it: bool) -> str:
    """The deliveries that may be sent to `place` now. Parameters: now, integration, stream, how many."""
    same = f"e.{WAITING} AND e.integration = d.integration AND e.stream = d.stream AND e.record_key = d.record_key"
    if place == PRIMARY:
        # What lies in the fallback has its turn before anything later of its record.
        wanted, before = "(d.state = 'fallback' OR (d.state = 'pending' AND d.place = 'primary'))", WAITING
    else:
        wanted, before = "d.state = 'pending'", "state IN ('pending', 'sending')"
        if not all_of_it:
            # A record whose earlier version lies there follows it.
            wanted += (
                " AND (d.place = 'fallback' OR EXISTS (SELECT 1 FROM deliveries AS e"
                f" WHERE {same} AND e.state = 'fallback'))"
            )
    return (
        f"SELECT d.* FROM deliveries AS d WHERE d.{WAITING} AND {wanted} AND d.integration = ?2 AND d.stream = ?3"
        f" AND {_DUE} AND d.profile NOT IN {_PAUSED}"
        f" AND NOT EXISTS (SELECT 1 FROM deliveries AS e WHERE {same}"
        f" AND (e.event_number, e.number) < (d.event_number, d.number) AND e.{before})"
        f" AND NOT EXISTS (SELECT 1 FROM deliveries AS e WHERE {same} AND e.state = 'sending')"
        " ORDER BY d.event_number, d.number LIMIT ?4"
    )


def _claimed(row: sqlite3.Row, place: str) -> ClaimedDelivery:
    found = replace(of_row(row), state=DeliveryState.SENDING, place=place, attempts=row["attempts"] + 1)
    return ClaimedDelivery(found, bytes(row["raw"] or b""))


def _condition(where: DeliveryFilter) -> tuple[str, list[Any]]:
    conditions, values = ["1 = 1"], list[Any]()
    for column in ("event", "integration", "stream", "profile"):
        if value := getattr(where, column):
            conditions.append(f"{column} = ?")
            values.append(value)
    if where.states:
        conditions.append(f"state IN ({marks(where.states)})")
        values += where.states
    if where.since_ms:
        conditions.append("created_ms >= ?")
        values.append(where.since_ms)
    return " AND ".join(conditions), values


def _sources_with_new(connection: sqlite3.Connection) -> list[str]:
    """The profiles with events that are to be routed, without looking at every event."""
    found: list[str] = []
    last = ""
    while True:
        row = connection.execute(
            f"SELECT profile, profile IN {_PAUSED} AS paused FROM events INDEXED BY events_new"
            " WHERE state = 'new' AND profile > ?"
            " ORDER BY profile LIMIT 1",
            (last,),
        ).fetchone()
        if row is None:
            return found
        last = row["profile"]
        if not row["paused"]:
            found.append(last)


def _known(connection: sqlite3.Connection, event: str, item: NewDelivery) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM deliveries WHERE event = ? AND integration = ? AND stream = ? AND record_key = ?",
        (event, item.integration, item.stream, text(item.record_key)),
    ).fetchone()
    return row


def _insert(
    connection: sqlite3.Connection, event: Event, item: NewDelivery, now: int, *, overtakes: bool = False
) -> int:
    """A delivery that is not here yet (1), or nothing (0)."""
    key = text(item.record_key)
    state, message = item.state, item.message
    if state is DeliveryState.PENDING and not overtakes and later_written(connection, event, item):
        state, message = DeliveryState.SUPERSEDED, OVERTAKEN
    over = state is not DeliveryState.PENDING
    made = connection.execute(
        "INSERT OR IGNORE INTO deliveries (event, event_number, profile, occurred_ms, received_ms, integration,"
        " version, stream, record_key, state, idempotency_key, created_ms, ended_ms, code, message, op, partial, raw)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.id,
            event.number,
            event.profile,
            happened_ms(event),
            event.received_ms,
            item.integration,
            item.version,
            item.stream,
            key,
            state,
            item.idempotency_key,
            now,
            now if over else None,
            text(item.code),
            text(message),
            item.op,
            item.partial,
            None if over else item.raw,
        ),
    )
    if not made.rowcount:
        return 0
    if item.letter is not None and made.lastrowid is not None:
        _keep_letter(connection, item.letter, event.id, made.lastrowid, now)
    return 1


def _once_more(connection: sqlite3.Connection, row: sqlite3.Row, item: NewDelivery, now: int) -> int:
    connection.execute(
        "UPDATE deliveries SET state = 'pending', place = 'primary', attempts = 0, waited_ms = 0, next_ms = 0,"
        " ended_ms = NULL, fallback_ms = NULL, dead_letter = NULL, code = '', message = '', version = ?, raw = ?,"
        " op = ?, partial = ?, idempotency_key = ?, created_ms = ? WHERE number = ?",
        (
            item.version,
            item.raw,
            item.op,
            item.partial,
            digest("again", row["idempotency_key"]),
            now,
            row["number"],
        ),
    )
    return 1


def _keep_letter(
    connection: sqlite3.Connection, letter: NewDeadLetter, event: str, delivery: int, now: int
) -> None:
    letter = replace(letter, origin={"event": event, "delivery": delivery})
    insert_new(connection, [letter], now)
    connection.execute(
        "UPDATE deliveries SET dead_letter = ? WHERE number = ?", (find_letter(connection, letter), delivery)
    )


def _settle(connection: sqlite3.Connection, row: sqlite3.Row, item: DeliveryOutcome, now: int) -> None:
    state = item.state
    if state is DeliveryState.PENDING and row["fallback_ms"] is not None:
        # It was tried at the first target and goes on lying in the second.
        state = DeliveryState.FALLBACK
    over = ended(state)
    connection.execute(
        "UPDATE deliveries SET state = ?, place = ?, attempts = ?, waited_ms = waited_ms + ?, next_ms = ?,"
        " ended_ms = ?, fallback_ms = ?, code = ?, message = ?, worker = NULL,"
        " raw = CASE WHEN ? THEN NULL ELSE raw END WHERE number = ?",
        (
            state,
            PRIMARY if state is DeliveryState.FALLBACK else item.place,
            row["attempts"] - (0 if item.tried else 1),
            item.waited_ms,
            item.next_ms,
            now if over else None,
            now if state is DeliveryState.FALLBACK and row["fallback_ms"] is None else row["fallback_ms"],
            text(item.code),
            text(item.message),
            over,
            row["number"],
        ),
    )
    if item.letter is not None:
        _keep_letter(connection, item.letter, row["event"], row["number"], now)
    if item.alert:
        alerts.note(connection, "warning", f"{row['integration']}/{row['stream']}", item.alert, now)
    if state is DeliveryState.DONE:
        supersede_older(connection, row, now)
    if state in (DeliveryState.DONE, DeliveryState.FALLBACK):
        overtake(connection, row, now)


def cancel_waiting(connection: sqlite3.Connection, integration: str, why: str, now: int) -> int:
    """The integration is gone: what waits for it is skipped, with the reason. Returns how many."""
    skipped = connection.execute(
        f"UPDATE deliveries SET state = 'skipped', ended_ms = ?, message = ?, raw = NULL WHERE {WAITING}"
        " AND state <> 'sending' AND integration = ?",
        (now, text(why), integration),
    ).rowcount
    connection.execute("DELETE FROM delivery_holds WHERE integration = ?", (integration,))
    return skipped
