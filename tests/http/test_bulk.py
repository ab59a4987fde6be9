"""Many rows in one request: each has an outcome of its own, whatever the platform says of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, ErrorClass
from platint_tui.core.model import Batch, Row, TargetPlan, WriteResult
from tests.http.hostile import Build, Hostile, Rig, Seen, answer

RULES = [
    {"when": {"status": [400, 413, 422]}, "class": "record", "action": "dead_letter"},
    {"when": {"status": [429]}, "class": "rate_limited", "action": "wait"},
    {
        "when": {"status": ["500-599"], "network": True},
        "class": "transient",
        "action": "retry",
        "then": "dead_letter",
    },
]


def bulk(kind: str = "create", results: Any = None, **changes: Any) -> dict[str, Any]:
    """The manifest with one bulk write."""
    operation = {
        "path": "/items/batch",
        "body": {"rows": "${items}"},
        "bulk": {"size": 4, "results": results},
        **changes,
    }
    return {
        "resources": {"items": {"write": {kind: operation}}},
        "errors": {"policy": {"attempts": 3, "base": "10ms", "cap": "20ms"}, "rules": RULES},
    }


def rows(*values: Any) -> list[Row]:
    return [Row(json.dumps([n]), "{}", value, None, f"key-{n}") for n, value in enumerate(values)]


async def write(rig: Rig, *values: Any, operation: str = "") -> WriteResult:
    plan = TargetPlan("sync", "stream", "items", ("id",), None, (), 1, "run", operation)
    target = await rig.driver.open_target(plan)
    return await target.write(Batch(rows(*values), None))


class Shop:
    """A platform that takes rows in bulk. `bad` are ids that it refuses."""

    def __init__(self, bad: set[int], *, whole: bool) -> None:
        self.bad, self.whole = bad, whole
        self.taken: list[int] = []
        self.requests: list[list[int]] = []

    def __call__(self, seen: Seen, writer: Any) -> None:
        wanted = [item["id"] for item in json.loads(seen.body)["rows"]]
        self.requests.append(wanted)
        if self.whole and self.bad & set(wanted):
            writer.write(answer(422, {"error": {"code": "bad_row", "message": "one of the rows is bad"}}))
            return
        self.taken += [number for number in wanted if number not in self.bad]
        told = [
            {"id": n, "error": {"code": "bad", "text": f"row {n}"} if n in self.bad else None} for n in wanted
        ]
        writer.write(answer(200, {"results": told}))


ORDERED = {
    "path": "results",
    "failed": {"path": "error", "exists": True},
    "code": "error.code",
    "message": "error.text",
}


@pytest.mark.parametrize("kind", ["create", "upsert"])
@pytest.mark.parametrize("whole", [True, False])
@given(st.sets(st.integers(0, 10)), st.integers(1, 11))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_good_rows_are_taken_once_and_bad_ones_are_faults(
    build: Build, hostile: Hostile, kind: str, whole: bool, bad: set[int], count: int
) -> None:
    shop = Shop(bad, whole=whole)
    hostile.routes["/items/batch"] = shop
    rig = build(bulk(kind, None if whole else ORDERED))
    result = await write(rig, *[{"id": number} for number in range(count)])
    expected_bad = sorted(bad & set(range(count)))
    assert sorted(shop.taken) == [number for number in range(count) if number not in bad]
    assert sorted(index for index, _ in result.faults) == expected_bad
    assert result.written == count - len(expected_bad)
    assert all(len(request) <= 4 for request in shop.requests)
    assert all(fault.error_class is ErrorClass.RECORD for _, fault in result.faults)


async def test_outcomes_by_the_id_that_was_sent(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        inputs = json.loads(seen.body)["rows"]
        refused = [
            {"context": {"trace": item["trace"]}, "category": "INVALID", "text": "no"} for item in inputs[1:2]
        ]
        writer.write(answer(207, {"errors": refused}))

    hostile.routes["/items/batch"] = handle
    results = {
        "path": "errors",
        "id": "context.trace",
        "only_failures": True,
        "code": "category",
        "message": "text",
    }
    manifest = bulk(
        "upsert",
        results,
        bulk={"size": 4, "item": {"p": "${record}", "trace": "${item.id}"}, "results": results},
    )
    result = await write(build(manifest), {"id": 1}, {"id": 2}, {"id": 3})
    [(index, fault)] = result.faults
    assert index == 1 and fault.code == "INVALID" and "no" in fault.message


async def test_lines_and_an_outcome_for_each_as_a_search_engine_has_it(
    build: Build, hostile: Hostile
) -> None:
    tries: dict[str, int] = {}

    def handle(seen: Seen, writer: Any) -> None:
        lines = [json.loads(line) for line in seen.body.decode().splitlines()]
        items = []
        for head, document in zip(lines[::2], lines[1::2], strict=True):
            name = head["index"]["_id"]
            tries[name] = tries.get(name, 0) + 1
            status = 400 if document["n"] == "x" else 429 if name == "2" and tries[name] == 1 else 201
            error = {"type": "mapper_parsing_exception", "reason": "no number"} if status >= 400 else None
            items.append({"index": {"_id": name, "status": status, **({"error": error} if error else {})}})
        writer.write(answer(200, {"errors": True, "items": items}))

    hostile.routes["/items/batch"] = handle
    results = {
        "path": "items",
        "unwrap": True,
        "status": "status",
        "code": "error.type",
        "message": "error.reason",
    }
    item = [{"index": {"_id": "${record.id}"}}, "${record | without:id}"]
    manifest = bulk(
        "upsert",
        results,
        encode="ndjson",
        body="${items}",
        bulk={"size": 10, "item": item, "results": results},
    )
    result = await write(build(manifest), {"id": "1", "n": 1}, {"id": "2", "n": 2}, {"id": "3", "n": "x"})
    assert result.written == 2 and tries == {"1": 1, "2": 2, "3": 1}
    [(index, fault)] = result.faults
    assert index == 2 and fault.code == "mapper_parsing_exception" and "no number" in fault.message
    assert hostile.seen[0].headers["content-type"] == "application/x-ndjson"


async def test_portions_by_size_in_bytes(build: Build, hostile: Hostile) -> None:
    shop = Shop(set(), whole=True)
    hostile.routes["/items/batch"] = shop
    manifest = bulk("upsert", bulk={"size": 100, "max_bytes": "1kB"})
    await write(build(manifest), *[{"id": n, "text": "x" * 300} for n in range(7)])
    assert sorted(shop.taken) == list(range(7))
    assert max(len(request) for request in shop.requests) == 3


async def test_a_lost_answer_of_a_bulk_create_is_unknown_for_its_rows_only(
    build: Build, hostile: Hostile
) -> None:
    seen_bodies: list[list[int]] = []

    def handle(seen: Seen, writer: Any) -> None:
        wanted = [item["id"] for item in json.loads(seen.body)["rows"]]
        seen_bodies.append(wanted)
        if 5 in wanted:
            writer.close()
        else:
            writer.write(answer(200, {}))

    hostile.routes["/items/batch"] = handle
    result = await write(build(bulk("create")), *[{"id": number} for number in range(8)])
    assert sorted(map(tuple, seen_bodies)) == [(0, 1, 2, 3), (4, 5, 6, 7)], "nothing is sent twice"
    assert {index for index, _ in result.faults} == {4, 5, 6, 7}
    assert {fault.code for _, fault in result.faults} == {"unknown_outcome"}


async def test_fewer_results_than_rows_are_unknown(build: Build, hostile: Hostile) -> None:
    hostile.json("/items/batch", {"results": [{"id": 1}]})
    result = await write(build(bulk("create", ORDERED)), {"id": 1}, {"id": 2})
    assert {fault.code for _, fault in result.faults} == {"unknown_outcome"} and result.written == 0


OPERATIONS = {
    "resources": {
        "items": {
            "write": {
                "create": {"path": "/items"},
                "update": {
                    "method": "PATCH",
                    "path": "/items/${record.id}",
                    "body": "${record | without:id}",
                },
                "delete": {
                    "method": "DELETE",
                    "path": "/items/${record.id}",
                    "body": None,
                    "gone": [302, 404],
                },
            }
        }
    }
}


async def test_the_operation_that_was_asked_for(build: Build, hostile: Hostile) -> None:
    hostile.json("/items/7", {})
    rig = build(OPERATIONS)
    await write(rig, {"id": 7, "name": "new"}, operation="update")
    await write(rig, {"id": 7}, operation="delete")
    first, second = hostile.seen
    assert (first.method, json.loads(first.body)) == ("PATCH", {"name": "new"})
    assert (second.method, second.body) == ("DELETE", b"")
    with pytest.raises(ConfigError, match="knows no upsert, only create, update or delete"):
        await write(rig, {"id": 7}, operation="upsert")


@pytest.mark.parametrize(("status", "headers"), [(404, {}), (302, {"Location": "/elsewhere"})])
async def test_what_is_gone_already_is_deleted(
    build: Build, hostile: Hostile, status: int, headers: Any
) -> None:
    hostile.json("/items/7", {"message": "none"}, status=status, headers=headers)
    result = await write(build(OPERATIONS), {"id": 7}, operation="delete")
    assert (result.written, list(result.faults)) == (1, [])
    assert [seen.path for seen in hostile.seen] == ["/items/7"], "the redirect is the answer"
