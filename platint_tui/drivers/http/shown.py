"""Requests and answers as they may be stored and shown: without credentials, secrets masked, bodies cut."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote_plus

from platint_tui.core.model import Json, JsonObject
from platint_tui.core.redaction import MASK, REDACTOR, mask_headers
from platint_tui.core.wire import shows_credential
from platint_tui.drivers.http.calls import Outgoing
from platint_tui.drivers.http.client import Answer

EXCERPT = 4096


def shown_request(request: Outgoing) -> JsonObject:
    """A request without its credential, secrets masked, the body cut at 4 KiB.

    `cut` is there when the body was longer: its size in bytes and its digest, which tells it from others that begin
    alike.
    """
    content = request.content or b""
    shown: dict[str, Json] = {
        "method": request.method,
        "url": masked_url(request.url),
        "headers": mask_headers(dict(request.headers)),
        "body": excerpt(content),
    }
    if len(content) > EXCERPT:
        shown["cut"] = {"size": len(content), "digest": hashlib.sha256(content).hexdigest()[:32]}
    return shown


def shown_answer(answer: Answer) -> JsonObject:
    """An answer with secrets masked, the body cut at 4 KiB."""
    return {
        "status": answer.status,
        "headers": mask_headers(dict(answer.headers.items())),
        "body": excerpt(answer.body),
    }


def masked_url(url: str) -> str:
    """An address with the values of sensitive query parameters masked."""
    base, mark, query = url.partition("?")
    if mark:
        pairs = [item.partition("=") for item in query.split("&")]
        shown = [
            (name, sign, MASK if shows_credential(unquote_plus(name)) else value)
            for name, sign, value in pairs
        ]
        url = f"{base}?{'&'.join(name + sign + value for name, sign, value in shown)}"
    return REDACTOR.redact(url)


def excerpt(body: bytes) -> str:
    """The beginning of a body as text, redacted before it is cut so that no secret is left in half."""
    text = REDACTOR.redact(body[: 16 * EXCERPT].decode("utf-8", "replace"))
    return text[:EXCERPT]
