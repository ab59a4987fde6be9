"""Latencies of every request, gathered in memory per minute and saved to the store every second."""

from __future__ import annotations

from dataclasses import dataclass, field

from platint_tui.core.clock import Clock
from platint_tui.core.histogram import Histogram
from platint_tui.store.ports import LAG, MetricRow, Metrics

_MINUTE_MS = 60_000


@dataclass(slots=True)
class _Cell:
    histogram: Histogram = field(default_factory=Histogram)
    errors: int = 0
    dirty: bool = True


class TelemetryHub:
    """All latencies that one worker saw. A minute's row is replaced as the minute goes on, so that saving
    twice counts once."""

    def __init__(self, worker: str, metrics: Metrics, clock: Clock) -> None:
        self._worker = worker
        self._metrics = metrics
        self._clock = clock
        self._cells: dict[tuple[int, str, str, str], _Cell] = {}

    def of(self, platform: str, profile: str) -> ProfileTelemetry:
        """Where the driver of `profile` reports."""
        return ProfileTelemetry(self, platform, profile)

    def observe(self, platform: str, profile: str, operation: str, seconds: float, ok: bool) -> None:
        """Count one request."""
        minute = self._clock.now_ms() // _MINUTE_MS * _MINUTE_MS
        key = (minute, platform, profile, operation)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        cell.histogram.add(seconds)
        cell.errors += not ok
        cell.dirty = True

    def lag(self, platform: str, profile: str, sync: str, seconds: float) -> None:
        """A record of `sync` was stored `seconds` after it came about at the platform."""
        self.observe(platform, profile, LAG + sync, seconds, True)

    async def flush(self) -> None:
        """Save what changed since the last time; minutes that are over are forgotten. Raises StoreError."""
        changed = [(key, cell) for key, cell in self._cells.items() if cell.dirty]
        if changed:
            rows = [
                MetricRow(
                    minute_ms=key[0],
                    platform=key[1],
                    profile=key[2],
                    operation=key[3],
                    count=cell.histogram.count,
                    errors=cell.errors,
                    histogram=cell.histogram.to_bytes(),
                )
                for key, cell in changed
            ]
            for _, cell in changed:
                cell.dirty = False
            try:
                await self._metrics.save(self._worker, rows)
            except BaseException:
                for _, cell in changed:
                    cell.dirty = True
                raise
        # A clock that was set back can bring a minute again: it is kept until it lies well behind.
        old = self._clock.now_ms() - 2 * _MINUTE_MS
        for key in [key for key, cell in self._cells.items() if key[0] < old and not cell.dirty]:
            del self._cells[key]


@dataclass(frozen=True, slots=True)
class ProfileTelemetry:
    """core.ports.Telemetry of one profile."""

    hub: TelemetryHub
    platform: str
    profile: str

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """One request of `operation` took `seconds`; `ok` is false for an error answer or none."""
        self.hub.observe(self.platform, self.profile, operation, seconds, ok)
