"""Secrets that are documents: private keys and certificates in PEM, key files in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.signin import choices

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, FormField

KEY = "key"
CERTIFICATE = "certificate"
JSON = "json"

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----(.*?)-----END \1-----", re.DOTALL)
_ENDS = {
    KEY: re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----"),
    CERTIFICATE: re.compile(r"-----END CERTIFICATE-----"),
}


def document_fields(connector: Connector) -> Mapping[str, str]:
    """The profile fields that hold a document, by what it is: KEY, CERTIFICATE or JSON.

    The manifest says it by the assertions of its ways to sign in: `key`, `certificate` and `bundle`.
    """
    auths = [connector.auth, *(item.auth for item in connector.transport.endpoints.values() if item.auth)]
    found: dict[str, str] = {}
    for auth in (way for several in auths for way in choices(several)):
        assertion = getattr(auth, "assertion", None)
        if assertion is None:
            continue
        if assertion.bundle:
            found[assertion.bundle] = JSON
        elif assertion.alg != "HS256":
            found[assertion.key] = KEY
        if assertion.certificate:
            found[assertion.certificate] = CERTIFICATE
    return found


def is_whole(kind: str, text: str) -> bool:
    """Whether a text that comes line by line has come to its end. What does not begin like a document of this
    kind is a text of one line, which `check_document` judges.
    """
    if kind == JSON:
        if not text.lstrip().startswith("{"):
            return bool(text.strip())
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True
    if not text.lstrip().startswith("-----BEGIN"):
        return bool(text.strip())
    return _ENDS[kind].search(text) is not None


def normal_document(kind: str, text: str) -> str:
    """A document as programs write it: a PEM that lost its line ends on the way (pasted into a field of one
    line, or `\\n` written out as in JSON and variables) has them again.
    """
    text = text.strip()
    if kind == JSON:
        return text
    if "-----BEGIN" in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    return _BLOCK.sub(_wrapped, text)


def _wrapped(block: re.Match[str]) -> str:
    label, body = block.groups()
    if ":" in body:  # the headers of an encrypted key of the old form
        return block.group()
    data = "".join(body.split())
    lines = [data[at : at + 64] for at in range(0, len(data), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


def check_document(field: FormField, kind: str, text: str) -> None:
    """Raise ConfigError naming the field when a document is not what the field is for; no part of it is
    repeated.
    """
    problem = {KEY: _key, CERTIFICATE: _certificate, JSON: _json}[kind](text)
    if problem:
        raise ConfigError(f"{field.title} {problem[0]}", hint=problem[1], where=field.id)


def _key(text: str) -> tuple[str, str] | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    whole = "Give the whole file as PEM, from its BEGIN PRIVATE KEY line to its END line."
    if "PRIVATE KEY-----" not in text:
        return "is no private key.", whole
    try:
        load_pem_private_key(text.encode(), None)
    except TypeError:
        return "is protected by a passphrase.", "Take the passphrase off: openssl pkey -in FILE -out NEW."
    except (ValueError, UnsupportedAlgorithm):
        return "cannot be read as a private key.", whole
    return None


def _certificate(text: str) -> tuple[str, str] | None:
    from cryptography import x509

    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return "is no certificate.", "Give it as PEM, from its BEGIN CERTIFICATE line to its END line."
    return None


def _json(text: str) -> tuple[str, str] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return "is not the JSON document of a key file.", "Give the whole content of the file."
    return None
