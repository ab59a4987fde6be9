"""The keys of the rows that a target table holds, for the account of what a source has and a target holds."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from platint_tui.core.jsontext import canonical_key, content_hash
from platint_tui.core.model import Field
from platint_tui.drivers.postgresql import books
from platint_tui.drivers.postgresql.blocks import TUPLES, read_block
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.tables import quoted

_CHUNK = 2_000


async def held_keys(
    connection: asyncpg.Connection[Any], address: Address, target: str
) -> AsyncIterator[tuple[str, str | None]]:
    """(key, content hash of the raw text) of every row in the order of the keys; None for the hash where the
    table is a mirror, which keeps no text. Nothing when there is no such table. Raises ConfigError for a table
    that is not ours, and what asyncpg raises.
    """
    found = await books.look(connection, address, target)
    if found.types is None:
        return
    table = f"{quoted(address.schema)}.{quoted(target)}"
    if found.key:
        listed = ", ".join(map(quoted, found.key))
        fields = [Field(name, "any", native=f"postgresql:{found.types[name]}") for name in found.key]
        query = f"SELECT {listed} FROM {table} ORDER BY {listed}"
        for record in await read_block(connection, query, (), fields, TUPLES):
            yield canonical_key(record.value.values()), None
        return
    async with connection.transaction(readonly=True):
        query = f"SELECT _key, _raw FROM {table} ORDER BY _key"
        async for row in connection.cursor(query, prefetch=_CHUNK):
            yield row["_key"], content_hash(row["_raw"])
