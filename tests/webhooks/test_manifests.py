"""What manifests say of webhooks: their own tests pass, and what is wrong in them is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.drivers.http.webhooks.recorded import run_hook
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.registry import Registry, bundled_dir
from platint_tui.manifest.vectors import check_vectors
from platint_tui.manifest.webhook_vectors import HookVector, hook_of, load_hook_text
from platint_tui.services.vectors import run_tests

REGISTRY = Registry([bundled_dir("connectors")])
HOOKED = [name for name in REGISTRY.list() if REGISTRY.get(name).webhooks is not None]
VENDORS = (
    "aws azure circleci discord gcp github gitlab hubspot jira paypal salesforce sendgrid shopify slack stripe twilio"
    " webhook woocommerce"
)


def test_every_platform_with_webhooks_says_so() -> None:
    assert VENDORS.split() == HOOKED


@pytest.mark.parametrize("platform", HOOKED)
async def test_the_tests_of_a_manifest(platform: str) -> None:
    connector = REGISTRY.get(platform)
    assert check_vectors(connector, REGISTRY.vectors(platform)) == []
    outcomes = {item.test: item.failures for item in await run_tests(REGISTRY, platform)}
    hooks = [test.name for test in connector.tests if test.kind == "webhook"]
    assert len(hooks) >= 2
    assert {name: outcomes[name] for name in hooks} == dict.fromkeys(hooks, ())
    named = {test.exchange for test in connector.tests}
    assert {path.name for path in REGISTRY.vectors(platform).glob("*.yaml")} == named


@pytest.mark.parametrize("platform", HOOKED)
def test_the_tests_of_a_manifest_can_fail(platform: str) -> None:
    """Without the secret nothing is accepted, and another answer than the expected one is told."""
    connector, folder = REGISTRY.get(platform), REGISTRY.vectors(platform)
    for test in connector.tests:
        if test.kind != "webhook":
            continue
        vector = hook_of(test, folder)
        handshake = next(
            (item for item in connector.webhooks.handshakes if item.name == test.expect.handshake), None
        )  # type: ignore[union-attr] # they have webhooks
        if test.expect.accepted and (handshake is None or handshake.verified):
            bare = replace(vector, profile={}, secrets={})
            assert any("no_secret" in line for line in run_hook(connector, test, bare)), test.name
        if test.expect.accepted is False:
            hopeful = test.model_copy(update={"expect": test.expect.model_copy(update={"accepted": True})})
            assert any("it is refused" in line for line in run_hook(connector, hopeful, vector)), test.name


FILE = """
secrets: {webhook_secret: a}
now: 2026-01-01T12:00:00Z
request: {method: POST, headers: {X-Name: a, Content-Type: b}, body: 'ü'}
"""


def test_the_file_of_a_request() -> None:
    found = load_hook_text(FILE)
    assert isinstance(found, HookVector)
    assert found.request.headers == (("x-name", "a"), ("content-type", "b"))
    assert (found.request.body, found.now_ms) == ("ü".encode(), 1_767_268_800_000)
    assert found.request.url == "https://hooks.example.com/webhooks/test"
    packed = load_hook_text(FILE.replace("body: 'ü'", "base64: /w==")).request
    assert packed.body == b"\xff"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("body: 'ü'", "body: x, base64: /w==", "one is enough"),
        ("body: 'ü'", "base64: '%'", "is not base64"),
        ("2026-01-01T12:00:00Z", "yesterday", "now"),
        ("method: POST", "method: SEND", "method"),
        ("secrets:", "secret:", "did you mean 'secrets'"),
    ],
)
def test_a_file_that_is_wrong(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_hook_text(FILE.replace(old, new))


MANIFEST = """
manifest: 1
platform: sample
name: Sample
version: 0.1.0
category: other
docs: none
driver: http
profile:
  fields:
    - {id: secret, secret: true, used_by: [webhooks]}
    - {id: plain, used_by: [webhooks]}
auth: {type: none}
transport: {base_url: 'https://api.example.com'}
check: [{id: me, request: {path: /me}}]
discover: {type: static, listings: [{into: 'items.*', request: {path: /items}, records: '', name: name}]}
resources:
  things: {key: [id], read: {request: {path: /things}, records: '', page: {type: none}}}
  'items.*': {key: [id], read: {request: {path: '/${resource.of}'}, records: '', page: {type: none}}}
webhooks:
  verify: [{scheme: token, secret: [secret], header: X-Token}]
  handshakes:
    - {name: Ping, when: [{path: ping}], reply: {pong: '${request.ping}'}}
  event: {id: 'body:id', type: [['header:x-type'], ['body:a', 'body:b']]}
  keep_headers: [x-kept]
  map:
    - {types: ['thing.*'], resource: things, record: data}
    - {types: [item], resource: 'items.*', of: bucket, fields: {id: '${record.id}'}}
tests:
  - {name: a, kind: webhook, exchange: a.yaml, expect: {accepted: true, events: 1}}
  - {name: b, kind: webhook, exchange: b.yaml, expect: {accepted: false, cause: bad_token}}
  - {name: c, kind: webhook, exchange: c.yaml, expect: {handshake: Ping}}
"""


def test_a_manifest_that_is_right() -> None:
    webhooks = load_text(MANIFEST, "m.yaml").webhooks
    assert webhooks is not None
    assert webhooks.event[0].id == (("body:id",),)
    assert webhooks.event[0].type == (("header:x-type",), ("body:a", "body:b"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("secret: [secret]", "secret: [sekret]", "no field 'sekret'; did you mean 'secret'"),
        ("secret: [secret]", "secret: [plain]", "must be marked `secret: true`"),
        ("verify: [{", "verify: [{scheme: none, reason: x}, {", "`none` stands alone"),
        ("keep_headers: [x-kept]", "keep_headers: [X-TOKEN]", "holds a secret"),
        ("keep_headers: [x-kept]", "keep_headers: [authorization]", "holds a secret"),
        ("resource: things,", "resource: thinks,", "there is no resource 'thinks'; did you mean 'things'"),
        ("of: bucket, ", "", "is needed: which of the family"),
        ("record: data}", "record: data, of: x}", "goes with a family"),
        ("record: data}", "encoded: json}", "needs `record`"),
        ("${record.id}", "${profile.plain}", "'profile' is not known here"),
        ("${record.id}", "${record.id", "is not closed"),
        ("when: [{path: ping}], ", "", "needs something to be recognised by"),
        ("${request.ping}", "${profile.secret}", "only"),
        ("name: Ping,", "name: Ping, tells: x,", "others are kept as events"),
        ("name: Ping,", "name: Ping, visit: url,", "the hosts that may be called"),
        (
            "name: Ping,",
            "name: Ping, visit: url, verified: false, visit_hosts: [a.b.c],",
            "needs `verified: true`",
        ),
        ("name: Ping,", "name: Ping, visit: url, visit_hosts: ['*.com'],", "too wide"),
        ("  event:", "    - {name: Ping, when: [{path: x}]}\n  event:", "two handshakes called 'Ping'"),
        (
            "    - {types: [item]",
            "    - {types: [thing.made], resource: things, record: data}\n    - {types: [item]",
            "is never reached",
        ),
        (
            "expect: {accepted: true, events: 1}",
            "expect: {accepted: true}",
            "lacks a webhook test of a request that is accepted",
        ),
        (
            "expect: {accepted: false, cause: bad_token}",
            "expect: {accepted: true}",
            "lacks a webhook test of a request that is refused",
        ),
        (
            "expect: {handshake: Ping}",
            "expect: {accepted: true}",
            "lacks a webhook test of the handshake 'Ping'",
        ),
        (
            "expect: {handshake: Ping}",
            "expect: {handshake: Pong}",
            "there is no handshake 'Pong'; did you mean 'Ping'",
        ),
        ("accepted: false, cause: bad_token", "accepted: false", "why the request is refused"),
        ("exchange: b.yaml, ", "", "names its exchange"),
        ("event: {id: 'body:id'", "event: {id: 'bodies:id'", "event"),
        ("event: {id: 'body:id'", "event: {id: [['body:id'], []]", "event"),
    ],
)
def test_a_manifest_that_is_wrong(old: str, new: str, said: str) -> None:
    assert old in MANIFEST
    with pytest.raises(ConfigError) as caught:
        load_text(MANIFEST.replace(old, new), "m.yaml")
    assert said in str(caught.value), str(caught.value)


def test_webhooks_are_for_http() -> None:
    text = MANIFEST.replace("driver: http", "driver: sqlite").replace(
        "auth: {type: none}", "auth: {type: driver}"
    )
    with pytest.raises(ConfigError, match="they are for http"):
        load_text(text, "m.yaml")
