"""The types of a GraphQL schema from one introspection (GraphQL specification, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Field, Json
from platint_tui.core.text import clean, one_line
from platint_tui.manifest.fields import FieldType
from platint_tui.manifest.template import lookup

_DEPTH = 7
_TYPE = "kind name" + " ofType { kind name" * _DEPTH + " }" * _DEPTH
INTROSPECTION = (
    "query platint { __schema { types { kind name fields(includeDeprecated: true)"
    " { name description isDeprecated deprecationReason args { type { kind } defaultValue }"
    f" type {{ {_TYPE} }} }} }} }} }}"
)
_SCALARS: Mapping[str, FieldType] = {
    "ID": "string",
    "String": "string",
    "Int": "integer",
    "Float": "number",
    "Boolean": "boolean",
}
_KINDS: Mapping[str, FieldType] = {
    "OBJECT": "object",
    "INTERFACE": "object",
    "UNION": "object",
    "LIST": "array",
    "ENUM": "string",
}
_TIMES = ("datetime", "timestamp")
_TEXTS = ("url", "uri", "html", "date")


@dataclass(frozen=True, slots=True)
class Types:
    """The object types of a schema by name, as introspection gave them."""

    by_name: Mapping[str, Mapping[str, Json]]

    def fields(self, name: str, table: Mapping[str, FieldType]) -> tuple[Field, ...] | None:
        """The fields of a type, None when there is no such type. `table` says what its scalars are."""
        found = self.by_name.get(name)
        if found is None:
            return None
        fields = []
        for item in found.get("fields") or ():
            own = lookup(item, "name")
            if not isinstance(own, str) or not own:
                continue
            kind, required = _type_of(item.get("type"), table)
            said = one_line(item.get("description"))
            if item.get("isDeprecated"):
                why = one_line(item.get("deprecationReason"))[:200]
                said = f"Deprecated{f': {why}' if why else '.'} {said}".strip()
            fields.append(Field(own, kind, required, None, said))
        return tuple(fields)


def read_types(body: bytes) -> Types:
    """The types of an answer to INTROSPECTION. Raises SystemicError when it holds no schema."""
    document = loads(body, "the GraphQL schema")
    types = lookup(document, "data.__schema.types")
    if not isinstance(types, list):
        said = lookup(document, "errors.0.message")
        why = f": {clean(said)[:200]}" if isinstance(said, str) else ""
        raise SystemicError(
            f"The answer to the introspection holds no schema{why}.",
            hint="The platform may have switched introspection off.",
            code="introspection",
        )
    return Types(
        {
            item["name"]: item
            for item in types
            if isinstance(item, Mapping) and isinstance(item.get("name"), str) and item.get("fields")
        }
    )


def _type_of(reference: Json, table: Mapping[str, FieldType]) -> tuple[FieldType, bool]:
    """The kind of a type reference, and whether it is never null."""
    required = False
    if lookup(reference, "kind") == "NON_NULL":
        required = True
        reference = lookup(reference, "ofType")
    kind, name = lookup(reference, "kind"), lookup(reference, "name")
    if isinstance(name, str):
        if name in table:
            return table[name], required
        if kind == "SCALAR":
            return _SCALARS.get(name) or _own_scalar(name.lower()), required
    return _KINDS.get(kind, "any") if isinstance(kind, str) else "any", required


def _own_scalar(name: str) -> FieldType:
    """What a schema's own scalar is, as far as its name says."""
    if any(word in name for word in _TIMES):
        return "timestamp"
    return "string" if name.endswith(_TEXTS) else "any"
