"""Positions: where a stream has been read to, as plain documents that the engine stores unread.

`cursor`: {"v": 1, "kind": "cursor", "cursor", "since", "high", "edge", "page"}. `cursor` names the field and type
that the values are of: those of another one mean something else. `since` is the vendor's value that the running
scan filters by, `high` the greatest one seen, `edge` the records (value, digest of the text) at
`high` or within the lag below it, `page` where the scan goes on (None: it is finished, the next scan starts
at `high`). A filter that includes its bound reads those records again; the exact same text is dropped.
While a scan goes on, `until` is the end of its filter, and with a window `from` the beginning of the running
step and `end` where the last step ends.
`partition`: {"v": 1, "kind": "partition", "cursor", "partitions": {key: {...}}, "current", "page", ...}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Json, JsonObject, Record
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.drivers.http.cursors import COMPARE, Comparable
from platint_tui.drivers.http.cursors import CursorRule as CursorRule

MAX_EDGE = 1000
MAX_PARTITIONS = 1000


def text_digest(raw: str) -> str:
    """Short name of a record's exact text."""
    return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def named_cursor(rule: CursorRule | None) -> dict[str, Json]:
    """The part of a position that says of which cursor its values are."""
    return {} if rule is None else {"cursor": [".".join(rule.path), rule.type]}


def check_cursor(rule: CursorRule | None, document: JsonObject) -> None:
    """Refuse a position of another cursor than the manifest's; an older one may not name its cursor.

    Raises SystemicError (code `position`).
    """
    stored = document.get("cursor") if isinstance(document, Mapping) else None
    present = named_cursor(rule).get("cursor")
    if stored is None or present is None or stored == present:
        return
    shown = " ".join(str(part)[:80] for part in stored) if isinstance(stored, list) else "another one"
    raise SystemicError(
        f"The stored position is of another cursor ({shown}) than the manifest's ({' '.join(present)}).",
        hint="Reset the position of this stream to read it from the beginning.",
        code="position",
    )


@dataclass(slots=True)
class Scan:
    """The running scan of one stream (or partition): what it filters by, what it has seen, what it drops."""

    rule: CursorRule | None
    since: Json = None
    high: Json = None
    edge: dict[str, Json] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    until: Json = None
    page: JsonObject | None = None
    step: Json = None
    """Where the running window begins, None without windows."""
    end: Json = None
    """Where the last window ends."""
    max_edge: int = MAX_EDGE
    passed: bool = False
    """Whether a descending scan has come to records that are older than its start."""

    @classmethod
    def load(cls, rule: CursorRule | None, document: JsonObject | None) -> Scan:
        """Continue from a stored document; without one, from the beginning.

        Raises SystemicError (code `position`) for a document that this driver did not write, or wrote for
        another cursor.
        """
        if document is None:
            return cls(rule)
        check_cursor(rule, document)
        try:
            if document.get("v", 1) != 1 or document.get("kind", "cursor") != "cursor":
                raise ValueError("version")
            edge = {str(digest): value for value, digest in document.get("edge") or ()}
            page = document.get("page")
            if page is not None:
                drop = frozenset(document.get("drop") or ())
                scan = cls(
                    rule, document["since"], document["high"], edge, drop, document.get("until"), dict(page)
                )
                scan.step, scan.end = document.get("from"), document.get("end")
            else:
                high = document["high"]
                since = document["since"] if high is None else high
                scan = cls(rule, since, high, edge, frozenset(edge))
            if rule is not None:
                for value in (scan.since, scan.high, scan.until, scan.step, scan.end, *edge.values()):
                    if value is not None:
                        rule.comparable(value)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
            raise SystemicError(
                "The stored position is not one of this connector's.",
                hint="Reset the position of this stream to read it from the beginning.",
                code="position",
            ) from None
        return scan

    def document(self) -> dict[str, Json]:
        """The scan as it is stored, to go on with `page`."""
        result: dict[str, Json] = {
            "v": 1,
            "kind": "cursor",
            **named_cursor(self.rule),
            "since": self.since,
            "high": self.high,
            "edge": [[value, digest] for digest, value in self.edge.items()],
            "page": None,
        }
        if self.page is not None:
            result["page"] = dict(self.page)
            result["drop"] = sorted(self.drop)
            for name, value in (("until", self.until), ("from", self.step), ("end", self.end)):
                if value is not None:
                    result[name] = value
        return result

    def restart(self) -> None:
        """Forget the page and scan again from the greatest value seen: for ascending scans only."""
        self.since, self.drop = self.high, frozenset(self.edge)
        self._begin()

    def anew(self) -> None:
        """Ask the running scan's query again from the greatest value seen, without the lag: what is below it
        has just been read.
        """
        self.restart()
        self.step = self.high

    def _begin(self) -> None:
        self.page = self.until = self.step = self.end = None

    def first_window(self, now_ms: int) -> None:
        """Take the first step of the window from the scan's start up to now."""
        rule = self.rule
        start = self.start()
        if rule is None or rule.window is None or start is None:
            return
        self.end = rule.after(now_ms)
        if not rule.comparable(self.end) > rule.comparable(start):
            # A clock behind the platform's, or a record of the future.
            self.end = rule.raised(start, 1)
        self.step = start
        self._reach(rule, rule.window)

    def next_window(self) -> bool:
        """Step on to the next window, which begins exactly where this one ends. False after the last."""
        rule = self.rule
        if rule is None or rule.window is None or self.end is None or self.until is None:
            return False
        if not rule.comparable(self.until) < rule.comparable(self.end):
            return False
        self.step = self.until
        self._reach(rule, rule.window)
        return True

    def _reach(self, rule: CursorRule, window: float) -> None:
        reached = rule.raised(self.step, window)
        beyond = rule.comparable(reached) > rule.comparable(self.end)
        self.until = self.end if beyond else reached

    def start(self) -> Json:
        """The value that the filter starts at: the lag before `since`, or the beginning of the running window.

        None: no filter.
        """
        if self.step is not None:
            return self.step
        if self.since is None or self.rule is None:
            return None
        return self.rule.lowered(self.since, self.rule.lag)

    def finish(self) -> None:
        """The scan is complete: the next one starts at the greatest value seen."""
        if self.high is not None:
            self.since = self.high
        self._begin()
        self.drop = frozenset()
        self.passed = False

    def take(
        self, records: Sequence[Record], of: str = "A record"
    ) -> tuple[Sequence[Record], list[BadElement]]:
        """The records of a page that are new, and those without a usable cursor that the manifest excludes.

        Moves `high` and `edge`. Raises SystemicError (code `cursor_missing`) when the manifest says `raise`; `of`
        tells a person whose record it is.
        """
        rule = self.rule
        if rule is None or not records:
            return records, []
        bad: list[BadElement] = []
        values: list[Comparable] = []
        kept: list[Record] = []
        comparable = COMPARE[rule.type]
        top: Comparable = None if self.high is None else comparable(self.high)
        path = rule.path
        single = path[0] if len(path) == 1 else None
        oldest: Comparable = None
        if not rule.server_side and self.since is not None:
            oldest = comparable(self.start())
        for record in records:
            value = record.value.get(single) if single is not None else _at(record.value, path)
            try:
                key = None if value is None else comparable(value)
            except (ValueError, TypeError, ArithmeticError):
                key = None
            if key is None:
                if rule.missing == "raise":
                    held = (
                        "it is missing"
                        if value is None
                        else f"it is {clean(REDACTOR.redact(dumps(value)))[:60]}"
                    )
                    raise SystemicError(
                        f"{of} has no usable value in its cursor field '{'.'.join(path)}' ({rule.type}): "
                        f"{held}.",
                        hint="Where such records are usual, the cursor of the manifest says `missing: include` or "
                        "`exclude`.",
                        code="cursor_missing",
                    )
                if rule.missing == "exclude":
                    bad.append(
                        BadElement(
                            record.raw, f"the cursor field '{'.'.join(path)}' is missing or unreadable"
                        )
                    )
                    continue
            elif oldest is not None and key < oldest:
                self.passed = True
                continue
            elif top is None or key > top:
                top, self.high = key, value
            values.append(key)
            kept.append(record)
        if top is not None:
            kept = self._at_edge(kept, values, top)
        return kept, bad

    def _at_edge(self, kept: list[Record], values: list[Comparable], top: Comparable) -> list[Record]:
        """Note the records at the edge and leave out the ones that the last scan has brought already."""
        rule = self.rule
        assert rule is not None
        floor = rule.comparable(rule.lowered(self.high, rule.lag)) if rule.lag else top
        if self.edge:
            self.edge = {d: v for d, v in self.edge.items() if rule.comparable(v) >= floor}
        low = self._drop_floor()
        new: list[Record] = []
        for record, key in zip(kept, values, strict=True):
            near = key is not None and key >= floor
            if not near and (low is None or key is None or key > low):
                new.append(record)
                continue
            digest = text_digest(record.raw)
            if digest not in self.drop:
                new.append(record)
            if near and len(self.edge) < self.max_edge:
                value = (
                    record.value.get(rule.path[0]) if len(rule.path) == 1 else _at(record.value, rule.path)
                )
                self.edge[digest] = value
        return new

    def _drop_floor(self) -> Comparable:
        """The value up to which records may be repeats of the last scan; None when nothing is dropped."""
        if not self.drop or self.since is None or self.rule is None:
            return None
        return self.rule.comparable(self.since)


def _at(value: Json, path: Sequence[str]) -> Json:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
