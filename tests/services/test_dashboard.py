"""The health of profiles on the first screen: of each profile alone, by what its own requests came to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tui.seeding import NOW_MS, FixedClock, open_workspace, profile

from platint_tui.core.histogram import Histogram
from platint_tui.core.model import Capability
from platint_tui.services import dashboard
from platint_tui.services.dashboard import PlatformHealth
from platint_tui.store.ports import MetricRow

GOOD = (Capability("me", True, False, "200", 9.0),)


def row(name: str, count: int, errors: int, operation: str = "read") -> MetricRow:
    histogram = Histogram()
    for _ in range(count):
        histogram.add(0.05)
    return MetricRow(NOW_MS - 120_000, "demo-crm", name, operation, count, errors, histogram.to_bytes())


async def health(home: Path, rows: Sequence[MetricRow]) -> dict[str, PlatformHealth]:
    workspace = await open_workspace(home, FixedClock())
    try:
        for name in ("busy", "other", "untested"):
            await workspace.store.profiles.put(profile(name, "demo-crm"))
            if name != "untested":
                await workspace.store.profiles.save_check(name, True, GOOD)
        await workspace.store.metrics.save("eng_test", rows)
        found = await dashboard.load(workspace)
    finally:
        await workspace.close()
    return {item.view.profile.name: item for item in found.health}


async def test_a_profile_has_the_health_of_its_own_requests(tmp_path: Path) -> None:
    found = await health(tmp_path, [row("busy", 30, 10), row("busy", 10, 10, "write"), row("other", 40, 0)])
    assert (found["busy"].word, found["busy"].reason) == ("failing", "20 of 40 requests failed")
    assert (found["other"].word, found["other"].troubled) == ("ok", False)
    latency = found["other"].latency
    assert latency is not None and (latency.count, latency.errors) == (40, 0)
    assert (found["untested"].word, found["untested"].latency) == ("unknown", None)


@pytest.mark.parametrize(
    ("count", "errors", "word"),
    [
        (10, 3, "errors"),
        (1, 1, "errors"),
        (100, 4, "ok"),
        (100, 5, "errors"),
        (20, 5, "failing"),
        (20, 0, "ok"),
    ],
)
async def test_failed_requests_are_never_called_ok(
    tmp_path: Path, count: int, errors: int, word: str
) -> None:
    found = (await health(tmp_path, [row("busy", count, errors)]))["busy"]
    assert (found.word, found.troubled) == (word, word != "ok")
