"""Values of PostgreSQL as JSON values: one form for each type, whichever way a value was read.

| type                            | JSON                                                                            |
| ------------------------------- | ------------------------------------------------------------------------------- |
| boolean, smallint to bigint, oid| true or false, an integer                                                       |
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
| json, jsonb                     | the JSON value itself; the document `null` is null, like no value               |
| arrays                          | lists, of lists where they have more dimensions (their lower bounds are lost)   |
| ranges, multiranges             | text as PostgreSQL takes it: `[1,5)`, `{[1,5),[7,9)}`, `empty`                  |
| everything else                 | the text that PostgreSQL writes for it (enumerations, composite and own types)  |
"""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal
from typing import Any

from platint_tui.core.errors import PlatintError, RecordError
from platint_tui.core.jsontext import MAX_DIGITS, loads

_MOST_EXPONENT = 308
_QUOTED_BOUND = re.compile(r'[\s"\\()\[\],]')
_FLOAT4 = struct.Struct(">f")


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
