"""HubSpot: the tables made from its own Python client (Apache-2.0): operations with their models, and the types of
bodies (`derived/hubspot-bodies.json`). An object type is one that the client has a path for, or a custom one
(`2-123`, `p1_name`). HubSpot's own OpenAPI files are proprietary and not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_TYPES: Mapping[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string"},
    "object": {},
}


def operations(table: Mapping[str, Any], bodies: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every operation of the client."""
    schemas = {model: _model(members, model.partition("#")[0]) for model, members in table["models"].items()}
    for model, entry in bodies["models"].items():
        schemas[f"body#{model}"] = {**_model(entry["properties"], "body"), "required": entry["required"]}
    root = {"schemas": schemas}
    literal = {path.split("/")[4] for path in table["paths"] if path.startswith("/crm/v3/objects/")}
    known = "|".join(sorted(item for item in literal if not item.startswith("{")))
    object_type = Param({"type": "string", "pattern": rf"^({known}|\d+-\d+|p\d+_\w+)$"})
    for path, entry in table["paths"].items():
        for method, said in entry.items():
            prefix = said["client"].partition("/api/")[0]
            answers: dict[str, dict[str, Any]] = {"2XX": {}}
            if said["returns"]:
                answers["2XX"] = {"application/json": _type(said["returns"], prefix)}
            for status, model in bodies["answers"].get(path, {}).get(method, {}).items():
                answers[status] = {"application/json": _type(model, "body")}
            kind = bodies["paths"].get(path, {}).get(method)
            body = {"application/json": _type(kind, "body") if kind else {}} if said["body"] else {}
            yield Operation(
                document=name,
                method=method.upper(),
                paths=(path,),
                hosts=("api.hubapi.com",),
                path={"objectType": object_type} if "{objectType}" in path else {},
                query={item: Param({}) for item in said["query"]},
                body=body,
                body_required=bool(body),
                answers=answers,
                root=root,
            )


def _model(members: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _type(kind, prefix) for name, kind in members.items()}}


def _type(kind: str, prefix: str) -> dict[str, Any]:
    """A type as the client writes it: `list[X]`, `dict[str, X]`, or a model's name."""
    found = re.fullmatch(r"list\[(.*)\]", kind)
    if found:
        return {"type": "array", "items": _type(found.group(1), prefix)}
    found = re.fullmatch(r"dict\[str, (.*)\]", kind)
    if found:
        return {"type": "object", "additionalProperties": _type(found.group(1), prefix)}
    if kind in _TYPES:
        return _TYPES[kind]
    return {"$ref": f"#/schemas/{prefix.replace('/', '~1')}#{kind}"}
