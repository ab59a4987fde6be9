"""WooCommerce: the index of routes with their arguments, and the names in the tables of its documentation (newer than
the index). Tables name a resource's members, those inside them as well, and after `context` the parameters of its list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_HOLE = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")
_ERROR = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "data": {
            "type": "object",
            "properties": {
                "status": {"type": "integer"},
                "params": {"type": "object", "additionalProperties": True},
                "details": {"type": "object", "additionalProperties": True},
                "resource_id": {"type": "integer"},
            },
        },
    },
}
"""What a batch answers for a row that it refused (WooCommerce, WC_REST_Controller::batch_items; WordPress,
rest_invalid_param)."""


def operations(index: Mapping[str, Any], tables: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every operation of the index, and those that only the tables have."""
    members, parameters = _documented(tables)
    seen = set()
    for route, entry in index["routes"].items():
        path = "/wp-json" + _HOLE.sub(r"{\1}", route)
        for endpoint in entry["endpoints"]:
            arguments = endpoint["args"] or {}  # PHP writes an empty map as []
            for method in endpoint["methods"]:
                seen.add((method, _bare(path)))
                yield _operation(name, method, path, arguments, members, parameters, _writable(index, route))
    for entry in tables.values():
        for method, written in entry["endpoints"]:
            path = _table_path(written)
            if (method.upper(), _bare(path)) not in seen:
                seen.add((method.upper(), _bare(path)))
                yield _operation(name, method.upper(), path, {}, members, parameters, {})


def _documented(tables: Mapping[str, Any]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The members of each resource and the parameters of its list, by its path."""
    members: dict[str, set[str]] = {}
    parameters: dict[str, set[str]] = {}
    for entry in tables.values():
        names = entry["props"]
        cut = names.index("context") if "context" in names else len(names)
        for _, written in entry["endpoints"]:
            path = _collection(_table_path(written))
            members.setdefault(path, set()).update(names[:cut])
            parameters.setdefault(path, set()).update(names[cut:])
    return members, parameters


def _table_path(written: str) -> str:
    return re.sub(r"&lt;(\w+)&gt;", r"{\1}", written.partition("?")[0])


def _bare(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _collection(path: str) -> str:
    """The path of the list that an item or a batch belongs to, without the names of its parameters."""
    return re.sub(r"/(\{\}|batch)$", "", _bare(path))


def _writable(index: Mapping[str, Any], route: str) -> dict[str, Any]:
    """The typed arguments with which a record of a route's list is made."""
    own = index["routes"].get(re.sub(r"/(\(\?P.*\)|batch)$", "", route), {})
    for endpoint in own.get("endpoints", ()):
        if "POST" in endpoint["methods"]:
            return {key: _schema(value) for key, value in (endpoint["args"] or {}).items()}
    return {}


def _schema(argument: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("required", "default", "description", "context", "readonly")
    schema = {key: value for key, value in argument.items() if key not in left_out}
    if schema.get("type") in ("date-time", "date"):
        schema["type"] = "string"
    if schema.get("type") == "mixed":
        del schema["type"]
    if isinstance(schema.get("properties"), Mapping):
        schema["properties"] = {key: _schema(item) for key, item in schema["properties"].items()}
    if isinstance(schema.get("items"), Mapping):
        schema["items"] = _schema(schema["items"])
    if schema.get("type") == "object" and not schema.get("properties"):
        schema["additionalProperties"] = True
    return schema


def _operation(
    name: str,
    method: str,
    path: str,
    arguments: Mapping[str, Any],
    members: Mapping[str, set[str]],
    parameters: Mapping[str, set[str]],
    writable: Mapping[str, Any],
) -> Operation:
    collection = _collection(path)
    known = members.get(collection, set())
    members_: dict[str, Any] = {"id": {"type": "integer"}, **{item: {} for item in sorted(known)}, **writable}
    record = {"type": "object", "properties": members_}
    listed = _bare(path) == collection and not path.endswith("}")
    answer: dict[str, Any] = {"type": "array", "items": record} if listed and method == "GET" else record
    schemas = {key: _schema(value) for key, value in arguments.items()}
    query: dict[str, Param] = {}
    body: dict[str, Any] = {}
    if method in ("GET", "DELETE"):
        query = {key: Param(value, bool(arguments[key].get("required"))) for key, value in schemas.items()}
        for key in parameters.get(collection, set()) if listed else {"force", "context"}:
            query.setdefault(key, Param({}))
    elif path.endswith("/batch"):
        rows = {"type": "array", "maxItems": 100, "items": record}
        ids = {"type": "array", "items": {"type": "integer"}}
        body = {
            "application/json": {
                "type": "object",
                "properties": {"create": rows, "update": rows, "delete": ids},
            }
        }
        done = {**record, "properties": {**members_, "error": _ERROR}}
        lists = {word: {"type": "array", "items": done} for word in ("create", "update", "delete")}
        answer = {"type": "object", "properties": lists}
    else:
        properties = {**{item: {} for item in sorted(known)}, **schemas}
        required = [key for key, value in arguments.items() if value.get("required")]
        body = {"application/json": {"type": "object", "properties": properties, "required": required}}
    return Operation(
        document=name,
        method=method,
        paths=(path,),
        query=query,
        body=body,
        answers={"2XX": {"application/json": answer}},
        answer_headers=("link", "x-wp-total", "x-wp-totalpages") if listed else None,
    )
