# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Latency histograms per minute, rolled up to hours and days as they age."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from platint_tui.core.histogram import Histogram
from platint_tui.core.model import LatencySummary, MetricPoint
from platint_tui.store.noun import Noun
from platint_tui.store.ports import LAG, MetricRow

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MINUTES_KEPT_MS = 48 * HOUR_MS
HOURS_KEPT_MS = 30 * DAY_MS
DAYS_KEPT_MS = 730 * DAY_MS
_MOST_POINTS = 10_000

_SAVE = (
    "INSERT INTO metrics (span_ms, start_ms, platform, profile, operation, worker, count, errors, histogram)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (span_ms, start_ms, platform, profile, operation, worker) DO UPDATE SET"
    " count = excluded.count, errors = excluded.errors, histogram = excluded.histogram"
)
# A row belongs to a window when its span reaches into it.
_WINDOW = "span_ms = ? AND start_ms > ?"


class Metrics(Noun):
    """ports.Metrics in SQLite."""

    async def save(self, worker: str, rows: Sequence[MetricRow]) -> None:
        """Insert or replace this worker's rows of those minutes."""
        values = [
            (
                MINUTE_MS,
                row.minute_ms,
                row.platform,
                row.profile,
                row.operation,
                worker,
                row.count,
                row.errors,
                row.histogram,
            )
            for row in rows
        ]

        def task(connection: sqlite3.Connection) -> None:
            connection.executemany(_SAVE, values)

        if values:
            await self._database.write(task, durable=False)

    async def summary(self, since_ms: int, *, by_operation: bool = True) -> Sequence[LatencySummary]:
        """Per platform (and operation), from merged histograms, in that order."""
        groups: dict[tuple[str, str], _Sum] = {}
        for row in await self._rows(since_ms):
            key = (row["platform"], row["operation"] if by_operation else "")
            groups.setdefault(key, _Sum()).add(row)
        return [_summary(*key, groups[key]) for key in sorted(groups)]

    async def total(self, since_ms: int) -> LatencySummary:
        """Everything of the window in one summary (platform and operation are empty)."""
        whole = _Sum()
        for row in await self._rows(since_ms):
            whole.add(row)
        return _summary("", "", whole)

    async def by_profile(self, since_ms: int) -> Mapping[tuple[str, str], LatencySummary]:
        """Per (platform, profile), operations together."""
        groups: dict[tuple[str, str], _Sum] = {}
        for row in await self._rows(since_ms):
            groups.setdefault((row["platform"], row["profile"]), _Sum()).add(row)
        return {key: _summary(key[0], "", found) for key, found in groups.items()}

    async def series(self, since_ms: int, step_ms: int, *, platform: str = "") -> Sequence[MetricPoint]:
        """One point a step of `step_ms` from `since_ms` until now, those without requests included.

        Steps begin at multiples of `step_ms`; a step is made longer where there would be more than 10,000.
        """
        now = self._clock.now_ms()
        step = max(step_ms, 1, -(-(now - since_ms) // _MOST_POINTS))
        first = since_ms // step * step
        points = {start: _Sum() for start in range(first, now + 1, step)}
        for row in await self._rows(since_ms, platform):
            start = max(row["start_ms"] // step * step, first)
            points.setdefault(start, _Sum()).add(row)
        return [_point(start, points[start]) for start in sorted(points)]

    async def lags(self, since_ms: int) -> Mapping[str, LatencySummary]:
        """Per sync (`integration/stream`): how old records were when they were stored."""
        groups: dict[tuple[str, str], _Sum] = {}
        for row in await self._rows(since_ms, lags=True):
            groups.setdefault((row["platform"], row["operation"].removeprefix(LAG)), _Sum()).add(row)
        return {key[1]: _summary(*key, groups[key]) for key in sorted(groups)}

    async def _rows(self, since_ms: int, platform: str = "", *, lags: bool = False) -> list[sqlite3.Row]:
        def task(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            rows: list[sqlite3.Row] = []
            for span in (DAY_MS, HOUR_MS, MINUTE_MS):
                rows += connection.execute(
                    "SELECT start_ms, platform, profile, operation, count, errors, histogram FROM metrics"
                    f" WHERE {_WINDOW} AND (? = '' OR platform = ?)"
                    f" AND (substr(operation, 1, {len(LAG)}) = '{LAG}') = ?",
                    (span, since_ms - span, platform, platform, lags),
                )
            return rows

        return await self._database.read(task, scan=True)


class _Sum:
    """Merged rows."""

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.histogram = Histogram()

    def add(self, row: sqlite3.Row) -> None:
        self.count += row["count"]
        self.errors += row["errors"]
        self.histogram.merge(Histogram.from_bytes(row["histogram"]))

    def quantile_ms(self, q: float) -> float | None:
        seconds = self.histogram.quantile(q)
        return None if seconds is None else seconds * 1000


def _summary(platform: str, operation: str, of: _Sum) -> LatencySummary:
    return LatencySummary(
        platform=platform,
        operation=operation,
        count=of.count,
        errors=of.errors,
        error_rate=of.errors / of.count if of.count else 0.0,
        p50_ms=of.quantile_ms(0.5),
        p95_ms=of.quantile_ms(0.95),
        p99_ms=of.quantile_ms(0.99),
    )


def _point(start: int, of: _Sum) -> MetricPoint:
    return MetricPoint(
        start, of.count, of.errors, of.quantile_ms(0.5), of.quantile_ms(0.95), of.quantile_ms(0.99)
    )


def roll_up(connection: sqlite3.Connection, fine: int, coarse: int, before_ms: int) -> int:
    """Merge rows of span `fine` older than `before_ms` into rows of span `coarse`; returns how many went.

    Only whole coarse spans are touched, so that no row is counted in two.
    """
    end = before_ms // coarse * coarse
    first = connection.execute(
        "SELECT MIN(start_ms) FROM metrics WHERE span_ms = ? AND start_ms < ?", (fine, end)
    ).fetchone()[0]
    if first is None:
        return 0
    start = first // coarse * coarse
    window = (fine, start, start + coarse)
    sums: dict[tuple[str, str, str], _Sum] = {}
    rows = connection.execute(
        "SELECT platform, profile, operation, count, errors, histogram FROM metrics"
        " WHERE span_ms = ? AND start_ms >= ? AND start_ms < ?",
        window,
    ).fetchall()
    for row in rows:
        sums.setdefault((row["platform"], row["profile"], row["operation"]), _Sum()).add(row)
    _merge_into(connection, coarse, start, sums.items())
    connection.execute("DELETE FROM metrics WHERE span_ms = ? AND start_ms >= ? AND start_ms < ?", window)
    return len(rows)


def _merge_into(
    connection: sqlite3.Connection,
    span: int,
    start: int,
    sums: Iterable[tuple[tuple[str, str, str], _Sum]],
) -> None:
    for key, total in sums:
        there = connection.execute(
            "SELECT count, errors, histogram FROM metrics WHERE span_ms = ? AND start_ms = ?"
            " AND platform = ? AND profile = ? AND operation = ? AND worker = ''",
            (span, start, *key),
        ).fetchone()
        if there is not None:
            total.add(there)
        connection.execute(
            _SAVE, (span, start, *key, "", total.count, total.errors, total.histogram.to_bytes())
        )
