"""Jenkins: the documented endpoints (written by hand from Jenkins' source), with the members that its classes export
(parsed from `@Exported` in the source).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param

_ALIASES = {
    "Hudson": "Jenkins",
    "TopLevelItem": "AbstractItem",
    "IComputer": "Computer",
    "RunT": "Run",
    "Item": "Queue",
    "Queue.Item": "Queue",
    "StubItem": "Queue",
    "StubTask": "Queue",
    "BuildT": "Run",
}
"""Interfaces and type parameters, and the class that exports their members."""
_FOLDER = {
    "jobs": {"type": "array", "items": {"$ref": "#/classes/AbstractItem"}},
    "views": {"type": "array", "items": {"$ref": "#/classes/View"}},
}
"""A folder (of the plugin cloudbees-folder) exports its items as Jenkins itself does."""


def operations(endpoints: Mapping[str, Any], exported: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every documented endpoint."""
    classes = exported["classes"]
    root = {"classes": {key: _class(classes, key) for key in classes}}
    for entry in endpoints["endpoints"]:
        answer = entry.get("class", "").split("/")[0]
        answers: dict[str, Any] = {"2XX": {}}
        if answer:
            answers["2XX"] = {"application/json": {"$ref": f"#/classes/{_ALIASES.get(answer, answer)}"}}
        writes = entry["method"] == "POST"
        names = entry.get("query", ())
        if entry["path"].endswith("/api/json"):
            names = ("tree", "depth", "xpath", "exclude", "pretty")  # Api.java, the same for each page
        body: dict[str, Any] = {}
        if writes:
            body = {"application/xml": {"type": "string"}, "application/x-www-form-urlencoded": _ANY}
        yield Operation(
            document=name,
            method=entry["method"],
            paths=(entry["path"].replace("{path}", "{+path}"),),
            path={"path": Param({"type": "string", "pattern": "^[^/]+(/job/[^/]+)*$"})}
            if "{path}" in entry["path"]
            else {},
            query={item: Param({"type": "string", "x-selects": item == "tree"}) for item in names},
            body=body,
            answers=answers,
            answer_headers=tuple(item.lower() for item in entry["response_headers"])
            if "response_headers" in entry
            else None,
            root=root,
        )


_ANY = {"type": "object", "additionalProperties": {"type": "string"}}


def _class(classes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The members of a class: its own, those of its ancestors and of the classes that extend it."""
    family = {name}
    grown = True
    while grown:
        more = {key for key, item in classes.items() if item["extends"] in family}
        grown = not more <= family
        family |= more
    above: str = name
    while above in classes:
        family.add(above)
        above = classes[above]["extends"] or ""
    properties: dict[str, Any] = {"_class": {"type": "string"}}
    for member in sorted(family):
        for key, item in classes[member]["properties"].items():
            properties[key] = _type(classes, item["type"])
    if name in ("AbstractItem", "Job"):
        properties = {**_FOLDER, **properties}
    return {"type": "object", "properties": properties}


def _type(classes: Mapping[str, Any], written: str) -> dict[str, Any]:
    bare = re.sub(r"@\w+\s+|transient\s+|\? extends |\? super ", "", written).strip()
    found = re.fullmatch(r"(?:List|Collection|Set|RunList|Iterable|ImmutableList)<(.*)>", bare)
    if found or bare.endswith("[]"):
        inner = found.group(1) if found else bare[:-2]
        return {"type": "array", "items": _type(classes, inner)}
    plain = {"String": "string", "boolean": "boolean", "int": "integer", "long": "integer", "float": "number"}
    if bare in plain:
        return {"type": plain[bare], "nullable": plain[bare] == "string"}
    known = _ALIASES.get(bare, bare)
    if known in classes:
        return {"$ref": f"#/classes/{known}", "nullable": True}
    if bare == "Calendar":
        return {"type": "integer"}
    return {"type": "string", "nullable": True} if bare == "Result" else {}
