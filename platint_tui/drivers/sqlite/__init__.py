"""SQLite files as targets: rows and position in one durable transaction."""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sqlite.driver import SqliteDriver
from platint_tui.drivers.sqlite.target import SqliteTarget

__all__ = ["SqliteDriver", "SqliteTarget", "open_sqlite"]


def open_sqlite(context: DriverContext) -> Driver:
    """The driver for the file that the profile names. Raises ConfigError when it names none."""
    return SqliteDriver(context)
