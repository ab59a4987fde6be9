# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Gaps: what was not read or did not arrive, what is known to be missing in them, and how they are filled."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.gaps import (
    OPEN_GAP_STATES,
    GapKind,
    GapState,
    MissedEvent,
    MissedState,
    SentEvent,
    StoredGap,
)
from platint_tui.store.codec import chunks, marks, text
from platint_tui.store.noun import Noun
from platint_tui.store.ports import Compared

_NOT_HERE = (MissedState.MISSING, MissedState.ASKED)
_ENDED = (GapState.FILLED, GapState.ACCEPTED)
_SPANS = (GapKind.RECEIVER_DOWN, GapKind.DISABLED, GapKind.WEBHOOK_PAUSED)
"""Gaps that are spans of time: what is missing in them is theirs."""
_GAP = (
    "g.*, (SELECT COUNT(*) FROM missed_events AS m WHERE m.gap = g.number"
    f" AND m.state IN ({', '.join(repr(item.value) for item in _NOT_HERE)})) AS missing,"
    " (SELECT COUNT(*) FROM missed_events AS m WHERE m.gap = g.number) AS events"
)


class Gaps(Noun):
    """ports.Gaps in SQLite."""

    async def begin(
        self, profile: str, kind: GapKind, reason: str, start_ms: int, end_ms: int | None = None
    ) -> int:
        """A gap of the webhooks of a profile from `start_ms` on; its number. One of this kind that goes on already
        is that gap."""
        now = self._clock.now_ms()
        return await self._database.write(
            lambda connection: begin_gap(connection, profile, kind, reason, start_ms, now, end_ms)
        )

    async def end(self, profile: str, kind: GapKind, end_ms: int) -> None:
        """What went on ended at `end_ms`; whether something is missing in it is still to be found out."""
        await self._database.write(lambda connection: end_gaps(connection, profile, kind, end_ms))

    async def list(
        self,
        *,
        profile: str | None = None,
        integration: str | None = None,
        states: Sequence[GapState] = (),
        kinds: Sequence[GapKind] = (),
        limit: int = 100,
    ) -> Sequence[StoredGap]:
        """Those that match, newest first."""
        conditions, values = ["1 = 1"], builtins.list[object]()
        for column, value in (("profile", profile), ("integration", integration)):
            if value is not None:
                conditions.append(f"g.{column} = ?")
                values.append(value)
        for column, wanted in (("state", states), ("kind", kinds)):
            if wanted:
                conditions.append(f"g.{column} IN ({marks(wanted)})")
                values += wanted

        def task(connection: sqlite3.Connection) -> builtins.list[StoredGap]:
            rows = connection.execute(
                f"SELECT {_GAP} FROM gaps AS g WHERE {' AND '.join(conditions)} ORDER BY g.number DESC LIMIT ?",
                (*values, limit),
            )
            return [_gap(row) for row in rows]

        return await self._database.read(task)

    async def get(self, number: int) -> StoredGap | None:
        """The gap with this number."""
        return await self._database.read(lambda connection: _find(connection, number))

    async def missed(
        self, number: int, states: Sequence[MissedState] = (), limit: int = 1_000
    ) -> Sequence[MissedEvent]:
        """The missed events of a gap, oldest first."""
        wanted = tuple(states) or tuple(MissedState)

        def task(connection: sqlite3.Connection) -> builtins.list[MissedEvent]:
            rows = connection.execute(
                f"SELECT * FROM missed_events WHERE gap = ? AND state IN ({marks(wanted)})"
                " ORDER BY time_ms, event_id LIMIT ?",
                (number, *wanted, limit),
            )
            return [MissedEvent(**{**dict(row), "state": MissedState(row["state"])}) for row in rows]

        return await self._database.read(task)

    async def compare(
        self, profile: str, sent: Sequence[SentEvent], since_ms: int, until_ms: int
    ) -> Compared:
        """One transaction: which of `sent` (all that the platform has of this span) are not here become missed
        events, in the gap in whose span they are or in one of their own; what has come since is marked, and gaps
        in which nothing is missing any more are filled.
        """
        now = self._clock.now_ms()
        unique: dict[str, SentEvent] = {}
        for item in sent:
            unique.setdefault(
                item.event_id, item
            )  # of several attempts the first in the list, which is the latest

        def task(connection: sqlite3.Connection) -> Compared:
            here = _known(connection, "events", profile, unique)
            told = _known(connection, "missed_events", profile, unique)
            new = [item for name, item in unique.items() if name not in here and name not in told]
            for item in new:
                _insert(connection, profile, item, _gap_for(connection, profile, item, now))
            for name in told - here:
                _tell_again(connection, profile, unique[name])
            # Only what was looked at in one piece from its beginning counts as compared.
            connection.execute(
                "UPDATE gaps SET compared_ms = MAX(COALESCE(compared_ms, 0), ?) WHERE profile = ?"
                f" AND state IN ({marks(OPEN_GAP_STATES)}) AND COALESCE(compared_ms, start_ms) >= ?",
                (until_ms, profile, *OPEN_GAP_STATES, since_ms),
            )
            filled = _settle(connection, profile, now)
            return Compared(len(unique), len(here), len(new), tuple(filled))

        return await self._database.write(task)

    async def settle(self, profile: str) -> Sequence[int]:
        """Mark what has come since; the numbers of the gaps that are filled by it."""
        now = self._clock.now_ms()
        return await self._database.write(lambda connection: _settle(connection, profile, now))

    async def asked(self, profile: str, event_id: str) -> None:
        """The platform is asked to send a missed event again."""
        await self._mark(profile, event_id, MissedState.ASKED, "", self._clock.now_ms())

    async def lost(self, profile: str, event_id: str, message: str) -> None:
        """A missed event cannot be had any more; `message` says why."""
        await self._mark(profile, event_id, MissedState.LOST, message, None)

    async def refused(self, profile: str, event_id: str, message: str) -> None:
        """A missed event could not be fetched this time."""
        await self._mark(profile, event_id, MissedState.MISSING, message, None)

    async def _mark(
        self, profile: str, event_id: str, state: MissedState, message: str, asked_ms: int | None
    ) -> None:
        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE missed_events SET state = ?, message = ?, asked_ms = COALESCE(?, asked_ms)"
                " WHERE profile = ? AND event_id = ? AND state <> 'here'",
                (state, text(message), asked_ms, profile, event_id),
            )

        await self._database.write(task)

    async def fill(self, number: int, note: str = "") -> None:
        """Somebody fills this gap now. Raises NotFound, or ConfigError when it has ended."""
        await self._move(number, GapState.FILLING, note)

    async def reopen(self, number: int, note: str) -> None:
        """It could not be filled, or not wholly; `note` says why. Nothing when it has ended meanwhile."""

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"UPDATE gaps SET state = ?, note = ? WHERE number = ? AND state NOT IN ({marks(_ENDED)})",
                (GapState.OPEN, text(note), number, *_ENDED),
            )

        await self._database.write(task)

    async def filled(self, number: int, note: str = "") -> None:
        """What could be had of it is here. Raises NotFound, or ConfigError when it has ended already."""
        await self._move(number, GapState.FILLED, note)

    async def accept(self, number: int, note: str = "") -> None:
        """Leave it as it is, by somebody's decision. Raises NotFound, or ConfigError when it is filled."""
        await self._move(number, GapState.ACCEPTED, note)

    async def _move(self, number: int, state: GapState, note: str) -> None:
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            found = _find(connection, number)
            if found is None:
                raise NotFound(f"There is no gap {number}.")
            if found.state in _ENDED:
                raise ConfigError(f"Gap {number} is {found.state} already.", code="gap_ended")
            connection.execute(
                "UPDATE gaps SET state = ?, note = ?, ended_ms = ? WHERE number = ?",
                (state, text(note), now if state in _ENDED else None, number),
            )

        await self._database.write(task)


def begin_gap(
    connection: sqlite3.Connection,
    profile: str,
    kind: GapKind,
    reason: str,
    start_ms: int,
    now: int,
    end_ms: int | None = None,
) -> int:
    """`Gaps.begin` within a write transaction."""
    known = connection.execute(
        "SELECT number FROM gaps WHERE profile = ? AND kind = ? AND (end_ms IS NULL OR start_ms = ?)"
        f" AND state IN ({marks(OPEN_GAP_STATES)})",
        (profile, kind, start_ms, *OPEN_GAP_STATES),
    ).fetchone()
    if known is not None and kind is not GapKind.MISSED:
        if end_ms is not None:
            connection.execute("UPDATE gaps SET end_ms = ? WHERE number = ?", (end_ms, known["number"]))
        return int(known["number"])
    made = connection.execute(
        "INSERT INTO gaps (integration, stream, run, reason, start, end, noticed_ms, kind, profile, start_ms,"
        " end_ms) VALUES ('', '', '', ?, '', '', ?, ?, ?, ?, ?) RETURNING number",
        (text(reason), now, kind, profile, start_ms, end_ms),
    ).fetchone()
    return int(made["number"])


def end_gaps(connection: sqlite3.Connection, profile: str, kind: GapKind, end_ms: int) -> None:
    """`Gaps.end` within a write transaction."""
    connection.execute(
        "UPDATE gaps SET end_ms = MAX(start_ms, ?) WHERE profile = ? AND kind = ? AND end_ms IS NULL",
        (end_ms, profile, kind),
    )


def _known(
    connection: sqlite3.Connection, table: str, profile: str, wanted: Sequence[str] | dict[str, SentEvent]
) -> set[str]:
    found: set[str] = set()
    for some in chunks(list(wanted)):
        rows = connection.execute(
            f"SELECT event_id FROM {table} WHERE profile = ? AND event_id IN ({marks(some)})",
            (profile, *some),
        )
        found.update(row["event_id"] for row in rows)
    return found


def _gap_for(connection: sqlite3.Connection, profile: str, item: SentEvent, now: int) -> int:
    """The gap that a missed event belongs to: the latest span of time that it is in, else the open one of what
    a comparison found."""
    moment = now if item.time_ms is None else item.time_ms
    spans = connection.execute(
        f"SELECT number FROM gaps WHERE profile = ? AND kind IN ({marks(_SPANS)}) AND state <> 'filled'"
        " AND start_ms <= ? AND (end_ms IS NULL OR end_ms >= ?) ORDER BY number DESC LIMIT 1",
        (profile, *_SPANS, moment, moment),
    ).fetchone()
    if spans is not None:
        return int(spans["number"])
    known = connection.execute(
        "UPDATE gaps SET start_ms = MIN(start_ms, ?1), end_ms = MAX(end_ms, ?1) WHERE profile = ?2"
        " AND kind = 'missed' AND state IN ('open', 'filling') RETURNING number",
        (moment, profile),
    ).fetchone()
    if known is not None:
        return int(known["number"])
    reason = "The platform has events that are not here."
    return begin_gap(connection, profile, GapKind.MISSED, reason, moment, now, moment)


def _insert(connection: sqlite3.Connection, profile: str, item: SentEvent, gap: int) -> None:
    connection.execute(
        "INSERT INTO missed_events (profile, event_id, gap, type, time_ms, delivery_id, subscription, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            profile,
            item.event_id,
            gap,
            text(item.type),
            item.time_ms,
            text(item.delivery_id),
            text(item.subscription),
            MissedState.MISSING,
        ),
    )


def _tell_again(connection: sqlite3.Connection, profile: str, item: SentEvent) -> None:
    """What the platform calls its latest attempt, for an event that is known to be missing. What was asked for
    and failed again is missing again."""
    connection.execute(
        "UPDATE missed_events SET state = CASE WHEN state = 'asked' AND ?1 AND delivery_id <> ?2 THEN 'missing'"
        " ELSE state END, delivery_id = ?2, subscription = ?3 WHERE profile = ?4 AND event_id = ?5"
        " AND state IN ('missing', 'asked')",
        (item.failed is True, text(item.delivery_id), text(item.subscription), profile, item.event_id),
    )


def _settle(connection: sqlite3.Connection, profile: str, now: int) -> list[int]:
    connection.execute(
        "UPDATE missed_events SET state = 'here', message = '' WHERE profile = ? AND state <> 'here' AND EXISTS"
        " (SELECT 1 FROM events AS e WHERE e.profile = missed_events.profile"
        " AND e.event_id = missed_events.event_id)",
        (profile,),
    )
    rows = connection.execute(
        "UPDATE gaps SET state = 'filled', ended_ms = ?, note = '' WHERE profile = ? AND kind <> 'reading'"
        f" AND state IN ({marks(OPEN_GAP_STATES)}) AND end_ms IS NOT NULL"
        " AND (kind = 'missed' OR compared_ms >= end_ms) AND NOT EXISTS (SELECT 1 FROM missed_events AS m"
        " WHERE m.gap = gaps.number AND m.state <> 'here') RETURNING number",
        (now, profile, *OPEN_GAP_STATES),
    )
    return sorted(row["number"] for row in rows.fetchall())


def _find(connection: sqlite3.Connection, number: int) -> StoredGap | None:
    row = connection.execute(f"SELECT {_GAP} FROM gaps AS g WHERE g.number = ?", (number,)).fetchone()
    return None if row is None else _gap(row)


def _gap(row: sqlite3.Row) -> StoredGap:
    values = dict(row)
    return StoredGap(**{**values, "kind": GapKind(values["kind"]), "state": GapState(values["state"])})
