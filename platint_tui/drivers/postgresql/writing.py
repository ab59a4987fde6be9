"""Rows and blocks into a target table: staged in a temporary table, carried over by one statement."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from platint_tui.core.errors import BlockRefused
from platint_tui.core.model import Block, Fault, Field, Op, TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql import columntypes
from platint_tui.drivers.postgresql.binarycopy import readable
from platint_tui.drivers.postgresql.blocks import PGCOPY, CopyBlock
from platint_tui.drivers.postgresql.connection import Address, is_record_error, row_fault
from platint_tui.drivers.postgresql.layout import STAGED, Layout, derived_version, on_conflict
from platint_tui.drivers.shapes import Shape
from platint_tui.drivers.tablerows import Item, rounds
from platint_tui.drivers.tables import quoted

_BLOCK = "_platint_block"


@dataclass(frozen=True, slots=True)
class Made:
    """The temporary tables that this connection has: the columns of that for rows, and whether there is one for
    blocks."""

    rows: tuple[tuple[str, str], ...] = ()
    block: bool = False


# --- rows -----------------------------------------------------------------------------------------------


async def stage_rows(connection: asyncpg.Connection[Any], layout: Layout) -> None:
    """Make the temporary table that rows are copied into."""
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in layout.staged)
    await connection.execute(f"DROP TABLE IF EXISTS {STAGED}")
    await connection.execute(f"CREATE TEMPORARY TABLE _platint_rows ({columns}) ON COMMIT DELETE ROWS")
    # asyncpg remembers the types of the columns of a table that it copied into.
    await connection.reload_schema_state()


async def write_rows(
    connection: asyncpg.Connection[Any],
    address: Address,
    layout: Layout,
    items: Iterable[Item],
    faults: list[tuple[int, Fault]],
) -> int:
    """Carry the items out in order; how many took effect. Rows that the table refuses are found by halving, and
    become faults."""
    written = 0
    for part in rounds(items):
        if part[0].op is Op.TRUNCATE:
            await _truncate(connection, f"{quoted(address.schema)}.{quoted(layout.shape.target)}")
            written += 1
            continue
        for op, carry_out in ((Op.DELETE, _delete), (Op.UPSERT, _upsert)):
            pending = [[item for item in part if item.op is op]]
            while pending:
                piece = pending.pop()
                if not piece:
                    continue
                try:
                    async with connection.transaction():
                        written += await carry_out(connection, layout, piece)
                except Exception as error:
                    if not _is_of_row(error, address):
                        raise
                    if len(piece) == 1:
                        faults.append((piece[0].at, row_fault(error)))
                        continue
                    middle = len(piece) // 2
                    pending += [piece[middle:], piece[:middle]]
    return written


async def _copied(connection: asyncpg.Connection[Any], items: Sequence[Item], columns: Sequence[str]) -> None:
    await connection.execute(f"TRUNCATE {STAGED}")
    await connection.copy_records_to_table(
        "_platint_rows", records=[item.cells for item in items], columns=list(columns)
    )


async def _upsert(connection: asyncpg.Connection[Any], layout: Layout, items: Sequence[Item]) -> int:
    await _copied(connection, items, layout.names)
    return _count(await connection.execute(layout.upsert))


async def _delete(connection: asyncpg.Connection[Any], layout: Layout, items: Sequence[Item]) -> int:
    """A row that is not there is gone, as was asked; one that is still there has a newer version."""
    await _copied(connection, items, layout.key_names)
    await connection.execute(layout.delete)
    return len(items) - int(await connection.fetchval(layout.kept))


async def _truncate(connection: asyncpg.Connection[Any], table: str) -> None:
    """Remove every row: at once where that is possible, one by one where other tables refer to this one, or the
    user may do no more."""
    try:
        async with connection.transaction():
            await connection.execute(f"TRUNCATE {table}")
    except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"DELETE FROM {table}")


def _is_of_row(error: BaseException, address: Address) -> bool:
    """Whether one row is to blame, as it is when it has more in its columns than a page of the table holds."""
    too_big = isinstance(error, asyncpg.ProgramLimitExceededError) and "row is too big" in str(error)
    return too_big or is_record_error(error, address.connector)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


# --- blocks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockWriter:
    """Writes blocks into a mirror whose columns are, by name, type and order, those of the source."""

    table: str
    fields: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    upsert: str

    async def stage(self, connection: asyncpg.Connection[Any]) -> None:
        """Make the temporary table for blocks that cannot be copied into the mirror at once."""
        await connection.execute(f"DROP TABLE IF EXISTS pg_temp.{_BLOCK}")
        await connection.execute(
            f"CREATE TEMPORARY TABLE {_BLOCK} ON COMMIT DELETE ROWS"
            f" AS SELECT {', '.join(map(quoted, self.columns))} FROM {self.table} WITH NO DATA"
        )

    async def copy(
        self, connection: asyncpg.Connection[Any], address: Address, target: str, block: Block
    ) -> bool:
        """Copy a block straight into the mirror; False when it refuses a row of it (then nothing is copied)."""
        body = self._body(block)
        try:
            async with connection.transaction():
                await connection.copy_to_table(
                    target, schema_name=address.schema, source=body, columns=self.columns, format="binary"
                )
        except Exception as error:
            if not _is_of_row(error, address):
                raise
            return False
        return True

    async def merge(self, connection: asyncpg.Connection[Any], address: Address, block: Block) -> int:
        """Upsert a block through the temporary table; how many rows took effect. Raises BlockRefused."""
        body = self._body(block)
        try:
            async with connection.transaction():
                await connection.execute(f"TRUNCATE pg_temp.{_BLOCK}")
                await connection.copy_to_table(
                    _BLOCK, schema_name="pg_temp", source=body, columns=self.columns, format="binary"
                )
                return _count(await connection.execute(self.upsert))
        except Exception as error:
            twice = isinstance(error, asyncpg.CardinalityViolationError)  # the block has a key two times
            if not twice and not _is_of_row(error, address):
                raise
            raise BlockRefused(f"The table refuses a row: {clean(str(error))}.") from None

    def _body(self, block: Block) -> AsyncIterator[bytes]:
        if not isinstance(block, CopyBlock) or self.fields != tuple(
            (field.name, field.native) for field in block.fields
        ):
            raise BlockRefused("The columns of the source are not those of the table any more.")
        return _at_once(block.data)


async def _at_once(data: bytes) -> AsyncIterator[bytes]:
    """For asyncpg, which takes bytes themselves for a path."""
    yield data


def block_writer(address: Address, plan: TargetPlan, shape: Shape) -> BlockWriter | None:
    """What writes blocks into a table of this shape; None where they have to be taken apart."""
    if not shape.mirror or [column.key for column in shape.columns] != [field.name for field in plan.fields]:
        return None
    if not all(
        _same(field, shape.types[column.name])
        for field, column in zip(plan.fields, shape.columns, strict=True)
    ):
        return None
    version = derived_version(plan, shape, "")
    if plan.cursor and not version:
        return None
    names = [column.name for column in shape.columns]
    table = f"{quoted(address.schema)}.{quoted(shape.target)}"
    listed = ", ".join(map(quoted, names))
    stored = f"COALESCE(t._version, {derived_version(plan, shape, 't.')})" if version else "t._version"
    return BlockWriter(
        table,
        tuple((field.name, field.native) for field in plan.fields),
        tuple(names),
        f"INSERT INTO {table} AS t ({listed}, _version) SELECT {listed}, {version or 'NULL::jsonb'}"
        f" FROM pg_temp.{_BLOCK} {on_conflict(shape, stored)}",
    )


def _same(field: Field, kind: str) -> bool:
    """Whether the bytes of a field's values are those of the column's type."""
    if not readable(field.native):
        return field.type == "string" and kind == "text"
    if not columntypes.keeps(field):
        return False
    have, want = columntypes.taken_apart(kind), columntypes.taken_apart(columntypes.column_type(field))
    return (have.name, have.array) == (want.name, want.array) and have.arguments in ((), want.arguments)


def forms(writer: BlockWriter | None) -> frozenset[str]:
    """The forms of blocks that are taken."""
    return frozenset({PGCOPY}) if writer is not None else frozenset()
