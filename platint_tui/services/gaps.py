"""Gaps: what was not read or did not arrive, what is missing in it, and filling it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import NotFound
from platint_tui.core.gaps import OPEN_GAP_STATES, GapState, MissedEvent, StoredGap
from platint_tui.manifest.subscribing import can_compare, why_not
from platint_tui.services import profiles
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.workspace import Workspace

MISSED_SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class GapView:
    """A gap whole. `fillable`: one key has what is missing fetched or sent again; else `why_not` says why it
    cannot be."""

    gap: StoredGap
    missed: tuple[MissedEvent, ...]
    fillable: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a comparison came to: `sent` events of the platform, of which `here` are here and `new` are newly
    missing, in these `gaps`; `filled` are gaps that were filled by what came since."""

    profile: str
    since_ms: int
    until_ms: int
    sent: int
    here: int
    new: int
    filled: tuple[int, ...]
    gaps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of filling a gap: how much was missing, fetched, asked for (it comes by webhook), lost for good, and
    is left."""

    gap: int
    missing: int
    fetched: int
    asked: int
    lost: int
    left: int
    filled: bool


async def list_gaps(
    workspace: Workspace, *, profile: str = "", integration: str = "", ended: bool = False, limit: int = 100
) -> list[StoredGap]:
    """Gaps, newest first: of webhooks and of streams; those that were filled or accepted too when `ended`."""
    states: Sequence[GapState] = () if ended else OPEN_GAP_STATES
    found = await workspace.store.gaps.list(
        profile=profile or None, integration=integration or None, states=states, limit=limit
    )
    return list(found)


async def show(workspace: Workspace, number: int) -> GapView:
    """One gap with what is missing. Raises NotFound."""
    gap = await workspace.store.gaps.get(number)
    if gap is None:
        raise NotFound(f"There is no gap {number}.", hint="`platint-tui events gaps` lists them.")
    missed = tuple(await workspace.store.gaps.missed(number, limit=MISSED_SHOWN))
    why = await _why_not(workspace, gap)
    return GapView(gap, missed, not why and gap.state in OPEN_GAP_STATES, why)


async def _why_not(workspace: Workspace, gap: StoredGap) -> str:
    if not gap.profile:
        return "The platform no longer has what was not read."
    profile = await workspace.store.profiles.get(gap.profile)
    if profile is None:
        return f"There is no profile '{gap.profile}' any more."
    connector = workspace.registry.get(profile.platform)
    ways = connector.webhooks.missed if connector.webhooks is not None else ()
    return "" if can_compare(ways) else why_not(ways, connector.name)


async def missed(workspace: Workspace, profile: str, since_ms: int) -> Found:
    """Compare what the platform sent since then with what is here. Raises ConfigError (code `no_missed`) when the
    platform has no list of it."""
    await profiles.get(workspace, profile)
    result = await call(workspace, "missed", {"profile": profile, "since_ms": since_ms}, timeout=600.0)
    return Found(**_tuples(result))


async def backfill(workspace: Workspace, number: int) -> Filled:
    """Fetch what is missing in a gap, or have the platform send it again."""
    refuse_read_only(workspace, "fill gaps")
    return Filled(**await call(workspace, "backfill", {"gap": number}, timeout=600.0))


async def accept(workspace: Workspace, number: int, note: str = "") -> None:
    """Leave a gap as it is."""
    refuse_read_only(workspace, "accept gaps")
    await call(workspace, "accept_gap", {"gap": number, "note": note})


def _tuples(result: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in result.items()}
