"""GraphQL schemas (SDL): the part that some query documents use, and what a document answers in the common view.

A vendor's SDL has thousands of types; only the definitions that a document leads to are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from contract.specs.view import View
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    build_schema,
    parse,
    print_ast,
)
from graphql.language import ast

_START = re.compile(r"^(type|interface|union|enum|input|scalar) (\w+)", re.MULTILINE)
_DESCRIPTION = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""[ \t]*\n?|^[ \t]*"(?:[^"\\\n]|\\.)*"[ \t]*\n', re.MULTILINE
)
_BUILT_IN = ("String", "Int", "Float", "Boolean", "ID")
_KINDS = {"String": "string", "ID": "string", "Int": "integer", "Float": "number", "Boolean": "boolean"}


_COMPOSITE = (ast.ObjectTypeDefinitionNode, ast.InterfaceTypeDefinitionNode, ast.UnionTypeDefinitionNode)


@lru_cache(maxsize=4)
def roots(sdl: str) -> dict[str, str]:
    """The types of queries and mutations."""
    block = re.search(r"^schema\s*\{([^}]*)\}", sdl, re.MULTILINE)
    named = dict(re.findall(r"(\w+)\s*:\s*(\w+)", block.group(1))) if block else {}
    return {"query": "Query", "mutation": "Mutation", **named}


@lru_cache(maxsize=4)
def definitions(sdl: str) -> dict[str, str]:
    """The text of each type's definition, without descriptions. A type that is written twice counts once."""
    bare = _DESCRIPTION.sub("", sdl)
    starts = list(_START.finditer(bare))
    other = re.compile(r"^(?:directive|schema|extend) ", re.MULTILINE)
    found: dict[str, str] = {}
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(bare)
        cut = other.search(bare, start.end(), end)
        found.setdefault(start.group(2), bare[start.start() : cut.start() if cut else end])
    return found


@lru_cache(maxsize=4)
def directives(sdl: str) -> dict[str, str]:
    """The definitions of directives."""
    found = re.finditer(
        r"^directive @(\w+)[^\n]*(?:\n(?![a-z\n])[^\n]*)*", _DESCRIPTION.sub("", sdl), re.MULTILINE
    )
    return {item.group(1): item.group(0) for item in found}


@lru_cache(maxsize=20_000)
def _definition(text: str) -> Any:
    return parse(text, no_location=True).definitions[0]


class Pruner:
    """Collects what documents use of a schema."""

    def __init__(self, sdl: str) -> None:
        self.sdl = sdl
        self.texts = definitions(sdl)
        self.roots = roots(sdl)
        self.fields: dict[str, dict[str, set[str]]] = {}  # type -> field -> arguments
        self.whole: set[str] = set()  # enums, scalars, inputs
        self.directives: set[str] = set()
        self.unions: dict[str, set[str]] = {}
        self.implements: dict[str, set[str]] = {}

    def type(self, name: str) -> Any:
        return _definition(self.texts[name]) if name in self.texts else None

    def document(self, text: str) -> None:
        """Take what a document uses; what the schema does not know is left out."""
        try:
            document = parse(text)
        except GraphQLError:
            return
        fragments = {
            item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)
        }
        known = directives(self.sdl)
        self.directives |= {name for name in re.findall(r"@(\w+)", text) if name in known}
        for item in document.definitions:
            if isinstance(item, OperationDefinitionNode):
                for variable in item.variable_definitions or ():
                    self.input(_named(variable.type))
                self.select(self.roots[item.operation.value], item.selection_set, fragments)

    def select(self, type_name: str, selections: Any, fragments: Mapping[str, Any]) -> None:
        node = self.type(type_name)
        if node is None or not isinstance(node, _COMPOSITE):
            return
        if isinstance(node, ast.UnionTypeDefinitionNode):
            self.unions.setdefault(type_name, set())
        else:
            self.fields.setdefault(type_name, {})
        for item in selections.selections if selections else ():
            if isinstance(item, FieldNode):
                self.field(type_name, node, item, fragments)
                continue
            if isinstance(item, FragmentSpreadNode):
                item = fragments.get(item.name.value)
                if item is None:
                    continue
            assert isinstance(item, (InlineFragmentNode, FragmentDefinitionNode))
            inner = item.type_condition.name.value if item.type_condition else type_name
            if inner != type_name and inner in self.texts:
                self.member(type_name, node, inner)
            self.select(inner, item.selection_set, fragments)

    def member(self, type_name: str, node: Any, inner: str) -> None:
        if isinstance(node, ast.UnionTypeDefinitionNode):
            if inner in {item.name.value for item in node.types or ()}:
                self.unions[type_name].add(inner)
        elif isinstance(node, ast.InterfaceTypeDefinitionNode):
            own = self.type(inner)
            if type_name in {item.name.value for item in getattr(own, "interfaces", None) or ()}:
                self.implements.setdefault(inner, set()).add(type_name)

    def field(self, type_name: str, node: Any, item: FieldNode, fragments: Mapping[str, Any]) -> None:
        for known in getattr(node, "fields", None) or ():
            if known.name.value == item.name.value:
                used = {argument.name.value for argument in item.arguments or ()}
                kept = self.fields[type_name].setdefault(known.name.value, set())
                for argument in known.arguments or ():
                    needed = isinstance(argument.type, ast.NonNullTypeNode) and argument.default_value is None
                    if argument.name.value in used or needed:
                        kept.add(argument.name.value)
                        self.input(_named(argument.type))
                inner = _named(known.type)
                self.output(inner)
                self.select(inner, item.selection_set, fragments)
                self.some_field(inner)
                return

    def some_field(self, name: str) -> None:
        """An interface of which only members are used has one field all the same: a type must have some."""
        node = self.type(name)
        if isinstance(node, ast.InterfaceTypeDefinitionNode) and not self.fields.get(name):
            for known in node.fields or ():
                if isinstance(self.type(_named(known.type)), (type(None), ast.ScalarTypeDefinitionNode)):
                    self.fields[name] = {known.name.value: set()}
                    self.output(_named(known.type))
                    return

    def output(self, name: str) -> None:
        node = self.type(name)
        if isinstance(node, (ast.EnumTypeDefinitionNode, ast.ScalarTypeDefinitionNode)):
            self.whole.add(name)

    def input(self, name: str) -> None:
        """An input type with all that it leads to."""
        node = self.type(name)
        if node is None or name in self.whole:
            return
        self.whole.add(name)
        for field in getattr(node, "fields", None) or ():
            self.input(_named(field.type))

    def described(self, name: str, fields: Iterable[str]) -> None:
        """A type that the manifest names, with those of `fields` that are plain values."""
        node = self.type(name)
        if node is None:
            return
        kept = self.fields.setdefault(name, {})
        for known in getattr(node, "fields", None) or ():
            inner = self.type(_named(known.type))
            plain = inner is None or isinstance(
                inner, (ast.EnumTypeDefinitionNode, ast.ScalarTypeDefinitionNode)
            )
            if plain and (known.name.value in fields or not kept):
                kept.setdefault(known.name.value, set())
                self.output(_named(known.type))

    def text(self) -> str:
        """The SDL of what was collected."""
        parts = [directives(self.sdl)[name] for name in sorted(self.directives)]
        parts += [_compact(_definition(self.texts[name])) for name in sorted(self.whole)]
        for name, members in sorted(self.unions.items()):
            if members:
                parts.append(f"union {name} = {' | '.join(sorted(members))}")
        for inner, interfaces in self.implements.items():
            for interface in interfaces:
                for field, arguments in self.fields.get(interface, {}).items():
                    self.fields.setdefault(inner, {}).setdefault(field, set()).update(arguments)
        for name, fields in sorted(self.fields.items()):
            parts.append(self._type(name, fields))
        text = "\n".join(part for part in parts if part) + "\n"
        used = [f"{word}: {name}" for word, name in self.roots.items() if f"type {name} {{" in text]
        return (f"schema {{ {' '.join(used)} }}\n" if used else "") + text

    def _type(self, name: str, fields: Mapping[str, set[str]]) -> str:
        node = _definition(self.texts[name])
        lines = []
        for known in node.fields or ():
            if known.name.value in fields:
                arguments = [
                    print_ast(argument)
                    for argument in known.arguments or ()
                    if argument.name.value in fields[known.name.value]
                ]
                shown = f"({', '.join(arguments)})" if arguments else ""
                if self._usable(_named(known.type)):
                    lines.append(f"  {known.name.value}{shown}: {print_ast(known.type)}")
        if not lines:
            return ""
        word = "interface" if isinstance(node, ast.InterfaceTypeDefinitionNode) else "type"
        over = self.implements.get(name)
        shown = f" implements {' & '.join(sorted(over))}" if over else ""
        return "\n".join([f"{word} {name}{shown} {{", *lines, "}"])

    def _usable(self, name: str) -> bool:
        return (
            name in _BUILT_IN
            or name in self.whole
            or bool(self.fields.get(name))
            or bool(self.unions.get(name))
        )


def _compact(node: Any) -> str:
    """A definition; an enum's values on a line."""
    text = print_ast(node)
    return re.sub(r"\s+", " ", text) if isinstance(node, ast.EnumTypeDefinitionNode) else text


def _named(node: Any) -> str:
    while not isinstance(node, ast.NamedTypeNode):
        node = node.type
    return node.name.value


def graphql_documents(data: Mapping[str, Any]) -> list[str]:
    """The documents of a manifest."""
    from contract.manifests import requests

    found = []
    for _, request in requests(dict(data)):
        if request.get("graphql"):
            found += [request["graphql"]["document"], *inner_documents(request).values()]
    return found


def inner_documents(request: Mapping[str, Any]) -> dict[str, str]:
    """Variables that are documents themselves (Shopify's bulk operations), with what is looked up as `x`."""
    from contract.manifests import EXPRESSION

    found = {}
    for name, value in request["graphql"]["variables"].items():
        if isinstance(value, str) and value.lstrip().startswith(("{ ", "{\n", "query")):
            found[name] = EXPRESSION.sub("x", value)
    return found


def nodes_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects in the connections of an answer: the lines that a bulk operation writes, each below another with
    the other's id as `__parentId`.
    """
    found: list[dict[str, Any]] = []
    for name, item in schema.get("properties", {}).items():
        inner = item.get("items", item)
        if name == "node":
            parent = {"__parentId": {"type": "string", "nullable": True}}
            found.append({**inner, "properties": {**inner.get("properties", {}), **parent}})
        found += nodes_of(inner)
    return found


def pruned(view: View, data: Mapping[str, Any]) -> str:
    """The SDL of what a manifest uses, with where it comes from."""
    entry = next((item for item in view.sources if item["format"] == "graphql"), None)
    pruner = Pruner(view.graphql)
    for text in graphql_documents(data):
        pruner.document(text)
    for resource in data["resources"].values():
        if resource["describe"] and resource["describe"]["graphql"]:
            pruner.described(resource["describe"]["graphql"], {item["name"] for item in resource["fields"]})
    text = pruner.text()
    if entry is None or not text.strip():
        return ""
    return f"# The part that the manifest uses of {entry['file']} ({entry['source']}; {entry['licence']}).\n{text}"


@lru_cache(maxsize=64)
def schema_of(sdl: str) -> GraphQLSchema:
    """The schema of an extract's SDL."""
    return build_schema(sdl, assume_valid=True, assume_valid_sdl=True)


def answer_schema(schema: GraphQLSchema, document: ast.DocumentNode) -> dict[str, Any]:
    """What a valid document answers, as a schema of the common view."""
    fragments = {
        item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)
    }
    for item in document.definitions:
        if isinstance(item, OperationDefinitionNode):
            root = schema.get_root_type(item.operation)
            if root is not None:
                data = _selected(schema, root, item.selection_set, fragments)
                return {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {}


def _selected(
    schema: GraphQLSchema, type_: Any, selections: Any, fragments: Mapping[str, Any]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for item in selections.selections if selections else ():
        if isinstance(item, FieldNode):
            name = item.alias.value if item.alias else item.name.value
            if item.name.value == "__typename":
                properties[name] = {"type": "string"}
            elif (
                isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType))
                and item.name.value in type_.fields
            ):
                kind = type_.fields[item.name.value].type
                properties[name] = _merged(
                    properties.get(name), _value(schema, kind, item.selection_set, fragments)
                )
            continue
        if isinstance(item, FragmentSpreadNode):
            item = fragments[item.name.value]
        condition = item.type_condition
        inner = schema.type_map.get(condition.name.value) if condition else type_
        part = _selected(schema, inner, item.selection_set, fragments)
        for name, value in part.get("properties", {}).items():
            properties[name] = _merged(properties.get(name), value)
    return {"type": "object", "properties": properties}


def _merged(one: Any, other: dict[str, Any]) -> dict[str, Any]:
    if one and one.get("properties") and other.get("properties"):
        return {**one, "properties": {**one["properties"], **other["properties"]}}
    return other


def _value(schema: GraphQLSchema, kind: Any, selections: Any, fragments: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(kind, GraphQLNonNull):
        inner = dict(_value(schema, kind.of_type, selections, fragments))
        inner.pop("nullable", None)
        return inner
    if isinstance(kind, GraphQLList):
        return {
            "type": "array",
            "items": _value(schema, kind.of_type, selections, fragments),
            "nullable": True,
        }
    if isinstance(kind, GraphQLEnumType):
        return {"type": "string", "nullable": True}
    if isinstance(kind, GraphQLScalarType):
        named = _KINDS.get(kind.name)
        return {"type": named, "nullable": True} if named else {}
    if isinstance(kind, GraphQLInputObjectType):
        return {}
    assert isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType, GraphQLUnionType))
    return {**_selected(schema, kind, selections, fragments), "nullable": True}
