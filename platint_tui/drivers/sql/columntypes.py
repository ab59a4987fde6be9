"""Columns of MySQL for fields, and how JSON values are stored in them.

| kind (see `drivers.natives`)        | column                                                             |
| ----------------------------------- | ------------------------------------------------------------------ |
| boolean                             | tinyint(1)                                                         |
| int16 to int64                      | smallint, int, bigint                                              |
| decimal                             | decimal of its size; longtext where that is more than MySQL has    |
| float32, float64                    | float, double                                                      |
| text                                | varchar of its size, else longtext                                 |
| binary                              | longblob                                                           |
| uuid                                | char(36)                                                           |
| date, time                          | date, varchar(64)                                                  |
| timestamp, timestamptz              | datetime(6), the latter in UTC                                     |
| json, and objects and lists         | longtext with the document: MySQL's json rounds numbers            |
| a type of MySQL's own               | the same type                                                      |
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from platint_tui.core.model import Evolution, Field
from platint_tui.core.text import clean
from platint_tui.drivers.natives import kind_of_field, parse_native
from platint_tui.drivers.shapes import Shape
from platint_tui.drivers.sql.connection import ticked
from platint_tui.drivers.tablerows import accepted_cells, document
from platint_tui.drivers.tables import Cell, Column, Refusal, record_fault

TEXT = "longtext"
_OWN = re.compile(
    r"(?:(?:tiny|small|medium|big)?int(?:\(1\))?|decimal\(\d+,\d+\)|float|double)(?: unsigned)?(?: zerofill)?"
    r"|(?:var)?char\(\d+\)|(?:tiny|medium|long)?text|(?:var)?binary\(\d+\)|(?:tiny|medium|long)?blob"
    r"|date|(?:time|datetime|timestamp)(?:\(\d\))?|year"
)
_BY_KIND = {
    "boolean": "tinyint(1)",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float32": "float",
    "float64": "double",
    "binary": "longblob",
    "uuid": "char(36)",
    "date": "date",
    "time": "varchar(64)",
    "timestamp": "datetime(6)",
    "timestamptz": "datetime(6)",
}
_BY_TYPE = {"integer": "bigint", "number": "double", "boolean": "tinyint(1)", "timestamp": "varchar(64)"}
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_LONGEST_CHAR, _KEY_CHARS, _DIGITS, _DECIMALS = 4_000, 380, 65, 30
_OWN_COLUMNS = (
    "`_key` varchar(760) NOT NULL, `_raw` longtext NOT NULL, `_version` varchar(255),"
    " `_synced_at` datetime(3) NOT NULL, `_run` varchar(64) NOT NULL"
)


class MysqlDialect:
    """Columns and statements of MySQL and MariaDB. `collation` compares texts byte by byte, blanks at the end too."""

    fold = True
    reserved: frozenset[str] = frozenset()

    def __init__(self, collation: str) -> None:
        self._collation = collation

    def column_type(self, field: Field) -> str:
        """The type of the column for a field."""
        native = parse_native(field.native)
        if native is not None and native.family in ("mysql", "mariadb"):
            own = field.native.partition(":")[2].lower()
            if _OWN.fullmatch(own):
                return own
        kind = kind_of_field(field)
        if kind is None:
            sized = field.type == "string" and 0 < (field.max_length or 0) <= _LONGEST_CHAR
            return f"varchar({field.max_length})" if sized else _BY_TYPE.get(field.type, TEXT)
        if kind.name == "decimal":
            fits = kind.size is not None and kind.size <= _DIGITS and 0 <= (kind.scale or 0) <= _DECIMALS
            return f"decimal({kind.size},{kind.scale or 0})" if fits else TEXT
        if kind.name == "text" and kind.size is not None and 0 < kind.size <= _LONGEST_CHAR:
            return f"varchar({kind.size})"
        return _BY_KIND.get(kind.name, TEXT)

    def keeps(self, field: Field) -> bool:
        """Whether the native type of the field says how its values are stored."""
        return kind_of_field(field) is not None

    def holds(self, existing: str, wanted: str) -> bool:
        """Whether a column of the one type holds every value of the other exactly."""
        if existing in (wanted, TEXT):
            return True
        if existing in _INTEGERS and wanted in _INTEGERS:
            return _INTEGERS.index(existing) >= _INTEGERS.index(wanted)
        return base_of(existing) == base_of(wanted) == "varchar" and _size(existing) >= _size(wanted)

    def widened(self, existing: str, wanted: str) -> str:
        """The wider of the two types, or a text."""
        if self.holds(existing, wanted):
            return existing
        return wanted if self.holds(wanted, existing) else TEXT

    def type_of_value(self, value: Any) -> str:
        """The type of a column that is made for this JSON value."""
        if isinstance(value, bool):
            return "tinyint(1)"
        if isinstance(value, int):
            return "bigint" if -(2**63) <= value < 2**63 else TEXT
        return "double" if isinstance(value, float) else TEXT

    def can_key(self, field: Field) -> bool:
        """What an index holds whole."""
        kind = self.column_type(field)
        base = base_of(kind)
        if base in ("varchar", "char", "binary", "varbinary"):
            return _size(kind) <= _KEY_CHARS
        return base in (*_INTEGERS, "decimal", "date", "datetime", "timestamp", "year")

    def create(self, shape: Shape) -> str:
        """CREATE TABLE with the columns of the records in their order."""
        columns = []
        for column in shape.columns:
            needed = " NOT NULL" if column.name in shape.key else " NULL"
            columns.append(f"{ticked(column.name)} {shape.types[column.name]}{needed}")
        own = "`_version` varchar(255), `_synced_at` datetime(3) NOT NULL" if shape.mirror else _OWN_COLUMNS
        key = ", ".join(map(ticked, shape.key))
        return (
            f"CREATE TABLE {ticked(shape.target)} ({', '.join([*columns, own])}, PRIMARY KEY ({key}))"
            f" ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE {self._collation}"
        )

    def add(self, target: str, name: str, kind: str) -> str:
        """ALTER TABLE ... ADD COLUMN."""
        return f"ALTER TABLE {ticked(target)} ADD COLUMN {ticked(name)} {kind} NULL"

    def alter(self, target: str, name: str, existing: str, wanted: str) -> str:
        """ALTER TABLE ... MODIFY COLUMN."""
        return f"ALTER TABLE {ticked(target)} MODIFY COLUMN {ticked(name)} {wanted} NULL"


def base_of(kind: str) -> str:
    """The name of a type alone."""
    return kind.partition("(")[0].partition(" ")[0]


def _size(kind: str) -> int:
    return int(kind.partition("(")[2].partition(")")[0] or 0)


# --- values ---------------------------------------------------------------------------------------------


def _refuse(code: str, message: str) -> Refusal:
    return Refusal(record_fault(code, message))


def _double(value: Decimal) -> float:
    number = float(value)
    if not value.is_finite() or Decimal(repr(number)) != value:
        raise _refuse("out_of_range", "has more digits than a double can hold.")
    return number


def _whole(value: int) -> int | float:
    if abs(value) > 2**53 and int(float(value)) != value:
        raise _refuse("out_of_range", "has more digits than a double can hold.")
    return value


def _decimal_cell(kind: str) -> Cell:
    """MySQL would round what has too many decimals, and say so in a warning only."""
    scale = int(kind.partition(",")[2].partition(")")[0] or 0)

    def cell(value: Any) -> Decimal:
        number = value if isinstance(value, Decimal) else Decimal(repr(value))
        exponent = number.normalize().as_tuple().exponent
        if not isinstance(exponent, int) or -exponent > scale:
            raise _refuse("out_of_range", f"has more than the {scale} decimals of its column.")
        return number

    return cell


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _refuse("wrong_type", "is no base64, as bytes are written.") from None


def _moment(value: str) -> str:
    """A date and time as MySQL writes it: in UTC where there is an offset."""
    if value.startswith("0000-00-00"):
        return value.replace("T", " ").removesuffix("+00:00")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _refuse("wrong_type", "is no date and time of ISO 8601.") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(" ")


def _plain(value: Any) -> str:
    return str(value)


def _chars(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refuse("invalid_text", "holds half of a surrogate pair, which is no character.") from None
    return value


def _json(value: Any) -> str:
    return _chars(document(value))


_TEXTS: Mapping[type, Cell | None] = {
    str: _chars,
    bool: lambda value: "true" if value else "false",
    int: _plain,
    float: document,
    Decimal: _plain,
    dict: _json,
    list: _json,
}


def cells_of(column: Column, kind: str, types: Evolution) -> dict[type, Cell | None]:
    """How values of a field are stored in a column of this type."""
    base = base_of(kind)
    found = kind_of_field(Field(column.key, column.type, native=column.native))
    stored: Mapping[type, Cell | None]
    if kind == "tinyint(1)":
        stored = {bool: int, int: None} if column.native else {bool: int}
    elif base in (*_INTEGERS, "year"):
        stored = {int: None}
    elif base == "decimal":
        stored = dict.fromkeys((int, float, Decimal), _decimal_cell(kind))
    elif base in ("float", "double"):
        stored = {float: None, int: _whole, Decimal: _double}
    elif base.endswith(("binary", "blob")):
        stored = {str: _bytes}
    elif base in ("datetime", "timestamp"):
        stored = {str: _moment}
    elif base in ("date", "time"):
        stored = {str: None}
    elif found is not None and found.name == "json":
        stored = dict.fromkeys((str, bool, int, float, Decimal, dict, list), _json)
    else:
        stored = _TEXTS
    return accepted_cells(column, stored, types)


def version_text(version: Any) -> str | None:
    """A version as a text that sorts as the version does: numbers have a fixed width, and come before texts."""
    if isinstance(version, int | float):
        number = Decimal(repr(version)) if isinstance(version, float) else Decimal(version)
        if abs(number) >= 10**20:
            return None
        return f"n{number + 10**20:031.9f}"
    return None if version is None else f"t{clean(version)[:200]}"
