"""The dead letters that Redis keeps: entries that a group was given again and again and never acknowledged.

Redis knows no dead-letter queue. An entry that a consumer takes stays pending in its group until it is acknowledged,
and counts how often it was delivered; one that was delivered too often is what other platforms put aside. A place of
them is called `<group>@<stream>`. Groups of ours are left out: what is pending there is on its way.

Returning adds a new entry, which every group of the stream is given, and takes the old one off the pending ones of
its group; discarding only takes it off. The old entry itself stays in the stream, where others may still want it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from redis.exceptions import ResponseError

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, PlatintError, TransientError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import DeadQueue, NativeLetter, Returned
from platint_tui.core.text import clean
from platint_tui.drivers.redis import values
from platint_tui.drivers.redis.connection import Wire, pairs
from platint_tui.drivers.redis.discover import scanned
from platint_tui.drivers.redis.entries import entries_of, time_ms
from platint_tui.drivers.redis.errors import code_of
from platint_tui.drivers.redis.streams import GROUP_PREFIX

_MOST_STREAMS = 1_000
_SECONDS = 5.0
_PENDING = 1_000
_MOST_PENDING = 100_000
_FIRST = "-"


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry that waits to be acknowledged; `idle_ms` since it was delivered last."""

    id: str
    consumer: str
    idle_ms: int
    deliveries: int


def queue_name(group: str, stream: str) -> str:
    """What a place is called; a group whose name holds an @ is told apart by percent-encoding."""
    return f"{quote(group, safe=' :/|.,-_')}@{stream}"


def _split(queue: str) -> tuple[str, str]:
    group, mark, stream = queue.partition("@")
    if not (group and mark and stream):
        raise ConfigError(
            f"'{clean(queue)}' is no place of dead letters.",
            hint="Write it as GROUP@STREAM.",
            code="not_found",
        )
    return unquote(group), stream


async def queues(wire: Wire, clock: Clock, most: int) -> list[DeadQueue]:
    """Every stream and group with entries that were delivered at least `most` times. Raises PlatintError."""
    keys, _ = await scanned(wire, clock, most=_MOST_STREAMS, seconds=_SECONDS, kind="stream")
    names = [shown for shown, binary in map(values.name, keys) if not binary]
    replies = await wire.exchange([("XINFO", "GROUPS", name) for name in names]) if names else []
    found = []
    for name, groups in zip(names, replies, strict=True):
        if isinstance(groups, ResponseError):
            # Gone meanwhile, or a key that this account may not use: nothing to show of it.
            if code_of(groups) not in ("NOPERM", "WRONGTYPE", "ERR"):
                raise wire.error(groups, name)
            continue
        for told in map(pairs, groups):
            group, binary = values.name(told["name"])
            if told["pending"] and not binary and not group.startswith(GROUP_PREFIX):
                queue = await _queue(wire, name, group, most)
                if queue is not None:
                    found.append(queue)
    return sorted(found, key=lambda item: item.name)


async def _queue(wire: Wire, stream: str, group: str, most: int) -> DeadQueue | None:
    count, looked, oldest, after = 0, 0, "", _FIRST
    while after and looked < _MOST_PENDING:
        pending, after = await _pending(wire, stream, group, after)
        looked += len(pending)
        dead = [item.id for item in pending if item.deliveries >= most]
        count += len(dead)
        oldest = oldest or (dead[0] if dead else "")
    if not oldest:
        return None
    depth = None if after else count
    return DeadQueue(queue_name(group, stream), "pending entries", stream, depth, time_ms(oldest))


async def _pending(wire: Wire, stream: str, group: str, after: str) -> tuple[list[_Pending], str]:
    """Some of what is pending in a group, oldest first, and where it goes on ("" at the end).

    Nothing is claimed, and no count goes up.
    """
    reply = await wire.call("XPENDING", stream, group, after, "+", _PENDING, about=stream)
    found = [
        _Pending(identity.decode(), consumer.decode("utf-8", "replace"), idle, deliveries)
        for identity, consumer, idle, deliveries in reply
    ]
    if len(found) < _PENDING:
        return found, ""
    head, _, tail = found[-1].id.partition("-")
    return found, f"{head}-{int(tail) + 1}"


async def browse(
    wire: Wire, queue: str, limit: int, most: int, clock: Clock
) -> AsyncGenerator[NativeLetter, None]:
    """Up to `limit` entries of a place that were delivered at least `most` times, oldest first.

    Raises ConfigError when there is no such stream or group, PlatintError.
    """
    group, stream = _split(queue)
    shown, looked, after = 0, 0, _FIRST
    while after and looked < _MOST_PENDING:
        try:
            pending, after = await _pending(wire, stream, group, after)
        except TransientError as error:
            if error.code != "NOGROUP":
                raise
            raise ConfigError(
                f"There is no stream '{clean(stream)}' with a group '{clean(group)}'.", code="not_found"
            ) from None
        looked += len(pending)
        for item in pending:
            if item.deliveries < most:
                continue
            entries = entries_of(await wire.call("XRANGE", stream, item.id, item.id, about=stream))
            yield _letter(queue, stream, group, item, entries[0][1] if entries else None, clock)
            shown += 1
            if shown >= limit:
                return


def _letter(
    queue: str, stream: str, group: str, item: _Pending, flat: list[bytes] | None, clock: Clock
) -> NativeLetter:
    consumer, ago = clean(item.consumer), item.idle_ms // 1000
    reason = (
        f"Delivered {item.deliveries:,} times, last to '{consumer}' {ago:,} s ago, and never acknowledged."
    )
    body, encoding = (None, "") if flat is None else values.entry_body(flat, plain=True)
    if flat is None:
        reason += " The entry itself was deleted from the stream: it can only be discarded."
    return NativeLetter(
        item.id,
        queue,
        stream,
        reason,
        dumps(body).encode(),
        {"group": group, "consumer": item.consumer, "idle_ms": item.idle_ms, "encoding": encoding},
        "not_acknowledged",
        item.deliveries,
        clock.now_ms() - item.idle_ms,
    )


async def give_back(wire: Wire, letter: NativeLetter) -> Returned:
    """Add the payload, perhaps edited, as a new entry, then acknowledge the old one. Raises TransientError when
    nothing was sent.
    """
    group, stream = _split(letter.queue)
    try:
        fields = values.entry_fields(loads(letter.payload), str(letter.properties.get("encoding", "")))
        if not await _is_pending(wire, stream, group, letter.id):
            return Returned("gone", f"{letter.id} is not pending in the group any more.")
    except TransientError:
        raise
    except PlatintError as error:
        return Returned("refused", error.sentence())
    try:
        added = (await wire.call("XADD", stream, "*", *fields, about=stream)).decode()
    except TransientError as error:
        return Returned("unknown", f"{error.sentence()} The new entry may have been added.")
    except PlatintError as error:
        return Returned("refused", error.sentence())
    try:
        await wire.call("XACK", stream, group, letter.id, about=stream)
    except PlatintError as error:
        return Returned(
            "unknown",
            f"The new entry {added} is in the stream; {letter.id} is still pending in the group, discard it."
            f" {error.sentence()}",
        )
    return Returned("sent", f"Added as {added}.")


async def discard(wire: Wire, letter: NativeLetter) -> Returned:
    """Acknowledge the entry in its group. Raises TransientError."""
    group, stream = _split(letter.queue)
    try:
        count: Any = await wire.call("XACK", stream, group, letter.id, about=stream)
    except TransientError:
        raise
    except PlatintError as error:
        return Returned("refused", error.sentence())
    return Returned("sent" if count else "gone")


async def _is_pending(wire: Wire, stream: str, group: str, identity: str) -> bool:
    try:
        return bool(await wire.call("XPENDING", stream, group, identity, identity, 1, about=stream))
    except TransientError as error:
        if error.code != "NOGROUP":
            raise
        return False
