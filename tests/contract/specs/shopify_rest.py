"""Shopify's REST Admin API: the table parsed from the resources in Shopify's own JavaScript library. Parameters are
known for a resource's calls, not for each path; the library has no types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param


def operations(table: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every path of every resource."""
    for resource in table["resources"].values():
        record = {
            "type": "object",
            "properties": {item: {} for item in (*resource["attributes"], "id", "admin_graphql_api_id")},
        }
        names = {item for call in resource["args"].values() for item in call}
        for entry in resource["paths"]:
            method = entry["http_method"].upper()
            plural = f"{entry['path']}".rsplit("/", 1)[-1].removesuffix(".json") == resource["plural"]
            if method == "GET" and plural:
                answer = {
                    "type": "object",
                    "properties": {resource["plural"]: {"type": "array", "items": record}},
                }
            else:
                answer = {
                    "type": "object",
                    "properties": {resource["singular"]: record, "count": {"type": "integer"}},
                }
            body = {"type": "object", "properties": {resource["singular"]: record}}
            yield Operation(
                document=name,
                method=method,
                paths=(f"/admin/api/{{version}}/{entry['path']}",),
                hosts=("{shop}.myshopify.com",),
                query={item: Param({}) for item in sorted(names)} if method in ("GET", "DELETE") else {},
                body={"application/json": body} if method in ("POST", "PUT") else {},
                answers={"2XX": {"application/json": answer}},
            )
