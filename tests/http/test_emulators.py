"""GitHub and Stripe as nobody here wrote them, read through their manifests only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from platint_tui.core.model import Batch, Environment, Profile, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest.loader import load_connector
from tests.http.hostile import Hurried, Limits, Notes, Rig

FOLDER = Path(__file__).parents[2] / "connectors"

Connect = Callable[[str, str, str, str], Rig]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(platform, url, secret field, secret)`."""
    async with AsyncExitStack() as stack:

        def make(platform: str, url: str, name: str, secret: str) -> Rig:
            limits, notes, clock = Limits(), Notes(), Hurried()
            profile = Profile("p", platform, Environment.SANDBOX, {"base_url": url}, {})
            connector = load_connector(FOLDER / f"{platform}.yaml")
            driver = HttpDriver(
                DriverContext(connector, profile, {name: Secret(secret)}, limits, notes, clock)
            )
            stack.push_async_callback(driver.close)
            return Rig(driver, limits, notes, clock)

        yield make


async def test_github(github_emulator: Any, connect: Connect) -> None:
    rig = connect("github", github_emulator.url, "token", github_emulator.token)
    assert all(item.ok for item in await rig.driver.check() if not item.optional)
    assert {"repositories", "issues"} <= {stream.name for stream in await rig.driver.discover()}

    repositories = await rig.read(stream="repositories")
    assert {item["name"] for item in repositories} >= set(github_emulator.issues)

    issues = await rig.read(stream="issues")
    assert len({item["id"] for item in issues}) == len(issues)
    titles = {item["title"] for item in issues}
    for name, count in github_emulator.issues.items():
        assert {f"{name} issue {number}" for number in range(1, count + 1)} <= titles
    position = rig.position
    assert position["kind"] == "partition" and rig.pages[-1].last

    # Nothing new: nothing is read. One new and one changed: exactly those.
    assert await rig.read(position, "issues") == []
    position = rig.position
    github_emulator.create_issue("gamma", "a new one")
    github_emulator.update_issue("beta", 2, title="a changed one")
    assert {item["title"] for item in await rig.read(position, "issues")} == {"a new one", "a changed one"}


async def test_github_continues_in_the_middle(github_emulator: Any, connect: Connect) -> None:
    rig = connect("github", github_emulator.url, "token", github_emulator.token)
    whole = [item["id"] for item in await rig.read(stream="issues")]
    pages = list(rig.pages)
    middle = len(pages) // 2
    before = sum(len(page.records) for page in pages[:middle])
    rest = await rig.read(json.loads(json.dumps(pages[middle - 1].position)), "issues")
    assert [item["id"] for item in rest] == whole[before:]


async def test_stripe(stripe_emulate: Any, connect: Connect) -> None:
    """`emulate` has the order and the filter of the vendor: newest first, `created[gte]`."""
    rig = connect("stripe", stripe_emulate.url, "api_key", "sk_test_0123456789")
    customers = await rig.read(stream="customers")
    assert {item["id"] for item in customers} >= set(stripe_emulate.customers)
    assert len(rig.pages) >= 3
    position = rig.position
    assert await rig.read(position, "customers") == []
    created = stripe_emulate.create_customer(9001)
    assert [item["id"] for item in await rig.read(position, "customers")] == [created["id"]]
    charges = await rig.read(stream="charges")
    assert len({item["id"] for item in charges}) == len(charges) >= 230


async def test_stripe_takes_customers(stripe_emulator: Any, connect: Connect) -> None:
    """`localstripe` checks what it is sent."""
    rig = connect("stripe", stripe_emulator.url, "api_key", stripe_emulator.key)
    target = await rig.driver.open_target(TargetPlan("s", "people", "customers", ("id",), None, (), 1, "run"))
    values = [
        {"email": "new@example.com", "name": "A & B", "metadata": {"tier": "gold", "since": 2020}},
        {"email": 7, "nonsense": "x"},
    ]
    rows = [Row(json.dumps([number]), "{}", value, None, f"k{number}") for number, value in enumerate(values)]
    result = await target.write(Batch(rows, None))
    assert result.written == 1 and [index for index, _ in result.faults] == [1]
    assert result.responses[0]["id"].startswith("cus_")
