"""Runs against a platform that limits, refuses parts, and takes rows in bulk."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation

from platint_tui.core.states import RunState


class Quota:
    """At most `size` reads in each second; it counts what came beyond."""

    def __init__(self, size: int, now_ms: Callable[[], int]) -> None:
        self._size = size
        self._now = now_ms
        self._reset = self._left = 0
        self.beyond = 0

    def __call__(self, request: web.Request) -> web.Response:
        now = self._now()
        if now >= self._reset:
            self._reset, self._left = now + 1000, self._size
        left = self._left
        self._left = max(0, left - 1)
        headers = {"X-Left": str(self._left), "X-Reset": str(self._reset)}
        if left <= 0:
            self.beyond += 1
            return web.json_response({}, status=429, headers={**headers, "Retry-After": "1"})
        number = int(request.query.get("after", "0"))
        records = [{"id": f"i{number}", "n": number}]
        page = {"data": records, "next": str(number + 1) if number < 4 else None}
        return web.json_response(page, headers=headers)


async def test_one_budget_for_six_runs_at_once(installation: Installation, peer: Peer) -> None:
    quota = Quota(8, installation.clock.now_ms)
    peer.read = quota
    names = [
        await installation.integrate(integration(f"job{n}", {"items": f"items{n}"}, target="sqlite"))
        for n in range(6)
    ]
    async with installation.engine():
        runs = await asyncio.gather(*[installation.run(name) for name in names])
    assert [run.state for run in runs] == [RunState.SUCCEEDED] * 6
    assert [run.streams[0].written for run in runs] == [5] * 6
    assert quota.beyond == 0 and len(peer.requests) == 30


async def test_G17_a_stream_that_is_not_there_fails_alone(installation: Installation, peer: Peer) -> None:
    peer.fill(30)
    for status, state in ((404, "systemic"), (403, "systemic"), (401, "auth")):
        peer.read = lambda request, status=status: (
            web.json_response({"message": "Not here"}, status=status) if request.path == "/others" else None
        )
        text = integration(
            f"partly{status}", {"items": f"a{status}", "others": f"b{status}"}, target="sqlite"
        )
        name = await installation.integrate(text)
        async with installation.engine():
            run = await installation.run(name)
        streams = {item.stream: item for item in run.streams}
        assert run.state == RunState.PARTIAL
        assert (streams["items"].state, streams["items"].written) == (RunState.SUCCEEDED, 30)
        assert (streams["others"].state, streams["others"].error_class) == (RunState.FAILED, state)
        assert streams["others"].error.startswith(f"others: Peer answered {status}: Not here")


async def test_rows_in_bulk_and_their_deletion(installation: Installation, peer: Peer) -> None:
    peer.fill(100)
    await installation.integrate(integration("together", {"items": "crowd"}))
    deletion = integration("away", {"items": "crowd"}).replace(
        "target: crowd", "target: crowd, operation: delete"
    )
    await installation.integrate(deletion)
    async with installation.engine():
        written = await installation.run("together")
        assert len(peer.crowd) == 99 and len(peer.sent) == math.ceil(100 / 40)
        deleted = await installation.run("away")
    assert (written.streams[0].written, written.streams[0].dead_lettered) == (99, 1)
    (letter,) = await installation.letters()
    assert (letter.code, letter.record_key) == ("unlucky", '["i7"]')
    # The row that was never written is gone all the same.
    assert deleted.state == RunState.SUCCEEDED and deleted.streams[0].written == 100
    assert peer.crowd == {}
