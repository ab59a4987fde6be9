"""Where rows of a target go: what its name means, and the keys and values that rows become.

A target `orders` is the keys `orders:<key>`, each a hash of the row's fields; `json.orders` the same keys, each a
text of JSON; `stream.orders` entries of the stream `orders`. Which shape a name has is said in the manifest.
Beside a row's own fields are `_key` (its identity), `_hash` (of its exact text) and `_version` (its cursor value):
what lacks them was not written by us, and is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from platint_tui.core.errors import ConfigError, PlatintError, RecordError
from platint_tui.core.jsontext import content_hash, dumps, loads
from platint_tui.core.model import Row
from platint_tui.core.text import clean
from platint_tui.drivers.redis.connection import Command, Reply, Wire
from platint_tui.drivers.redis.names import Family
from platint_tui.drivers.redis.values import encoded
from platint_tui.manifest.loader import own_name, resource
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.sources import Sink

OWN = ("_key", "_hash", "_version")
_LONGEST_KEY = 4_000
_LONGEST_VERSION = 500
_HEAD_BYTES = 16_384
_MOST_FIELDS = 3_000
_SCAN_COUNT = 1_000
_HEAD = re.compile(
    rb'\{"_key":("(?:[^"\\]|\\.)*"),"_hash":"([0-9a-f]{32})"(?:,"_version":("(?:[^"\\]|\\.)*"|[-+.0-9eE]+))?[,}]'
)


@dataclass(frozen=True, slots=True)
class Place:
    """A target: its shape (hash, json, stream) and the prefix of its keys, or the key of its stream."""

    shape: str
    name: str

    def key(self, row_key: str) -> str:
        """The key of a row: the value of its key field behind the prefix; of several ones, `:` between them.

        Raises RecordError for one that is too long, or no text that UTF-8 can hold.
        """
        parts = [_part(item) for item in json.loads(row_key, parse_int=str, parse_float=str)]
        if len(parts) > 1:
            parts = [item.replace("%", "%25").replace(":", "%3A") for item in parts]
        key = f"{self.name}:{':'.join(parts)}"
        if len(encoded(key)) > _LONGEST_KEY:
            raise RecordError(f"The key is longer than {_LONGEST_KEY:,} bytes.", code="key_too_long")
        return key


def place_of(connector: Connector, target: str) -> Place:
    """What a target's name means. Raises ConfigError when it can be no prefix of keys."""
    sink = resource(connector, target).sink or Sink()
    name = own_name(connector, target)
    if not name or not name.isprintable() or "*" in name:
        raise ConfigError(
            f"'{clean(target)}' cannot be the name of a target: it is the beginning of the keys that are written.",
            hint="Write it without *, such as users for the keys users:1, users:2.",
            code="target_name",
        )
    return Place(sink.shape, name.rstrip(":") if sink.shape != "stream" else name)


def _part(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class Held:
    """What a key holds: nothing, a row of ours (its identity, content hash and version), or something else.

    `state` is what the script of `if_still` compares, `fields` are the names in a hash.
    """

    state: bytes
    exists: bool
    key: str | None = None
    hash: str = ""
    version: Any = None
    fields: Sequence[bytes] = ()


_ABSENT = b"-"
_SCRIPT = """
local held = '-'
if redis.call('EXISTS', KEYS[1]) == 1 then
  if ARGV[1] == 'hash' then
    local own = redis.call('HMGET', KEYS[1], '_key', '_hash', '_version')
    held = '=' .. (own[1] or '') .. '|' .. (own[2] or '') .. '|' .. (own[3] or '')
  elseif #ARGV[2] > 1 then
    held = '=' .. redis.call('GETRANGE', KEYS[1], 0, #ARGV[2] - 2)
  else
    held = '='
  end
end
if held ~= ARGV[2] then return 0 end
redis.call(ARGV[3], KEYS[1], unpack(ARGV, 4))
return 1
"""
"""Runs one command on a key if it still holds what was seen there; returns whether it did.

One command and not a transaction: servers whose default user has no rights, which is how they are made safe, drop
every transaction when they read their append-only file after a restart (redis/redis#14541, mended in 2025).
"""


def looks(place: Place, key: str | bytes) -> tuple[Command, ...]:
    """The commands that ask what a key holds, for `held_of`."""
    if place.shape == "hash":
        return ("HMGET", key, *OWN), ("HKEYS", key)
    return ("GETRANGE", key, 0, _HEAD_BYTES - 1), ("EXISTS", key)


def held_of(place: Place, first: Reply, second: Reply) -> Held:
    """What the replies to `looks` say. Neither is a ResponseError."""
    if place.shape == "hash":
        key, digest, version = first
        state, exists = b"=" + b"|".join(part or b"" for part in first), bool(second)
    else:
        match = _HEAD.match(first)
        key, digest, version = match.groups() if match else (None, None, None)
        key = None if key is None else str(loads(key)).encode()
        state, exists = b"=" + (match.group() if match else b""), bool(second)
    if not exists:
        return Held(_ABSENT, False)
    if key is not None and digest is not None:
        try:
            known = loads(version) if version else None
            fields = second if place.shape == "hash" else ()
            return Held(state, True, key.decode(), digest.decode(), known, fields)
        except (PlatintError, UnicodeDecodeError):
            pass
    return Held(state, True)


def if_still(place: Place, key: str | bytes, state: bytes, *command: bytes | str) -> Command:
    """The command that runs `command` (its name, and what follows the key) if the key is still in this state."""
    return ("EVAL", _SCRIPT, 1, key, place.shape, state, *command)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is sent to make a key hold a row: a command without its key, the state after it, and the names of the
    fields that the row has.
    """

    command: tuple[bytes | str, ...]
    state: bytes
    fields: frozenset[bytes] = frozenset()


def storing(place: Place, row: Row) -> Stored:
    """How a key is made to hold a row. Raises RecordError for one that cannot be kept."""
    for name in OWN:
        if name in row.value:
            raise RecordError(
                f"The field '{name}' has a name that the target keeps for itself.",
                where=name,
                hint="Give it another one with `map` in the integration file.",
                code="reserved_name",
            )
    own: dict[str, Any] = {"_key": row.key, "_hash": content_hash(row.raw)}
    version = "" if row.version is None else dumps(row.version)
    if len(version) > _LONGEST_VERSION:
        version = ""
    if place.shape == "hash":
        own["_version"] = version
    elif version:
        own["_version"] = row.version
    if place.shape == "json":
        head = encoded(dumps(own)[:-1] + ("," if row.value else "}"))
        return Stored(("SET", head + encoded(dumps(row.value))[1:] if row.value else head), b"=" + head)
    if len(row.value) > _MOST_FIELDS:
        raise RecordError(
            f"The record has more than {_MOST_FIELDS:,} fields, too many for a hash that is written at once.",
            hint="Write it as JSON: put json. before the name of the target.",
            code="too_many_fields",
        )
    couples = [(encoded(name), encoded(value)) for name, value in (own | row.value).items()]
    state = b"=" + b"|".join(encoded(own[name]) for name in OWN)
    flat = [part for couple in couples for part in couple]
    return Stored(("HSET", *flat), state, frozenset(name for name, _ in couples))


async def written(wire: Wire, place: Place) -> AsyncGenerator[Sequence[tuple[bytes, Held]], None]:
    """The keys of a target that hold rows of ours, some at a time, each at least once. Raises PlatintError."""
    kind = "hash" if place.shape == "hash" else "string"
    pattern = Family(f"{place.name}:").pattern
    cursor = b"0"
    while True:
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT, "TYPE", kind)
        cursor, keys = await wire.call(*command, about=pattern)
        replies = await wire.exchange([look for key in keys for look in looks(place, key)]) if keys else []
        found = []
        for at, key in enumerate(keys):
            told = replies[2 * at : 2 * at + 2]
            for reply in told:
                if isinstance(reply, ResponseError):
                    raise wire.error(reply, pattern)
            held = held_of(place, *told)
            if held.key is not None:
                found.append((key, held))
        if found:
            yield found
        if cursor == b"0":
            return
