"""What the SQL targets share: names of tables and columns, the version that guards a row.

A target table has one column per declared field and one per further key that a record brought. Beside them it
has `_key` (the record's identity), `_raw` (its exact text), `_version`, `_synced_at` and `_run`; or, as a mirror
of a table whose columns are all known, the same key as that table, `_version` and `_synced_at`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from platint_tui.core.errors import ConfigError, ErrorClass
from platint_tui.core.ids import digest
from platint_tui.core.model import Fault, Field
from platint_tui.core.text import clean

POSITIONS = "_platint_positions"
COLUMNS = "_platint_columns"
TABLES = "_platint_tables"
OWN_COLUMNS = ("_key", "_raw", "_version", "_synced_at", "_run")
MIRROR_COLUMNS = ("_version", "_synced_at")
MOST_COLUMNS = 1_000
"""Keys beyond this many columns are kept in `_raw` only."""
FIELD_TYPES = frozenset({"string", "integer", "number", "boolean", "timestamp", "object", "array", "any"})
TYPE_CODES = frozenset({"wrong_type", "out_of_range", "too_long"})
"""Codes of faults that say that a value is of another type than its column."""

_LONGEST_NAME = 63
_MAIL_DATE = re.compile(r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = 2**63


class Refusal(Exception):
    """One value that the target does not take: carries the fault, and the column when that is known."""

    def __init__(self, fault: Fault, column: Column | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.column = column


@dataclass(frozen=True, slots=True)
class Column:
    """A column for one key of the records. `type` is a field type, `native` that of a `Field`."""

    key: str
    name: str
    type: str
    required: bool = False
    max_length: int | None = None
    native: str = ""


Cell = Callable[[Any], Any]
"""Turns one accepted value into what the database stores. Raises Refusal (without a field) for a bad one."""


def record_fault(code: str, message: str, field: str = "", hint: str = "") -> Fault:
    """A fault of class record."""
    return Fault(ErrorClass.RECORD, code, message, field=field, hint=hint)


def fits_int64(number: int) -> bool:
    """Whether a signed 64-bit column holds it."""
    return -_INT64 <= number < _INT64


def instant_us(text: str) -> int | None:
    """Epoch microseconds of an ISO 8601 date and time (UTC where no zone is given), None for other text."""
    if len(text) < 16 or text[4] != "-" or text[10] not in "Tt ":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def version_of(value: Any) -> int | float | str | None:
    """A cursor value in a form that orders as the platform means it; None does not guard.

    Times become epoch microseconds, also those of RFC 2822: as text, 12:00:00Z would come after 12:00:00.5Z, and
    a Wednesday after a Thursday.
    """
    kind = type(value)
    if kind is str:
        instant = instant_us(value) if not _MAIL_DATE.match(value) else _mail_us(value)
        return value if instant is None else instant
    if kind is int:
        return int(value) if fits_int64(value) else float(value) if abs(value) < 2**1000 else None
    return float(value) if kind in (float, Decimal) else None


def _mail_us(text: str) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MICROSECOND


def check_table_name(name: str, longest: int = _LONGEST_NAME) -> None:
    """Raise ConfigError unless `name` can be the name of a target table."""
    reason = ""
    if not name or not name.isprintable():
        reason = "it is empty or holds characters that cannot be shown"
    elif len(name.encode()) > longest:
        reason = f"it is longer than {longest} bytes"
    elif name.lower().startswith(("sqlite_", "_platint_", "pg_")):
        reason = "names with this beginning are reserved"
    if reason:
        raise ConfigError(
            f"'{clean(name)}' cannot be the name of a target table: {reason}.",
            hint="Choose another target in the integration.",
            code="target_name",
        )


def column_name(key: str, taken: Collection[str], *, fold: bool) -> str:
    """A column name for `key` that is not in `taken`; the key itself when that is possible.

    `fold`: the database takes names that differ only in ASCII case for one. Otherwise the name is a readable
    part of the key with a digest behind it.
    """

    def folded(name: str) -> str:
        return name.translate(_LOWER) if fold else name

    used = {folded(name) for name in taken}
    if key.isprintable() and 0 < len(key.encode()) <= _LONGEST_NAME and folded(key) not in used:
        return key
    slug = re.sub(r"[^A-Za-z0-9]+", "_", key).strip("_")[:40] or "column"
    name = f"{slug}_{digest(key, length=8)}"
    number = 1
    while folded(name) in used:
        number += 1
        name = f"{slug}_{digest(key, str(number), length=8)}"
    return name


_LOWER = {code: code + 32 for code in range(65, 91)}


def plan_columns(
    fields: Iterable[Field],
    keys: Iterable[str],
    known: Mapping[str, str],
    taken: Iterable[str],
    *,
    fold: bool,
) -> tuple[list[Column], list[Column]]:
    """(all columns, those to be added) for the declared `fields` and further `keys` of records.

    `known` maps keys to the columns that they have already, `taken` are all column names of the table.
    """
    declared = {field.name: field for field in fields}
    used = {*taken, *OWN_COLUMNS}
    columns: list[Column] = []
    added: list[Column] = []
    for key in dict.fromkeys([*declared, *known, *keys]):
        field = declared.get(key)
        name = known.get(key)
        if name is None:
            if len(used) >= MOST_COLUMNS:
                continue
            name = column_name(key, used, fold=fold)
            used.add(name)
        column = Column(
            key,
            name,
            field.type if field is not None and field.type in FIELD_TYPES else "any",
            field.required if field is not None else False,
            field.max_length if field is not None and not field.native else None,
            field.native if field is not None else "",
        )
        columns.append(column)
        if key not in known:
            added.append(column)
    return columns, added


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
