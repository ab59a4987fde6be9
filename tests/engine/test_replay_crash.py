"""kill -9 at every step of a bulk replay, and wrong designs that the same checks catch."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter

import pytest
from engine.peer import Peer
from engine.support import Installation
from engine.test_replay import dead_letters

from platint_tui.core.model import DeadLetter, ReplayJob
from platint_tui.core.states import DeadLetterState, ReplayState

COUNT = 24


async def ask(installation: Installation, **options: object) -> None:
    await installation.submit("replay", where={"states": ["open"]}, options={"pauses": True, **options})


async def the_job(installation: Installation) -> ReplayJob:
    (job,) = await installation.store.replays.list()
    return job


async def killed(installation: Installation, point: str, planted: str = "") -> None:
    code, said = await asyncio.to_thread(installation.finish, PLATINT_FAILPOINT=point, TEST_PLANTED=planted)
    assert code == -9, said


async def goes_on(installation: Installation, planted: str = "") -> None:
    code, said = await asyncio.to_thread(installation.finish, TEST_PLANTED=planted)
    assert code == 0, said


async def check(
    installation: Installation, peer: Peer, letters: list[DeadLetter], *, idempotent: bool
) -> None:
    """What must hold after any crash: nothing lost, nothing invented, and every count is a count."""
    job = await the_job(installation)
    now = {item.id: item for item in await installation.letters()}
    assert now.keys() == {item.id for item in letters}
    sent = Counter(body["id"] for _, body in peer.sent)
    if idempotent:
        assert {key for key, _ in peer.sent} <= {item.idempotency_key for item in letters}, (
            "a key was invented"
        )
    else:
        assert set(sent.values()) <= {1}, "something was sent twice without anybody's word"
    for letter in letters:
        record = letter.record_key.strip('["]')
        if now[letter.id].state == DeadLetterState.SUCCEEDED:
            assert sent[record], f"{record} is settled, and the target never saw it"
        elif sent[record]:
            assert now[letter.id].state in (DeadLetterState.UNKNOWN, DeadLetterState.REPLAYING)
    counted = Counter(str(item.state) for item in now.values())
    assert (job.succeeded, job.unknown) == (counted["succeeded"], counted["unknown"])
    with contextlib.closing(sqlite3.connect(installation.paths.database)) as database:
        items = Counter(row[0] for row in database.execute("SELECT state FROM replay_items"))
        lost = database.execute("SELECT COUNT(*) FROM attempts WHERE outcome = 'sending'").fetchone()[0]
        double = database.execute(
            "SELECT COUNT(*) FROM attempts AS a JOIN dead_letters AS d ON d.id = a.dead_letter"
            " WHERE a.idempotency_key <> d.idempotency_key"
        ).fetchone()[0]
    assert (lost, double) == (0, 0)
    assert job.total == sum(items.values()) and job.pending == items["pending"] + items["sending"]


@pytest.mark.parametrize(
    ("target", "point"),
    [
        ("sink", "replay.planned"),
        ("sink", "replay.after_send:5"),
        ("sink", "replay.after_settle:2"),
        ("mailbox", "replay.after_intent:2"),
        ("mailbox", "replay.after_send:5"),
        ("mailbox", "replay.after_settle:1"),
    ],
)
async def test_A9_A10_K14_killed_at_every_step(
    installation: Installation, peer: Peer, target: str, point: str
) -> None:
    letters = await dead_letters(installation, peer, COUNT, target=target)
    await ask(installation)
    await killed(installation, point)
    await goes_on(installation)
    await check(installation, peer, letters, idempotent=target == "sink")
    job = await the_job(installation)
    assert job.state == ReplayState.DONE and job.total == COUNT
    if target == "sink":
        assert job.succeeded == COUNT
    else:
        # What was on its way is a person's decision; everything else went once.
        assert job.succeeded + job.unknown == COUNT and job.unknown <= 8


async def test_A9_killed_during_the_canary_it_stays_one(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, COUNT)
    await ask(installation, canary=3)
    await killed(installation, "replay.after_send:2")
    await goes_on(installation)
    job = await the_job(installation)
    assert (job.state, job.succeeded, job.pending) == (ReplayState.WAITING, 3, COUNT - 3)
    assert len({key for key, _ in peer.sent}) == 3
    await check(installation, peer, letters, idempotent=True)


async def test_A9_killed_after_a_pause_it_stays_paused(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, COUNT)
    await ask(installation, canary=3)
    await goes_on(installation)
    job = await the_job(installation)
    await installation.store.replays.proceed(job.id)
    await installation.submit("pause_replay", job=job.id)
    await killed(installation, "replay.paused")
    assert (await the_job(installation)).state == ReplayState.PAUSED
    await installation.submit("resume_replay", job=job.id)
    await goes_on(installation)
    assert (await the_job(installation)).succeeded == COUNT
    await check(installation, peer, letters, idempotent=True)


@pytest.mark.parametrize(
    ("planted", "point", "said"),
    [
        ("fresh_key", "replay.after_send:2", "a key was invented"),
        ("settled_first", "replay.after_settle", "the target never saw it"),
    ],
)
async def test_a_wrong_design_is_caught(
    installation: Installation, peer: Peer, planted: str, point: str, said: str
) -> None:
    letters = await dead_letters(installation, peer, COUNT)
    await ask(installation)
    await killed(installation, point, planted)
    await goes_on(installation, planted)
    with pytest.raises(AssertionError, match=said):
        await check(installation, peer, letters, idempotent=True)
