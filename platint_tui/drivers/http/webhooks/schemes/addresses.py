"""Signatures over the address that was called: Twilio and HubSpot."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from platint_tui.core.webhooks import Cause, WebhookRequest
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    Check,
    Keys,
    Refused,
    check_clock,
    form_pairs,
    no_match,
    query_values,
    quoted,
    raw,
    seconds_of,
    started,
)
from platint_tui.drivers.http.webhooks.schemes.hashes import matches, tell_signed
from platint_tui.drivers.http.webhooks.views import is_form
from platint_tui.manifest.verifying import HubspotScheme, TwilioScheme

_TWILIO = "x-twilio-signature"
_TWILIO_SETTINGS = "x-twilio-webhooks-signature-settings"
_TWILIO_HASHES = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_ADDRESS = re.compile(r"(https?)://([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_PORT = re.compile(r":\d*$")
_DEFAULT_PORTS = {"https": "443", "http": "80"}


class TwilioCheck(Check):
    """Twilio's signature (https://www.twilio.com/docs/usage/webhooks/webhooks-security): over the address and the
    sorted form, or, for another body, over an address with its SHA-256.
    """

    label = "Twilio's HMAC over the address and the form"
    wanted = f"the header {_TWILIO}"

    def __init__(self, scheme: TwilioScheme) -> None:
        super().__init__(scheme)

    def named_by(self, call: Call) -> bool:
        return _TWILIO in call.headers

    def key_of(self, text: str) -> Any:
        key = text.encode()
        return {name: hmac.new(key, digestmod=kind) for name, kind in _TWILIO_HASHES.items()}

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        found = call.one(_TWILIO)
        kind = _hash_of(call)
        if call.trace is not None:
            call.note("Header", f"{_TWILIO} begins with {started(found)}; the hash is {kind}.")
        form = _form_of(call)
        addresses = _with_and_without_port(call.request.url)
        if call.trace is not None:
            what = "the address and the sorted form" if form else "the address alone"
            tell_signed(call, f"{what} (also tried: {quoted(addresses[-1])})", [raw(addresses[0]), form])
        for field, bases in keys:
            for address in addresses:
                digest = bases[kind].copy()
                digest.update(raw(address) + form)
                if matches(call, field, base64.b64encode(digest.digest()).decode(), [found]):
                    return field
        raise no_match(keys)


def _hash_of(call: Call) -> str:
    """The algorithm, which a header names where it is not the usual one (keys that are shared for it)."""
    if _TWILIO_SETTINGS not in call.headers:
        return "HMAC_SHA1"
    for part in call.one(_TWILIO_SETTINGS).split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            kind = value.strip().upper()
            if kind not in _TWILIO_HASHES:
                raise Refused(
                    Cause.MALFORMED, f"The algorithm {quoted(kind)} of {_TWILIO_SETTINGS} is unknown."
                )
            return kind
    return "HMAC_SHA1"


def _form_of(call: Call) -> bytes:
    """What follows the address in the signed text. Raises Refused for a body that the signature does not cover."""
    request = call.request
    content_type = call.one("content-type") if "content-type" in call.headers else ""
    if request.method != "GET" and is_form(content_type):
        pairs = sorted(set(form_pairs(request.body)))
        if pairs:
            return b"".join(name + value for name, value in pairs)
    hashes = query_values(request.url, "bodySHA256")
    if not hashes and not request.body:
        return b""
    if len(hashes) != 1:
        raise Refused(
            Cause.MALFORMED,
            "The body is no form, and the address has no bodySHA256 that says its hash: it is not signed.",
            "Signed text",
        )
    made = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(made.encode(), hashes[0]):
        raise Refused(
            Cause.BAD_SIGNATURE, "The body does not have the hash bodySHA256 of the address.", "Signed text"
        )
    return b""


def _with_and_without_port(url: str) -> Sequence[str]:
    """The address as it is without its port, and with it (the usual one where it has none): Twilio does both."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return (url,)
    scheme, authority, rest = match.groups()
    bare = _PORT.sub("", authority)
    full = authority if bare != authority else f"{authority}:{_DEFAULT_PORTS[scheme.lower()]}"
    return f"{scheme}://{bare}{rest}", f"{scheme}://{full}{rest}"


_HUBSPOT, _HUBSPOT_V3 = "x-hubspot-signature", "x-hubspot-signature-v3"
_HUBSPOT_TIME, _HUBSPOT_VERSION = "x-hubspot-request-timestamp", "x-hubspot-signature-version"
_HUBSPOT_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$",
    "%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ENCODED = re.compile("|".join(_HUBSPOT_DECODED))


class HubspotCheck(Check):
    """HubSpot's signatures (https://developers.hubspot.com/docs/api/webhooks/validating-requests): version 3 is a
    keyed hash with a timestamp, 1 and 2 are hashes of a text that begins with the secret.
    """

    def __init__(self, scheme: HubspotScheme) -> None:
        super().__init__(scheme)
        self._versions = scheme.versions
        self._tolerance = scheme.tolerance
        self.label = f"HubSpot's signature, version {' or '.join(map(str, scheme.versions))}"
        self.wanted = f"the header {_HUBSPOT_V3 if 3 in scheme.versions else _HUBSPOT}"

    def named_by(self, call: Call) -> bool:
        if 3 in self._versions and _HUBSPOT_V3 in call.headers:
            return True
        return self._versions != (3,) and _HUBSPOT in call.headers

    def key_of(self, text: str) -> Any:
        key = text.encode()
        return hmac.new(key, digestmod="sha256"), hashlib.sha256(key)

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        if 3 in self._versions and _HUBSPOT_V3 in call.headers:
            return self._third(call, keys)
        found, version = call.one(_HUBSPOT), call.one(_HUBSPOT_VERSION)
        if version not in {f"v{number}" for number in self._versions if number != 3}:
            raise Refused(Cause.MALFORMED, f"The version {quoted(version)} of the signature is not accepted.")
        request = call.request
        pieces = [request.body]
        if version == "v2":
            pieces = [raw(request.method), raw(request.url), request.body]
        if call.trace is not None:
            call.note("Header", f"{_HUBSPOT} ({version}) begins with {started(found)}.")
            tell_signed(call, "after the secret the method, address and body" if version == "v2"
                        else "after the secret the body", pieces)  # fmt: skip
        for field, (_, base) in keys:
            digest = base.copy()
            for piece in pieces:
                digest.update(piece)
            if matches(call, field, digest.hexdigest(), [found]):
                return field
        raise no_match(keys)

    def _third(self, call: Call, keys: Keys) -> str:
        found, timestamp = call.one(_HUBSPOT_V3), call.one(_HUBSPOT_TIME)
        seconds = seconds_of(timestamp, "ms", _HUBSPOT_TIME)
        pieces = _third_pieces(call.request, timestamp)
        if call.trace is not None:
            call.note("Header", f"{_HUBSPOT_V3} begins with {started(found)}.")
            tell_signed(call, "the method, address, body and timestamp", pieces)
        for field, (base, _) in keys:
            digest = base.copy()
            for piece in pieces:
                digest.update(piece)
            if matches(call, field, base64.b64encode(digest.digest()).decode(), [found]):
                check_clock(call, seconds, self._tolerance, future=False)
                return field
        raise no_match(keys)


def _third_pieces(request: WebhookRequest, timestamp: str) -> list[bytes]:
    url = _ENCODED.sub(lambda match: _HUBSPOT_DECODED[match.group()], request.url)
    return [raw(request.method), raw(url), request.body, raw(timestamp)]
