"""The MQTT driver: one account at one broker."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

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
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mqtt.discover import catalogue
from platint_tui.drivers.mqtt.link import Link, open_link
from platint_tui.drivers.mqtt.probes import greeting, probe
from platint_tui.drivers.mqtt.profile import address_of, check_filter
from platint_tui.drivers.mqtt.reader import Scan, look, open_scan, retained, visit
from platint_tui.drivers.mqtt.session import stale
from platint_tui.drivers.mqtt.target import MqttTarget, check_target
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Sink, Source

_LOOKED_AT = 25
"""Messages of a preview."""
_NO_SOURCE = Source(modes=("consume", "snapshot"))


class MqttDriver:
    """One account. The profile has host, port, transport, path, tls, ca_file, version, user, client_prefix and topics;
    its secret is password.

    Every read and every target has a connection of its own, which is not opened again when it is lost.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._scans: dict[str, Scan] = {}

    async def check(self) -> Sequence[Capability]:
        """Sign in and say what the broker can do; without a connection the others are not tried."""
        results: list[Capability] = []
        async with contextlib.AsyncExitStack() as stack:
            link: Link | None = None
            for item in self._context.connector.check:
                if results and link is None:
                    results.append(Capability(item.id, False, item.optional, "", tried=False))
                    continue
                started, kind = self._context.clock.monotonic(), ""
                try:
                    if link is None:
                        link = await stack.enter_async_context(visit(self._address))
                        detail = greeting(link)
                    else:
                        detail = await probe(item.query or item.id, link)
                except PlatintError as error:
                    detail, kind = error.sentence(), error.error_class.value
                seconds = self._observe(f"check {item.id}", started, not kind)
                results.append(Capability(item.id, not kind, item.optional, detail, seconds * 1000, kind))
        return results

    async def discover(self) -> Sequence[Stream]:
        """Filters that the profile names or topics with a retained message, and one stream `*` that says that there
        may be more. Raises CredentialError, ConfigError, TransientError."""
        started, ok = self._context.clock.monotonic(), False
        try:
            found = await catalogue(self._address, self._context.clock)
            ok = True
        finally:
            self._observe("discover", started, ok)
        return found

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Topics can be followed; what is retained is read once."""
        return options.follow and options.mode != "snapshot"

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a topic filter. What was delivered to an earlier reading and not acknowledged comes first.

        Raises ConfigError (no filter, no right), CredentialError, PositionLost (the broker has forgotten the
        session), TransientError.
        """
        address, clock = self._address, self._context.clock
        check_filter(stream, address.where)
        source = self._source(stream)
        if options.peek:
            yield await look(address, stream, source, clock, _LOOKED_AT)
        elif options.mode == "snapshot":
            if stream.startswith("$share/"):
                raise ConfigError(
                    "A shared subscription brings no retained messages.",
                    where=address.where,
                    hint="Read the filter without $share for a snapshot.",
                    code="mode",
                )
            async with contextlib.aclosing(retained(address, stream, source, clock)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
        elif options.mode in ("", "consume"):
            async with contextlib.aclosing(self._consume(stream, position, options, source)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    yield page
        else:
            raise ConfigError(
                f"Topics are consumed, or read as a snapshot of what is retained; there is no mode "
                f"'{clean(options.mode)}' for them.",
                where=address.where,
                hint="Leave `mode` out of the integration file.",
                code="mode",
            )

    async def _consume(
        self, stream: str, position: JsonObject | None, options: ReadOptions, source: Source
    ) -> AsyncIterator[Page]:
        await self._forget(stream)
        scan = await open_scan(self._address, stream, source, self._context.clock, position, options)
        self._scans[stream] = scan
        try:
            async with contextlib.aclosing(scan.pages(options.follow)) as pages:  # type: ignore[type-var]  # it is a generator
                async for page in pages:
                    if page.records or page.bad:
                        self._context.telemetry.observe(f"receive {stream}", 0.0, True)
                    yield page
        finally:
            scan.session.leave()
            if not scan.session.outstanding:
                await self._forget(stream)

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Acknowledge every message up to this position, over the connection that it came over. Raises TransientError
        when that is gone."""
        found = self._scans.get(stream)
        if not position.get("tag"):
            return  # nothing was delivered before it
        if found is not None and position == found.begun:
            return  # it was acknowledged before, or what it stands for is delivered again
        if found is None or position.get("connection") != found.session.token:
            raise stale(self._address.where, stream)
        started, ok = self._context.clock.monotonic(), False
        try:
            await found.session.acknowledge(int(position["tag"]))
            ok = True
        finally:
            self._observe(f"acknowledge {stream}", started, ok)

    async def release(self, sync: str, stream: str) -> None:
        """Have the broker forget the session of a sync's stream, with what it keeps there. Raises PlatintError."""
        await self._forget(stream)
        link = await open_link(self._address, self._address.client_id(sync, stream))
        await link.close()

    async def open_target(self, plan: TargetPlan) -> MqttTarget:
        """A topic to publish to. Raises ConfigError (no topic, a QoS that the broker does not take), CredentialError,
        TransientError."""
        target = MqttTarget(
            plan,
            self._context,
            resource(self._context.connector, plan.target).sink or Sink(),
            self._address.total_seconds,
            lambda: open_link(self._address, f"{self._address.prefix}{secrets.token_hex(8)}"),
        )
        try:
            await target.open()
        except BaseException:
            await target.close()
            raise
        return target

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a message takes any field. Raises ConfigError for what cannot be a target."""
        check_target(target)
        return None

    async def close(self) -> None:
        """End every connection: what is not acknowledged comes again."""
        for stream in list(self._scans):
            await self._forget(stream)

    async def _forget(self, stream: str) -> None:
        found = self._scans.pop(stream, None)
        if found is not None:
            found.session.leave()
            await found.session.link.close()

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or _NO_SOURCE

    def _observe(self, operation: str, started: float, ok: bool) -> float:
        seconds = self._context.clock.monotonic() - started
        self._context.telemetry.observe(operation, seconds, ok)
        return seconds
