"""Queues, topics and subscriptions: their names as streams, and what the management says of them.

Source: Microsoft, "Service Bus Azure Resource Manager and management REST API" (QueueDescription and others).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from platint_tui.core.errors import ConfigError, PlatintError
from platint_tui.core.model import Field, Json, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.http.requests import with_query
from platint_tui.drivers.http.xmltree import parse_xml
from platint_tui.manifest.template import lookup

Kind = Literal["queue", "topic", "subscription"]
DEAD = "/$DeadLetterQueue"
MOST_ENTITIES = 1_000
_DESCRIPTIONS: Mapping[Kind, str] = {
    "queue": "QueueDescription",
    "topic": "TopicDescription",
    "subscription": "SubscriptionDescription",
}
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


@dataclass(frozen=True, slots=True)
class Entity:
    """A queue, topic or subscription; `settings` is its description, empty when the management was not asked."""

    kind: Kind
    name: str
    subscription: str = ""
    settings: Mapping[str, Json] = field(default_factory=dict)

    @property
    def stream(self) -> str:
        """The stream of its messages."""
        return (
            f"{self.kind}.{self.name}/{self.subscription}"
            if self.subscription
            else f"{self.kind}.{self.name}"
        )

    @property
    def path(self) -> str:
        """Its address in the namespace."""
        return f"{self.name}/subscriptions/{self.subscription}" if self.subscription else self.name

    @property
    def place(self) -> dict[str, Json]:
        """Where its messages come from, as members of their records."""
        if self.subscription:
            return {"topic": self.name, "subscription": self.subscription}
        return {self.kind: self.name}

    @property
    def sessions(self) -> bool:
        """Whether its messages belong to sessions."""
        return self.settings.get("RequiresSession") == "true"

    def count(self, name: str) -> int | None:
        """One of its counts (ActiveMessageCount, DeadLetterMessageCount, …)."""
        value = lookup(self.settings, ("CountDetails", name))
        return int(value) if isinstance(value, str) and value.isdecimal() else None

    def seconds(self, name: str) -> float | None:
        """A setting that is a duration (ISO 8601)."""
        value = self.settings.get(name)
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return None
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def entity_of(stream: str) -> Entity | None:
    """The entity behind a stream, None for a stream of the http driver. Raises ConfigError."""
    kind, dot, name = stream.partition(".")
    if not dot or kind not in _DESCRIPTIONS:
        return None
    if kind == "queue":
        return Entity("queue", name)
    if kind == "topic":
        return Entity("topic", name)
    topic, slash, subscription = name.rpartition("/")
    if not slash or not topic or not subscription:
        raise ConfigError(
            f"'{clean(stream)}' names no subscription.",
            where=clean(stream),
            hint="Write it like subscription.TOPIC/SUBSCRIPTION.",
            code="no_subscription",
        )
    return Entity("subscription", topic, subscription)


def entity_at(path: str) -> Entity:
    """The entity at an address: a queue, or `TOPIC/subscriptions/NAME`."""
    topic, found, subscription = path.rpartition("/subscriptions/")
    return Entity("subscription", topic, subscription) if found else Entity("queue", path)


def named_entities(text: str) -> list[Entity]:
    """Entities that a profile names, separated by commas: queues and `TOPIC/subscriptions/NAME`."""
    return [entity_at(part.strip()) for part in text.split(",") if part.strip()]


class Management:
    """Asks the management over HTTP. It needs the right Manage."""

    def __init__(self, http: HttpDriver) -> None:
        self._http = http

    async def entities(self) -> tuple[list[Entity], bool]:
        """Every queue, topic and subscription, and whether these are all of them. Raises what listing raises."""
        found: list[Entity] = []
        for kind in _DESCRIPTIONS:
            async with aclosing(self._listed(kind)) as listed:
                async for entity in listed:
                    if len(found) >= MOST_ENTITIES:
                        return found, False
                    found.append(entity)
        return found, True

    async def some(self) -> list[Entity]:
        """A queue, or a subscription with its topic; nothing when there is neither. Raises what listing raises."""
        for kind in ("queue", "subscription"):
            async with aclosing(self._listed(kind)) as listed:
                async for entity in listed:
                    return [entity, Entity("topic", entity.name)] if entity.subscription else [entity]
        return []

    async def describe(self, entity: Entity) -> Entity:
        """The entity with its settings; as it is when the management may not or cannot be asked."""
        session = self._http.session
        path = quote(entity.path, safe="/")
        url = with_query(f"{session.base_url.rstrip('/')}/{path}", {"api-version": "2021-05"})
        try:
            await session.ready()
            request = Outgoing("GET", url, session.headers, resource=entity.stream)
            result = await session.caller.call(f"describe {entity.stream}", "read", request, brief=True)
            if result.verdict is not None or result.answer is None:
                return entity
            tree = parse_xml(result.answer.body, session.caller.host)
        except PlatintError:
            return entity
        settings = lookup(tree, ("content", _DESCRIPTIONS[entity.kind]))
        known = settings if isinstance(settings, dict) else {}
        return Entity(entity.kind, entity.name, entity.subscription, known)

    async def _listed(self, kind: Kind) -> AsyncGenerator[Entity, None]:
        pages = self._http.read(f"{kind}s", None)
        async with aclosing(pages):  # type: ignore[type-var]  # the http driver gives generators
            async for page in pages:
                for record in page.records:
                    name = lookup(record.value, ("title", "#text")) or lookup(record.value, "title")
                    settings = lookup(record.value, ("content", _DESCRIPTIONS[kind]))
                    if not isinstance(name, str):
                        continue
                    known = settings if isinstance(settings, dict) else {}
                    topic = record.value.get("topic")
                    if kind == "subscription" and isinstance(topic, str):
                        yield Entity(kind, topic, name, known)
                    elif kind != "subscription":
                        yield Entity(kind, name, "", known)


def as_stream(
    entity: Entity, fields: tuple[Field, ...], notes: tuple[str, ...], needs: tuple[str, ...]
) -> Stream:
    """An entity as it is listed."""
    readable = entity.kind != "topic"
    refused = "It has sessions: its messages can be sent here, not received." if entity.sessions else ""
    return Stream(
        name=entity.stream,
        key=("id",),
        cursor=None,
        fields=fields,
        readable=readable and not refused,
        writable=entity.kind != "subscription",
        estimate=entity.count("ActiveMessageCount") if readable else None,
        notes=notes,
        needs=needs if readable else (),
        refused=refused if readable else "",
        kind=entity.kind,
        modes=("consume",) if readable else (),
        facts=tuple(_facts(entity)),
    )


def _facts(entity: Entity) -> list[tuple[str, str]]:
    facts = []
    counts = (
        ("waiting", "ActiveMessageCount"),
        ("dead letters", "DeadLetterMessageCount"),
        ("scheduled", "ScheduledMessageCount"),
    )
    for label, name in counts:
        if (count := entity.count(name)) is not None:
            facts.append((label, f"{count:,}"))
    for label, name in (
        ("lock", "LockDuration"),
        ("duplicates dropped for", "DuplicateDetectionHistoryTimeWindow"),
    ):
        wanted = name == "LockDuration" or entity.settings.get("RequiresDuplicateDetection") == "true"
        if wanted and (seconds := entity.seconds(name)) is not None:
            facts.append((label, f"{seconds:g} s"))
    for label, name in (("deliveries", "MaxDeliveryCount"), ("status", "Status")):
        value = entity.settings.get(name)
        if isinstance(value, str):
            facts.append((label, clean(value)))
    if entity.sessions:
        facts.append(("sessions", "yes"))
    return facts
