"""A table of MySQL or MariaDB as the target of one stream: rows and position in one transaction."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

from platint_tui.core.errors import Fenced, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Batch, Confirmed, Fault, Op, Row, SchemaChange, TargetPlan, WriteResult
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.fitting import Fitting
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.shapes import Shape, plan_shape
from platint_tui.drivers.sql import books
from platint_tui.drivers.sql.columntypes import MysqlDialect, cells_of, version_text
from platint_tui.drivers.sql.connection import Database, Session, row_fault, ticked
from platint_tui.drivers.tablerows import Item, RowEncoder, rounds
from platint_tui.drivers.tables import POSITIONS, check_table_name, version_of

_ROWS_AT_ONCE = 500
_BYTES_AT_ONCE = 2 * 1024 * 1024
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Layout:
    """The statements for the table as it is. `cells` makes the tuple of a row for each operation."""

    shape: Shape
    names: tuple[str, ...]
    cells: Mapping[Op, Callable[[Row], list[Any]]]

    @property
    def table(self) -> str:
        """The table as an identifier."""
        return ticked(self.shape.target)

    @property
    def same(self) -> str:
        """A condition for the row with a key."""
        return " AND ".join(f"{ticked(name)} = %s" for name in self.shape.key)

    def upsert(self, rows: int) -> str:
        """Insert `rows` rows, or replace by key unless the stored version is newer. The version comes last: MySQL
        carries assignments out from left to right, each seeing those before it.
        """
        one = f"({', '.join(['%s'] * len(self.names))}, UTC_TIMESTAMP(3))"
        kept = "VALUES(`_version`) IS NULL OR `_version` IS NULL OR VALUES(`_version`) >= `_version`"
        others = [name for name in (*self.names, "_synced_at") if name not in (*self.shape.key, "_version")]
        changes = [
            f"{ticked(name)} = IF({kept}, VALUES({ticked(name)}), {ticked(name)})"
            for name in (*others, "_version")
        ]
        listed = ", ".join(map(ticked, (*self.names, "_synced_at")))
        return (
            f"INSERT INTO {self.table} ({listed}) VALUES {', '.join([one] * rows)}"
            f" ON DUPLICATE KEY UPDATE {', '.join(changes)}"
        )


class SqlTarget:
    """Writes rows of one stream into one table; made by `SqlDriver.open_target`. `changes` is what it made so far."""

    transactional = True
    applies = frozenset(Op)

    def __init__(self, database: Database, plan: TargetPlan, context: DriverContext) -> None:
        self.changes: list[SchemaChange] = []
        self._database = database
        self._where = database.address.where
        self._plan = plan
        self._retries = Retries(context, f"write {plan.target}")
        self._dialect = MysqlDialect("utf8mb4_bin")
        self._layout: Layout | None = None
        self._held: tuple[str, int, int] | None = None
        self._attempt: tuple[int, WriteResult] | None = None
        """The number of the last batch that was about to be committed, and what it did."""

    async def prepare(self) -> None:
        """Create or check the table. Raises ConfigError when it has another shape or the contract does not allow
        what the stream needs, Fenced when another engine has taken the run over."""
        check_table_name(self._plan.target, _LONGEST_NAME)
        await self._retries.run(self._prepare)

    async def _prepare(self) -> None:
        plan, address = self._plan, self._database.address
        async with self._database.connection() as session:
            collation = await books.collation_of(session)
            self._dialect = MysqlDialect(collation)
            await books.make_books(session, collation)
            shape = plan_shape(plan, await books.look(session, address, plan.target), self._dialect)
            await books.make(session, address, shape)
            held = await self._owner(session)
        if held is not None and held[0] == plan.run and held[1] > plan.epoch:
            raise self._fenced()
        self._held = held
        self._settle(shape)

    async def planned(self) -> Sequence[SchemaChange]:
        """What `prepare` would make and change. Changes nothing. Raises what `prepare` raises."""
        plan = self._plan
        check_table_name(plan.target, _LONGEST_NAME)
        async with self._database.connection() as session:
            dialect = MysqlDialect(await books.collation_of(session))
            found = await books.look(session, self._database.address, plan.target)
        return plan_shape(plan, found, dialect).changes

    async def confirmed(self) -> Confirmed | None:
        """The position that the database holds for this sync and this table."""
        plan = self._plan
        async with self._database.connection() as session:
            rows = await session.rows(
                f"SELECT `seq`, `position`, `run`, `epoch`, `target` FROM {POSITIONS}"
                " WHERE `sync` = %s AND `stream` = %s",
                (plan.sync, plan.stream),
            )
        if not rows:
            self._held = None
            return None
        seq, position, run, epoch, target = rows[0]
        self._held = (run, int(epoch), int(seq))
        if target != plan.target:
            return None
        try:
            return Confirmed(int(seq), json.loads(position))
        except ValueError:
            raise SystemicError(
                f"The position of '{clean(plan.stream)}' in {POSITIONS} is damaged.",
                where=self._where,
                hint="Delete that row to read the stream from the beginning.",
            ) from None

    async def write(self, batch: Batch) -> WriteResult:
        """Rows and position in one transaction; refused rows come back as faults, the others are written.

        What has to change at the table is changed, and so committed, before. Raises Fenced when another engine has
        moved the position, TransientError when the connection is lost, ConfigError for a full disk, a missing right
        or what the contract freezes, SystemicError for anything else.
        """
        return await self._retries.run(lambda: self._write(batch))

    async def close(self) -> None:
        """Nothing to release: each batch has its own connection."""

    # --- one batch ----------------------------------------------------------------------------------------

    async def _write(self, batch: Batch) -> WriteResult:
        layout = self._layout
        assert layout is not None, "prepare() comes first"
        fitting = Fitting(self._plan, batch.rows)
        while (need := fitting.need(layout.shape, layout.cells)) is not None:
            layout = await self._reshape([*layout.shape.seen, *need.keys], need.misfits)
        encoded, faults = fitting.encoded, list(fitting.encoded.faults)
        confirmed = batch.confirmed
        earlier = await self._landed(confirmed)
        if earlier is not None:
            return earlier
        async with self._database.connection(transaction=True) as session:
            if confirmed is not None and await self._owner(session, lock=True) != self._held:
                raise self._fenced()
            written = 0
            for part in rounds(encoded.items):
                written += await self._carry_out(session, layout, part, faults)
            if confirmed is not None:
                await self._save_position(session, confirmed)
            refused = sorted(faults, key=lambda item: item[0])
            result = WriteResult(written, len(batch.rows) - written - len(refused), refused)
            self._attempt = None if confirmed is None else (confirmed.seq, result)
        if confirmed is not None:
            self._held = (self._plan.run, self._plan.epoch, confirmed.seq)
        return result

    async def _landed(self, confirmed: Confirmed | None) -> WriteResult | None:
        """What an earlier attempt at this batch did whose commit was carried out, though its answer was lost."""
        if confirmed is None or self._attempt is None or self._attempt[0] != confirmed.seq:
            return None
        mine = (self._plan.run, self._plan.epoch, confirmed.seq)
        async with self._database.connection() as session:
            if await self._owner(session) != mine:
                return None
        self._held = mine
        return self._attempt[1]

    async def _reshape(self, keys: Sequence[str], misfits: Sequence[Any]) -> Layout:
        """The table as the contract lets it become. It is looked at again: another stream may write to it."""
        address, target = self._database.address, self._plan.target
        async with self._database.connection() as session:
            found = await books.look(session, address, target)
            shape = plan_shape(self._plan, found, self._dialect, keys, misfits)
            await books.make(session, address, shape)
        return self._settle(shape)

    def _settle(self, shape: Shape) -> Layout:
        self.changes.extend(shape.changes)
        names = tuple(name for name in shape.names if name != "_synced_at")
        self._layout = Layout(shape, names, _cells(self._plan, shape))
        return self._layout

    async def _carry_out(
        self, session: Session, layout: Layout, part: Sequence[Item], faults: list[tuple[int, Fault]]
    ) -> int:
        """How many rows took effect; those that the table refuses become faults."""
        if part[0].op is Op.TRUNCATE:
            # TRUNCATE would commit what came before it.
            await session.execute(f"DELETE FROM {layout.table}")
            return 1
        gone = [item for item in part if item.op is Op.DELETE]
        kept = [item for item in part if item.op is Op.UPSERT]
        written = 0
        for item in gone:
            written += await self._halving(
                session, [item], lambda piece: _delete(session, layout, piece), faults
            )
        for piece in _pieces(kept):
            written += await self._halving(
                session, piece, lambda some: _upsert(session, layout, some), faults
            )
        return written

    async def _halving(
        self,
        session: Session,
        items: Sequence[Item],
        carry_out: Callable[[Sequence[Item]], Awaitable[int]],
        faults: list[tuple[int, Fault]],
    ) -> int:
        """Carry items out together; when one is refused, each half alone, so that the others are written."""
        written = 0
        pending = [list(items)]
        while pending:
            piece = pending.pop()
            try:
                async with session.savepoint():
                    written += await carry_out(piece)
            except DBAPIError as error:
                fault = row_fault(error, self._database.address)
                if fault is None:
                    raise
                if len(piece) == 1:
                    faults.append((piece[0].at, fault))
                    continue
                middle = len(piece) // 2
                pending += [piece[middle:], piece[:middle]]
        return written

    async def _owner(self, session: Session, *, lock: bool = False) -> tuple[str, int, int] | None:
        """Run, epoch and number of the stored position."""
        rows = await session.rows(
            f"SELECT `run`, `epoch`, `seq` FROM {POSITIONS} WHERE `sync` = %s AND `stream` = %s"
            f"{' FOR UPDATE' if lock else ''}",
            (self._plan.sync, self._plan.stream),
        )
        return (rows[0][0], int(rows[0][1]), int(rows[0][2])) if rows else None

    async def _save_position(self, session: Session, confirmed: Confirmed) -> None:
        plan = self._plan
        await session.execute(
            f"REPLACE INTO {POSITIONS} (`sync`, `stream`, `seq`, `epoch`, `position`, `run`, `target`)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
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

    def _fenced(self) -> Fenced:
        return Fenced(
            f"Another engine writes '{clean(self._plan.stream)}' to this target now; this one has stopped.",
            where=self._where,
        )


def _cells(plan: TargetPlan, shape: Shape) -> dict[Op, Callable[[Row], list[Any]]]:
    types, run = plan.contract.types, plan.run
    cells = {column.name: cells_of(column, shape.types[column.name], types) for column in shape.columns}
    values = RowEncoder(shape.columns, list(cells.values()), types).values
    keys = RowEncoder(shape.key_columns, [cells[name] for name in shape.key if shape.mirror]).values

    def upsert(row: Row) -> list[Any]:
        # `_synced_at` is put in by the statement.
        return [*values(row.value), row.key, row.raw, version_text(version_of(row.version)), run]

    def mirrored(row: Row) -> list[Any]:
        return [*values(row.value), version_text(version_of(row.version))]

    def delete(row: Row) -> list[Any]:
        return [*(keys(row.value) if shape.mirror else [row.key]), version_text(version_of(row.version))]

    return {Op.UPSERT: mirrored if shape.mirror else upsert, Op.DELETE: delete, Op.TRUNCATE: lambda row: []}


def _pieces(items: Sequence[Item]) -> Iterable[list[Item]]:
    """Parts that fit into one statement (max_allowed_packet is 16 MB or more by default)."""
    piece: list[Item] = []
    size = 0
    for item in items:
        weight = sum(len(cell) if isinstance(cell, str | bytes) else 16 for cell in item.cells)
        if piece and (len(piece) >= _ROWS_AT_ONCE or size + weight > _BYTES_AT_ONCE):
            yield piece
            piece, size = [], 0
        piece.append(item)
        size += weight
    if piece:
        yield piece


async def _upsert(session: Session, layout: Layout, items: Sequence[Item]) -> int:
    """How many rows were written; the others have a newer version in the table."""
    names = layout.names
    keys = [names.index(name) for name in layout.shape.key]
    version = names.index("_version")
    guarded = [item for item in items if item.cells[version] is not None]
    newer = 0
    if guarded:
        one = f"({layout.same} AND `_version` > %s)"
        asked = [item.cells[at] for item in guarded for at in (*keys, version)]
        ((count,),) = await session.rows(
            f"SELECT count(*) FROM {layout.table} WHERE {' OR '.join([one] * len(guarded))}", asked
        )
        newer = int(count)
    await session.execute(layout.upsert(len(items)), [cell for item in items for cell in item.cells])
    return len(items) - newer


async def _delete(session: Session, layout: Layout, items: Sequence[Item]) -> int:
    """1 when the row is gone, or was before; 0 when it has a newer version."""
    (item,) = items
    *key, version = item.cells
    guard = "(%s IS NULL OR `_version` IS NULL OR %s >= `_version`)"
    deleted = await session.execute(
        f"DELETE FROM {layout.table} WHERE {layout.same} AND {guard}", [*key, version, version]
    )
    if deleted:
        return 1
    kept = await session.rows(f"SELECT 1 FROM {layout.table} WHERE {layout.same}", key)
    return 0 if kept else 1
