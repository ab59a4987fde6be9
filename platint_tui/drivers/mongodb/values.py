"""Values of BSON as JSON values, and back.

| BSON, as a field of the document            | JSON                                                          |
| ------------------------------------------- | ------------------------------------------------------------- |
| string, boolean, null                       | as they are; a missing field stays missing                    |
| int, long, double                           | a number, exact                                               |
| decimal                                     | a number with all its digits                                  |
| objectId                                    | its 24 hexadecimal digits                                     |
| date                                        | `2026-01-02T03:04:05.678+00:00`                               |
| binary (subtype 0), UUID (subtype 4)        | base64; the usual text of a UUID                              |
| object, array                               | an object, a list; their values as below                      |
| everything else, NaN and infinity, dates    | Extended JSON, canonical: `{"$timestamp":{"t":1,"i":2}}`,     |
| beyond the years 1 to 9999, decimals beyond | `{"$numberDouble":"NaN"}`, `{"$regularExpression":…}`,        |
| 1e308, other subtypes of binary             | `{"$minKey":1}`, `{"$date":{"$numberLong":"…"}}`              |

Inside objects and lists nothing says what a value was, so there everything that JSON has no form for keeps its
type as canonical Extended JSON (github.com/mongodb/specifications, extended-json): `{"$oid":"…"}`,
`{"$date":{"$numberLong":"…"}}`, `{"$numberDecimal":"…"}`, `{"$binary":…}`. The field `_id` is always a single
value, for it is the key: where it is an object or has Extended JSON, it is the text of that.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import bson
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.json_util import JSONMode, JSONOptions
from bson.objectid import ObjectId

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Json, Op, Record

Bytes: TypeAlias = bytes | memoryview

OWN = "_platint"
"""The field in which a target of ours keeps what it knows of a document; it is no part of the record."""
OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_REPLACING = OPTIONS.with_options(unicode_decode_error_handler="replace")
EXTENDED = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
WRAPPERS = frozenset(
    frozenset(names.split())
    for names in (
        "$oid",
        "$date",
        "$numberDecimal",
        "$numberDouble",
        "$numberLong",
        "$numberInt",
        "$binary",
        "$uuid",
        "$timestamp",
        "$regularExpression",
        "$code",
        "$code $scope",
        "$minKey",
        "$maxKey",
        "$symbol",
        "$undefined",
        "$dbPointer",
    )
)
"""The names of the members of each form of Extended JSON."""
_MOST_EXPONENT = 308


class LooksAlikeError(ValueError):
    """A stored document has the very form in which Extended JSON writes another value."""


def extended(value: Any) -> Json:
    """Any BSON value as canonical Extended JSON, which keeps every type."""
    return json.loads(json_util.dumps(value, json_options=EXTENDED))


def unextended(value: Json) -> Any:
    """The BSON value of canonical Extended JSON. Raises ValueError or TypeError for what is none."""
    return json_util.loads(json.dumps(value), json_options=EXTENDED)


def inner(value: Any) -> Json:
    """A BSON value inside an object or list as JSON. Raises LooksAlikeError."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        if any(name.startswith("$") for name in value) and frozenset(value) in WRAPPERS:
            raise LooksAlikeError(
                f"holds an object with the member {min(value)}, which stands for another type"
            )
        return {name: inner(item) for name, item in value.items()}
    if kind is list:
        return [inner(item) for item in value]
    if kind is float:
        return value if math.isfinite(value) else extended(value)
    if kind is Int64:
        return int(value)
    if kind is ObjectId:
        return {"$oid": str(value)}
    if kind is DBRef:
        return inner(dict(value.as_doc()))
    return extended(value)


def _decimal(value: Decimal128) -> Json:
    number = value.to_decimal()
    if not number.is_finite() or number.adjusted() > _MOST_EXPONENT - 1:
        return extended(value)
    return number


_PLAIN: Mapping[type, Callable[[Any], Json]] = {
    ObjectId: str,
    Int64: int,
    Decimal128: _decimal,
    datetime: lambda value: value.isoformat(timespec="milliseconds"),
    bytes: lambda value: b64encode(value).decode("ascii"),
    UUID: str,
}


def plain(value: Any) -> Json:
    """A BSON value as the value of a field. Raises LooksAlikeError."""
    convert = _PLAIN.get(type(value))
    return inner(value) if convert is None else convert(value)


def plain_id(value: Any) -> Json:
    """An `_id` as the value of that field: always a single one."""
    found = plain(value)
    return dumps(found) if isinstance(found, dict | list) else found


def decoded(raw: Bytes) -> dict[str, Any]:
    """The fields of a document; damaged text has a mark where it is damaged. Raises BSONError."""
    try:
        return bson.decode(raw, codec_options=OPTIONS)
    except BSONError:
        return bson.decode(raw, codec_options=_REPLACING)


def identified(raw: Bytes, op: Op = Op.UPSERT) -> tuple[Any, Record | BadElement]:
    """The `_id` of a document (None without one) with its type, and the document as a record, or as an element
    that cannot be one: damaged text, a form that stands for something else.
    """
    identity = None
    try:
        fields = bson.decode(raw, codec_options=OPTIONS)
        identity = fields.get("_id")
        value = {
            name: plain_id(item) if name == "_id" else plain(item)
            for name, item in fields.items()
            if name != OWN
        }
        return identity, Record(dumps(value), value, op)
    except (BSONError, UnicodeError) as error:
        reason = f"it is no valid BSON: {error}"
    except LooksAlikeError as error:
        reason = f"the document {error}"
    except (RecordError, RecursionError):
        reason = "it is nested too deep"
    return identity, BadElement(_shown(raw), reason)


def _shown(raw: Bytes) -> str:
    """Some text of a document that is no record, as much as there is."""
    try:
        return json_util.dumps(decoded(raw), json_options=EXTENDED)
    except (BSONError, ValueError, RecursionError):
        return b64encode(raw).decode("ascii")
