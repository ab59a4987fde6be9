"""The loop that somebody would write by hand: httpx, sqlite3, a durable commit per page with the position in it.

Arguments: base URL, file. The key comes by the environment. Prints {"records", "seconds"}.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time

import httpx

COLUMNS = (
    "id", "customer", "amount", "currency", "status", "description", "fee", "refunded", "metadata", "created_at",
    "updated_at",
)  # fmt: skip
UPSERT = (
    f"INSERT INTO charges ({', '.join(COLUMNS)}, _raw) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])},"
    " _raw = excluded._raw WHERE excluded.updated_at >= charges.updated_at"
)


def row(record: dict[str, object]) -> tuple[object, ...]:
    values = [record.get(name) for name in COLUMNS]
    values[8] = json.dumps(record.get("metadata"))
    return (*values, json.dumps(record))


async def main(url: str, path: str) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE charges (id TEXT PRIMARY KEY, customer TEXT, amount INTEGER, currency TEXT, status TEXT,"
        " description TEXT, fee REAL, refunded INTEGER, metadata TEXT, created_at TEXT, updated_at TEXT, _raw TEXT)"
    )
    database.execute("CREATE TABLE position (stream TEXT PRIMARY KEY, after TEXT)")
    count = 0
    started = time.perf_counter()
    async with httpx.AsyncClient(base_url=url, headers={"X-Api-Key": os.environ["BENCH_KEY"]}) as client:
        query: dict[str, str | int] = {"limit": 100}
        while True:
            answer = await client.get("/v1/charges", params=query)
            answer.raise_for_status()
            page = answer.json()
            records = page["data"]
            query["starting_after"] = records[-1]["id"]
            database.execute("BEGIN IMMEDIATE")
            database.executemany(UPSERT, [row(record) for record in records])
            database.execute("INSERT OR REPLACE INTO position VALUES ('charges', ?)", (records[-1]["id"],))
            database.execute("COMMIT")
            count += len(records)
            if not page["has_more"]:
                break
    seconds = time.perf_counter() - started
    database.close()
    print(json.dumps({"records": count, "seconds": seconds}))


asyncio.run(main(sys.argv[1], sys.argv[2]))
