from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from platint_tui.core.jsontext import loads
from platint_tui.core.model import BadElement, Field, Op, Record
from platint_tui.drivers.mongodb.brackets import after, earlier
from platint_tui.drivers.mongodb.documents import document, encoded, id_value, natives_of
from platint_tui.drivers.mongodb.shape import shape_of
from platint_tui.drivers.mongodb.values import OPTIONS, decoded, extended, identified, unextended
from platint_tui.drivers.tables import Refusal

OID = ObjectId("65a1b2c3d4e5f60718293a4b")
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
NUMBER = UUID("0f14d0ab-9605-4a62-a9e4-5ed26688389b")


def read(fields: dict[str, Any]) -> Record | BadElement:
    return identified(bson.encode(fields, codec_options=OPTIONS))[1]


@pytest.mark.parametrize(
    ("value", "expected", "native"),
    [
        ("text\0 with ü", "text\0 with ü", "string"),
        (True, True, "bool"),
        (None, None, "null"),
        (5, 5, "int"),
        (Int64(2**62), 2**62, "long"),
        (Int64(7), 7, "long"),
        (0.1, 0.1, "double"),
        (5.0, 5.0, "double"),
        (OID, str(OID), "objectId"),
        (WHEN, "2026-01-02T03:04:05.678+00:00", "date"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000+00:00", "date"),
        (Decimal128("0.1234567890123456789012345678901234"), None, "decimal"),
        (Decimal128("5"), Decimal(5), "decimal"),
        (Decimal128("1E+6000"), {"$numberDecimal": "1E+6000"}, "decimal"),
        (Decimal128("NaN"), {"$numberDecimal": "NaN"}, "decimal"),
        (float("inf"), {"$numberDouble": "Infinity"}, "double"),
        (DatetimeMS(2**53), {"$date": {"$numberLong": str(2**53)}}, "date"),
        (b"\0\xff", "AP8=", "binData"),
        (NUMBER, str(NUMBER), "binData"),
        (Binary(b"x", 5), {"$binary": {"base64": "eA==", "subType": "05"}}, "binData"),
        (Timestamp(4, 5), {"$timestamp": {"t": 4, "i": 5}}, "timestamp"),
        (Regex("a.*", "i"), {"$regularExpression": {"pattern": "a.*", "options": "i"}}, "regex"),
        (Code("f()"), {"$code": "f()"}, "javascript"),
        (MinKey(), {"$minKey": 1}, "minKey"),
        (MaxKey(), {"$maxKey": 1}, "maxKey"),
        ({"a": OID, "b": [WHEN, Decimal128("1.50"), 2**40]}, None, "object"),
        ([{"when": WHEN, "x": float("-inf")}, b"z", NUMBER, None], None, "array"),
        ({"a.b": 1, "$c": {"$d": 2}, "": 3}, {"a.b": 1, "$c": {"$d": 2}, "": 3}, "object"),
    ],
)
def test_a_value_goes_to_json_and_comes_back_with_its_type(value: Any, expected: Any, native: str) -> None:
    found = read({"_id": 1, "v": value})
    assert isinstance(found, Record)
    assert loads(found.raw) == found.value
    if expected is not None or value is None:
        assert found.value["v"] == expected and type(found.value["v"]) is type(expected)
    again = document(found.value, natives_of([Field("v", "any", native=f"mongodb:{native}")]))
    assert bson.encode(again, codec_options=OPTIONS) == bson.encode(
        {"_id": 1, "v": value}, codec_options=OPTIONS
    )


def test_nested_values_are_canonical_extended_json() -> None:
    found = read(
        {"_id": 1, "v": {"o": OID, "d": WHEN, "n": Decimal128("1.50"), "l": Int64(5), "r": DBRef("c", OID)}}
    )
    assert isinstance(found, Record)
    assert found.value["v"] == {
        "o": {"$oid": str(OID)},
        "d": {"$date": {"$numberLong": "1767323045678"}},
        "n": {"$numberDecimal": "1.50"},
        "l": 5,
        "r": {"$ref": "c", "$id": {"$oid": str(OID)}},
    }


def test_what_is_missing_stays_missing_and_our_own_field_is_no_part() -> None:
    found = read({"_id": 1, "a": None, "_platint": {"version": 3}})
    assert (
        isinstance(found, Record)
        and found.raw == '{"_id":1,"a":null}'
        and found.value == {"_id": 1, "a": None}
    )


@pytest.mark.parametrize(
    ("identity", "text", "native"),
    [
        ({"day": WHEN, "user": OID}, None, "object"),
        (Timestamp(1, 2), '{"$timestamp":{"t":1,"i":2}}', "timestamp"),
        (float("nan"), '{"$numberDouble":"NaN"}', "double"),
        (OID, str(OID), "objectId"),
        ("{not json", "{not json", "string"),
        ('{"a":1}', '{"a":1}', "string"),
    ],
)
def test_an_id_is_always_a_single_value(identity: Any, text: str | None, native: str) -> None:
    raw = bson.encode({"_id": identity}, codec_options=OPTIONS)
    native_id, found = identified(raw, Op.DELETE)
    assert isinstance(found, Record) and found.op is Op.DELETE and isinstance(found.value["_id"], str)
    assert text is None or found.value["_id"] == text
    again = id_value(found.value["_id"], native)
    assert bson.encode({"_id": again}, codec_options=OPTIONS) == raw
    assert str(native_id) == str(identity)


def test_a_document_that_looks_like_another_type_is_no_record() -> None:
    found = read({"_id": 1, "v": [{"$oid": "65a1b2c3d4e5f60718293a4b"}]})
    assert isinstance(found, BadElement) and "$oid" in found.reason and '"$oid"' in found.raw


def test_I6_a_damaged_text_is_no_record_and_is_kept() -> None:
    body = b"\x10_id\x00\x63\x00\x00\x00" + b"\x02s\x00\x04\x00\x00\x00a\xff\xfe\x00"
    raw = (len(body) + 5).to_bytes(4, "little") + body + b"\0"
    identity, found = identified(raw)
    assert identity is None and isinstance(found, BadElement)
    assert "BSON" in found.reason and '"$numberInt": "99"' in found.raw
    assert decoded(raw)["_id"] == 99


@pytest.mark.parametrize(
    ("value", "native", "stored"),
    [
        ("65a1b2c3d4e5f60718293a4b", "objectId", OID),
        ("no id", "objectId", "no id"),
        ("65a1b2c3d4e5f60718293a4b", "", "65a1b2c3d4e5f60718293a4b"),
        ("2026-01-02T03:04:05.678+00:00", "date", WHEN),
        ("2026-01-02T03:04:05.678Z", "", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.678901Z", "date", "2026-01-02T03:04:05.678901Z"),
        ("soon", "date", "soon"),
        ("!", "binData", "!"),
        (5, "decimal", Decimal128("5")),
        (0.1, "decimal", Decimal128("0.1")),
        (2**63, "", Decimal128(str(2**63))),
        (-(2**63), "", Int64(-(2**63))),
        (Decimal("1.10"), "", Decimal128("1.10")),
        ({"$date": "soon"}, "", {"$date": "soon"}),
        ({"$oid": "zz"}, "", {"$oid": "zz"}),
        ({"$numberLong": "5", "more": 1}, "", {"$numberLong": "5", "more": 1}),
    ],
)
def test_only_what_has_the_form_of_its_type_is_changed(value: Any, native: str, stored: Any) -> None:
    found = document({"v": value}, {"v": native})
    assert found == {"v": stored} and type(found["v"]) in (type(stored), int)


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ({"v": 10**34 + 1}, "out_of_range", "34 digits"),
        ({"v": {"w": [Decimal("1E-7000")]}}, "out_of_range", "34 digits"),
        ({"v": "\ud800"}, "invalid_text", "surrogate"),
        ({"v": {"a\0b": 1}}, "not_storable", "cannot be a document"),
        ({"v": "x" * (16 * 1024 * 1024)}, "too_large", "16"),
    ],
)
def test_what_bson_cannot_hold_is_refused(value: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(Refusal) as caught:
        encoded(document(value, {}))
    fault = caught.value.fault
    assert fault.code == code and said in fault.message and fault.error_class == "record"
    assert code != "out_of_range" or fault.field == "v"


def test_extended_json_of_a_position_keeps_every_type() -> None:
    for value in (
        OID,
        5,
        Int64(5),
        5.0,
        "x",
        None,
        True,
        {"a": WHEN},
        b"x",
        NUMBER,
        Timestamp(1, 2),
        MinKey(),
    ):
        text = json.dumps(extended(value))
        found = unextended(json.loads(text))
        assert found == value and type(found) is type(value)


def test_the_shape_of_a_sample() -> None:
    sample = [
        {
            "_id": ObjectId(),
            "n": number if number % 2 else float(number),
            "total": Int64(number),
            "note": None if number < 10 else "x" if number < 90 else 5,
            "updatedAt": WHEN,
            "made": WHEN,
            "dotted.name": WHEN,
            "_platint": {},
            **({"rare": {"a": 1}} if number == 7 else {}),
        }
        for number in range(200)
    ]
    schema = {
        "required": ["n"],
        "properties": {"n": {"bsonType": ["int", "double"]}, "size": {"bsonType": "decimal"}},
    }
    shape = shape_of(sample, schema, ["_id", "made"])
    fields = {field.name: field for field in shape.fields}
    assert next(iter(fields)) == "_id" and "_platint" not in fields
    assert (fields["_id"].type, fields["_id"].native, fields["_id"].required) == (
        "string",
        "mongodb:objectId",
        True,
    )
    assert (fields["n"].type, fields["n"].native, fields["n"].required) == ("number", "mongodb:number", True)
    assert "mixed types: double 50 %, int 50 %" in fields["n"].description
    assert (fields["total"].type, fields["total"].native) == ("integer", "mongodb:long")
    assert (fields["note"].type, fields["note"].native) == ("any", "mongodb:mixed")
    assert "null in 5 %" in fields["note"].description and "string 40 %" in fields["note"].description
    assert fields["rare"].description == "in less than 1 % of 200 sampled documents"
    assert (fields["size"].type, fields["size"].native) == ("number", "mongodb:decimal")
    assert shape.cursors == ("updatedAt", "made", "_id") and shape.distinct and shape.notes == ()
    mixed = shape_of([{"_id": 1}, {"_id": "1"}, {"_id": 1}], None, [])
    assert "several types" in mixed.notes[0] and not mixed.distinct
    assert shape_of([], None, []).fields == () and not shape_of([{"a": 1}], None, []).distinct


def test_what_sorts_after_a_value() -> None:
    assert after("_id", MaxKey()) == []
    assert after("_id", None)[0]["_id"]["$type"][:2] == ["double", "int"]
    same, later = after("_id", 5)
    assert same == {"_id": {"$gt": 5}} and later["_id"]["$type"][:1] == ["string"]
    nan = after("_id", float("nan"))[0]["_id"]
    assert "int" in nan["$type"] and "$ne" in nan


def test_a_value_as_it_was_a_while_ago() -> None:
    assert earlier(WHEN, 5).second == 0 and earlier(7, 5) == 7 and earlier(WHEN, 0) is WHEN
    assert earlier(Timestamp(10, 3), 2.5) == Timestamp(7, 0) and earlier(DatetimeMS(9000), 1) == DatetimeMS(
        8000
    )
    assert (OID.generation_time - earlier(OID, 60).generation_time).total_seconds() == 60
