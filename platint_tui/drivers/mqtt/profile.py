"""What a profile says of a broker: where it is, over what it is spoken to, and who signs in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from platint_tui.core.errors import ConfigError
from platint_tui.core.ids import digest
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mqtt.packets import V5, V311
from platint_tui.manifest.hosts import is_loopback
from platint_tui.manifest.schema import Connector

TLS_MODES = ("disable", "verify-full")
_PORTS = {("tcp", False): 1883, ("tcp", True): 8883, ("websocket", False): 80, ("websocket", True): 443}
_VERSIONS = {"5": V5, "3.1.1": V311}


@dataclass(frozen=True, slots=True)
class Address:
    """One account at one broker. `version` is the protocol level (4 is MQTT 3.1.1), `prefix` begins the client
    identifiers, `topics` are the filters that the profile names."""

    host: str
    port: int
    websocket: bool
    path: str
    tls: bool
    ca_file: str | None
    version: int
    user: str
    password: Secret | None
    prefix: str
    topics: tuple[str, ...]
    connect_seconds: float
    total_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"{'ws' if self.websocket else 'mqtt'}{'s' if self.tls else ''}://{self._place}"

    @property
    def url(self) -> str:
        """The address of the WebSocket, without a credential."""
        return f"ws{'s' if self.tls else ''}://{self._place}/{self.path.lstrip('/')}"

    @property
    def _place(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def client_id(self, sync: str, stream: str) -> str:
        """The client identifier of a sync's stream, by which the broker finds its session. With the usual prefix
        it has the 23 letters and digits that every broker takes (MQTT 3.1.1, 3.1.3.1)."""
        return f"{self.prefix}{digest(sync, stream, length=16)}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Certificates checked against the CA file, or the system's; None without TLS. Raises ConfigError."""
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is None:
            context.load_default_certs()
            return context
        try:
            context.load_verify_locations(str(Path(self.ca_file).expanduser()))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The file of certificate authorities cannot be used: {error.strerror or error}.",
                where=self.ca_file,
                hint="Give a PEM file with the certificate of the authority.",
                code="ca_file",
            ) from None
        return context


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field."""
    fields, name = context.profile.fields, context.profile.name
    host = fields.get("host", "")
    if not host:
        raise ConfigError("The profile's field 'host' is empty.", where=name, hint="Edit the profile.")
    # Between machines nothing less than a verified broker is a default.
    mode = fields.get("tls") or ("disable" if is_loopback(host) else "verify-full")
    _one_of(mode, TLS_MODES, "TLS mode", name)
    transport = fields.get("transport") or "tcp"
    _one_of(transport, ("tcp", "websocket"), "transport", name)
    version = fields.get("version") or "5"
    _one_of(version, tuple(_VERSIONS), "version of MQTT", name)
    tls, websocket = mode == "verify-full", transport == "websocket"
    port = fields.get("port") or str(_PORTS[transport, tls])
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ConfigError(f"'{clean(port)}' is no port.", where=name, hint="Write a number from 1 to 65535.")
    password, user = context.secrets.get("password"), fields.get("user", "")
    if password is not None and not user and version == "3.1.1":
        raise ConfigError(
            "MQTT 3.1.1 has no password without a user.", where=name, hint="Fill in the profile's user."
        )
    timeout = context.connector.transport.timeout
    return Address(
        host,
        int(port),
        websocket,
        fields.get("path") or "/mqtt",
        tls,
        fields.get("ca_file") or None,
        _VERSIONS[version],
        user,
        password,
        fields.get("client_prefix") or "platint",
        tuple(dict.fromkeys(item for part in fields.get("topics", "").split(",") if (item := part.strip()))),
        timeout.connect,
        timeout.total,
        context.connector,
    )


def _one_of(value: str, known: tuple[str, ...], what: str, profile: str) -> None:
    if value not in known:
        raise ConfigError(f"'{clean(value)}' is no {what}.", where=profile, hint=f"Use {' or '.join(known)}.")


def check_filter(topic: str, where: str) -> None:
    """Raises ConfigError for what is no topic filter (MQTT 5.0, 4.7)."""
    levels = topic.split("/")
    shared = levels[0] == "$share"
    if shared and (len(levels) < 3 or not levels[1] or any(char in levels[1] for char in "+#")):
        why = "a shared one is written $share/GROUP/FILTER"
    elif any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        why = "# stands alone at its end"
    elif any("+" in level and level != "+" for level in levels):
        why = "+ stands alone for one level"
    elif not topic or "\0" in topic or len(topic.encode("utf-8", "surrogatepass")) > 65_535:
        why = "it is empty, too long, or holds a null character"
    else:
        return
    raise ConfigError(
        f"'{clean(topic[:200])}' is no topic filter: {why}.",
        where=where,
        hint="Write one like sensors/+/temperature or plant/#.",
        code="TOPIC_FILTER_INVALID",
    )
