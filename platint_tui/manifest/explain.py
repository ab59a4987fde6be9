"""The final value of every key of a manifest or of one resource, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from platint_tui.core.model import Json
from platint_tui.manifest.loader import from_document, origin_of, read_manifest, resource
from platint_tui.manifest.problems import dotted
from platint_tui.manifest.yamltext import PathKey, step


class Explained(NamedTuple):
    """One key: its dotted name, its final value, and `file:line (resource)`, `file:line (defaults)` or
    `(schema)`.
    """

    key: str
    value: Json
    origin: str


def explain(connector_path: Path, platform: str, resource_name: str) -> list[Explained]:
    """Every key of a resource of the manifest at `connector_path`, with its origin.

    Raises ConfigError for a broken manifest or one of another platform, NotFound for an unknown resource.
    """
    from platint_tui.core.errors import ConfigError

    document = read_manifest(connector_path)
    connector = from_document(document)
    if connector.platform != platform:
        raise ConfigError(
            f"This manifest is for '{connector.platform}', not '{platform}'.", where=str(connector_path)
        )
    found = resource(connector, resource_name)
    name = resource_name if resource_name in connector.resources else "*"
    dumped = found.model_dump(mode="json", by_alias=True)
    written = _merged_raw(document.data, name)
    explained = []
    for path, value in _leaves(dumped, (), written):
        place = origin_of(document.data, ("resources", name, *path))
        present = _lookup(document.data, place)
        if present[0]:
            line, _ = document.position(place, key=True)
            part = "defaults" if place[0] == "defaults" else "resource"
            home = document.home(place)
            file = connector_path.name if home is document else home.name
            origin = f"{file}:{line} ({part})"
            explained.append(Explained(dotted(path), _as_written(present[1], value), origin))
        else:
            explained.append(Explained(dotted(path), value, "(schema)"))
    return explained


def _merged_raw(raw: Mapping[str, Any], name: str) -> Json:
    from platint_tui.manifest.loader import merged_data

    return merged_data(raw)["resources"][name]


def _leaves(value: Json, path: PathKey, written: Json) -> Iterator[tuple[PathKey, Json]]:
    """Scalars, lists and empty maps of the final data; a value that has a short written form is one leaf."""
    if isinstance(value, Mapping) and value and (isinstance(written, Mapping) or written is None):
        for name, item in value.items():
            yield from _leaves(item, (*path, name), step(written, name)[1])
    elif path:
        yield path, value


def _lookup(data: Json, path: PathKey) -> tuple[bool, Json]:
    for part in path:
        found, data = step(data, part)
        if not found:
            return False, None
    return True, data


def _as_written(written: Json, value: Json) -> Json:
    """What the file says: durations and statuses are easier to read as they were written."""
    return value if isinstance(written, Mapping) else written
