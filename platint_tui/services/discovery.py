"""Discovery: what an account offers, and what changed since the last time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from platint_tui.core.diff import by_grade, compare, hidden
from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Catalogue, CatalogueChange, Integration, StreamMapping
from platint_tui.services.engine import call, error_of
from platint_tui.services.profiles import get
from platint_tui.services.workspace import Workspace

_LONGEST = 900.0
"""Seconds: a large account has hundreds of streams to be described one by one."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A few records of a stream, elements that are none with the reason, and the exact requests.

    `records` have the text of the platform under `raw`, `bad` also `reason`; `requests` are documents with
    method, url, headers, body, status, ms, error. `error` is what ended the reading, None when nothing did.
    """

    records: tuple[dict[str, Any], ...]
    bad: tuple[dict[str, Any], ...]
    requests: tuple[dict[str, Any], ...]
    error: PlatintError | None


async def discover(workspace: Workspace, profile: str) -> tuple[Catalogue, list[CatalogueChange]]:
    """Discover `profile` through the engine; returns the catalogue and the changes against the one before."""
    await get(workspace, profile)
    await call(workspace, "discover", {"profile": profile}, timeout=_LONGEST)
    return await newest(workspace, profile)


async def newest(workspace: Workspace, profile: str) -> tuple[Catalogue, list[CatalogueChange]]:
    """The newest catalogue of a profile that has one, and what it changed against the one before.

    What integrations name and what is gone since an earlier discovery is told each time: it is broken still.
    """
    found = await workspace.store.catalogues.latest(profile, 2)
    if len(found) < 2:
        return found[0], []
    changes = await asyncio.to_thread(compare, found[1], found[0])
    integrations = await workspace.store.integrations.list()
    changes += await _still_gone(workspace, found[0], changes, integrations)
    return found[0], named(by_grade(changes), integrations, profile)


async def latest(workspace: Workspace, profile: str) -> Catalogue | None:
    """The newest catalogue of `profile`, None before the first discovery."""
    found = await workspace.store.catalogues.latest(profile)
    return found[0] if found else None


async def stamp(workspace: Workspace, profile: str) -> tuple[int, ...]:
    """What changes when a discovery of `profile` is stored: cheaper than to read the catalogues."""
    return tuple(await workspace.store.catalogues.numbers(profile, 2))


async def changes(workspace: Workspace, profile: str) -> list[CatalogueChange]:
    """What the newest catalogue of `profile` changed against the one before."""
    if len(await stamp(workspace, profile)) < 2:
        return []
    return (await newest(workspace, profile))[1]


async def _still_gone(
    workspace: Workspace,
    newest: Catalogue,
    changes: Sequence[CatalogueChange],
    integrations: Sequence[Integration],
) -> list[CatalogueChange]:
    """Streams and fields that integrations name, that a catalogue had once, and that are not there."""
    now = {stream.name: stream for stream in newest.streams}
    missing: dict[str, set[str]] = {}  # paths in fields that are not there by stream; '' is the stream itself
    for stream, paths in _named_by(integrations, newest.profile):
        seen = now.get(stream)
        if seen is None and not hidden(stream, now):
            missing.setdefault(stream, set()).add("")
        elif seen is not None and not seen.incomplete:
            there = [field.name for field in seen.fields]
            gone = {path for path in paths if not any(_within(path, name) for name in there)}
            if gone:
                missing.setdefault(stream, set()).update(gone)
    known = await workspace.store.catalogues.known(newest.profile, list(missing)) if missing else {}
    told = {(change.stream, change.field) for change in changes if change.breaking}
    lasting = []
    for stream, fields in known.items():
        if "" in missing[stream]:
            places = {""}
        else:
            places = {name for name in fields for path in missing[stream] if _within(path, name)}
        for field in sorted(places):
            kind = "field_removed" if field else "stream_removed"
            if (stream, field) not in told:
                detail = "Still gone since an earlier discovery."
                lasting.append(CatalogueChange(kind, stream, field, True, detail))
    return lasting


def _named_by(integrations: Sequence[Integration], profile: str) -> Iterator[tuple[str, set[str]]]:
    """The streams of a profile that integrations read or write, and the paths of fields that they name."""
    for integration in integrations:
        for mapping in integration.streams:
            chosen = {name for name in mapping.select if name != "*"}
            if integration.source_profile == profile:
                yield mapping.stream, {*chosen, *_taken(mapping)}
            if integration.target_profile == profile:
                yield mapping.target, {*chosen, *mapping.map}


def _taken(mapping: StreamMapping) -> list[str]:
    """The paths that the expressions (a path, or function(path)) and the key of a mapping take."""
    return [
        *(text.rpartition("(")[2].rstrip(")").strip() for text in mapping.map.values()),
        *mapping.key,
    ]


def _within(path: str, field: str) -> bool:
    return path == field or path.startswith(f"{field}.")


async def preview(workspace: Workspace, profile: str, stream: str, limit: int = 5) -> Preview:
    """A few real records of a stream with the requests that brought them; nothing is stored or moved.

    Raises what went wrong before the first request.
    """
    await get(workspace, profile)
    result = await call(workspace, "preview", {"profile": profile, "stream": stream, "limit": limit})
    failed = result.get("error")
    return Preview(
        tuple(result["records"]),
        tuple(result.get("bad") or ()),
        tuple(result.get("requests") or ()),
        error_of(failed) if failed else None,
    )


def named(
    changes: Iterable[CatalogueChange], integrations: Sequence[Integration], profile: str
) -> list[CatalogueChange]:
    """The changes, each with the integrations that use what it concerns."""
    sources: dict[str, list[tuple[str, StreamMapping]]] = {}
    targets: dict[str, list[tuple[str, StreamMapping]]] = {}
    for integration in integrations:
        for mapping in integration.streams:
            if integration.source_profile == profile:
                sources.setdefault(mapping.stream, []).append((integration.name, mapping))
            if integration.target_profile == profile:
                targets.setdefault(mapping.target, []).append((integration.name, mapping))
    if not sources and not targets:
        return list(changes)
    return [replace(item, used_by=_users(item, sources, targets)) for item in changes]


def _users(
    change: CatalogueChange,
    sources: dict[str, list[tuple[str, StreamMapping]]],
    targets: dict[str, list[tuple[str, StreamMapping]]],
) -> tuple[str, ...]:
    if change.minor:
        return ()
    users = [name for name, mapping in _of(sources, change.stream) if _reads(mapping, change.field)]
    users += [name for name, mapping in _of(targets, change.stream) if _writes(mapping, change)]
    return tuple(sorted(set(users)))


def _of(mappings: dict[str, list[tuple[str, StreamMapping]]], stream: str) -> list[tuple[str, StreamMapping]]:
    """The mappings of a stream, of all the streams of a family for `items.*` and `*`."""
    if not stream.endswith("*"):
        return mappings.get(stream, [])
    return [item for name, found in mappings.items() if name.startswith(stream[:-1]) for item in found]


def _reads(mapping: StreamMapping, field: str) -> bool:
    """Whether a mapping takes the field; without `select` and `map` it takes all of them."""
    if not field or field in mapping.key or field in mapping.select or "*" in mapping.select:
        return True
    if not mapping.select and not mapping.map:
        return True
    return any(_within(path, field) for path in _taken(mapping))


def _writes(mapping: StreamMapping, change: CatalogueChange) -> bool:
    """Whether a mapping gives the field; what must be there now concerns everybody who writes."""
    field = change.field
    if not field or change.kind in ("became_required", "field_added") or field in mapping.map:
        return True
    return field in mapping.select or "*" in mapping.select or (not mapping.select and not mapping.map)
