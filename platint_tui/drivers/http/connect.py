"""From a profile to what its requests are sent with: the origins it may reach, and the connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from urllib.parse import urlsplit

import httpx

from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.fields import filled
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import TOKENS, Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.addresses import address_of, auth_addresses, fields_in_host
from platint_tui.manifest.fields import Address
from platint_tui.manifest.hosts import allowed_origins, is_wildcard, origin
from platint_tui.manifest.signin import endpoint_auth
from platint_tui.manifest.template import render


def open_client(
    context: DriverContext, scope: Mapping[str, Json], transport: httpx.AsyncBaseTransport | None = None
) -> HttpClient:
    """What sends the requests of one profile; nothing is connected yet. `transport` replaces the network.

    Raises ConfigError for an address, a proxy or a CA file that cannot be used.
    """
    settings = context.connector.transport
    origins = open_origins(context, scope)
    if transport is None:
        transport = AiohttpTransport(
            connect=settings.timeout.connect,
            read=settings.timeout.read,
            ca_file=render(settings.ca_file, scope, "query") if settings.ca_file else None,
            proxy=render(settings.proxy, scope, "query") if settings.proxy else None,
        )
    client = HttpClient(transport, origins, total=settings.timeout.total, cap=settings.max_body)
    client.unresolved = partial(_unresolved, context)
    return client


def _unresolved(context: DriverContext, url: str) -> str:
    """What to look at when the host of an address is not known: the fields of the profile that it was made of."""
    profile = context.profile
    names = fields_in_host(context.connector, profile.fields, urlsplit(url).hostname or "")
    return f"Check {' and '.join(names)} of profile {profile.name}." if names else ""


def open_origins(context: DriverContext, scope: Mapping[str, Json]) -> Origins:
    """Where the requests of one profile may go, for each of its credentials.

    A credential goes to the addresses of what it signs in to and to `allowed_hosts`, never to an address that has
    another one: not that of an endpoint with its own auth, and not where tokens come from. Raises ConfigError.
    """
    connector = context.connector
    settings = connector.transport
    environment, plain = context.profile.environment.value, settings.plain_http

    def origin_of(address: Address) -> str:
        return origin(address_of(address, scope, environment, plain_http=plain), plain_http=plain)

    bases = {name: origin_of(item.base_url) for name, item in settings.endpoints.items()}
    own = [name for name, item in settings.endpoints.items() if item.auth is not None]
    base = origin_of(settings.base_url)
    shared = {base, *(found for name, found in bases.items() if name not in own)}
    # Hosts that no address of the manifest names are for whichever credential a link to them comes with.
    extra = allowed_origins(settings.allowed_hosts, scope["profile"]) - shared - set(bases.values())
    known = filled(context)
    tokens: list[str] = []
    for name in (None, *own):
        auth = endpoint_auth(connector, name, known, scope["profile"])
        found = [origin_of(address) for address in auth_addresses(auth)]
        tokens += found
        if name is None and getattr(auth, "base_url_from", None):
            # The answer may name the address that it came from.
            shared.update(found)
    wildcards = [*filter(is_wildcard, settings.allowed_hosts)]
    downloads = [
        *allowed_origins(settings.download_hosts, scope["profile"]),
        *filter(is_wildcard, settings.download_hosts),
    ]

    def make(
        base: str, allowed: Iterable[str], places: Mapping[str, Callable[[], Origins]] | None = None
    ) -> Origins:
        return Origins(
            base,
            allowed,
            context.profile.origins,
            wildcards=wildcards,
            downloads=downloads,
            others=[base, *bases.values()],
            places=places,
            plain_http=plain,
        )

    places: dict[str, Callable[[], Origins]] = {
        name: partial(make, found, {found, *extra} if name in own else shared | extra)
        for name, found in bases.items()
    }
    if tokens:
        entered = context.profile.origins
        places[TOKENS] = lambda: Origins(tokens[0], tokens, entered, plain_http=plain)
    return make(base, shared | extra, places)
