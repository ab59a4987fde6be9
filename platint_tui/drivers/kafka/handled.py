"""Which messages of a dead-letter topic are dealt with. A topic gives a message until its retention has passed, so
that is remembered beside it: as the committed offset of a consumer group of ours (everything before it is dealt
with), and behind it in the metadata of the commit as ranges.

So every console of a cluster sees the same, and the group's lag, as any Kafka tool shows it, is what is open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from platint_tui.drivers.kafka.offsets import Committed

MOST_METADATA = 3_500
"""Bytes of metadata that every broker takes (offset.metadata.max.bytes is 4,096)."""
_FORM = "platint:"
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Handled:
    """What is dealt with in one partition: everything before `below`, and the ranges (first, last) behind it."""

    below: int = 0
    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, offset: int) -> bool:
        return offset < self.below or any(first <= offset <= last for first, last in self.ranges)

    def open(self, begin: int, end: int) -> int:
        """How many offsets from `begin` to before `end` are not dealt with."""
        start = max(begin, self.below)
        behind = sum(max(0, min(last, end - 1) - max(first, start) + 1) for first, last in self.ranges)
        return max(0, end - start) - behind

    def adding(self, offset: int, begin: int) -> Handled:
        """With one more. What lies before `begin` is not there any more, and needs not be remembered."""
        return _joined([*self.ranges, (offset, offset)], max(self.below, begin))

    def commit(self) -> Committed | None:
        """As it is committed; None when there are more ranges than fit."""
        text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)
        return None if len(text) > MOST_METADATA else Committed(self.below, _FORM + text if text else "")


def of_commit(committed: Committed | None) -> Handled:
    """What a commit says; one that is not ours says how far its group is."""
    if committed is None:
        return Handled()
    text = committed.metadata
    ranges = _RANGE.findall(text.removeprefix(_FORM)) if text.startswith(_FORM) else []
    return _joined([(int(first), int(last or first)) for first, last in ranges], committed.offset)


def _joined(ranges: Iterable[tuple[int, int]], below: int) -> Handled:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if last < below:
            continue
        if first <= below:
            below = last + 1
        elif joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return Handled(below, tuple(joined))
