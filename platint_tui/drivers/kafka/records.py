"""From the messages of a topic to records, all of one shape.

    {"id": "orders/0/17", "key": "ada", "body": {...}, "headers": {"trace": "x"},
     "topic": "orders", "partition": 0, "offset": 17, "timestamp": "2026-01-02T03:04:05.678+00:00"}

`body` is as in the records of every broker (see `drivers.messages`); a value with a NUL in it, as Avro and Protobuf
behind a schema registry have it, is base64 too. Keys and header values that are no text are base64, a key
with `"key_encoding": "base64"`, a header value as `{"base64": "..."}`; a header that occurs several times has
a list. A message without a value has a null body and `"tombstone": true`; where the records are identified by
the message key it is a deletion of that key.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any, Protocol

from platint_tui.core.errors import RecordError, SystemicError
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import BadElement, Json, Op, Record
from platint_tui.drivers.messages import BASE64, decoded

Headers = Sequence[tuple[str, bytes | None]]

_CONTENT_TYPES = frozenset({"content-type", "contenttype"})


class Message(Protocol):
    """A message as the client library has it: raw bytes, and the timestamp in epoch milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def deletes_by_key(key: Sequence[str]) -> bool:
    """Whether records with these key fields are identified by the message key, so that a tombstone deletes one."""
    return "key" in key and set(key) <= {"key", "topic"}


class Decoder:
    """Makes records of the messages of one topic.

    `deletes`: a message without a value deletes its key. Values of more than `largest` bytes are no records.
    """

    def __init__(self, topic: str, *, deletes: bool, largest: int) -> None:
        self._topic = topic
        self._text = encode_basestring(topic)[1:-1]
        self._deletes = deletes
        self._largest = largest
        self._second = -1
        self._stamp = ""

    def decode(self, partition: int, message: Message) -> Record | BadElement:
        """The record of one message, or why it is none, with what can be shown of it."""
        offset, value, headers = message.offset, message.value, message.headers
        bad = tail = ""
        body: Json
        if value is None:
            body, text, tail = None, "null", ',"tombstone":true'
        elif len(value) > self._largest:
            body, text = None, "null"
            bad = (
                f"its value has {len(value):,} bytes, more than the {self._largest:,} that are taken; "
                "it stays in the topic until its retention has passed"
            )
        else:
            body, text, tail, bad = _body(value, headers)
        key: str | None = None
        key_text = "null"
        if message.key is not None:
            key, encoded = text_of(message.key)
            key_text = encode_basestring(key)
            if encoded:
                tail += ',"key_encoding":"base64"'
        shown = shown_headers(headers) if headers else {}
        heads = _object_text(shown) if headers else "{}"
        stamp = self._moment(message.timestamp)
        place = f"{self._text}/{partition}/{offset}"
        raw = (
            f'{{"id":"{place}","key":{key_text},"body":{text},"headers":{heads},'
            f'"topic":"{self._text}","partition":{partition},"offset":{offset},'
            f'"timestamp":{"null" if stamp is None else chr(34) + stamp + chr(34)}{tail}}}'
        )
        if bad:
            return BadElement(raw, bad)
        record: dict[str, Any] = {
            "id": f"{self._topic}/{partition}/{offset}",
            "key": key,
            "body": body,
            "headers": shown,
            "topic": self._topic,
            "partition": partition,
            "offset": offset,
            "timestamp": stamp,
        }
        if tail:
            record |= loads("{" + tail[1:] + "}")
        if value is None and self._deletes and key is not None:
            return Record(raw, record, Op.DELETE)
        return Record(raw, record)

    def _moment(self, milliseconds: int) -> str | None:
        """An ISO 8601 text, None where there is no timestamp, or none that a calendar knows."""
        if milliseconds < 0:
            return None
        second, rest = divmod(milliseconds, 1000)
        if second != self._second:
            # Messages of one second come together: most of the text is made once.
            try:
                self._stamp = datetime.fromtimestamp(second, UTC).isoformat()[:19]
            except (ValueError, OverflowError, OSError):
                return None
            self._second = second
        return f"{self._stamp}.{rest:03d}+00:00"


def broken_batch(topic: str, partition: int, first: int, after: int, data: bytes, why: str) -> BadElement:
    """Messages `first` to before `after`, whose batch cannot be taken apart: kept as the bytes that they are."""
    shown = {"id": f"{topic}/{partition}/{first}", "topic": topic, "partition": partition, "offset": first}
    raw = dumps({**shown, "before": after, "batch": base64.b64encode(data).decode()})
    return BadElement(raw, f"the messages {first} to {after - 1} cannot be taken apart: {why}")


def _body(value: bytes, headers: Headers) -> tuple[Json, str, str, str]:
    """The decoded body, its JSON text, further members of the record, and why it is refused ("" when it is not)."""
    if b"\0" in value:
        shown = {"body": base64.b64encode(value).decode(), "encoding": BASE64}
    else:
        if value[:1] in (b"{", b"["):
            # The usual case: the text of the message is the text of the body.
            try:
                text = value.decode()
                return loads(text), text, "", ""
            except (UnicodeDecodeError, SystemicError):
                pass
        try:
            shown = decoded(value, _media(headers))
        except RecordError as error:
            text = encode_basestring(value.decode())
            return None, text, "", error.message[:1].lower() + error.message[1:].rstrip(".")
    return shown["body"], dumps(shown["body"]), ',"encoding":"base64"' if "encoding" in shown else "", ""


def _media(headers: Headers) -> str:
    """What a header says that the content is, "" where none does."""
    for name, value in headers:
        if name.lower() in _CONTENT_TYPES and value:
            return value.decode("utf-8", "replace").strip('"')
    return ""


def text_of(data: bytes) -> tuple[str, bool]:
    """The text, or base64 (True) for what is none: no UTF-8, or with a NUL as binary formats have it."""
    if b"\0" not in data:
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode(), True


def shown_headers(headers: Headers) -> dict[str, Any]:
    """Headers as the records show them."""
    shown: dict[str, Any] = {}
    lists: set[str] = set()
    for name, data in headers:
        value: Any = None
        if data is not None:
            text, encoded = text_of(data)
            value = {"base64": text} if encoded else text
        if name not in shown:
            shown[name] = value
        elif name in lists:
            shown[name].append(value)
        else:
            shown[name] = [shown[name], value]
            lists.add(name)
    return shown


def _object_text(shown: dict[str, Any]) -> str:
    """Headers as JSON; most of them are texts, for which no encoder needs to be set up."""
    if all(type(value) is str for value in shown.values()):
        pairs = [f"{encode_basestring(name)}:{encode_basestring(value)}" for name, value in shown.items()]
        return "{" + ",".join(pairs) + "}"
    return dumps(shown)


def header_bytes(value: Any) -> list[bytes | None]:
    """The header values that a record shows as `value`: the way back."""
    if value is None:
        return [None]
    if isinstance(value, list):
        return [data for item in value for data in header_bytes(item)]
    if isinstance(value, dict) and set(value) == {"base64"}:
        return [base64.b64decode(str(value["base64"]))]
    return [(value if isinstance(value, str) else dumps(value)).encode("utf-8", "surrogatepass")]
