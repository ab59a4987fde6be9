"""Where a Kafka cluster is and how it is spoken to: what the profile says, checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.schema import Connector

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
NO_GROUPS = "none"
"""As the group prefix: no offsets are committed to Kafka."""
_PORT = 9092


@dataclass(frozen=True, slots=True)
class Address:
    """The brokers to begin with, the listener's protocol, and who signs in.

    `prefix` begins the names of our consumer groups; "" when no offsets are to be committed.
    """

    servers: tuple[tuple[str, int], ...]
    protocol: str
    mechanism: str
    user: str
    password: Secret | None
    ca_file: str | None
    client_id: str
    prefix: str
    connect_seconds: float
    request_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        host, port = self.servers[0]
        return f"kafka://{host}:{port}"

    @property
    def tls(self) -> bool:
        """Whether the listener is spoken to over TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether somebody signs in."""
        return self.protocol.startswith("SASL_")


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field, CredentialError without a password."""
    fields, name = context.profile.fields, context.profile.name
    protocol = fields.get("security_protocol") or "SASL_SSL"
    mechanism = fields.get("sasl_mechanism") or "SCRAM-SHA-512"
    for value, known, label in (
        (protocol, PROTOCOLS, "security protocol"),
        (mechanism, MECHANISMS, "SASL mechanism"),
    ):
        if value not in known:
            raise ConfigError(f"'{clean(value)}' is no {label}.", where=name, hint=f"Use {', '.join(known)}.")
    password = context.secrets.get("password")
    if protocol.startswith("SASL_"):
        if not fields.get("user"):
            raise ConfigError("The profile's field 'user' is empty.", where=name, hint="Edit the profile.")
        if password is None:
            raise CredentialError("The profile has no password.", where=name, hint="Edit the profile.")
    prefix = fields.get("group_prefix") or "platint."
    timeout = context.connector.transport.timeout
    return Address(
        servers=_servers(fields.get("bootstrap_servers") or "", name),
        protocol=protocol,
        mechanism=mechanism,
        user=fields.get("user", ""),
        password=password,
        ca_file=fields.get("ca_file") or context.connector.transport.ca_file,
        client_id=fields.get("client_id") or "platint-tui",
        prefix="" if prefix == NO_GROUPS else prefix,
        connect_seconds=timeout.connect,
        request_seconds=timeout.read,
        connector=context.connector,
    )


def _servers(text: str, name: str) -> tuple[tuple[str, int], ...]:
    """`host:port` pairs with commas between them; an IPv6 address stands in brackets when it has a port."""
    servers = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        bracketed = part.startswith("[") and "]" in part
        host, mark, port = part.rpartition(":")
        if bracketed and part.endswith("]"):
            host, mark, port = part, "", ""
        elif not mark or (part.count(":") > 1 and not bracketed):
            host, port = part, ""
        host = host.removeprefix("[").removesuffix("]")
        if (
            not host
            or "/" in host
            or (port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536))
        ):
            raise ConfigError(
                f"'{clean(part)}' is no broker.",
                where=name,
                hint="Write host:port, several with commas: broker-1:9092,broker-2:9092.",
            )
        servers.append((host, int(port) if port else _PORT))
    if not servers:
        raise ConfigError(
            "The profile's field 'bootstrap_servers' is empty.",
            where=name,
            hint="Write host:port of one or more brokers.",
        )
    return tuple(servers)


def tls_context(address: Address) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with a verified certificate and host name; None for a plaintext listener.

    Raises ConfigError when the file of certificate authorities cannot be used.
    """
    if not address.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if address.ca_file:
        try:
            context.load_verify_locations(address.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The file of certificate authorities cannot be used: {error.strerror or error}.",
                where=address.ca_file,
            ) from None
    else:
        context.load_default_certs()
    return context
