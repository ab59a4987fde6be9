"""Which addresses a connector may talk to. An origin is `scheme://host:port`, always with the port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.problems import shown

_PROFILE_HOST = re.compile(r"\$\{\s*profile\.([A-Za-z_][A-Za-z0-9_-]*)\s*\}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})|\[[0-9A-Fa-f:.]{2,45}\]"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 2048


def is_loopback(host: str) -> bool:
    """Whether a host name or address literal means this machine, without asking the network."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, plain_http: bool = False) -> str:
    """`url` when it is an absolute address that a connector may use.

    It must be https, or http on loopback, without user name, fragment, spaces or control characters.
    `plain_http` allows http everywhere. Raises ConfigError.
    """
    origin(url, plain_http=plain_http)
    return url


def origin(url: str, *, plain_http: bool = False) -> str:
    """`scheme://host:port` of an absolute http(s) address. Raises ConfigError (see `check_url`)."""
    if (
        len(url) > MAX_URL
        or not url.isascii()
        or not url.isprintable()
        or any(char in url for char in ' "<>\\^`{|}')
    ):
        raise ConfigError(f"{shown(url)} is not an address.", hint="Write it like https://api.example.com.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"{shown(url)} is not an address.", hint="Write it like https://api.example.com."
        ) from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    bracketed = f"[{host}]" if ":" in host else host
    if scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(bracketed) or port == 0:
        raise ConfigError(f"{shown(url)} is not an address.", hint="Write it like https://api.example.com.")
    if "@" in parts.netloc:
        raise ConfigError(
            "An address must not hold a user name or password.", hint="Use the profile's fields for them."
        )
    if parts.fragment:
        raise ConfigError(f"{shown(url)} has a fragment (#…), which is never sent.")
    if scheme == "http" and not plain_http and not is_loopback(host):
        raise ConfigError(
            f"Plain http to {shown(host)} would show the credentials to the network.",
            hint="Use https; http is for this machine (127.0.0.1, localhost) only.",
        )
    return f"{scheme}://{bracketed}:{port or _DEFAULT_PORTS[scheme]}"


def is_wildcard(entry: str) -> bool:
    """Whether an entry stands for every host below a domain (`*.example.com`)."""
    return entry.startswith("*.")


def matches_wildcard(entry: str, found: str) -> bool:
    """Whether the origin `found` is https on its usual port, on a host below the domain of `*.example.com`."""
    scheme, _, rest = found.partition("://")
    host, _, port = rest.rpartition(":")
    return scheme == "https" and port == "443" and host.endswith(entry[1:].lower()) and host != entry[2:]


def profile_field(entry: str) -> str | None:
    """The profile field that an `allowed_hosts` entry `${profile.<field>}` names, None for a literal host."""
    match = _PROFILE_HOST.fullmatch(entry)
    return match.group(1) if match else None


def literal_origin(entry: str) -> str:
    """The https origin that a literal `allowed_hosts` entry (`host` or `host:port`) stands for. Raises
    ConfigError.
    """
    if "/" in entry or "@" in entry or "?" in entry or "#" in entry:
        raise ConfigError(
            f"{shown(entry)} is not a host.", hint="Write it like api.example.com, without https://."
        )
    host = urlsplit(f"//{entry}").hostname or ""
    return origin(f"{'http' if is_loopback(host) else 'https'}://{entry}")


def allowed_origins(allowed_hosts: Iterable[str], profile: Mapping[str, str]) -> frozenset[str]:
    """The origins that requests, redirects and next links of this profile may go to.

    A literal host means https on it (http on loopback); `${profile.<field>}` means the origin of that
    field's address; wildcards are left out. Raises ConfigError when such a field is empty or no address.
    """
    origins = set()
    for entry in allowed_hosts:
        name = profile_field(entry)
        if is_wildcard(entry):
            continue
        if name is None:
            origins.add(literal_origin(entry))
        elif profile.get(name):
            origins.add(origin(profile[name]))
        else:
            raise ConfigError(f"The profile has no '{name}', the address of the platform.")
    return frozenset(origins)
