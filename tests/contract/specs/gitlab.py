"""GitLab: the table of operations of its own Go client: names of parameters and of members of answers, no types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.specs.view import Operation, Param


def operations(table: Mapping[str, Any], name: str) -> Iterator[Operation]:
    """Every operation of the table. Parameters of GET and DELETE go into the query, the others into the body."""
    for path, entry in table["paths"].items():
        for method, said in entry.items():
            in_query = method in ("get", "delete")
            params: dict[str, Any] = {item: {} for item in said["params"]}
            body = {"type": "object", "properties": params}
            record = {"type": "object", "properties": {item: {} for item in said["response_fields"]}}
            lists = said["returns"].startswith("[]")
            answer = {"type": "array", "items": record} if lists else record
            known = bool(said["response_fields"])
            yield Operation(
                document=name,
                method=method.upper(),
                paths=(path,),
                hosts=("gitlab.com",),
                query={item: Param(schema) for item, schema in params.items()} if in_query else {},
                body={} if in_query or not params else {"application/json": body, _FORM: body},
                answers={"2XX": {"application/json": answer} if known else {}},
            )


_FORM = "application/x-www-form-urlencoded"
