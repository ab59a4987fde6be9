"""One SQLite file: one connection on a thread of its own, opened always alike, its errors as sentences."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError, TransientError
from platint_tui.drivers.judged import by_rules
from platint_tui.manifest.schema import Connector

_T = TypeVar("_T")

BUSY_SECONDS = 5.0
_PRAGMAS = (
    "journal_mode = WAL",
    # FULL: a committed position must survive a power cut together with its rows.
    "synchronous = FULL",
    "trusted_schema = OFF",
    "journal_size_limit = 67108864",
    "wal_autocheckpoint = 4096",
)


class SqliteFile:
    """A database file, opened on first use and made when it is not there, readable by its owner only.

    All statements run on one thread: a single connection of this process writes and checkpoints.
    """

    def __init__(self, path: Path, connector: Connector) -> None:
        self.path = path
        self._connector = connector
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-target")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    async def run(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """`function(connection)` on the file's thread. Raises PlatintError for what SQLite reports."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, function)

    async def peek(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """`function(connection)` of a connection that can only read; an empty database where there is no file.

        Raises PlatintError for what SQLite reports.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._peek, function)

    async def close(self) -> None:
        """Wait for what is running, then close."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
        self._executor.shutdown(wait=False)

    def _call(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return function(self._open())
        except (sqlite3.Error, OSError) as error:
            raise by_rules(translate(error, self.path), self._connector, native_code(error)) from None

    def _peek(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        check_place(self.path)
        place = f"file:{quote(str(self.path))}?mode=ro" if self.path.exists() else ":memory:"
        try:
            with contextlib.closing(sqlite3.connect(place, timeout=BUSY_SECONDS, uri=True)) as connection:
                _check_owner(connection, self.path)
                return function(connection)
        except (sqlite3.Error, OSError) as error:
            raise by_rules(translate(error, self.path), self._connector, native_code(error)) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection, self._identity = _connect(self.path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """BEGIN IMMEDIATE ... COMMIT; anything raised inside rolls everything back."""
        self._check_identity()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors (a full disk); a second ROLLBACK would raise.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _check_identity(self) -> None:
        """Writes to a file that was removed or replaced succeed and go nowhere."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            state = None
        if state is None or (state.st_dev, state.st_ino) != self._identity:
            raise SystemicError(
                "The database file was removed or replaced while it was in use.",
                where=str(self.path),
                hint="Run the sync again; it reads what the file does not hold.",
                code="file_replaced",
            )


def _connect(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """An open connection with our settings, and the identity of the file. Raises ConfigError."""
    check_place(path)
    # Made by us before SQLite would, so that it and its -wal and -shm are readable by the owner only.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _check_owner(connection, path)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchone()
        state = path.stat()
    except BaseException:
        connection.close()
        raise
    return connection, (state.st_dev, state.st_ino)


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application:
        raise ConfigError(
            "This database belongs to another program, which has put its mark on it.",
            where=str(path),
            hint="Choose another file as target.",
            code="foreign_database",
        )


def check_place(path: Path) -> None:
    """Raise ConfigError unless `path` is a file, or could be made one by its look."""
    if not path.is_absolute():
        raise ConfigError(
            "The path of the database must be absolute.", where=str(path), hint="Begin it with / or ~."
        )
    if path.is_dir():
        raise ConfigError("This is a folder, not a database file.", where=str(path))
    if not path.parent.is_dir():
        raise ConfigError(
            "The folder of the database does not exist.", where=str(path), hint=f"Make {path.parent} first."
        )


def native_code(error: Exception) -> str:
    """SQLite's name of an error without its details: SQLITE_CONSTRAINT for SQLITE_CONSTRAINT_UNIQUE."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


def translate(error: Exception, path: Path) -> PlatintError:
    """What an error of SQLite or of the file system means for the operator."""
    where = str(path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        return ConfigError(
            "The disk is full; nothing of this batch was written.",
            where=where,
            hint="Free some space and run again: it goes on where it stopped.",
            code="disk_full",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return TransientError(
            f"Another program has kept the database locked for more than {BUSY_SECONDS:.0f} seconds.",
            where=where,
            hint="Close what is writing to it, or run again later.",
            code="database_locked",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return ConfigError(
            f"This file is not a usable SQLite database: {error}.",
            where=where,
            hint="Choose another file, or restore it from a backup.",
            code="not_a_database",
        )
    if isinstance(error, OSError) or code in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ):
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return ConfigError(
            f"The database file cannot be written: {reason}.",
            where=where,
            hint="Check the permissions of the file and its folder.",
            code="not_writable",
        )
    return SystemicError(f"SQLite reports: {error}.", where=where, code="sqlite")
