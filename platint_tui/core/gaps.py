"""Gaps: spans in which something may have happened that did not reach us. Times are UTC epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GapKind(StrEnum):
    """What made a gap.

    `reading`: a span of a stream that its platform could not give. The others are of webhooks: nobody listened,
    the source was disabled, its webhook was paused at the platform, or a comparison found events that are not here.
    `paused`: the source was paused here; what came was kept.
    """

    READING = "reading"
    RECEIVER_DOWN = "receiver_down"
    DISABLED = "disabled"
    PAUSED = "paused"
    WEBHOOK_PAUSED = "webhook_paused"
    MISSED = "missed"


class GapState(StrEnum):
    """States of a gap: known, being filled, filled, or left as it is by somebody's decision."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"
    ACCEPTED = "accepted"


OPEN_GAP_STATES = (GapState.OPEN, GapState.FILLING)


class MissedState(StrEnum):
    """States of a missed event: not here, asked for (the platform was told to send it again), here, or beyond
    recall with the reason in its message.
    """

    MISSING = "missing"
    ASKED = "asked"
    HERE = "here"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event as its platform's list has it.

    `event_id` is the id that the event has here, `delivery_id` what the platform calls the attempt to deliver it,
    `subscription` the platform's id of the webhook it was for. `failed`: the platform says that it was not
    delivered (None where it does not say). `body` is the event itself, None where the list does not have it, and
    `headers` those that a delivery of it would have as far as the list tells.
    """

    event_id: str
    type: str = ""
    time_ms: int | None = None
    delivery_id: str = ""
    subscription: str = ""
    failed: bool | None = None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MissedEvent:
    """An event of a gap that the platform sent, or tried to, and that was not here."""

    gap: int
    profile: str
    event_id: str
    type: str
    time_ms: int | None
    delivery_id: str
    subscription: str
    state: MissedState
    asked_ms: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A gap as it is kept: of a stream of an integration (then with the run that noticed it), or of the webhooks
    of a profile.

    `start` and `end` are positions as their source writes them, `start_ms` and `end_ms` times; an `end_ms` of None
    says that it goes on. `compared_ms` is up to when the platform's list was compared with what is here. `missing`
    counts the missed events that are not here yet, `events` all that it ever had. `note` is what the last look at
    it said.
    """

    number: int
    kind: GapKind
    state: GapState
    profile: str
    integration: str
    stream: str
    run: str
    reason: str
    start: str
    end: str
    start_ms: int | None
    end_ms: int | None
    noticed_ms: int
    compared_ms: int | None = None
    ended_ms: int | None = None
    missing: int = 0
    events: int = 0
    note: str = ""
