"""Queues of RabbitMQ and of other AMQP 0-9-1 brokers: read as messages, written with confirmations. Needs the
extra `amqp`.

`link` and `errors` (one connection, and what its failures mean), `messages` and `unnamed` (a message as a record),
`session` and `reader` (consuming), `publisher` and `target` (publishing), `management` and `catalogue` (what there
is), `deadqueues` and `deadletters` (the broker's own dead letters), `probes` and `driver`.
"""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.amqp.driver import AmqpDriver
from platint_tui.drivers.base import DriverContext

__all__ = ["AmqpDriver", "open_amqp"]


def open_amqp(context: DriverContext) -> Driver:
    """The driver for the virtual host that the profile names; nothing is connected yet. Raises ConfigError."""
    return AmqpDriver(context)
