"""GraphQL of the mock server: documents are validated and answered by the extract's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.mock_pages import Call, Reply
from contract.specs.graphql_sdl import schema_of
from graphql import GraphQLError, graphql_sync, parse, validate


def graphql_answer(sdl: str, root: Mapping[str, Any], call: Call, violations: list[str]) -> Reply:
    """The answer to a document; what the schema does not allow is a violation."""
    schema = schema_of(sdl)
    body = call.body if isinstance(call.body, Mapping) else {}
    text = str(body.get("query", ""))
    unknown = set(body) - {"query", "variables", "operationName"}
    try:
        errors = [error.message for error in validate(schema, parse(text))]
    except GraphQLError as error:
        errors = [error.message]
    errors += [f"the body has no member {name}" for name in sorted(unknown)]
    if call.method != "POST":
        errors.append("GraphQL is asked by POST")
    if errors:
        violations.extend(f"{call.path}: {line}" for line in errors)
        return Reply(400, {"errors": [{"message": line} for line in errors]})
    call.operation = f"POST {call.path}"
    if "errors" in root:
        return Reply(200, dict(root), checked=False)
    result = graphql_sync(schema, text, root_value=dict(root), variable_values=body.get("variables"))
    if result.errors:
        # Wrong variables and a scenario that lacks what the schema requires.
        violations.extend(f"{call.path}: {error.message}" for error in result.errors)
    return Reply(200, dict(result.formatted), checked=False)
