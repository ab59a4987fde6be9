"""Probes: what an account can do, told in words, with what is shown cleaned and without secrets."""

from __future__ import annotations

import json
from typing import Any

from platint_tui.core.model import Capability
from tests.http.hostile import SECRET, Build, Hostile, Rig, answer


def probes(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "check": [{"id": f"p{n}", "request": {"path": "/check"}, **item} for n, item in enumerate(items)]
    } | changes


async def outcome(rig: Rig) -> Capability:
    [only] = await rig.driver.check()
    return only


async def test_whose_account_it_is_stands_beside_the_probe(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {"user": {"name": f"Ada\u001b[31m {SECRET}", "teams": ["a", "b"], "id": 7}})
    found = await outcome(build(probes({"shows": "user.name"})))
    assert found.ok and found.detail.startswith("200 from 127.0.0.1:") and ": Ada" in found.detail
    assert SECRET not in found.detail and "\u001b" not in found.detail and "•••" in found.detail
    assert (await outcome(build(probes({"shows": "user.id"})))).detail.endswith(": 7")
    assert (await outcome(build(probes({"shows": "user.teams"})))).detail.endswith(": a, b")
    missing = await outcome(build(probes({"shows": "user.gone"})))
    assert missing.ok and missing.detail.endswith(hostile.url.partition("://")[2])


async def test_a_good_status_is_not_all_that_is_asked(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {"ok": False, "plan": "free"})
    expect = {"body": {"path": "plan", "in": ["pro", "enterprise"]}}
    found = await outcome(build(probes({"expect": expect})))
    assert not found.ok and found.detail.endswith("answered 200, but with free at 'plan'.")
    hostile.json("/check", {"ok": True, "plan": "pro"})
    assert (await outcome(build(probes({"expect": expect})))).ok


async def test_an_expected_refusal_is_good(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {"message": "no such thing"}, status=404)
    assert (await outcome(build(probes({"expect": {"status": [200, 404]}})))).ok
    assert not (await outcome(build(probes({})))).ok


async def test_the_missing_scope_is_named(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {"ok": False, "error": "missing_scope", "needed": "channels:read"})
    rule = {
        "when": {"body": {"path": "error", "equals": "missing_scope"}},
        "class": "auth",
        "action": "fail_stream",
        "hint": "Add the scope to the app.",
        "detail": {"label": "Missing scope:", "path": "needed"},
    }
    found = await outcome(build(probes({}, errors={"rules": [rule]})))
    assert not found.ok and found.error_class == "auth"
    assert found.detail.endswith("missing_scope. Missing scope: channels:read. Add the scope to the app.")


async def test_probes_speak_graphql_and_xml_at_their_endpoint(build: Build, hostile: Hostile) -> None:
    hostile.json("/graph/q", {"data": {"viewer": {"login": "ada"}}})
    xml = b"<?xml version='1.0'?><Owner><DisplayName>ada</DisplayName></Owner>"
    hostile.routes["/owner"] = lambda seen, writer: writer.write(
        answer(200, xml, {"Content-Type": "text/xml"})
    )
    changes = {
        "transport": {"endpoints": {"graph": {"base_url": "${profile.base_url}/graph"}}},
        "check": [
            {
                "id": "graph",
                "request": {
                    "endpoint": "graph",
                    "method": "POST",
                    "path": "/q",
                    "graphql": {"document": "query { viewer { login } }"},
                },
                "shows": "data.viewer.login",
            },
            {"id": "owner", "request": {"path": "/owner"}, "shows": "DisplayName"},
        ],
    }
    graph, owner = await build(changes).driver.check()
    assert graph.ok and graph.detail.endswith(": ada") and owner.ok and owner.detail.endswith(": ada")
    assert json.loads(hostile.seen[0].body)["query"] == "query { viewer { login } }"
    hostile.json("/graph/q", {"data": None, "errors": [{"message": "Bad token"}]})
    graph, owner = await build(changes).driver.check()
    assert not graph.ok and "Bad token" in graph.detail
    assert owner.detail == "Not tried: 'graph' failed." and not owner.tried


async def test_a_page_for_people_is_no_good_answer(build: Build, hostile: Hostile) -> None:
    page = b"<html><title>Sign in</title></html>"
    hostile.routes["/check"] = lambda seen, writer: writer.write(
        answer(200, page, {"Content-Type": "text/html"})
    )
    found = await outcome(build(probes({})))
    assert not found.ok and "login page?" in found.detail
