"""Column types of a PostgreSQL target: which one a field gets, what it holds, and to what it can be widened.

A field of PostgreSQL keeps its own type where that is one of the system's; an enumeration or a type of the user's
own, and whatever has no text form that is read back (geometry, xml, tsvector), becomes text. A field of another
database gets the type of its kind (see `drivers.natives`), one without a native type that of its field type.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from platint_tui.core.model import Field
from platint_tui.drivers.natives import Kind, Native, kind_of_field, parse_native

DECLARED = {
    "string": "text",
    "integer": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamp with time zone",
    "object": "jsonb",
    "array": "jsonb",
    "any": "jsonb",
}
"""Column type per field type. `any` is jsonb, which holds every value exactly."""
BY_KIND = {
    "boolean": "boolean",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "decimal": "numeric",
    "float32": "real",
    "float64": "double precision",
    "text": "text",
    "binary": "bytea",
    "uuid": "uuid",
    "date": "date",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "json": "jsonb",
}
"""Column type per kind of value of another database."""

_INTERVAL = re.compile(r"interval( (year|month|day|hour|minute|second)( to (month|hour|minute|second))?)?")
BITS = {"smallint": 15, "integer": 31, "oid": 32, "bigint": 63}
TEXTS = ("text", "character varying", "character", "name")
NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
DATES = (
    "date",
    "time without time zone",
    "time with time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
)
WRITTEN = (
    *("uuid", "inet", "cidr", "macaddr", "macaddr8", "bit", "bit varying"),
    *(f"{name}range" for name in ("int4", "int8", "num", "ts", "tstz", "date")),
    *(f"{name}multirange" for name in ("int4", "int8", "num", "ts", "tstz", "date")),
)
KEPT = frozenset({*TEXTS, *NUMBERS, *DATES, *WRITTEN, "oid", "boolean", "bytea", "json", "jsonb"})
"""Types of PostgreSQL that a column of ours can have, and arrays of them."""


def column_type(field: Field) -> str:
    """The type of the column for a field, as PostgreSQL writes it."""
    found = parse_native(field.native)
    if found is not None and found.family == "postgresql":
        return spelled(found) if base_name(found.name) in KEPT else DECLARED.get(field.type, "jsonb")
    kind = kind_of_field(field)
    return DECLARED.get(field.type, "jsonb") if kind is None else _of_kind(kind)


def keeps(field: Field) -> bool:
    """Whether the column of a field has a type that is more than its field type: a native one, or one like it."""
    found = parse_native(field.native)
    if found is not None and found.family == "postgresql":
        return base_name(found.name) in KEPT
    return kind_of_field(field) is not None


def _of_kind(kind: Kind) -> str:
    name = BY_KIND[kind.name]
    if kind.name == "decimal" and kind.size is not None:
        return f"{name}({kind.size},{kind.scale or 0})"
    return name


def spelled(native: Native) -> str:
    """A type from its parts. Names are those of `KEPT` and arguments numbers, so it can stand in a statement."""
    name, zone, tail = native.name.partition(" with")
    if not native.name.startswith(("time", "timestamp")):
        name, zone, tail = native.name, "", ""
    arguments = f"({','.join(map(str, native.arguments))})" if native.arguments else ""
    return f"{name}{arguments}{zone}{tail}{'[]' if native.array else ''}"


def taken_apart(kind: str) -> Native:
    """A column type taken apart; one of an unknown form is its own name."""
    return parse_native(f"postgresql:{kind}") or Native("postgresql", kind)


def base_name(name: str) -> str:
    """The name of a type without the fields that an interval is limited to."""
    return "interval" if _INTERVAL.fullmatch(name) else name


def can_key(field: Field) -> bool:
    """Whether the column of a field can be part of a key."""
    found = taken_apart(column_type(field))
    return not found.array and base_name(found.name) in KEPT - {"json"} and "range" not in found.name


def holds(existing: str, wanted: str) -> bool:
    """Whether a column of the one type holds every value of the other exactly."""
    have, want = taken_apart(existing), taken_apart(wanted)
    if existing == wanted or (not have.array and have.name in ("text", "jsonb", "json")):
        return True
    if have.array or want.array:
        return have.array and want.array and _holds_one(have, want)
    return _holds_one(have, want)


def _holds_one(have: Native, want: Native) -> bool:
    if have.name == want.name:
        return _arguments_hold(have, want)
    if have.name == "character varying" and want.name in ("character", "name"):
        return _arguments_hold(have, want)
    if have.name == "text":
        return want.name in TEXTS
    if have.name == "interval":
        return base_name(want.name) == "interval"
    if have.name == "numeric" and want.name in NUMBERS:
        if want.name in BITS:
            return _digits_hold(have, len(str(2 ** BITS[want.name])), 0)
        return not have.arguments
    if want.name in BITS and have.name in BITS:
        return BITS[have.name] >= BITS[want.name] and have.name != "oid"
    return have.name == "double precision" and want.name in ("real", "smallint", "integer")


def _arguments_hold(have: Native, want: Native) -> bool:
    if not have.arguments or have.arguments == want.arguments:
        return have.name not in ("character", "bit") or have.arguments == want.arguments
    if have.name == "numeric" and len(want.arguments) == 2:
        return _digits_hold(have, want.arguments[0] - want.arguments[1], want.arguments[1])
    return (
        bool(want.arguments)
        and have.arguments[0] >= want.arguments[0]
        and have.name not in ("numeric", "bit")
    )


def _digits_hold(have: Native, whole: int, decimals: int) -> bool:
    if not have.arguments:
        return True
    scale = have.arguments[1] if len(have.arguments) > 1 else 0
    return scale >= decimals and have.arguments[0] - scale >= whole


def widened(existing: str, wanted: str) -> str:
    """A type that holds what is in a column of the one type and every value of the other."""
    if holds(existing, wanted):
        return existing
    if holds(wanted, existing):
        return wanted
    have, want = taken_apart(existing), taken_apart(wanted)
    if have.array or want.array:
        return "jsonb"
    if have.name == want.name and have.name not in ("character", "bit"):
        return spelled(Native("postgresql", have.name))
    if have.name in NUMBERS and want.name in NUMBERS:
        return "numeric"
    if have.name in TEXTS and want.name in TEXTS:
        return "text"
    return "jsonb"


def conversion(name: str, existing: str, wanted: str) -> str:
    """The expression that turns the values of a column (`name`, quoted) into another type without loss."""
    have = taken_apart(existing)
    if have.name == "bytea" and not have.array and wanted in ("jsonb", "text"):
        text = f"translate(encode({name}, 'base64'), E'\\n', '')"
        return text if wanted == "text" else f"to_jsonb({text})"
    if wanted == "jsonb":
        return f"to_jsonb({name})"
    if wanted == "numeric" and have.name in ("real", "double precision"):
        return f"{name}::text::numeric"  # a cast from the number itself keeps 15 digits only
    return f"{name}::{wanted}"


def type_of_value(value: Any) -> str:
    """The type of a column that was made for this JSON value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint" if -(2**63) <= value < 2**63 else "numeric"
    if isinstance(value, float | Decimal):
        return "numeric"
    return "text" if isinstance(value, str) else "jsonb"
