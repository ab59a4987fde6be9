"""Integrations and their syncs: import, list, run, cancel, reset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platint_tui.core.errors import ConfigError, ErrorClass, ExitCode, NotFound, PlatintError
from platint_tui.core.events import WAITING_DELIVERIES, DeliveryState, Hold, TargetHealth
from platint_tui.core.gaps import OPEN_GAP_STATES, GapKind, StoredGap
from platint_tui.core.model import (
    Environment,
    Integration,
    LatencySummary,
    Profile,
    Run,
    SchemaChange,
    StreamProgress,
    SyncState,
)
from platint_tui.core.states import ACTIVE_RUN_STATES, RunState
from platint_tui.engine.planner import WEBHOOKS_ALONE
from platint_tui.manifest.integration import load_integration
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.writes import chosen_write
from platint_tui.services.engine import call, refuse_read_only
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeliveryFilter

_LAG_WINDOW_MS = 3_600_000
_FED_WINDOW_MS = 3_600_000
_LOOKED_BACK = 20
"""How many runs back the last part of each stream is looked for."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What webhooks bring to one stream of an integration: deliveries that wait, and those of the last hour that
    arrived or were given up. `held` says why nothing is delivered at present, "" when it is."""

    waiting: int
    delivered: int
    given_up: int
    held: str = ""


@dataclass(frozen=True, slots=True)
class SyncView:
    """One integration with where its streams stand and its newest run.

    `progress` is each stream's part in the newest run that had it, `open` its unresolved dead letters, `lags` how
    old its records of the last hour were when they were stored, `gaps` how many spans of it were not read. `fed` is
    what webhooks bring to each stream, empty when none do; `breaker` is that of its target, None when it is closed.
    """

    integration: Integration
    states: tuple[SyncState, ...]
    last_run: Run | None
    unresolved: int
    progress: Mapping[str, StreamProgress] = field(default_factory=dict)
    open: Mapping[str, int] = field(default_factory=dict)
    lags: Mapping[str, LatencySummary] = field(default_factory=dict)
    gaps: Mapping[str, int] = field(default_factory=dict)
    fed: Mapping[str, Fed] = field(default_factory=dict)
    breaker: TargetHealth | None = None

    @property
    def in_real_time(self) -> bool:
        """Whether its runs go on without an end."""
        return self.integration.sync_frequency == "real_time"


async def import_file(
    workspace: Workspace, path: Path, tell: Callable[[str], None] = lambda _: None
) -> Integration:
    """Check an integration file and store it (a new version when it changed). Raises ConfigError with file:line.

    A stream whose source or target is another one now is read from the beginning: its position says nothing
    about those. `tell` is given a sentence for each.
    """
    refuse_read_only(workspace, "import an integration")
    wanted = load_integration(path, workspace.registry)
    before = await workspace.store.integrations.get(wanted.name)
    if before is None:
        return await workspace.store.integrations.put(wanted)
    known = {
        state.stream for state in await workspace.store.runs.sync_states() if state.integration == wanted.name
    }
    moved = [stream for stream in _moved(before, wanted) if stream in known]
    _refuse_other_keys(before, wanted, known.difference(moved))
    await _release(workspace, before, _left(before, wanted), tell)
    stored = await workspace.store.integrations.put(wanted, moved)
    for stream in moved:
        tell(f"'{stream}' is read from the beginning: its source or target is another one now.")
    return stored


def _left(before: Integration, after: Integration) -> list[str]:
    """The streams that are not read any more as they were: what their source keeps for them is of no use."""
    if before.source_profile != after.source_profile:
        return [item.stream for item in before.streams]
    stays = {item.stream for item in after.streams}
    return [item.stream for item in before.streams if item.stream not in stays]


def _refuse_other_keys(before: Integration, after: Integration, streams: Collection[str]) -> None:
    """Raise ConfigError when rows that are in the target would get other keys there and stand twice."""
    keys = {item.stream: item.key for item in before.streams}
    for item in after.streams:
        if item.stream in streams and keys.get(item.stream, item.key) != item.key:
            raise ConfigError(
                f"The key of '{item.stream}' goes from {', '.join(keys[item.stream]) or 'none'} to "
                f"{', '.join(item.key) or 'none'}, but '{item.target}' holds its rows under the old one.",
                where=f"streams.{item.stream}.key",
                hint="Name another target for it, which is then filled from the beginning.",
            )


async def restart_users(workspace: Workspace, profile: str, platform: str) -> list[str]:
    """Forget the positions of what reads from or writes to a profile that is another account now.

    A target that keeps the position beside its rows knows itself what it holds, so nothing is forgotten for it.
    Returns `integration/stream` of each. Raises ConfigError while a run of one of them is active.
    """
    tables = kind_of(workspace.registry.get(platform).driver).tables
    known = {(state.integration, state.stream) for state in await workspace.store.runs.sync_states()}
    restarted = []
    for item in await workspace.store.integrations.list():
        if profile == item.source_profile or (profile == item.target_profile and not tables):
            streams = [entry.stream for entry in item.streams if (item.name, entry.stream) in known]
            if streams:
                await workspace.store.integrations.put(item, streams)
            restarted += [f"{item.name}/{stream}" for stream in streams]
    return restarted


def _moved(before: Integration, after: Integration) -> list[str]:
    """The streams that come from somewhere else, or go somewhere else, than they did."""
    accounts = (before.source_profile, before.target_profile)
    same = accounts == (after.source_profile, after.target_profile)
    targets = {item.stream: item.target for item in before.streams}
    return [
        item.stream
        for item in after.streams
        # One that the file did not name before may have a position from when it did.
        if not (same and targets.get(item.stream) == item.target)
    ]


async def _refuse_active(workspace: Workspace, integration: str, hint: str) -> None:
    active = await unfinished(workspace, integration)
    if active is not None:
        state = active.state.replace("_", " ")
        raise ConfigError(f"Run {active.number} of '{integration}' is {state}.", hint=hint)


async def remove(
    workspace: Workspace, integration: str, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Remove an integration and forget its positions; its runs, dead letters and rows in the target stay.

    What its source keeps for it is given back; `tell` is given a sentence for what could not be. Raises
    NotFound, ConfigError while a run of it is active.
    """
    refuse_read_only(workspace, "remove an integration")
    found = await find(workspace, integration)
    await _refuse_active(workspace, integration, "Cancel it first.")
    await _release(workspace, found, [item.stream for item in found.streams], tell)
    waiting = await workspace.store.deliveries.list(
        DeliveryFilter(integration=integration, states=WAITING_DELIVERIES), limit=1
    )
    if waiting:
        tell("Events that waited to be delivered for it are skipped; `events deliveries` lists them.")
    await workspace.store.integrations.remove(integration)


async def _release(
    workspace: Workspace, integration: Integration, streams: Sequence[str], tell: Callable[[str], None]
) -> None:
    """Give back what the source keeps for these streams: a slot that nobody reads fills the server's disk."""
    profile = await workspace.store.profiles.get(integration.source_profile)
    if not streams or profile is None:
        return
    if not kind_of(workspace.registry.get(profile.platform).driver).keeps:
        return
    try:
        result = await call(workspace, "release", {"integration": integration.name, "streams": list(streams)})
        errors = dict(result.get("errors") or {})
    except PlatintError as error:
        errors = dict.fromkeys(streams, error.sentence())
    for stream, sentence in errors.items():
        tell(
            f"What {integration.source_platform} keeps for '{stream}' could not be given back, and goes on using"
            f" space there: {sentence}"
        )


async def find(
    workspace: Workspace, file_or_name: str, tell: Callable[[str], None] = lambda _: None
) -> Integration:
    """An integration by name, or by file (which is imported first, see there). Raises NotFound or ConfigError."""
    if file_or_name.endswith((".yaml", ".yml")) or "/" in file_or_name:
        return await import_file(workspace, Path(file_or_name), tell)
    found = await workspace.store.integrations.get(file_or_name)
    if found is None:
        known = ", ".join(item.name for item in await workspace.store.integrations.list()) or "none yet"
        raise NotFound(
            f"There is no integration '{file_or_name}'.",
            hint=f"Known: {known}. A file is named with its ending, such as ./billing.yaml.",
        )
    return found


def by_webhooks_alone(integration: Integration) -> bool:
    """Whether nothing of it is ever run: events are delivered as they come."""
    return integration.integration_type == WEBHOOKS_ALONE


async def list_syncs(workspace: Workspace) -> list[SyncView]:
    """All integrations, with position, newest run and the number of unresolved dead letters."""
    states = await workspace.store.runs.sync_states()
    unresolved: dict[str, dict[str, int]] = {}
    for issue in await workspace.store.dead_letters.issues():
        streams = unresolved.setdefault(issue.integration, {})
        streams[issue.stream] = streams.get(issue.stream, 0) + issue.open
    views = []
    lags = await workspace.store.metrics.lags(workspace.clock.now_ms() - _LAG_WINDOW_MS)
    known_gaps = await workspace.store.gaps.list(
        kinds=(GapKind.READING,), states=OPEN_GAP_STATES, limit=1_000
    )
    routes = await workspace.store.deliveries.counts_by_route(workspace.clock.now_ms() - _FED_WINDOW_MS)
    holds = await workspace.store.deliveries.holds()
    breakers = {item.profile: item for item in await workspace.store.deliveries.health()}
    for integration in await workspace.store.integrations.list():
        name = integration.name
        holes: dict[str, int] = {}
        for gap in known_gaps:
            if gap.integration == name:
                holes[gap.stream] = holes.get(gap.stream, 0) + 1
        runs = await workspace.store.runs.list(integration=integration.name, limit=_LOOKED_BACK)
        own = tuple(state for state in states if state.integration == integration.name)
        waiting = unresolved.get(integration.name, {})
        newest = {item.stream: item for run in reversed(runs) for item in run.streams}
        views.append(
            SyncView(
                integration,
                own,
                runs[0] if runs else None,
                sum(waiting.values()),
                newest,
                open=waiting,
                lags={
                    item.stream: lags[f"{name}/{item.stream}"]
                    for item in integration.streams
                    if f"{name}/{item.stream}" in lags
                },
                gaps=holes,
                fed=_fed(integration, routes, holds),
                breaker=breakers.get(integration.target_profile) if integration.receives else None,
            )
        )
    return views


def _fed(
    integration: Integration,
    routes: Mapping[tuple[str, str], Mapping[DeliveryState, int]],
    holds: Sequence[Hold],
) -> dict[str, Fed]:
    """What webhooks bring to the streams of an integration, nothing when none do."""
    if not integration.receives:
        return {}
    name = integration.name
    held = {item.stream: item.message for item in holds if item.integration == name}
    return {
        item.stream: _fed_stream(
            routes.get((name, item.stream), {}), held.get(item.stream) or held.get("*", "")
        )
        for item in integration.streams
    }


def _fed_stream(states: Mapping[DeliveryState, int], held: str) -> Fed:
    def count(*wanted: DeliveryState) -> int:
        return sum(states.get(state, 0) for state in wanted)

    return Fed(
        count(*WAITING_DELIVERIES),
        count(DeliveryState.DONE),
        count(DeliveryState.DEAD),
        held,
    )


_WORDS = {
    "create": "create records",
    "update": "update records that are there",
    "upsert": "write records, updating those that are there",
    "delete": "delete records",
}


@dataclass(frozen=True, slots=True)
class Writes:
    """What a run will do at its target: the streams of each operation, in the order of the file."""

    target: Profile
    operations: Mapping[str, tuple[str, ...]]

    @property
    def production(self) -> bool:
        """Whether the target is a production account."""
        return self.target.environment is Environment.PRODUCTION

    @property
    def deleting(self) -> tuple[str, ...]:
        """The streams whose records are deleted at the target."""
        return self.operations.get("delete", ())

    @property
    def words(self) -> str:
        """What is done, such as "delete records"; which streams do it where they differ."""
        if len(self.operations) == 1:
            return _WORDS[next(iter(self.operations))]
        return "; ".join(f"{_WORDS[name]} ({', '.join(some)})" for name, some in self.operations.items())


async def writes_of(workspace: Workspace, integration: Integration, streams: Sequence[str] = ()) -> Writes:
    """What a run of these streams (all without any) does at the target. Raises NotFound without its profile."""
    target = await workspace.store.profiles.get(integration.target_profile)
    if target is None:
        raise NotFound(f"There is no profile '{integration.target_profile}'.")
    found: dict[str, tuple[str, ...]] = {}
    for item in integration.streams:
        if not streams or item.stream in streams:
            name = _operation(workspace, target, item.target, item.operation)
            found[name] = (*found.get(name, ()), item.stream)
    return Writes(target, found or {"upsert": ()})


def _operation(workspace: Workspace, target: Profile, into: str, wanted: str) -> str:
    if wanted:
        return wanted
    try:
        connector = workspace.registry.get(target.platform)
        return chosen_write(connector, into).name
    except PlatintError:
        # What is wrong is said when the run is planned.
        return "upsert"


async def run(workspace: Workspace, integration: str, streams: Sequence[str] = ()) -> Run:
    """Queue a run (of some streams, or all) and return it; the engine works on it. Raises ConfigError."""
    result = await call(workspace, "run", {"integration": integration, "streams": list(streams)})
    return await get_run(workspace, str(result["run"]))


async def unfinished(workspace: Workspace, integration: str) -> Run | None:
    """The run of this integration that has no end yet: it runs, waits, or was left when its engine died."""
    states = tuple(ACTIVE_RUN_STATES)
    found = await workspace.store.runs.list(integration=integration, states=states, limit=1)
    return found[0] if found else None


async def get_run(workspace: Workspace, run_id: str) -> Run:
    """A run by id or number. Raises NotFound."""
    found = await workspace.store.runs.get(run_id)
    if found is None:
        raise NotFound(f"There is no run '{run_id}'.", hint="`platint-tui runs list` shows them.")
    return found


async def cancel(workspace: Workspace, run_id: str) -> Run:
    """Ask a run to stop at the next page border; its position is kept. Raises ConfigError when it has ended."""
    found = await get_run(workspace, run_id)
    if found.state not in ACTIVE_RUN_STATES:
        raise ConfigError(f"Run {found.number} has already ended: {found.state}.")
    refuse_read_only(workspace, "cancel a run")
    await workspace.store.runs.request_cancel(found.id)
    return await get_run(workspace, found.id)


async def reset(workspace: Workspace, integration: str, stream: str) -> SyncState | None:
    """Forget where a stream was read to; the next run reads from the beginning. Returns what was there, for undo."""
    refuse_read_only(workspace, "reset a position")
    await find(workspace, integration)
    await _refuse_active(workspace, integration, "Cancel it, then reset.")
    before = await workspace.store.runs.sync_state(integration, stream)
    await call(workspace, "reset", {"integration": integration, "stream": stream})
    return before


async def recover(workspace: Workspace, integration: str, stream: str, how: str) -> None:
    """Decide how a stream goes on whose position its platform has lost: `resnapshot` or `skip` (with a gap).

    The next run does it. Raises ConfigError while a run is active, or when there is no position.
    """
    refuse_read_only(workspace, "recover a position")
    await find(workspace, integration)
    await call(workspace, "recover", {"integration": integration, "stream": stream, "how": how})


async def gaps(workspace: Workspace, integration: str | None = None) -> list[StoredGap]:
    """Spans of streams that were not read, newest first."""
    return list(await workspace.store.gaps.list(integration=integration, kinds=(GapKind.READING,)))


@dataclass(frozen=True, slots=True)
class StreamChanges:
    """What a run of a stream would change at its target; `error` says why that is not known, or cannot be."""

    stream: str
    target: str
    changes: tuple[SchemaChange, ...]
    error: str = ""


async def plan_target(
    workspace: Workspace, integration: str, streams: Sequence[str] = ()
) -> list[StreamChanges]:
    """Tables and columns that a run would make or change, before it does. Changes nothing."""
    await find(workspace, integration)
    args = {"integration": integration, "streams": list(streams)}
    result = await call(workspace, "plan_target", args)
    return [
        StreamChanges(
            stream,
            str(item["target"]),
            tuple(SchemaChange(**change) for change in item["changes"]),
            str(item["error"]),
        )
        for stream, item in dict(result["streams"]).items()
    ]


async def undo_reset(workspace: Workspace, state: SyncState) -> None:
    """Put a position back that `reset` returned. Raises ConfigError when a run has moved it since."""
    refuse_read_only(workspace, "restore a position")
    now = await workspace.store.runs.sync_state(state.integration, state.stream)
    active = await workspace.store.runs.list(
        integration=state.integration, states=tuple(ACTIVE_RUN_STATES), limit=1
    )
    if active or (now is not None and now.confirmed is not None):
        raise ConfigError(
            f"'{state.integration}/{state.stream}' was run since the reset; its new position is kept."
        )
    await workspace.store.runs.restore_position(state)


def exit_code(run: Run) -> int:
    """How a command that waited for this run ends (the exit codes are in the README)."""
    if run.state == RunState.RATE_LIMITED:
        return ExitCode.RATE_LIMITED
    if run.state in (RunState.INTERRUPTED, RunState.QUEUED, RunState.RUNNING):
        return ExitCode.INTERRUPTED
    failed = [item for item in run.streams if item.state == RunState.FAILED]
    if failed:
        classes = {item.error_class for item in failed}
        if classes == {ErrorClass.AUTH}:
            return ExitCode.CREDENTIALS
        return ExitCode.CONFIG if classes == {ErrorClass.CONFIG} else ExitCode.FAILED
    if run.state == RunState.CANCELLED:
        return ExitCode.FAILED
    return ExitCode.DEAD_LETTERS if any(item.dead_lettered for item in run.streams) else ExitCode.DONE
