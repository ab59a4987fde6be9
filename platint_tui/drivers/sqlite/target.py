"""A table of a SQLite file as the target of one stream."""

# ruff: noqa: S608 - identifiers are quoted, values are bound

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

from platint_tui.core.errors import ConfigError, Fenced, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Batch, Confirmed, Fault, Field, Row, TargetPlan, WriteResult
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.sqlite.file import SqliteFile
from platint_tui.drivers.tables import (
    COLUMNS,
    OWN_COLUMNS,
    POSITIONS,
    Cell,
    Column,
    Refusal,
    RowEncoder,
    accepted_cells,
    check_table_name,
    document,
    fits_int64,
    new_keys,
    plan_columns,
    quoted,
    record_fault,
    version_of,
)

_POSITION_COLUMNS = {"sync", "stream", "seq", "epoch", "position", "run", "target"}
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {POSITIONS} (sync TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, position TEXT NOT NULL, run TEXT NOT NULL, target TEXT NOT NULL,"
    " PRIMARY KEY (sync, stream))",
    f"CREATE TABLE IF NOT EXISTS {COLUMNS} (target TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (target, key))",
)
# Integers, numbers and times get no declared type: a column with one would turn what does not fit 64 bits,
# which is kept as text, into a rounded number.
_DECLARED = {"string": " TEXT", "boolean": " INTEGER", "object": " TEXT", "array": " TEXT"}
_ROWS_AT_ONCE = 50
_VARIABLES = 30_000
"""Below SQLite's own limit of 32,766 in one statement."""
_ROW_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


def _integer(value: int) -> int | str:
    return value if fits_int64(value) else str(value)


_CELLS: dict[type, Cell | None] = {
    str: None,
    int: _integer,
    float: None,
    Decimal: str,
    bool: int,
    dict: document,
    list: document,
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns after the last committed batch; `seen` are all keys known so far."""

    seen: frozenset[str]
    encoder: RowEncoder
    upsert: str
    upsert_many: str
    rows_at_once: int


class SqliteTarget:
    """Writes rows of one stream into one table; made by `SqliteDriver.open_target`."""

    transactional = True

    def __init__(self, file: SqliteFile, plan: TargetPlan, context: DriverContext) -> None:
        self._file = file
        self._plan = plan
        self._clock = context.clock
        self._retries = Retries(context, f"write {plan.target}")
        self._layout: _Layout | None = None
        self._held: tuple[str, int, int] | None = None

    async def prepare(self) -> None:
        """Create or check the table. Raises ConfigError when it has another shape."""
        check_table_name(self._plan.target)
        await self._file.run(self._prepare)

    async def confirmed(self) -> Confirmed | None:
        """The position that the file holds for this sync and this table."""
        return await self._file.run(self._confirmed)

    async def write(self, batch: Batch) -> WriteResult:
        """Rows and position in one transaction; refused rows come back as faults, the others are written.

        Raises Fenced when another engine has moved the position, TransientError when the file stays locked
        through all tries, ConfigError for a full disk or a file that cannot be written, SystemicError for
        anything else.
        """
        return await self._retries.run(
            lambda: self._file.run(lambda connection: self._write(connection, batch))
        )

    async def close(self) -> None:
        """Nothing to release: the driver owns the file."""

    # --- on the file's thread ---------------------------------------------------------------------------

    def _prepare(self, connection: sqlite3.Connection) -> None:
        plan = self._plan
        with self._file.transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
            self._check_positions_table(connection)
            names = self._table_columns(connection)
            known: dict[str, str] = {}
            if names is None:
                self._create(connection)
                names = set(OWN_COLUMNS)
            else:
                known = self._known_columns(connection, names)
            self._layout = self._add_columns(connection, plan.fields, known, (), names)
            self._held = self._position_owner(connection)
            if self._held is not None and self._held[0] == plan.run and self._held[1] > plan.epoch:
                raise self._fenced()

    def _create(self, connection: sqlite3.Connection) -> None:
        """A new table. A position that an earlier table of this name left behind says nothing about it."""
        target = self._plan.target
        connection.execute(
            f"CREATE TABLE {quoted(target)} (_key TEXT NOT NULL PRIMARY KEY, _raw TEXT NOT NULL, _version,"
            " _synced_at INTEGER NOT NULL, _run TEXT NOT NULL)"
        )
        connection.execute(f"DELETE FROM {POSITIONS} WHERE target = ?", (target,))
        connection.execute(f"DELETE FROM {COLUMNS} WHERE target = ?", (target,))

    def _check_positions_table(self, connection: sqlite3.Connection) -> None:
        for name, wanted in ((POSITIONS, _POSITION_COLUMNS), (COLUMNS, {"target", "key", "name"})):
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            if not wanted <= found:
                raise self._other_shape(name, "its columns are not those of this program")

    def _table_columns(self, connection: sqlite3.Connection) -> set[str] | None:
        """Names of the columns of the target, None when it is not there. Raises ConfigError."""
        target = self._plan.target
        kind = connection.execute(
            "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type <> 'trigger'",
            (target,),
        ).fetchone()
        if kind is None:
            return None
        if kind[0] != "table":
            raise self._other_shape(target, f"it is {'a view' if kind[0] == 'view' else 'an index'}")
        rows = connection.execute(f"PRAGMA table_xinfo({quoted(target)})").fetchall()
        names = {row[1] for row in rows}
        missing = [name for name in OWN_COLUMNS if name not in names]
        if missing:
            raise self._other_shape(target, f"it has no column {missing[0]}")
        if [row[1] for row in rows if row[5]] != ["_key"]:
            raise self._other_shape(target, "its primary key is not _key")
        return names

    def _other_shape(self, table: str, reason: str) -> ConfigError:
        return ConfigError(
            f"The table '{clean(table)}' is there already and has another shape: {reason}.",
            where=str(self._file.path),
            hint="Name another target in the integration, or rename that table.",
            code="target_shape",
        )

    def _known_columns(self, connection: sqlite3.Connection, names: set[str]) -> dict[str, str]:
        rows = connection.execute(f"SELECT key, name FROM {COLUMNS} WHERE target = ?", (self._plan.target,))
        return {key: name for key, name in rows if name in names}

    def _add_columns(
        self,
        connection: sqlite3.Connection,
        fields: Sequence[Field],
        known: dict[str, str],
        keys: Sequence[str],
        names: set[str],
    ) -> _Layout:
        target = self._plan.target
        columns, added = plan_columns(fields, keys, known, names, fold=True)
        for column in added:
            declaration = quoted(column.name) + _DECLARED.get(column.type, "")
            connection.execute(f"ALTER TABLE {quoted(target)} ADD COLUMN {declaration}")
            connection.execute(
                f"INSERT OR REPLACE INTO {COLUMNS} VALUES (?, ?, ?)",
                (target, _storable(column.key), column.name),
            )
        at_once = max(1, min(_ROWS_AT_ONCE, _VARIABLES // (len(columns) + len(OWN_COLUMNS))))
        return _Layout(
            frozenset(known).union(keys, (column.key for column in columns)),
            RowEncoder(columns, [accepted_cells(column, _CELLS) for column in columns]),
            _upsert(target, columns),
            _upsert(target, columns, at_once),
            at_once,
        )

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
        with self._file.transaction(connection):
            # Whoever has moved the position since this engine read it has taken the stream over.
            if confirmed is not None and self._position_owner(connection) != self._held:
                raise self._fenced()
            fresh = new_keys(batch.rows, layout.seen)
            if fresh:
                # Columns are read again: another stream may write to the same table.
                names = self._table_columns(connection) or set()
                known = self._known_columns(connection, names)
                layout = self._add_columns(
                    connection, self._plan.fields, known, [*layout.seen, *fresh], names
                )
            rows, faults = self._encode(layout, batch.rows)
            written, superseded = self._insert(connection, layout, rows, faults)
            if confirmed is not None:
                self._save_position(connection, confirmed)
        self._layout = layout
        if confirmed is not None:
            self._held = (self._plan.run, self._plan.epoch, confirmed.seq)
        faults.sort(key=lambda item: item[0])
        return WriteResult(written, superseded, faults)

    def _encode(
        self, layout: _Layout, rows: Sequence[Row]
    ) -> tuple[list[tuple[int, list[Any]]], list[tuple[int, Fault]]]:
        """The tuples to write, each with the index of its row, and the rows that break the contract."""
        now = self._clock.now_ms()
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
            cells += (row.key, row.raw, version_of(row.version), now, run)
            ready.append((index, cells))
        return ready, faults

    def _insert(
        self,
        connection: sqlite3.Connection,
        layout: _Layout,
        rows: Sequence[tuple[int, list[Any]]],
        faults: list[tuple[int, Fault]],
    ) -> tuple[int, int]:
        """(written, superseded). When one row breaks the bulk statement, each is tried alone."""
        if not rows:
            return 0, 0
        connection.execute("SAVEPOINT rows")
        try:
            changed = _insert_all(connection, layout, [cells for _, cells in rows])
        except _ROW_ERRORS:
            self._still_in_transaction(connection)
            connection.execute("ROLLBACK TO rows")
        else:
            connection.execute("RELEASE rows")
            return changed, len(rows) - changed
        written = superseded = 0
        for index, cells in rows:
            try:
                changed = connection.execute(layout.upsert, cells).rowcount
            except _ROW_ERRORS as error:
                self._still_in_transaction(connection)
                faults.append((index, _row_fault(error)))
                continue
            written += changed
            superseded += 1 - changed
        connection.execute("RELEASE rows")
        return written, superseded

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


def _insert_all(connection: sqlite3.Connection, layout: _Layout, rows: Sequence[list[Any]]) -> int:
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


def _upsert(target: str, columns: Sequence[Column], rows: int = 1) -> str:
    """Insert `rows` rows, or replace by key unless the stored version is newer."""
    names = [quoted(column.name) for column in columns] + list(OWN_COLUMNS)
    table = quoted(target)
    one = f"({', '.join('?' * len(names))})"
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != "_key")
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([one] * rows)}"
        f" ON CONFLICT (_key) DO UPDATE SET {changes}"
        f" WHERE excluded._version IS NULL OR {table}._version IS NULL"
        f" OR excluded._version >= {table}._version"
    )


def _storable(key: str) -> str:
    """A key that the mapping table can hold: half of a surrogate pair becomes its escape."""
    return key.encode("utf-8", "backslashreplace").decode()


def _row_fault(error: Exception) -> Fault:
    """Why SQLite refuses one row; its own words name tables and columns, never values."""
    if isinstance(error, UnicodeEncodeError):
        return record_fault("invalid_text", "A text holds half of a surrogate pair, which is no character.")
    if isinstance(error, sqlite3.IntegrityError):
        return record_fault("constraint", f"The table refuses this row: {clean(str(error))}.")
    return record_fault("not_storable", f"SQLite cannot store this row: {clean(str(error))}.")
