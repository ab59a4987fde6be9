"""Rate limits shared by every process: one GCRA row per credential and limiter."""

from __future__ import annotations

import sqlite3

from platint_tui.store.noun import Noun


class Limits(Noun):
    """ports.Limits in SQLite. Not durable: after a power cut a limit begins afresh."""

    async def reserve(self, key: str, emission_ms: float, burst_ms: float, count: int) -> float:
        """Reserve `count` calls; returns seconds to wait before using them (0 when free).

        One call is due every `emission_ms`; `burst_ms` is that times the calls that may come at once.
        """
        now = self._clock.now_ms()
        # More calls than the burst are reserved as one block.
        span = emission_ms * count
        allowance = max(burst_ms, span)

        def task(connection: sqlite3.Connection) -> float:
            due, blocked = _row(connection, key, now)
            after = max(due, now, blocked) + span
            _save(connection, key, after, blocked, now)
            return max(after - allowance, blocked) - now

        return max(0.0, await self._database.write(task, durable=False) / 1000)

    async def block(self, key: str, until_ms: int) -> None:
        """Nobody calls under `key` before `until_ms`; a longer block stays."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> None:
            due, blocked = _row(connection, key, now)
            _save(connection, key, due, max(blocked, until_ms), now)

        await self._database.write(task, durable=False)

    async def blocked_until(self, key: str) -> int:
        """Epoch milliseconds until which `key` is blocked; 0 or a past time when it is free."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> int:
            return _row(connection, key, now)[1]

        return await self._database.read(task)


def _row(connection: sqlite3.Connection, key: str, now: int) -> tuple[float, int]:
    """(when the next call is due, until when calls are blocked)."""
    row = connection.execute(
        "SELECT next_ms, blocked_ms, updated_ms FROM limits WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        return 0.0, 0
    # A clock that was set back must not turn seconds of waiting into days.
    back = max(0, row["updated_ms"] - now)
    return row["next_ms"] - back, max(0, row["blocked_ms"] - back)


def _save(connection: sqlite3.Connection, key: str, due: float, blocked: int, now: int) -> None:
    connection.execute(
        "INSERT INTO limits (key, next_ms, blocked_ms, updated_ms) VALUES (?, ?, ?, ?) ON CONFLICT (key)"
        " DO UPDATE SET next_ms = excluded.next_ms, blocked_ms = excluded.blocked_ms,"
        " updated_ms = excluded.updated_ms",
        (key, due, blocked, now),
    )
