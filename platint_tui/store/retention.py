# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""What is removed when it is old: never anything that waits for somebody, never on a clock that jumped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from platint_tui.core.states import FINAL_RUN_STATES
from platint_tui.store import metrics
from platint_tui.store.codec import chunks, marks
from platint_tui.store.lifecycle import IssueCounts
from platint_tui.store.noun import Noun
from platint_tui.store.search import remove_words
from platint_tui.store.settings import read_setting, write_setting

BATCH = 500
"""Rows per transaction: a running sync waits for no more than that."""
STEADY_MS = 2 * metrics.DAY_MS
"""A clock that moved further than this since it was last looked at is not believed at once."""
AGREE_MS = metrics.HOUR_MS
"""How much later a second look must agree before it is believed."""
HISTORY_KEPT = 100
CATALOGUES_KEPT = 20
_CLOCK = "retention.clock"
_OLD_EVENTS = (
    "SELECT number FROM (SELECT number, received_ms, state FROM events ORDER BY number LIMIT 5000) AS oldest"
    " WHERE received_ms < ? AND state <> 'new'"
    " AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.event_number = oldest.number)"
)
"""Of the oldest events those that nothing waits for and no delivery tells of: the table is not read whole."""


@dataclass(frozen=True, slots=True)
class Ages:
    """Days that things are kept; the setting `retention` overrides them by these names."""

    runs_days: int = 90
    commands_days: int = 90
    dead_letters_days: int = 30
    events_days: int = 30


class Retention(Noun):
    """Removes old rows in small transactions."""

    async def purge(self) -> int:
        """Apply retention; returns how many rows went (0 while the clock is in doubt)."""
        now = self._clock.now_ms()

        def begin(connection: sqlite3.Connection) -> Ages | None:
            if not _clock_is_steady(connection, now):
                return None
            return _ages(read_setting(connection, "retention"))

        ages = await self._database.write(begin)
        if ages is None:
            return 0
        gone = 0
        for step in _steps(now, ages):
            # A step that removed nothing is done.
            while removed := await self._database.write(step):
                gone += removed
        return gone


def _clock_is_steady(connection: sqlite3.Connection, now: int) -> bool:
    """Whether two looks at the clock agree: a jump would make everything look old.

    The first look after a jump (or a long time switched off) is only noted; a look at least an hour later
    that goes on from there confirms it.
    """
    noted = read_setting(connection, _CLOCK) or {}
    trusted, doubted = noted.get("trusted_ms"), noted.get("doubted_ms")
    if trusted is not None and -AGREE_MS <= now - trusted <= STEADY_MS:
        write_setting(connection, _CLOCK, {"trusted_ms": now})
        return True
    if doubted is not None and AGREE_MS <= now - doubted <= STEADY_MS:
        write_setting(connection, _CLOCK, {"trusted_ms": now})
        return True
    if doubted is None or not 0 <= now - doubted < AGREE_MS:
        write_setting(connection, _CLOCK, {"trusted_ms": trusted, "doubted_ms": now})
    return False


def _ages(setting: Any) -> Ages:
    chosen = setting if isinstance(setting, Mapping) else {}
    known = {item.name for item in fields(Ages)}
    return Ages(
        **{
            name: days
            for name, days in chosen.items()
            if name in known and isinstance(days, int) and days > 0
        }
    )


def _steps(now: int, ages: Ages) -> list[Callable[[sqlite3.Connection], int]]:
    runs = now - ages.runs_days * metrics.DAY_MS
    letters = now - ages.dead_letters_days * metrics.DAY_MS
    commands = now - ages.commands_days * metrics.DAY_MS
    events = now - ages.events_days * metrics.DAY_MS
    return [
        lambda c: metrics.roll_up(c, metrics.MINUTE_MS, metrics.HOUR_MS, now - metrics.MINUTES_KEPT_MS),
        lambda c: metrics.roll_up(c, metrics.HOUR_MS, metrics.DAY_MS, now - metrics.HOURS_KEPT_MS),
        lambda c: _delete(c, "metrics", "start_ms < ?", (now - metrics.DAYS_KEPT_MS,), "rowid"),
        lambda c: _delete(c, "commands", "ended_ms < ?", (commands,)),
        lambda c: _dead_letters(c, letters),
        lambda c: _delete(c, "deliveries", "ended_ms < ?", (events,)),
        lambda c: _delete(c, "events", f"number IN ({_OLD_EVENTS})", (events,)),
        lambda c: _delete(c, "rejections", "last_ms < ?", (events,)),
        lambda c: _delete(c, "alerts", "acknowledged_ms < ?", (runs,)),
        lambda c: _delete(c, "gaps", "ended_ms < ?", (runs,)),
        lambda c: _delete(c, "replay_jobs", "ended_ms < ?", (runs,)),
        # The newest run of an integration stays: the next one's epoch counts on from it.
        lambda c: _delete(
            c,
            "runs",
            f"state IN ({marks(FINAL_RUN_STATES)}) AND ended_ms < ? AND number <"
            " (SELECT MAX(number) FROM runs AS newer WHERE newer.integration = runs.integration)",
            (*sorted(FINAL_RUN_STATES), runs),
        ),
        lambda c: _delete(
            c,
            "position_history",
            "(SELECT COUNT(*) FROM position_history AS newer WHERE newer.integration ="
            " position_history.integration AND newer.stream = position_history.stream"
            " AND newer.number > position_history.number) >= ?",
            (HISTORY_KEPT,),
        ),
        lambda c: _delete(
            c,
            "catalogues",
            "(SELECT COUNT(*) FROM catalogues AS newer WHERE newer.profile = catalogues.profile"
            " AND newer.number > catalogues.number) >= ?",
            (CATALOGUES_KEPT,),
        ),
    ]


def _delete(
    connection: sqlite3.Connection,
    table: str,
    condition: str,
    values: tuple[Any, ...],
    key: str = "number",
) -> int:
    return connection.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {condition} LIMIT ?)",
        (*values, BATCH),
    ).rowcount


def _dead_letters(connection: sqlite3.Connection, before_ms: int) -> int:
    """Remove resolved dead letters; not one that a replay works on, and no original before its edits."""
    rows = connection.execute(
        "SELECT number, id, parent, fingerprint FROM dead_letters AS d"
        " WHERE state IN ('succeeded', 'superseded', 'discarded', 'edited') AND resolved_ms < ?"
        " AND NOT EXISTS (SELECT 1 FROM dead_letters AS edit WHERE edit.parent = d.id)"
        " AND NOT EXISTS (SELECT 1 FROM replay_items AS i JOIN replay_jobs AS j ON j.id = i.job"
        " WHERE i.dead_letter = d.id AND j.ended_ms IS NULL) LIMIT ?",
        (before_ms, BATCH),
    ).fetchall()
    counts = IssueCounts()
    for row in rows:
        counts.add(row["fingerprint"], total=-1 if row["parent"] is None else 0)
    for numbers in chunks([row["number"] for row in rows]):
        remove_words(connection, numbers)
    for some in chunks([row["id"] for row in rows]):
        connection.execute(f"DELETE FROM replay_items WHERE dead_letter IN ({marks(some)})", some)
        connection.execute(f"DELETE FROM dead_letters WHERE id IN ({marks(some)})", some)
    counts.write(connection)
    connection.execute("DELETE FROM issue_hours WHERE hour_ms < ?", (before_ms,))
    # An ignored issue stays even without rows: new failures of its kind are to be ignored as well.
    connection.execute("DELETE FROM issues WHERE total = 0 AND open = 0 AND state <> 'ignored'")
    return len(rows)
