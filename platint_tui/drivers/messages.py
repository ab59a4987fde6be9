"""Messages of brokers as records, in one shape for every broker, and rows as what is sent.

A record has `id`, `body` (decoded JSON, or text, or base64 with `encoding`), `headers`, `key`, the place it came
from (`queue` or `topic`), `timestamp` and what else the broker knows. It is the same text each time that the
message is delivered: what differs from one delivery to the next stays out of it, so that a repeated message is
known by its hash too.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from platint_tui.core.errors import RecordError, SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, Record

BASE64 = "base64"
JSON_MEDIA = "application/json"
_SHAPE = frozenset({"id", "body", "headers", "timestamp"})
_PLACES = frozenset({"queue", "topic", "exchange", "subscription", "channel", "stream"})


def decoded(content: bytes | str, media: str = "") -> dict[str, Json]:
    """`body` of a record, and `encoding` where it is not text. `media` is what the sender calls the content.

    Undeclared content is JSON when it is an object or a list: a text that happens to be a number stays a text.
    Raises RecordError for JSON that cannot be kept exactly (a key twice, NaN, half a surrogate pair).
    """
    if isinstance(content, bytes):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return {"body": base64.b64encode(content).decode(), "encoding": BASE64}
    else:
        text = content
    if is_json_media(media) or text.lstrip(" \t\r\n")[:1] in ("{", "["):
        try:
            return {"body": loads(text)}
        except SystemicError as error:
            if _has_json_form(text):
                raise RecordError(f"The body cannot be kept exactly: {error.message}", code="body") from None
    return {"body": text}


def is_json_media(media: str) -> bool:
    """Whether a media type says that the content is JSON."""
    plain = media.partition(";")[0].strip().lower()
    return plain == JSON_MEDIA or plain.endswith("+json")


def iso(milliseconds: int) -> str:
    """Epoch milliseconds as ISO 8601 with offset."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def as_record(value: dict[str, Json]) -> Record | BadElement:
    """The record of a message, or why it cannot be one."""
    try:
        raw = dumps(value)
        raw.encode()
    except (RecordError, UnicodeEncodeError):
        # A header that holds no JSON, or half of a surrogate pair.
        return BadElement(json.dumps(value, default=repr), "a text or number in it has no JSON form")
    return Record(raw, value)


@dataclass(frozen=True, slots=True)
class Sendable:
    """What a row is sent as. `key` groups messages that belong together, `media` is "" for plain text and bytes,
    `native` is the whole row when it had the shape of a message, for what only one broker knows."""

    content: bytes
    media: str
    headers: Mapping[str, Json]
    key: str | None
    native: Mapping[str, Json]


def sendable(value: Mapping[str, Any]) -> Sendable:
    """A row as a message. One in the shape of a record of a broker is sent on as the message that it was: its
    body as the content, its headers as headers. Any other is the content itself, as JSON.

    Raises RecordError for a body that is not what its encoding says, or that is not JSON.
    """
    if not is_message(value):
        return Sendable(_encoded(dumps(dict(value))), JSON_MEDIA, {}, None, {})
    body, key = value["body"], value.get("key")
    named = key if isinstance(key, str) else None
    if value.get("encoding") == BASE64 and isinstance(body, str):
        try:
            return Sendable(base64.b64decode(body, validate=True), "", value["headers"], named, value)
        except binascii.Error:
            raise RecordError(
                "The body is not base64, as its encoding says.", code="body", where="body"
            ) from None
    if isinstance(body, str):
        return Sendable(_encoded(body), "", value["headers"], named, value)
    return Sendable(_encoded(dumps(body)), JSON_MEDIA, value["headers"], named, value)


def is_message(value: Mapping[str, Any]) -> bool:
    """Whether a row has the shape in which the drivers of brokers read messages."""
    return (
        value.keys() >= _SHAPE
        and bool(_PLACES & value.keys())
        and isinstance(value["headers"], Mapping)
        and isinstance(value["id"], str)
    )


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RecordError(
            "A text holds half of a surrogate pair, which is no character.", code="body"
        ) from None


def _has_json_form(text: str) -> bool:
    """Whether a text is JSON by its form, whatever its numbers and keys are."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
