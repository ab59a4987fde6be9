"""What comes in, as rows of the dashboard: the listener, sources, gaps, what is held up, alerts. Each is a door."""

from __future__ import annotations

from dataclasses import dataclass

from platint_tui.core.events import SourceState
from platint_tui.services.inbound import Inbound, SourceView
from platint_tui.tui import glyphs, present
from platint_tui.tui.screens.events.receiverwords import listener
from platint_tui.tui.widgets.cells import Cell, Column

_ALERTS = 4
_SOURCES = 6


@dataclass(frozen=True, slots=True)
class Door:
    """One row: what it says, and the object that it leads to. `alert` is the number of an alert, 0 for none."""

    state: tuple[str, str]
    what: str
    detail: str
    tone: str
    section: str
    kind: str
    id: str
    alert: int = 0

    @property
    def key(self) -> str:
        """Names the row."""
        return f"{self.section}/{self.kind}/{self.id}/{self.alert}/{self.what}"


def columns() -> tuple[Column[Door], ...]:
    """The list: a state, what it is of, and the rest."""
    return (
        Column("", lambda row: Cell(*row.state), 13),
        Column("", lambda row: Cell(row.what), 12, grow=1, most=24),
        Column("", lambda row: Cell(row.detail, row.tone), 20, grow=5),
    )


def doors(found: Inbound, now_ms: int) -> list[Door]:
    """The rows, what is wrong before what is well; none where no webhook is expected."""
    if not found.used and not found.alerts and not found.holds:
        return []
    signs = glyphs.current()
    rows = [
        Door((f"{signs.bang} {alert.severity}", "bad" if alert.severity in ("error", "critical") else "warn"),
             alert.subject, f"{_times(alert.times)}{alert.text}", "warn", *_door_of(alert.subject, found),
             alert=alert.number)
        for alert in found.alerts[:_ALERTS]
    ]  # fmt: skip
    rows += [
        Door((f"{signs.pause} held", "warn"), f"{hold.integration}/{hold.stream}",
             f"{hold.message} Again {present.countdown(hold.until_ms, now_ms)}.", "warn",
             "syncs", "sync", hold.integration)
        for hold in found.holds
    ]  # fmt: skip
    rows += [
        Door((f"{signs.slash} breaker {item.state}", "bad"), item.profile,
             f"{item.message} {present.count(item.failures)} failures.", "warn", "profiles", "profile", item.profile)
        for item in found.health
        if item.state != "closed"
    ]  # fmt: skip
    rows += [_source(row, now_ms) for row in found.used[:_SOURCES]]
    if found.gaps:
        detail = "something may not have arrived: b there compares and fills"
        rows.append(Door((f"{signs.bang} open", "warn"), present.plural(found.gaps, "gap"), detail, "warn",
                         "events", "gaps", ""))  # fmt: skip
    return rows


def listener_words(found: Inbound, now_ms: int) -> tuple[str, str]:
    """Beside the heading: whether somebody listens."""
    pieces = listener(found.receiver, now_ms)
    return "".join(text for text, _ in pieces), pieces[0][1]


def _source(row: SourceView, now_ms: int) -> Door:
    heard = present.age(row.source.last_ms, now_ms) if row.source.last_ms is not None else "never"
    parts = [f"heard {heard}", present.plural(row.source.events, "event")]
    if row.source.rejected:
        parts.append(f"{present.count(row.source.rejected)} refused")
    if row.row.waiting:
        parts.append(f"{present.count(row.row.waiting)} waiting")
    tone = "muted"
    if row.trouble:
        parts.insert(0, row.trouble)
        tone = "bad"
    elif row.source.state is not SourceState.ACTIVE:
        tone = "warn"
    return Door(
        present.state_cell(row.source.state), row.name, " · ".join(parts), tone, "events", "source", row.name
    )


def _door_of(subject: str, found: Inbound) -> tuple[str, str, str]:
    """Where an alert leads: to the source or the integration that its subject names."""
    for row in found.sources:
        if row.name in subject.replace("/", " ").split():
            return "events", "source", row.name
    return "syncs", "sync", subject.partition("/")[0]


def _times(number: int) -> str:
    return f"{number:,}x " if number > 1 else ""
