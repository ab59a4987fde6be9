"""Requests of platforms that tell some fields of a record: what is fetched by them is what reading brings.

The requests are those that the manifests ship; the servers hold what they are asked for against the descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from platforms.vendor import FOLDER, Account, Asked, Description, Reply, Vendor, account, running

from platint_tui.core.errors import SystemicError
from platint_tui.drivers.http.webhooks import events_of, records_of
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.webhook_vectors import load_hook

AT = "2026-01-01T10:00:00.000Z"
SECRET = "0123456789abcdef0123456789abcdef"


def told(platform: str, vector: str, stream: str) -> dict[str, Any]:
    """What the first record of a stream in a shipped request says."""
    connector = load_connector(FOLDER / f"{platform}.yaml")
    request = load_hook(FOLDER / "_vectors" / platform / f"{vector}.yaml").request
    events = events_of(connector, "p", request, 0)
    found = [item for event in events for item in records_of(connector, event) if item.resource == stream]
    assert found[0].partial and not found[0].fault
    return found[0].value


async def same(ada: Account, stream: str, event: Mapping[str, Any], missing: Mapping[str, Any]) -> None:
    """Reading the stream and fetching the record bring the same; another one is not there."""
    await ada.read(stream=stream)
    (read,) = [record for page in ada.pages for record in page.records]
    fetched = await ada.driver.fetch(stream, event)
    assert fetched is not None and fetched.value == read.value
    assert await ada.driver.fetch(stream, {**event, **missing}) is None


async def test_gitlab_gives_the_list_of_one_issue() -> None:
    event = told("gitlab", "hook_issue_token", "issues")
    whole = {"id": event["id"], "iid": event["iid"], "project_id": event["project_id"], "updated_at": AT}
    vendor = Vendor("gitlab", "/api/v4")
    vendor.on("GET /issues", [whole])
    vendor.on(
        f"GET /projects/{event['project_id']}/issues",
        lambda asked: [whole] if asked.query["iids[]"] == str(event["iid"]) else [],
    )
    async with running(vendor), account("gitlab", {"base_url": vendor.url}, {"token": SECRET}) as ada:
        await same(ada, "issues", event, {"iid": 999})


async def test_members_that_only_one_pipeline_has_are_left_out() -> None:
    event = {"id": 47, "project_id": 7}
    basic = {"id": 47, "iid": 12, "project_id": 7, "status": "success", "updated_at": AT}
    vendor = Vendor("gitlab", "/api/v4")
    vendor.on("GET /projects", [{"id": 7, "last_activity_at": AT}])
    vendor.on("GET /projects/7/pipelines", [basic])
    vendor.on("GET /projects/7/pipelines/47", {**basic, "duration": 127, "coverage": "30.0"})
    async with running(vendor), account("gitlab", {"base_url": vendor.url}, {"token": SECRET}) as ada:
        await same(ada, "pipelines", event, {"id": 48})


async def test_hubspot_gives_every_property_of_the_account() -> None:
    event = told("hubspot", "hook_events", "contacts")
    whole = {"id": event["id"], "createdAt": AT, "updatedAt": AT, "archived": False}
    whole["properties"] = {"email": "ada@example.com", "colour": None}

    def batch(asked: Asked) -> Reply:
        names = asked.json["properties"]
        assert names == ["email", "colour"]
        if asked.json["inputs"] == [{"id": event["id"]}]:
            return Reply({"status": "COMPLETE", "results": [whole], "startedAt": AT, "completedAt": AT})
        none = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "None.", "errors": []}
        body = {"status": "COMPLETE", "results": [], "startedAt": AT, "completedAt": AT, "numErrors": 1}
        return Reply({**body, "errors": [none]}, 207, checked=False)

    vendor = Vendor("hubspot")
    described = [{"name": name, "label": name, "type": "string"} for name in ("email", "colour")]
    vendor.on("GET /crm/v3/properties/contacts", {"results": described})
    vendor.on("POST /crm/v3/objects/contacts/search", {"total": 1, "results": [whole]})
    vendor.on("POST /crm/v3/objects/contacts/batch/read", batch)
    async with running(vendor), account("hubspot", {"base_url": vendor.url}, {"access_token": SECRET}) as ada:
        await same(ada, "contacts", event, {"id": "1"})
    # The properties are asked for once by reading, and once for all that is fetched.
    assert len(vendor.asked("GET /crm/v3/properties/contacts")) == 2


async def test_jira_gives_the_issue_and_the_comment_with_its_issue() -> None:
    issue = {"id": "10002", "key": "ED-1", "fields": {"updated": "2026-01-01T10:00:00.000+0000"}}
    comment = {"id": "10100", "created": AT}
    vendor = Vendor("jira")
    vendor.on("GET /rest/api/3/search/jql", {"issues": [issue]})
    vendor.on("GET /rest/api/3/issue/10002", issue)
    vendor.on(
        "GET /rest/api/3/issue/10002/comment",
        {"startAt": 0, "maxResults": 50, "total": 1, "comments": [comment]},
    )
    vendor.on("GET /rest/api/3/issue/ED-1/comment/10100", comment)
    fields = {"site": "example", "email": "ada@example.com", "base_url": ""}
    async with running(vendor):
        fields["base_url"] = vendor.url
        async with account("jira", fields, {"api_token": SECRET}) as ada:
            await same(ada, "issues", told("jira", "hook_issue", "issues"), {"id": "10003"})
            await same(ada, "comments", told("jira", "hook_comment", "comments"), {"id": "10101"})


async def test_twilio_gives_the_message_with_its_price() -> None:
    event = told("twilio", "hook_status", "messages")
    sid, base = event["sid"], f"/2010-04-01/Accounts/{event['account_sid']}"
    whole = {"sid": sid, "status": "delivered", "price": "-0.00750", "date_sent": None}
    vendor = Vendor("twilio")
    vendor.on(f"GET {base}/Messages.json", {"messages": [whole], "next_page_uri": None})
    vendor.on(f"GET {base}/Messages/{sid}.json", whole)
    async with running(vendor):
        fields = {"account_sid": event["account_sid"], "endpoint_url": vendor.url}
        async with account("twilio", fields, {"auth_token": SECRET}) as ada:
            await same(ada, "messages", event, {"sid": "SM" + "2" * 32})


async def test_shopify_gives_the_customer_in_the_form_of_graphql() -> None:
    event = told("shopify", "hook_customer", "customers")
    whole = {
        "id": event["id"],
        "legacyResourceId": "7",
        "firstName": "Bob",
        "tags": [],
        "updatedAt": AT,
        "createdAt": AT,
    }
    whole |= {
        "displayName": "Bob",
        "state": "ENABLED",
        "taxExempt": False,
        "verifiedEmail": True,
        "locale": "en",
    }
    whole |= {"numberOfOrders": "0", "amountSpent": {"amount": "1.0", "currencyCode": "EUR"}}
    nodes = {"nodes": [whole], "pageInfo": {"hasNextPage": False, "endCursor": None}}

    def customer(info: Any, id: str) -> Any:
        return whole if id == event["id"] else None

    vendor = Vendor()
    root = {"customers": lambda info, **_: nodes, "customer": customer}
    vendor.on(
        "POST /admin/api/2026-10/graphql.json",
        lambda asked: Description("shopify").graphql(asked, root),
    )
    async with running(vendor):
        fields = {"shop": "example", "base_url": vendor.url}
        async with account("shopify", fields, {"access_token": SECRET}) as ada:
            await same(ada, "customers", event, {"id": "gid://shopify/Customer/1"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Reply([{"id": 1}, {"id": 2}], checked=False), "it has 2 records"),
        (Reply([7], checked=False), "not the record"),
        (Reply("<html>", headers={"Content-Type": "text/html"}, checked=False), "login page"),
    ],
)
async def test_an_answer_that_is_not_the_record(answer: Reply, said: str) -> None:
    vendor = Vendor("gitlab", "/api/v4")
    vendor.on("GET /projects/7/issues", answer)
    async with running(vendor), account("gitlab", {"base_url": vendor.url}, {"token": SECRET}) as ada:
        with pytest.raises(SystemicError, match=said):
            await ada.driver.fetch("issues", {"iid": 1, "project_id": 7})
