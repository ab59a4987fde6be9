"""The SQLite driver: checks and lists a file, opens its tables as targets."""

# ruff: noqa: S608 - identifiers are quoted, values are bound

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

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
from platint_tui.drivers.sqlite.file import SqliteFile, check_place
from platint_tui.drivers.sqlite.held import held_keys
from platint_tui.drivers.sqlite.layout import mirror_key
from platint_tui.drivers.sqlite.target import SqliteTarget
from platint_tui.drivers.tables import MIRROR_COLUMNS, OWN_COLUMNS, check_table_name, quoted

_FIELD_NAMES = ("path", "file", "database")
_TYPES = {"INTEGER": "integer", "REAL": "number", "TEXT": "string"}


class SqliteDriver:
    """One SQLite file. Its path is the profile's field `path` (or `file`, `database`)."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        fields = context.profile.fields
        given = next((fields[name] for name in _FIELD_NAMES if fields.get(name)), "")
        if not given:
            raise ConfigError(
                "The profile names no database file.",
                where=context.profile.name,
                hint="Edit the profile and fill in its path.",
            )
        self._file = SqliteFile(Path(given).expanduser(), context.connector)

    async def check(self) -> Sequence[Capability]:
        """Whether the file, or the folder in which it will be made, can be used. Creates nothing."""
        results = []
        clock = self._context.clock
        for probe in self._context.connector.check:
            started = clock.monotonic()
            try:
                ok, detail, kind = True, await self._probe(probe.query), ""
            except PlatintError as error:
                ok, detail, kind = False, error.sentence(), error.error_class.value
            seconds = clock.monotonic() - started
            self._context.telemetry.observe(f"check {probe.id}", seconds, ok)
            results.append(Capability(probe.id, ok, probe.optional, detail, seconds * 1000, kind))
        return results

    async def _probe(self, query: str | None) -> str:
        path = self._file.path
        check_place(path)
        if not path.exists():
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise ConfigError("The folder of the database cannot be written.", where=str(path))
            return "The file will be made by the first sync."

        def look(connection: sqlite3.Connection) -> str:
            connection.execute(query or "SELECT 1").fetchone()
            # Takes the write lock and gives it back: shows a read-only file before a sync does.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return f"SQLite {sqlite3.sqlite_version}"

        return await self._file.run(look)

    async def discover(self) -> Sequence[Stream]:
        """The tables of the file, as targets."""
        if not self._file.path.exists():
            check_place(self._file.path)
            return ()
        return await self._file.run(_tables)

    async def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """SQLite is a target only: raises ConfigError."""
        raise ConfigError(
            f"SQLite files are targets only; '{stream}' cannot be read from one.",
            where=self._context.profile.name,
            hint="Name another platform as the source of the integration.",
            code="not_readable",
        )
        yield  # makes this an iterator, as the protocol wants it

    async def open_target(self, plan: TargetPlan) -> SqliteTarget:
        """The table `plan.target`, made or checked, with a column for each declared field.

        Raises ConfigError when it has another shape, the contract does not let it be changed (code `contract`) or
        the file is not usable, Fenced when another engine has taken the run over.
        """
        target = SqliteTarget(self._file, plan, self._context)
        await target.prepare()
        return target

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The statements that `open_target` would run for the table. Changes nothing. Raises what it raises."""
        return await SqliteTarget(self._file, plan, self._context).planned()

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """None: a table takes any field; new ones get a column."""
        check_table_name(target)
        return None

    async def scan_keys(self, table: str) -> AsyncIterator[tuple[str, str | None]]:
        """(key, content hash of the raw text) of every row of a target table; None for the hash where the table is
        a mirror, which keeps no text.

        For the account of what a source has and a target holds. Empty when there is no such table.
        """
        check_table_name(table)
        after: int | None = None
        while True:
            rows = await self._file.run(lambda connection, start=after: held_keys(connection, table, start))  # type: ignore[misc]  # the default binds the loop's variable
            for _, key, digest in rows:
                yield key, digest
            if not rows:
                return
            after = rows[-1][0]

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()


def _tables(connection: sqlite3.Connection) -> list[Stream]:
    names = [
        row[0]
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if not row[0].lower().startswith(("sqlite_", "_platint_"))
    ]
    return [_table(connection, name) for name in names]


def _table(connection: sqlite3.Connection, name: str) -> Stream:
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    columns = {row[1] for row in rows}
    mirror = bool(mirror_key(connection, name))
    ours = mirror or columns.issuperset(OWN_COLUMNS)
    own = MIRROR_COLUMNS if mirror else OWN_COLUMNS
    fields = tuple(
        Field(row[1], _TYPES.get(row[2].upper(), "any"), required=bool(row[3]))
        for row in rows
        if not ours or row[1] not in own
    )
    key = tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])
    estimate = None
    if ours and not mirror:
        # Few rows are deleted by a sync, so the highest rowid is close to their number, and free.
        (estimate,) = connection.execute(f"SELECT max(rowid) FROM {quoted(name)}").fetchone()
    note = () if ours else ("not made by platint-tui: choose another target name",)
    return Stream(name, key, None, fields, readable=False, writable=ours, estimate=estimate, notes=note)
