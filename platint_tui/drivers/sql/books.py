"""The tables of our own in a database, and target tables: looked at and made.

MySQL commits before and after every statement that makes or changes a table
(https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html), so all of this comes before the rows of a batch.
"""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import json

from sqlalchemy.exc import DBAPIError

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Field
from platint_tui.core.text import clean
from platint_tui.drivers.natives import kind_of_field
from platint_tui.drivers.shapes import Found, Shape
from platint_tui.drivers.sql.catalog import Relation, relations
from platint_tui.drivers.sql.connection import Address, Session, code_of
from platint_tui.drivers.tables import COLUMNS, MIRROR_COLUMNS, OWN_COLUMNS, POSITIONS, TABLES

_BOOKS = {
    POSITIONS: "`sync` varchar(250) NOT NULL, `stream` varchar(250) NOT NULL, `seq` bigint NOT NULL, `epoch` bigint"
    " NOT NULL, `position` longtext NOT NULL, `run` varchar(64) NOT NULL, `target` varchar(64) NOT NULL,"
    " PRIMARY KEY (`sync`, `stream`)",
    COLUMNS: "`target` varchar(64) NOT NULL, `key` varchar(600) NOT NULL, `name` varchar(64) NOT NULL,"
    " PRIMARY KEY (`target`, `key`)",
    TABLES: "`target` varchar(64) NOT NULL PRIMARY KEY, `layout` varchar(16) NOT NULL, `key` longtext NOT NULL",
}
_THERE_ALREADY = frozenset({1050, 1060})
_EXISTS = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"


async def collation_of(session: Session) -> str:
    """The collation that compares texts byte by byte without filling them up with blanks."""
    ((version,),) = await session.rows("SELECT VERSION()")
    return "utf8mb4_nopad_bin" if "mariadb" in str(version).lower() else "utf8mb4_0900_bin"


async def make_books(session: Session, collation: str) -> None:
    """Make the tables of our own."""
    for name, definition in _BOOKS.items():
        await session.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({definition}) ENGINE = InnoDB ROW_FORMAT = DYNAMIC"
            f" CHARACTER SET utf8mb4 COLLATE {collation}"
        )


async def look(session: Session, address: Address, target: str) -> Found:
    """The table as it is. Raises ConfigError for one that is not ours."""
    found = (await relations(session, address, target)).get(target)
    if found is None:
        return Found()
    types = {column.name: column.native for column in found.columns}
    key = tuple(name for name, _ in await mirror_key(session, address, target))
    _check(found, types, key, address)
    known: list[tuple[str, str]] = []
    if await _is_there(session, address, COLUMNS):
        rows = await session.rows(f"SELECT `key`, `name` FROM {COLUMNS} WHERE `target` = %s", (target,))
        known = [(row[0], row[1]) for row in rows]
    return Found(types, {item: name for item, name in known if name in types}, key)


def _check(found: Relation, types: dict[str, str], key: tuple[str, ...], address: Address) -> None:
    reason = ""
    missing = [name for name in (MIRROR_COLUMNS if key else OWN_COLUMNS) if name not in types]
    if found.kind != "table":
        reason = "it is a view"
    elif missing:
        reason = f"it has no column {missing[0]}"
    elif found.key != (key or ("_key",)):
        reason = f"its primary key is not {', '.join(key or ('_key',))}"
    if reason:
        raise ConfigError(
            f"The table '{clean(found.name)}' is there already and has another shape: {clean(reason)}.",
            where=address.where,
            hint="Name another target in the integration, or rename that table.",
            code="target_shape",
        )


async def mirror_key(session: Session, address: Address, target: str) -> list[tuple[str, str]]:
    """The key columns of a table that is a mirror of ours, each with its kind; none for any other."""
    if not await _is_there(session, address, TABLES):
        return []
    rows = await session.rows(
        f"SELECT `key` FROM {TABLES} WHERE `target` = %s AND `layout` = 'mirror'", (target,)
    )
    return [(name, kind) for name, kind in json.loads(rows[0][0])] if rows else []


async def _is_there(session: Session, address: Address, table: str) -> bool:
    return bool(await session.rows(_EXISTS, (address.database, table)))


async def make(session: Session, address: Address, shape: Shape) -> None:
    """Carry the changes of a shape out; each is committed at once.

    Raises TransientError when another engine makes the same change at this moment.
    """
    target = shape.target
    if shape.new:
        # What an earlier table of this name left behind says nothing about this one.
        for name in (POSITIONS, COLUMNS, TABLES):
            await session.execute(f"DELETE FROM {name} WHERE `target` = %s", (target,))
        if shape.mirror:
            key = [[column.name, _kind_name(column.type, column.native)] for column in shape.key_columns]
            await session.execute(f"INSERT INTO {TABLES} VALUES (%s, 'mirror', %s)", (target, dumps(key)))
    for column in shape.added:
        await session.execute(
            f"REPLACE INTO {COLUMNS} VALUES (%s, %s, %s)",
            (target, column.key.encode("utf-8", "backslashreplace").decode(), column.name),
        )
    try:
        for change in shape.changes:
            await session.execute(change.statement)
    except DBAPIError as error:
        if code_of(error) in _THERE_ALREADY:
            raise TransientError(
                f"Somebody else changes the table '{clean(target)}' at this moment.", where=address.where
            ) from None
        raise


def _kind_name(type_: str, native: str) -> str:
    kind = kind_of_field(Field("", type_, native=native))
    return type_ if kind is None else kind.name
