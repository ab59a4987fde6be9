"""An account of every record: what the source has, compared with what the target and the inbox hold."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.core.jsontext import content_hash, dumps
from platint_tui.core.model import Integration, ReadOptions, StreamMapping
from platint_tui.core.ports import Driver
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.states import DeadLetterState
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.loader import resource
from platint_tui.manifest.mapping import compile_mapping
from platint_tui.services.profiles import get
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter

_GONE = frozenset({DeadLetterState.SUCCEEDED, DeadLetterState.SUPERSEDED})
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """Where the records of one stream are. `lost` ones are in the source, and neither in the target nor kept.

    `same_key` ones have a key that another record of the source has: the target holds one row for all of them.
    So `source` is `in_target` + `in_dead_letters` + `lost` + `same_key`.

    `stale` ones (part of `in_target`) have another content in the source than in the target: they changed since
    the last run, or in the target. `stale` is None where the target cannot be compared by content. With an
    `error` the stream could not be compared, and the counts say nothing.
    """

    integration: str
    stream: str
    source: int
    in_target: int
    in_dead_letters: int
    lost: int
    stale: int | None
    lost_keys: tuple[str, ...]
    same_key: int = 0
    error: str = ""


@runtime_checkable
class _ScansKeys(Protocol):
    """A driver that can list the keys of a target table itself."""

    def scan_keys(self, table: str) -> AsyncIterator[tuple[str, str | None]]: ...


async def account(workspace: Workspace, integration: Integration) -> list[StreamAccount]:
    """Read every key of source and target and compare; nothing is taken from counters.

    The keys of one stream are held in memory. A stream that cannot be read says why, and the others are compared;
    raises the error of the first when none can be.
    """
    from platint_tui.engine.planner import plan_integration
    from platint_tui.engine.serve import make_context

    context = make_context(
        workspace.store,
        workspace.registry,
        workspace.vault,
        clock=workspace.clock,
        rng=random.Random(),  # noqa: S311 - jitter
    )
    plan = await plan_integration(context, integration, (), name=integration.name)
    # Where only the platform knows the key of a stream, the file has none.
    keys = {item.stream: item.key for item in plan.streams}
    source = await context.open_driver(await get(workspace, integration.source_profile))
    target = await context.open_driver(await get(workspace, integration.target_profile))
    try:
        found: list[StreamAccount] = []
        failed: list[PlatintError] = []
        for named in integration.streams:
            mapping = replace(named, key=keys[named.stream])
            try:
                _refuse_queue(workspace, integration, mapping)
                found.append(await _stream(workspace, integration, mapping, source, target))
            except PlatintError as error:
                failed.append(error)
                why = REDACTOR.redact(error.sentence())
                found.append(StreamAccount(integration.name, mapping.stream, 0, 0, 0, 0, None, (), error=why))
        if failed and len(failed) == len(found):
            raise failed[0]
        return found
    finally:
        await source.close()
        await target.close()
        await context.telemetry.flush()


def _refuse_queue(workspace: Workspace, integration: Integration, mapping: StreamMapping) -> None:
    """Raise ConfigError for a source that gives away what it holds: to compare it would be to take it."""
    connector = workspace.registry.get(integration.source_platform)
    source = resource(connector, mapping.stream).source
    if source is not None and source.modes == ("consume",) and not kind_of(connector.driver).keeps:
        raise ConfigError(
            f"'{mapping.stream}' of {connector.name} holds only what was not read yet: there is nothing to compare.",
            hint="The counters of its runs say what was stored: `platint-tui runs list`.",
        )


async def _stream(
    workspace: Workspace, integration: Integration, mapping: StreamMapping, source: Driver, target: Driver
) -> StreamAccount:
    there = await _target_rows(workspace, integration, mapping, target)
    letter_keys, letter_texts, corrected = await _kept(workspace, integration.name, mapping.stream)
    sent = _as_sent(mapping, isinstance(target, _ScansKeys))
    count = kept = same_key = 0
    current: dict[str, bool] = {}
    """Keys of the source that the target holds, and whether it holds one of their records as it is."""
    lost: dict[str, None] = {}
    async for key, raw, value in _source_records(source, mapping):
        count += 1
        text = content_hash(raw)
        if key and key in there:
            held = there[key]
            if key in current:
                refused = text in letter_texts
                kept += refused
                same_key += not refused
            # A newer version that was refused is kept in the inbox; a corrected record is meant to differ.
            known = held is None or key in corrected or text in letter_texts
            current[key] = current.get(key, False) or known or held == sent(raw, value)
        elif (key and key in letter_keys) or text in letter_texts:
            kept += 1
        elif (key or text) in lost:
            same_key += 1
        else:
            lost[key or text] = None
    comparable = all(held is not None for held in there.values())
    return StreamAccount(
        integration.name,
        mapping.stream,
        count,
        len(current),
        kept,
        len(lost),
        sum(not same for same in current.values()) if comparable else None,
        tuple(lost),
        same_key,
    )


def _as_sent(mapping: StreamMapping, whole: bool) -> Callable[[str, dict[str, Any]], str]:
    """What a target holds of a source record, as a digest: its exact text, or the fields that were mapped."""
    if whole:
        return lambda raw, _: content_hash(raw)
    mapper, names = compile_mapping(mapping), _names(mapping)
    return lambda _, value: _part(mapper(value), names)


def _names(mapping: StreamMapping) -> list[str]:
    """The target's names of the fields that are sent, when the mapping lists them; else none."""
    return [] if "*" in mapping.select else sorted({*mapping.select, *mapping.map})


def _part(value: Mapping[str, Any], names: Sequence[str]) -> str:
    return content_hash(dumps([value.get(name) for name in names]))


async def _source_records(
    source: Driver, mapping: StreamMapping
) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(key, text, value) of every record of the source; the key is empty for a record that has none."""
    from platint_tui.engine.rows import record_key

    options = ReadOptions(sync="account", key=mapping.key)
    async for page in source.read(mapping.stream, None, options):
        for element in page.bad:
            yield "", element.raw, {}
        for raw, value, _ in page.records:
            try:
                key = record_key(value, raw, mapping.key)
            except RecordError:
                key = ""
            yield key, raw, value


async def _kept(workspace: Workspace, integration: str, stream: str) -> tuple[set[str], set[str], set[str]]:
    """Keys and content hashes of the dead letters that still hold a record, and keys of corrected records."""
    letters = workspace.store.dead_letters
    numbers = await letters.numbers(DeadLetterFilter(integration=integration, stream=stream))
    keys: set[str] = set()
    texts: set[str] = set()
    corrected: set[str] = set()
    for start in range(0, len(numbers), _CHUNK):
        for letter in await letters.rows(numbers[start : start + _CHUNK]):
            if letter.state not in _GONE:
                keys.add(letter.record_key)
                texts.add(letter.content_hash)
            elif letter.parent is not None:
                corrected.add(letter.record_key)
    return keys, texts, corrected


async def _target_rows(
    workspace: Workspace, integration: Integration, mapping: StreamMapping, target: Driver
) -> dict[str, str | None]:
    """Key and digest of what the target holds, None for a digest that says nothing about the source."""
    if isinstance(target, _ScansKeys):
        return {key: text async for key, text in target.scan_keys(mapping.target)}
    from platint_tui.engine.rows import record_key

    fields = _key_fields_in_target(workspace, integration, mapping)
    names = _names(mapping)
    found: dict[str, str | None] = {}
    async for page in target.read(mapping.target, None):
        for raw, value, _ in page.records:
            try:
                key = record_key(value, raw, fields)
            except RecordError:
                # Somebody else's row: no record of the source has no key.
                continue
            found[key] = _part(value, names) if names else None
    return found


def _key_fields_in_target(
    workspace: Workspace, integration: Integration, mapping: StreamMapping
) -> tuple[str, ...]:
    """The target's names of the source's key fields. Raises ConfigError when a mapping drops or changes one."""
    if not mapping.map and not mapping.select:
        return mapping.key
    names = []
    for key in mapping.key:
        renamed = [name for name, expression in mapping.map.items() if expression == key]
        if not renamed and key not in mapping.select:
            raise ConfigError(
                f"The records of '{mapping.stream}' in {integration.target_profile} cannot be told apart by key.",
                hint=f"The mapping of '{integration.name}' does not carry the key field '{key}' over unchanged.",
            )
        names.append(renamed[0] if renamed else key)
    return tuple(names)
