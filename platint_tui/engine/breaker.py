"""Stops a stream of which most records fail for one reason: that is no record's fault."""

from __future__ import annotations

from collections import Counter

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import Fault

AT_LEAST = 200
SHARE = 0.5


class FaultBreaker:
    """Counts the records of one stream in one run and their failures by fingerprint."""

    def __init__(self) -> None:
        self._read = 0
        self._failed: Counter[str] = Counter()
        self._sample: dict[str, Fault] = {}

    def count(self, read: int, faults: list[tuple[str, Fault]]) -> None:
        """Add a committed batch: records read, and (fingerprint, fault) of each that failed."""
        self._read += read
        for name, fault in faults:
            self._failed[name] += 1
            self._sample.setdefault(name, fault)

    def check(self) -> None:
        """Raise SystemicError when most records fail alike."""
        if self._read < AT_LEAST or not self._failed:
            return
        name, number = self._failed.most_common(1)[0]
        if number > self._read * SHARE:
            fault = self._sample[name]
            raise SystemicError(
                f"{number} of {self._read} records failed for one reason ({fault.code}: {fault.message}), "
                "so the stream was stopped.",
                code="too_many_dead_letters",
                hint=f"{fault.hint} Repair the cause, then run it again; the inbox keeps the failed.".strip(),
            )
