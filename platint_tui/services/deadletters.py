"""The inbox: look at dead letters, edit, replay, discard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, NotFound, PlatintError, RecordError
from platint_tui.core.jsontext import content_hash, dumps, loads
from platint_tui.core.model import (
    NATIVE,
    Attempt,
    DeadLetter,
    DeadQueue,
    Integration,
    Issue,
    Json,
    ReplayJob,
    Trigger,
)
from platint_tui.core.states import DeadLetterState, IssueState
from platint_tui.manifest.kinds import kind_of
from platint_tui.services.engine import call, ensure_engine, refuse_read_only
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter, SeenQueue

__all__ = ["DeadLetterFilter", "SeenQueue"]

_LONGEST = 600.0
"""Seconds: a broker may have many queues, each looked at in turn."""


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter with its attempts and the edits around it."""

    letter: DeadLetter
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay would do, shown before it is confirmed. `first` holds up to five bodies."""

    ids: tuple[str, ...]
    target_profile: str
    target_platform: str
    environment: str
    address: str
    oldest_ms: int | None
    first: tuple[str, ...]


async def issues(workspace: Workspace, states: Sequence[IssueState] = (), text: str = "") -> list[Issue]:
    """Issues (dead letters by fingerprint), the most open ones first."""
    return list(await workspace.store.dead_letters.issues(states, text))


async def set_issue_state(workspace: Workspace, fingerprint: str, state: IssueState) -> None:
    """Acknowledge, resolve, ignore or reopen an issue."""
    refuse_read_only(workspace, "change an issue")
    await workspace.store.dead_letters.set_issue_state(fingerprint, state)


async def numbers(workspace: Workspace, where: DeadLetterFilter) -> Sequence[int]:
    """The numbers of all dead letters that match, newest first."""
    return await workspace.store.dead_letters.numbers(where)


async def count(workspace: Workspace, where: DeadLetterFilter) -> int:
    """How many dead letters match."""
    return await workspace.store.dead_letters.count(where)


async def rows(workspace: Workspace, wanted: Sequence[int]) -> list[DeadLetter]:
    """The dead letters with these numbers, without payload."""
    return list(await workspace.store.dead_letters.rows(wanted))


async def show(workspace: Workspace, id_or_number: str) -> DeadLetterView:
    """One dead letter whole. Raises NotFound."""
    letter = await workspace.store.dead_letters.get(id_or_number)
    if letter is None:
        raise NotFound(
            f"There is no dead letter '{id_or_number}'.", hint="`platint-tui dead list` shows them."
        )
    return DeadLetterView(letter, tuple(await workspace.store.dead_letters.attempts(letter.id)))


async def replayable(workspace: Workspace, id_or_number: str) -> DeadLetter:
    """A dead letter that can be sent again. Raises NotFound, ConfigError when it is settled or edited."""
    letter = (await show(workspace, id_or_number)).letter
    if letter.state not in (DeadLetterState.OPEN, DeadLetterState.UNKNOWN):
        hints = {
            DeadLetterState.EDITED: "Replay the edit that took its place: `platint-tui dead list` shows it.",
            DeadLetterState.DISCARDED: f"`platint-tui dead reopen {letter.number}` brings it back.",
            DeadLetterState.REPLAYING: "Wait for the replay that has it.",
        }
        raise ConfigError(
            f"Dead letter {letter.number} is {letter.state}; only open and unknown ones are replayed.",
            hint=hints.get(letter.state, "There is nothing left to do for it."),
        )
    return letter


async def edit(workspace: Workspace, id_or_number: str, payload: str) -> DeadLetter:
    """Replace the payload: the original is kept, a child holds the edit under a new idempotency key.

    Raises ConfigError when the text is no JSON object, lacks the key, or nothing changed.
    """
    refuse_read_only(workspace, "edit a dead letter")
    original = (await show(workspace, id_or_number)).letter
    if original.state != DeadLetterState.OPEN:
        raise ConfigError(f"Dead letter {original.number} is {original.state}; only an open one is edited.")
    try:
        value = loads(payload)
    except PlatintError as error:
        if original.direction != NATIVE or _is_json(original.payload):
            raise ConfigError(
                f"The edit is not valid JSON: {error.message}", hint="The original is unchanged."
            ) from None
        value = {}  # a message may be any text, and this one was no JSON before either
    if not isinstance(value, dict) and original.direction != NATIVE:
        raise ConfigError("The edit is not a JSON object.", hint="A record is an object: {…}.")
    if payload.encode() == original.payload:
        raise ConfigError("Nothing was changed.", hint="Replay it as it is, or change something.")
    if original.direction == NATIVE:
        own = original.record_key
        return await workspace.store.dead_letters.edit(
            original.id, payload.encode(), own, content_hash(payload)
        )
    key = await _record_key(workspace, original, value, payload)
    return await workspace.store.dead_letters.edit(original.id, payload.encode(), key, content_hash(payload))


def _is_json(payload: bytes) -> bool:
    try:
        loads(payload)
    except PlatintError:
        return False
    return True


async def _discovered_key(
    workspace: Workspace, letter: DeadLetter, integration: Integration | None
) -> tuple[str, ...]:
    """The key of a stream that only its platform knows, as the newest discovery has it."""
    profile = integration.source_profile if integration is not None else letter.profile
    found = await workspace.store.catalogues.latest(profile)
    streams = found[0].streams if found else ()
    return next((item.key for item in streams if item.name == letter.stream), ())


async def _record_key(
    workspace: Workspace, letter: DeadLetter, value: Mapping[str, Json], payload: str
) -> str:
    """The key under which a replay will write the edit."""
    from platint_tui.engine.rows import record_key

    integration = await workspace.store.integrations.get(letter.integration)
    mapping = (
        next((item for item in integration.streams if item.stream == letter.stream), None)
        if integration
        else None
    )
    if mapping is None:
        return letter.record_key
    key = mapping.key or await _discovered_key(workspace, letter, integration)
    try:
        return record_key(value, payload, key)
    except RecordError as error:
        raise ConfigError(
            f"The edit has no usable key field '{error.where}'.", hint="Give it a text or a number."
        ) from None


def apply_changes(payload: bytes, changes: Mapping[str, Json], removed: Sequence[str] = ()) -> str:
    """The payload with fields set (dotted paths) and removed, as compact JSON text. Raises ConfigError."""
    value = loads(payload)
    if not isinstance(value, dict):
        raise ConfigError("This payload is not a JSON object; give the whole new text instead.")
    for path, new in changes.items():
        *parents, last = path.split(".")
        place = value
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"'{parent}' in '{path}' is not an object.")
        place[last] = new
    for path in removed:
        *parents, last = path.split(".")
        place = value
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return dumps(value)


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
    """Ids of the dead letters of a fingerprint that a replay would send."""
    where = DeadLetterFilter(fingerprint=fingerprint, states=(DeadLetterState.OPEN,))
    found: list[str] = []
    wanted = await workspace.store.dead_letters.numbers(where, newest_first=False)
    for start in range(0, len(wanted), 500):
        found += [
            letter.id for letter in await workspace.store.dead_letters.rows(wanted[start : start + 500])
        ]
    return found


async def replay(
    workspace: Workspace, ids: Sequence[str] = (), *, fingerprint: str = "", bulk: bool = False
) -> ReplayJob:
    """Start a replay job through the engine; watch it with `watch_replay`. Raises ConfigError with nothing to do."""
    args = {"fingerprint": fingerprint} if fingerprint else {"dead_letters": list(ids)}
    trigger = Trigger.BULK if bulk or fingerprint or len(ids) > 1 else Trigger.MANUAL
    result = await call(workspace, "replay", {**args, "trigger": trigger.value})
    return await get_replay(workspace, str(result["job"]))


async def get_replay(workspace: Workspace, job: str) -> ReplayJob:
    """A replay job. Raises NotFound."""
    found = await workspace.store.replays.get(job)
    if found is None:
        raise NotFound(f"There is no replay '{job}'.")
    return found


async def watch_replay(workspace: Workspace, job: str) -> AsyncIterator[ReplayJob]:
    """The job each time that it changed, until it has ended."""
    shown: ReplayJob | None = None
    looked = workspace.clock.monotonic()
    while True:
        found = await get_replay(workspace, job)
        if found != shown:
            shown = found
            yield found
        if found.ended_ms is not None:
            return
        if workspace.clock.monotonic() - looked > 2.0:
            looked = workspace.clock.monotonic()
            ensure_engine(workspace)
        await asyncio.sleep(0.05)


async def cancel_replay(workspace: Workspace, job: str) -> ReplayJob:
    """Stop a replay job; what was not sent stays open."""
    await call(workspace, "cancel_replay", {"job": job})
    return await get_replay(workspace, job)


async def discard(workspace: Workspace, ids: Sequence[str]) -> int:
    """Mark dead letters as discarded (they stay until retention, and can be reopened); returns how many.

    Those that their platform keeps itself are left as they are: see `discard_native`.
    """
    refuse_read_only(workspace, "discard dead letters")
    native = set(await native_ids(workspace, ids))
    return await workspace.store.dead_letters.discard([item for item in ids if item not in native])


async def native_ids(workspace: Workspace, ids: Sequence[str]) -> list[str]:
    """Those of these dead letters that their platform keeps in a queue of its own."""
    found = []
    for item in ids:
        letter = await workspace.store.dead_letters.get(item)
        if letter is not None and letter.direction == NATIVE:
            found.append(letter.id)
    return found


async def environment_of(workspace: Workspace, profile: str) -> str:
    """The environment of a profile; production when it is gone, which asks for the most care."""
    found = await workspace.store.profiles.get(profile)
    return found.environment.value if found is not None else "production"


async def discard_native(workspace: Workspace, ids: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Remove dead letters at their platform for good; how many, and what could not be removed and why."""
    result = await call(workspace, "discard_native", {"dead_letters": list(ids)}, timeout=_LONGEST)
    return int(result["discarded"]), dict(result["errors"])


@dataclass(frozen=True, slots=True)
class Pulled:
    """What looking at the dead-letter queues of one profile brought; `errors` by queue."""

    profile: str
    new: int
    queues: tuple[DeadQueue, ...]
    errors: Mapping[str, str]


async def holders(workspace: Workspace) -> list[str]:
    """The profiles whose platform keeps dead letters of its own."""
    found = []
    for profile in await workspace.store.profiles.list():
        try:
            driver = workspace.registry.get(profile.platform).driver
        except PlatintError:
            continue  # its manifest is gone or broken, which its own section says
        if kind_of(driver).dead_letters:
            found.append(profile.name)
    return found


async def pull(workspace: Workspace, profile: str) -> Pulled:
    """Bring the dead letters that a platform keeps itself into the inbox. Nothing is taken away there."""
    result = await call(workspace, "pull_dead", {"profile": profile}, timeout=_LONGEST)
    queues = [item.queue for item in await workspace.store.dead_letters.dead_queues(profile)]
    return Pulled(profile, int(result["new"]), tuple(queues), dict(result["errors"]))


async def dead_queues(workspace: Workspace) -> list[SeenQueue]:
    """The platforms' own dead-letter queues as they were last seen."""
    return list(await workspace.store.dead_letters.dead_queues())


async def reopen(workspace: Workspace, ids: Sequence[str]) -> int:
    """Undo a discard; returns how many are open again."""
    refuse_read_only(workspace, "reopen dead letters")
    return await workspace.store.dead_letters.reopen(ids)


async def undo_edit(workspace: Workspace, child: str) -> DeadLetter:
    """Undo an edit that was not replayed; the original is open again."""
    refuse_read_only(workspace, "undo an edit")
    return await workspace.store.dead_letters.undo_edit(child)


async def export(workspace: Workspace, where: DeadLetterFilter) -> AsyncIterator[str]:
    """Dead letters as JSON lines: everything, the payload as exact text (or base64 when it is no UTF-8)."""
    import base64

    wanted = await workspace.store.dead_letters.numbers(where, newest_first=False)
    for number in wanted:
        letter = await workspace.store.dead_letters.get(str(number))
        if letter is None:
            continue
        document = summary(letter)
        try:
            document["payload"] = letter.payload.decode("utf-8")
        except UnicodeDecodeError:
            document["payload_base64"] = base64.b64encode(letter.payload).decode()
        yield json.dumps(document, ensure_ascii=False)


def summary(letter: DeadLetter) -> dict[str, Json]:
    """A dead letter as a JSON document without its payload."""
    return {
        "id": letter.id,
        "number": letter.number,
        "integration": letter.integration,
        "stream": letter.stream,
        "platform": letter.platform,
        "profile": letter.profile,
        "run": letter.run,
        "record_key": letter.record_key,
        "state": letter.state.value,
        "class": letter.error_class.value,
        "code": letter.code,
        "field": letter.field,
        "message": letter.message,
        "hint": letter.hint,
        "fingerprint": letter.fingerprint,
        "parent": letter.parent,
        "direction": letter.direction,
        "operation": letter.op.value or "upsert",
        "origin": letter.origin,
        "occurrences": letter.occurrences,
        "attempts": letter.attempts,
        "first_seen_ms": letter.first_seen_ms,
        "last_seen_ms": letter.last_seen_ms,
        "size": letter.size,
    }
