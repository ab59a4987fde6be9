"""Messages of Service Bus as records, rows as messages, and dead letters with everything that must be sent again.

The library gives a long and an int as the same number, and a time in a property as its milliseconds: what is sent
again has the numbers, and their smallest type.

Source: Microsoft, "Messages, payloads, and serialization".
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus._pyamqp.utils import amqp_long_value
from azure.servicebus.amqp import (
    AmqpAnnotatedMessage,
    AmqpMessageBodyType,
    AmqpMessageProperties,
)

from platint_tui.core.errors import RecordError, SystemicError
from platint_tui.core.ids import digest
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, NativeLetter, Record, Row
from platint_tui.drivers.messages import as_record, decoded, iso, sendable

COUNT = "delivery_count"
"""The field for how often a message was delivered before, in the record only where it is asked for: it differs
from one delivery to the next."""
LONGEST_ID = 128
_DEAD_PROPERTIES = ("DeadLetterReason", "DeadLetterErrorDescription")
_NATIVE = ("subject", "correlation_id", "to", "reply_to", "content_type", "session_id", "partition_key")
"""Properties of a message that are members of its record under the same names."""
_INT32, _INT64 = 2**31, 2**63


def record_of(
    message: ServiceBusReceivedMessage, place: Mapping[str, Json], counted: bool
) -> Record | BadElement:
    """A received message as a record. `place` says where it came from; with `counted` it has its delivery
    count."""
    media = str(message.content_type or "")
    enqueued = enqueued_ms(message)
    value: dict[str, Json] = {"id": id_of(message)}
    trouble = ""
    content, structured = content_of(message)
    try:
        value |= {"body": structured} if structured is not None else decoded(content, media)
    except RecordError as error:
        value |= {"body": content.decode("utf-8", "replace")}
        trouble = error.message
    value |= {
        "headers": {name: plain(item) for name, item in sorted(properties_of(message).items())},
        "key": message.session_id or message.partition_key,
        **place,
        "timestamp": iso(enqueued) if enqueued is not None else None,
        "sequence_number": message.sequence_number,
    }
    value |= {name: plain(getattr(message, name)) for name in _NATIVE}
    if counted:
        value[COUNT] = message.delivery_count
    made = as_record(value)
    return BadElement(made.raw, trouble) if trouble else made


def id_of(message: ServiceBusReceivedMessage) -> str:
    """The sender's message id, else the number that the entity gave the message."""
    told = message.message_id
    if told is None or told == "":
        return str(message.sequence_number)
    return str(plain(told))


def enqueued_ms(message: ServiceBusReceivedMessage) -> int | None:
    """When the message arrived at the entity, epoch milliseconds."""
    when = message.enqueued_time_utc
    return int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000) if when is not None else None


def content_of(message: ServiceBusReceivedMessage) -> tuple[bytes, Json]:
    """The bytes of a body; for one that is an AMQP value or sequence also that as JSON, None otherwise."""
    if message.body_type is AmqpMessageBodyType.DATA:
        return b"".join(bytes(part) for part in message.body or ()), None
    body = message.body
    shown = plain(body if message.body_type is AmqpMessageBodyType.VALUE else list(body))
    if isinstance(shown, str):
        return shown.encode("utf-8", "surrogatepass"), shown
    return dumps(shown).encode(), shown


def properties_of(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    """Application properties by name, without those that dead-lettering added."""
    found = message.application_properties or {}
    named = {name.decode() if isinstance(name, bytes) else str(name): item for name, item in found.items()}
    return {name: item for name, item in named.items() if name not in _DEAD_PROPERTIES}


def plain(value: Any) -> Json:
    """A value of AMQP as JSON: times as ISO 8601, bytes as text where they are some, else as base64."""
    if value is None or isinstance(value, bool | int | float | str | Decimal):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return base64.b64encode(raw).decode()
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(plain(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def message_of(row: Row, sessions: bool) -> ServiceBusMessage:
    """What a row is sent as. Its idempotency key is the message id, by which an entity with duplicate detection
    drops a repeat. With `sessions` its record key (or the key of the message that it was) is the session.

    Raises RecordError.
    """
    content = sendable(row.value)
    native = content.native
    message = ServiceBusMessage(
        content.content,
        application_properties={
            name: sent(item) for name, item in content.headers.items() if item is not None
        },
        message_id=key_of(row),
        content_type=_text(native.get("content_type")) or content.media or None,
        session_id=session_of(content.key or row.key) if sessions else None,
    )
    for name in ("subject", "correlation_id", "to", "reply_to"):
        told = _text(native.get(name))
        if told:
            setattr(message, name, told)
    return message


def key_of(row: Row) -> str:
    """What a row is known by over all attempts to send it."""
    key = row.idempotency_key or digest(row.key, row.raw)
    return key if len(key) <= LONGEST_ID else digest(key)


def session_of(key: str) -> str:
    """A session for a key: itself where it is short enough, else its digest."""
    return key if 0 < len(key) <= LONGEST_ID else digest(key)


def sent(value: Json) -> Any:
    """A header as an application property: what AMQP has no simple type for is sent as JSON text."""
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        # The library takes a plain number for one of 32 bits.
        small = -_INT32 <= value < _INT32
        return value if small else amqp_long_value(value)  # type: ignore[no-untyped-call]  # it has no types
    return dumps(value)


# --- dead letters -----------------------------------------------------------------------------------------


def letter_of(message: ServiceBusReceivedMessage, queue: str, origin: str) -> NativeLetter:
    """A dead letter with what must be sent with it."""
    content, structured = content_of(message)
    reason = str(message.dead_letter_reason or "")
    told = str(message.dead_letter_error_description or "")
    properties: dict[str, Json] = {
        "message_id": plain(message.message_id),
        "properties": {name: typed(item) for name, item in properties_of(message).items()},
        "enqueued_ms": enqueued_ms(message),
    }
    properties |= {name: plain(getattr(message, name)) for name in _NATIVE}
    if message.body_type is not AmqpMessageBodyType.DATA:
        properties["body"] = "text" if isinstance(structured, str) else message.body_type.name.lower()
    return NativeLetter(
        id=str(message.sequence_number),
        queue=queue,
        origin=origin,
        reason=": ".join(part for part in (reason, told) if part) or "It does not say why.",
        payload=content,
        properties=properties,
        code=reason or "dead_lettered",
        deliveries=message.delivery_count,
    )


def returned(letter: NativeLetter, message_id: str) -> ServiceBusMessage | AmqpAnnotatedMessage:
    """A dead letter as it is sent again, its body perhaps edited. Raises RecordError."""
    told = letter.properties
    known = told.get("properties")
    headers = {name: untyped(item) for name, item in known.items()} if isinstance(known, Mapping) else {}
    native = {name: _text(told.get(name)) or None for name in _NATIVE}
    form = told.get("body")
    if form is None:
        message = ServiceBusMessage(letter.payload, application_properties=headers, message_id=message_id)
        for name, value in native.items():
            if value is not None:
                setattr(message, name, value)
        return message
    body = _structured(letter.payload, form)
    properties = AmqpMessageProperties(
        message_id=message_id,
        subject=native["subject"],
        correlation_id=native["correlation_id"],
        to=native["to"],
        reply_to=native["reply_to"],
        content_type=native["content_type"],
        group_id=native["session_id"],
    )
    if form == "sequence":
        return AmqpAnnotatedMessage(sequence_body=body, application_properties=headers, properties=properties)
    return AmqpAnnotatedMessage(value_body=body, application_properties=headers, properties=properties)


def _structured(payload: bytes, form: Json) -> Any:
    if form == "text":
        return payload.decode("utf-8", "replace")
    try:
        value = loads(payload)
    except SystemicError as error:
        raise RecordError(
            f"The body was a value of AMQP and must stay JSON: {error.message}", code="body"
        ) from None
    if form == "sequence" and not isinstance(value, list):
        raise RecordError("The body was a list and must stay one.", code="body")
    return value


def typed(value: Any) -> Json:
    """An application property as JSON from which its type can be had back."""
    if isinstance(value, bytes | bytearray):
        return {"type": "bytes", "value": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return {"type": "time", "value": value.replace(tzinfo=value.tzinfo or UTC).isoformat()}
    if isinstance(value, uuid.UUID):
        return {"type": "uuid", "value": str(value)}
    return plain(value)


def untyped(value: Json) -> Any:
    """The application property that `typed` made a JSON value of."""
    if not isinstance(value, Mapping):
        return sent(value) if value is not None else None
    kind, text = value.get("type"), str(value.get("value"))
    if kind == "bytes":
        return base64.b64decode(text)
    if kind == "time":
        return datetime.fromisoformat(text)
    return uuid.UUID(text) if kind == "uuid" else text


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
