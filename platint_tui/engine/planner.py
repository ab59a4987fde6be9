"""From an integration, manifests and profiles to a plan per stream: mistakes are found before a request."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.core.model import Field, Integration, Profile, Stream, StreamMapping
from platint_tui.engine.context import Context
from platint_tui.engine.plan import IntegrationPlan, Side, StreamPlan
from platint_tui.manifest.feeds import EVENT_FIELDS, EVENT_KEY, events_stream, feeds
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.loader import resource
from platint_tui.manifest.mapping import compile_mapping, parse_expression
from platint_tui.manifest.schema import Connector, Resource
from platint_tui.manifest.writes import chosen_write

_PAUSE, _HTTP_PAUSE = 2.0, 30.0
"""Seconds between two scans in real time of a source that does not follow by itself."""
WEBHOOKS_ALONE = "webhook_automation"
"""The type of an integration whose streams are not read, whatever its source can do."""
_DIRECTIONS = ("source_to_target",)


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when there are few."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"There is: {', '.join(names[:20])}." if names else ""


async def find_profile(context: Context, name: str) -> Profile:
    """The profile called `name`. Raises NotFound with a suggestion."""
    found = await context.store.profiles.get(name)
    if found is None:
        known = [item.name for item in await context.store.profiles.list()]
        raise NotFound(
            f"There is no profile '{name}'.",
            hint=suggest(name, known) or "Add it with `platint-tui profiles add`.",
        )
    return found


async def plan_integration(
    context: Context, integration: Integration | None, streams: Sequence[str], *, name: str
) -> IntegrationPlan:
    """The plan of these streams of an integration, of all without any.

    Raises NotFound or ConfigError with the first thing that is wrong.
    """
    if integration is None:
        known = [item.name for item in await context.store.integrations.list()]
        raise NotFound(f"There is no integration '{name}'.", hint=suggest(name, known))
    if integration.sync_direction not in _DIRECTIONS:
        raise ConfigError(
            f"The direction {integration.sync_direction} of '{integration.name}' does not work yet.",
            hint="Use source_to_target, with the platforms in that order.",
        )
    source, reading = await _side(context, integration.source_profile, integration.source_platform)
    target, writing = await _side(context, integration.target_profile, integration.target_platform)
    wanted = _wanted(integration, streams)
    found = {item.name: item for item in await _discovered(context, source.profile.name)}
    if kind_of(writing.driver).tables:
        _refuse_shared_tables(integration)
    plans = tuple(_plan_stream(integration, item, source, target, reading, writing, found) for item in wanted)
    return IntegrationPlan(integration, source, target, plans)


def _refuse_shared_tables(integration: Integration) -> None:
    """Records of two streams may have the same key: in one table each would replace the other."""
    tables: dict[str, str] = {}
    for item in integration.streams:
        other = tables.setdefault(item.target.lower(), item.stream)
        if other != item.stream:
            raise ConfigError(
                f"'{other}' and '{item.stream}' of '{integration.name}' go to the same table '{item.target}'.",
                hint="Give each stream a target of its own.",
                code="shared_target",
            )


async def _side(context: Context, profile_name: str, platform: str) -> tuple[Side, Connector]:
    profile = await find_profile(context, profile_name)
    if profile.platform != platform:
        raise ConfigError(
            f"The profile '{profile.name}' is for {profile.platform}, the integration expects {platform}.",
            hint="Name another profile in the integration file.",
        )
    connector = context.registry.get(platform)
    return Side(profile, platform, connector.version), connector


def _wanted(integration: Integration, streams: Sequence[str]) -> list[StreamMapping]:
    mappings = {item.stream: item for item in integration.streams}
    for name in streams:
        if name not in mappings:
            raise NotFound(
                f"The integration '{integration.name}' has no stream '{name}'.", hint=suggest(name, mappings)
            )
    if not mappings:
        raise ConfigError(f"The integration '{integration.name}' has no streams.")
    return [item for item in integration.streams if not streams or item.stream in streams]


async def _discovered(context: Context, profile: str) -> Sequence[Stream]:
    catalogues = await context.store.catalogues.latest(profile)
    return catalogues[0].streams if catalogues else ()


def _plan_stream(
    integration: Integration,
    mapping: StreamMapping,
    source: Side,
    target: Side,
    reading: Connector,
    writing: Connector,
    found: dict[str, Stream],
) -> StreamPlan:
    what = _source_stream(integration, mapping, reading)
    follow = integration.sync_frequency == "real_time"
    seen = found.get(mapping.stream)
    if not readable(what) and not (integration.receives and feeds(reading, mapping.stream)):
        raise ConfigError(
            f"The stream '{mapping.stream}' of {reading.name} cannot be read.",
            hint=suggest("", [name for name, item in reading.resources.items() if item.read or item.source]),
        )
    return StreamPlan(
        integration=integration.name,
        stream=mapping.stream,
        version=integration.version,
        source=source,
        target=target,
        mapping=mapping,
        key=_key(mapping, what, seen, source, reading.discover.type == "introspect"),
        cursor=_cursor(mapping, what, seen),
        fields=_target_fields(mapping, _fields_of(integration, mapping, reading, what, seen)),
        mapper=compile_mapping(mapping),
        idempotent=_idempotent(writing, mapping),
        estimate=seen.estimate if seen else None,
        follow=follow,
        retry=reading.errors.policy.retry_policy() if follow or reading.driver != "http" else None,
        pause=_PAUSE if reading.driver != "http" else _HTTP_PAUSE,
        typed=_typed(mapping, seen),
        fed=integration.receives,
    )


def readable(what: Resource) -> bool:
    """Whether records of a stream can be asked for, and do not only come as events."""
    return what.read is not None or what.source is not None


def _source_stream(integration: Integration, mapping: StreamMapping, reading: Connector) -> Resource:
    """What the manifest says of a stream. Raises NotFound."""
    if integration.receives and reading.webhooks is not None and mapping.stream == events_stream(reading):
        return Resource(key=EVENT_KEY)
    return resource(reading, mapping.stream)


async def plan_run(
    context: Context, integration: Integration | None, streams: Sequence[str], *, name: str
) -> IntegrationPlan:
    """The plan of a run: of the streams that are read. Raises ConfigError when there is nothing to read."""
    plan = await plan_integration(context, integration, streams, name=name)
    found, reading = plan.integration, context.registry.get(plan.source.platform)
    fed = [
        item.stream
        for item in plan.streams
        if found.integration_type == WEBHOOKS_ALONE
        or not readable(_source_stream(found, item.mapping, reading))
    ]
    if len(fed) == len(plan.streams) or (streams and fed):
        raise ConfigError(
            f"There is nothing to run: {', '.join(fed)} of '{found.name}' {'is' if len(fed) == 1 else 'are'} fed by"
            f" the webhooks of '{found.source_profile}', as they come.",
            hint="`platint-tui events list` shows what came, `events resend` delivers it once more.",
            code="fed_by_events",
        )
    return replace(plan, streams=tuple(item for item in plan.streams if item.stream not in fed))


@dataclass(frozen=True, slots=True)
class FedStream:
    """A stream of an integration as events bring it: its mapping, and the fields that identify a record.

    `fault` says why its key is not known, None when it is. `fetches`: the whole record can be asked for by what an
    event says of it.
    """

    mapping: StreamMapping
    key: tuple[str, ...]
    fault: ConfigError | None = None
    fetches: bool = False


async def fed_streams_of(context: Context, integration: Integration) -> dict[str, FedStream]:
    """What events of its source are to an integration, whatever its target: streams by name.

    Raises ConfigError when the source's manifest is not usable.
    """
    connector = context.registry.get(integration.source_platform)
    profile = await find_profile(context, integration.source_profile)
    side = Side(profile, connector.platform, connector.version)
    seen = {item.name: item for item in await _discovered(context, profile.name)}
    asked = connector.discover.type == "introspect"
    found: dict[str, FedStream] = {}
    for mapping in integration.streams:
        if feeds(connector, mapping.stream):
            what = _source_stream(integration, mapping, connector)
            try:
                key = _key(mapping, what, seen.get(mapping.stream), side, asked)
                found[mapping.stream] = FedStream(mapping, key, fetches=what.one is not None)
            except ConfigError as error:
                found[mapping.stream] = FedStream(mapping, (), error)
    return found


def _cursor(mapping: StreamMapping, what: Resource, seen: Stream | None) -> str | None:
    if mapping.cursor:
        return mapping.cursor
    if what.read is not None:
        if what.read.cursor is not None:
            return what.read.cursor.field
        return seen.cursor if seen else None
    return None  # a database is read by a field only where the integration names it


def _typed(mapping: StreamMapping, seen: Stream | None) -> bool:
    """Whether every column that reaches the target is known with its native type: nothing was computed."""
    return seen is not None and seen.typed and not any("(" in item for item in mapping.map.values())


def _key(
    mapping: StreamMapping, what: Resource, seen: Stream | None, source: Side, introspected: bool
) -> tuple[str, ...]:
    """The fields that identify a record. `introspected`: the platform itself says what its streams are.

    Raises ConfigError when only the platform knows them and it was not asked: without them rows would be told
    apart by their content, and be other rows after a discovery.
    """
    if mapping.key or what.key is not None:
        return mapping.key or what.key or ()
    if seen is not None and (seen.key or not seen.incomplete):
        return seen.key
    if introspected or (what.describe is not None and what.describe.key is not None):
        raise ConfigError(
            f"The key of '{mapping.stream}' is known after a discovery only:"
            f" run `platint-tui discover {source.profile.name}` first.",
            hint="Or write its `key` in the integration file.",
            code="key_unknown",
        )
    return ()


def _source_fields(what: Resource, seen: Stream | None) -> tuple[Field, ...]:
    declared = tuple(
        Field(item.name, item.type, item.required, item.max_length, item.description) for item in what.fields
    )
    return declared or (seen.fields if seen else ())


def _fields_of(
    integration: Integration, mapping: StreamMapping, reading: Connector, what: Resource, seen: Stream | None
) -> tuple[Field, ...]:
    if integration.receives and reading.webhooks is not None and mapping.stream == events_stream(reading):
        return EVENT_FIELDS
    return _source_fields(what, seen)


def _target_fields(mapping: StreamMapping, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The declared fields as the target sees them: chosen, renamed, and what a function makes of them."""
    if not mapping.select and not mapping.map:
        return fields
    by_name = {item.name: item for item in fields}
    everything = "*" in mapping.select or (not mapping.select and not mapping.map)
    chosen = fields if everything else tuple(item for item in fields if item.name in mapping.select)
    result = {item.name: item for item in chosen}
    for name, expression in mapping.map.items():
        function, path = parse_expression(expression)
        origin = by_name.get(path[0]) if len(path) == 1 else None
        kind = "string" if function else origin.type if origin else "any"
        limit = origin.max_length if origin and not function else None
        native = origin.native if origin and not function else ""
        result[name] = Field(name, kind, origin.required if origin else False, limit, native=native)
    return tuple(result.values())


def _idempotent(writing: Connector, mapping: StreamMapping) -> bool:
    """Whether writing the same row twice does no more than once. Raises ConfigError."""
    if kind_of(writing.driver).tables:
        return True  # upserted by key
    return chosen_write(writing, mapping.target, mapping.operation).idempotent
