"""What operators ask for of replays: planned, simulated, paused, resumed, continued, cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from platint_tui.core.errors import ConfigError, NotFound, PlatintError, UsageError
from platint_tui.core.model import JsonObject, Trigger
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.replays import NAMED
from platint_tui.core.states import ReplayState
from platint_tui.engine.context import Context
from platint_tui.engine.failpoints import failpoint
from platint_tui.engine.selecting import chosen_ids, options_from
from platint_tui.engine.simulating import plan_replay, simulate


async def replay(context: Context, args: JsonObject, command: str) -> dict[str, Any]:
    """`replay {dead_letters | fingerprint | where, options}`: plan a job; the engine works through it.

    Without options the dead letters are those that a person named, sent at once.
    """
    replays = context.store.replays
    made = await replays.of_command(command)
    if made is not None and made.state is not ReplayState.PLANNING:
        return {"job": made.id, "total": made.total}
    ids = await chosen_ids(context, args)
    if not ids:
        raise ConfigError("There is nothing to replay.", hint="Choose dead letters that are open.")
    options = options_from(args, NAMED)
    wanted = args.get("trigger")
    default = Trigger.MANUAL if len(ids) == 1 and not args.get("fingerprint") else Trigger.BULK
    trigger = Trigger(wanted) if wanted in set(Trigger) else default
    asked = await context.store.commands.get(command)
    operator = asked.actor if asked is not None else ""
    try:
        job = await replays.plan(ids, trigger, command=command, options=options, operator=operator)
    except PlatintError as error:
        await _drop(context, command, error)
        raise
    failpoint("replay.planned")
    context.wake.set()
    return {"job": job.id, "total": job.total}


async def _drop(context: Context, command: str, error: PlatintError) -> None:
    """A job that could not be planned holds no dead letter back."""
    made = await context.store.replays.of_command(command)
    if made is not None and made.state is ReplayState.PLANNING:
        await context.store.replays.cancel(made.id, REDACTOR.redact(error.sentence()))


async def cancel_replay(context: Context, args: JsonObject) -> dict[str, Any]:
    """`cancel_replay {job}`: what is not sent yet stays open."""
    job = await _job(context, args)
    context.held.add(job)
    await context.store.replays.cancel(job)
    return {"job": job}


async def pause_replay(context: Context, args: JsonObject) -> dict[str, Any]:
    """`pause_replay {job}`: nothing more is sent until it is resumed."""
    job = await _job(context, args)
    await context.store.replays.pause(job)
    context.held.add(job)
    failpoint("replay.paused")
    return {"job": job}


async def resume_replay(context: Context, args: JsonObject) -> dict[str, Any]:
    """`resume_replay {job}`: go on after a pause."""
    job = await _job(context, args)
    await context.store.replays.resume(job)
    context.wake.set()
    return {"job": job}


async def continue_replay(context: Context, args: JsonObject) -> dict[str, Any]:
    """`continue_replay {job}`: the canary is through, send the rest."""
    job = await _job(context, args)
    await context.store.replays.proceed(job)
    context.wake.set()
    return {"job": job}


async def _job(context: Context, args: JsonObject) -> str:
    job = str(args.get("job") or "")
    if not job:
        raise UsageError("The command needs 'job'.")
    if await context.store.replays.get(job) is None:
        raise NotFound(f"There is no replay '{job}'.")
    return job


async def cancel_simulation(context: Context, args: JsonObject) -> dict[str, Any]:
    """`cancel_simulation {command}`: end a simulation; it tells what it has found so far."""
    command = str(args.get("command") or "")
    found = await context.store.commands.get(command)
    if found is not None and found.state == "pending":
        context.cancelled.add(command)
    return {"command": command}


HANDLERS: Mapping[str, Callable[[Context, JsonObject], Awaitable[dict[str, Any]]]] = {
    "cancel_replay": cancel_replay,
    "pause_replay": pause_replay,
    "resume_replay": resume_replay,
    "continue_replay": continue_replay,
    "plan_replay": plan_replay,
    "cancel_simulation": cancel_simulation,
}
MAKERS: Mapping[str, Callable[[Context, JsonObject, str], Awaitable[dict[str, Any]]]] = {
    "replay": replay,
    "simulate": simulate,
}
QUICK = frozenset({"cancel_replay", "pause_replay", "resume_replay", "continue_replay", "cancel_simulation"})
