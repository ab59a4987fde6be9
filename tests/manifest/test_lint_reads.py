"""Reads that cannot work are told with their place when a manifest is checked."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.loader import load_text

MANIFEST: dict[str, Any] = {
    "manifest": 1,
    "platform": "sample",
    "name": "Sample",
    "version": "0.1.0",
    "category": "other",
    "docs": "none",
    "driver": "http",
    "profile": {"fields": []},
    "auth": {"type": "none"},
    "transport": {"base_url": "https://api.example.com"},
    "check": [{"id": "alive", "request": {"path": "/"}}],
    "tests": [
        {"name": "n", "kind": "error", "code": "0", "expect": {"class": "systemic", "action": "fail_stream"}}
    ],
}
JOB = {
    "type": "async_job",
    "id": "id",
    "poll": {"path": "/jobs/${job.id}"},
    "status": "state",
    "done": ["done"],
}
WINDOW = {
    "field": "at",
    "type": "iso8601",
    "start_param": "from",
    "end_param": "to",
    "initial": "-P9D",
    "window": "P1D",
}


def load(read: dict[str, Any]) -> None:
    document = copy.deepcopy(MANIFEST)
    whole = {"request": {"path": "/x"}, "records": "data", "page": {"type": "none"}, **read}
    document["resources"] = {"items": {"key": ["id"], "read": whole}}
    load_text(json.dumps(document), "sample.yaml")


GOOD: list[dict[str, Any]] = [
    {"format": "csv", "records": ""},
    {"page": {**JOB, "url": "url"}},
    {"page": {**JOB, "results": {"path": "/r"}, "locator": {"header": "L", "param": "l"}}},
    {"cursor": WINDOW},
    {"cursor": {"field": "at", "type": "epoch_s", "format": "%Y-%m-%d", "start_param": "from"}},
    {
        "request": {"path": "/x", "query": {"q": "at >= ${ cursor.start | default:0 }"}},
        "cursor": {"field": "at", "type": "epoch_s", "side": "server"},
    },
    {
        "request": {"path": "/x", "query": {"q": "[${page.offset},${page.end}]"}},
        "page": {"type": "offset", "param": None, "limit_param": None, "size": 2},
    },
    {"records": "", "page": {"type": "cursor", "from": "last_record.id", "param": "after", "size": 2}},
    {"format": "ndjson", "records": "", "page": {"type": "token_header", "name": "next", "param": "after"}},
    {"records": "", "entries": "name", "page": {"type": "cursor", "from": "next", "param": "after"}},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"format": "csv"}, "read.records: of csv is ''"),
    ({"format": "ndjson", "records": "", "entries": "name"}, "read.entries: does not go with ndjson"),
    ({"format": "csv", "records": "", "csv": {"delimiter": '"'}}, "read.csv.delimiter"),
    ({"request": {"path": "/x", "endpoint": "nowhere"}}, "read.request.endpoint: there is no endpoint"),
    (
        {"page": {**JOB, "url": "u", "abort": {"path": "/a", "endpoint": "nowhere"}}},
        "read.page.abort.endpoint: there is no endpoint",
    ),
    (
        {"request": {"path": "/x", "query": {"a": "${cursor.end}"}}},
        "request.query.a: ${cursor.end} has no value",
    ),
    (
        {
            "request": {"path": "/x", "query": {"a": "${cursor.start}"}},
            "cursor": {"field": "id", "type": "int", "side": "server"},
        },
        "request.query.a: ${cursor.start} has no value in the first scan",
    ),
    (
        {
            "request": {"path": "/x", "query": {"a": "${cursor.start | default:0}", "b": "${cursor.end}"}},
            "cursor": {"field": "id", "type": "int", "side": "server"},
        },
        "request.query.b: ${cursor.end} needs a cursor of time",
    ),
    ({"request": {"path": "/x", "query": {"a": "${job.id}"}}}, "request.query.a: there is no job yet"),
    (
        {
            "request": {"path": "/x", "method": "POST", "encode": "text", "body": "q"},
            "page": {"type": "cursor", "from": "n", "param": "a", "in": "body"},
        },
        "read.page.in: needs a body that is an object",
    ),
    (
        {
            "request": {"path": "/x", "method": "POST", "encode": "ndjson", "body": [{"q": 1}]},
            "page": {"type": "cursor", "from": "n", "param": "a", "in": "body"},
        },
        "read.page.in: needs a body that is an object",
    ),
    (
        {"request": {"path": "/x", "method": "POST", "body": {"a": 1}, "graphql": {"document": "{a}"}}},
        "read.request.body: does not go with graphql",
    ),
    ({"from_parent": {"org": "id"}}, "read.from_parent: needs `parent`"),
    (
        {"format": "csv", "records": "", "page": {"type": "cursor", "from": "next", "param": "a"}},
        "read.page.from: is last_record.<field> in csv",
    ),
    (
        {"format": "ndjson", "records": "", "page": {"type": "link_body", "path": "next"}},
        "read.page.path: is not there in ndjson",
    ),
    ({"records": "", "page": {"type": "offset", "size": 2, "more": "m"}}, "read.page.more: is not there"),
    (
        {"format": "csv", "records": "", "page": {"type": "page", "size": 2, "total_pages": "t"}},
        "total_pages",
    ),
    ({"format": "csv", "records": "", "total": "count"}, "read.total: is not there in csv"),
    ({"page": JOB}, "read.page.results: or url is needed"),
    ({"page": {**JOB, "url": "u", "results": {"path": "/r"}}}, "read.page.results: or url is needed"),
    ({"page": {**JOB, "url": "u", "locator": {"header": "L", "param": "l"}}}, "read.page.locator: needs"),
    ({"page": {**JOB, "url": "u", "poll": {"path": "/a?b"}}}, "read.page.poll.path"),
    ({"page": {"type": "cursor", "from": "n", "param": "a", "in": "body"}}, "read.page.in: a GET request"),
    ({"page": {"type": "offset", "param": None, "size": 2}}, "read.page.param: is null"),
    ({"cursor": {"field": "at", "type": "iso8601", "side": "server"}}, "read.cursor.side: is server"),
    ({"cursor": {**WINDOW, "initial": None}}, "read.cursor.window: needs `initial`"),
    ({"cursor": {**WINDOW, "end_param": None}}, "read.cursor.window: needs both ends"),
    ({"cursor": {**WINDOW, "type": "int"}}, "read.cursor.window: needs a cursor of time"),
    ({"cursor": {"field": "at", "type": "iso8601", "format": "iso"}}, "read.cursor.format: is iso8601"),
    ({"cursor": {"field": "at", "type": "string", "format": "date"}}, "read.cursor.format: needs a cursor"),
]


@pytest.mark.parametrize("place", ["path", "query", "headers"])
def test_a_bulk_write_is_for_many_rows(place: str) -> None:
    document = copy.deepcopy(MANIFEST)
    given: Any = "/x/${ record.id }" if place == "path" else {"X-Id": "${record.id}"}
    create = {"path": "/x", "body": "${items}", "bulk": {"size": 2}, place: given}
    document["resources"] = {"items": {"key": ["id"], "write": {"create": create}}}
    with pytest.raises(ConfigError, match=f"write.create.{place}: of a bulk write"):
        load_text(json.dumps(document), "sample.yaml")


@pytest.mark.parametrize("section", ["check", "write"])
def test_every_request_goes_to_an_endpoint_that_there_is(section: str) -> None:
    document = copy.deepcopy(MANIFEST)
    document["transport"]["endpoints"] = {"search": {"base_url": "https://search.example.com"}}
    create: dict[str, Any] = {"path": "/x", "body": {"endpoint": "of the record", "path": "/"}}
    document["resources"] = {"items": {"key": ["id"], "write": {"create": create}}}
    asked = document["check"][0]["request"] if section == "check" else create
    load_text(json.dumps(document), "sample.yaml")
    asked["endpoint"] = "search"
    load_text(json.dumps(document), "sample.yaml")
    asked["endpoint"] = "serach"
    with pytest.raises(ConfigError, match=f"{section}.*endpoint: there is no endpoint"):
        load_text(json.dumps(document), "sample.yaml")


@pytest.mark.parametrize("read", GOOD)
def test_reads_that_work(read: dict[str, Any]) -> None:
    load(read)


@pytest.mark.parametrize(("read", "said"), BAD)
def test_reads_that_cannot_work(read: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(read)
    assert said in str(caught.value)
