"""Where webhooks are received, and by which address the senders know it."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json

SETTING = "webhooks"
"""The setting {listen, public_url, expose, forwarded}."""
STATUS = "receiver.status"
"""The setting in which the engine shows {address, public_url, since_ms, error}."""
DEFAULT = "127.0.0.1:8787"
OFF = "off"
"""As `listen`: nothing is received."""
LISTEN, PUBLIC_URL, EXPOSE = "PLATINT_LISTEN", "PLATINT_PUBLIC_URL", "PLATINT_EXPOSE"


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """What the command line says; "" and False leave it to the environment and then to the setting."""

    listen: str = ""
    public_url: str = ""
    expose: bool = False
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen. `wanted`: somebody asked for it; else only profiles that receive webhooks are a reason.

    `forwarded`: without a public URL the headers X-Forwarded-Proto and X-Forwarded-Host are believed.
    """

    host: str
    port: int
    public_url: str
    wanted: bool
    forwarded: bool = False
    cert: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        """http, or https with a certificate of our own."""
        return "https" if self.cert else "http"


def listening(options: ReceiverOptions, environ: Mapping[str, str], setting: Json) -> Listening | None:
    """Where to listen: by the command line, else the environment, else the setting, else 127.0.0.1:8787.

    None when it is switched off. Raises ConfigError for an address that is none, and for one that others can reach
    without `expose`.
    """
    chosen = setting if isinstance(setting, Mapping) else {}

    def text(option: str, variable: str, name: str) -> str:
        return option or environ.get(variable, "") or str(chosen.get(name) or "")

    listen = text(options.listen, LISTEN, "listen")
    if listen == OFF:
        return None
    host, port = parse_listen(listen or DEFAULT)
    exposed = options.expose or environ.get(EXPOSE) == "1" or chosen.get("expose") is True
    if not exposed and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, so webhooks are not received there.",
            hint="Listen on 127.0.0.1 behind a proxy or tunnel, or say --expose if that is meant.",
            code="exposed",
        )
    return Listening(
        host=host,
        port=port,
        public_url=parse_public_url(text(options.public_url, PUBLIC_URL, "public_url")),
        wanted=bool(listen),
        forwarded=chosen.get("forwarded") is True,
        cert=options.cert,
        key=options.key,
    )


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; an IPv6 host is in brackets. Port 0 is any free one. Raises ConfigError."""
    host, colon, number = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    plain = host and (":" not in host or text.startswith("["))
    if not (colon and plain and number.isascii() and number.isdigit() and int(number) < 65536):
        raise ConfigError(
            f"'{text}' is no address to listen on.",
            hint=f"Write HOST:PORT, such as {DEFAULT}.",
            code="listen",
        )
    return host, int(number)


def parse_public_url(text: str) -> str:
    """The public URL without a slash at its end, "" for none. Raises ConfigError."""
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"'{text}' is no public URL.", hint="Write it as in https://hooks.example.com.", code="public_url"
        )
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_of(header: str) -> str:
    """The host of a Host header, in lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def tls_context(listen: Listening) -> ssl.SSLContext | None:
    """The certificate to serve with, None without one. Raises ConfigError when it cannot be used."""
    if listen.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.cert, listen.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificate cannot be used: {error.strerror or error}.",
            where=str(listen.cert),
            hint="--tls-cert is a PEM file with the chain, --tls-key its key.",
            code="certificate",
        ) from error
    return context
