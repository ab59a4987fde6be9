"""Topics of Kafka, and of brokers that speak its protocol: read as messages, written with acknowledgements of all
replicas. Needs the extra `kafka`.

`address`, `cluster` and `codes` (connections, and what failures mean), `fetched`, `records` and `reader` (consuming),
`offsets` (of partitions and groups), `producer` and `target` (producing), `discover`, `handled` and `deadletters`
(dead letters in topics), `driver`.
"""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.driver import KafkaDriver

__all__ = ["KafkaDriver", "open_kafka"]


def open_kafka(context: DriverContext) -> Driver:
    """The driver for the cluster that the profile names; nothing is connected yet.

    Raises ConfigError naming a field of the profile, CredentialError without a password.
    """
    return KafkaDriver(context)
