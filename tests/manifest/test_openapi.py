"""Schemas of an OpenAPI document that would take forever to put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platint_tui.core.model import Json
from platint_tui.manifest.openapi import MOST_MEMBERS, Api


class Counting(Api):
    """Counts the schemas that are looked at."""

    seen = 0

    def resolve(self, node: Json) -> Mapping[str, Json]:
        self.seen += 1
        return super().resolve(node)


def api_of(schemas: dict[str, Any]) -> Counting:
    answer = {"content": {"application/json": {"schema": {"type": "array", "items": ref("S0")}}}}
    paths = {"/x": {"get": {"operationId": "x", "responses": {"200": answer}}}}
    return Counting({"openapi": "3.0.3", "paths": paths, "schemas": schemas})


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/schemas/{name}"}


def test_a_chain_of_pairs_is_put_together_once_a_schema() -> None:
    depth = 14
    schemas: dict[str, Any] = {f"S{n}": {"allOf": [ref(f"S{n + 1}")] * 2} for n in range(depth)}
    schemas[f"S{depth}"] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    api = api_of(schemas)
    fields = api.record_fields("x", ())
    assert fields is not None and [(item.name, item.required) for item in fields] == [("id", True)]
    assert api.seen < 10 * depth


def test_many_parts_with_many_members_are_cut_off() -> None:
    members = {f"m{n}": {"type": "string"} for n in range(500)}
    schemas: dict[str, Any] = {
        "S0": {"oneOf": [{"allOf": [ref("Wide")]} for _ in range(500)]},
        "Wide": {"properties": members},
    }
    api = api_of(schemas)
    fields = api.record_fields("x", ())
    assert fields is not None and len(fields) == 500
    assert api.seen < MOST_MEMBERS // 10


def test_a_circle_ends_with_the_members_that_are_there() -> None:
    schemas = {
        "S0": {"allOf": [ref("S1"), {"properties": {"a": {}}}]},
        "S1": {"anyOf": [ref("S0"), {"properties": {"b": {}}}]},
    }
    fields = api_of(schemas).record_fields("x", ())
    assert fields is not None and sorted(item.name for item in fields) == ["a", "b"]
