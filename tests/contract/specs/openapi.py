"""OpenAPI 2 (Swagger), 3.0 and 3.1 to the common view. Paths under `x-ms-paths` count too; there a query after
`?` tells operations apart (Azure Storage; a name without a value there is never sent).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from contract.schema import Schema, resolve, shown_by
from contract.specs.view import Operation, Param

METHODS = ("get", "post", "put", "patch", "delete", "head")


def operations(document: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every operation of an OpenAPI document."""
    hosts, base = _servers(document)
    for table in ("paths", "x-ms-paths"):
        for written, entry in (document.get(table) or {}).items():
            path, _, selector = written.partition("?")
            selectors = tuple(
                ("query", key, value)
                for key, _, value in (part.partition("=") for part in selector.split("&") if "=" in part)
            )
            own_hosts, own_base = _servers(entry) if "servers" in entry else (hosts, base)
            for method in METHODS:
                if method in entry:
                    parameters = [*(entry.get("parameters") or ()), *(entry[method].get("parameters") or ())]
                    yield _operation(
                        document,
                        name,
                        method.upper(),
                        path if own_base and path.startswith(own_base + "/") else own_base + path,
                        own_hosts,
                        selectors,
                        entry[method],
                        parameters,
                    )


def _servers(document: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    if "host" in document or "basePath" in document:
        host = document.get("host")
        return ((host,) if host else ()), str(document.get("basePath") or "").rstrip("/")
    hosts, base = [], ""
    for server in document.get("servers") or ():
        parts = urlsplit(server["url"])
        if parts.hostname:
            hosts.append(parts.hostname)
        base = parts.path.rstrip("/")
    return tuple(hosts), base


def _operation(
    document: Mapping[str, Any],
    name: str,
    method: str,
    path: str,
    hosts: tuple[str, ...],
    selectors: tuple[tuple[str, str, str], ...],
    entry: Mapping[str, Any],
    parameters: list[Any],
) -> Operation:
    places: dict[str, dict[str, Param]] = {"path": {}, "query": {}, "header": {}}
    form: dict[str, Any] = {}
    form_required: list[str] = []
    body: dict[str, Schema] = {}
    body_required = False
    consumes = entry.get("consumes") or document.get("consumes") or ["application/json"]
    produces = entry.get("produces") or document.get("produces") or ["application/json"]
    for item in parameters:
        parameter = _elsewhere(item) or resolve(item, document)
        place = parameter.get("in")
        if place in places:
            if place == "path" and parameter.get("x-ms-skip-url-encoding"):
                path = path.replace("{" + parameter["name"] + "}", "{+" + parameter["name"] + "}")
            schema = parameter.get("schema") or _content(parameter) or _swagger(parameter)
            required = bool(parameter.get("required"))
            deep = parameter.get("style") == "deepObject"
            places[place][parameter["name"]] = Param(schema, required, deep)
        elif place == "body":
            body = dict.fromkeys(consumes, parameter.get("schema") or {})
            body_required = bool(parameter.get("required"))
        elif place == "formData":
            form[parameter["name"]] = _swagger(parameter)
            if parameter.get("required"):
                form_required.append(parameter["name"])
    if form:
        schema = {"type": "object", "properties": form, "required": form_required}
        body = dict.fromkeys([kind for kind in consumes if "json" not in kind] or [_FORM], schema)
        if "application/json" in consumes:
            body["application/json"] = schema
        body_required = bool(form_required)
    request = resolve(entry.get("requestBody"), document)
    if request:
        body = {kind: media.get("schema") or {} for kind, media in (request.get("content") or {}).items()}
        body_required = bool(request.get("required"))
    answers, headers = _answers(document, entry, produces)
    for _, chosen, _ in selectors:
        places["query"].pop(chosen, None)
    return Operation(
        document=name,
        method=method,
        paths=(path,),
        hosts=hosts,
        path=places["path"],
        query=places["query"],
        header={key.lower(): value for key, value in places["header"].items()},
        body=body,
        body_required=body_required,
        answers=answers,
        answer_headers=headers,
        selectors=selectors,
        root=document,
    )


_COMMON: Mapping[str, Mapping[str, Any]] = {
    "ApiVersionParameter": {"name": "api-version", "in": "query", "type": "string", "required": True},
    "SubscriptionIdParameter": {"name": "subscriptionId", "in": "path", "type": "string", "required": True},
    "ResourceGroupNameParameter": {
        "name": "resourceGroupName",
        "in": "path",
        "type": "string",
        "required": True,
    },
}
"""Parameters of Azure's common-types, to which documents refer in a file that is not there."""


def _elsewhere(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A parameter in another file, when it is one of Azure's common ones."""
    pointer = str(item.get("$ref", "#"))
    return None if pointer.startswith("#") else _COMMON.get(pointer.rpartition("/")[2])


_FORM = "application/x-www-form-urlencoded"


def _content(parameter: Mapping[str, Any]) -> Schema | None:
    """The schema of a parameter that is written as a media type."""
    for media in (parameter.get("content") or {}).values():
        return {"type": "string"} if media else {}
    return None


def _swagger(parameter: Mapping[str, Any]) -> Schema:
    """A parameter of OpenAPI 2 is its own schema."""
    left_out = ("in", "name", "required", "description")
    return {key: value for key, value in parameter.items() if key not in left_out}


def _sample(media: Mapping[str, Any], document: Mapping[str, Any]) -> Schema:
    """The schema that an example shows, where there is nothing else; some examples are JSON in a text."""
    named = [resolve(item, document).get("value") for item in (media.get("examples") or {}).values()]
    for value in [media.get("example"), *named]:
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except ValueError:
                continue
        if isinstance(value, (dict, list)):
            return shown_by(value)
    return {}


def xml_tree(schema: Any, document: Mapping[str, Any], depth: int = 0) -> Schema:
    """The schema of the tree that an XML answer becomes: names and lists as its `xml` says, texts as leaves."""
    own = resolve(schema, document)
    if depth > 10 or not own.get("properties"):
        return (
            {"additionalProperties": own["additionalProperties"]} if own.get("additionalProperties") else {}
        )
    properties: dict[str, Any] = {}
    for key, item in own["properties"].items():
        inner = resolve(item, document)
        hint = {**inner.get("xml", {}), **(item.get("xml") or {})}
        label = hint.get("name", key)
        if hint.get("attribute"):
            properties[f"@{label}"] = {}
        elif "items" in inner:
            element = resolve(inner["items"], document)
            named = element.get("xml", {}).get("name") or (hint.get("name", key))
            rows = {"type": "array", "items": xml_tree(element, document, depth + 1)}
            wrapped = hint.get("wrapped")
            properties[label if wrapped else named] = (
                {"type": "object", "properties": {named: rows}} if wrapped else rows
            )
        else:
            properties[label] = xml_tree(inner, document, depth + 1)
    return {"type": "object", "properties": properties}


def _answers(
    document: Mapping[str, Any], entry: Mapping[str, Any], produces: list[str]
) -> tuple[dict[str, dict[str, Schema]], tuple[str, ...] | None]:
    answers: dict[str, dict[str, Schema]] = {}
    headers: set[str] = set()
    for status, item in (entry.get("responses") or {}).items():
        answer = resolve(item, document)
        headers |= {key.lower() for key in (answer.get("headers") or {})}
        if "content" in answer:
            answers[str(status)] = {
                kind: media.get("schema") or _sample(media, document)
                for kind, media in answer["content"].items()
            }
        elif "schema" in answer:
            answers[str(status)] = {
                kind: xml_tree(answer["schema"], document) if "xml" in kind else answer["schema"]
                for kind in produces
            }
        else:
            answers[str(status)] = {}
    return answers, tuple(sorted(headers)) or None
