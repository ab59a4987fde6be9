"""Identifiers: text, sortable by time, safe in file names and on the command line."""

from __future__ import annotations

import hashlib
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PLACES = range(70, -1, -10)


def new_id(prefix: str) -> str:
    """A new identifier such as `run_01jd8f3k9qm2v7xa`: 9 characters of milliseconds, 7 random ones."""
    value = time.time_ns() // 1_000_000 << 35 | int.from_bytes(os.urandom(5)) >> 5
    return f"{prefix}_{''.join([_PAIRS[value >> place & 1023] for place in _PLACES])}"


def digest(*parts: str, length: int = 32) -> str:
    """Hex digest that names the sequence of `parts` (no two different sequences are joined alike)."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()[:length]
