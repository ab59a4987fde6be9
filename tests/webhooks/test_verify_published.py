"""Requests and signatures that the platforms themselves have published, so that nobody's library has to be right."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator
from webhooks.senders import FORM, connector_of

from platint_tui.core.webhooks import WebhookRequest
from platint_tui.drivers.http.webhooks import verify

SLACK = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS = {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}
STANDARD = {
    "id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": "1614265330",
    "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
PUBLISHED = [
    (
        "github",
        {"x-hub-signature-256": GITHUB},
        b"Hello, World!",
        "webhook_secret",
        "It's a Secret to Everybody",
        0,
    ),
    ("slack", SLACK_HEADERS, SLACK, "signing_secret", "8f742231b10e8888abcd99yyyzzz85a5", 1531420618),
    *(
        (
            "standard_webhooks",
            {f"{name}-{key}": value for key, value in STANDARD.items()},
            b'{"test": 2432232314}',
            "webhook_secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            1614265330,
        )
        for name in ("webhook", "svix")
    ),
    *(
        ("circleci", {"circleci-signature": f"v1={digest}"}, body, "webhook_secret", secret, 0)
        for body, secret, digest in (
            (b"hello world", "secret", "734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a"),
            (b"lalala", "another-secret", "daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00"),
            (
                b"an-important-request-payload",
                "hunter123",
                "9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa",
            ),
        )
    ),
    (
        "jira",
        {"x-hub-signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
        b"Hello World!",
        "webhook_secret",
        "It's a Secret to Everybody",
        0,
    ),
]


@pytest.mark.parametrize(("vendor", "headers", "body", "field", "secret", "now"), PUBLISHED)
def test_a_published_request_is_accepted(
    vendor: str, headers: dict[str, str], body: bytes, field: str, secret: str, now: int
) -> None:
    request = WebhookRequest("POST", "/", tuple(headers.items()), body, "https://hooks.example.com/")
    assert verify(connector_of(vendor), request, {field: secret}, now).accepted
    assert not verify(connector_of(vendor), request, {field: secret + "x"}, now).accepted


CALL = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
REPEATED = [
    ("Sid", "CA123"),
    ("SidAccount", "AC123"),
    ("Digits", "5678"),
    ("Digits", "1234"),
    ("Digits", "1234"),
]
HASH = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
ADDRESS = "https://mycompany.com/myapp.php?foo=1&bar=2"
TWILIO = [
    (ADDRESS, urlencode(CALL), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    (ADDRESS.replace(".com/", ".com:443/"), urlencode(CALL), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    (ADDRESS, urlencode(CALL), "kvajT1Ptam85bY51eRf/AJRuM3w="),
    (ADDRESS.replace(".com/", ".com:1234/"), urlencode(CALL), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    (ADDRESS, urlencode(REPEATED), "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    (ADDRESS.replace("mycompany", "MyCompany"), urlencode(CALL), "g9IN/x4Cft2g517EjYvEvM/W7LU="),
    (
        f"{ADDRESS}&bodySHA256={HASH}",
        '{"property": "value", "boolean": true}',
        "a9nBmqA0ju/hNViExpshrM61xv4=",
    ),
]


def twilio(address: str, body: str, signature: str, **headers: str) -> WebhookRequest:
    kind = "application/json" if body.startswith("{") else FORM
    given = (("content-type", kind), ("x-twilio-signature", signature), *headers.items())
    target = address.partition(".com")[2].partition("/")[2]
    return WebhookRequest("POST", f"/{target}", given, body.encode(), address)


@pytest.mark.parametrize(("address", "body", "signature"), TWILIO)
def test_what_twilio_published_is_accepted(address: str, body: str, signature: str) -> None:
    connector = connector_of("twilio")
    request = twilio(address, body, signature)
    assert verify(connector, request, {"auth_token": "12345"}, 0).accepted
    assert not verify(connector, request, {"auth_token": "12346"}, 0).accepted
    other = twilio(address.replace("foo=1", "foo=2"), body, signature)
    assert not verify(connector, other, {"auth_token": "12345"}, 0).accepted


@pytest.mark.parametrize(
    "body",
    ["{}", "&&", "&", '{"property": "value", "boolean": false}'],
    ids=["json", "blank", "mark", "changed"],
)
def test_twilio_a_body_that_the_signature_does_not_cover_is_refused(body: str) -> None:
    """Whoever has the address of a signed GET, or of another body, could else send what he likes."""
    validator = RequestValidator("12345")
    for address in (
        ADDRESS,
        f"{ADDRESS}&bodySHA256={HASH}",
        f"{ADDRESS}&bodySHA256={HASH}&bodySHA256={HASH}",
    ):
        signature = validator.compute_signature(address, {})
        for method in ("POST", "GET"):
            request = twilio(address, body, signature)
            request = WebhookRequest(method, request.target, request.headers, request.body, request.url)
            assert not verify(connector_of("twilio"), request, {"auth_token": "12345"}, 0).accepted
    empty = WebhookRequest(
        "GET", "/", (("x-twilio-signature", validator.compute_signature(ADDRESS, {})),), b"", ADDRESS
    )
    assert verify(connector_of("twilio"), empty, {"auth_token": "12345"}, 0).accepted


def test_twilio_names_the_hash_where_it_is_not_the_usual_one() -> None:
    validator, connector = RequestValidator("12345"), connector_of("twilio")
    signature = validator.compute_signature(ADDRESS, CALL, "HMAC_SHA256")
    settings = "x-twilio-webhooks-signature-settings"
    accepted = {
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256": True,
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1": False,
        "key=webhooks_sharedkey_1,algorithm=NONE": False,
        "key=webhooks_sharedkey_1": False,
    }
    for value, expected in accepted.items():
        request = twilio(ADDRESS, urlencode(CALL), signature, **{settings: value})
        assert verify(connector, request, {"auth_token": "12345"}, 0).accepted is expected
    assert not verify(
        connector, twilio(ADDRESS, urlencode(CALL), signature), {"auth_token": "12345"}, 0
    ).accepted
