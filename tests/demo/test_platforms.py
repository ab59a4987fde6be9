from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

GOOD = {"external_id": "cus_1", "name": "Ana", "email": "a@b.example", "country": "PT", "balance": 5}


async def test_cursor_pages_bring_every_record_once_in_order(start: Any) -> None:
    demo = await start(records=250)
    rows: list[dict[str, Any]] = []
    query = {"limit": "100"}
    while True:
        body = await demo.payments("/v1/charges", **query)
        assert body["total"] == 250
        rows += body["data"]
        if not body["has_more"]:
            break
        query["starting_after"] = rows[-1]["id"]
    assert len({row["id"] for row in rows}) == 250
    assert rows == sorted(rows, key=lambda row: (row["updated_at"], row["id"]))


async def test_updated_since_is_inclusive_and_goes_with_starting_after(start: Any) -> None:
    demo = await start(records=100)
    everything = (await demo.payments("/v1/charges", limit="100"))["data"]
    edge = everything[60]["updated_at"]
    body = await demo.payments("/v1/charges", limit="10", updated_since=edge)
    assert body["data"] == everything[60:70] and body["has_more"]
    body = await demo.payments(
        "/v1/charges", limit="100", updated_since=edge, starting_after=everything[69]["id"]
    )
    assert body["data"] == everything[70:] and not body["has_more"]
    body = await demo.payments("/v1/charges", updated_since="2999-01-01T00:00:00Z")
    assert body == {"data": [], "has_more": False, "total": 100}


async def test_payments_refuses_a_wrong_key_and_an_unknown_record(start: Any) -> None:
    demo = await start()
    status, body, _ = await demo.call("payments", "GET", "/v1/charges", {"X-Api-Key": "wrong"})
    assert status == 401 and body["error"]["code"] == "invalid_api_key"
    status, body, _ = await demo.call(
        "payments", "GET", "/v1/charges", demo.key, params={"starting_after": "ch_000000001ffff"}
    )
    assert status == 404
    status, body, _ = await demo.call(
        "payments", "GET", "/v1/charges", demo.key, params={"updated_since": "soon"}
    )
    assert status == 400


async def test_webhook_endpoints_get_signed_events(start: Any) -> None:
    demo = await start(records=20)
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    fail_first = [True]

    async def receive(request: web.Request) -> web.Response:
        if fail_first and fail_first.pop():
            return web.Response(status=500)
        await got.put((request.headers["Demo-Signature"], await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        status, endpoint, _ = await demo.call(
            "payments", "POST", "/v1/webhook_endpoints", demo.key, json={"url": url}
        )
        assert status == 201
        status, sent, _ = await demo.call("payments", "POST", "/v1/test_events", demo.key, json={"count": 2})
        assert status == 202 and len(sent["events"]) == 2
        seen = set()
        for _ in range(2):
            signature, body = await asyncio.wait_for(got.get(), 10)
            parts = dict(item.split("=", 1) for item in signature.split(","))
            signed = parts["t"].encode() + b"." + body
            assert parts["v1"] == hmac.new(endpoint["secret"].encode(), signed, hashlib.sha256).hexdigest()
            event = json.loads(body)
            assert event["type"] == "charge.created" and event["data"]["id"].startswith("ch_")
            seen.add(event["id"])
        assert seen == set(sent["events"])
        path = f"/v1/webhook_endpoints/{endpoint['id']}"
        assert (await demo.call("payments", "DELETE", path, demo.key))[0] == 200
        assert (await demo.payments("/v1/webhook_endpoints"))["data"] == []
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/", "http://127.0.0.1.example/", 5, None]
)
async def test_webhooks_go_to_loopback_only(start: Any, url: object) -> None:
    demo = await start()
    status, body, _ = await demo.call(
        "payments", "POST", "/v1/webhook_endpoints", demo.key, json={"url": url}
    )
    assert status == 422 and body["error"]["field"] == "url"


async def test_crm_takes_the_client_credentials_grant_only(start: Any) -> None:
    demo = await start()
    form = {"grant_type": "client_credentials"}
    wrong = {"Authorization": "Basic Y2xpZW50LWRlbW8tMTpub3Bl"}
    status, body, _ = await demo.call("crm", "POST", "/oauth/token", wrong, data=form)
    assert status == 401 and body["error"] == "invalid_client"
    status, body, _ = await demo.call("crm", "GET", "/v1/me", {"Authorization": "Bearer nope"})
    assert status == 401 and body["error"]["code"] == "invalid_token"
    token = await demo.crm_token()
    assert (await demo.call("crm", "GET", "/v1/me", token))[0] == 200


async def test_crm_tokens_expire(start: Any) -> None:
    demo = await start(token_seconds=1)
    token = await demo.crm_token()
    deadline = asyncio.get_running_loop().time() + 10
    while (answer := await demo.call("crm", "GET", "/v1/me", token))[0] == 200:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert answer[0] == 401 and answer[1]["error"]["code"] == "token_expired"


async def test_crm_upserts_by_external_id_and_lists_in_pages(start: Any) -> None:
    demo = await start()
    token = await demo.crm_token()
    for number in range(12):
        stamp = f"2026-01-{number + 1:02d}T00:00:00Z"
        document = {**GOOD, "external_id": f"cus_{number}", "updated_at": stamp}
        assert (await demo.call("crm", "POST", "/v1/contacts", token, json=document))[0] == 201
    changed = {**GOOD, "external_id": "cus_3", "name": "Changed", "updated_at": "2026-01-04T00:00:00Z"}
    status, body, _ = await demo.call("crm", "POST", "/v1/contacts", token, json=changed)
    assert status == 200 and body["id"] == "contact_0000004"
    names = []
    for page in (1, 2, 3):
        query = {"page": str(page), "per_page": "5"}
        status, body, _ = await demo.call("crm", "GET", "/v1/contacts", token, params=query)
        assert (body["page"], body["pages"], body["total"]) == (page, 3, 12)
        names += [(item["external_id"], item["name"]) for item in body["items"]]
    assert len(names) == 12 and names[3] == ("cus_3", "Changed")
    query = {"updated_since": "2026-01-11T00:00:00Z"}
    status, body, _ = await demo.call("crm", "GET", "/v1/contacts", token, params=query)
    assert [item["external_id"] for item in body["items"]] == ["cus_10", "cus_11"]


async def test_crm_answers_a_repeated_key_from_memory(start: Any, tmp_path: Path) -> None:
    demo = await start(state=str(tmp_path))
    headers = {**await demo.crm_token(), "Idempotency-Key": "key-1"}
    first = await demo.call("crm", "POST", "/v1/contacts", headers, json=GOOD)
    again = await demo.call("crm", "POST", "/v1/contacts", headers, json=GOOD)
    assert first[0] == again[0] == 201 and first[1] == again[1]
    assert "Idempotent-Replayed" not in first[2] and again[2]["Idempotent-Replayed"] == "true"
    status, body, _ = await demo.call("crm", "POST", "/v1/contacts", headers, json={**GOOD, "name": "Other"})
    assert status == 409 and body["error"]["code"] == "idempotency_mismatch"
    other = await start(state=str(tmp_path))
    headers = {**await other.crm_token(), "Idempotency-Key": "key-1"}
    assert (await other.call("crm", "POST", "/v1/contacts", headers, json=GOOD))[2]["Idempotent-Replayed"]
    assert (await other.call("crm", "GET", "/v1/me", headers))[1]["contacts"] == 1


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"external_id": None}, "missing_field", "external_id"),
        ({"name": ""}, "missing_field", "name"),
        ({"email": None}, "missing_field", "email"),
        ({"email": "nobody"}, "wrong_type", "email"),
        ({"email": 7}, "wrong_type", "email"),
        ({"name": "x" * 81}, "too_long", "name"),
        ({"country": "PRT"}, "too_long", "country"),
        ({"country": "P1"}, "wrong_type", "country"),
        ({"balance": "12.50"}, "wrong_type", "balance"),
        ({"balance": 1.5}, "wrong_type", "balance"),
        ({"balance": True}, "wrong_type", "balance"),
        ({"updated_at": "yesterday"}, "wrong_type", "updated_at"),
        ({"updated_at": 5}, "wrong_type", "updated_at"),
        ({"name": "\ud800"}, "wrong_type", "name"),
    ],
)
async def test_crm_refuses_a_bad_contact_and_names_the_field(
    start: Any, change: dict[str, Any], code: str, field: str
) -> None:
    demo = await start()
    token = await demo.crm_token()
    status, body, _ = await demo.call("crm", "POST", "/v1/contacts", token, json={**GOOD, **change})
    assert status == 422 and (body["error"]["code"], body["error"]["field"]) == (code, field)
    assert (await demo.call("crm", "GET", "/v1/me", token))[1]["contacts"] == 0


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(start: Any, body: bytes) -> None:
    demo = await start()
    assert (await demo.call("crm", "POST", "/v1/contacts", await demo.crm_token(), data=body))[0] == 400
    assert (await demo.call("chat", "POST", "/v1/messages", demo.chat, data=body))[0] == 400


async def test_chat_keeps_messages_once_per_key(start: Any, tmp_path: Path) -> None:
    demo = await start(state=str(tmp_path))
    headers = {**demo.chat, "Idempotency-Key": "k1"}
    message = {"channel": "ops", "text": "hello", "ref": "cus_1"}
    status, first, _ = await demo.call("chat", "POST", "/v1/messages", headers, json=message)
    assert status == 201
    status, again, answered = await demo.call("chat", "POST", "/v1/messages", headers, json=message)
    assert again == first and answered["Idempotent-Replayed"] == "true"
    assert (await demo.call("chat", "POST", "/v1/messages", headers, json={"text": "other"}))[0] == 409
    status, body, _ = await demo.call("chat", "GET", "/v1/messages", demo.chat, params={"limit": "1"})
    assert body["messages"] == [first] and body["total"] == 1
    status, body, _ = await demo.call("chat", "POST", "/v1/messages", demo.chat, json={"text": "x" * 201})
    assert status == 422 and body["error"]["code"] == "too_long"
    assert (await demo.call("chat", "GET", "/v1/auth.test", {"Authorization": "Bearer no"}))[0] == 401


async def test_chat_limits_the_rate_with_both_forms_of_retry_after(start: Any) -> None:
    demo = await start(misbehave=True, chat_rate=0.5)
    waits = []
    for number in range(60):
        status, _, headers = await demo.call(
            "chat", "POST", "/v1/messages", {**demo.chat, "Idempotency-Key": f"k{number}"}, json={"text": "x"}
        )
        if status == 429:
            waits.append(headers["Retry-After"])
    assert any(wait.isdigit() for wait in waits)
    dates = [wait for wait in waits if not wait.isdigit()]
    assert dates and all(parsedate_to_datetime(wait) for wait in dates)


async def test_misbehaviour_is_the_same_for_the_same_seed(start: Any) -> None:
    async def statuses(seed: int) -> list[int]:
        demo = await start(misbehave=True, records=50, seed=seed)
        return [(await demo.call("payments", "GET", "/v1/account", demo.key))[0] for _ in range(200)]

    first = await statuses(1)
    assert first == await statuses(1) and first != await statuses(2)
    assert {200, 429} < set(first) and set(first) <= {200, 429, 500, 503}
    for at, status in enumerate(first):
        assert status == 200 or set(first[at + 1 : at + 4]) <= {200}


async def test_a_lost_answer_was_carried_out_and_its_key_finds_it(start: Any) -> None:
    demo = await start(misbehave=True, seed=5)
    headers = await demo.crm_token()
    for number in range(3000):
        keyed = {**headers, "Idempotency-Key": f"k{number}"}
        document = {**GOOD, "external_id": f"cus_{number}"}
        status, _, _ = await demo.call("crm", "POST", "/v1/contacts", keyed, json=document)
        if status == 502:
            break
    assert status == 502
    status, _, answered = await demo.call("crm", "POST", "/v1/contacts", keyed, json=document)
    assert status == 201 and answered["Idempotent-Replayed"] == "true"
