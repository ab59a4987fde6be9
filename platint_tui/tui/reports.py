"""The action log: how everything ended that a person asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_KEPT = 500


@dataclass(frozen=True, slots=True)
class Report:
    """One line of the log."""

    at_ms: int
    text: str
    ok: bool


class ActionLog:
    """The last 500 reports, newest first."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque(maxlen=_KEPT)

    def add(self, at_ms: int, text: str, ok: bool) -> Report:
        """Keep a report and return it."""
        report = Report(at_ms, text, ok)
        self._reports.appendleft(report)
        return report

    def reports(self) -> tuple[Report, ...]:
        """All that are kept, newest first."""
        return tuple(self._reports)
