"""The way of a dead letter to its target, and what can be said of a payload on it before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from platint_tui.core.errors import NotFound, PlatintError, RecordError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Field, JsonObject, Op, Row
from platint_tui.core.patch import Patch, apply
from platint_tui.core.ports import Driver, Renders
from platint_tui.core.replays import MappingOf, ReplayOptions
from platint_tui.drivers.rendering import render_table_row
from platint_tui.engine.context import Context
from platint_tui.engine.plan import StreamPlan
from platint_tui.engine.planner import find_profile, plan_integration
from platint_tui.engine.rows import lookup, make_row
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.schema import Connector, Resource
from platint_tui.manifest.template import SPREAD
from platint_tui.manifest.writes import chosen_write

IN_FLIGHT = 50
"""Items of a job that are out at a time where neither the connector nor the driver says less."""
QUEUED = 8
"""The same for targets that are no HTTP API: they confirm in order, or have their own batches."""
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "timestamp": (str, int, float, Decimal),
    "object": (dict,),
    "array": (list,),
}


async def plan_way(
    context: Context, integration: str, stream: str, options: ReplayOptions, version: int | None = None
) -> StreamPlan:
    """The plan by which a dead letter of this stream is sent: as the integration is today or was then, to its own
    target or to another.

    `version` is the one that it failed with; where that is not known, today's. Raises NotFound, ConfigError.
    """
    wanted = version if options.mapping is MappingOf.THEN else None
    found = await context.store.integrations.get(integration, wanted)
    if found is not None and options.to_profile:
        profile = await find_profile(context, options.to_profile)
        streams = tuple(
            replace(item, target=options.to_target or item.target)
            for item in found.streams
            if item.stream == stream
        )
        found = replace(
            found,
            target_profile=profile.name,
            target_platform=profile.platform,
            streams=streams or found.streams,
        )
    return (await plan_integration(context, found, [stream], name=integration)).streams[0]


def in_flight(connector: Connector) -> int:
    """How many items of a job may be out at a time: what the connector's limits of writes allow."""
    if connector.driver != "http":
        # Other targets have one connection, where a second write at the same time reads the first one's answers.
        return 1
    limits = [
        item.concurrency
        for item in connector.limits
        if item.concurrency and item.match.op in ("write", "any")
    ]
    return min([IN_FLIGHT, *limits])


@dataclass(frozen=True, slots=True)
class Way:
    """A plan with the schemas on it: `source` is the stream's, `target` what the target declares (None: it takes
    any field). `strict`: the target's fields speak of what is written; otherwise of its records as they are read,
    in which the platform may fill in fields by itself. `columns`: it is a table whose columns have types.
    `driver` makes the request, None where only the schemas are looked at.
    """

    plan: StreamPlan
    source: tuple[Field, ...]
    target: tuple[Field, ...] | None
    columns: bool = False
    strict: bool = False
    driver: Driver | None = None

    def render(self, row: Row) -> JsonObject:
        """What would be sent for a row, secrets masked. Raises RecordError."""
        plan = self.plan.target_plan(0, "")
        if self.columns:
            return render_table_row(plan, row)
        if isinstance(self.driver, Renders):
            return self.driver.render(plan, row)
        return {"target": plan.target, "key": row.key, "value": row.value}


async def way_of(context: Context, plan: StreamPlan, driver: Driver) -> Way:
    """A plan with the stream's schema and the target's. Raises what describing the target raises."""
    way = await _schemas(context, plan)
    if way.columns:
        return way
    described = await driver.describe_target(plan.mapping.target)
    return replace(way, target=tuple(described) if described is not None else None, driver=driver)


async def way_without_driver(context: Context, integration: str, stream: str) -> Way:
    """A way whose target is known by its manifest alone: no secret is read and nobody is asked.

    Raises NotFound, ConfigError.
    """
    return await _schemas(context, await plan_way(context, integration, stream, ReplayOptions()))


async def _schemas(context: Context, plan: StreamPlan) -> Way:
    writing = context.registry.get(plan.target.platform)
    kind = kind_of(writing.driver)
    resource = writing.resources.get(family_of(writing, plan.mapping.target))
    declared = _declared(resource.fields) if resource is not None else ()
    strict = _speaks_of_writes(writing, resource, plan) if kind.http and resource is not None else True
    return Way(plan, await _source_fields(context, plan), declared or None, kind.columns, strict)


def _speaks_of_writes(writing: Connector, resource: Resource, plan: StreamPlan) -> bool:
    """Whether the declared fields of a resource are just those that its write sends: the record goes as it is, and
    as a whole."""
    write = chosen_write(writing, plan.mapping.target, plan.mapping.operation)
    operation = write.operation
    body = operation.bulk.item if operation.bulk is not None else operation.body
    whole = write.name == "upsert" or (write.name == "create" and resource.read is None)
    return whole and _is_the_record(body) and operation.encode == "json" and operation.graphql is None


def _is_the_record(body: Any) -> bool:
    """Whether a body sends the record's fields under their own names."""
    if isinstance(body, Mapping):
        return all(
            value == ("${record}" if name == SPREAD else f"${{record.{name}}}")
            for name, value in body.items()
        )
    return bool(body == "${record}")


async def _source_fields(context: Context, plan: StreamPlan) -> tuple[Field, ...]:
    catalogues = await context.store.catalogues.latest(plan.source.profile.name)
    streams = catalogues[0].streams if catalogues else ()
    seen = next((item.fields for item in streams if item.name == plan.stream), ())
    if seen:
        return seen
    reading = context.registry.get(plan.source.platform)
    resource = reading.resources.get(family_of(reading, plan.stream))
    return _declared(resource.fields) if resource is not None else ()


def _declared(fields: Sequence[Any]) -> tuple[Field, ...]:
    return tuple(Field(item.name, item.type, item.required, item.max_length) for item in fields)


# --- one payload -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say of a payload (see core.replays.Reason for the steps)."""

    step: str
    code: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of a payload on its way: the row when there is one, what would be sent, what stands against it
    (nothing: it would pass), and what is odd about it."""

    row: Row | None = None
    request: JsonObject | None = None
    faults: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def examine(
    way: Way, payload: bytes, idempotency_key: str, op: Op = Op.UPSERT, patch: Patch = ()
) -> Examined:
    """Take a payload along its way as far as it comes without being sent: decoded, patched, mapped, checked
    against both schemas, made a request."""
    step = "payload"
    try:
        raw = payload.decode("utf-8")
        value = loads(raw)
        if not isinstance(value, dict):
            raise NotFound("The payload is no JSON object.", code="not_a_record")
        if patch:
            step = "patch"
            value = apply(value, patch)
            raw = dumps(value)
        step = "mapping"
        row = make_row(way.plan, raw, value, idempotency_key, op)
    except (PlatintError, UnicodeDecodeError) as error:
        return Examined(faults=(_finding(step, error),))
    warnings = tuple(_misfits("source", way.source, value)) if op is Op.UPSERT else ()
    if way.target is not None and not way.columns and op is Op.UPSERT:
        found = tuple(_misfits("target", way.target, row.value))
        if found and way.strict:
            return Examined(row, None, found, warnings)
        warnings += found
    if way.driver is None and not way.columns:
        return Examined(row, None, (), warnings)
    try:
        request = way.render(row)
    except RecordError as error:
        return Examined(row, None, (_finding("target" if way.columns else "render", error),), warnings)
    return Examined(row, request, (), warnings)


def _finding(step: str, error: Exception) -> Finding:
    if isinstance(error, PlatintError):
        return Finding(step, error.code, error.where, error.message)
    return Finding(step, "not_utf8", "", "The payload is no UTF-8 text.")


def _misfits(step: str, fields: Sequence[Field], value: Mapping[str, Any]) -> list[Finding]:
    """What of a record is not as the fields declare it."""
    whose = "The stream's schema" if step == "source" else "The target"
    found = []
    for item in fields:
        given = lookup(value, item.name)
        if given is None:
            if item.required:
                told = f"{whose} requires '{item.name}', which is missing or null."
                found.append(Finding(step, "missing_field", item.name, told))
        elif not _is(given, item.type):
            told = f"{whose} has '{item.name}' as {item.type}, the record has {_name(given)} there."
            found.append(Finding(step, "wrong_type", item.name, told))
        elif item.max_length is not None and isinstance(given, str) and len(given) > item.max_length:
            told = f"{whose} allows {item.max_length} characters in '{item.name}'."
            found.append(Finding(step, "too_long", item.name, told))
    return found


def _is(value: Any, kind: str) -> bool:
    accepted = _KINDS.get(kind)
    if accepted is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, (float, Decimal)):
        return value == int(value)
    return isinstance(value, accepted)


def _name(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return "a text" if isinstance(value, str) else "a number"
