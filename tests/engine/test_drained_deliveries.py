"""Events of which every delivery would end in the inbox are held instead, and delivered when it goes well again."""

from __future__ import annotations

import itertools

from aiohttp import web
from engine import hooks
from engine.hooks import Webhooks, deliveries
from engine.peer import Peer
from engine.support import Installation, until

from platint_tui.core.events import DeliveryState

EVENTS = 260


async def test_a_drained_stream_is_held_and_what_waits_is_kept(
    installation: Installation, peer: Peer
) -> None:
    """200 refused for 200 reasons are enough; the others wait, and one reason is told."""
    await hooks.prepare(installation, peer)
    await installation.integrate(hooks.integration("to-peer", {"items": "sink"}))
    codes = itertools.count()
    peer.write = lambda request: web.json_response({"code": f"bad_{next(codes)}"}, status=422)
    await Webhooks(installation).items(EVENTS)

    async def held() -> bool:
        return bool(await installation.store.deliveries.holds())

    async with installation.engine():
        await until(held)
        (hold,) = await installation.store.deliveries.holds()
        found = await deliveries(installation)
        dead = sum(item.state is DeliveryState.DEAD for item in found)
        assert hold.code == "too_many_dead_letters" and "nothing more of it is delivered" in hold.message
        assert "what waits is tried again" in hold.message
        assert 200 <= dead == len(await installation.letters()) < EVENTS == len(found)
