"""Processes at work on this store, by their heartbeat."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from platint_tui.core.model import Worker
from platint_tui.store.noun import Noun


class Workers(Noun):
    """ports.Workers in SQLite."""

    async def beat(self, worker: Worker) -> None:
        """Insert or refresh."""
        values = (
            worker.id,
            worker.kind,
            worker.host,
            worker.pid,
            worker.version,
            worker.started_ms,
            worker.heartbeat_ms,
        )

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO workers (id, kind, host, pid, version, started_ms, heartbeat_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET heartbeat_ms = excluded.heartbeat_ms",
                values,
            )

        await self._database.write(task, durable=False)

    async def gone(self, worker: str) -> None:
        """Remove the row of a process that ends or is dead."""

        def task(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM workers WHERE id = ?", (worker,))

        await self._database.write(task, durable=False)

    async def list(self) -> Sequence[Worker]:
        """All, oldest first."""

        def task(connection: sqlite3.Connection) -> builtins.list[Worker]:
            rows = connection.execute(
                "SELECT id, kind, host, pid, version, started_ms, heartbeat_ms FROM workers"
                " ORDER BY started_ms, id"
            )
            return [Worker(*row) for row in rows]

        return await self._database.read(task)
