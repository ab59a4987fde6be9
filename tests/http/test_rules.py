"""What answers mean: the manifest's rules on bodies, headers and waits, pages for people, errors of GraphQL."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from platint_tui.core.errors import CredentialError, ErrorClass, PlatintError, RateLimited, SystemicError
from platint_tui.core.model import Batch, Row, TargetPlan
from platint_tui.drivers.http import documents
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import LARGE, tree_of
from platint_tui.drivers.http.matching import stays
from platint_tui.drivers.http.rules import Op, Rules, Verdict
from platint_tui.drivers.http.waits import seconds_to_wait
from platint_tui.manifest import schema
from tests.http.hostile import SECRET, Build, Hostile, Whole, answer

NOW = 1_800_000_000_000


def judged(
    rules: list[dict[str, Any]],
    body: Any,
    status: int = 400,
    headers: dict[str, str] | None = None,
    op: Op = "read",
    graphql: bool = False,
) -> Verdict | None:
    parsed = tuple(schema.ErrorRule.model_validate(rule) for rule in rules)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Answer(status, httpx.Headers(headers or {}), data, "http://peer/x", len(data))
    return Rules(parsed).judge(reply, op, "Peer", NOW, graphql)


def rule(**when: Any) -> dict[str, Any]:
    return {"when": when, "class": "config", "action": "fail_stream"}


@pytest.mark.parametrize(
    ("test", "body", "holds"),
    [
        ({"path": "ok", "equals": False}, {"ok": False}, True),
        ({"path": "ok", "equals": False}, {"ok": 0}, False),
        ({"path": "n", "equals": 1}, {"n": True}, False),
        ({"path": "error"}, {"error": "x"}, True),
        ({"path": "error"}, {"error": None}, False),
        ({"path": "error", "exists": True}, {"error": None}, False),
        ({"path": "error", "exists": True}, {"error": 0}, True),
        ({"path": "error", "exists": False}, {"error": None}, True),
        ({"path": "error", "exists": False}, {}, True),
        ({"path": "error", "exists": False}, {"error": ""}, False),
        ({"path": "error", "in": ["a", "b"]}, {"error": "b"}, True),
        ({"path": "error", "in": ["a", 2]}, {"error": "2"}, False),
        ({"path": "error", "contains": "limit"}, {"error": "rate limited"}, True),
        ({"path": "all", "contains": "limit"}, {"all": ["x", "rate limited"]}, True),
        ({"path": "all.1", "contains": "limit"}, {"all": ["x", "rate limited"]}, True),
        (
            {"path": "errors.0.extensions.code", "equals": "X"},
            {"errors": [{"extensions": {"code": "X"}}]},
            True,
        ),
        ({"path": "errors.1.code", "equals": "X"}, {"errors": [{"code": "X"}]}, False),
        ({"path": "0.errorCode", "equals": "X"}, [{"errorCode": "X"}], True),
        ({"path": "error", "exists": False}, b"no document", True),
        ({"path": "error"}, b"{broken", False),
    ],
)
def test_what_a_body_says(test: dict[str, Any], body: Any, holds: bool) -> None:
    for status in (200, 400):
        verdict = judged([rule(status=[status], body=test)], body, status)
        assert (verdict is not None and verdict.error_class is ErrorClass.CONFIG) is holds


def test_a_rule_is_for_reads_or_for_writes() -> None:
    of_writes = {"when": {"op": "write", "status": [400]}, "class": "config", "action": "fail_run"}
    general = {"when": {"status": [400]}, "class": "transient", "action": "ignore"}
    first, second = judged([of_writes, general], {}), judged([of_writes, general], {}, op="write")
    assert first is not None and first.action == "ignore"
    assert second is not None and second.error_class is ErrorClass.CONFIG
    plain = judged([general], {}, op="write")
    assert plain is not None and plain.action == "dead_letter", "ignoring a write has to be said"


def test_all_tests_of_a_rule_must_hold_and_the_first_rule_decides() -> None:
    both = rule(body={"path": "a", "equals": 1}, and_body={"path": "b", "exists": False})
    other = {"when": {"body": {"path": "a"}}, "class": "record", "action": "ignore"}
    first, second = judged([both, other], {"a": 1}, 200), judged([both, other], {"a": 1, "b": 2}, 200)
    assert first is not None and first.error_class is ErrorClass.CONFIG
    assert second is not None and second.action == "ignore"
    assert judged([both], {"b": 2}, 200) is None
    with_header = rule(status=["403-429"], header={"name": "X-Left", "in": ["0", "-1"]})
    assert judged([with_header], {}, 429, {"x-left": "0"}).error_class is ErrorClass.CONFIG  # type: ignore[union-attr]
    assert judged([with_header], {}, 429, {"x-left": "3"}).error_class is ErrorClass.RATE_LIMITED  # type: ignore[union-attr]
    assert judged([rule(header={"name": "X-Gone"})], {}, 404).error_class is ErrorClass.SYSTEMIC  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("form", "value", "seconds"),
    [
        ("retry_after", "17", 17),
        ("retry_after", "0.65", 0.65),
        ("retry_after", "Fri, 15 Jan 2027 08:00:10 GMT", 10),
        ("seconds", "2.5", 2.5),
        ("seconds", 3, 3),
        ("milliseconds", "1500", 1.5),
        ("clock", "00:00:17", 17),
        ("clock", "1.02:00:01.5", 93601.5),
        ("epoch_s", "1800000042", 42),
        ("epoch_s", "1800000000.25", 0.25),
        ("epoch_s", "1", 0),
        ("epoch_ms", 1_800_000_002_000, 2),
        ("iso8601", "2027-01-15T08:00:30Z", 30),
        ("iso8601", "2027-01-15T09:00:30+01:00", 30),
        ("iso8601", "2027-01-15T08:00:30", 30),
        ("seconds", "-1", None),
        ("seconds", "nan", None),
        ("seconds", "soon", None),
        ("seconds", True, None),
        ("seconds", None, None),
        ("seconds", "1e12", None),
        ("clock", "17", None),
        ("iso8601", "tomorrow", None),
        ("epoch_s", "inf", None),
    ],
)
def test_every_form_of_a_wait(form: Any, value: Any, seconds: float | None) -> None:
    assert seconds_to_wait(value, form, NOW) == (
        None if seconds is None else pytest.approx(seconds, abs=0.01)
    )


@pytest.mark.parametrize(
    ("wait", "body", "headers", "seconds"),
    [
        ({"path": "retry_after", "format": "seconds"}, {"retry_after": 0.65}, {}, 0.65),
        ({"header": "X-Reset", "format": "epoch_s"}, {}, {"X-Reset": "1800000009"}, 9),
        ({"header": "X-Reset", "format": "epoch_s", "seconds": "1m"}, {}, {}, 60),
        ({"header": "X-Reset", "format": "epoch_s", "seconds": "1m"}, {}, {"Retry-After": "5"}, 5),
        ({"header": "X-Reset", "path": "wait", "format": "seconds"}, {"wait": "7"}, {}, 7),
        ({}, {}, {}, None),
    ],
)
def test_where_a_wait_is_said(wait: Any, body: Any, headers: Any, seconds: float | None) -> None:
    found = {"when": {"status": [429]}, "class": "rate_limited", "action": "wait", "wait": wait}
    verdict = judged([found], body, 429, headers)
    assert verdict is not None and verdict.wait == seconds


@pytest.mark.parametrize(
    ("code", "body", "headers", "found"),
    [
        (
            {"path": "__type", "after": "#"},
            {"__type": "com.amazonaws.sqs#QueueDoesNotExist"},
            {},
            "QueueDoesNotExist",
        ),
        ({"path": "__type", "after": "#"}, {"__type": "QueueDoesNotExist"}, {}, "QueueDoesNotExist"),
        ({"header": "X-Kind", "before": ":"}, {}, {"X-Kind": "NotFound:http://x"}, "NotFound"),
        ({"header": "X-Kind", "after": "#", "before": ";"}, {}, {"X-Kind": "a#B;Sender"}, "B"),
        ({"path": "gone"}, {"code": 7}, {}, "7"),
        ({"path": "gone", "header": "gone"}, {}, {}, "400"),
    ],
)
def test_where_the_code_is(code: Any, body: Any, headers: Any, found: str) -> None:
    verdict = judged([{**rule(status=[400]), "code": code}], body, 400, headers)
    assert verdict is not None and verdict.code == found


def test_what_is_missing_is_named() -> None:
    named = {**rule(body={"path": "error", "equals": "missing_scope"}), "hint": "Ask for it."}
    named["detail"] = {"label": "Missing scope:", "path": "needed"}
    verdict = judged([named], {"ok": False, "error": "missing_scope", "needed": "channels:read"}, 200)
    assert verdict is not None
    assert verdict.message == "Peer answered 200: missing_scope. Missing scope: channels:read."
    assert verdict.error("channels", NOW).sentence().endswith("channels:read. Ask for it.")
    several = {**rule(status=[403]), "detail": {"label": "Needs", "path": "e.0.scopes", "header": "X-Scopes"}}
    text = judged([several], {"e": [{"scopes": ["a", "b"]}]}, 403)
    assert text is not None and text.message == "Peer answered 403. Needs a, b."
    header = judged([several], {}, 403, {"x-scopes": "repo"})
    assert header is not None and header.message == "Peer answered 403. Needs repo."
    nothing = judged([several], {}, 403)
    assert nothing is not None and nothing.message == "Peer answered 403."


def test_xml_errors_are_read_by_paths() -> None:
    body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
    slow = {
        "when": {"body": {"path": "Code", "equals": "SlowDown"}},
        "class": "rate_limited",
        "action": "wait",
    }
    verdict = judged([slow], body, 503, {"content-type": "application/xml"})
    assert verdict is not None and verdict.error_class is ErrorClass.RATE_LIMITED
    assert (verdict.code, verdict.message) == ("SlowDown", "Peer answered 503: Reduce your rate.")
    nested = b"<ErrorResponse xmlns='u'><Error><Type>Sender</Type><Code>Denied</Code></Error></ErrorResponse>"
    deep = judged(
        [rule(body={"path": "Error.Code", "equals": "Denied"})], nested, 403, {"content-type": "text/xml"}
    )
    assert deep is not None and deep.error_class is ErrorClass.CONFIG
    bomb = b'<!DOCTYPE a [<!ENTITY b "c">]><Error><Code>&b;</Code></Error>'
    refused = judged([slow], bomb, 400, {"content-type": "application/xml"})
    assert refused is not None and refused.error_class is ErrorClass.SYSTEMIC


def test_graphql_errors_are_errors_with_status_200() -> None:
    body = {
        "data": None,
        "errors": [{"message": "Field 'x' is unknown", "extensions": {"code": "undefinedField"}}],
    }
    assert judged([], body, 200) is None
    read, write = judged([], body, 200, graphql=True), judged([], body, 200, op="write", graphql=True)
    assert read is not None and write is not None
    assert (read.error_class, read.action, read.code) == (
        ErrorClass.SYSTEMIC,
        "fail_stream",
        "undefinedField",
    )
    assert read.message == "Peer answered 200: Field 'x' is unknown"
    assert (write.error_class, write.action) == (ErrorClass.RECORD, "dead_letter")
    assert judged([], {"data": {}, "errors": []}, 200, graphql=True) is None
    throttled = {
        "when": {"body": {"path": "errors.0.extensions.code", "equals": "THROTTLED"}},
        "class": "rate_limited",
        "action": "wait",
    }
    body["errors"][0]["extensions"]["code"] = "THROTTLED"  # type: ignore[index]
    slow = judged([throttled], body, 200, graphql=True)
    assert slow is not None and slow.error_class is ErrorClass.RATE_LIMITED


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_G1_an_html_page_is_a_typed_error_that_says_so(status: int) -> None:
    page = b"<!DOCTYPE html><html><head><title>Sign in &middot; Peer</title></head><body>x</body></html>"
    verdict = judged([], page, status, {"content-type": "text/html; charset=utf-8"})
    assert verdict is not None and verdict.hint
    if status == 200:
        assert verdict.code == "not_json" and "login page?" in verdict.message
    else:
        assert verdict.message == f"Peer answered {status} with an HTML page: Sign in \u00b7 Peer."
    assert judged([], b"", 200, {"content-type": "text/html"}) is None


async def test_G17_the_kinds_of_refusal_have_types_and_hints(build: Build, hostile: Hostile) -> None:
    async def refused(status: int, body: Any) -> PlatintError:
        hostile.json("/items", body, status=status)
        with pytest.raises(PlatintError) as caught:
            await build().read()
        return caught.value

    gone = await refused(404, {"message": "Not Found"})
    assert isinstance(gone, SystemicError) and "does the account have this feature" in gone.hint
    assert gone.where == "items"
    expired = await refused(401, {"error": {"code": "token_expired", "message": f"expired {SECRET}"}})
    assert isinstance(expired, CredentialError) and expired.code == "token_expired" and expired.hint
    assert SECRET not in expired.sentence()
    plain = build({"errors": {"policy": {"budget": "1s"}}})
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(429, b"Retry later", {"Content-Type": "text/plain", "Retry-After": "120"})
    )
    with pytest.raises(RateLimited):
        await plain.read()


async def test_terminal_escapes_of_an_answer_reach_nobody(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "a\u001b]52;c;eA==\u0007b\u202ec"}, status=403)
    with pytest.raises(CredentialError) as caught:
        await build().read()
    assert not {"\u001b", "\u0007", "\u202e"} & set(caught.value.message)


@pytest.mark.parametrize(
    ("location", "holds"),
    [
        ("https://ci.example/job/login/", True),
        ("/job/login/", True),
        ("/view/all?from=login", True),
        ("..", True),
        ("/login?from=/job/login/job/a", False),
        ("/securityRealm/commenceLogin", False),
        ("/job/login/signin", False),
        ("/oauth2/start", False),
        ("https://ci.example:8443/", False),
        ("http://ci.example/", False),
        ("https://other.example/", False),
        ("//other.example/", False),
        ("https://[x", False),
        ("", False),
    ],
)
def test_where_a_redirect_leads(location: str, holds: bool) -> None:
    assert stays("https://ci.example/job/login/job/a/doDelete", location) is holds


NEEDS = {"needs": ["items:read"], "write_needs": ["items:write"], "write": {"update": {"path": "/items"}}}


@pytest.mark.parametrize(
    ("status", "said", "op", "told"),
    [
        (403, "no", "read", "Reading items needs: items:read."),
        (403, "no", "write", "Writing items needs: items:write."),
        (403, "The scope items:read is missing", "read", ""),
        (401, "no", "read", ""),
        (404, "no", "read", ""),
    ],
)
async def test_only_a_refused_permission_says_what_is_needed(
    build: Build, hostile: Hostile, status: int, said: str, op: str, told: str
) -> None:
    hostile.json("/items", {"message": said}, status=status)
    rig = build({"resources": {"items": NEEDS}})
    with pytest.raises(PlatintError) as caught:
        if op == "read":
            await rig.read()
        else:
            plan = TargetPlan("s", "s", "items", ("id",), None, (), 1, "r", "update")
            target = await rig.driver.open_target(plan)
            await target.write(Batch([Row("[1]", "{}", {"id": 1}, None, "k")], None))
    assert told in caught.value.hint and ("needs:" in caught.value.hint) is bool(told)


async def test_a_refused_token_is_not_told_as_a_missing_scope(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "Bad credentials"}, status=401)
    rules = [{"when": {"status": [401]}, "class": "auth", "action": "refresh_auth", "then": "fail_run"}]
    auth = {"type": "basic", "username": "client", "password": "key"}
    rig = build({"resources": {"items": NEEDS}, "errors": {"rules": rules}, "auth": Whole(auth)})
    with pytest.raises(CredentialError) as caught:
        await rig.read()
    assert "needs:" not in caught.value.hint


async def test_the_words_of_a_platform_and_the_hint_are_sentences(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {"message": "Not Found"}, status=404)
    rules = [{"when": {"status": [404]}, "class": "record", "action": "dead_letter", "hint": "It is gone."}]
    rig = build({"errors": {"rules": rules}})
    [probe] = await rig.driver.check()
    assert probe.detail == "Hostile answered 404: Not Found. It is gone."
    assert SystemicError("It said “no”", hint="Try later.").sentence() == "It said “no”. Try later."
    assert SystemicError("It said no!", hint="Try later.").sentence() == "It said no! Try later."
    assert SystemicError("It said no").sentence() == "It said no"


@pytest.mark.parametrize(
    ("size", "rules", "threaded"),
    [(2 * LARGE, True, True), (2 * LARGE, False, False), (LARGE // 2, True, False)],
)
async def test_the_tree_of_a_large_answer_is_made_in_a_thread(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch, size: int, rules: bool, threaded: bool
) -> None:
    made: list[bool] = []
    main = threading.get_ident()

    def noted(reply: Answer) -> Any:
        made.append(threading.get_ident() != main)
        return tree_of(reply)

    monkeypatch.setattr(documents, "tree_of", noted)
    hostile.json("/items", {"ok": True, "data": [{"id": 1, "text": "x" * size}], "next": None})
    refused = {"when": {"body": {"path": "ok", "equals": False}}, "class": "systemic", "action": "fail_run"}
    await build({"errors": {"rules": [refused] if rules else []}}).read()
    assert made == ([threaded] if rules else [])
