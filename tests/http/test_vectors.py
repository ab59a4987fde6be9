"""The tests that every bundled manifest ships, run offline against its recorded exchanges."""

from __future__ import annotations

from pathlib import Path

import pytest

from platint_tui.drivers.http.replay import run_vector
from platint_tui.manifest.loader import load_connector, load_text
from platint_tui.manifest.vectors import load_vector_text, vector_of

FOLDER = Path(__file__).parents[2] / "connectors"
PLATFORMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_bundled_manifests(platform: str) -> None:
    connector = load_connector(FOLDER / f"{platform}.yaml")
    failures = {}
    for test in connector.tests if connector.driver == "http" else ():
        if test.kind == "webhook":
            continue  # tests/webhooks
        outcome = await run_vector(connector, test, vector_of(test, FOLDER / "_vectors" / platform))
        if not outcome.ok:
            failures[test.name] = outcome.failures
    assert failures == {}


MANIFEST = """
manifest: 1
platform: sample
name: Sample
version: 0.1.0
category: other
docs: none
driver: http
profile: {fields: [{id: key, secret: true}]}
auth: {type: bearer, secret: key}
transport: {base_url: 'https://api.example.com/api', allowed_hosts: [api.example.com]}
errors: {rules: [{when: {status: [418]}, class: record, action: dead_letter}]}
check: [{id: me, request: {path: /me}}]
resources:
  items:
    key: [id]
    read:
      request: {path: /items, query: {limit: 2}}
      records: data
      page: {type: cursor, from: next, param: after}
tests:
  - {name: read, kind: read, resource: items, exchange: a.yaml, expect: {records: 2, requests: 2}}
  - {name: teapot, kind: error, exchange: b.yaml, expect: {class: record, action: dead_letter}}
"""
GOOD = """
exchanges:
  - request: {method: GET, path: /items, query: {limit: '2'}}
    response: {status: 200, json: {data: [{id: 1}], next: x}}
  - request: {method: GET, path: /items, query: {limit: '2', after: x}}
    response: {status: 200, json: {data: [{id: 2}], next: null}}
"""


@pytest.mark.parametrize(
    ("exchanges", "said"),
    [
        (GOOD, ""),
        (GOOD.replace("after: x", "after: y"), "query differs in after"),
        (
            GOOD.replace("path: /items, query: {limit: '2', after: x}", "path: /other"),
            "'/api/other' was recorded",
        ),
        (GOOD.replace("next: x", "next: null"), "2 requests are expected, 1"),
        (GOOD.replace("next: null", "next: z"), "only 2 requests were recorded"),
        (GOOD.replace("data: [{id: 2}]", "data: null"), "A list of records is expected"),
        (GOOD.replace("[{id: 2}]", "[7]"), "an element is no record"),
    ],
)
async def test_a_read_that_is_not_the_recorded_one_fails(exchanges: str, said: str) -> None:
    connector = load_text(MANIFEST, "sample.yaml")
    outcome = await run_vector(connector, connector.tests[0], load_vector_text(exchanges))
    assert outcome.ok is (said == "")
    assert said in "\n".join(outcome.failures)


@pytest.mark.parametrize(("status", "ok"), [(418, True), (500, False), (200, False)])
async def test_an_error_that_means_something_else_fails(status: int, ok: bool) -> None:
    connector = load_text(MANIFEST, "sample.yaml")
    text = f"exchanges: [{{request: {{path: /items}}, response: {{status: {status}, json: {{}}}}}}]"
    assert (await run_vector(connector, connector.tests[1], load_vector_text(text))).ok is ok
    assert not (await run_vector(connector, connector.tests[1], None)).ok
