"""What a database holds: families of keys, by a sample, and Redis streams.

Nothing is looked at as a whole: so many keys, so many seconds. A scan gives keys in the order of their hashes, so
the first ones are a fair sample.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from platint_tui.core.clock import Clock
from platint_tui.core.model import Field, Stream
from platint_tui.core.text import clean
from platint_tui.drivers.redis import values
from platint_tui.drivers.redis.connection import Command, Wire, pairs
from platint_tui.drivers.redis.entries import entry_time, extent_of
from platint_tui.drivers.redis.errors import code_of
from platint_tui.drivers.redis.names import Family, family_named, prefix_of

_SAMPLE_KEYS = 5_000
_SAMPLE_SECONDS = 2.0
_STREAM_SECONDS = 3.0
_COUNT = 1_000
_MOST_FAMILIES = 200
_MOST_STREAMS = 200
_LOOKED_INTO = 3
_LOOKED_BYTES = 4_096
_MOST_FIELDS = 100
_NAME = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,250}[^\x00-\x20\x7f])?")
_FIELD_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
}


@dataclass
class _Sampled:
    """The keys of one prefix in the sample."""

    count: int = 0
    types: Counter[str] = field(default_factory=Counter)
    expiring: int = 0
    refused: str = ""
    some: dict[str, list[bytes]] = field(default_factory=dict)


async def discover(wire: Wire, clock: Clock) -> list[Stream]:
    """The families, greatest first, then the Redis streams by name. Raises PlatintError."""
    size = (await wire.exchange([("DBSIZE",)]))[0]
    total = None if isinstance(size, ResponseError) else size
    keys, complete = await scanned(wire, clock, most=_SAMPLE_KEYS, seconds=_SAMPLE_SECONDS)
    families, streams = await _sorted_out(wire, keys)
    if not complete:
        more, _ = await scanned(wire, clock, most=_MOST_STREAMS, seconds=_STREAM_SECONDS, kind="stream")
        streams = list(dict.fromkeys([*streams, *more]))
    found = await _family_streams(wire, families, len(keys), total)
    whole = await _streams(wire, streams)
    return [*found, *whole, *_everything(found, families, whole, streams, total, complete)]


async def scanned(
    wire: Wire, clock: Clock, *, most: int, seconds: float, kind: str = ""
) -> tuple[list[bytes], bool]:
    """About `most` keys (of one type) in the order of a scan that takes no longer than `seconds`, and whether
    they are all.
    """
    cursor, keys = b"0", dict[bytes, None]()
    deadline = clock.monotonic() + seconds
    while True:
        command: Command = ("SCAN", cursor, "COUNT", _COUNT, *(("TYPE", kind) if kind else ()))
        cursor, found = await wire.call(*command)
        keys.update(dict.fromkeys(found))
        if cursor == b"0":
            return list(keys)[:most], len(keys) <= most
        if len(keys) >= most or clock.monotonic() >= deadline:
            return list(keys)[:most], False


async def _sorted_out(wire: Wire, keys: Sequence[bytes]) -> tuple[dict[str, _Sampled], list[bytes]]:
    """The sampled keys by prefix, and those of them that are Redis streams."""
    replies = (
        await wire.exchange([look for key in keys for look in (("TYPE", key), ("PTTL", key))]) if keys else []
    )
    families: dict[str, _Sampled] = {}
    streams: list[bytes] = []
    for at, key in enumerate(keys):
        kind, ttl = replies[2 * at : 2 * at + 2]
        if kind == b"stream":
            streams.append(key)
            continue
        if kind == b"none":
            continue
        shown, binary = values.name(key)
        family = families.setdefault("" if binary else prefix_of(shown), _Sampled())
        family.count += 1
        refusal = next((item for item in (kind, ttl) if isinstance(item, ResponseError)), None)
        if refusal is not None:
            if code_of(refusal) != "NOPERM":
                raise wire.error(refusal)
            family.refused = wire.error(refusal, f"{prefix_of(shown)}*").sentence()
            continue
        name = kind.decode()
        family.types[name] += 1
        family.expiring += ttl >= 0
        some = family.some.setdefault(name, [])
        if len(some) < _LOOKED_INTO:
            some.append(key)
    return families, streams


# --- families -------------------------------------------------------------------------------------------


async def _family_streams(
    wire: Wire, families: Mapping[str, _Sampled], sampled: int, total: int | None
) -> list[Stream]:
    listed = sorted(
        (item for item in families.items() if item[0] and _NAME.fullmatch(item[0])),
        key=lambda item: (-item[1].count, item[0]),
    )[:_MOST_FAMILIES]
    return [await _family_stream(wire, prefix, seen, sampled, total) for prefix, seen in listed]


async def _family_stream(wire: Wire, prefix: str, seen: _Sampled, sampled: int, total: int | None) -> Stream:
    share = seen.count / max(1, sampled)
    typed = sum(seen.types.values())
    kinds = [f"{clean(kind)} {_percent(count, typed)}" for kind, count in seen.types.most_common()]
    facts = [("types", ", ".join(kinds))] if kinds else []
    if typed:
        facts.append(("time to live", f"{_percent(seen.expiring, typed)} have one"))
    if total is not None and total > sampled:
        facts.append(("sampled", f"{sampled:,} of {total:,} keys"))
    notes = ["A scan sees no deletes: what goes here stays at the target."]
    if len(kinds) > 1:
        notes.append(f"One type alone is named like '{Family(prefix, 'hash').name}'.")
    return Stream(
        Family(prefix).name,
        ("key",),
        None,
        (*_KEY_FIELDS, *await _value_fields(wire, seen)),
        readable=not seen.refused,
        estimate=None if total is None else round(share * max(total, sampled)),
        notes=tuple(notes),
        needs=(f"~{prefix}*",) if seen.refused else (),
        refused=seen.refused,
        kind="keys",
        modes=("snapshot",),
        facts=tuple(facts),
    )


_KEY_FIELDS = (
    Field("key", "string", required=True),
    Field("type", "string", required=True, description="string, hash, list, set, zset or json"),
    Field("value", "any", required=True),
    Field("ttl_ms", "integer", description="milliseconds that the key has to live; null without an end"),
    Field("encoding", "string", description="json or base64, where a text was one"),
)


async def _value_fields(wire: Wire, seen: _Sampled) -> list[Field]:
    """Members of sampled hashes and of short texts that are JSON objects, as `value.<name>`."""
    hashes, texts = seen.some.get("hash", []), seen.some.get("string", [])
    asked: list[Command] = [("HSCAN", key, 0, "COUNT", _MOST_FIELDS) for key in hashes]
    asked += [("GETRANGE", key, 0, _LOOKED_BYTES - 1) for key in texts]
    if not asked:
        return []
    found: dict[str, str] = {}
    for number, reply in enumerate(await wire.exchange(asked)):
        if isinstance(reply, ResponseError):
            continue
        value = pairs(reply[1]) if number < len(hashes) else values.document(reply)
        if isinstance(value, dict):
            for name, item in value.items():
                kind = "string" if isinstance(item, bytes) else _FIELD_TYPES.get(type(item), "any")
                found[name] = kind if found.get(name, kind) == kind else "any"
    return _fields("value", found)


def _fields(parent: str, found: Mapping[str, str]) -> list[Field]:
    names = [name for name in found if 0 < len(name) <= 100 and name.isprintable()]
    return [Field(f"{parent}.{name}", found[name]) for name in sorted(names)[:_MOST_FIELDS]]


def _everything(
    found: Sequence[Stream],
    families: Mapping[str, _Sampled],
    whole: Sequence[Stream],
    streams: Sequence[bytes],
    total: int | None,
    complete: bool,
) -> list[Stream]:
    """The stream `*`, every key, where not all keys are in a stream above."""
    left = len(families) - len(found)
    unnamed = len(streams) - len(whole)
    if not left and not unnamed and complete:
        return []
    notes = ["Every key of the database, those of the families too."]
    if not complete:
        notes.append(
            "Not every key was looked at: there may be more families and streams; name them as they are."
        )
    if unnamed:
        notes.append(
            f"{unnamed:,} Redis streams are not listed: too many, or of a name that cannot be written."
        )
    return [
        Stream(
            "*",
            ("key",),
            None,
            _KEY_FIELDS,
            estimate=total,
            notes=tuple(notes),
            incomplete=not complete,
            kind="keys",
            modes=("snapshot",),
        )
    ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


# --- Redis streams --------------------------------------------------------------------------------------


async def _streams(wire: Wire, keys: Iterable[bytes]) -> list[Stream]:
    named = []
    for key in keys:
        shown, binary = values.name(key)
        # A name with a * at its end means a family.
        if not binary and _NAME.fullmatch(shown) and family_named(shown) is None:
            named.append(shown)
    named = sorted(named)[:_MOST_STREAMS]
    if not named:
        return []
    asked = [look for name in named for look in (("XINFO", "STREAM", name), ("XINFO", "GROUPS", name))]
    replies = await wire.exchange(asked)
    found = [_stream(wire, name, *replies[2 * at : 2 * at + 2]) for at, name in enumerate(named)]
    return [item for item in found if item is not None]


def _stream(wire: Wire, name: str, told: Any, groups: Any) -> Stream | None:
    """A Redis stream with what is known of it; None for one that has gone meanwhile."""
    refusal = next((item for item in (told, groups) if isinstance(item, ResponseError)), None)
    if refusal is not None:
        if code_of(refusal) != "NOPERM":
            return None
        sentence = wire.error(refusal, name).sentence()
        return Stream(
            name,
            ("id",),
            None,
            (),
            readable=False,
            needs=(f"~{name}",),
            refused=sentence,
            kind="stream",
            modes=("consume", "snapshot"),
        )
    about = pairs(told)
    there = extent_of(about)
    facts = [("entries", f"{there.length:,}")]
    if there.first is not None:
        facts += [("first", entry_time(there.first)), ("last", entry_time(there.last))]
    facts.append(("groups", f"{len(groups):,}"))
    facts += [_group_fact(pairs(group)) for group in groups[:20]]
    bodies = [
        values.entry_body(entry[1])[0]
        for entry in (about.get("first-entry"), about.get("last-entry"))
        if entry
    ]
    names: dict[str, str] = {}
    for body in bodies:
        if isinstance(body, dict):
            names |= {key: _FIELD_TYPES.get(type(item), "any") for key, item in body.items()}
    return Stream(
        name,
        ("id",),
        None,
        (*_ENTRY_FIELDS, *_fields("body", names)),
        estimate=there.length,
        notes=("Consumed by a group of the sync's own; other groups are not touched.",),
        kind="stream",
        modes=("consume", "snapshot"),
        facts=tuple(facts),
    )


_ENTRY_FIELDS = (
    Field("id", "string", required=True),
    Field("stream", "string", required=True),
    Field("timestamp", "timestamp", description="null where the sender chose an id that is no time"),
    Field("key", "any", description="null: entries have none"),
    Field("headers", "object", required=True, description="empty: entries have none"),
    Field("body", "object", required=True),
)


def _group_fact(group: Mapping[str, Any]) -> tuple[str, str]:
    # Redis tells the lag from 7.0 on, and not while entries in the middle were deleted.
    lag = group.get("lag")
    behind = f"lag {lag:,}" if lag is not None else "lag unknown"
    name = clean(group["name"].decode("utf-8", "replace"))
    return f"group {name}", f"{group['pending']:,} pending, {behind}, {group['consumers']:,} consumers"
