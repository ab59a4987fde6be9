"""Dead letters in topics of their own: which topics hold them, what they say of their origin, and the way back.

A message cannot be taken out of a topic. One that was sent back or discarded is noted as dealt with (see `handled`)
and not shown again; it goes when the retention of the topic has passed.
"""

from __future__ import annotations

import base64
import heapq
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from platint_tui.core.errors import ConfigError, PlatintError, TransientError, UnknownOutcome
from platint_tui.core.model import DeadQueue, NativeLetter, Returned
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka.cluster import Cluster, Topic
from platint_tui.drivers.kafka.fetched import Broken, fetch_some
from platint_tui.drivers.kafka.handled import Handled, of_commit
from platint_tui.drivers.kafka.offsets import (
    commit,
    committed,
    end_offsets,
    first_offsets,
    leaders_of,
)
from platint_tui.drivers.kafka.producer import Delivery, Outgoing, Producer
from platint_tui.drivers.kafka.records import Message, header_bytes, shown_headers, text_of
from platint_tui.drivers.kafka.target import IDEMPOTENCY
from platint_tui.drivers.messages import BASE64

GROUP = "dead-letters"
_BY_NAME = (
    re.compile(r"(?i)(?P<origin>.+?)[._-](?:dlq|dlt|dead[._-]?letter.*)"),
    re.compile(r"(?i)(?:dlq|dlt|dead[._-]?letters?)[._-](?P<origin>.+)"),
)
"""Names by convention: orders.DLQ, orders-dlq, orders.DLT, orders-dlt, orders.dead-letter; dlq-orders (Connect)."""
_ORIGINS = (
    "kafka_dlt-original-topic",
    "kafka_original-topic",
    "__connect.errors.topic",
    "x-original-topic",
    "original-topic",
)
_REASONS = (
    "kafka_dlt-exception-message",
    "kafka_exception-message",
    "__connect.errors.exception.message",
    "x-exception-message",
    "x-exception",
    "exception-message",
)
_CODES = ("kafka_dlt-exception-fqcn", "__connect.errors.exception.class.name", "x-exception-fqcn")
_MARKS = ("kafka_dlt-", "__connect.errors.", "x-original-", "x-exception")
"""Headers of Spring Kafka, Kafka Connect and Spring Cloud Stream that tell of a failure, not of the message."""


def origin_by_name(topic: str) -> str | None:
    """The topic that a dead-letter topic belongs to by its name; None when the name is not one of those."""
    for pattern in _BY_NAME:
        found = pattern.fullmatch(topic)
        if found:
            return found["origin"]
    return None


def has_marks(message: Message) -> bool:
    """Whether the headers of a message tell of a failure."""
    return any(name.startswith(_MARKS) for name, _ in message.headers)


def letter_of(topic: str, partition: int, message: Message) -> NativeLetter:
    """A message of a dead-letter topic; its headers say where it comes from and why it is there, or its name does."""
    said = {name: text_of(data)[0] for name, data in message.headers if data is not None}
    origin = next((said[name] for name in _ORIGINS if said.get(name)), origin_by_name(topic) or "")
    reason = next((said[name] for name in _REASONS if said.get(name)), "")
    code = next((said[name].rpartition(".")[2] for name in _CODES if said.get(name)), "dead_lettered")
    own = [(name, data) for name, data in message.headers if not name.startswith(_MARKS)]
    properties: dict[str, Any] = {"headers": shown_headers(own)}
    if message.key is not None:
        properties["key"], encoded = text_of(message.key)
        if encoded:
            properties["key_encoding"] = BASE64
    if message.value is None:
        properties["tombstone"] = True
    return NativeLetter(
        id=f"{topic}/{partition}/{message.offset}",
        queue=topic,
        origin=origin,
        reason=REDACTOR.redact(one_line(reason)),
        payload=message.value or b"",
        properties=properties,
        code=one_line(code) or "dead_lettered",
        died_ms=message.timestamp if message.timestamp > 0 else None,
    )


class DeadTopics:
    """The dead-letter topics of one cluster. `group` is "" where nothing may be noted in Kafka."""

    def __init__(self, cluster: Cluster, context: DriverContext, group: str) -> None:
        self._cluster = cluster
        self._context = context
        self._group = group

    async def queue(self, topic: Topic) -> DeadQueue:
        """One of them, with what is open in it."""
        begins, ends, handled = await self._state(topic)
        depth = sum(handled[item].open(begin, ends.get(item, begin)) for item, begin in begins.items())
        oldest = None
        if depth:
            oldest = await self._oldest_ms(topic, begins, ends, handled)
        return DeadQueue(topic.name, "topic", origin_by_name(topic.name) or "", depth, oldest)

    async def _oldest_ms(
        self, topic: Topic, begins: Mapping[int, int], ends: Mapping[int, int], handled: Mapping[int, Handled]
    ) -> int | None:
        times = []
        for partition, begin in begins.items():
            start = max(begin, handled[partition].below)
            if start < ends.get(partition, begin):
                first = await anext(self._letters(topic, partition, begin, handled[partition]), None)
                if first is not None and first.died_ms is not None:
                    times.append(first.died_ms)
        return min(times, default=None)

    async def _state(self, topic: Topic) -> tuple[dict[int, int], dict[int, int], dict[int, Handled]]:
        """Where each partition begins and ends, and what of it is dealt with."""
        leaders = leaders_of({topic.name: topic.leaders})
        begins = {item: offset for (_, item), offset in (await first_offsets(self._cluster, leaders)).items()}
        ends = {item: offset for (_, item), offset in (await end_offsets(self._cluster, leaders)).items()}
        notes = await self._notes(topic.name, list(topic.leaders))
        return begins, ends, {item: notes.get(item, Handled()) for item in topic.leaders}

    async def _notes(self, topic: str, partitions: list[int]) -> dict[int, Handled]:
        """What is noted as dealt with; nothing where the group may not be read."""
        if not self._group:
            return {}
        try:
            found = await committed(self._cluster, self._group, {topic: partitions})
        except ConfigError:
            return {}
        return {partition: of_commit(item) for (_, partition), item in found.items()}

    async def browse(self, name: str, limit: int) -> AsyncGenerator[NativeLetter, None]:
        """Up to `limit` open dead letters, oldest first. Nothing is committed."""
        topic = await self._cluster.topic(name)
        begins, _, handled = await self._state(topic)
        feeds = {item: self._letters(topic, item, begin, handled[item]) for item, begin in begins.items()}
        heads: list[tuple[int, int, NativeLetter]] = []

        async def advance(partition: int) -> None:
            letter = await anext(feeds[partition], None)
            if letter is not None:
                heapq.heappush(heads, (letter.died_ms or 0, partition, letter))

        for partition in feeds:
            await advance(partition)
        for _ in range(limit):
            if not heads:
                return
            _, partition, letter = heapq.heappop(heads)
            yield letter
            await advance(partition)

    async def _letters(
        self, topic: Topic, partition: int, begin: int, handled: Handled
    ) -> AsyncGenerator[NativeLetter, None]:
        """Open letters of one partition, from its oldest one to what was its end when it was first asked."""
        offset, end = max(begin, handled.below), None
        while end is None or offset < end:
            taken = await fetch_some(self._cluster, topic.name, topic.leaders[partition], partition, offset)
            end = taken.end if end is None else end
            for message in taken.messages():
                if isinstance(message, Broken) or message.offset in handled:
                    continue
                if message.offset >= end:
                    return
                yield letter_of(topic.name, partition, message)
            if taken.after == offset:
                return
            offset = taken.after

    async def give_back(self, letter: NativeLetter, idempotency_key: str) -> Returned:
        """Produce a letter to its origin; when that is acknowledged, note it as dealt with.

        Raises TransientError when the brokers are away: then nothing was sent.
        """
        if not letter.origin:
            return Returned("refused", "Nothing says which topic it comes from.")
        if await self._is_handled(letter):
            return Returned("gone", "Somebody has dealt with it already.")
        producer = Producer(self._cluster, letter.origin, self._context)
        delivery = Delivery()
        await producer.send([(0, _outgoing(letter, idempotency_key))], delivery)
        fault = delivery.faults.get(0)
        if fault is not None:
            kind = "unknown" if fault.code == UnknownOutcome.code else "refused"
            return Returned(kind, fault.message)
        if delivery.failure is not None:
            if isinstance(delivery.failure, TransientError):
                raise delivery.failure
            return Returned("refused", delivery.failure.sentence())
        partition, offset = delivery.places[0]
        noted = await self._note(letter)
        place = f"{clean(letter.origin)}/{partition}{f' at offset {offset}' if offset >= 0 else ''}"
        return Returned("sent", f"It is in {place}. {noted}")

    async def discard(self, letter: NativeLetter) -> Returned:
        """Note a letter as dealt with; it stays in its topic."""
        if await self._is_handled(letter):
            return Returned("gone", "Somebody has dealt with it already.")
        return Returned("sent", await self._note(letter))

    async def _is_handled(self, letter: NativeLetter) -> bool:
        partition, offset = _place(letter)
        return offset in (await self._notes(letter.queue, [partition])).get(partition, Handled())

    async def _note(self, letter: NativeLetter) -> str:
        """Note a letter as dealt with, and say what that means."""
        topic = clean(letter.queue)
        stays = f"The old one stays in '{topic}' until its retention has passed"
        partition, offset = _place(letter)
        try:
            if self._group:
                leaders = {
                    (letter.queue, partition): (await self._cluster.topic(letter.queue)).leaders[partition]
                }
                begin = (await first_offsets(self._cluster, leaders)).get((letter.queue, partition), 0)
                known = (await self._notes(letter.queue, [partition])).get(partition, Handled())
                note = known.adding(offset, begin).commit()
                if note is not None:
                    await commit(self._cluster, self._group, letter.queue, {partition: note})
                    # Not every broker keeps the metadata of a commit.
                    if await self._is_handled(letter):
                        return f"{stays}; the group '{clean(self._group)}' says that it is dealt with."
        except PlatintError as error:
            return f"{stays}; only this inbox knows that it is dealt with: {error.sentence()}"
        return f"{stays}; only this inbox knows that it is dealt with."


def _place(letter: NativeLetter) -> tuple[int, int]:
    """Partition and offset of a letter. Raises ConfigError for an id that is not one of ours."""
    parts = letter.id.rsplit("/", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        raise ConfigError(f"'{clean(letter.id)}' is no message of a topic.", code="not_found")
    return int(parts[1]), int(parts[2])


def _outgoing(letter: NativeLetter, idempotency_key: str) -> Outgoing:
    known = letter.properties
    key = known.get("key")
    data = None
    if isinstance(key, str):
        data = (
            base64.b64decode(key) if known.get("key_encoding") == BASE64 else key.encode("utf-8", "replace")
        )
    value = None if known.get("tombstone") is True and not letter.payload else letter.payload
    headers = [
        (str(name), item)
        for name, shown in (known.get("headers") or {}).items()
        if name != IDEMPOTENCY
        for item in header_bytes(shown)
    ]
    return Outgoing(data, value, [*headers, (IDEMPOTENCY, idempotency_key.encode())], idempotency_key)
