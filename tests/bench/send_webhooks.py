"""A sender of webhooks that costs little: signed requests, made before, over connections that are kept.

Arguments: a JSON object {port, path, count, connections, rate, start, size}. The secret comes by the environment.
With `rate` 0 every connection sends its next request when it has the answer to the last; else requests leave at that
rate a second, on whichever connection is free, and are timed from when they should have left. Prints a JSON object:
{seconds, statuses, p50, p99, worst}, times in milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from collections import Counter, deque

SECRET = os.environ["BENCH_SECRET"].encode()


def request(path: str, number: int, size: int) -> bytes:
    body = json.dumps(
        {
            "ref": "refs/heads/main",
            "number": number,
            "repository": {"id": number % 1000, "full_name": "octo/hello", "private": False},
            "sender": {"login": "octocat", "id": 1},
            "text": "x" * size,
        }
    ).encode()
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
        f"User-Agent: GitHub-Hookshot/044aadd\r\nX-GitHub-Delivery: bench-{number:08}\r\nX-GitHub-Event: push\r\n"
        f"X-GitHub-Hook-ID: 1\r\nX-GitHub-Hook-Installation-Target-ID: 1\r\n"
        f"X-GitHub-Hook-Installation-Target-Type: repository\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Sender:
    def __init__(self, options: dict[str, int], requests: list[bytes]) -> None:
        self.rate = options["rate"]
        self.requests = requests
        self.next = 0
        self.done = 0
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.free: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.finished = asyncio.Event()

    def answered(self, connection: Connection, status: bytes) -> None:
        self.times.append(time.perf_counter() - connection.since)
        self.statuses[status.decode()] += 1
        self.done += 1
        if self.done == len(self.requests):
            self.finished.set()
        elif self.rate == 0:
            if self.next < len(self.requests):
                self.send(connection, time.perf_counter())
        elif self.due:
            self.send(connection, self.due.popleft())
        else:
            self.free.append(connection)

    def send(self, connection: Connection, since: float) -> None:
        connection.since = since
        connection.transport.write(self.requests[self.next])
        self.next += 1

    async def pace(self) -> None:
        start = time.perf_counter()
        for number in range(len(self.requests)):
            due = start + number / self.rate
            wait = due - time.perf_counter()
            if wait > 0.001:
                await asyncio.sleep(wait)
            elif number % 16 == 0:
                await asyncio.sleep(0)
            if self.free:
                self.send(self.free.popleft(), due)
            else:
                self.due.append(due)


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.since = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        # Answers to accepted webhooks have no body here.
        if self.buffer.endswith(b"\r\n\r\n"):
            status, self.buffer = self.buffer[9:12], b""
            self.sender.answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.sender.finished.is_set():
            sys.exit("a connection was closed")


async def main() -> None:
    options = json.loads(sys.argv[1])
    first = options["start"]
    requests = [request(options["path"], first + n, options["size"]) for n in range(options["count"])]
    sender = Sender(options, requests)
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Connection(sender), "127.0.0.1", options["port"]))[1]
        for _ in range(options["connections"])
    ]
    started = time.perf_counter()
    if sender.rate:
        sender.free.extend(made)
        task = asyncio.create_task(sender.pace())
        await sender.finished.wait()
        await task
    else:
        for connection in made[: len(requests)]:
            sender.send(connection, time.perf_counter())
        await sender.finished.wait()
    seconds = time.perf_counter() - started
    times = sorted(sender.times)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "statuses": sender.statuses,
                "p50": times[len(times) // 2] * 1000,
                "p99": times[int(len(times) * 0.99)] * 1000,
                "worst": times[-1] * 1000,
            }
        )
    )


asyncio.run(main())
