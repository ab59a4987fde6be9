"""What drivers are given and what they must offer: the seam between protocols and the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from platint_tui.core.gaps import SentEvent
from platint_tui.core.model import (
    READ_ALL,
    Batch,
    Capability,
    Confirmed,
    DeadQueue,
    Fault,
    Field,
    Json,
    JsonObject,
    NativeLetter,
    Op,
    Page,
    ReadOptions,
    Record,
    Returned,
    Row,
    SchemaChange,
    Stream,
    TargetPlan,
    WriteResult,
)
from platint_tui.core.secret import Secret
from platint_tui.core.subscriptions import MadeWebhook, RemoteWebhook, WantedWebhook


class Limiter(Protocol):
    """Admission to a platform, shared by every process that uses the same credential."""

    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """Wait until one more call under `limit` (`count` per `period` seconds) is allowed.

        Raises RateLimited when the wait is longer than a worker should hold its slot.
        """

    async def block(self, limit: str, seconds: float) -> None:
        """The platform asked everyone under `limit` to wait this long (Retry-After)."""


class Telemetry(Protocol):
    """Where drivers report what each request took and how it ended."""

    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """One request of `operation` took `seconds`; `ok` is false for an error answer or none."""


class TokenStore(Protocol):
    """Where the tokens of one profile's sign-in are kept, for every process that uses it."""

    async def load(self) -> Mapping[str, Json] | None:
        """The tokens as they are now, None before anyone signed in. Raises CredentialError."""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Keep every other task and process from renewing these tokens. Raises TransientError after a while."""

    async def save(self, tokens: Mapping[str, Json]) -> None:
        """Keep the tokens; on return they are on disk. Raises CredentialError."""


class Target(Protocol):
    """An open target for one stream of one run."""

    transactional: bool
    """Whether rows and position are stored in one transaction in the target itself."""

    async def confirmed(self) -> Confirmed | None:
        """The position that the target itself holds for this sync, None without one."""

    async def write(self, batch: Batch) -> WriteResult:
        """Write the rows (and, if transactional, the position with them).

        Rows that are refused come back as faults while the others are written. Raises Fenced, TransientError,
        RateLimited, CredentialError, SystemicError; then nothing of the batch counts as written.
        """

    async def close(self) -> None:
        """Release what the target holds."""


class Driver(Protocol):
    """One account on one platform, spoken to by one protocol."""

    async def check(self) -> Sequence[Capability]:
        """Run the probes of the manifest in order."""

    async def discover(self) -> Sequence[Stream]:
        """The streams that this account offers."""

    def read(
        self, stream: str, position: JsonObject | None, options: ReadOptions = READ_ALL
    ) -> AsyncIterator[Page]:
        """Pages of `stream` from `position` (None: from the beginning), to the end of one scan or, with
        `options.follow`, without an end.

        A source that can only be asked (not Following) ends its scan in any case; the engine asks again.
        Raises PlatintError: TransientError when the connection is lost (the engine opens it again and goes on
        from the confirmed position), PositionLost when the platform no longer has the position.
        """

    async def open_target(self, plan: TargetPlan) -> Target:
        """Get ready to write `plan.target`: check its shape, create what the contract allows.

        Raises ConfigError when the target has another shape.
        """

    async def describe_target(self, target: str) -> Sequence[Field] | None:
        """The fields that writing to `target` knows of, None when it takes any."""

    async def close(self) -> None:
        """Release connections."""


@runtime_checkable
class Following(Protocol):
    """A driver whose `read` with `options.follow` waits for what comes, instead of being asked again."""

    def follows(self, stream: str, options: ReadOptions) -> bool:
        """Whether reading this stream so goes on without an end."""


@runtime_checkable
class Acknowledging(Protocol):
    """A source that keeps what it delivered until it is told that it is stored (a broker, a replication slot)."""

    async def acknowledge(self, stream: str, position: JsonObject) -> None:
        """Everything up to the page with this `position` is stored for good.

        Called after the commit, while `read` goes on. Raises TransientError when the connection over which it
        was delivered is gone: then the platform delivers it again, and what is known already is left out.
        """


@runtime_checkable
class Settles(Protocol):
    """A source whose positions say what may be delivered once more, and that knows when nothing is."""

    async def settled(self, stream: str, position: JsonObject) -> JsonObject | None:
        """`position`, up to which everything was acknowledged, without what is no longer in doubt; None when that
        is nothing, or not known. Asked when reading ends in order."""


@runtime_checkable
class Releases(Protocol):
    """A source that keeps something for each sync at the platform: a replication slot, a consumer group."""

    async def release(self, sync: str, stream: str) -> None:
        """The sync has no more use of this stream's position: give back what is kept for it. None is fine."""


@runtime_checkable
class FetchesOne(Protocol):
    """A source that can be asked for one record, for events that bring some fields of it only."""

    async def fetch(self, stream: str, record: Mapping[str, Json]) -> Record | None:
        """The record as `read` gives it, by what an event says of it; None when the platform has it no more.

        Raises PlatintError: RecordError when it cannot be asked for by what the event says, SystemicError when the
        answer is not that record.
        """


@runtime_checkable
class PlansTarget(Protocol):
    """A driver that can say what it would change at a target before it does."""

    async def plan_target(self, plan: TargetPlan) -> Sequence[SchemaChange]:
        """The changes that `open_target` would make. Changes nothing. Raises what `open_target` raises."""


@runtime_checkable
class Renders(Protocol):
    """A driver that can show what writing a row would send."""

    def render(self, plan: TargetPlan, row: Row) -> JsonObject:
        """The request that `write` would send for `row` alone, secrets masked. Nobody is asked, nothing is sent.

        Raises RecordError when the row does not fit the request, ConfigError when the target cannot be written.
        """


@runtime_checkable
class Judges(Protocol):
    """A driver that can say what a recorded answer to a write means by the rules of its manifest of today."""

    def judge(self, response: JsonObject) -> Fault | None:
        """Why the answer (as a dead letter or an attempt keeps it) refuses what was sent, None when it does not."""


@runtime_checkable
class TakesBlocks(Protocol):
    """A target that can be given records in the form in which the source read them."""

    takes: frozenset[str]
    """The forms of `Block` that it takes in `Batch.blocks`; `write` raises BlockRefused for one that it cannot
    write as it is."""


@runtime_checkable
class ReportsChanges(Protocol):
    """A target that says what it made and changed at its platform."""

    changes: list[SchemaChange]
    """Every change so far, in order; each was committed."""


@runtime_checkable
class AppliesOps(Protocol):
    """A target that carries out more than writing: deletes by key, truncates."""

    applies: frozenset[Op]
    """What it does with rows of these operations; others become dead letters."""


@runtime_checkable
class HoldsDeadLetters(Protocol):
    """A platform that keeps dead letters of its own."""

    async def dead_queues(self) -> Sequence[DeadQueue]:
        """The places where it keeps them, with depth and age."""

    def browse_dead(self, queue: str, limit: int) -> AsyncIterator[NativeLetter]:
        """Up to `limit` dead letters of a place, oldest first, without taking any away.

        They are there for every other reader as before when this ends, however it ends.
        """

    async def return_dead(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Send one (perhaps edited) back to its origin, and remove the old one only after the platform has
        confirmed the new one. Raises TransientError when the platform is away: then nothing was sent.
        """

    async def discard_dead(self, letter: NativeLetter) -> Returned:
        """Remove one for good."""


class Registers(Protocol):
    """The webhooks that a platform has of an account. Every method raises PlatintError: CredentialError when the
    account may not, ConfigError (code `not_offered`) when the platform has no such request, SystemicError (code
    `gone`) when it has no such webhook."""

    async def create(self, wanted: WantedWebhook) -> MadeWebhook:
        """Make a webhook. Raises UnknownOutcome when it was sent and its answer lost, SystemicError with the code
        `no_id` or `no_secret` when it was made and the answer lacks what is needed; then it is in the list."""

    async def list(self, webhook: WantedWebhook) -> Sequence[RemoteWebhook]:
        """Every webhook of this one's scope, of whatever address; some platforms tell of this address, this type or
        this webhook only."""

    async def address(self, webhook: WantedWebhook) -> str:
        """The only address that the platform calls now, "" when there is none or it knows many."""

    async def secret(self, webhook: WantedWebhook) -> Secret:
        """The signing secret, where the platform tells it before a webhook is made."""

    async def pause(self, webhook: WantedWebhook) -> None:
        """Have the platform keep the webhook and send nothing."""

    async def resume(self, webhook: WantedWebhook) -> None:
        """Have the platform send again."""

    async def remove(self, webhook: WantedWebhook) -> None:
        """Remove the webhook; one that is gone already is removed."""

    async def renew(self, webhook: WantedWebhook) -> int | None:
        """Have it live longer; until when (epoch milliseconds), None when that is not told."""


class ListsSent(Protocol):
    """What a platform tells of the events that it sent or could not deliver."""

    def sent(
        self, webhook: WantedWebhook | None, since_ms: int, until_ms: int, *, only_failed: bool = False
    ) -> AsyncIterator[Sequence[SentEvent]]:
        """The events of a span (of one webhook, where the platform lists them so), page by page."""

    async def redeliver(self, event: SentEvent, webhook: WantedWebhook | None) -> None:
        """Have the platform send an event again. Raises SystemicError (code `gone`) when it has it no more."""


@runtime_checkable
class HasWebhooks(Protocol):
    """A driver of a platform that sends webhooks."""

    def registrar(self) -> Registers:
        """What registers webhooks at the platform."""

    def sent_list(self) -> ListsSent:
        """What tells of the events that the platform sent."""
