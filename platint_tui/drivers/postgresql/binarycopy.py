"""The body of a binary COPY as the texts that COPY writes in its text form, so that both make the same records.

The form of a row is described with the statement COPY in PostgreSQL's manual, that of a value by its type's
`send` function. Settings are those of our sessions: ISO dates, UTC, intervals in ISO 8601, bytea in hex.
"""

from __future__ import annotations

import math
import re
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

from platint_tui.drivers.natives import parse_native
from platint_tui.drivers.postgresql.columntypes import base_name
from platint_tui.drivers.postgresql.rows import Texts

Out = Callable[[bytes], str]
"""From the bytes of a value to its text."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_INT2, _INT4, _INT8 = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_UINT4, _FLOAT4, _FLOAT8 = struct.Struct(">I"), struct.Struct(">f"), struct.Struct(">d")
_TIMETZ, _INTERVAL = struct.Struct(">qi"), struct.Struct(">qii")
_NUMERIC = struct.Struct(">hhHh")
_NUMERIC_SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_NUMERIC_NEGATIVE = 0x4000
_EPOCH = datetime(2000, 1, 1)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_CYCLE_DAYS, _CYCLE_YEARS = 146_097, 400
_DAY_US = 86_400_000_000
_INFINITE_US, _INFINITE_DAYS = 2**63 - 1, 2**31 - 1
_EMPTY, _LOWER_IN, _UPPER_IN, _LOWER_OPEN, _UPPER_OPEN = 1, 2, 4, 8, 16
_INET4 = 2
_ARRAY_QUOTED = re.compile(r'[{}",\\\s]|^$|^null$', re.I)
_RANGE_QUOTED = re.compile(r'["\\()\[\],\s]|^$')


def texts_of(data: bytes, natives: Sequence[str]) -> Iterator[Texts]:
    """The rows of a body, each as texts and None for null. Its columns are of these types, which are `readable`;
    "" stands for text.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("this is no binary COPY")
    outs = [_out_of(native) for native in natives]
    at = len(_SIGNATURE) + 4
    at += 4 + _INT4.unpack_from(data, at)[0]
    while _INT2.unpack_from(data, at)[0] >= 0:
        at += 2
        row: list[str | None] = []
        for out in outs:
            size = _INT4.unpack_from(data, at)[0]
            at += 4
            if size < 0:
                row.append(None)
            else:
                row.append(out(data[at : at + size]))
                at += size
        yield row


def readable(native: str) -> bool:
    """Whether values of this type are read here."""
    found = parse_native(native)
    return found is not None and found.family == "postgresql" and base_name(found.name) in _OUTS


def _out_of(native: str) -> Out:
    found = parse_native(native)
    if found is None:
        return _text
    out = _OUTS[base_name(found.name)]
    return _array_of(out) if found.array else out


# --- numbers --------------------------------------------------------------------------------------------


def _integer(form: struct.Struct) -> Out:
    return lambda data: str(form.unpack(data)[0])


def _float8(data: bytes) -> str:
    number = _FLOAT8.unpack(data)[0]
    return repr(number) if math.isfinite(number) else _not_finite(number)


def _float4(data: bytes) -> str:
    """The shortest text that is the same number in single precision."""
    number = _FLOAT4.unpack(data)[0]
    if not math.isfinite(number):
        return _not_finite(number)
    for digits in range(1, 9):
        short = f"{number:.{digits}g}"
        try:
            if _FLOAT4.pack(float(short)) == data:
                return short
        except OverflowError:
            continue
    return f"{number:.9g}"


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _numeric(data: bytes) -> str:
    """Groups of four digits; `weight` says how many of them, less one, stand before the decimal point."""
    count, weight, sign, scale = _NUMERIC.unpack_from(data)
    if sign in _NUMERIC_SPECIAL:
        return _NUMERIC_SPECIAL[sign]
    groups = struct.unpack_from(f">{count}h", data, _NUMERIC.size)
    digits = "".join(f"{group:04d}" for group in groups)
    whole = 4 * (weight + 1)
    if whole <= 0:
        before, after = "0", "0" * -whole + digits
    else:
        before, after = digits[:whole].ljust(whole, "0").lstrip("0") or "0", digits[whole:]
    text = f"{before}.{after[:scale].ljust(scale, '0')}" if scale else before
    return f"-{text}" if sign == _NUMERIC_NEGATIVE else text


# --- dates and times ------------------------------------------------------------------------------------


def _date(data: bytes) -> str:
    days = _INT4.unpack(data)[0]
    if days in (_INFINITE_DAYS, -_INFINITE_DAYS - 1):
        return "infinity" if days > 0 else "-infinity"
    return "".join(_day(days))


def _timestamp(zone: str) -> Out:
    def out(data: bytes) -> str:
        us = _INT8.unpack(data)[0]
        try:
            text = (_EPOCH + timedelta(microseconds=us)).isoformat(" ")
        except OverflowError:
            if us in (_INFINITE_US, -_INFINITE_US - 1):
                return "infinity" if us > 0 else "-infinity"
            days, rest = divmod(us, _DAY_US)
            day, era = _day(days)
            return f"{day} {_clock(rest)}{zone}{era}"
        return (text.rstrip("0") if "." in text else text) + zone

    return out


def _day(days: int) -> tuple[str, str]:
    """A date of any year, and ` BC` or nothing: the calendar repeats itself every 400 years."""
    cycles = (_EPOCH_DAY + days - 1) // _CYCLE_DAYS
    near = date.fromordinal(_EPOCH_DAY + days - cycles * _CYCLE_DAYS)
    year = near.year + cycles * _CYCLE_YEARS
    return f"{year if year > 0 else 1 - year:04d}-{near.month:02d}-{near.day:02d}", "" if year > 0 else " BC"


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text


def _timetz(data: bytes) -> str:
    us, west = _TIMETZ.unpack(data)
    minutes, second = divmod(abs(west), 60)
    zone = f"{'-' if west > 0 else '+'}{minutes // 60:02d}"
    if minutes % 60 or second:
        zone += f":{minutes % 60:02d}"
    return _clock(us) + (f"{zone}:{second:02d}" if second else zone)


def _interval(data: bytes) -> str:
    us, days, months = _INTERVAL.unpack(data)
    if abs(us) >= _INFINITE_US and abs(days) >= _INFINITE_DAYS:
        return "infinity" if us > 0 else "-infinity"
    years, months = _parts(months, 12)
    seconds, fraction = _parts(us, 1_000_000)
    minutes, second = _parts(seconds, 60)
    hours, minute = _parts(minutes, 60)
    dated = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (months, "M"), (days, "D")) if count)
    timed = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minute, "M")) if count)
    if second or fraction:
        decimals = f".{abs(fraction):06d}".rstrip("0") if fraction else ""
        timed += f"{'-' if us < 0 else ''}{abs(second)}{decimals}S"
    return f"P{dated}{'T' if timed else ''}{timed}" if dated or timed else "PT0S"


def _parts(amount: int, size: int) -> tuple[int, int]:
    """Wholes and rest, both with the sign of the amount."""
    whole, rest = divmod(abs(amount), size)
    return (-whole, -rest) if amount < 0 else (whole, rest)


# --- texts, bytes, addresses ----------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return data.decode()


def _uuid(data: bytes) -> str:
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _bits(data: bytes) -> str:
    (count,) = _INT4.unpack_from(data)
    return "".join(f"{byte:08b}" for byte in data[4:])[:count]


def _inet(data: bytes) -> str:
    family, bits, network, _ = data[:4]
    kind, most = (socket.AF_INET, 32) if family == _INET4 else (socket.AF_INET6, 128)
    address = socket.inet_ntop(kind, data[4:])
    return address if bits == most and not network else f"{address}/{bits}"


# --- arrays and ranges ----------------------------------------------------------------------------------


def _array_of(element: Out) -> Out:
    def out(data: bytes) -> str:
        dimensions = _INT4.unpack_from(data)[0]
        if not dimensions:
            return "{}"
        sizes = [_INT4.unpack_from(data, 12 + 8 * number)[0] for number in range(dimensions)]
        items = _items(data, 12 + 8 * dimensions, element)
        return _braces(items, sizes)

    return out


def _items(data: bytes, at: int, element: Out) -> Iterator[str]:
    while at < len(data):
        size = _INT4.unpack_from(data, at)[0]
        at += 4
        if size < 0:
            yield "NULL"
        else:
            yield _escaped(element(data[at : at + size]), _ARRAY_QUOTED)
            at += size


def _braces(items: Iterator[str], sizes: Sequence[int]) -> str:
    inner = sizes[1:]
    parts = (_braces(items, inner) if inner else next(items) for _ in range(sizes[0]))
    return "{" + ",".join(parts) + "}"


def _escaped(text: str, quoted: re.Pattern[str]) -> str:
    if not quoted.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _range_of(bound: Out) -> Out:
    def out(data: bytes) -> str:
        flags = data[0]
        if flags & _EMPTY:
            return "empty"
        at = 1
        texts = []
        for absent in (flags & _LOWER_OPEN, flags & _UPPER_OPEN):
            if absent:
                texts.append("")
                continue
            size = _INT4.unpack_from(data, at)[0]
            texts.append(_bound(bound(data[at + 4 : at + 4 + size])))
            at += 4 + size
        left, right = "[" if flags & _LOWER_IN else "(", "]" if flags & _UPPER_IN else ")"
        return f"{left}{texts[0]},{texts[1]}{right}"

    return out


def _bound(text: str) -> str:
    if not _RANGE_QUOTED.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _multirange_of(one: Out) -> Out:
    def out(data: bytes) -> str:
        parts = []
        at = 4
        while at < len(data):
            size = _INT4.unpack_from(data, at)[0]
            parts.append(one(data[at + 4 : at + 4 + size]))
            at += 4 + size
        return "{" + ",".join(parts) + "}"

    return out


_RANGED: Mapping[str, Out] = {
    "int4": _integer(_INT4),
    "int8": _integer(_INT8),
    "num": _numeric,
    "ts": _timestamp(""),
    "tstz": _timestamp("+00"),
    "date": _date,
}
_OUTS: Mapping[str, Out] = {
    "boolean": lambda data: "t" if data == b"\1" else "f",
    "smallint": _integer(_INT2),
    "integer": _integer(_INT4),
    "bigint": _integer(_INT8),
    "oid": _integer(_UINT4),
    "real": _float4,
    "double precision": _float8,
    "numeric": _numeric,
    "date": _date,
    "time without time zone": lambda data: _clock(_INT8.unpack(data)[0]),
    "time with time zone": _timetz,
    "timestamp without time zone": _timestamp(""),
    "timestamp with time zone": _timestamp("+00"),
    "interval": _interval,
    **dict.fromkeys(("text", "character varying", "character", "name", "json"), _text),
    "jsonb": lambda data: _text(data[1:]),  # behind the number of its format
    "bytea": lambda data: f"\\x{data.hex()}",
    "uuid": _uuid,
    "bit": _bits,
    "bit varying": _bits,
    "inet": _inet,
    "cidr": _inet,
    "macaddr": lambda data: data.hex(":"),
    "macaddr8": lambda data: data.hex(":"),
    **{f"{name}range": _range_of(bound) for name, bound in _RANGED.items()},
    **{f"{name}multirange": _multirange_of(_range_of(bound)) for name, bound in _RANGED.items()},
}
