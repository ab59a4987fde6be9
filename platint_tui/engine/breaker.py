"""Stops what drains everything into the inbox: when most records fail, it is no record's fault.

It looks at the last records alone, so that an outage after a long good time is noticed as soon as one at the
beginning.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from platint_tui.core.errors import ErrorClass, SystemicError, joined
from platint_tui.core.model import Fault

WINDOW = 1000
"""Records that are looked back at; a batch counts as a whole."""
AT_LEAST = 200
"""Records before anything is concluded."""
AT_LEAST_SYSTEMIC = 50
"""Fewer tell enough where no record is at fault."""
PROBE = 20
"""Records of a new try after a stop that tell enough."""
ALIKE = 0.5
"""More than this share of the records failed for one reason, or for reasons that are no record's fault."""
ANY = 0.9
"""At least this share failed, for whatever reasons."""


@dataclass(frozen=True, slots=True)
class _Batch:
    read: int
    failed: Counter[str]
    systemic: int


class FaultBreaker:
    """Counts the records of one stream, or the deliveries to one, and their failures by fingerprint.

    `then` and `next` are said of a stop: what it came to, and what is to be done.
    """

    def __init__(
        self,
        then: str = "the stream was stopped",
        next: str = "Repair the cause, then run it again; the inbox keeps the failed.",
    ) -> None:
        self._then, self._next = then, next
        self._probing = False
        self._begin()

    def _begin(self) -> None:
        self._batches: deque[_Batch] = deque()
        self._read = 0
        self._failed: Counter[str] = Counter()
        self._systemic = 0
        self._all = True
        self._sample: dict[str, Fault] = {}

    def count(self, read: int, faults: Iterable[tuple[str, Fault]]) -> None:
        """Add records that are settled, and (fingerprint, fault) of each that failed."""
        failed: Counter[str] = Counter()
        systemic = 0
        for name, fault in faults:
            failed[name] += 1
            systemic += fault.error_class is not ErrorClass.RECORD
            self._sample.setdefault(name, fault)
        if not read and not failed:
            return
        batch = _Batch(read, failed, systemic)
        self._batches.append(batch)
        self._read += read
        self._failed += failed
        self._systemic += systemic
        self._probing = self._probing and self._read < AT_LEAST
        while self._read - self._batches[0].read >= WINDOW:
            self._forget(self._batches.popleft())

    def _forget(self, batch: _Batch) -> None:
        self._all = False
        self._read -= batch.read
        self._failed -= batch.failed
        self._systemic -= batch.systemic
        for name in batch.failed:
            if name not in self._failed:
                self._sample.pop(name, None)

    def stop(self) -> SystemicError | None:
        """Why to stop, None to go on.

        The next records are a new try then: they are judged alone, and a few of them are enough to stop again.
        """
        error = self._verdict()
        if error is not None:
            self._begin()
            self._probing = True
        return error

    def check(self) -> None:
        """Raise SystemicError (code `too_many_dead_letters`) when most records fail."""
        error = self.stop()
        if error is not None:
            raise error

    def _verdict(self) -> SystemicError | None:
        if not self._failed:
            return None
        number = self._failed.total()
        (name, alike), *_ = self._failed.most_common(1)
        fault = self._sample[name]
        most = f"{fault.code}: {fault.message.rstrip('.')}"
        if self._read >= self._enough(AT_LEAST) and alike > self._read * ALIKE:
            return self._error(alike, f"for one reason ({most})", fault)
        if self._read >= self._enough(AT_LEAST_SYSTEMIC) and self._systemic > self._read * ALIKE:
            return self._error(self._systemic, f"through no fault of theirs (most of them {most})", fault)
        if self._read >= self._enough(AT_LEAST) and number >= self._read * ANY:
            return self._error(number, f"for {len(self._failed)} reasons (most often {most})", fault)
        return None

    def _enough(self, usual: int) -> int:
        return PROBE if self._probing else usual

    def _error(self, number: int, reasons: str, fault: Fault) -> SystemicError:
        of = f"{self._read}" if self._all else f"the last {self._read}"
        return SystemicError(
            f"{number} of {of} records failed {reasons}, so {self._then}.",
            code="too_many_dead_letters",
            hint=joined(fault.hint, self._next),
        )
