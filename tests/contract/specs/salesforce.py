"""Salesforce, which publishes no description: endpoints written down by hand from jsforce and simple-salesforce, with
the fields of the standard objects from jsforce's types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_TEXT = {"type": "string"}
_ATTRIBUTES = {"type": "object", "properties": {"type": _TEXT, "url": _TEXT}}
_SAVED = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "success": {"type": "boolean"},
        "created": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "statusCode": _TEXT,
                    "errorCode": _TEXT,
                    "message": _TEXT,
                    "fields": {"type": "array", "items": _TEXT},
                },
            },
        },
    },
}
"""SaveResult and SaveError of jsforce (lib/types/common.d.ts), in the words of the REST API."""


def operations(table: Mapping[str, Any], types: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Salesforce's REST API. A record that is read has the fields of the standard objects; one to be written may
    have any, for each org has its own. `types` is the table made from jsforce's types.
    """
    fields = {
        field: {"type": kind, "nullable": True}
        for item in types["objects"].values()
        for field, kind in item.items()
    }
    type_names = {"type": "string", "pattern": f"^({'|'.join(sorted(types['objects']))}|\\w+__c)$"}
    for entry in table["endpoints"]:
        path = entry["path"]
        described = set(entry.get("fields", ()))
        if path.endswith("/describe"):
            described |= set(types["describe_field"])
        if path.endswith("/sobjects") and entry["method"] == "GET":
            described |= set(types["describe_global_sobject"])
        record: dict[str, Any] = {"type": "object", "properties": {item: {} for item in sorted(described)}}
        if path.endswith(("/query", "/queryAll")) and "/jobs" not in path:
            record = {"type": "object", "properties": {**fields, "attributes": _ATTRIBUTES}}
        at = entry.get("records", "$")
        if at == "$":
            answer: dict[str, Any] = {**record, "properties": {**record["properties"], **_members(entry)}}
            if path == "/services/data":
                answer = {"type": "array", "items": record}
        else:
            answer = {
                "type": "object",
                "properties": {at: {"type": "array", "items": record}, **_members(entry)},
            }
        rows = "/composite/sobjects" in path
        if rows:
            answer = {"type": "array", "items": _SAVED}
        job = "/jobs/" in path and "id" not in answer.get("properties", {})
        if job and not path.endswith(("results", "batches", "Results")):
            answer = {"type": "object", "properties": {**answer["properties"], "id": _TEXT, "state": _TEXT}}
        if path.endswith("/limits"):
            answer = {"type": "object", "additionalProperties": _LIMIT}
        media = "text/csv" if path.endswith(("/results", "Results")) else "application/json"
        yield Operation(
            document=name,
            method=entry["method"],
            paths=(path,),
            path={"type": Param(type_names)} if "{type}" in path else {},
            query={item: Param(_TEXT) for item in entry.get("query", ())},
            body=_body(entry, rows),
            answers={"2XX": {media: answer}},
            answer_headers=tuple(item.lower() for item in entry.get("response_headers", ())) or None,
        )


_LIMIT = {"type": "object", "properties": {"Max": {"type": "integer"}, "Remaining": {"type": "integer"}}}


def _members(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {item: {} for item in (*entry.get("paging", ()), *entry.get("response", ()))}


def _body(entry: Mapping[str, Any], rows: bool) -> dict[str, Any]:
    said = entry.get("body")
    if isinstance(said, list):
        properties: dict[str, Any] = {item: {} for item in said}
        if rows:
            row = {
                "type": "object",
                "properties": {"attributes": _ATTRIBUTES, "id": _TEXT},
                "additionalProperties": {},
            }
            properties["records"] = {"type": "array", "maxItems": 200, "items": row}
            properties["allOrNone"] = {"type": "boolean"}
        return {"application/json": {"type": "object", "properties": properties}}
    if said == "record" or entry["method"] == "PATCH":
        return {"application/json": {"type": "object", "additionalProperties": {}}}
    return {"text/csv": {"type": "string"}} if entry["method"] == "PUT" else {}
