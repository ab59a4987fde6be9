"""Values on their way into columns and back: JSON as text, and text that any database can hold."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from platint_tui.core import jsontext
from platint_tui.core.model import Json

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
IN_CHUNK = 500
"""How many values one `IN (...)` takes: below the parameter limit of every SQLite."""


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def dump(value: Json) -> str:
    """JSON text of `value`; half surrogate pairs are escaped, so that it is always valid UTF-8."""
    text = jsontext.dumps(value)
    return text if text.isascii() else _SURROGATE.sub(_escape, text)


def dump_optional(value: Json) -> str | None:
    """JSON text, or NULL for None."""
    return None if value is None else dump(value)


def _number(text: str) -> float | Decimal:
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else Decimal(text)


_decode: Callable[[str], Any] = json.JSONDecoder(parse_float=_number).decode


def load(text: str) -> Any:
    """The value of JSON text that `dump` wrote; long decimals keep their digits."""
    return _decode(text)


def load_optional(text: str | None) -> Any:
    """The value, None for NULL."""
    return None if text is None else load(text)


def text(value: str) -> str:
    """`value` as a text column holds it: NUL and half surrogate pairs become visible escapes."""
    if value.isascii() and "\x00" not in value:
        return value
    return _UNSTORABLE.sub(_escape, value)


def row_hash(*parts: bytes | str) -> str:
    """Digest of a row's contents, to notice a flipped bit: SQLite has no checksum for a page."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()


def marks(values: Iterable[Any]) -> str:
    """`?,?,?` for an `IN (...)`."""
    return ",".join("?" for _ in values)


def chunks(values: list[Any], size: int = IN_CHUNK) -> Iterable[list[Any]]:
    """`values` in lists of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def contains(value: str) -> str:
    r"""A LIKE pattern (with ESCAPE '\') for texts that contain `value` as it stands."""
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{text(escaped)}%"


class Fields(Protocol):
    """A row: one that SQLite gave, or one of `at_once`."""

    def __getitem__(self, name: str, /) -> Any: ...


def at_once(
    connection: sqlite3.Connection, names: Sequence[str], select: str, values: Sequence[Any]
) -> list[dict[str, Any]]:
    """The rows of a query (whose columns are called `names`, none a blob), put together by SQLite into one.

    Each row that is fetched alone hands Python's lock to another thread and has to get it back: where the other
    thread is busy, that takes longer than everything else.
    """
    row = connection.execute(
        f"SELECT json_group_array(json_array({', '.join(names)})) FROM ({select})",  # noqa: S608 - names of columns
        values,
    ).fetchone()
    return [dict(zip(names, item, strict=True)) for item in json.loads(row[0])]
