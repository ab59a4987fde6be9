"""Keyed hashes: what most platforms sign with, and Standard Webhooks, which add public keys to it."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from platint_tui.core.webhooks import Cause
from platint_tui.drivers.http.webhooks.schemes.base import (
    MAX_SIGNATURES,
    Call,
    Check,
    Keys,
    Refused,
    check_clock,
    counted,
    exact_base64,
    no_match,
    quoted,
    raw,
    seconds_of,
    started,
)
from platint_tui.manifest.verifying import (
    EcdsaScheme,
    Ed25519Scheme,
    HmacScheme,
    StandardWebhooksScheme,
)

_PLACE = re.compile(r"\{(body|timestamp|id|method|url)\}")


class Signed:
    """The bytes that are signed, and the clock: what the schemes over a template share."""

    def __init__(self, scheme: HmacScheme | Ed25519Scheme | EcdsaScheme, pair: str | None = None) -> None:
        """`pair` is the name of the timestamp where the signature's header has it."""
        self._parts = [
            part if place else part.encode() for place, part in enumerate_places(scheme.signed) if part
        ]
        self._template = scheme.signed
        self._timestamp = scheme.timestamp.lower() if scheme.timestamp else None
        self._where = self._timestamp or pair or ""
        self._unit = scheme.timestamp_unit
        self._id = scheme.id.lower() if scheme.id else None
        self._tolerance = scheme.tolerance
        self._future = scheme.future

    def pieces(self, call: Call, timestamp: str | None) -> tuple[list[bytes], float | None]:
        """What is signed in its parts, and the timestamp in seconds where there is a window. Raises Refused.

        `timestamp` is the one of the signature's header, None where it has a header of its own.
        """
        request = call.request
        if self._timestamp is not None:
            timestamp = call.one(self._timestamp)
        seconds = None
        if self._tolerance is not None and timestamp is not None:
            seconds = seconds_of(timestamp, self._unit, self._where)
        result = []
        for part in self._parts:
            if type(part) is bytes:
                result.append(part)
            elif part == "body":
                result.append(request.body)
            elif part == "timestamp":
                result.append(raw(timestamp or ""))
            elif part == "id":
                result.append(raw(call.one(self._id or "")))
            else:
                result.append(raw(request.method if part == "method" else request.url))
        if call.trace is not None:
            tell_signed(call, self._template, result)
        return result, seconds

    def check_clock(self, call: Call, seconds: float | None) -> None:
        """Whether the request is of now. Raises Refused."""
        if seconds is not None and self._tolerance is not None:
            check_clock(call, seconds, self._tolerance, self._future)
        elif call.trace is not None:
            call.note("Clock", "The age of a request is not limited by this scheme.", None)


def enumerate_places(template: str) -> list[tuple[bool, str]]:
    """The parts of a template: texts (False) and names of places (True), by turns."""
    return [(number % 2 == 1, part) for number, part in enumerate(_PLACE.split(template))]


def tell_signed(call: Call, what: str, pieces: list[bytes]) -> None:
    """The step that says which bytes are signed; never with a secret among `pieces`."""
    whole = b"".join(pieces)
    text = f"Signed is {what}: {counted(len(whole), 'byte')}, of the body {len(call.request.body)}"
    call.note("Signed text", f"{text}, beginning with {quoted(whole)}.", None)


class HmacCheck(Check):
    """A keyed hash over a template, in a header."""

    def __init__(self, scheme: HmacScheme) -> None:
        super().__init__(scheme)
        self._scheme = scheme
        self._header = scheme.header.lower()
        self._hex = scheme.encoding == "hex"
        self._prefix = scheme.prefix or ""
        self._signed = Signed(scheme, f"{self._header} ({scheme.pairs.get('timestamp')}=)")
        self.label = f"HMAC-{scheme.algorithm.upper()} in {self._header}"
        self.wanted = f"the header {self._header}"

    def named_by(self, call: Call) -> bool:
        return self._header in call.headers

    def key_of(self, text: str) -> Any:
        return hmac.new(key_bytes(text, self._scheme.key), digestmod=self._scheme.algorithm)

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        timestamp, found = self._read(call.one(self._header))
        if call.trace is not None:
            text = f"{self._header} has {counted(len(found), 'signature')}"
            call.note("Header", f"{text}: {', '.join(started(item) for item in found)}.")
        pieces, seconds = self._signed.pieces(call, timestamp)
        for field, base in keys:
            digest = base.copy()
            for piece in pieces:
                digest.update(piece)
            made = digest.hexdigest() if self._hex else base64.b64encode(digest.digest()).decode()
            if matches(call, field, made, found):
                self._signed.check_clock(call, seconds)
                return field
        raise no_match(keys)

    def _read(self, header: str) -> tuple[str | None, list[str]]:
        """The timestamp where the header has it, and the signatures. Raises Refused."""
        form = self._scheme.format
        if form == "plain":
            return None, [header]
        timestamp = None
        if form == "prefixed":
            found = [header[len(self._prefix) :]] if header.startswith(self._prefix) else []
        elif form == "list":
            found = [item[len(self._prefix) :] for item in header.split(" ") if item.startswith(self._prefix)]
        else:
            timestamp, found = self._pairs(header)
        if not found or len(found) > MAX_SIGNATURES:
            name = self._prefix or f"{self._scheme.pairs['signature']}="
            what = f"{len(found)} signatures" if found else "no signature"
            raise Refused(Cause.MALFORMED, f"The header {self._header} has {what} {name}….")
        return timestamp, found

    def _pairs(self, header: str) -> tuple[str | None, list[str]]:
        pairs = self._scheme.pairs
        name = pairs.get("timestamp")
        times, found = [], []
        for item in header.split(","):
            key, _, value = item.partition("=")
            if key == name:
                times.append(value)
            elif key == pairs["signature"]:
                found.append(value)
        if name is None:
            return None, found
        if len(times) != 1:
            what = "no" if not times else "more than one"
            raise Refused(Cause.MALFORMED, f"The header {self._header} has {what} timestamp {name}=….")
        return times[0], found


def matches(call: Call, field: str, made: str, found: list[str]) -> bool:
    """Whether one of the found digests is the made one, character by character, in constant time."""
    hit = False
    for item in found:
        hit |= item.isascii() and hmac.compare_digest(item, made)
    if call.trace is not None:
        call.note("Signature", f"With {field} it would begin with {started(made)}.", hit)
    return hit


def key_bytes(text: str, form: str) -> bytes:
    """The key that a secret's text stands for. Raises ValueError with what it must be."""
    if form == "text":
        return text.encode()
    try:
        if form == "hex":
            key = bytes.fromhex(text)
        else:
            text = text.removeprefix("whsec_") if form == "whsec" else text
            # Some keys are handed out without the padding.
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        raise ValueError("hex" if form == "hex" else "base64, after whsec_" if form == "whsec" else "base64")
    return key


class StandardWebhooksCheck(Check):
    """Standard Webhooks (https://www.standardwebhooks.com), also under the names of Svix."""

    def __init__(self, scheme: StandardWebhooksScheme) -> None:
        super().__init__(scheme)
        self._names = scheme.names
        self._tolerance = scheme.tolerance
        self.label = "Standard Webhooks"
        self.wanted = " or ".join(f"the header {name}-signature" for name in scheme.names)

    def named_by(self, call: Call) -> bool:
        return any(f"{name}-signature" in call.headers for name in self._names)

    def key_of(self, text: str) -> Any:
        if text.startswith("whpk_"):
            data = exact_base64(text.removeprefix("whpk_"))
            if data is None or len(data) != 32:
                raise ValueError("a public key of 32 bytes in base64, after whpk_")
            return Ed25519PublicKey.from_public_bytes(data)
        return hmac.new(key_bytes(text, "whsec"), digestmod="sha256")

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        name = next(name for name in self._names if f"{name}-signature" in call.headers)
        header = call.one(f"{name}-signature")
        identity, timestamp = call.one(f"{name}-id"), call.one(f"{name}-timestamp")
        seconds = seconds_of(timestamp, "s", f"{name}-timestamp")
        public = [item for item in keys if isinstance(item[1], Ed25519PublicKey)]
        version = "v1a" if public else "v1"
        found = [item[len(version) + 1 :] for item in header.split(" ") if item.startswith(f"{version},")]
        if not found or len(found) > MAX_SIGNATURES:
            what = f"{len(found)} signatures" if found else "no signature"
            raise Refused(Cause.MALFORMED, f"The header {name}-signature has {what} {version},….")
        pieces = [raw(identity), b".", raw(timestamp), b".", call.request.body]
        if call.trace is not None:
            call.note("Header", f"{name}-signature has {counted(len(found), 'signature')} {version}.")
            tell_signed(call, "{id}.{timestamp}.{body}", pieces)
        whole = b"".join(pieces)
        for field, key in public or keys:
            if public:
                fits = _by_public_key(call, field, key, found, whole)
            else:
                digest = key.copy()
                digest.update(whole)
                fits = matches(call, field, base64.b64encode(digest.digest()).decode(), found)
            if fits:
                check_clock(call, seconds, self._tolerance, future=True)
                return field
        raise no_match(public or keys)


def _by_public_key(call: Call, field: str, key: Ed25519PublicKey, found: list[str], whole: bytes) -> bool:
    fits = any(ed25519_fits(key, exact_base64(item), whole) for item in found)
    if call.trace is not None:
        call.note("Signature", f"Checked with the public key of {field}.", fits)
    return fits


def ed25519_fits(key: Ed25519PublicKey, signature: bytes | None, data: bytes) -> bool:
    """Whether a signature is good by RFC 8032: 64 bytes, S below the order of the group."""
    if signature is None or len(signature) != 64:
        return False
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
