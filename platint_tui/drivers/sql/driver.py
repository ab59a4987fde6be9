"""The SQL driver: checks and lists a database, reads its tables and views, opens tables as targets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

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
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sql import catalog, probes
from platint_tui.drivers.sql.connection import Database, address_of
from platint_tui.drivers.sql.reading import Reader
from platint_tui.drivers.sql.target import SqlTarget
from platint_tui.drivers.tables import check_table_name
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Probe
from platint_tui.manifest.sources import Mode, Source

_MODES: tuple[Mode, ...] = ("snapshot", "cursor")


class SqlDriver:
    """One database. The profile has host, port, database, user, tls, ca_file and, where it is no platform of its own,
    dialect; its secret is password.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._database = Database(self._address)

    async def check(self) -> Sequence[Capability]:
        """Sign in and run the probes of the manifest; after a failed one that is needed none is tried."""
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
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {probe.id}", seconds, not kind)
            results.append(Capability(probe.id, not kind, probe.optional, detail, seconds * 1000, kind))
            if kind and not probe.optional:
                blocked = probe.label or probe.id
        return results

    async def _probe(self, probe: Probe) -> str:
        async with self._database.connection() as session:
            if probe.id in probes.NAMES:
                return await probes.probe(probe.id, session, self._address)
            ((version,),) = await session.rows("SELECT VERSION()")
        return f"The server is {clean(str(version))}."

    async def discover(self) -> Sequence[Stream]:
        """The tables and views of the database. Raises CredentialError, ConfigError, TransientError."""
        async with self._database.connection() as session:
            found = await catalog.relations(session, self._address)
        return [catalog.stream_of(item) for name, item in found.items() if not name.startswith("_platint_")]

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a table or view: a snapshot, or what is new by a cursor.

        Raises ConfigError with the remedy, CredentialError, TransientError.
        """
        source = resource(self._context.connector, stream).source or Source(modes=_MODES)
        mode = options.mode or ("cursor" if options.cursor else source.modes[0])
        if mode not in _MODES:
            raise ConfigError(
                f"A table cannot be read as '{clean(mode)}'.",
                hint=f"Use one of: {', '.join(_MODES)}.",
                code="no_mode",
            )
        if mode == "cursor" and not options.cursor:
            raise ConfigError(
                f"'{clean(stream)}' is to be read by a cursor, and none is named.",
                where=self._address.where,
                hint="Name the column as `cursor` of the stream in the integration file.",
                code="no_cursor",
            )
        at = position if position and position.get("mode") == mode else None
        context = self._context
        async with self._database.connection() as session:
            relation = await catalog.relation(session, self._address, stream)
            reader = Reader(
                session, self._address, relation, options, source, context.telemetry, context.clock
            )
            if options.peek:
                pages = reader.preview()
            elif mode == "cursor":
                pages = reader.by_cursor(at, options.cursor or "")
            else:
                pages = reader.snapshot(at)
            async with contextlib.aclosing(pages) as closing:  # type: ignore[type-var]  # all are generators
                async for page in closing:
                    yield page

    async def open_target(self, plan: TargetPlan) -> SqlTarget:
        """The table `plan.target`, made or checked, with a column for each declared field.

        Raises ConfigError when it has another shape or the contract does not let it be changed (code `contract`),
        CredentialError, TransientError, Fenced.
        """
        target = SqlTarget(self._database, plan, self._context)
        await target.prepare()
        return target

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The statements that `open_target` would run for the table. Changes nothing. Raises what it raises."""
        return await SqlTarget(self._database, plan, self._context).planned()

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a table takes any field; new ones get a column."""
        check_table_name(target)
        return None

    async def close(self) -> None:
        """Release the engine; each read and each batch had its own connection."""
        await self._database.close()
