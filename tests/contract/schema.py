"""Schemas in the common view: a subset of JSON Schema, with `$ref` to places in their own document.

Besides JSON Schema's own words: `x-cut` marks a schema whose inside was left out of an extract, `x-more` one whose
other properties were left out, `x-selects` a text that picks members of the answer (`jobs[name,url]`), `x-in` the
name by which a query protocol's list elements go (`member`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]
Document: TypeAlias = Mapping[str, Any]
Path: TypeAlias = tuple[str, ...]

COMBINED = ("allOf", "oneOf", "anyOf")
_KEPT = (
    "type",
    "format",
    "nullable",
    "pattern",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "x-in",
    "x-selects",
)
_MAX_ENUM = 60
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)")


_RESOURCE = {"id": {"type": "string"}, "name": {"type": "string"}, "type": {"type": "string"}}
_TRACKED = {
    **_RESOURCE,
    "location": {"type": "string"},
    "tags": {"type": "object", "additionalProperties": {"type": "string"}},
}
ELSEWHERE: Mapping[str, Schema] = {
    "Resource": {"type": "object", "properties": _RESOURCE},
    "ProxyResource": {"type": "object", "properties": _RESOURCE},
    "TrackedResource": {"type": "object", "properties": _TRACKED, "required": ["location"]},
}
"""Definitions in a file that is not there: Azure's common-types/resource-management/v1/types.json (MIT)."""


def resolve(schema: Any, document: Document) -> Schema:
    """The schema itself, after its references; true and what is no schema is the schema that allows all."""
    for _ in range(20):
        if not isinstance(schema, Mapping):
            return {}
        pointer = schema.get("$ref")
        if not isinstance(pointer, str):
            if isinstance(schema.get("items"), list):  # alternatives, in old documents of Slack
                return _alternatives(schema)
            return schema
        if not pointer.startswith("#/"):
            return ELSEWHERE.get(pointer.rpartition("/")[2], {})
        schema = document
        for part in pointer[2:].split("/"):
            schema = schema.get(part.replace("~1", "/").replace("~0", "~"), {}) if schema else {}
    return {}


def _alternatives(schema: Schema) -> Schema:
    if schema.get("type") == "array":
        return {**schema, "items": {"anyOf": schema["items"]}}
    return {**{key: value for key, value in schema.items() if key != "items"}, "anyOf": schema["items"]}


def children(schema: Any, document: Document, name: str, named: bool = False) -> Iterator[Schema]:
    """The schemas of the member `name` of an object (or element `name` of a list). `named`: only where the
    schema names it, not where any name is allowed.
    """
    own = resolve(schema, document)
    found = False
    properties = own.get("properties")
    if name == "*":  # every member
        for member in [*(properties or {}).values(), own.get("additionalProperties"), own.get("items")]:
            if isinstance(member, Mapping):
                yield resolve(member, document)
    if isinstance(properties, Mapping) and name in properties:
        found = True
        yield resolve(properties[name], document)
    for pattern, item in (own.get("patternProperties") or {}).items():
        if re.search(pattern, name):
            found = True
            yield resolve(item, document)
    if name.isdigit() and "items" in own:
        found = True
        yield resolve(own["items"], document)
    for word in COMBINED:
        for part in own.get(word) or ():
            for child in children(part, document, name, named):
                found = True
                yield child
    extra = own.get("additionalProperties")
    if not found and not named and not own.get("x-more") and (isinstance(extra, Mapping) or extra is True):
        yield resolve(extra, document)


def find(schemas: Iterable[Schema], document: Document, path: Path, named: bool = False) -> list[Schema]:
    """Every schema at `path` below `schemas`; an empty list when the description knows none. See `children`."""
    level = [resolve(item, document) for item in schemas]
    for name in path:
        level = [child for item in level for child in children(item, document, name, named)]
    return level


def items(schemas: Iterable[Schema], document: Document) -> list[Schema]:
    """The schemas of the elements of lists."""
    found = []
    for schema in schemas:
        own = resolve(schema, document)
        if "items" in own:
            found.append(resolve(own["items"], document))
        for word in COMBINED:
            found += items(own.get(word) or (), document)
    return found


def kinds(schema: Any, document: Document, depth: int = 0) -> frozenset[str]:
    """The JSON types that a schema allows; an empty set when it does not say."""
    own = resolve(schema, document)
    result: set[str] = set()
    named = own.get("type")
    if isinstance(named, str):
        result.add(named)
    elif isinstance(named, (list, tuple)):
        result |= set(named)
    elif "properties" in own:
        result.add("object")
    elif "items" in own:
        result.add("array")
    elif isinstance(own.get("enum"), (list, tuple)):
        result |= {_kind(value) for value in own["enum"]}
    elif "const" in own:
        result.add(_kind(own["const"]))
    elif depth < 8:
        for word in COMBINED:
            for part in own.get(word) or ():
                result |= kinds(part, document, depth + 1)
    if result and nullable(own):
        result.add("null")
    return frozenset(result)


def nullable(schema: Schema) -> bool:
    """Whether a schema says that null is allowed, in any dialect's words."""
    return bool(schema.get("nullable") or schema.get("x-nullable") or None in (schema.get("enum") or ()))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, (float, Decimal)):
        return "integer" if value == int(value) else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def names(schema: Any, document: Document) -> tuple[set[str], bool]:
    """The members that an object may have, and whether it may have others."""
    own = resolve(schema, document)
    properties = set(own.get("properties") or ())
    extra = own.get("additionalProperties")
    is_open = bool(extra) or bool(own.get("x-cut") or own.get("x-more") or own.get("patternProperties"))
    for word in COMBINED:
        for part in own.get(word) or ():
            more, part_open = names(part, document)
            properties |= more
            is_open |= part_open and bool(more or resolve(part, document).get("additionalProperties"))
    return properties, is_open or not properties


def validate(value: Any, schema: Any, document: Document, where: str = "", closed: bool = True) -> list[str]:
    """One sentence for each thing that the schema does not allow. `closed`: members of objects that the schema
    does not name are errors, unless it says that there are others.
    """
    own = resolve(schema, document)
    place = where or "the body"
    if value is None and (nullable(own) or not own):
        return []
    if isinstance(own.get("enum"), (list, tuple)) and value not in own["enum"]:
        return [f"{place} is {value!r}, not one of {list(own['enum'])[:12]}"]
    if "const" in own and value != own["const"]:
        return [f"{place} is {value!r}, not {own['const']!r}"]
    allowed = kinds(own, document)
    kind = _kind(value)
    if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        return [f"{place} is of type {kind}, not {' or '.join(sorted(allowed))}"]
    if own.get("x-cut"):
        return []
    errors = []
    if isinstance(value, Mapping):
        errors += _object(value, own, document, where, closed)
    elif isinstance(value, (list, tuple)):
        if len(value) > own.get("maxItems", len(value)):
            errors.append(f"{place} has {len(value)} elements, at most {own['maxItems']} are allowed")
        if "items" in own:
            for number, item in enumerate(value):
                errors += validate(item, own["items"], document, f"{where}[{number}]", closed)
    else:
        errors += _plain(value, own, place)
    for part in own.get("allOf") or ():
        errors += validate(value, part, document, where, closed=False)
    for word in ("oneOf", "anyOf"):
        parts = own.get(word) or ()
        tried = [validate(value, part, document, where, closed and not own.get("allOf")) for part in parts]
        if tried and all(tried):
            errors += fewest(tried)
    return errors


def fewest(tries: Iterable[list[str]]) -> list[str]:
    """The shortest of several lists of problems: the alternative that fits best."""
    return sorted(tries, key=len)[0]


def _object(value: Mapping[str, Any], own: Schema, document: Document, where: str, closed: bool) -> list[str]:
    errors = [
        f"{where + '.' if where else ''}{name} is missing"
        for name in own.get("required") or ()
        if name not in value
    ]
    properties = own.get("properties") or {}
    extra = own.get("additionalProperties")
    for name, item in value.items():
        inner = f"{where}.{name}" if where else str(name)
        if name in properties:
            errors += validate(item, properties[name], document, inner, closed)
        elif isinstance(extra, Mapping) and extra:
            errors += validate(item, extra, document, inner, closed)
    if closed and "oneOf" not in own and "anyOf" not in own:
        known, is_open = names(own, document)
        if not is_open:
            errors += [
                f"{where + '.' if where else ''}{name} is unknown" for name in value if name not in known
            ]
    return errors


def _plain(value: Any, own: Schema, place: str) -> list[str]:
    if isinstance(value, str):
        if own.get("format") == "date-time" and not _DATE_TIME.fullmatch(value):
            return [f"{place} is {value!r}, no date and time"]
        pattern = own.get("pattern")
        if isinstance(pattern, str) and not _matches(pattern, value):
            return [f"{place} is {value!r}, which does not fit {pattern}"]
        if len(value) > own.get("maxLength", len(value)) or len(value) < own.get("minLength", 0):
            return [f"{place} has {len(value)} characters"]
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    elif not own.get("minimum", value) <= value <= own.get("maximum", value):
        return [f"{place} is {value}, outside {own.get('minimum', '')}..{own.get('maximum', '')}"]
    return []


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # another dialect of patterns


def validate_text(text: str, schema: Any, document: Document, where: str) -> list[str]:
    """The same for a value that is sent as text: in a query, a path, a header or a form."""
    own = resolve(schema, document)
    allowed = kinds(own, document)
    tried: list[list[str]] = []
    if "array" in allowed:
        element = next(iter(items([own], document)), {})
        parts = text.split(",") if own.get("x-style") != "pipe" else text.split("|")
        tried.append([line for part in parts for line in validate_text(part, element, document, where)])
    for value in _readings(text, allowed):
        tried.append(validate(value, own, document, where))
    return fewest(tried) if tried else [f"{where} is {text!r}, not {' or '.join(sorted(allowed))}"]


def _readings(text: str, allowed: frozenset[str]) -> Iterator[Any]:
    if "integer" in allowed and re.fullmatch(r"-?\d{1,30}", text):
        yield int(text)
    if "number" in allowed and re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text):
        yield float(text)
    if "boolean" in allowed and text in ("true", "false"):
        yield text == "true"
    if "null" in allowed and text in ("", "null"):
        yield None
    if "string" in allowed or not allowed:
        yield text


def sample(schema: Any, document: Document, depth: int = 0) -> Any:
    """A small value that the schema allows: objects have the members that they must have."""
    own = resolve(schema, document)
    if "const" in own:
        return own["const"]
    if isinstance(own.get("enum"), (list, tuple)) and own["enum"]:
        return own["enum"][0]
    allowed = kinds(own, document)
    if nullable(own) or "null" in allowed:
        return None
    parts = own.get("oneOf") or own.get("anyOf")
    if "object" in allowed or own.get("allOf") or (parts and depth < 12):
        made: Any = {}
        if depth < 12:
            for part in [*(own.get("allOf") or ()), *(parts[:1] if parts else ())]:
                inner = sample(part, document, depth + 1)
                if isinstance(inner, dict):
                    made.update(inner)
                else:
                    made = inner
            for name in own.get("required") or ():
                if isinstance(made, dict) and name in (own.get("properties") or {}):
                    made[name] = sample(own["properties"][name], document, depth + 1)
        return made
    if "array" in allowed:
        count = own.get("minItems", 0)
        return [sample(own.get("items", {}), document, depth + 1) for _ in range(min(count, 3))]
    if "integer" in allowed or "number" in allowed:
        return own.get("minimum", 1)
    if "boolean" in allowed:
        return False
    return _text(own)


def _text(own: Schema) -> str:
    tries = [
        *{
            "date-time": ["2026-01-01T00:00:00Z"],
            "date": ["2026-01-01"],
            "uri": ["https://example.com/"],
            "uuid": ["00000000-0000-4000-8000-000000000001"],
            "email": ["someone@example.com"],
        }.get(str(own.get("format")), []),
        "a",
        "1",
        "2026-01-01T00:00:00Z",
        "https://example.com/",
        "0123456789abcdef0123456789abcdef",
        "AC0123456789abcdef0123456789abcdef",
    ]
    return next((text for text in tries if not _plain(text, own, "")), tries[0])


def shown_by(value: Any) -> dict[str, Any]:
    """The schema that a vendor's sample shows; null shows none."""
    kind = _kind(value)
    if kind == "object":
        return {"type": "object", "properties": {key: shown_by(item) for key, item in value.items()}}
    if kind == "array":
        return {"type": "array", "items": shown_by(value[0]) if value else {}}
    if kind == "null":
        return {"nullable": True}
    return {"type": "string", "nullable": True} if kind == "string" else {"type": kind}


def prune(schema: Any, document: Document, wanted: set[Path], extra: int) -> dict[str, Any]:
    """A copy without references that has what leads to the `wanted` paths, and `extra` levels of members besides;
    a path that ends with '' wants the members of its target as well.
    """
    own = resolve(schema, document)
    if ("",) in wanted:
        extra = max(extra, 1)
    result: dict[str, Any] = {name: own[name] for name in _KEPT if name in own}
    if nullable(own):
        result["nullable"] = True
    enum = own.get("enum")
    if isinstance(enum, (list, tuple)) and len(enum) <= _MAX_ENUM:
        result["enum"] = list(enum)
    deeper = {path for path in wanted if path}
    further = {path for path in deeper if path != ("",)}
    has_inside = any(word in own for word in ("properties", "items", "additionalProperties", *COMBINED))
    if not has_inside:
        return result
    if not further and extra <= 0:
        allowed = sorted(kinds(own, document))
        if allowed:
            result["type"] = allowed[0] if len(allowed) == 1 else allowed
        if not set(allowed) <= {"string", "integer", "number", "boolean", "null"}:
            result["x-cut"] = True
        return result
    for name, item in (own.get("properties") or {}).items():
        below = {path[1:] for path in deeper if path[0] == name}
        if below or extra > 0:
            result.setdefault("properties", {})[name] = prune(item, document, below, extra - 1)
        else:
            result["x-more"] = True
    if own.get("required"):
        kept = [name for name in own["required"] if name in result.get("properties", {})]
        if kept:
            result["required"] = kept
    if "items" in own:
        below = {path[1:] if path[0].isdigit() else path for path in deeper}
        result["items"] = prune(own["items"], document, below, extra)
    if "additionalProperties" in own:
        more = own["additionalProperties"]
        if isinstance(more, Mapping):
            below = {path[1:] for path in further if path[0] not in (own.get("properties") or {})}
            more = prune(more, document, below, extra - 1)
        result["additionalProperties"] = more
    for word in COMBINED:
        if own.get(word):
            result[word] = [prune(part, document, deeper, extra) for part in own[word]]
    return result
