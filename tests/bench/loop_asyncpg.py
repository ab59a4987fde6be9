"""The loop that somebody would write by hand: an asyncpg cursor over a table, executemany into SQLite.

    python loop_asyncpg.py DSN FILE

Prints the seconds that it took. It is as durable as what it is compared with: synchronous=FULL, a commit every
5,000 rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from typing import Any

import asyncpg

_ROWS = 5_000
_CREATE = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, amount TEXT, at TEXT, paid INTEGER, score REAL,"
    " ref TEXT, day TEXT, doc TEXT, code TEXT)"
)
_UPSERT = (
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
    " amount = excluded.amount, at = excluded.at, paid = excluded.paid, score = excluded.score,"
    " ref = excluded.ref, day = excluded.day, doc = excluded.doc, code = excluded.code"
)


def stored(row: Any) -> tuple[Any, ...]:
    """A row as SQLite takes it."""
    number, name, amount, at, paid, score, ref, day, doc, code = row
    return number, name, str(amount), at.isoformat(), paid, score, str(ref), day.isoformat(), doc, code


async def run(dsn: str, file: str) -> None:
    target = sqlite3.connect(file, isolation_level=None)
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    target.execute(_CREATE)
    source = await asyncpg.connect(dsn, ssl=False)
    async with source.transaction():
        cursor = await source.cursor("SELECT * FROM orders ORDER BY id")
        while rows := await cursor.fetch(_ROWS):
            target.execute("BEGIN IMMEDIATE")
            target.executemany(_UPSERT, map(stored, rows))
            target.execute("COMMIT")
    await source.close()
    target.close()


def main() -> None:
    started = time.perf_counter()
    asyncio.run(run(sys.argv[1], sys.argv[2]))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
