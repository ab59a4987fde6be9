"""Signatures that a public key of the profile checks: Ed25519 (Discord) and ECDSA (SendGrid)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from platint_tui.core.webhooks import Cause
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    Check,
    Keys,
    Refused,
    exact_base64,
    exact_hex,
    no_match,
    started,
)
from platint_tui.drivers.http.webhooks.schemes.hashes import Signed, ed25519_fits
from platint_tui.manifest.verifying import EcdsaScheme, Ed25519Scheme


class Ed25519Check(Check):
    """An Ed25519 signature in a header."""

    def __init__(self, scheme: Ed25519Scheme) -> None:
        super().__init__(scheme)
        self._header = scheme.header.lower()
        self._encoding = scheme.encoding
        self._key = scheme.key
        self._signed = Signed(scheme)
        self.label = f"Ed25519 in {self._header}"
        self.wanted = f"the header {self._header}"

    def named_by(self, call: Call) -> bool:
        return self._header in call.headers

    def key_of(self, text: str) -> Any:
        data = exact_hex(text.strip().lower()) if self._key == "hex" else exact_base64(text.strip())
        if data is None or len(data) != 32:
            raise ValueError(f"a public key of 32 bytes in {self._key}")
        return Ed25519PublicKey.from_public_bytes(data)

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        text = call.one(self._header)
        signature = exact_hex(text) if self._encoding == "hex" else exact_base64(text)
        if signature is None or len(signature) != 64:
            form = "lower-case hex" if self._encoding == "hex" else "base64"
            raise Refused(
                Cause.MALFORMED, f"The header {self._header} is no signature of 64 bytes in {form}."
            )
        if call.trace is not None:
            call.note("Header", f"{self._header} has a signature of 64 bytes: {started(text)}.")
        pieces, seconds = self._signed.pieces(call, None)
        whole = b"".join(pieces)
        for field, key in keys:
            fits = ed25519_fits(key, signature, whole)
            if call.trace is not None:
                call.note("Signature", f"Checked with the public key of {field}.", fits)
            if fits:
                self._signed.check_clock(call, seconds)
                return field
        raise no_match(keys)


class EcdsaCheck(Check):
    """An ECDSA signature (P-256, SHA-256, DER) in base64 in a header."""

    def __init__(self, scheme: EcdsaScheme) -> None:
        super().__init__(scheme)
        self._header = scheme.header.lower()
        self._signed = Signed(scheme)
        self.label = f"ECDSA in {self._header}"
        self.wanted = f"the header {self._header}"

    def named_by(self, call: Call) -> bool:
        return self._header in call.headers

    def key_of(self, text: str) -> Any:
        try:
            if "-----BEGIN" in text:
                key = load_pem_public_key(text.strip().replace("\\n", "\n").encode())
            else:
                key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("a public key on P-256, as base64 of its SPKI or as PEM")
        return key

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        text = call.one(self._header)
        signature = exact_base64(text)
        if signature is None:
            raise Refused(Cause.MALFORMED, f"The header {self._header} is not base64.")
        if call.trace is not None:
            call.note("Header", f"{self._header} has a signature of {len(signature)} bytes: {started(text)}.")
        pieces, seconds = self._signed.pieces(call, None)
        whole = b"".join(pieces)
        for field, key in keys:
            fits = _fits(key, signature, whole)
            if call.trace is not None:
                call.note("Signature", f"Checked with the public key of {field}.", fits)
            if fits:
                self._signed.check_clock(call, seconds)
                return field
        raise no_match(keys)


def _fits(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
