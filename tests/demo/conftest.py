"""A demo server inside the test's own loop, and a small client for it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from platint_tui.demo.server import DemoServer, parse_settings

CREDENTIALS = {
    "payments_key": "pk_demo_0123456789",
    "crm_client_id": "client-demo-1",
    "crm_client_secret": "cs_demo_0123456789",
    "chat_token": "xoxb-demo-0123456789",
}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class Platforms:
    """Base URLs, and requests that carry the right credential."""

    def __init__(self, urls: dict[str, str], session: aiohttp.ClientSession) -> None:
        self.urls = urls
        self.key = {"X-Api-Key": CREDENTIALS["payments_key"]}
        self.chat = {"Authorization": f"Bearer {CREDENTIALS['chat_token']}"}
        self.session = session

    async def call(
        self,
        platform: str,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, decoded body, headers)."""
        url = self.urls[platform] + path
        async with self.session.request(method, url, headers=headers, **options) as answer:
            return answer.status, json.loads(await answer.read()), dict(answer.headers)

    async def payments(self, path: str, **query: str) -> Any:
        status, body, _ = await self.call("payments", "GET", path, self.key, params=query)
        assert status == 200, body
        return body

    async def crm_token(self) -> dict[str, str]:
        status, body, _ = await self.call(
            "crm",
            "POST",
            "/oauth/token",
            basic(CREDENTIALS["crm_client_id"], CREDENTIALS["crm_client_secret"]),
            data={"grant_type": "client_credentials"},
        )
        assert status == 200, body
        return {"Authorization": f"Bearer {body['access_token']}"}


Start = Callable[..., Awaitable[Platforms]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start(records=50, ...)`: well behaved and without latency unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Platforms:
            document = {"misbehave": False, "latency": [0, 0], "credentials": CREDENTIALS, **settings}
            server = DemoServer(parse_settings(json.dumps(document)))
            urls = await server.start()
            stack.push_async_callback(server.stop)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Platforms(urls, session)

        yield begin
