"""The messages of pgoutput, PostgreSQL's own plugin for logical decoding, protocol version 1.

Formats: "Logical Replication Message Formats" of the PostgreSQL manual. Integers are big-endian, texts end with a
zero byte, times are microseconds since 2000-01-01 UTC, a place in the log (LSN) is a 64-bit number that is written
as two hexadecimal ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from platint_tui.core.errors import SystemicError

_EPOCH_MS = 946_684_800_000
_HEAD = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_INT16, _INT32 = struct.Struct(">h"), struct.Struct(">i")
_OID = struct.Struct(">I")


class Unchanged:
    """Stands for a large value that an update left as it was: pgoutput does not send it."""


UNCHANGED = Unchanged()
Tuple: TypeAlias = "list[bytes | Unchanged | None]"
"""The values of a row: the text of each as bytes, None for null."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The changes of a transaction follow. `lsn` is where its commit record is, `commit_ms` when it was."""

    lsn: int
    commit_ms: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is complete; what follows begins at `end`."""

    lsn: int
    end: int
    commit_ms: int


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column at the time of the change; `key`: it is part of the replica identity."""

    name: str
    type: int
    key: bool


@dataclass(frozen=True, slots=True)
class RelationMessage:
    """The columns of a table, sent before its first change and again after an ALTER TABLE."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    relation: int
    new: Tuple


@dataclass(frozen=True, slots=True)
class Update:
    """A changed row. `old` is what the log has of the old version: with `whole` the row, else its key, and None
    when the key did not change."""

    relation: int
    old: Tuple | None
    whole: bool
    new: Tuple


@dataclass(frozen=True, slots=True)
class Delete:
    """A deleted row: its key, or with `whole` the row."""

    relation: int
    old: Tuple
    whole: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    """These tables were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Begin | Commit | RelationMessage | Insert | Update | Delete | Truncate


def decode(data: bytes) -> Message | None:
    """One message, None for a kind that says nothing of rows (origin, type, logical message).

    Raises SystemicError for what the protocol does not have.
    """
    try:
        return _decode(data)
    except (struct.error, IndexError, ValueError):
        raise _unknown(data) from None


def _decode(data: bytes) -> Message | None:
    kind = data[0]
    if kind == 0x49:  # I
        _expect(data, 5, b"N")
        return Insert(_OID.unpack_from(data, 1)[0], _tuple(data, 6)[0])
    if kind == 0x55:  # U
        return _update(data)
    if kind == 0x44:  # D
        _expect(data, 5, b"KO")
        return Delete(_OID.unpack_from(data, 1)[0], _tuple(data, 6)[0], data[5] == 0x4F)
    if kind == 0x42:  # B
        lsn, time, _ = _HEAD.unpack_from(data, 1)
        return Begin(lsn, _milliseconds(time))
    if kind == 0x43:  # C
        _, lsn, end, time = _COMMIT.unpack_from(data, 1)
        return Commit(lsn, end, _milliseconds(time))
    if kind == 0x52:  # R
        return _relation(data)
    if kind == 0x54:  # T
        (count,) = _INT32.unpack_from(data, 1)
        return Truncate(tuple(_OID.unpack_from(data, 6 + 4 * at)[0] for at in range(count)))
    if kind in b"OYM":
        return None
    raise ValueError(kind)


def _update(data: bytes) -> Update:
    relation = _OID.unpack_from(data, 1)[0]
    mark, at = data[5], 6
    old: Tuple | None = None
    if mark in b"KO":
        old, at = _tuple(data, at)
        _expect(data, at, b"N")
        at += 1
    else:
        _expect(data, 5, b"N")
    return Update(relation, old, mark == 0x4F, _tuple(data, at)[0])


def _tuple(data: bytes, at: int) -> tuple[Tuple, int]:
    (count,) = _INT16.unpack_from(data, at)
    at += 2
    values: Tuple = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t
            (length,) = _INT32.unpack_from(data, at)
            at += 4
            end = at + length
            if length < 0 or end > len(data):
                raise ValueError(length)
            values.append(data[at:end])
            at = end
        elif kind == 0x6E:  # n
            values.append(None)
        elif kind == 0x75:  # u
            values.append(UNCHANGED)
        else:
            raise ValueError(kind)
    return values, at


def _relation(data: bytes) -> RelationMessage:
    oid = _OID.unpack_from(data, 1)[0]
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    identity = chr(data[at])
    (count,) = _INT16.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        column, at = _string(data, at + 1)
        columns.append(RelationColumn(column, _OID.unpack_from(data, at)[0], bool(flags & 1)))
        _INT32.unpack_from(data, at + 4)
        at += 8
    return RelationMessage(oid, schema or "pg_catalog", name, identity, tuple(columns))


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode("utf-8", "replace"), end + 1


def _expect(data: bytes, at: int, marks: bytes) -> None:
    if data[at] not in marks:
        raise ValueError(data[at])


def _milliseconds(time: int) -> int:
    return _EPOCH_MS + time // 1000


def _unknown(data: bytes) -> SystemicError:
    return SystemicError(
        f"The database sent a message of {len(data)} bytes that logical replication does not have.",
        hint="Nothing after it was read, and the position stays before it.",
        code="pgoutput",
    )


def lsn_text(lsn: int) -> str:
    """A place in the log as PostgreSQL writes it: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """A place in the log as a number. Raises ValueError."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def merged(update: Update, columns: Sequence[RelationColumn]) -> Tuple:
    """The new version of a row, with what it left unchanged taken from the old one as far as that has it."""
    old = update.old
    if old is None or UNCHANGED not in update.new:
        return update.new
    return [
        old[at] if isinstance(value, Unchanged) and (update.whole or columns[at].key) else value
        for at, value in enumerate(update.new)
    ]
