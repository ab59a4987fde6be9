"""Rows of a PostgreSQL table as they came over the wire, for targets that take them so.

Two forms: `pgcopy`, the body of a binary COPY, which another PostgreSQL takes as it is; and `tuples`, the body of
a COPY in text form, which gives values in the order of the columns. Records that are read from either are those
that the driver reads row by row, with the same text.
"""

# ruff: noqa: S608 - identifiers are quoted, the query is the driver's own
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, overload

import asyncpg

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Block, Field, Record
from platint_tui.drivers.natives import parse_native
from platint_tui.drivers.postgresql import textvalues
from platint_tui.drivers.postgresql.binarycopy import readable, texts_of
from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.rows import RowDecoder, Texts, rows_of
from platint_tui.drivers.postgresql.textvalues import Decoder, Types
from platint_tui.drivers.tablerows import Unreadable
from platint_tui.drivers.tables import quoted

PGCOPY = "pgcopy"
TUPLES = "tuples"

_TYPE_NAMES = {
    "boolean": "bool",
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "real": "float4",
    "double precision": "float8",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
}
"""Names in `pg_type` of types that are written otherwise, where their text is not their JSON."""


def _number(text: str) -> int | Decimal | str:
    value: int | Decimal | str = textvalues.numeric(text).value
    return value


def _float(text: str) -> float | str:
    number = float(text)
    return number if number - number == 0 else text


def _moment(text: str) -> str:
    """As `textvalues.moment`, with a short way for the usual case, a time in UTC of a four-digit year."""
    if text[4:5] == "-" and text[10:11] == " " and text[-3:] == "+00":
        clock = text[11:-3]
        return f"{text[:10]}T{clock if len(clock) == 8 else clock.ljust(15, '0')}+00:00"
    value: str = textvalues.moment(text).value
    return value


_PLAIN: Mapping[str, Callable[[str], Any]] = {
    "boolean": lambda text: text == "t",
    "smallint": int,
    "integer": int,
    "bigint": int,
    "oid": int,
    "numeric": _number,
    "real": _float,
    "double precision": _float,
    "timestamp with time zone": _moment,
    "bytea": lambda text: bytes.fromhex(text[2:]),
    "json": lambda text: text,
    "jsonb": lambda text: text,
}
"""What `TupleBlock.tuples` makes of the text of a value where that is not its JSON value."""


class _Body(Block):
    """The body of a COPY of `count` rows with these `fields`, which carry their native types."""

    def __init__(self, data: bytes, count: int, fields: Sequence[Field]) -> None:
        self.data = data
        self.fields = tuple(fields)
        self.columns = tuple(field.name for field in fields)
        self._count = count

    @property
    def size(self) -> int:
        return len(self.data)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    @cached_property
    def _records(self) -> list[Record]:
        decoders = [decoder_of(field) for field in self.fields]
        columns = [Column(field.name, at) for at, field in enumerate(self.fields)]
        decode = RowDecoder(columns, _ByPlace(decoders)).record
        records = []
        for texts in self._texts():
            try:
                records.append(decode(texts))
            except RecordError:
                records.append(_partly(self.columns, decoders, texts))
        return records

    @abstractmethod
    def _texts(self) -> Iterator[Texts]:
        """The rows as texts."""


class CopyBlock(_Body):
    """The body of a binary COPY."""

    form = PGCOPY

    def _texts(self) -> Iterator[Texts]:
        return texts_of(self.data, [field.native if _known(field) else "" for field in self.fields])


class TupleBlock(_Body):
    """The body of a COPY in text form."""

    form = TUPLES

    def _texts(self) -> Iterator[Texts]:
        return iter(rows_of(self.data))

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of None, bool, int, float, Decimal, bytes and str.

        Numbers that are not finite, dates and times are the texts that they have in JSON; json and jsonb are the
        text of the document, arrays the JSON text of the list.
        """
        columns: list[Sequence[Any]] = list(zip(*self._texts(), strict=True))
        for at, values in enumerate(columns):
            convert = _plain(self.fields[at])
            if convert is not None:
                columns[at] = [text if text is None else convert(text) for text in values]
        return zip(*columns, strict=True)


async def read_block(
    connection: asyncpg.Connection[Any],
    query: str,
    arguments: Sequence[Any],
    columns: Sequence[Field],
    form: str,
) -> CopyBlock | TupleBlock:
    """The rows of a query that selects `columns` in their order. Raises what asyncpg raises."""
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    binary = form == PGCOPY
    if binary and not all(map(_known, columns)):
        # The binary form of an enumeration or a type of the user's own is nothing that others know.
        names = ((quoted(field.name), _known(field)) for field in columns)
        listed = ", ".join(name if known else f"{name}::text" for name, known in names)
        query = f"SELECT {listed} FROM ({query}) AS q"
    status = await connection.copy_from_query(
        query, *arguments, output=take, format="binary" if binary else "text"
    )
    made = CopyBlock if binary else TupleBlock
    return made(b"".join(parts), int(status.rpartition(" ")[2]), columns)


def _known(field: Field) -> bool:
    return readable(field.native)


def decoder_of(field: Field) -> Decoder:
    """As the source decodes the type, from its name instead of its number."""
    found = parse_native(field.native)
    if found is None or found.family != "postgresql":
        return textvalues.text
    name = _TYPE_NAMES.get(found.name, found.name)
    item = {"oid": _ELEMENT, "name": name, "own": True, "base": None, "native": None, "element": None}
    array = {**item, "oid": _ARRAY, "element": _ELEMENT, "delimiter": ","}
    types = Types()
    types.add([item, array])
    return types.decoder(_ARRAY if found.array else _ELEMENT)


_ELEMENT, _ARRAY = -1, -2  # numbers that no type has


def _plain(field: Field) -> Callable[[str], Any] | None:
    found = parse_native(field.native)
    if found is None:
        return None
    decode = decoder_of(field)
    if found.array:
        return lambda text: decode(text).raw
    return _PLAIN.get(found.name) or (None if decode is textvalues.text else lambda text: decode(text).value)


def _partly(names: Sequence[str], decoders: Sequence[Decoder], texts: Texts) -> Record:
    """A row with a value that no strict reader takes: it stays the text that it was, which targets refuse."""
    value: dict[str, Any] = {}
    for name, decode, text in zip(names, decoders, texts, strict=True):
        try:
            value[name] = None if text is None else decode(text).value
        except RecordError:
            value[name] = Unreadable(text)
    return Record(dumps(value), value)


class _ByPlace(Types):
    """Decoders by the place of a column, where a row decoder asks for the number of its type."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        super().__init__()
        self._decoders = decoders

    def decoder(self, oid: int) -> Decoder:
        return self._decoders[oid]
