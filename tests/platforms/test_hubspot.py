"""HubSpot through its manifest, against a server in HubSpot's shapes; which operations there are comes from the table
that is derived from HubSpot's SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited
from platint_tui.core.model import JsonObject

TOKEN = "pat-na1-00000000-0000-0000-0000-000000000001"
CAP = 10_000


def contact(number: int, seconds: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(1790000000 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    properties = {"email": f"user{number}@example.com", "firstname": f"User {number}", "lastmodifieddate": at}
    return {"id": str(number), "properties": properties, "createdAt": at, "updatedAt": at, "archived": False}


class HubSpot(Vendor):
    """Contacts by search, which gives 10,000 for one query and only the properties that are asked for."""

    def __init__(self, contacts: int = 5) -> None:
        super().__init__(platform="hubspot", undescribed=("/account-info/v3/details",), guard=self.token)
        self.accepted = TOKEN
        self.contacts = [contact(number, number * 10) for number in range(1, contacts + 1)]
        self.archived: list[str] = []
        self.on(
            "GET /account-info/v3/details", {"portalId": 123, "accountType": "STANDARD", "timeZone": "UTC"}
        )
        self.on("GET /crm/v3/properties/{type}", {"results": [*map(self.property, ("email", "firstname"))]})
        for name in ("contacts", "companies", "deals", "tickets"):
            self.on(f"GET /crm/v3/objects/{name}", {"results": []})
        self.on("GET /crm/v3/owners/", self.owners)
        self.on("GET /crm-object-schemas/v3/schemas", self.schemas)
        self.on("POST /crm/v3/objects/contacts/search", lambda asked: self.search(asked, self.contacts))
        self.on("POST /crm/v3/objects/p123_boat/search", lambda asked: self.search(asked, [contact(1, 1)]))
        self.on("POST /crm/v3/objects/contacts/batch/upsert", self.upsert)
        self.on("POST /crm/v3/objects/contacts/batch/archive", self.archive)

    def token(self, asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == f"Bearer {self.accepted}" or asked.path == "/oauth/v1/token":
            return None
        said = "Authentication credentials not found or expired"
        return Reply({"status": "error", "message": said, "category": "INVALID_AUTHENTICATION"}, 401)

    def property(self, name: str) -> JsonObject:
        return {
            "name": name,
            "label": name.title(),
            "type": "string",
            "fieldType": "text",
            "groupName": "info",
        }

    def schemas(self, asked: Asked) -> Any:
        labels = {"singular": "Boat", "plural": "Boats"}
        return {"results": [{"id": "1", "fullyQualifiedName": "p123_boat", "name": "boat", "labels": labels}]}

    def owners(self, asked: Asked) -> Any:
        owner = {
            "id": "1",
            "email": "ada@example.com",
            "updatedAt": "2026-01-01T00:00:00Z",
            "archived": False,
        }
        if "after" in asked.query:
            return {"results": [{**owner, "id": "2"}]}
        return {
            "results": [owner],
            "paging": {"next": {"after": "MQ", "link": f"{self.url}/crm/v3/owners/?after=MQ"}},
        }

    def search(self, asked: Asked, rows: list[dict[str, Any]]) -> Reply | Any:
        body = asked.json
        (test,) = body["filterGroups"][0]["filters"]
        assert test["operator"] == "GTE" and body["sorts"] == [test["propertyName"]]
        since = datetime.fromtimestamp(int(test["value"]) / 1000, UTC)
        found = [item for item in rows if datetime.fromisoformat(item["updatedAt"]) >= since]
        start = int(body.get("after", "0"))
        if start >= CAP:
            said = "There was a problem with the request."
            return Reply({"status": "error", "message": said, "category": "VALIDATION_ERROR"}, 400)
        shown = [
            {**item, "properties": {name: item["properties"].get(name) for name in body["properties"]}}
            for item in found[start : start + body["limit"]]
        ]
        end = start + body["limit"]
        more = {"paging": {"next": {"after": str(end)}}} if found[end:] else {}
        return {"total": len(found), "results": shown, **more}

    def upsert(self, asked: Asked) -> Reply:
        results, errors = [], []
        times = dict.fromkeys(("startedAt", "completedAt"), "2026-10-01T10:00:00.000Z")
        for row in asked.json["inputs"]:
            assert row["idProperty"] == "email" and row["properties"]["email"] == row["id"]
            if "@" in row["id"]:
                results.append(
                    {**contact(1, 1), "new": True, "objectWriteTraceId": row["objectWriteTraceId"]}
                )
            else:
                context = {"objectWriteTraceId": [row["objectWriteTraceId"]], "propertyName": ["email"]}
                said = f"Email address {row['id']} is invalid"
                problem = {"category": "VALIDATION_ERROR", "message": said, "context": context}
                errors.append({"status": "error", "errors": [], "links": {}, **problem})
        body = {"status": "COMPLETE", "results": results, "numErrors": len(errors), "errors": errors, **times}
        return Reply(body, 207 if errors else 200)

    def archive(self, asked: Asked) -> Reply:
        self.archived += [item["id"] for item in asked.json["inputs"]]
        return Reply(None, 204)


@pytest.fixture
async def hubspot() -> AsyncIterator[HubSpot]:
    async with running(HubSpot()) as vendor:
        assert isinstance(vendor, HubSpot)
        yield vendor


@pytest.fixture
async def portal(hubspot: HubSpot) -> AsyncIterator[Account]:
    async with account("hubspot", {"base_url": hubspot.url}, {"access_token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(hubspot: HubSpot, portal: Account) -> None:
    refused = {"status": "error", "message": "Not granted.", "category": "MISSING_SCOPES"}
    hubspot.refuse("/crm/v3/objects/deals", Reply(refused, 403))
    found = await portal.check()
    assert found["account"].ok and "123" in found["account"].detail and found["read_contacts"].ok
    assert not found["read_deals"].ok and found["read_deals"].optional
    streams = {item.name: item for item in await portal.driver.discover()}
    assert {"contacts", "companies", "deals", "owners", "custom.p123_boat"} <= streams.keys()
    assert {"properties.email", "properties.firstname"} <= {item.name for item in streams["contacts"].fields}


async def test_contacts_full_then_what_changed(hubspot: HubSpot, portal: Account) -> None:
    found = await portal.read(stream="contacts")
    assert [item["id"] for item in found] == ["1", "2", "3", "4", "5"]
    assert found[0]["properties"] == {"email": "user1@example.com", "firstname": "User 1"}
    position = portal.position
    assert await portal.read(position, "contacts") == []
    hubspot.contacts = [*hubspot.contacts[1:], contact(1, 900)]
    assert [item["id"] for item in await portal.read(position, "contacts")] == ["1"]


async def test_more_contacts_than_one_query_gives() -> None:
    async with (
        running(HubSpot(contacts=10_450)) as vendor,
        account("hubspot", {"base_url": vendor.url}, {"access_token": TOKEN}) as portal,
    ):
        found = await portal.read(stream="contacts")
    assert [int(item["id"]) for item in found] == list(range(1, 10_451))
    after = [item.json.get("after") for item in vendor.asked("POST /crm/v3/objects/contacts/search")]
    assert max(int(item or 0) for item in after) < CAP and after.count(None) == 2


async def test_custom_objects_and_owners(portal: Account) -> None:
    assert [item["id"] for item in await portal.read(stream="custom.p123_boat")] == ["1"]
    assert [item["id"] for item in await portal.read(stream="owners")] == ["1", "2"]


async def test_contacts_are_upserted_and_archived_in_batches(hubspot: HubSpot, portal: Account) -> None:
    rows = [{"email": f"user{number}@example.com", "firstname": "New"} for number in range(3)]
    result = await portal.write("contacts", "upsert", rows[0], {"email": "nobody"}, *rows[1:])
    assert result.written == 3 and len(hubspot.asked("POST /crm/v3/objects/contacts/batch/upsert")) == 1
    ((index, fault),) = result.faults
    assert index == 1 and fault.code == "VALIDATION_ERROR" and "nobody is invalid" in fault.message
    assert (await portal.write("contacts", "delete", {"id": "101"}, {"id": 102})).written == 2
    assert hubspot.archived == ["101", "102"]


async def test_a_wrong_token(hubspot: HubSpot) -> None:
    async with account("hubspot", {"base_url": hubspot.url}, {"access_token": "pat-na1-wrong"}) as wrong:
        assert not (await wrong.check())["account"].ok
        assert isinstance(await wrong.refused("contacts"), CredentialError)


async def test_a_missing_scope_is_named(hubspot: HubSpot, portal: Account) -> None:
    context = {"requiredGranularScopes": ["crm.objects.contacts.read"]}
    body = {
        "status": "error",
        "message": "This app hasn't been granted all required scopes to make this call.",
        "category": "MISSING_SCOPES",
        "errors": [{"message": "One or more of the following scopes are required.", "context": context}],
    }
    hubspot.refuse("/crm/v3/objects/contacts/search", Reply(body, 403))
    error = await portal.refused("contacts")
    assert isinstance(error, CredentialError) and "crm.objects.contacts.read" in error.message


async def test_rate_limits(hubspot: HubSpot, portal: Account) -> None:
    said = {"status": "error", "message": "You have reached your limit.", "errorType": "RATE_LIMIT"}
    search = "/crm/v3/objects/contacts/search"
    hubspot.refuse(search, Reply({**said, "policyName": "TEN_SECONDLY_ROLLING"}, 429))
    assert len(await portal.read(stream="contacts")) == 5 and portal.waited(10.0)
    hubspot.refuse(search, Reply({**said, "policyName": "DAILY"}, 429))
    error = await portal.refused("contacts")
    assert isinstance(error, RateLimited) and "day" in error.hint
