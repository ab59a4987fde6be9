"""The servicebus driver: Azure Service Bus, its management through the http driver and its messages over AMQP 1.0.

`driver` puts the parts together: `connection` (address, credential, what errors mean), `entities` (queues, topics
and subscriptions), `records` (messages as records and rows as messages), `receiver` (peek-lock, renewal,
completion), `target` (sending), `letters` (dead-letter subqueues) and `probes`.
"""

from platint_tui.drivers.servicebus.driver import ServicebusDriver, open_servicebus

__all__ = ["ServicebusDriver", "open_servicebus"]
