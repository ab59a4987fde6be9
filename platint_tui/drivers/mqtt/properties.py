"""Numbers, texts and properties as MQTT writes them (MQTT 5.0, 1.5 and 2.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    1: ("payload_format", "byte"),
    2: ("message_expiry", "four"),
    3: ("content_type", "text"),
    8: ("response_topic", "text"),
    9: ("correlation_data", "bytes"),
    11: ("subscription_id", "variable"),
    17: ("session_expiry", "four"),
    18: ("assigned_client_id", "text"),
    19: ("server_keep_alive", "two"),
    21: ("authentication_method", "text"),
    22: ("authentication_data", "bytes"),
    23: ("request_problem", "byte"),
    24: ("will_delay", "four"),
    25: ("request_response", "byte"),
    26: ("response_information", "text"),
    28: ("server_reference", "text"),
    31: ("reason", "text"),
    33: ("receive_maximum", "two"),
    34: ("topic_alias_maximum", "two"),
    35: ("topic_alias", "two"),
    36: ("maximum_qos", "byte"),
    37: ("retain_available", "byte"),
    38: ("user", "pair"),
    39: ("maximum_packet_size", "four"),
    40: ("wildcard_available", "byte"),
    41: ("subscription_ids_available", "byte"),
    42: ("shared_available", "byte"),
}
_NUMBERS = {name: (number, form) for number, (name, form) in _NAMES.items()}
_SIZES = {"byte": 1, "two": 2, "four": 4}
LONGEST_TEXT = 65_535
_LARGEST = 268_435_455

Properties = Mapping[str, Any]
"""Properties by name. `user` is a tuple of (name, value); the others are numbers, texts or bytes."""


class Malformed(ValueError):
    """What came, or is to be sent, is no MQTT."""


def variable(number: int) -> bytes:
    """A variable byte integer. Raises Malformed when it is too large for one."""
    if not 0 <= number <= _LARGEST:
        raise Malformed("it is too large for a packet of MQTT")
    found = bytearray()
    while True:
        number, digit = divmod(number, 128)
        found.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(found)


def binary(data: bytes) -> bytes:
    """Bytes with their length before them."""
    if len(data) > LONGEST_TEXT:
        raise Malformed(f"a text in it has more than {LONGEST_TEXT:,} bytes")
    return len(data).to_bytes(2, "big") + data


def text(value: str) -> bytes:
    """A text with its length before it. Raises Malformed for one that MQTT has no form for."""
    if "\0" in value:
        raise Malformed("a text in it holds a null character")
    try:
        return binary(value.encode())
    except UnicodeEncodeError:
        raise Malformed("a text in it holds half of a surrogate pair") from None


def packed(properties: Properties) -> bytes:
    """Properties as a packet holds them. Raises Malformed."""
    found = bytearray()
    for name, value in properties.items():
        number, form = _NUMBERS[name]
        if form == "pair":
            for key, item in value:
                found += bytes([number]) + text(key) + text(item)
            continue
        found.append(number)
        if form == "text":
            found += text(value)
        elif form == "bytes":
            found += binary(value)
        elif form == "variable":
            found += variable(value)
        else:
            found += int(value).to_bytes(_SIZES[form], "big")
    return variable(len(found)) + bytes(found)


class Cursor:
    """Reads the parts of a packet one after the other; each step raises Malformed when they are not there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self._at + count
        if end > len(self._data):
            raise Malformed("a packet ends too early")
        found = self._data[self._at : end]
        self._at = end
        return found

    def number(self, count: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(count), "big")

    def variable(self) -> int:
        """A variable byte integer."""
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.take(1)[0]
            value |= (digit & 0x7F) << shift
            if not digit & 0x80:
                return value
        raise Malformed("a number has more than four bytes")

    def binary(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.number(2))

    def text(self) -> str:
        """A text."""
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise Malformed("a text is no UTF-8") from None

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._at)

    def properties(self) -> dict[str, Any]:
        """Properties; the last one counts when one is there twice, but for user properties."""
        inner = Cursor(self.take(self.variable()))
        found: dict[str, Any] = {}
        user: list[tuple[str, str]] = []
        while inner.more:
            name, form = _NAMES.get(inner.variable(), ("", ""))
            if form == "pair":
                user.append((inner.text(), inner.text()))
            elif form == "text":
                found[name] = inner.text()
            elif form == "bytes":
                found[name] = inner.binary()
            elif form == "variable":
                found[name] = inner.variable()
            elif form:
                found[name] = inner.number(_SIZES[form])
            else:
                raise Malformed("it has a property that MQTT 5 does not know")
        if user:
            found["user"] = tuple(user)
        return found
