"""Target tables in PostgreSQL: the statements that make them, change them, and write into them."""

# ruff: noqa: S608 - identifiers are quoted, values are bound, types are those of `columntypes`
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Op, Row, TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql import columntypes
from platint_tui.drivers.postgresql.books import OWN_TYPES, other_shape
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.postgresql.values import Storage, storage_of
from platint_tui.drivers.shapes import Shape
from platint_tui.drivers.tablerows import RowEncoder, accepted_cells
from platint_tui.drivers.tables import OWN_COLUMNS, Column, quoted, version_of

STAGED = "pg_temp._platint_rows"


class PostgresqlDialect:
    """Columns and statements of PostgreSQL for tables of one schema."""

    fold = False
    reserved = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"})
    column_type = staticmethod(columntypes.column_type)
    keeps = staticmethod(columntypes.keeps)
    holds = staticmethod(columntypes.holds)
    widened = staticmethod(columntypes.widened)
    type_of_value = staticmethod(columntypes.type_of_value)
    can_key = staticmethod(columntypes.can_key)

    def __init__(self, schema: str) -> None:
        self._schema = schema

    def table(self, name: str) -> str:
        """The qualified name as an identifier."""
        return f"{quoted(self._schema)}.{quoted(name)}"

    def create(self, shape: Shape) -> str:
        """CREATE TABLE with the columns of the records in their order."""
        columns = [f"{quoted(column.name)} {shape.types[column.name]}" for column in shape.columns]
        if shape.mirror:
            own = ["_version jsonb", "_synced_at timestamp with time zone NOT NULL DEFAULT now()"]
        else:
            own = [f"{name} {kind}" for name, kind in OWN_TYPES.items()]
            own[0] += " NOT NULL"
        key = ", ".join(map(quoted, shape.key))
        listed = ", ".join([*columns, *own] if shape.mirror else [*own, *columns])
        return f"CREATE TABLE {self.table(shape.target)} ({listed}, PRIMARY KEY ({key}))"

    def add(self, target: str, name: str, kind: str) -> str:
        """ALTER TABLE ... ADD COLUMN."""
        return f"ALTER TABLE {self.table(target)} ADD COLUMN {quoted(name)} {kind}"

    def alter(self, target: str, name: str, existing: str, wanted: str) -> str:
        """ALTER TABLE ... ALTER COLUMN ... TYPE ... USING ..."""
        column = quoted(name)
        using = columntypes.conversion(column, existing, wanted)
        return f"ALTER TABLE {self.table(target)} ALTER COLUMN {column} TYPE {wanted} USING {using}"


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are written into the table as it is after the last commit.

    `staged` are the columns of the temporary table that rows are copied into, with their types; `names` those
    that a row fills, `key_names` those that a delete fills. `upsert` and `delete` carry over what is staged,
    `kept` counts the staged rows that the table still has. `cells` makes the tuple of a row for each operation.
    `version` is the version of a row of the table `t` as an expression.
    """

    shape: Shape
    staged: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    key_names: tuple[str, ...]
    upsert: str
    delete: str
    kept: str
    cells: Mapping[Op, Callable[[Row], list[Any]]]
    version: str


def layout_of(address: Address, plan: TargetPlan, shape: Shape, now: Callable[[], Any]) -> Layout:
    """The statements for a shape; `now` gives the time at which rows are synced.

    Raises ConfigError for a column of a type that nothing is written to.
    """
    types = plan.contract.types
    storages = [_storage(address, shape, column, plan) for column in shape.columns]
    cells = [
        accepted_cells(column, storage.cells, types)
        for column, storage in zip(shape.columns, storages, strict=True)
    ]
    staged = [
        *zip((column.name for column in shape.columns), (storage.staged for storage in storages), strict=True)
    ]
    own = ("_version",) if shape.mirror else OWN_COLUMNS
    staged += [(name, OWN_TYPES[name]) for name in own]
    casts = {
        column.name: storage.cast
        for column, storage in zip(shape.columns, storages, strict=True)
        if storage.cast
    }
    names = tuple(name for name, _ in staged)
    table = f"{quoted(address.schema)}.{quoted(shape.target)}"
    version = _version_expression(plan, shape)
    same = " AND ".join(
        f"t.{quoted(name)} = {_staged_as(f's.{quoted(name)}', casts.get(name))}" for name in shape.key
    )
    selected = ", ".join(_staged_as(quoted(name), casts.get(name)) for name in names)
    return Layout(
        shape,
        tuple(staged),
        names,
        (*shape.key, "_version"),
        f"INSERT INTO {table} AS t ({_listed(names)}) SELECT {selected} FROM {STAGED} {on_conflict(shape, version)}",
        f"DELETE FROM {table} AS t USING {STAGED} AS s WHERE {same} AND ({_guard('s._version', version)})",
        f"SELECT count(*) FROM {table} AS t JOIN {STAGED} AS s ON {same}",
        _cells(plan, shape, RowEncoder(shape.columns, cells, types), cells, now),
        version,
    )


def on_conflict(shape: Shape, version: str) -> str:
    """What is done with rows that the table has already: replaced unless the stored version is newer."""
    changed = [name for name in shape.names if name not in shape.key]
    changes = [f"{quoted(name)} = excluded.{quoted(name)}" for name in changed]
    if shape.mirror:
        changes.append("_synced_at = now()")
    guard = _guard("excluded._version", version)
    return f"ON CONFLICT ({_listed(shape.key)}) DO UPDATE SET {', '.join(changes)} WHERE {guard}"


def _guard(given: str, stored: str) -> str:
    return f"{given} IS NULL OR {stored} IS NULL OR {given} >= {stored}"


def _storage(address: Address, shape: Shape, column: Column, plan: TargetPlan) -> Storage:
    kind = shape.types[column.name]
    found = storage_of(column, kind, plan.contract.types)
    if found is None:
        raise other_shape(
            address, shape.target, f"its column {clean(column.name)} is of the type {clean(kind)}"
        )
    return found


def _cells(
    plan: TargetPlan,
    shape: Shape,
    encoder: RowEncoder,
    cells: Sequence[Mapping[type, Any]],
    now: Callable[[], Any],
) -> dict[Op, Callable[[Row], list[Any]]]:
    values, run = encoder.values, plan.run

    def version(row: Row) -> str | None:
        found = version_of(row.version)
        return None if found is None else dumps(found)

    def upsert(row: Row) -> list[Any]:
        return [*values(row.value), row.key, row.raw, version(row), now(), run]

    def mirrored(row: Row) -> list[Any]:
        return [*values(row.value), version(row)]

    places = {column.name: at for at, column in enumerate(shape.columns)}
    keys = RowEncoder(shape.key_columns, [cells[places[column.name]] for column in shape.key_columns])

    def delete(row: Row) -> list[Any]:
        return [*(keys.values(row.value) if shape.mirror else [row.key]), version(row)]

    return {Op.UPSERT: mirrored if shape.mirror else upsert, Op.DELETE: delete, Op.TRUNCATE: lambda row: []}


def _version_expression(plan: TargetPlan, shape: Shape) -> str:
    """The version of a row `t`: `_version`, or what the cursor column says of a row that was copied as a block."""
    derived = derived_version(plan, shape, "t.")
    return f"COALESCE(t._version, {derived})" if derived else "t._version"


def derived_version(plan: TargetPlan, shape: Shape, prefix: str) -> str:
    """The expression for the version that the cursor column of a mirror gives, as `version_of` has it; "" where
    it has none or no such expression is possible."""
    column = next((item for item in shape.columns if shape.mirror and item.key == plan.cursor), None)
    if column is None:
        return ""
    name = f"{prefix}{quoted(column.name)}"
    kind = columntypes.taken_apart(shape.types[column.name])
    if kind.array or kind.name not in (*columntypes.NUMBERS, *_MOMENTS, "date"):
        return ""
    if kind.name == "date":
        return f"to_jsonb({name}::text)"
    if kind.name not in _MOMENTS:
        return f"to_jsonb({name})"
    epoch = f"to_jsonb((extract(epoch FROM {name}) * 1000000)::bigint)"
    return f"CASE WHEN isfinite({name}) THEN {epoch} ELSE to_jsonb({name}::text) END"


_MOMENTS = ("timestamp with time zone", "timestamp without time zone")


def _staged_as(name: str, cast: str | None) -> str:
    return f"{name}::{cast}" if cast else name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
