"""One table or view while it is read: its columns as they are now, and chunks of its rows."""

# ruff: noqa: S608 - identifiers are quoted, values are literals of ours
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError, PositionLost, RecordError, SystemicError
from platint_tui.core.model import BadElement, Block, Field, Record
from platint_tui.core.ports import Telemetry
from platint_tui.core.text import clean
from platint_tui.core.wire import count_request
from platint_tui.drivers.postgresql import catalog
from platint_tui.drivers.postgresql.blocks import read_block
from platint_tui.drivers.postgresql.catalog import Column, Relation
from platint_tui.drivers.postgresql.connection import FAILURES, Address, connect, translate
from platint_tui.drivers.postgresql.rows import Chunk, RowDecoder, Texts, copy_rows
from platint_tui.drivers.postgresql.textvalues import Types
from platint_tui.drivers.tables import quoted

GOAL_BYTES = 4 * 1024**2
"""What a chunk should weigh."""
_LOOK_EVERY = 1.0


@dataclass(slots=True)
class Pace:
    """How many rows (or blocks) are asked for at a time: as many as weigh `GOAL_BYTES`, and `most` at most."""

    most: int
    now: int

    @classmethod
    def of(cls, most: int, width: float | None) -> Pace:
        """The first guess, with rows of about `width` bytes."""
        return cls(most, max(1, min(most, int(GOAL_BYTES / max(width or 500.0, 1.0)))))

    def is_too_much(self, asked: int, weight: int) -> bool:
        """Whether `asked` rows that weigh so much should be read in smaller parts, which come next."""
        if weight <= 4 * GOAL_BYTES or asked == 1:
            return False
        self.now = max(1, min(asked * GOAL_BYTES // weight, asked // 2))
        return True

    def saw(self, asked: int, size: int) -> None:
        """`asked` rows were `size` bytes."""
        if size:
            self.now = max(1, min(self.most, asked * GOAL_BYTES // size, self.now * 4))


class Table:
    """A relation, read over one connection at a time, which `close` gives back.

    `wanted` are the columns that a record has (all without any). `changes`: a feed of changes is to follow, which
    does not bring generated columns.
    """

    def __init__(
        self,
        address: Address,
        connection: asyncpg.Connection[Any],
        telemetry: Telemetry,
        clock: Clock,
        stream: str,
        relation: Relation,
        types: Types,
        wanted: Collection[str],
        *,
        changes: bool,
    ) -> None:
        self.address = address
        self.connection = connection
        self.stream = stream
        self.relation = relation
        self.types = types
        self.requests = 0
        self.telemetry = telemetry
        self._clock = clock
        self._wanted = frozenset(name for path in wanted for name in (path, path.partition(".")[0]))
        self._changes = changes
        self._looked = clock.monotonic()

    @property
    def columns(self) -> list[Column]:
        """The columns of a record."""
        return [
            column
            for column in self.relation.columns
            if (not self._wanted or column.name in self._wanted) and not (column.generated and self._changes)
        ]

    def fields(self) -> list[Field]:
        """The columns as fields with their native types."""
        return [field_of(column, self.types) for column in self.columns]

    def wants(self, name: str) -> bool:
        """Whether a record has the column called `name`."""
        return not self._wanted or name in self._wanted

    async def look(self, *, force: bool = False) -> None:
        """Look at the columns again: they may change while a long table is read. At most once a second.

        Raises NotFound when the table is gone, or another one of its name is there.
        """
        if not force and self._clock.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = self._clock.monotonic()
        address = self.address
        try:
            found = await catalog.relation(self.connection, self.stream, address.schema, address.user)
            await self.types.load(self.connection, (column.type for column in found.columns))
        except FAILURES as error:
            raise self.failed(error) from None
        if found.oid != self.relation.oid:
            kind = PositionLost if self._changes else ConfigError
            raise kind(
                f"The table '{clean(self.stream)}' was dropped and made again while it was read.",
                where=address.where,
                hint="Start the sync again; reset it first when the rows of the old table are to go.",
            )
        self.relation = found

    async def rows(self, columns: Sequence[Column], source: str, tail: str) -> Chunk:
        """The texts of `columns` in the rows that `source` and `tail` (conditions, order, bound) give.

        Raises what `failed` makes of an error.
        """
        listed = ", ".join(quoted(column.name) for column in columns)
        return await self.ask(f"SELECT {listed} FROM {source} {tail}")

    def weight(self) -> str:
        """An expression for the bytes of a row as the server holds them; large values are not fetched for it."""
        fixed = ("integer", "boolean", "timestamp")
        large = [column for column in self.columns if self.types.field_type(column.type) not in fixed]
        if not (self.relation.wide and large):
            return "0"
        return " + ".join(f"coalesce(pg_column_size({quoted(column.name)}), 0)" for column in large)

    async def ask(self, query: str) -> Chunk:
        """The rows of a query as texts. Raises what `failed` makes of an error."""
        started = self._clock.monotonic()
        ok = False
        self.requests += 1
        count_request()
        try:
            chunk = await copy_rows(self.connection, query)
            ok = True
            if chunk.cut:
                # What is still on its way is given up with the connection.
                self.connection.terminate()
                self.connection = await connect(self.address)
        except FAILURES as error:
            raise self.failed(error) from None
        finally:
            self.telemetry.observe(f"read {self.stream}", self._clock.monotonic() - started, ok)
        return chunk

    async def block(self, query: str, form: str) -> Block:
        """The rows of a query that selects `columns`, as a block. Raises what `failed` makes of an error."""
        started = self._clock.monotonic()
        ok = False
        self.requests += 1
        count_request()
        try:
            block = await read_block(self.connection, query, (), self.fields(), form)
            ok = True
        except FAILURES as error:
            raise self.failed(error) from None
        finally:
            self.telemetry.observe(f"read {self.stream}", self._clock.monotonic() - started, ok)
        return block

    def records(self, columns: Sequence[Column], chunk: Chunk) -> tuple[list[Record], list[BadElement]]:
        """The rows of a chunk as records, and those that cannot be any."""
        found = self.elements(columns, chunk)
        records = [item for item in found if isinstance(item, Record)]
        return records, [item for item in found if isinstance(item, BadElement)]

    def elements(self, columns: Sequence[Column], chunk: Chunk) -> list[Record | BadElement]:
        """Each row of a chunk as a record, or as what it is instead."""
        decoder = RowDecoder(columns, self.types, {column.name for column in self.columns})
        decode = decoder.record
        found: list[Record | BadElement] = []
        for row in chunk.rows:
            try:
                found.append(decode(row))
            except RecordError as error:
                found.append(decoder.bad(row, error.message))
        return found

    def close(self) -> None:
        """Give the connection back."""
        self.connection.terminate()

    def failed(self, error: BaseException) -> PlatintError:
        """What an error while reading means for the operator."""
        state = str(getattr(error, "sqlstate", "") or "")
        if state == "42501":
            return catalog.unreadable(self.relation.schema, self.relation.name, self.address.user)
        if state in ("42P01", "42703", "3F000"):
            return ConfigError(
                f"The table '{clean(self.stream)}' was dropped or altered while it was read.",
                where=self.address.where,
                hint="Discover the profile again, then start the sync again: it goes on where it was.",
                code=state,
            )
        return self.told(translate(error, self.address))

    def told(self, error: PlatintError) -> PlatintError:
        """An error of the server while reading: it is never the fault of one record that could be left out."""
        if error.code == "22021":
            return ConfigError(
                f"A text in '{clean(self.stream)}' is not UTF-8: this database does not check the encoding of texts.",
                where=self.address.where,
                hint="Correct the row, then start the sync again: it goes on where it was.",
                code=error.code,
            )
        if isinstance(error, RecordError):
            return SystemicError(error.message, hint=error.hint, where=error.where, code=error.code)
        return error


def key_texts(columns: Sequence[Column], names: Sequence[str], row: Texts) -> list[str | None]:
    """The texts of the columns called `names` in a row of `columns`."""
    places = {column.name: at for at, column in enumerate(columns)}
    return [row[places[name]] for name in names]


def with_columns(columns: Sequence[Column], more: Sequence[Column]) -> list[Column]:
    """`columns` and those of `more` that are not among them."""
    names = {column.name for column in columns}
    return [*columns, *(column for column in more if column.name not in names)]


def field_of(column: Column, types: Types, description: str = "") -> Field:
    """A column as a field. One that the database computes is not required: a feed does not bring it."""
    required = column.required and not column.generated
    native = types.native(column.type, column.native)
    field_type = types.field_type(column.type)
    return Field(column.name, field_type, required, _length(native), description, f"postgresql:{native}")


def _length(native: str) -> int | None:
    for beginning in ("character varying(", "character("):
        if native.startswith(beginning) and native.endswith(")"):
            return int(native[len(beginning) : -1])
    return None


def required(column: Column) -> Column:
    """The column in rows where it is not null."""
    return replace(column, required=True)
