"""Latency, error rate and throughput over a window."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.model import LatencySummary, MetricPoint
from platint_tui.services.workspace import Workspace

_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Headline:
    """All requests of a window as one line. `throughput` is committed records per second of running time,
    `webhook_success_rate` is None as long as no webhook was received."""

    api_latency_p50_ms: float | None
    api_latency_p95_ms: float | None
    api_latency_p99_ms: float | None
    error_rate: float
    requests: int
    sync_throughput: float | None
    webhook_success_rate: float | None


async def summary(
    workspace: Workspace, window_s: float, *, by_operation: bool = True
) -> list[LatencySummary]:
    """Per platform (and operation) over the last `window_s` seconds."""
    since = workspace.clock.now_ms() - int(window_s * 1000)
    return list(await workspace.store.metrics.summary(since, by_operation=by_operation))


async def lags(workspace: Workspace, window_s: float) -> dict[str, LatencySummary]:
    """Per sync (`integration/stream`): how old records were when they were stored, in the last `window_s` seconds."""
    since = workspace.clock.now_ms() - int(window_s * 1000)
    return dict(await workspace.store.metrics.lags(since))


async def series(
    workspace: Workspace, window_s: float, *, points: int = 60, platform: str = ""
) -> list[MetricPoint]:
    """A time series of about `points` steps (of whole minutes) over the window."""
    step = max(_MINUTE, int(window_s * 1000 / points) // _MINUTE * _MINUTE)
    since = workspace.clock.now_ms() - int(window_s * 1000)
    return list(await workspace.store.metrics.series(since, step, platform=platform))


async def headline(workspace: Workspace, window_s: float) -> Headline:
    """The window in one line, from merged histograms and the runs in it."""
    since = workspace.clock.now_ms() - int(window_s * 1000)
    whole = await workspace.store.metrics.total(since)
    written = 0
    spans: list[tuple[int, int]] = []
    for run in await workspace.store.runs.list(limit=200):
        for stream in run.streams:
            if stream.started_ms is None or (stream.ended_ms or workspace.clock.now_ms()) < since:
                continue
            written += stream.written
            spans.append((stream.started_ms, stream.ended_ms or workspace.clock.now_ms()))
    busy = _covered_ms(spans)
    return Headline(
        api_latency_p50_ms=whole.p50_ms,
        api_latency_p95_ms=whole.p95_ms,
        api_latency_p99_ms=whole.p99_ms,
        error_rate=whole.error_rate,
        requests=whole.count,
        sync_throughput=written / busy * 1000 if busy else None,
        webhook_success_rate=None,
    )


def _covered_ms(spans: list[tuple[int, int]]) -> int:
    """Milliseconds covered by at least one of the spans."""
    total, end = 0, 0
    for start, stop in sorted(spans):
        if stop > end:
            total += stop - max(start, end)
            end = stop
    return total
