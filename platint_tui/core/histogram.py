"""Mergeable latency histograms: log-scaled buckets with a relative error of at most 1 %."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

GROWTH = 1.02
_LOG = math.log(GROWTH)
_FLOOR = 1e-6
_ENTRY = struct.Struct("<HI")


class Histogram:
    """Counts of seconds per bucket; bucket n holds values in (1 µs * 1.02^(n-1), 1 µs * 1.02^n]."""

    __slots__ = ("buckets", "count")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        """Record one value; anything below a microsecond counts as one."""
        index = max(0, math.ceil(math.log(max(seconds, _FLOOR) / _FLOOR) / _LOG))
        index = min(index, 0xFFFF)
        self.buckets[index] = self.buckets.get(index, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`."""
        for index, number in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + number
        self.count += other.count

    def quantile(self, q: float) -> float | None:
        """The value in seconds below which a share `q` (0..1) of all values lies; None when empty."""
        if not self.count:
            return None
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                return float(_FLOOR * GROWTH ** (index - 0.5))
        raise AssertionError("counts do not add up")

    def to_bytes(self) -> bytes:
        """Compact form for storage: little-endian (bucket, count) pairs."""
        return b"".join(_ENTRY.pack(index, number) for index, number in sorted(self.buckets.items()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        """Read what `to_bytes` wrote."""
        result = cls()
        for index, number in _ENTRY.iter_unpack(data):
            result.buckets[index] = number
            result.count += number
        return result

    @classmethod
    def merged(cls, blobs: Iterable[bytes]) -> Histogram:
        """One histogram of several stored ones."""
        result = cls()
        for blob in blobs:
            result.merge(cls.from_bytes(blob))
        return result
