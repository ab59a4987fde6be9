"""What the types of one database are to another: the native type of a field, and the kind of value it is.

A kind says what is to be held and in which JSON form it comes, whatever the database: a target that is no
relative of the source makes its column for the kind.

| kind        | JSON                                                                   |
| ----------- | ---------------------------------------------------------------------- |
| boolean     | true or false                                                          |
| int16 to 64 | an integer                                                             |
| decimal     | an integer or a number with all its digits; `size` digits, `scale` decimals |
| float32, 64 | a number; NaN and infinity as text                                     |
| text        | text of up to `size` characters                                        |
| binary      | base64                                                                 |
| uuid        | text                                                                   |
| date        | `2026-01-02`                                                           |
| time        | `03:04:05.678`                                                         |
| timestamp   | `2026-01-02T03:04:05.678`, without a zone                              |
| timestamptz | the same with an offset                                                |
| json        | any JSON value                                                         |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from platint_tui.core.model import Field

_FORM = re.compile(r"([^()\[\]]+)(?:\(([^()]*)\))?([^()\[\]]*)((?:\[\])*)")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Native:
    """A type taken apart: `postgresql:numeric(12,2)[]` is numeric with the arguments 12 and 2, an array."""

    family: str
    name: str
    arguments: tuple[int, ...] = ()
    array: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column is to hold. `size` are digits or characters, None without a limit."""

    name: str
    size: int | None = None
    scale: int | None = None


_POSTGRESQL = {
    "boolean": "boolean",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "oid": "int64",
    "numeric": "decimal",
    "real": "float32",
    "double precision": "float64",
    "bytea": "binary",
    "uuid": "uuid",
    "date": "date",
    "time without time zone": "time",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "json": "json",
    "jsonb": "json",
    **dict.fromkeys(
        (
            *("text", "character varying", "character", "name", "time with time zone", "interval"),
            *("inet", "cidr", "macaddr", "macaddr8", "bit", "bit varying"),
            *(f"{name}range" for name in ("int4", "int8", "num", "ts", "tstz", "date")),
            *(f"{name}multirange" for name in ("int4", "int8", "num", "ts", "tstz", "date")),
        ),
        "text",
    ),
}
_MYSQL = {
    "bool": "boolean",
    "boolean": "boolean",
    "tinyint": "int16",
    "smallint": "int16",
    "mediumint": "int32",
    "int": "int32",
    "integer": "int32",
    "bigint": "int64",
    "tinyint unsigned": "int16",
    "smallint unsigned": "int32",
    "mediumint unsigned": "int32",
    "int unsigned": "int64",
    "integer unsigned": "int64",
    "bigint unsigned": "decimal",
    "year": "int16",
    "decimal": "decimal",
    "decimal unsigned": "decimal",
    "numeric": "decimal",
    "float": "float32",
    "double": "float64",
    "binary": "binary",
    "varbinary": "binary",
    "tinyblob": "binary",
    "blob": "binary",
    "mediumblob": "binary",
    "longblob": "binary",
    "date": "date",
    "datetime": "timestamp",
    "timestamp": "timestamptz",
    "json": "json",
    "uuid": "uuid",
}
_MSSQL = {
    "bit": "boolean",
    "tinyint": "int16",
    "smallint": "int16",
    "int": "int32",
    "bigint": "int64",
    "decimal": "decimal",
    "numeric": "decimal",
    "money": "decimal",
    "smallmoney": "decimal",
    "real": "float32",
    "float": "float64",
    "binary": "binary",
    "varbinary": "binary",
    "image": "binary",
    "uniqueidentifier": "uuid",
    "date": "date",
    "time": "time",
    "datetime": "timestamp",
    "datetime2": "timestamp",
    "smalldatetime": "timestamp",
    "datetimeoffset": "timestamptz",
}
_ORACLE = {
    "number": "decimal",
    "binary_float": "float32",
    "binary_double": "float64",
    "raw": "binary",
    "blob": "binary",
    "date": "timestamp",
    "timestamp": "timestamp",
    "timestamp with time zone": "timestamptz",
    "json": "json",
}
_SQLITE = {"integer": "int64", "real": "float64", "blob": "binary"}
_MONGODB = {
    "bool": "boolean",
    "int": "int32",
    "long": "int64",
    "double": "float64",
    "decimal128": "decimal",
    "date": "timestamptz",
    "objectid": "text",
    "string": "text",
    "uuid": "uuid",
    "object": "json",
    "array": "json",
}
_KINDS: Mapping[str, Mapping[str, str]] = {
    "postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mssql": _MSSQL,
    "oracle": _ORACLE,
    "sqlite": _SQLITE,
    "mongodb": _MONGODB,
}
"""Kind by family and type. Any other type is text where the field is, and unknown otherwise."""
_UNSIGNED_DIGITS = {"bigint unsigned": 20}
_MONEY_DECIMALS = 4


def parse_native(native: str) -> Native | None:
    """The parts of a `Field.native`; None for one that is empty or of no form known here."""
    family, colon, rest = native.partition(":")
    match = _FORM.fullmatch(rest) if colon and len(rest) <= _LONGEST else None
    if match is None:
        return None
    head, given, tail, brackets = match.groups()
    try:
        arguments = tuple(int(item) for item in given.split(",")) if given else ()
    except ValueError:
        arguments = ()  # the values of an enumeration, or `max`
    return Native(family, " ".join(f"{head} {tail}".lower().split()), arguments, bool(brackets))


def kind_of_field(field: Field) -> Kind | None:
    """What the values of a field are, by its native type; None where that says nothing, and the field's own
    type decides.
    """
    found = parse_native(field.native)
    family = field.native.partition(":")[0] if found is None else found.family
    if family not in _KINDS:
        return None
    name = _KINDS[family].get(found.name, "") if found is not None else ""
    if found is not None and found.array:
        return Kind("json") if name else None
    if field.type == "boolean" and name.startswith("int"):
        name = "boolean"  # MySQL's tinyint(1)
    if found is not None and name == "decimal":
        return _decimal(found)
    if name not in ("", "text"):
        return Kind(name)
    counted = found is not None and "char" in found.name and len(found.arguments) == 1
    size = found.arguments[0] if found is not None and counted else None
    return Kind("text", size) if name or field.type == "string" else None


def _decimal(found: Native) -> Kind:
    if found.name in _UNSIGNED_DIGITS:
        return Kind("decimal", _UNSIGNED_DIGITS[found.name], 0)
    if "money" in found.name:
        return Kind("decimal", 19, _MONEY_DECIMALS)
    if not found.arguments:
        return Kind("decimal")
    return Kind("decimal", found.arguments[0], found.arguments[1] if len(found.arguments) > 1 else 0)
