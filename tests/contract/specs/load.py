"""The full descriptions of a platform to one view, by the formats named in sources.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from contract.manifests import SPECS, sources
from contract.specs import openapi, stripe
from contract.specs.view import Operation, View


@lru_cache(maxsize=64)
def read(name: str) -> Any:
    """A JSON file of the vendors' descriptions."""
    return json.loads((SPECS / name).read_text())


def _openapi(entry: Mapping[str, Any], name: str) -> Iterator[Operation]:
    return openapi.operations(read(entry["file"]), name)


def _stripe(entry: Mapping[str, Any], name: str) -> Iterator[Operation]:
    return stripe.operations(read(entry["file"]), name, read(entry["with"]), read(entry["samples"]))


FORMATS: dict[str, Callable[[Mapping[str, Any], str], Iterator[Operation]]] = {
    "openapi": _openapi,
    "stripe": _stripe,
}


def full_view(platform: str) -> View:
    """What the descriptions of a platform say, whole. Needs the vendors' files."""
    operations: list[Operation] = []
    entries = sources()[platform]
    for entry in entries:
        if entry["format"] == "graphql":
            continue
        for operation in FORMATS[entry["format"]](entry, entry["file"]):
            operations.append(_based(operation, entry))
    sdl = next((entry["file"] for entry in entries if entry["format"] == "graphql"), "")
    return View(platform, tuple(operations), tuple(entries), (SPECS / sdl).read_text() if sdl else "")


def _based(operation: Operation, entry: Mapping[str, Any]) -> Operation:
    """An operation with what sources.yaml says of its document: the path before its paths, and hosts."""
    base, hosts = entry.get("base", ""), tuple(entry.get("hosts", operation.hosts))
    if not base and hosts == operation.hosts:
        return operation
    return Operation(
        **{
            **{name: getattr(operation, name) for name in Operation.__dataclass_fields__},
            "paths": tuple(base + path for path in operation.paths),
            "hosts": hosts,
        }
    )


def documents(platform: str) -> dict[str, tuple[str, ...]]:
    """Which documents describe which endpoint (`-`: the default one); endpoints that are missing: all."""
    found: dict[str, tuple[str, ...]] = {}
    entries = sources()[platform]
    for endpoint in {name for entry in entries for name in entry.get("endpoints", ())}:
        found[endpoint] = tuple(
            entry["file"] for entry in entries if endpoint in entry.get("endpoints", (endpoint,))
        )
    return found
