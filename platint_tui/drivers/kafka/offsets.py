"""Offsets: where partitions begin and end, and what consumer groups have committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.text import clean
from platint_tui.drivers.kafka.cluster import Cluster
from platint_tui.drivers.kafka.codes import COORDINATOR_MOVED, IN_USE, UNKNOWN_TOPIC, error_of, name_of
from platint_tui.drivers.kafka.fetched import READ_COMMITTED

_EARLIEST, _LATEST = -2, -1
_SIMPLE = (-1, "", -1)
"""Generation, member and retention of a commit from outside a group's own protocol."""

Partition = tuple[str, int]


class Committed(NamedTuple):
    """What a group has committed for a partition: the next offset, and a text of its own."""

    offset: int
    metadata: str = ""


async def first_offsets(cluster: Cluster, leaders: Mapping[Partition, int]) -> dict[Partition, int]:
    """The oldest offset of each partition that is there; partitions that do not answer are left out."""
    return await _offsets(cluster, leaders, _EARLIEST)


async def end_offsets(cluster: Cluster, leaders: Mapping[Partition, int]) -> dict[Partition, int]:
    """The offset that comes next in each partition (that of the oldest open transaction when there is one)."""
    return await _offsets(cluster, leaders, _LATEST)


async def _offsets(cluster: Cluster, leaders: Mapping[Partition, int], when: int) -> dict[Partition, int]:
    by_node: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for (topic, partition), node in leaders.items():
        if node >= 0:
            by_node[node][topic].append((partition, when))
    found: dict[Partition, int] = {}
    for node, topics in by_node.items():
        answer = await cluster.ask(OffsetRequest(-1, READ_COMMITTED, list(topics.items())), node)
        for topic, partitions in answer.topics:
            for partition, code, *rest in partitions:
                if not code:
                    found[topic, partition] = rest[-1]
    return found


async def commit(cluster: Cluster, group: str, topic: str, offsets: Mapping[int, Committed]) -> None:
    """Commit offsets of one topic for a group without members.

    Raises ConfigError when the group has members or is not allowed, TransientError when its coordinator is away.
    """
    wanted = [(partition, item.offset, item.metadata) for partition, item in offsets.items()]
    node = await cluster.coordinator(group)
    answer = await cluster.ask(OffsetCommitRequest(group, *_SIMPLE, [(topic, wanted)]), node)
    for _, partitions in answer.topics:
        for _, code in partitions:
            if code in IN_USE:
                raise ConfigError(
                    f"The consumer group '{clean(group)}' has members of its own, so its offsets are not ours.",
                    where=cluster.address.where,
                    hint="Choose another group prefix in the profile.",
                    code=name_of(code),
                )
            if code:
                _check(cluster, group, code, topic)


async def committed(
    cluster: Cluster, group: str, wanted: Mapping[str, list[int]]
) -> dict[Partition, Committed]:
    """What a group has committed for these partitions; those without a commit are left out."""
    node = await cluster.coordinator(group)
    answer = await cluster.ask(OffsetFetchRequest(group, list(wanted.items())), node)
    _check(cluster, group, getattr(answer, "error_code", 0))
    found: dict[Partition, Committed] = {}
    for topic, partitions in answer.topics:
        for partition, offset, metadata, code in partitions:
            _check(cluster, group, 0 if code == UNKNOWN_TOPIC else code, topic)
            if not code and offset >= 0:
                found[topic, partition] = Committed(offset, metadata or "")
    return found


def _check(cluster: Cluster, group: str, code: int, topic: str = "") -> None:
    if code in COORDINATOR_MOVED:
        cluster.forget_coordinator(group)
    if code:
        raise error_of(code, cluster.address, group=group, topic=topic)


def leaders_of(topics: Mapping[str, Mapping[int, int]]) -> dict[Partition, int]:
    """The leaders by topic and partition."""
    return {(topic, item): node for topic, leaders in topics.items() for item, node in leaders.items()}


def complete(found: dict[Partition, Any], leaders: Mapping[Partition, int], cluster: Cluster) -> None:
    """Raise TransientError when a partition is missing in `found`."""
    missing = next((key for key in leaders if key not in found), None)
    if missing is not None:
        raise TransientError(
            f"Partition {missing[1]} of '{clean(missing[0])}' has no leader that answers.",
            where=cluster.address.where,
            code="LEADER_NOT_AVAILABLE",
        )
