"""PayPal through its manifest, against a server in PayPal's shapes that is held to PayPal's description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited

SECRET = "EL1tVxAjhT7cJimnz5"
TOKEN = {
    "scope": "https://uri.paypal.com/services/reporting/search/read",
    "token_type": "Bearer",
    "app_id": "APP-1",
}
NOW = datetime.now(UTC)


def transaction(number: int, ago: int) -> dict[str, Any]:
    at = (NOW - timedelta(days=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    amount = {"currency_code": "EUR", "value": "10.00"}
    info = {"transaction_id": f"{number:017}", "transaction_amount": amount, "transaction_status": "S"}
    return {"transaction_info": {**info, "transaction_initiation_date": at, "transaction_updated_date": at}}


def dispute(number: int, day: int) -> dict[str, Any]:
    at = f"2026-09-{day:02}T10:00:00.000Z"
    return {"dispute_id": f"PP-D-{number}", "create_time": at, "update_time": at, "status": "OPEN"}


class PayPal(Vendor):
    """Transactions by time, disputes by links, products and invoices to write. A token lasts until `expire`."""

    def __init__(self) -> None:
        super().__init__(platform="paypal", undescribed=("/v1/oauth2/token",), guard=self.token)
        self.issued = 0
        self.transactions = [transaction(1, 90), transaction(2, 40), transaction(3, 39), transaction(4, 1)]
        self.disputes = [dispute(number, number) for number in (3, 2, 1)]
        self.invoices = {"INV2-AAAA-BBBB-CCCC-DDDD"}
        self.on("POST /v1/oauth2/token", self.issue)
        self.on("GET /v1/reporting/transactions", self.search)
        self.on("GET /v1/reporting/balances", {"account_id": "2ABCDEFGHJKLM", "balances": []})
        self.on("GET /v1/customer/disputes", self.by_links)
        self.on("GET /v1/notifications/webhooks", {"webhooks": []})
        self.on("GET /v2/invoicing/invoices", {"items": [], "total_pages": 0})
        self.on("GET /v1/catalogs/products", {"products": [], "total_pages": 0})
        self.on("POST /v1/catalogs/products", self.create)
        self.on("DELETE /v2/invoicing/invoices/{id}", self.delete)

    def token(self, asked: Asked) -> Reply | None:
        if (
            asked.path == "/v1/oauth2/token"
            or asked.headers.get("authorization") == f"Bearer A21-{self.issued}"
        ):
            return None
        body = {"name": "AUTHENTICATION_FAILURE", "message": "Authentication failed.", "debug_id": "b2"}
        return Reply(body, 401)

    def issue(self, asked: Asked) -> Reply:
        from base64 import b64encode

        login = b64encode(f"app-1:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {login}":
            said = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return Reply(said, 401)
        assert asked.form == {"grant_type": "client_credentials"}
        self.issued += 1
        return Reply({**TOKEN, "access_token": f"A21-{self.issued}", "expires_in": 32400})

    def search(self, asked: Asked) -> Any:
        start, end = (datetime.fromisoformat(asked.query[name]) for name in ("start_date", "end_date"))
        assert end - start <= timedelta(days=31), "PayPal takes 31 days at most"
        found = [
            item
            for item in self.transactions
            if start <= datetime.fromisoformat(item["transaction_info"]["transaction_updated_date"]) <= end
        ]
        page = int(asked.query["page"])
        rows = found[page - 1 : page]
        return {
            "transaction_details": rows,
            "total_pages": len(found),
            "total_items": len(found),
            "page": page,
        }

    def by_links(self, asked: Asked) -> Any:
        start = int(asked.query.get("next_page_token", "0"))
        rows = [
            item for item in self.disputes if item["update_time"] >= asked.query.get("update_time_after", "")
        ]
        link = {"href": f"{self.url}/v1/customer/disputes?page_size=50", "rel": "self", "method": "GET"}
        links = [link]
        if len(rows) > start + 2:
            links.append({**link, "href": f"{link['href']}&next_page_token={start + 2}", "rel": "next"})
        return {"items": rows[start : start + 2], "links": links}

    def create(self, asked: Asked) -> Reply:
        if asked.json.get("type") not in ("PHYSICAL", "DIGITAL", "SERVICE"):
            return Reply(
                {
                    "name": "INVALID_REQUEST",
                    "message": "Request is not well-formed.",
                    "debug_id": "5a2d1b",
                    "details": [{"field": "/type", "issue": "INVALID_PARAMETER_VALUE", "location": "body"}],
                },
                400,
            )
        return Reply({"id": "PROD-1", **asked.json}, 201)

    def delete(self, asked: Asked, id: str) -> Reply:
        if id not in self.invoices:
            return Reply({"name": "RESOURCE_NOT_FOUND", "message": "Not there.", "debug_id": "77ab"}, 404)
        self.invoices.remove(id)
        return Reply(None, 204)


@pytest.fixture
async def paypal() -> AsyncIterator[PayPal]:
    async with running(PayPal()) as vendor:
        assert isinstance(vendor, PayPal)
        yield vendor


@pytest.fixture
async def merchant(paypal: PayPal) -> AsyncIterator[Account]:
    fields = {"client_id": "app-1", "base_url": paypal.url}
    async with account("paypal", fields, {"client_secret": SECRET}) as opened:
        yield opened


async def test_check_and_discovery(paypal: PayPal, merchant: Account) -> None:
    denied = {"name": "NOT_AUTHORIZED", "message": "Authorization failed.", "debug_id": "c3"}
    paypal.refuse("/v1/customer/disputes", Reply(denied, 403))
    found = await merchant.check()
    assert found["token"].ok and "2ABCDEFGHJKLM" in found["read_balances"].detail
    assert not found["read_disputes"].ok and found["read_disputes"].optional
    assert {
        "transactions",
        "balances",
        "disputes",
        "invoices",
        "products",
        "plans",
    } <= await merchant.streams()
    assert paypal.issued == 1


async def test_transactions_in_windows_then_what_is_new(paypal: PayPal, merchant: Account) -> None:
    found = await merchant.read(stream="transactions")
    assert [item["transaction_info"]["transaction_id"][-1] for item in found] == ["1", "2", "3", "4"]
    position = merchant.position
    before = len(paypal.seen)
    assert await merchant.read(position, "transactions") == []
    # Only the last days are asked for again.
    assert len(paypal.seen) - before <= 3
    paypal.transactions.append(transaction(5, 0))
    found = await merchant.read(position, "transactions")
    assert [item["transaction_info"]["transaction_id"][-1] for item in found] == ["5"]


async def test_disputes_by_links_then_what_changed(paypal: PayPal, merchant: Account) -> None:
    assert [item["dispute_id"][-1] for item in await merchant.read(stream="disputes")] == ["3", "2", "1"]
    position = merchant.position
    paypal.disputes[2] = {**dispute(1, 20), "status": "RESOLVED"}
    assert [item["status"] for item in await merchant.read(position, "disputes")] == ["RESOLVED"]
    assert (
        paypal.asked("GET /v1/customer/disputes")[-1].query["update_time_after"] == "2026-09-03T09:59:00.000Z"
    )


async def test_a_product_is_created_and_an_invoice_deleted(paypal: PayPal, merchant: Account) -> None:
    good = {"name": "Coffee of the month", "type": "PHYSICAL"}
    result = await merchant.write("products", "create", good, {**good, "type": "LIQUID"})
    assert result.written == 1 and result.responses[0] == {"id": "PROD-1"}
    ((index, fault),) = result.faults
    assert index == 1 and fault.code == "INVALID_PARAMETER_VALUE" and fault.field == "/type"
    paypal.forgive("type is 'LIQUID'")
    keys = {item.headers["paypal-request-id"] for item in paypal.asked("POST /v1/catalogs/products")}
    assert keys == {"key-0", "key-1"}
    rows = ({"id": "INV2-AAAA-BBBB-CCCC-DDDD"}, {"id": "INV2-GONE-GONE-GONE-GONE"})
    assert (await merchant.write("invoices", "delete", *rows)).written == 2 and not paypal.invoices


async def test_a_wrong_secret(paypal: PayPal) -> None:
    fields = {"client_id": "app-1", "base_url": paypal.url}
    async with account("paypal", fields, {"client_secret": "wrong"}) as wrong:
        assert not (await wrong.check())["token"].ok
        assert isinstance(await wrong.refused("disputes"), CredentialError)


async def test_a_token_that_ended_is_renewed(paypal: PayPal, merchant: Account) -> None:
    assert len(await merchant.read(stream="disputes")) == 3
    paypal.issued = 7
    assert len(await merchant.read(stream="disputes")) == 3
    assert paypal.issued == 8


async def test_a_feature_that_the_app_has_not(paypal: PayPal, merchant: Account) -> None:
    denied = {"name": "NOT_AUTHORIZED", "message": "Authorization failed due to insufficient permissions."}
    details = [
        {"issue": "PERMISSION_DENIED", "description": "You do not have permission to access this resource."}
    ]
    paypal.refuse("/v1/reporting/transactions", Reply({**denied, "debug_id": "c3", "details": details}, 403))
    error = await merchant.refused("transactions")
    assert isinstance(error, CredentialError) and "developer dashboard" in error.hint
    assert "do not have permission" in error.message


async def test_rate_limits(paypal: PayPal, merchant: Account) -> None:
    body = {"name": "RATE_LIMIT_REACHED", "message": "Too many requests.", "debug_id": "a1"}
    paypal.refuse("/v1/customer/disputes", Reply(body, 429))
    assert len(await merchant.read(stream="disputes")) == 3 and merchant.waited(30.0)
    paypal.refuse("/v1/customer/disputes", Reply(body, 429, {"Retry-After": "900"}))
    assert isinstance(await merchant.refused("disputes"), RateLimited)
