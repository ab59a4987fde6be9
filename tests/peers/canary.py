"""Looks for a secret in files, in every form in which it may have leaked."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> set[bytes]:
    """The secret plain, hex, base64 at its three alignments, url-encoded, in UTF-16 and reversed."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), quote(secret, safe="").encode(), secret.encode("utf-16-le"), raw[::-1]}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        # The characters at both ends depend on the neighbours; the ones between do not.
        found.add(encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6])
    return found


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        try:
            yield gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return


def leaks(secret: str, places: Iterable[Path]) -> list[Path]:
    """Files under `places` that hold `secret` in any form."""
    wanted = forms(secret)
    files = (file for place in places for file in ([place] if place.is_file() else place.rglob("*")))
    return [
        file
        for file in files
        if file.is_file() and any(form in data for data in _contents(file) for form in wanted)
    ]
