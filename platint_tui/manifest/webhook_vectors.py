"""Recorded webhook requests, the offline tests of what a manifest says of them. A file of `_vectors/<platform>/`:

secrets: {webhook_secret: whsec_offline_test}
now: 2026-01-01T12:00:00Z                         # our clock, against which timestamps are checked
request:
  headers: {Content-Type: application/json, …}    # as the platform sends them, signature included
  body: '{"id": "evt_1", …}'                      # the exact text, or `base64:` of the bytes
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from platint_tui.core.webhooks import WebhookRequest
from platint_tui.manifest.problems import FileError
from platint_tui.manifest.yamltext import Document, parse, read_document

if TYPE_CHECKING:
    from platint_tui.manifest.schema import TestCase


@dataclass(frozen=True, slots=True)
class HookVector:
    """A request with what is needed to look at it. `now_ms` is our clock in epoch milliseconds, `certificates` what
    is found at an address, `authorities` those that certificates must lead to (PEM, empty: the usual ones).
    """

    name: str
    request: WebhookRequest
    profile: Mapping[str, str]
    secrets: Mapping[str, str]
    now_ms: int
    certificates: Mapping[str, bytes]
    authorities: bytes


def load_hook(path: Path, name: str | None = None) -> HookVector:
    """Read the file of one request. Raises ConfigError with one line for each problem."""
    return hook_from(read_document(path, name))


def load_hook_text(text: str, name: str = "<text>") -> HookVector:
    """Check the text of one. Raises ConfigError like `load_hook`."""
    return hook_from(parse(text, name))


def hook_of(test: TestCase, folder: Path) -> HookVector:
    """The request that a webhook test names in `folder`. Raises ConfigError."""
    return load_hook(folder / (test.exchange or ""), f"{folder.name}/{test.exchange}")


def hook_from(document: Document) -> HookVector:
    """Check a parsed request. Raises ConfigError like `load_hook`."""
    from pydantic import ValidationError

    from platint_tui.manifest.describe import from_validation
    from platint_tui.manifest.vector_schema import HookFile

    raw = document.data
    if not isinstance(raw, Mapping):
        raise FileError(
            document.name, [document.problem((), "a webhook request is a map of keys; this is not")]
        )
    try:
        file = HookFile.model_validate(raw)
    except ValidationError as error:
        raise FileError(document.name, from_validation(document, raw, HookFile, error)) from None
    asked = file.request
    if asked.body is not None and asked.base64 is not None:
        text = "has both body and base64; one is enough"
        raise FileError(document.name, [document.problem(("request",), text)])
    try:
        body = base64.b64decode(asked.base64, validate=True) if asked.base64 else (asked.body or "").encode()
    except binascii.Error:
        raise FileError(document.name, [document.problem(("request", "base64"), "is not base64")]) from None
    return HookVector(
        document.name,
        WebhookRequest(
            asked.method,
            asked.target,
            tuple((name.lower(), value) for name, value in asked.headers.items()),
            body,
            file.origin + asked.target,
        ),
        {name: str(value) for name, value in file.profile.items()},
        file.secrets,
        round(datetime.fromisoformat(file.now).timestamp() * 1000),
        {url: text.encode() for url, text in file.certificates.items()},
        file.authorities.encode(),
    )
