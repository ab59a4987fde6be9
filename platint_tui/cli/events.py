"""`platint-tui events`: what arrived, where it went, sending it once more, pausing and refusing sources."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TypeVar

from platint_tui.cli import exporting
from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.events import Delivery, DeliveryState, EventState, SourceState
from platint_tui.core.units import parse_duration
from platint_tui.services import events, export
from platint_tui.services.events import DeliveryFilter, EventFilter, Resent
from platint_tui.services.inbound import event_filter
from platint_tui.services.workspace import Workspace

_State = TypeVar("_State", bound=StrEnum)


def _states(kind: type[_State], wanted: Sequence[str], what: str) -> tuple[_State, ...]:
    """The states that were asked for, none for any. Raises UsageError."""
    try:
        return () if "any" in wanted else tuple(kind(item) for item in wanted)
    except ValueError:
        words = ", ".join([*kind, "any"])
        raise UsageError(f"'{wanted[-1]}' is no state of {what}.", hint=f"One of {words}.") from None


def _where(options: Namespace, workspace: Workspace) -> EventFilter:
    since = 0
    if options.since:
        try:
            since = workspace.clock.now_ms() - int(parse_duration(options.since) * 1000)
        except ConfigError as error:
            raise UsageError(error.message, hint=error.hint) from None
    typed = event_filter(options.filter, "", workspace.clock.now_ms())
    return EventFilter(
        profile=options.profile or typed.profile,
        type=options.type or typed.type,
        states=_states(EventState, options.state, "an event") or typed.states,
        since_ms=max(since, typed.since_ms),
        text=" ".join(part for part in (typed.text, options.text) if part),
    )


async def list_events(options: Namespace) -> int:
    """Events, newest first."""
    async with opened(options) as workspace:
        numbers = await events.numbers(workspace, _where(options, workspace), options.limit)
        found = await events.rows(workspace, numbers)
    if options.json:
        document([events.summary(item) for item in found])
        return ExitCode.DONE
    table(
        ("NUMBER", "STATE", "PROFILE", "TYPE", "ID", "OBJECT", "SEEN", "RECEIVED"),
        [
            (
                item.number,
                item.state.value,
                item.profile,
                item.type,
                item.event_id,
                item.order_key,
                item.seen,
                moment(item.received_ms),
            )
            for item in found
        ],
    )
    return ExitCode.DONE


async def show(options: Namespace) -> int:
    """One event whole, with its deliveries."""
    async with opened(options) as workspace:
        event = await events.find(workspace, options.event)
        sent = await events.deliveries(workspace, DeliveryFilter(event=event.id), 1_000)
    if options.json:
        document(events.document(event, sent))
        return ExitCode.DONE
    line(f"event {event.number} of {event.profile}: {event.type or 'no type'}, {event.state.value}")
    line(f"id {event.event_id}, object {event.order_key or '-'}, {plural(event.size, 'byte')}")
    seen = f", seen {event.seen} times, last {moment(event.last_seen_ms)}" if event.seen > 1 else ""
    line(f"received {moment(event.received_ms)}{seen}")
    line(f"happened {moment(event.occurred_ms) or 'not said'}, verified by {event.verified_by or '-'}")
    for name, value in event.headers:
        line(f"{name}: {value}")
    line()
    line(event.body.decode("utf-8", "backslashreplace"))
    if sent:
        line()
        _print_deliveries(sent)
    return ExitCode.DONE


async def export_events(options: Namespace) -> int:
    """Events as text; a file must be new and is readable by its owner only."""
    async with opened(options) as workspace:
        ids = await events.matching(workspace, options.events, _where(options, workspace))
        if options.dry_run:
            note(f"{plural(len(ids), 'event')} would be exported.")
            return ExitCode.DONE
        told = export.Exported()
        texts = export.event_texts(workspace, ids, export.Form(options.format), told)
        return await exporting.write(texts, told, options.output, "event")


async def deliveries(options: Namespace) -> int:
    """Where events went, newest first."""
    async with opened(options) as workspace:
        where = DeliveryFilter(
            event=(await events.find(workspace, options.event)).id if options.event else "",
            integration=options.integration,
            stream=options.stream,
            states=_states(DeliveryState, options.state, "a delivery"),
        )
        found = await events.deliveries(workspace, where, options.limit)
    if options.json:
        document([asdict(item) for item in found])
    else:
        _print_deliveries(found)
    return ExitCode.DONE


def _print_deliveries(found: Sequence[Delivery]) -> None:
    table(
        ("NUMBER", "EVENT", "TO", "KEY", "STATE", "TRIES", "NEXT", "ENDED", "WHY"),
        [
            (
                item.number,
                item.event_number,
                f"{item.integration}/{item.stream}",
                item.record_key,
                item.state.value,
                item.attempts,
                moment(item.next_ms or None) if item.ended_ms is None else "",
                moment(item.ended_ms),
                item.message[:80],
            )
            for item in found
        ],
    )


async def sources(options: Namespace) -> int:
    """Profiles with webhooks, and what holds their deliveries up."""
    async with opened(options) as workspace:
        found = await events.sources(workspace)
    if options.json:
        document(
            {
                "sources": [
                    {
                        **asdict(row.source),
                        "waiting": row.waiting,
                        "delivered": row.delivered,
                        "given_up": row.given_up,
                        "success_rate": row.success_rate,
                    }
                    for row in found.rows
                ],
                "held": [asdict(item) for item in found.holds],
                "targets": [asdict(item) for item in found.targets],
            }
        )
        return ExitCode.DONE
    table(
        ("PROFILE", "STATE", "EVENTS", "REFUSED", "LAST", "WAITING", "DELIVERED 24H", "SUCCESS"),
        [
            (
                row.source.profile,
                row.source.state.value,
                row.source.events,
                row.source.rejected,
                moment(row.source.last_ms),
                row.waiting,
                row.delivered,
                "" if row.success_rate is None else f"{row.success_rate:.1%}",
            )
            for row in found.rows
        ],
    )
    for hold in found.holds:
        note(f"Held: {hold.integration}/{hold.stream} since {moment(hold.since_ms)}: {hold.message}")
    for target in found.targets:
        note(
            f"Target {target.profile}: {target.state.replace('_', ' ')} after {target.failures} failures, tried"
            f" again at {moment(target.until_ms)}: {target.message}"
        )
    return ExitCode.DONE


async def resend(options: Namespace) -> int:
    """Deliver events once more: shows what will be delivered, asks, does it."""
    async with opened(options) as workspace:
        where = _where(options, workspace)
        if not options.events and where == EventFilter():
            raise UsageError(
                "Which events? None are named and nothing is filtered by.",
                hint="Name events, or say --filter, --profile, --type, --state, --since or --text.",
            )
        ids = await events.matching(workspace, options.events, where)
        plan = await events.resend(
            workspace, ids, integration=options.integration, again=options.again, dry_run=True
        )
        if not options.json or options.dry_run:
            _print_plan(plan, options)
        if options.dry_run or not plan.total:
            if options.json and not options.dry_run:
                document(asdict(plan))
            return ExitCode.DONE
        question = f"Deliver {plural(plan.total, 'record')} of {plural(plan.events, 'event')}?"
        if plan.again:
            question = f"{question} {sum(plan.again.values()):,} of them have been delivered before."
        confirm(question, yes=options.yes)
        done = await events.resend(workspace, ids, integration=options.integration, again=options.again)
    if options.json:
        document(asdict(done))
    note(
        f"On their way: {plural(done.total, 'record')}. `platint-tui events deliveries` shows what becomes of them."
    )
    return ExitCode.DONE


def _print_plan(plan: Resent, options: Namespace) -> None:
    if options.json:
        document(asdict(plan))
        return
    rows = sorted({*plan.new, *plan.again, *plan.left})
    table(
        ("TO", "NEW", "ONCE MORE", "LEFT AS THEY ARE"),
        [(to, plan.new.get(to, 0), plan.again.get(to, 0), plan.left.get(to, 0)) for to in rows],
    )
    note(f"{plural(plan.events, 'event')}; {plan.unwanted:,} are wanted by no integration.")
    if plan.waiting:
        note(f"{plan.waiting:,} are not routed yet: they are delivered without being asked for.")


async def _set(options: Namespace, state: SourceState, done: str, already: str) -> int:
    changed = {}
    async with opened(options) as workspace:
        for name in options.profiles:
            changed[name] = await events.set_state(workspace, name, state)
    if options.json:
        document([{"profile": name, "state": state.value, "changed": it} for name, it in changed.items()])
    for name, it in changed.items():
        note(f"{name}: {done if it else already}")
    return ExitCode.DONE


async def pause(options: Namespace) -> int:
    """Take the webhooks of profiles, and keep them undelivered."""
    return await _set(options, SourceState.PAUSED, "what comes is kept until `events resume`.", "is paused.")


async def resume(options: Namespace) -> int:
    """Deliver what was kept, and what comes."""
    return await _set(options, SourceState.ACTIVE, "what was kept is delivered now.", "is active.")


async def enable(options: Namespace) -> int:
    """Take the webhooks of profiles again."""
    return await _set(options, SourceState.ACTIVE, "requests are taken again.", "is active.")


async def disable(options: Namespace) -> int:
    """Refuse the webhooks of profiles; a gap is open from now on."""
    names = ", ".join(options.profiles)
    confirm(
        f"Refuse every webhook of {names} from now on? Their platforms may give up on them.", yes=options.yes
    )
    said = "requests are refused from now on, which is a gap until they are fetched."
    return await _set(options, SourceState.DISABLED, said, "is disabled.")
