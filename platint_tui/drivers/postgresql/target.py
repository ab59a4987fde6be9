"""A table of a PostgreSQL database as the target of one stream."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg

from platint_tui.core.errors import BlockRefused, Fenced, PlatintError, SystemicError, TransientError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import (
    Batch,
    Block,
    Confirmed,
    Op,
    Row,
    SchemaChange,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.fitting import Fitting, Need
from platint_tui.drivers.postgresql import books, writing
from platint_tui.drivers.postgresql.connection import FAILURES, Address, connect, translate
from platint_tui.drivers.postgresql.layout import Layout, PostgresqlDialect, layout_of
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.shapes import Shape, plan_shape
from platint_tui.drivers.tablerows import Encoded
from platint_tui.drivers.tables import POSITIONS, check_table_name

_CLOSE_SECONDS = 5.0


class PostgresqlTarget:
    """Writes rows of one stream into one table; made by `PostgresqlDriver.open_target`. One connection.

    `takes` are the forms of blocks that it writes as they are, `changes` what it made and changed so far.
    """

    transactional = True
    applies = frozenset(Op)

    def __init__(self, address: Address, plan: TargetPlan, context: DriverContext) -> None:
        self.takes: frozenset[str] = frozenset()
        self.changes: list[SchemaChange] = []
        self._address = address
        self._plan = plan
        self._clock = context.clock
        self._dialect = PostgresqlDialect(address.schema)
        self._opening = Retries(context, "connect")
        self._writing = Retries(context, f"write {plan.target}")
        self._connection: asyncpg.Connection[Any] | None = None
        self._layout: Layout | None = None
        self._blocks: writing.BlockWriter | None = None
        self._straight = True
        self._made = writing.Made()
        self._held: tuple[str, int, int] | None = None
        self._unsure: _Unsure | None = None
        self._positions = self._dialect.table(POSITIONS)

    async def prepare(self) -> None:
        """Create or check the table. Raises ConfigError when it has another shape or the contract does not allow
        what the stream needs, Fenced, TransientError."""
        check_table_name(self._plan.target)
        await self._opening.run(self._prepare)

    async def planned(self) -> Sequence[SchemaChange]:
        """What `prepare` would make and change. Changes nothing. Raises what `prepare` raises."""
        check_table_name(self._plan.target)
        async with self._transaction() as connection:
            found = await books.look(connection, self._address, self._plan.target)
        shape = plan_shape(self._plan, found, self._dialect)
        self._layout_of(shape)
        return shape.changes

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
            self._made = writing.Made()
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
        plan, address = self._plan, self._address
        async with self._transaction() as connection:
            await books.lock(connection)
            await books.make_books(connection, address)
            shape = plan_shape(plan, await books.look(connection, address, plan.target), self._dialect)
            await books.make(connection, address, shape)
            found = self._layout_of(shape)
            held = await self._position_owner(connection)
            if held is not None and held[0] == plan.run and held[1] > plan.epoch:
                raise self._fenced()
        self._settle(found, shape.changes)
        self._held = held

    def _layout_of(self, shape: Shape) -> Layout:
        return layout_of(self._address, self._plan, shape, self._now)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    def _settle(self, layout: Layout, changes: Sequence[SchemaChange]) -> None:
        """The table is so for good: what was made was committed."""
        if self._layout is None or self._layout.shape is not layout.shape:
            self._blocks = writing.block_writer(self._address, self._plan, layout.shape)
            self.takes = writing.forms(self._blocks)
        self._layout = layout
        self.changes.extend(changes)

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
                if owner == mine and self._unsure is not None and self._unsure.seq == confirmed.seq:
                    # The answer to an earlier commit was lost, but the commit was not.
                    unsure, self._unsure, self._held = self._unsure, None, owner
                    self._settle(unsure.layout, unsure.changes)
                    return unsure.result
                # Whoever has moved the position since this engine read it has taken the stream over.
                if owner != self._held:
                    raise self._fenced()
            made = self._made
            layout, encoded, changes = await self._fit(connection, layout, batch.rows)
            written, made = await self._write_items(connection, layout, encoded, made)
            for block in batch.blocks:
                count, made = await self._write_block(connection, block, made)
                written += count
            if confirmed is not None:
                await self._save_position(connection, confirmed)
            faults = sorted(encoded.faults, key=lambda item: item[0])
            total = len(batch.rows) + sum(map(len, batch.blocks))
            result = WriteResult(written, total - len(faults) - written, faults)
            self._unsure = None if confirmed is None else _Unsure(confirmed.seq, result, layout, changes)
        self._settle(layout, changes)
        self._made = made
        self._unsure = None
        if confirmed is not None:
            self._held = (plan.run, plan.epoch, confirmed.seq)
        return result

    async def _fit(
        self, connection: asyncpg.Connection[Any], layout: Layout, rows: Sequence[Row]
    ) -> tuple[Layout, Encoded, list[SchemaChange]]:
        """Encode the rows; the table is changed before where they and the contract ask for it."""
        changes: list[SchemaChange] = []
        fitting = Fitting(self._plan, rows)
        while (need := fitting.need(layout.shape, layout.cells)) is not None:
            layout = await self._evolve(connection, layout, need, changes)
        return layout, fitting.encoded, changes

    async def _evolve(
        self,
        connection: asyncpg.Connection[Any],
        layout: Layout,
        need: Need,
        changes: list[SchemaChange],
    ) -> Layout:
        """The table with what is needed. It is looked at again first: another stream may write to it too."""
        await books.lock(connection)
        found = await books.look(connection, self._address, self._plan.target)
        shape = plan_shape(self._plan, found, self._dialect, [*layout.shape.seen, *need.keys], need.misfits)
        await books.make(connection, self._address, shape)
        changes.extend(shape.changes)
        return self._layout_of(shape)

    async def _write_items(
        self, connection: asyncpg.Connection[Any], layout: Layout, encoded: Encoded, made: writing.Made
    ) -> tuple[int, writing.Made]:
        if not encoded.items:
            return 0, made
        if made.rows != layout.staged:
            # A rolled back transaction takes it back, so it counts as made only after a commit.
            await writing.stage_rows(connection, layout)
            made = replace(made, rows=layout.staged)
        written = await writing.write_rows(connection, self._address, layout, encoded.items, encoded.faults)
        return written, made

    async def _write_block(
        self, connection: asyncpg.Connection[Any], block: Block, made: writing.Made
    ) -> tuple[int, writing.Made]:
        """Straight into the table while that has none of the rows yet, else through a temporary table."""
        writer = self._blocks
        if writer is None:
            raise BlockRefused("The table is no mirror of the source any more.")
        if self._straight:
            self._straight = await writer.copy(connection, self._address, self._plan.target, block)
            if self._straight:
                return len(block), made
        if not made.block:
            await writer.stage(connection)
            made = replace(made, block=True)
        return await writer.merge(connection, self._address, block), made

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


@dataclass(frozen=True, slots=True)
class _Unsure:
    """What the `seq`-th page came to, when it is not known whether its commit was carried out."""

    seq: int
    result: WriteResult
    layout: Layout
    changes: list[SchemaChange]
