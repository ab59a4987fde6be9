"""Values of PostgreSQL as JSON values: one form for each type, whichever way a value was read.

| type                            | JSON                                                                            |
| ------------------------------- | ------------------------------------------------------------------------------- |
| boolean, smallint to bigint, oid | true or false, an integer                                                      |
| real, double precision          | a number, the shortest that is read back the same; NaN and infinity as text     |
| numeric                         | an integer, or a number with all its digits; NaN, infinity and what strict JSON |
|                                 | readers refuse (more than 4,300 digits, beyond 1e308 with decimals) as text     |
| timestamp with time zone        | `2026-01-02T03:04:05.678000+00:00`, in UTC, without a fraction of zero          |
| timestamp                       | `2026-01-02T03:04:05.678000`                                                    |
| date                            | `2026-01-02`; before Christ, as for timestamps, with ` BC` behind it            |
| time                            | `03:04:05.678000`, and `24:00:00`; with its zone `03:04:05+02:00`               |
| interval                        | ISO 8601 with a sign for each part: `P1Y2M-3DT4H5M6.7S`, `PT0S`                 |
| infinite times and intervals    | `infinity`, `-infinity`                                                         |
| bytea                           | base64                                                                          |
| json, jsonb                     | the JSON value itself                                                           |
| arrays                          | lists, of lists where they have more dimensions (their lower bounds are lost)   |
| ranges, multiranges             | text as PostgreSQL takes it: `[1,5)`, `{[1,5),[7,9)}`, `empty`                  |
| everything else                 | the text that PostgreSQL writes for it (enumerations, composite and own types)  |

asyncpg by itself confuses the last moment of the year 9999 with infinity, makes days of months, and fails on
years before Christ: `use_exact_codecs` registers decoders that give the forms above at once. What it makes of
everything else differs, so a query asks for its text: `selected` is the expression for a column.
"""

from __future__ import annotations

import math
import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

import asyncpg

from platint_tui.core.errors import PlatintError, RecordError
from platint_tui.core.jsontext import MAX_DIGITS, dumps, loads
from platint_tui.core.model import Field, Record

Convert = Callable[[Any], Any]

INFINITE_US = 2**63 - 1
INFINITE_DAYS = 2**31 - 1
_EPOCH = datetime(2000, 1, 1)
_EPOCH_UTC = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_CYCLE_DAYS = 146_097
_CYCLE_YEARS = 400
_DAY_US = 86_400_000_000
_MOST_EXPONENT = 308
_ARGUMENTS = re.compile(r"\([^)]*\)")
_QUOTED_BOUND = re.compile(r'[\s"\\()\[\],]')
_FLOAT4 = struct.Struct(">f")

# --- the text of times ----------------------------------------------------------------------------------


def timestamptz_text(us: int) -> str:
    """A `timestamp with time zone`, given as microseconds from 2000-01-01."""
    try:
        return (_EPOCH_UTC + timedelta(microseconds=us)).isoformat()
    except OverflowError:
        return _far(us, "+00:00")


def timestamp_text(us: int) -> str:
    """A `timestamp`, given as microseconds from 2000-01-01."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat()
    except OverflowError:
        return _far(us, "")


def date_text(days: int) -> str:
    """A `date`, given as days from 2000-01-01."""
    try:
        return date.fromordinal(_EPOCH_DAY + days).isoformat()
    except (ValueError, OverflowError):
        if days == INFINITE_DAYS:
            return "infinity"
        if days == -INFINITE_DAYS - 1:
            return "-infinity"
        return "".join(_far_date(days))


def time_text(us: int) -> str:
    """A `time`, given as microseconds from midnight."""
    seconds, fraction = divmod(us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{text}.{fraction:06d}" if fraction else text


def timetz_text(us: int, west: int) -> str:
    """A `time with time zone`, given as microseconds from midnight and seconds west of UTC."""
    minutes, second = divmod(abs(west), 60)
    zone = f"{'-' if west > 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
    return time_text(us) + (f"{zone}:{second:02d}" if second else zone)


def interval_text(months: int, days: int, us: int) -> str:
    """An `interval` as an ISO 8601 duration; each part has its own sign."""
    if abs(us) >= INFINITE_US and abs(days) >= INFINITE_DAYS:
        return "infinity" if us > 0 else "-infinity"
    years, months = _parts(months, 12)
    seconds, fraction = _parts(us, 1_000_000)
    minutes, second = _parts(seconds, 60)
    hours, minute = _parts(minutes, 60)
    dated = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (months, "M"), (days, "D")) if count)
    timed = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minute, "M")) if count)
    if second or fraction:
        sign = "-" if second < 0 or fraction < 0 else ""
        decimals = f".{abs(fraction):06d}".rstrip("0") if fraction else ""
        timed += f"{sign}{abs(second)}{decimals}S"
    return f"P{dated}{'T' if timed else ''}{timed}" if dated or timed else "PT0S"


def _parts(amount: int, size: int) -> tuple[int, int]:
    """Wholes and rest, both with the sign of the amount."""
    whole, rest = divmod(abs(amount), size)
    return (-whole, -rest) if amount < 0 else (whole, rest)


def _far(us: int, zone: str) -> str:
    """A moment that Python's calendar does not reach."""
    if us == INFINITE_US:
        return "infinity"
    if us == -INFINITE_US - 1:
        return "-infinity"
    days, rest = divmod(us, _DAY_US)
    day, era = _far_date(days)
    return f"{day}T{time_text(rest)}{zone}{era}"


def _far_date(days: int) -> tuple[str, str]:
    """A date of any year, and ` BC` or nothing: the calendar repeats itself every 400 years."""
    cycles = (_EPOCH_DAY + days - 1) // _CYCLE_DAYS
    near = date.fromordinal(_EPOCH_DAY + days - cycles * _CYCLE_DAYS)
    year = near.year + cycles * _CYCLE_YEARS
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04d}-{near.month:02d}-{near.day:02d}", era


# --- values of asyncpg ----------------------------------------------------------------------------------


def type_name(native: str) -> tuple[str, bool]:
    """(the type without family, arguments and brackets; whether it is an array) of a `Field.native`."""
    name = _ARGUMENTS.sub("", native.removeprefix("postgresql:")).strip()
    array = name.endswith("[]")
    name = name.rstrip("[]") if array else name
    return ("interval" if name.startswith("interval ") else name), array


def converter(native: str) -> Convert | None:
    """What turns asyncpg's values of a type into JSON values; None when they are JSON values already.

    It is never called with None. Raises RecordError for JSON text that strict readers refuse.
    """
    name, array = type_name(native)
    if name in _AS_THEY_ARE:
        return None  # and so are the lists of an array
    one = _CONVERTERS.get(name, _by_value)
    return _list_of(one) if array else one


def selected(column: Field) -> str:
    """The SQL expression under which a query reads a column: its name, or its text where the type is none of
    those that have a JSON form here.
    """
    name = '"' + column.name.replace('"', '""') + '"'
    kind, _ = type_name(column.native)
    return name if kind in _AS_THEY_ARE or kind in _CONVERTERS else f"{name}::text"


def to_json(value: Any, native: str) -> Any:
    """The JSON value for a value of asyncpg. Raises RecordError for JSON text that strict readers refuse."""
    convert = None if value is None else converter(native)
    return value if convert is None else convert(value)


def float4(number: float) -> float | str:
    """A `real`: the shortest number that is the same in single precision."""
    if not math.isfinite(number):
        return _not_finite(number)
    for digits in range(6, 9):
        short = float(f"{number:.{digits}g}")
        try:
            if _FLOAT4.unpack(_FLOAT4.pack(short))[0] == number:
                return short
        except OverflowError:
            continue
    return float(f"{number:.9g}")


def float8(number: float) -> float | str:
    """A `double precision`."""
    return number if math.isfinite(number) else _not_finite(number)


def numeric(number: Decimal) -> int | Decimal | str:
    """A `numeric`: with all its digits, and as text where strict JSON readers would refuse the number."""
    if not number.is_finite():
        return _not_finite(float(number))
    top = number.adjusted()
    if top < _MOST_EXPONENT:
        text = str(number)
        return number if ("." in text or "E-" in text) and "E+" not in text else int(number)
    whole = number == number.to_integral_value()
    return int(number) if whole and top < MAX_DIGITS else f"{number:f}"


def document(text: str) -> Any:
    """A `json` or `jsonb`. Raises RecordError for JSON that strict readers refuse."""
    try:
        return loads(text)
    except PlatintError as error:
        raise RecordError(f"A JSON value cannot be read: {error.message}", code="json") from None


def range_text(lower: Any, upper: Any, *, lower_inc: bool, upper_inc: bool, empty: bool = False) -> str:
    """A range, its bounds given as JSON values (None: without a bound)."""
    if empty:
        return "empty"
    return f"{'[' if lower_inc else '('}{_bound(lower)},{_bound(upper)}{']' if upper_inc else ')'}"


def _bound(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if text and not _QUOTED_BOUND.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _moment(value: Any) -> str:
    """A date or time that no exact decoder was registered for."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        edge = value.replace(tzinfo=None)
        return {datetime.max: "infinity", datetime.min: "-infinity"}.get(edge) or value.isoformat()
    if isinstance(value, date):
        return {date.max: "infinity", date.min: "-infinity"}.get(value) or value.isoformat()
    if isinstance(value, timedelta):
        return interval_text(0, value.days, value.seconds * 1_000_000 + value.microseconds)
    return str(value.isoformat())


def _range(value: Any) -> str:
    if isinstance(value, list):
        return "{" + ",".join(map(_range, value)) + "}"
    lower, upper = _by_value(value.lower), _by_value(value.upper)
    return range_text(lower, upper, lower_inc=value.lower_inc, upper_inc=value.upper_inc, empty=value.isempty)


def _by_value(value: Any) -> Any:
    """A value of a type that has no converter of its own: by what asyncpg made of it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float8(value)
    if isinstance(value, Decimal):
        return numeric(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _base64(bytes(value))
    if isinstance(value, date | time | timedelta):
        return _moment(value)
    if isinstance(value, asyncpg.Range):
        return _range(value)
    if isinstance(value, asyncpg.BitString):
        return _bits(value)
    return [_by_value(item) for item in value] if isinstance(value, list) else str(value)


def _bits(value: asyncpg.BitString) -> str:
    return value.as_string().replace(" ", "")


def _character(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _list_of(one: Convert) -> Convert:
    def convert(value: Any) -> Any:
        return [
            convert(item) if isinstance(item, list) else item if item is None else one(item) for item in value
        ]

    return convert


_RANGES = (
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
)
_AS_THEY_ARE = frozenset(
    {"boolean", "smallint", "integer", "bigint", "oid", "text", "character varying", "character", "name"}
)
_MOMENTS = (
    "timestamp with time zone",
    "timestamp without time zone",
    "date",
    "time without time zone",
    "time with time zone",
    "interval",
)
_CONVERTERS: Mapping[str, Convert] = {
    "real": float4,
    "double precision": float8,
    "numeric": numeric,
    "json": document,
    "jsonb": document,
    "bytea": _base64,
    '"char"': _character,
    "uuid": str,
    "inet": str,
    "cidr": str,
    "macaddr": str,
    "macaddr8": str,
    "bit": _bits,
    "bit varying": _bits,
    **dict.fromkeys(_MOMENTS, _moment),
    **dict.fromkeys(_RANGES, _range),
}

# --- rows as records ------------------------------------------------------------------------------------

_TEXTS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    float: float.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "null",
    Decimal: str,
    dict: dumps,
    list: dumps,
}


def record_maker(columns: Sequence[Field]) -> Callable[[Iterable[Any]], Record]:
    """What turns the values of one row, in the order of `columns`, into a record.

    Its text is that of `jsontext.dumps`, made faster. It raises RecordError for a row with JSON text that strict
    readers refuse.
    """
    names = [column.name for column in columns]
    heads = [encode_basestring(name) + ":" for name in names]
    found = ((at, converter(column.native)) for at, column in enumerate(columns))
    changes = [(at, convert) for at, convert in found if convert is not None]

    def make(row: Iterable[Any]) -> Record:
        values = list(row)
        for at, convert in changes:
            if values[at] is not None:
                values[at] = convert(values[at])
        parts = [head + _TEXTS[type(value)](value) for head, value in zip(heads, values, strict=True)]
        return Record("{" + ",".join(parts) + "}", dict(zip(names, values, strict=True)))

    return make


_EXACT: tuple[tuple[str, Convert], ...] = (
    ("timestamptz", lambda value: timestamptz_text(value[0])),
    ("timestamp", lambda value: timestamp_text(value[0])),
    ("date", lambda value: date_text(value[0])),
    ("time", lambda value: time_text(value[0])),
    ("timetz", lambda value: timetz_text(value[0], value[1])),
    ("interval", lambda value: interval_text(*value)),
)


async def use_exact_codecs(connection: asyncpg.Connection[Any]) -> None:
    """Let `connection` read dates, times and intervals as the text that they have in JSON.

    Values that are sent must then be what asyncpg calls the tuple format of their type.
    """
    for name, decode in _EXACT:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_unchanged, decoder=decode, format="tuple"
        )


def _unchanged(value: Any) -> Any:
    return value
