"""A message of MQTT as a record."""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from typing import Any

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Field, Json, JsonObject, Record
from platint_tui.drivers.messages import BASE64, as_record, decoded
from platint_tui.drivers.mqtt.packets import Message

MESSAGE_ID = "message-id"
"""The user property by which senders name their messages; MQTT itself has no message ids."""
FIELDS = (
    Field("id", "string", required=True),
    Field("body", "any"),
    Field("encoding", "string"),
    Field("headers", "object", description="User properties"),
    Field("key", "string"),
    Field("topic", "string", required=True),
    Field("timestamp", "timestamp", description="Always null: MQTT sends none"),
    Field("qos", "integer"),
    Field("retained", "boolean", description="Kept at the broker from earlier, not sent just now"),
    Field("content_type", "string"),
    Field("response_topic", "string"),
    Field("correlation_data", "string"),
)
_DIGITS = 16


def headers_of(message: Message) -> dict[str, Json]:
    """User properties; one that is there several times is a list."""
    found: dict[str, Json] = {}
    for name, value in message.properties.get("user", ()):
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def named(message: Message) -> str:
    """The id that the sender gave, "" without one."""
    given = headers_of(message).get(MESSAGE_ID)
    return given if isinstance(given, str) else ""


def digest_of(message: Message) -> str:
    """Hex digest of what the sender said: equal for each delivery of a message. (The expiry interval is left out:
    a broker counts it down.)"""
    own = message.properties
    said = [message.topic, message.qos, message.retain, list(own.get("user", ())), own.get("content_type")]
    said += [own.get("response_topic"), base64.b64encode(own.get("correlation_data", b"")).decode()]
    hasher = hashlib.sha256(dumps(said).encode())
    hasher.update(b"\0")
    hasher.update(message.payload)
    return hasher.hexdigest()[:_DIGITS]


def record_of(message: Message, identity: str, longest: int) -> Record | BadElement:
    """The record of a message; what cannot be one (its content has more than `longest` bytes, or cannot be kept
    exactly) is a bad element that holds the whole message, its content as base64."""
    value: dict[str, Json] = {"id": identity}
    size = len(message.payload)
    around = _around(message)
    try:
        if size > longest:
            raise RecordError(f"The body has {size:,} bytes, more than the {longest:,} that are taken.")
        value |= decoded(message.payload, str(message.properties.get("content_type", "")))
    except RecordError as error:
        value |= {"body": base64.b64encode(message.payload).decode(), "encoding": BASE64}
        return BadElement(as_record(value | around).raw, error.message.rstrip("."))
    return as_record(value | around)


def _around(message: Message) -> dict[str, Json]:
    around: dict[str, Json] = {
        "headers": headers_of(message),
        "key": None,
        "topic": message.topic,
        "timestamp": None,
        "qos": message.qos,
        "retained": message.retain,
    }
    for name in ("content_type", "response_topic"):
        if value := message.properties.get(name):
            around[name] = value
    if data := message.properties.get("correlation_data"):
        try:
            around["correlation_data"] = data.decode()
        except UnicodeDecodeError:
            around["correlation_data"] = base64.b64encode(data).decode()
    return around


class Unnamed:
    """Makes and remembers identities for messages without an id: `<digest>-<run of numbers>-<number>`.

    A broker that got no acknowledgement sends a message again under the same packet identifier, marked as a
    duplicate (MQTT 5.0, 4.4). One with the packet identifier and the digest of a message that was given out before
    is that message, and gets its identity; so the last ones, as many as can be unacknowledged, are in the position.
    """

    def __init__(self, kept: JsonObject | None, most: int) -> None:
        """`kept` is what `position` gave, `most` how many deliveries are remembered."""
        kept = kept or {}
        self.mark = str(kept.get("mark", ""))
        self._count = int(kept.get("count", 0))
        recent = ((str(item[0]), str(item[1])) for item in kept.get("recent", ()))
        self._recent: deque[tuple[str, str]] = deque(recent, maxlen=most)

    def identity(self, message: Message) -> str:
        """The identity of a message: its own of before when it is delivered once more."""
        digest = digest_of(message)
        place = f"{message.packet}.{digest}"
        known = next((item for item in reversed(self._recent) if message.dup and item[0] == place), None)
        if known is not None:
            self._recent.remove(known)
            number = known[1]
        else:
            self._count += 1
            number = str(self._count)
        if message.qos:
            self._recent.append((place, number))
        return f"{digest}-{self.mark}-{number}"

    def position(self) -> dict[str, Any] | None:
        """What a position keeps of it; None before the first message without an identity."""
        if not self.mark:
            return None
        return {"mark": self.mark, "count": self._count, "recent": [list(item) for item in self._recent]}
