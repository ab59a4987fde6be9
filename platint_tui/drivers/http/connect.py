"""From a profile to what its requests are sent with: the origins it may reach, and the connections."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.manifest.addresses import address_of, origins_of
from platint_tui.manifest.hosts import allowed_origins, is_wildcard
from platint_tui.manifest.template import render


def open_client(
    context: DriverContext, scope: Mapping[str, Json], transport: httpx.AsyncBaseTransport | None = None
) -> HttpClient:
    """What sends the requests of one profile; nothing is connected yet. `transport` replaces the network.

    Raises ConfigError for an address, a proxy or a CA file that cannot be used.
    """
    connector = context.connector
    settings = connector.transport
    environment = context.profile.environment.value
    origins = Origins(
        address_of(settings.base_url, scope, environment, plain_http=settings.plain_http),
        origins_of(connector, scope["profile"], context.secrets, environment),
        context.profile.origins,
        wildcards=filter(is_wildcard, settings.allowed_hosts),
        downloads=[
            *allowed_origins(settings.download_hosts, scope["profile"]),
            *filter(is_wildcard, settings.download_hosts),
        ],
        plain_http=settings.plain_http,
    )
    if transport is None:
        transport = AiohttpTransport(
            connect=settings.timeout.connect,
            read=settings.timeout.read,
            ca_file=render(settings.ca_file, scope, "query") if settings.ca_file else None,
            proxy=render(settings.proxy, scope, "query") if settings.proxy else None,
        )
    return HttpClient(transport, origins, total=settings.timeout.total, cap=settings.max_body)
