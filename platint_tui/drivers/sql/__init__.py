"""Databases that speak SQL, through SQLAlchemy: MySQL and MariaDB, as source and target."""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sql.driver import SqlDriver

__all__ = ["SqlDriver", "open_sql"]


def open_sql(context: DriverContext) -> Driver:
    """The driver for the database that the profile names. Raises ConfigError for a field that cannot be."""
    return SqlDriver(context)
