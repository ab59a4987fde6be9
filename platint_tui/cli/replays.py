"""`platint-tui dead edit / simulate / replay / jobs / job / fix`: correct dead letters and send them again."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from platint_tui.cli.choosing import chosen
from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened, pairs
from platint_tui.core.errors import ConfigError, ExitCode, PlatintError, UsageError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReplayJob
from platint_tui.core.patch import CAST, DEFAULT, DROP, RENAME, SET, Patch, documents, patch_of
from platint_tui.core.replays import BulkPlan, MappingOf, Order, Reason, ReplayOptions, Simulation
from platint_tui.core.rules import FixRule
from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.services import deadletters, edits, replays, rules
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.services.engine import local_engine, refuse_read_only
from platint_tui.services.letterfilters import whole_fingerprint
from platint_tui.services.replays import Selection
from platint_tui.services.workspace import Workspace

# --- what is meant ----------------------------------------------------------------------------------------


async def _selection(options: Namespace, workspace: Workspace, *, rule: FixRule | None = None) -> Selection:
    """The dead letters that the options mean. Raises UsageError without any, ConfigError for unknown ones."""
    states = [DeadLetterState.OPEN]
    if options.unknown:
        states.append(DeadLetterState.UNKNOWN)
    if options.force:
        states.append(DeadLetterState.SUCCEEDED)
    where = await chosen(options, workspace, tuple(states))
    narrowed = where != DeadLetterFilter(states=tuple(states))
    if options.ids and narrowed:
        raise UsageError("Say which by number or by a filter, not both.")
    if options.ids:
        letters = [(await deadletters.show(workspace, item)).letter for item in options.ids]
        return Selection(ids=tuple(letter.id for letter in letters))
    if rule is not None and not narrowed:
        where = replace(where, fingerprint=rule.fingerprint)
    elif not narrowed:
        raise UsageError(
            "Which dead letters?",
            hint="Give their numbers, --filter, --fingerprint, --integration, --stream or --text.",
        )
    return Selection(where=where)


def _options(options: Namespace) -> ReplayOptions:
    profile, _, target = options.to.partition(":")
    return ReplayOptions(
        canary=options.canary,
        auto=options.auto,
        rate=options.rate,
        ramp=options.ramp,
        order=Order(options.order),
        mapping=MappingOf(options.mapping),
        to_profile=profile,
        to_target=target,
        settle=options.settle,
        unknown=options.unknown,
        forced=options.force,
    )


def _patch(options: Namespace) -> Patch:
    """The steps that --set, --rename, --cast, --drop and --default mean, in that order. Raises ConfigError."""
    steps: list[dict[str, Any]] = []
    for path, value in pairs(options.set, "FIELD=JSON").items():
        steps.append({"op": SET, "path": path, "value": _value(path, value)})
    for path, to in pairs(options.rename, "FIELD=NEW").items():
        steps.append({"op": RENAME, "path": path, "to": to})
    for path, to in pairs(options.cast, "FIELD=TYPE").items():
        steps.append({"op": CAST, "path": path, "to": to})
    steps += [{"op": DROP, "path": path} for path in options.drop]
    for path, value in pairs(options.default, "FIELD=JSON").items():
        steps.append({"op": DEFAULT, "path": path, "value": _value(path, value)})
    return patch_of(steps)


def _value(name: str, text: str) -> Any:
    try:
        return loads(text)
    except PlatintError:
        # A bare word is what people type for a text; anything that looks like JSON must be JSON.
        if text[:1] in '{["' or text[:1].isdigit() or text in ("true", "false", "null"):
            raise UsageError(
                f"The value of '{name}' is not valid JSON.", hint="A text with quotes: '\"…\"'."
            ) from None
        return text


# --- edit -------------------------------------------------------------------------------------------------


async def edit(options: Namespace) -> int:
    """Change the payload; prints the child that holds the edit."""
    async with opened(options) as workspace:
        letter = (await deadletters.show(workspace, options.id)).letter
        patch = _patch(options)
        if options.stdin:
            text = sys.stdin.read()
        elif patch:
            text = edits.patched(letter.payload, patch)
        else:
            raise UsageError("Nothing to change.", hint="Say --set FIELD=JSON, --drop FIELD or --stdin.")
        checked = await edits.check_edit(workspace, letter.id, text)
        child = await edits.edit(workspace, letter.id, text, force=options.force)
    for changed in checked.diff:
        note(f"  {changed}")
    for warning in checked.warnings:
        note(f"warning: {warning}")
    if options.json:
        document(deadletters.summary(child))
    note(
        f"Dead letter {child.number} holds the edit; {letter.number} is kept. "
        f"Replay: platint-tui dead replay {child.number}"
    )
    return ExitCode.DONE


# --- simulate ---------------------------------------------------------------------------------------------


async def simulate(options: Namespace) -> int:
    """What a replay would do, without sending; exit code 3 when some would not pass."""
    async with opened(options) as workspace:
        rule = await workspace.store.rules.get(options.rule) if options.rule else None
        what = await _selection(options, workspace, rule=rule)
        async with local_engine(workspace):
            found = await replays.simulate(
                workspace,
                what,
                patch=_patch(options),
                rule=rule.id if rule is not None else "",
                options=_options(options),
                recorded=not options.without_answers,
            )
    if options.json:
        document(asdict(found))
    else:
        _show_simulation(found, verbose=options.bodies)
    return ExitCode.DONE if found.passing + found.superseded == found.checked else ExitCode.DEAD_LETTERS


def _show_simulation(found: Simulation, *, verbose: bool) -> None:
    line(f"{found.words()}; nothing was sent." + (" It was cancelled." if found.cancelled else ""))
    for forecast in found.forecasts:
        older = f", {forecast.superseded:,} replaced by a newer version" if forecast.superseded else ""
        line(f"{forecast.fingerprint[:12]}  {forecast.words()}{older}")
        for reason in forecast.reasons:
            line(f"    {_reason(reason)}")
    for warning in found.warnings:
        line(f"warning: {_reason(warning)}")
    if verbose:
        for item in found.first:
            line(f"{item.number} -> {item.target}")
            line(replays.rendered_words(item.request))


def _reason(reason: Reason) -> str:
    examples = ", ".join(map(str, reason.examples))
    return f"{reason.count:,}x {reason.step}/{reason.code}: {reason.message} [{examples}]"


# --- replay -----------------------------------------------------------------------------------------------


async def replay(options: Namespace) -> int:
    """Plan a job, ask, send and watch; exit code 3 when some failed again, are unknown or were not sent."""
    async with opened(options) as workspace:
        chosen = _options(options)
        if options.ids and not options.force:
            # Named one by one: an unknown one is a person's decision.
            for item in options.ids:
                await replays.replayable(workspace, item)
            chosen = ReplayOptions(**{**asdict(chosen), "unknown": True})
        what = await _selection(options, workspace)
        refuse_read_only(workspace, "replay")
        async with local_engine(workspace):
            plan = await replays.plan_bulk(workspace, what, chosen)
            if options.plan:
                if options.json:
                    document(asdict(plan))
                else:
                    _show_plan(plan)
                return ExitCode.DONE
            _show_plan(plan, note)
            _confirm(plan, options)
            started = await replays.start_bulk(workspace, what.as_planned(plan), chosen)
            job = await _watch(workspace, started, options)
    if options.json:
        document(asdict(job))
    return ExitCode.DONE if job.succeeded + job.superseded == job.total else ExitCode.DEAD_LETTERS


def _confirm(plan: BulkPlan, options: Namespace) -> None:
    if not plan.total:
        raise ConfigError("There is nothing to replay.", hint="Choose dead letters that are open.")
    confirm("Send?", yes=options.yes, word=plan.targets[0].profile)


def _show_plan(plan: BulkPlan, say: Any = line) -> None:
    for target in plan.targets:
        say(
            f"Plan: send {plural(target.count, 'dead letter')} to {target.profile} "
            f"({target.platform}, {target.environment}) at {target.address}."
        )
    if plan.oldest_ms is not None:
        say(f"The oldest is of {moment(plan.oldest_ms)}.")
    left = {
        "unknown": plan.unknown,
        "delivered": plan.delivered,
        "in another replay": plan.busy,
        "outdated": plan.outdated,
        "closed": plan.closed,
    }
    if any(left.values()):
        say("Left out: " + ", ".join(f"{count:,} {name}" for name, count in left.items() if count) + ".")
    if plan.same_record or plan.same_content:
        say(
            f"Among them {plan.same_record:,} of a record that is there already, {plan.same_content:,} equal."
        )
    if plan.seconds is not None:
        say(f"It takes about {_span(plan.seconds)} at the allowed rate.")
    for told in plan.notes:
        say(told)
    for item in plan.first:
        say(f"  {item.number}: {replays.rendered_words(item.request)[:300]}")


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


async def _watch(workspace: Workspace, started: ReplayJob, options: Namespace) -> ReplayJob:
    """Tell how a job goes until it ends, pauses or waits."""
    job = started
    async for job in replays.watch_replay(workspace, started.id):
        note(replay_progress(job))
    if job.state is ReplayState.WAITING:
        note(
            f"The canary of {job.options.canary} is over: `platint-tui dead job continue {job.id}` sends the rest, "
            f"`platint-tui dead job cancel {job.id}` leaves it open."
        )
    elif job.state is ReplayState.PAUSED:
        note(f"Paused: `platint-tui dead job resume {job.id}` goes on.")
    return job


def replay_progress(job: ReplayJob) -> str:
    """One line about a replay job."""
    return (
        f"replay: {job.succeeded} of {job.total} succeeded, {job.failed} failed, {job.unknown} unknown, "
        f"{job.superseded} superseded, {job.pending} pending {job.error}"
    ).rstrip()


# --- jobs -------------------------------------------------------------------------------------------------


async def jobs(options: Namespace) -> int:
    """Replay jobs, newest first."""
    async with opened(options) as workspace:
        found = await replays.replay_jobs(workspace, options.limit)
    if options.json:
        document([asdict(job) for job in found])
        return ExitCode.DONE
    table(
        ("JOB", "STATE", "TOTAL", "DONE", "FAILED", "UNKNOWN", "PENDING", "BY", "STARTED", "SAID"),
        [
            (
                job.id,
                job.state.value,
                job.total,
                job.succeeded,
                job.failed,
                job.unknown,
                job.pending,
                job.operator,
                moment(job.created_ms),
                job.error,
            )
            for job in found
        ],
    )
    return ExitCode.DONE


async def show_job(options: Namespace) -> int:
    """The report of a job."""
    async with opened(options) as workspace:
        report = await replays.replay_report(workspace, options.job)
    if options.json:
        document(replays.report_document(report))
    else:
        line(report.text())
    return ExitCode.DONE


async def steer_job(options: Namespace) -> int:
    """Pause, resume, continue or cancel a job; resumed and continued ones are watched."""
    verbs = {
        "pause": replays.pause_replay,
        "resume": replays.resume_replay,
        "continue": replays.continue_replay,
        "cancel": replays.cancel_replay,
    }
    async with opened(options) as workspace:
        refuse_read_only(workspace, f"{options.verb} a replay")
        async with local_engine(workspace):
            job = await verbs[options.verb](workspace, options.job)
            if options.verb in ("resume", "continue"):
                job = await _watch(workspace, job, options)
    if options.json:
        document(asdict(job))
    else:
        note(f"The replay is {job.state}.")
    return ExitCode.DONE


# --- fix rules --------------------------------------------------------------------------------------------


async def add_fix(options: Namespace) -> int:
    """Keep a correction for a fingerprint: from steps, or from an edit."""
    async with opened(options) as workspace:
        if options.from_edit:
            rule = await rules.rule_from_edit(workspace, options.from_edit, note=options.note)
        elif options.fingerprint:
            fingerprint = await whole_fingerprint(workspace, options.fingerprint)
            rule = await rules.add_rule(workspace, fingerprint, _patch(options), note=options.note)
        else:
            raise UsageError(
                "Whose correction?", hint="Give a fingerprint with steps, or --from-edit NUMBER."
            )
    _show_rules([rule], json=options.json)
    note(f"Nothing was changed yet: `platint-tui dead fix apply {rule.number}` makes the edits.")
    return ExitCode.DONE


async def list_fixes(options: Namespace) -> int:
    """Fix rules, newest first."""
    async with opened(options) as workspace:
        fingerprint = await whole_fingerprint(workspace, options.fingerprint) if options.fingerprint else ""
        found = await rules.list_rules(workspace, fingerprint, revoked=options.all)
    _show_rules(found, json=options.json)
    return ExitCode.DONE


def rule_document(rule: FixRule) -> dict[str, Any]:
    """A fix rule as a JSON document."""
    return {**asdict(rule), "patch": documents(rule.patch)}


def _show_rules(found: Sequence[FixRule], *, json: bool) -> None:
    if json:
        document([rule_document(rule) for rule in found])
        return
    table(
        ("RULE", "FINGERPRINT", "STEPS", "NOTE", "BY", "MADE", "REVOKED"),
        [
            (
                rule.number,
                rule.fingerprint[:12],
                rule.words(),
                rule.note,
                rule.operator,
                moment(rule.created_ms),
                moment(rule.revoked_ms),
            )
            for rule in found
        ],
    )


async def revoke_fix(options: Namespace) -> int:
    """Offer and apply a rule no more."""
    async with opened(options) as workspace:
        rule = await rules.revoke_rule(workspace, options.rule)
    _show_rules([rule], json=options.json)
    return ExitCode.DONE


async def apply_fix(options: Namespace) -> int:
    """Make the edits of a rule; exit code 3 when it does not fit some."""
    async with opened(options) as workspace:
        refuse_read_only(workspace, "apply a fix rule")
        ids = [(await deadletters.show(workspace, item)).letter.id for item in options.ids] or None
        what = "the open dead letters of its fingerprint" if ids is None else plural(len(ids), "dead letter")
        confirm(f"Edit {what}?", yes=options.yes)
        applied = await rules.apply_rule(workspace, options.rule, ids)
    if options.json:
        document({**asdict(applied), "rule": rule_document(applied.rule)})
    note(
        f"{plural(applied.edited, 'edit')} made, {applied.unchanged:,} not changed by it, {applied.misfits:,} that "
        "it does not fit. Nothing was sent."
    )
    for number, sentence in applied.reasons.items():
        note(f"  {number}: {sentence}")
    return ExitCode.DEAD_LETTERS if applied.misfits else ExitCode.DONE
