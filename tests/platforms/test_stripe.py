"""Stripe through its manifest: reading and writing against `emulate` and `localstripe`, refusals in Stripe's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from peers.emulate import StripeEmulate
from peers.localstripe import StripeEmulator
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited

KEY = "sk_test_0123456789"


@pytest.fixture
async def reader(stripe_emulate: StripeEmulate) -> AsyncIterator[Account]:
    async with account("stripe", {"base_url": stripe_emulate.url}, {"api_key": KEY}) as opened:
        yield opened


@pytest.fixture
async def writer(stripe_emulator: StripeEmulator) -> AsyncIterator[Account]:
    async with account(
        "stripe", {"base_url": stripe_emulator.url}, {"api_key": stripe_emulator.key}
    ) as opened:
        yield opened


async def test_customers_full_then_what_is_new(stripe_emulate: StripeEmulate, reader: Account) -> None:
    found = await reader.read(stream="customers")
    assert {item["id"] for item in found} >= set(stripe_emulate.customers) and len(reader.pages) >= 3
    position = reader.position
    assert await reader.read(position, "customers") == []
    created = stripe_emulate.create_customer(9001)
    assert [item["id"] for item in await reader.read(position, "customers")] == [created["id"]]


async def test_customers_are_created_changed_and_deleted(writer: Account) -> None:
    good = {"email": "new@example.com", "name": "A & B", "metadata": {"tier": "gold", "since": 2020}}
    result = await writer.write("customers", "create", good, {"email": 7, "nonsense": "x"})
    assert result.written == 1 and [index for index, _ in result.faults] == [1]
    id = result.responses[0]["id"]
    changed = {"id": id, "name": "C", "metadata": {"tier": "silver"}}
    assert (await writer.write("customers", "update", changed)).written == 1
    found = {item["id"]: item for item in await writer.read(stream="customers")}
    assert found[id]["name"] == "C" and found[id]["metadata"] == {"tier": "silver", "since": "2020"}
    assert (await writer.write("customers", "delete", {"id": id}, {"id": "cus_never"})).written == 2
    assert id not in {item["id"] for item in await writer.read(stream="customers") if not item.get("deleted")}


async def test_a_wrong_key(stripe_emulator: StripeEmulator) -> None:
    async with account("stripe", {"base_url": stripe_emulator.url}, {"api_key": "not-a-key"}) as wrong:
        assert isinstance(await wrong.refused("customers"), CredentialError)


def product(number: int) -> dict[str, Any]:
    return {
        "id": f"prod_{number}",
        "object": "product",
        "name": f"Product {number}",
        "created": 1790000000 + number,
    }


class Stripe(Vendor):
    """Products, newest first, in pages of two, held to the operations that Stripe has."""

    def __init__(self) -> None:
        super().__init__(platform="stripe", undescribed=("/oauth/token",), guard=self.key)
        self.accepted = KEY
        self.products = [product(number) for number in range(5, 0, -1)]
        denied = {"type": "invalid_request_error", "message": "The provided key has no access."}
        self.on("GET /v1/balance", Reply({"error": denied}, 403))
        self.on(
            "GET /v1/customers", {"object": "list", "url": "/v1/customers", "has_more": False, "data": []}
        )
        self.on("GET /v1/account", {"id": "acct_1", "settings": {"dashboard": {"display_name": "Example"}}})
        self.on("GET /v1/products", self.pages)
        self.on("POST /v1/products/{id}", self.update)
        self.on("POST /oauth/token", self.token)

    def key(self, asked: Asked) -> Reply | None:
        if asked.path == "/oauth/token" or asked.headers.get("authorization") == f"Bearer {self.accepted}":
            return None
        return Reply(
            {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided: sk_test_***"}},
            401,
        )

    def pages(self, asked: Asked) -> Any:
        since = int(asked.query.get("created[gte]", "0"))
        rows = [item for item in self.products if item["created"] >= since]
        names = [item["id"] for item in rows]
        start = names.index(asked.query["starting_after"]) + 1 if "starting_after" in asked.query else 0
        more = bool(rows[start + 2 :])
        return {"object": "list", "url": "/v1/products", "has_more": more, "data": rows[start : start + 2]}

    def update(self, asked: Asked, id: str) -> Reply:
        if "nonsense" in asked.form:
            said = "Received unknown parameter: nonsense"
            error = {
                "type": "invalid_request_error",
                "code": "parameter_unknown",
                "param": "nonsense",
                "message": said,
            }
            return Reply({"error": error}, 400)
        return Reply({**product(1), "id": id, **asked.form})

    def token(self, asked: Asked) -> Any:
        assert asked.form["grant_type"] == "refresh_token"
        return {"access_token": KEY, "stripe_user_id": "acct_1", "scope": "read_write"}


@pytest.fixture
async def stripe() -> AsyncIterator[Stripe]:
    async with running(Stripe()) as vendor:
        assert isinstance(vendor, Stripe)
        yield vendor


@pytest.fixture
async def shop(stripe: Stripe) -> AsyncIterator[Account]:
    fields = {"base_url": stripe.url, "account": "acct_1"}
    async with account("stripe", fields, {"api_key": KEY}) as opened:
        yield opened


async def test_check_and_discovery(stripe: Stripe, shop: Account) -> None:
    refused = {"error": {"type": "invalid_request_error", "message": "The provided key has no access."}}
    stripe.refuse("/v1/charges", Reply(refused, 403))
    found = await shop.check()
    # A restricted key that may not see the balance is a good key all the same.
    assert found["auth"].ok and found["read_customers"].ok and "Example" in found["account"].detail
    assert not found["read_charges"].ok and found["read_charges"].optional
    assert {"customers", "charges", "invoices", "subscriptions", "coupons", "events"} <= await shop.streams()


async def test_products_in_pages_for_a_connected_account(stripe: Stripe, shop: Account) -> None:
    assert [item["id"] for item in await shop.read(stream="products")] == [
        f"prod_{n}" for n in (5, 4, 3, 2, 1)
    ]
    assert {item.headers["stripe-account"] for item in stripe.seen} == {"acct_1"}
    assert {item.headers["stripe-version"] for item in stripe.seen} == {"2026-10-28.endive"}


async def test_a_refused_update_names_the_field(stripe: Stripe, shop: Account) -> None:
    result = await shop.write(
        "products", "update", {"id": "prod_1", "name": "Mug"}, {"id": "prod_2", "nonsense": "x"}
    )
    assert result.written == 1
    ((index, fault),) = result.faults
    assert index == 1 and fault.code == "parameter_unknown" and fault.field == "nonsense"
    stripe.forgive("the form's field nonsense is unknown")
    (first, _) = [item for item in stripe.seen if item.method == "POST"]
    assert first.form == {"name": "Mug"} and first.headers["idempotency-key"] == "key-0"


async def test_a_missing_permission_is_named(stripe: Stripe, shop: Account) -> None:
    said = "The provided key may not do this. Having the 'rak_product_read' permission would allow it."
    stripe.refuse("/v1/products", Reply({"error": {"type": "invalid_request_error", "message": said}}, 403))
    error = await shop.refused("products")
    assert isinstance(error, CredentialError) and "rak_product_read" in error.message


async def test_rate_limits_and_locks(stripe: Stripe, shop: Account) -> None:
    limited = {
        "error": {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"}
    }
    stripe.refuse("/v1/products", Reply(limited, 429, {"Retry-After": "3"}))
    assert len(await shop.read(stream="products")) == 5 and shop.waited(3.0)
    lock = {"error": {"type": "invalid_request_error", "code": "lock_timeout", "message": "Lock timeout"}}
    stripe.refuse("/v1/products", Reply(lock, 429))
    assert len(await shop.read(stream="products")) == 5
    stripe.refuse("/v1/products", Reply(limited, 429, {"Retry-After": "900"}))
    assert isinstance(await shop.refused("products"), RateLimited)
