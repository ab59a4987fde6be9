"""What the metrics say: windows of time, columns, lines of the chart. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from platint_tui.core.model import LatencySummary, MetricPoint
from platint_tui.services.metrics import Headline
from platint_tui.tui import present
from platint_tui.tui.widgets.cells import Cell, Column
from platint_tui.tui.widgets.chart import Series

Pieces = list[tuple[str, str]]
_TIMES = 4
_RED_ABOVE = 0.05


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time that is looked at."""

    label: str
    seconds: float


WINDOWS: tuple[Window, ...] = (
    Window("15 m", 900),
    Window("1 h", 3_600),
    Window("6 h", 21_600),
    Window("24 h", 86_400),
    Window("7 d", 604_800),
    Window("30 d", 2_592_000),
)
"""From a quarter of an hour to a month."""

LINES: tuple[tuple[str, str], ...] = (("p99", "warn"), ("p95", "accent"), ("p50", "info"))
"""The lines of the chart with their tones; the last is drawn on top."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: everything, a platform, an operation of it, or the lag of a sync."""

    title: str
    summary: LatencySummary

    @property
    def key(self) -> str:
        """Names the row."""
        return f"{self.title}\n{self.summary.platform}\n{self.summary.operation}"


def rows_of(
    head: Headline, summaries: Sequence[LatencySummary], lags: Mapping[str, LatencySummary] | None = None
) -> list[Row]:
    """The table: everything first, then the rows by platform, the busiest operation first, and the lag of each
    sync (how old its records were when they were stored).
    """
    if not summaries and not lags:
        return []
    errors = round(head.error_rate * head.requests)
    whole = LatencySummary(
        "", "", head.requests, errors, head.error_rate,
        head.api_latency_p50_ms, head.api_latency_p95_ms, head.api_latency_p99_ms,
    )  # fmt: skip
    ordered = sorted(summaries, key=lambda item: (item.platform, -item.count, item.operation))
    late = [Row("lag", replace(item, operation=sync)) for sync, item in sorted((lags or {}).items())]
    return [Row("everything", whole), *(Row(item.platform, item) for item in ordered), *late]


def columns() -> tuple[Column[Row], ...]:
    """Platform, operation, requests, errors, percentiles."""
    return (
        Column("platform", lambda row: Cell(row.title, "" if row.summary.platform else "strong"), 14, grow=1, most=24),
        Column("operation", lambda row: Cell(row.summary.operation, "muted"), 16, grow=2, most=36),
        Column("requests", lambda row: Cell(present.count(row.summary.count)), 9, align="right", priority=1),
        Column("errors", lambda row: _errors(row.summary), 7, align="right"),
        Column("p50", lambda row: _latency(row.summary.p50_ms, "info"), 7, align="right"),
        Column("p95", lambda row: _latency(row.summary.p95_ms, "accent"), 7, align="right"),
        Column("p99", lambda row: _latency(row.summary.p99_ms, "warn"), 7, align="right"),
    )  # fmt: skip


def scale_label(value: float) -> str:
    """A mark of the chart's scale."""
    return present.milliseconds(value) if value else "0"


def _errors(summary: LatencySummary) -> Cell:
    tone = "muted" if not summary.errors else "bad" if summary.error_rate > _RED_ABOVE else "warn"
    return Cell(present.percent(summary.error_rate), tone)


def _latency(value: float | None, tone: str) -> Cell:
    return Cell(present.milliseconds(value), "muted" if value is None else tone)


def window_words(chosen: int) -> Pieces:
    """The windows in a line, the chosen one strong."""
    pieces: Pieces = []
    for index, window in enumerate(WINDOWS):
        pieces += [(window.label, "strong" if index == chosen else "muted"), ("   ", "")]
    return pieces


def headline_words(head: Headline) -> Pieces:
    """Requests, error rate and throughput of the window in a line."""
    facts = [
        ("requests", present.count(head.requests)),
        ("errors", present.percent(head.error_rate) if head.requests else "-"),
        ("records committed", present.rate(head.sync_throughput)),
    ]
    if head.webhook_success_rate is not None:
        facts.append(("webhooks", present.percent(head.webhook_success_rate)))
    pieces: Pieces = []
    for name, value in facts:
        pieces += [(f"{name} ", "muted"), (value, ""), ("    ", "")]
    return pieces


def legend(title: str) -> Pieces:
    """What the chart shows; each line by name and tone."""
    pieces: Pieces = [("latency  ", "muted"), (title, "strong"), ("    ", "")]
    for name, tone in reversed(LINES):
        pieces += [("━ ", tone), (name, "muted"), ("  ", "")]
    return pieces


def lines_of(points: Sequence[MetricPoint]) -> list[Series]:
    """The percentiles as lines of the chart."""
    values = {
        "p50": [point.p50_ms for point in points],
        "p95": [point.p95_ms for point in points],
        "p99": [point.p99_ms for point in points],
    }
    return [Series(name, values[name], tone) for name, tone in LINES]


def times_of(points: Sequence[MetricPoint], now_ms: int, window: Window) -> list[str]:
    """Local times under the chart, from the first step to now; dates from two days on."""
    if not points:
        return []
    start = points[0].start_ms
    form = "%H:%M" if window.seconds <= 86_400 else "%m-%d"
    step = (now_ms - start) / _TIMES
    return [
        datetime.fromtimestamp((start + step * index) / 1000).strftime(form) for index in range(_TIMES)
    ] + ["now"]


def resampled(values: Sequence[float], width: int) -> list[float | None]:
    """Values as sums on `width` steps; fewer values than steps stay as they are."""
    if len(values) <= width or width <= 0:
        return list(values)
    sums: list[float | None] = [None] * width
    for index, value in enumerate(values):
        place = index * width // len(values)
        sums[place] = (sums[place] or 0.0) + value
    return sums


def volume_words(points: Sequence[MetricPoint], width: int) -> Pieces:
    """Requests and errors over the window as two small lines."""
    requests = [float(point.count) for point in points]
    errors = [float(point.errors) for point in points]
    room = max(8, (width - 44) // 2)
    return [
        ("requests  ", "muted"),
        (present.sparkline(resampled(requests, room), room), "info"),
        (f" {present.count(sum(requests)):>9}", ""),
        ("     errors  ", "muted"),
        (present.sparkline(resampled(errors, room), room), "bad" if sum(errors) else "muted"),
        (f" {present.count(sum(errors)):>7}", ""),
    ]
