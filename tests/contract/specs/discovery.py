"""Google's discovery documents to the common view. A method has a path with whole resource names (`v1/{+topic}`) and
mostly a flat one (`v1/projects/{projectsId}/topics/{topicsId}`): both count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from contract.specs.view import Operation, Param


def operations(document: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every method, and the uploads and downloads of media."""
    root = {"schemas": {key: _schema(item) for key, item in document["schemas"].items()}}
    host = urlsplit(document["rootUrl"]).hostname or ""
    service = document.get("servicePath", "").strip("/")
    base = f"/{service}/" if service else "/"
    for method in _methods(document):
        places: dict[str, dict[str, Param]] = {"path": {}, "query": {}}
        for label, item in {**document.get("parameters", {}), **method.get("parameters", {})}.items():
            places[item["location"]][label] = Param(_parameter(item), bool(item.get("required")))
        paths = [method.get("flatPath"), method["path"]]
        request, response = method.get("request"), method.get("response")
        answers: dict[str, Any] = {"200": {"application/json": _schema(response)} if response else {}}
        if method.get("supportsMediaDownload"):
            answers["200"]["*/*"] = {}
        operation = Operation(
            document=name,
            method=method["httpMethod"],
            paths=tuple(dict.fromkeys(base + path for path in paths if path)),
            hosts=(host,),
            path=places["path"],
            query=places["query"],
            body={"application/json": _schema(request)} if request else {},
            answers={**answers, "204": {}} if method["httpMethod"] == "DELETE" else answers,
            root=root,
        )
        yield operation
        upload = method.get("mediaUpload", {}).get("protocols", {}).get("simple", {}).get("path")
        if upload:
            yield Operation(
                document=name,
                method=method["httpMethod"],
                paths=(upload,),
                hosts=(host,),
                path=places["path"],
                query={**places["query"], "uploadType": Param({"type": "string"}, required=True)},
                body={"*/*": {}},
                answers=answers,
                root=root,
            )


def _methods(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _parameter(item: Mapping[str, Any]) -> dict[str, Any]:
    schema = _schema(
        {key: value for key, value in item.items() if key not in ("location", "required", "repeated")}
    )
    if item.get("repeated"):
        return {"type": "array", "items": schema}
    return schema


def _schema(item: Any) -> dict[str, Any]:
    """A schema of discovery: `$ref` is a bare name, `any` is no restriction, numbers of limits are texts."""
    if "$ref" in item:
        return {"$ref": f"#/schemas/{item['$ref']}"}
    made: dict[str, Any] = {}
    if item.get("type") not in (None, "any"):
        made["type"] = item["type"]
    for word in ("enum", "pattern"):
        if word in item:
            made[word] = item[word]
    for word in ("minimum", "maximum"):
        if word in item and item.get("type") in ("integer", "number"):
            made[word] = float(item[word])
    if item.get("properties"):
        made["properties"] = {key: _schema(value) for key, value in item["properties"].items()}
    if "items" in item:
        made["items"] = _schema(item["items"])
    if "additionalProperties" in item:
        made["additionalProperties"] = _schema(item["additionalProperties"])
    return made
