"""What reason codes and network errors mean for the operator. The names are those of MQTT 5.0, 2.4; the manifest's
rules name them too. Return codes of MQTT 3.1.1 (3.2.2.3) are told by the names that they have in version 5."""

from __future__ import annotations

import ssl

from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.judged import by_rules
from platint_tui.drivers.mqtt.packets import Answer
from platint_tui.drivers.mqtt.profile import Address
from platint_tui.drivers.mqtt.properties import Malformed

NAMES = {
    0x10: "NO_MATCHING_SUBSCRIBERS",
    0x80: "UNSPECIFIED_ERROR",
    0x81: "MALFORMED_PACKET",
    0x82: "PROTOCOL_ERROR",
    0x83: "IMPLEMENTATION_SPECIFIC_ERROR",
    0x84: "UNSUPPORTED_PROTOCOL_VERSION",
    0x85: "CLIENT_IDENTIFIER_NOT_VALID",
    0x86: "BAD_USER_NAME_OR_PASSWORD",
    0x87: "NOT_AUTHORIZED",
    0x88: "SERVER_UNAVAILABLE",
    0x89: "SERVER_BUSY",
    0x8A: "BANNED",
    0x8B: "SERVER_SHUTTING_DOWN",
    0x8C: "BAD_AUTHENTICATION_METHOD",
    0x8D: "KEEP_ALIVE_TIMEOUT",
    0x8E: "SESSION_TAKEN_OVER",
    0x8F: "TOPIC_FILTER_INVALID",
    0x90: "TOPIC_NAME_INVALID",
    0x93: "RECEIVE_MAXIMUM_EXCEEDED",
    0x94: "TOPIC_ALIAS_INVALID",
    0x95: "PACKET_TOO_LARGE",
    0x96: "MESSAGE_RATE_TOO_HIGH",
    0x97: "QUOTA_EXCEEDED",
    0x98: "ADMINISTRATIVE_ACTION",
    0x99: "PAYLOAD_FORMAT_INVALID",
    0x9A: "RETAIN_NOT_SUPPORTED",
    0x9B: "QOS_NOT_SUPPORTED",
    0x9C: "USE_ANOTHER_SERVER",
    0x9D: "SERVER_MOVED",
    0x9E: "SHARED_SUBSCRIPTIONS_NOT_SUPPORTED",
    0x9F: "CONNECTION_RATE_EXCEEDED",
    0xA0: "MAXIMUM_CONNECT_TIME",
    0xA2: "WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED",
}
FAILED = 0x80
"""Reason codes from here on are refusals."""
_RETURN_CODES = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_PASSING = {0x88, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9F, 0xA0}
_SIGN_IN = {0x86, 0x87, 0x8A, 0x8C}
_HINTS = {
    0x84: "Set the profile's version to 3.1.1.",
    0x85: "Shorten the profile's client_prefix, or use letters and digits only.",
    0x8E: "Another program reads with this client identifier: a second installation needs another client_prefix in "
    "its profile.",
    0x95: "The broker takes only smaller packets (max_packet_size).",
    0x9E: "Read the topic filter without $share.",
    0xA2: "Name the topics without # and +.",
}

FAILURES = (OSError, EOFError, TimeoutError, Malformed, WebSocketException)
"""What sending and receiving may end with."""


def name_of(code: int) -> str:
    """The name of a reason code."""
    return NAMES.get(code, f"0x{code:02X}")


def words(answer: Answer) -> str:
    """What a broker says of its reason code: its own words where it has some."""
    said = one_line(REDACTOR.redact(str(answer.properties.get("reason", "")))).rstrip(".")
    plain = name_of(answer.code).replace("_", " ").lower()
    return f"{plain} ({said})" if said else plain


def refused_connection(answer: Answer, address: Address) -> PlatintError:
    """A CONNACK that refuses."""
    code = answer.code
    if code in _RETURN_CODES:
        code = _RETURN_CODES[code]
        answer = Answer(answer.kind, 0, (code,))
    if code in _SIGN_IN:
        user = f" of '{clean(address.user)}'" if address.user else " without a user"
        error: PlatintError = CredentialError(
            f"The broker refuses the sign-in{user}: {words(answer)}.",
            where=address.where,
            hint="Check user and password of the profile.",
            code=name_of(code),
        )
        return by_rules(error, address.connector, name_of(code))
    return refused(answer, address, "The broker refuses the connection")


def refused(answer: Answer, address: Address, what: str) -> PlatintError:
    """A refusal with a reason code, of anything but the sign-in; `what` begins the sentence."""
    code = answer.code
    hint = _HINTS.get(code, "")
    if code in (0x9C, 0x9D) and (server := answer.properties.get("server_reference")):
        hint = f"It names {one_line(server)}: put that into the profile."
    kind = TransientError if code in _PASSING else ConfigError
    error = kind(f"{what}: {words(answer)}.", where=address.where, hint=hint, code=name_of(code))
    return by_rules(error, address.connector, name_of(code))


def of_wire(error: BaseException, address: Address) -> PlatintError:
    """An error of the network, of TLS, or of what came: nothing that the broker said itself."""
    where = address.where
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"The broker's certificate is not trusted: {error.verify_message}.",
            where=where,
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if isinstance(error, ssl.SSLError):
        return ConfigError(
            "The broker does not speak TLS on this port.",
            where=where,
            hint="Give the port of its TLS listener (8883 by default), or set the profile's tls to disable.",
            code="tls",
        )
    if isinstance(error, InvalidStatus):
        return _of_status(error.response.status_code, where)
    if isinstance(error, InvalidHandshake):
        return ConfigError(
            "There is no WebSocket for MQTT at this address.",
            where=where,
            hint="Check port and path of the profile.",
            code="handshake",
        )
    if isinstance(error, TimeoutError):
        return TransientError("The broker did not answer in time.", where=where, code="timeout")
    if isinstance(error, Malformed):
        return TransientError(
            f"What came from the broker is not MQTT: {error}.",
            where=where,
            hint="Check host, port, transport and version of the profile.",
            code="protocol",
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "the connection is closed"
    return TransientError(
        f"The broker cannot be reached: {clean(str(reason))}.",
        where=where,
        hint="Check host, port and TLS of the profile, and that the broker runs.",
        code="unreachable",
    )


def _of_status(status: int, where: str) -> PlatintError:
    if status in (401, 403):
        return CredentialError(
            f"The WebSocket is refused with status {status}.",
            where=where,
            hint="Check user and password of the profile, and what stands before the broker.",
            code="NOT_AUTHORIZED",
        )
    kind = TransientError if status >= 500 or status == 429 else ConfigError
    return kind(
        f"The WebSocket is refused with status {status}.",
        where=where,
        hint="Check port and path of the profile.",
        code="handshake",
    )
