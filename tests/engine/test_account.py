"""The account of every record: what shares a key is told, and one stream that fails hides no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation

from platint_tui.core.errors import PlatintError
from platint_tui.services import syncs
from platint_tui.services.account import account
from platint_tui.services.workspace import Workspace, open_workspace


@pytest.fixture
async def workspace(installation: Installation) -> AsyncIterator[Workspace]:
    """The installation as a command opens it."""
    opened = await open_workspace(environ=installation.environ)
    try:
        yield opened
    finally:
        await opened.close()


async def test_records_that_share_a_key_are_one_row_and_told(
    installation: Installation, peer: Peer, workspace: Workspace
) -> None:
    peer.fill(5)
    peer.pages["items"].append([{"id": "same", "n": n} for n in range(20)])
    name = await installation.integrate(integration("one", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
    (found,) = await account(workspace, await syncs.find(workspace, name))
    assert (found.source, found.in_target, found.same_key) == (25, 6, 19)
    assert (found.in_dead_letters, found.lost, found.stale) == (0, 0, 0)
    assert len(installation.table("items")) == found.in_target


async def test_lost_records_that_share_a_key_are_one_loss(
    installation: Installation, peer: Peer, workspace: Workspace
) -> None:
    peer.fill(1)
    name = await installation.integrate(integration("gone", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
    peer.pages["items"] = [[{"id": "i0", "n": 1}, {"id": "new", "n": 1}, {"id": "new", "n": 2}]]
    (found,) = await account(workspace, await syncs.find(workspace, name))
    assert (found.source, found.in_target, found.lost, found.same_key, found.stale) == (3, 1, 1, 1, 1)


async def test_a_stream_that_fails_is_told_and_the_others_are_compared(
    installation: Installation, peer: Peer, workspace: Workspace
) -> None:
    peer.fill(3)
    peer.fill(4, stream="others")
    streams = {"items": "items", "others": "others"}
    name = await installation.integrate(integration("half", streams, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
    peer.read = lambda request: web.Response(status=403) if request.path == "/items" else None
    items, others = await account(workspace, await syncs.find(workspace, name))
    assert "403" in items.error and items.stale is None
    assert (others.source, others.in_target, others.error) == (4, 4, "")

    peer.read = lambda request: web.Response(status=403)
    with pytest.raises(PlatintError, match="403"):
        await account(workspace, await syncs.find(workspace, name))
