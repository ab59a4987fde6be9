"""The PostgreSQL driver: checks and lists a database, reads its tables and views, opens tables as targets."""

from __future__ import annotations

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
from platint_tui.drivers.postgresql import discovery, probes
from platint_tui.drivers.postgresql.connection import address_of
from platint_tui.drivers.postgresql.held import held_keys
from platint_tui.drivers.postgresql.slots import Slot
from platint_tui.drivers.postgresql.source import Source
from platint_tui.drivers.postgresql.target import PostgresqlTarget
from platint_tui.drivers.tables import check_table_name
from platint_tui.manifest.schema import Probe


class PostgresqlDriver:
    """One database. The profile has host, port, database, user, schema, tls, ca_file; its secret is password.

    `tls` is disable, prefer, require, verify-ca or verify-full; without it prefer on loopback and verify-full
    elsewhere.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._address = address_of(context)
        self._source = Source(context, self._address)

    async def check(self) -> Sequence[Capability]:
        """Sign in and run the probes of the manifest; after a required one failed the others are not tried."""
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
        """What a probe found: its own answer, or that its query answers with something else than false or null.

        Raises PlatintError when it fails.
        """
        async with self._source.connection() as connection:
            if probe.id in probes.NAMES:
                return await probes.probe(probe.id, connection, self._address)
            query = probe.query or "SELECT 1"
            answer = await connection.fetchval(query)
            version = await connection.fetchval("SELECT current_setting('server_version')")
        if answer is None or answer is False:
            raise ConfigError(f"The server answers no to: {clean(query)}.", where=self._address.where)
        return f"PostgreSQL {clean(str(version))}"

    async def discover(self) -> Sequence[Stream]:
        """The tables and views of all schemas. Raises CredentialError, ConfigError, TransientError."""
        async with self._source.connection() as connection:
            return await discovery.discover(connection, self._address.schema, self._address.user)

    def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of a table or view: a snapshot, what is new by a cursor, or a feed of changes.

        Raises ConfigError with the remedy, CredentialError, TransientError, PositionLost.
        """
        return self._source.read(stream, position, options)

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Whether reading goes on without an end: only a feed of changes does."""
        return self._source.mode_of(stream, options) == "cdc"

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Let the server forget the changes before `position`. Raises TransientError."""
        await self._source.acknowledge(stream, position)

    async def release(self, sync: str, stream: str) -> None:
        """Drop the slot and the publication that were made for a stream of a sync, if they are there.

        To be called when the stream is removed or reset: a slot that nobody reads keeps the server's log for ever.
        Raises TransientError when somebody goes on reading the slot, ConfigError without the right to drop it.
        """
        await self._source.release(sync, stream)

    async def slots(self) -> Sequence[Slot]:
        """The replication slots of ours in this database, whichever sync made them."""
        return await self._source.slots()

    async def open_target(self, plan: TargetPlan) -> PostgresqlTarget:
        """The table `plan.target`, made or checked, with a column for each declared field.

        Raises ConfigError when it has another shape or the contract does not let it be changed (code `contract`),
        CredentialError, TransientError, Fenced.
        """
        target = PostgresqlTarget(self._address, plan, self._context)
        try:
            await target.prepare()
        except BaseException:
            await target.close()
            raise
        return target

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The statements that `open_target` would run for the table. Changes nothing. Raises what it raises."""
        target = PostgresqlTarget(self._address, plan, self._context)
        try:
            return await target.planned()
        finally:
            await target.close()

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a table takes any field; new ones get a column."""
        check_table_name(target)
        return None

    async def scan_keys(self, table: str) -> AsyncIterator[tuple[str, str | None]]:
        """(key, content hash of the raw text) of every row of a target table, in the order of the keys.

        For the account of what a source has and a target holds: see `held.held_keys`.
        """
        check_table_name(table)
        async with self._source.connection() as connection:
            async for key, digest in held_keys(connection, self._address, table):
                yield key, digest

    async def close(self) -> None:
        """Nothing to release: each read and each target has its own connection."""
