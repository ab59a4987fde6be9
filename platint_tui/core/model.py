"""The nouns of the program as frozen dataclasses. Times are UTC epoch milliseconds, latencies seconds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from platint_tui.core.errors import ErrorClass
from platint_tui.core.replays import AS_USUAL, ReplayOptions
from platint_tui.core.states import DeadLetterState, IssueState, ReplayState, RunState

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
    """A field of a stream. `type` is string, integer, number, boolean, timestamp, object, array or any.

    `native` is the platform's own type with the family before it (`postgresql:numeric(12,2)`,
    `mongodb:objectId`), so that a target of the same family keeps it; "" where it is not known.
    """

    name: str
    type: str
    required: bool = False
    max_length: int | None = None
    description: str = ""
    native: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A collection of records that an account offers.

    `cursors` are the fields that could say how new a record is, the one in use first. `needs` are the
    permissions that reading takes, `refused` is why this account may not read it ("" when it may, or when that
    is not known). `incomplete`: it stands for streams that could not all be listed (`items.*`).
    `kind` is what the platform calls it (table, view, queue, exchange, topic, collection, service), `modes` are
    the ways in which it can be read (see `ReadOptions`), the usual one first, and `facts` are (name, value) pairs
    of its present state: depth, consumers, lag, partitions. `typed`: every column is known with its native type.
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
    kind: str = ""
    modes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    typed: bool = False


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


class Op(StrEnum):
    """What a record says about its key: it is so now, it is gone, or everything in the stream is gone."""

    UPSERT = ""
    DELETE = "delete"
    TRUNCATE = "truncate"


class Record(NamedTuple):
    """One record as read: the exact JSON text of the platform, and the same text decoded.

    With `op` delete the value holds at least the key; with truncate it is empty.
    """

    raw: str
    value: dict[str, Any]
    op: Op = Op.UPSERT


class BadElement(NamedTuple):
    """An element of a page that is no record (not an object, not decodable): its text and the reason."""

    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """What one read step brings. `position` is where reading continues after this page.

    `last` says that the scan is finished; the position then starts the next, incremental scan. `asked_ms` is a
    moment before it was asked for (0: not known).
    `happened` are times (epoch milliseconds) at which records of the page came about at the platform, for the
    lag. `gaps` are spans that the platform can no longer give. A page without records moves the position, or
    says that the source is alive.
    """

    records: Sequence[Record]
    position: JsonObject
    last: bool
    requests: int = 1
    bytes: int = 0
    bad: Sequence[BadElement] = ()
    happened: Sequence[int] = ()
    gaps: Sequence[Gap] = ()
    asked_ms: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of a stream that was not read and cannot be: from a position to a position, and why."""

    reason: str
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a stream is to be read, beyond its name and position.

    `sync` names the integration: replication slots, consumer groups and durable subscriptions are called after
    it (and the stream), so that two syncs never share one. `mode` is snapshot, cursor, cdc or consume ("" for
    the stream's usual one), `cursor` the field to read by, `key` the fields that identify a record.
    `follow`: pages come without an end, the last one never does; without it the scan ends when everything that
    was there has come. `peek`: somebody only looks: nothing is taken, acknowledged, created or moved.
    `on_lost` says what to do when the platform no longer has the position: ask (raise PositionLost),
    resnapshot, skip (go on from now, with a gap) or stop. `forms` are the kinds of `Block` that the target
    takes, `columns` the fields that are wanted (all of them without any).
    """

    sync: str = ""
    mode: str = ""
    cursor: str | None = None
    key: tuple[str, ...] = ()
    follow: bool = False
    peek: bool = False
    on_lost: str = "ask"
    forms: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()


READ_ALL = ReadOptions()
"""One scan in the usual mode."""


class Row(NamedTuple):
    """One record on its way to a target.

    `key` is the canonical JSON array of the key values, `raw` the source's exact text, `value` what is written
    (after mapping), `version` the record's cursor value (None without one), `idempotency_key` stays the same
    for every attempt to write this record from this position. With `op` delete the value holds the key fields,
    with truncate the key is "" and everything that the stream wrote is to go.
    """

    key: str
    raw: str
    value: dict[str, Any]
    version: Any
    idempotency_key: str
    op: Op = Op.UPSERT


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


class Evolution(StrEnum):
    """What is done when a record does not fit the target's shape as it is.

    `evolve` changes the shape (a new table, column, wider type), `freeze` stops the stream, `discard_value`
    leaves the value out (it stays in the record's exact text where the target keeps that), `dead_letter`
    refuses the row.
    """

    EVOLVE = "evolve"
    FREEZE = "freeze"
    DISCARD_VALUE = "discard_value"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Contract:
    """The schema contract of one stream: what may change at the target, and what happens otherwise."""

    tables: Evolution = Evolution.EVOLVE
    columns: Evolution = Evolution.EVOLVE
    types: Evolution = Evolution.DEAD_LETTER


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change that a target would make, or has made, to its shape. `statement` is how it is said there."""

    kind: str
    target: str
    field: str
    detail: str
    statement: str = ""


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a target needs to know before rows of one stream arrive.

    `operation` is the write that the integration asks for (create, upsert, update, delete), '' for the usual
    one. `in_flight` are the rows that may be out at a time where a target sends one by one, 0 for the usual number.
    `typed`: the source declares every column with its native type, so the target may be a mirror of it
    (the same columns and key) instead of a table that keeps each record's text.
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
    contract: Contract = Contract()
    typed: bool = False
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A position that a transactional target holds beside its rows: the `seq`-th page of this sync."""

    seq: int
    position: JsonObject


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one or a few pages, written together with the position after them.

    A replay carries `confirmed=None`: rows only, the position stays. `blocks` are further records, in a form
    that the target said it takes (see `Block`); then there are no rows.
    """

    rows: Sequence[Row]
    confirmed: Confirmed | None
    blocks: Sequence[Block] = ()


class Block(Sequence[Record]):
    """The records of a page in the form in which the source gave them, decoded only when somebody looks.

    `form` names the form (`pgcopy`: the body of a binary COPY; `tuples`: values in the order of `columns`).
    A target that lists the form in `takes` is given the block itself when no record needs to be changed; in
    every other case the records are read from it one by one.
    """

    form: str
    columns: tuple[str, ...]

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that the block weighs in memory, about."""


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
    write of the target is used ('' for the usual one). `mode`, `cursor` and `on_lost` are as in `ReadOptions`,
    `deletes` says whether deleted records are deleted at the target (apply) or not (ignore).
    """

    stream: str
    target: str
    key: tuple[str, ...]
    select: tuple[str, ...] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    operation: str = ""
    mode: str = ""
    cursor: str = ""
    on_lost: str = "ask"
    deletes: str = "apply"
    contract: Contract = Contract()


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
    receives: bool = False
    """Its source's webhooks feed the streams, alone (webhook_automation) or beside the reading (full)."""
    fallback_profile: str = ""
    fallback_platform: str = ""


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
    heard_ms: int | None = None
    """When its source last gave a sign of life."""


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
    op: Op = Op.UPSERT
    origin: JsonObject | None = None
    integration_version: int | None = None


NATIVE = "native"
"""The direction of a dead letter that its platform keeps in a queue of its own."""


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
    op: Op = Op.UPSERT
    origin: JsonObject | None = None
    """Where it lies at its platform, when that keeps it in a dead-letter queue of its own (direction `native`)."""
    integration_version: int | None = None
    """The version of the integration that it failed with, None when that is not known."""

    @property
    def place(self) -> str:
        """The sync that it failed in, or the profile and the queue that hold it."""
        return f"{self.integration or self.profile}/{self.stream}"

    @property
    def bin(self) -> str:
        """record: this record is at fault; systemic: the target, the credential, the network or the setting is."""
        return "record" if self.error_class is ErrorClass.RECORD else "systemic"


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
    bin: str = "record"
    """record (its records are at fault) or systemic (the target, the credential, the network is)."""
    note: str = ""
    ignored_until_ms: int | None = None
    ignored_until_total: int | None = None
    hours: tuple[int, ...] = ()
    """Failures in each of the last 24 hours, the present one last."""

    @property
    def place(self) -> str:
        """The sync that its dead letters failed in, or the profile and the queue that hold them."""
        return f"{self.integration or self.profile}/{self.stream}"


class Trigger(StrEnum):
    """What caused an attempt to deliver."""

    INITIAL = "initial"
    AUTOMATIC = "automatic"
    MANUAL = "manual"
    BULK = "bulk"
    RESUME = "resume"
    FORCED = "forced"
    """An operator had something sent again that had arrived."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver a dead letter. `outcome` is sending, succeeded, failed, unknown or superseded.

    `operator` is who asked for it, `target` the profile (and target) that it went to when that is not the
    integration's own.
    """

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
    operator: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """A replay that `operator` asked for. Counts are of its items; `error` says why it stopped or paused."""

    id: str
    state: ReplayState
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
    options: ReplayOptions = AS_USUAL
    operator: str = ""


@dataclass(frozen=True, slots=True)
class DeadQueue:
    """A place where a platform keeps its own dead letters: a queue, a subqueue, a topic, a group's pending list.

    `origin` is where they came from ("" when each of them says so itself), `depth` how many there are and
    `oldest_ms` since when, None where the platform does not tell.
    """

    name: str
    kind: str
    origin: str = ""
    depth: int | None = None
    oldest_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NativeLetter:
    """A dead letter as the platform holds it. `id` finds it there again; `properties` are what must be sent
    with it (headers, key, content type, message id) as a JSON document; times are epoch milliseconds.
    `alike`: equal messages have the same id, so that only their number tells them apart.
    """

    id: str
    queue: str
    origin: str
    reason: str
    payload: bytes
    properties: JsonObject
    code: str = "dead_lettered"
    deliveries: int | None = None
    died_ms: int | None = None
    alike: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of one native dead letter that was to be sent back: sent and removed from its queue, gone
    (it is not there any more), refused, or unknown (sent, perhaps, and no answer came)."""

    outcome: str
    message: str = ""


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
