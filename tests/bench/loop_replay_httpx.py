"""The same loop over plain httpx. Arguments: address, file, how many of its rows. Prints {"sent", "seconds"}."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx
from loop_replay_aiohttp import IN_FLIGHT, Writer, open_file


async def main(url: str, path: str, count: int) -> None:
    database = open_file(path)
    events = database.execute("SELECT id, key, body FROM events LIMIT ?", (count,)).fetchall()
    writer, slots = Writer(database), asyncio.Semaphore(IN_FLIGHT)
    started = time.perf_counter()
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=IN_FLIGHT)) as client:

        async def send(identity: str, key: str, body: str) -> None:
            async with slots:
                headers = {"Content-Type": "application/json", "Idempotency-Key": key}
                answer = await client.post(url, content=body.encode(), headers=headers)
                await writer.save((identity, answer.status_code, time.time()))

        await asyncio.gather(*(send(*event) for event in events))
    seconds = time.perf_counter() - started
    print(json.dumps({"sent": len(events), "seconds": seconds}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
