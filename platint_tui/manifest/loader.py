"""One manifest file to a typed connector. Every problem of a file is reported at once, with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platint_tui.core.model import Json
from platint_tui.manifest.merge import merge, merge_resource
from platint_tui.manifest.problems import FileError, Problem
from platint_tui.manifest.yamltext import Document, PathKey, parse, read_document, step

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, Resource

SHARED = "_shared"
"""The folder beside the manifests with the parts that several of them extend."""
_SHARED_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def load_connector(path: Path, name: str | None = None) -> Connector:
    """Load and check a manifest. `name` is how messages call the file.

    Raises ConfigError with one line for each problem: `file:line:column: field: what is wrong; did you mean
    …`.
    """
    return from_document(read_manifest(path, name))


def load_text(text: str, name: str = "<text>", folder: Path | None = None) -> Connector:
    """Check the text of a manifest; `folder` is where the files that it extends are looked for. Raises
    ConfigError like `load_connector`.
    """
    return from_document(_extended(parse(text, name), folder))


def read_manifest(path: Path, name: str | None = None) -> Document:
    """The document of a manifest, merged over the shared file that it extends. Raises ConfigError."""
    return _extended(read_document(path, name), path.parent)


def _extended(document: Document, folder: Path | None) -> Document:
    """`document` over `_shared/<name>.yaml` of `folder`, when it extends that."""
    wanted = document.data.get("extends") if isinstance(document.data, Mapping) else None
    if wanted is None:
        return document

    def refuse(text: str) -> FileError:
        return FileError(document.name, [document.problem(("extends",), text)])

    if not isinstance(wanted, str) or not _SHARED_NAME.fullmatch(wanted):
        raise refuse("must be the name of a file of _shared, such as aws")
    if folder is None or not (folder / SHARED / f"{wanted}.yaml").is_file():
        raise refuse(f"there is no {SHARED}/{wanted}.yaml beside the manifest")
    base = read_document(folder / SHARED / f"{wanted}.yaml", f"{SHARED}/{wanted}.yaml")
    if not isinstance(base.data, Mapping) or "extends" in base.data:
        raise refuse(f"{SHARED}/{wanted}.yaml must be a map of keys that extends nothing itself")
    return replace(document, data=merge(base.data, document.data), base=base)


def from_document(document: Document) -> Connector:
    """Check a parsed manifest. Raises ConfigError like `load_connector`."""
    from pydantic import (
        ValidationError,
    )  # loading the types costs more than a manifest; only done when needed

    from platint_tui.manifest.describe import from_validation
    from platint_tui.manifest.lint import lint
    from platint_tui.manifest.schema import MANIFEST_VERSION, Connector

    raw = document.data
    if not isinstance(raw, Mapping):
        raise FileError(document.name, [document.problem((), "a manifest is a map of keys; this is not")])
    version = raw.get("manifest")
    if isinstance(version, int) and not isinstance(version, bool) and version > MANIFEST_VERSION:
        text = f"this is version {version}; this program knows {MANIFEST_VERSION}: update platint-tui"
        raise FileError(document.name, [document.problem(("manifest",), text)])
    merged = merged_data(raw)
    problems: list[Problem] = []
    connector: Connector | None = None
    try:
        connector = Connector.model_validate(merged)
    except ValidationError as error:
        problems += from_validation(document, merged, Connector, error, lambda path: origin_of(raw, path))
    problems += lint(document, merged, connector)
    if problems or connector is None:
        raise FileError(document.name, problems)
    return connector


def merged_data(raw: Mapping[str, Json]) -> dict[str, Any]:
    """The manifest with `defaults` merged into each resource."""
    data: dict[str, Any] = dict(raw)
    resources, defaults = data.get("resources"), data.get("defaults")
    if isinstance(resources, Mapping) and isinstance(defaults, Mapping):
        data["resources"] = {
            name: merge_resource(defaults, {} if resource is None else resource)
            for name, resource in resources.items()
        }
    transport, auth = data.get("transport"), data.get("auth")
    if isinstance(transport, Mapping) and isinstance(auth, Mapping):
        endpoints = transport.get("endpoints")
        if isinstance(endpoints, Mapping):
            data["transport"] = {
                **transport,
                "endpoints": {name: _with_auth(auth, endpoint) for name, endpoint in endpoints.items()},
            }
    return data


def _with_auth(auth: Json, endpoint: Json) -> Json:
    """An endpoint whose own auth says only what differs from the manifest's."""
    if not isinstance(endpoint, Mapping) or not isinstance(endpoint.get("auth"), Mapping):
        return endpoint
    own = endpoint["auth"]
    same = own.get("type", auth.get("type")) == auth.get("type")
    return {**endpoint, "auth": merge(auth, own)} if same else endpoint


def origin_of(raw: Mapping[str, Json], path: PathKey) -> PathKey:
    """Where a value of the merged data stands in the file: in the resource itself, or in `defaults`."""
    if (
        len(path) > 2
        and path[0] == "resources"
        and not _exists(raw, path)
        and _exists(raw, ("defaults", *path[2:]))
    ):
        return ("defaults", *path[2:])
    return path


def _exists(data: Json, path: PathKey) -> bool:
    for part in path:
        found, data = step(data, part)
        if not found:
            return False
    return True


def family_of(connector: Connector, name: str) -> str:
    """The key of the resource that answers for the stream `name`: itself, a family `items.*`, or `*`."""
    if name in connector.resources:
        return name
    head, dot, _ = name.partition(".")
    return f"{head}.*" if dot and f"{head}.*" in connector.resources else "*"


def own_name(connector: Connector, name: str) -> str:
    """The name of a stream within its family: `orders` for `items.orders` of `items.*`."""
    family = family_of(connector, name)
    return name.partition(".")[2] if family != name and family != "*" else name


def resource(connector: Connector, name: str) -> Resource:
    """The resource called `name`, merged with the defaults; an introspected platform answers every name.

    Raises NotFound with a suggestion.
    """
    from platint_tui.core.errors import NotFound
    from platint_tui.manifest.problems import did_you_mean, listing, shown

    found = connector.resources.get(family_of(connector, name))
    if found is not None:
        return found
    known = sorted(connector.resources)
    raise NotFound(
        f"{connector.name} has no {shown(name)}{did_you_mean(name, known) or '.'}",
        hint=f"It has {listing(known)}.",
    )
