"""Look-ups of GraphQL documents: validated against the schema, with their variables; their answers are shapes like
those of other operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    NonNullTypeNode,
    OperationDefinitionNode,
    is_required_input_field,
    parse,
    type_from_ast,
    validate,
)

if TYPE_CHECKING:
    from contract.look_requests import Requests


@dataclass(frozen=True, slots=True)
class Judged:
    """What a schema says of a document: a problem, or its answer and variables (those without a value of their own
    are `needed`).
    """

    problem: str
    answer: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def judged(sdl: str, text: str) -> Judged:
    """Hold a document against a schema."""
    try:
        document = parse(text)
    except GraphQLError as error:
        return Judged(error.message)
    schema = _usable(sdl, text) if sdl else None
    if schema is None:
        return Judged("the description has no GraphQL schema for it")
    errors = validate(schema, document)
    if errors:
        return Judged("; ".join(error.message for error in errors[:3]))
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    declared = operation.variable_definitions or ()
    return Judged(
        "",
        answer_schema(schema, document),
        {item.variable.name.value: type_from_ast(schema, item.type) for item in declared},
        frozenset(
            item.variable.name.value
            for item in declared
            if isinstance(item.type, NonNullTypeNode) and item.default_value is None
        ),
    )


def _usable(sdl: str, document: str) -> GraphQLSchema | None:
    """The schema for one document: of a whole vendor's SDL only what the document leads to."""
    if len(sdl) < 200_000:
        return schema_of(sdl)
    pruner = Pruner(sdl)
    pruner.document(document)
    text = pruner.text()
    return schema_of(text) if text.strip() else None


def graphql_request(checker: Requests, entry: str, request: Data) -> Found:
    """Look a document and its variables up."""
    text, given = request["graphql"]["document"], request["graphql"]["variables"]
    found = judged(checker.view.graphql, text)
    checker.say(f"{entry}.graphql.document", " ".join(text.split())[:60], found.problem)
    if found.problem:
        return Found(None)
    for name, value in given.items():
        place = f"{entry}.graphql.variables.{name}"
        if name not in found.variables:
            checker.say(place, name, f"the document declares no ${name}")
            continue
        checker.say(place, name)
        _members(checker, place, value, found.variables[name])
    for name in sorted(found.needed - set(given)):
        checker.say(f"{entry}.graphql.variables.{name}", name, f"the document needs ${name}")
    lines: list[Mapping[str, Any]] = []
    for name, inner in inner_documents(request).items():
        line = judged(checker.view.graphql, inner)
        checker.say(f"{entry}.graphql.variables.{name}", " ".join(inner.split())[:60], line.problem)
        lines += nodes_of(line.answer)
    return Found(None, (found.answer,), {"": found.answer}, tuple(lines))


def _members(checker: Requests, entry: str, value: Any, kind: Any) -> None:
    """The members of a variable's value are members of its input type."""
    while isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLList):
        for number, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
            _members(checker, f"{entry}.{number}", item, kind.of_type)
    elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, Mapping):
        for name, item in value.items():
            if name == "...":
                continue  # the members of a record, put in here
            if name not in kind.fields:
                checker.say(f"{entry}.{name}", name, f"{kind.name} has no {name}")
                continue
            checker.say(f"{entry}.{name}", name)
            _members(checker, f"{entry}.{name}", item, kind.fields[name].type)
        for name, known in kind.fields.items():
            if is_required_input_field(known) and name not in value and "..." not in value:
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
