"""kill -9 at every step of an event's way to three targets: nothing is lost, nothing is done twice unasked."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest
from aiohttp import web
from engine import hooks
from engine.hooks import Webhooks, settled
from engine.peer import Peer
from engine.support import Installation

from platint_tui.core.events import DeliveryState
from platint_tui.core.ids import new_id
from platint_tui.core.states import DeadLetterState
from platint_tui.engine import delivering

KILLED = -signal.SIGKILL
KEYS, VERSIONS = "abc", (1, 2)
ALL = {(key, version) for key in KEYS for version in VERSIONS}


class Effects:
    """What the peer did: `sink` once for each key, `mailbox` for each request."""

    def __init__(self) -> None:
        self.sink: dict[str, tuple[str, int]] = {}
        self.mailbox: list[tuple[str, int]] = []

    async def write(self, request: web.Request) -> None:
        body = await request.json()
        if request.path == "/sink":
            self.sink.setdefault(request.headers["Idempotency-Key"], (body["id"], body["n"]))
        else:
            self.mailbox.append((body["id"], body["n"]))


async def prepare(installation: Installation, peer: Peer) -> Effects:
    """Two versions of three records on their way to a target that takes repeats, one that does not, and a table."""
    await hooks.prepare(installation, peer)
    await installation.integrate(hooks.integration("safe", {"items": "sink"}))
    await installation.integrate(hooks.integration("post", {"items": "mailbox"}))
    await installation.integrate(hooks.integration("table", {"items": "items"}, to="sqlite"))
    webhooks = Webhooks(installation)
    for version in VERSIONS:
        for key in KEYS:
            await webhooks.send("item.updated", {"id": key, "n": version, "at": version})
    effects = Effects()
    peer.write = effects.write
    return effects


async def finish(installation: Installation, **environ: str) -> tuple[int, str]:
    return await asyncio.to_thread(lambda: installation.finish(**environ))


async def killed(installation: Installation, point: str, planted: str = "") -> None:
    code, said = await finish(installation, PLATINT_FAILPOINT=point, TEST_PLANTED=planted)
    assert code == KILLED, said


POINTS = [
    "route.after_commit:1",
    "deliver.after_intent:1",
    "deliver.after_intent:4",
    "deliver.after_send:1",
    "deliver.after_send:9",
    "deliver.before_settle:9",
]


@pytest.mark.parametrize("point", POINTS)
async def test_A9_A10_K14_killed_while_delivering(installation: Installation, peer: Peer, point: str) -> None:
    effects = await prepare(installation, peer)
    await killed(installation, point)
    async with installation.engine():
        found = await settled(installation, 3 * len(ALL), DeliveryState.DONE, DeliveryState.DEAD)
    keys = {item.idempotency_key for item in found if item.integration == "safe"}
    # One effect per event on the target that takes repeats, with the keys that were stored before.
    assert set(effects.sink) == keys
    assert Counter(effects.sink.values()) == Counter(ALL)
    for key in KEYS:
        assert [version for name, version in effects.sink.values() if name == key] == [1, 2]
    # Where a repeat does harm, nothing was sent twice, and what may have been sent is for a person to decide.
    assert max(Counter(effects.mailbox).values(), default=1) == 1
    letters = await installation.letters(integration="post")
    assert {item.state for item in letters} <= {DeadLetterState.UNKNOWN}
    unknown = {item.record_key for item in found if item.state is DeliveryState.DEAD}
    assert {item.record_key for item in letters} == unknown
    sent = set(effects.mailbox)
    for item in found:
        if item.integration == "post" and item.state is DeliveryState.DONE:
            assert item.record_key[2:-2] in {name for name, _ in sent}
    assert len(effects.mailbox) + len(letters) >= len(ALL)
    assert {row["id"]: row["n"] for row in installation.table("items")} == dict.fromkeys(KEYS, 2)
    # Everything has ended, and the counts are those of the rows.
    counts = await installation.store.deliveries.counts()
    assert sum(counts.values()) == len(found) == 3 * len(ALL)
    assert counts == Counter((item.profile, item.state) for item in found)
    assert sum(item.open for item in await installation.store.dead_letters.issues()) == len(letters)


async def planted(installation: Installation, peer: Peer, design: str) -> Effects:
    """Three events on their way to the target that takes repeats, by a wrong design that is killed."""
    await hooks.prepare(installation, peer)
    await installation.integrate(hooks.integration("safe", {"items": "sink"}))
    webhooks = Webhooks(installation)
    for key in KEYS:
        await webhooks.send("item.updated", {"id": key, "n": 1})
    effects = Effects()
    peer.write = effects.write
    await killed(installation, "deliver.after_send:1", design)
    return effects


async def test_A10_a_fresh_key_for_each_try_is_caught(
    installation: Installation, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It acts twice: the harness sees more effects than events."""
    effects = await planted(installation, peer, "fresh_key")
    make = delivering.make_row
    monkeypatch.setattr(
        delivering, "make_row", lambda plan, raw, value, key, op: make(plan, raw, value, new_id("key"), op)
    )
    async with installation.engine():
        await settled(installation, len(KEYS))
    assert len(effects.sink) > len(KEYS)


async def test_A4_an_outcome_that_is_stored_before_the_send_is_caught(
    installation: Installation, peer: Peer
) -> None:
    """It loses the event: the harness sees fewer effects than events, though all are said to be done."""
    effects = await planted(installation, peer, "settle_first")
    async with installation.engine():
        await settled(installation, len(KEYS))
    assert len(effects.sink) < len(KEYS)
