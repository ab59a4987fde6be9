"""What a database holds: tables, views, their columns and keys, from the information schema."""

# ruff: noqa: S608 - the statements are made of constants, values are bound
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.sql.connection import Address, Session
from platint_tui.drivers.tables import MIRROR_COLUMNS, OWN_COLUMNS

MOST_TABLES = 20_000
_MODES = ("snapshot", "cursor")
_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), "integer"),
    **dict.fromkeys(("decimal", "float", "double"), "number"),
    **dict.fromkeys(("datetime", "timestamp", "date"), "timestamp"),
    "json": "any",
}
_WIDTH = re.compile(r"\b(tinyint|smallint|mediumint|int|bigint)\((?!1\))\d+\)")
_YEAR = re.compile(r"\byear\(\d\)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `native` is its type as the server writes it, without display widths."""

    name: str
    native: str
    required: bool = False
    comment: str = ""

    @property
    def base(self) -> str:
        """The name of the type alone."""
        return self.native.partition("(")[0].partition(" ")[0]

    @property
    def field(self) -> Field:
        """The column as a field of a stream."""
        type_ = _TYPES.get(self.base, "string")
        return Field(self.name, type_, self.required, None, clean(self.comment), f"mysql:{self.native}")


@dataclass(slots=True)
class Relation:
    """A table or view. `key` is its primary key, or its first unique key without nulls."""

    name: str
    kind: str
    estimate: int | None = None
    comment: str = ""
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column called `name`."""
        return next((item for item in self.columns if item.name == name), None)


async def relations(session: Session, address: Address, name: str = "") -> dict[str, Relation]:
    """The tables and views that this user may see, by name; only one of them with `name`."""
    only, values = (" AND table_name = %s", (address.database, name)) if name else ("", (address.database,))
    found: dict[str, Relation] = {}
    for table, kind, rows, comment in await session.rows(
        "SELECT table_name, table_type, table_rows, table_comment FROM information_schema.tables"
        f" WHERE table_schema = %s{only} ORDER BY table_name LIMIT {MOST_TABLES}",
        values,
    ):
        view = "VIEW" in kind
        said = "" if view else comment or ""
        estimate = int(rows) if rows is not None and not view else None
        found[table] = Relation(table, "view" if view else "table", estimate, said)
    for table, column, kind, null, comment in await session.rows(
        "SELECT table_name, column_name, column_type, is_nullable, column_comment FROM information_schema.columns"
        f" WHERE table_schema = %s{only} ORDER BY table_name, ordinal_position",
        values,
    ):
        if table in found:
            native = plain_type(kind)
            found[table].columns.append(Column(column, native, null == "NO", comment or ""))
    for table, columns in (await _keys(session, only, values)).items():
        if table in found:
            found[table].key = columns
    return found


async def _keys(session: Session, only: str, values: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """The key of each table."""
    indexes: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for table, index, column, null, part in await session.rows(
        "SELECT table_name, index_name, column_name, nullable, sub_part FROM information_schema.statistics"
        f" WHERE table_schema = %s{only} AND non_unique = 0 ORDER BY table_name, index_name <> 'PRIMARY', index_name,"
        " seq_in_index",
        values,
    ):
        usable = column is not None and null != "YES" and part is None
        indexes.setdefault((table, index), []).append((column or "", usable))
    keys: dict[str, tuple[str, ...]] = {}
    for (table, _), columns in indexes.items():
        if all(usable for _, usable in columns):
            keys.setdefault(table, tuple(name for name, _ in columns))
    return keys


def plain_type(text: str) -> str:
    """A type without the display widths that only some servers write; tinyint(1) keeps its own."""
    kind = text.lower() if not text.lower().startswith(("enum", "set")) else text
    return _YEAR.sub("year", _WIDTH.sub(r"\1", kind))


async def relation(session: Session, address: Address, name: str) -> Relation:
    """One table or view. Raises ConfigError when there is none of this name."""
    found = (await relations(session, address, name)).get(name)
    if found is None or not found.columns:
        raise ConfigError(
            f"There is no table or view '{clean(name)}' that the user '{clean(address.user)}' may read.",
            where=address.where,
            hint=f"Discover the streams again, or run GRANT SELECT ON `{clean(address.database)}`.* for the user.",
            code="no_table",
        )
    return found


def stream_of(found: Relation) -> Stream:
    """A table or view as a stream."""
    names = {column.name for column in found.columns}
    ours = names.issuperset(OWN_COLUMNS) or names.issuperset(MIRROR_COLUMNS)
    notes = []
    if not found.key:
        notes.append("it has no key: name the columns that identify a row as `key` of the stream")
    if any(column.base == "datetime" for column in found.columns):
        notes.append("datetime has no time zone; it is read as it is")
    if found.comment:
        notes.append(clean(found.comment))
    cursors = tuple(
        column.name
        for column in found.columns
        if column.base in ("timestamp", "datetime") and column.required
    )
    return Stream(
        found.name,
        found.key,
        None,
        tuple(column.field for column in found.columns),
        readable=True,
        writable=ours and found.kind == "table",
        estimate=found.estimate,
        notes=tuple(notes),
        cursors=cursors,
        kind=found.kind,
        modes=_MODES,
        typed=True,
    )
