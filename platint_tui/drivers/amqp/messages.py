"""A message of AMQP as a record, and its properties as a JSON document and back."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from aiormq.abc import DeliveredMessage
from pamqp import commands

from platint_tui.core.errors import RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Field, Json, JsonObject, Record
from platint_tui.drivers.messages import BASE64, as_record, decoded, iso

FIELDS = (
    Field("id", "string", required=True),
    Field("body", "any"),
    Field("encoding", "string"),
    Field("headers", "object"),
    Field("key", "string", description="Routing key"),
    Field("queue", "string", required=True),
    Field("exchange", "string"),
    Field("timestamp", "timestamp"),
    Field("content_type", "string"),
    Field("correlation_id", "string"),
    Field("reply_to", "string"),
    Field("type", "string"),
    Field("app_id", "string"),
)
OFFSET = "x-stream-offset"
DELIVERIES = "x-delivery-count"
UNDECODED_PROPERTIES = "undecoded"
"""In the document of a message: its properties as they came (base64), when they cannot be decoded."""
_OF_DELIVERY = frozenset({OFFSET, DELIVERIES, "x-acquired-count"})
"""Headers that the broker adds to a delivery: they are not the message's own, and may differ the next time."""
_KEPT_AS = "x-platint-"
_PROPERTIES = {
    "content_type": "content_type",
    "content_encoding": "content_encoding",
    "correlation_id": "correlation_id",
    "reply_to": "reply_to",
    "type": "message_type",
    "app_id": "app_id",
    "user_id": "user_id",
    "priority": "priority",
    "expiration": "expiration",
}
"""Properties of a message that are members of its record, and what the library calls them."""
_NOT_SENT_AGAIN = frozenset({"user_id", "expiration"})


class Message(NamedTuple):
    """One delivery. `offset` is its place in a stream, `deliveries` how often it was delivered before without
    being acknowledged; both None where the broker does not say. `timestamp` is in epoch milliseconds."""

    tag: int
    redelivered: bool
    exchange: str
    key: str
    body: bytes
    id: str
    timestamp: int | None
    headers: Mapping[str, Json]
    properties: Mapping[str, Json]
    offset: int | None
    deliveries: int | None
    undecoded: bytes | None = None
    """Its properties as they came, when they cannot be decoded; then it seems to have none."""

    def digest(self) -> str:
        """Hex digest (128 bits) of everything that the sender said: equal for each delivery of a message."""
        said = dumps([self.exchange, self.key, self.id, self.timestamp, self.headers, self.properties])
        hasher = hashlib.sha256(said.encode("utf-8", "surrogatepass"))
        hasher.update(b"\0")
        hasher.update(self.undecoded or b"")
        hasher.update(self.body)
        return hasher.hexdigest()[:32]


def message_of(delivered: DeliveredMessage, undecoded: bytes | None = None) -> Message:
    """What was delivered, in types of JSON. `undecoded` are properties that cannot be decoded, as they came."""
    given = delivered.header.properties
    table = given.headers or {}
    deliveries = table.get(DELIVERIES)
    properties = {
        name: value for name, own in _PROPERTIES.items() if (value := getattr(given, own)) not in (None, "")
    }
    return Message(
        delivered.delivery_tag or 0,
        bool(delivered.redelivered),
        delivered.exchange or "",
        delivered.routing_key or "",
        delivered.body,
        given.message_id or "",
        round(given.timestamp.timestamp() * 1000) if given.timestamp is not None else None,
        {name: plain(value) for name, value in table.items() if name not in _OF_DELIVERY},
        properties,
        offset_of(delivered),
        deliveries if isinstance(deliveries, int) else None,
        undecoded,
    )


def offset_of(delivered: DeliveredMessage) -> int | None:
    """The place of a message in its stream, None for one of another kind of queue."""
    offset = (delivered.header.properties.headers or {}).get(OFFSET)
    return offset if isinstance(offset, int) else None


def plain(value: Any) -> Json:
    """A value of a header table in types of JSON: bytes as base64, times as ISO 8601, no number for NaN."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return iso(round(value.timestamp() * 1000))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def record_of(message: Message, queue: str, identity: str, longest: int) -> Record | BadElement:
    """The record of a message; what cannot be one (its body has more than `longest` bytes, or cannot be kept
    exactly) is a bad element that holds the whole message, its body as base64."""
    value: dict[str, Json] = {"id": identity}
    size = len(message.body)
    try:
        if message.undecoded is not None:
            raise RecordError("The properties of the message are not those of AMQP 0-9-1.")
        if size > longest:
            raise RecordError(f"The body has {size:,} bytes, more than the {longest:,} that are taken.")
        value |= decoded(message.body, str(message.properties.get("content_type", "")))
    except RecordError as error:
        value |= {"body": base64.b64encode(message.body).decode(), "encoding": BASE64}
        whole = as_record(value | _around(message, queue))
        return BadElement(whole.raw, error.message.rstrip("."))
    return as_record(value | _around(message, queue))


def _around(message: Message, queue: str) -> dict[str, Json]:
    around: dict[str, Json] = {
        "headers": message.headers,
        "key": message.key,
        "queue": queue,
        "exchange": message.exchange,
        "timestamp": None if message.timestamp is None else iso(message.timestamp),
        **message.properties,
    }
    if message.offset is not None:
        around["offset"] = message.offset
    if message.undecoded is not None:
        around["properties"] = base64.b64encode(message.undecoded).decode()
    return around


def document_of(message: Message) -> dict[str, Json]:
    """What must be sent with a message's body to send the same message, as JSON."""
    document: dict[str, Json] = {
        "exchange": message.exchange,
        "routing_key": message.key,
        "headers": message.headers,
        **message.properties,
    }
    if message.id:
        document["message_id"] = message.id
    if message.timestamp is not None:
        document["timestamp"] = message.timestamp
    if message.undecoded is not None:
        document[UNDECODED_PROPERTIES] = base64.b64encode(message.undecoded).decode()
    return document


def properties_of(
    document: JsonObject, *, message_id: str, headers: Mapping[str, Json]
) -> commands.Basic.Properties:
    """Properties of a persistent message from such a document.

    The sender's `user_id` is left out (the broker takes only that of the connection), and `expiration` with it:
    what is sent again is to arrive.
    """
    known: dict[str, Any] = {
        own: value if name == "priority" else str(value)
        for name, own in _PROPERTIES.items()
        if name not in _NOT_SENT_AGAIN and (value := document.get(name)) not in (None, "")
    }
    stamp = document.get("timestamp")
    moment = datetime.fromtimestamp(stamp / 1000, UTC) if isinstance(stamp, int | float) else None
    return commands.Basic.Properties(
        **known,
        message_id=message_id,
        headers=table_of(headers),
        timestamp=moment,
        delivery_mode=2,
    )


def outside_headers(headers: Mapping[str, Json]) -> dict[str, Json]:
    """The headers of a message that is sent once more: what a broker wrote into them of its deaths, and what would
    have it copied to further queues (CC, BCC), stands there as `x-platint-…`."""
    return {
        f"{_KEPT_AS}{name.removeprefix('x-').lower()}" if _is_of_broker(name) else name: value
        for name, value in headers.items()
    }


def _is_of_broker(name: str) -> bool:
    return name in ("CC", "BCC", "x-death", "x-delivery-count") or name.startswith(
        ("x-first-death-", "x-last-death-")
    )


def table_of(headers: Mapping[str, Json]) -> dict[str, Any]:
    """JSON as a header table; a number that has no exact form there is sent as text."""
    return {name: _cell(value) for name, value in headers.items()}


def _cell(value: Json) -> Any:
    if isinstance(value, Mapping):
        return table_of(value)
    if isinstance(value, list):
        return [_cell(item) for item in value]
    if isinstance(value, Decimal) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        return str(value)
    return value
