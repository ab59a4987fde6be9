"""Handshakes: what is one, what is answered, and that nothing is revealed or called that must not be."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.webhooks import WebhookRequest
from platint_tui.drivers.http.webhooks import accepted, answer, handshake_of, visit_of
from platint_tui.manifest.registry import Registry, bundled_dir

REGISTRY = Registry([bundled_dir("connectors")])
HOOKED = [REGISTRY.get(name) for name in REGISTRY.list() if REGISTRY.get(name).webhooks is not None]
FORM = {"content-type": "application/x-www-form-urlencoded"}


def request_of(
    document: Any = None,
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    query: str = "",
    body: bytes | None = None,
) -> WebhookRequest:
    data = body if body is not None else b"" if document is None else json.dumps(document).encode()
    target = "/webhooks/x" + query
    return WebhookRequest(
        method,
        target,
        tuple({"content-type": "application/json", **(headers or {})}.items()),
        data,
        "https://hooks.example.com" + target,
    )


def name_of(platform: str, request: WebhookRequest) -> str | None:
    found = handshake_of(REGISTRY.get(platform), request)
    return found.name if found else None


def answered(platform: str, request: WebhookRequest) -> tuple[int, dict[str, str], bytes]:
    found = handshake_of(REGISTRY.get(platform), request)
    assert found is not None
    reply = answer(found, request)
    assert reply.headers["x-content-type-options"] == "nosniff"
    return reply.status, dict(reply.headers), reply.body


def test_slack_gets_its_challenge_after_the_signature_was_checked() -> None:
    request = request_of({"type": "url_verification", "challenge": "abc", "token": "t"})
    status, headers, body = answered("slack", request)
    assert (status, headers["content-type"], json.loads(body)) == (
        200,
        "application/json",
        {"challenge": "abc"},
    )
    found = handshake_of(REGISTRY.get("slack"), request)
    assert found is not None and found.verified
    assert name_of("slack", request_of({"type": "event_callback", "challenge": "abc"})) is None
    assert name_of("slack", request_of({"type": "url_verification"})) is None


def test_discord_gets_its_pongs() -> None:
    status, _, body = answered("discord", request_of({"type": 1, "id": "1", "version": 1}))
    assert (status, body) == (200, b'{"type": 1}')
    status, headers, body = answered("discord", request_of({"type": 0, "version": 1}))
    assert (status, headers["content-type"], body) == (204, "application/json", b"")
    event = {"type": 1, "version": 1, "event": {"type": "APPLICATION_AUTHORIZED"}}
    for other in (event, {"type": 2, "id": "1"}, {"type": True, "id": "1"}, {"type": "1"}):
        assert name_of("discord", request_of(other)) is None
    assert all(item.verified for item in REGISTRY.get("discord").webhooks.handshakes)  # type: ignore[union-attr] # it has


def test_event_grid_gets_its_code_and_cloudevents_their_permission() -> None:
    event = {
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6"},
    }
    validation = {"aeg-event-type": "SubscriptionValidation"}
    status, _, body = answered("azure", request_of([event], validation))
    assert (status, json.loads(body)) == (200, {"validationResponse": "512d38b6"})
    assert name_of("azure", request_of([event])) is None
    assert name_of("azure", request_of([], validation)) is None
    asked = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
    for platform in ("azure", "webhook"):
        status, headers, body = answered(platform, request_of(headers=asked, method="OPTIONS"))
        assert (status, body) == (200, b"")
        assert headers["webhook-allowed-origin"] == "eventgrid.azure.net"
        assert headers["webhook-allowed-rate"] == "*"
        assert name_of(platform, request_of(method="OPTIONS")) is None
        assert name_of(platform, request_of(headers=asked)) is None


CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
}
SNS = {"x-amz-sns-message-type": "SubscriptionConfirmation", "content-type": "text/plain; charset=UTF-8"}


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/?a=b", True),
        ("https://SNS.eu-west-1.amazonaws.com:443/", True),
        ("http://sns.eu-west-1.amazonaws.com/", False),
        ("https://sns.eu-west-1.amazonaws.com:8443/", False),
        ("https://sns.eu-west-1.amazonaws.com.evil.example/", False),
        ("https://evil.example/sns.eu-west-1.amazonaws.com", False),
        ("https://sns.eu-west-1.amazonaws.com@evil.example/", False),
        ("https://evil.example\\@sns.eu-west-1.amazonaws.com/", False),
        ("https://sns..amazonaws.com/", False),
        ("https://sns.a.b.amazonaws.com/", False),
        ("https://s3.eu-west-1.amazonaws.com/", False),
        ("https://sns.eu-west-1.amazonaws.com/ x", False),
        ("https://[::1/", False),
        ("file:///etc/passwd", False),
        ("", False),
        (7, False),
        (None, False),
    ],
)
def test_a_confirmation_is_visited_only_on_its_host(url: Any, called: bool) -> None:
    request = request_of({**CONFIRMATION, "SubscribeURL": url}, SNS)
    found = handshake_of(REGISTRY.get("aws"), request)
    assert found is not None and found.verified
    # A backslash is read differently by those who read addresses, so such a host is none.
    assert visit_of(found, request) == (url if called else None)


def test_other_handshakes_visit_nothing() -> None:
    request = request_of({"type": "url_verification", "challenge": "abc"})
    found = handshake_of(REGISTRY.get("slack"), request)
    assert found is not None and visit_of(found, request) is None


def test_a_shop_that_saves_a_webhook_is_answered_and_learns_nothing() -> None:
    ping = request_of(headers=FORM, body=b"webhook_id=7")
    assert answered("woocommerce", ping) == (200, {"x-content-type-options": "nosniff"}, b"")
    for body, headers in (
        (b"webhook_id=7&x=1", FORM),
        (b"webhook_id=7", {**FORM, "x-wc-webhook-signature": "x"}),
        (b"webhook_id=7", {**FORM, "x-wc-webhook-topic": "order.created"}),
        (b"webhook_id=7", {}),
        (b"", FORM),
    ):
        assert name_of("woocommerce", request_of(headers=headers, body=body)) is None


def test_marketing_cloud_is_answered_before_its_key_is_known() -> None:
    check = {"callbackId": "65b885ab", "verificationKey": "key"}
    assert answered("salesforce", request_of(check))[::2] == (200, b"")
    assert name_of("salesforce", request_of(check, {"x-sfmc-ens-signature": "x"})) is None
    assert name_of("salesforce", request_of([{"eventCategoryType": "x"}])) is None


def test_a_challenge_in_the_address_is_plain_text() -> None:
    asked = {"hub.mode": "subscribe", "hub.challenge": "<script>1</script>", "hub.verify_token": "t"}
    status, headers, body = answered("webhook", request_of(method="GET", query="?" + urlencode(asked)))
    assert (status, body) == (200, b"<script>1</script>")
    assert headers["content-type"].startswith("text/plain")
    del asked["hub.verify_token"]
    assert name_of("webhook", request_of(method="GET", query="?" + urlencode(asked))) is None


def test_what_is_sent_back_is_short_and_keeps_a_header_whole() -> None:
    long = request_of({"type": "url_verification", "challenge": "x" * 100_000})
    assert len(answered("slack", long)[2]) < 5000
    for odd in ({"a": 1}, [1], 10**30, "\ud800"):
        status, _, body = answered("slack", request_of({"type": "url_verification", "challenge": odd}))
        assert status == 200 and json.loads(body) is not None
    split = request_of(headers={"webhook-request-origin": "a\r\nset-cookie: b\u20ac"}, method="OPTIONS")
    assert answered("azure", split)[1]["webhook-allowed-origin"] == "aset-cookie: b"


def test_what_events_are_answered_with() -> None:
    assert accepted(REGISTRY.get("stripe")).status == 200 and accepted(REGISTRY.get("stripe")).body == b""
    twiml = accepted(REGISTRY.get("twilio"))
    assert (twiml.headers["content-type"], twiml.body) == ("text/xml", b"<Response/>")
    soap = accepted(REGISTRY.get("salesforce"))
    assert soap.headers["content-type"].startswith("text/xml") and b"<Ack>true</Ack>" in soap.body
    discord = accepted(REGISTRY.get("discord"))
    assert (discord.status, discord.headers["content-type"]) == (204, "application/json")
    assert accepted(REGISTRY.get("gcp")).status == 204


def test_which_handshakes_need_no_signature() -> None:
    """Each of these is a decision: it is answered to everybody."""
    found = {
        (connector.platform, item.name)
        for connector in HOOKED
        if connector.webhooks is not None
        for item in connector.webhooks.handshakes
        if not item.verified
    }
    assert found == {
        ("azure", "CloudEvents validation"),
        ("salesforce", "Callback verification"),
        ("webhook", "CloudEvents validation"),
        ("woocommerce", "Ping"),
    }


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(HOOKED),
    st.sampled_from(["POST", "GET", "OPTIONS"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["content-type", "webhook-request-origin", "aeg-event-type", "x-amz-sns-message-type"]
            ),
            st.text(max_size=20)
            | st.sampled_from(["application/x-www-form-urlencoded", "SubscriptionConfirmation"]),
        ),
        max_size=4,
    ),
    st.binary(max_size=100)
    | st.sampled_from([b'{"type": "url_verification", "challenge": []}', b"webhook_id=1", b"[{}]", b"[[]]"]),
    st.text(max_size=30),
)
def test_nothing_breaks_it(
    connector: Any, method: str, headers: list[tuple[str, str]], body: bytes, query: str
) -> None:
    request = WebhookRequest(
        method, "/webhooks/x?" + query, tuple(headers), body, "https://hooks.example.com"
    )
    found = handshake_of(connector, request)
    if found is not None:
        reply = answer(found, request)
        assert 200 <= reply.status < 300
        assert not any(char in value for value in reply.headers.values() for char in "\r\n\0")
        assert visit_of(found, request) is None
