"""PayPal and Amazon SNS, whose requests name the certificate that proves them."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from webhooks.authority import authority, certificate, rsa_key
from webhooks.senders import NOW, changed, connector_of

from platint_tui.core.webhooks import Cause, Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import needs, verify

ROOT = authority()
BODY = '{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED", "summary": "für 12 €"}'.encode()
CERT_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-38317689"
PAYPAL_NAME = "messageverificationcerts.paypal.com"
WEBHOOK_ID = "8PT597110X687430L"


def paypal(
    body: bytes = BODY,
    *,
    url: str = CERT_URL,
    key: str = "leaf",
    webhook_id: str = WEBHOOK_ID,
    **headers: str,
) -> WebhookRequest:
    identity, time = "8dc4e5f0-ba1e-11ed-981f-630f4c7537a9", "2025-10-09T08:53:20Z"
    text = f"{identity}|{time}|{webhook_id}|{zlib.crc32(body)}"
    signature = rsa_key(key).sign(text.encode(), padding.PKCS1v15(), SHA256())
    given = {
        "paypal-transmission-id": identity,
        "paypal-transmission-time": time,
        "paypal-transmission-sig": base64.b64encode(signature).decode(),
        "paypal-cert-url": url,
        "paypal-auth-algo": "SHA256withRSA",
        **headers,
    }
    return WebhookRequest(
        "POST", "/webhooks/paypal", tuple(given.items()), body, "https://hooks.example.com/"
    )


def paypal_verdict(
    request: WebhookRequest,
    found: bytes | None = None,
    *,
    profile: dict[str, str] | None = None,
    now: float = NOW,
    root: bytes = ROOT,
) -> Verdict:
    chain = certificate(PAYPAL_NAME) if found is None else found
    values = {"webhook_id": WEBHOOK_ID} if profile is None else profile
    return verify(connector_of("paypal"), request, values, now, {CERT_URL: chain}.get, authorities=root)


@pytest.mark.parametrize("body", [BODY, b"", b"a=1&b=%20", BODY + b"\n", bytes(range(256))])
def test_paypal_is_accepted(body: bytes) -> None:
    verdict = paypal_verdict(paypal(body))
    assert (verdict.accepted, verdict.secret) == (True, "webhook_id")
    assert needs(connector_of("paypal"), paypal(body)) == (CERT_URL,)


def test_paypal_a_changed_request_is_refused() -> None:
    request = paypal()
    for bad in (
        replace(request, body=BODY.replace(b"12", b"13")),
        replace(request, body=BODY + b"\n"),
        changed(request, paypal_transmission_id="another"),
        changed(request, paypal_transmission_time="2025-10-09T08:53:21Z"),
        paypal(key="other"),
        paypal(webhook_id="another"),
    ):
        assert paypal_verdict(bad).cause == Cause.BAD_SIGNATURE
    assert paypal_verdict(changed(request, paypal_auth_algo="SHA1withRSA")).cause == Cause.MALFORMED
    assert paypal_verdict(changed(request, paypal_transmission_sig="%%")).cause == Cause.MALFORMED


def test_paypal_two_webhooks_may_be_active() -> None:
    both = {"webhook_id": "another", "webhook_id_previous": WEBHOOK_ID}
    assert paypal_verdict(paypal(), profile=both).secret == "webhook_id_previous"
    assert paypal_verdict(paypal(), profile={}).cause == Cause.NO_SECRET
    assert paypal_verdict(paypal(), profile={"webhook_id": " "}).cause == Cause.NO_SECRET


def test_paypal_every_header_must_be_there_once() -> None:
    request = paypal()
    for name, value in request.headers:
        assert paypal_verdict(changed(request, **{name: None})).cause == Cause.MISSING_HEADER
        assert paypal_verdict(changed(request, **{name: ""})).cause == Cause.MISSING_HEADER
        twice = replace(request, headers=(*request.headers, (name, value)))
        assert paypal_verdict(twice).cause == Cause.MALFORMED


HOSTILE = [
    "http://api.paypal.com/cert",
    "https://api.paypal.com.evil.example/cert",
    "https://evilpaypal.com/cert",
    "https://paypal.com@evil.example/cert",
    "https://user@api.paypal.com/cert",
    "https://api.paypal.com:8443/cert",
    "https://api.paypal.com:x/cert",
    "https://evil.example/?.paypal.com",
    "https://evil.example#.paypal.com",
    "https://evil.example\\.paypal.com/cert",
    "https://127.0.0.1/cert",
    "https://[::1]/cert",
    "https://.paypal.com/cert",
    "https://paypal.com/cert",
    "//api.paypal.com/cert",
    "file:///etc/passwd",
    "https://api.paypal.com/\r\nHost: evil",
    "https://api.paypal.com/cert#x",
    "https://api.paypal.com/" + "x" * 2000,
    "https://раурal.com/cert",
    "https://api.paypal.com\udcff/cert",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_paypal_a_certificate_of_another_host_is_not_asked_for(url: str) -> None:
    asked: list[str] = []

    def source(address: str) -> bytes:
        asked.append(address)
        return certificate(PAYPAL_NAME)

    request = paypal(url=url)
    verdict = verify(
        connector_of("paypal"), request, {"webhook_id": WEBHOOK_ID}, NOW, source, authorities=ROOT
    )
    assert verdict.cause == Cause.BAD_CERTIFICATE
    assert asked == []
    assert needs(connector_of("paypal"), request) == ()


def test_paypal_a_certificate_that_is_not_to_be_had_is_another_cause() -> None:
    verdict = verify(connector_of("paypal"), paypal(), {"webhook_id": WEBHOOK_ID}, NOW)
    assert verdict.cause == Cause.NO_CERTIFICATE


def test_paypal_only_a_certificate_that_is_trusted_now_counts() -> None:
    request = paypal()
    bad = {
        "another root": certificate(PAYPAL_NAME, issuer="Another root"),
        "another name": certificate("api.example.com"),
        "a name that looks alike": certificate("evilpaypal.com"),
        "a name that ends alike": certificate("paypal.com.example.org"),
        "the name among others": certificate("api.example.com", other_names=(PAYPAL_NAME,)),
        "expired": certificate(PAYPAL_NAME, days=200),
        "no certificate": b"<html>not found</html>",
        "nothing": b"",
        "the root itself": ROOT,
        "too many": certificate(PAYPAL_NAME) + ROOT * 20,
        "another's, then the right one": certificate("api.example.com") + certificate(PAYPAL_NAME),
    }
    for name, found in bad.items():
        verdict = paypal_verdict(request, found)
        assert verdict.cause == Cause.BAD_CERTIFICATE, name
        assert verdict.steps[-1].name == "Certificate"
    assert paypal_verdict(request, root=authority("Another root")).cause == Cause.BAD_CERTIFICATE
    assert paypal_verdict(request, root=b"").cause == Cause.BAD_CERTIFICATE


def test_paypal_a_certificate_that_was_good_is_looked_at_again() -> None:
    request, chain = paypal(), certificate(PAYPAL_NAME)
    assert paypal_verdict(request, chain).accepted
    assert paypal_verdict(request, chain, now=NOW + 86_400 * 700).cause == Cause.BAD_CERTIFICATE
    assert paypal_verdict(request, chain, now=1_700_000_000).cause == Cause.BAD_CERTIFICATE
    assert paypal_verdict(request, chain).accepted


def test_paypal_a_chain_may_have_an_issuer_between() -> None:
    middle = authority("Issuer of the tests", "Root of the tests")
    leaf = certificate(PAYPAL_NAME, issuer="Issuer of the tests")
    assert paypal_verdict(paypal(), leaf + middle).accepted
    alone = paypal_verdict(paypal(), leaf)
    assert alone.cause == Cause.BAD_CERTIFICATE
    assert "issuer is missing" in alone.message
    der = load_pem_x509_certificate(certificate(PAYPAL_NAME)).public_bytes(Encoding.DER)
    assert paypal_verdict(paypal(), der).accepted


# --- Amazon SNS -----------------------------------------------------------------------------------------


TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
PEM_URL = (
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
)
NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


def message(
    kind: str = "Notification", version: str = "2", key: str = "sns", **fields: Any
) -> dict[str, Any]:
    """A message as Amazon signs it; `fields` are signed with it, None leaves one out."""
    document: dict[str, Any] = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": "My first message! für 12 €\nsecond line",
        "Timestamp": "2025-10-09T08:53:20.000Z",
        "SignatureVersion": version,
        "SigningCertURL": PEM_URL,
        "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
    }
    if kind != "Notification":
        document |= {
            "Token": "2336412f37",
            "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
        }
    document |= fields
    document = {name: value for name, value in document.items() if value is not None or name == "Subject"}
    names = NOTIFICATION if kind == "Notification" else CONFIRMATION
    text = "".join(f"{name}\n{document[name]}\n" for name in names if document.get(name) is not None)
    algorithm: HashAlgorithm = SHA1() if version == "1" else SHA256()
    signature = rsa_key(key).sign(text.encode(), padding.PKCS1v15(), algorithm)
    return {**document, "Signature": base64.b64encode(signature).decode()}


def sns(document: Any, header: str | None = None, **headers: str) -> WebhookRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    kind = header or (document.get("Type", "") if isinstance(document, dict) else "Notification")
    given = {"x-amz-sns-message-type": str(kind), "content-type": "text/plain; charset=UTF-8", **headers}
    return WebhookRequest("POST", "/webhooks/aws", tuple(given.items()), body, "https://hooks.example.com/")


def sns_verdict(
    request: WebhookRequest, topic: str = TOPIC, found: bytes | None = None, url: str = PEM_URL
) -> Verdict:
    pem = certificate("sns.amazonaws.com", key="sns") if found is None else found
    return verify(connector_of("aws"), request, {"topic_arn": topic}, NOW, {url: pem}.get)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_is_accepted(version: str, kind: str) -> None:
    request = sns(message(kind, version))
    assert (sns_verdict(request).accepted, sns_verdict(request).secret) == (True, "topic_arn")
    assert needs(connector_of("aws"), request) == (PEM_URL,)


def test_sns_a_subject_is_signed_when_there_is_one() -> None:
    assert sns_verdict(sns(message(Subject="Orders"))).accepted
    assert sns_verdict(sns(message(Subject=""))).accepted
    assert sns_verdict(sns(message(Subject=None))).accepted
    added = {**message(), "Subject": "Orders"}
    removed = {name: value for name, value in message(Subject="Orders").items() if name != "Subject"}
    for document in (added, removed):
        assert sns_verdict(sns(document)).cause == Cause.BAD_SIGNATURE


def test_sns_every_signed_field_counts_and_the_others_do_not() -> None:
    for kind, names in (("Notification", NOTIFICATION), ("SubscriptionConfirmation", CONFIRMATION)):
        document = message(kind, Subject="Orders" if kind == "Notification" else None)
        for name in names:
            verdict = sns_verdict(sns({**document, name: document[name] + "x"}, kind))
            assert not verdict.accepted, name
        for name in ("UnsubscribeURL", "MessageAttributes"):
            assert sns_verdict(sns({**document, name: "x"})).accepted


def test_sns_an_invented_token_of_a_notification_is_not_signed_and_not_taken() -> None:
    """A signed notification does not become a confirmation with an address of somebody else."""
    document = {
        **message(),
        "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Evil",
        "Token": "x",
    }
    assert sns_verdict(sns({**document, "Type": "SubscriptionConfirmation"})).cause == Cause.BAD_SIGNATURE
    assert sns_verdict(sns(document, "SubscriptionConfirmation")).cause == Cause.MALFORMED
    assert sns_verdict(sns({**document, "Type": "Other"})).cause == Cause.MALFORMED


def test_sns_the_topic_must_be_ours() -> None:
    request = sns(message())
    assert sns_verdict(request, f"arn:aws:sns:eu-central-1:123456789012:bills, {TOPIC}").accepted
    assert sns_verdict(request, TOPIC + "-2").cause == Cause.WRONG_TOPIC
    assert sns_verdict(request, TOPIC[:-1]).cause == Cause.WRONG_TOPIC
    assert sns_verdict(request, "").cause == Cause.NO_SECRET
    assert sns_verdict(request, ",").cause == Cause.NO_SECRET
    assert sns_verdict(sns(message(TopicArn=None))).cause == Cause.MALFORMED


@pytest.mark.parametrize(
    "url",
    [
        *(item.replace("api.paypal.com", "sns.eu-central-1.amazonaws.com") for item in HOSTILE),
        "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem",
        "https://sns.eu-central-1.evil.amazonaws.com/x.pem",
        "https://evil.sns.eu-central-1.amazonaws.com/x.pem",
        "https://s3.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu.central.amazonaws.com/x.pem",
        "https://sns.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com/x.txt",
        "https://sns.eu-central-1.amazonaws.com/x?y.pem",
    ],
)
def test_sns_a_certificate_of_another_host_is_not_asked_for(url: str) -> None:
    request = sns(message(SigningCertURL=url))
    verdict = sns_verdict(request, url=url)
    assert verdict.cause == Cause.BAD_CERTIFICATE
    assert needs(connector_of("aws"), request) == ()


def test_sns_china_and_the_spelling_of_lambda() -> None:
    china = PEM_URL.replace("eu-central-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")
    assert sns_verdict(sns(message(SigningCertURL=china)), url=china).accepted
    document = message()
    document["SigningCertUrl"] = document.pop("SigningCertURL")
    assert sns_verdict(sns(document)).accepted


def test_sns_what_is_no_signed_message_is_refused() -> None:
    document = message()
    twice = json.dumps(document).encode().replace(b'{"Type"', b'{"Type": "Notification", "Type"')
    for body in (b"", b"[]", b"null", b"{", b"order 17", twice, b"[" * 100_000):
        assert sns_verdict(sns(body)).cause == Cause.MALFORMED, body[:20]
    for name in ("Signature", "SignatureVersion", "SigningCertURL", "MessageId", "Type"):
        bad = {key: value for key, value in document.items() if key != name}
        assert sns_verdict(sns(bad, "Notification")).cause == Cause.MALFORMED, name
        assert sns_verdict(sns({**document, name: 1}, "Notification")).cause == Cause.MALFORMED, name
    assert sns_verdict(sns({**document, "SignatureVersion": "3"})).cause == Cause.MALFORMED
    assert sns_verdict(sns({**document, "SignatureVersion": "1"})).cause == Cause.BAD_SIGNATURE
    raw = sns(b"order 17", "Notification", **{"x-amz-sns-rawdelivery": "true"})
    verdict = sns_verdict(raw)
    assert verdict.cause == Cause.MISSING_HEADER
    assert "raw delivery" in verdict.message
    assert sns_verdict(sns(message(key="other"))).cause == Cause.BAD_SIGNATURE
    assert sns_verdict(sns(document), found=b"none").cause == Cause.BAD_CERTIFICATE
    assert sns_verdict(sns(document), url="https://elsewhere/").cause == Cause.NO_CERTIFICATE
    plain = WebhookRequest("POST", "/", (), b"{}", "https://hooks.example.com/")
    assert sns_verdict(plain).cause == Cause.MISSING_HEADER
