"""The connectors against software that nobody here wrote: what is read, and that a second scan reads what is new."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from peers.emulate import GithubEmulator, StripeEmulate
from peers.localstripe import StripeEmulator

from platint_tui.core.errors import CredentialError
from platint_tui.core.model import Environment, JsonObject, Profile
from platint_tui.core.ports import Driver
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext, open_driver
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.registry import Registry, bundled_dir, default_dirs

OWN = Path(__file__).parent / "connectors"
Opener = Callable[..., AbstractAsyncContextManager[Driver]]


class NoLimits:
    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        pass

    async def block(self, limit: str, seconds: float) -> None:
        pass


class NoTelemetry:
    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        pass


@asynccontextmanager
async def account(registry: Registry, platform: str, url: str, secret: str) -> AsyncIterator[Driver]:
    connector = registry.get(platform)
    field = next(item.id for item in connector.profile.fields if item.secret)
    fields = validate_fields(connector, {"base_url": url}, secrets={field: None})
    profile = Profile("p", platform, Environment.SANDBOX, fields, {}, origins_of(connector, fields))
    driver = open_driver(
        DriverContext(connector, profile, {field: Secret(secret)}, NoLimits(), NoTelemetry())
    )
    try:
        yield driver
    finally:
        await driver.close()


async def scan(
    driver: Driver, stream: str, position: JsonObject | None = None
) -> tuple[list[Any], JsonObject]:
    records: list[Any] = []
    async for page in driver.read(stream, position):
        records += [record.value for record in page.records]
        assert not page.bad
        position = page.position
    assert position is not None
    return records, position


@pytest.fixture
def bundled() -> Registry:
    return Registry([bundled_dir("connectors")])


async def test_github(bundled: Registry, github_emulator: GithubEmulator) -> None:
    async with account(bundled, "github", github_emulator.url, github_emulator.token) as driver:
        checks = await driver.check()
        # The emulator has no GraphQL, which is optional.
        assert {item.id for item in checks if item.ok} == {"quota", "user", "repositories", "organizations"}
        (user,), _ = await scan(driver, "user")
        assert user["login"] == "octocat"
        repositories, _ = await scan(driver, "repositories")
        assert set(github_emulator.issues) <= {item["name"] for item in repositories}
        issues, position = await scan(driver, "issues")
        assert len({item["id"] for item in issues}) == len(issues) >= sum(github_emulator.issues.values())
        assert await scan(driver, "issues", position) == ([], position)
        github_emulator.update_issue("alpha", 7, title="Changed")
        github_emulator.create_issue("beta", "New")
        changed, position = await scan(driver, "issues", position)
        assert sorted(item["title"] for item in changed) == ["Changed", "New"]
        assert (await scan(driver, "issues", position))[0] == []
        for stream in ("organizations", "pull_requests", "commits", "releases", "labels", "milestones"):
            await scan(driver, stream)


async def test_stripe(bundled: Registry, stripe_emulate: StripeEmulate) -> None:
    async with account(bundled, "stripe", stripe_emulate.url, stripe_emulate.token) as driver:
        customers, position = await scan(driver, "customers")
        assert {item["id"] for item in customers} >= set(stripe_emulate.customers)
        assert len(customers) == len({item["id"] for item in customers})
        assert (await scan(driver, "customers", position))[0] == []
        new = stripe_emulate.create_customer(9001)
        assert [item["id"] for item in (await scan(driver, "customers", position))[0]] == [new["id"]]
        charges, position = await scan(driver, "charges")
        assert len(charges) >= 230
        assert (await scan(driver, "charges", position))[0] == []


async def test_a_platform_by_a_manifest_of_the_operator(
    stripe_emulator: StripeEmulator, tmp_path: Path
) -> None:
    registry = Registry(default_dirs(OWN, tmp_path / "none", {}))
    async with account(registry, "localstripe", stripe_emulator.url, stripe_emulator.key) as driver:
        assert all(item.ok for item in await driver.check())
        streams = {item.name: item for item in await driver.discover()}
        customers, position = await scan(driver, "customers")
        assert len(customers) == streams["customers"].estimate
        assert {item["id"] for item in customers} >= set(stripe_emulator.customers)
        assert (await scan(driver, "customers", position))[0] == []
        new = stripe_emulator.create_customer(9001)
        assert [item["id"] for item in (await scan(driver, "customers", position))[0]] == [new["id"]]


async def test_a_refused_key(bundled: Registry, stripe_emulator: StripeEmulator) -> None:
    async with account(bundled, "stripe", stripe_emulator.url, "not-a-stripe-key") as driver:
        assert not (await driver.check())[0].ok
        with pytest.raises(CredentialError):
            await scan(driver, "customers")
