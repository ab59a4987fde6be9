"""What a profile says of a broker: where it is, who signs in, and where its management API answers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from platint_tui.core.errors import ConfigError
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.manifest.hosts import is_loopback
from platint_tui.manifest.schema import Connector

TLS_MODES = ("disable", "verify-full")
_PORTS = {False: 5672, True: 5671}
_MANAGEMENT_PORTS = {False: 15672, True: 15671}
_HEARTBEAT = 20
"""Seconds between heartbeats; a broker that was not heard of for three of them is gone."""


@dataclass(frozen=True, slots=True)
class Address:
    """One virtual host of one broker. `management` is the base address of the management API, "" where there is
    none; `queues` and `dead_queues` are those that the profile names."""

    host: str
    port: int
    vhost: str
    user: str
    password: Secret | None
    tls: bool
    ca_file: str | None
    connect_seconds: float
    total_seconds: float
    management: str
    queues: tuple[str, ...]
    dead_queues: tuple[str, ...]
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"amqp{'s' if self.tls else ''}://{_bracketed(self.host)}:{self.port}"

    def url(self) -> str:
        """The address with the credential, for the client library alone."""
        password = self.password.reveal() if self.password is not None else ""
        account = f"{quote(self.user, safe='')}:{quote(password, safe='')}"
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        place = f"{_bracketed(self.host)}:{self.port}/{vhost}"
        return f"amqp{'s' if self.tls else ''}://{account}@{place}?heartbeat={_HEARTBEAT}"

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
    for needed in ("host", "user"):
        if not fields.get(needed):
            raise ConfigError(
                f"The profile's field '{needed}' is empty.", where=name, hint="Edit the profile."
            )
    host = fields["host"]
    # Between machines nothing less than a verified broker is a default.
    mode = fields.get("tls") or ("disable" if is_loopback(host) else "verify-full")
    if mode not in TLS_MODES:
        raise ConfigError(
            f"'{clean(mode)}' is no TLS mode.", where=name, hint=f"Use {' or '.join(TLS_MODES)}."
        )
    tls = mode == "verify-full"
    port = fields.get("port") or str(_PORTS[tls])
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ConfigError(f"'{clean(port)}' is no port.", where=name, hint="Write a number from 1 to 65535.")
    transport = context.connector.transport
    management = ""
    if context.connector.profile.field("management") is not None:
        derived = f"http{'s' if tls else ''}://{_bracketed(host)}:{_MANAGEMENT_PORTS[tls]}"
        management = (fields.get("management") or derived).rstrip("/")
    return Address(
        host,
        int(port),
        fields.get("vhost") or "/",
        fields["user"],
        context.secrets.get("password"),
        tls,
        fields.get("ca_file") or transport.ca_file,
        transport.timeout.connect,
        transport.timeout.total,
        management,
        _names(fields.get("queues", "")),
        _names(fields.get("dead_letter_queues", "")),
        context.connector,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
