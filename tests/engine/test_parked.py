"""While a platform is to be left alone: what tests, previews and lists say then."""

from __future__ import annotations

import pytest
from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation, until

from platint_tui.core.errors import RateLimited
from platint_tui.core.model import Run
from platint_tui.core.states import RunState
from platint_tui.services import discovery, profiles
from platint_tui.services.workspace import open_workspace


async def test_a_park_breaks_no_profile(installation: Installation, peer: Peer) -> None:
    peer.fill(100)
    name = await installation.integrate(integration("busy", {"items": "items"}, target="sqlite"))
    workspace = await open_workspace(environ=installation.environ)
    try:
        async with installation.engine():
            before = await installation.call("check", profile="source")
            assert before.state == "done" and (before.result or {})["ok"]
            peer.read = lambda request: web.Response(status=429, headers={"Retry-After": "3600"})
            await installation.submit("run", integration=name, streams=[])

            async def parked() -> Run | None:
                return next(iter(await installation.store.runs.list(states=(RunState.RATE_LIMITED,))), None)

            await until(parked)
            with pytest.raises(RateLimited, match="quota"):
                await discovery.preview(workspace, "source", "items")
            with pytest.raises(RateLimited, match="cannot be tested now"):
                await profiles.test(workspace, "source")
            checks = await workspace.store.profiles.checks()
            assert checks["source"].ok, "the last result stays"
    finally:
        await workspace.close()
