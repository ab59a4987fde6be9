"""What operators ask for, each kind a plain function: arguments in, result document out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from platint_tui.core.errors import (
    ConfigError,
    ErrorClass,
    ExitCode,
    NotFound,
    PlatintError,
    RateLimited,
    UsageError,
)
from platint_tui.core.model import Catalogue, Command, JsonObject, ReadOptions, Stream, Trigger
from platint_tui.core.ports import PlansTarget, Releases
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import ACTIVE_RUN_STATES
from platint_tui.core.wire import watching
from platint_tui.drivers.base import load_driver
from platint_tui.engine import native, replaycommands, routing, webhookcommands
from platint_tui.engine.context import Context
from platint_tui.engine.planner import find_profile, plan_integration, plan_run, suggest
from platint_tui.engine.streams import RECOVERY, recovery_of
from platint_tui.manifest.loader import resource
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.signin import choices

log = logging.getLogger("platint.engine")

Handler = Callable[[Context, JsonObject], Awaitable[dict[str, Any]]]
Maker = Callable[[Context, JsonObject, str], Awaitable[dict[str, Any]]]
"""A handler that is told the command's id, so that a command that a crash repeats finds what it made before."""

_PREVIEW_MOST = 100
_PREVIEW_REQUESTS = 40
"""A stream under parents that have nothing would be asked for all of them."""
_PREVIEW_BYTES = 4 * 1024 * 1024
_BAD_MOST = 64 * 1024


def text(args: JsonObject, name: str) -> str:
    """A compulsory text argument. Raises UsageError."""
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f"The command needs '{name}'.")
    return value


def texts(args: JsonObject, name: str) -> list[str]:
    """A list of texts, empty when it is not given. Raises UsageError."""
    value = args.get(name) or []
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"'{name}' is to be a list of texts.")
    return list(value)


async def run(context: Context, args: JsonObject, command: str) -> dict[str, Any]:
    """`run {integration, streams}`: check everything that can be checked without a request, then queue."""
    name = text(args, "integration")
    integration = await context.store.integrations.get(name)
    plan = await plan_run(context, integration, texts(args, "streams"), name=name)
    for side in (plan.source, plan.target):
        await context.secrets(side.profile)
        load_driver(context.registry.get(side.platform).driver)
    trigger = str(args.get("trigger") or Trigger.MANUAL.value)
    created = await context.store.runs.create(
        plan.integration, [item.stream for item in plan.streams], trigger, command=command
    )
    context.wake.set()
    return {"run": created.id, "number": created.number}


async def cancel(context: Context, args: JsonObject) -> dict[str, Any]:
    """`cancel {run}`: by id or number."""
    found = await context.store.runs.get(text(args, "run"))
    if found is None:
        raise NotFound(f"There is no run '{args['run']}'.")
    return {"run": found.id, "cancelled": await context.store.runs.request_cancel(found.id)}


async def check(context: Context, args: JsonObject) -> dict[str, Any]:
    """`check {profile}`: run the probes and store what came of them.

    Raises RateLimited, and stores nothing, when a needed one had to wait: that says nothing of the profile.
    """
    profile = await find_profile(context, text(args, "profile"))
    driver = await context.open_driver(profile)
    try:
        capabilities = await driver.check()
    finally:
        await driver.close()
    for item in capabilities:
        if not (item.ok or item.optional) and item.error_class == ErrorClass.RATE_LIMITED:
            raise RateLimited(
                f"Profile '{profile.name}' cannot be tested now. {item.detail}",
                until_ms=0,
                hint="Its last result is kept.",
            )
    good = all(item.ok or item.optional for item in capabilities)
    await context.store.profiles.save_check(profile.name, good, capabilities)
    return {
        "profile": profile.name,
        "ok": good,
        "capabilities": [
            {
                "id": item.id,
                "ok": item.ok,
                "optional": item.optional,
                "detail": item.detail,
                "latency_ms": item.latency_ms,
            }
            for item in capabilities
        ],
    }


async def discover(context: Context, args: JsonObject) -> dict[str, Any]:
    """`discover {profile}`: what the account offers, as a new catalogue."""
    profile = await find_profile(context, text(args, "profile"))
    driver = await context.open_driver(profile)
    try:
        streams = await driver.discover()
    finally:
        await driver.close()
    connector = context.registry.get(profile.platform)
    catalogue = Catalogue(
        profile.name, profile.platform, connector.version, context.clock.now_ms(), tuple(streams)
    )
    await context.store.catalogues.save(catalogue)
    return {"profile": profile.name, "streams": [item.name for item in streams]}


async def preview(context: Context, args: JsonObject) -> dict[str, Any]:
    """`preview {profile, stream, limit}`: the first records of a stream as the platform sent them, and the
    exact requests with secrets masked.

    No position is read or moved. What ends the reading is in `error`, beside what came before it.
    """
    profile = await find_profile(context, text(args, "profile"))
    stream = text(args, "stream")
    limit = max(1, min(int(args.get("limit") or 5), _PREVIEW_MOST))
    connector = context.registry.get(profile.platform)
    resource(connector, stream)  # a stream that the manifest does not know is refused without a request
    records: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    failed: dict[str, Any] | None = None
    with watching(_private_names(connector)) as watch:
        driver = await context.open_driver(profile)
        try:
            if connector.discover.type == "introspect":
                _known_stream(await driver.discover(), stream, profile.name)
            pages = driver.read(stream, None, ReadOptions(peek=True))
            try:
                async for page in pages:
                    records += [{"raw": item.raw} for item in page.records]
                    bad += [{"raw": item.raw[:_BAD_MOST], "reason": item.reason} for item in page.bad]
                    if len(records) >= limit or page.last or len(watch.seen) >= _PREVIEW_REQUESTS:
                        break
            finally:
                if isinstance(pages, AsyncGenerator):
                    await pages.aclose()
        except PlatintError as error:
            if not watch.seen:
                raise
            failed = error_document(error)
        finally:
            await driver.close()
    return {
        "profile": profile.name,
        "stream": stream,
        "records": _within(records[:limit]),
        "bad": bad[:limit],
        "requests": [asdict(item) for item in watch.seen],
        "error": failed,
    }


def _within(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records that fit into a result; the first one always."""
    size = 0
    for number, record in enumerate(records):
        size += len(record["raw"])
        if number and size > _PREVIEW_BYTES:
            return records[:number]
    return records


def _private_names(connector: Connector) -> list[str]:
    """The headers and query parameters that hold a credential, whatever they are called."""
    auths = [connector.auth, *(item.auth for item in connector.transport.endpoints.values() if item.auth)]
    ways = [way for auth in auths for way in choices(auth)]
    return [name for way in ways if way.type == "api_key" and isinstance(name := way.name, str)]


def _known_stream(streams: Sequence[Stream], wanted: str, profile: str) -> None:
    names = [item.name for item in streams]
    if wanted not in names:
        raise NotFound(f"The profile '{profile}' has no stream '{wanted}'.", hint=suggest(wanted, names))


async def resend(context: Context, args: JsonObject) -> dict[str, Any]:
    """`resend {events: [ids], integration, again, dry_run}`: deliver events that came before, see `routing.resend`."""
    done = await routing.resend(
        context,
        texts(args, "events"),
        integration=str(args.get("integration") or ""),
        again=bool(args.get("again")),
        dry_run=bool(args.get("dry_run")),
    )
    context.wake.set()
    return asdict(done)


async def _refuse_active(context: Context, integration: str, hint: str) -> None:
    states = tuple(ACTIVE_RUN_STATES)
    for active in await context.store.runs.list(integration=integration, states=states, limit=1):
        raise ConfigError(
            f"Run {active.number} of '{integration}' is {active.state.replace('_', ' ')}.",
            hint=hint,
            code="already_running",
        )


async def reset(context: Context, args: JsonObject) -> dict[str, Any]:
    """`reset {integration, stream}`: forget the position; the result holds it for undo."""
    name, stream = text(args, "integration"), text(args, "stream")
    runs = context.store.runs
    if await runs.sync_state(name, stream) is None:
        integration = await context.store.integrations.get(name)
        await plan_integration(context, integration, [stream], name=name)  # says what is wrong with the names
    await _refuse_active(context, name, "Cancel it, then reset.")
    before = await runs.reset_position(name, stream)
    return {
        "integration": name,
        "stream": stream,
        "before": None if before is None else {"seq": before.seq, "confirmed": before.confirmed},
    }


async def recover(context: Context, args: JsonObject) -> dict[str, Any]:
    """`recover {integration, stream, how}`: how a stream goes on whose position its platform has lost.

    `resnapshot` reads everything again, `skip` goes on from now and records the gap.
    """
    name, stream, how = text(args, "integration"), text(args, "stream"), text(args, "how")
    if how not in ("resnapshot", "skip"):
        raise UsageError(f"A lost position is recovered by resnapshot or skip, not by '{how}'.")
    runs = context.store.runs
    await _refuse_active(context, name, "Cancel it first.")
    state = await runs.sync_state(name, stream)
    if state is None or state.confirmed is None:
        raise ConfigError(f"'{name}/{stream}' has no position; the next run reads from the beginning.")
    position, _ = recovery_of(state.confirmed)
    await runs.restore_position(replace(state, confirmed={**(position or {}), RECOVERY: how}))
    return {"integration": name, "stream": stream, "how": how}


async def plan_target(context: Context, args: JsonObject) -> dict[str, Any]:
    """`plan_target {integration, streams}`: what a run would change at its target, per stream. Changes nothing.

    A stream whose target cannot say (or is not usable as it is) has the sentence in `error`.
    """
    name = text(args, "integration")
    integration = await context.store.integrations.get(name)
    plan = await plan_integration(context, integration, texts(args, "streams"), name=name)
    driver = await context.open_driver(plan.target.profile)
    found: dict[str, Any] = {}
    try:
        for item in plan.streams:
            changes: list[dict[str, Any]] = []
            error = ""
            if isinstance(driver, PlansTarget):
                try:
                    changes = [asdict(one) for one in await driver.plan_target(item.target_plan(0, ""))]
                except PlatintError as refused:
                    error = REDACTOR.redact(refused.sentence())
            found[item.stream] = {"target": item.mapping.target, "changes": changes, "error": error}
    finally:
        await driver.close()
    return {"integration": name, "streams": found}


async def release(context: Context, args: JsonObject) -> dict[str, Any]:
    """`release {integration, streams}`: give back what their source keeps for them (slots, groups).

    What could not be given back is in `errors`, by stream: it goes on using space over there.
    """
    name = text(args, "integration")
    integration = await context.store.integrations.get(name)
    errors: dict[str, str] = {}
    if integration is None:
        return {"errors": errors}
    profile = await context.store.profiles.get(integration.source_profile)
    if profile is None:
        return {"errors": errors}
    driver = await context.open_driver(profile)
    try:
        if isinstance(driver, Releases):
            for stream in texts(args, "streams") or [item.stream for item in integration.streams]:
                try:
                    await driver.release(name, stream)
                except PlatintError as error:
                    errors[stream] = REDACTOR.redact(error.sentence())
    finally:
        await driver.close()
    return {"errors": errors}


async def pull_dead(context: Context, args: JsonObject) -> dict[str, Any]:
    """`pull_dead {profile}`: bring the platform's own dead letters into the inbox."""
    return await native.pull(context, text(args, "profile"))


HANDLERS: Mapping[str, Handler] = {
    **replaycommands.HANDLERS,
    "cancel": cancel,
    "reset": reset,
    "check": check,
    "discover": discover,
    "preview": preview,
    "plan_target": plan_target,
    "release": release,
    "pull_dead": pull_dead,
    "resend": resend,
    "discard_native": native.discard,
    "recover": recover,
    **webhookcommands.HANDLERS,
}
MAKERS: Mapping[str, Maker] = {
    **webhookcommands.MAKERS,
    "run": run,
    **replaycommands.MAKERS,
}

QUICK = frozenset({"cancel", "reset", "recover"}) | replaycommands.QUICK
"""Done within the store; finished before the next one is looked at. The others talk to a platform or a keyring, or
go through many rows, so they run beside everything else."""


async def carry_out(context: Context, command: Command) -> None:
    """Do what `command` asks and store how it ended. Raises StoreError when that cannot be stored."""
    try:
        if command.kind in MAKERS:
            result = await MAKERS[command.kind](context, command.args, command.id)
        elif command.kind in HANDLERS:
            result = await HANDLERS[command.kind](context, command.args)
        else:
            known = ", ".join(sorted({*HANDLERS, *MAKERS}))
            raise UsageError(f"The engine knows no command '{command.kind}'.", hint=f"It knows {known}.")
    except PlatintError as error:
        await context.store.commands.finish(command.id, error=error_document(error))
    except Exception as error:
        log.error("command %s: %s", command.kind, REDACTOR.redact(repr(error)), exc_info=error)
        await context.store.commands.finish(command.id, error=error_document(error))
    else:
        await context.store.commands.finish(command.id, result=result)


def error_document(error: Exception) -> dict[str, Any]:
    """An error as a stored document; no secret in it."""
    if isinstance(error, PlatintError):
        return {
            "message": REDACTOR.redact(error.message),
            "hint": REDACTOR.redact(error.hint),
            "where": REDACTOR.redact(error.where),
            "code": error.code,
            "exit_code": int(error.exit_code),
            "until_ms": error.until_ms if isinstance(error, RateLimited) else None,
        }
    return {
        "message": REDACTOR.redact(f"An unexpected error: {type(error).__name__}: {error}."),
        "hint": "The engine's log says where.",
        "where": "",
        "code": "internal",
        "exit_code": int(ExitCode.FAILED),
    }
