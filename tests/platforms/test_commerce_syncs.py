"""HubSpot and Shopify by the command line: a whole sync, an incremental one, and rows that are written in batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Cli, add_warehouse, counts, lost, rows, write_integration
from platforms.test_hubspot import TOKEN, HubSpot, contact
from platforms.test_shopify import TOKEN as SHOP_TOKEN
from platforms.test_shopify import Shopify, gid, product
from platforms.vendor import running


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "home", {"HUBSPOT_TOKEN": TOKEN, "SHOPIFY_TOKEN": SHOP_TOKEN})
    yield made
    made.close()


async def run(cli: Cli, *args: str | Path, code: int | None = 0) -> Any:
    """One command, while the server of the test goes on."""
    return await asyncio.to_thread(cli.json, *args, code=code)


def stored(folder: Path, table: str) -> list[dict[str, Any]]:
    """The records of a table as they came, in the order of their keys."""
    found = rows(folder / "warehouse.sqlite", f'SELECT _raw FROM "{table}" ORDER BY _key')
    return [json.loads(row["_raw"]) for row in found]


async def test_hubspot_contacts_into_a_database(cli: Cli, tmp_path: Path) -> None:
    async with running(HubSpot()) as hubspot:
        assert isinstance(hubspot, HubSpot)
        secret = ("--secret-from", "access_token=env:HUBSPOT_TOKEN")
        await asyncio.to_thread(
            cli, "profiles", "add", "hubspot", "--field", f"base_url={hubspot.url}", *secret
        )
        await asyncio.to_thread(add_warehouse, cli, tmp_path / "warehouse.sqlite")
        assert (await run(cli, "profiles", "test", "hubspot"))["ok"]
        catalogue = await run(cli, "discover", "hubspot")
        assert {"contacts", "custom.p123_boat"} <= {item["name"] for item in catalogue["streams"]}

        path = write_integration(
            tmp_path, "crm-copy", ("hubspot", "hubspot"), ("sqlite", "warehouse"), ["contacts"]
        )
        first = await run(cli, "syncs", "run", path)
        assert counts(first) == {"contacts": (5, 5, 0)}
        hubspot.contacts = [*hubspot.contacts[1:], contact(1, 900)]
        second = await run(cli, "syncs", "run", "crm-copy")
        assert counts(second) == {"contacts": (1, 1, 0)}
        ids = [item["id"] for item in stored(tmp_path, "contacts")]
        assert ids == ["1", "2", "3", "4", "5"] and await asyncio.to_thread(lost, cli, "crm-copy") == 0


async def test_contacts_of_one_hubspot_into_another(cli: Cli, tmp_path: Path) -> None:
    async with running(HubSpot(contacts=121)) as old, running(HubSpot()) as new:
        assert isinstance(old, HubSpot) and isinstance(new, HubSpot)
        old.contacts[6]["properties"]["email"] = "nobody"
        secret = ("--secret-from", "access_token=env:HUBSPOT_TOKEN")
        for name, server in (("old", old), ("new", new)):
            field = f"base_url={server.url}"
            add = ("profiles", "add", "hubspot", "--name", name, "--field", field)
            await asyncio.to_thread(cli, *add, *secret)
        more = (
            "streams:\n  contacts:\n    target: contacts\n    operation: upsert\n"
            "    map: {email: properties.email, firstname: properties.firstname}\n"
        )
        path = write_integration(
            tmp_path, "crm-move", ("hubspot", "old"), ("hubspot", "new"), ["contacts"], more
        )
        moved = await run(cli, "syncs", "run", path, code=None)
        assert counts(moved) == {"contacts": (121, 120, 1)}
        batches = new.asked("POST /crm/v3/objects/contacts/batch/upsert")
        assert sum(len(item.json["inputs"]) for item in batches) == 121 and len(batches) <= 3
        (letter,) = await run(cli, "dead", "list")
        assert letter["code"] == "VALIDATION_ERROR" and "nobody is invalid" in letter["message"]


async def test_shopify_products_into_a_database(cli: Cli, tmp_path: Path) -> None:
    async with running(Shopify()) as shopify:
        assert isinstance(shopify, Shopify)
        fields = ("--field", "shop=example", "--field", f"base_url={shopify.url}")
        secret = ("--secret-from", "access_token=env:SHOPIFY_TOKEN")
        await asyncio.to_thread(cli, "profiles", "add", "shopify", *fields, *secret)
        await asyncio.to_thread(add_warehouse, cli, tmp_path / "warehouse.sqlite")
        path = write_integration(
            tmp_path,
            "shop-copy",
            ("shopify", "shopify"),
            ("sqlite", "warehouse"),
            ["products", "order_line_items"],
        )
        first = await run(cli, "syncs", "run", path)
        assert counts(first) == {"products": (5, 5, 0), "order_line_items": (2, 2, 0)}
        shopify.products = [*shopify.products[1:], {**product(1, 20), "title": "Changed"}]
        second = await run(cli, "syncs", "run", "shop-copy", "products")
        assert counts(second) == {"products": (1, 1, 0)}
        titles = {item["id"]: item["title"] for item in stored(tmp_path, "products")}
        assert titles[gid("Product", 1)] == "Changed" and len(titles) == 5
