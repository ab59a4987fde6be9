"""What is done with the webhooks of each profile, and the gaps that this makes."""

from __future__ import annotations

import sqlite3

from platint_tui.core.events import SourceState
from platint_tui.core.gaps import GapKind, GapState
from platint_tui.store.gaps import begin_gap, end_gaps
from platint_tui.store.noun import Noun

_GAPS = {
    SourceState.PAUSED: (GapKind.PAUSED, "The source was paused: what came was kept, and delivered later."),
    SourceState.DISABLED: (GapKind.DISABLED, "The source was disabled: its requests were refused."),
}


class Sources(Noun):
    """ports.Sources in SQLite. What came from where is counted with the events."""

    async def set_state(self, profile: str, state: SourceState) -> bool:
        """Deliver, keep or refuse the webhooks of a profile from now on; False when it is so already.

        A time in which they are kept or refused is a gap. One in which they were kept is filled when it ends,
        because nothing of it is lost; one in which they were refused stays open.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT state FROM sources WHERE profile = ?", (profile,)).fetchone()
            before = SourceState(row["state"]) if row is not None else SourceState.ACTIVE
            if before is state:
                return False
            connection.execute(
                "INSERT INTO sources (profile, state, changed_ms) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (profile) DO UPDATE SET state = ?2, changed_ms = ?3",
                (profile, state, now),
            )
            if before is SourceState.PAUSED:
                _nothing_lost(connection, profile, now)
            elif before is SourceState.DISABLED:
                end_gaps(connection, profile, GapKind.DISABLED, now)
            if state in _GAPS:
                kind, reason = _GAPS[state]
                begin_gap(connection, profile, kind, reason, now, now)
            return True

        return await self._database.write(task)


def _nothing_lost(connection: sqlite3.Connection, profile: str, now: int) -> None:
    connection.execute(
        "UPDATE gaps SET end_ms = MAX(start_ms, ?1), ended_ms = ?1, state = ?2 WHERE profile = ?3 AND kind = ?4"
        " AND end_ms IS NULL",
        (now, GapState.FILLED, profile, GapKind.PAUSED),
    )
