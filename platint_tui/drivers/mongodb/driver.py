"""The MongoDB driver: checks and lists a database, reads its collections, opens them as targets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import (
    READ_ALL,
    Capability,
    Field,
    JsonObject,
    Page,
    ReadOptions,
    SchemaChange,
    Stream,
    TargetPlan,
)
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.mongodb import changes, incremental, snapshot
from platint_tui.drivers.mongodb.connection import Client, Database, address_of, client_of
from platint_tui.drivers.mongodb.discovery import discover
from platint_tui.drivers.mongodb.failures import FAILURES, translate
from platint_tui.drivers.mongodb.probes import probe
from platint_tui.drivers.mongodb.reading import COLLECTION, Place, Reading, find_place
from platint_tui.drivers.mongodb.target import MongodbTarget
from platint_tui.manifest.loader import resource
from platint_tui.manifest.sources import Source

_USUAL = Source(modes=("snapshot", "cursor", "cdc"))


class MongodbDriver:
    """One database. The profile's fields are those of `connection.address_of`; its secret is password."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._opened: Client | None = None

    def _database(self) -> Database:
        """The database, over a client that is made on first use. Raises ConfigError."""
        if self._opened is None:
            with self._errors():
                self._opened = client_of(self._address, self._context.telemetry)
        return self._opened[self._address.database]

    @contextlib.contextmanager
    def _errors(self, doing: str = "read") -> Iterator[None]:
        """Errors of pymongo come out as PlatintError."""
        try:
            yield
        except PlatintError:
            raise
        except FAILURES as error:
            raise translate(error, self._address, doing) from None

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest: connect, read, write, changes. After a failed needed one none is tried."""
        clock = self._context.clock
        results: list[Capability] = []
        for item in self._context.connector.check:
            if any(not (found.ok or found.optional) for found in results):
                results.append(Capability(item.id, False, item.optional, "", tried=False))
                continue
            started = clock.monotonic()
            try:
                with self._errors("write" if item.id == "write" else "read"):
                    detail = await probe(item.id, self._database(), self._address)
                ok, kind = True, ""
            except PlatintError as error:
                ok, detail, kind = False, error.sentence(), error.error_class.value
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {item.id}", seconds, ok)
            results.append(Capability(item.id, ok, item.optional, detail, seconds * 1000, kind))
        return results

    async def discover(self) -> Sequence[Stream]:
        """The collections and views of the database. Raises CredentialError, ConfigError, TransientError."""
        with self._errors("look"):
            return await discover(self._database(), self._address, self._context.clock)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Change streams go on without an end; everything else is asked again and again."""
        return self._mode(stream, options) == changes.MODE

    def _source(self, stream: str) -> Source:
        return resource(self._context.connector, stream).source or _USUAL

    def _mode(self, stream: str, options: ReadOptions) -> str:
        return options.mode or self._source(stream).modes[0]

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a collection or view; see `snapshot`, `incremental` and `changes` for the modes and positions.

        A position of another mode is none. Raises PlatintError as the protocol says.
        """
        mode = self._mode(stream, options)
        if position is not None and (position.get("v"), position.get("mode")) != (1, mode):
            position = None
        with self._errors():
            database = self._database()
            async with database.client.start_session(causal_consistency=True) as session:
                # A stream of changes goes on while its collection is dropped.
                place = (
                    Place(stream, COLLECTION)
                    if mode == changes.MODE and position is not None
                    else await find_place(database, stream, self._address)
                )
                reading = Reading(
                    database.client, database, self._address, place, session, self._source(stream), options
                )
                pages = self._pages(mode, reading, position)
                async with contextlib.aclosing(pages):  # type: ignore[type-var]  # the modes are generators
                    async for page in pages:
                        yield page

    def _pages(self, mode: str, reading: Reading, position: JsonObject | None) -> AsyncIterator[Page]:
        if mode == changes.MODE:
            return changes.read_changes(reading, position, self._context.clock)
        if mode == incremental.MODE:
            return incremental.read_incremental(reading, position)
        if mode == snapshot.MODE:
            return snapshot.read_snapshot(reading, position)
        raise ConfigError(
            f"A collection cannot be read with mode {mode}.",
            where=self._context.profile.name,
            hint="Use snapshot, cursor or cdc.",
            code="mode",
        )

    async def open_target(self, plan: TargetPlan) -> MongodbTarget:
        """The collection `plan.target`; the first write makes it where the contract allows.

        Raises ConfigError for a view or a name that cannot be, CredentialError, TransientError.
        """
        target = self._target(plan)
        await target.prepare()
        return target

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """What writing `plan.target` would make. Raises what `open_target` raises."""
        return await self._target(plan).planned()

    def _target(self, plan: TargetPlan) -> MongodbTarget:
        return MongodbTarget(self._database(), self._address, plan, self._context)

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a collection takes any field."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        client, self._opened = self._opened, None
        if client is not None:
            await client.close()
