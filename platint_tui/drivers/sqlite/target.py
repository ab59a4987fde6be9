"""A table of a SQLite file as the target of one stream."""

# ruff: noqa: S608 - identifiers are quoted, values are bound

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, cast

from platint_tui.core.errors import BlockRefused, Fenced, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import (
    Batch,
    Block,
    Confirmed,
    Fault,
    Op,
    Row,
    SchemaChange,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.fitting import Fitting
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.shapes import Shape, plan_shape
from platint_tui.drivers.sqlite import layout as layouts
from platint_tui.drivers.sqlite.file import SqliteFile
from platint_tui.drivers.sqlite.layout import Layout, SqliteDialect
from platint_tui.drivers.tablerows import Encoded, Item, TupleRows, rounds
from platint_tui.drivers.tables import POSITIONS, check_table_name, quoted, record_fault

_TUPLES = "tuples"
_ROW_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


class SqliteTarget:
    """Writes rows of one stream into one table; made by `SqliteDriver.open_target`.

    `takes` are the forms of blocks that it writes as they are, `changes` what it made and changed so far.
    """

    transactional = True
    applies = frozenset(Op)

    def __init__(self, file: SqliteFile, plan: TargetPlan, context: DriverContext) -> None:
        self.takes: frozenset[str] = frozenset()
        self.changes: list[SchemaChange] = []
        self._file = file
        self._plan = plan
        self._clock = context.clock
        self._dialect = SqliteDialect()
        self._retries = Retries(context, f"write {plan.target}")
        self._layout: Layout | None = None
        self._tuples: layouts.TupleWriter | None = None
        self._held: tuple[str, int, int] | None = None
        self._now_ms = 0

    async def prepare(self) -> None:
        """Create or check the table. Raises ConfigError when it has another shape or the contract does not allow
        what the stream needs."""
        check_table_name(self._plan.target)
        await self._file.run(self._prepare)

    async def planned(self) -> Sequence[SchemaChange]:
        """What `prepare` would make and change. Changes nothing. Raises what `prepare` raises."""
        check_table_name(self._plan.target)
        where, target = str(self._file.path), self._plan.target
        found = await self._file.peek(lambda connection: layouts.look(connection, where, target))
        return plan_shape(self._plan, found, self._dialect).changes

    async def confirmed(self) -> Confirmed | None:
        """The position that the file holds for this sync and this table."""
        return await self._file.run(self._confirmed)

    async def write(self, batch: Batch) -> WriteResult:
        """Rows or blocks and position in one transaction; refused rows come back as faults, the others are written.

        Raises Fenced when another engine has moved the position, BlockRefused for a block with a row that the
        table refuses, TransientError when the file stays locked through all tries, ConfigError for a full disk, a
        file that cannot be written or what the contract freezes, SystemicError for anything else.
        """
        return await self._retries.run(
            lambda: self._file.run(lambda connection: self._write(connection, batch))
        )

    async def close(self) -> None:
        """Nothing to release: the driver owns the file."""

    # --- on the file's thread ---------------------------------------------------------------------------

    def _prepare(self, connection: sqlite3.Connection) -> None:
        plan, where = self._plan, str(self._file.path)
        with self._file.transaction(connection):
            layouts.make_books(connection, where)
            shape = plan_shape(plan, layouts.look(connection, where, plan.target), self._dialect)
            layouts.make(connection, shape)
            held = self._position_owner(connection)
            if held is not None and held[0] == plan.run and held[1] > plan.epoch:
                raise self._fenced()
        self._held = held
        self._settle(self._layout_of(shape), shape.changes)

    def _layout_of(self, shape: Shape) -> Layout:
        return layouts.layout_of(self._plan, shape, lambda: self._now_ms)

    def _settle(self, layout: Layout, changes: Sequence[SchemaChange]) -> None:
        """The table is so for good: what was made was committed."""
        if self._layout is not layout:
            self._tuples = layouts.tuple_writer(self._plan, layout.shape)
            self.takes = frozenset({_TUPLES}) if self._tuples is not None else frozenset()
        self._layout = layout
        self.changes.extend(changes)

    def _confirmed(self, connection: sqlite3.Connection) -> Confirmed | None:
        row = connection.execute(
            f"SELECT seq, position, run, epoch, target FROM {POSITIONS} WHERE sync = ? AND stream = ?",
            (self._plan.sync, self._plan.stream),
        ).fetchone()
        self._held = None if row is None else (row[2], row[3], row[0])
        if row is None or row[4] != self._plan.target:
            return None
        try:
            return Confirmed(row[0], json.loads(row[1]))
        except ValueError:
            raise SystemicError(
                f"The position of '{clean(self._plan.stream)}' in {POSITIONS} is damaged.",
                where=str(self._file.path),
                hint="Delete that row to read the stream from the beginning.",
                code="position",
            ) from None

    def _position_owner(self, connection: sqlite3.Connection) -> tuple[str, int, int] | None:
        """(run, epoch, seq) of the stored position: whoever changed it last."""
        row: tuple[str, int, int] | None = connection.execute(
            f"SELECT run, epoch, seq FROM {POSITIONS} WHERE sync = ? AND stream = ?",
            (self._plan.sync, self._plan.stream),
        ).fetchone()
        return row

    def _fenced(self) -> Fenced:
        return Fenced(
            f"Another engine writes '{clean(self._plan.stream)}' to this target now; this one has stopped.",
            where=str(self._file.path),
        )

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> WriteResult:
        layout = self._layout
        assert layout is not None, "prepare() comes first"
        confirmed = batch.confirmed
        self._now_ms = self._clock.now_ms()
        with self._file.transaction(connection):
            # Whoever has moved the position since this engine read it has taken the stream over.
            if confirmed is not None and self._position_owner(connection) != self._held:
                raise self._fenced()
            layout, encoded, changes = self._fit(connection, layout, batch.rows)
            written = self._carry_out(connection, layout, encoded)
            for block in batch.blocks:
                written += self._write_block(connection, layout, block)
            if confirmed is not None:
                self._save_position(connection, confirmed)
        self._settle(layout, changes)
        if confirmed is not None:
            self._held = (self._plan.run, self._plan.epoch, confirmed.seq)
        faults = sorted(encoded.faults, key=lambda item: item[0])
        total = len(batch.rows) + sum(map(len, batch.blocks))
        return WriteResult(written, total - written - len(faults), faults)

    def _fit(
        self, connection: sqlite3.Connection, layout: Layout, rows: Sequence[Row]
    ) -> tuple[Layout, Encoded, list[SchemaChange]]:
        """Encode the rows; the table is changed before where they and the contract ask for it."""
        changes: list[SchemaChange] = []
        fitting = Fitting(self._plan, rows)
        where, target = str(self._file.path), self._plan.target
        while (need := fitting.need(layout.shape, layout.cells)) is not None:
            # It is looked at again: another stream may write to the same table.
            found = layouts.look(connection, where, target)
            keys = [*layout.shape.seen, *need.keys]
            shape = plan_shape(self._plan, found, self._dialect, keys, need.misfits)
            layouts.make(connection, shape)
            changes.extend(shape.changes)
            layout = self._layout_of(shape)
        return layout, fitting.encoded, changes

    def _carry_out(self, connection: sqlite3.Connection, layout: Layout, encoded: Encoded) -> int:
        """How many rows took effect; those that the table refuses become faults."""
        written = 0
        for part in rounds(encoded.items):
            if part[0].op is Op.TRUNCATE:
                connection.execute(f"DELETE FROM {quoted(layout.shape.target)}")
                written += 1
                continue
            gone = [item for item in part if item.op is Op.DELETE]
            written += self._each(
                connection, gone, lambda item: _delete(connection, layout, item), encoded.faults
            )
            written += self._upsert(connection, layout, _upserts(part) if gone else part, encoded.faults)
        return written

    def _upsert(
        self,
        connection: sqlite3.Connection,
        layout: Layout,
        items: Sequence[Item],
        faults: list[tuple[int, Fault]],
    ) -> int:
        """How many rows were written. When one breaks the bulk statement, each is tried alone."""
        if not items:
            return 0
        connection.execute("SAVEPOINT rows")
        try:
            changed = _insert_all(connection, layout, [item.cells for item in items])
        except _ROW_ERRORS:
            self._still_in_transaction(connection)
            connection.execute("ROLLBACK TO rows")
            changed = self._each(
                connection, items, lambda item: connection.execute(layout.upsert, item.cells).rowcount, faults
            )
        connection.execute("RELEASE rows")
        return changed

    def _each(
        self,
        connection: sqlite3.Connection,
        items: Iterable[Item],
        carry_out: Callable[[Item], int],
        faults: list[tuple[int, Fault]],
    ) -> int:
        written = 0
        for item in items:
            try:
                written += carry_out(item)
            except _ROW_ERRORS as error:
                self._still_in_transaction(connection)
                faults.append((item.at, _row_fault(error)))
        return written

    def _write_block(self, connection: sqlite3.Connection, layout: Layout, block: Block) -> int:
        """How many rows were written. Raises BlockRefused when the table refuses one."""
        writer = self._tuples
        rows = cast(TupleRows, block)
        if writer is None or block.form != _TUPLES or rows.fields != self._plan.fields:
            raise BlockRefused("The columns of the source are not those of the table any more.")
        try:
            return _insert_all(connection, layout, writer.rows(rows, self._now_ms))
        except _ROW_ERRORS as error:
            self._still_in_transaction(connection)
            raise BlockRefused(f"The table refuses a row: {_row_fault(error).message}") from None

    def _still_in_transaction(self, connection: sqlite3.Connection) -> None:
        if not connection.in_transaction:
            raise SystemicError(
                f"A trigger or constraint of '{clean(self._plan.target)}' rolls the whole transaction back.",
                where=str(self._file.path),
                hint="Make it ABORT instead, so that single records can be refused.",
                code="sqlite",
            )

    def _save_position(self, connection: sqlite3.Connection, confirmed: Confirmed) -> None:
        plan = self._plan
        connection.execute(
            f"INSERT OR REPLACE INTO {POSITIONS} (sync, stream, seq, epoch, position, run, target)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                plan.sync,
                plan.stream,
                confirmed.seq,
                plan.epoch,
                dumps(confirmed.position),
                plan.run,
                plan.target,
            ),
        )


def _insert_all(connection: sqlite3.Connection, layout: Layout, rows: Sequence[Sequence[Any]]) -> int:
    """Write all rows; returns how many were changed.

    Many rows a statement: each statement gives up the interpreter's lock once, and waits for it once.
    """
    changed = 0
    size = layout.rows_at_once
    whole = len(rows) - len(rows) % size
    for start in range(0, whole, size):
        values = list(chain.from_iterable(rows[start : start + size]))
        changed += connection.execute(layout.upsert_many, values).rowcount
    if whole < len(rows):
        changed += connection.executemany(layout.upsert, rows[whole:]).rowcount
    return changed


def _upserts(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.op is Op.UPSERT]


def _delete(connection: sqlite3.Connection, layout: Layout, item: Item) -> int:
    """1 when the row is gone, or was before; 0 when it has a newer version."""
    if connection.execute(layout.delete, item.cells).rowcount:
        return 1
    key = item.cells[:-2]
    return 1 if connection.execute(layout.kept, key).fetchone() is None else 0


def _row_fault(error: Exception) -> Fault:
    """Why SQLite refuses one row; its own words name tables and columns, never values."""
    if isinstance(error, UnicodeEncodeError):
        return record_fault("invalid_text", "A text holds half of a surrogate pair, which is no character.")
    if isinstance(error, sqlite3.IntegrityError):
        return record_fault("constraint", f"The table refuses this row: {clean(str(error))}.")
    return record_fault("not_storable", f"SQLite cannot store this row: {clean(str(error))}.")
