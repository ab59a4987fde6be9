"""Rows as PostgreSQL's COPY writes them in text form, made into records."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import asyncpg

from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Record
from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.textvalues import NULL, Types

MOST_BYTES = 32 * 1024**2
"""Bytes of one chunk that are held; a longer one is cut after a whole row."""

Texts = Sequence[str | None]
"""The texts of a row's columns, None for null."""

_ESCAPE = re.compile(r"\\(.)", re.S)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one statement. `cut`: there were more, but they would have been too many bytes."""

    rows: list[Texts]
    bytes: int
    cut: bool


class _Enough(Exception):
    """Raised to end a COPY early."""


async def copy_rows(connection: asyncpg.Connection[Any], query: str) -> Chunk:
    """The rows of `query`, each value as the text of its type's output function.

    The statement is ended when more than `MOST_BYTES` have come in more than one row. Raises what asyncpg raises.
    """
    parts: list[bytes] = []
    size = lines = 0

    async def take(data: bytes) -> None:
        nonlocal size, lines
        parts.append(bytes(data))
        size += len(data)
        lines += data.count(b"\n")
        if size > MOST_BYTES and lines > 1:
            raise _Enough

    cut = False
    try:
        await connection.copy_from_query(query, output=take)
    except _Enough:
        cut = True
    data = b"".join(parts)
    if cut:
        data = data[: data.rfind(b"\n") + 1]
    return Chunk(rows_of(data), len(data), cut)


def rows_of(data: bytes) -> list[Texts]:
    """The rows in the body of a COPY. The server has checked that it is UTF-8."""
    return [_fields(line) for line in data.decode().split("\n")[:-1]]


def _fields(line: str) -> Texts:
    fields = line.split("\t")
    if "\\" not in line:
        return fields
    return [_unescaped(field) if "\\" in field else field for field in fields]


def _unescaped(field: str) -> str | None:
    """A field of COPY's text format: null is `\\N`, controls and backslashes have a backslash before them."""
    if field == "\\N":
        return None
    return _ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]), field)


class RowDecoder:
    """Makes records of the texts of these columns; with `wanted`, of those of them only."""

    def __init__(self, columns: Sequence[Column], types: Types, wanted: Collection[str] = ()) -> None:
        self.names = tuple(column.name for column in columns)
        self._columns = [
            (at, column.name, f"{encode_basestring(column.name)}:", types.decoder(column.type))
            for at, column in enumerate(columns)
            if not wanted or column.name in wanted
        ]

    def record(self, texts: Texts) -> Record:
        """One row as a record. Raises RecordError for a value that has no JSON."""
        value: dict[str, Any] = {}
        parts: list[str] = []
        for at, name, prefix, decode in self._columns:
            text = texts[at]
            if text is None:
                value[name] = None
                parts.append(prefix + "null")
            else:
                raw, value[name] = decode(text)
                parts.append(prefix + raw)
        return Record("{" + ",".join(parts) + "}", value)

    def part(self, texts: Texts, names: Collection[str]) -> Record:
        """Some columns of a row as a record."""
        value: dict[str, Any] = {}
        parts: list[str] = []
        for at, name, prefix, decode in self._columns:
            if name in names:
                text = texts[at]
                raw, value[name] = NULL if text is None else decode(text)
                parts.append(prefix + raw)
        return Record("{" + ",".join(parts) + "}", value)

    def bad(self, texts: Texts, reason: str) -> BadElement:
        """A row that cannot be a record, with the texts of all its values."""
        named = {name: texts[at] for at, name, _, _ in self._columns}
        return BadElement(dumps(named), reason)
