"""Small named values of this installation."""

from __future__ import annotations

import sqlite3

from platint_tui.core.model import Json
from platint_tui.store.codec import dump, load
from platint_tui.store.noun import Noun


class Settings(Noun):
    """ports.Settings in SQLite."""

    async def get(self, name: str) -> Json:
        """The value, None when it was never set."""

        def task(connection: sqlite3.Connection) -> Json:
            return read_setting(connection, name)

        return await self._database.read(task)

    async def put(self, name: str, value: Json) -> None:
        """Set the value."""

        def task(connection: sqlite3.Connection) -> None:
            write_setting(connection, name, value)

        await self._database.write(task)


def read_setting(connection: sqlite3.Connection, name: str) -> Json:
    """The value inside a transaction, None when it was never set."""
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else load(row["value"])


def write_setting(connection: sqlite3.Connection, name: str, value: Json) -> None:
    """Set the value inside a transaction."""
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, dump(value)),
    )
