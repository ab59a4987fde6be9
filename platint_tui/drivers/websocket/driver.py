"""The driver of WebSockets: feeds of messages, messages that are sent, and what else the manifest declares as
requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    Field,
    JsonObject,
    Page,
    ReadOptions,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.live import feed_streams, only_consumes
from platint_tui.drivers.websocket.connection import open_connection
from platint_tui.drivers.websocket.reader import Scan, stale
from platint_tui.drivers.websocket.target import SocketTarget
from platint_tui.manifest.live import Socket
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Probe
from platint_tui.manifest.sources import Sink, Source

_LOOKED_AT = 25
"""Messages of a preview."""


class WebsocketDriver:
    """One account. Streams whose source has a `socket` are feeds; the others are those of the http driver."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError and CredentialError."""
        self._context = context
        self._http = HttpDriver(context)
        self._scans: dict[str, Scan] = {}

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest; one with `open` connects to the first feed, or that named as its query."""
        done: list[Capability] = []
        for outcome in await self._http.check():
            probe = next((item for item in self._context.connector.check if item.id == outcome.id), None)
            opens = probe is not None and probe.request is None
            done.append(await self._probe(probe) if probe is not None and opens else outcome)
        return done

    async def _probe(self, probe: Probe) -> Capability:
        started = self._context.clock.monotonic()
        try:
            stream = probe.query or next(
                name
                for name, item in self._context.connector.resources.items()
                if item.source is not None and item.source.socket is not None
            )
            await self._http.session.ready()
            connection = await open_connection(
                self._http.session, stream, self._socket(stream), subscribe=False
            )
            try:
                await connection.ping()
            finally:
                await connection.close()
        except PlatintError as error:
            return Capability(
                probe.id, False, probe.optional, error.sentence(), error_class=error.error_class.value
            )
        latency = (self._context.clock.monotonic() - started) * 1000
        detail = f"{self._http.session.caller.host} answers a ping."
        return Capability(probe.id, True, probe.optional, detail, latency)

    async def discover(self) -> Sequence[Stream]:
        """The feeds of the manifest, and the streams of the http driver. Raises what that raises."""
        feeds = feed_streams(self._context.connector, "socket", lambda source: source.socket)
        names = {item.name for item in feeds}
        return [*feeds, *(item for item in await self._http.discover() if item.name not in names)]

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Feeds are waited for."""
        return options.follow and not options.peek and self._source(stream).socket is not None

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a feed, from after the position where the platform can go on there, else with a gap.

        Raises CredentialError, ConfigError, TransientError (lost, silent), RateLimited, SystemicError.
        """
        source = self._source(stream)
        if source.socket is None:
            async with aclosing(self._http.read(stream, position, options)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
            return
        only_consumes(options, stream)
        await self._http.session.ready()
        await self._forget(stream)
        scan = Scan(self._http.session, stream, source, source.socket, position)
        if not options.peek:
            self._scans[stream] = scan
        follow, most = options.follow and not options.peek, _LOOKED_AT if options.peek else None
        try:
            async with aclosing(scan.pages(follow, most)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
        finally:
            if options.peek or not scan.outstanding:
                await scan.close()

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Acknowledge every message up to this position, where the platform wants that. Raises TransientError when
        the connection that they came over is gone."""
        scan = self._scans.get(stream)
        if not position.get("tag") or (scan is not None and position == scan.begun):
            return
        if scan is None or position.get("connection") != scan.token:
            raise stale(stream)
        await scan.acknowledge(int(position["tag"]))

    async def open_target(self, plan: TargetPlan) -> Target:
        """A feed to send to, or a target of the http driver. Raises PlatintError."""
        found = resource(self._context.connector, plan.target)
        if found.source is None or found.source.socket is None or found.sink is None:
            return await self._http.open_target(plan)
        await self._http.session.ready()
        target = SocketTarget(self._http.session, plan, found.source.socket, found.sink or Sink())
        await target.open()
        return target

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None for a feed, which takes any message; else what the http driver says."""
        if self._source(target).socket is not None:
            return None
        return await self._http.describe_target(target)

    async def close(self) -> None:
        """Release connections."""
        for stream in list(self._scans):
            await self._forget(stream)
        await self._http.close()

    async def _forget(self, stream: str) -> None:
        scan = self._scans.pop(stream, None)
        if scan is not None:
            await scan.close()

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or Source(modes=("consume",))

    def _socket(self, stream: str) -> Socket:
        found = self._source(stream).socket
        if found is None:
            raise ConfigError(f"'{clean(stream)}' is no WebSocket.", code="no_feed")
        return found


def open_websocket(context: DriverContext) -> WebsocketDriver:
    """The driver of one profile."""
    return WebsocketDriver(context)
