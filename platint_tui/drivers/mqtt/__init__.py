"""Topics of MQTT brokers (5.0 and 3.1.1; over TCP, TLS and WebSockets): read as messages out of a session that the
broker keeps, written with acknowledgements. Needs the extra `mqtt`.

The protocol is spoken here and not by a client library: what is received has to be acknowledged after it is stored,
with PUBREC for QoS 2, and the reason code of each published message has to be known. (paho hands over a message of
QoS 2 after PUBREC, when the broker has forgotten it; aiomqtt shows neither acknowledgements nor reason codes.)

`properties` and `packets` (bytes), `wire` and `link` (one connection), `codes` (what refusals mean), `messages` (a
message as a record), `session` and `reader` (consuming), `target` (publishing), `discover`, `probes` and `driver`.
"""

from __future__ import annotations

from platint_tui.core.ports import Driver
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mqtt.driver import MqttDriver

__all__ = ["MqttDriver", "open_mqtt"]


def open_mqtt(context: DriverContext) -> Driver:
    """The driver for the broker that the profile names; nothing is connected yet. Raises ConfigError."""
    return MqttDriver(context)
