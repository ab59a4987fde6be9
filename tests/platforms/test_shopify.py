"""Shopify through its manifest: documents are validated and answered by Shopify's own schema (what the manifest uses of
it), REST is held to the description.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from contract.extract import load
from contract.mock_graphql import graphql_answer
from contract.mock_pages import Call
from graphql import parse
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError, RateLimited

GRAPHQL = "/admin/api/2026-10/graphql.json"
TOKEN = "shpat_0123456789abcdef0123456789abcdef"
MONEY = {"amount": "10.0", "currencyCode": "EUR"}
SINCE = re.compile(r"updated_at:>='([^']*)'")


def gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def product(number: int, day: int = 0) -> dict[str, Any]:
    at = f"2026-09-{day or number:02}T10:00:00Z"
    flags = dict.fromkeys(("tracksInventory", "hasOnlyDefaultVariant", "isGiftCard"), False)
    prices = {"minVariantPrice": MONEY, "maxVariantPrice": MONEY}
    texts = dict.fromkeys(("descriptionHtml", "vendor", "productType"), "")
    return {
        **flags,
        **texts,
        "id": gid("Product", number),
        "legacyResourceId": str(number),
        "title": f"Product {number}",
        "handle": f"product-{number}",
        "status": "ACTIVE",
        "tags": [],
        "totalInventory": 3,
        "priceRangeV2": prices,
        "options": [],
        "seo": {},
        "createdAt": at,
        "updatedAt": at,
    }


class Shopify(Vendor):
    """Products in pages of two, mutations, a bulk operation, a bucket of points."""

    def __init__(self) -> None:
        super().__init__(guard=self.token)
        self.sdl = load("shopify").graphql
        self.accepted = TOKEN
        self.products = [product(number) for number in range(1, 6)]
        self.deleted: list[str] = []
        self.asked_for: list[dict[str, Any]] = []
        self.states = ["CREATED", "RUNNING", "COMPLETED"]
        self.available = 1000.0
        self.wrong: list[str] = []
        self.on(f"POST {GRAPHQL}", self.answer)
        self.on("GET /admin/api/2026-10/events.json", self.events)
        self.on("GET /bulk.jsonl", self.lines)
        self.on("POST /admin/oauth/access_token", self.issue)

    def token(self, asked: Asked) -> Reply | None:
        if asked.path in ("/bulk.jsonl", "/admin/oauth/access_token"):
            return None
        if asked.headers.get("x-shopify-access-token") == self.accepted:
            return None
        return Reply({"errors": "[API] Invalid API key or access token"}, 401)

    def issue(self, asked: Asked) -> Reply:
        if asked.form != {
            "grant_type": "client_credentials",
            "client_id": "app-1",
            "client_secret": "s3cret",
        }:
            return Reply({"error": "application_cannot_be_found"}, 400)
        self.accepted = "shpat_issued"
        return Reply({"access_token": "shpat_issued", "scope": "read_products", "expires_in": 86399})

    def answer(self, asked: Asked) -> Reply:
        body = asked.json
        self.asked_for.append(body)
        root = {
            "shop": {
                "id": gid("Shop", 1),
                "name": "Example",
                "myshopifyDomain": "e.myshopify.com",
                "email": "a@b.c",
            },
            "orders": {"nodes": [], "pageInfo": {"hasNextPage": False}},
            "customers": {"nodes": [], "pageInfo": {"hasNextPage": False}},
            "products": self.page,
            "currentAppInstallation": {"accessScopes": [{"handle": "read_products"}]},
            "customerSet": self.set_customer,
            "productDelete": self.delete_product,
            "bulkOperationRunQuery": self.run_bulk,
            "node": self.bulk,
        }
        call = Call(
            "POST", GRAPHQL, {}, [], dict(asked.headers), body, {}, [], asked.body, "application/json"
        )
        reply = graphql_answer(self.sdl, root, call, self.wrong)
        status = {"maximumAvailable": 2000.0, "currentlyAvailable": self.available, "restoreRate": 100.0}
        cost = {"requestedQueryCost": 12, "actualQueryCost": 8, "throttleStatus": status}
        return Reply({**reply.json, "extensions": {"cost": cost}}, reply.status)

    def page(self, info: Any, first: int, after: str | None = None, query: str = "", **rest: Any) -> Any:
        since = SINCE.search(query or "")
        rows = [item for item in self.products if not since or item["updatedAt"] >= since.group(1)]
        start = int(after or "0")
        more = bool(rows[start + 2 :])
        return {
            "nodes": rows[start : start + 2],
            "pageInfo": {"hasNextPage": more, "endCursor": str(start + 2)},
        }

    def set_customer(self, info: Any, input: Any, identifier: Any) -> Any:
        assert identifier == {"email": input["email"]}
        if "@" not in input["email"]:
            problem = {"field": ["input", "email"], "message": "Email is invalid", "code": "INVALID"}
            return {"customer": None, "userErrors": [problem]}
        return {"customer": {"id": gid("Customer", 1)}, "userErrors": []}

    def delete_product(self, info: Any, input: Any, **rest: Any) -> Any:
        self.deleted.append(input["id"])
        return {"deletedProductId": input["id"], "userErrors": []}

    def run_bulk(self, info: Any, query: str, **rest: Any) -> Any:
        assert query.startswith("{ orders(query: \"updated_at:>='1970-") and parse(query)
        return {"bulkOperation": {"id": gid("BulkOperation", 7), "status": "CREATED"}, "userErrors": []}

    def bulk(self, info: Any, id: str) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        url = f"{self.url}/bulk.jsonl" if state == "COMPLETED" else None
        return {"__typename": "BulkOperation", "id": id, "status": state, "objectCount": "3", "url": url}

    def lines(self, asked: Asked) -> Reply:
        order = {"id": gid("Order", 1), "updatedAt": "2026-09-01T10:00:00Z"}
        items = [
            {"id": gid("LineItem", n), "sku": f"S-{n}", "quantity": n, "__parentId": order["id"]}
            for n in (1, 2)
        ]
        return Reply(
            "".join(json.dumps(item) + "\n" for item in (order, *items)), 200, {"Content-Type": "text/plain"}
        )

    def events(self, asked: Asked) -> Reply:
        number = int(asked.query.get("page_info", "1"))
        event = {
            "id": number,
            "verb": "create",
            "subject_type": "Product",
            "created_at": f"2026-09-0{number}T10:00:00-04:00",
        }
        following = f'<{self.url}{asked.path}?limit=250&page_info={number + 1}>; rel="next"'
        headers = {"X-Shopify-Shop-Api-Call-Limit": f"{number}/40"}
        return Reply({"events": [event]}, 200, {**headers, "Link": following} if number < 3 else headers)

    def verify(self) -> None:
        assert not self.wrong, "the schema does not allow this:\n  " + "\n  ".join(dict.fromkeys(self.wrong))


def refusal(code: str, message: str, **more: Any) -> Reply:
    return Reply({"errors": [{"message": message, "extensions": {"code": code, **more}}]})


@pytest.fixture
async def shopify() -> AsyncIterator[Shopify]:
    async with running(Shopify()) as vendor:
        assert isinstance(vendor, Shopify)
        yield vendor


@pytest.fixture
async def shop(shopify: Shopify) -> AsyncIterator[Account]:
    async with account(
        "shopify", {"shop": "example", "base_url": shopify.url}, {"access_token": TOKEN}
    ) as opened:
        yield opened


async def test_check_and_discovery(shopify: Shopify, shop: Account) -> None:
    found = await shop.check()
    assert all(item.ok for item in found.values()) and "Example" in found["shop"].detail
    streams = {item.name: item for item in await shop.driver.discover()}
    assert {
        "orders",
        "customers",
        "products",
        "inventory_items",
        "draft_orders",
        "locations",
    } <= streams.keys()
    fields = {item.name: item.type for item in streams["products"].fields}
    assert fields["title"] == "string" and fields["updatedAt"] == "timestamp" and fields["tags"] == "array"


async def test_products_full_then_what_changed(shopify: Shopify, shop: Account) -> None:
    found = await shop.read(stream="products")
    assert [item["title"] for item in found] == [f"Product {number}" for number in range(1, 6)]
    assert len(shop.pages) == 3
    position = shop.position
    assert await shop.read(position, "products") == []
    shopify.products = [*shopify.products[1:], product(1, 20)]
    assert [item["title"] for item in await shop.read(position, "products")] == ["Product 1"]
    assert shopify.asked_for[-1]["variables"]["query"] == "updated_at:>='2026-09-05T09:59:00Z'"


async def test_line_items_by_a_bulk_operation(shop: Account) -> None:
    found = await shop.read(stream="order_line_items")
    assert [item["sku"] for item in found] == ["S-1", "S-2"]
    assert {item["__parentId"] for item in found} == {gid("Order", 1)} and shop.waited(5.0)


async def test_a_bulk_operation_that_fails(shopify: Shopify, shop: Account) -> None:
    shopify.states = ["FAILED"]
    assert "FAILED" in (await shop.refused("order_line_items")).message


async def test_events_over_rest(shop: Account) -> None:
    assert [item["id"] for item in await shop.read(stream="events")] == [1, 2, 3]


async def test_a_customer_is_set_and_a_product_deleted(shopify: Shopify, shop: Account) -> None:
    rows = ({"email": "ada@example.com", "firstName": "Ada"}, {"email": "nobody", "firstName": "No"})
    result = await shop.write("customers", "upsert", *rows)
    assert result.written == 1 and result.responses[0] == {"id": gid("Customer", 1)}
    ((index, fault),) = result.faults
    assert (
        index == 1
        and fault.code == "INVALID"
        and fault.field == "email"
        and "Email is invalid" in fault.message
    )
    assert (await shop.write("products", "delete", {"id": gid("Product", 1)})).written == 1
    assert shopify.deleted == [gid("Product", 1)]


async def test_by_client_credentials(shopify: Shopify) -> None:
    fields = {"shop": "example", "base_url": shopify.url, "sign_in": "client", "client_id": "app-1"}
    async with account("shopify", fields, {"client_secret": "s3cret"}) as app:
        assert len(await app.read(stream="products")) == 5


async def test_a_wrong_token(shopify: Shopify) -> None:
    fields = {"shop": "example", "base_url": shopify.url}
    async with account("shopify", fields, {"access_token": "shpat_wrong"}) as wrong:
        assert not (await wrong.check())["shop"].ok
        assert isinstance(await wrong.refused("products"), CredentialError)


async def test_a_missing_scope_is_named(shopify: Shopify, shop: Account) -> None:
    denied = refusal(
        "ACCESS_DENIED", "Access denied for products.", requiredAccess="`read_products` access scope."
    )
    shopify.refuse(GRAPHQL, denied)
    error = await shop.refused("products")
    assert isinstance(error, CredentialError) and "read_products" in error.message
    shopify.refuse(GRAPHQL, denied)
    found = await shop.check()
    assert not found["shop"].ok and "read_products" in found["shop"].detail


async def test_a_field_that_is_no_more(shopify: Shopify, shop: Account) -> None:
    shopify.refuse(GRAPHQL, refusal("undefinedField", "Field 'old' doesn't exist on type 'Product'"))
    error = await shop.refused("products")
    assert isinstance(error, ConfigError) and "'old'" in error.message


async def test_throttled_in_a_200(shopify: Shopify, shop: Account) -> None:
    shopify.refuse(GRAPHQL, refusal("THROTTLED", "Throttled"))
    assert len(await shop.read(stream="products")) == 5 and shop.waited(2.0)
    shopify.refuse(GRAPHQL, Reply({"errors": "Exceeded 2 calls per second"}, 429, {"Retry-After": "900"}))
    assert isinstance(await shop.refused("products"), RateLimited)


async def test_an_empty_bucket_is_waited_for(shopify: Shopify, shop: Account) -> None:
    shopify.available = 2.0
    assert len(await shop.read(stream="products")) == 5
    # Twelve points are needed, two are there, a hundred come back each second.
    assert any(0.05 < seconds <= 0.2 for seconds in shop.clock.slept)
