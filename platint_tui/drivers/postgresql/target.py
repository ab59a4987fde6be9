"""A table of a PostgreSQL database as the target of one stream."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from platint_tui.core.errors import Fenced, PlatintError, SystemicError, TransientError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Batch, Confirmed, Fault, Row, TargetPlan, WriteResult
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.postgresql import layout as layouts
from platint_tui.drivers.postgresql.connection import (
    FAILURES,
    Address,
    connect,
    is_record_error,
    row_fault,
    translate,
)
from platint_tui.drivers.postgresql.layout import Layout
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.tables import POSITIONS, Refusal, check_table_name, new_keys, quoted, version_of

_CLOSE_SECONDS = 5.0


class PostgresqlTarget:
    """Writes rows of one stream into one table; made by `PostgresqlDriver.open_target`. One connection."""

    transactional = True

    def __init__(self, address: Address, plan: TargetPlan, context: DriverContext) -> None:
        self._address = address
        self._plan = plan
        self._clock = context.clock
        self._opening = Retries(context, "connect")
        self._writing = Retries(context, f"write {plan.target}")
        self._connection: asyncpg.Connection[Any] | None = None
        self._layout: Layout | None = None
        self._staged: tuple[str, ...] = ()
        self._held: tuple[str, int, int] | None = None
        self._unsure: tuple[int, WriteResult, Layout] | None = None
        schema = quoted(address.schema)
        self._positions = f"{schema}.{quoted(POSITIONS)}"
        self._table = f"{schema}.{quoted(plan.target)}"

    async def prepare(self) -> None:
        """Create or check the table. Raises ConfigError when it has another shape, Fenced, TransientError."""
        check_table_name(self._plan.target)
        await self._opening.run(self._prepare)

    async def confirmed(self) -> Confirmed | None:
        """The position that the database holds for this sync and this table."""
        return await self._opening.run(self._confirmed)

    async def write(self, batch: Batch) -> WriteResult:
        """Rows and position in one transaction; refused rows come back as faults, the others are written.

        Raises Fenced when another engine has moved the position, TransientError when the database stays away
        through all tries, CredentialError, ConfigError, SystemicError; then nothing of the batch is written.
        """
        return await self._writing.run(lambda: self._write(batch))

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=_CLOSE_SECONDS)
            except FAILURES:
                connection.terminate()

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A transaction on the open connection, or on a new one. Errors come out as PlatintError."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._address)
            self._staged = ()
        connection = self._connection
        try:
            async with connection.transaction():
                yield connection
        except PlatintError:
            raise
        except FAILURES as error:
            failure = translate(error, self._address)
            if isinstance(failure, TransientError):
                # Whatever state it is in, the next try starts from a fresh connection.
                connection.terminate()
                self._connection = None
            raise failure from None

    async def _prepare(self) -> None:
        plan = self._plan
        async with self._transaction() as connection:
            found = await layouts.prepare(connection, self._address, plan)
            held = await self._position_owner(connection)
            if held is not None and held[0] == plan.run and held[1] > plan.epoch:
                raise self._fenced()
        self._layout, self._held = found, held

    async def _confirmed(self) -> Confirmed | None:
        plan = self._plan
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                f"SELECT seq, position::text AS position, run, epoch, target FROM {self._positions}"
                " WHERE sync = $1 AND stream = $2",
                plan.sync,
                plan.stream,
            )
        self._held = None if row is None else (row["run"], row["epoch"], row["seq"])
        if row is None or row["target"] != plan.target:
            return None
        position = json.loads(row["position"])
        if not isinstance(position, dict):
            raise SystemicError(
                f"The position of '{clean(plan.stream)}' in {POSITIONS} is damaged.",
                where=self._address.where,
                hint="Delete that row to read the stream from the beginning.",
                code="position",
            )
        return Confirmed(row["seq"], position)

    async def _position_owner(self, connection: asyncpg.Connection[Any]) -> tuple[str, int, int] | None:
        """(run, epoch, seq) of the stored position, locked until the transaction ends."""
        row = await connection.fetchrow(
            f"SELECT run, epoch, seq FROM {self._positions} WHERE sync = $1 AND stream = $2 FOR UPDATE",
            self._plan.sync,
            self._plan.stream,
        )
        return None if row is None else (row["run"], row["epoch"], row["seq"])

    def _fenced(self) -> Fenced:
        return Fenced(
            f"Another engine writes '{clean(self._plan.stream)}' to this target now; this one has stopped.",
            where=self._address.where,
        )

    async def _write(self, batch: Batch) -> WriteResult:
        layout = self._layout
        assert layout is not None, "prepare() comes first"
        confirmed = batch.confirmed
        plan = self._plan
        async with self._transaction() as connection:
            if confirmed is not None:
                owner = await self._position_owner(connection)
                mine = (plan.run, plan.epoch, confirmed.seq)
                if owner == mine and self._unsure is not None and self._unsure[0] == confirmed.seq:
                    # The answer to an earlier commit was lost, but the commit was not.
                    _, result, self._layout = self._unsure
                    self._held = owner
                    return result
                # Whoever has moved the position since this engine read it has taken the stream over.
                if owner != self._held:
                    raise self._fenced()
            fresh = new_keys(batch.rows, layout.seen)
            if fresh:
                layout = await layouts.evolve(connection, self._address, plan, layout, fresh)
            rows, faults = self._encode(layout, batch.rows)
            written = 0
            if rows:
                await self._stage(connection, layout)
                written = await self._insert(connection, layout, rows, faults)
            if confirmed is not None:
                await self._save_position(connection, confirmed)
            faults.sort(key=lambda item: item[0])
            result = WriteResult(written, len(batch.rows) - len(faults) - written, faults)
            self._unsure = None if confirmed is None else (confirmed.seq, result, layout)
        self._layout = layout
        self._unsure = None
        if rows:
            self._staged = layout.names
        if confirmed is not None:
            self._held = (plan.run, plan.epoch, confirmed.seq)
        return result

    def _encode(
        self, layout: Layout, rows: Sequence[Row]
    ) -> tuple[list[tuple[int, list[Any]]], list[tuple[int, Fault]]]:
        """The tuples to write, each with the index of its row, and the rows that break the contract."""
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        run = self._plan.run
        values = layout.encoder.values
        ready: list[tuple[int, list[Any]]] = []
        faults: list[tuple[int, Fault]] = []
        for index, row in enumerate(rows):
            try:
                cells = values(row)
            except Refusal as refusal:
                faults.append((index, refusal.fault))
                continue
            version = version_of(row.version)
            cells += (row.key, row.raw, None if version is None else dumps(version), now, run)
            ready.append((index, cells))
        return ready, faults

    async def _stage(self, connection: asyncpg.Connection[Any], layout: Layout) -> None:
        """The temporary table that rows are copied into, with the columns of the target.

        A rolled back transaction takes it back, so it counts as made only after a commit.
        """
        if self._staged == layout.names:
            return
        names = ", ".join(quoted(name) for name in layout.names)
        await connection.execute("DROP TABLE IF EXISTS pg_temp._platint_rows")
        await connection.execute(
            "CREATE TEMPORARY TABLE _platint_rows ON COMMIT DELETE ROWS"
            f" AS SELECT {names} FROM {self._table} WITH NO DATA"
        )

    async def _insert(
        self,
        connection: asyncpg.Connection[Any],
        layout: Layout,
        rows: Sequence[tuple[int, list[Any]]],
        faults: list[tuple[int, Fault]],
    ) -> int:
        """How many rows were written. Rows that the table refuses are found by halving, and become faults."""
        written, used = 0, False
        for part in _unique_keys(rows, layout.names.index("_key")):
            pending = [part]
            while pending:
                piece = pending.pop()
                try:
                    async with connection.transaction():
                        if used:
                            await connection.execute("TRUNCATE pg_temp._platint_rows")
                        written += await self._upsert(connection, layout, piece)
                    used = True
                except Exception as error:
                    if not is_record_error(error, self._address.connector):
                        raise
                    if len(piece) == 1:
                        faults.append((piece[0][0], row_fault(error)))
                        continue
                    middle = len(piece) // 2
                    pending += [piece[middle:], piece[:middle]]
        return written

    async def _upsert(
        self, connection: asyncpg.Connection[Any], layout: Layout, rows: Sequence[tuple[int, list[Any]]]
    ) -> int:
        await connection.copy_records_to_table(
            "_platint_rows", records=[cells for _, cells in rows], columns=list(layout.names)
        )
        status = await connection.execute(layout.upsert)
        return int(status.rpartition(" ")[2])

    async def _save_position(self, connection: asyncpg.Connection[Any], confirmed: Confirmed) -> None:
        plan = self._plan
        await connection.execute(
            f"INSERT INTO {self._positions} (sync, stream, seq, epoch, position, run, target)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (sync, stream) DO UPDATE"
            " SET (seq, epoch, position, run, target)"
            " = (excluded.seq, excluded.epoch, excluded.position, excluded.run, excluded.target)",
            plan.sync,
            plan.stream,
            confirmed.seq,
            plan.epoch,
            dumps(confirmed.position),
            plan.run,
            plan.target,
        )


def _unique_keys(rows: Sequence[tuple[int, list[Any]]], at: int) -> list[list[tuple[int, list[Any]]]]:
    """The rows in parts of which none has a key twice: one statement cannot touch a row a second time."""
    parts: list[list[tuple[int, list[Any]]]] = []
    times: dict[str, int] = {}
    for item in rows:
        key = item[1][at]
        number = times.get(key, 0)
        times[key] = number + 1
        if number == len(parts):
            parts.append([])
        parts[number].append(item)
    return parts
