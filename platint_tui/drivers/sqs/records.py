"""Messages of SQS as records, and rows as entries of a batch.

Sources: AWS, "Message" (API reference), "Amazon SQS message metadata", "SendMessageBatchRequestEntry".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

from platint_tui.core.errors import RecordError, SystemicError, TransientError
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, JsonObject, Record, Row
from platint_tui.drivers.messages import BASE64, as_record, decoded, iso, sendable

COUNT = "receive_count"
"""The field for how often a message was received, in the record only where it is asked for: it differs from
one delivery to the next."""
KEY_ATTRIBUTE = "idempotency-key"
MOST_ATTRIBUTES = 10
_VOLATILE = ("ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp")
_GROUP_LENGTH = 128


def record_of(queue: str, message: JsonObject, counted: bool) -> Record | BadElement:
    """A received message as a record; with `counted` it has its receive count."""
    system = _texts(message.get("Attributes"))
    headers, types = headers_of(message.get("MessageAttributes"))
    sent = sent_ms(message)
    body = str(message.get("Body", ""))
    value: dict[str, Json] = {"id": str(message.get("MessageId", ""))}
    trouble = ""
    try:
        value |= decoded(body)
    except RecordError as error:
        value["body"], trouble = body, error.message
    value |= {
        "headers": headers,
        "key": system.get("MessageGroupId"),
        "queue": queue,
        "timestamp": iso(sent) if sent is not None else None,
        "system": {name: text for name, text in sorted(system.items()) if name not in _VOLATILE},
    }
    if types:
        value["header_types"] = types
    if counted:
        value[COUNT] = receive_count(message)
    made = as_record(value)
    if trouble:
        return BadElement(made.raw, trouble)
    return made


def checked(message: JsonObject, queue: str) -> JsonObject:
    """The message, when its body is the one that the platform's digest is of. Raises TransientError."""
    told = message.get("MD5OfBody")
    body = str(message.get("Body", "")).encode("utf-8", "surrogatepass")
    if isinstance(told, str) and hashlib.md5(body, usedforsecurity=False).hexdigest() != told.lower():
        raise TransientError("A message was damaged on its way.", where=queue, code="damaged")
    return message


def sent_ms(message: JsonObject) -> int | None:
    """When a message was sent, epoch milliseconds."""
    text = _texts(message.get("Attributes")).get("SentTimestamp", "")
    return int(text) if text.isdecimal() and len(text) < 15 else None


def receive_count(message: JsonObject) -> int | None:
    """How often a message was received, this time counted."""
    text = _texts(message.get("Attributes")).get("ApproximateReceiveCount", "")
    return int(text) if text.isdecimal() else None


def headers_of(attributes: Json) -> tuple[dict[str, Json], dict[str, str]]:
    """Message attributes as headers: texts, exact numbers, bytes as base64. Beside them the types of those that
    are no plain text."""
    headers: dict[str, Json] = {}
    types: dict[str, str] = {}
    for name, item in sorted(attributes.items()) if isinstance(attributes, dict) else ():
        kind = str(item.get("DataType", "String"))
        value = item.get("BinaryValue", item.get("StringValue"))
        if kind.partition(".")[0] == "Number":
            try:
                value = loads(str(value))
            except SystemicError:
                pass  # a number in another notation stays the text that it is
        headers[name] = value
        if kind != "String":
            types[name] = kind
    return headers, types


def attributes_of(headers: Mapping[str, Json], types: Json = None) -> dict[str, dict[str, str]]:
    """Headers as message attributes, of the types that they had. Raises RecordError."""
    known = types if isinstance(types, Mapping) else {}
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if value is None:
            continue
        kind = known.get(name)
        if isinstance(kind, str) and kind.partition(".")[0] == "Binary" and isinstance(value, str):
            _check_base64(name, value)
            found[name] = {"DataType": kind, "BinaryValue": value}
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        usual = "Number" if number else "String"
        text = value if isinstance(value, str) else dumps(value)
        if text:  # an attribute has at least one character
            found[name] = {"DataType": kind if isinstance(kind, str) else usual, "StringValue": text}
    if len(found) > MOST_ATTRIBUTES:
        raise RecordError(
            f"A message of SQS has at most {MOST_ATTRIBUTES} attributes, this one has {len(found)}.",
            code="attributes",
            where="headers",
        )
    return found


def entry_of(row: Row, fifo: bool, most: int) -> dict[str, Json]:
    """The entry that sends a row. On a FIFO queue its idempotency key drops a repeat within five minutes, and
    its record key (or the key of the message that it was) is the group in which the order is kept.

    Raises RecordError for what does not fit into a message of at most `most` bytes.
    """
    content = sendable(row.value)
    try:
        body = content.content.decode()
    except UnicodeDecodeError:
        raise RecordError(
            "SQS takes texts only, and this body is none.",
            code="body",
            where="body",
            hint="Send it as base64 text.",
        ) from None
    if not body:
        raise RecordError("SQS takes no message with an empty body.", code="body", where="body")
    attributes = attributes_of(content.headers, content.native.get("header_types"))
    key = key_of(row)
    if len(attributes) < MOST_ATTRIBUTES:
        attributes.setdefault(KEY_ATTRIBUTE, {"DataType": "String", "StringValue": key})
    size = size_of(body, attributes)
    if size > most:
        raise RecordError(
            f"The message has {size:,} bytes; the queue takes up to {most:,}.",
            code="too_large",
            hint="Send fewer fields, or raise the queue's maximum message size.",
        )
    entry: dict[str, Json] = {"MessageBody": body, "MessageAttributes": attributes}
    if fifo:
        entry["MessageGroupId"] = group_of(content.key or row.key)
        entry["MessageDeduplicationId"] = key
    return entry


def key_of(row: Row) -> str:
    """What a row is known by over all attempts to send it."""
    return row.idempotency_key or digest(row.key, row.raw)


def group_of(key: str) -> str:
    """A message group for a key: itself where it is one, else its digest."""
    fits = 0 < len(key) <= _GROUP_LENGTH and key.isascii() and key.isprintable() and " " not in key
    return key if fits else digest(key)


def size_of(body: str, attributes: Mapping[str, Mapping[str, str]]) -> int:
    """Bytes of a message as SQS counts them: body, and names, types and values of the attributes."""
    size = len(body.encode())
    for name, item in attributes.items():
        size += len(name) + len(item["DataType"])
        binary = item.get("BinaryValue")
        size += len(binary) * 3 // 4 if binary is not None else len(item["StringValue"].encode())
    return size


def _check_base64(name: str, value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        raise RecordError(
            f"The header '{name}' is not {BASE64}, as its type says.", code="attributes", where="headers"
        ) from None


def _texts(value: Any) -> dict[str, str]:
    return {name: str(item) for name, item in value.items()} if isinstance(value, dict) else {}
