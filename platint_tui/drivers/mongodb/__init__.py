"""MongoDB collections as sources and targets: snapshots, fields that grow, change streams, upserts by key.

Needs the extra `mongodb`.
"""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mongodb.driver import MongodbDriver
from platint_tui.drivers.mongodb.target import MongodbTarget

__all__ = ["MongodbDriver", "MongodbTarget", "open_mongodb"]


def open_mongodb(context: DriverContext) -> Driver:
    """The driver for the database that the profile names. Raises ConfigError."""
    return MongodbDriver(context)
