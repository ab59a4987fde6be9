"""The keys of the rows that a target table holds, for the account of what a source has and a target holds."""

# ruff: noqa: S608 - identifiers are quoted, values are bound
from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from platint_tui.core.jsontext import canonical_key, content_hash
from platint_tui.drivers.sqlite.layout import is_there, mirror_key
from platint_tui.drivers.tables import quoted

_CHUNK = 2_000
_AS_JSON: Mapping[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "binary": lambda value: base64.b64encode(value).decode(),
    "decimal": int,  # a key has no decimals; what is beyond 64 bits is text
}


def held_keys(
    connection: sqlite3.Connection, table: str, after: int | None
) -> list[tuple[int, str, str | None]]:
    """(rowid, key, content hash of the raw text) of some rows in the order of their rowid, behind one of them.

    The hash is None for a mirror. Empty when there are no more, or no such table.
    """
    if not is_there(connection, table):
        return []
    key = mirror_key(connection, table)
    listed = ", ".join(quoted(name) for name, _ in key) or "_key, _raw"
    behind = "" if after is None else f"WHERE rowid > {after:d}"
    rows = connection.execute(
        f"SELECT rowid, {listed} FROM {quoted(table)} {behind} ORDER BY rowid LIMIT {_CHUNK}"
    ).fetchall()
    if not key:
        return [(rowid, found, content_hash(raw)) for rowid, found, raw in rows]
    kinds = [kind for _, kind in key]
    return [(rowid, _key(values, kinds), None) for rowid, *values in rows]


def _key(values: list[Any], kinds: list[str]) -> str:
    return canonical_key(
        _AS_JSON[kind](value) if kind in _AS_JSON else value
        for value, kind in zip(values, kinds, strict=True)
    )
