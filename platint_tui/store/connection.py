"""One SQLite connection on a thread of its own, opened in one place so that none lacks our settings."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite

T = TypeVar("T")

APPLICATION_ID = 0x504C544E
"""Marks a database file as ours: "PLTN"."""
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
CHECKPOINT_PAGES = 1000
_ITERATION = 64


class TaskConnection(aiosqlite.Connection):
    """An aiosqlite connection that runs whole functions on its thread.

    A transaction of several statements is one hop to the thread instead of one a statement, and it cannot be
    torn apart: when the waiting coroutine is cancelled, the function still ends with its COMMIT or ROLLBACK.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, _ITERATION)
        # A store that nobody closed must not keep a finished process alive; a commit is durable by itself.
        self._thread.daemon = True

    async def run(self, task: Callable[[sqlite3.Connection], T]) -> T:
        """Run `task` with the raw connection, on its thread, and return what it returns."""
        result: T = await self._execute(self._call, task)  # type: ignore[no-untyped-call]
        return result

    def post(
        self, task: Callable[[sqlite3.Connection], T], done: Callable[[T | BaseException], None]
    ) -> None:
        """Run `task` as `run` does, and call `done` on the event loop with what it returned or raised.

        For who must go on at once: awaiting `run` takes two more turns of a loop that may be busy.
        """
        if not self._running:
            raise ValueError("the connection is closed")
        loop = asyncio.get_running_loop()

        def work() -> None:
            outcome: T | BaseException
            try:
                outcome = task(self._conn)
            except BaseException as error:
                outcome = error
            loop.call_soon_threadsafe(done, outcome)

        self._tx.put_nowait((None, work))

    def wait_for_end(self) -> None:
        """Wait until the thread has ended, after opening failed: aiosqlite does not wait for it itself."""
        self._thread.join()

    def _call(self, task: Callable[[sqlite3.Connection], T]) -> T:
        return task(self._conn)


async def connect(
    path: Path, *, writes: bool, checkpoints: bool = False, busy_timeout_ms: int = 5000
) -> TaskConnection:
    """A connection with every setting that the guarantees need. Raises sqlite3.Error.

    `checkpoints` lets it move the log into the file: only the engine does, as SQLite before 3.51.3 may lose a
    reset of the log when several connections checkpoint.
    """

    def open_raw() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=busy_timeout_ms / 1000,
            cached_statements=256,
        )
        try:
            configure(connection, writes=writes, checkpoints=checkpoints, busy_timeout_ms=busy_timeout_ms)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = TaskConnection(open_raw)
    try:
        await connection
    except BaseException:
        connection.wait_for_end()
        raise
    return connection


def configure(
    connection: sqlite3.Connection, *, writes: bool, checkpoints: bool, busy_timeout_ms: int
) -> None:
    """Set what SQLite keeps per connection."""
    settings: dict[str, object] = {
        "busy_timeout": busy_timeout_ms,
        "trusted_schema": "OFF",
        "foreign_keys": "ON",
        "synchronous": "FULL",
        "secure_delete": "FAST",
        "temp_store": "MEMORY",
        "journal_size_limit": JOURNAL_SIZE_LIMIT,
        "wal_autocheckpoint": CHECKPOINT_PAGES if checkpoints else 0,
    }
    if sys.platform == "darwin":
        settings |= {"fullfsync": "ON", "checkpoint_fullfsync": "ON"}
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name}={value}").fetchall()
    if writes:
        # It is written into the file: only into one of ours, or a new one.
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if owner == APPLICATION_ID or pages == 0:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
    else:
        connection.execute("PRAGMA query_only=ON").fetchall()
    connection.row_factory = sqlite3.Row
