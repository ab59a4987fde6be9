"""The full descriptions of a platform to one view, by the formats named in sources.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from contract.allowlist import forgotten
from contract.manifests import HERE, SPECS, sources
from contract.specs import (
    botocore,
    discovery,
    gitlab,
    hubspot,
    jenkins,
    openapi,
    salesforce,
    servicebus,
    shopify_rest,
    stripe,
    woocommerce,
)
from contract.specs.forgotten import amended
from contract.specs.view import Operation, View


@lru_cache(maxsize=64)
def read(name: str) -> Any:
    """A JSON file of the vendors' descriptions, or one of `derived/`."""
    folder = HERE if name.startswith("derived/") else SPECS
    return json.loads((folder / name).read_text())


def _openapi(entry: Mapping[str, Any], name: str) -> Iterator[Operation]:
    for operation in openapi.operations(read(entry["file"]), name):
        yield operation
        if entry.get("posts") and operation.method == "GET":
            # The vendor takes the same parameters by POST, as a form.
            params = {key: param.schema for key, param in operation.query.items()}
            required = [key for key, param in operation.query.items() if param.required and key != "token"]
            form = {"type": "object", "properties": params, "required": required}
            body = {"application/x-www-form-urlencoded": form}
            yield replace(operation, method="POST", query={}, body=body)


def _stripe(entry: Mapping[str, Any], name: str) -> Iterator[Operation]:
    return stripe.operations(read(entry["file"]), name, read(entry["with"]), read(entry["samples"]))


FORMATS: dict[str, Callable[[Mapping[str, Any], str], Iterator[Operation]]] = {
    "openapi": _openapi,
    "stripe": _stripe,
    "botocore": lambda entry, name: botocore.operations(read(entry["file"]), name),
    "discovery": lambda entry, name: discovery.operations(read(entry["file"]), name),
    "shopify-rest": lambda entry, name: shopify_rest.operations(read(entry["file"]), name),
    "gitlab": lambda entry, name: gitlab.operations(read(entry["file"]), name),
    "hubspot": lambda entry, name: hubspot.operations(read(entry["file"]), read(entry["with"]), name),
    "woocommerce": lambda entry, name: woocommerce.operations(read(entry["file"]), read(entry["with"]), name),
    "jenkins": lambda entry, name: jenkins.operations(read(entry["file"]), read(entry["with"]), name),
    "salesforce": lambda entry, name: salesforce.operations(read(entry["file"]), read(entry["with"]), name),
    "servicebus": lambda entry, name: servicebus.messages(read(entry["file"]), name),
    "servicebus-management": lambda entry, name: servicebus.management(
        read(entry["file"]), read(entry["with"]), name
    ),
}


def full_view(platform: str, without: str = "") -> View:
    """What the descriptions of a platform say, whole, with what they forgot, but for the operation `without`. Needs
    the vendors' files.
    """
    operations: list[Operation] = []
    entries = sources()[platform]
    for entry in entries:
        if entry["format"] == "graphql":
            continue
        for operation in FORMATS[entry["format"]](entry, entry["file"]):
            operations.append(_based(operation, entry))
    sdl = next((entry["file"] for entry in entries if entry["format"] == "graphql"), "")
    operations = amended(operations, [item for item in forgotten(platform) if item.operation != without])
    return View(platform, tuple(operations), tuple(entries), (SPECS / sdl).read_text() if sdl else "")


def _based(operation: Operation, entry: Mapping[str, Any]) -> Operation:
    """An operation with what sources.yaml says of its document: the path before its paths, and hosts."""
    bases, hosts = entry.get("bases", [""]), tuple(entry.get("hosts", operation.hosts))
    if bases == [""] and hosts == operation.hosts:
        return operation
    return replace(
        operation, paths=tuple(base + path for base in bases for path in operation.paths), hosts=hosts
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
