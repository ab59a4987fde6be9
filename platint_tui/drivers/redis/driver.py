"""The Redis driver: families of keys and streams as sources, hashes, JSON texts and streams as targets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    DeadQueue,
    Field,
    JsonObject,
    NativeLetter,
    Page,
    ReadOptions,
    Returned,
    Stream,
    TargetPlan,
)
from platint_tui.core.ports import Target
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.redis import dead
from platint_tui.drivers.redis.check import probe
from platint_tui.drivers.redis.connection import Wire, address_of, connect
from platint_tui.drivers.redis.discover import discover
from platint_tui.drivers.redis.keys import read_family
from platint_tui.drivers.redis.names import family_named
from platint_tui.drivers.redis.places import place_of, written
from platint_tui.drivers.redis.streams import StreamReader, acknowledge
from platint_tui.drivers.redis.target import RowsTarget
from platint_tui.drivers.redis.xadd import EntriesTarget
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Probe
from platint_tui.manifest.sources import Source


class RedisDriver:
    """One database of one server. The profile has host, port, user, database, tls, ca_file; its secret is password.

    `tls` is disable, require or verify-full; without it verify-full, on loopback disable. Everything that reads
    has a connection of its own, so a stream may be read while another one is waited for.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._acknowledging = asyncio.Lock()
        self._wire: Wire | None = None
        self._unacked: dict[tuple[str, str], dict[str, None]] = {}
        self._was_primary = False

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Wire]:
        wire = await connect(self._address)
        try:
            yield wire
        finally:
            await wire.close()

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or Source(modes=("snapshot", "consume"))

    async def check(self) -> Sequence[Capability]:
        """Sign in and run the probes of the manifest; after a failed one that is needed none is tried."""
        results: list[Capability] = []
        blocked = ""
        for item in self._context.connector.check:
            if blocked:
                said = f"Not tried: '{blocked}' failed."
                results.append(Capability(item.id, False, item.optional, said, tried=False))
                continue
            results.append(await self._probed(item))
            if not (results[-1].ok or item.optional):
                blocked = item.label or item.id
        return results

    async def _probed(self, item: Probe) -> Capability:
        clock = self._context.clock
        started = clock.monotonic()
        try:
            async with self._connection() as wire:
                ok, detail, kind = await probe(wire, item.id, self._address.user)
        except PlatintError as error:
            ok, detail, kind = False, error.sentence(), error.error_class.value
        seconds = clock.monotonic() - started
        self._context.telemetry.observe(f"check {item.id}", seconds, ok)
        return Capability(item.id, ok, item.optional, detail, seconds * 1000, kind)

    async def discover(self) -> Sequence[Stream]:
        """Families of keys by a sample, and Redis streams. Raises CredentialError, ConfigError, TransientError."""
        async with self._connection() as wire:
            return await discover(wire, self._context.clock)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Redis streams are waited for; families of keys are scanned again and again."""
        return family_named(stream) is None

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a family or of a Redis stream (see `names`, `keys` and `streams`). Raises PlatintError."""
        family = family_named(stream)
        known = ("snapshot",) if family is not None else ("consume", "snapshot")
        if options.mode and options.mode not in known:
            what = "A family of keys" if family is not None else "A Redis stream"
            raise ConfigError(
                f"{what} such as '{clean(stream)}' is read by {' or '.join(known)}, not by {clean(options.mode)}.",
                where=self._context.profile.name,
                hint="Change or remove `mode` of the stream in the integration file.",
            )
        clock, source = self._context.clock, self._source(stream)
        async with self._connection() as wire:
            if family is not None:
                pages = read_family(wire, family, position, source, clock)
            else:
                reader = StreamReader(wire, stream, options, source, clock)
                self._unacked[stream, reader.group] = reader.unacked
                pages = reader.pages(position)
            async with contextlib.aclosing(pages):
                started = clock.monotonic()
                async for page in pages:
                    if page.records:
                        self._context.telemetry.observe(f"read {stream}", clock.monotonic() - started, True)
                    yield page
                    started = clock.monotonic()

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """XACK of what the position says is stored. Raises TransientError: then it is done when reading begins
        again.
        """
        group, ids = position.get("group"), position.get("unacked") or ()
        if not group or not ids:
            return
        clock = self._context.clock
        started = clock.monotonic()
        ok = False
        try:
            async with self._acknowledging:
                if self._wire is None or self._wire.lost:
                    self._wire = await connect(self._address)
                await acknowledge(self._wire, stream, str(group), ids)
            ok = True
        finally:
            self._context.telemetry.observe(f"acknowledge {stream}", clock.monotonic() - started, ok)
        waiting = self._unacked.get((stream, str(group)), {})
        for identity in ids:
            waiting.pop(identity, None)

    async def open_target(self, plan: TargetPlan) -> Target:
        """The keys or the stream that `plan.target` names, ready to be written.

        Raises ConfigError for a replica, a name that cannot be used or a right that is missing, CredentialError,
        TransientError.
        """
        place = place_of(self._context.connector, plan.target)
        kind = EntriesTarget if place.shape == "stream" else RowsTarget
        target = kind(self._context, plan, place, self._primary)
        try:
            await target.prepare()
        except BaseException:
            await target.close()
            raise
        return target

    async def _primary(self) -> Wire:
        """A connection to a server that can be written.

        Raises ConfigError when it is a replica; one that was the primary before may have had a failover, whose
        end is worth waiting for: TransientError.
        """
        wire = await connect(self._address)
        if wire.server.role not in ("slave", "replica"):
            self._was_primary = True
            return wire
        await wire.close()
        kind = TransientError if self._was_primary else ConfigError
        raise kind(
            "This server is a replica, which cannot be written.",
            where=self._address.where,
            hint="Give the address of the primary in the profile.",
            code="READONLY",
        )

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: hashes, JSON texts and entries take any field. Raises ConfigError for a name that cannot be used."""
        place_of(self._context.connector, target)
        return None

    async def scan_keys(self, target: str) -> AsyncIterator[tuple[str, str]]:
        """(key, content hash of the raw text) of every row that was written to a target of keys.

        For the account of what a source has and a target holds. Raises ConfigError for a stream, which holds no rows.
        """
        place = place_of(self._context.connector, target)
        if place.shape == "stream":
            raise ConfigError(
                f"'{clean(target)}' is a stream of entries, which are not told apart by key.",
                where=self._context.profile.name,
            )
        async with self._connection() as wire, contextlib.aclosing(written(wire, place)) as found:
            async for keys in found:
                for _, held in keys:
                    yield held.key or "", held.hash

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """One for each stream and group with entries that were delivered too often and never acknowledged."""
        async with self._connection() as wire:
            return await dead.queues(wire, self._context.clock, self._source("*").max_deliveries)

    async def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` of them, oldest first; their consumers keep them."""
        async with self._connection() as wire:
            most = self._source("*").max_deliveries
            async with contextlib.aclosing(
                dead.browse(wire, queue, limit, most, self._context.clock)
            ) as letters:
                async for letter in letters:
                    yield letter

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Add the entry to its stream as a new one, and acknowledge the old one after the server has answered."""
        async with self._connection() as wire:
            return await dead.give_back(wire, letter)

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Acknowledge the entry: it stays in the stream, and is pending in the group no more."""
        async with self._connection() as wire:
            return await dead.discard(wire, letter)

    async def close(self) -> None:
        """Close the connection that acknowledges; every other one closes with what it is for."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()
