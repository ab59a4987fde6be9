"""The gRPC driver: checks a server, lists its methods, reads them and calls them for rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import grpc
import grpc.aio

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
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
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc.known import HEALTH, HEALTH_STATES, parsed
from platint_tui.drivers.grpc.link import Link, address_of, code_of, translate
from platint_tui.drivers.grpc.messages import field_of
from platint_tui.drivers.grpc.methods import convention, reading_of, source_of, streams, writing_of
from platint_tui.drivers.grpc.reading import Reader
from platint_tui.drivers.grpc.reflection import Described, describe
from platint_tui.drivers.grpc.target import GrpcTarget
from platint_tui.manifest.schema import Probe

_REFUSED = frozenset({"UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


class GrpcDriver:
    """One server. The profile has target, tls, ca_file, metadata and deadline; its secret is token."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        sources = [item.source for item in context.connector.resources.values() if item.source is not None]
        self._link = Link(
            self._address,
            most=max((item.max_message for item in sources), default=16 * 1024**2),
            heartbeat=min((item.heartbeat for item in sources), default=30.0),
        )
        self._described: Described | None = None
        self._describing = asyncio.Lock()

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest; after a failed one that is needed none is tried."""
        clock = self._context.clock
        results: list[Capability] = []
        blocked = ""
        for probe in self._context.connector.check:
            if blocked:
                said = f"Not tried: '{blocked}' failed."
                results.append(Capability(probe.id, False, probe.optional, said, tried=False))
                continue
            started = clock.monotonic()
            kind = ""
            try:
                detail = await self._probe(probe)
            except PlatintError as error:
                detail, kind = error.sentence(), error.error_class.value
            except grpc.aio.AioRpcError as error:
                judged = translate(error, self._address, self._context, probe.label or probe.id)
                detail, kind = judged.sentence(), judged.error_class.value
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {probe.id}", seconds, not kind)
            results.append(Capability(probe.id, not kind, probe.optional, detail, seconds * 1000, kind))
            if kind and not probe.optional:
                blocked = probe.label or probe.id
        return results

    async def _probe(self, probe: Probe) -> str:
        if probe.id == "reflection":
            described = await self._describe()
            services = {name.partition("/")[0] for name in described.methods}
            return f"The server describes {len(services)} services by reflection {described.version}."
        if probe.id == "health":
            return await self._health()
        if probe.id == "token":
            return await self._sign_in()
        await self._connect()
        return "The server answers" + (" over TLS." if self._address.tls else ", without TLS.")

    async def _connect(self) -> None:
        """Wait for the connection. Raises TransientError, ConfigError for a certificate that is not trusted."""
        try:
            # The answer does not matter: only a call says why there is no connection.
            await self._link.unary(HEALTH, b"", seconds=self._address.connect_seconds)
        except grpc.aio.AioRpcError as error:
            if code_of(error) == "DEADLINE_EXCEEDED":
                raise TransientError(
                    "The server did not answer in time.", where=self._address.where, code="timeout"
                ) from None
            if code_of(error) == "UNAVAILABLE":
                raise translate(error, self._address, self._context, "Connecting") from None

    async def _health(self) -> str:
        try:
            answer = await self._link.unary(HEALTH, b"", seconds=self._address.connect_seconds)
        except grpc.aio.AioRpcError as error:
            if code_of(error) == "UNIMPLEMENTED":
                return "The server has no health service."
            raise
        state = HEALTH_STATES.get(parsed("Health", answer).status, "UNKNOWN")
        if state != "SERVING":
            raise TransientError(
                f"The server says of itself: {state}.", where=self._address.where, code=state
            )
        return "The server says of itself: SERVING."

    async def _sign_in(self) -> str:
        """Call one method that only reads, with an empty request: whatever it answers, the token was taken.

        Raises grpc.aio.AioRpcError when it was refused.
        """
        described = await self._describe()
        for method in described.methods.values():
            if method.sends_many or method.gives_many or convention(method) is None:
                continue
            try:
                await self._link.unary(method.path, b"")
            except grpc.aio.AioRpcError as error:
                if code_of(error) in _REFUSED:
                    raise
            return f"{method.name} takes the sign-in."
        return "No method is known to only read, so the sign-in could not be tried."

    async def _describe(self) -> Described:
        """What the server says of itself, asked once."""
        async with self._describing:
            if self._described is None:
                try:
                    self._described = await describe(self._link)
                except grpc.aio.AioRpcError as error:
                    raise translate(error, self._address, self._context, "Reflection") from None
            return self._described

    async def discover(self) -> Sequence[Stream]:
        """The methods of the server. Raises CredentialError, ConfigError, TransientError."""
        self._described = None
        described = await self._describe()
        try:
            await self._sign_in()
        except grpc.aio.AioRpcError as error:
            raise translate(error, self._address, self._context, "Signing in") from None
        return streams(described, self._context.connector, self._address.where)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Whether the answer is a stream without an end, as the manifest says."""
        call = source_of(self._context.connector, stream).call
        return call is not None and call.follow

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of what a method gives (see `reading`). Raises PlatintError."""
        source = source_of(self._context.connector, stream)
        if options.mode and options.mode not in source.modes:
            raise ConfigError(
                f"'{stream}' is read by {' or '.join(source.modes)}, not by {options.mode}.",
                where=self._address.where,
                hint="Change or remove `mode` of the stream in the integration file.",
                code="no_mode",
            )
        described = await self._describe()
        reading = reading_of(described, self._context.connector, stream, self._address.where)
        pages = Reader(self._link, described, reading, stream, self._context).pages(position, options)
        async with contextlib.aclosing(pages) as closing:  # type: ignore[type-var]  # both kinds are generators
            async for page in closing:
                yield page

    async def open_target(self, plan: TargetPlan) -> GrpcTarget:
        """The method that `plan.target` names. Raises ConfigError, CredentialError, TransientError."""
        described = await self._describe()
        writing = writing_of(described, self._context.connector, plan.target, self._address.where)
        return GrpcTarget(self._link, described, writing, plan, self._context)

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """The fields of the message that a row becomes."""
        described = await self._describe()
        writing = writing_of(described, self._context.connector, target, self._address.where)
        return tuple(map(field_of, writing.row.fields))

    async def close(self) -> None:
        """Close the channel."""
        await self._link.close()
