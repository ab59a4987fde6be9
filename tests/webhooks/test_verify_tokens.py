"""Signed tokens (Pub/Sub push, Jira's apps), and texts that are known: tokens, passwords, ids, nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from dataclasses import replace
from typing import Any

import jwt
import pytest
from webhooks.authority import key_set, rsa_key
from webhooks.senders import NOW, changed, connector_of, connector_with

from platint_tui.core.secret import Secret
from platint_tui.core.webhooks import Cause, Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import needs, verify

BODY = b'{"message": {"data": "e30=", "messageId": "1"}}'
CERTS = "https://www.googleapis.com/oauth2/v3/certs"
AUDIENCE, ACCOUNT = "https://hooks.example.com/webhooks/gcp", "push@project.iam.gserviceaccount.com"
PROFILE = {"push_audience": AUDIENCE, "push_account": ACCOUNT}


def request_with(
    target: str = "/webhooks/x", *headers: tuple[str, str], method: str = "POST"
) -> WebhookRequest:
    return WebhookRequest(method, target, headers, BODY, f"https://hooks.example.com{target}")


def bearer(token: str, word: str = "Bearer") -> WebhookRequest:
    return request_with("/webhooks/x", ("authorization", f"{word} {token}"))


# --- Pub/Sub push ---------------------------------------------------------------------------------------


def google(key: str = "google", kid: str | None = "k1", **claims: Any) -> str:
    document = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        "sub": "113774264463038321964",
        "iat": NOW - 10,
        "exp": NOW + 3590,
        **claims,
    }
    document = {name: value for name, value in document.items() if value is not None}
    return jwt.encode(document, rsa_key(key), "RS256", headers={"kid": kid} if kid else None)


def google_verdict(request: WebhookRequest, profile: dict[str, str] | None = None, **rest: Any) -> Verdict:
    keys = key_set(k0=rsa_key("other"), k1=rsa_key("google"))
    source = {CERTS: rest.pop("keys", keys)}
    values = PROFILE if profile is None else profile
    return verify(connector_of("gcp"), request, values, rest.pop("now", NOW), source.get, **rest)


@pytest.mark.parametrize(
    "claims",
    [{}, {"iss": "accounts.google.com"}, {"aud": [AUDIENCE, "other"]}, {"nbf": NOW}, {"iat": NOW + 60}],
)
def test_pubsub_is_accepted(claims: dict[str, Any]) -> None:
    request = bearer(google(**claims))
    verdict = google_verdict(request)
    assert (verdict.accepted, verdict.secret) == (True, "push_audience")
    assert needs(connector_of("gcp"), request) == (CERTS,)
    assert needs(connector_of("gcp"), request_with()) == ()


@pytest.mark.parametrize(
    ("claims", "cause"),
    [
        ({"iss": "https://accounts.google.com.evil.example"}, Cause.BAD_TOKEN),
        ({"iss": None}, Cause.BAD_TOKEN),
        ({"aud": AUDIENCE + "/"}, Cause.BAD_TOKEN),
        ({"aud": ["other"]}, Cause.BAD_TOKEN),
        ({"aud": None}, Cause.BAD_TOKEN),
        ({"email": "somebody@evil.iam.gserviceaccount.com"}, Cause.BAD_TOKEN),
        ({"email": ACCOUNT.upper()}, Cause.BAD_TOKEN),
        ({"email": [ACCOUNT]}, Cause.BAD_TOKEN),
        ({"email_verified": False}, Cause.BAD_TOKEN),
        ({"email_verified": "true"}, Cause.BAD_TOKEN),
        ({"email_verified": 1}, Cause.BAD_TOKEN),
        ({"email_verified": None}, Cause.BAD_TOKEN),
        ({"exp": NOW}, Cause.TOO_OLD),
        ({"exp": NOW - 3600}, Cause.TOO_OLD),
        ({"exp": None}, Cause.MALFORMED),
        ({"exp": True}, Cause.MALFORMED),
        ({"nbf": NOW + 61}, Cause.IN_FUTURE),
        ({"iat": NOW + 3600}, Cause.IN_FUTURE),
    ],
)
def test_pubsub_every_claim_counts(claims: dict[str, Any], cause: Cause) -> None:
    assert google_verdict(bearer(google(**claims))).cause == cause


def test_pubsub_the_key_is_the_one_that_is_named() -> None:
    assert google_verdict(bearer(google(kid="k0"))).cause == Cause.BAD_SIGNATURE
    assert google_verdict(bearer(google("other", kid="k0"))).accepted
    assert google_verdict(bearer(google(kid="k9"))).cause == Cause.NO_CERTIFICATE
    assert google_verdict(bearer(google(kid=None))).cause == Cause.NO_CERTIFICATE
    for keys in (None, b"", b"[]", b"{}", b'{"keys": [1]}', b'{"keys": [{"kid": "k1", "kty": "RSA"}]}'):
        assert google_verdict(bearer(google()), keys=keys).cause == Cause.NO_CERTIFICATE
    assert verify(connector_of("gcp"), bearer(google()), PROFILE, NOW).cause == Cause.NO_CERTIFICATE


def test_pubsub_both_audience_and_account_must_be_known() -> None:
    """Anybody at Google can have a token for our audience signed: only the account says who it is."""
    for profile in (
        {},
        {"push_audience": AUDIENCE},
        {"push_account": ACCOUNT},
        {**PROFILE, "push_account": ""},
    ):
        assert google_verdict(bearer(google()), profile).cause == Cause.NO_SECRET


def test_pubsub_another_algorithm_is_refused() -> None:
    keys = key_set(k1=rsa_key("google"))
    none = jwt.encode({"aud": AUDIENCE}, None, "none", headers={"kid": "k1"})
    # The public key set as the secret of a keyed hash: no library signs that.
    parts = [b'{"alg": "HS256", "kid": "k1"}', json.dumps({"aud": AUDIENCE}).encode()]
    signed = b".".join(base64.urlsafe_b64encode(item).rstrip(b"=") for item in parts)
    digest = base64.urlsafe_b64encode(hmac.new(keys, signed, hashlib.sha256).digest()).rstrip(b"=")
    confused = (signed + b"." + digest).decode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = jwt.encode({"aud": AUDIENCE}, rsa_key("google"), "RS384", headers={"kid": "k1"})
    for token in (none, confused, other):
        assert google_verdict(bearer(token), keys=keys).cause == Cause.BAD_SIGNATURE
    critical = jwt.encode({"aud": AUDIENCE}, rsa_key("google"), "RS256", headers={"kid": "k1", "crit": ["x"]})
    assert google_verdict(bearer(critical), keys=keys).cause == Cause.BAD_SIGNATURE


def test_a_changed_token_is_refused() -> None:
    token = google()
    head, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**decoded, "email": "x"}).encode()).rstrip(b"=").decode()
    bad = [f"{head}.{forged}.{signature}", f"{head}.{claims}.", f"{head}.{claims}", token + ".x", token + "=",
           "a.b.c", "..", "", "é.é.é", f" {token}", f"{token} ", f"{head}.{claims}.{signature[:-2]}AA"]  # fmt: skip
    for text in bad:
        assert not google_verdict(bearer(text)).accepted, text
    assert google_verdict(bearer(token, "Basic")).cause == Cause.MISSING_HEADER
    assert google_verdict(bearer(token, "bearer")).accepted
    assert google_verdict(request_with()).cause == Cause.MISSING_HEADER
    twice = replace(bearer(token), headers=(*bearer(token).headers, ("authorization", "Bearer x")))
    assert google_verdict(twice).cause == Cause.MALFORMED


# --- Jira's apps ----------------------------------------------------------------------------------------


SHARED = "a-shared-secret-of-at-least-32-bytes!"
CONNECT = {"connect_secret": SHARED, "connect_client_key": "client-1"}


def query_string_hash(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()


def connect(canonical: str = "POST&/webhooks/x&", secret: str = SHARED, **claims: Any) -> str:
    document = {
        "iss": "client-1",
        "iat": NOW,
        "exp": NOW + 180,
        "qsh": query_string_hash(canonical),
        **claims,
    }
    return jwt.encode(document, secret, "HS256")


def connect_verdict(request: WebhookRequest, profile: dict[str, str] | None = None) -> Verdict:
    return verify(connector_of("jira"), request, CONNECT if profile is None else profile, NOW)


def test_connect_is_accepted_in_the_header_or_the_address() -> None:
    assert connect_verdict(bearer(connect(), "JWT")).accepted
    token = connect("POST&/webhooks/x&user=1")
    assert connect_verdict(request_with(f"/webhooks/x?jwt={token}&user=1")).accepted
    assert connect_verdict(request_with(f"/webhooks/x?user=1&jwt={token}")).accepted
    both = request_with(f"/webhooks/x?jwt={connect()}", ("authorization", f"JWT {connect()}"))
    assert connect_verdict(both).cause == Cause.MALFORMED
    twice = request_with(f"/webhooks/x?jwt={connect()}&jwt={connect()}")
    assert connect_verdict(twice).cause == Cause.MALFORMED


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        ("/webhooks/x", "POST&/webhooks/x&"),
        ("/webhooks/x/", "POST&/webhooks/x&"),
        ("/", "POST&/&"),
        ("/a?b=2&a=1", "POST&/a&a=1&b=2"),
        ("/a?b=2&b=1&b=10", "POST&/a&b=1,10,2"),
        ("/a?x=a+b%20c&y=%C3%A9~-._", "POST&/a&x=a%20b%20c&y=%C3%A9~-._"),
        ("/a?x=!*'()", "POST&/a&x=%21%2A%27%28%29"),
        ("/a&b?c=", "POST&/a%26b&c="),
    ],
)
def test_connect_the_hash_is_that_of_method_path_and_query(target: str, canonical: str) -> None:
    request = request_with(target, ("authorization", f"JWT {connect(canonical)}"))
    assert connect_verdict(request).accepted
    assert connect_verdict(replace(request, target=target.replace("a", "c") + "?z")).cause == Cause.BAD_TOKEN
    assert connect_verdict(replace(request, method="PUT")).cause == Cause.BAD_TOKEN


def test_connect_every_claim_counts() -> None:
    for claims, cause in (
        ({"iss": "client-2"}, Cause.BAD_TOKEN),
        ({"qsh": "context-qsh"}, Cause.BAD_TOKEN),
        ({"qsh": query_string_hash("POST&/webhooks/x&").upper()}, Cause.BAD_TOKEN),
        ({"qsh": 1}, Cause.BAD_TOKEN),
        ({"qsh": "é"}, Cause.BAD_TOKEN),
        ({"exp": NOW - 1}, Cause.TOO_OLD),
    ):
        assert connect_verdict(bearer(connect(**claims), "JWT")).cause == cause, claims
    assert connect_verdict(bearer(connect(secret=SHARED + "x"), "JWT")).cause == Cause.BAD_SIGNATURE
    rotated = {**CONNECT, "connect_secret": SHARED + "x", "connect_secret_previous": SHARED}
    assert connect_verdict(bearer(connect(), "JWT"), rotated).secret == "connect_secret_previous"
    assert connect_verdict(bearer(connect(), "JWT"), {"connect_secret": SHARED}).cause == Cause.NO_SECRET


def test_jiras_oauth_apps_sign_with_their_client_secret() -> None:
    token = jwt.encode({"iss": "x"}, SHARED, "HS256")
    assert connect_verdict(bearer(token), {"client_secret": SHARED}).accepted
    assert connect_verdict(bearer(token), {"client_secret": SHARED + "x"}).cause == Cause.BAD_SIGNATURE
    old = jwt.encode({"exp": NOW - 1}, SHARED, "HS256")
    assert connect_verdict(bearer(old), {"client_secret": SHARED}).cause == Cause.TOO_OLD
    none = jwt.encode({"iss": "x"}, None, "none")
    assert connect_verdict(bearer(none), {"client_secret": SHARED}).cause == Cause.BAD_SIGNATURE
    # A signature of the admin's webhook is the stronger: it covers the body.
    signed = hmac.new(SHARED.encode(), BODY, hashlib.sha256).hexdigest()
    both = {"client_secret": SHARED, "webhook_secret": SHARED}
    request = changed(bearer(token), x_hub_signature=f"sha256={signed}")
    assert connect_verdict(request, both).secret == "webhook_secret"
    bad = changed(bearer(token), x_hub_signature=f"sha256={signed[:-1]}")
    assert connect_verdict(bad, both).cause == Cause.BAD_SIGNATURE


# --- texts ----------------------------------------------------------------------------------------------


TOKENS = {
    "webhook_secret": Secret("the-token-é-of-the-test"),
    "webhook_secret_previous": Secret("the-old-token"),
}
QUERY = "/webhooks/x?token=the-token-%C3%A9-of-the-test"


def test_a_token_in_a_header_or_a_parameter() -> None:
    azure = connector_of("azure")
    good = bearer("the-token-é-of-the-test")
    for request, field in (
        (good, "webhook_secret"),
        (bearer("the-old-token"), "webhook_secret_previous"),
        (request_with(QUERY), "webhook_secret"),
        (request_with("/webhooks/x?a=1&token=the-old-token"), "webhook_secret_previous"),
    ):
        assert verify(azure, request, TOKENS, NOW).secret == field
    for request, cause in (
        (bearer("THE-OLD-TOKEN"), Cause.BAD_TOKEN),
        (bearer("the-old-token "), Cause.BAD_TOKEN),
        (bearer("the-old-toke"), Cause.BAD_TOKEN),
        (bearer(""), Cause.MISSING_HEADER),
        (bearer("\udcff"), Cause.BAD_TOKEN),
        (request_with("/webhooks/x?token="), Cause.MISSING_HEADER),
        (request_with("/webhooks/x?Token=the-old-token"), Cause.MISSING_HEADER),
        (request_with("/webhooks/x?token=the-old-token&token=the-old-token"), Cause.MALFORMED),
        (request_with("/webhooks/x?token=x&token=the-old-token"), Cause.MALFORMED),
        (request_with("/webhooks/x#token=the-old-token"), Cause.MISSING_HEADER),
        (request_with("/webhooks/x?token=%FF%FE"), Cause.BAD_TOKEN),
        (request_with("/webhooks/x?token=the-old-token", ("authorization", "Bearer x")), Cause.BAD_TOKEN),
        (request_with(), Cause.MISSING_HEADER),
    ):
        verdict = verify(azure, request, TOKENS, NOW)
        assert verdict.cause == cause, request
        assert "old-token" not in verdict.message + "".join(step.detail for step in verdict.steps)
    assert verify(azure, good, {}, NOW).cause == Cause.NO_SECRET
    # What is sent is no secret of ours, but may be the next one.
    nearly = verify(azure, bearer("the-next-token-of-all"), TOKENS, NOW)
    assert "next-token" not in nearly.message + "".join(step.detail for step in nearly.steps)


def basic(user: str | bytes, password: str | bytes) -> WebhookRequest:
    pair = b":".join(item.encode() if isinstance(item, str) else item for item in (user, password))
    return request_with("/webhooks/x", ("authorization", f"Basic {base64.b64encode(pair).decode()}"))


def test_basic() -> None:
    connector = connector_of("basic")
    values = {
        "username": "Zoë",
        "password": Secret("pass:word é"),
        "password_previous": Secret("old-password"),
    }
    assert verify(connector, basic("Zoë", "pass:word é"), values, NOW).secret == "password"
    assert verify(connector, basic("Zoë", "old-password"), values, NOW).secret == "password_previous"
    lower = changed(basic("Zoë", "old-password"))
    assert verify(connector, lower, values, NOW).accepted
    for bad in (basic("zoë", "old-password"), basic("Zoë", "Old-password"), basic("", "old-password"),
                basic("Zoë", ""), basic(b"\xff", b"\xfe")):  # fmt: skip
        assert verify(connector, bad, values, NOW).cause == Cause.BAD_TOKEN
    for text in (
        "Basic ",
        "Basic x",
        "Basic Wm/DqzpvbGQ",
        "Basic é",
        "Basic " + base64.b64encode(b"x").decode(),
    ):
        verdict = verify(connector, request_with("/", ("authorization", text)), values, NOW)
        assert verdict.cause in (Cause.MALFORMED, Cause.MISSING_HEADER)
    for missing in ({}, {"username": "Zoë"}, {"password": "old-password"}):
        assert verify(connector, basic("Zoë", "old-password"), missing, NOW).cause == Cause.NO_SECRET


SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>{organization}</OrganizationId>
   <ActionId>04k000000000000AAA</ActionId>
   <Notification><Id>04l1</Id><sObject><Id>001</Id><Name>Zoë &amp; Co</Name></sObject></Notification>
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>"""
ORGANIZATION = "00D5g000004ABCdEAE"


def outbound(body: str, profile: dict[str, str] | None = None) -> Verdict:
    request = WebhookRequest(
        "POST",
        "/",
        (("content-type", "text/xml; charset=UTF-8"),),
        body.encode(),
        "https://hooks.example.com/",
    )
    values = {"organization_id": ORGANIZATION} if profile is None else profile
    return verify(connector_of("salesforce"), request, values, NOW)


def test_outbound_messages_are_known_by_their_organization() -> None:
    body = SOAP.format(organization=ORGANIZATION)
    assert outbound(body).secret == "organization_id"
    assert outbound(SOAP.format(organization=ORGANIZATION[:15])).accepted
    assert outbound(body, {"organization_id": ORGANIZATION[:15]}).accepted
    assert outbound(body, {"organization_id": "00D5g000004ABCDEAE"}).cause == Cause.BAD_TOKEN
    assert (
        outbound(SOAP.format(organization=ORGANIZATION[:14] + "D" + ORGANIZATION[15:])).cause
        == Cause.BAD_TOKEN
    )
    assert outbound(body, {}).cause == Cause.NO_SECRET
    assert outbound("").cause == Cause.MISSING_HEADER
    assert outbound("{}").cause == Cause.MISSING_HEADER


def test_outbound_messages_with_a_document_type_or_another_form_are_refused() -> None:
    body = SOAP.format(organization=ORGANIZATION)
    entity = f'<!DOCTYPE x [<!ENTITY o "{ORGANIZATION}">]>'
    hostile = SOAP.format(organization="&o;").replace("<soapenv:Envelope", entity + "<soapenv:Envelope", 1)
    external = hostile.replace(f'"{ORGANIZATION}"', 'SYSTEM "file:///etc/passwd"')
    for bad in (
        hostile,
        external,
        body[:-10],
        body + "x",
        body.replace("soapenv:Body", "soapenv:Header"),
        body.replace("<ActionId>", f"<OrganizationId>{ORGANIZATION}</OrganizationId><ActionId>"),
        SOAP.format(organization=""),
        SOAP.format(organization=f"<a>{ORGANIZATION}</a>"),
        "OrganizationId",
    ):
        assert outbound(bad).cause == Cause.MALFORMED, bad


def test_nothing_is_checked_only_where_it_is_spelled_out() -> None:
    verdict = verify(connector_of("none"), request_with(), {}, NOW, explain=True)
    assert (verdict.accepted, verdict.secret) == (True, "")
    assert "The platform signs nothing." in verdict.steps[-1].detail
    with pytest.raises(ValueError, match="reason"):
        connector_with([{"scheme": "none"}])


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "signed": "{timestamp}"}, "body"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "signed": "{timestamp}.{body}"}, "timestamp"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "signed": "{id}.{body}"}, "id"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "signed": "{body}{secret}"}, "signed"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "tolerance": "5m"}, "tolerance"),
        (
            {"scheme": "hmac", "secret": ["a"], "header": "x", "timestamp": "t", "tolerance": "5m"},
            "tolerance",
        ),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "format": "prefixed"}, "prefix"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "prefix": "v="}, "prefix"),
        ({"scheme": "hmac", "secret": ["a"], "header": "x", "format": "pairs"}, "pairs"),
        ({"scheme": "hmac", "secret": [], "header": "x"}, "secret"),
        ({"scheme": "token", "secret": ["a"]}, "header"),
        ({"scheme": "token", "secret": ["a"], "header": "x", "query": "y"}, "header"),
        ({"scheme": "jwt", "algorithm": "HS256"}, "secret"),
        ({"scheme": "jwt", "algorithm": "RS256", "keys": "https://x.example/k"}, "aud"),
        ({"scheme": "jwt", "algorithm": "RS256", "keys": "http://x.example/k"}, "keys"),
        ({"scheme": "rsa_cert", "webhook_id": ["a"], "hosts": ["*.com"], "common_name": "*.x.com"}, "hosts"),
        ({"scheme": "rsa_cert", "webhook_id": ["a"], "hosts": ["*"], "common_name": "*.x.com"}, "hosts"),
    ],
)
def test_a_scheme_that_proves_too_little_is_refused_in_the_manifest(
    section: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        connector_with([section])
