"""What holds for every request: nothing makes the check fail, every signed request is accepted, no changed one is."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webhooks.schemes import SCHEMES
from webhooks.senders import NOW, SENDERS, Sender, Sending, changed, connector_of

from platint_tui.core.webhooks import Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks import fields_of, needs, verify

SIGNING = [item for item in SENDERS if item.body_is_signed]
senders = st.sampled_from(SIGNING)
bodies = st.text(st.characters(codec="utf-8"), max_size=200).map(str.encode)
targets = st.text(st.characters(codec="utf-8"), max_size=30).map(lambda text: f"/webhooks/x?q={quote(text)}")
ages = st.integers(-299, 299)


@settings(max_examples=120, deadline=None)
@given(senders, bodies, targets, ages, st.integers(0, 2))
def test_what_is_signed_is_accepted(sender: Sender, body: bytes, target: str, age: int, key: int) -> None:
    request = sender.request(Sending(body, time=NOW - age, target=target), key)
    previous = (key + 1) % 3
    verdict = sender.verdict(request, sender.profile(key, previous))
    assert (verdict.accepted, verdict.secret) == (True, sender.fields[0])
    assert sender.verdict(request, sender.profile(previous, key)).secret == sender.fields[1]
    explained = sender.verdict(request, sender.profile(key, previous), explain=True)
    assert replace(explained, steps=()) == verdict


@settings(max_examples=200, deadline=None)
@given(senders, bodies.filter(bool), st.data())
def test_no_bit_of_the_body_may_change(sender: Sender, body: bytes, data: st.DataObject) -> None:
    request = sender.request(Sending(body))
    place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    flipped = body[:place] + bytes([body[place] ^ (1 << bit)]) + body[place + 1 :]
    assert not sender.verdict(replace(request, body=flipped)).accepted
    assert not sender.verdict(replace(request, body=body[:-1])).accepted


@settings(max_examples=250, deadline=None)
@given(senders, st.data())
def test_no_bit_of_a_signed_header_may_change(sender: Sender, data: st.DataObject) -> None:
    request = sender.request(Sending(b'{"id": 1}'))
    name = data.draw(st.sampled_from([sender.header, *sender.signed_headers]))
    value = request.header(name) or ""
    # CircleCI's other versions are not looked at.
    first = value.index("v1=") if sender.vendor == "circleci" else 0
    place, bit = data.draw(st.integers(first, len(value) - 1)), data.draw(st.integers(0, 7))
    flipped = value[:place] + chr(ord(value[place]) ^ (1 << bit)) + value[place + 1 :]
    assert not sender.verdict(changed(request, **{name: flipped})).accepted


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([item for item in SENDERS if item.vendor in ("twilio", "square", "hubspot")]), st.data()
)
def test_no_character_of_a_signed_address_may_change(sender: Sender, data: st.DataObject) -> None:
    if sender.header == "x-hubspot-signature" and sender is next(s for s in SENDERS if s.vendor == "hubspot"):
        return  # version 1 signs no address
    request = sender.request(Sending(b"", target="/webhooks/main?a=1&b=%20x"))
    place = data.draw(st.integers(0, len(request.url) - 1))
    other = data.draw(st.sampled_from("abcXYZ019-_.~&=?/:%"))
    if other != request.url[place]:
        url = request.url[:place] + other + request.url[place + 1 :]
        assert not sender.verdict(replace(request, url=url)).accepted


names = sorted(
    {
        *(name for sender in SENDERS for name in (sender.header, *sender.signed_headers)),
        "authorization",
        "content-type",
        "x-amz-sns-message-type",
        "x-amz-sns-rawdelivery",
        "paypal-transmission-sig",
        "paypal-transmission-id",
        "paypal-transmission-time",
        "paypal-cert-url",
        "paypal-auth-algo",
        "x-hubspot-signature-version",
        "x-twilio-webhooks-signature-settings",
    }
)
pieces = st.sampled_from(
    ["t=", "v1=", "v0=", "v1,", "v1a,", ",", " ", "=", ".", "sha256=", "Bearer ", "JWT ", "Basic ", "1760000000",
     "true", "AAAA", "e30", "00", "-1", "é", "\udc80", "\ud800", "\x00", "https://api.paypal.com/x", "SHA256withRSA",
     "v2", "application/x-www-form-urlencoded", "Notification", "algorithm=HMAC_SHA256", "eyJhbGciOiJIUzI1NiJ9"]
)  # fmt: skip
values = st.lists(pieces, max_size=6).map("".join) | st.text(max_size=20)
headers = st.lists(st.tuples(st.sampled_from(names), values), max_size=12).map(tuple)
documents = st.sampled_from(
    [b"", b"{}", b"[", b"a=1&b", b'{"Type": "Notification", "SigningCertURL": "https://sns.x.amazonaws.com/a.pem"}',
     b"<a><OrganizationId/></a>", b"<OrganizationId", b'{"SigningCertURL": 1}', b"\xff\xfe"]
)  # fmt: skip
texts = st.text(max_size=30) | st.sampled_from(
    [
        "/?token=%",
        "/?jwt=a.b.c&jwt",
        "https://h:99999/x",
        "https://[::1",
        "//",
        "?bodySHA256=00",
        "https://h:x/",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*sorted(SCHEMES)]),
    headers,
    documents | st.binary(max_size=40),
    texts,
    texts,
    st.booleans(),
)
def test_no_request_makes_it_fail(
    vendor: str, given_headers: tuple[tuple[str, str], ...], body: bytes, target: str, url: str, usable: bool
) -> None:
    connector = connector_of(vendor)
    request = WebhookRequest("POST", target, given_headers, body, url)
    profile = dict.fromkeys(fields_of(connector), "0" * 64 if usable else "whsec_AAAA")
    verdict = verify(connector, request, profile, float(NOW), lambda _: b"{}")
    assert isinstance(verdict, Verdict)
    assert verdict.accepted is (vendor == "none")
    for step in verdict.steps:
        step.detail.encode()
    for address in needs(connector, request):
        assert address.startswith("https://")


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
def test_a_verdict_depends_on_nothing_but_what_is_handed_in(sender: Sender) -> None:
    request = sender.request(Sending(b"{}"))
    assert len({sender.verdict(request) for _ in range(3)}) == 1
    assert not sender.verdict(request, sender.profile(1)).accepted
    assert sender.verdict(request).accepted
