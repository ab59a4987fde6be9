"""The JSON Schema of manifests, for editors: made from the models, written to `connectors/_schema/`.

`python -m platint_tui.manifest.jsonschema` writes it anew. It knows less than the loader: what `defaults`
give to a resource cannot be said in it, so inside `resources` nothing is required.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from platint_tui.manifest.registry import bundled_dir

FILE = "_schema/connector.schema.json"


def connector_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a connector manifest."""
    from platint_tui.manifest.schema import Connector

    schema = Connector.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    for name in _reachable(definitions, "Resource"):
        definitions[name].pop("required", None)
    schema["properties"]["defaults"] = {"$ref": "#/$defs/Resource"}
    # A resource that lives from the defaults alone may be empty.
    either = {"anyOf": [{"$ref": "#/$defs/Resource"}, {"type": "null"}]}
    schema["properties"]["resources"]["additionalProperties"] = either
    schema.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "platint-tui connector manifest, version 1",
        **schema,
    }


def _reachable(definitions: dict[str, Any], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _references(definitions[name])
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [str(value["$ref"]).rpartition("/")[2]] if "$ref" in value else []
        return own + [name for item in value.values() for name in _references(item)]
    return [name for item in value for name in _references(item)] if isinstance(value, list) else []


def schema_text() -> str:
    """The file's content."""
    return json.dumps(connector_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write the schema beside the connectors (or to the path given); returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    path = Path(arguments[0]) if arguments else bundled_dir("connectors") / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema_text(), encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
