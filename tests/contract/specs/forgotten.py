"""Adds to a view what its descriptions forgot, from the allow-list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from contract.allowlist import Forgotten
from contract.specs.view import Operation, Param

DOCUMENT = "allow-list"


def amended(operations: Iterable[Operation], additions: Iterable[Forgotten]) -> list[Operation]:
    """The operations with the additions in them, and those that are only in the additions."""
    found = list(operations)
    for item in additions:
        index = next((number for number, known in enumerate(found) if known.name == item.operation), None)
        if index is None:
            method, _, path = item.operation.partition(" ")
            found.append(_added(Operation(DOCUMENT, method, (path,)), item))
        else:
            found[index] = _added(found[index], item)
    return found


def _added(operation: Operation, item: Forgotten) -> Operation:
    query = {**operation.query, **{name: Param(schema) for name, schema in item.query.items()}}
    header = {**operation.header, **{name.lower(): Param(schema) for name, schema in item.headers.items()}}
    body = {"application/json": item.body} if item.body is not None else operation.body
    answers = operation.answers
    if item.answer is not None:
        described = operation.successes("json")
        answers = {"2XX": {"application/json": _filled(item.answer, described[0] if described else {})}}
    elif not answers:
        answers = {"2XX": {}}
    return replace(operation, query=query, header=header, body=body, answers=answers)


def _filled(schema: Any, described: Any) -> Any:
    """`{$described: true}` replaced by what the description has."""
    if isinstance(schema, Mapping):
        if "$described" in schema:
            return described
        return {name: _filled(item, described) for name, item in schema.items()}
    return [_filled(item, described) for item in schema] if isinstance(schema, list) else schema
