"""Reading a table in chunks, each a short statement of its own: whole, or what is new by a column.

A chunk begins behind the last row of the one before, by its key. Positions: `{"v": 1, "mode", "at"}` with the key of
the last row in a snapshot, and `{"v": 1, "mode": "cursor", "cursor", "since", "at", "null"}` by a cursor: `since` is
the greatest value of the scans before, `null` says that rows without a value are being read, which come first.
"""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, RecordError, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, JsonObject, Page, ReadOptions, Record
from platint_tui.core.ports import Telemetry
from platint_tui.core.text import clean
from platint_tui.drivers.sql.catalog import Column, Relation
from platint_tui.drivers.sql.connection import Address, Session, ticked
from platint_tui.drivers.sql.values import mark, ordered, reader_of, selected, unmarked
from platint_tui.manifest.sources import Source

_FIRST_CHUNK = 1_000
_MOST_BYTES = 8 * 1024 * 1024
_TIMES = frozenset({"datetime", "timestamp"})


class Reader:
    """Reads one table or view over one connection."""

    def __init__(
        self,
        session: Session,
        address: Address,
        relation: Relation,
        options: ReadOptions,
        source: Source,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._session = session
        self._address = address
        self._relation = relation
        self._options = options
        self._source = source
        self._telemetry = telemetry
        self._clock = clock
        wanted = {*options.columns, *options.key, *((options.cursor,) if options.cursor else ())}
        self._columns = [
            column for column in relation.columns if not options.columns or column.name in wanted
        ]
        self._readers = [reader_of(column) for column in self._columns]
        self._chunk = min(source.chunk, _FIRST_CHUNK)

    async def preview(self) -> AsyncIterator[Page]:
        """Some rows."""
        records, bad, size, _ = await self._rows((), "", (), self._chunk)
        yield Page(records, {"v": 1, "mode": "preview"}, True, 1, size, bad)

    async def snapshot(self, position: JsonObject | None) -> AsyncIterator[Page]:
        """Every row, in the order of the key. Raises ConfigError without a key."""
        place = position.get("at") if position else None
        async for records, bad, size, at, done in self._scan(self._key(), place, "", ()):
            after = {"at": at} if not done and at else {}
            yield Page(records, {"v": 1, "mode": "snapshot", **after}, done, 1, size, bad)

    async def by_cursor(self, position: JsonObject | None, cursor: str) -> AsyncIterator[Page]:
        """What is new by a column. Raises ConfigError when there is no such column."""
        column = self._named(cursor)
        key = self._key()
        place = dict(position) if position and position.get("cursor") == cursor else {}
        base: dict[str, Any] = {"v": 1, "mode": "cursor", "cursor": cursor}
        name = ticked(cursor)
        if "since" not in place:
            if not column.required:
                start = place.get("at") if place.get("null") else None
                async for records, bad, size, at, _ in self._scan(key, start, f"{name} IS NULL", ()):
                    yield Page(records, {**base, "null": True, "at": at}, False, 1, size, bad)
            place = {}
        since = place.get("since")
        where, values = (f"{name} IS NOT NULL", ()) if since is None else self._since(column, since)
        order = [column, *(item for item in key if item.name != cursor)]
        async for records, bad, size, at, done in self._scan(order, place.get("at"), where, values):
            reached = at[0] if at else since
            after = {"since": reached} if done else {"since": since, "at": at}
            yield Page(records, {**base, **after}, done, 1, size, bad)

    def _since(self, column: Column, since: str) -> tuple[str, tuple[Any, ...]]:
        name, value = ticked(column.name), unmarked(since, column)
        if column.base in _TIMES and self._source.overlap:
            seconds = f"{self._source.overlap:f}"
            return f"{name} >= CAST(%s AS DATETIME(6)) - INTERVAL {seconds} SECOND", (value,)
        return f"{name} >= %s", (value,)

    def _key(self) -> list[Column]:
        names = self._relation.key or self._options.key
        if not names:
            raise ConfigError(
                f"The {self._relation.kind} '{clean(self._relation.name)}' has no key by which its rows could be read"
                " in order.",
                where=self._address.where,
                hint="Name the columns that identify a row as `key` of the stream in the integration file.",
                code="key_needed",
            )
        return [self._named(name) for name in names]

    def _named(self, name: str) -> Column:
        found = self._relation.column(name)
        if found is None:
            raise ConfigError(
                f"'{clean(self._relation.name)}' has no column '{clean(name)}'.",
                where=self._address.where,
                hint="Correct the `key` or `cursor` of the stream in the integration file.",
                code="no_column",
            )
        return found

    async def _scan(
        self, order: Sequence[Column], at: Any, where: str, values: tuple[Any, ...]
    ) -> AsyncIterator[tuple[list[Record], list[BadElement], int, list[str | None] | None, bool]]:
        """Chunks with the place behind each, and whether it was the last."""
        while True:
            asked = self._chunk
            behind, compared = _after(order, at) if at else ("", ())
            conditions = " AND ".join(filter(None, (where, behind)))
            records, bad, size, last = await self._rows(order, conditions, (*values, *compared), asked)
            if last is not None and last == at:
                raise SystemicError(
                    f"Reading '{clean(self._relation.name)}' does not come forward: the server finds the"
                    " same row behind itself.",
                    where=self._address.where,
                    hint="Name other columns as `key` of the stream in the integration file.",
                    code="no_progress",
                )
            at = last or at
            done = len(records) + len(bad) < asked
            if size > _MOST_BYTES:
                self._chunk = max(1, asked // 2)
            elif size < _MOST_BYTES // 4:
                self._chunk = min(self._source.chunk, asked * 2)
            yield records, bad, size, at, done
            if done:
                return

    async def _rows(
        self, order: Sequence[Column], where: str, values: tuple[Any, ...], limit: int
    ) -> tuple[list[Record], list[BadElement], int, list[str | None] | None]:
        """Records, what is none, bytes, and the place of the last row."""
        listed = [*map(selected, self._columns), *map(ordered, order)]
        statement = f"SELECT {', '.join(listed)} FROM {ticked(self._relation.name)}"
        if where:
            statement += f" WHERE {where}"
        if order:
            statement += f" ORDER BY {', '.join(map(ordered, order))}"
        started = self._clock.monotonic()
        ok = False
        try:
            rows = await self._session.rows(f"{statement} LIMIT {limit}", values)
            ok = True
        finally:
            seconds = self._clock.monotonic() - started
            self._telemetry.observe(f"read {self._relation.name}", seconds, ok)
        records: list[Record] = []
        bad: list[BadElement] = []
        size = 0
        count = len(self._columns)
        for row in rows:
            size += sum(len(item) for item in row[:count] if item is not None)
            item = self._record(row)
            records.append(item) if isinstance(item, Record) else bad.append(item)
        last = [mark(value) for value in rows[-1][count:]] if rows and order else None
        return records, bad, size, last

    def _record(self, row: Sequence[Any]) -> Record | BadElement:
        value: dict[str, Any] = {}
        for column, read, item in zip(self._columns, self._readers, row, strict=False):
            try:
                value[column.name] = None if item is None else read(item)
            except (ValueError, SystemicError) as error:
                return BadElement(repr(row)[:10_000], f"{clean(column.name)}: {clean(str(error))}")
        try:
            return Record(dumps(value), value)
        except RecordError as error:
            return BadElement(repr(row)[:10_000], error.message)


def _after(order: Sequence[Column], at: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    """A condition for the rows behind a place.

    `(a, b) > (1, 2)` written out: MySQL finds a range of an index in this form only
    (https://dev.mysql.com/doc/refman/8.4/en/row-constructor-optimization.html).
    """
    bound = [unmarked(kept, column) for kept, column in zip(at, order, strict=True)]
    names = [ordered(column) for column in order]
    alternatives: list[str] = []
    values: list[Any] = [bound[0]]
    for number, name in enumerate(names):
        same = [f"{earlier} = %s" for earlier in names[:number]]
        alternatives.append(" AND ".join([*same, f"{name} > %s"]))
        values += bound[: number + 1]
    joined = " OR ".join(f"({item})" for item in alternatives)
    return f"{names[0]} >= %s AND ({joined})", tuple(values)
