"""What a sample of documents says of a collection: fields with their types, and which of them grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from platint_tui.core.model import Field
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.documents import FAMILY
from platint_tui.drivers.mongodb.values import OWN

MOST_FIELDS = 500
_ALIASES: Mapping[type, str] = {
    str: "string",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    ObjectId: "objectId",
    datetime: "date",
    DatetimeMS: "date",
    bytes: "binData",
    Binary: "binData",
    UUID: "binData",
    dict: "object",
    DBRef: "object",
    list: "array",
    type(None): "null",
    Timestamp: "timestamp",
    Regex: "regex",
    Code: "javascript",
    MinKey: "minKey",
    MaxKey: "maxKey",
}
_TYPES: Mapping[str, str] = {
    "string": "string",
    "objectId": "string",
    "binData": "string",
    "bool": "boolean",
    "int": "integer",
    "long": "integer",
    "double": "number",
    "decimal": "number",
    "date": "timestamp",
    "object": "object",
    "array": "array",
}
_NUMBERS = frozenset({"int", "long", "double", "decimal"})
# Fields that are set at every change, then those that are set once.
_CHANGED = (
    "updatedat",
    "modifiedat",
    "lastmodified",
    "lastupdated",
    "changedat",
    "updated",
    "modified",
    "mtime",
)
_MADE = ("createdat", "insertedat", "created", "timestamp", "ts", "date", "time")


def alias_of(value: Any) -> str:
    """The name of a value's BSON type, as `$type` and `$jsonSchema` call it."""
    return _ALIASES.get(type(value), "object")


@dataclass(slots=True)
class _Seen:
    count: int = 0
    types: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Shape:
    """What was found: the fields, the cursors that they offer, whether every sampled `_id` was another one."""

    fields: tuple[Field, ...]
    cursors: tuple[str, ...]
    distinct: bool
    notes: tuple[str, ...]


def shape_of(
    documents: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None, indexed: Iterable[str]
) -> Shape:
    """The shape of a sample. `schema` is the `$jsonSchema` of the collection's validator, `indexed` are the
    first fields of its indexes.
    """
    seen: dict[str, _Seen] = {}
    for item in documents:
        for name, value in item.items():
            if name != OWN:
                found = seen.setdefault(name, _Seen())
                found.count += 1
                found.types[alias_of(value)] += 1
    properties = schema.get("properties") if schema else None
    declared = properties if isinstance(properties, Mapping) else {}
    required = {name for name in (schema or {}).get("required") or () if isinstance(name, str)}
    names = list(dict.fromkeys([*(["_id"] if "_id" in seen else []), *declared, *seen]))
    notes: list[str] = []
    if len(names) > MOST_FIELDS:
        notes.append(f"has more than {MOST_FIELDS} fields; the others are read too, but not listed")
    fields = tuple(
        _field(name, seen.get(name, _Seen()), declared.get(name), len(documents), name in required | {"_id"})
        for name in names[:MOST_FIELDS]
    )
    ids = [repr(item["_id"]) for item in documents if "_id" in item]
    kinds = set(seen["_id"].types) if "_id" in seen else set()
    if len(kinds - _NUMBERS) + bool(kinds & _NUMBERS) > 1:
        notes.append(f"_id has several types ({', '.join(sorted(kinds))}); a text and another value that looks "
                     "the same cannot both be read")  # fmt: skip
    cursors = _cursors(seen, declared, len(documents), list(indexed))
    return Shape(fields, cursors, len(ids) == len(documents) == len(set(ids)), tuple(notes))


def _field(name: str, seen: _Seen, declared: Any, total: int, required: bool) -> Field:
    types = [kind for kind, _ in seen.types.most_common() if kind != "null"]
    said = ""
    if isinstance(declared, Mapping):
        wanted = declared.get("bsonType", declared.get("type"))
        kinds = [wanted] if isinstance(wanted, str) else list(wanted) if isinstance(wanted, list) else []
        # What the validator wants counts, unless documents from before it say otherwise.
        types = list(dict.fromkeys([*types, *(kind for kind in kinds if kind in _TYPES)]))
        text = declared.get("description")
        said = clean(text) if isinstance(text, str) else ""
    kind, native = _type(types)
    return Field(name, kind, required, description=_description(seen, total, said), native=FAMILY + native)


def _type(types: Sequence[str]) -> tuple[str, str]:
    """(field type, BSON type) of the types that occur."""
    if not types:
        return "any", "null"
    if len(types) == 1:
        return _TYPES.get(types[0], "any"), types[0]
    if _NUMBERS.issuperset(types):
        whole = {"int", "long"}.issuperset(types)
        return ("integer", "long") if whole else ("number", "number")
    return "any", "mixed"


def _description(seen: _Seen, total: int, said: str) -> str:
    parts = [said] if said else []
    if total and seen.count < total:
        parts.append(f"in {_share(seen.count, total)} of {total:,} sampled documents")
    nulls = seen.types["null"]
    if nulls:
        parts.append(f"null in {_share(nulls, total)}")
    kinds = [(kind, number) for kind, number in seen.types.most_common() if kind != "null"]
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} {_share(number, total)}" for kind, number in kinds)
        parts.append(f"mixed types: {listed}")
    return "; ".join(parts)


def _share(part: int, total: int) -> str:
    percent = 100 * part / total if total else 0
    return "less than 1 %" if 0 < percent < 1 else f"{percent:.0f} %"


def _cursors(
    seen: Mapping[str, _Seen], declared: Mapping[str, Any], total: int, indexed: Sequence[str]
) -> tuple[str, ...]:
    """Fields by which what is new can be asked for: a date or timestamp in every sampled document."""
    found = []
    for name, item in seen.items():
        only = set(item.types)
        if item.count == total and (only == {"date"} or only == {"timestamp"}) and _can_be_path(name):
            found.append(name)

    def rank(name: str) -> tuple[int, bool, str]:
        folded = name.replace("_", "").lower()
        order = next((at for at, word in enumerate((*_CHANGED, *_MADE)) if folded.startswith(word)), 99)
        return (order, name not in indexed, name)

    # An objectId begins with the second in which it was made: it finds new documents, not changed ones.
    last = ["_id"] if "_id" in seen and set(seen["_id"].types) == {"objectId"} else []
    return tuple(sorted(found, key=rank) + last)


def _can_be_path(name: str) -> bool:
    return bool(name) and "." not in name and not name.startswith("$")
