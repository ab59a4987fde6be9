"""Masks secrets by value in any text that is stored, shown or printed."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

MASK = "•••"
SENSITIVE_NAME = re.compile(
    r"authorization|cookie|token|secret|password|passwd|api[-_]?key|signature|credential|private", re.I
)


class Redactor:
    """Knows the secrets of this process and replaces them, plain or encoded, by a mask."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Register a secret. Values under 6 characters are not searched for: they would mask ordinary text."""
        if len(value) < 6 or value in self._values:
            return
        raw = value.encode()
        percent = quote(value, safe="")
        encoded = {value, percent, percent.lower(), quote_plus(value), raw.hex()}
        encoded |= {base64.b64encode(raw).decode().rstrip("=")}
        # As a JSON text shows it: a platform that echoes it writes its quotes and umlauts in another way.
        encoded |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
        self._values |= encoded
        ordered = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(item) for item in ordered))

    def redact(self, text: str) -> str:
        """`text` with every registered secret masked."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def holds_secret(self, text: str) -> bool:
        """Whether `text` contains a registered secret."""
        return bool(self._pattern and self._pattern.search(text))


REDACTOR = Redactor()


def mask_headers(headers: dict[str, str]) -> dict[str, str]:
    """Headers that may be stored: values of sensitive names masked, the others redacted by value."""
    return {
        name: MASK if SENSITIVE_NAME.search(name) else REDACTOR.redact(value)
        for name, value in headers.items()
    }
