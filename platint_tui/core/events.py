"""Events: what arrived, where it goes, and what became of it. Times are UTC epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from platint_tui.core.model import NewDeadLetter, Op
from platint_tui.core.webhooks import Step

PRIMARY, FALLBACK = "primary", "fallback"
"""Where a delivery is sent: to the integration's target, or to its fallback."""


WEBHOOK, FETCHED = "webhook", "fetched"
"""How an event came: sent by its platform, or taken from the platform's list over the account's API."""


class SourceState(StrEnum):
    """What is done with the webhooks of a profile: taken and delivered, taken and kept, or refused."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class EventState(StrEnum):
    """States of an event: stored, given to the integrations that want it, wanted by none, or a handshake."""

    NEW = "new"
    ROUTED = "routed"
    UNWANTED = "unwanted"
    HANDSHAKE = "handshake"


class DeliveryState(StrEnum):
    """States of an event on its way to one integration's target.

    `fallback`: it lies in the fallback target and is to be brought to the first one. `dead`: a dead letter has it.
    `skipped`: no record of a stream of the integration, with the reason in its message.
    """

    PENDING = "pending"
    SENDING = "sending"
    DONE = "done"
    FALLBACK = "fallback"
    DEAD = "dead"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"


WAITING_DELIVERIES = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.FALLBACK)
"""The states of a delivery that has not ended."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as the receiver hands it to the store.

    `event_id` is what the source calls it (the hash of the body where it has no name), `order_key` the object that
    it is about ("" when events are not ordered). `body` is the exact part of the request's body, `headers` those
    that are kept. `part` is its place in a request with several events, None for one that is one. `varies` are
    the members of its JSON, as paths, that differ from one delivery of the event to the next.
    """

    profile: str
    platform: str
    event_id: str
    type: str
    order_key: str
    occurred_ms: int | None
    received_ms: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    verified_by: str = ""
    part: int | None = None
    origin: str = "webhook"
    state: EventState = EventState.NEW
    varies: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event. `number` orders by arrival; `seen` counts how often the source sent it.

    `origin` is webhook, fetched (from the vendor's list) or redelivered.
    """

    id: str
    number: int
    profile: str
    platform: str
    event_id: str
    type: str
    order_key: str
    occurred_ms: int | None
    received_ms: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    size: int
    verified_by: str
    origin: str
    state: EventState
    seen: int
    last_seen_ms: int
    intact: bool = True
    """False when it is not what was stored: the disk changed it."""


class IngestOutcome(StrEnum):
    """What storing an event came to: it is new, it was here already, or its id was here with other bytes."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Ingested:
    """An event that is on the disk, with the id under which it is stored."""

    outcome: IngestOutcome
    event_id: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that was refused, kept to be looked at. `times` counts equal ones that came soon after it."""

    number: int
    profile: str
    cause: str
    message: str
    received_ms: int
    last_ms: int
    times: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one stream of one integration. `next_ms` is when it is tried next.

    `place` is where it is being sent: primary or fallback; `fallback_ms` is since when it lies in the fallback
    target, `waited_ms` the sum of its waits between attempts, `dead_letter` the dead letter that has it, `version`
    the integration's when it was made. `partial`: the event has some fields of the record, and the whole record is
    to be fetched.
    """

    number: int
    event: str
    integration: str
    stream: str
    record_key: str
    state: DeliveryState
    attempts: int
    idempotency_key: str
    next_ms: int
    created_ms: int
    ended_ms: int | None
    code: str = ""
    message: str = ""
    event_number: int = 0
    profile: str = ""
    occurred_ms: int | None = None
    received_ms: int = 0
    version: int = 0
    place: str = PRIMARY
    waited_ms: int = 0
    fallback_ms: int | None = None
    dead_letter: str | None = None
    op: Op = Op.UPSERT
    partial: bool = False


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """What an event is to one stream of one integration: `raw` is the exact text of the record, or with `partial`
    of some fields of it, by which the whole record is fetched.

    One that cannot be delivered has the state skipped with the reason in `message`, or dead with its dead letter
    (whose origin is filled in where it is stored).
    """

    integration: str
    version: int
    stream: str
    record_key: str
    idempotency_key: str
    raw: bytes
    op: Op = Op.UPSERT
    partial: bool = False
    state: DeliveryState = DeliveryState.PENDING
    code: str = ""
    message: str = ""
    letter: NewDeadLetter | None = None


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What became of a delivery that was claimed.

    `state` pending means once more at `next_ms`, after a wait of `waited_ms`; `tried` is False when nothing was
    sent, so that no attempt counts. `place` is where it goes next. With state dead, `letter` is what is kept of
    it. `alert` is the sentence for whoever is to be told, "" for nobody.
    """

    number: int
    state: DeliveryState
    code: str = ""
    message: str = ""
    tried: bool = True
    next_ms: int = 0
    waited_ms: int = 0
    place: str = PRIMARY
    letter: NewDeadLetter | None = None
    alert: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is delivered for a stream of an integration at present; it is tried again at `until_ms`."""

    integration: str
    stream: str
    code: str
    message: str
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """The circuit breaker of a target: closed, open (nothing is sent until `until_ms`) or half_open (one try)."""

    profile: str
    state: str
    failures: int
    changed_ms: int
    until_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What asks for somebody's attention; `times` counts how often it came until it was acknowledged."""

    number: int
    at_ms: int
    severity: str
    subject: str
    text: str
    times: int
    last_ms: int
    acknowledged_ms: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """The webhooks of one profile: state, since when, and what came."""

    profile: str
    state: SourceState
    changed_ms: int
    events: int = 0
    rejected: int = 0
    last_ms: int | None = None
