"""Simulation of a replay: every payload taken along its way without being sent, and what a job would do."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import NATIVE, DeadLetter, JsonObject, Profile
from platint_tui.core.patch import Patch, patch_of
from platint_tui.core.ports import Driver, Judges
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.replays import (
    AS_USUAL,
    BulkPlan,
    Forecast,
    MappingOf,
    Order,
    PlannedTarget,
    Reason,
    Rendered,
    ReplayOptions,
    Simulation,
    Survey,
)
from platint_tui.core.states import DeadLetterState
from platint_tui.engine.context import Context
from platint_tui.engine.fingerprint import normalise
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.selecting import chosen_ids, options_from
from platint_tui.engine.ways import Examined, Finding, Way, examine, in_flight, plan_way, way_of

_AT_ONCE = 100
"""Dead letters whose payloads are in memory at a time."""
_EXAMPLES = 5
_TELL = 500
"""Dead letters after which a watcher is told how far it is."""
_HOUR_MS = 3_600_000


class Ways:
    """The ways of a simulation or a plan, each opened once; the drivers ask nobody."""

    def __init__(self, context: Context, options: ReplayOptions) -> None:
        self._context = context
        self._options = options
        self._drivers: dict[str, Driver] = {}
        self._ways: dict[tuple[str, str, int | None], Way | PlatintError] = {}

    async def of(self, integration: str, stream: str, version: int | None) -> Way | PlatintError:
        """The way of a stream, or why it has none."""
        key = (integration, stream, version if self._options.mapping is MappingOf.THEN else None)
        if key not in self._ways:
            try:
                plan = await plan_way(self._context, integration, stream, self._options, version)
                self._ways[key] = await way_of(self._context, plan, await self._driver(plan.target.profile))
            except PlatintError as error:
                self._ways[key] = error
        return self._ways[key]

    async def _driver(self, profile: Profile) -> Driver:
        if profile.name not in self._drivers:
            self._drivers[profile.name] = await self._context.open_driver(profile)
        return self._drivers[profile.name]

    async def close(self) -> None:
        """Release what was opened."""
        for driver in self._drivers.values():
            await driver.close()


@dataclass(slots=True)
class _Group:
    """The dead letters of one fingerprint so far."""

    total: int = 0
    passing: int = 0
    superseded: int = 0
    reasons: dict[tuple[str, ...], list[Any]] = field(default_factory=dict)


class _Tally:
    """Counts what becomes of dead letters; of each cause only some numbers are kept."""

    def __init__(self) -> None:
        self.groups: dict[str, _Group] = {}
        self.warnings: dict[tuple[str, ...], list[Any]] = {}
        self.judged = 0
        self._first: list[tuple[int, Rendered]] = []

    def fault(self, letter: DeadLetter, finding: Finding) -> None:
        """One that would not pass."""
        _count(self._group(letter).reasons, letter.number, finding)

    def superseded(self, letter: DeadLetter) -> None:
        """One that would not be sent: a newer version goes, or has gone."""
        self._group(letter).superseded += 1

    def passes(self, letter: DeadLetter, target: str, request: JsonObject) -> None:
        """One that would pass."""
        self._group(letter).passing += 1
        shown = Rendered(letter.number, letter.record_key, target, request)
        heapq.heappush(self._first, (-letter.number, shown))
        if len(self._first) > _EXAMPLES:
            heapq.heappop(self._first)

    def warn(self, letter: DeadLetter, findings: Sequence[Finding]) -> None:
        """What is odd about one that may pass all the same."""
        for finding in findings:
            _count(self.warnings, letter.number, finding)

    def _group(self, letter: DeadLetter) -> _Group:
        return self.groups.setdefault(letter.fingerprint, _Group())

    def result(self, total: int, checked: int, cancelled: bool) -> Simulation:
        """Everything counted so far."""
        forecasts = [
            Forecast(
                name,
                group.passing + group.superseded + sum(item[1] for item in group.reasons.values()),
                group.passing,
                group.superseded,
                _reasons(group.reasons),
            )
            for name, group in self.groups.items()
        ]
        return Simulation(
            total=total,
            checked=checked,
            passing=sum(item.passing for item in forecasts),
            superseded=sum(item.superseded for item in forecasts),
            forecasts=tuple(sorted(forecasts, key=lambda item: (-item.total, item.fingerprint))),
            warnings=_reasons(self.warnings),
            first=tuple(shown for _, shown in sorted(self._first, key=lambda item: -item[0])),
            judged=self.judged,
            cancelled=cancelled,
        )


def _count(causes: dict[tuple[str, ...], list[Any]], number: int, finding: Finding) -> None:
    key = (finding.step, finding.code, finding.field, normalise(finding.message))
    known = causes.setdefault(key, [finding, 0, []])
    known[1] += 1
    if len(known[2]) < _EXAMPLES:
        known[2].append(number)


def _reasons(causes: Mapping[tuple[str, ...], list[Any]]) -> tuple[Reason, ...]:
    found = [
        Reason(item.step, item.code, item.field, REDACTOR.redact(item.message), count, tuple(sorted(numbers)))
        for item, count, numbers in causes.values()
    ]
    return tuple(sorted(found, key=lambda item: (-item.count, item.step, item.code)))


async def simulate(context: Context, args: JsonObject, command: str) -> dict[str, Any]:
    """`simulate {dead_letters | fingerprint | where, patch | rule, options, recorded}`: a Simulation as a document.

    At most 100 payloads are in memory. `cancel_simulation` ends it; what was looked at is told then.
    """
    options = options_from(args, AS_USUAL)
    patch = await _patch(context, args)
    ids = await chosen_ids(context, args)
    if not ids:
        raise ConfigError("There is nothing to simulate.", hint="Choose dead letters that are open.")
    simulating = _Simulating(context, options, patch, bool(args.get("recorded")))
    try:
        found = await simulating.run(ids, command)
    finally:
        context.cancelled.discard(command)
        await simulating.ways.close()
    return asdict(found)


async def _patch(context: Context, args: JsonObject) -> Patch:
    if args.get("rule"):
        return (await context.store.rules.get(str(args["rule"]))).patch
    return patch_of(args.get("patch") or ())


class _Simulating:
    """One simulation."""

    def __init__(self, context: Context, options: ReplayOptions, patch: Patch, recorded: bool) -> None:
        self._context = context
        self._options = options
        self._patch = patch
        self._recorded = recorded
        self.ways = Ways(context, options)
        self._tally = _Tally()
        self._gone: set[tuple[str, str, str]] = set()
        """Records of which a newer version would pass."""

    async def run(self, ids: Sequence[str], command: str) -> Simulation:
        """Look at all of them, the newest version of each record first: where it passes, older ones do not go."""
        replays = self._context.store.replays
        order = await replays.ranked(ids)
        outdated = {identity for identity, newer in order if newer}
        wanted = [identity for identity, _ in order]
        checked = 0
        for start in range(0, len(wanted), _AT_ONCE):
            if command in self._context.cancelled:
                return self._tally.result(len(wanted), checked, True)
            some = wanted[start : start + _AT_ONCE]
            answers = await replays.last_answers(some) if self._recorded else {}
            for letter in await replays.whole(some):
                await self._look(letter, letter.id in outdated, answers.get(letter.id))
            checked += len(some)
            if checked % _TELL == 0:
                await self._context.store.commands.progress(
                    command, {"checked": checked, "total": len(wanted)}
                )
            await asyncio.sleep(0)
        return self._tally.result(len(wanted), checked, False)

    async def _look(
        self, letter: DeadLetter, outdated: bool, answer: tuple[JsonObject | None, JsonObject | None] | None
    ) -> None:
        tally = self._tally
        if (closed := _closed(letter, self._options)) is not None:
            tally.fault(letter, closed)
            return
        record = (letter.integration, letter.stream, letter.record_key)
        if outdated or (self._options.order is Order.NEWEST and record in self._gone):
            tally.superseded(letter)
            return
        if letter.direction == NATIVE:
            origin = str((letter.origin or {}).get("origin") or letter.stream)
            tally.passes(letter, f"{letter.profile}/{origin}", _native(letter, origin))
            return
        way = await self.ways.of(letter.integration, letter.stream, letter.integration_version)
        if isinstance(way, PlatintError):
            tally.fault(letter, Finding("target", way.code, "", way.sentence()))
            return
        found = examine(way, letter.payload, letter.idempotency_key, letter.op, self._patch)
        tally.warn(letter, found.warnings)
        fault = found.faults[0] if found.faults else self._refused(way, letter, found, answer)
        if fault is not None:
            tally.fault(letter, fault)
            return
        if letter.record_key:
            self._gone.add(record)
        target = f"{way.plan.target.profile.name}/{way.plan.mapping.target}"
        tally.passes(letter, target, found.request or {})

    def _refused(
        self,
        way: Way,
        letter: DeadLetter,
        found: Examined,
        answer: tuple[JsonObject | None, JsonObject | None] | None,
    ) -> Finding | None:
        """What the connector's rules say of the answer that just this request got, None when it never was sent or
        they would let it pass today."""
        if not self._recorded or not isinstance(way.driver, Judges) or found.request is None:
            return None
        request, response = answer or (letter.request, letter.response)
        if response is None or not _alike(request, found.request):
            return None
        self._tally.judged += 1
        fault = way.driver.judge(response)
        if fault is None:
            return None
        return Finding("answer", fault.code, fault.field, fault.message)


def _closed(letter: DeadLetter, options: ReplayOptions) -> Finding | None:
    """Why a job would not take this one."""
    allowed = {DeadLetterState.OPEN}
    if options.unknown:
        allowed.add(DeadLetterState.UNKNOWN)
    if options.forced:
        allowed.add(DeadLetterState.SUCCEEDED)
    if letter.state in allowed:
        return None
    return Finding("state", letter.state, "", f"It is {letter.state}, so a replay leaves it out.")


def _native(letter: DeadLetter, origin: str) -> JsonObject:
    return {"origin": origin, "body": REDACTOR.redact(letter.payload[:4096].decode("utf-8", "replace"))}


def _alike(sent: JsonObject | None, now: JsonObject) -> bool:
    """Whether a recorded request is the one that would be sent now: where it goes and what it says."""
    return sent is not None and all(
        sent.get(part) == now.get(part) for part in ("method", "url", "body", "cut")
    )


# --- the plan of a job -----------------------------------------------------------------------------------


async def plan_replay(context: Context, args: JsonObject) -> dict[str, Any]:
    """`plan_replay {dead_letters | fingerprint | where, options}`: a BulkPlan as a document."""
    options = options_from(args, AS_USUAL)
    survey = await context.store.replays.survey(await chosen_ids(context, args), options)
    ways = Ways(context, options)
    try:
        targets, notes = await _targets(context, ways, options, survey.by_place)
        first = [await _rendered(ways, letter) for letter in await context.store.replays.whole(survey.first)]
    finally:
        await ways.close()
    left_out = survey.left_out
    return asdict(
        BulkPlan(
            total=survey.total,
            targets=tuple(targets),
            oldest_ms=survey.oldest_ms,
            same_record=survey.same_record,
            same_content=survey.same_content,
            unknown=left_out.get("unknown", 0),
            delivered=left_out.get("delivered", 0),
            busy=left_out.get("busy", 0),
            outdated=left_out.get("outdated", 0),
            closed=left_out.get("closed", 0),
            first=tuple(first),
            seconds=await _seconds(context, targets, options),
            notes=(*notes, *_notes(options, survey, targets)),
            newest=survey.newest,
        )
    )


async def _targets(
    context: Context,
    ways: Ways,
    options: ReplayOptions,
    by_place: Mapping[tuple[str, str, int | None], int],
) -> tuple[list[PlannedTarget], list[str]]:
    """Where everything goes; raises what the first target that cannot be used raises."""
    found: dict[tuple[str, str], PlannedTarget] = {}
    notes: list[str] = []
    for (integration, stream, version), count in by_place.items():
        if not integration:
            target = await _origin(context, stream, count)
        else:
            way = await ways.of(integration, stream, version)
            if isinstance(way, PlatintError):
                raise way
            target = _planned(context, integration, way.plan, count)
            if options.mapping is MappingOf.THEN and version is None:
                notes.append(
                    f"It is not known how {integration}/{stream} was mapped then; today's mapping is used."
                )
        key = (target.integration, target.profile)
        known = found.get(key)
        total = count + (known.count if known is not None else 0)
        found[key] = PlannedTarget(**{**asdict(target), "count": total})
    return list(found.values()), notes


def _planned(context: Context, integration: str, plan: StreamPlan, count: int) -> PlannedTarget:
    profile, connector = plan.target.profile, context.registry.get(plan.target.platform)
    rates = [
        item.rate[0] / item.rate[1]
        for item in connector.limits
        if item.rate is not None and item.match.op in ("write", "any")
    ]
    return PlannedTarget(
        integration=integration,
        profile=profile.name,
        platform=profile.platform,
        environment=profile.environment.value,
        address=_address(profile),
        count=count,
        idempotent=plan.idempotent,
        in_flight=in_flight(connector),
        rate=min(rates, default=None),
    )


async def _origin(context: Context, profile: str, count: int) -> PlannedTarget:
    """A platform to which its own dead letters go back."""
    found = await context.store.profiles.get(profile)
    if found is None:
        raise ConfigError(f"The profile '{profile}' is gone.", hint="Add it again.")
    return PlannedTarget(
        "", profile, found.platform, found.environment.value, _address(found), count, False, 1, None
    )


def _address(profile: Profile) -> str:
    return ", ".join(profile.origins) or profile.fields.get("path", profile.fields.get("host", ""))


async def _rendered(ways: Ways, letter: DeadLetter) -> Rendered:
    if letter.direction == NATIVE:
        origin = str((letter.origin or {}).get("origin") or letter.stream)
        return Rendered(
            letter.number, letter.record_key, f"{letter.profile}/{origin}", _native(letter, origin)
        )
    way = await ways.of(letter.integration, letter.stream, letter.integration_version)
    if isinstance(way, PlatintError):
        raise way
    target = f"{way.plan.target.profile.name}/{way.plan.mapping.target}"
    found = examine(way, letter.payload, letter.idempotency_key, letter.op)
    if found.request is not None:
        return Rendered(letter.number, letter.record_key, target, found.request)
    why = found.faults[0].message if found.faults else ""
    return Rendered(letter.number, letter.record_key, target, {"error": REDACTOR.redact(why)})


async def _seconds(
    context: Context, targets: Sequence[PlannedTarget], options: ReplayOptions
) -> float | None:
    """About how long it takes: by the rates that are set, and by how fast the platforms answered of late."""
    if not targets:
        return None
    since = context.clock.now_ms() - _HOUR_MS
    seen = {
        item.platform: item.p50_ms for item in await context.store.metrics.summary(since, by_operation=False)
    }
    slowest: float | None = None
    for target in targets:
        spans = [target.count / target.rate] if target.rate else []
        latency = seen.get(target.platform)
        if latency is not None:
            spans.append(target.count * latency / 1000 / target.in_flight)
        if spans:
            slowest = max(slowest or 0.0, *spans)
    if options.rate:
        total = sum(target.count for target in targets)
        # While it is ramped up, half of the rate is used on the average.
        slowest = max(slowest or 0.0, total / options.rate + options.ramp / 2)
    return slowest


def _notes(options: ReplayOptions, survey: Survey, targets: Sequence[PlannedTarget]) -> list[str]:
    notes = []
    if survey.lost and not all(target.idempotent for target in targets):
        notes.append(
            f"The answer of {survey.lost:,} of them was lost, so they may have arrived: sent again, they may be there "
            "twice. Look at the target first."
        )
    if options.order is Order.NEWEST and survey.same_record:
        notes.append(
            "Of each record the newest version goes; when it arrives, the older ones are superseded."
        )
    if options.forced:
        notes.append(
            "What had arrived is sent once more with the same key; a newer version may be there by now."
        )
    if options.keeps:
        notes.append("The dead letters stay as they are: this target is not the one that they failed at.")
    return notes
