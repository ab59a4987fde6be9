"""One stream of one run: read ahead, write, commit; from the confirmed position to the end of a scan."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from platint_tui.core.backoff import backoff
from platint_tui.core.clock import Clock
from platint_tui.core.errors import BlockRefused, PlatintError, RateLimited, SystemicError, TransientError
from platint_tui.core.model import (
    Batch,
    Block,
    Confirmed,
    Counters,
    JsonObject,
    NewDeadLetter,
    Op,
    Page,
    SyncState,
    WriteResult,
)
from platint_tui.core.ports import (
    Acknowledging,
    AppliesOps,
    Driver,
    ReportsChanges,
    Settles,
    TakesBlocks,
    Target,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.wire import Tally, tallying
from platint_tui.engine.breaker import FaultBreaker
from platint_tui.engine.buffer import PageBuffer
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.reading import is_sign_of_life, read_ahead
from platint_tui.engine.rows import Prepared, Rejected, dead_letter, prepare, row_idempotency_key
from platint_tui.store.ports import Runs

BATCH_RECORDS = 2_000
_KEYS_FROM = 10
"""Records of a page from which on shared keys say something about the key."""
_MOST_CHANGES = 10
"""Changes of a target that are told one by one."""
_ONLY_UPSERTS = frozenset({Op.UPSERT})

NOT_SENT = "not_sent"
"""Code of the rows that a target left out when it ended a batch early."""


@runtime_checkable
class EndsEarly(Protocol):
    """A target that can end a batch before all of its rows were sent."""

    failure: PlatintError | None
    """What ended the last batch early, to be raised when its page is stored."""

    def stop_soon(self) -> None:
        """The run is to stop."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: the position, the store's and the highest known page number, and a remark."""

    position: JsonObject | None
    seq: int
    highest: int
    note: str = ""


def resume_rule(stored: SyncState | None, held: Confirmed | None, transactional: bool) -> Start:
    """The earlier of the store's and the target's confirmed position.

    A page number never repeats: the next one is above both, so that neither side takes it for old.
    """
    seq = stored.seq if stored else 0
    position = stored.confirmed if stored else None
    if not transactional or position is None:
        return Start(position, seq, max(seq, held.seq if held else 0))
    if held is None:
        return Start(
            None,
            seq,
            seq,
            "The target holds no position of this sync (it is new or was restored), so the stream was read "
            "from the beginning.",
        )
    if held.seq < seq:
        return Start(
            held.position,
            seq,
            seq,
            "The target's position is older than ours (it was restored), so reading went on from there.",
        )
    return Start(position, seq, held.seq)


Told = Callable[[Sequence[str], int], Awaitable[Collection[str]]]
"""Which of these records an event came of since a moment (epoch milliseconds), that was or will be delivered."""


class StreamRun:
    """Moves one stream. `run` ends normally at the end of the scan, or raises what stopped it."""

    def __init__(
        self,
        plan: StreamPlan,
        runs: Runs,
        clock: Clock,
        run: str,
        epoch: int,
        *,
        lag: Callable[[float], None] = lambda _: None,
        told: Told | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.plan = plan
        self._runs = runs
        self._clock = clock
        self._run = run
        self._epoch = epoch
        self._lag = lag
        self._told = told
        self._rng = rng or random.SystemRandom()
        self._breaker = FaultBreaker()
        self._seq = 0
        self._store_seq = 0
        self._committed = 0
        self._position: JsonObject | None = None
        self._troubled = False
        self._tally = Tally()
        self._keys_told = False
        self._changes_told = 0
        self.note = ""

    @property
    def requests(self) -> int:
        """Requests that were sent and that no committed page counts yet."""
        return self._tally.requests

    async def run(self, source: Driver, destination: Driver, stop: asyncio.Event) -> bool:
        """Read and write until the scan ends (True) or `stop` is set (False, at a page border).

        A lost connection is opened again from the confirmed position: as often as the plan's policy says
        without a page in between, and for ever in real time. Raises PlatintError: Fenced when another engine
        has the run, RateLimited when the stream is to be parked, any other when the stream has failed.
        """
        with tallying() as self._tally:
            tries = 0
            while True:
                before = self._committed
                try:
                    return await self._work(source, destination, stop)
                except TransientError as error:
                    policy = self.plan.retry
                    if policy is None:
                        raise
                    tries = 1 if self._committed > before else tries + 1
                    if not self.plan.follow and tries >= policy.attempts:
                        raise
                    await self._tell_trouble(error, tries)
                    if await _stopped(stop, max(0.05, backoff(policy, tries, self._rng))):
                        return False

    async def _tell_trouble(self, error: TransientError, tries: int) -> None:
        self._troubled = True
        text = f"{error.sentence()} Trying again ({tries}) from the confirmed position."
        await self._runs.tell(self._run, self._epoch, self.plan.stream, error.code, REDACTOR.redact(text))

    async def _tell_recovered(self) -> None:
        if self._troubled:
            self._troubled = False
            await self._runs.tell(self._run, self._epoch, self.plan.stream, "", "")

    async def _work(self, source: Driver, destination: Driver, stop: asyncio.Event) -> bool:
        target = await destination.open_target(self.plan.target_plan(self._epoch, self._run))
        try:
            stored = await self._runs.sync_state(self.plan.integration, self.plan.stream)
            held = await target.confirmed() if target.transactional else None
            start = resume_rule(stored, held, target.transactional)
            if start.position is None:
                start = await self._after_reset(start)
            self.note = start.note
            self._seq, self._store_seq = start.highest, start.seq
            self._note_changes(target)
            return await self._pump(source, target, start, stop)
        finally:
            self._note_changes(target)
            await target.close()

    def _note_changes(self, target: Target) -> None:
        """What the target made or changed is told at the end of the stream."""
        made = target.changes if isinstance(target, ReportsChanges) else []
        for change in made[self._changes_told : _MOST_CHANGES]:
            self.note = f"{self.note} {change.detail}".strip()
        if len(made) > _MOST_CHANGES >= self._changes_told:
            self.note = f"{self.note} And {len(made) - _MOST_CHANGES} more changes."
        self._changes_told = max(self._changes_told, len(made))

    async def _after_reset(self, start: Start) -> Start:
        """Page numbers go on where a forgotten position was: a number that comes again would give rows the
        idempotency keys of then, and the target would take them for done."""
        forgotten = await self._runs.position_history(self.plan.integration, self.plan.stream, 1)
        seq = max([start.seq, *(item.seq for item in forgotten)])
        return replace(start, seq=seq, highest=max(seq, start.highest))

    async def _pump(self, source: Driver, target: Target, start: Start, stop: asyncio.Event) -> bool:
        buffer = PageBuffer()
        forms = target.takes if isinstance(target, TakesBlocks) and not self.plan.mapping.map else frozenset()
        options = self.plan.read_options(forms)
        self._position, forced = recovery_of(start.position)
        begun = self._position
        if forced:
            options = replace(options, on_lost=forced)
        reading = read_ahead(
            source,
            self.plan.stream,
            self._position,
            options,
            buffer,
            self._clock,
            self._note_read,
            self.plan.pause,
        )
        reader = asyncio.create_task(reading)
        stopping = asyncio.create_task(stop.wait())
        early = target if isinstance(target, EndsEarly) else None
        if early is not None:
            stopping.add_done_callback(lambda done: None if done.cancelled() else early.stop_soon())
        # Only a target that keeps the position beside its rows takes several pages at once: elsewhere a crash
        # repeats the whole batch.
        size = BATCH_RECORDS if target.transactional else 1
        tasks: list[asyncio.Task[Any]] = [reader, stopping]
        try:
            while True:
                taking = asyncio.create_task(buffer.take(size))
                tasks[2:] = [taking]
                await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    await self._settle(source, target, begun)
                    return False
                pages = taking.result()
                if not pages:
                    await self._settle(source, target, begun)
                    return True
                if all(is_sign_of_life(page, self._position) for page in pages):
                    await self._tell_recovered()
                    continue
                await self._commit(target, pages)
                # The position that reading began with was delivered over an earlier connection, or never.
                if isinstance(source, Acknowledging) and pages[-1].position != begun:
                    await source.acknowledge(self.plan.stream, pages[-1].position)
                    failpoint("after_acknowledge")
                last = pages[-1].last
                # After the last page there is nothing to go on with: a resumed stream would start a new scan,
                # and send all of it once more.
                failure = early.failure if early is not None else None
                if failure is not None and not (last and isinstance(failure, RateLimited)):
                    raise failure
                self._breaker.check()
                if last and stopping.done():
                    return True
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, source: Driver, target: Target, begun: JsonObject | None) -> None:
        """When reading ends in order, keep a position that holds nothing in doubt."""
        position = self._position
        if not isinstance(source, Settles) or position is None or position == begun:
            return
        settled = await source.settled(self.plan.stream, position)
        if settled is not None:
            await self._commit(target, [Page((), settled, False)])

    async def _note_read(self, position: JsonObject) -> None:
        await self._runs.save_read_position(self._run, self._epoch, self.plan.stream, position)

    async def _commit(self, target: Target, pages: list[Page]) -> None:
        """Write the rows of `pages`, then store what became of them in one transaction."""
        position = pages[-1].position
        seq = self._seq + len(pages)
        failpoint("before_write")
        prepared, result = await self._write(target, pages, Confirmed(seq, position))
        failpoint("after_target_commit")
        letters, outdated = self._letters(prepared, result)
        counters = Counters(
            read=prepared.read,
            written=result.written,
            dead_lettered=len(letters) + len(outdated),
            superseded=result.superseded + prepared.repeated,
            pages=len(pages),
            requests=self._tally.take(),
            bytes=sum(page.bytes for page in pages),
        )
        _check_account(counters)
        failpoint("before_store_commit")
        await self._runs.commit_page(
            self._run,
            self._epoch,
            self.plan.stream,
            seq=seq,
            confirmed=position,
            counters=counters,
            dead_letters=letters,
            outdated=outdated,
            written_keys=_settled_keys(prepared, result, letters),
            emptied=_emptied(prepared, result),
            gaps=[gap for page in pages for gap in page.gaps],
        )
        failpoint("after_store_commit")
        self._seq = self._store_seq = seq
        self._position = position
        self._committed += bool(prepared.read)
        await self._tell_recovered()
        self._measure_lag(pages)
        judged = [letter for letter in (*letters, *outdated) if letter.fault.code != NOT_SENT]
        self._breaker.count(prepared.read, [(letter.fingerprint, letter.fault) for letter in judged])

    def _measure_lag(self, pages: list[Page]) -> None:
        now = self._clock.now_ms()
        for page in pages:
            for happened in page.happened:
                self._lag(max(0, now - happened) / 1000)

    async def _write(
        self, target: Target, pages: list[Page], confirmed: Confirmed
    ) -> tuple[Prepared, WriteResult]:
        """What the pages came to, and what the target did with it: whole blocks where it takes them."""
        blocks = [page.records for page in pages if isinstance(page.records, Block)]
        if blocks and await self._plain(target, pages, blocks):
            try:
                result = await target.write(Batch((), confirmed, blocks))
            except BlockRefused:
                pass  # its records go one by one below, so that the bad ones are found
            else:
                return Prepared((), sum(len(block) for block in blocks), 0, ()), result
        applies = target.applies if isinstance(target, AppliesOps) else _ONLY_UPSERTS
        prepared = prepare(self.plan, pages, self._store_seq, keys=not target.transactional, applies=applies)
        self._look_at_keys(prepared)
        prepared = await self._without_told(prepared, pages)
        if not prepared.rows and not target.transactional:
            return prepared, WriteResult(0, 0, ())
        return prepared, await target.write(Batch(prepared.rows, confirmed))

    async def _plain(self, target: Target, pages: list[Page], blocks: list[Block]) -> bool:
        """Whether the blocks may go to the target as they are: nothing waits to learn of single records."""
        takes = target.takes if isinstance(target, TakesBlocks) else frozenset()
        whole = len(blocks) == sum(1 for page in pages if page.records or page.bad)
        if not whole or any(block.form not in takes for block in blocks):
            return False
        return not await self._runs.waits_for_records(self.plan.integration, self.plan.stream)

    async def _without_told(self, prepared: Prepared, pages: list[Page]) -> Prepared:
        """Without the records of which an event came after they were asked for: what was read is older than that,
        and where the cursor field does not change with the record, no version tells the target so."""
        if self._told is None or not prepared.rows:
            return prepared
        since = min(page.asked_ms for page in pages)
        told = await self._told([row.key for row in prepared.rows], since)
        if not told:
            return prepared
        rows = [row for row in prepared.rows if row.key not in told]
        return replace(prepared, rows=rows, repeated=prepared.repeated + len(prepared.rows) - len(rows))

    def _look_at_keys(self, prepared: Prepared) -> None:
        """A key that most records share is no key: all but the last of them are gone, which is to be said."""
        if not self.plan.key and prepared.repeated and not self._keys_told:
            self._keys_told = True
            told = "Some records are equal in everything: without a key the target holds equal ones once."
            self.note = f"{self.note} {told}".strip()
        if self._keys_told or prepared.read < _KEYS_FROM or prepared.repeated * 2 <= prepared.read:
            return
        self._keys_told = True
        told = (
            f"{prepared.repeated:,} of {prepared.read:,} records have the same key ({', '.join(self.plan.key)}) "
            "as a later one, which took their place: it may not be the key of this stream."
        )
        self.note = f"{self.note} {told}".strip()

    def _letters(
        self, prepared: Prepared, result: WriteResult
    ) -> tuple[list[NewDeadLetter], list[NewDeadLetter]]:
        """The dead letters that wait, and those whose record came again later in the same pages.

        When the target refused that later version, the earlier one waits as well: nothing of the record arrived.
        """
        plan = self.plan
        letters: list[NewDeadLetter] = []
        outdated: list[NewDeadLetter] = []
        failed = {prepared.rows[index].key for index, _ in result.faults}
        for item in prepared.rejected:
            made = dead_letter(plan, plan.source, self._run, item, self._key(item))
            (outdated if item.outdated and item.key not in failed else letters).append(made)
        for index, fault in result.faults:
            row = prepared.rows[index]
            item = Rejected(row.raw, row.key, fault, row.op)
            letters.append(
                dead_letter(plan, plan.target, self._run, item, row.idempotency_key or self._key(item))
            )
        return letters, outdated

    def _key(self, item: Rejected) -> str:
        return row_idempotency_key(self.plan, item.key, item.raw, self._store_seq)


RECOVERY = "_on_lost"
"""In a stored position: how the next read goes on when the platform no longer has what follows it."""


def recovery_of(position: JsonObject | None) -> tuple[JsonObject | None, str]:
    """The position as its source made it, and what an operator decided for it ("" for nothing)."""
    if not position or RECOVERY not in position:
        return position, ""
    return {name: value for name, value in position.items() if name != RECOVERY}, str(position[RECOVERY])


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Whether `stop` was set within `seconds`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _settled_keys(prepared: Prepared, result: WriteResult, letters: list[NewDeadLetter]) -> list[str]:
    """Keys whose latest version is in the target now, so that their older dead letters are done with.

    When the target kept newer versions it does not say of which rows: then none is claimed, and dead letters
    stay open rather than vanish.
    """
    if result.superseded:
        return []
    failed = {letter.record_key for letter in letters}
    return [row.key for row in prepared.rows if row.key and row.key not in failed]


def _emptied(prepared: Prepared, result: WriteResult) -> bool:
    """Whether the target was emptied, so that nothing of before waits to be written any more."""
    refused = {index for index, _ in result.faults}
    return any(row.op is Op.TRUNCATE and index not in refused for index, row in enumerate(prepared.rows))


def _check_account(counters: Counters) -> None:
    """Every record that was read is accounted for, or the page is not confirmed."""
    if counters.read != counters.written + counters.dead_lettered + counters.superseded:
        raise SystemicError(
            f"The target accounts for {counters.written + counters.superseded + counters.dead_lettered} "
            f"of {counters.read} records.",
            code="account",
            hint="The page was not confirmed and will be repeated.",
        )
