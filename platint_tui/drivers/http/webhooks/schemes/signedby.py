"""Signatures that a certificate checks, whose address the request names: PayPal and Amazon SNS."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from platint_tui.core.webhooks import Cause
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    Check,
    Keys,
    Refused,
    exact_base64,
    no_match,
    quoted,
    raw,
    same_address,
    started,
)
from platint_tui.drivers.http.webhooks.schemes.chains import BadCertificate, key_of, trusted
from platint_tui.drivers.http.webhooks.schemes.hashes import tell_signed
from platint_tui.manifest.verifying import RsaCertScheme, SnsScheme

MAX_ADDRESS = 1000


def allowed(url: str, hosts: Sequence[str]) -> bool:
    """Whether an address may be asked for: https, one of the hosts, the usual port, no user name, no fragment."""
    if len(url) > MAX_ADDRESS or not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = "@" not in parts.netloc and "#" not in url and port in (None, 443)
    return parts.scheme == "https" and plain and any(same_address(host, item) for item in hosts)


def _fetched(call: Call, address: str) -> bytes:
    data = call.certificates(address)
    if data is None:
        raise Refused(
            Cause.NO_CERTIFICATE, f"The certificate at {quoted(address)} could not be had.", "Certificate"
        )
    return data


def _bad(address: str, error: BadCertificate) -> Refused:
    return Refused(
        Cause.BAD_CERTIFICATE, f"The certificate at {quoted(address)} is not trusted: {error}.", "Certificate"
    )


def _fits(key: rsa.RSAPublicKey, signature: bytes, data: bytes, algorithm: HashAlgorithm) -> bool:
    try:
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


_SIGNATURE, _CERTIFICATE = "paypal-transmission-sig", "paypal-cert-url"
_ID, _TIME, _ALGORITHM = "paypal-transmission-id", "paypal-transmission-time", "paypal-auth-algo"


class RsaCertCheck(Check):
    """PayPal's signature over `id|time|webhook id|crc32`
    (https://developer.paypal.com/api/rest/webhooks/rest/#verify-webhook-signature).
    """

    label = "RSA-SHA256 by PayPal's certificate"
    wanted = f"the header {_SIGNATURE}"

    def __init__(self, scheme: RsaCertScheme) -> None:
        super().__init__(scheme)
        self.hosts, self.issuers = scheme.hosts, scheme.issuers
        self._common_name = scheme.common_name

    def named_by(self, call: Call) -> bool:
        return _SIGNATURE in call.headers

    def key_of(self, text: str) -> Any:
        return text.strip().encode()

    def addresses(self, call: Call) -> tuple[str, ...]:
        url = call.headers.get(_CERTIFICATE, "")
        return (url,) if _CERTIFICATE not in call.repeated and allowed(url, self.hosts) else ()

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        text = call.one(_SIGNATURE)
        identity, time = call.one(_ID), call.one(_TIME)
        algorithm, address = call.one(_ALGORITHM), call.one(_CERTIFICATE)
        signature = exact_base64(text)
        if signature is None:
            raise Refused(Cause.MALFORMED, f"The header {_SIGNATURE} is not base64.")
        if algorithm != "SHA256withRSA":
            raise Refused(
                Cause.MALFORMED, f"The algorithm is {quoted(algorithm)}; only SHA256withRSA counts."
            )
        if call.trace is not None:
            call.note("Header", f"{_SIGNATURE} has a signature of {len(signature)} bytes: {started(text)}.")
        if not allowed(address, self.hosts):
            raise Refused(
                Cause.BAD_CERTIFICATE,
                f"The certificate would be at {quoted(address)}; it is taken from {', '.join(self.hosts)} only.",
                "Certificate",
            )
        try:
            key = trusted(_fetched(call, address), self._common_name, call.now, call.authorities).key
        except BadCertificate as error:
            raise _bad(address, error) from None
        call.note("Certificate", f"The certificate at {quoted(address)} is trusted.")
        checksum = str(zlib.crc32(call.request.body)).encode()
        for field, webhook_id in keys:
            signed = b"|".join((raw(identity), raw(time), webhook_id, checksum))
            fits = _fits(key, signature, signed, SHA256())
            if call.trace is not None:
                tell_signed(call, "id|time|webhook id|CRC-32 of the body", [signed])
                call.note("Signature", f"With the webhook id in {field}.", fits)
            if fits:
                return field
        raise no_match(keys)


_SNS_HEADER, _SNS_RAW = "x-amz-sns-message-type", "x-amz-sns-rawdelivery"
_SNS_HOSTS = ("sns.*.amazonaws.com", "sns.*.amazonaws.com.cn")
_SNS_HOST = re.compile(r"sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(?:\.cn)?")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_SNS_HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - what version 1 is


class SnsCheck(Check):
    """A message of Amazon SNS (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html). As in
    Amazon's own libraries the certificate is trusted for the host that it comes from.
    """

    label = "RSA signature of Amazon SNS"
    wanted = "a signed message of Amazon SNS (with raw delivery there is no signature)"
    hosts = _SNS_HOSTS

    def __init__(self, scheme: SnsScheme) -> None:
        super().__init__(scheme)

    def named_by(self, call: Call) -> bool:
        if call.headers.get(_SNS_RAW, "").lower() == "true":
            return False
        return _SNS_HEADER in call.headers or b'"SigningCertU' in call.request.body

    def key_of(self, text: str) -> Any:
        topics = frozenset(text.replace(",", " ").split())
        if not topics:
            raise ValueError("the ARN of a topic")
        return topics

    def addresses(self, call: Call) -> tuple[str, ...]:
        try:
            address = _text(_message(call), "SigningCertURL", "SigningCertUrl")
        except Refused:
            return ()
        return (address,) if _is_sns(address) else ()

    def matching(self, call: Call, keys: Keys, values: Mapping[str, str]) -> str:
        message = _message(call)
        kind, topic = _text(message, "Type"), _text(message, "TopicArn")
        names = _SIGNED.get(kind)
        if names is None or (_SNS_HEADER in call.headers and call.one(_SNS_HEADER) != kind):
            raise Refused(Cause.MALFORMED, f"A message of type {quoted(kind)} is none of SNS.", "Body")
        field = next((field for field, topics in keys if topic in topics), None)
        if field is None:
            fields = " or ".join(item for item, _ in keys)
            raise Refused(Cause.WRONG_TOPIC, f"The topic {quoted(topic)} is not one of {fields}.", "Topic")
        if call.trace is not None:
            call.note("Topic", f"The topic {quoted(topic)} is in {field}.")
        algorithm = _SNS_HASHES.get(_text(message, "SignatureVersion"))
        signature = exact_base64(_text(message, "Signature"))
        if algorithm is None or signature is None:
            raise Refused(Cause.MALFORMED, "The body has no signature of version 1 or 2 in base64.", "Body")
        pieces = []
        for name in names:
            if name == "Subject" and message.get(name) is None:
                continue
            pieces += [name.encode(), b"\n", raw(_text(message, name)), b"\n"]
        if call.trace is not None:
            tell_signed(call, f"names and values of fields ({algorithm.name})", pieces)
        key = _sns_key(call, _text(message, "SigningCertURL", "SigningCertUrl"))
        if not _fits(key, signature, b"".join(pieces), algorithm):
            raise Refused(
                Cause.BAD_SIGNATURE,
                "The signature is not that of the fields: the message was changed on its way.",
                "Signature",
            )
        call.note("Signature", "The fields are signed with the key of the certificate.")
        return field


def _is_sns(address: str) -> bool:
    if not allowed(address, _SNS_HOSTS):
        return False
    parts = urlsplit(address)
    return parts.path.endswith(".pem") and bool(_SNS_HOST.fullmatch(parts.hostname or ""))


def _sns_key(call: Call, address: str) -> rsa.RSAPublicKey:
    if not _is_sns(address):
        raise Refused(
            Cause.BAD_CERTIFICATE,
            f"The certificate would be at {quoted(address)}; it is taken from sns.<region>.amazonaws.com only.",
            "Certificate",
        )
    try:
        key = key_of(_fetched(call, address))
    except BadCertificate as error:
        raise _bad(address, error) from None
    call.note("Certificate", f"The certificate at {quoted(address)} can be used.")
    return key


def _message(call: Call) -> Mapping[str, Any]:
    """The JSON body. Raises Refused when it is none, or has a name twice."""
    try:
        message = json.loads(call.request.body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Refused(Cause.MALFORMED, "The body is no JSON object.", "Body")
    return message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _text(message: Mapping[str, Any], *names: str) -> str:
    value = next((message[name] for name in names if name in message), None)
    if not isinstance(value, str):
        raise Refused(Cause.MALFORMED, f"The body has no text in {names[0]}.", "Body")
    return value
