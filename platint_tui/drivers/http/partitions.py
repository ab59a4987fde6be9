"""Positions of streams that are read once for each record of a parent: one scan a partition.

Up to 1,000 partitions each keeps its own position; with more, all share one, the lowest of their greatest
values, so that nothing is skipped and some records are read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from platint_tui.core.errors import SystemicError
from platint_tui.core.model import Json, JsonObject
from platint_tui.drivers.http.positions import MAX_PARTITIONS, CursorRule, Scan, check_cursor, named_cursor

PARTITION_EDGE = 20
_COMMON = ("v", "kind", "cursor", "page")
"""What the position of one partition does not repeat."""


@dataclass(slots=True)
class Partitions:
    """All partitions of one stream. `current` is where a scan of the stream goes on, with `page` inside it.

    `page` None: that partition is finished and the scan goes on after it.
    """

    rule: CursorRule | None
    known: dict[str, JsonObject] = field(default_factory=dict)
    done: dict[str, None] = field(default_factory=dict)
    current: str | None = None
    page: JsonObject | None = None
    shared: bool = False
    since: Json = None
    low: Json = None
    top: Json = None
    """The greatest value that any partition has shown, once all share one position."""

    @classmethod
    def load(cls, rule: CursorRule | None, document: JsonObject | None) -> Partitions:
        """Continue from a stored document. Raises SystemicError (code `position`)."""
        if document is None:
            return cls(rule)
        check_cursor(rule, document)
        try:
            if document.get("kind") != "partition" or document.get("v") != 1:
                raise ValueError("kind")
            return cls(
                rule,
                dict(document["partitions"]),
                dict.fromkeys(document.get("done") or ()),
                document.get("current"),
                document.get("page"),
                bool(document.get("shared")),
                document.get("since"),
                document.get("low"),
                document.get("top", document.get("since")),
            )
        except (KeyError, ValueError, TypeError, AttributeError):
            raise SystemicError(
                "The stored position is not one of this connector's.",
                hint="Reset the position of this stream to read it from the beginning.",
                code="position",
            ) from None

    def document(self) -> dict[str, Any]:
        """The state as it is stored."""
        result: dict[str, Any] = {
            "v": 1,
            "kind": "partition",
            **named_cursor(self.rule),
            "partitions": dict(self.known),
            "current": self.current,
            "page": self.page,
        }
        if self.done:
            result["done"] = list(self.done)
        if self.shared:
            result.update(shared=True, since=self.since, low=self.low, top=self.top)
        return result

    def scan(self, key: str) -> Scan:
        """The scan of one partition: the one that was interrupted, or a new one."""
        if key == self.current and self.page is not None:
            scan = Scan.load(self.rule, self.page)
        elif self.shared:
            scan = Scan(self.rule, since=self.since)
        else:
            scan = Scan.load(self.rule, self.known.get(key))
        scan.max_edge = 0 if self.shared else PARTITION_EDGE
        return scan

    def inside(self, key: str, scan: Scan) -> None:
        """A page of `key` was read and more follow."""
        self.current, self.page = key, scan.document()

    def complete(self, key: str, scan: Scan) -> None:
        """The last page of `key` was read; `scan` is finished."""
        self.current, self.page = key, None
        if self.shared:
            self._lower(scan.high)
            return
        self.known[key] = {name: value for name, value in scan.document().items() if name not in _COMMON}
        self.done[key] = None
        if len(self.known) > MAX_PARTITIONS:
            self.shared = True
            for item in self.known.values():
                self._lower(item["high"])
            self.known, self.done = {}, {}

    def _lower(self, high: Json) -> None:
        """Take in what a partition has shown, in the order of reading.

        One without a record was empty up to what others had shown by then, and not up to what they show later.
        """
        high = self.top if high is None else high
        if high is None or self.rule is None:
            return
        if self.top is None or self.rule.comparable(high) > self.rule.comparable(self.top):
            self.top = high
        if self.low is None or self.rule.comparable(high) < self.rule.comparable(self.low):
            self.low = high

    def finish(self, *, complete: bool = True) -> None:
        """Every partition was read. Positions of parents that are gone are forgotten.

        Not `complete`: a parent could not be read, so a shared position stays where that one is.
        """
        self.current = self.page = None
        if self.shared:
            self.since = self.low if self.low is not None and complete else self.since
            self.low = None
        else:
            self.known = {key: value for key, value in self.known.items() if key in self.done}
        self.done = {}
