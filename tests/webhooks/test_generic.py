"""The generic connector: one profile that only receives, one that only sends, and the promise of its two targets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ConfigError
from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import Batch, Environment, Profile, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.manifest import form
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.registry import Registry, bundled_dir
from platint_tui.manifest.writes import chosen_write

CONNECTOR = Registry([bundled_dir("connectors")]).get("webhook")
URL = "https://hooks.example.com/orders/?from=platint&x=%2F"


class NoLimits:
    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """Nothing is limited."""

    async def block(self, limit: str, seconds: float) -> None:
        """Nobody waits."""


class NoTelemetry:
    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """Nothing is measured."""


class Endpoint(httpx.AsyncBaseTransport):
    """Answers everything with 202 and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(202, stream=httpx.ByteStream(b""), request=request)


async def driver(fields: dict[str, str], **secrets: str) -> AsyncIterator[tuple[HttpDriver, Endpoint]]:
    profile = Profile("hook", "webhook", Environment.DEVELOPMENT, fields, {})
    values = {name: Secret(value) for name, value in secrets.items()}
    endpoint = Endpoint()
    context = DriverContext(CONNECTOR, profile, values, NoLimits(), NoTelemetry(), SystemClock())
    opened = HttpDriver(context, endpoint)
    try:
        yield opened, endpoint
    finally:
        await opened.close()


@pytest.mark.parametrize("target", ["requests", "idempotent"])
async def test_a_record_is_sent_to_exactly_the_address_with_one_key(target: str) -> None:
    async for opened, endpoint in driver({"url": URL}, token="a-token"):
        plan = TargetPlan("test", target, target, (), None, (), 1, "test", "create")
        writer = await opened.open_target(plan)
        row = Row(canonical_key([1]), dumps({"id": 1}), {"id": 1, "name": "ü"}, None, "key-1")
        for _ in range(2):
            assert (await writer.write(Batch([row], None))).written == 1
        await writer.close()
        for request in endpoint.requests:
            assert (request.method, str(request.url)) == ("POST", URL)
            assert request.headers["idempotency-key"] == request.headers["webhook-id"] == "key-1"
            assert request.headers["authorization"] == "Bearer a-token"
            assert request.headers["content-type"] == "application/json"
            assert request.content == '{"id":1,"name":"ü"}'.encode()
        assert len(endpoint.requests) == 2


def test_only_one_of_the_targets_promises_to_take_a_record_once() -> None:
    assert not chosen_write(CONNECTOR, "requests").idempotent
    assert chosen_write(CONNECTOR, "idempotent").idempotent


async def test_a_profile_that_only_receives_has_nothing_to_reach() -> None:
    fields = form.validate_fields(CONNECTOR, {}, secrets={"webhook_secret": "whsec_x"})
    assert origins_of(CONNECTOR, fields, ["webhook_secret"]) == (
        "https://this-profile-has-no-url.invalid:443",
    )
    async for opened, endpoint in driver(fields):
        (probe,) = [item for item in await opened.check() if item.id == "reach"]
        assert probe.ok and not probe.tried and "no 'url'" in probe.detail
        assert endpoint.requests == []


async def test_a_profile_that_only_sends_is_reached() -> None:
    fields = form.validate_fields(CONNECTOR, {"url": URL})
    assert origins_of(CONNECTOR, fields, []) == ("https://hooks.example.com:443",)
    async for opened, endpoint in driver(fields):
        (probe,) = [item for item in await opened.check() if item.id == "reach"]
        assert probe.ok and probe.tried
        assert [(item.method, str(item.url)) for item in endpoint.requests] == [("HEAD", URL)]


def test_an_address_in_the_clear_is_refused() -> None:
    with pytest.raises(ConfigError, match="Plain http"):
        origins_of(CONNECTOR, form.validate_fields(CONNECTOR, {"url": "http://hooks.example.com/"}), [])
