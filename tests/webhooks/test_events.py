"""The events of requests: what they are called, what is kept of them, and what they are records of."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from platint_tui.core.events import NewEvent
from platint_tui.core.model import Op
from platint_tui.core.webhooks import WebhookRequest
from platint_tui.drivers.http.webhooks import event_record, events_of, records_of
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.registry import Registry, bundled_dir
from platint_tui.manifest.schema import Connector

REGISTRY = Registry([bundled_dir("connectors")])
SAMPLES = Path(__file__).parent / "samples"
RECEIVED = 1_767_268_800_000


def request_of(
    body: bytes | str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    target: str = "/webhooks/shop",
) -> WebhookRequest:
    data = body.encode() if isinstance(body, str) else body
    given_headers = tuple({"content-type": "application/json", **(headers or {})}.items())
    return WebhookRequest(method, target, given_headers, data, "https://hooks.example.com" + target)


def sampled(platform: str, name: str) -> tuple[Connector, WebhookRequest]:
    found = json.loads((SAMPLES / platform / f"{name}.json").read_text())
    body = json.dumps(found["body"], ensure_ascii=False)
    return REGISTRY.get(platform), request_of(body, found["headers"])


def only(connector: Connector, request: WebhookRequest) -> NewEvent:
    (event,) = events_of(connector, "shop", request, RECEIVED)
    return event


def sha(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


EXPECTED = [
    (
        "stripe",
        "customer.created",
        "evt_1MhUT6E0b6fckueSqWR0Bec4",
        "customer.created",
        ["customers", "events"],
    ),
    (
        "stripe",
        "customer.subscription.created",
        "evt_1MhUZtE0b6fckueSDaOf1oJ8",
        "customer.subscription.created",
        ["subscriptions", "events"],
    ),
    ("github", "label", "cba785d0-bba9-11ed-80a5-07b75c3248c8", "label.deleted", ["labels"]),
    (
        "github",
        "issue_comment",
        "52532040-bba9-11ed-8d48-6505df70907e",
        "issue_comment.created",
        ["issue_comments"],
    ),
    ("github", "ping", "b32b69a0-bba8-11ed-9346-ceb669efc942", "ping", []),
    ("gitlab", "Issue_Hook", None, "issue", ["issues"]),
    ("gitlab", "Push_Hook", None, "push", []),
    ("gitlab", "Release_Hook", None, "release.create", ["releases"]),
    ("shopify", "customers.update", "", "customers/update", ["customers"]),
    ("shopify", "customers.delete", "", "customers/delete", ["customers"]),
    ("woocommerce", "coupon.created", "1e39b411c16382875440af2d87b25755:", "coupon.created", ["coupons"]),
    ("woocommerce", "coupon.deleted", "263d29b68d77a67d6122c54b6c48cbc4:", "coupon.deleted", ["coupons"]),
]


@pytest.mark.parametrize(("platform", "name", "identity", "kind", "resources"), EXPECTED)
def test_recorded_requests(
    platform: str, name: str, identity: str | None, kind: str, resources: list[str]
) -> None:
    connector, request = sampled(platform, name)
    event = only(connector, request)
    wanted = request.header("x-shopify-webhook-id") if identity == "" else identity
    if wanted and wanted.endswith(":"):
        wanted += hashlib.sha256(request.body).hexdigest()
    assert event.event_id == (wanted or sha(request.body))
    assert event.type == kind
    assert event.body == request.body
    assert (event.profile, event.platform, event.received_ms) == ("shop", platform, RECEIVED)
    records = records_of(connector, event)
    assert [item.resource for item in records] == resources
    assert not any(item.fault for item in records)
    text = request.body.decode()
    for item in records:
        assert json.loads(item.raw) == item.value
        built = any(entry.fields for entry in connector.webhooks.map if entry.resource == item.resource)  # type: ignore[union-attr] # they have webhooks
        assert built or item.raw in text


def test_a_record_is_the_exact_text_at_its_place() -> None:
    record = '{ "object":"customer",  "id" : "cus_1", "balance": 1.50, "name": "Gr\\u00fc\\u00dfe" }'
    body = (
        '\n{"data": {"previous": {"object": 1}, "object" : '
        + record
        + ' }, "id": "evt_1",\n"type": "customer.updated"}\r\n'
    )
    connector = REGISTRY.get("stripe")
    event = only(connector, request_of(body))
    assert event.body == body.encode()
    found = records_of(connector, event)
    assert [(item.resource, item.raw, item.op) for item in found] == [("customers", record, Op.UPSERT)]
    assert found[0].value["name"] == "Grüße"


def test_the_type_of_a_record_decides_where_it_belongs() -> None:
    connector = REGISTRY.get("stripe")

    def of(kind: str, name: str) -> list[tuple[str, Op]]:
        body = json.dumps({"id": "evt_1", "type": kind, "data": {"object": {"id": "x", "object": name}}})
        return [(item.resource, item.op) for item in records_of(connector, only(connector, request_of(body)))]

    assert of("customer.deleted", "customer") == [("customers", Op.DELETE)]
    assert of("customer.subscription.deleted", "subscription") == [("subscriptions", Op.UPSERT)]
    assert of("customer.discount.created", "discount") == []
    assert of("charge.refunded", "charge") == [("charges", Op.UPSERT)]
    assert of("charge.dispute.created", "dispute") == [("disputes", Op.UPSERT)]


def test_a_form_with_a_payload_is_an_event_of_its_document() -> None:
    connector, request = sampled("github", "issue_comment")
    headers = {**dict(request.headers), "content-type": "application/x-www-form-urlencoded"}
    form = urlencode({"payload": request.body.decode()})
    event = only(connector, request_of(form, headers))
    assert (event.event_id, event.type) == ("52532040-bba9-11ed-8d48-6505df70907e", "issue_comment.created")
    assert event.body == form.encode()
    plain = records_of(connector, only(connector, request))
    assert [(item.raw, item.value) for item in records_of(connector, event)] == [
        (item.raw, item.value) for item in plain
    ]


def test_each_element_of_a_list_is_an_event_with_its_exact_bytes() -> None:
    first = '{"id":"a", "source":"/s", "eventType":"A",  "data":{"x":1.0}}'
    second = '{"id":"b","topic":"/t","type":"ü","time":"2026-01-01T00:00:00Z"}'
    body = f" [ {first} ,\r\n{second}]\n".encode()
    connector = REGISTRY.get("azure")
    events = events_of(connector, "shop", request_of(body), RECEIVED)
    assert [item.body for item in events] == [first.encode(), second.encode()]
    assert [item.part for item in events] == [0, 1]
    assert [item.event_id for item in events] == ["/s:a", "/t:b"]
    assert [item.type for item in events] == ["A", "ü"]
    assert [item.occurred_ms for item in events] == [None, 1_767_225_600_000]


def _lists() -> Connector:
    return sample(
        "many: .\n    id: [['body:source', 'body:id'], ['body:topic', 'body:id']]\n"
        "    type: [['body:eventType'], ['body:type']]\n    time: 'body:time'"
    )


def sample(event: str, more: str = "") -> Connector:
    """A small connector with this `event`."""
    return load_text(
        f"""
manifest: 1
platform: sample
name: Sample
version: 0.1.0
category: other
docs: none
driver: http
profile: {{fields: [{{id: key, secret: true, used_by: [webhooks]}}]}}
auth: {{type: none}}
transport: {{base_url: 'https://api.example.com'}}
check: [{{id: me, request: {{path: /me}}}}]
resources:
  things: {{key: [id], read: {{request: {{path: /things}}, records: '', page: {{type: none}}}}}}
  'items.*': {{key: [id], read: {{request: {{path: '/${{resource.of}}'}}, records: '', page: {{type: none}}}}}}
discover: {{type: static, listings: [{{into: 'items.*', request: {{path: /items}}, records: '', name: name}}]}}
webhooks:
  verify: [{{scheme: token, secret: [key], header: X-Token}}, {{scheme: token, secret: [key], query: token}}]
  event:
    {event}
{more}
tests:
  - {{name: it comes, kind: webhook, exchange: a.yaml, expect: {{accepted: true, events: 1}}}}
  - {{name: it is refused, kind: webhook, exchange: b.yaml, expect: {{accepted: false, cause: bad_token}}}}
""",
        "sample.yaml",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[1]",
        b'[{"id": 1}, 2]',
        b"{",
        b"no json",
        b"\xff\xfe",
        b'[{"id":1},',
        b"null",
        b'"text"',
        b"[[]]",
    ],
)
def test_what_is_not_expected_is_one_event_without_a_type(body: bytes) -> None:
    event = only(_lists(), request_of(body))
    assert (event.type, event.body, event.part, event.occurred_ms) == ("", body, None, None)
    assert event.event_id == sha(body or b"POST /webhooks/shop")


def test_an_element_that_cannot_be_a_record_is_still_an_event() -> None:
    body = b'[{"source":"s","id":"1","id":"2"}, {"source":"s","id":"3"}]'
    events = events_of(_lists(), "shop", request_of(body), RECEIVED)
    assert [item.event_id for item in events] == ["s:2", "s:3"]


def test_an_object_where_a_list_is_expected_is_one_event() -> None:
    event = only(_lists(), request_of('{"source": "s", "id": 7, "type": "t"}'))
    assert (event.event_id, event.type, event.part) == ("s:7", "t", None)


def test_values_of_an_id_are_told_apart() -> None:
    connector = sample("id: ['body:a', 'body:b']")

    def of(a: Any, b: Any) -> str:
        return only(connector, request_of(json.dumps({"a": a, "b": b}))).event_id

    assert of("x:y", "z") != of("x", "y:z")
    assert of("x\\", "y:z") != of("x\\:y", "z")
    assert of(1, 2) == "1:2"
    assert of(True, 2) == "true:2"
    for missing in (None, "", {}, []):
        assert of("x", missing).startswith("sha256:")


def test_an_id_is_short_and_can_be_stored() -> None:
    connector = sample("id: 'body:id'\n    type: 'body:type'\n    order_key: 'body:key'")
    long = only(connector, request_of(json.dumps({"id": "x" * 5000, "type": "t" * 5000, "key": "k" * 5000})))
    assert len(long.event_id) == 71 and len(long.type) == 200 and len(long.order_key) == 71
    odd = only(connector, request_of('{"id": "\\ud800", "type": "\\udfff\\u0000", "key": "\\u0000"}'))
    for text in (odd.event_id, odd.type, odd.order_key):
        assert "\0" not in text and text.encode()
    other = only(connector, request_of('{"id": "\\ud801"}'))
    assert other.event_id != odd.event_id


def test_no_secret_is_kept() -> None:
    connector = sample("id: 'header:x-id'\n  keep_headers: [X-Kept]")
    headers = {
        "x-id": "1",
        "x-kept": "yes",
        "x-token": "hush",
        "authorization": "Bearer hush",
        "cookie": "hush",
    }
    request = request_of("{}", headers, target="/webhooks/shop?a=1&token=hush&b=%20&to%6ben=hush")
    event = only(connector, request)
    assert event.target == "/webhooks/shop?a=1&token=***&b=%20&to%6ben=***"
    assert dict(event.headers) == {"content-type": "application/json", "x-id": "1", "x-kept": "yes"}
    assert "hush" not in repr(event)


def test_times() -> None:
    def at(form: str, value: Any) -> int | None:
        connector = sample(f"time: 'body:at'\n    time_format: {form}")
        return only(connector, request_of(json.dumps({"at": value}))).occurred_ms

    assert at("epoch_s", 1767268800) == RECEIVED
    assert at("epoch_s", "1767268800.25") == RECEIVED + 250
    assert at("epoch_ms", RECEIVED) == RECEIVED
    assert at("iso8601", "2026-01-01T13:00:00.123456789+01:00") == RECEIVED + 123
    assert at("iso8601", "2026-01-01 12:00:00 UTC") is None
    assert at("iso8601", "2026-19-01T12:00:00Z") is None
    assert at("rfc2822", "Thu, 01 Jan 2026 12:00:00 +0000") == RECEIVED
    for form in ("epoch_s", "epoch_ms", "iso8601", "rfc2822"):
        for wrong in ("", "x", -1, 10**30, "nan", "inf", None, [], "9" * 400):
            assert at(form, wrong) is None


def test_several_forms_of_a_request() -> None:
    connector = sample(
        "- {headers: {CE-Id: '*'}, id: ['header:ce-source', 'header:ce-id'], type: 'header:ce-type'}\n"
        "    - {headers: {content-type: 'application/cloudevents+*'}, id: 'body:id', type: 'body:type'}\n"
        "    - {id: 'query:id', type: 'form:kind'}"
    )
    binary = {"ce-id": "1", "ce-source": "/s", "ce-type": "made", "content-type": "application/octet-stream"}
    event = only(connector, request_of(b"\xff\x00", binary))
    assert (event.event_id, event.type, event.body) == ("/s:1", "made", b"\xff\x00")
    assert dict(event.headers) == binary
    structured = {"content-type": "Application/CloudEvents+JSON; charset=utf-8"}
    event = only(connector, request_of('{"id": "2", "type": "made"}', structured))
    assert (event.event_id, event.type) == ("2", "made")
    form = {"content-type": "application/x-www-form-urlencoded"}
    event = only(connector, request_of("kind=a+b&kind=c", form, target="/webhooks/shop?id=3"))
    assert (event.event_id, event.type) == ("3", "a b")


MAP = """
  map:
    - {types: [encoded], resource: things, record: message.data, encoded: base64}
    - {types: [text], resource: things, record: message, encoded: json}
    - {types: [listed], resource: things, record: list}
    - {types: [made], resource: things, record: thing,
       fields: {'...': '${record}', id: '${record.id | text}', of: '${parent.id}'}}
    - {types: [member], resource: 'items.*', of: bucket}
    - {types: ['wild*card'], resource: things, op: delete, partial: true}
"""


def mapped(document: Any) -> list[tuple[str, str, str]]:
    connector = sample("id: 'body:id'\n    type: 'body:type'", MAP)
    body = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    found = records_of(connector, only(connector, request_of(body)))
    return [(item.resource, item.raw, item.fault) for item in found]


def test_records_that_are_packed() -> None:
    inner = '{"id": 1,  "name": "ü"}'
    packed = {"type": "encoded", "message": {"data": b64encode(inner.encode()).decode()}}
    assert mapped(packed) == [("things", inner, "")]
    assert mapped({"type": "text", "message": inner}) == [("things", inner, "")]
    for nothing in ("plain words", "", "[]", 7, None):
        assert mapped({"type": "text", "message": nothing}) == []
    assert mapped({"type": "encoded", "message": {"data": "%%%"}}) == []
    assert mapped({"type": "encoded"}) == []


def test_records_in_a_list_and_records_that_are_made() -> None:
    assert mapped('{"type":"listed","list":[{"id":1}, {"id": 2.0}]}') == [
        ("things", '{"id":1}', ""),
        ("things", '{"id": 2.0}', ""),
    ]
    assert mapped({"type": "made", "id": "e", "thing": {"id": 5, "x": None}}) == [
        ("things", '{"id":"5","x":null,"of":"e"}', "")
    ]
    assert mapped({"type": "made", "id": "e", "thing": {}})[0][1:] == ('{"of":"e"}', "")


def test_what_is_no_record_says_why() -> None:
    (found,) = mapped('{"type":"listed","list":{"id":1,"id":2}}')
    assert "occurs twice" in found[2] and found[1] == '{"id":1,"id":2}'
    (found,) = mapped({"type": "listed", "list": 7})
    assert "object" in found[2]
    (found,) = mapped({"type": "member", "id": 1})
    assert "'bucket'" in found[2]


def test_members_of_a_family_and_patterns_of_types() -> None:
    assert mapped({"type": "member", "bucket": "b", "id": 1})[0][0] == "items.b"
    connector = sample("type: 'body:type'", MAP)
    for kind, fits in (("wildcard", True), ("wild/x.card", True), ("wildcards", False), ("Wildcard", False)):
        found = records_of(connector, only(connector, request_of(json.dumps({"type": kind}))))
        assert [(item.op, item.partial) for item in found] == ([(Op.DELETE, True)] if fits else [])


def test_an_event_without_a_body_is_in_its_address() -> None:
    target = "/webhooks/shop?MessageSid=SM1&MessageStatus=sent&token=hush&To=%2B1"
    event = only(REGISTRY.get("twilio"), request_of(b"", {"content-type": ""}, method="GET", target=target))
    assert (event.event_id, event.type) == ("SM1:sent", "sent")
    (record,) = records_of(REGISTRY.get("twilio"), event)
    assert (record.resource, record.value["sid"], record.value["to"]) == ("messages", "SM1", "+1")
    hidden = only(_lists(), request_of(b"", target=target))
    body = event_record(_lists(), hidden).value["body"]  # type: ignore[arg-type] # as stored
    assert body == {"MessageSid": "SM1", "MessageStatus": "sent", "To": "+1"}


def test_the_event_itself_as_a_record() -> None:
    connector = sample("id: 'body:id'\n    type: 'body:type'")

    def of(body: bytes | str, headers: dict[str, str] | None = None) -> Any:
        found = event_record(connector, only(connector, request_of(body, headers)))  # type: ignore[arg-type] # as stored
        assert found.resource == "events"
        assert json.loads(found.raw) == json.loads(json.dumps(found.value))
        return found

    exact = of('{ "id": "1", "type": "t", "n": 1.50 }\n')
    assert '"body":{ "id": "1", "type": "t", "n": 1.50 },' in exact.raw
    assert (
        exact.value["id"] == "1" and exact.value["received"] == RECEIVED and exact.value["profile"] == "shop"
    )
    assert of("no json").value["body"] == "no json"
    assert of(b"\xff").value["body"] == {"base64": "/w=="}
    assert of(b"").value["body"] is None
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert of("a=1&b=%C3%BC", form).value["body"] == {"a": "1", "b": "ü"}


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["content-type", "ce-id", "x-github-event", "x-github-delivery", "x-shopify-topic", "x-other"]
        ),
        st.text(max_size=20)
        | st.sampled_from(
            ["application/json", "application/x-www-form-urlencoded", "application/cloudevents+json"]
        ),
    ),
    max_size=5,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "type", "data", "object", "event", "source", "message"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.text().map(lambda text: ("payload=" + text).encode("utf-8", "surrogatepass"))
)
HOOKED = [REGISTRY.get(name) for name in REGISTRY.list() if REGISTRY.get(name).webhooks is not None]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(HOOKED), BODIES, HEADERS, st.text(max_size=30))
@example(HOOKED[0], b"[" * 100_000, [], "")
@example(HOOKED[0], b'{"id":' + b"9" * 5000 + b"}", [], "?id=%ff")
def test_whatever_comes_is_an_event_and_its_body_is_a_part_of_the_request(
    connector: Connector, body: bytes, headers: list[tuple[str, str]], query: str
) -> None:
    target = "/webhooks/shop" + query
    request = WebhookRequest("POST", target, tuple(headers), body, "https://hooks.example.com" + target)
    events = events_of(connector, "shop", request, RECEIVED)
    assert events
    at = 0
    for event in events:
        at = body.index(event.body, at) + len(event.body)
        assert event.event_id and len(event.event_id) <= 256
        for text in (
            event.event_id,
            event.type,
            event.order_key,
            event.target,
            *dict(event.headers).values(),
        ):
            assert text.encode() is not None and "\0" not in text
        for record in records_of(connector, event):
            assert record.fault or json.loads(record.raw) is not None
    if len(events) == 1 and events[0].part is None:
        assert events[0].body == body
