"""The changes of one table, from the messages of its slot into pages.

A transaction may be longer than a page, so a position inside one says how many of its changes are done: they come
again in the same order, and are left out. Only the end of a transaction can be confirmed to the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from platint_tui.core.errors import ConfigError, RecordError, SystemicError
from platint_tui.core.model import BadElement, Gap, JsonObject, Op, Page, Record
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.keyset import literal
from platint_tui.drivers.postgresql.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    RelationColumn,
    RelationMessage,
    Truncate,
    Tuple,
    Update,
    lsn_text,
    merged,
)
from platint_tui.drivers.postgresql.rows import RowDecoder, Texts
from platint_tui.drivers.postgresql.table import Table, with_columns
from platint_tui.drivers.tables import quoted

_EMPTIED = Record("{}", {}, Op.TRUNCATE)


class Again(NamedTuple):
    """A row whose large values did not come with its update: it is read from the table, by these columns."""

    names: tuple[str, ...]
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of the table as they were at the time of the changes that follow."""

    columns: tuple[RelationColumn, ...]
    decoder: RowDecoder
    wanted: frozenset[int]
    identity: tuple[int, ...]
    key: tuple[int, ...]


class Changes:
    """Gathers changes. `lsn` is the place in the log before which everything was given out or skipped."""

    def __init__(
        self, table: Table, key: Sequence[str], position: JsonObject, lsn: int, done: tuple[int, int]
    ) -> None:
        self._table = table
        self._key = frozenset(key)
        self._position = position
        self._done = done
        self._shape: Shape | None = None
        self._begun: Begin | None = None
        self._index = 0
        self._items: list[Record | Again] = []
        self._bad: list[BadElement] = []
        self._happened: list[int] = []
        self.lsn = lsn
        self.size = 0

    @property
    def count(self) -> int:
        """Changes that are gathered."""
        return len(self._items) + len(self._bad)

    @property
    def between(self) -> bool:
        """Whether no transaction is half read."""
        return self._begun is None

    def passed(self, lsn: int) -> None:
        """The server has sent everything that was committed before `lsn`."""
        if self._begun is None:
            self.lsn = max(self.lsn, lsn)

    async def take(self, message: Message | None, size: int) -> None:
        """Add what a message of `size` bytes says."""
        if isinstance(message, Begin):
            self._begun, self._index = message, 0
        elif isinstance(message, Commit):
            self._begun = None
            self.lsn = max(self.lsn, message.end)
        elif isinstance(message, RelationMessage):
            if message.oid == self._table.relation.oid:
                self._shape = await self._shape_of(message)
        elif isinstance(message, Insert | Update | Delete):
            if message.relation == self._table.relation.oid and self._counts():
                self._row(message, size)
        elif (
            isinstance(message, Truncate) and self._table.relation.oid in message.relations and self._counts()
        ):
            self._add(_EMPTIED, size)

    def _counts(self) -> bool:
        """Whether the next change of the transaction is to be given out: those of a known number are done."""
        self._index += 1
        commit, index = self._done
        return self._begun is None or self._begun.lsn != commit or self._index > index

    async def _shape_of(self, message: RelationMessage) -> Shape:
        table, columns = self._table, message.columns
        await table.types.load(table.connection, (column.type for column in columns))
        own = [Column(column.name, column.type) for column in columns]
        names = [column.name for column in columns]
        wanted = frozenset(at for at, name in enumerate(names) if table.wants(name))
        lacking = self._key.difference(names)
        if lacking:
            raise SystemicError(
                f"'{clean(table.stream)}' has no column {clean(', '.join(sorted(lacking)))} any more, which is part"
                " of its key.",
                where=table.address.where,
                hint="Correct `key` of the stream in the integration file, then reset the stream.",
                code="key_changed",
            )
        if any(column.name in self._key and not column.key for column in columns):
            raise ConfigError(
                f"The replica identity of '{clean(table.stream)}' was changed: the log no longer says which rows are"
                " deleted.",
                where=table.address.where,
                hint=f"Run ALTER TABLE {clean(table.relation.sql)} REPLICA IDENTITY FULL; and reset the stream.",
                code="replica_identity",
            )
        return Shape(
            columns,
            RowDecoder(own, table.types, {names[at] for at in wanted}),
            wanted,
            tuple(at for at, column in enumerate(columns) if column.key),
            tuple(at for at, name in enumerate(names) if name in self._key),
        )

    def _row(self, message: Insert | Update | Delete, size: int) -> None:
        shape = self._shape
        if shape is None:
            raise SystemicError(
                f"A change of '{clean(self._table.stream)}' came before the description of its columns.",
                where=self._table.address.where,
                code="pgoutput",
            )
        try:
            if isinstance(message, Insert):
                self._add(shape.decoder.record(_texts(message.new)), size)
            elif isinstance(message, Delete):
                self._add(self._deleted(shape, message.old, message.whole), size)
            else:
                self._updated(shape, message, size)
        except RecordError as error:
            row = message.old if isinstance(message, Delete) else message.new
            self._bad.append(shape.decoder.bad(_texts(row), error.message))
            self._noted(size)

    def _updated(self, shape: Shape, message: Update, size: int) -> None:
        new = merged(message, shape.columns)
        old = message.old
        if old is not None and any(old[at] != new[at] for at in shape.key):
            self._add(self._deleted(shape, old, message.whole), size)
        if any(new[at] is UNCHANGED for at in shape.wanted):
            places = shape.identity
            names = tuple(shape.columns[at].name for at in places)
            if any(new[at] is UNCHANGED for at in places):
                raise SystemicError(
                    f"The log of '{clean(self._table.stream)}' leaves out the key of a changed row.",
                    where=self._table.address.where,
                    hint=f"Run ALTER TABLE {clean(self._table.relation.sql)} REPLICA IDENTITY FULL; and reset the"
                    " stream.",
                    code="pgoutput",
                )
            self._add(Again(names, tuple(_texts([new[at] for at in places]))), size)
        else:
            self._add(shape.decoder.record(_texts(new)), size)

    @staticmethod
    def _deleted(shape: Shape, old: Tuple, whole: bool) -> Record:
        places = range(len(shape.columns)) if whole else shape.identity
        record = shape.decoder.part(_texts(old), {shape.columns[at].name for at in places})
        return record._replace(op=Op.DELETE)

    def _add(self, item: Record | Again, size: int) -> None:
        self._items.append(item)
        self._noted(size)

    def _noted(self, size: int) -> None:
        self.size += size
        if self._begun is not None:
            self._happened.append(self._begun.commit_ms)

    def position(self) -> dict[str, Any]:
        """Where reading goes on behind what is gathered."""
        place: dict[str, Any] = {**self._position, "lsn": lsn_text(self.lsn)}
        if self._begun is not None and self._index:
            place |= {"commit": lsn_text(self._begun.lsn), "index": self._index}
        return place

    async def page(self, *, last: bool = False, gaps: Sequence[Gap] = ()) -> Page:
        """What is gathered, as a page; gathering starts again."""
        self._table.requests = 0
        records = await self._resolved()
        page = Page(
            records,
            self.position(),
            last,
            requests=self._table.requests,
            bytes=self.size,
            bad=self._bad,
            happened=self._happened,
            gaps=gaps,
        )
        self._items, self._bad, self._happened, self.size = [], [], [], 0
        return page

    async def _resolved(self) -> list[Record]:
        """The records, those read again in their place. A row that is gone is left out: its delete follows."""
        again: dict[Again, Record | BadElement | None] = {
            item: None for item in self._items if isinstance(item, Again)
        }
        for names in dict.fromkeys(item.names for item in again):
            again.update(await self._read_again(names, [item for item in again if item.names == names]))
        self._bad += [item for item in again.values() if isinstance(item, BadElement)]
        found = (again[item] if isinstance(item, Again) else item for item in self._items)
        return [item for item in found if isinstance(item, Record)]

    async def _read_again(
        self, names: tuple[str, ...], rows: Sequence[Again]
    ) -> dict[Again, Record | BadElement]:
        """The rows of these keys that the table has now."""
        table = self._table
        await table.look()
        keys = [column for column in map(table.relation.column, names) if column is not None]
        if len(keys) < len(names):
            raise SystemicError(
                f"Columns of the key of '{clean(table.stream)}' were renamed while changes waited to be read.",
                where=table.address.where,
                hint="Reset the stream, so that it is read again.",
                code="key_changed",
            )
        columns = with_columns(table.columns, keys)
        places = [columns.index(column) for column in keys]
        listed = ", ".join(quoted(column.name) for column in keys)
        found: dict[Again, Record | BadElement] = {}
        pending = list(rows)
        while pending:
            wanted = ", ".join(
                f"({', '.join(literal(text, column.native) for text, column in zip(row.texts, keys, strict=True))})"
                for row in pending
            )
            chunk = await table.rows(columns, table.relation.source, f"WHERE ({listed}) IN ({wanted})")
            for row, element in zip(chunk.rows, table.elements(columns, chunk), strict=True):
                found[Again(names, tuple(row[at] for at in places))] = element
            pending = [row for row in pending if row not in found] if chunk.cut else []
        return found


def _texts(values: Tuple) -> Texts:
    """Values as texts; one that was left unchanged is read as null by nobody."""
    return [value.decode() if isinstance(value, bytes) else None for value in values]
