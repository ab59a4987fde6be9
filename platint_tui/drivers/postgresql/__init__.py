"""PostgreSQL: tables and views are read, followed by logical replication, and written. Needs the extra `postgresql`."""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.postgresql.driver import PostgresqlDriver
from platint_tui.drivers.postgresql.target import PostgresqlTarget

__all__ = ["PostgresqlDriver", "PostgresqlTarget", "open_postgresql"]


def open_postgresql(context: DriverContext) -> Driver:
    """The driver for the database that the profile names. Raises ConfigError, CredentialError."""
    return PostgresqlDriver(context)
