"""What the parts of the http driver share for one profile: where its endpoints are, and how a request of the
manifest becomes one that can be sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from platint_tui.core.model import Json
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.calls import Caller, Outgoing
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.requests import (
    address,
    body_value,
    common_headers,
    encoded,
    lower,
    with_query,
)
from platint_tui.manifest import loader, schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.fields import Address
from platint_tui.manifest.template import lookup, render_map


@dataclass(frozen=True)
class Place:
    """Where an endpoint is, and the headers of every request to it (names in lower case)."""

    base_url: str
    headers: Mapping[str, str]


class Parts(NamedTuple):
    """A rendered request before paging adds to it."""

    url: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Session:
    """What every reader and writer of one profile shares. `places` holds the endpoints, None the default."""

    context: DriverContext
    caller: Caller
    origins: Origins
    places: Mapping[str | None, Place]
    scope: Mapping[str, Json]

    @property
    def base_url(self) -> str:
        """The address of the default endpoint."""
        return self.address_for(None)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request to the default endpoint."""
        return self.headers_for(None)

    async def ready(self) -> None:
        """Get the token where it is the token's answer that names the API's address."""
        await self.caller.signers.at(None).prepare()

    def address_for(self, endpoint: str | None) -> str:
        """The base URL of an endpoint of the manifest, None for the default one.

        Raises ConfigError when a token's answer named an address where requests may not go.
        """
        if endpoint is None:
            named = self.caller.signers.at(None).base_url()
            if named is not None:
                return self.origins.check(named, "address that the token came with")
        return self.places[endpoint].base_url

    def private_for(self, endpoint: str | None) -> frozenset[str]:
        """Query parameters (lower case) that hold the credential at an endpoint; never stored or shown."""
        return self.caller.signers.at(endpoint).private

    def headers_for(self, endpoint: str | None) -> Mapping[str, str]:
        """The headers of every request to an endpoint, names in lower case."""
        return self.places[endpoint].headers

    def scope_of(self, name: str) -> dict[str, Json]:
        """What templates of the stream `name` may look up everywhere."""
        own = loader.own_name(self.context.connector, name)
        return {**self.scope, "resource": {"name": name, "of": own}}

    def outgoing(
        self, request: schema.Request, scope: Mapping[str, Json], query: Mapping[str, str] | None = None
    ) -> Outgoing:
        """A request of the manifest, rendered with `scope`; `query` are further parameters.

        Raises ConfigError, or RecordError when a value of a record does not fit.
        """
        parts = self.parts(request, scope)
        content, headers = encoded(request, body_value(request, scope), parts.headers)
        return self.sendable(
            request, scope, with_query(parts.url, {**parts.query, **(query or {})}), headers, content
        )

    def parts(self, request: schema.Request, scope: Mapping[str, Json]) -> Parts:
        """Address, query and headers of a request, rendered; the body is left out. Raises as `outgoing`."""
        headers = lower(render_map(request.headers, scope, "header"))
        return Parts(
            address(self.address_for(request.endpoint), request.path, scope),
            render_map(request.query, scope, "query"),
            {**self.headers_for(request.endpoint), **headers},
        )

    def sendable(
        self,
        request: schema.Request,
        scope: Mapping[str, Json],
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> Outgoing:
        """A request whose parts are rendered already."""
        stream = lookup(scope, "resource.name")
        return Outgoing(
            request.method,
            url,
            headers,
            content,
            endpoint=request.endpoint,
            resource=stream if isinstance(stream, str) else "",
            weight=request.weight,
            graphql=request.graphql is not None,
        )


def places_of(context: DriverContext, scope: Mapping[str, Json]) -> dict[str | None, Place]:
    """Every endpoint of a profile's connector, None for the default one. Raises ConfigError."""
    transport = context.connector.transport
    environment = context.profile.environment.value

    def find(base: Address) -> str:
        return address_of(base, scope, environment, plain_http=transport.plain_http)

    common = common_headers(context, scope)
    places: dict[str | None, Place] = {None: Place(find(transport.base_url), common)}
    for name, endpoint in transport.endpoints.items():
        own = lower(render_map(endpoint.headers, scope, "header"))
        places[name] = Place(find(endpoint.base_url), {**common, **own, "accept-encoding": "gzip"})
    return places
