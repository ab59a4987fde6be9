"""Entries of Redis streams: their ids, the records that are made of them, and what is missing before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.errors import SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Record
from platint_tui.core.text import clean
from platint_tui.drivers.messages import iso
from platint_tui.drivers.redis import values

BEGINNING = "0-0"
_FIRST_TIME_MS = 1_000_000_000_000
_LAST_TIME_MS = 10_000_000_000_000


@dataclass(frozen=True, slots=True)
class Loss:
    """Why entries cannot be read any more; `anew`: the stream is another one under the same name."""

    reason: str
    anew: bool = False


Entry = tuple[str, list[bytes] | None]
"""The id of an entry with its names and values, None when the entry was deleted and only its id is left."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a stream holds now. `first` is None when it is empty; `added` counts the entries that were ever added
    (None before Redis 7.0).
    """

    length: int
    first: str | None
    last: str
    added: int | None


def order(identity: str) -> tuple[int, int]:
    """What orders the ids of entries: milliseconds and sequence. Raises SystemicError for another text."""
    head, mark, tail = identity.partition("-")
    if not (mark and head.isdigit() and tail.isdigit()):
        raise SystemicError(f"'{clean(identity)}' is no id of an entry of a Redis stream.", code="position")
    return int(head), int(tail)


def time_ms(identity: str) -> int | None:
    """When an entry was added; None where the sender chose an id that is no time."""
    number = order(identity)[0]
    return number if _FIRST_TIME_MS <= number < _LAST_TIME_MS else None


def moment_of(identity: str) -> str | None:
    """The same in ISO 8601."""
    number = time_ms(identity)
    return None if number is None else iso(number)


def entry_time(identity: str) -> str:
    """An id for people, with the moment that it means."""
    moment = moment_of(identity)
    return identity if moment is None else f"{identity} ({moment})"


def entries_of(reply: Any) -> list[Entry]:
    """The entries in a list of [id, names and values]."""
    return [(item[0].decode(), item[1]) for item in reply or () if item]


def entries_read(reply: Any) -> list[Entry]:
    """The entries in the reply to XREAD and XREADGROUP of one stream."""
    return entries_of(reply[0][1]) if reply else []


def extent_of(told: Mapping[str, Any]) -> Extent:
    """What XINFO STREAM tells."""
    first = told.get("first-entry")
    return Extent(
        told["length"],
        first[0].decode() if first else None,
        told["last-generated-id"].decode(),
        told.get("entries-added"),
    )


def weight(flat: Sequence[bytes]) -> int:
    """Bytes of an entry."""
    return sum(map(len, flat))


def record_of(stream: str, identity: str, flat: Sequence[bytes], most: int) -> Record | BadElement:
    """An entry as a record in the form of a message; one that is larger than `most` bytes is none."""
    body, encoding = values.entry_body(flat)
    made = {
        "id": identity,
        "stream": stream,
        "timestamp": moment_of(identity),
        "key": None,
        "headers": {},
        "body": body,
    }
    if encoding:
        made["encoding"] = encoding
    raw = dumps(made)
    size = weight(flat)
    if size > most:
        return BadElement(raw, f"the entry takes {size:,} bytes, and {most:,} are the most that is taken")
    return Record(raw, made)


def missing_before(there: Extent, read: str, added: int | None) -> Loss | None:
    """What is known of entries that followed the one called `read` and cannot be read any more.

    `added` is the number of entries that had been added up to `read`, None when it is not known.
    """
    shrunk = added is not None and there.added is not None and there.added < added
    if shrunk or order(there.last) < order(read):
        return Loss("it was deleted and made anew", anew=True)
    if read == BEGINNING or there.last == read or _reaches_back(there, read):
        return None
    where = f"it begins at {there.first} now" if there.first else "it is empty now"
    if added is None or there.added is None:
        return Loss(
            f"entries may have been removed before they were read: {where}, reading had come to {read}"
        )
    count = there.added - added - there.length
    plural = "entry was" if count == 1 else "entries were"
    return Loss(f"{count:,} {plural} removed before being read: {where}") if count > 0 else None


def added_after(there: Extent, read: str, added: int | None, entries: Sequence[Entry]) -> int | None:
    """How many entries had been added up to the last of `entries` (or up to `read` without any), if that is known.

    `there` is what the stream held when they were read, `added` the number up to `read`.
    """
    newest = entries[-1][0] if entries else read
    if there.added is None or there.last == newest:
        return there.added
    if not _reaches_back(there, read):
        # All that is there comes after `read`; whatever else was added is behind us.
        return there.added - there.length + len(entries)
    return None if added is None else added + len(entries)


def _reaches_back(there: Extent, read: str) -> bool:
    """Whether the stream still holds an entry from before or at `read`: then nothing was trimmed after it."""
    return there.first is not None and order(there.first) <= order(read)
