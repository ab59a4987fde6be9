"""A refresh token that works once, while its request is cancelled or the answer is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from platint_tui.core.errors import CredentialError
from platint_tui.drivers.http.auth.kept import MemoryTokens
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.drivers.http.translate import NetworkError
from tests.auth.support import connector, context_of, read
from tests.http.hostile import Hostile, Seen, answer

ROTATING = {
    "type": "oauth2",
    "grant": "authorization_code",
    "token_url": "${profile.base_url}/token",
    "authorize_url": "${profile.base_url}/authorize",
    "client_id": "client",
    "client_auth": "none",
    "rotates": True,
}


class Server:
    """A token endpoint that takes each refresh token once. `arrived` is set by a request, which waits for `go`;
    `lose` requests are cut off, and `refuse` ones refused then."""

    def __init__(self, hostile: Hostile) -> None:
        self.present = "refresh-canary-0"
        self.used: list[str] = []
        self.arrived, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.lose = 0
        self.refuse = 0
        hostile.routes["/token"] = self._token
        hostile.json("/items", {"data": [{"id": 1}]})

    async def _token(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        used = seen.form["refresh_token"]
        self.used.append(used)
        self.arrived.set()
        await self.go.wait()
        if self.lose:
            self.lose -= 1
            writer.transport.abort()
            return
        if used != self.present or self.refuse:
            self.refuse = max(self.refuse - 1, 0)
            writer.write(answer(400, {"error": "invalid_grant"}))
            return
        self.present = f"refresh-canary-{len(self.used)}"
        document = {"access_token": f"access-canary-{len(self.used)}", "refresh_token": self.present}
        writer.write(answer(200, {**document, "token_type": "bearer", "expires_in": 3600}))


@pytest.fixture
async def store() -> MemoryTokens:
    kept = MemoryTokens()
    await kept.save(
        {"access_token": "old", "refresh_token": "refresh-canary-0", "expires_at": time.time() - 5}
    )
    return kept


Opened = Callable[[], HttpDriver]


@pytest.fixture
async def opened(hostile: Hostile, store: MemoryTokens) -> AsyncIterator[Opened]:
    """`opened()`: another process with the same tokens."""
    made: list[HttpDriver] = []

    def make() -> HttpDriver:
        made.append(HttpDriver(context_of(connector(ROTATING), {"base_url": hostile.url}, tokens=store)))
        return made[-1]

    yield make
    for item in made:
        await item.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_run_that_is_cancelled_keeps_the_new_token(
    hostile: Hostile, store: MemoryTokens, opened: Opened, times: int
) -> None:
    server = Server(hostile)
    server.go.clear()
    run = asyncio.create_task(read(opened()))
    await server.arrived.wait()
    for _ in range(times):
        run.cancel()
        await asyncio.sleep(0)
        assert not run.done()
    server.go.set()
    with suppress(asyncio.CancelledError):
        await run
    assert run.cancelled()
    document = await store.load()
    assert document is not None and document["refresh_token"] == server.present == "refresh-canary-1"
    assert await read(opened()) == [{"id": 1}]
    assert server.used == ["refresh-canary-0"]


async def test_a_cancelled_wait_for_the_lock_does_not_wait(
    hostile: Hostile, store: MemoryTokens, opened: Opened
) -> None:
    server = Server(hostile)
    async with store.locked():
        run = asyncio.create_task(read(opened()))
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert server.used == []


async def test_a_token_whose_answer_was_lost_is_not_sent_again_at_once(
    hostile: Hostile, store: MemoryTokens, opened: Opened
) -> None:
    server = Server(hostile)
    server.lose = 1
    with pytest.raises(NetworkError):
        await read(opened())
    assert server.used == ["refresh-canary-0"]
    # The server had not taken it: the next run goes on.
    assert await read(opened()) == [{"id": 1}]
    document = await store.load()
    assert document is not None and "unanswered" not in document


async def test_the_first_refusal_after_a_lost_answer_does_not_end_the_sign_in(
    hostile: Hostile, store: MemoryTokens, opened: Opened
) -> None:
    server = Server(hostile)
    server.lose, server.refuse = 1, 1
    with pytest.raises(NetworkError):
        await read(opened())
    with pytest.raises(CredentialError) as caught:
        await read(opened())
    assert caught.value.code == "sign_in_needed"
    assert await read(opened()) == [{"id": 1}]


async def test_the_second_refusal_ends_it(hostile: Hostile, store: MemoryTokens, opened: Opened) -> None:
    server = Server(hostile)
    server.lose, server.refuse = 1, 9
    with pytest.raises(NetworkError):
        await read(opened())
    for _ in range(3):
        with pytest.raises(CredentialError):
            await read(opened())
    assert len(server.used) == 3
