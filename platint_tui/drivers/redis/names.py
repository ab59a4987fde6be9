"""What streams are called: families of keys, and Redis streams by their key.

- `user:*` are all keys that begin with `user:`, whatever their type; `*` alone is every key of the database;
- `user:* hash` are those of them that are hashes (or string, list, set, zset, json);
- every other name is the key of a Redis stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DELIMITERS = re.compile(r"[:/|]")
_GLOB = re.compile(r"([\\*?\[\]^])")
TYPES = {
    "string": "string",
    "hash": "hash",
    "list": "list",
    "set": "set",
    "zset": "zset",
    "json": "ReJSON-RL",
}
"""The types whose values can be read: as a name says them, and as TYPE says them (the last is a module's)."""


@dataclass(frozen=True, slots=True)
class Family:
    """The keys that begin with `prefix`; `type` narrows them to one of `TYPES`."""

    prefix: str
    type: str = ""

    @property
    def name(self) -> str:
        """The name of the stream."""
        return f"{self.prefix}* {self.type}" if self.type else f"{self.prefix}*"

    @property
    def pattern(self) -> str:
        """The glob that SCAN matches keys with."""
        return _GLOB.sub(r"\\\1", self.prefix) + "*"


def family_named(stream: str) -> Family | None:
    """The family that a stream's name means, None for the key of a Redis stream."""
    if stream.endswith("*"):
        return Family(stream[:-1])
    head, mark, kind = stream.rpartition("* ")
    return Family(head, kind) if mark and kind in TYPES else None


def prefix_of(key: str) -> str:
    """The part of a key up to its first `:`, `/` or `|` (with it), "" for a key without one."""
    match = _DELIMITERS.search(key)
    return key[: match.end()] if match and match.start() else ""
