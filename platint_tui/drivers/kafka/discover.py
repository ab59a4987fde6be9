"""What a cluster offers: its topics with their size, settings and consumers, and which of them hold dead letters."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.protocol.admin import DescribeConfigsRequest, ListGroupsRequest

from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.kafka.cluster import Cluster, Topic
from platint_tui.drivers.kafka.codes import error_of
from platint_tui.drivers.kafka.deadletters import has_marks, origin_by_name
from platint_tui.drivers.kafka.fetched import Broken, fetch_some
from platint_tui.drivers.kafka.offsets import Partition, committed, end_offsets, first_offsets, leaders_of
from platint_tui.manifest.loader import resource

MOST_PARTITIONS = 20_000
MOST_GROUPS = 200
MOST_SAMPLES = 100
SECONDS = 20.0
"""What discovery looks at of a large cluster, and how long each of its extra questions may take."""
_TOPIC = 2
_SETTINGS_AT_A_TIME = 100
_GROUPS_SHOWN = 20


@dataclass
class _Found:
    """What is known of the topics beside their partitions; what could not be asked is missing."""

    begins: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lags: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()


async def user_topics(cluster: Cluster) -> list[Topic]:
    """The topics that are not Kafka's own. Raises PlatintError."""
    found = await cluster.topics(None)
    return sorted(
        (item for item in found if not item.internal and not item.name.startswith("__")),
        key=lambda item: item.name,
    )


async def discover(cluster: Cluster) -> list[Stream]:
    """The topics as streams. Raises CredentialError, ConfigError, TransientError."""
    topics = await user_topics(cluster)
    found = _Found()
    leaders = _some_leaders(topics)
    with contextlib.suppress(PlatintError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            found.begins = await first_offsets(cluster, leaders)
            found.ends = await end_offsets(cluster, leaders)
    with contextlib.suppress(PlatintError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            found.settings = await settings(cluster, [item.name for item in topics if not item.code])
    with contextlib.suppress(PlatintError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            found.lags = await _lags(cluster, found.ends)
    with contextlib.suppress(PlatintError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            found.marked = await marked_topics(cluster, topics, found.begins, found.ends)
    return [_stream(cluster, item, found) for item in topics]


def _some_leaders(topics: Iterable[Topic]) -> dict[Partition, int]:
    """The partitions of whole topics, as many as are looked at."""
    leaders: dict[Partition, int] = {}
    for topic in topics:
        if len(leaders) + len(topic.leaders) > MOST_PARTITIONS:
            break
        leaders |= leaders_of({topic.name: topic.leaders})
    return leaders


async def settings(cluster: Cluster, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """Retention and clean-up by topic, where the broker tells them."""
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(topics), _SETTINGS_AT_A_TIME):
        # All settings are asked for: not every broker answers a choice of them.
        asked = [(_TOPIC, name, None) for name in topics[start : start + _SETTINGS_AT_A_TIME]]
        answer = await cluster.ask(DescribeConfigsRequest(asked, False))
        for code, _, _, name, entries in answer.resources:
            if not code:
                found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return found


async def groups(cluster: Cluster) -> list[str]:
    """The consumer groups that this user may see, of every broker. Raises PlatintError."""
    names: set[str] = set()
    for node in list(cluster.brokers):
        answer = await cluster.ask(ListGroupsRequest(), node)
        if answer.error_code:
            raise error_of(answer.error_code, cluster.address)
        names |= {item[0] for item in answer.groups if item[1] in ("", "consumer")}
    return sorted(names)


async def _lags(cluster: Cluster, ends: Mapping[Partition, int]) -> dict[str, list[tuple[str, int]]]:
    """(group, messages that it has not committed) by topic."""
    wanted: dict[str, list[int]] = defaultdict(list)
    for topic, partition in ends:
        wanted[topic].append(partition)
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for group in (await groups(cluster))[:MOST_GROUPS]:
        try:
            offsets = await committed(cluster, group, wanted)
        except PlatintError:
            continue  # a group of somebody else's
        lags: dict[str, int] = defaultdict(int)
        for (topic, partition), item in offsets.items():
            lags[topic] += max(0, ends[topic, partition] - item.offset)
        for topic, lag in lags.items():
            found[topic].append((group, lag))
    return found


async def marked_topics(
    cluster: Cluster, topics: Sequence[Topic], begins: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> frozenset[str]:
    """Topics whose newest message has headers that tell of a failure; of a limited number of topics."""
    found = set()
    asked = 0
    for topic in topics:
        filled = [
            item
            for item in topic.leaders
            if ends.get((topic.name, item), 0) > begins.get((topic.name, item), 0)
            and topic.leaders[item] >= 0
        ]
        if not filled or asked >= MOST_SAMPLES:
            continue
        asked += 1
        last = ends[topic.name, filled[0]] - 1
        try:
            taken = await fetch_some(cluster, topic.name, topic.leaders[filled[0]], filled[0], last)
        except PlatintError:
            continue  # this user may not read it, or it has just been cleaned
        if any(not isinstance(item, Broken) and has_marks(item) for item in taken.messages()):
            found.add(topic.name)
    return frozenset(found)


def _stream(cluster: Cluster, topic: Topic, found: _Found) -> Stream:
    what = resource(cluster.address.connector, topic.name)
    modes: tuple[str, ...] = what.source.modes if what.source else ("consume",)
    fields = tuple(
        Field(item.name, item.type, item.required, item.max_length, item.description) for item in what.fields
    )
    facts = [("partitions", str(len(topic.leaders)))]
    span = _span(topic, found)
    estimate = None if span is None else sum(end - begin for begin, end in span)
    if span:
        facts.append(("offsets", f"{min(item[0] for item in span)} to {max(item[1] for item in span)}"))
    chosen = found.settings.get(topic.name, {})
    if "retention.ms" in chosen:
        facts.append(("retention", _duration(chosen["retention.ms"])))
    if "cleanup.policy" in chosen:
        facts.append(("clean-up", clean(chosen["cleanup.policy"])))
    for group, lag in found.lags.get(topic.name, ())[:_GROUPS_SHOWN]:
        facts.append((f"lag of {clean(group)}", str(lag)))
    origin = origin_by_name(topic.name)
    notes = []
    if origin is not None:
        notes.append(f"dead letters of {clean(origin)}, by its name")
    elif topic.name in found.marked:
        notes.append("dead letters, by the headers of its messages")
    if "compact" in chosen.get("cleanup.policy", ""):
        notes.append(
            "compacted: fewer messages than offsets; with key: [key] a message without a value is a deletion"
        )
    refused = "" if not topic.code else error_of(topic.code, cluster.address, topic=topic.name).sentence()
    return Stream(
        topic.name,
        ("id",),
        None,
        fields,
        readable=not topic.code,
        writable=not topic.code,
        estimate=estimate,
        notes=tuple(notes),
        needs=("Read on the topic",),
        refused=refused,
        kind="topic",
        modes=modes,
        facts=tuple(facts),
    )


def _span(topic: Topic, found: _Found) -> list[tuple[int, int]] | None:
    """(first, next) offset of each partition, None when one of them is not known."""
    keys = [(topic.name, item) for item in topic.leaders]
    if not keys or any(key not in found.begins or key not in found.ends for key in keys):
        return None
    return [(found.begins[key], found.ends[key]) for key in keys]


def _duration(milliseconds: str) -> str:
    try:
        seconds = int(milliseconds) // 1000
    except ValueError:
        return clean(milliseconds)
    if seconds < 0:
        return "for ever"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
