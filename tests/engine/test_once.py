"""A target without an idempotency key: no row is sent to it twice without being asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation, until

from platint_tui.core.states import DeadLetterState, RunState


def twice(peer: Peer, *, refused: int = 0) -> int:
    """How many more requests than rows there were, beside those that were refused."""
    return len(peer.sent) - refused - len({body["id"] for _, body in peer.sent})


async def _sent(peer: Peer, count: int) -> bool:
    return len(peer.sent) >= count


@pytest.mark.parametrize("status", [401, 429, 404])
async def test_G16_a_refusal_in_the_middle_of_a_page_sends_nothing_twice(
    installation: Installation, peer: Peer, status: int
) -> None:
    peer.fill(40, size=20)

    def write(request: web.Request) -> web.Response | None:
        if len(peer.sent) == 10:
            return web.json_response({}, status=status, headers={"Retry-After": "2"})
        return None

    peer.write = write
    name = await installation.integrate(integration("once", {"items": "mailbox"}))
    async with installation.engine():
        run = await installation.run(name)
        if status != 429:
            assert run.state == RunState.FAILED
            run = await installation.run(name)
        letters = await installation.letters()
        assert letters and {letter.code for letter in letters} == {"not_sent"}
        assert {letter.state for letter in letters} == {DeadLetterState.OPEN}
        assert "Replay it" in letters[0].hint
        answer = await installation.call("replay", dead_letters=[letter.id for letter in letters])

        async def replayed() -> Any:
            job = await installation.store.replays.get((answer.result or {})["job"])
            return job is not None and job.ended_ms is not None

        await until(replayed)
    assert {letter.state for letter in await installation.letters()} == {DeadLetterState.SUCCEEDED}
    assert twice(peer, refused=1) <= 0
    assert len({body["id"] for _, body in peer.sent}) == 40


@pytest.mark.parametrize("how", ["shutdown", "cancel"])
@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("size", [20, 40])
async def test_G16_a_stop_in_the_middle_of_a_page_sends_nothing_twice(
    installation: Installation, peer: Peer, how: str, hangs: bool, size: int
) -> None:
    peer.fill(40, size=size)
    gate = asyncio.Event()

    async def write(request: web.Request) -> None:
        if len(peer.sent) > 10:
            await (peer.hang.wait() if hangs else gate.wait())

    peer.write = write
    name = await installation.integrate(integration("stop", {"items": "mailbox"}))
    async with installation.engine():
        answer = await installation.call("run", integration=name, streams=[])
        run = str((answer.result or {})["run"])
        await until(lambda: _sent(peer, 18))
        if how == "cancel":
            await installation.call("cancel", run=run)
            asyncio.get_running_loop().call_later(1.0, gate.set)
            state = (await installation.ended(run)).state
            assert state == (RunState.CANCELLED if size == 20 else RunState.PARTIAL)
        else:
            asyncio.get_running_loop().call_later(0.5, gate.set)
    peer.hang.set()
    peer.write = lambda request: None
    async with installation.engine():
        await installation.ended(run)
        if how == "cancel" and size == 20:
            await installation.run(name)
    assert twice(peer) == 0
    codes = Counter(letter.code for letter in await installation.letters())
    assert codes["unknown_outcome"] == (8 if hangs else 0)
    assert len(peer.sent) + codes["not_sent"] == 40
    assert codes["not_sent"] == size - 18
