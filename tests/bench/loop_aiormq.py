"""The loop that somebody would write by hand: aiormq's consumer, and sqlite3.

Arguments: address of the broker, queue, number of messages, database file. What has come is decoded, upserted and
committed to disk (`synchronous = FULL`); then it is acknowledged. Prints {"records", "seconds"}.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from typing import Any

import aiormq
from aiormq.abc import DeliveredMessage

PREFETCH, BATCH = 1_000, 500
COLUMNS = ("id", "body", "headers", "key", "queue", "exchange", "timestamp", "content_type", "_raw")
UPSERT = (
    f"INSERT INTO orders ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in COLUMNS)})"
    f" VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f'"{name}" = excluded."{name}"' for name in COLUMNS[1:])
)


def row(message: DeliveredMessage, queue: str) -> tuple[Any, ...]:
    properties = message.header.properties
    body = json.loads(message.body)
    headers = properties.headers or {}
    moment = properties.timestamp.isoformat() if properties.timestamp else None
    record = {
        "id": properties.message_id,
        "body": body,
        "headers": headers,
        "key": message.routing_key,
        "queue": queue,
        "exchange": message.exchange,
        "timestamp": moment,
        "content_type": properties.content_type,
    }
    return (
        properties.message_id,
        json.dumps(body),
        json.dumps(headers),
        message.routing_key,
        queue,
        message.exchange,
        moment,
        properties.content_type,
        json.dumps(record),
    )


async def main(url: str, queue: str, count: int, path: str) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    columns = ", ".join(f'"{name}" TEXT' for name in COLUMNS[1:])
    database.execute(f"CREATE TABLE orders (id TEXT PRIMARY KEY, {columns})")
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.basic_qos(prefetch_count=PREFETCH)
    arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
    started = time.perf_counter()
    await channel.basic_consume(queue, arrived.put)
    done = 0
    while done < count:
        batch = [await arrived.get()]
        if arrived.qsize() < BATCH:
            await asyncio.sleep(0.02)  # a commit for each message would be slower
        while len(batch) < BATCH and not arrived.empty():
            batch.append(arrived.get_nowait())
        database.execute("BEGIN IMMEDIATE")
        database.executemany(UPSERT, [row(message, queue) for message in batch])
        database.execute("COMMIT")
        await channel.basic_ack(batch[-1].delivery_tag or 0, multiple=True)
        done += len(batch)
    seconds = time.perf_counter() - started
    await connection.close()
    database.close()
    print(json.dumps({"records": done, "seconds": seconds}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
