"""Metrics: windows, groups, the chart of the platform under the cursor."""

from __future__ import annotations

import json

import pytest
from console_kit import Console, text_of, wait_for
from seeding import MINUTE, NOW_MS, FixedClock, seed
from textual.pilot import Pilot

from platint_tui.core.model import LatencySummary, MetricPoint
from platint_tui.services.metrics import Headline
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp
from platint_tui.tui.screens.metrics import words
from platint_tui.tui.screens.metrics.section import MetricsSection


def view(app: PlatintApp) -> MetricsSection:
    assert isinstance(app.view, MetricsSection)
    return app.view


async def shown(app: PlatintApp, pilot: Pilot[int], text: str) -> None:
    await wait_for(pilot, lambda: text in text_of(app))


async def test_platforms_and_operations_with_their_percentiles(
    workspace: Workspace, clock: FixedClock, console: Console
) -> None:
    await seed(workspace, clock)
    async with console(size=(80, 24), section="metrics") as (app, pilot):
        text = text_of(app)
        assert "requests 3,600" in text and "write contacts" in text and "0.8 %" in text
        assert any("\u2801" <= char <= "\u28ff" for char in text)
        await pilot.press("down")
        await shown(app, pilot, "latency  demo-crm")
        assert view(app).platform == "demo-crm"
        await pilot.press("v")
        await wait_for(pilot, lambda: "write contacts" not in text_of(app))
        assert "Grouped by platform." in text_of(app)
        await pilot.press("v", "g", "y")
        rows = json.loads(app.clipboard)
        assert rows[0]["count"] == 3600 and {row["platform"] for row in rows} == {
            "",
            "demo-crm",
            "demo-payments",
        }


async def test_windows_step_and_go_round(workspace: Workspace, clock: FixedClock, console: Console) -> None:
    await seed(workspace, clock)
    async with console(size=(120, 36), section="metrics") as (app, pilot):
        await shown(app, pilot, "last 1 h")
        await pilot.press("[")
        await shown(app, pilot, "last 15 m")
        await wait_for(pilot, lambda: "requests 900" in text_of(app) or "requests 840" in text_of(app))
        await pilot.press("[")
        assert view(app).window == 0
        await pilot.press("w", "w", "w", "w", "w")
        await shown(app, pilot, "last 30 d")
        await pilot.press("]")
        assert view(app).window == 5
        await pilot.press("w")
        await shown(app, pilot, "last 15 m")
        app.go("metrics", "search", "demo-payments")
        await shown(app, pilot, "latency  demo-payments")


async def test_an_empty_window_says_what_to_do(console: Console) -> None:
    async with console(size=(80, 24), section="metrics") as (app, pilot):
        await shown(app, pilot, "No requests in this window.")
        await pilot.press("w", "v", "down", "y")
        assert app.clipboard == "[]" and not app.crashed


def test_everything_comes_first_then_platforms_by_volume() -> None:
    head = Headline(1.0, 2.0, 3.0, 0.25, 40, 12.5, None)
    rows = words.rows_of(
        head,
        [
            LatencySummary("b", "read", 10, 0, 0.0, 1, 2, 3),
            LatencySummary("a", "small", 5, 0, 0.0, 1, 2, 3),
            LatencySummary("a", "large", 25, 10, 0.4, 1, 2, 3),
        ],
    )
    assert [(row.title, row.summary.operation) for row in rows] == [
        ("everything", ""),
        ("a", "large"),
        ("a", "small"),
        ("b", "read"),
    ]
    assert rows[0].summary.errors == 10 and len({row.key for row in rows}) == 4
    assert words.rows_of(head, []) == []
    assert "12/s" in "".join(text for text, _ in words.headline_words(head))


def test_times_and_lines_of_a_window() -> None:
    points = [
        MetricPoint(NOW_MS - (60 - n) * MINUTE, n, 0, float(n) if n % 3 else None, 2.0, 3.0)
        for n in range(60)
    ]
    times = words.times_of(points, NOW_MS, words.WINDOWS[1])
    assert times == ["13:05", "13:20", "13:35", "13:50", "now"]
    assert words.times_of([], NOW_MS, words.WINDOWS[0]) == []
    assert words.times_of(points, NOW_MS, words.WINDOWS[5])[0] == "03-02"
    lines = words.lines_of(points)
    assert [line.name for line in lines] == ["p99", "p95", "p50"] and lines[2].values[3] is None


@pytest.mark.parametrize("width", [1, 7, 59, 60, 200])
def test_resampling_keeps_the_sum(width: int) -> None:
    values = [float(n) for n in range(60)]
    found = words.resampled(values, width)
    assert sum(value for value in found if value is not None) == sum(values)
    assert len(found) == min(width, 60)
