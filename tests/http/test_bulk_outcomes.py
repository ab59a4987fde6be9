"""Outcomes of bulk writes that are hard to tell: failures of no known row, refusals for now, lost answers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ErrorClass, PlatintError
from platint_tui.core.model import Batch, Row, TargetPlan, WriteResult
from tests.http.hostile import SECRET, Build, Hostile, Rig, Seen, answer

RULES = [
    {"when": {"status": [400, 413, 422]}, "class": "record", "action": "dead_letter"},
    {"when": {"op": "write", "status": [409]}, "class": "record", "action": "ignore"},
    {"when": {"status": [429]}, "class": "rate_limited", "action": "wait"},
    {"when": {"status": ["500-599"]}, "class": "transient", "action": "retry", "then": "dead_letter"},
]
LINES = {
    "path": "items",
    "unwrap": True,
    "status": "status",
    "code": "error.type",
    "message": "error.reason",
}


def bulk(kind: str, results: Any, size: int = 4, **operation: Any) -> dict[str, Any]:
    write = {
        "path": "/bulk",
        "body": {"rows": "${items}"},
        "bulk": {"size": size, "item": {"id": "${record.id}", "trace": "${item.id}"}, "results": results},
        **operation,
    }
    policy = {"attempts": 3, "base": "10ms", "cap": "20ms"}
    return {
        "resources": {"items": {"write": {kind: write}}},
        "errors": {"policy": policy, "rules": RULES},
    }


async def write(rig: Rig, count: int, **more: Any) -> WriteResult:
    plan = TargetPlan("sync", "stream", "items", ("id",), None, (), 1, "run")
    rows = [Row(f"[{n}]", "{}", {"id": n, **more}, None, f"key-{n}") for n in range(count)]
    target = await rig.driver.open_target(plan)
    return await target.write(Batch(rows, None))


def ids(seen: Seen) -> list[int]:
    return [item["id"] for item in json.loads(seen.body)["rows"]]


def lines(hostile: Hostile, statuses: dict[int, list[int]], name: str = "index") -> list[list[int]]:
    """Answers with a status for each row, the last one for ever; the ids of each request."""
    sent: list[list[int]] = []

    def handle(seen: Seen, writer: Any) -> None:
        sent.append(ids(seen))
        told = []
        for number in sent[-1]:
            queue = statuses.get(number, [200])
            status = queue.pop(0) if len(queue) > 1 else queue[0]
            error = {"error": {"type": f"t{status}", "reason": f"why {SECRET}"}} if status >= 400 else {}
            told.append({name: {"_id": str(number), "status": status, **error}})
        writer.write(answer(200, {"errors": True, "items": told}))

    hostile.routes["/bulk"] = handle
    return sent


async def test_rows_that_are_refused_for_now_are_sent_again_without_the_others(
    build: Build, hostile: Hostile
) -> None:
    sent = lines(hostile, {1: [429, 429, 200], 3: [503, 200], 2: [400]})
    result = await write(build(bulk("upsert", LINES)), 4)
    assert sent == [[0, 1, 2, 3], [1, 3], [1]]
    [(index, fault)] = result.faults
    assert (index, fault.code, fault.error_class) == (2, "t400", ErrorClass.RECORD)
    assert result.written == 3


async def test_a_row_that_stays_refused_ends_as_a_fault(build: Build, hostile: Hostile) -> None:
    sent = lines(hostile, {0: [503]})
    result = await write(build(bulk("upsert", LINES)), 1)
    assert sent == [[0]] * 3
    [(_, fault)] = result.faults
    assert fault.error_class is ErrorClass.TRANSIENT and fault.code == "t503"


async def test_a_created_row_with_a_5xx_of_its_own_is_unknown_and_not_sent_again(
    build: Build, hostile: Hostile
) -> None:
    sent = lines(hostile, {1: [503, 200], 2: [429, 200]}, "create")
    result = await write(build(bulk("create", LINES)), 4)
    assert sent == [[0, 1, 2, 3], [2]]
    [(index, fault)] = result.faults
    assert index == 1 and fault.code == "unknown_outcome"


async def test_gone_and_ignored_rows_are_as_good_as_written(build: Build, hostile: Hostile) -> None:
    lines(hostile, {0: [404], 1: [409], 2: [404]}, "delete")
    result = await write(build(bulk("upsert", LINES, gone=[404])), 4)
    assert (result.written, list(result.faults)) == (4, [])


PAGE = answer(404, b"<html>no such page</html>", {"Content-Type": "text/html"})


@pytest.mark.parametrize(("status", "kind"), [(409, "create"), (404, "create")])
async def test_one_answer_for_all_rows_is_no_success_of_each(
    build: Build, hostile: Hostile, status: int, kind: str
) -> None:
    hostile.json("/bulk", {"message": "row 2 is there; nothing was written"}, status=status)
    result = await write(build(bulk(kind, LINES, gone=[404])), 4)
    assert result.written == 0 and len(hostile.seen) == 1
    assert {fault.code for _, fault in result.faults} == {"unknown_outcome"}


@pytest.mark.parametrize("status", [409, 404])
async def test_one_answer_for_all_rows_is_asked_of_each_where_that_is_harmless(
    build: Build, hostile: Hostile, status: int
) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        there = 2 in ids(seen)
        told = [{"x": {"status": 200}} for _ in ids(seen)]
        writer.write(answer(status if there else 200, {} if there else {"items": told}))

    hostile.routes["/bulk"] = handle
    result = await write(build(bulk("upsert", LINES, gone=[404])), 4)
    assert (result.written, list(result.faults)) == (4, [])
    assert [ids(seen) for seen in hostile.seen] == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_page_does_not_say_that_rows_are_gone(build: Build, hostile: Hostile, count: int) -> None:
    hostile.routes["/bulk"] = lambda seen, writer: writer.write(PAGE)
    result = await write(build(bulk("upsert", LINES, gone=[404])), count)
    assert result.written == 0 and {fault.code for _, fault in result.faults} == {"404"}


async def test_nothing_secret_is_kept_of_a_row(build: Build, hostile: Hostile) -> None:
    lines(hostile, {0: [400]})
    [(_, fault)] = (await write(build(bulk("upsert", LINES)), 1, token=SECRET)).faults
    assert SECRET not in repr(fault) and "•••" in repr(fault)


FAILURES = {"path": "errors", "id": "trace", "only_failures": True, "code": "code", "message": "text"}


@pytest.mark.parametrize("results", [FAILURES, {**FAILURES, "id": None, "index": "place"}])
async def test_a_failure_of_no_known_row_is_isolated_where_that_is_harmless(
    build: Build, hostile: Hostile, results: Any
) -> None:
    taken: list[int] = []

    def handle(seen: Seen, writer: Any) -> None:
        wanted = ids(seen)
        taken.extend(number for number in wanted if number != 2)
        failed = [{"code": "odd", "text": "something is wrong"}] if 2 in wanted else []
        writer.write(answer(207, {"errors": failed}))

    hostile.routes["/bulk"] = handle
    result = await write(build(bulk("upsert", {k: v for k, v in results.items() if v})), 4)
    [(index, fault)] = result.faults
    assert (index, fault.code) == (2, "odd") and "something is wrong" in fault.message
    assert set(taken) == {0, 1, 3}


async def test_a_failure_of_no_known_row_is_never_taken_for_a_success(build: Build, hostile: Hostile) -> None:
    hostile.json("/bulk", {"errors": [{"code": "odd", "text": "something is wrong"}]}, status=207)
    result = await write(build(bulk("create", FAILURES)), 4)
    assert result.written == 0 and len(hostile.seen) == 1
    assert {fault.code for _, fault in result.faults} == {"unknown_outcome"}


NAMED = {"path": "Error", "id": "Key", "row_id": "id", "only_failures": True, "message": "Message"}
XML = {"Content-Type": "application/xml"}


def said(hostile: Hostile, body: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
    hostile.routes["/bulk"] = lambda seen, writer: writer.write(answer(status, body, headers))


async def test_a_single_failure_in_xml_is_a_list_of_one(build: Build, hostile: Hostile) -> None:
    one = b"<?xml version='1.0'?><R><Error><Key>1</Key><Message>denied</Message></Error></R>"
    said(hostile, one, XML)
    [(index, fault)] = (await write(build(bulk("upsert", NAMED)), 3)).faults
    assert index == 1 and "denied" in fault.message
    said(hostile, b"<?xml version='1.0'?><R><Row><code>422</code></Row></R>", XML)
    [(_, fault)] = (await write(build(bulk("create", {"path": "Row", "status": "code"})), 1)).faults
    assert fault.error_class is ErrorClass.RECORD


@pytest.mark.parametrize(
    "body",
    [
        {"Error": {"1": "denied"}},
        {"failures": [{"Key": 1}]},
        {"Error": "three rows were refused"},
        {"Error": True},
        {},
        {"Taken": [{"Key": 0}, {"Key": 2}]},
    ],
)
@pytest.mark.parametrize("kind", ["create", "upsert"])
async def test_an_answer_of_another_shape_is_no_success(
    build: Build, hostile: Hostile, body: Any, kind: str
) -> None:
    said(hostile, body)
    result = await write(build(bulk(kind, {**NAMED, "taken": "Taken"})), 3)
    assert result.written == 0 and len(result.faults) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Error": []}, 200),
        ({"Error": None}, 200),
        ({"Taken": [{"Key": 0}, {"Key": 1}, {"Key": 2}]}, 200),
        (None, 204),
    ],
)
async def test_no_failures_among_the_named_ones(
    build: Build, hostile: Hostile, body: Any, status: int
) -> None:
    said(hostile, body, status=status)
    result = await write(build(bulk("create", {**NAMED, "taken": "Taken"})), 3)
    assert (result.written, list(result.faults)) == (3, [])


@pytest.mark.parametrize(
    ("status", "code"),
    [("422", "422"), ("200", ""), ("refused", "unknown_outcome"), (None, "unknown_outcome")],
)
async def test_a_status_of_a_row_may_be_a_text(
    build: Build, hostile: Hostile, status: str | None, code: str
) -> None:
    said(hostile, {"items": [{"status": status}]})
    result = await write(build(bulk("create", {"path": "items", "status": "status"})), 1)
    assert [fault.code for _, fault in result.faults] == ([code] if code else [])


async def test_a_platform_that_is_down_is_not_asked_row_by_row(build: Build, hostile: Hostile) -> None:
    hostile.json("/bulk", {}, status=503)
    result = await write(build(bulk("upsert", LINES)), 4)
    assert len(hostile.seen) == 3 and len(result.faults) == 4
    assert {fault.error_class for _, fault in result.faults} == {ErrorClass.TRANSIENT}


async def test_a_whole_request_that_is_too_large_is_halved(build: Build, hostile: Hostile) -> None:
    sent: list[list[int]] = []

    def handle(seen: Seen, writer: Any) -> None:
        sent.append(ids(seen))
        writer.write(
            answer(200 if len(sent[-1]) <= 2 else 413, {"items": [{"x": {"status": 200}}] * len(sent[-1])})
        )

    hostile.routes["/bulk"] = handle
    result = await write(build(bulk("create", LINES)), 4)
    assert sent == [[0, 1, 2, 3], [0, 1], [2, 3]] and result.written == 4


async def test_a_refused_credential_stops_the_batch_and_says_what_was_not_sent(
    build: Build, hostile: Hostile
) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        refused = 4 in ids(seen)
        told = [{"x": {"status": 201}} for _ in ids(seen)]
        writer.write(answer(401 if refused else 200, {} if refused else {"items": told}))

    hostile.routes["/bulk"] = handle
    rig = build({**bulk("create", LINES), "limits": [{"id": "one", "concurrency": 1}]})
    result = await write(rig, 12)
    assert result.written == 4
    assert {fault.code for _, fault in result.faults} == {"not_sent"} and len(result.faults) == 8


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from(["create", "upsert"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_each_row_is_accounted_for(
    build: Build, hostile: Hostile, seed: int, count: int, kind: str
) -> None:
    """No row that was taken is sent again by a create, and none is told written that was not taken."""
    rng = random.Random(seed)
    taken: list[int] = []

    def handle(seen: Seen, writer: Any) -> None:
        wanted = ids(seen)
        what = rng.randrange(8)
        if what == 0:
            writer.write(answer(rng.choice([400, 413, 422]), {"message": "no"}))
            return
        if what == 1:
            writer.write(answer(rng.choice([429, 503]), {}, {"Retry-After": "0"}))
            return
        told = []
        for number in wanted:
            status = rng.choice([200, 200, 200, 400, 429, 503])
            if status == 200:
                taken.append(number)
            told.append({"x": {"status": status, "error": {"type": "t", "reason": "r"}}})
        if what == 2:
            told.pop()
        if what == 3:
            writer.close()
        else:
            writer.write(answer(200, {"items": told}))

    hostile.routes["/bulk"] = handle
    try:
        result = await write(build(bulk(kind, LINES)), count)
    except PlatintError:
        assert kind == "upsert" or not taken
        return
    written = set(range(count)) - {index for index, _ in result.faults}
    assert result.written == len(written) and written <= set(taken)
    if kind == "create":
        assert len(taken) == len(set(taken))
        sure = {i for i, fault in result.faults if fault.code != "unknown_outcome"}
        assert not sure & set(taken)
