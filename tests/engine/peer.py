"""A platform under the control of a test: it serves what the test says, and remembers what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

MANIFEST = """
manifest: 1
platform: peer
name: Peer
version: 1.0.0
category: other
docs: https://example.org/
driver: http
profile:
  fields: [{id: base_url, type: url, required: true}]
auth: {type: none}
transport:
  base_url: '${profile.base_url}'
  timeout: {connect: 5s, read: 30s, total: 60s}
  allowed_hosts: ['${profile.base_url}']
limits:
  - {id: write, concurrency: 8, match: {op: write}}
  - {id: quota, match: {op: read}, headers: {remaining: X-Left, reset: X-Reset, reset_format: epoch_ms}}
errors:
  policy: {attempts: 2, base: 1ms, factor: 1, cap: 2ms, jitter: full, budget: 5s}
  rules:
    - {when: {status: [429]}, class: rate_limited, action: wait, wait: {header: Retry-After, cap: 1s}}
    - {when: {status: [401]}, class: auth, action: fail_run, hint: Give another key.}
    - {when: {status: [422]}, class: record, action: dead_letter, code: {path: code}}
    - {when: {status: ['500-599'], network: true}, class: transient, action: retry, then: fail_stream}
    - {when: {status: ['400-499']}, class: systemic, action: fail_stream}
check: [{id: ok, request: {path: /ok}}]
discover: {type: static}
resources:
  items:
    key: [id]
    fields: [{name: id, type: string, required: true}, {name: n, type: integer}]
    read:
      request: {method: GET, path: /items}
      records: data
      page: {type: cursor, from: next, param: after}
  others:
    key: [id]
    read:
      request: {method: GET, path: /others}
      records: data
      page: {type: cursor, from: next, param: after}
  loose:
    key: []
    read:
      request: {method: GET, path: /items}
      records: data
      page: {type: cursor, from: next, param: after}
  sink:
    key: [id]
    write: {upsert: {method: POST, path: /sink, idempotency: {header: Idempotency-Key}}}
  mailbox:
    key: [id]
    write: {create: {method: POST, path: /mailbox}}
  crowd:
    key: [id]
    write:
      upsert:
        path: /crowd
        body: {rows: '${items}'}
        bulk: {size: 40, results: {path: results, failed: {path: ok, equals: false}, code: code}}
      delete: {method: DELETE, path: '/crowd/${record.id}', body: null, gone: [404]}
tests: [{name: x, kind: error, exchange: x.yaml, expect: {class: record, action: dead_letter}}]
"""

Answer = Callable[[web.Request], Any]


class Peer:
    """`pages` are the pages of `/items`; `read` and `write` may answer instead (a Response, or None)."""

    def __init__(self) -> None:
        self.pages: dict[str, list[list[Any]]] = {"items": [[]], "others": [[]]}
        self.read: Answer = lambda request: None
        self.write: Answer = lambda request: None
        self.requests: list[str] = []
        self.sent: list[tuple[str, Any]] = []
        self.crowd: dict[str, Any] = {}
        self.hang = asyncio.Event()
        self.url = ""
        self._runner: web.AppRunner | None = None

    def fill(self, count: int, size: int = 100, stream: str = "items") -> None:
        """`count` good records in pages of `size`."""
        records = [{"id": f"i{n}", "n": n} for n in range(count)]
        self.pages[stream] = [records[start : start + size] for start in range(0, count, size)] or [[]]

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ok", self._ok)
        app.router.add_get("/{stream:items|others}", self._items)
        app.router.add_post("/{where:sink|mailbox}", self._sink)
        app.router.add_post("/crowd", self._crowd)
        app.router.add_delete("/crowd/{id}", self._leave)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.hang.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    async def _items(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        special = await _maybe(self.read(request))
        if special is not None:
            return special
        index = int(request.query.get("after", "0"))
        pages = self.pages[request.match_info["stream"]]
        following = str(index + 1) if index + 1 < len(pages) else None
        records = ",".join(item if isinstance(item, str) else json.dumps(item) for item in pages[index])
        text = f'{{"data":[{records}],"next":{json.dumps(following)}}}'
        return web.Response(text=text, content_type="application/json")

    async def _sink(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.sent.append((request.headers.get("Idempotency-Key", ""), body))
        special = await _maybe(self.write(request))
        return special if special is not None else web.json_response({"id": body.get("id")})

    async def _crowd(self, request: web.Request) -> web.StreamResponse:
        rows = (await request.json())["rows"]
        self.sent.append(("", rows))
        special = await _maybe(self.write(request))
        if special is not None:
            return special
        told = [{"ok": row["n"] != 7, "code": "unlucky"} for row in rows]
        self.crowd.update({row["id"]: row for row, one in zip(rows, told, strict=True) if one["ok"]})
        return web.json_response({"results": told})

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        found = self.crowd.pop(request.match_info["id"], None)
        return web.json_response({}, status=200 if found else 404)


async def _maybe(value: Any) -> web.StreamResponse | None:
    """The answer that a test gave, now or after a while; anything else means the ordinary one."""
    if asyncio.iscoroutine(value):
        value = await value
    return value if isinstance(value, web.StreamResponse) else None


def integration(name: str, streams: dict[str, str], *, target: str = "peer") -> str:
    """An integration file from the peer to itself, or to the SQLite warehouse."""
    profile = "warehouse" if target == "sqlite" else "sink"
    lines = "\n".join(f"  {stream}: {{target: {to}}}" for stream, to in streams.items())
    return f"""
integration: {name}
integration_type: data_sync
platforms:
  - {{name: peer, profile: source, type: api, endpoints: [{", ".join(streams)}]}}
  - {{name: {target}, profile: {profile}, type: sync}}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
streams:
{lines}
"""


def write_manifest(folder: Path) -> None:
    """Put the connector where the user's own are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peer.yaml").write_text(MANIFEST)
