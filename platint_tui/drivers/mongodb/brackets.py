"""The order of BSON values, and what comes after one of them.

`$gt` compares within one type (all numbers are one): a collection whose `_id`s have several types is read one
bracket of types after the other, in the order in which MongoDB sorts them
(mongodb.com/docs/manual/reference/bson-type-comparison-order).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from platint_tui.drivers.mongodb.shape import alias_of

Filter = dict[str, Any]

BRACKETS: tuple[tuple[str, ...], ...] = (
    ("minKey",),
    ("null",),
    ("double", "int", "long", "decimal"),
    ("string", "symbol"),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("javascript",),
    ("javascriptWithScope",),
    ("maxKey",),
)
"""Names of types that compare with each other, the least first."""
_ALL = tuple(name for bracket in BRACKETS for name in bracket)


def bracket_of(value: Any) -> int:
    """The place of a value's types in BRACKETS."""
    alias = alias_of(value)
    return next(at for at, names in enumerate(BRACKETS) if alias in names)


def is_nan(value: Any) -> bool:
    """Whether it is one of the numbers that equal nothing by comparison; MongoDB sorts them before the others."""
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and math.isnan(value)


def above(field: str, value: Any) -> Filter | None:
    """Documents whose `field` compares with `value` and is greater; None where nothing can be."""
    names = BRACKETS[bracket_of(value)]
    if is_nan(value):
        return {field: {"$type": list(names), "$ne": value}}
    return None if names in (("minKey",), ("null",), ("maxKey",)) else {field: {"$gt": value}}


def after(field: str, value: Any) -> list[Filter]:
    """Filters for everything that sorts after `value`, to be asked one after the other, each sorted by `field`."""
    same = above(field, value)
    later = [name for bracket in BRACKETS[bracket_of(value) + 1 :] for name in bracket]
    found = [same] if same is not None else []
    return [*found, {field: {"$type": later}}] if later else found


def of_type(field: str, value: Any) -> Filter:
    """Documents whose `field` compares with `value`."""
    return {field: {"$type": list(BRACKETS[bracket_of(value)])}}


def not_of_type(field: str, value: Any) -> Filter:
    """Documents that have no such field, or one that does not compare with `value`."""
    same = BRACKETS[bracket_of(value)]
    others = [name for name in _ALL if name not in same and name != "null"]
    # Two conditions that an index can answer, which `$not` could not.
    return {"$or": [{field: None}, {field: {"$type": others}}]}


def earlier(value: Any, seconds: float) -> Any:
    """The value as it was `seconds` ago; one that is no time stays as it is."""
    if not seconds:
        return value
    if isinstance(value, datetime):
        return value - timedelta(seconds=seconds)
    if isinstance(value, DatetimeMS):
        return DatetimeMS(int(value) - int(seconds * 1000))
    if isinstance(value, Timestamp):
        return Timestamp(max(0, value.time - math.ceil(seconds)), 0)
    if isinstance(value, ObjectId):
        return ObjectId.from_datetime(value.generation_time - timedelta(seconds=seconds))
    return value
