"""JSON Web Tokens as proof of the sender: Pub/Sub push (RS256), Jira's apps (HS256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeGuard
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from platint_tui.core.webhooks import Cause, WebhookRequest
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    Check,
    Keys,
    Refused,
    check_clock,
    counted,
    form_pairs,
    no_match,
    query_values,
    quoted,
    raw,
)
from platint_tui.drivers.http.webhooks.schemes.texts import after_prefix, has_prefix
from platint_tui.manifest.verifying import JwtScheme

MIN_RSA_BITS = 2048
_UNRESERVED = "-._~"


class JwtCheck(Check):
    """A JSON Web Token (RFC 7519) in a header or a parameter."""

    def __init__(self, scheme: JwtScheme) -> None:
        super().__init__(scheme)
        self._scheme = scheme
        self._header = scheme.header.lower()
        self._prefix = scheme.prefix
        place = f"the header {self._header}"
        if scheme.prefix:
            place += f" with {scheme.prefix.strip()}"
        if scheme.keys:
            self.hosts = (urlsplit(scheme.keys).hostname or "",)
        self.label = f"JWT ({scheme.algorithm}) in {place}"
        self.wanted = f"{place} or the parameter {scheme.query}" if scheme.query else place

    def named_by(self, call: Call) -> bool:
        return has_prefix(call, self._header, self._prefix) or bool(self._in_query(call.request))

    def addresses(self, call: Call) -> tuple[str, ...]:
        return (self._scheme.keys,) if self._scheme.keys else ()

    def key_of(self, text: str) -> Any:
        return text.encode()

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        head, claims, signature, signed = _parts(self._token(call))
        if head.get("alg") != self._scheme.algorithm or "crit" in head:
            raise Refused(
                Cause.BAD_SIGNATURE,
                f"The token is signed with {quoted(str(head.get('alg')))}; only {self._scheme.algorithm} counts.",
                "Token",
            )
        if self._scheme.keys is None:
            field = _by_secret(call, keys, signed, signature)
        else:
            self._by_key_set(call, head, signed, signature)
            field = self.required[0]
        if call.trace is not None:
            call.note("Signed text", "The token alone is signed, not the body.", None)
        self._check_times(call, claims)
        self._check_claims(call, claims, values)
        return field

    def _in_query(self, request: WebhookRequest) -> list[bytes]:
        return query_values(request.target, self._scheme.query) if self._scheme.query else []

    def _token(self, call: Call) -> str:
        given = [item.decode("ascii", "replace") for item in self._in_query(call.request)]
        if has_prefix(call, self._header, self._prefix):
            given.append(after_prefix(call, self._header, self._prefix))
        if len(given) != 1:
            raise Refused(
                Cause.MALFORMED, "The token was sent more than once; which one counts is not clear.", "Token"
            )
        return given[0]

    def _by_key_set(self, call: Call, head: Mapping[str, Any], signed: bytes, signature: bytes) -> None:
        address = self._scheme.keys or ""
        document = call.certificates(address)
        name = head.get("kid")
        key = _key_of(document, name) if document is not None and isinstance(name, str) else None
        if key is None:
            what = "could not be had" if document is None else f"has no key {quoted(str(name))}"
            raise Refused(Cause.NO_CERTIFICATE, f"The key set at {address} {what}.", "Key")
        if call.trace is not None:
            call.note("Key", f"The key {quoted(str(name))} of {address}.")
        try:
            key.verify(signature, signed, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise Refused(
                Cause.BAD_SIGNATURE,
                f"The signature of the token is not by the key {quoted(str(name))}.",
                "Token",
            ) from None
        call.note("Signature", "The token is signed with this key.")

    def _check_times(self, call: Call, claims: Mapping[str, Any]) -> None:
        until, now = claims.get("exp"), call.now
        if not _is_number(until):
            if until is not None or self._scheme.expires:
                raise Refused(Cause.MALFORMED, "The token does not say until when it is good (exp).", "Clock")
        elif now >= until:
            raise Refused(
                Cause.TOO_OLD, f"The token was good until {now - until:.0f} s ago by our clock.", "Clock"
            )
        for name in ("nbf", "iat"):
            since = claims.get(name)
            if since is None:
                continue
            if not _is_number(since):
                raise Refused(Cause.MALFORMED, f"The token's {name} is no time.", "Clock")
            if since > now:
                check_clock(call, since, self._scheme.tolerance, future=True)
        if call.trace is not None:
            text = f"It is good for another {until - now:.0f} s" if _is_number(until) else "It has no end"
            call.note("Clock", f"{text} by our clock.")

    def _check_claims(self, call: Call, claims: Mapping[str, Any], values: Mapping[str, str]) -> None:
        scheme = self._scheme
        if scheme.issuers and claims.get("iss") not in scheme.issuers:
            raise _wrong("iss", claims, f"must be {' or '.join(scheme.issuers)}")
        for name, field in scheme.claims.items():
            found = claims.get(name)
            fits = found == values[field] or (
                name == "aud" and isinstance(found, list) and values[field] in found
            )
            if not fits:
                raise _wrong(name, claims, f"is not the value of {field}")
        for name, value in scheme.fixed.items():
            if type(claims.get(name)) is not type(value) or claims.get(name) != value:
                raise _wrong(name, claims, f"must be {json.dumps(value)}")
        if scheme.qsh:
            made = query_hash(call.request)
            found = claims.get("qsh")
            if not isinstance(found, str) or not hmac.compare_digest(raw(found), made.encode()):
                raise _wrong("qsh", claims, "is not the hash of this method, path and query")
        if call.trace is not None:
            names = [*(["iss"] if scheme.issuers else []), *scheme.claims, *scheme.fixed]
            names += ["qsh"] if scheme.qsh else []
            call.note(
                "Claims", f"These are as they must be: {', '.join(names)}." if names else "None is checked."
            )


def _wrong(name: str, claims: Mapping[str, Any], must: str) -> Refused:
    found = quoted(str(claims[name])) if name in claims else "missing"
    return Refused(Cause.BAD_TOKEN, f"The token's {name} is {found}; it {must}.", "Claims")


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < 1e15


def _by_secret(call: Call, keys: Keys, signed: bytes, signature: bytes) -> str:
    for field, key in keys:
        fits = hmac.compare_digest(hmac.digest(key, signed, "sha256"), signature)
        if call.trace is not None:
            call.note("Signature", f"Checked with {field}.", fits)
        if fits:
            return field
    raise no_match(keys, "token's signature")


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes, bytes]:
    """Header, claims, signature and the bytes that are signed. Raises Refused."""
    parts = token.split(".")
    data = [_decoded(part) for part in parts]
    if len(parts) != 3 or any(item is None for item in data):
        raise Refused(Cause.MALFORMED, f"A text of {counted(len(token), 'character')} is no JWT.", "Token")
    documents = []
    for item in data[:2]:
        try:
            document = json.loads(item or b"")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Refused(Cause.MALFORMED, "The token has no JSON objects in it.", "Token")
        documents.append(document)
    return documents[0], documents[1], data[2] or b"", f"{parts[0]}.{parts[1]}".encode()


def _decoded(text: str) -> bytes | None:
    """The bytes of base64url without padding (RFC 7515, 2) in its one form; None for everything else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text else None


@lru_cache(maxsize=64)
def _key_of(document: bytes, name: str) -> rsa.RSAPublicKey | None:
    """The RSA key of this id in a JWK set (RFC 7517), None when there is none that can be used."""
    try:
        keys = json.loads(document)["keys"]
        found = [
            item for item in keys if item.get("kid") == name and item.get("kty") == "RSA"
            and item.get("use", "sig") == "sig" and item.get("alg", "RS256") == "RS256"
        ]  # fmt: skip
        numbers = [int.from_bytes(_decoded(found[0][part]) or b"") for part in ("e", "n")]
        key = rsa.RSAPublicNumbers(*numbers).public_key()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    return key if key.key_size >= MIN_RSA_BITS else None


def query_hash(request: WebhookRequest) -> str:
    """`qsh` of a request: SHA-256 of method, path and sorted query without `jwt`
    (https://developer.atlassian.com/cloud/bitbucket/query-string-hash).
    """
    path, _, query = request.target.partition("?")
    path = (path.removesuffix("/") or "/").replace("&", "%26")
    named: dict[str, list[str]] = {}
    for name, value in form_pairs(raw(query.partition("#")[0])):
        if name != b"jwt":
            named.setdefault(quote(name, safe=_UNRESERVED), []).append(quote(value, safe=_UNRESERVED))
    pairs = "&".join(f"{name}={','.join(sorted(named[name]))}" for name in sorted(named))
    return hashlib.sha256(raw(f"{request.method.upper()}&{path}&{pairs}")).hexdigest()
