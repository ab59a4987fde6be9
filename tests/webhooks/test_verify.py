"""Every platform's requests as its own SDK signs them: what is accepted, what is refused, and with which cause."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from webhooks.schemes import SCHEMES
from webhooks.senders import (
    FORM,
    NOW,
    SECRET_FIELDS,
    SENDERS,
    Sender,
    Sending,
    changed,
    connector_of,
    connector_with,
    ids,
)

from platint_tui.core.redaction import MASK
from platint_tui.core.secret import Secret
from platint_tui.core.webhooks import Cause, WebhookRequest
from platint_tui.drivers.http.webhooks import fields_of, verify
from platint_tui.manifest.registry import Registry, bundled_dir

BODY = b'{"id": "evt_1", "type": "order.paid", "amount": 1250}'
UNICODE = '{"name": "Zoë Çelik", "note": "日本語 \\ud83d\\ude00 😀 \u2028"}'.encode()
LARGE = json.dumps([{"number": number, "text": "x" * 50} for number in range(5000)]).encode()
FORMS = urlencode(
    {"Body": "50% öff & more", "From": "+15551230000", "Empty": "", "Z": "1", "a": "~ +"}
).encode()
every = pytest.mark.parametrize("sender", SENDERS, ids=ids)
signing = pytest.mark.parametrize("sender", [item for item in SENDERS if item.body_is_signed], ids=ids)
with_past = pytest.mark.parametrize("sender", [item for item in SENDERS if item.past], ids=ids)
without_past = pytest.mark.parametrize("sender", [item for item in SENDERS if not item.past], ids=ids)


def refused(sender: Sender, request: WebhookRequest, cause: Cause, **rest: object) -> None:
    """The request is refused for this cause, and says how that came about."""
    verdict = sender.verdict(request, **rest)  # type: ignore[arg-type]
    assert (verdict.accepted, verdict.cause, verdict.secret) == (False, cause, "")
    assert verdict.message
    assert verdict.steps[-1].ok is False
    assert verdict.steps[-1].detail == verdict.message


@every
@pytest.mark.parametrize(
    "body", [BODY, UNICODE, b"", LARGE, b"not json"], ids=["json", "unicode", "empty", "large", "text"]
)
def test_what_the_platform_signed_is_accepted(sender: Sender, body: bytes) -> None:
    verdict = sender.verdict(sender.request(Sending(body)))
    assert (verdict.accepted, verdict.cause, verdict.secret) == (True, "", sender.fields[0])
    assert verdict.steps == ()


@every
@pytest.mark.parametrize("body", [FORMS, b"", b"a=1&a=2&a=1&b=", b"payload=%7B%22a%22%3A1%7D"])
def test_a_form_is_accepted(sender: Sender, body: bytes) -> None:
    assert sender.verdict(sender.request(Sending(body, content_type=FORM))).accepted


@signing
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" ", b"\x00"])
def test_the_end_of_the_body_is_signed_as_it_is(sender: Sender, end: bytes) -> None:
    request = sender.request(Sending(BODY + end))
    assert sender.verdict(request).accepted
    assert not sender.verdict(replace(request, body=BODY)).accepted
    assert not sender.verdict(replace(sender.request(Sending(BODY)), body=BODY + end)).accepted


@signing
def test_a_changed_body_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(BODY))
    tampered = replace(request, body=BODY.replace(b"1250", b"9250"))
    refused(sender, tampered, Cause.BAD_SIGNATURE)
    assert not sender.verdict(replace(request, body=b"")).accepted


@signing
def test_a_changed_form_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(FORMS, content_type=FORM))
    refused(sender, replace(request, body=FORMS.replace(b"Z=1", b"Z=2")), Cause.BAD_SIGNATURE)


@every
def test_another_secret_is_refused(sender: Sender) -> None:
    cause = Cause.BAD_SIGNATURE if sender.body_is_signed else Cause.BAD_TOKEN
    refused(sender, sender.request(Sending(BODY), key=1), cause)


@every
def test_two_secrets_are_active_while_one_is_replaced(sender: Sender) -> None:
    both = sender.profile(1, 0)
    old, new = sender.request(Sending(BODY), key=0), sender.request(Sending(BODY), key=1)
    assert sender.verdict(old, both).secret == sender.fields[1]
    assert sender.verdict(new, both).secret == sender.fields[0]
    assert not sender.verdict(sender.request(Sending(BODY), key=2), both).accepted
    assert sender.verdict(old, sender.profile(None, 0)).secret == sender.fields[1]
    assert not sender.verdict(old, sender.profile(1, None)).accepted


@every
@pytest.mark.parametrize("values", [{}, {"text": ""}, {"text": "  "}, {"text": "\n"}])
def test_without_a_secret_nothing_is_accepted(sender: Sender, values: dict[str, str]) -> None:
    profile = {name: Secret(values["text"]) for name in sender.fields} if values else {}
    refused(sender, sender.request(Sending(BODY)), Cause.NO_SECRET, profile=profile)


@every
def test_a_missing_or_empty_header_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(BODY))
    for name in (sender.header, *sender.signed_headers):
        refused(sender, changed(request, **{name: None}), Cause.MISSING_HEADER)
        refused(sender, changed(request, **{name: ""}), Cause.MISSING_HEADER)


@every
def test_a_header_that_was_sent_twice_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(BODY))
    for name in (sender.header, *sender.signed_headers):
        value = request.header(name) or ""
        for other in (value, "x", ""):
            twice = replace(request, headers=(*request.headers, (name, other)))
            assert sender.verdict(twice).cause in (Cause.MALFORMED, Cause.MISSING_HEADER)
            first = replace(request, headers=((name, other), *request.headers))
            assert sender.verdict(first).cause in (Cause.MALFORMED, Cause.MISSING_HEADER)


@every
def test_a_repeated_header_that_is_not_used_does_not_matter(sender: Sender) -> None:
    request = sender.request(Sending(BODY))
    extra = (("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2"))
    assert sender.verdict(replace(request, headers=request.headers + extra)).accepted


@with_past
def test_an_old_request_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(BODY, time=NOW - 300))
    assert sender.verdict(request).accepted
    refused(sender, request, Cause.TOO_OLD, now=NOW + 1)
    refused(sender, request, Cause.TOO_OLD, now=NOW + 86_400 * 365)


@with_past
def test_only_a_good_signature_is_called_too_old(sender: Sender) -> None:
    request = replace(sender.request(Sending(BODY, time=NOW - 3600)), body=b"other")
    refused(sender, request, Cause.BAD_SIGNATURE)


@with_past
def test_a_request_of_the_future_is_refused_where_the_platform_says_so(sender: Sender) -> None:
    request = sender.request(Sending(BODY, time=NOW + 300))
    assert sender.verdict(request).accepted
    late = sender.request(Sending(BODY, time=NOW + 301))
    if sender.future:
        refused(sender, late, Cause.IN_FUTURE)
    else:
        assert sender.verdict(late).accepted


@without_past
def test_without_a_rule_the_age_does_not_count(sender: Sender) -> None:
    assert sender.verdict(sender.request(Sending(BODY, time=NOW - 86_400 * 30))).accepted


@pytest.mark.parametrize("sender", [item for item in SENDERS if item.signed_headers], ids=ids)
def test_a_changed_timestamp_or_id_is_refused(sender: Sender) -> None:
    request = sender.request(Sending(BODY, time=NOW - 200))
    for name in sender.signed_headers:
        value = request.header(name) or ""
        for other in (value[:-1] + ("1" if value[-1] != "1" else "2"), value + "0", f" {value}", f"0{value}"):
            assert not sender.verdict(changed(request, **{name: other})).accepted


TIMES = (
    "",
    " ",
    "x",
    "1e9",
    "-1",
    "+1760000000",
    "1760000000.0",
    "1_760_000_000",
    "١٧٦",
    "²",
    "9" * 400,
    "nan",
)


@pytest.mark.parametrize("sender", [item for item in SENDERS if item.past], ids=ids)
@pytest.mark.parametrize("time", TIMES)
def test_a_timestamp_that_is_no_number_is_refused(sender: Sender, time: str) -> None:
    request = sender.request(Sending(BODY))
    name = next((name for name in sender.signed_headers if name.endswith("timestamp")), None)
    if name is None:
        request = changed(request, **{sender.header: f"t={time},v1=00"})
    else:
        request = changed(request, **{name: time})
    refused(sender, request, Cause.MISSING_HEADER if time == "" and name else Cause.MALFORMED)


@every
@pytest.mark.parametrize(
    "value", ["ÿ", "\udcff\udc80", "\ud800", "é" * 500, "\x00", "\u202e", "=", ",", "x" * 60_000]
)
def test_no_header_makes_it_fail(sender: Sender, value: str) -> None:
    request = sender.request(Sending(BODY))
    for name in (sender.header, *sender.signed_headers, "content-type"):
        changed_request = changed(request, **{name: value})
        verdict = sender.verdict(changed_request)
        if name != "content-type":
            assert not verdict.accepted
        for step in verdict.steps:
            assert "\u202e" not in step.detail
            assert "\x00" not in step.detail
            assert len(step.detail) < 1000
            step.detail.encode()


@every
def test_a_body_that_is_no_text_is_no_error(sender: Sender) -> None:
    request = replace(sender.request(Sending(BODY)), body=b"\xff\xfe\x00\x80" * 10)
    assert sender.verdict(request).accepted is not sender.body_is_signed


@every
def test_the_digest_counts_as_it_was_sent(sender: Sender) -> None:
    """Hex in capitals, blanks around it, other base64 of the same bytes: nothing of that is what was signed."""
    request = sender.request(Sending(BODY))
    value = request.header(sender.header) or ""
    others = {value.upper(), value.swapcase(), f"{value}\n", f"{value}=", value[:-1]} - {value}
    if sender.vendor not in ("standard_webhooks", "gitlab"):
        # In those the signatures are separated by blanks.
        others |= {value.replace("v1=", "v1= ") if sender.vendor == "circleci" else f" {value}", f"{value} "}
    for other in others:
        assert not sender.verdict(changed(request, **{sender.header: other})).accepted


@every
def test_every_step_is_told_and_no_secret(sender: Sender) -> None:
    request = sender.request(Sending(BODY, time=NOW - 12))
    good = sender.verdict(request, sender.profile(1, 0), explain=True)
    assert good.accepted
    assert good.secret == sender.fields[1]
    names = [step.name for step in good.steps]
    assert names[:2] == ["Scheme", "Secrets"]
    text = "\n".join(step.detail for step in good.steps)
    assert all(field in text for field in sender.fields)
    if sender.body_is_signed:
        assert "Signed text" in names
        assert f"of the body {len(BODY)}" in text
    if sender.past:
        assert "12 s old" in text
        assert "300 s are allowed" in text
    bad = sender.verdict(sender.request(Sending(BODY), key=2), sender.profile(1, 0))
    for verdict in (good, bad):
        whole = verdict.message + "\n".join(f"{step.name} {step.detail}" for step in verdict.steps)
        for value in sender.values[:2]:
            assert value not in whole
            assert value.removeprefix("whsec_") not in whole
        assert MASK not in whole


@signing
def test_of_an_expected_digest_six_characters_are_told(sender: Sender) -> None:
    """Whoever reads why a forged request was refused must not learn how to sign it."""
    right = sender.request(Sending(BODY))
    forged = changed(right, **{sender.header: _forged(right.header(sender.header) or "")})
    verdict = sender.verdict(forged)
    assert not verdict.accepted
    whole = verdict.message + "\n".join(step.detail for step in verdict.steps)
    value = (right.header(sender.header) or "").rpartition("v1=")[2].rpartition("sha256=")[2]
    for start in range(len(value) - 7):
        part = value[start : start + 7]
        assert part not in whole or part in (forged.header(sender.header) or "") or part in forged.url


def _forged(value: str) -> str:
    """The header with every digit of the digest replaced."""
    head, mark, digest = value.rpartition("=" if "v1=" in value or "sha256=" in value else ",")
    if not mark or value.endswith("="):
        head, mark, digest = "", "", value
    return head + mark + "".join("0" if item in "abcdefghijk123456" else item for item in digest)


def test_the_first_configured_scheme_that_the_request_names_decides() -> None:
    gitlab = connector_of("gitlab")
    signed, token = (item for item in SENDERS if item.vendor == "gitlab")
    both = {**signed.profile(), **token.profile()}
    request = signed.request(Sending(BODY))
    right_token = (*request.headers, ("x-gitlab-token", token.values[0]))
    # A token that is right does not save a signature that is wrong, nor one that is empty or sent twice.
    for value in ("v1,AAAA", "", "v2,x"):
        bad = changed(replace(request, headers=right_token), webhook_signature=value)
        assert not verify(gitlab, bad, both, NOW).accepted
    twice = replace(request, headers=(*right_token, ("webhook-signature", "v1,AAAA")))
    assert verify(gitlab, twice, both, NOW).cause == Cause.MALFORMED
    # A token that is wrong does not hurt a signature that is right.
    wrong = replace(request, headers=(*request.headers, ("x-gitlab-token", "wrong")))
    assert verify(gitlab, wrong, both, NOW).secret == "webhook_signing_token"
    # Where there is no signature, or no key for it, the token decides.
    assert verify(gitlab, token.request(Sending(BODY)), both, NOW).secret == "webhook_secret"
    assert verify(gitlab, replace(request, headers=right_token), token.profile(), NOW).accepted
    assert verify(gitlab, request, token.profile(), NOW).cause == Cause.MISSING_HEADER


def test_hubspots_old_signatures_do_not_save_a_failing_one() -> None:
    v1, v2, v3 = (item for item in SENDERS if item.vendor == "hubspot")
    for old in (v1, v2):
        both = old.request(Sending(BODY)).headers
        bad = changed(v3.request(Sending(BODY)), x_hubspot_signature_v3="AAAA")
        refused(v3, replace(bad, headers=bad.headers + both[2:]), Cause.BAD_SIGNATURE)
        stale = v3.request(Sending(BODY, time=NOW - 4000))
        refused(v3, replace(stale, headers=stale.headers + both[2:]), Cause.TOO_OLD)


def test_hubspot_versions_are_those_that_the_manifest_accepts() -> None:
    v1, _, v3 = (item for item in SENDERS if item.vendor == "hubspot")
    connector = connector_with([{"scheme": "hubspot", "secret": list(v1.fields)}])
    request = v1.request(Sending(BODY))
    assert verify(connector, request, v1.profile(), NOW).cause == Cause.MISSING_HEADER
    assert verify(connector, v3.request(Sending(BODY)), v3.profile(), NOW).accepted
    for version in ("v2", "v3", "V1", "1", ""):
        assert not v1.verdict(changed(request, x_hubspot_signature_version=version)).accepted


def test_hubspot_decodes_these_characters_of_the_address_and_no_others() -> None:
    _, _, v3 = (item for item in SENDERS if item.vendor == "hubspot")
    plain = "/webhooks/main?a=:/?@!$'()*,;&b=%20%23%26%25"
    sent = "/webhooks/main?a=%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B&b=%20%23%26%25"
    signed = v3.request(Sending(BODY, target=plain))
    arrived = replace(signed, target=sent, url=signed.url.replace(plain, sent))
    assert v3.verdict(arrived).accepted
    decoded_too_far = arrived.url.replace("%20", " ")
    assert not v3.verdict(replace(arrived, url=decoded_too_far)).accepted


def test_with_a_public_key_a_symmetric_signature_proves_nothing() -> None:
    symmetric, _, public = (item for item in SENDERS if item.vendor == "standard_webhooks")
    both = {SECRET_FIELDS[0]: public.values[0], SECRET_FIELDS[1]: symmetric.values[0]}
    request = symmetric.request(Sending(BODY))
    refused(symmetric, request, Cause.MALFORMED, profile=both)
    good = public.request(Sending(BODY))
    signatures = f"{request.header('webhook-signature')} {good.header('webhook-signature')}"
    assert symmetric.verdict(changed(good, webhook_signature=signatures), both).secret == SECRET_FIELDS[0]


def test_one_of_several_signatures_is_enough_but_not_of_hundreds() -> None:
    stripe = SENDERS[0]
    old, new = stripe.request(Sending(BODY)), stripe.request(Sending(BODY), key=1)
    two = f"{old.header('stripe-signature')},{(new.header('stripe-signature') or '').partition(',')[2]},v0=ab"
    for key in (0, 1):
        assert stripe.verdict(changed(old, stripe_signature=two), stripe.profile(key)).accepted
    many = ",".join(["t=1760000000", *["v1=00"] * 50])
    refused(stripe, changed(old, stripe_signature=many), Cause.MALFORMED)
    for header in ("", "v1=00", "t=1760000000", "t=1,t=1760000000,v1=00", "t=1760000000,v0=00"):
        assert not stripe.verdict(changed(old, stripe_signature=header)).accepted
    header = old.header("stripe-signature") or ""
    assert not stripe.verdict(changed(old, stripe_signature=header.replace(",v1=", ",v0="))).accepted
    assert not stripe.verdict(changed(old, stripe_signature=f"t=1,{header}")).accepted


def test_a_key_that_cannot_be_used_is_no_secret() -> None:
    unusable = {
        "discord": ("public_key", ["zz", "ab", "0" * 63]),
        "sendgrid": ("webhook_public_key", ["x", "AAAA", "-----BEGIN PUBLIC KEY-----"]),
        "standard_webhooks": ("webhook_secret", ["whsec_", "whsec_é", "whpk_", "whpk_AAAA", "%%%"]),
        "salesforce": ("organization_id", ["x", "é" * 15]),
    }
    for vendor, (field, values) in unusable.items():
        sender = next((item for item in SENDERS if item.vendor == vendor and item.fields[0] == field), None)
        request = WebhookRequest(
            "POST", "/", (), b"<a><OrganizationId>1</OrganizationId></a>", "https://hooks.example.com/"
        )
        if sender:
            request = sender.request(Sending(BODY))
        for value in values:
            verdict = verify(connector_of(vendor), request, {field: value}, NOW)
            assert (verdict.accepted, verdict.cause) == (False, Cause.NO_SECRET), (vendor, value)
            assert field in verdict.message
    discord = next(item for item in SENDERS if item.vendor == "discord")
    one_good = {discord.fields[0]: "zz", discord.fields[1]: discord.values[0]}
    assert discord.verdict(discord.request(Sending(BODY)), one_good).secret == discord.fields[1]


def test_a_connector_without_webhooks_accepts_nothing() -> None:
    bare = connector_of("stripe").model_copy(update={"webhooks": None})
    verdict = verify(bare, SENDERS[0].request(Sending(BODY)), SENDERS[0].profile(), NOW)
    assert (verdict.accepted, verdict.cause) == (False, Cause.NO_SCHEME)
    assert fields_of(bare) == ()


def test_fields_are_all_that_a_check_may_want() -> None:
    assert fields_of(connector_of("stripe")) == SECRET_FIELDS
    assert fields_of(connector_of("gcp")) == ("push_audience", "push_account")
    assert set(fields_of(connector_of("basic"))) == {"username", "password", "password_previous"}


def test_every_scheme_of_the_catalogue_has_tests() -> None:
    elsewhere = {"paypal", "aws", "azure", "gcp", "basic", "none"}
    assert set(SCHEMES) == {item.vendor for item in SENDERS} | elsewhere


def test_the_sdks_are_development_dependencies_with_bounds() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = " ".join(project["optional-dependencies"]["dev"])
    for name in ("stripe", "slack-sdk", "twilio", "sendgrid", "standardwebhooks", "svix", "pynacl", "pyjwt"):
        assert f"{name}>=" in extras
        assert name not in " ".join(project["dependencies"])


REGISTRY = Registry([bundled_dir("connectors")])
SHIPPED = [item for item in SENDERS if item.vendor in REGISTRY.list()]


@pytest.mark.parametrize("sender", SHIPPED, ids=ids)
def test_the_shipped_manifests_accept_what_the_platforms_sign(sender: Sender) -> None:
    connector = REGISTRY.get(sender.vendor)
    field = next(name for name in (*sender.fields, "webhook_secret") if name in fields_of(connector))
    request = sender.request(Sending(UNICODE))
    assert verify(connector, request, {field: sender.values[0]}, NOW).secret == field
    assert not verify(connector, request, {field: sender.values[1]}, NOW).accepted
    assert not verify(
        connector, changed(request, **{sender.header: None}), {field: sender.values[0]}, NOW
    ).accepted
    assert not verify(connector, request, {}, NOW).accepted


def test_most_platforms_are_shipped() -> None:
    assert {item.vendor for item in SENDERS} - {item.vendor for item in SHIPPED} == {
        "standard_webhooks",
        "square",
    }
