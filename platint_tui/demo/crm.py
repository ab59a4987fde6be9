"""The demo CRM: OAuth2 client credentials, page numbers, a filter by time, writes with idempotency keys.

    POST /oauth/token     grant_type=client_credentials, the client by HTTP basic
    GET  /v1/me
    GET  /v1/contacts     ?page=1.. &per_page=1..100 &updated_since=ISO8601 (inclusive)
    POST /v1/contacts     create or replace by external_id; header Idempotency-Key (optional)

A contact is `{external_id, name (at most 80 characters), email, country (2 letters), balance (integer),
updated_at}`; the first three are required. What does not fit is refused with 422 and
`{"error": {"code": "missing_field" | "wrong_type" | "too_long", "field", "message"}}`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from platint_tui.core.secret import Secret
from platint_tui.demo.misbehaviour import Handler, Misbehaviour, answer, read_json, refuse, whole_number
from platint_tui.demo.records import iso, parse_iso
from platint_tui.demo.storage import open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contacts (
    external_id TEXT PRIMARY KEY, number INTEGER, document TEXT NOT NULL, updated_ms INTEGER NOT NULL,
    writes INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS contacts_updated ON contacts (updated_ms, external_id);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER, body TEXT);
"""
_TEXTS = {"external_id": 64, "name": 80, "email": 254, "country": 2}
_REQUIRED = ("external_id", "name", "email")


class Crm:
    """State of the platform: tokens in memory, contacts and stored answers in SQLite."""

    def __init__(
        self,
        client: tuple[Secret, Secret],
        misbehaviour: Misbehaviour,
        folder: Path | None,
        token_seconds: int = 60,
    ) -> None:
        self._client = f"{client[0].reveal()}:{client[1].reveal()}".encode()
        self._misbehaviour = misbehaviour
        self._token_seconds = token_seconds
        self._tokens: dict[str, float] = {}
        self._database = open_database(folder, "crm", _SCHEMA)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._authorize, self._misbehaviour.middleware])
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get("/v1/me", self._me)
        app.router.add_get("/v1/contacts", self._list)
        app.router.add_post("/v1/contacts", self._write)
        app.on_cleanup.append(self._cleanup)
        return app

    async def _cleanup(self, app: web.Application) -> None:
        self._database.close()

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/oauth/token":
            return await handler(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        expires = self._tokens.get(token) if scheme.lower() == "bearer" else None
        if expires is None:
            return refuse(401, "invalid_token", "This access token is not known here.")
        if expires < time.monotonic():
            return refuse(401, "token_expired", "This access token has expired.")
        return await handler(request)

    async def _token(self, request: web.Request) -> web.Response:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            given = b""
        form = await request.post()
        if not hmac.compare_digest(given, self._client):
            return answer({"error": "invalid_client", "error_description": "Unknown client."}, status=401)
        if form.get("grant_type") != "client_credentials":
            return answer({"error": "unsupported_grant_type"}, status=400)
        now = time.monotonic()
        self._tokens = {token: until for token, until in self._tokens.items() if until > now - 600}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = now + self._token_seconds
        return answer(
            {"access_token": token, "token_type": "Bearer", "expires_in": self._token_seconds},
            headers={"Cache-Control": "no-store"},
        )

    async def _me(self, request: web.Request) -> web.Response:
        (count,) = self._database.execute("SELECT count(*) FROM contacts").fetchone()
        return answer({"id": "app_demo", "name": "Demo CRM", "scopes": ["contacts"], "contacts": count})

    async def _list(self, request: web.Request) -> web.Response:
        page = whole_number(request, "page", 1, 1, 10**8)
        size = whole_number(request, "per_page", 50, 1, 100)
        since_ms = 0
        since = request.query.get("updated_since")
        if since:
            try:
                since_ms = parse_iso(since)
            except (ValueError, OverflowError):
                return refuse(
                    400, "invalid_parameter", "updated_since is no ISO 8601 time.", field="updated_since"
                )
        (total,) = self._database.execute(
            "SELECT count(*) FROM contacts WHERE updated_ms >= ?", (since_ms,)
        ).fetchone()
        rows = self._database.execute(
            "SELECT document FROM contacts WHERE updated_ms >= ?"
            " ORDER BY updated_ms, external_id LIMIT ? OFFSET ?",
            (since_ms, size, (page - 1) * size),
        ).fetchall()
        items = ",".join(row[0] for row in rows)
        pages = max(1, math.ceil(total / size))
        body = f'{{"items":[{items}],"page":{page},"pages":{pages},"total":{total}}}'
        return web.Response(body=body.encode(), content_type="application/json")

    async def _write(self, request: web.Request) -> web.Response:
        document = await read_json(request)
        if document is None:
            return refuse(400, "invalid_json", "The body is no JSON object.")
        key = request.headers.get("Idempotency-Key", "")
        digest = hashlib.sha256(await request.read()).hexdigest()
        if key:
            known = self._database.execute(
                "SELECT digest, status, body FROM answers WHERE key = ?", (key,)
            ).fetchone()
            if known is not None and known[0] != digest:
                return refuse(409, "idempotency_mismatch", "This key was used with another body.")
            if known is not None:
                return _stored(known[2], known[1], {"Idempotent-Replayed": "true"})
        refusal = check_contact(document)
        if refusal is not None:
            return refuse(422, refusal[0], refusal[2], field=refusal[1])
        status, body = self._upsert(document, key, digest)
        return _stored(body, status, {})

    def _upsert(self, document: dict[str, Any], key: str, digest: str) -> tuple[int, str]:
        """Write a contact and the answer to its key in one transaction."""
        now = time.time_ns() // 1_000_000
        stamp = document.get("updated_at")
        updated_ms = parse_iso(stamp) if isinstance(stamp, str) else now
        self._database.execute("BEGIN IMMEDIATE")
        try:
            (writes, number) = self._database.execute(
                "SELECT coalesce(max(writes), 0), coalesce(max(number), (SELECT count(*) + 1 FROM contacts))"
                " FROM contacts WHERE external_id = ?",
                (document["external_id"],),
            ).fetchone()
            contact = {
                "id": f"contact_{number:07d}",
                **{name: document.get(name) for name in (*_TEXTS, "balance")},
                "updated_at": iso(updated_ms),
            }
            body = json.dumps(contact, ensure_ascii=False, separators=(",", ":"))
            self._database.execute(
                "INSERT INTO contacts (external_id, number, document, updated_ms) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (external_id) DO UPDATE SET document = excluded.document,"
                " updated_ms = excluded.updated_ms, writes = writes + 1",
                (document["external_id"], number, body, updated_ms),
            )
            status = 200 if writes else 201
            if key:
                self._database.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (key, digest, status, body))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return status, body


def check_contact(document: dict[str, Any]) -> tuple[str, str, str] | None:
    """(code, field, message) of the first thing that is wrong with a contact, None when nothing is."""
    for name in _REQUIRED:
        if document.get(name) in (None, ""):
            return "missing_field", name, f"{name} is required."
    for name, longest in _TEXTS.items():
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not _is_text(value):
            return "wrong_type", name, f"{name} must be a text."
        if len(value) > longest:
            return "too_long", name, f"{name} has {len(value)} characters, {longest} are allowed."
    if "@" not in document["email"]:
        return "wrong_type", "email", "email must be an address with an @."
    country = document.get("country")
    if country is not None and not (len(country) == 2 and country.isascii() and country.isalpha()):
        return "wrong_type", "country", "country must be two letters."
    balance = document.get("balance")
    if balance is not None and (not isinstance(balance, int) or isinstance(balance, bool)):
        return "wrong_type", "balance", "balance must be an integer."
    stamp = document.get("updated_at")
    try:
        if stamp is not None:
            parse_iso(stamp)
    except (TypeError, ValueError, OverflowError):
        return "wrong_type", "updated_at", "updated_at must be an ISO 8601 time."
    return None


def _is_text(value: str) -> bool:
    """Whether a text can be stored: half a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stored(body: str, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body.encode(), status=status, headers=headers, content_type="application/json")
