"""Redis: families of keys and streams, read and written. Needs the extra `redis`."""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.redis.driver import RedisDriver

__all__ = ["RedisDriver", "open_redis"]


def open_redis(context: DriverContext) -> Driver:
    """The driver for the database that the profile names. Raises ConfigError, CredentialError."""
    return RedisDriver(context)
