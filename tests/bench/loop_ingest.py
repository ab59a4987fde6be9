"""The receiver that somebody would write by hand: asyncio, httptools, a checked HMAC, SQLite with a group commit.

Arguments: port, file. The secret comes by the environment. No routes, no limits, no deadlines, no refusals kept.
`fastapi` as a third argument serves the same with a FastAPI handler and a commit for each request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

PORT, FILE = int(sys.argv[1]), sys.argv[2]
SECRET = os.environ["BENCH_SECRET"].encode()
INSERT = "INSERT INTO events (id, type, received, headers, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


def open_database() -> sqlite3.Connection:
    database = sqlite3.connect(FILE, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, received REAL, headers TEXT, body BLOB)"
    )
    return database


def is_genuine(body: bytes, signature: str) -> bool:
    made = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made, signature)


def row(headers: dict[str, str], body: bytes) -> tuple[str, str, float, str, bytes]:
    json.loads(body)
    return (
        headers["x-github-delivery"],
        headers.get("x-github-event", ""),
        time.time(),
        json.dumps(headers),
        body,
    )


class Writer:
    """What came while one batch is written is the next one."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.waiting: list[tuple[Connection, tuple[str, str, float, str, bytes]]] = []
        self.thread = ThreadPoolExecutor(1)
        self.task: asyncio.Task[None] | None = None

    def add(self, connection: Connection, values: tuple[str, str, float, str, bytes]) -> None:
        self.waiting.append((connection, values))
        if self.task is None:
            self.task = asyncio.create_task(self.work())

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            batch, self.waiting = self.waiting, []
            await loop.run_in_executor(self.thread, self.commit, [values for _, values in batch])
            for connection, _ in batch:
                connection.transport.write(OK)
        self.task = None

    def commit(self, rows: list[tuple[str, str, float, str, bytes]]) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        self.database.executemany(INSERT, rows)
        self.database.execute("COMMIT")


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, writer: Writer) -> None:
        import httptools

        self.writer = writer
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[str, str] = {}
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers, self.body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        if is_genuine(self.body, self.headers.get("x-hub-signature-256", "")):
            self.writer.add(self, row(self.headers, self.body))
        else:
            self.transport.write(REFUSED)


async def bare() -> None:
    writer = Writer(open_database())
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(writer), "127.0.0.1", PORT, backlog=1024
    )
    await server.serve_forever()


def fastapi() -> None:
    import uvicorn
    from fastapi import FastAPI, Request, Response

    database = open_database()
    app = FastAPI()

    async def hook(name: str, request: Request) -> Response:
        body = await request.body()
        if not is_genuine(body, request.headers.get("x-hub-signature-256", "")):
            return Response(status_code=401)
        database.execute(INSERT, row(dict(request.headers), body))
        return Response()

    hook.__annotations__ = {"name": str, "request": Request, "return": Response}
    app.post("/webhooks/{name}")(hook)
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", access_log=False, backlog=1024)


if __name__ == "__main__":
    if sys.argv[3:] == ["fastapi"]:
        fastapi()
    else:
        asyncio.run(bare())
