"""Corrections of dead letters: checked before they are kept, and undone while they were not sent."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.core.jsontext import content_hash, dumps, loads
from platint_tui.core.model import NATIVE, DeadLetter, Integration, Json
from platint_tui.core.patch import DROP, SET, Patch, Step, apply, derive, read_path
from platint_tui.core.states import DeadLetterState
from platint_tui.services.deadletters import show
from platint_tui.services.engine import refuse_read_only
from platint_tui.services.workspace import Workspace


@dataclass(frozen=True, slots=True)
class EditCheck:
    """What there is to say of an edit before it is kept.

    `errors` are reasons for which the target would refuse it, `warnings` what is odd about it and passes, `diff`
    the lines of a unified diff (without its head) of the two payloads as indented JSON, `patch` the steps that
    make the one from the other (none for payloads that are no JSON objects).
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    diff: tuple[str, ...]
    patch: Patch


async def check_edit(workspace: Workspace, id_or_number: str, payload: str) -> EditCheck:
    """Check an edit against the stream's schema and the target's, as its integration is today.

    Nothing is stored or sent. Raises NotFound, and ConfigError for a payload that is no JSON object.
    """
    from platint_tui.engine.serve import make_context
    from platint_tui.engine.ways import examine, way_without_driver

    original = (await show(workspace, id_or_number)).letter
    value = _decoded(original, payload)
    before = original.payload.decode("utf-8", "replace")
    diff = _diff(before, payload)
    if original.direction == NATIVE:
        return EditCheck((), (), diff, ())
    context = make_context(workspace.store, workspace.registry, workspace.vault, clock=workspace.clock)
    try:
        way = await way_without_driver(context, original.integration, original.stream)
    except PlatintError as error:
        return EditCheck((), (f"It cannot be checked: {error.sentence()}",), diff, _patch(before, value))
    found = examine(way, payload.encode(), original.idempotency_key, original.op)
    return EditCheck(
        tuple(item.message for item in found.faults),
        tuple(item.message for item in found.warnings),
        diff,
        _patch(before, value),
    )


def _diff(before: str, after: str) -> tuple[str, ...]:
    return tuple(difflib.unified_diff(_lines_of(before), _lines_of(after), lineterm=""))[2:]


def _lines_of(text: str) -> list[str]:
    """JSON with a line for each value; any other text line by line."""
    try:
        return list(_laid_out(loads(text), "", ""))
    except PlatintError:
        return text.splitlines()


def _laid_out(value: Json, before: str, indent: str) -> Iterator[str]:
    if not value or not isinstance(value, (dict, list)):
        yield f"{indent}{before}{dumps(value)}"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{indent}{before}{opening}"
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for name, item in items:
        yield from _laid_out(item, "" if name is None else f"{dumps(name)}: ", indent + "  ")
    yield f"{indent}{closing}"


def _patch(before: str, after: Mapping[str, Json]) -> Patch:
    try:
        value = loads(before)
    except PlatintError:
        return ()
    return derive(value, after) if isinstance(value, dict) else ()


async def edit(workspace: Workspace, id_or_number: str, payload: str, *, force: bool = False) -> DeadLetter:
    """Replace the payload: the original is kept, a child holds the edit under a new idempotency key.

    Raises ConfigError when the text is no JSON object, lacks the key, or nothing changed; and, unless `force`,
    when the target would refuse it by what is known of its schema (code `refused_edit`).
    """
    refuse_read_only(workspace, "edit a dead letter")
    original = (await show(workspace, id_or_number)).letter
    if original.state != DeadLetterState.OPEN:
        raise ConfigError(f"Dead letter {original.number} is {original.state}; only an open one is edited.")
    value = _decoded(original, payload)
    if payload.encode() == original.payload:
        raise ConfigError("Nothing was changed.", hint="Replay it as it is, or change something.")
    if original.direction == NATIVE:
        own = original.record_key
        return await workspace.store.dead_letters.edit(
            original.id, payload.encode(), own, content_hash(payload)
        )
    key = record_key_of(original, await key_fields(workspace, original), value, payload)
    if not force:
        checked = await check_edit(workspace, original.id, payload)
        if checked.errors:
            raise ConfigError(
                f"The target would refuse this: {checked.errors[0]}",
                hint="Correct it, or keep it all the same with --force.",
                code="refused_edit",
            )
    return await workspace.store.dead_letters.edit(original.id, payload.encode(), key, content_hash(payload))


def _decoded(original: DeadLetter, payload: str) -> dict[str, Json]:
    """The value of an edit. Raises ConfigError when it is no record."""
    try:
        value = loads(payload)
    except PlatintError as error:
        if original.direction != NATIVE or _is_json(original.payload):
            raise ConfigError(
                f"The edit is not valid JSON: {error.message}", hint="The original is unchanged."
            ) from None
        value = {}  # a message may be any text, and this one was no JSON before either
    if not isinstance(value, dict):
        if original.direction != NATIVE:
            raise ConfigError("The edit is not a JSON object.", hint="A record is an object: {…}.")
        return {}
    return value


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


async def key_fields(workspace: Workspace, letter: DeadLetter) -> tuple[str, ...] | None:
    """The fields that identify a record of this dead letter's stream; None when its integration is gone."""
    integration = await workspace.store.integrations.get(letter.integration)
    mapping = (
        next((item for item in integration.streams if item.stream == letter.stream), None)
        if integration
        else None
    )
    if mapping is None:
        return None
    return mapping.key or await _discovered_key(workspace, letter, integration)


def record_key_of(
    letter: DeadLetter, key: tuple[str, ...] | None, value: Mapping[str, Json], payload: str
) -> str:
    """The key under which a replay will write the edit. Raises ConfigError when it has none."""
    from platint_tui.engine.rows import record_key

    if key is None:
        return letter.record_key
    try:
        return record_key(value, payload, key)
    except RecordError as error:
        raise ConfigError(
            f"The edit has no usable key field '{error.where}'.", hint="Give it a text or a number."
        ) from None


def apply_changes(payload: bytes, changes: Mapping[str, Json], removed: Sequence[str] = ()) -> str:
    """The payload with fields set (dotted paths) and removed, as compact JSON text. Raises ConfigError."""
    steps = [Step(SET, read_path(path), new) for path, new in changes.items()]
    return patched(payload, (*steps, *(Step(DROP, read_path(path)) for path in removed)))


def patched(payload: bytes, patch: Patch) -> str:
    """What a patch makes of a payload, as compact JSON text.

    Raises ConfigError when the payload is no JSON object or a step does not fit it.
    """
    try:
        value = loads(payload)
        if not isinstance(value, dict):
            raise ConfigError("This payload is not a JSON object; give the whole new text instead.")
        return dumps(apply(value, patch))
    except RecordError as error:
        raise ConfigError(error.message, hint=error.hint) from None


async def undo_edit(workspace: Workspace, child: str) -> DeadLetter:
    """Undo an edit that was not replayed; the original is open again."""
    refuse_read_only(workspace, "undo an edit")
    return await workspace.store.dead_letters.undo_edit(child)
