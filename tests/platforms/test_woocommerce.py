"""WooCommerce through its manifest, against a server in WooCommerce's shapes that is held to its description."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError, RateLimited, SystemicError

KEY, SECRET = "ck_0123456789abcdef", "cs_fedcba9876543210"
API = "/wp-json/wc/v3"


def order(number: int, day: int = 0) -> dict[str, Any]:
    at = f"2026-09-{day or number:02}T10:00:00"
    return {
        "id": number,
        "number": str(number),
        "status": "processing",
        "total": "19.90",
        "date_modified_gmt": at,
    }


def error(status: int, code: str, message: str) -> Reply:
    return Reply({"code": code, "message": message, "data": {"status": status}}, status)


class WooCommerce(Vendor):
    """Orders and products in pages of two, batches. Signed with Basic or OAuth 1.0a, as `signed` says."""

    def __init__(self) -> None:
        super().__init__(platform="woocommerce", undescribed=("/wp-json/",), guard=self.login)
        self.orders = {number: order(number) for number in range(1, 6)}
        self.products = {1: {"id": 1, "name": "Shirt", "date_modified_gmt": "2026-09-01T10:00:00"}}
        self.nonces: set[str] = set()
        self.on("GET /wp-json/", {"name": "Example shop", "url": self.url})
        self.on(f"GET {API}/orders", lambda asked: self.pages(asked, self.orders))
        self.on(f"GET {API}/products", lambda asked: self.pages(asked, self.products))
        self.on(f"GET {API}/products/{{id}}/variations", lambda asked, id: [{"id": 10, "sku": "S-1"}])
        self.on(f"GET {API}/customers", [])
        self.on(f"GET {API}/webhooks", [])
        self.on(f"POST {API}/products/batch", self.batch)
        self.on(f"POST {API}/orders/batch", self.remove)

    def login(self, asked: Asked) -> Reply | None:
        basic = "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        if asked.path == "/wp-json/" or asked.headers.get("authorization") == basic:
            return None
        if asked.query.get("oauth_consumer_key") == KEY and self.signature(asked):
            return None
        return error(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")

    def signature(self, asked: Asked) -> bool:
        """RFC 5849, as WooCommerce checks it: one-legged, HMAC-SHA256, a nonce once."""
        pairs = {name: value for name, value in asked.query.items() if name != "oauth_signature"}
        if pairs["oauth_nonce"] in self.nonces or pairs["oauth_signature_method"] != "HMAC-SHA256":
            return False
        self.nonces.add(pairs["oauth_nonce"])
        text = "&".join(f"{quote(name, '~')}={quote(value, '~')}" for name, value in sorted(pairs.items()))
        base = "&".join(quote(part, "~") for part in (asked.method, self.url + asked.path, text))
        made = hmac.new(f"{SECRET}&".encode(), base.encode(), hashlib.sha256).digest()
        return base64.b64encode(made).decode() == asked.query["oauth_signature"]

    def pages(self, asked: Asked, rows: dict[int, dict[str, Any]]) -> Reply:
        after = asked.query.get("modified_after", "")
        found = [item for _, item in sorted(rows.items()) if item["date_modified_gmt"] > after]
        page = int(asked.query.get("page", "1"))
        headers = {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str((len(found) + 1) // 2)}
        if found[page * 2 :]:
            # As WordPress writes it: with every parameter, the signature's too.
            again = "&".join(
                f"{name}={quote(value)}" for name, value in asked.query.items() if name != "page"
            )
            headers["Link"] = f'<{self.url}{asked.path}?{again}&page={page + 1}>; rel="next"'
        return Reply(found[page * 2 - 2 : page * 2], 200, headers)

    def batch(self, asked: Asked) -> Any:
        made: list[Any] = []
        for row in asked.json.get("create", []):
            if row.get("sku") in {item.get("sku") for item in self.products.values()} - {None}:
                said = {
                    "code": "product_invalid_sku",
                    "message": "Invalid or duplicated SKU.",
                    "data": {"status": 400},
                }
                made.append({"id": 0, "error": said})
                continue
            number = len(self.products) + 1
            self.products[number] = {"date_modified_gmt": "2026-09-30T10:00:00", **row, "id": number}
            made.append(self.products[number])
        return {"create": made}

    def remove(self, asked: Asked) -> Any:
        gone = []
        for number in asked.json["delete"]:
            if self.orders.pop(number, None):
                gone.append({"id": number})
            else:
                said = {
                    "code": "woocommerce_rest_shop_order_invalid_id",
                    "message": "Invalid ID.",
                    "data": {"status": 404},
                }
                gone.append({"id": number, "error": said})
        return {"delete": gone}


@pytest.fixture
async def woo() -> AsyncIterator[WooCommerce]:
    async with running(WooCommerce()) as vendor:
        assert isinstance(vendor, WooCommerce)
        yield vendor


@pytest.fixture
async def shop(woo: WooCommerce) -> AsyncIterator[Account]:
    fields = {"base_url": woo.url, "consumer_key": KEY}
    async with account("woocommerce", fields, {"consumer_secret": SECRET}) as opened:
        yield opened


async def test_check_and_discovery(woo: WooCommerce, shop: Account) -> None:
    woo.refuse(
        f"{API}/webhooks", error(403, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
    )
    found = await shop.check()
    assert found["key"].ok and "Example shop" in found["shop"].detail
    assert not found["read_webhooks"].ok and found["read_webhooks"].optional
    assert {"orders", "products", "product_variations", "customers", "coupons"} <= await shop.streams()


async def test_orders_full_then_what_changed(woo: WooCommerce, shop: Account) -> None:
    assert [item["id"] for item in await shop.read(stream="orders")] == [1, 2, 3, 4, 5]
    assert len(shop.pages) == 3
    position = shop.position
    assert await shop.read(position, "orders") == []
    woo.orders[2] = {**order(2, 20), "status": "completed"}
    assert [item["status"] for item in await shop.read(position, "orders")] == ["completed"]
    assert woo.asked(f"GET {API}/orders")[-1].query["modified_after"] == "2026-09-05T09:59:00"


async def test_variations_know_their_product(shop: Account) -> None:
    (found,) = await shop.read(stream="product_variations")
    assert found["sku"] == "S-1" and found["product_id"] == 1


async def test_by_signature_over_pages(woo: WooCommerce) -> None:
    fields = {"base_url": woo.url, "consumer_key": KEY, "signing": "signature"}
    async with account("woocommerce", fields, {"consumer_secret": SECRET}) as signed:
        assert [item["id"] for item in await signed.read(stream="orders")] == [1, 2, 3, 4, 5]
        assert "oauth_" not in str([page.position for page in signed.pages])
        assert (await signed.write("orders", "delete", {"id": 4}, {"id": 5})).written == 2
    assert all("authorization" not in item.headers for item in woo.seen) and len(woo.nonces) == 4


async def test_a_password_does_not_go_over_plain_http() -> None:
    fields = {"base_url": "http://shop.example.com", "consumer_key": KEY}
    with pytest.raises(ConfigError, match=r"shop\.example\.com"):
        async with account("woocommerce", fields, {"consumer_secret": SECRET}) as opened:
            await opened.read(stream="orders")


async def test_products_in_a_batch_and_orders_deleted(woo: WooCommerce, shop: Account) -> None:
    result = await shop.write("products", "create", {"name": "Mug", "sku": "M"}, {"name": "Cup", "sku": "M"})
    assert result.written == 1 and len(woo.asked(f"POST {API}/products/batch")) == 1
    ((index, fault),) = result.faults
    assert index == 1 and fault.code == "product_invalid_sku" and "duplicated SKU" in fault.message
    result = await shop.write("orders", "delete", {"id": 1}, {"id": 99})
    assert result.written == 1 and [index for index, _ in result.faults] == [1] and 1 not in woo.orders


async def test_a_wrong_secret(woo: WooCommerce) -> None:
    fields = {"base_url": woo.url, "consumer_key": KEY}
    async with account("woocommerce", fields, {"consumer_secret": "cs_wrong"}) as wrong:
        found = await wrong.check()
        assert found["shop"].ok and not found["key"].ok
        refused = await wrong.refused("orders")
        assert isinstance(refused, CredentialError) and "revoked" in refused.hint


async def test_a_key_that_may_only_read(woo: WooCommerce, shop: Account) -> None:
    said = "The API key provided does not have write permissions."
    woo.refuse(f"{API}/products/batch", error(401, "woocommerce_rest_authentication_error", said))
    with pytest.raises(CredentialError, match="write permissions") as caught:
        await shop.write("products", "create", {"name": "Mug"})
    assert "Read/Write" in caught.value.hint


async def test_a_shop_without_woocommerce(woo: WooCommerce, shop: Account) -> None:
    woo.refuse(f"{API}/orders", error(404, "rest_no_route", "No route was found matching the URL."))
    refused = await shop.refused("orders")
    assert isinstance(refused, ConfigError) and "permalinks" in refused.hint


async def test_a_page_instead_of_an_answer(woo: WooCommerce, shop: Account) -> None:
    page = Reply("<!DOCTYPE html><html><body>Coming soon</body></html>", 200, {"Content-Type": "text/html"})
    for _ in range(9):
        woo.refuse(f"{API}/orders", page)
    refused = await shop.refused("orders")
    assert isinstance(refused, SystemicError) and "text/html where data is expected" in refused.message
    assert [item["id"] for item in await shop.read(stream="products")] == [1]


async def test_a_host_that_slows_down(woo: WooCommerce, shop: Account) -> None:
    page = "<html><body>429 Too Many Requests</body></html>"
    html = {"Content-Type": "text/html"}
    woo.refuse(f"{API}/orders", Reply(page, 429, {**html, "Retry-After": "7"}))
    assert len(await shop.read(stream="orders")) == 5 and shop.waited(7.0)
    woo.refuse(f"{API}/orders", Reply(page, 429, {**html, "Retry-After": "900"}))
    assert isinstance(await shop.refused("orders"), RateLimited)
