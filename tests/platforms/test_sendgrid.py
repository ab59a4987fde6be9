"""SendGrid through its manifest, against a server in SendGrid's shapes that is held to SendGrid's description."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited, TransientError

KEY = "SG.0123456789abcdef.0123456789abcdef"
NAMES = "EMAIL,FIRST_NAME,CONTACT_ID,CREATED_AT,UPDATED_AT"


def bounce(number: int) -> dict[str, Any]:
    return {
        "created": 1759300000 + number,
        "email": f"user{number}@example.com",
        "reason": "550",
        "status": "5.1.1",
    }


class SendGrid(Vendor):
    """Bounces by offset, lists by next addresses, contacts by an export of two packed files."""

    def __init__(self) -> None:
        super().__init__(
            platform="sendgrid", undescribed=("/files/1.csv.gz", "/files/2.csv.gz"), guard=self.key
        )
        self.bounces = [bounce(number) for number in range(7, 0, -1)]
        self.lists = {f"{number:036}": f"List {number}" for number in range(1, 6)}
        self.contacts = [
            f"user{n}@example.com,User {n},c{n},2026-01-01T00:00:00Z,2026-09-0{n}T10:00:00Z"
            for n in (1, 2, 3)
        ]
        self.states = ["pending", "ready"]
        self.on("GET /v3/scopes", {"scopes": ["mail.send"]})
        self.on("GET /v3/user/username", {"username": "acme", "user_id": 1})
        self.on("GET /v3/suppression/bounces", self.by_offset)
        self.on("DELETE /v3/suppression/bounces/{email}", self.forget)
        self.on("GET /v3/marketing/contacts/count", {"contact_count": 3, "billable_count": 3})
        self.on("GET /v3/templates", {"result": [], "_metadata": {}})
        self.on("GET /v3/marketing/lists", self.by_next)
        self.on("POST /v3/marketing/lists", self.create_list)
        self.on("PUT /v3/marketing/contacts", Reply({"job_id": "job-1"}, 202))
        self.on("DELETE /v3/marketing/contacts", Reply({"job_id": {}}, 202))
        self.on("POST /v3/marketing/contacts/exports", self.export)
        self.on("GET /v3/marketing/contacts/exports/{id}", self.state)
        self.on("GET /files/{name}", self.file)

    def key(self, asked: Asked) -> Reply | None:
        if asked.path.startswith("/files/") or asked.headers.get("authorization") == f"Bearer {KEY}":
            return None
        said = "The provided authorization grant is invalid, expired, or revoked"
        return Reply({"errors": [{"field": None, "message": said}]}, 401)

    def by_offset(self, asked: Asked) -> Any:
        since = int(asked.query.get("start_time", "0"))
        rows = [item for item in self.bounces if item["created"] >= since]
        start = int(asked.query.get("offset", "0"))
        return rows[start : start + 3]

    def forget(self, asked: Asked, email: str) -> Reply:
        address = email.replace("%40", "@")
        if all(item["email"] != address for item in self.bounces):
            return Reply({"errors": [{"field": None, "message": "not found"}]}, 404)
        self.bounces = [item for item in self.bounces if item["email"] != address]
        return Reply(None, 204)

    def by_next(self, asked: Asked) -> Any:
        start = int(asked.query.get("page_token", "0"))
        names = list(self.lists.items())
        rows = [{"id": id, "name": name, "contact_count": 0} for id, name in names[start : start + 2]]
        following = f"{self.url}/v3/marketing/lists?page_size=1000&page_token={start + 2}"
        more = {"next": following} if names[start + 2 :] else {}
        return {"result": rows, "_metadata": {"count": len(names), **more}}

    def create_list(self, asked: Asked) -> Reply:
        if not asked.json["name"]:
            return Reply(
                {"errors": [{"message": "length should be in range [1, 100]", "field": "name"}]}, 400
            )
        return Reply({"id": f"{6:036}", "name": asked.json["name"], "contact_count": 0}, 201)

    def export(self, asked: Asked) -> Reply:
        assert asked.json == {"file_type": "csv", "max_file_size": 20, "notifications": {"email": False}}
        return Reply({"id": "export-1", "_metadata": {}}, 202)

    def state(self, asked: Asked, id: str) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        times = dict.fromkeys(("created_at", "updated_at", "expires_at"), "2026-10-01T10:00:00Z")
        urls = [f"{self.url}/files/{number}.csv.gz" for number in (1, 2)] if state == "ready" else []
        return {"id": id, "status": state, "urls": urls, **times}

    def file(self, asked: Asked, name: str) -> Reply:
        rows = self.contacts[:2] if name.startswith("1") else self.contacts[2:]
        text = "\n".join([NAMES, *rows]) + "\n"
        return Reply(gzip.compress(text.encode()), 200, {"Content-Type": "application/octet-stream"})


@pytest.fixture
async def sendgrid() -> AsyncIterator[SendGrid]:
    async with running(SendGrid()) as vendor:
        assert isinstance(vendor, SendGrid)
        yield vendor


@pytest.fixture
async def acme(sendgrid: SendGrid) -> AsyncIterator[Account]:
    async with account("sendgrid", {"base_url": sendgrid.url}, {"api_key": KEY}) as opened:
        yield opened


async def test_check_and_discovery(sendgrid: SendGrid, acme: Account) -> None:
    forbidden = Reply({"errors": [{"field": None, "message": "access forbidden"}]}, 403)
    sendgrid.refuse("/v3/marketing/contacts/count", forbidden)
    found = await acme.check()
    assert found["user"].ok and "acme" in found["account"].detail and found["read_suppressions"].ok
    assert not found["read_marketing"].ok and found["read_marketing"].optional
    assert {"bounces", "blocks", "contacts", "lists", "single_sends", "stats"} <= await acme.streams()


async def test_bounces_by_offset_then_what_is_new(sendgrid: SendGrid, acme: Account) -> None:
    found = await acme.read(stream="bounces")
    assert [item["created"] - 1759300000 for item in found] == [7, 6, 5, 4, 3, 2, 1]
    position = acme.position
    assert await acme.read(position, "bounces") == []
    sendgrid.bounces.insert(0, bounce(8))
    assert [item["created"] - 1759300000 for item in await acme.read(position, "bounces")] == [8]


async def test_lists_by_next_addresses(sendgrid: SendGrid, acme: Account) -> None:
    assert [item["id"] for item in await acme.read(stream="lists")] == list(sendgrid.lists)


async def test_contacts_by_an_export(sendgrid: SendGrid, acme: Account) -> None:
    found = await acme.read(stream="contacts")
    assert [item["CONTACT_ID"] for item in found] == ["c1", "c2", "c3"]
    assert found[0]["EMAIL"] == "user1@example.com" and acme.waited(5.0)
    position = acme.position
    sendgrid.states = ["ready"]
    sendgrid.contacts[0] = sendgrid.contacts[0].replace("2026-09-01T10", "2026-09-09T10")
    assert [item["CONTACT_ID"] for item in await acme.read(position, "contacts")] == ["c1"]


async def test_an_export_that_fails(sendgrid: SendGrid, acme: Account) -> None:
    sendgrid.states = ["failure"]
    error = await acme.refused("contacts")
    assert "failure" in error.message


async def test_contacts_go_together_lists_and_bounces_one_by_one(sendgrid: SendGrid, acme: Account) -> None:
    rows = [{"email": f"user{number}@example.com", "first_name": "New"} for number in range(3)]
    assert (await acme.write("contacts", "upsert", *rows)).written == 3
    (put,) = sendgrid.asked("PUT /v3/marketing/contacts")
    assert put.json == {"contacts": rows}
    assert (await acme.write("contacts", "delete", {"id": "c1"}, {"id": "c2"})).written == 2
    assert [item.query["ids"] for item in sendgrid.asked("DELETE /v3/marketing/contacts")] == ["c1,c2"]
    result = await acme.write("lists", "create", {"name": "Customers"}, {"name": ""})
    assert result.written == 1 and result.responses[0] == {"id": f"{6:036}"}
    assert result.faults[0][1].field == "name"
    sendgrid.forgive("name has 0 characters")
    gone = {"email": "nobody@example.com"}
    assert (await acme.write("bounces", "delete", {"email": "user3@example.com"}, gone)).written == 2
    assert len(sendgrid.bounces) == 6


async def test_a_wrong_key(sendgrid: SendGrid) -> None:
    async with account("sendgrid", {"base_url": sendgrid.url}, {"api_key": "SG.wrong.wrong"}) as wrong:
        assert not (await wrong.check())["user"].ok
        assert isinstance(await wrong.refused("bounces"), CredentialError)


async def test_a_missing_scope(sendgrid: SendGrid, acme: Account) -> None:
    said = {"errors": [{"field": None, "message": "access forbidden"}]}
    sendgrid.refuse("/v3/suppression/bounces", Reply(said, 403))
    error = await acme.refused("bounces")
    assert (
        isinstance(error, CredentialError) and "access forbidden" in error.message and "scope" in error.hint
    )


async def test_rate_limits(sendgrid: SendGrid, acme: Account) -> None:
    said = {"errors": [{"field": None, "message": "too many requests"}]}
    now = acme.clock.now_ms() // 1000
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(now + 20)}
    sendgrid.refuse("/v3/suppression/bounces", Reply(said, 429, reset))
    assert len(await acme.read(stream="bounces")) == 7 and max(acme.clock.slept) > 15
    reset = {**reset, "X-RateLimit-Reset": str(now + 3600)}
    sendgrid.refuse("/v3/suppression/bounces", Reply(said, 429, reset))
    assert isinstance(await acme.refused("bounces"), RateLimited)


async def test_servers_in_trouble(sendgrid: SendGrid, acme: Account) -> None:
    sendgrid.refuse(
        "/v3/suppression/bounces", Reply({"errors": [{"message": "Internal Server Error"}]}, 500), 9
    )
    assert isinstance(await acme.refused("bounces"), TransientError)
