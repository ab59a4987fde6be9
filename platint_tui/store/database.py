"""Transactions: one writer whose waiting tasks share a commit, and readers that never wait for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from platint_tui.core.errors import PlatintError, StoreError
from platint_tui.store import migrations
from platint_tui.store.connection import TaskConnection, connect
from platint_tui.store.files import Identity
from platint_tui.store.sqlite_errors import is_fatal, primary_code, translate

T = TypeVar("T")
Task = Callable[[sqlite3.Connection], T]

GROUP = 64
"""How many waiting tasks may share one commit."""


@dataclass(slots=True)
class _Job:
    """A task that waits for its turn to write; `future` is given up when nobody waits for it any more."""

    task: Task[Any]
    durable: bool
    done: Callable[[Any], None]
    future: asyncio.Future[Any] | None = None


class Database:
    """The connections of one process to one database file.

    A write task is a function of the raw connection. It runs inside BEGIN IMMEDIATE ... COMMIT on the
    writer's thread, so it is done whole or not at all, whatever happens to who waits for it. Tasks that wait
    at the same time share one COMMIT, each under a savepoint of its own. A task may run more than once before
    it is committed, so it must have no effect but on the database.
    """

    def __init__(
        self,
        path: Path,
        writer: TaskConnection | None,
        reader: TaskConnection,
        scanner: TaskConnection,
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._scanner = scanner
        self._identity = Identity(path)
        self._waiting: list[_Job] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._broken: PlatintError | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path, *, writes: bool, checkpoints: bool, busy_timeout_ms: int = 5000
    ) -> Database:
        """Open the connections. Raises StoreError."""
        opened: list[TaskConnection] = []
        try:
            if writes:
                opened.append(
                    await connect(path, writes=True, checkpoints=checkpoints, busy_timeout_ms=busy_timeout_ms)
                )
            for _ in range(2):
                opened.append(await connect(path, writes=False, busy_timeout_ms=busy_timeout_ms))
        except sqlite3.Error as error:
            for connection in opened:
                await connection.close()
            raise translate(error, path) from error
        return cls(path, opened[0] if writes else None, opened[-2], opened[-1])

    async def write(self, task: Task[T], *, durable: bool = True) -> T:
        """Run `task` in a write transaction and return its result once it is committed.

        `durable=False` skips the wait for the disk, for what may be lost in a power cut (heartbeats, rate
        limits, latencies); a later durable commit secures it. Raises what the task raises (then nothing of
        it is kept), or StoreError.
        """
        future = asyncio.get_running_loop().create_future()
        self._add(_Job(task, durable, partial(_resolve, future), future))
        result: T = await future
        return result

    def submit(self, task: Task[T], done: Callable[[T | Exception], None]) -> None:
        """`write` for who waits on no task: `done` is called with the result, or with the error.

        Raises StoreError when nothing can be written; then `done` is not called.
        """
        self._add(_Job(task, True, done))

    def _add(self, job: _Job) -> None:
        if self._writer is None:
            raise StoreError(
                "The database was opened for reading only.", where=str(self.path), code="read_only"
            )
        self._refuse_closed()
        if self._broken is not None:
            raise self._broken
        self._waiting.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Not at once: what else is asked for in this turn of the loop shares the commit.
            asyncio.get_running_loop().call_soon(self._begin, self._writer)

    def _begin(self, writer: TaskConnection) -> None:
        """Write the next group, or rest when nothing waits."""
        while self._waiting:
            batch = [job for job in self._waiting[:GROUP] if job.future is None or not job.future.done()]
            del self._waiting[:GROUP]
            if not batch:
                continue
            try:
                self._identity.check()
                group = partial(_run_group, [(job.task, job.durable) for job in batch])
                writer.post(group, partial(self._ended, writer, batch))
            except Exception as error:
                self._settle(batch, error)
                continue
            return
        self._busy = False
        self._idle.set()

    def _ended(self, writer: TaskConnection, batch: list[_Job], outcomes: list[Any] | BaseException) -> None:
        # The writer does not wait until everybody has heard of it.
        self._begin(writer)
        self._settle(batch, outcomes)

    def _settle(self, batch: list[_Job], outcomes: list[Any] | BaseException) -> None:
        if isinstance(outcomes, BaseException):
            outcomes = [outcomes] * len(batch)
        for job, outcome in zip(batch, outcomes, strict=True):
            job.done(self._error_of(outcome) if isinstance(outcome, BaseException) else outcome[0])

    def _error_of(self, outcome: BaseException) -> Exception:
        """The error of a task as its caller sees it."""
        if isinstance(outcome, sqlite3.Error | PlatintError | UnicodeError | OverflowError):
            error: Exception = translate(outcome, self.path)
            if error is not outcome:
                error.__cause__ = outcome
                if is_fatal(outcome):
                    self._broken = translate(outcome, self.path)
            return error
        return outcome if isinstance(outcome, Exception) else RuntimeError(repr(outcome))

    async def read(self, task: Task[T], *, scan: bool = False) -> T:
        """Run `task` on a reading connection, all its statements seeing the same moment.

        `scan=True` is for what may take longer than some milliseconds: it uses a connection of its own.
        Raises StoreError.
        """
        return await self._guarded((self._scanner if scan else self._reader).run(partial(_snapshot, task)))

    async def alone(self, task: Task[T]) -> T:
        """Run `task` outside any transaction, on the writer where there is one. For opening only."""
        return await self._guarded(self.connections()[0].run(task))

    async def data_version(self) -> int:
        """Changes whenever any connection, of this process or another, committed something."""
        self._identity.check()
        return await self._guarded(self._reader.run(_data_version))

    async def quick_check(self, seconds: float) -> str:
        """Look for damage for at most `seconds`: "ok", "" when the time was up, else what is wrong."""
        task = asyncio.create_task(self._guarded(self._scanner.run(_quick_check)))
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            await self._scanner.interrupt()
        try:
            return await task
        except StoreError as error:
            if primary_code(error.__cause__ or error) == sqlite3.SQLITE_INTERRUPT:
                return ""
            raise

    async def _guarded(self, work: Awaitable[T]) -> T:
        if self._closed:
            if asyncio.iscoroutine(work):
                work.close()
            self._refuse_closed()
        try:
            return await work
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("The database was closed.", where=str(self.path), code="closed")

    async def close(self) -> None:
        """Let waiting writes finish, then close all connections. Calling it again does nothing."""
        if self._closed:
            return
        await self._idle.wait()
        self._closed = True
        for connection in (self._reader, self._scanner, self._writer):
            if connection is not None:
                try:
                    await connection.close()
                except sqlite3.Error as error:
                    raise translate(error, self.path) from error

    def connections(self) -> list[TaskConnection]:
        """All connections, for checks of their settings."""
        return [item for item in (self._writer, self._reader, self._scanner) if item is not None]


def _resolve(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _run_group(jobs: list[tuple[Task[Any], bool]], connection: sqlite3.Connection) -> list[Any]:
    """Run tasks in one transaction; per task a 1-tuple with its result, or the exception that it raised.

    When the database fails for the group as a whole, each task gets a transaction of its own: a task that is
    too large for the disk does not take the others with it.
    """
    durable = any(wanted for _, wanted in jobs)
    if not durable:
        connection.execute("PRAGMA synchronous=NORMAL")
    try:
        if len(jobs) == 1:
            return [_run_alone(jobs[0][0], connection)]
        try:
            return _run_together([task for task, _ in jobs], connection)
        except sqlite3.Error as error:
            _roll_back(connection)
            if is_fatal(error) or primary_code(error) == sqlite3.SQLITE_BUSY:
                raise
            return [_run_alone(task, connection) for task, _ in jobs]
    finally:
        _roll_back(connection)
        if not durable:
            connection.execute("PRAGMA synchronous=FULL")


def _run_alone(task: Task[Any], connection: sqlite3.Connection) -> Any:
    try:
        connection.execute("BEGIN IMMEDIATE")
        migrations.refuse_other_version(connection)
        result = task(connection)
        connection.execute("COMMIT")
    except Exception as error:
        _roll_back(connection)
        return error
    return (result,)


def _run_together(tasks: list[Task[Any]], connection: sqlite3.Connection) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    migrations.refuse_other_version(connection)
    outcomes: list[Any] = []
    for task in tasks:
        connection.execute("SAVEPOINT task")
        try:
            outcomes.append((task(connection),))
        except Exception as error:
            if not connection.in_transaction:
                # SQLite has already rolled everything back (disk full, input/output error).
                raise
            connection.execute("ROLLBACK TO task")
            outcomes.append(error)
        connection.execute("RELEASE task")
    connection.execute("COMMIT")
    return outcomes


def _roll_back(connection: sqlite3.Connection) -> None:
    """Undo an open transaction. After some errors SQLite has done so itself, and ROLLBACK would raise."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _snapshot(task: Task[T], connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN")
    try:
        return task(connection)
    finally:
        _roll_back(connection)


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _quick_check(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
