"""From rows to documents: types of BSON again, as far as the source's fields name them."""

from __future__ import annotations

import base64
import binascii
import decimal
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
from bson import json_util
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Json
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.values import EXTENDED, OPTIONS, WRAPPERS
from platint_tui.drivers.tables import Refusal, fits_int64, record_fault

FAMILY = "mongodb:"
MOST_BYTES = 16 * 1024 * 1024
_HEX_ID = re.compile(r"[0-9a-fA-F]{24}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def natives_of(fields: Iterable[Field]) -> dict[str, str]:
    """The BSON type of each field that has one: its name without the family."""
    return {
        field.name: field.native.removeprefix(FAMILY) for field in fields if field.native.startswith(FAMILY)
    }


def _object_id(text: str) -> Any:
    return ObjectId(text) if _HEX_ID.fullmatch(text) else text


def _date(text: str) -> Any:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    # BSON has milliseconds: what is finer stays text rather than being cut off.
    return text if moment.microsecond % 1000 else moment


def _bytes(text: str) -> Any:
    if _UUID.fullmatch(text):
        return UUID(text)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


# A value that has not the form of its field's type is a text of the source: types are known from samples.
_TEXTS: Mapping[str, Callable[[str], Any]] = {
    "objectId": _object_id,
    "date": _date,
    "binData": _bytes,
}


def bson_value(value: Json, native: str = "") -> Any:
    """What is stored for a JSON value; `native` is the BSON type of its field. Raises Refusal without a field."""
    kind = type(value)
    if kind is str:
        convert = _TEXTS.get(native)
        return value if convert is None else convert(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        if native == "decimal":
            return _decimal(Decimal(value))
        if not fits_int64(value):
            return _decimal(Decimal(value))
        return Int64(value) if native == "long" else value
    if kind is float:
        return _decimal(Decimal(repr(value))) if native == "decimal" else value
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, Mapping):
        return _object(value)
    return [bson_value(item) for item in value]


def _decimal(value: Decimal) -> Decimal128:
    try:
        return Decimal128(value)
    except decimal.DecimalException:
        raise Refusal(
            record_fault(
                "out_of_range", "has more than the 34 digits, or a greater exponent, than a decimal holds."
            )
        ) from None


def _object(value: Mapping[str, Json]) -> Any:
    members = {name: bson_value(item) for name, item in value.items()}
    if not any(name.startswith("$") for name in members) or frozenset(members) not in WRAPPERS:
        return members
    try:
        return json_util.object_hook(members, json_options=EXTENDED)
    except (ValueError, TypeError, ArithmeticError, BSONError):
        # It only looks like Extended JSON: a document of some other source.
        return members


def id_value(part: Json, native: str) -> Any:
    """What `_id` is for the value of a key; the text of an object becomes that object again. Raises Refusal."""
    if type(part) is str and part[:1] == "{" and native not in ("", "string", "mixed", *_TEXTS):
        try:
            return bson_value(loads(part))
        except SystemicError:
            return part
    return bson_value(part, native)


def document(value: Mapping[str, Json], natives: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a row as they are stored. Raises Refusal naming the field."""
    found = {}
    for name, item in value.items():
        try:
            found[name] = bson_value(item, natives.get(name, ""))
        except Refusal as refusal:
            fault = refusal.fault
            message = f"The field '{clean(name)}' {fault.message}"
            raise Refusal(record_fault(fault.code, message, name, fault.hint)) from None
    return found


def encoded(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a document. Raises Refusal for what BSON cannot hold, and for more than 16 MB."""
    try:
        data = bson.encode(fields, codec_options=OPTIONS)
    except UnicodeEncodeError:
        reason = "A text holds half of a surrogate pair, which is no character."
        raise Refusal(record_fault("invalid_text", reason)) from None
    except (BSONError, OverflowError, ValueError, TypeError, RecursionError) as error:
        reason = f"The record cannot be a document: {clean(str(error)).rstrip('.')}."
        raise Refusal(record_fault("not_storable", reason)) from None
    if len(data) > MOST_BYTES:
        raise Refusal(
            record_fault(
                "too_large",
                f"The record is a document of {len(data) / 1_048_576:,.1f} MB; MongoDB takes 16.",
                hint="Leave fields out with select, and replay it.",
            )
        )
    return data
