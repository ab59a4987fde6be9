"""An OpenAPI document, version 2 or 3: its operations, and the fields of what they answer.

Only references within the document are followed. What goes round in a circle or too deep ends as an object
without members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Field, Json
from platint_tui.core.text import clean, one_line
from platint_tui.manifest.fields import FieldType

METHODS = ("get", "post", "put", "patch", "delete")
MOST_FIELDS = 1_000
MOST_MEMBERS = 20_000
"""Members of all parts of one schema that are looked at."""
_DEPTH = 24
_DEEPEST = 200
_COMPOSED = ("allOf", "anyOf", "oneOf")
_TIMES = ("date-time", "datetime")
_SIMPLE: Mapping[str, FieldType] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "array": "array",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation with the parameters of its path merged in, references resolved."""

    method: str
    path: str
    data: Mapping[str, Json]
    parameters: tuple[Mapping[str, Json], ...]

    @property
    def id(self) -> str:
        """The operationId, '' without one."""
        found = self.data.get("operationId")
        return found if isinstance(found, str) else ""


@dataclass
class _Walk:
    """The composed schemas that one flattening has met, by identity, and how many members it may still see."""

    known: dict[int, Mapping[str, Json]] = field(default_factory=dict)
    left: int = MOST_MEMBERS


class Api:
    """A whole document."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        """Raises ConfigError when it is no OpenAPI document of version 2 or 3."""
        version = document.get("openapi") or document.get("swagger")
        if not isinstance(version, str) or version[:2] not in ("2.", "3."):
            raise ConfigError(
                "This is no OpenAPI document of version 2 or 3.",
                hint="It begins with `openapi: 3…` or `swagger: '2.0'`.",
            )
        self.document = document
        self.version = int(version[0])

    def resolve(self, node: Json) -> Mapping[str, Json]:
        """An object with its reference followed; an empty one for anything else."""
        for _ in range(_DEPTH):
            if not isinstance(node, Mapping):
                return {}
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return node
            node = self._at(reference)
        return {}

    def _at(self, reference: str) -> Json:
        if not reference.startswith("#/"):
            return {}
        found: Json = self.document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                return {}
        return found

    def operations(self) -> Iterator[Operation]:
        """Every operation in the document's order."""
        paths = self.document.get("paths")
        for path, item in paths.items() if isinstance(paths, Mapping) else ():
            item = self.resolve(item)
            if not isinstance(path, str) or not path.startswith("/"):
                continue
            for method in METHODS:
                data = item.get(method)
                if isinstance(data, Mapping):
                    yield Operation(method.upper(), path, data, self._parameters(item, data))

    def find(self, wanted: str) -> Operation | None:
        """An operation by its operationId, or as `GET /path`."""
        method, _, path = wanted.partition(" ")
        for item in self.operations():
            if item.id == wanted or (item.method == method.upper() and item.path == path.strip()):
                return item
        return None

    def _parameters(
        self, item: Mapping[str, Json], data: Mapping[str, Json]
    ) -> tuple[Mapping[str, Json], ...]:
        found: dict[tuple[str, str], Mapping[str, Json]] = {}
        for source in (item, data):
            listed = source.get("parameters")
            for entry in listed if isinstance(listed, list) else ():
                entry = self.resolve(entry)
                if isinstance(entry.get("name"), str):
                    found[(str(entry.get("in")), entry["name"])] = entry
        return tuple(found.values())

    def answer(self, operation: Operation) -> Mapping[str, Json]:
        """The answer of a success, {} without one."""
        responses = operation.data.get("responses")
        if not isinstance(responses, Mapping):
            return {}
        named = {str(status): value for status, value in responses.items()}
        for status in ("200", "2XX", "2xx", "201", "202", "206", "default"):
            if status in named:
                return self.resolve(named[status])
        return {}

    def answer_schema(self, operation: Operation) -> Mapping[str, Json]:
        """The schema of the JSON that a success has, {} without one."""
        answer = self.answer(operation)
        if "schema" in answer:
            return self.flat(answer["schema"])
        return self.flat(self._json_content(answer.get("content")).get("schema"))

    def _json_content(self, content: Json) -> Mapping[str, Json]:
        if not isinstance(content, Mapping):
            return {}
        for kind, item in content.items():
            if "json" in str(kind) or kind == "*/*":
                return self.resolve(item)
        return {}

    def body_schema(self, operation: Operation) -> tuple[str, Mapping[str, Json]]:
        """The encoding (`json` or `form`) and the schema of a request's body; ('', {}) without one."""
        body = self.resolve(operation.data.get("requestBody"))
        content = body.get("content")
        if isinstance(content, Mapping):
            json_content = self._json_content(content)
            if json_content:
                return "json", self.flat(json_content.get("schema"))
            form = content.get("application/x-www-form-urlencoded")
            if isinstance(form, Mapping):
                return "form", self.flat(form.get("schema"))
            return "", {}
        for item in operation.parameters:
            if item.get("in") == "body":
                return "json", self.flat(item.get("schema"))
        if any(item.get("in") == "formData" for item in operation.parameters):
            return "form", {"type": "object"}
        return "", {}

    # --- schemas ----------------------------------------------------------------------------------------

    def flat(self, schema: Json) -> Mapping[str, Json]:
        """A schema without references and compositions: the members of all parts in one object.

        What has more than MOST_MEMBERS in all its parts together is cut off there.
        """
        return self._flat(schema, _Walk())

    def _flat(self, schema: Json, walk: _Walk, depth: int = 0) -> Mapping[str, Json]:
        own = self.resolve(schema)
        if depth > _DEPTH or not any(name in own for name in _COMPOSED):
            return own
        # Two parts may name one schema, whose parts do so again: each is put together once.
        known = walk.known.get(id(own))
        if known is not None:
            return known
        walk.known[id(own)] = {}  # its own part, where it goes round in a circle
        merged: dict[str, Json] = {name: value for name, value in own.items() if name not in _COMPOSED}
        properties: dict[str, Json] = dict(_members(own))
        required: set[str] = set(_names(own.get("required")))
        for word in _COMPOSED:
            parts = own.get(word)
            for part in parts if isinstance(parts, list) else ():
                if walk.left <= 0:
                    break
                flat = self._flat(part, walk, depth + 1)
                walk.left -= 1 + len(flat) + len(_members(flat))
                if _kind(flat) == "null":
                    merged["nullable"] = True
                    continue
                for name, value in flat.items():
                    if name not in ("properties", "required"):
                        merged.setdefault(name, value)
                for name, value in _members(flat).items():
                    properties.setdefault(name, value)
                if word == "allOf":
                    required.update(_names(flat.get("required")))
        if properties:
            merged["properties"] = properties
            merged.setdefault("type", "object")
        if required:
            merged["required"] = sorted(required)
        walk.known[id(own)] = merged
        return merged

    def members(self, schema: Mapping[str, Json]) -> Mapping[str, Json]:
        """The properties of a flat schema, not resolved."""
        return _members(schema)

    def items(self, schema: Mapping[str, Json]) -> Mapping[str, Json]:
        """The flat schema of the elements of a list, {} when it is none."""
        return self.flat(schema.get("items")) if self.kind(schema) == "array" else {}

    def kind(self, schema: Mapping[str, Json]) -> str:
        """The JSON type of a flat schema, guessed from its keys where it says none; '' when nobody knows."""
        said = _kind(schema)
        if said:
            return said
        if "properties" in schema or "additionalProperties" in schema:
            return "object"
        return "array" if "items" in schema else ""

    def field_type(self, schema: Mapping[str, Json]) -> FieldType:
        """What a field of this flat schema is."""
        kind = self.kind(schema)
        if kind == "string" and schema.get("format") in _TIMES:
            return "timestamp"
        return _SIMPLE.get(kind, "any")

    def fields(self, schema: Mapping[str, Json]) -> tuple[Field, ...]:
        """The members of a flat object schema as fields, at most MOST_FIELDS."""
        required = set(_names(schema.get("required")))
        fields = []
        for name, value in list(_members(schema).items())[:MOST_FIELDS]:
            if not isinstance(name, str) or not 0 < len(name) <= 128 or clean(name) != name:
                continue
            flat = self.flat(value)
            nullable = (
                flat.get("nullable") is True or "null" in _kinds(flat) or flat.get("x-nullable") is True
            )
            length = flat.get("maxLength")
            if not isinstance(length, int) or isinstance(length, bool) or not 0 < length < 2**31:
                length = None
            said = one_line(flat.get("description") or flat.get("title"))
            fields.append(Field(name, self.field_type(flat), name in required and not nullable, length, said))
        return tuple(fields)

    def record_fields(
        self, operation: str, path: Sequence[str], *, single: bool = False
    ) -> tuple[Field, ...] | None:
        """The fields of the records that an operation answers with, the list being at `path`; None when the
        document does not say.
        """
        found = self.find(operation)
        if found is None:
            return None
        schema = self.answer_schema(found)
        for name in path:
            member = _members(schema).get(name)
            if member is None:
                return None
            schema = self.flat(member)
        if not single and self.kind(schema) == "array":
            schema = self.items(schema)
        return self.fields(schema) or None


def read_api(body: bytes) -> Api:
    """An OpenAPI document in JSON or YAML. Raises ConfigError."""
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    try:
        document = json.loads(body) if start == b"{" else _yaml(body)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"The document cannot be read: {clean(reason)}.") from None
    if not isinstance(document, Mapping):
        raise ConfigError("This is no OpenAPI document: it is no object.")
    return Api(document)


def _yaml(body: bytes) -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc] # which base there is depends on how PyYAML was built
        """Times stay texts: an example of one is written down again."""

        yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
            first: [item for item in items if item[0] != "tag:yaml.org,2002:timestamp"]
            for first, items in base.yaml_implicit_resolvers.items()
        }

    try:
        # The parser goes as deep as the document does, which ends the process when that is too deep.
        depth = 0
        for event in yaml.parse(body, Loader=base):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
        loader = Loader(body)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _members(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _names(value: Json) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _kinds(schema: Mapping[str, Json]) -> list[str]:
    said = schema.get("type")
    return [said] if isinstance(said, str) else _names(said)


def _kind(schema: Mapping[str, Json]) -> str:
    """The type that a schema says, without null where it says several."""
    kinds = _kinds(schema)
    useful = [item for item in kinds if item != "null"]
    return useful[0] if useful else kinds[0] if kinds else ""
