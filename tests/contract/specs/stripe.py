"""Stripe: paths and parameters from the table of Stripe's CLI (current); shapes of answers, and the parameters
that the table leaves out (ranges, metadata, expand), from an older OpenAPI document; a record's members are those of
Stripe's own current sample object where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.schema import resolve, shown_by
from contract.specs import openapi
from contract.specs.view import Operation, Param

_TYPES = {"clearable_object": "object"}


def operations(
    table: Mapping[str, Any], name: str, document: Mapping[str, Any], samples: Mapping[str, Any]
) -> Iterator[Operation]:
    """Every operation of the table."""
    old = {
        (item.method, item.paths[0]): item for item in openapi.operations(_current(document, samples), name)
    }
    for path, entry in table["paths"].items():
        for method, said in entry.items():
            before = old.get((method.upper(), path)) or _same_path(old, method.upper(), path)
            params = said["params"]
            query: dict[str, Param] = {}
            body: dict[str, Any] = {}
            if method in ("get", "delete"):
                query = {
                    key: Param(_schema(item), bool(item.get("required"))) for key, item in params.items()
                }
                for key, param in (before.query if before else {}).items():
                    if param.deep or (key not in query and key == "expand"):
                        query[key] = param
            else:
                body = {"application/x-www-form-urlencoded": _form(params, before)}
            yield Operation(
                document=name,
                method=method.upper(),
                paths=(path,),
                hosts=("api.stripe.com",),
                path=before.path if before else {},
                query=query,
                header=_HEADERS,
                body=body,
                answers=before.answers if before else {},
                root=before.root if before else {},
            )


_TEXT = Param({"type": "string"})
_HEADERS = {"idempotency-key": _TEXT, "stripe-version": _TEXT, "stripe-account": _TEXT}
"""Headers of Stripe's whole API, as stripe-python sends them (_api_requestor.py); no description lists them."""


def _same_path(old: Mapping[tuple[str, str], Operation], method: str, path: str) -> Operation | None:
    """The same operation where a parameter has another name."""
    bare = "/".join("{}" if part.startswith("{") else part for part in path.split("/"))
    for (other, known), operation in old.items():
        if other == method and "/".join("{}" if p.startswith("{") else p for p in known.split("/")) == bare:
            return operation
    return None


def _schema(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "string")
    made: dict[str, Any] = {"type": _TYPES.get(kind, kind)}
    if kind == "array":
        made["items"] = {"type": "string"}
    if item.get("enum"):
        made["enum"] = [entry["value"] if isinstance(entry, Mapping) else entry for entry in item["enum"]]
    return made


def _form(params: Mapping[str, Any], before: Operation | None) -> dict[str, Any]:
    """The body of a form: dotted names of the table are members of members."""
    root: dict[str, Any] = {"type": "object", "properties": {}}
    for name, item in params.items():
        place = root
        *parents, last = name.split(".")
        for parent in parents:
            place = place.setdefault("properties", {}).setdefault(parent, {"type": "object"})
        place.setdefault("properties", {}).setdefault(last, _schema(item))
        if item.get("required") and not parents:
            root.setdefault("required", []).append(last)
    for schema in before.body.values() if before else ():
        own = resolve(schema, before.root if before else {})
        for name, item in (own.get("properties") or {}).items():
            if name in ("metadata", "expand") or (
                name not in root["properties"] and "items" in resolve(item, {})
            ):
                root["properties"].setdefault(name, item)
    return root


def _current(document: Mapping[str, Any], samples: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the members that Stripe's sample objects have today."""
    schemas = dict(document["components"]["schemas"])
    for name, sample in samples["resources"].items():
        old = schemas.get(name)
        if isinstance(old, Mapping) and isinstance(sample, Mapping) and "properties" in old:
            known = old["properties"]
            properties = {key: known.get(key) or shown_by(value) for key, value in sample.items()}
            required = [key for key in old.get("required") or () if key in properties]
            schemas[name] = {**old, "properties": properties, "required": required}
    return {**document, "components": {**document["components"], "schemas": schemas}}
