"""The addresses of one profile: which of a manifest's addresses it uses, and the origins that follow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest import hosts
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.signin import endpoint_auth
from platint_tui.manifest.template import Expression, compile_template, lookup, render

if TYPE_CHECKING:
    from platint_tui.manifest.fields import Address
    from platint_tui.manifest.schema import Connector, OneAuth

_ADDRESS_KEYS = ("token_url", "authorize_url", "device_url", "sts_url")
_HOST_PART = re.compile(r"(https?://[^/]*)(.*)", re.DOTALL)


def address_of(
    address: Address, scope: Mapping[str, Json], environment: str, *, plain_http: bool = False
) -> str:
    """The first of the alternatives whose values are all there, rendered.

    A value inside the host part can only be a part of a host name. Raises ConfigError when none fits or the
    result is no address that credentials may go to.
    """
    for item in address:
        template = _for(item, environment) if isinstance(item, dict) else item
        if template and all(_filled(part, scope) for part in compile_template(template).expressions):
            return _render(template, scope, plain_http)
    missing = sorted({part.name for item in texts_of(address) for part in compile_template(item).expressions})
    raise ConfigError(
        "The profile has no address for this platform.",
        hint=f"Fill in {', '.join(missing)}." if missing else f"There is none for {environment}.",
    )


def texts_of(address: Address) -> Iterator[str]:
    """Every template of an address."""
    for item in address:
        if isinstance(item, dict):
            yield from item.values()
        else:
            yield item


def origins_of(
    connector: Connector,
    fields: Mapping[str, str],
    secrets: Iterable[str] | None = None,
    environment: str = "production",
) -> tuple[str, ...]:
    """The origins that the credential of a profile may go to, sorted: base URL, endpoints, token addresses,
    allowed hosts (a wildcard as it is written).

    `fields` are the plain fields with their defaults, `secrets` the names of the secret fields that have a
    value (None: all of them). Raises ConfigError.
    """
    transport = connector.transport
    if not kind_of(connector.driver).http:
        return ()
    if secrets is None:
        secrets = [item.id for item in connector.profile.fields if item.secret]
    filled = frozenset(secrets) | {name for name, value in fields.items() if value}
    scope: dict[str, Json] = {"profile": dict(fields)}
    origins = set(hosts.allowed_origins(transport.allowed_hosts, fields))
    origins |= {entry for entry in transport.allowed_hosts if hosts.is_wildcard(entry)}

    def add(address: Address, auth: OneAuth) -> None:
        # Plain http is for signatures only, which do not show the credential.
        clear = transport.plain_http and auth.type in ("none", "oauth1")
        try:
            url = address_of(address, scope, environment, plain_http=clear)
        except ConfigError as error:
            used = profile_fields([address])
            where = error.where or (next(iter(used)) if len(used) == 1 else "")
            raise ConfigError(error.message, hint=error.hint, where=where, code=error.code) from None
        origins.add(hosts.origin(url, plain_http=clear))

    own = endpoint_auth(connector, None, filled, fields)
    places = [(transport.base_url, own)]
    places += [
        (item.base_url, endpoint_auth(connector, name, filled, fields))
        for name, item in transport.endpoints.items()
    ]
    for address, auth in places:
        add(address, auth)
        for other in auth_addresses(auth):
            add(other, auth)
    return tuple(sorted(origins))


def auth_addresses(auth: OneAuth) -> Iterator[Address]:
    """The addresses that a way to sign in asks for its tokens."""
    for key in _ADDRESS_KEYS:
        address = getattr(auth, key, ())
        if address:
            yield address


def _for(item: Mapping[Any, str], environment: str) -> str:
    return item.get(environment, "")


def profile_fields(addresses: Iterable[Address]) -> frozenset[str]:
    """The profile fields that addresses use."""
    found = (
        part.path
        for item in addresses
        for text in texts_of(item)
        for part in compile_template(text).expressions
    )
    return frozenset(path[-1] for path in found if path[0] == "profile")


def _filled(expression: Expression, scope: Mapping[str, Json]) -> bool:
    value = lookup(scope, expression.path)
    return (value is not None and value != "") or any(name == "default" for name, _ in expression.filters)


def _render(template: str, scope: Mapping[str, Json], plain_http: bool) -> str:
    match = _HOST_PART.fullmatch(template)
    if match is None:
        url = render(template, scope, "query")
    else:
        # Percent-encoding turns whatever does not belong into a host name into something that is none.
        host = render(match.group(1), scope, "path").replace("%3A", ":", 1)
        url = host + (render(match.group(2), scope, "path") if match.group(2) else "")
    hosts.origin(url, plain_http=plain_http)
    return url


def fields_in_host(connector: Connector, fields: Mapping[str, str], host: str) -> list[str]:
    """The plain profile fields whose values a host name was made of, in the order of the form."""
    host = host.lower()
    labels = re.split(r"[.-]", host)
    found = []
    for item in connector.profile.fields:
        value = "" if item.secret else fields.get(item.id, "").lower()
        parts = re.split(r"[.-]", value)
        inside = any(labels[at : at + len(parts)] == parts for at in range(len(labels)))
        if value and (urlsplit(value).hostname == host or inside):
            found.append(item.id)
    return found
