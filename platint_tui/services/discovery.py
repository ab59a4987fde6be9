"""Discovery: what an account offers, and what changed since the last time."""

from __future__ import annotations

from typing import Any

from platint_tui.core.diff import compare
from platint_tui.core.model import Catalogue, CatalogueChange
from platint_tui.services.engine import call
from platint_tui.services.profiles import get
from platint_tui.services.workspace import Workspace


async def discover(workspace: Workspace, profile: str) -> tuple[Catalogue, list[CatalogueChange]]:
    """Discover `profile` through the engine; returns the catalogue and the changes against the one before."""
    await get(workspace, profile)
    await call(workspace, "discover", {"profile": profile})
    found = await workspace.store.catalogues.latest(profile, 2)
    return found[0], compare(found[1], found[0]) if len(found) > 1 else []


async def latest(workspace: Workspace, profile: str) -> Catalogue | None:
    """The newest catalogue of `profile`, None before the first discovery."""
    found = await workspace.store.catalogues.latest(profile)
    return found[0] if found else None


async def changes(workspace: Workspace, profile: str) -> list[CatalogueChange]:
    """What the newest catalogue of `profile` changed against the one before."""
    found = await workspace.store.catalogues.latest(profile, 2)
    return compare(found[1], found[0]) if len(found) > 1 else []


async def preview(workspace: Workspace, profile: str, stream: str, limit: int = 5) -> list[dict[str, Any]]:
    """A few real records of a stream, as raw JSON text under `raw`."""
    result = await call(workspace, "preview", {"profile": profile, "stream": stream, "limit": limit})
    return list(result["records"])
