"""Deliveries to their targets: in order for each record, retried, held, or given to the fallback.

What is about to be sent is a row before it is sent, and its outcome a row after; the key that it is sent with was
stored when its event was routed. A crash between the two is settled when the route is opened again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from platint_tui.core.backoff import RetryPolicy
from platint_tui.core.errors import (
    ErrorClass,
    PlatintError,
    RateLimited,
    RecordError,
    StoreError,
    TransientError,
    UnknownOutcome,
)
from platint_tui.core.events import FALLBACK, PRIMARY, Delivery, DeliveryOutcome, DeliveryState
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Batch, Fault, Integration, Op, Row, WriteResult
from platint_tui.core.ports import AppliesOps, Driver, Target
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.deliveryoutcomes import Rules, done, fault_of, released
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.fetching import Fetcher
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.planner import plan_integration
from platint_tui.engine.rows import make_row, unsupported
from platint_tui.engine.streams import NOT_SENT
from platint_tui.engine.targets import Targets
from platint_tui.engine.ways import in_flight
from platint_tui.store.ports import ClaimedDelivery

log = logging.getLogger("platint.engine")

TOGETHER = 200
"""Deliveries that are taken at a time, where a repeat does no harm."""
IN_FLIGHT = 8
"""Deliveries that are taken at a time elsewhere: what is claimed when the engine dies counts as sent."""
LINGER = 5.0
"""Seconds that a route without work stays open."""
_LOOK = 0.5
_SHORTEST = 0.005
_STRANGE = 5
"""Answers in a row that are no record's fault after which the route is held."""
_ENDED = frozenset({DeliveryState.DONE, DeliveryState.SUPERSEDED, DeliveryState.FALLBACK, DeliveryState.DEAD})
_ITEM = tuple[ClaimedDelivery, Row]


class Held(Exception):
    """Nothing more is delivered on this route for a while; `fault` says why, `until_ms` when it is tried again
    (None: after a pause that grows)."""

    def __init__(self, fault: Fault, until_ms: int | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.until_ms = until_ms


@dataclass(frozen=True, slots=True)
class _Way:
    """An open target of the route, and how its failures are dealt with."""

    place: str
    plan: StreamPlan
    driver: Driver
    target: Target
    rules: Rules
    slots: asyncio.Semaphore | None
    """Over HTTP each delivery is a write of its own, several at once; elsewhere (None) a target takes one write after
    the other."""

    @property
    def profile(self) -> str:
        """The account that it writes to."""
        return self.plan.target.profile.name

    @property
    def batch(self) -> int:
        """How many deliveries are taken at a time."""
        return TOGETHER if self.plan.idempotent else IN_FLIGHT


class RouteTask:
    """Delivers to one stream of one integration while something waits for it."""

    def __init__(
        self, context: Context, targets: Targets, integration: str, stream: str, stop: asyncio.Event
    ) -> None:
        self._context = context
        self._store = context.store.deliveries
        self._targets = targets
        self._name = integration
        self._stream = stream
        self._stop = stop
        self._ways: dict[str, _Way] = {}
        self._stale: set[str] = set()
        self._fetcher = Fetcher(context, stream)
        self._strange = 0
        self._drain = targets.drain(integration, stream)
        self._held: Held | None = None
        self.wake = asyncio.Event()
        self.idle = False
        self.works = False
        """Whether something was delivered since it was started."""

    async def execute(self) -> None:
        """Deliver until nothing waits. Raises Held when the route has to wait, StoreError."""
        try:
            found = await self._context.store.integrations.get(self._name)
            if found is None:
                # It was removed while something was on its way; nobody else ends that.
                await self._store.abandon(self._name, self._stream)
                return
            stamp = await self._stamp()
            await self._recover(found)
            await self._serve(found, stamp)
        except RateLimited as error:
            raise Held(fault_of(error), error.until_ms) from error
        except StoreError:
            raise
        except PlatintError as error:
            raise Held(fault_of(error)) from error
        finally:
            for place in list(self._ways):
                await self._close(place)
            await self._fetcher.close()

    # --- opening ----------------------------------------------------------------------------------------

    async def _stamp(self) -> tuple[object, ...]:
        """Changes when the integration or one of its accounts does: then everything is opened anew."""
        found = await self._context.store.integrations.get(self._name)
        if found is None:
            return ()
        profiles = [found.source_profile, found.target_profile]
        profiles += [found.fallback_profile] if found.fallback_profile else []
        return (found.version, *[await self._context.store.profiles.get(name) for name in profiles])

    async def _open(self, integration: Integration, place: str) -> _Way:
        """The way to the target, or to the fallback. Raises PlatintError."""
        if place in self._ways:
            return self._ways[place]
        if place == FALLBACK:
            integration = replace(
                integration,
                target_profile=integration.fallback_profile,
                target_platform=integration.fallback_platform,
            )
        plan = (await plan_integration(self._context, integration, [self._stream], name=self._name)).streams[
            0
        ]
        # Tries are counted here, where they outlive a restart: the driver makes each of them once.
        driver = await self._context.open_driver(plan.target.profile, retries=False)
        connector = self._context.registry.get(plan.target.platform)
        most = min(in_flight(connector), TOGETHER if plan.idempotent else IN_FLIGHT)
        try:
            # A delivery moves no position, so it needs no epoch of a run.
            target = await driver.open_target(replace(plan.target_plan(0, ""), in_flight=most))
        except BaseException:
            await _quietly(driver)
            raise
        rules = Rules(plan, self._policy(plan.target.platform), integration.error_strategy, self._context.rng)
        slots = asyncio.Semaphore(most) if connector.driver == "http" else None
        self._ways[place] = _Way(place, plan, driver, target, rules, slots)
        return self._ways[place]

    def _policy(self, platform: str) -> RetryPolicy:
        return self._context.registry.get(platform).errors.policy.retry_policy()

    async def _recover(self, integration: Integration) -> None:
        """Settle what a dead engine left on its way: sent again where that does no harm, else unknown."""
        outcomes = []
        for claimed in await self._store.sending(self._name, self._stream):
            if claimed.delivery.partial:
                # Nothing is sent of a record before all of it is stored.
                outcomes.append(released(claimed.delivery))
                continue
            way = await self._open(integration, claimed.delivery.place)
            fault = Fault(ErrorClass.TRANSIENT, "engine_gone", "The engine ended before the answer arrived.")
            if way.plan.idempotent:
                outcomes.append(
                    DeliveryOutcome(
                        claimed.delivery.number,
                        DeliveryState.PENDING,
                        fault.code,
                        f"{fault.message} It is sent again with the same key.",
                        place=claimed.delivery.place,
                    )
                )
            else:
                outcomes.append(way.rules.unknown(claimed, fault, self._context.clock.now_ms()))
        if outcomes:
            await self._store.settle(outcomes)
            log.info("%s/%s: %d in flight recovered", self._name, self._stream, len(outcomes))

    async def _close(self, place: str) -> None:
        way = self._ways.pop(place)
        await _quietly(way.target)
        await _quietly(way.driver)

    # --- the loop ---------------------------------------------------------------------------------------

    async def _serve(self, integration: Integration, stamp: tuple[object, ...]) -> None:
        clock = self._context.clock
        worked = clock.monotonic()
        while not self._stop.is_set():
            self.wake.clear()
            if await self._stamp() != stamp:
                return
            self.idle = False
            if await self._round(integration):
                worked = clock.monotonic()
                continue
            due = await self._store.next_due(self._name, self._stream)
            self.idle = due is None
            if due is None and clock.monotonic() - worked >= LINGER:
                await self._store.release(self._name, self._stream)
                return
            seconds = _LOOK if due is None else (due - clock.now_ms()) / 1000
            seconds = max(seconds, self._targets.wait(integration.target_profile), _SHORTEST)
            await self._rest(min(seconds, _LOOK))

    async def _rest(self, seconds: float) -> None:
        """Wait, at most until somebody has something new or the engine ends."""
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            pass

    async def _round(self, integration: Integration) -> bool:
        """Send what may be sent now; False when nothing may."""
        for place in list(self._stale):
            await self._close(place)
        self._stale.clear()
        sent = await self._to_primary(integration)
        if integration.error_strategy == "fallback":
            broken = self._targets.broken(integration.target_profile)
            sent = await self._pass(integration, FALLBACK, all_of_it=broken) or sent
        return sent

    async def _to_primary(self, integration: Integration) -> bool:
        """Send to the target what its breaker lets through. Raises TransientError when it cannot even be reached
        and there is no fallback."""
        profile = integration.target_profile
        admitted = await self._targets.admit(profile, self._policy(integration.target_platform))
        if admitted == 0:
            return False
        try:
            return await self._pass(integration, PRIMARY, admitted)
        except TransientError as error:
            await self._targets.failed(profile, error.message)
            if integration.error_strategy != "fallback":
                raise
            return False
        finally:
            if admitted == 1:
                self._targets.give_back(profile)

    async def _pass(
        self, integration: Integration, place: str, most: int | None = None, *, all_of_it: bool = False
    ) -> bool:
        """Claim what is due for one of the targets and send it; False when nothing was.

        Raises what opening the target raises.
        """
        if not await self._store.claimable(self._name, self._stream, place, all_of_it=all_of_it):
            return False
        way = await self._open(integration, place)
        if place == FALLBACK:
            most = await self._targets.admit(way.profile, way.rules.policy)
        try:
            claimed = await self._store.claim(
                self._name,
                self._stream,
                self._context.worker,
                way.batch if most is None else most,
                place,
                all_of_it=all_of_it,
            )
            if claimed:
                await self._send(integration, way, claimed)
            return bool(claimed)
        finally:
            if place == FALLBACK and most == 1:
                self._targets.give_back(way.profile)

    # --- sending ----------------------------------------------------------------------------------------

    async def _send(self, integration: Integration, way: _Way, claimed: Sequence[ClaimedDelivery]) -> None:
        failpoint("deliver.after_intent")
        whole = await self._fetcher.whole(integration, claimed)
        if whole.outcomes:
            await self._settle(whole.outcomes)
        if whole.fault is not None:
            self._hold(Held(whole.fault))
        items = await self._rows(way, whole.ready)
        if way.slots is not None:
            trying = self._targets.broken(way.profile)
            works = [self._one(way, item, way.slots, trying) for item in items]
        else:
            works = [self._write(way, items)] if items else []
        for result in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        if self._held is not None:
            held, self._held = self._held, None
            raise held

    async def _one(self, way: _Way, item: _ITEM, slots: asyncio.Semaphore, trying: bool) -> None:
        """Send one. `trying`: it shows whether a broken target works again."""
        async with slots:
            # What was claimed with those that opened the breaker waits like everything else.
            opened = not trying and self._targets.broken(way.profile)
            if self._held is not None or self._stop.is_set() or opened:
                await self._settle([released(item[0].delivery)])
                return
            await self._write(way, [item])

    async def _rows(self, way: _Way, claimed: Sequence[ClaimedDelivery]) -> list[_ITEM]:
        """The records as rows, mapped as in a sync; what is no row of this target is dead at once."""
        applies = way.target.applies if isinstance(way.target, AppliesOps) else frozenset({Op.UPSERT})
        items: list[_ITEM] = []
        bad: list[DeliveryOutcome] = []
        for one in claimed:
            delivery = one.delivery
            try:
                if delivery.op not in applies:
                    raise unsupported(delivery.op)
                raw = one.raw.decode("utf-8", "surrogatepass")
                row = make_row(way.plan, raw, loads(raw), delivery.idempotency_key, delivery.op)
            except PlatintError as error:
                fault = fault_of(error)
                bad.append(
                    way.rules.dead(one, replace(fault, error_class=ErrorClass.RECORD, field=error.where))
                )
            else:
                items.append((one, _versioned(way.plan, row, delivery)))
        if bad:
            await self._settle(bad)
        return items

    async def _write(self, way: _Way, items: Sequence[_ITEM]) -> None:
        """Write rows and settle what came of them."""
        try:
            result = await way.target.write(Batch([row for _, row in items], None))
            failpoint("deliver.after_send")
        except RateLimited as error:
            self._hold(Held(fault_of(error), error.until_ms))
            await self._settle([released(one.delivery, error.code) for one, _ in items])
        except StoreError:
            raise
        except UnknownOutcome as error:
            await self._lost(way, items, error)
        except RecordError as error:
            if len(items) > 1:
                await self._halves(way, items)
            else:
                await self._settle([way.rules.dead(one, fault_of(error)) for one, _ in items])
        except PlatintError as error:
            await self._refused(way, items, error)
        except Exception as error:
            log.exception("delivering %s/%s", self._name, self._stream)
            await self._lost(way, items, error)
        else:
            await self._written(way, items, result)

    async def _halves(self, way: _Way, items: Sequence[_ITEM]) -> None:
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            await self._write(way, half)

    def _hold(self, held: Held) -> None:
        """Let nothing more be sent; the first reason is the one that is told."""
        self._held = self._held or held

    async def _lost(self, way: _Way, items: Sequence[_ITEM], error: Exception) -> None:
        now, fault = self._context.clock.now_ms(), fault_of(error)
        self._stale.add(way.place)
        await self._targets.failed(way.profile, fault.message)
        await self._settle([way.rules.unknown(one, fault, now) for one, _ in items])

    async def _refused(self, way: _Way, items: Sequence[_ITEM], error: PlatintError) -> None:
        """The target refused everything: nothing was written."""
        fault = fault_of(error)
        if error.error_class is not ErrorClass.TRANSIENT:
            self._hold(Held(fault))
            await self._settle([released(one.delivery, error.code) for one, _ in items])
            return
        self._stale.add(way.place)
        await self._targets.failed(way.profile, fault.message)
        # No record's fault: of what was to be written together the oldest bears the try, the others only wait.
        first = way.rules.failed(items[0][0], fault, self._context.clock.now_ms())
        rest = [
            replace(released(one.delivery, fault.code, first.message), next_ms=first.next_ms)
            for one, _ in items[1:]
        ]
        await self._settle([first, *rest])

    async def _written(self, way: _Way, items: Sequence[_ITEM], result: WriteResult) -> None:
        faults = dict(result.faults)
        if 0 < result.superseded < len(items) - len(faults):
            # The target holds newer versions of some of the rows and does not say of which: asked in halves.
            await self._halves(way, items)
            return
        now = self._context.clock.now_ms()
        outcomes: list[DeliveryOutcome] = []
        for index, (one, _) in enumerate(items):
            fault = faults.get(index)
            if fault is not None:
                outcomes.append(await self._faulty(way, one, fault, now))
                continue
            self._strange = 0
            outcome = done(one.delivery)
            if result.superseded and way.place == PRIMARY:
                outcome = replace(
                    outcome, state=DeliveryState.SUPERSEDED, message="The target holds a newer version."
                )
            outcomes.append(outcome)
        await self._settle(outcomes)
        if len(faults) < len(items):
            await self._targets.succeeded(way.profile)
            if way.place == PRIMARY and not self.works:
                self.works = True
                await self._store.release(self._name, self._stream)
        self._measure(way, items, outcomes, now)

    async def _faulty(self, way: _Way, one: ClaimedDelivery, fault: Fault, now: int) -> DeliveryOutcome:
        """What becomes of a row that the target took note of and did not write."""
        if fault.code == NOT_SENT:
            return released(one.delivery, fault.code)
        if fault.code == UnknownOutcome.code:
            await self._targets.failed(way.profile, fault.message)
            return way.rules.unknown(one, fault, now)
        if fault.error_class in (ErrorClass.AUTH, ErrorClass.CONFIG):
            self._hold(Held(fault))
            return released(one.delivery, fault.code)
        if fault.error_class in (ErrorClass.TRANSIENT, ErrorClass.RATE_LIMITED):
            await self._targets.failed(way.profile, fault.message)
            return way.rules.failed(one, fault, now)
        await self._targets.succeeded(way.profile)
        self._strange = self._strange + 1 if fault.error_class is ErrorClass.SYSTEMIC else 0
        if self._strange >= _STRANGE:
            self._strange = 0
            self._hold(Held(fault))
            return released(one.delivery, fault.code)
        return way.rules.dead(one, fault)

    async def _settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        failpoint("deliver.before_settle")
        await self._store.settle(outcomes, self._context.worker)
        ended = [item for item in outcomes if item.state in _ENDED]
        dead = [item.letter for item in ended if item.letter is not None]
        self._drain.count(len(ended), [(letter.fingerprint, letter.fault) for letter in dead])
        if (error := self._drain.stop()) is not None:
            self._hold(Held(fault_of(error)))

    def _measure(
        self, way: _Way, items: Sequence[_ITEM], outcomes: Sequence[DeliveryOutcome], now: int
    ) -> None:
        """How long it took from the request that brought an event to its being written."""
        side, sync = way.plan.source, f"{self._name}/{self._stream}"
        for (one, _), outcome in zip(items, outcomes, strict=True):
            if outcome.state is DeliveryState.DONE:
                seconds = max(0, now - one.delivery.received_ms) / 1000
                self._context.telemetry.lag(side.platform, side.profile.name, sync, seconds)


async def _quietly(thing: Target | Driver) -> None:
    try:
        await thing.close()
    except Exception as error:
        log.warning("a target did not close: %s", REDACTOR.redact(repr(error)))


def _versioned(plan: StreamPlan, row: Row, delivery: Delivery) -> Row:
    """The row with a version: the stream's cursor field as in a sync, else when the event happened."""
    if plan.cursor is not None:
        return row
    happened = delivery.occurred_ms if delivery.occurred_ms is not None else delivery.received_ms
    return row._replace(version=happened)
