"""Reading a family of keys: SCAN, then the values of what it found, by pipelines.

SCAN returns every key that is there from its beginning to its end, perhaps more than once, whatever else comes
and goes (redis.io, SCAN, "Scan guarantees"). Its cursor belongs to one process of the server: the order of the
keys is drawn anew at every start. So a position names the server's run, and with another one the scan begins
again; what is read twice replaces itself by key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from platint_tui.core.clock import Clock
from platint_tui.core.errors import TransientError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, JsonObject, Page, Record
from platint_tui.core.text import clean
from platint_tui.drivers.redis import values
from platint_tui.drivers.redis.connection import Command, Wire, info_of
from platint_tui.drivers.redis.errors import code_of
from platint_tui.drivers.redis.names import TYPES, Family
from platint_tui.manifest.sources import Source

_PART_BYTES = 8 * 1024 * 1024
_SIGN_SECONDS = 2.0
_TRIES = 3
_KINDS = {native.encode(): kind for kind, native in TYPES.items()}


@dataclass(frozen=True, slots=True)
class _Found:
    """A key with its type, its time to live (None without one) and about how many bytes it takes."""

    key: bytes
    type: str
    ttl_ms: int | None
    size: int


async def read_family(
    wire: Wire, family: Family, position: JsonObject | None, source: Source, clock: Clock
) -> AsyncGenerator[Page, None]:
    """Pages of records `{"key", "type", "value", "ttl_ms"}`, to the end of one scan.

    Keys that vanish meanwhile are left out, and so are Redis streams, which are streams of their own. Raises
    PlatintError.
    """
    run = await server_run(wire)
    known = position is not None and run != "" and position.get("run") == run
    cursor = str(position.get("cursor", "0")) if position is not None and known else "0"
    narrowed = ("TYPE", TYPES[family.type]) if family.type else ()
    while True:
        before, keys, requests = cursor, dict[bytes, None](), 0
        deadline = clock.monotonic() + _SIGN_SECONDS
        while True:
            command = ("SCAN", cursor, "MATCH", family.pattern, "COUNT", source.chunk, *narrowed)
            next_cursor, found = await wire.call(*command, about=family.pattern)
            cursor, requests = next_cursor.decode(), requests + 1
            keys.update(dict.fromkeys(found))
            if cursor == "0" or len(keys) >= source.chunk or clock.monotonic() >= deadline:
                break
        again: JsonObject = {"v": 1, "cursor": before, "run": run}
        after: JsonObject = {"v": 1, "cursor": cursor, "run": run}
        parts = list(_parts(await _look(wire, list(keys), family)))
        for part in parts[:-1]:
            yield await _page(wire, part, family, source, again, last=False, requests=1)
        final = parts[-1] if parts else []
        yield await _page(wire, final, family, source, after, last=cursor == "0", requests=requests + 2)
        if cursor == "0":
            return


async def server_run(wire: Wire) -> str:
    """What names the running process of the server; "" where INFO is refused."""
    reply = (await wire.exchange([("INFO", "server")]))[0]
    return "" if isinstance(reply, ResponseError) else info_of(reply).get("run_id", "")


async def _look(wire: Wire, keys: Sequence[bytes], family: Family) -> list[_Found]:
    """What is known of each key before its value is fetched; those that have gone are left out."""
    commands: list[Command] = []
    for key in keys:
        commands += (("TYPE", key), ("PTTL", key), ("MEMORY", "USAGE", key))
    replies = await wire.exchange(commands) if commands else []
    found = []
    for at, key in enumerate(keys):
        kind, ttl, size = replies[3 * at : 3 * at + 3]
        for reply in (kind, ttl, size):
            if isinstance(reply, ResponseError):
                raise wire.error(reply, family.pattern)
        if kind in (b"none", b"stream") or ttl == -2 or size is None:
            continue
        # A type with a name of its own belongs to a module.
        found.append(_Found(key, _KINDS.get(kind, kind.decode()), None if ttl < 0 else ttl, size))
    return found


def _parts(found: Iterable[_Found]) -> Iterable[list[_Found]]:
    """The keys in parts whose values fit into memory together."""
    part: list[_Found] = []
    size = 0
    for item in found:
        if part and size + item.size > _PART_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += item.size
    if part:
        yield part


async def _page(
    wire: Wire,
    found: Sequence[_Found],
    family: Family,
    source: Source,
    position: JsonObject,
    *,
    last: bool,
    requests: int,
) -> Page:
    bad = [_unreadable(item, source) for item in found if not _readable(item, source)]
    records: list[Record] = []
    pending = [item for item in found if _readable(item, source)]
    for _ in range(_TRIES):
        changed: list[bytes] = []
        replies = await wire.exchange([_fetch(item) for item in pending]) if pending else []
        for item, reply in zip(pending, replies, strict=True):
            if isinstance(reply, ResponseError):
                if code_of(reply) != "WRONGTYPE":
                    raise wire.error(reply, family.pattern)
                changed.append(item.key)
            elif (value := values.decoded(item.type, reply)) is not None:
                records.append(_record(item, *value))
        if not changed:
            break
        looked = await _look(wire, changed, family)
        bad += [_unreadable(item, source) for item in looked if not _readable(item, source)]
        pending = [item for item in looked if _readable(item, source)]
    else:
        raise TransientError(
            f"Keys of '{clean(family.name)}' change their type faster than they can be read.", code="changing"
        )
    size = sum(len(record.raw) for record in records)
    return Page(records, position, last, requests=requests, bytes=size, bad=bad)


def _readable(item: _Found, source: Source) -> bool:
    return item.type in TYPES and item.size <= source.max_message


def _unreadable(item: _Found, source: Source) -> BadElement:
    key, _ = values.name(item.key)
    raw = dumps({"key": key, "type": item.type, "bytes": item.size})
    if item.type not in TYPES:
        return BadElement(
            raw, f"values of the type {clean(item.type)}, which a module has made, cannot be read"
        )
    most = source.max_message
    return BadElement(raw, f"the value takes {item.size:,} bytes, and {most:,} are the most that is read")


def _fetch(item: _Found) -> Command:
    return {
        "string": ("GET", item.key),
        "hash": ("HGETALL", item.key),
        "list": ("LRANGE", item.key, 0, -1),
        "set": ("SMEMBERS", item.key),
        "zset": ("ZRANGE", item.key, 0, -1, "WITHSCORES"),
        "json": ("JSON.GET", item.key),
    }[item.type]


def _record(item: _Found, value: Any, encoding: str) -> Record:
    key, binary = values.name(item.key)
    made = {"key": key, "type": item.type, "value": value, "ttl_ms": item.ttl_ms}
    encoding = "base64" if binary else encoding
    if encoding:
        made["encoding"] = encoding
    return Record(dumps(made), made)
