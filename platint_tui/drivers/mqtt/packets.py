"""Control packets of MQTT 3.1.1 and 5.0 (the OASIS standards, chapter 3 of each) as bytes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from platint_tui.drivers.mqtt.properties import (
    Cursor,
    Malformed,
    Properties,
    binary,
    packed,
    text,
    variable,
)

V311 = 4
V5 = 5
CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 8, 9, 10, 11, 12, 13, 14, 15
_ACKNOWLEDGEMENTS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
_ALWAYS_FLAGGED = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}


@dataclass(frozen=True, slots=True)
class Message:
    """An application message. `packet` is its packet identifier, 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    dup: bool = False
    packet: int = 0
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Any other packet of a broker: `codes` are its reason codes, `session` is that of CONNACK."""

    kind: int
    packet: int = 0
    codes: tuple[int, ...] = ()
    session: bool = False
    properties: Properties = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The (first) reason code; 0 without one, which is success."""
        return self.codes[0] if self.codes else 0


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client signs in; `keep_alive` in seconds."""

    client_id: str
    user: str = ""
    password: str | None = None
    clean: bool = True
    keep_alive: int = 30


def framed(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A packet: its fixed header and its body. Raises Malformed when it is too large."""
    return bytes([kind << 4 | (flags or _ALWAYS_FLAGGED.get(kind, 0))]) + variable(len(body)) + body


def connect(version: int, who: Credentials, properties: Properties) -> bytes:
    """CONNECT; `properties` count in version 5 only."""
    flags = (0x02 if who.clean else 0) | (0x80 if who.user else 0) | (0x40 if who.password is not None else 0)
    head = text("MQTT") + bytes([version, flags]) + who.keep_alive.to_bytes(2, "big")
    tail = text(who.client_id)
    if who.user:
        tail += text(who.user)
    if who.password is not None:
        tail += binary(who.password.encode())
    return framed(CONNECT, head + (packed(properties) if version == V5 else b"") + tail)


def publish(version: int, message: Message) -> bytes:
    """PUBLISH. Raises Malformed for what has no form in MQTT."""
    flags = (8 if message.dup else 0) | message.qos << 1 | int(message.retain)
    head = text(message.topic) + (message.packet.to_bytes(2, "big") if message.qos else b"")
    own = packed(message.properties) if version == V5 else b""
    return framed(PUBLISH, head + own + message.payload, flags)


def acknowledgement(kind: int, packet: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP that says success, in the form that both versions share."""
    return framed(kind, packet.to_bytes(2, "big"))


def subscribe(version: int, packet: int, topic: str, qos: int, retained: int) -> bytes:
    """SUBSCRIBE to one filter. `retained` (version 5) says when retained messages come: 0 now, 1 if there was
    no such subscription before, 2 never."""
    options = qos | (retained << 4 if version == V5 else 0)
    own = packed({}) if version == V5 else b""
    return framed(SUBSCRIBE, packet.to_bytes(2, "big") + own + text(topic) + bytes([options]))


def disconnect() -> bytes:
    """DISCONNECT that says nothing more than that."""
    return framed(DISCONNECT, b"")


def ping() -> bytes:
    """PINGREQ."""
    return framed(PINGREQ, b"")


def decoded(version: int, first: int, body: bytes) -> Message | Answer:
    """A packet of a broker by the first byte of its header. Raises Malformed."""
    kind, flags = first >> 4, first & 0x0F
    cursor = Cursor(body)
    if kind == PUBLISH:
        return _message(version, flags, cursor)
    if kind == CONNACK:
        session, code = cursor.number(1), cursor.number(1)
        return Answer(kind, 0, (code,), bool(session & 1), _properties(version, cursor))
    if kind in _ACKNOWLEDGEMENTS:
        packet = cursor.number(2)
        codes = (cursor.number(1),) if cursor.more else ()
        return Answer(kind, packet, codes, False, _properties(version, cursor))
    if kind in (SUBACK, UNSUBACK):
        packet = cursor.number(2)
        own = _properties(version, cursor)
        return Answer(kind, packet, tuple(cursor.rest()), False, own)
    if kind == PINGRESP:
        return Answer(kind)
    if kind == DISCONNECT:
        codes = (cursor.number(1),) if cursor.more else ()
        return Answer(kind, 0, codes, False, _properties(version, cursor))
    raise Malformed("a broker sends no such packet")


def _properties(version: int, cursor: Cursor) -> Mapping[str, Any]:
    return cursor.properties() if version == V5 and cursor.more else {}


def _message(version: int, flags: int, cursor: Cursor) -> Message:
    qos = flags >> 1 & 3
    if qos == 3:
        raise Malformed("there is no QoS 3")
    topic = cursor.text()
    packet = cursor.number(2) if qos else 0
    if qos and not packet:
        raise Malformed("a packet identifier is 0")
    properties = cursor.properties() if version == V5 else {}
    return Message(topic, cursor.rest(), qos, bool(flags & 1), bool(flags & 8), packet, properties)
