"""What asks for somebody's attention: one open row for each subject, counted while it goes on."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import NotFound
from platint_tui.core.events import Alert
from platint_tui.store.codec import text
from platint_tui.store.noun import Noun


class Alerts(Noun):
    """ports.Alerts in SQLite."""

    async def raise_alert(self, severity: str, subject: str, sentence: str) -> None:
        """Somebody is to look at `subject`; an alert of it that nobody has acknowledged counts once more."""
        now = self._clock.now_ms()
        await self._database.write(lambda connection: note(connection, severity, subject, sentence, now))

    async def list(self, *, acknowledged: bool = False, limit: int = 100) -> Sequence[Alert]:
        """Newest first; those that were acknowledged too when `acknowledged`."""

        def task(connection: sqlite3.Connection) -> builtins.list[Alert]:
            rows = connection.execute(
                "SELECT * FROM alerts WHERE ? OR acknowledged_ms IS NULL ORDER BY last_ms DESC, number DESC LIMIT ?",
                (acknowledged, limit),
            )
            return [Alert(**dict(row)) for row in rows]

        return await self._database.read(task)

    async def acknowledge(self, number: int) -> None:
        """Somebody has seen it: what comes after is a new alert. Raises NotFound."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE alerts SET acknowledged_ms = COALESCE(acknowledged_ms, ?) WHERE number = ?",
                (now, number),
            )
            if not changed.rowcount:
                raise NotFound(f"There is no alert {number}.")

        await self._database.write(task)


def note(connection: sqlite3.Connection, severity: str, subject: str, sentence: str, now: int) -> None:
    """`Alerts.raise_alert` within a write transaction."""
    counted = connection.execute(
        "UPDATE alerts SET times = times + 1, last_ms = ?, severity = ?, text = ?"
        " WHERE subject = ? AND acknowledged_ms IS NULL",
        (now, severity, text(sentence), text(subject)),
    )
    if not counted.rowcount:
        connection.execute(
            "INSERT INTO alerts (at_ms, severity, subject, text, last_ms) VALUES (?, ?, ?, ?, ?)",
            (now, severity, text(subject), text(sentence), now),
        )
