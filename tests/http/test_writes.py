"""Writing over HTTP: every row has an outcome, and nothing is done twice that repeating would harm."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    ErrorClass,
    NotFound,
    PlatintError,
    RateLimited,
    TransientError,
)
from platint_tui.core.model import Batch, Row, TargetPlan
from tests.http.hostile import SECRET, Build, Hostile, Rig, Seen, answer


def writing(operation: dict[str, Any], kind: str = "create", **changes: Any) -> dict[str, Any]:
    """The manifest with one write operation."""
    return {"resources": {"items": {"write": {kind: {"path": "/items", **operation}}}}, **changes}


KEYED = {"idempotency": {}}


def row(value: Any, number: int = 1) -> Row:
    return Row(json.dumps([number]), "{}", value, None, f"key-{number}")


async def write(rig: Rig, *rows: Row) -> Any:
    plan = TargetPlan("sync", "stream", "items", ("id",), None, (), 1, "run")
    target = await rig.driver.open_target(plan)
    assert not target.transactional and await target.confirmed() is None
    return await target.write(Batch(rows, None))


async def failure(rig: Rig, *rows: Row) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await write(rig, *rows)
    return caught.value


async def test_json_with_an_idempotency_key(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"id": "new-1"}, status=201)
    rig = build(writing({**KEYED, "returns": {"id": "id"}}))
    result = await write(rig, row({"n": Decimal("0.1234567890123456789"), "big": 2**70, "t": "é"}))
    request = hostile.seen[0]
    assert request.body.decode() == '{"n":0.1234567890123456789,"big":1180591620717411303424,"t":"é"}'
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["content-type"] == "application/json"
    assert (result.written, list(result.faults), dict(result.responses)) == (1, [], {0: {"id": "new-1"}})
    assert rig.notes.seen == [("write items", True)]


async def test_form_as_stripe_takes_it(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {})
    value = {"name": "A & B", "metadata": {"a": 1, "b": {"c": True}}, "items": [{"x": 1}, "y"], "gone": None}
    await write(build(writing({**KEYED, "encode": "form"})), row(value))
    assert hostile.seen[0].form == {
        "name": "A & B",
        "metadata[a]": "1",
        "metadata[b][c]": "true",
        "items[0][x]": "1",
        "items[1]": "y",
        "gone": "",
    }
    assert hostile.seen[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_values_cannot_leave_their_place(build: Build, hostile: Hostile) -> None:
    operation = {"method": "PUT", "path": "/items/${record.id}", "headers": {"X-Name": "${record.name}"}}
    rig = build(writing(operation, "upsert"))
    hostile.routes["/items/a%2F..%2Fb%3Fx"] = lambda seen, writer: writer.write(answer(200, {}))
    result = await write(
        rig,
        row({"id": "a/../b?x", "name": "ok"}, 1),
        row({"id": "..", "name": "ok"}, 2),
        row({"id": "x", "name": "a\r\nX-Evil: 1"}, 3),
        row({"id": None, "name": "ok"}, 4),
    )
    assert result.written == 1
    assert [index for index, _ in result.faults] == [1, 2, 3]
    assert all(fault.error_class is ErrorClass.RECORD for _, fault in result.faults)
    assert [seen.target for seen in hostile.seen] == ["/items/a%2F..%2Fb%3Fx"]


async def test_N5_refused_rows_are_faults_the_others_go_on(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        if json.loads(seen.body)["id"] == 2:
            refusal = {"error": {"code": "too_long", "message": f"name too long {SECRET}", "field": "name"}}
            writer.write(answer(422, refusal, {"Set-Cookie": "a=b"}))
        else:
            writer.write(answer(200, {}))

    hostile.routes["/items"] = handle
    rig = build(writing({**KEYED, "error_field": "error.field", "query": {"api_key": "v", "q": "1"}}))
    result = await write(rig, *[row({"id": number, "card": SECRET}, number) for number in (1, 2, 3)])
    assert result.written == 2
    [(index, fault)] = result.faults
    assert index == 1 and (fault.code, fault.field) == ("too_long", "name")
    assert fault.message == "Hostile answered 422: name too long •••"
    stored = json.dumps([fault.request, fault.response], ensure_ascii=False)
    assert SECRET not in stored and "•••" in stored
    assert fault.request is not None and fault.response is not None
    assert "authorization" not in fault.request["headers"]
    assert fault.request["url"].endswith("/items?api_key=•••&q=1")
    assert fault.response["headers"]["set-cookie"] == "•••"


async def test_N12_a_secret_across_the_cut_does_not_survive(build: Build, hostile: Hostile) -> None:
    body = b'{"message": "' + b"x" * (4096 - 13 - 10) + SECRET.encode() + b'"}'
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(422, body))
    [(_, fault)] = (await write(build(writing(KEYED)), row({}))).faults
    assert fault.response is not None and len(fault.response["body"]) <= 4096
    assert SECRET[:9] not in fault.response["body"]


async def test_G16_a_lost_answer_without_a_key_is_unknown(build: Build, hostile: Hostile) -> None:
    hostile.raw("/items", b"")
    result = await write(build(writing({})), row({"id": 1}))
    [(_, fault)] = result.faults
    assert fault.code == "unknown_outcome" and "is not known" in fault.message
    assert len(hostile.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_G16_a_5xx_without_a_key_is_unknown(build: Build, hostile: Hostile, status: int) -> None:
    hostile.json("/items", {}, status=status)
    [(_, fault)] = (await write(build(writing({})), row({}))).faults
    assert fault.code == "unknown_outcome" and len(hostile.seen) == 1


async def test_G16_what_was_never_sent_is_tried_again(build: Build) -> None:
    rig = build(writing({}), base_url="http://127.0.0.1:1")
    assert isinstance(await failure(rig, row({})), TransientError)
    assert len(rig.notes.seen) == 3


@pytest.mark.parametrize(
    ("operation", "kind"), [(KEYED, "create"), ({}, "upsert"), ({"method": "PUT"}, "create")]
)
async def test_G16_harmless_repeats_are_made(
    build: Build, hostile: Hostile, operation: dict[str, Any], kind: str
) -> None:
    replies = [answer(500, {}), b"", answer(200, {})]

    def handle(seen: Seen, writer: Any) -> None:
        reply = replies.pop(0)
        writer.write(reply)
        if not reply:
            writer.close()

    hostile.routes["/items"] = handle
    assert (await write(build(writing(operation, kind)), row({}))).written == 1
    assert len({seen.headers.get("idempotency-key") for seen in hostile.seen}) == 1


async def test_spent_retries_fail_the_batch(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        writer.write(answer(503 if json.loads(seen.body)["id"] == 3 else 200, {}))

    hostile.routes["/items"] = handle
    rig = build(writing(KEYED))
    error = await failure(rig, *[row({"id": number}, number) for number in range(20)])
    assert isinstance(error, TransientError) and error.where == "items"


async def test_spent_retries_of_a_row_are_a_dead_letter_if_the_manifest_says_so(
    build: Build, hostile: Hostile
) -> None:
    hostile.json("/items", {}, status=503)
    rules = [
        {"when": {"status": ["500-599"]}, "class": "transient", "action": "retry", "then": "dead_letter"}
    ]
    rig = build(writing(KEYED, errors={"rules": rules}))
    [(_, fault)] = (await write(rig, row({}))).faults
    assert fault.error_class is ErrorClass.TRANSIENT and len(hostile.seen) == 3


async def test_a_refused_credential_fails_the_batch(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=401)
    assert isinstance(await failure(build(writing(KEYED)), row({}, 1), row({}, 2)), CredentialError)


async def test_a_429_waits_and_goes_on(build: Build, hostile: Hostile) -> None:
    replies = [answer(429, {}, {"Retry-After": "2"}), answer(200, {})]
    hostile.routes["/items"] = lambda seen, writer: writer.write(replies.pop(0))
    limits = [
        {"id": "w", "rate": "5/1s", "match": {"op": "write"}},
        {"id": "r", "rate": "1/1s", "match": {"op": "read"}},
    ]
    rig = build(writing({}, limits=limits))
    assert (await write(rig, row({}))).written == 1
    assert rig.limits.blocked == [("w", 2.0)] and {item[0] for item in rig.limits.acquired} == {"w"}


async def test_a_long_429_parks_the_batch(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": "60"})
    assert isinstance(
        await failure(build(writing({})), *[row({}, number) for number in range(9)]), RateLimited
    )


@pytest.mark.parametrize(("limits", "most"), [([], 8), ([{"id": "w", "concurrency": 3}], 3)])
async def test_rows_are_in_flight_together_but_not_too_many(
    build: Build, hostile: Hostile, limits: list[Any], most: int
) -> None:
    now = 0
    peak = 0

    async def handle(seen: Seen, writer: Any) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.01)
        now -= 1
        writer.write(answer(200, {}))

    hostile.routes["/items"] = handle
    result = await write(build(writing(KEYED, limits=limits)), *[row({}, number) for number in range(30)])
    assert result.written == 30 and peak == most


async def test_cancelling_a_batch_stops_its_requests(build: Build, hostile: Hostile) -> None:
    arrived = asyncio.Event()

    async def handle(seen: Seen, writer: Any) -> None:
        arrived.set()
        await asyncio.sleep(3600)

    hostile.routes["/items"] = handle
    task = asyncio.create_task(write(build(writing(KEYED)), *[row({}, number) for number in range(4)]))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_targets_that_cannot_be_written(build: Build) -> None:
    assert isinstance(await failure(build(), row({})), ConfigError)
    rig = build()
    with pytest.raises(NotFound):
        await rig.driver.open_target(TargetPlan("s", "s", "itmes", (), None, (), 1, "r"))


async def test_G9_a_write_is_not_redirected_to_another_origin(
    build: Build, hostile: Hostile, other: Hostile
) -> None:
    hostile.json("/items", {}, status=307, headers={"Location": f"{other.url}/items"})
    await failure(build(writing(KEYED)), row({"private": 1}))
    assert other.seen == []
    hostile.json("/items", {}, status=302, headers={"Location": "/elsewhere"})
    assert (await failure(build(writing(KEYED)), row({}))).code == "redirects"


async def test_discovery_declares_and_counts(build: Build, hostile: Hostile) -> None:
    hostile.json("/check", {})
    hostile.json("/check", {})
    hostile.json("/items", {"data": [], "meta": {"total": 12345}})
    changes = {
        "resources": {
            "items": {
                "estimate": True,
                "fields": [{"name": "id", "type": "integer", "required": True}],
                "read": {
                    "total": "meta.total",
                    "cursor": {"field": "at", "type": "int", "start_param": "since"},
                },
                "write": {"create": {"path": "/items"}},
            },
            "silent": {
                "key": [],
                "read": {"request": {"path": "/none"}, "records": "", "page": {"type": "offset", "size": 9}},
            },
        }
    }
    rig = build(changes)
    items, silent = await rig.driver.discover()
    assert (items.name, items.key, items.cursor, items.estimate) == ("items", ("id",), "at", 12345)
    assert items.writable and items.fields[0].required
    assert silent.estimate is None and not silent.writable and len(silent.notes) == 3
    assert await rig.driver.describe_target("items") == items.fields
    assert await rig.driver.describe_target("silent") is None


@pytest.mark.parametrize("action", ["dead_letter", "wait", "fail_stream"])
async def test_G16_a_lost_answer_is_unknown_whatever_the_rule_says(
    build: Build, hostile: Hostile, action: str
) -> None:
    hostile.raw("/items", b"")
    rules = [{"when": {"network": True}, "class": "transient", "action": action}]
    rig = build(writing({}, errors={"rules": rules}))
    [(_, fault)] = (await write(rig, row({"id": 1}))).faults
    assert fault.code == "unknown_outcome" and len(hostile.seen) == 1


async def test_what_a_rule_ignores_counts_as_written(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"id": "there already"}, status=409)
    rules = [{"when": {"op": "write", "status": [409]}, "class": "record", "action": "ignore"}]
    result = await write(build(writing({}, errors={"rules": rules})), row({"id": 1}), row({"id": 2}, 2))
    assert (result.written, list(result.faults)) == (2, [])
    assert len(hostile.seen) == 2


async def test_what_a_rule_for_reads_ignores_is_refused_to_a_write(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "gone"}, status=410)
    rules = [{"when": {"op": "read", "status": [410]}, "class": "record", "action": "ignore"}]
    [(_, fault)] = (await write(build(writing({}, errors={"rules": rules})), row({"id": 1}))).faults
    assert (fault.error_class, fault.code) == (ErrorClass.RECORD, "410")


async def test_a_page_is_not_as_good_as_written_because_of_its_status(build: Build, hostile: Hostile) -> None:
    page = answer(409, b"<html>Conflict</html>", {"Content-Type": "text/html"})
    hostile.routes["/items"] = lambda seen, writer: writer.write(page)
    rules = [{"when": {"op": "write", "status": [409]}, "class": "record", "action": "ignore"}]
    [(_, fault)] = (await write(build(writing({}, errors={"rules": rules})), row({"id": 1}))).faults
    assert fault.error_class is ErrorClass.RECORD


def test_an_ignored_refusal_says_whether_it_is_one_of_reads(build: Build) -> None:
    rules = [{"when": {"status": [410]}, "class": "record", "action": "ignore"}]
    with pytest.raises(PlatintError, match="is needed with `action: ignore`"):
        build(writing({}, errors={"rules": rules}))


@pytest.mark.parametrize("operation", [{}, KEYED])
async def test_G1_a_page_for_people_is_no_success_of_a_write(
    build: Build, hostile: Hostile, operation: dict[str, Any]
) -> None:
    page = b"<!doctype html><title>Sign in</title>"
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, page, {"Content-Type": "text/html"})
    )
    if operation:
        error = await failure(build(writing(operation)), row({"id": 1}))
        assert error.code == "not_json" and "login page?" in error.message
    else:
        # Nobody can say whether it was carried out before the page was shown.
        [(_, fault)] = (await write(build(writing(operation)), row({"id": 1}))).faults
        assert fault.code == "unknown_outcome"
    assert len(hostile.seen) == 1
    ignored = {
        "when": {"op": "write", "status": [200], "header": {"name": "Content-Type", "contains": "html"}},
        "class": "record",
        "action": "ignore",
    }
    result = await write(build(writing(operation, errors={"rules": [ignored]})), row({"id": 1}))
    assert result.written == 1, "the manifest may say that pages are this platform's way to say yes"


async def test_graphql_mutations_tell_their_refusals_in_a_200(build: Build, hostile: Hostile) -> None:
    operation = {
        "path": "/items",
        "graphql": {
            "document": "mutation($i: Input!) { set(input: $i) { id userErrors { field message } } }",
            "variables": {"i": "${record}"},
        },
        "returns": {"id": "data.set.id"},
        "error_field": "data.set.userErrors.0.field.0",
    }
    refused = {
        "when": {"body": {"path": "data.set.userErrors.0"}},
        "class": "record",
        "action": "dead_letter",
        "code": {"path": "data.set.userErrors.0.code"},
        "detail": {"label": "It says:", "path": "data.set.userErrors.0.message"},
    }

    def handle(seen: Seen, writer: Any) -> None:
        wanted = json.loads(seen.body)["variables"]["i"]["id"]
        trouble = [{"field": ["email"], "message": "is invalid", "code": "INVALID"}] if wanted == 2 else []
        document: Any = {"data": {"set": {"id": wanted, "userErrors": trouble}}}
        if wanted == 3:
            document = {"errors": [{"message": "Variable $i is of the wrong type"}]}
        writer.write(answer(200, document))

    hostile.routes["/items"] = handle
    rig = build(writing(operation, "upsert", errors={"rules": [refused]}))
    result = await write(rig, *[row({"id": number}, number) for number in (1, 2, 3)])
    assert dict(result.responses) == {0: {"id": 1}} and result.written == 1
    (_, invalid), (_, wrong) = result.faults
    assert (invalid.code, invalid.field) == ("INVALID", "email")
    assert invalid.message == "Hostile answered 200. It says: is invalid."
    assert wrong.error_class is ErrorClass.RECORD and "wrong type" in wrong.message


@pytest.mark.parametrize(
    ("data", "kind", "known"),
    [
        ({"set": {"id": 9}}, "create", False),
        ({"set": None}, "create", True),
        (None, "create", True),
        ({"set": {"id": 9}}, "upsert", True),
    ],
)
async def test_a_mutation_with_a_result_beside_its_errors_may_have_been_carried_out(
    build: Build, hostile: Hostile, data: Any, kind: str, known: bool
) -> None:
    errors = [{"message": "could not resolve field 'owner'", "path": ["set", "owner"]}]
    hostile.json("/items", {"data": data, "errors": errors})
    operation = {"graphql": {"document": "mutation { set { id owner } }", "variables": {}}}
    [(_, fault)] = (await write(build(writing(operation, kind)), row({"id": 1}))).faults
    assert (fault.code != "unknown_outcome") is known and len(hostile.seen) == 1
    assert "owner" in fault.message


async def test_a_redirected_write_says_so(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=302, headers={"Location": "/elsewhere"})
    [(_, fault)] = (await write(build(writing({})), row({"id": 1}))).faults
    assert fault.code == "unknown_outcome"
    assert "redirects a write (302)" in fault.message and "is not known" in fault.message
