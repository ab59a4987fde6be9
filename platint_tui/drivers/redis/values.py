"""How what Redis holds is said in JSON, and back. Redis knows bytes only; most of them are UTF-8 text.

Bytes that are none become `{"base64": "…"}`. Where JSON wants a name (a key, a field of a hash or entry) they
become the text `base64:…`, and the record says `"encoding": "base64"`. Text that is a JSON object or list is
decoded where a record is made of it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from platint_tui.core.errors import PlatintError, RecordError
from platint_tui.core.jsontext import dumps, loads

_PREFIX = "base64:"


def text(data: bytes) -> str | dict[str, str]:
    """A value: its text, or an object with its base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def name(data: bytes) -> tuple[str, bool]:
    """A name, and whether it is in base64 because it is no text."""
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        return _PREFIX + base64.b64encode(data).decode(), True


def document(data: bytes) -> Any:
    """The object or list that a text holds as JSON; the text itself when it holds none that can be kept exactly."""
    if data[:1] in (b"{", b"["):
        try:
            # As deep as it will stand in a record: one that is too deep there stays text.
            [[[value]]] = loads(b"[[[" + data + b"]]]")
        except (PlatintError, ValueError):
            return text(data)
        if not _is_marker(value):
            return value
    return text(data)


def number(data: bytes) -> int | float | str:
    """A score of a sorted set; infinities are texts, because JSON has no number for them."""
    shown = data.decode()
    value = float(shown)
    if math.isinf(value):
        return shown
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def decoded(kind: str, reply: Any) -> tuple[Any, str] | None:
    """The value of a key of this type, and how it is encoded ("", "json", "base64"); None when it is gone."""
    if not reply:
        return ("", "") if reply == b"" else None
    if kind in ("string", "json"):
        value = document(reply)
        return value, "" if isinstance(value, str) or _is_marker(value) else "json"
    if kind == "hash":
        return _named(sorted(_couples(reply)), plain=True)
    if kind == "zset":
        return [{"member": text(member), "score": number(score)} for member, score in _couples(reply)], ""
    return [text(item) for item in (sorted(reply) if kind == "set" else reply)], ""


def entry_body(flat: Sequence[bytes], *, plain: bool = False) -> tuple[Any, str]:
    """The fields of an entry of a stream as an object, and how it is encoded.

    Texts that are JSON objects or lists are decoded, unless `plain`. An entry that names a field twice is a
    list of [name, value].
    """
    return _named(_couples(flat), plain=plain)


def _couples(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _named(couples: Sequence[tuple[bytes, bytes]], *, plain: bool) -> tuple[Any, str]:
    value = text if plain else document
    names = [name(item) for item, _ in couples]
    listed = [(shown, value(data)) for (shown, _), (_, data) in zip(names, couples, strict=True)]
    encoding = "base64" if any(binary for _, binary in names) else ""
    as_object = dict(listed)
    return (as_object if len(as_object) == len(listed) else [list(item) for item in listed]), encoding


def entry_fields(body: Any, encoding: str) -> list[bytes]:
    """What XADD is given for a body as `entry_body` (plain) makes it, perhaps edited.

    Raises RecordError when it is neither an object nor a list of [name, value], or is empty.
    """
    items = list(body.items()) if isinstance(body, Mapping) else body
    if not isinstance(items, list) or not items or not all(_is_couple(item) for item in items):
        raise RecordError(
            "An entry of a stream is an object with at least one field, or a list of [name, value].",
            code="not_an_entry",
        )
    flat: list[bytes] = []
    for shown, value in items:
        coded = encoding == "base64" and shown.startswith(_PREFIX)
        flat += (_unpacked(shown[len(_PREFIX) :]) if coded else encoded(shown), encoded(value))
    return flat


def encoded(value: Any) -> bytes:
    """A value as Redis keeps it: texts as they are, `{"base64": …}` as its bytes, all else as JSON text.

    Raises RecordError for what neither UTF-8 nor JSON can hold.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise RecordError(
                "A text holds half of a surrogate pair, which is no character.", code="invalid_text"
            ) from None
    if _is_marker(value):
        return _unpacked(value["base64"])
    return encoded(dumps(value))


def _unpacked(shown: str) -> bytes:
    try:
        return base64.b64decode(shown, validate=True)
    except (binascii.Error, ValueError):
        raise RecordError("A text that is to be base64 is none.", code="base64") from None


def _is_marker(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("base64"), str)


def _is_couple(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)
