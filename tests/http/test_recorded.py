"""The offline tests of manifests: writes, probes and discovery are run, and differences are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from platint_tui.drivers.http.replay import run_vector
from platint_tui.manifest.loader import load_text
from platint_tui.manifest.vectors import load_vector_text
from tests.http.hostile import MANIFEST, merged

CHANGES = {
    "auth": {
        "type": "first_of",
        "of": [{"auth": {"type": "bearer", "secret": "key"}}, {"auth": {"type": "none"}}],
    },
    "profile": {
        "fields": [
            {"id": "base_url", "type": "url", "default": "https://api.example.com/v1"},
            {"id": "key", "secret": True},
        ]
    },
    "transport": {
        "endpoints": {"files": {"base_url": "https://files.example.com"}},
        "allowed_hosts": ["files.example.com"],
    },
    "errors": {
        "rules": [
            {"when": {"status": [422]}, "class": "record", "action": "dead_letter", "code": {"path": "code"}}
        ]
    },
    "discover": {
        "type": "static",
        "listings": [{"into": "things.*", "request": {"path": "/things"}, "records": "", "name": "name"}],
    },
    "resources": {
        "things.*": {
            "key": [],
            "read": {"request": {"path": "/things/${resource.of}"}, "records": "", "page": {"type": "none"}},
        },
        "items": {
            "write": {
                "create": {"path": "/items", "encode": "form", "headers": {"X-Do": "create"}},
                "upsert": {"path": "/items", "encode": "ndjson", "body": "${items}", "bulk": {"size": 10}},
                "update": {
                    "endpoint": "files",
                    "method": "PUT",
                    "path": "/f/${record.id}",
                    "encode": "xml",
                    "body": {"F": {"N": "${record.n}"}},
                },
                "delete": {"method": "DELETE", "path": "/items/${record.id}", "body": None, "gone": [404]},
            },
        },
    },
}


async def failures(test: dict[str, Any], *exchanges: tuple[Any, Any]) -> list[str]:
    """What is wrong with a test: exchanges are (request, response)."""
    document = merged(MANIFEST, CHANGES)
    document |= {"profile": CHANGES["profile"], "auth": CHANGES["auth"]}
    document["transport"]["allowed_hosts"] = ["files.example.com"]
    document["tests"] = [{"name": "t", "exchange": "t.yaml", **test}]
    connector = load_text(json.dumps(document), "hostile.yaml")
    recorded = [{"request": request, "response": response} for request, response in exchanges]
    vector = load_vector_text(json.dumps({"exchanges": recorded}))
    return list((await run_vector(connector, connector.tests[0], vector)).failures)


def writes(operation: str, *rows: Any, **expect: Any) -> dict[str, Any]:
    return {"kind": "write", "resource": "items", "operation": operation, "rows": rows, "expect": expect}


OK = {"status": 200, "json": {}}
FORM = {"method": "POST", "path": "/items", "body": {"id": "1", "a[b]": "x"}, "headers": {"X-Do": "create"}}


async def test_a_write_with_its_body() -> None:
    test = writes("create", {"id": 1, "a": {"b": "x"}}, written=1)
    assert await failures(test, (FORM, OK)) == []
    assert await failures(test, ({**FORM, "body": "id=1&a%5Bb%5D=x"}, OK)) == []
    [said, *_] = await failures(test, ({**FORM, "body": {"id": "2"}}, OK))
    assert 'the body {"id":"2"} was recorded' in said
    [said, *_] = await failures(test, ({**FORM, "headers": {"X-Do": "other"}}, OK))
    assert "the header X-Do: other was recorded" in said
    assert "1 rows are to be written, 0 were" in await failures(test, (FORM, {"status": 422, "json": {}}))


async def test_lines_xml_and_whole_addresses() -> None:
    lines = {"method": "POST", "path": "/items", "body": [{"id": 1}, {"id": 2}]}
    assert await failures(writes("upsert", {"id": 1}, {"id": 2}, written=2, requests=1), (lines, OK)) == []
    update = writes("update", {"id": 1, "n": "x"}, written=1)
    request = {"method": "PUT", "path": "https://files.example.com/f/1", "body": {"N": "x"}}
    assert await failures(update, (request, OK)) == []
    [said, *_] = await failures(update, ({**request, "path": "https://api.example.com/f/1"}, OK))
    assert "the address 'https://api.example.com/f/1' was recorded" in said


async def test_rows_may_be_recorded_in_any_order_and_refusals_are_expected_by_class_and_code() -> None:
    first = ({"method": "DELETE", "path": "/items/1"}, {"status": 404})
    second = ({"method": "DELETE", "path": "/items/2"}, {"status": 422, "json": {"code": "locked"}})
    test = writes("delete", {"id": 1}, {"id": 2}, written=1, **{"class": "record", "code": "locked"})
    assert await failures(test, second, first) == []
    test["expect"]["code"] = "other"
    assert await failures(test, second, first) == ["the code other is expected, locked came"]


async def test_probes() -> None:
    test: dict[str, Any] = {"kind": "check", "expect": {"requests": 1}}
    asked = {"method": "GET", "path": "/check"}
    assert await failures(test, (asked, OK)) == []
    [said] = await failures(test, (asked, {"status": 403, "json": {"message": "no"}}))
    assert said.startswith("alive: Hostile answered 403: no")
    refused = {"kind": "check", "expect": {"class": "auth"}}
    assert await failures(refused, (asked, {"status": 401, "json": {}})) == []
    assert await failures(refused, (asked, OK)) == ["an error of class auth is expected, it went well"]
    said, *_ = await failures({"kind": "check", "expect": {}}, ({"method": "GET", "path": "/other"}, OK))
    assert "the path '/v1/other' was recorded" in said


@pytest.mark.parametrize("with_probe", [True, False])
async def test_discovery(with_probe: bool) -> None:
    listing = ({"method": "GET", "path": "/things"}, {"status": 200, "json": [{"name": "a"}, {"name": "b"}]})
    probe = [({"method": "GET", "path": "/check"}, OK)] if with_probe else []
    assert await failures({"kind": "discover", "expect": {"streams": 3}}, *probe, listing) == []
    said = await failures({"kind": "discover", "expect": {"streams": 4}}, *probe, listing)
    assert said == ["4 streams are expected, 3 were found"]


async def test_what_was_recorded_and_not_asked_for_is_told() -> None:
    test = writes("delete", {"id": 1}, written=1)
    request = {"method": "DELETE", "path": "/items/1"}
    said = await failures(test, (request, OK), (request, OK))
    assert said == ["2 requests were recorded, 1 were sent"]
