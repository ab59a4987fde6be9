"""The http driver: a profile on a platform that speaks JSON over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import httpx

from platint_tui.core.model import Capability, Field, JsonObject, Page, Stream, TargetPlan
from platint_tui.core.ports import Target
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Authorizer, open_auth
from platint_tui.drivers.http.calls import Caller
from platint_tui.drivers.http.check import run_probes
from platint_tui.drivers.http.client import HttpClient
from platint_tui.drivers.http.discover import catalogue, fields_of
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.reader import read_stream, resource_of
from platint_tui.drivers.http.requests import profile_scope
from platint_tui.drivers.http.session import Session, places_of
from platint_tui.drivers.http.signers import Signers
from platint_tui.drivers.http.transport import AiohttpTransport
from platint_tui.drivers.http.writer import open_http_target
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.hosts import allowed_origins, is_wildcard
from platint_tui.manifest.template import render


class HttpDriver:
    """One profile: one pool of connections, one credential."""

    def __init__(
        self,
        context: DriverContext,
        transport: httpx.AsyncBaseTransport | None = None,
        auth: Authorizer | None = None,
    ) -> None:
        """`transport` replaces the network, `auth` the credential: for recorded exchanges.

        Raises ConfigError and CredentialError.
        """
        connector = context.connector
        settings = connector.transport
        scope = profile_scope(context)
        environment = context.profile.environment.value
        places = places_of(context, scope)
        allowed = origins_of(connector, scope["profile"], context.secrets, environment)
        origins = Origins(
            places[None].base_url,
            allowed,
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
        self._client = HttpClient(transport, origins, total=settings.timeout.total, cap=settings.max_body)
        self._signers = Signers(
            connector, lambda endpoint: auth or open_auth(context, self._client, scope, endpoint)
        )
        self._session = Session(
            context=context,
            caller=Caller(context, self._client, self._signers),
            origins=origins,
            places=places,
            scope=scope,
        )

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order."""
        done = await run_probes(self._session)
        notes = [note for signer in self._signers for note in signer.notes()]
        return [*done, *(Capability("scopes", False, True, note) for note in notes)]

    async def discover(self) -> Sequence[Stream]:
        """The streams that the manifest declares for this platform."""
        await self._session.ready()
        return await catalogue(self._session)

    def read(self, stream: str, position: JsonObject | None) -> AsyncIterator[Page]:
        """Pages of `stream` from `position` (None: from the beginning) to the end of one scan."""
        return read_stream(self._session, stream, position)

    async def open_target(self, plan: TargetPlan) -> Target:
        """A target for `plan.target`. Nothing is sent, but for a token that names the API's address.

        Raises ConfigError, and what fetching the token raises.
        """
        await self._session.ready()
        return open_http_target(self._session, plan)

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """The declared fields of a resource, None when the manifest declares none."""
        fields = fields_of(resource_of(self._session.context.connector, target))
        return fields or None

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


def open_http(context: DriverContext) -> HttpDriver:
    """The http driver of one profile."""
    return HttpDriver(context)
