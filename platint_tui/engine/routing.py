"""From events to deliveries: what an event is to every stream of every integration that its source feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError, ErrorClass, NotFound, RecordError
from platint_tui.core.events import WAITING_DELIVERIES, DeliveryState, Event, EventState, NewDelivery
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import canonical_key, content_hash
from platint_tui.core.model import Fault, Integration, NewDeadLetter, Op
from platint_tui.core.redaction import REDACTOR
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.fingerprint import fingerprint
from platint_tui.engine.planner import FedStream, fed_streams_of, suggest
from platint_tui.engine.rows import record_key
from platint_tui.manifest.feeds import events_stream
from platint_tui.manifest.schema import Connector
from platint_tui.store.ports import RoutedEvent

if TYPE_CHECKING:
    from platint_tui.drivers.http.webhooks.records import EventRecord

BATCH = 200
"""Events routed in one transaction."""
AT_ONCE = 10
"""Events looked at before others have their turn."""
EVENT = "event"
"""The direction of a dead letter that came as an event."""
EVERY_STREAM = "*"
"""The stream of a hold that concerns a whole integration."""
_TRY_AGAIN_MS = 2_000
_PARTIAL = (
    "The event has some fields of the record only, and its platform has no request that brings the whole record. "
    "Nothing was written of it: it would empty the other fields. A sync that reads the stream brings them."
)
_DELETES_IGNORED = "The integration ignores deleted records of this stream (deletes: ignore)."


@dataclass(frozen=True, slots=True)
class Taker:
    """An integration with the streams of it that events feed."""

    integration: Integration
    connector: Connector
    streams: dict[str, FedStream]


class Router:
    """Routes what is new. `blocked` are the sources whose events had to wait at the last look."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.blocked: set[str] = set()

    async def route_new(self) -> int:
        """Route everything that is new, a batch at a time; returns how many events were.

        Events of a source that an integration cannot be planned for (a broken manifest, a profile that is gone)
        stay new, and the integration is shown as held. Raises StoreError.
        """
        deliveries = self._context.store.deliveries
        done, self.blocked = 0, set()
        while profiles := {*await deliveries.unrouted_sources()} - self.blocked:
            began = self._context.clock.monotonic()
            takers, broken = await self._takers(profiles)
            self.blocked |= broken
            nobodys = profiles - takers.keys() - self.blocked
            for profile in sorted(nobodys):
                done += await deliveries.unwanted(profile, BATCH)
            events = await deliveries.unrouted(BATCH, sorted(self.blocked | nobodys))
            routed = []
            for number, event in enumerate(events):
                if number % AT_ONCE == 0:
                    # Whoever sends us something meanwhile is not to wait for the whole batch.
                    await asyncio.sleep(0)
                if event.profile in takers and event.profile not in self.blocked:
                    routed.append(_routed(takers[event.profile], event))
            await deliveries.route(routed)
            failpoint("route.after_commit")
            done += len(routed)
            # Events wait on the disk; their senders would wait for an answer.
            await self._context.pressure.give_way(self._context.clock.monotonic() - began)
        return done

    async def _takers(self, profiles: set[str]) -> tuple[dict[str, list[Taker]], set[str]]:
        """The integrations of each profile, and the profiles whose events have to wait."""
        found: dict[str, list[Taker]] = {}
        broken: set[str] = set()
        deliveries, until = self._context.store.deliveries, self._context.clock.now_ms() + _TRY_AGAIN_MS
        for item in await self._context.store.integrations.list():
            if item.receives and item.source_profile in profiles:
                try:
                    found.setdefault(item.source_profile, []).append(await taker_of(self._context, item))
                    await deliveries.release(item.name, EVERY_STREAM)
                except ConfigError as error:
                    broken.add(item.source_profile)
                    text = REDACTOR.redact(error.sentence())
                    await deliveries.hold(item.name, EVERY_STREAM, error.code, text, until)
        return found, broken


async def taker_of(context: Context, integration: Integration) -> Taker:
    """An integration as events see it. Raises ConfigError when its source is not usable."""
    return Taker(
        integration,
        context.registry.get(integration.source_platform),
        await fed_streams_of(context, integration),
    )


def _routed(takers: Sequence[Taker], event: Event) -> RoutedEvent:
    if not event.intact:
        text = (
            f"Event {event.number} is not what was stored: the disk changed it, so it is not delivered. "
            "Let the platform send it once more."
        )
        return RoutedEvent(event, EventState.UNWANTED, (), text)
    deliveries = deliveries_of(takers, event)
    return RoutedEvent(event, EventState.ROUTED if deliveries else EventState.UNWANTED, deliveries)


def deliveries_of(takers: Sequence[Taker], event: Event) -> list[NewDelivery]:
    """One delivery for every record of the event that a stream wants; of equal keys the last one counts."""
    found: dict[tuple[str, str, str], NewDelivery] = {}
    for taker in takers:
        for record in _records(taker, event):
            stream = taker.streams.get(record.resource)
            if stream is not None:
                made = _delivery(taker, stream, event, record)
                found.pop((made.integration, made.stream, made.record_key), None)
                found[made.integration, made.stream, made.record_key] = made
    return list(found.values())


def _records(taker: Taker, event: Event) -> list[EventRecord]:
    # Here, so that an engine without webhooks does not load what speaks HTTP.
    from platint_tui.drivers.http.webhooks.records import event_record, records_of

    found = records_of(taker.connector, event)
    if events_stream(taker.connector) in taker.streams:
        found.append(event_record(taker.connector, event))
    return found


def _delivery(taker: Taker, stream: FedStream, event: Event, record: EventRecord) -> NewDelivery:
    """The delivery of one record: waiting, skipped with the reason, or dead when it is no record."""
    name, mapping = taker.integration.name, stream.mapping
    # Without a key of its own it is told apart by its content.
    key, fault = canonical_key([content_hash(record.raw)]), _fault(stream, record)
    if fault is None:
        try:
            key = record_key(record.value, record.raw, stream.key)
        except RecordError as error:
            fault = Fault(ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint)
    own = digest(event.id, name, mapping.stream, key)
    made = NewDelivery(
        name, taker.integration.version, mapping.stream, key, own, _bytes(record.raw), record.op
    )
    if fault is not None:
        return _dead(taker, made, record, fault)
    if record.op is Op.DELETE and mapping.deletes == "ignore":
        return _skipped(made, "deletes_ignored", _DELETES_IGNORED)
    if record.partial and record.op is Op.UPSERT:
        return replace(made, partial=True) if stream.fetches else _skipped(made, "partial", _PARTIAL)
    return made


def _fault(stream: FedStream, record: EventRecord) -> Fault | None:
    if stream.fault is not None:
        return Fault(
            ErrorClass.CONFIG,
            stream.fault.code,
            REDACTOR.redact(stream.fault.message),
            hint=REDACTOR.redact(stream.fault.hint),
        )
    if record.fault:
        return Fault(ErrorClass.RECORD, "not_a_record", f"This event holds no record: {record.fault}")
    if record.op is Op.DELETE and not stream.key:
        return Fault(
            ErrorClass.RECORD,
            "key",
            "A deleted record of a stream without a key cannot be found at the target.",
        )
    return None


def _skipped(made: NewDelivery, code: str, message: str) -> NewDelivery:
    return replace(made, state=DeliveryState.SKIPPED, code=code, message=message)


def _dead(taker: Taker, made: NewDelivery, record: EventRecord, fault: Fault) -> NewDelivery:
    """What cannot be delivered as it is lies in the inbox at once: no later try would change it."""
    integration = taker.integration
    letter = NewDeadLetter(
        profile=integration.source_profile,
        platform=integration.source_platform,
        integration=made.integration,
        stream=made.stream,
        run="",
        manifest_version=taker.connector.version,
        record_key="",
        payload=made.raw,
        content_hash=content_hash(record.raw),
        idempotency_key=made.idempotency_key,
        fingerprint=fingerprint(integration.source_platform, made.integration, made.stream, fault),
        fault=fault,
        direction=EVENT,
        op=made.op,
        integration_version=integration.version,
    )
    return replace(made, state=DeliveryState.DEAD, code=fault.code, message=fault.message, letter=letter)


def _bytes(raw: str) -> bytes:
    return raw.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Resent:
    """What came, or would come, of delivering events once more. Counts are of deliveries, by `integration/stream`.

    `new` have not been delivered before, `again` have ended and happen once more. `left` are left as they are: they
    have ended, wait, or were overtaken by a later event of their record. `unwanted` are events that no integration
    wants, `waiting` those that are not routed yet.
    """

    new: dict[str, int]
    again: dict[str, int]
    left: dict[str, int]
    unwanted: int
    waiting: int


async def resend(
    context: Context, ids: Sequence[str], *, integration: str = "", again: bool = False, dry_run: bool = False
) -> Resent:
    """Deliver events that were routed before to the integrations of today (or to one of them).

    What has been delivered is left alone unless `again`. Raises NotFound for an integration that is not there,
    ConfigError for one that takes no events or whose source is not usable.
    """
    if integration:
        found = await context.store.integrations.get(integration)
        if found is None:
            names = [item.name for item in await context.store.integrations.list()]
            raise NotFound(f"There is no integration '{integration}'.", hint=suggest(integration, names))
        if not found.receives:
            raise ConfigError(
                f"'{integration}' takes no events: it is a sync.",
                hint="`integration_type: full` or `webhook_automation` in its file makes it take them.",
            )
    takers = [
        await taker_of(context, item)
        for item in await context.store.integrations.list()
        if item.receives and integration in ("", item.name)
    ]
    deliveries = context.store.deliveries
    counts = Resent({}, {}, {}, 0, 0)
    unwanted = waiting = 0
    for event in await deliveries.whole(ids):
        if event.state in (EventState.NEW, EventState.HANDSHAKE) or not event.intact:
            waiting += event.state is EventState.NEW
            continue
        own = [taker for taker in takers if taker.integration.source_profile == event.profile]
        wanted = deliveries_of(own, event)
        unwanted += not wanted
        known = await deliveries.known(event.id)
        late = [] if again else await deliveries.overtaken(event, wanted)
        for item in wanted:
            state = known.get((item.integration, item.stream, item.record_key))
            ended = state not in WAITING_DELIVERIES
            fresh = state is None and item not in late
            kind = counts.new if fresh else counts.again if again and state and ended else counts.left
            where = f"{item.integration}/{item.stream}"
            kind[where] = kind.get(where, 0) + 1
        if wanted and not dry_run:
            await deliveries.resend(event, wanted, again=again)
    return replace(counts, unwanted=unwanted, waiting=waiting)
