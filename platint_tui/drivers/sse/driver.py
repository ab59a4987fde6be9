"""The driver of Server-Sent Events: feeds of events, and what else the manifest declares as requests."""

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
from platint_tui.drivers.sse.exchange import Ended, open_feed
from platint_tui.drivers.sse.reader import Scan, address_of, headers_of
from platint_tui.manifest.live import Events
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Probe
from platint_tui.manifest.sources import Source

_LOOKED_AT = 25
"""Events of a preview."""
_LONGEST_RETRY = 60.0


class SseDriver:
    """One account. Streams whose source has `events` are feeds; the others are those of the http driver."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError and CredentialError."""
        self._context = context
        self._http = HttpDriver(context)
        self._next: dict[str, float] = {}
        """When a feed may be connected to again, where its server has said how long to wait."""

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
                if item.source is not None and item.source.events is not None
            )
            _, live = self._feed(stream)
            session = self._http.session
            await session.ready()
            scope = {**session.scope_of(stream), "cursor": {}}
            headers = {**headers_of(session, live, scope), "accept": "text/event-stream"}
            headers["accept-encoding"] = "identity"
            url = address_of(session, live, scope)
            try:
                await (await open_feed(session, live.endpoint, url, headers, stream)).close()
                detail = f"{session.caller.host} sends events."
            except Ended:
                detail = f"{session.caller.host} has no more events (204)."
        except PlatintError as error:
            return Capability(
                probe.id, False, probe.optional, error.sentence(), error_class=error.error_class.value
            )
        latency = (self._context.clock.monotonic() - started) * 1000
        return Capability(probe.id, True, probe.optional, detail, latency)

    async def discover(self) -> Sequence[Stream]:
        """The feeds of the manifest, and the streams of the http driver. Raises what that raises, and for a feed that
        refuses the credential CredentialError."""
        feeds = feed_streams(self._context.connector, "events", lambda source: source.events)
        names = {item.name for item in feeds}
        return [*feeds, *(item for item in await self._http.discover() if item.name not in names)]

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Feeds are waited for."""
        return options.follow and not options.peek and self._source(stream).events is not None

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a feed, from the event after the position where the server can go on there.

        Raises CredentialError, ConfigError (no events at the address, ended for good), TransientError (lost, silent),
        RateLimited, SystemicError.
        """
        source = self._source(stream)
        if source.events is None:
            async with aclosing(self._http.read(stream, position, options)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
            return
        only_consumes(options, stream)
        await self._http.session.ready()
        await self._pause(stream)
        scan = Scan(self._http.session, stream, source, source.events, position)
        follow, most = options.follow and not options.peek, _LOOKED_AT if options.peek else None
        try:
            async with aclosing(scan.pages(follow, most)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
        finally:
            if scan.retry is not None:
                self._next[stream] = self._context.clock.monotonic() + min(scan.retry, _LONGEST_RETRY)

    async def _pause(self, stream: str) -> None:
        """Wait as long as the server wants between two connections (its field `retry`)."""
        wait = self._next.pop(stream, 0.0) - self._context.clock.monotonic()
        if wait > 0:
            await self._context.clock.sleep(wait)

    async def open_target(self, plan: TargetPlan) -> Target:
        """A target of the http driver. Raises ConfigError for a feed, which cannot be written."""
        if self._source(plan.target).events is not None:
            raise ConfigError(f"'{clean(plan.target)}' is a feed of events, which can only be read.")
        return await self._http.open_target(plan)

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """What the http driver says."""
        return await self._http.describe_target(target)

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or Source(modes=("consume",))

    def _feed(self, stream: str) -> tuple[Source, Events]:
        source = self._source(stream)
        if source.events is None:
            raise ConfigError(f"'{clean(stream)}' is no feed of events.", code="no_feed")
        return source, source.events


def open_sse(context: DriverContext) -> SseDriver:
    """The driver of one profile."""
    return SseDriver(context)
