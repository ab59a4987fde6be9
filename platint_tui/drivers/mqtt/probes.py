"""What a broker says of itself when a client connects (MQTT 5.0, 3.2.2.3). MQTT 3.1.1 says nothing."""

from __future__ import annotations

from platint_tui.core.errors import ConfigError
from platint_tui.core.text import clean
from platint_tui.drivers.mqtt.link import Link
from platint_tui.drivers.mqtt.packets import V5

_FOR_EVER = 0xFFFF_FFFF
_SILENT = "With MQTT 3.1.1 the broker does not say; version 5 does."


def greeting(link: Link) -> str:
    """What is spoken."""
    version = "5" if link.version == V5 else "3.1.1"
    keep = link.features.get("server_keep_alive")
    return f"MQTT {version}" + (f", a sign of life every {keep} s" if keep else "")


async def probe(name: str, link: Link) -> str:
    """What the probe `name` found. Raises ConfigError: it failed, and why."""
    known = {"qos": _qos, "retain": _retain, "sessions": _sessions, "shared": _shared, "sizes": _sizes}
    if name == "alive":
        await link.alive()
        return "The broker answers a ping."
    if name not in known:
        raise ConfigError(f"The driver mqtt knows no probe '{clean(name)}'.", code="probe")
    return known[name](link) if link.version == V5 else _SILENT


def _qos(link: Link) -> str:
    most = int(link.features.get("maximum_qos", 2))
    if most < 1:
        raise ConfigError(
            "The broker takes messages of QoS 0 only, which it does not acknowledge.",
            where=link.address.where,
            hint="Let it take QoS 1; without it messages can be read and not written.",
            code="QOS_NOT_SUPPORTED",
        )
    return f"QoS 0 to {most}."


def _retain(link: Link) -> str:
    if not link.features.get("retain_available", 1):
        raise ConfigError("The broker retains no messages.", code="RETAIN_NOT_SUPPORTED")
    return "Messages are retained."


def _sessions(link: Link) -> str:
    given = link.features.get("session_expiry")
    if given == 0:
        raise ConfigError(
            "The broker keeps no sessions: what is sent while nobody reads is lost.",
            where=link.address.where,
            hint="Let it keep sessions (persistent_client_expiration, session expiry).",
            code="no_sessions",
        )
    if given is None or given == _FOR_EVER:
        return "Sessions are kept as long as they are asked for."
    return f"Sessions are kept for {given / 3600:,.1f} h at most."


def _shared(link: Link) -> str:
    if not link.features.get("shared_available", 1):
        raise ConfigError(
            "The broker has no shared subscriptions.", code="SHARED_SUBSCRIPTIONS_NOT_SUPPORTED"
        )
    return "Shared subscriptions ($share/GROUP/FILTER) are there."


def _sizes(link: Link) -> str:
    size = link.features.get("maximum_packet_size")
    window = link.features.get("receive_maximum", 65_535)
    largest = f"{size:,} bytes" if size else "any size"
    return f"Packets of {largest}, {window:,} unacknowledged at a time."
