"""What a plan, a forecast and a replay job say, as lines of (text, tone) pieces. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from platint_tui.core.jsontext import dumps
from platint_tui.core.model import ReplayJob
from platint_tui.core.replays import (
    BulkPlan,
    Forecast,
    MappingOf,
    Order,
    PlannedTarget,
    Reason,
    Rendered,
    ReplayOptions,
    Simulation,
)
from platint_tui.core.states import ReplayState
from platint_tui.tui import glyphs, present
from platint_tui.tui.screens.deadletters.words import key_text
from platint_tui.tui.widgets.cells import fit

Lines = list[list[tuple[str, str]]]
_WIDE = 11
_ORDERS = {
    Order.NEWEST: "of each record the newest",
    Order.OLDEST: "oldest first, by record",
    Order.ARRIVED: "one by one, as they arrived",
}
_STEPS = {
    "payload": "the payload",
    "patch": "the correction",
    "mapping": "the mapping",
    "source": "the stream's schema",
    "target": "the target's schema",
    "render": "the request",
    "answer": "the recorded answer",
}


def _fact(name: str, text: str, tone: str = "") -> list[tuple[str, str]]:
    return [(f"{name:<{_WIDE}}", "muted"), (text, tone)]


# --- the plan of a replay --------------------------------------------------------------------------------


def plan_lines(plan: BulkPlan, options: ReplayOptions, now_ms: int, width: int) -> Lines:
    """Count, targets, age, duplicates, what is left out, time, and the first as they would be sent."""
    lines: Lines = [line for item in plan.targets for line in _target(item)]
    if not plan.total:
        lines.append([("Nothing is left to send.", "warn")])
    else:
        takes = "unknown" if plan.seconds is None else f"about {present.duration(plan.seconds)}"
        lines.append(_fact("oldest", f"{present.age(plan.oldest_ms, now_ms)}, takes {takes}"))
    twice = [
        f"{present.count(number)} {what}"
        for number, what in ((plan.same_record, "of the same record"), (plan.same_content, "equal"))
        if number
    ]
    if twice:
        lines.append(_fact("duplicates", ", ".join(twice), "warn"))
    left = _left_out(plan)
    if left:
        lines.append(_fact("left out", ", ".join(left), "warn"))
    lines += [_fact("note", note, "warn") for note in plan.notes]
    for index, item in enumerate(plan.first):
        lines.append(_fact("" if index else "first", fit(_short(item), max(20, width - _WIDE)).rstrip()))
    if plan.total > len(plan.first) > 0:
        lines.append(_fact("", f"and {present.count(plan.total - len(plan.first))} more", "muted"))
    return lines


def _target(item: PlannedTarget) -> Lines:
    sure = "may be sent twice" if item.idempotent else "must not be sent twice"
    rate = f", {present.rate(item.rate)} allowed" if item.rate is not None else ""
    return [
        [
            *_fact("to", f"{item.profile} ", "strong"),
            (item.environment, "accent" if item.environment == "production" else "muted"),
            (f"  {present.count(item.count)} to {item.address or item.platform}", ""),
        ],
        _fact("", f"{sure}{rate}", "muted"),
    ]


def _left_out(plan: BulkPlan) -> list[str]:
    kinds = (
        (plan.unknown, "whose answer was lost"),
        (plan.delivered, "that arrived"),
        (plan.busy, "in another replay"),
        (plan.outdated, "with a newer version"),
        (plan.closed, "that are closed"),
    )
    return [f"{present.count(number)} {what}" for number, what in kinds if number]


def _short(item: Rendered) -> str:
    return f"#{item.number} {_request(item.request)}"


def _request(request: Mapping[str, Any]) -> str:
    """A request in one line, its body first: the address is the same in all of them."""
    body = request.get("body", request)
    return body if isinstance(body, str) else dumps(body)


# --- what a simulation foresees --------------------------------------------------------------------------


def forecast_lines(found: Simulation) -> Lines:
    """Per fingerprint how many would pass, and why the others would not; then the first as they would be sent."""
    signs = glyphs.current()
    lines: Lines = []
    for item in found.forecasts:
        lines += _forecast(item)
    if found.warnings:
        lines += [[], [("odd, but would pass", "strong")]]
        for reason in found.warnings:
            lines.append(_reason(reason, signs.bang, "warn"))
    if found.first:
        lines += [[], [("the first as they would be sent", "strong")]]
    for sent in found.first:
        lines += _rendered(sent)
    return lines


def _forecast(item: Forecast) -> Lines:
    signs = glyphs.current()
    good = item.passing == item.total
    lines: Lines = [
        [
            (f"{signs.tick if good else signs.cross} ", "ok" if good else "bad"),
            (item.words(), "strong"),
            (f"  issue {item.fingerprint[:8]}", "muted"),
        ]
    ]
    if item.superseded:
        text = f"  {present.count(item.superseded)} would not be sent: a newer version is there"
        lines.append([(text, "muted")])
    lines += [_reason(reason, signs.cross, "bad") for reason in item.reasons]
    return lines


def _reason(reason: Reason, sign: str, tone: str) -> list[tuple[str, str]]:
    where = f" in {reason.field}" if reason.field else ""
    examples = " ".join(f"#{number}" for number in reason.examples)
    step = _STEPS.get(reason.step, reason.step)
    return [
        (f"  {sign} {present.count(reason.count):>5}  ", tone),
        (f"{step}: {reason.code}{where}. {reason.message}", ""),
        (f"  {examples}", "muted"),
    ]


def _rendered(item: Rendered) -> Lines:
    request = item.request
    head = " ".join(str(request[name]) for name in ("method", "url") if request.get(name))
    lines: Lines = [
        [
            (f"#{item.number}  ", "muted"),
            (key_text(item.record_key), "strong"),
            (f"  to {item.target}", "muted"),
        ]
    ]
    if head:
        lines.append([(f"  {head}", "key")])
    lines.append([(f"  {_request(request)}", "")])
    return lines


def verdict(found: Simulation) -> tuple[str, str]:
    """`412 of 430 would pass.`, and its tone."""
    parts = [f"{found.words()}."]
    if found.superseded:
        parts.append(f"{present.count(found.superseded)} have a newer version and would not be sent.")
    if found.judged:
        parts.append(f"{present.count(found.judged)} were held against the answer of last time.")
    if found.cancelled:
        parts.append(f"It was stopped: {present.count(found.total - found.checked)} were not looked at.")
    parts.append("Nothing was sent.")
    tone = "ok" if found.passing == found.checked else "warn" if found.passing else "bad"
    return " ".join(parts), tone


# --- jobs ------------------------------------------------------------------------------------------------


def settled(job: ReplayJob) -> int:
    """Items of a job of which it is known what became of them."""
    return job.succeeded + job.failed + job.unknown + job.superseded


def counts(job: ReplayJob) -> str:
    """`412 arrived, 18 refused`."""
    parts = [f"{present.count(job.succeeded)} arrived"]
    for number, word in ((job.failed, "refused"), (job.unknown, "unknown"), (job.superseded, "superseded")):
        if number:
            parts.append(f"{present.count(number)} {word}")
    return ", ".join(parts)


def job_words(job: ReplayJob) -> tuple[str, str]:
    """A replay job in a sentence, and its tone."""
    rest = job.total - settled(job)
    if job.state == ReplayState.PLANNING:
        return "The replay is being planned.", "info"
    if job.state == ReplayState.WAITING:
        return f"The canary is back: {counts(job)}. {present.count(rest)} wait for your word.", "warn"
    if job.state == ReplayState.PAUSED:
        why = f" {job.error}" if job.error else ""
        return f"Replay paused: {counts(job)}, {present.count(rest)} left.{why}", "warn"
    if job.ended_ms is None:
        doing = {"cancelling": "Cancelling", "canary": "Canary"}.get(job.state, "Replaying")
        return f"{doing}: {present.count(settled(job))} of {present.count(job.total)}, {counts(job)}", "info"
    left = f", {present.count(rest)} not sent" if rest > 0 else ""
    end = "Replay cancelled" if job.state == ReplayState.CANCELLED else "Replay ended"
    tone = "ok" if job.succeeded + job.superseded == job.total else "warn" if job.succeeded else "bad"
    why = f" {job.error}" if job.error else ""
    return f"{end}: {counts(job)}{left}.{why}", tone


def line_words(job: ReplayJob) -> tuple[str, str, str]:
    """A job in the line under the lists: what it does, the tone, and the keys that steer it. Short enough for 80."""
    rest = present.count(job.total - settled(job))
    if job.state == ReplayState.WAITING:
        return f"canary back: {counts(job)}", "warn", f"P sends the other {rest}, x leaves them"
    if job.state == ReplayState.PAUSED:
        return f"paused: {counts(job)}, {rest} left", "warn", "P goes on, x ends it"
    if job.state in (ReplayState.PLANNING, ReplayState.CANCELLING):
        return str(job.state), "info", ""
    return (
        f"{present.count(settled(job))} of {present.count(job.total)}: {counts(job)}",
        "info",
        "P pauses, x cancels",
    )


def option_words(options: ReplayOptions) -> str:
    """How a job goes about it, in a few words."""
    parts = [_ORDERS[options.order]]
    if options.canary:
        parts.append(f"canary of {present.count(options.canary)}")
    if options.rate:
        parts.append(f"at most {present.rate(options.rate)}")
    if options.mapping == MappingOf.THEN:
        parts.append("mapping of that time")
    if options.to_profile:
        target = f"/{options.to_target}" if options.to_target else ""
        parts.append(f"to {options.to_profile}{target}")
    if options.unknown:
        parts.append("with those whose answer was lost")
    if options.forced:
        parts.append("forced")
    return ", ".join(parts)


def first_line(jobs: Sequence[ReplayJob]) -> ReplayJob | None:
    """The unfinished job that wants attention most: one that waits, else one that is paused, else the newest."""
    unfinished = [job for job in jobs if job.ended_ms is None]
    for state in (ReplayState.WAITING, ReplayState.PAUSED):
        for job in unfinished:
            if job.state == state:
                return job
    return unfinished[0] if unfinished else None
