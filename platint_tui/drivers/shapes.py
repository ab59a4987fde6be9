"""The shape of a target table: what is there, what a stream needs, and what its contract lets be changed.

Nothing here talks to a database. A driver looks at the table (`Found`), asks for the shape that it is to have
(`plan_shape`), carries the changes out, and writes rows into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Evolution, Field, SchemaChange, TargetPlan
from platint_tui.core.text import clean
from platint_tui.drivers.tablerows import Misfit
from platint_tui.drivers.tables import (
    MIRROR_COLUMNS,
    MOST_COLUMNS,
    OWN_COLUMNS,
    Column,
    plan_columns,
)


class Dialect(Protocol):
    """What one kind of database makes of fields: types are texts as that database writes them."""

    fold: bool
    """Whether names that differ in ASCII case only are the same."""
    reserved: frozenset[str]
    """Names that no column can have."""

    def column_type(self, field: Field) -> str:
        """The type of the column for a field; "" for none."""

    def keeps(self, field: Field) -> bool:
        """Whether the native type of the field says how its values are stored."""

    def holds(self, existing: str, wanted: str) -> bool:
        """Whether a column of the one type holds every value of the other exactly."""

    def widened(self, existing: str, wanted: str) -> str:
        """A type that holds what both types hold; the existing one when there is none."""

    def type_of_value(self, value: Any) -> str:
        """The type of a column that is made for this JSON value."""

    def can_key(self, field: Field) -> bool:
        """Whether the column for this field can be part of a key."""

    def create(self, shape: Shape) -> str:
        """The statement that makes the table."""

    def add(self, target: str, name: str, kind: str) -> str:
        """The statement that adds a column."""

    def alter(self, target: str, name: str, existing: str, wanted: str) -> str:
        """The statement that gives a column another type and keeps its values."""


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it is. `types` by the names of its columns (None: there is no table), `known` the columns that
    keys of records have, `key` the key columns of a mirror (none: the layout with `_key`).
    """

    types: Mapping[str, str] | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as it is to be.

    `key` are the columns that identify a row (`_key` unless it is a mirror), `columns` those of the records in
    the order in which they are written, `types` those of all columns. `new`: there is no table yet. `added` are
    columns that were not known, `seen` the keys of records that need no further look.
    """

    target: str
    mirror: bool
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    types: Mapping[str, str]
    new: bool
    added: tuple[Column, ...]
    seen: frozenset[str]
    changes: tuple[SchemaChange, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are written, those of the records first."""
        own = ("_version",) if self.mirror else OWN_COLUMNS
        return (*(column.name for column in self.columns), *own)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of a mirror's key."""
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in self.key) if self.mirror else ()


def plan_shape(
    plan: TargetPlan,
    found: Found,
    dialect: Dialect,
    keys: Sequence[str] = (),
    misfits: Sequence[Misfit] = (),
) -> Shape:
    """The shape that `plan` and further `keys` and `misfits` of records need, as far as the contract allows it.

    Raises ConfigError (code `contract`) for a change that the contract freezes, (code `target_shape`) for a mirror
    with another key.
    """
    contract = plan.contract
    new = found.types is None
    if new and contract.tables is not Evolution.EVOLVE:
        raise contract_error(plan, "tables", f"there is no table '{clean(plan.target)}'")
    mirror = wants_mirror(plan, dialect) if new else bool(found.key)
    own = dict.fromkeys(MIRROR_COLUMNS if mirror else OWN_COLUMNS, "")
    types = dict(found.types if found.types is not None else own)
    fields = [item if dialect.keeps(item) else replace(item, native="") for item in plan.fields]
    columns, added = plan_columns(fields, keys, found.known, {*types, *dialect.reserved}, fold=dialect.fold)
    declared = {item.name: item for item in plan.fields}
    left_out = _left_out(plan, found, added, new)
    if mirror:
        _check_all_fit(plan, columns, (*declared, *keys))
    columns = [_as_in(mirror, plan, column) for column in columns if column.key not in left_out]
    added = [column for column in added if column.key not in left_out]
    changes: list[SchemaChange] = []
    for column in added:
        kind = dialect.column_type(declared.get(column.key) or Field(column.key, "any"))
        types[column.name] = kind
        if not new:
            changes.append(_addition(plan.target, column, kind, dialect))
    if not new:
        changes += _widenings(plan, columns, added, types, declared, misfits, dialect)
    shape = Shape(
        plan.target,
        mirror,
        _key(plan, found, columns, mirror),
        tuple(columns),
        types,
        new,
        tuple(added),
        frozenset(found.known).union(keys, _settled(plan, columns, left_out)),
        tuple(changes),
    )
    return replace(shape, changes=(_creation(shape, dialect),)) if new else shape


def wants_mirror(plan: TargetPlan, dialect: Dialect) -> bool:
    """Whether a new table for this plan has the same columns and the same key as the table that is read."""
    fields = {item.name: item for item in plan.fields}
    return (
        plan.typed
        and bool(plan.key)
        and len(fields) <= MOST_COLUMNS - len(MIRROR_COLUMNS)
        and all(name in fields and dialect.can_key(fields[name]) for name in plan.key)
    )


def contract_error(plan: TargetPlan, part: str, what: str, field: str = "") -> ConfigError:
    """That the contract of the stream does not let its target be changed."""
    return ConfigError(
        f"The contract of '{clean(plan.stream)}' freezes the {part} of its target: {what}.",
        where=clean(f"{plan.target}.{field}" if field else plan.target),
        hint=f"Make the change there by hand, or write `contract: {{{part}: evolve}}` for the stream in the"
        " integration file.",
        code="contract",
    )


def _left_out(plan: TargetPlan, found: Found, added: Sequence[Column], new: bool) -> frozenset[str]:
    """Keys of the columns that the contract does not let be added. Raises ConfigError when it freezes them."""
    how = plan.contract.columns
    if how is Evolution.EVOLVE or new or not added or _unformed(plan, found):
        return frozenset()
    if how is Evolution.FREEZE:
        column = added[0]
        what = f"'{clean(plan.target)}' has no column for '{clean(column.key)}' ({column.type})"
        raise contract_error(plan, "columns", what, column.key)
    return frozenset(column.key for column in added)


def _check_all_fit(plan: TargetPlan, columns: Iterable[Column], wanted: Iterable[str]) -> None:
    """A mirror keeps no text of the record, so that nothing may be left out."""
    missing = set(wanted) - {column.key for column in columns}
    if missing:
        raise ConfigError(
            f"'{clean(plan.target)}' cannot have more than {MOST_COLUMNS} columns; the records of"
            f" '{clean(plan.stream)}' bring {len(missing)} more.",
            where=clean(plan.target),
            hint="Choose fields with `select` in the integration file.",
            code="column_limit",
        )


def _unformed(plan: TargetPlan, found: Found) -> bool:
    """Whether the table has no columns for records yet, and nobody said which: its first rows say so."""
    return not found.known and not plan.fields


def _settled(plan: TargetPlan, columns: Iterable[Column], left_out: frozenset[str]) -> set[str]:
    """Keys that rows may have without another look: those with a column, and those whose values are left out."""
    discarded = left_out if plan.contract.columns is Evolution.DISCARD_VALUE else frozenset()
    return {*(column.key for column in columns), *discarded}


def _as_in(mirror: bool, plan: TargetPlan, column: Column) -> Column:
    """A mirror wants a value for its key only: what else may be empty is for the source to say."""
    return replace(column, required=column.key in plan.key) if mirror else column


def _key(plan: TargetPlan, found: Found, columns: Sequence[Column], mirror: bool) -> tuple[str, ...]:
    if not mirror:
        return ("_key",)
    names = {column.key: column.name for column in columns}
    key = tuple(names.get(name, "") for name in plan.key)
    if found.key and key != found.key:
        theirs, ours = ", ".join(found.key), ", ".join(plan.key) or "none"
        raise ConfigError(
            f"The key of the table '{clean(plan.target)}' is {clean(theirs)}, that of the stream"
            f" '{clean(plan.stream)}' is {clean(ours)}.",
            where=clean(plan.target),
            hint="Name another target in the integration, or drop that table to have it made again.",
            code="target_shape",
        )
    return key


def _widenings(
    plan: TargetPlan,
    columns: Sequence[Column],
    added: Sequence[Column],
    types: dict[str, str],
    declared: Mapping[str, Field],
    misfits: Sequence[Misfit],
    dialect: Dialect,
) -> list[SchemaChange]:
    """Changes of types that the declared fields and single values ask for; `types` are changed with them."""
    new = {column.name for column in added}
    wanted: dict[str, list[str]] = {}
    for column in columns:
        item = declared.get(column.key)
        if item is None or column.name in new:
            continue
        kind = dialect.column_type(item)
        if not dialect.holds(types[column.name], kind):
            if plan.contract.types is Evolution.FREEZE:
                what = f"the column '{clean(column.name)}' is {types[column.name]}, the field is {kind} now"
                raise contract_error(plan, "types", what, column.name)
            wanted.setdefault(column.name, []).append(kind)
    for misfit in misfits:
        wanted.setdefault(misfit.column.name, []).append(dialect.type_of_value(misfit.value))
    if plan.contract.types is not Evolution.EVOLVE:
        return []
    changes = []
    for name, kinds in wanted.items():
        before = wide = types[name]
        for kind in kinds:
            wide = dialect.widened(wide, kind)
        if wide != before:
            types[name] = wide
            statement = dialect.alter(plan.target, name, before, wide)
            detail = f"The column '{clean(name)}' of '{clean(plan.target)}' becomes {wide}; it is {before}."
            changes.append(SchemaChange("change_type", plan.target, name, detail, statement))
    return changes


def _addition(target: str, column: Column, kind: str, dialect: Dialect) -> SchemaChange:
    typed = f" ({kind.lower()})" if kind else ""
    detail = f"The column '{clean(column.name)}'{typed} is added to '{clean(target)}'."
    return SchemaChange("add_column", target, column.name, detail, dialect.add(target, column.name, kind))


def _creation(shape: Shape, dialect: Dialect) -> SchemaChange:
    count = len(shape.columns)
    what = f"as a mirror with the key {', '.join(shape.key)}" if shape.mirror else "with each record's text"
    detail = f"The table '{shape.target}' is made, {what} and {count} column{'' if count == 1 else 's'}."
    return SchemaChange("create_table", shape.target, "", clean(detail), dialect.create(shape))
