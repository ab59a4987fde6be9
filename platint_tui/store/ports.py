"""What the rest of the program may ask of the store: one protocol per noun, no SQL above this line.

Every method is one short transaction or one short read. Times are epoch milliseconds given by the store's
clock. Raises StoreError when the database cannot be read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from platint_tui.core.events import (
    PRIMARY,
    Alert,
    Delivery,
    DeliveryOutcome,
    DeliveryState,
    Event,
    EventState,
    Hold,
    Ingested,
    NewDelivery,
    NewEvent,
    Rejection,
    Source,
    SourceState,
    TargetHealth,
)
from platint_tui.core.gaps import GapKind, GapState, MissedEvent, MissedState, SentEvent, StoredGap
from platint_tui.core.model import (
    Attempt,
    Capability,
    Catalogue,
    Command,
    Counters,
    DeadLetter,
    DeadQueue,
    Gap,
    Integration,
    Issue,
    Json,
    JsonObject,
    LatencySummary,
    MetricPoint,
    NativeLetter,
    NewDeadLetter,
    Profile,
    ProfileCheck,
    ReplayJob,
    Run,
    SyncState,
    Trigger,
    Worker,
)
from platint_tui.core.patch import Patch
from platint_tui.core.replays import Outcome, ReplayOptions, Settlement, Survey
from platint_tui.core.rules import FixRule, RuleEdit
from platint_tui.core.states import DeadLetterState, IssueState, RunState
from platint_tui.core.subscriptions import Subscription


class Profiles(Protocol):
    """Configured accounts; secrets are references only."""

    async def put(self, profile: Profile) -> None:
        """Insert or replace by name."""

    async def get(self, name: str) -> Profile | None: ...
    async def fill(
        self, name: str, fields: Mapping[str, str], secrets: Mapping[str, str], earlier: Mapping[str, str]
    ) -> Sequence[str]:
        """Set these fields and references, whatever else was changed meanwhile. `earlier` names where the value
        before goes, by field. Returns the references that nothing names any more. Raises NotFound."""

    async def list(self) -> Sequence[Profile]: ...
    async def remove(self, name: str) -> bool:
        """Remove a profile with its checks and catalogues; runs and dead letters stay."""

    async def save_check(self, profile: str, ok: bool, capabilities: Sequence[Capability]) -> None: ...
    async def checks(self) -> Mapping[str, ProfileCheck]:
        """The last check of each profile."""


class Catalogues(Protocol):
    """What discovery found, kept so that two can be compared."""

    async def save(self, catalogue: Catalogue) -> None: ...
    async def latest(self, profile: str, count: int = 1) -> Sequence[Catalogue]:
        """The newest `count` catalogues of a profile, newest first."""

    async def numbers(self, profile: str, count: int = 2) -> Sequence[int]:
        """The numbers of the newest `count` catalogues of a profile, newest first: they change with them."""

    async def known(self, profile: str, streams: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The names of the fields that these streams had in any kept catalogue; streams of none are left out."""


class Integrations(Protocol):
    """Integration files as imported; each change is a new version, a run keeps the one that it ran with."""

    async def put(self, integration: Integration, restart: Sequence[str] = ()) -> Integration:
        """Store; returns it with its version (a new one only when the text or content changed).

        The positions of the streams in `restart` are forgotten in the same transaction. Raises ConfigError (code
        `already_running`) when there are such streams and a run of the integration is active.
        """

    async def get(self, name: str, version: int | None = None) -> Integration | None: ...
    async def list(self) -> Sequence[Integration]:
        """The newest version of each."""

    async def remove(self, name: str) -> bool:
        """Remove every version, and forget the positions; runs and dead letters stay. False without one."""


class Runs(Protocol):
    """Runs, their streams and the positions of syncs. Every write of an engine is fenced by (run, epoch)."""

    async def create(
        self, integration: Integration, streams: Sequence[str], trigger: str, *, command: str | None = None
    ) -> Run:
        """A new queued run; the run of `command` when there is one.

        Raises ConfigError (code `already_running`, naming the run) when the integration has an active one.
        """

    async def get(self, run: str) -> Run | None:
        """By id or by number as text."""

    async def list(
        self,
        *,
        integration: str | None = None,
        states: Sequence[RunState] = (),
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Run]:
        """Newest first; `before` pages by run number."""

    async def claim(self, worker: str) -> Run | None:
        """Take the oldest queued run, or a rate_limited one with a stream whose `resume_at_ms` has come:
        state running, epoch + 1 (epochs of an integration never repeat). None when there is nothing to do."""

    async def request_cancel(self, run: str) -> bool:
        """Ask for cancellation; a run that no worker holds (queued, interrupted, rate_limited) is cancelled
        at once. False when it has ended already. Raises NotFound."""

    async def cancel_requested(self, run: str) -> bool: ...
    async def move_stream(
        self,
        run: str,
        epoch: int,
        stream: str,
        state: RunState,
        *,
        error_class: str = "",
        error_code: str = "",
        error: str = "",
        resume_at_ms: int | None = None,
        total: int | None = None,
        requests: int = 0,
    ) -> None:
        """Change a stream's state (checked against the state machine; sets started/ended). Raises Fenced.

        `requests` are added to its count.
        """

    async def finish(self, run: str, epoch: int, state: RunState, error: str = "") -> None:
        """Move the run itself (final, rate_limited or interrupted). Raises Fenced."""

    async def sync_state(self, integration: str, stream: str) -> SyncState | None: ...
    async def sync_states(self) -> Sequence[SyncState]: ...
    async def save_read_position(self, run: str, epoch: int, stream: str, read: JsonObject) -> None:
        """How far reading is, which is also a sign of life of the source."""

    async def tell(self, run: str, epoch: int, stream: str, code: str, text: str) -> None:
        """What a running stream has to say (a lost connection), "" when that is over. Raises Fenced."""

    async def waits_for_records(self, integration: str, stream: str) -> bool:
        """Whether dead letters of the stream wait to learn which records are written."""

    async def commit_page(
        self,
        run: str,
        epoch: int,
        stream: str,
        *,
        seq: int,
        confirmed: JsonObject,
        counters: Counters,
        dead_letters: Sequence[NewDeadLetter],
        written_keys: Sequence[str],
        gaps: Sequence[Gap] = (),
        outdated: Sequence[NewDeadLetter] = (),
        emptied: bool = False,
    ) -> int:
        """One transaction: fence check, dead letters, mirrored position, counters, gaps.

        `outdated` are dead letters of the page whose record came again later in it: kept, and superseded at once.
        `emptied`: the target was emptied by this page, so every older dead letter of the stream is superseded.

        `seq` must be greater than the stored one. A dead letter whose (integration, stream, record_key,
        content_hash) is there and not settled for good counts as one more occurrence of it. Open and unknown
        dead letters of this stream whose record_key is in `written_keys` become superseded (a later version
        arrived); those on their way, discarded or edited are marked, and never follow it.
        Returns the number of new dead letter rows. Raises Fenced; SystemicError (code `seq`) for a page that
        was committed before, (code `state`) when the stream is not running.
        """

    async def reset_position(self, integration: str, stream: str) -> SyncState | None:
        """Forget the position (next run reads from the beginning); returns what was there, for undo."""

    async def restore_position(self, state: SyncState) -> None:
        """Set a position as it was, at the highest page number that the sync has had."""

    async def reap(self, alive: Sequence[str]) -> Sequence[Run]:
        """Running runs of workers not in `alive` become interrupted, then queued again; returns them.

        So do runs that their engine left interrupted. One whose cancellation was asked for is cancelled.
        """

    async def position_history(
        self, integration: str, stream: str, limit: int = 50
    ) -> Sequence[SyncState]: ...


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters: empty fields mean any.

    `text` are words, each the beginning of a word in key, code, message or payload. `key` is a record's key as it
    is kept, its one value, or the beginning of that with `*`. `bin` is record or systemic. `since_ms` and
    `until_ms` (epoch milliseconds) bound when it failed: last at or after the one, first at or before the other.
    """

    fingerprint: str = ""
    platform: str = ""
    integration: str = ""
    stream: str = ""
    run: str = ""
    states: tuple[DeadLetterState, ...] = ()
    text: str = ""
    profile: str = ""
    code: str = ""
    error_class: str = ""
    bin: str = ""
    direction: str = ""
    field: str = ""
    key: str = ""
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """A dead-letter queue of a platform as it was seen at `seen_ms`."""

    profile: str
    queue: DeadQueue
    seen_ms: int


class DeadLetters(Protocol):
    """The inbox."""

    async def issues(self, states: Sequence[IssueState] = (), text: str = "") -> Sequence[Issue]:
        """Issues by fingerprint, most open dead letters first. Counts are maintained, not scanned."""

    async def set_issue_state(
        self,
        fingerprint: str,
        state: IssueState,
        *,
        until_ms: int | None = None,
        until_total: int | None = None,
    ) -> None:
        """`until_ms` and `until_total` say when an ignored issue is open again: at a moment, or when it has had
        that many failures; whatever comes first."""

    async def note_issue(self, fingerprint: str, note: str) -> None:
        """What a person has to say about it. Raises NotFound."""

    async def issue(self, fingerprint: str) -> Issue | None: ...
    async def keys(self, fingerprint: str, most: int = 100_000) -> int:
        """How many records wait in an issue, each counted once; counted up to `most` of them."""

    async def numbers(self, where: DeadLetterFilter, *, newest_first: bool = True) -> Sequence[int]:
        """The `number`s of all that match, in order: compact enough for a million (array('q'))."""

    async def newest(self, where: DeadLetterFilter, limit: int) -> Sequence[int]:
        """The first numbers of `numbers`, at most `limit`, of those that are among the latest to have come."""

    async def rows(self, numbers: Sequence[int]) -> Sequence[DeadLetter]:
        """The dead letters with these numbers, in that order, without payload, request and response."""

    async def get(self, id_or_number: str) -> DeadLetter | None:
        """Whole, with payload, request and response."""

    async def attempts(self, dead_letter: str) -> Sequence[Attempt]: ...
    async def edit(self, dead_letter: str, payload: bytes, record_key: str, content_hash: str) -> DeadLetter:
        """A child with the new payload and a new idempotency key; the original stays, as `edited`."""

    async def undo_edit(self, child: str) -> DeadLetter:
        """Discard an edit that was not replayed; the original is open again and returned."""

    async def discard(self, ids: Sequence[str]) -> int: ...
    async def reopen(self, ids: Sequence[str]) -> int: ...
    async def count(self, where: DeadLetterFilter) -> int: ...

    async def native(
        self, profile: Profile, queue: DeadQueue, letters: Sequence[NativeLetter], complete: bool
    ) -> int:
        """Bring the inbox up to what a platform holds in one of its own dead-letter queues.

        A letter is known by profile, queue and its id there. `complete`: these are all of them, so others of
        this queue that are open here are gone. Returns how many are new.
        """

    async def dead_queues(self, profile: str | None = None) -> Sequence[SeenQueue]:
        """The platforms' own dead-letter queues as last seen."""

    async def save_dead_queues(self, profile: str, queues: Sequence[DeadQueue]) -> None:
        """What a platform has of them now, in place of what was known."""


class Replays(Protocol):
    """Replay jobs: planned, claimed, sent, settled; every step a row before it happens."""

    async def plan(
        self,
        dead_letters: Sequence[str],
        trigger: Trigger,
        *,
        command: str | None = None,
        options: ReplayOptions = ...,
        operator: str = "",
    ) -> ReplayJob:
        """A job with one item per dead letter that it may send, its idempotency key stored with it.

        Those are the open ones, with `options.unknown` (the default) the unknown ones and with `options.forced`
        those that arrived. A dead letter that is in another unfinished job is left out, and so is one whose
        record was written in a newer version since. When `command` has a job, that one is returned; if a crash
        interrupted its planning, after the rest of it is done.
        """

    async def get(self, job: str) -> ReplayJob | None: ...
    async def of_command(self, command: str) -> ReplayJob | None:
        """The job that this command made."""

    async def list(self, limit: int = 50) -> Sequence[ReplayJob]: ...
    async def unfinished(self) -> Sequence[ReplayJob]: ...
    async def claim(self, job: str, worker: str, count: int) -> Sequence[DeadLetter]:
        """Up to `count` pending items become sending (attempt row written, dead letter replaying).

        They come with payload, each with the idempotency key that was stored when the job was planned. Versions of one
        record are never on their way together; which goes first is the job's order. Nothing comes of a job that is
        paused, waits after its canary, or has ended.
        """

    async def settle(
        self,
        job: str,
        dead_letter: str,
        outcome: str,
        *,
        code: str = "",
        message: str = "",
        request: JsonObject | None = None,
        response: JsonObject | None = None,
    ) -> None:
        """`settle_all` for one item."""

    async def settle_all(self, job: str, settlements: Sequence[Settlement]) -> None:
        """Store what came of items (succeeded, failed, unknown, superseded, or released: not sent, pending again),
        all in one transaction.

        Moves the dead letters with them and finishes the job with its last item. When one succeeded, waiting older
        versions of the same record are superseded. When a newer version was written meanwhile, one that did not
        arrive is superseded, and one that arrived is unknown: which came last is not known. Raises SystemicError
        when one is not being sent; then nothing is stored.
        """

    async def newer_written(self, job: str) -> frozenset[str]:
        """Dead letters on their way in this job whose record was written in a newer version since."""

    async def on_their_way(self, job: str) -> Sequence[DeadLetter]:
        """The dead letters that this job is sending, without payload."""

    async def recover(self, job: str, alive: Sequence[str], idempotent: bool | Collection[str]) -> int:
        """Items left in sending by a dead worker: pending again with the same key when the target is
        idempotent, else unknown; superseded when a newer version was written. Returns how many.

        `idempotent` may be the ids of the dead letters whose target is.
        """

    async def cancel(self, job: str, error: str = "") -> None:
        """Pending items are released; items in flight settle. `error` says why when no operator asked."""

    async def pause(self, job: str, error: str = "") -> None:
        """Claim nothing more until it is resumed; what is in flight settles."""

    async def resume(self, job: str) -> None:
        """Go on where it was paused."""

    async def proceed(self, job: str) -> None:
        """The operator's word after a canary: the others go."""

    async def ids(self, numbers: Sequence[int]) -> Sequence[str]:
        """The ids of the dead letters with these numbers, in that order."""

    async def whole(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Dead letters with payload, request and response, in that order. Those that are gone, or that the disk
        changed, are left out."""

    async def ranked(self, ids: Sequence[str]) -> Sequence[tuple[str, bool]]:
        """These dead letters so that of each record the newest version comes first, and whether the target was
        given a newer one since."""

    async def last_answers(
        self, ids: Sequence[str]
    ) -> Mapping[str, tuple[JsonObject | None, JsonObject | None]]:
        """Per dead letter that was replayed: request and answer of its last attempt that was answered."""

    async def survey(self, ids: Sequence[str], options: ReplayOptions) -> Survey:
        """Count what a job over these dead letters would take, and what it would leave out."""

    async def outcomes(self, job: str) -> Sequence[Outcome]:
        """What came of the items of a job, by outcome, code and message, most of them first."""


class Rules(Protocol):
    """Fix rules: corrections kept for a fingerprint, and the edits that they made."""

    async def add(
        self,
        fingerprint: str,
        patch: Patch,
        *,
        note: str = "",
        made_from: str | None = None,
        operator: str = "",
    ) -> FixRule: ...
    async def get(self, id_or_number: str) -> FixRule:
        """One rule. Raises NotFound."""

    async def list(self, fingerprint: str = "", *, revoked: bool = False) -> Sequence[FixRule]:
        """Rules in force, newest first; of one fingerprint, and those that were revoked too, where asked for."""

    async def revoke(self, id_or_number: str) -> FixRule:
        """Offer and apply a rule no more; the edits that it made stay. Raises NotFound."""

    async def edit_all(self, rule: str, edits: Sequence[RuleEdit]) -> int:
        """Make each edit as a child of its dead letter, which stays as `edited`; returns how many were made."""

    async def open_edits(self, rule: str) -> Sequence[str]:
        """The ids of the edits of a rule that are open, oldest first."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: empty fields mean any. In `type` a `*` is any text; `text` is looked for in id, type, object and
    body."""

    profile: str = ""
    type: str = ""
    states: tuple[EventState, ...] = ()
    text: str = ""
    since_ms: int = 0


class Events(Protocol):
    """What arrived, what was refused, and from where."""

    async def ingest(self, batch: Sequence[NewEvent]) -> Sequence[Ingested]:
        """One durable transaction: each event that is not here yet is stored, each that is counts once more.

        An event whose id is here with other bytes is stored too, under its id with the hash of its bytes, and
        raises an alert: nothing is lost where a platform uses an id twice.
        """

    def ingest_soon(
        self,
        take: Callable[[], Sequence[NewEvent]],
        done: Callable[[Sequence[Ingested] | Exception], None],
    ) -> None:
        """`ingest` of what `take` gives, without a task: `done` is called with the outcomes or the error.

        `take` is called once, on the writer's thread and inside the transaction, so that what arrives until then
        is in it; or never, when the database fails before that. Raises StoreError when nothing can be written.
        """

    async def known(self, profile: str, event_ids: Collection[str]) -> frozenset[str]:
        """Which of these ids of a source are here."""

    async def numbers(
        self, where: EventFilter, *, newest_first: bool = True, limit: int | None = None
    ) -> Sequence[int]:
        """The `number`s of all that match (or the first `limit`), in order, as array('q')."""

    async def rows(self, numbers: Sequence[int]) -> Sequence[Event]:
        """The events with these numbers, in that order, without bodies; numbers that are gone are left out."""

    async def get(self, id_or_number: str) -> Event | None:
        """Whole, with its body. Raises StoreError when the disk changed it."""

    async def counts(self, since_ms: int = 0) -> Mapping[tuple[str, EventState], int]:
        """How many events each source has in each state, of those that came since."""

    async def sources(self) -> Sequence[Source]:
        """The sources that something came from or that were paused or disabled, by name."""

    async def reject(self, batch: Sequence[Rejection]) -> None:
        """Keep refused requests (their numbers are given here), not yet safe from a power cut.

        Of one source and cause there is one row a minute, which counts the others; of one source only the newest
        are kept. `profile` "" is for requests of no source.
        """

    async def rejections(
        self, profile: str | None = None, cause: str = "", *, limit: int = 100, before: int | None = None
    ) -> Sequence[Rejection]:
        """Newest first, without bodies; `before` pages by number."""

    async def rejection(self, number: int) -> Rejection | None:
        """Whole, with its body."""


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """An event with what it is to every stream that wants it; `state` is routed or unwanted."""

    event: Event
    state: EventState
    deliveries: Sequence[NewDelivery]
    alert: str = ""
    """What somebody is to be told of it."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that is being sent, with the exact text of its record."""

    delivery: Delivery
    raw: bytes


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries: empty fields mean any."""

    event: str = ""
    integration: str = ""
    stream: str = ""
    profile: str = ""
    states: tuple[DeliveryState, ...] = ()
    since_ms: int = 0


class Deliveries(Protocol):
    """Events on their way to the targets of integrations."""

    async def unrouted_sources(self) -> Sequence[str]:
        """The sources with new events that are not paused."""

    async def unwanted(self, profile: str, limit: int) -> int:
        """Up to `limit` new events of a source that nobody wants anything of; returns how many they were."""

    async def unrouted(self, limit: int, skip: Collection[str] = ()) -> Sequence[Event]:
        """Up to `limit` new events of sources that are not paused nor in `skip`, whole; those of one in order."""

    async def came_since(
        self, integration: str, stream: str, keys: Sequence[str], since_ms: int
    ) -> Collection[str]:
        """The records, of these, of which an event came at or after `since_ms` that waits or was delivered."""

    async def whole(self, ids: Sequence[str]) -> Sequence[Event]:
        """The events with these ids, with their bodies, in the order in which they came."""

    async def route(self, events: Sequence[RoutedEvent]) -> int:
        """One transaction: the deliveries of these events, dead letters of what cannot be one, and the events'
        states. An event that was routed meanwhile is left as it is. Returns how many deliveries are new."""

    async def resend(self, event: Event, deliveries: Sequence[NewDelivery], *, again: bool = False) -> int:
        """Deliveries of an event that was routed before: those that are new, and with `again` also those that
        have ended, each with another key, because it is meant to happen once more. Returns how many wait now."""

    async def known(self, event: str) -> Mapping[tuple[str, str, str], DeliveryState]:
        """The deliveries of an event: their states by (integration, stream, record key)."""

    async def overtaken(self, event: Event, deliveries: Sequence[NewDelivery]) -> Sequence[NewDelivery]:
        """Those of these deliveries whose record had a later event that was delivered: an older one must not follow
        it."""

    async def waiting(self) -> Sequence[tuple[str, str]]:
        """The (integration, stream) for which something waits or is on its way; not what is paused."""

    async def next_due(self, integration: str, stream: str) -> int | None:
        """When the next delivery of a route is due, in epoch milliseconds; None when none waits."""

    async def claimable(
        self, integration: str, stream: str, place: str = PRIMARY, *, all_of_it: bool = False
    ) -> bool:
        """Whether `claim` would find something."""

    async def claim(
        self,
        integration: str,
        stream: str,
        worker: str,
        count: int,
        place: str = PRIMARY,
        *,
        all_of_it: bool = False,
    ) -> Sequence[ClaimedDelivery]:
        """Up to `count` deliveries that are due become sending, in the order in which their events came.

        Of one record only the oldest is taken, and only when none of it is on its way. What lies in the fallback
        target goes to the primary in its turn. To the fallback goes what is meant for it, and what is of a record
        that lies there; with `all_of_it` everything that does not lie there yet.
        """

    async def sending(self, integration: str, stream: str) -> Sequence[ClaimedDelivery]:
        """What is on its way, whole."""

    async def fetched(self, records: Mapping[int, bytes], worker: str = "") -> None:
        """One transaction: the whole records, by the numbers of deliveries that are on their way and had some fields
        only. With `worker` only what that one sends."""

    async def settle(self, outcomes: Sequence[DeliveryOutcome], worker: str = "") -> None:
        """One transaction: what became of deliveries that were on their way, with dead letters and alerts.

        What was written supersedes older dead letters of its record. With `worker` only what that one sends: another
        engine may have taken it over since.
        """

    async def abandon(self, integration: str, stream: str) -> int:
        """Skip what waits for a stream of an integration that is gone, and what was on its way when its engine died,
        with the reason. Returns how many; 0 when the integration is there again."""

    async def hold(self, integration: str, stream: str, code: str, message: str, until_ms: int) -> None:
        """Nothing is delivered for this stream until `until_ms`, and why."""

    async def release(self, integration: str, stream: str) -> None:
        """The stream is delivered to again."""

    async def holds(self) -> Sequence[Hold]:
        """The streams that nothing is delivered for at present."""

    async def save_health(self, health: TargetHealth) -> None:
        """Show the breaker of a target; one that is closed is forgotten."""

    async def health(self) -> Sequence[TargetHealth]:
        """The targets whose breaker is not closed."""

    async def forget_health(self) -> None:
        """Breakers are in the memory of an engine: those of an earlier one are no more."""

    async def list(self, where: DeliveryFilter, limit: int = 100) -> Sequence[Delivery]:
        """Those that match, newest first."""

    async def states_of(self, events: Collection[int]) -> Mapping[int, Mapping[DeliveryState, int]]:
        """By the number of an event: how many of its deliveries are in each state."""

    async def counts_by_route(
        self, since_ms: int = 0
    ) -> Mapping[tuple[str, str], Mapping[DeliveryState, int]]:
        """By (integration, stream): how many deliveries are in each state, as `counts` counts them."""

    async def counts(self, since_ms: int = 0) -> Mapping[tuple[str, DeliveryState], int]:
        """How many deliveries each source has in each state: all that wait, and those that ended since."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison with a platform's list came to: how many events it has, how many of them were here, how
    many are newly missing, and the gaps in which nothing is missing any more."""

    sent: int
    here: int
    new: int
    filled: tuple[int, ...]


class Gaps(Protocol):
    """What was not read or did not arrive. `begin_gap` and `end_gaps` of the implementation do the same within
    a transaction of another noun."""

    async def begin(
        self, profile: str, kind: GapKind, reason: str, start_ms: int, end_ms: int | None = None
    ) -> int:
        """A gap of the webhooks of a profile from `start_ms` on; its number. One of this kind that goes on already
        is that gap."""

    async def end(self, profile: str, kind: GapKind, end_ms: int) -> None:
        """What went on ended at `end_ms`; whether something is missing in it is still to be found out."""

    async def list(
        self,
        *,
        profile: str | None = None,
        integration: str | None = None,
        states: Sequence[GapState] = (),
        kinds: Sequence[GapKind] = (),
        limit: int = 100,
    ) -> Sequence[StoredGap]:
        """Those that match, newest first."""

    async def get(self, number: int) -> StoredGap | None: ...
    async def missed(
        self, number: int, states: Sequence[MissedState] = (), limit: int = 1_000
    ) -> Sequence[MissedEvent]:
        """The missed events of a gap, oldest first."""

    async def compare(
        self, profile: str, sent: Sequence[SentEvent], since_ms: int, until_ms: int
    ) -> Compared:
        """Which of `sent` (all that the platform has of this span) are not here become missed events; what has
        come since is marked, and gaps in which nothing is missing any more are filled."""

    async def settle(self, profile: str) -> Sequence[int]:
        """Mark what has come since; the numbers of the gaps that are filled by it."""

    async def asked(self, profile: str, event_id: str) -> None:
        """The platform is asked to send a missed event again."""

    async def lost(self, profile: str, event_id: str, message: str) -> None:
        """A missed event cannot be had any more; `message` says why."""

    async def refused(self, profile: str, event_id: str, message: str) -> None:
        """A missed event could not be fetched this time."""

    async def fill(self, number: int, note: str = "") -> None:
        """Somebody fills this gap now. Raises NotFound, or ConfigError when it has ended."""

    async def reopen(self, number: int, note: str) -> None:
        """It could not be filled, or not wholly. Nothing when it has ended meanwhile."""

    async def filled(self, number: int, note: str = "") -> None:
        """What could be had of it is here. Raises NotFound, or ConfigError when it has ended already."""

    async def accept(self, number: int, note: str = "") -> None:
        """Leave it as it is, by somebody's decision. Raises NotFound, or ConfigError when it is filled."""


class Subscriptions(Protocol):
    """Webhooks that are registered at platforms; secrets are in the vault only."""

    async def put(self, subscription: Subscription) -> None:
        """Insert or replace by id."""

    async def get(self, subscription: str) -> Subscription | None: ...
    async def list(self, profile: str | None = None) -> Sequence[Subscription]:
        """All, or those of a profile, oldest first."""

    async def of_command(self, command: str) -> Sequence[Subscription]:
        """Those that a command made or began to make."""

    async def remove(self, subscription: str) -> None:
        """Forget it."""


class Sources(Protocol):
    """What is done with the webhooks of each profile."""

    async def set_state(self, profile: str, state: SourceState) -> bool:
        """Deliver, keep or refuse the webhooks of a profile from now on; False when it is so already.

        A time in which they are kept or refused is a gap. One in which they were kept is filled when it ends,
        because nothing of it is lost; one in which they were refused stays open.
        """


class Alerts(Protocol):
    """What asks for somebody's attention."""

    async def raise_alert(self, severity: str, subject: str, sentence: str) -> None:
        """Somebody is to look at `subject`; an alert of it that nobody has acknowledged counts once more."""

    async def list(self, *, acknowledged: bool = False, limit: int = 100) -> Sequence[Alert]:
        """Newest first; those that were acknowledged too when `acknowledged`."""

    async def acknowledge(self, number: int) -> None:
        """Somebody has seen it: what comes after is a new alert. Raises NotFound."""


class Commands(Protocol):
    """What operators asked for; also the audit."""

    async def submit(self, kind: str, args: JsonObject, actor: str) -> Command: ...
    async def pending(self) -> Sequence[Command]: ...
    async def progress(self, command: str, result: JsonObject) -> None:
        """What a pending command has found so far, for whoever watches it."""

    async def finish(
        self, command: str, *, result: JsonObject | None = None, error: JsonObject | None = None
    ) -> None: ...
    async def get(self, command: str) -> Command | None: ...
    async def recent(self, limit: int = 100) -> Sequence[Command]: ...


class Workers(Protocol):
    """Processes at work on this store."""

    async def beat(self, worker: Worker) -> None:
        """Insert or refresh."""

    async def gone(self, worker: str) -> None: ...
    async def list(self) -> Sequence[Worker]: ...


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What one worker saw in one minute: a row that is replaced as the minute goes on."""

    minute_ms: int
    platform: str
    profile: str
    operation: str
    count: int
    errors: int
    histogram: bytes


LAG = "lag:"
"""Before the name of a sync where a histogram is of its lag, not of requests."""


class Metrics(Protocol):
    """Latency histograms per minute, platform, profile and operation; requests only, but for `lags`."""

    async def lags(self, since_ms: int) -> Mapping[str, LatencySummary]:
        """Per sync (`integration/stream`): how old records were when they were stored."""

    async def save(self, worker: str, rows: Sequence[MetricRow]) -> None:
        """Insert or replace this worker's rows of those minutes."""

    async def summary(self, since_ms: int, *, by_operation: bool = True) -> Sequence[LatencySummary]:
        """Per platform (and operation), from merged histograms."""

    async def total(self, since_ms: int) -> LatencySummary:
        """Everything of the window in one summary (platform and operation are empty)."""

    async def by_profile(self, since_ms: int) -> Mapping[tuple[str, str], LatencySummary]:
        """Per (platform, profile), operations together."""

    async def series(self, since_ms: int, step_ms: int, *, platform: str = "") -> Sequence[MetricPoint]: ...


class Limits(Protocol):
    """One GCRA row per credential and limiter, shared by every process."""

    async def reserve(self, key: str, emission_ms: float, burst_ms: float, count: int) -> float:
        """Reserve `count` calls; returns seconds to wait before using them (0 when free)."""

    async def block(self, key: str, until_ms: int) -> None:
        """Nobody calls under `key` before `until_ms`."""

    async def blocked_until(self, key: str) -> int: ...


class Settings(Protocol):
    """Small named values of this installation (theme, retention)."""

    async def get(self, name: str) -> Json: ...
    async def put(self, name: str, value: Json) -> None: ...


class Store(Protocol):
    """The whole store."""

    @property
    def profiles(self) -> Profiles: ...
    @property
    def catalogues(self) -> Catalogues: ...
    @property
    def integrations(self) -> Integrations: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def replays(self) -> Replays: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def events(self) -> Events: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def gaps(self) -> Gaps: ...
    @property
    def subscriptions(self) -> Subscriptions: ...
    @property
    def sources(self) -> Sources: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def settings(self) -> Settings: ...

    async def data_version(self) -> int:
        """Changes whenever any process committed something; cheap enough to poll."""

    async def purge(self) -> int:
        """Apply retention; returns how many rows went."""

    async def close(self) -> None: ...
