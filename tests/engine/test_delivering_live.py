"""Events to real targets side by side: a queue and hashes in Redis, a chat over HTTP; Redis dies on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine import hooks
from engine.hooks import Webhooks, deliveries, settled
from engine.peer import Peer
from engine.support import Demo, Installation, until
from peers.redis import RedisServer
from redis import Redis

from platint_tui.core.events import DeliveryState


@pytest.fixture
async def webhooks(
    installation: Installation, peer: Peer, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Webhooks:
    monkeypatch.setenv("REDIS_PASSWORD", redis_server.password)
    installation.environ["REDIS_PASSWORD"] = redis_server.password
    await hooks.prepare(installation, peer)
    fields = {
        "host": redis_server.host,
        "port": str(redis_server.port),
        "user": redis_server.user,
        "tls": "disable",
    }
    await installation.profile("queue", "redis", fields, {"password": "env:REDIS_PASSWORD"})
    return Webhooks(installation)


async def test_a_queue_a_database_and_a_chat_are_each_given_every_event(
    installation: Installation, webhooks: Webhooks, redis_server: RedisServer, demo: Callable[..., Demo]
) -> None:
    chat = demo(records=1).urls["chat"]
    await installation.profile("chat", "demo-chat", {"base_url": chat}, {"token": "env:DEMO_CHAT_TOKEN"})
    await installation.integrate(hooks.integration("to-queue", {"events": "stream.hooks"}, to="redis"))
    await installation.integrate(
        hooks.integration("to-hashes", {"items": "things"}, to="redis", strategy="retry")
    )
    said = ", map: {text: id, ref: id, channel: id}"
    await installation.integrate(hooks.integration("to-chat", {"items": "messages"}, to="chat", extra=said))
    await webhooks.items(10)
    client = Redis.from_url(redis_server.url)
    async with installation.engine():
        await settled(installation, 30)
        assert client.xlen("hooks") == 10
        assert client.hget("things:i3", "n") == b"3"
        redis_server.kill()
        await webhooks.items(5, start=10)

        async def told() -> bool:
            held = {item.integration for item in await installation.store.deliveries.holds()}
            return held >= {"to-hashes"} or bool(await installation.store.deliveries.health())

        await until(told)
        redis_server.start_again()
        # Hashes take a repeat, so whatever was lost on the way arrives; entries of a queue are never doubled.
        await until(lambda: _all_done(installation, "to-hashes", 15))
        await until(lambda: _all_done(installation, "to-chat", 15))

        async def ended() -> bool:
            found = await deliveries(installation, integration="to-queue")
            return len(found) == 15 and all(item.ended_ms is not None for item in found)

        await until(ended)
    assert {client.hget(f"things:i{number}", "n") for number in range(15)} == {
        str(number).encode() for number in range(15)
    }
    unknown = await installation.letters(integration="to-queue")
    assert int(client.xlen("hooks")) + len(unknown) >= 15
    keys = [fields[b"id"] for _, fields in client.xrange("hooks")]
    assert len(keys) == len(set(keys))


async def _all_done(installation: Installation, integration: str, count: int) -> bool:
    found = await deliveries(installation, integration=integration)
    return len(found) == count and all(item.state is DeliveryState.DONE for item in found)
