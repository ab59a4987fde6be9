"""Services of gRPC that describe themselves by reflection: methods as streams and as targets."""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc.driver import GrpcDriver

__all__ = ["GrpcDriver", "open_grpc"]


def open_grpc(context: DriverContext) -> Driver:
    """The driver for the server that the profile names. Raises ConfigError for a field that cannot be."""
    return GrpcDriver(context)
