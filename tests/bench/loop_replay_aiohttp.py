"""The loop that somebody would write by hand: 50 requests in flight over one aiohttp session, and a writer that
commits whatever outcomes are waiting with one durable commit.

Arguments: the address, a file with the rows `events (id, key, body)`. Prints {"sent", "seconds"}.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp

IN_FLIGHT = 50


def open_file(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE outcomes (id TEXT PRIMARY KEY, status INTEGER, at REAL)")
    return database


class Writer:
    """Outcomes on their way to disk; `save` returns when its own is there."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.thread = ThreadPoolExecutor(1)
        self.waiting: list[tuple[tuple[str, int, float], asyncio.Future[None]]] = []
        self.task: asyncio.Task[None] | None = None

    async def save(self, row: tuple[str, int, float]) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((row, future))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.drain())
        await future

    async def drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            batch, self.waiting = self.waiting, []
            await loop.run_in_executor(self.thread, self.commit, [row for row, _ in batch])
            for _, future in batch:
                future.set_result(None)

    def commit(self, rows: list[tuple[str, int, float]]) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        self.database.executemany("INSERT INTO outcomes VALUES (?, ?, ?)", rows)
        self.database.execute("COMMIT")


async def main(url: str, path: str) -> None:
    database = open_file(path)
    events = database.execute("SELECT id, key, body FROM events").fetchall()
    writer, slots = Writer(database), asyncio.Semaphore(IN_FLIGHT)
    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def send(identity: str, key: str, body: str) -> None:
            async with slots:
                headers = {"Content-Type": "application/json", "Idempotency-Key": key}
                async with session.post(url, data=body.encode(), headers=headers) as answer:
                    await answer.read()
                await writer.save((identity, answer.status, time.time()))

        await asyncio.gather(*(send(*event) for event in events))
    seconds = time.perf_counter() - started
    count = database.execute("SELECT COUNT(*) FROM outcomes WHERE status = 200").fetchone()[0]
    print(json.dumps({"sent": count, "seconds": seconds}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
