"""The nouns of the program as frozen dataclasses. Times are UTC epoch milliseconds, latencies seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from platint_tui.core.errors import ErrorClass
from platint_tui.core.states import DeadLetterState, IssueState, RunState

Json: TypeAlias = Any
JsonObject: TypeAlias = Mapping[str, Any]


class Environment(StrEnum):
    """What a profile's account is for; production asks for more care before a write."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"
    DEVELOPMENT = "development"


@dataclass(frozen=True, slots=True)
class Profile:
    """One configured account on one platform. `secrets` holds references, never values.

    A reference is `keyring:NAME`, `vault:NAME`, `env:VARIABLE` or `file:/path`.
    `origins` are the scheme://host:port that the credential was entered for.
    """

    name: str
    platform: str
    environment: Environment
    fields: Mapping[str, str]
    secrets: Mapping[str, str]
    origins: tuple[str, ...] = ()
    created_ms: int = 0
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class Capability:
    """The outcome of one probe of an account: `ok`, or the sentence that says why not and whose fault it is.
    `tried` is False for one that was not sent because an earlier one failed.
    """

    id: str
    ok: bool
    optional: bool
    detail: str
    latency_ms: float | None = None
    error_class: str = ""
    tried: bool = True


@dataclass(frozen=True, slots=True)
class ProfileCheck:
    """The last test of a profile."""

    profile: str
    checked_ms: int
    ok: bool
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a stream. `type` is string, integer, number, boolean, timestamp, object, array or any."""

    name: str
    type: str
    required: bool = False
    max_length: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A collection of records that an account offers.

    `cursors` are the fields that could say how new a record is, the one in use first. `needs` are the
    permissions that reading takes, `refused` is why this account may not read it ("" when it may, or when that
    is not known). `incomplete`: it stands for streams that could not all be listed (`items.*`).
    """

    name: str
    key: tuple[str, ...]
    cursor: str | None
    fields: tuple[Field, ...]
    readable: bool = True
    writable: bool = False
    estimate: int | None = None
    parent: str | None = None
    notes: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    refused: str = ""
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What discovery found for one profile."""

    profile: str
    platform: str
    manifest_version: str
    discovered_ms: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class CatalogueChange:
    """One difference between two catalogues; `breaking` ones may stop a sync, `minor` ones concern no data.

    `used_by` are the integrations that use what changed.
    """

    kind: str
    stream: str
    field: str
    breaking: bool
    detail: str
    minor: bool = False
    used_by: tuple[str, ...] = ()

    @property
    def grade(self) -> str:
        """breaking, additive or informational."""
        return "breaking" if self.breaking else "informational" if self.minor else "additive"


# --- records on their way -------------------------------------------------------------------------------


class Record(NamedTuple):
    """One record as read: the exact JSON text of the platform, and the same text decoded."""

    raw: str
    value: dict[str, Any]


class BadElement(NamedTuple):
    """An element of a page that is no record (not an object, not decodable): its text and the reason."""

    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """What one read step brings. `position` is where reading continues after this page.

    `last` says that the scan is finished; the position then starts the next, incremental scan.
    """

    records: Sequence[Record]
    position: JsonObject
    last: bool
    requests: int = 1
    bytes: int = 0
    bad: Sequence[BadElement] = ()


class Row(NamedTuple):
    """One record on its way to a target.

    `key` is the canonical JSON array of the key values, `raw` the source's exact text, `value` what is written
    (after mapping), `version` the record's cursor value (None without one), `idempotency_key` stays the same
    for every attempt to write this record from this position.
    """

    key: str
    raw: str
    value: dict[str, Any]
    version: Any
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record failed. `request` and `response` are what was sent and answered, secrets masked."""

    error_class: ErrorClass
    code: str
    message: str
    field: str = ""
    hint: str = ""
    request: JsonObject | None = None
    response: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a target needs to know before rows of one stream arrive.

    `operation` is the write that the integration asks for (create, upsert, update, delete), '' for the usual
    one.
    """

    sync: str
    stream: str
    target: str
    key: tuple[str, ...]
    cursor: str | None
    fields: tuple[Field, ...]
    epoch: int
    run: str
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A position that a transactional target holds beside its rows: the `seq`-th page of this sync."""

    seq: int
    position: JsonObject


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one or a few pages, written together with the position after them.

    A replay carries `confirmed=None`: rows only, the position stays.
    """

    rows: Sequence[Row]
    confirmed: Confirmed | None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """`written` and `superseded` (the target holds a newer version) count rows; `faults` are (row index, why)."""

    written: int
    superseded: int
    faults: Sequence[tuple[int, Fault]]
    responses: Mapping[int, JsonObject] = field(default_factory=dict)


# --- integrations, runs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamMapping:
    """How one source stream goes to the target: table or resource, key, chosen and renamed fields, and which
    write of the target is used ('' for the usual one).
    """

    stream: str
    target: str
    key: tuple[str, ...]
    select: tuple[str, ...] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Integration:
    """A checked integration file. A sync is one of its streams; its id is `integration/stream`."""

    name: str
    integration_type: str
    source_profile: str
    source_platform: str
    target_profile: str
    target_platform: str
    sync_direction: str
    sync_frequency: str
    error_strategy: str
    monitoring: bool
    streams: tuple[StreamMapping, ...]
    version: int = 1
    text: str = ""


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """One stream of a run: what is committed, never what was only read."""

    run: str
    stream: str
    state: RunState
    read: int
    written: int
    dead_lettered: int
    superseded: int
    pages: int
    requests: int
    bytes: int
    total: int | None
    started_ms: int | None
    ended_ms: int | None
    error_class: str = ""
    error_code: str = ""
    error: str = ""
    resume_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of an integration. `epoch` fences: only the engine that holds it may write."""

    id: str
    number: int
    integration: str
    version: int
    trigger: str
    state: RunState
    epoch: int
    worker: str | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    cancel_requested: bool
    streams: tuple[StreamProgress, ...]
    wanted: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class SyncState:
    """Where one sync stands: the mirrored, confirmed position and the page count that it belongs to."""

    integration: str
    stream: str
    seq: int
    confirmed: JsonObject | None
    read: JsonObject | None
    run: str | None
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What a committed page adds to its stream's progress."""

    read: int = 0
    written: int = 0
    dead_lettered: int = 0
    superseded: int = 0
    pages: int = 0
    requests: int = 0
    bytes: int = 0


# --- dead letters ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewDeadLetter:
    """A failed record as the engine hands it to the store. `payload` is the raw bytes of the record."""

    profile: str
    platform: str
    integration: str
    stream: str
    run: str
    manifest_version: str
    record_key: str
    payload: bytes
    content_hash: str
    idempotency_key: str
    fingerprint: str
    fault: Fault
    direction: str = "record"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that failed for good, kept whole with its cause. `number` orders by arrival."""

    id: str
    number: int
    direction: str
    profile: str
    platform: str
    integration: str
    stream: str
    run: str
    manifest_version: str
    record_key: str
    payload: bytes
    content_hash: str
    idempotency_key: str
    fingerprint: str
    error_class: ErrorClass
    code: str
    message: str
    field: str
    hint: str
    state: DeadLetterState
    parent: str | None
    occurrences: int
    attempts: int
    first_seen_ms: int
    last_seen_ms: int
    size: int
    request: JsonObject | None
    response: JsonObject | None


@dataclass(frozen=True, slots=True)
class Issue:
    """The dead letters of one fingerprint."""

    fingerprint: str
    state: IssueState
    platform: str
    profile: str
    integration: str
    stream: str
    error_class: ErrorClass
    code: str
    field: str
    message: str
    hint: str
    open: int
    total: int
    first_seen_ms: int
    last_seen_ms: int


class Trigger(StrEnum):
    """What caused an attempt to deliver."""

    INITIAL = "initial"
    AUTOMATIC = "automatic"
    MANUAL = "manual"
    BULK = "bulk"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver a dead letter. `outcome` is sending, succeeded, failed, unknown or superseded."""

    dead_letter: str
    number: int
    trigger: Trigger
    job: str | None
    idempotency_key: str
    outcome: str
    started_ms: int
    ended_ms: int | None
    code: str = ""
    message: str = ""
    request: JsonObject | None = None
    response: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """A replay that an operator asked for. Counts are of its items."""

    id: str
    state: str
    trigger: Trigger
    created_ms: int
    ended_ms: int | None
    total: int
    succeeded: int
    failed: int
    unknown: int
    superseded: int
    pending: int
    error: str = ""


# --- commands, workers, metrics -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator wants, as a row: who, what, when, and how it ended (`state`: pending, done, failed)."""

    id: str
    kind: str
    args: JsonObject
    actor: str
    created_ms: int
    state: str
    result: JsonObject | None
    error: JsonObject | None
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A process at work on this store: kind is `engine` or `console`."""

    id: str
    kind: str
    host: str
    pid: int
    version: str
    started_ms: int
    heartbeat_ms: int


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Requests of one platform and operation over a window. Latencies in milliseconds, rates in 0..1."""

    platform: str
    operation: str
    count: int
    errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One step of a time series."""

    start_ms: int
    count: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
