"""Target tables in SQLite: looked at, made, changed; and the statements that write into them."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Field, Op, Row, TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.natives import kind_of_field
from platint_tui.drivers.shapes import Found, Shape
from platint_tui.drivers.sqlite.values import cells_of, column_type, plain_cell
from platint_tui.drivers.tablerows import RowEncoder, TupleRows
from platint_tui.drivers.tables import (
    COLUMNS,
    MIRROR_COLUMNS,
    OWN_COLUMNS,
    POSITIONS,
    TABLES,
    Cell,
    quoted,
    version_of,
)

_BOOKS = (
    (
        POSITIONS,
        {"sync", "stream", "seq", "epoch", "position", "run", "target"},
        "sync TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL,"
        " position TEXT NOT NULL, run TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (sync, stream)",
    ),
    (
        COLUMNS,
        {"target", "key", "name"},
        "target TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (target, key)",
    ),
    (
        TABLES,
        {"target", "layout", "key"},
        "target TEXT NOT NULL PRIMARY KEY, layout TEXT NOT NULL, key TEXT NOT NULL",
    ),
)
_NOW_MS = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
_OWN = "_key TEXT NOT NULL PRIMARY KEY, _raw TEXT NOT NULL, _version, _synced_at INTEGER NOT NULL, _run TEXT NOT NULL"
_INTEGERS = ("int16", "int32", "int64")
_ROWS_AT_ONCE = 50
_VARIABLES = 30_000
"""Below SQLite's own limit of 32,766 in one statement."""


class SqliteDialect:
    """Columns and statements of SQLite. Every column holds every value, so that none has to become wider."""

    fold = True
    reserved: frozenset[str] = frozenset()
    column_type = staticmethod(column_type)

    def keeps(self, field: Field) -> bool:
        """Whether the native type of the field says how its values are stored."""
        return kind_of_field(field) is not None

    def holds(self, existing: str, wanted: str) -> bool:
        """Columns have no types."""
        return True

    def widened(self, existing: str, wanted: str) -> str:
        """What the column is: it holds everything."""
        return existing

    def type_of_value(self, value: Any) -> str:
        """No type: it holds everything."""
        return ""

    def can_key(self, field: Field) -> bool:
        """Not documents, and not decimals: some of them would be numbers and some texts."""
        kind = kind_of_field(field)
        if kind is None:
            return field.type in ("string", "integer")
        return kind.name != "json" and (kind.name != "decimal" or kind.scale == 0)

    def create(self, shape: Shape) -> str:
        """CREATE TABLE with the columns of the records in their order."""
        columns = [_declared(column.name, shape.types[column.name]) for column in shape.columns]
        if not shape.mirror:
            return f"CREATE TABLE {quoted(shape.target)} ({', '.join([_OWN, *columns])})"
        keys = {column.name: column for column in shape.key_columns}
        for at, column in enumerate(shape.columns):
            if column.name in keys:
                kind = kind_of_field(Field(column.key, column.type, native=column.native))
                rowid = len(keys) == 1 and kind is not None and kind.name in _INTEGERS
                columns[at] = (
                    f"{quoted(column.name)} INTEGER NOT NULL" if rowid else f"{columns[at]} NOT NULL"
                )
        own = ["_version", f"_synced_at INTEGER NOT NULL DEFAULT ({_NOW_MS})"]
        key = ", ".join(map(quoted, shape.key))
        return f"CREATE TABLE {quoted(shape.target)} ({', '.join([*columns, *own])}, PRIMARY KEY ({key}))"

    def add(self, target: str, name: str, kind: str) -> str:
        """ALTER TABLE ... ADD COLUMN."""
        return f"ALTER TABLE {quoted(target)} ADD COLUMN {_declared(name, kind)}"

    def alter(self, target: str, name: str, existing: str, wanted: str) -> str:
        """Nothing: no column has to hold what it cannot."""
        raise NotImplementedError


def _declared(name: str, kind: str) -> str:
    return f"{quoted(name)} {kind}" if kind else quoted(name)


# --- looking and making ---------------------------------------------------------------------------------


def make_books(connection: sqlite3.Connection, where: str) -> None:
    """Make the tables of our own. Raises ConfigError for other tables of these names."""
    for name, wanted, definition in _BOOKS:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({definition})")
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        if not wanted <= found:
            raise _other_shape(where, name, "its columns are not those of this program")


def look(connection: sqlite3.Connection, where: str, target: str) -> Found:
    """The table as it is. Raises ConfigError for one that is not ours."""
    kind = connection.execute(
        "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type <> 'trigger'", (target,)
    ).fetchone()
    if kind is None:
        return Found()
    if kind[0] != "table":
        raise _other_shape(where, target, f"it is {'a view' if kind[0] == 'view' else 'an index'}")
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(target)})").fetchall()
    types = {row[1]: row[2] for row in rows}
    key = tuple(name for name, _ in mirror_key(connection, target))
    for name in MIRROR_COLUMNS if key else OWN_COLUMNS:
        if name not in types:
            raise _other_shape(where, target, f"it has no column {name}")
    wanted = key or ("_key",)
    if tuple(row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5]) != wanted:
        raise _other_shape(where, target, f"its primary key is not {', '.join(map(clean, wanted))}")
    known = []
    if is_there(connection, COLUMNS):
        known = connection.execute(f"SELECT key, name FROM {COLUMNS} WHERE target = ?", (target,)).fetchall()
    return Found(types, {key: name for key, name in known if name in types}, key)


def mirror_key(connection: sqlite3.Connection, target: str) -> list[tuple[str, str]]:
    """The key columns of a table that is a mirror of ours, each with its kind; none for any other."""
    if not is_there(connection, TABLES):
        return []
    row = connection.execute(
        f"SELECT key FROM {TABLES} WHERE target = ? COLLATE NOCASE AND layout = 'mirror'", (target,)
    ).fetchone()
    return [] if row is None else [(name, kind) for name, kind in json.loads(row[0])]


def make(connection: sqlite3.Connection, shape: Shape) -> None:
    """Carry the changes of a shape out."""
    target = shape.target
    for change in shape.changes:
        connection.execute(change.statement)
    if shape.new:
        # What an earlier table of this name left behind says nothing about this one.
        for name in (POSITIONS, COLUMNS, TABLES):
            connection.execute(f"DELETE FROM {name} WHERE target = ?", (target,))
        if shape.mirror:
            key = [[column.name, _kind_name(column.type, column.native)] for column in shape.key_columns]
            connection.execute(f"INSERT INTO {TABLES} VALUES (?, 'mirror', ?)", (target, dumps(key)))
    connection.executemany(
        f"INSERT OR REPLACE INTO {COLUMNS} VALUES (?, ?, ?)",
        [(target, _storable(column.key), column.name) for column in shape.added],
    )


def _kind_name(type_: str, native: str) -> str:
    kind = kind_of_field(Field("", type_, native=native))
    return type_ if kind is None else kind.name


def is_there(connection: sqlite3.Connection, table: str) -> bool:
    """Whether there is a table of this name."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    return connection.execute(query, (table,)).fetchone() is not None


def _other_shape(where: str, table: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The table '{clean(table)}' is there already and has another shape: {reason}.",
        where=where,
        hint="Name another target in the integration, or rename that table.",
        code="target_shape",
    )


def _storable(key: str) -> str:
    """A key that the mapping table can hold: half of a surrogate pair becomes its escape."""
    return key.encode("utf-8", "backslashreplace").decode()


# --- writing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """The statements for the table as it is after the last commit. `upsert_many` takes `rows_at_once` rows.

    `delete` takes a key and the version twice, `kept` a key. `cells` makes the tuple of a row for each operation.
    """

    shape: Shape
    upsert: str
    upsert_many: str
    rows_at_once: int
    delete: str
    kept: str
    cells: Mapping[Op, Callable[[Row], list[Any]]]


def layout_of(plan: TargetPlan, shape: Shape, now_ms: Callable[[], int]) -> Layout:
    """The statements for a shape; `now_ms` gives the time at which rows are synced."""
    names = [*shape.names, "_synced_at"] if shape.mirror else list(shape.names)
    at_once = max(1, min(_ROWS_AT_ONCE, _VARIABLES // len(names)))
    table = quoted(shape.target)
    same = " AND ".join(f"{quoted(name)} = ?" for name in shape.key)
    return Layout(
        shape,
        _upsert(shape, names),
        _upsert(shape, names, at_once),
        at_once,
        f"DELETE FROM {table} WHERE {same} AND (? IS NULL OR _version IS NULL OR ? >= _version)",
        f"SELECT 1 FROM {table} WHERE {same}",
        _cells(plan, shape, now_ms),
    )


def _cells(plan: TargetPlan, shape: Shape, now_ms: Callable[[], int]) -> dict[Op, Callable[[Row], list[Any]]]:
    types, run = plan.contract.types, plan.run
    cells = {column.name: cells_of(column, types) for column in shape.columns}
    values = RowEncoder(shape.columns, list(cells.values()), types).values
    keys = RowEncoder(shape.key_columns, [cells[name] for name in shape.key if shape.mirror]).values

    def upsert(row: Row) -> list[Any]:
        return [*values(row.value), row.key, row.raw, version_of(row.version), now_ms(), run]

    def mirrored(row: Row) -> list[Any]:
        return [*values(row.value), version_of(row.version), now_ms()]

    def delete(row: Row) -> list[Any]:
        version = version_of(row.version)
        return [*(keys(row.value) if shape.mirror else [row.key]), version, version]

    return {Op.UPSERT: mirrored if shape.mirror else upsert, Op.DELETE: delete, Op.TRUNCATE: lambda row: []}


def _upsert(shape: Shape, names: Sequence[str], rows: int = 1) -> str:
    """Insert `rows` rows, or replace by key unless the stored version is newer."""
    table = quoted(shape.target)
    one = f"({', '.join('?' * len(names))})"
    changes = ", ".join(
        f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in shape.key
    )
    return (
        f"INSERT INTO {table} ({', '.join(map(quoted, names))}) VALUES {', '.join([one] * rows)}"
        f" ON CONFLICT ({', '.join(map(quoted, shape.key))}) DO UPDATE SET {changes}"
        f" WHERE excluded._version IS NULL OR {table}._version IS NULL"
        f" OR excluded._version >= {table}._version"
    )


@dataclass(frozen=True, slots=True)
class TupleWriter:
    """Makes the tuples of a mirror from those of a block. `cells` are by column, `cursor` is the place of the column
    that says how new a row is."""

    cells: tuple[tuple[int, Cell], ...]
    cursor: int | None

    def rows(self, block: TupleRows, now_ms: int) -> list[tuple[Any, ...]]:
        """The values of every row, its version and the time."""
        columns: list[Sequence[Any]] = list(zip(*block.tuples(), strict=True))
        if not columns:
            return []
        versions: Iterable[Any] = repeat(None)
        if self.cursor is not None:
            versions = [version_of(value) for value in columns[self.cursor]]
        for at, cell in self.cells:
            columns[at] = [value if value is None else cell(value) for value in columns[at]]
        return list(zip(*columns, versions, repeat(now_ms)))


def tuple_writer(plan: TargetPlan, shape: Shape) -> TupleWriter | None:
    """What writes blocks of tuples into a table of this shape; None where they have to be taken apart."""
    names = [field.name for field in plan.fields]
    if not shape.mirror or [column.key for column in shape.columns] != names:
        return None
    if any(kind_of_field(field) is None for field in plan.fields):
        return None
    if plan.cursor and plan.cursor not in names:
        return None
    cells = ((at, plain_cell(field)) for at, field in enumerate(plan.fields))
    return TupleWriter(
        tuple((at, cell) for at, cell in cells if cell is not None),
        names.index(plan.cursor) if plan.cursor else None,
    )
