"""The demo chat platform: a target with a bearer token and a rate limit.

    GET  /v1/auth.test
    POST /v1/messages {channel, text (at most 200 characters), ref}; header Idempotency-Key (optional)
    GET  /v1/messages ?offset=0.. &limit=1..100

Faster than its limit it answers 429 with Retry-After, in seconds or as a date.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from platint_tui.core.secret import Secret
from platint_tui.demo.misbehaviour import (
    Handler,
    Misbehaviour,
    TokenBucket,
    answer,
    read_json,
    refuse,
    whole_number,
)
from platint_tui.demo.records import iso
from platint_tui.demo.storage import open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE, digest TEXT NOT NULL, document TEXT NOT NULL
);
"""
_LONGEST = {"channel": 80, "text": 200, "ref": 128}


class Chat:
    """State of the platform: messages in SQLite, the token bucket in memory."""

    def __init__(
        self, token: Secret, misbehaviour: Misbehaviour, bucket: TokenBucket, folder: Path | None
    ) -> None:
        self._token = token.reveal().encode()
        self._misbehaviour = misbehaviour
        self._bucket = bucket
        self._database = open_database(folder, "chat", _SCHEMA)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._authorize, self._misbehaviour.middleware])
        app.router.add_get("/v1/auth.test", self._auth_test)
        app.router.add_get("/v1/messages", self._list)
        app.router.add_post("/v1/messages", self._write)
        app.on_cleanup.append(self._cleanup)
        return app

    async def _cleanup(self, app: web.Application) -> None:
        self._database.close()

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            return refuse(401, "invalid_token", "This token is not known here.")
        return await handler(request)

    async def _auth_test(self, request: web.Request) -> web.Response:
        return answer({"ok": True, "team": "Demo chat", "user": "platint"})

    async def _list(self, request: web.Request) -> web.Response:
        offset = whole_number(request, "offset", 0, 0, 10**9)
        limit = whole_number(request, "limit", 50, 1, 100)
        (total,) = self._database.execute("SELECT count(*) FROM messages").fetchone()
        rows = self._database.execute(
            "SELECT document FROM messages ORDER BY number LIMIT ? OFFSET ?", (limit, offset)
        ).fetchall()
        items = ",".join(row[0] for row in rows)
        body = f'{{"messages":[{items}],"offset":{offset},"total":{total}}}'
        return web.Response(body=body.encode(), content_type="application/json")

    async def _write(self, request: web.Request) -> web.Response:
        wait = self._bucket.take()
        if wait is not None:
            return refuse(429, "rate_limited", "Too many messages.", retry_after=wait)
        document = await read_json(request)
        if document is None:
            return refuse(400, "invalid_json", "The body is no JSON object.")
        key = request.headers.get("Idempotency-Key") or None
        digest = hashlib.sha256(await request.read()).hexdigest()
        known = self._database.execute(
            "SELECT digest, document FROM messages WHERE key = ?", (key,)
        ).fetchone()
        if known is not None and known[0] != digest:
            return refuse(409, "idempotency_mismatch", "This key was used with another body.")
        if known is not None:
            return answer(json.loads(known[1]), headers={"Idempotent-Replayed": "true"})
        refusal = check_message(document)
        if refusal is not None:
            return refuse(422, refusal[0], refusal[2], field=refusal[1])
        return answer(self._insert(document, key, digest), status=201)

    def _insert(self, document: dict[str, Any], key: str | None, digest: str) -> dict[str, Any]:
        (number,) = self._database.execute("SELECT coalesce(max(number), 0) + 1 FROM messages").fetchone()
        message = {
            "id": f"msg_{number:07d}",
            **{name: document.get(name) for name in _LONGEST},
            "sent_at": iso(time.time_ns() // 1_000_000),
        }
        self._database.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?)",
            (number, key, digest, json.dumps(message, ensure_ascii=False, separators=(",", ":"))),
        )
        return message


def check_message(document: dict[str, Any]) -> tuple[str, str, str] | None:
    """(code, field, message) of the first thing that is wrong with a message, None when nothing is."""
    if document.get("text") in (None, ""):
        return "missing_field", "text", "text is required."
    for name, longest in _LONGEST.items():
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            return "wrong_type", name, f"{name} must be a text."
        try:
            value.encode()
        except UnicodeEncodeError:
            return "wrong_type", name, f"{name} holds half of a surrogate pair."
        if len(value) > longest:
            return "too_long", name, f"{name} has {len(value)} characters, {longest} are allowed."
    return None
