"""The http driver: a profile on a platform that speaks JSON over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import httpx

from platint_tui.core.model import (
    READ_ALL,
    Capability,
    Fault,
    Field,
    Json,
    JsonObject,
    Page,
    ReadOptions,
    Record,
    Row,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.core.wire import present_watch
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Authorizer, open_auth
from platint_tui.drivers.http.calls import Caller
from platint_tui.drivers.http.check import run_probes
from platint_tui.drivers.http.connect import open_client
from platint_tui.drivers.http.deleting import DeletingTarget
from platint_tui.drivers.http.discover import catalogue, fields_of
from platint_tui.drivers.http.onerecord import OneRecord
from platint_tui.drivers.http.reader import read_stream, resource_of
from platint_tui.drivers.http.rendering import judged, rendered
from platint_tui.drivers.http.requests import profile_scope
from platint_tui.drivers.http.session import Session, places_of
from platint_tui.drivers.http.signers import Signers
from platint_tui.drivers.http.watched import WatchedTransport
from platint_tui.drivers.http.webhooks.missed import SentList
from platint_tui.drivers.http.webhooks.registering import Registrar
from platint_tui.drivers.http.writer import open_http_target


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
        scope = profile_scope(context)
        self._client = open_client(context, scope, transport)
        self._signers = Signers(
            context.connector, lambda endpoint: auth or open_auth(context, self._client, scope, endpoint)
        )
        watch = present_watch()
        if watch is not None:
            watch.private |= self._signers.at(None).private
            self._client.transport = WatchedTransport(self._client.transport, watch)
        self._session = Session(
            context=context,
            caller=Caller(context, self._client, self._signers),
            origins=self._client.origins,
            places=places_of(context, scope),
            scope=scope,
        )
        self._ones: dict[str, OneRecord] = {}

    @property
    def session(self) -> Session:
        """What sends signed requests, for a driver that speaks more than this one to the same platform."""
        return self._session

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order."""
        done = await run_probes(self._session)
        for signer in self._signers:
            done += [Capability("scopes", False, True, note) for note in signer.notes()]
            done += [Capability("sign_in", True, True, fact) for fact in signer.facts()]
        return done

    async def discover(self) -> Sequence[Stream]:
        """The streams that this account offers (see `discover`)."""
        await self._session.ready()
        return await catalogue(self._session)

    def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of `stream` from `position` (None: from the beginning) to the end of one scan."""
        return read_stream(self._session, stream, position)

    async def fetch(self, stream: str, record: Mapping[str, Json]) -> Record | None:
        """One record as `read` gives it, by what an event says of it; see `ports.FetchesOne`."""
        if stream not in self._ones:
            self._ones[stream] = OneRecord(self._session, stream)
        await self._session.ready()
        return await self._ones[stream].fetch(record)

    async def open_target(self, plan: TargetPlan) -> Target:
        """A target for `plan.target`. Nothing is sent, but for a token that names the API's address.

        Raises ConfigError, and what fetching the token raises.
        """
        await self._session.ready()
        target = open_http_target(self._session, plan)
        write = resource_of(self._session.context.connector, plan.target).write
        if write is None or not write.follow_deletes or plan.operation == "delete":
            return target
        return DeletingTarget(target, open_http_target(self._session, replace(plan, operation="delete")))

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """The declared fields of a resource, None when the manifest declares none."""
        fields = fields_of(resource_of(self._session.context.connector, target))
        return fields or None

    def registrar(self) -> Registrar:
        """What registers webhooks at the platform."""
        return Registrar(self._session)

    def sent_list(self) -> SentList:
        """What tells of the events that the platform sent."""
        return SentList(self._session)

    def render(self, plan: TargetPlan, row: Row) -> JsonObject:
        """The request for `row` alone, secrets masked (see `shown_request`); nothing is sent, no token is fetched.

        Raises RecordError when the row does not fit, ConfigError when the manifest cannot write the target.
        """
        return rendered(self._session, plan, row)

    def judge(self, response: JsonObject) -> Fault | None:
        """What the error rules say of a recorded answer to a write, None when it is no refusal."""
        return judged(self._session, response)

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


def open_http(context: DriverContext) -> HttpDriver:
    """The http driver of one profile."""
    return HttpDriver(context)
