"""AWS service models (service-2.json of botocore) to the common view.

By protocol: `rest-json` and `rest-xml` have a path for each operation; `json` is POST / with X-Amz-Target; `query` is
POST / with Action and Version in a form. XML answers are trees of texts below the root element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_PLAIN: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "character": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "timestamp": {"type": ["number", "string"]},
    "blob": {"type": "string"},
}
_FORM = "application/x-www-form-urlencoded"
_DEPTH = 12


def operations(model: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every operation of a service, in each protocol that it speaks and that is text."""
    meta = model["metadata"]
    for protocol in meta.get("protocols") or [meta["protocol"]]:
        for operation in model["operations"].values():
            if protocol in ("rest-json", "rest-xml"):
                yield _rest(model, operation, name, protocol)
            elif protocol == "json":
                yield _json(model, operation, name)
            elif protocol == "query":
                yield _query(model, operation, name)


def _hosts(meta: Mapping[str, Any]) -> tuple[str, ...]:
    prefix = meta["endpointPrefix"]
    own = (f"{prefix}.{{region}}.amazonaws.com", f"{prefix}.{{region}}.amazonaws.com.cn")
    return (*own, meta["globalEndpoint"]) if "globalEndpoint" in meta else own


def _shape(model: Mapping[str, Any], reference: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return model["shapes"][reference["shape"]] if reference else {"type": "structure", "members": {}}


def _json(model: Mapping[str, Any], operation: Mapping[str, Any], name: str) -> Operation:
    meta = model["metadata"]
    media = f"application/x-amz-json-{meta.get('jsonVersion', '1.0')}"
    schemas = _Shapes(model)
    return Operation(
        document=name,
        method="POST",
        paths=("/",),
        hosts=_hosts(meta),
        body={media: schemas.of(operation.get("input"))},
        body_required=True,
        answers={"200": {media: schemas.of(operation.get("output"))}},
        selectors=(("header", "X-Amz-Target", f"{meta['targetPrefix']}.{operation['name']}"),),
        root=schemas.root,
    )


def _query(model: Mapping[str, Any], operation: Mapping[str, Any], name: str) -> Operation:
    meta = model["metadata"]
    answer: dict[str, Any] = {"type": "object", "properties": {}}
    if operation.get("output"):
        inner = _xml(model, operation["output"]["shape"], 0)
        wrapper = operation["output"].get("resultWrapper")
        answer = {"type": "object", "properties": {wrapper: inner}} if wrapper else inner
    form = _form(model, operation.get("input", {}).get("shape"), 0)
    return Operation(
        document=name,
        method="POST",
        paths=("/",),
        hosts=_hosts(meta),
        body={_FORM: form},
        body_required=True,
        answers={"200": {"text/xml": answer}},
        selectors=(("form", "Action", operation["name"]), ("form", "Version", meta["apiVersion"])),
    )


def _form(model: Mapping[str, Any], shape_name: str | None, depth: int) -> dict[str, Any]:
    """The input of the query protocol: `Attributes.entry.1.key`, `Names.member.1`."""
    if shape_name is None or depth > _DEPTH:
        return {"type": "object", "properties": {}}
    shape = model["shapes"][shape_name]
    kind = shape["type"]
    if kind == "structure":
        properties = {
            member.get("locationName", key): _form(model, member["shape"], depth + 1)
            for key, member in shape["members"].items()
        }
        made: dict[str, Any] = {"type": "object", "properties": properties}
        if shape.get("required"):
            made["required"] = list(shape["required"])
        return made
    if kind == "list":
        word = "" if shape.get("flattened") else shape["member"].get("locationName", "member")
        inner = _form(model, shape["member"]["shape"], depth + 1)
        return {"type": "array", "items": inner, "x-in": word}
    if kind == "map":
        properties = {
            shape["key"].get("locationName", "key"): _form(model, shape["key"]["shape"], depth + 1),
            shape["value"].get("locationName", "value"): _form(model, shape["value"]["shape"], depth + 1),
        }
        word = "" if shape.get("flattened") else "entry"
        return {"type": "array", "items": {"type": "object", "properties": properties}, "x-in": word}
    return _limits(shape)


def _limits(shape: Mapping[str, Any]) -> dict[str, Any]:
    """A plain shape with what limits it."""
    made: dict[str, Any] = dict(_PLAIN[shape["type"]])
    if shape.get("enum"):
        made["enum"] = list(shape["enum"])
    words = ("minLength", "maxLength") if shape["type"] == "string" else ("minimum", "maximum")
    for word, limit in zip(words, ("min", "max"), strict=True):
        if limit in shape and shape["type"] in ("string", "integer", "long"):
            made[word] = shape[limit]
    return made


def _xml(model: Mapping[str, Any], shape_name: str, depth: int) -> dict[str, Any]:
    """An answer as the tree that XML becomes: lists in an element of their own unless flattened, texts as leaves."""
    shape = model["shapes"][shape_name]
    if shape["type"] != "structure" or depth > _DEPTH:
        return {}
    properties: dict[str, Any] = {}
    for key, member in shape["members"].items():
        if member.get("location") in ("header", "headers", "statusCode"):
            continue
        inner = model["shapes"][member["shape"]]
        label = member.get("locationName", key)
        if member.get("xmlAttribute"):
            properties[f"@{label}"] = {}
        elif inner["type"] == "list":
            element = _xml(model, inner["member"]["shape"], depth + 1)
            item = inner["member"].get("locationName", "member")
            if inner.get("flattened"):
                properties[inner["member"].get("locationName", label)] = {"type": "array", "items": element}
            else:
                properties[label] = {
                    "type": "object",
                    "properties": {item: {"type": "array", "items": element}},
                }
        elif inner["type"] == "map":
            entry = {
                inner["key"].get("locationName", "key"): {},
                inner["value"].get("locationName", "value"): _xml(model, inner["value"]["shape"], depth + 1),
            }
            rows = {"type": "array", "items": {"type": "object", "properties": entry}}
            properties[label] = (
                rows if inner.get("flattened") else {"type": "object", "properties": {"entry": rows}}
            )
        else:
            properties[label] = _xml(model, member["shape"], depth + 1)
    return {"type": "object", "properties": properties}


def _rest(model: Mapping[str, Any], operation: Mapping[str, Any], name: str, protocol: str) -> Operation:
    shape = _shape(model, operation.get("input"))
    schemas = _Shapes(model)
    places: dict[str, dict[str, Param]] = {"uri": {}, "querystring": {}, "header": {}}
    inside: dict[str, Any] = {}
    required = set(shape.get("required") or ())
    for key, member in shape["members"].items():
        label = member.get("locationName", key)
        place = member.get("location")
        if place in places:
            places[place][label] = Param(schemas.of(member), key in required)
        elif place is None:
            inside[label] = schemas.of(member)
    path, _, literal = operation["http"]["requestUri"].partition("?")
    selectors = tuple(
        ("query", key, value)
        for key, _, value in (part.partition("=") for part in literal.split("&") if part)
    )
    body = _rest_body(model, shape, protocol, inside, required)
    answer, headers = _rest_answer(model, operation, schemas, protocol)
    header = {label.lower(): param for label, param in places["header"].items()}
    return Operation(
        document=name,
        method=operation["http"]["method"],
        paths=(path,),
        hosts=_hosts(model["metadata"]),
        path=places["uri"],
        query=places["querystring"],
        header=header,
        body=body,
        answers=answer,
        answer_headers=headers,
        selectors=selectors,
        root=schemas.root,
    )


def _rest_body(
    model: Mapping[str, Any],
    shape: Mapping[str, Any],
    protocol: str,
    inside: Mapping[str, Any],
    required: set[str],
) -> dict[str, Any]:
    payload = shape.get("payload")
    if payload:
        inner = model["shapes"][shape["members"][payload]["shape"]]
        if inner["type"] == "blob":
            return {"*/*": {}}
        if protocol == "rest-xml":
            return {"application/xml": _xml(model, shape["members"][payload]["shape"], 0)}
        return {"application/json": _Shapes(model).of(shape["members"][payload])}
    if not inside:
        return {}
    needed = sorted(name for name in required if name in inside)
    return {"application/json": {"type": "object", "properties": dict(inside), "required": needed}}


def _rest_answer(
    model: Mapping[str, Any], operation: Mapping[str, Any], schemas: _Shapes, protocol: str
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...] | None]:
    status = str(operation["http"].get("responseCode", "2XX"))
    output = operation.get("output")
    shape = _shape(model, output)
    headers = tuple(
        member["locationName"].lower()
        for member in shape["members"].values()
        if member.get("location") == "header"
    )
    payload = shape.get("payload")
    if payload and model["shapes"][shape["members"][payload]["shape"]]["type"] == "blob":
        return {status: {"*/*": {}}}, headers
    if protocol == "rest-xml":
        root = shape["members"][payload]["shape"] if payload else output["shape"] if output else None
        return {status: {"application/xml": _xml(model, root, 0)} if root else {}}, headers or None
    answer = schemas.of(shape["members"][payload] if payload else output)
    return {status: {"application/json": answer}}, headers or None


class _Shapes:
    """Shapes as JSON schemas, by reference."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        if id(model) not in _SCHEMAS:
            made = {key: _json_schema(shape, model["shapes"]) for key, shape in model["shapes"].items()}
            _SCHEMAS[id(model)] = {"schemas": made}
        self.root = _SCHEMAS[id(model)]

    def of(self, reference: Mapping[str, Any] | None) -> dict[str, Any]:
        if not reference:
            return {"type": "object", "properties": {}}
        return {"$ref": f"#/schemas/{reference['shape']}"}


_SCHEMAS: dict[int, dict[str, Any]] = {}


def _json_schema(shape: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    kind = shape["type"]
    if kind == "structure":
        if shape.get("document"):
            return {}
        properties = {
            member.get("locationName", key): {"$ref": f"#/schemas/{member['shape']}"}
            for key, member in shape["members"].items()
            if member.get("location") not in ("header", "uri", "querystring", "statusCode")
        }
        made: dict[str, Any] = {"type": "object", "properties": properties}
        needed = [key for key in shape.get("required") or () if key in properties]
        return {**made, "required": needed} if needed else made
    if kind == "list":
        return {"type": "array", "items": {"$ref": f"#/schemas/{shape['member']['shape']}"}}
    if kind == "map":
        inner = {"$ref": f"#/schemas/{shape['value']['shape']}"}
        known = shapes[shape["key"]["shape"]].get("enum")
        if known:
            return {"type": "object", "properties": dict.fromkeys(known, inner)}
        return {"type": "object", "additionalProperties": inner}
    return _limits(shape)
