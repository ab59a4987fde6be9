# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""What operators asked for, as rows; they stay as the audit."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from platint_tui.core.ids import new_id
from platint_tui.core.model import Command, JsonObject
from platint_tui.store.codec import dump, dump_optional, load, load_optional, text
from platint_tui.store.noun import Noun

_COLUMNS = "id, kind, args, actor, created_ms, state, result, error, ended_ms"


class Commands(Noun):
    """ports.Commands in SQLite."""

    async def submit(self, kind: str, args: JsonObject, actor: str) -> Command:
        """A new pending command."""
        command = Command(new_id("cmd"), kind, args, actor, self._clock.now_ms(), "pending", None, None, None)
        values = (command.id, kind, dump(args), text(actor), command.created_ms)

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO commands (id, kind, args, actor, created_ms, state)"
                " VALUES (?, ?, ?, ?, ?, 'pending')",
                values,
            )

        await self._database.write(task)
        return command

    async def pending(self) -> Sequence[Command]:
        """Commands that nobody has finished, oldest first."""

        def task(connection: sqlite3.Connection) -> list[Command]:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM commands WHERE state = 'pending' ORDER BY number"
            )
            return [_command(row) for row in rows]

        return await self._database.read(task)

    async def progress(self, command: str, result: JsonObject) -> None:
        """What a pending command has found so far, for whoever watches it."""
        values = (dump(result), command)

        def task(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE commands SET result = ? WHERE id = ? AND state = 'pending'", values)

        await self._database.write(task, durable=False)

    async def finish(
        self, command: str, *, result: JsonObject | None = None, error: JsonObject | None = None
    ) -> None:
        """Done with `result`, or failed with `error`. A command that has ended stays as it is."""
        values = (
            "done" if error is None else "failed",
            dump_optional(result),
            dump_optional(error),
            self._clock.now_ms(),
            command,
        )

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE commands SET state = ?, result = ?, error = ?, ended_ms = ?"
                " WHERE id = ? AND state = 'pending'",
                values,
            )

        await self._database.write(task)

    async def get(self, command: str) -> Command | None:
        """The command with this id."""

        def task(connection: sqlite3.Connection) -> Command | None:
            row = connection.execute(f"SELECT {_COLUMNS} FROM commands WHERE id = ?", (command,)).fetchone()
            return None if row is None else _command(row)

        return await self._database.read(task)

    async def recent(self, limit: int = 100) -> Sequence[Command]:
        """The newest commands, newest first."""

        def task(connection: sqlite3.Connection) -> list[Command]:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM commands ORDER BY number DESC LIMIT ?", (limit,)
            )
            return [_command(row) for row in rows]

        return await self._database.read(task)


def _command(row: sqlite3.Row) -> Command:
    return Command(
        id=row["id"],
        kind=row["kind"],
        args=load(row["args"]),
        actor=row["actor"],
        created_ms=row["created_ms"],
        state=row["state"],
        result=load_optional(row["result"]),
        error=load_optional(row["error"]),
        ended_ms=row["ended_ms"],
    )
