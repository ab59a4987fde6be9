"""Look-ups of GraphQL documents: validated against the schema, with their variables; their answers are shapes like
those of other operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from contract.looked import Found
from contract.manifests import Data, is_literal
from contract.specs.graphql_sdl import Pruner, answer_schema, inner_documents, nodes_of, schema_of
from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    type_from_ast,
    validate,
)

if TYPE_CHECKING:
    from contract.look_requests import Requests


@lru_cache(maxsize=256)
def usable(sdl: str, document: str) -> GraphQLSchema | None:
    """The schema for one document: of a whole vendor's SDL only what the document leads to."""
    if len(sdl) < 200_000:
        return schema_of(sdl)
    pruner = Pruner(sdl)
    pruner.document(document)
    text = pruner.text()
    return schema_of(text) if text.strip() else None


def graphql_request(checker: Requests, entry: str, request: Data) -> Found:
    """Look a document and its variables up."""
    text = request["graphql"]["document"]
    place = f"{entry}.graphql.document"
    shown = " ".join(text.split())[:60]
    try:
        document = parse(text)
    except GraphQLError as error:
        checker.say(place, shown, error.message)
        return Found(None)
    schema = usable(checker.view.graphql, text) if checker.view.graphql else None
    if schema is None:
        checker.say(place, shown, "the description has no GraphQL schema for it")
        return Found(None)
    errors = validate(schema, document)
    checker.say(place, shown, "; ".join(error.message for error in errors[:3]))
    if errors:
        return Found(None)
    answer = answer_schema(schema, document)
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    declared = {
        item.variable.name.value: type_from_ast(schema, item.type)
        for item in operation.variable_definitions or ()
    }
    for name, value in request["graphql"]["variables"].items():
        if name not in declared:
            checker.say(f"{entry}.graphql.variables.{name}", name, f"the document declares no ${name}")
            continue
        checker.say(f"{entry}.graphql.variables.{name}", name)
        _members(checker, f"{entry}.graphql.variables.{name}", value, declared[name])
    lines: list[dict[str, Any]] = []
    for name, inner in inner_documents(request).items():
        lines += _inner(checker, f"{entry}.graphql.variables.{name}", inner)
    return Found(None, (answer,), {"": answer}, tuple(lines))


def _inner(checker: Requests, entry: str, text: str) -> list[dict[str, Any]]:
    """A document in a variable: the schemas of the lines that it gives."""
    shown = " ".join(text.split())[:60]
    schema = usable(checker.view.graphql, text)
    try:
        document = parse(text)
        errors = validate(schema, document) if schema else []
    except GraphQLError as error:
        checker.say(entry, shown, error.message)
        return []
    checker.say(entry, shown, "; ".join(error.message for error in errors[:3]))
    return nodes_of(answer_schema(schema, document)) if schema and not errors else []


def _members(checker: Requests, entry: str, value: Any, kind: Any) -> None:
    """The members of a variable's value are members of its input type."""
    while isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLList):
        for number, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
            _members(checker, f"{entry}.{number}", item, kind.of_type)
    elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, Mapping):
        for name, item in value.items():
            if name not in kind.fields:
                checker.say(f"{entry}.{name}", name, f"{kind.name} has no {name}")
                continue
            checker.say(f"{entry}.{name}", name)
            _members(checker, f"{entry}.{name}", item, kind.fields[name].type)
        for name, field in kind.fields.items():
            needed = isinstance(field.type, GraphQLNonNull) and field.default_value is None
            if needed and name not in value and "Undefined" in repr(field.default_value):
                checker.say(f"{entry}.{name}", name, f"{kind.name} needs {name}")
    elif isinstance(kind, GraphQLEnumType) and is_literal(value) and value not in (None, *kind.values):
        checker.say(f"{entry} =", value, f"{kind.name} has no value {value}")


def graphql_variable(checker: Requests, entry: str, name: str, request: Data) -> None:
    """A page's parameter in the body is a variable of the document."""
    head, _, variable = name.partition(".")
    text = request["graphql"]["document"]
    try:
        document = parse(text)
    except GraphQLError:
        return
    declared = {
        item.variable.name.value
        for operation in document.definitions
        if isinstance(operation, OperationDefinitionNode)
        for item in operation.variable_definitions or ()
    }
    known = head == "variables" and variable in declared
    checker.say(entry, name, "" if known else f"the document declares no ${variable or head}")
