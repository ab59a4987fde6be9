"""Replays: foreseen, planned, started as jobs, steered while they go, and reported.

Everything that sends, renders or judges is asked of the engine, so that two consoles and a script agree on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, replace

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import NATIVE, DeadLetter, JsonObject, ReplayJob, Trigger
from platint_tui.core.patch import Patch, documents
from platint_tui.core.replays import (
    AS_USUAL,
    BulkPlan,
    Outcome,
    ReplayOptions,
    Simulation,
    bulk_plan_of,
    simulation_of,
)
from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.services.deadletters import show
from platint_tui.services.engine import call, ensure_engine, error_of, refuse_read_only
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter

_LONGEST = 900.0
"""Seconds that a plan or a simulation of 100,000 dead letters may take."""
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead letters that are meant: these ids (or numbers), or all that match a filter when a job is planned, up to
    the number `up_to` where there is one."""

    ids: tuple[str, ...] = ()
    where: DeadLetterFilter | None = None
    up_to: int | None = None

    def document(self) -> JsonObject:
        """As the engine is told."""
        if self.where is not None:
            return {"where": asdict(self.where), "up_to": self.up_to}
        return {"dead_letters": list(self.ids)}

    def as_planned(self, plan: BulkPlan) -> Selection:
        """Without what failed after the plan was made: what is sent is what was confirmed."""
        return replace(self, up_to=plan.newest)


def of_fingerprint(fingerprint: str) -> Selection:
    """Every open dead letter of an issue."""
    return Selection(where=DeadLetterFilter(fingerprint=fingerprint, states=(DeadLetterState.OPEN,)))


async def simulate(
    workspace: Workspace,
    what: Selection,
    *,
    patch: Patch = (),
    rule: str = "",
    options: ReplayOptions = AS_USUAL,
    recorded: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """What a replay of these dead letters would do, without sending anything.

    Each is patched (with `patch`, or with the steps of a fix rule), mapped, checked against the target's schema,
    and its request is made. `recorded` also asks the connector's error rules about the answer that just this
    request got last time. `progress` is told (looked at, of how many). Cancelling the call ends the simulation.
    Raises ConfigError with nothing to do, and what opening the target's profile raises.
    """
    args = {
        **what.document(),
        "patch": documents(patch),
        "rule": rule,
        "options": options.document(),
        "recorded": recorded,
    }
    refuse_read_only(workspace, "simulate a replay")
    command = await workspace.store.commands.submit("simulate", args, workspace.actor)
    try:
        return simulation_of(await _result(workspace, command.id, progress))
    except asyncio.CancelledError:
        await workspace.store.commands.submit("cancel_simulation", {"command": command.id}, workspace.actor)
        raise


async def _result(
    workspace: Workspace, command: str, progress: Callable[[int, int], None] | None
) -> JsonObject:
    deadline = workspace.clock.monotonic() + _LONGEST
    looked, told = 0.0, (0, 0)
    while workspace.clock.monotonic() < deadline:
        row = await workspace.store.commands.get(command)
        if row is not None and row.state == "done":
            return row.result or {}
        if row is not None and row.state == "failed":
            raise error_of(row.error or {})
        if row is not None and row.result and progress is not None:
            now = (int(row.result["checked"]), int(row.result["total"]))
            if now != told:
                told = now
                progress(*now)
        if workspace.clock.monotonic() - looked > 1.0:
            ensure_engine(workspace)
            looked = workspace.clock.monotonic()
        await asyncio.sleep(_POLL)
    raise ConfigError(
        f"The engine did not finish within {_LONGEST:.0f} s.", hint="Choose fewer dead letters at a time."
    )


async def plan_bulk(workspace: Workspace, what: Selection, options: ReplayOptions = AS_USUAL) -> BulkPlan:
    """What a job would do: how many go where, what is left out and why, the first five as they would be sent.

    Raises ConfigError and NotFound when a target cannot be used as it is.
    """
    args = {**what.document(), "options": options.document()}
    return bulk_plan_of(await call(workspace, "plan_replay", args, timeout=_LONGEST))


async def start_bulk(workspace: Workspace, what: Selection, options: ReplayOptions = AS_USUAL) -> ReplayJob:
    """Start a job through the engine; watch it with `watch_replay`. It pauses when its target seems to be down.

    A filter is resolved now: what fails later is not part of the job. Raises ConfigError with nothing to do.
    """
    chosen = replace(options, pauses=True)
    trigger = Trigger.MANUAL if len(what.ids) == 1 else Trigger.BULK
    args = {**what.document(), "options": chosen.document(), "trigger": trigger.value}
    result = await call(workspace, "replay", args, timeout=_LONGEST)
    return await get_replay(workspace, str(result["job"]))


async def replay(
    workspace: Workspace, ids: Sequence[str] = (), *, fingerprint: str = "", bulk: bool = False
) -> ReplayJob:
    """Send dead letters again at once, without plan or canary; when the target seems to be down the job ends and
    the rest stays open. Raises ConfigError with nothing to do."""
    args = {"fingerprint": fingerprint} if fingerprint else {"dead_letters": list(ids)}
    trigger = Trigger.BULK if bulk or fingerprint or len(ids) > 1 else Trigger.MANUAL
    result = await call(workspace, "replay", {**args, "trigger": trigger.value})
    return await get_replay(workspace, str(result["job"]))


async def get_replay(workspace: Workspace, job: str) -> ReplayJob:
    """A replay job. Raises NotFound."""
    found = await workspace.store.replays.get(job)
    if found is None:
        raise NotFound(f"There is no replay '{job}'.", hint="`platint-tui dead jobs` shows them.")
    return found


async def replay_jobs(workspace: Workspace, limit: int = 50) -> list[ReplayJob]:
    """The newest jobs, newest first."""
    return list(await workspace.store.replays.list(limit))


async def watch_replay(workspace: Workspace, job: str) -> AsyncIterator[ReplayJob]:
    """The job each time that it changed, until it has ended, is paused, or waits after its canary."""
    shown: ReplayJob | None = None
    looked = workspace.clock.monotonic()
    while True:
        found = await get_replay(workspace, job)
        if found != shown:
            shown = found
            yield found
        if found.ended_ms is not None or found.state in (ReplayState.PAUSED, ReplayState.WAITING):
            return
        if workspace.clock.monotonic() - looked > 2.0:
            looked = workspace.clock.monotonic()
            ensure_engine(workspace)
        await asyncio.sleep(_POLL)


async def pause_replay(workspace: Workspace, job: str) -> ReplayJob:
    """Send nothing more until it is resumed; what is on its way settles. Raises ConfigError in another state."""
    return await _steer(workspace, "pause_replay", job)


async def resume_replay(workspace: Workspace, job: str) -> ReplayJob:
    """Go on with a paused job. Raises ConfigError in another state."""
    return await _steer(workspace, "resume_replay", job)


async def continue_replay(workspace: Workspace, job: str) -> ReplayJob:
    """Send the rest of a job that waits after its canary. Raises ConfigError in another state."""
    return await _steer(workspace, "continue_replay", job)


async def cancel_replay(workspace: Workspace, job: str) -> ReplayJob:
    """End a job; what was not sent stays open."""
    return await _steer(workspace, "cancel_replay", job)


async def _steer(workspace: Workspace, kind: str, job: str) -> ReplayJob:
    await call(workspace, kind, {"job": job})
    return await get_replay(workspace, job)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a job came to. `causes` are the items that did not arrive, alike ones together, most first; their
    messages are one of each."""

    job: ReplayJob
    outcomes: dict[str, int]
    causes: tuple[Outcome, ...]

    def text(self) -> str:
        """The report as a note of some lines."""
        job = self.job
        lines = [f"Replay {job.id}: {job.state}. {job.error}".rstrip()]
        counts = ", ".join(f"{count:,} {name}" for name, count in self.outcomes.items() if count)
        lines.append(f"{job.total:,} dead letters: {counts or 'nothing was sent'}.")
        if job.operator:
            lines.append(f"Asked for by {job.operator}.")
        for item in self.causes:
            examples = ", ".join(map(str, item.examples))
            told = item.message or "no reason was given"
            lines.append(f"  {item.count:,} {item.outcome} ({item.code or '-'}): {told} [{examples}]")
        return "\n".join(lines)


async def replay_report(workspace: Workspace, job: str) -> ReplayReport:
    """What came of a job so far, per outcome and per cause. Raises NotFound."""
    from platint_tui.engine.fingerprint import normalise

    found = await get_replay(workspace, job)
    causes: dict[tuple[str, str, str], Outcome] = {}
    released = 0
    for item in await workspace.store.replays.outcomes(job):
        if item.outcome == "succeeded":
            continue
        if item.outcome == "released":
            released += item.count
            continue
        key = (item.outcome, item.code, normalise(item.message))
        known = causes.get(key)
        causes[key] = item if known is None else _together(known, item)
    outcomes = {
        "succeeded": found.succeeded,
        "failed": found.failed,
        "unknown": found.unknown,
        "superseded": found.superseded,
        "not sent": released,
        "pending": found.pending,
    }
    ordered = sorted(causes.values(), key=lambda item: (-item.count, item.outcome, item.code))
    return ReplayReport(found, outcomes, tuple(ordered))


def _together(one: Outcome, other: Outcome) -> Outcome:
    examples = tuple(sorted({*one.examples, *other.examples})[:5])
    return replace(one, count=one.count + other.count, examples=examples)


def report_document(report: ReplayReport) -> JsonObject:
    """The report as one JSON document."""
    return {
        "job": asdict(report.job),
        "outcomes": report.outcomes,
        "causes": [asdict(item) for item in report.causes],
    }


# --- the short way, for a few dead letters of one target -------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay of some dead letters of one target would do. `first` holds up to five bodies."""

    ids: tuple[str, ...]
    target_profile: str
    target_platform: str
    environment: str
    address: str
    oldest_ms: int | None
    first: tuple[str, ...]


async def replayable(workspace: Workspace, id_or_number: str) -> DeadLetter:
    """A dead letter that can be sent again. Raises NotFound, ConfigError when it is settled or edited."""
    letter = (await show(workspace, id_or_number)).letter
    if letter.state not in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN):
        hints = {
            DeadLetterState.EDITED: "Replay the edit that took its place: `platint-tui dead list` shows it.",
            DeadLetterState.DISCARDED: f"`platint-tui dead reopen {letter.number}` brings it back.",
            DeadLetterState.REPLAYING: "Wait for the replay that has it.",
            DeadLetterState.SUCCEEDED: "It arrived. --force sends it once more, with the same key.",
        }
        raise ConfigError(
            f"Dead letter {letter.number} is {letter.state}; only open and unknown ones are replayed.",
            hint=hints.get(letter.state, "There is nothing left to do for it."),
        )
    return letter


async def plan_replay(workspace: Workspace, ids: Sequence[str]) -> ReplayPlan:
    """What a replay of these dead letters would do. Raises ConfigError when they go to different targets."""
    letters = [(await show(workspace, item)).letter for item in ids[:5]]
    if not letters:
        raise ConfigError("Nothing to replay.", hint="Choose dead letters that are open.")
    if letters[0].direction == NATIVE:
        return await _plan_return(workspace, ids, letters)
    names = {letter.integration for letter in letters}
    if len(names) > 1:
        raise ConfigError(
            "These dead letters belong to several integrations.", hint="Replay one integration at a time."
        )
    integration = await workspace.store.integrations.get(letters[0].integration)
    if integration is None:
        raise NotFound(f"The integration '{letters[0].integration}' is gone.", hint="Import its file again.")
    profile = await workspace.store.profiles.get(integration.target_profile)
    if profile is None:
        raise NotFound(f"The target profile '{integration.target_profile}' is gone.", hint="Add it again.")
    return ReplayPlan(
        ids=tuple(ids),
        target_profile=profile.name,
        target_platform=profile.platform,
        environment=profile.environment.value,
        address=", ".join(profile.origins) or profile.fields.get("path", profile.fields.get("host", "")),
        oldest_ms=min(letter.first_seen_ms for letter in letters),
        first=tuple(letter.payload.decode("utf-8", "replace") for letter in letters),
    )


async def _plan_return(workspace: Workspace, ids: Sequence[str], letters: Sequence[DeadLetter]) -> ReplayPlan:
    """Sending platforms' own dead letters back to where they came from."""
    if len({(letter.direction, letter.profile) for letter in letters}) > 1:
        raise ConfigError(
            "These dead letters belong to several platforms.",
            hint="Send those of one profile back at a time.",
        )
    profile = await workspace.store.profiles.get(letters[0].profile)
    if profile is None:
        raise NotFound(f"The profile '{letters[0].profile}' is gone.", hint="Add it again.")
    origins = sorted({str((letter.origin or {}).get("origin") or letter.stream) for letter in letters})
    return ReplayPlan(
        ids=tuple(ids),
        target_profile=profile.name,
        target_platform=profile.platform,
        environment=profile.environment.value,
        address=", ".join(origins),
        oldest_ms=min(letter.first_seen_ms for letter in letters),
        first=tuple(letter.payload.decode("utf-8", "replace") for letter in letters),
    )


async def open_ids(workspace: Workspace, fingerprint: str) -> list[str]:
    """Ids of the dead letters of a fingerprint that a replay would send, oldest first."""
    where = DeadLetterFilter(fingerprint=fingerprint, states=(DeadLetterState.OPEN,))
    wanted = await workspace.store.dead_letters.numbers(where, newest_first=False)
    return list(await workspace.store.replays.ids(wanted))


def rendered_words(request: JsonObject) -> str:
    """What would be sent, in one text: `POST https://…` and the body, or the document."""
    if "method" in request and "url" in request:
        return f"{request['method']} {request['url']}\n{request.get('body') or ''}".rstrip()
    return dumps(request)
