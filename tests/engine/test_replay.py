"""Replays against a platform that refuses, breaks, loses answers and limits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation, until

from platint_tui.core.errors import StoreError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import DeadLetter, ReplayJob
from platint_tui.core.states import DeadLetterState


def reject(request: web.Request) -> web.Response:
    return web.json_response({"code": "nope"}, status=422)


async def dead_letters(
    installation: Installation, peer: Peer, count: int, target: str = "sink"
) -> list[DeadLetter]:
    """`count` dead letters of a run in which the target refused everything."""
    peer.fill(count)
    peer.write = reject
    name = await installation.integrate(integration("doomed", {"items": target}))
    async with installation.engine():
        await installation.run(name)
    peer.sent.clear()
    peer.write = lambda request: None
    return await installation.letters()


async def replay(installation: Installation, **args: Any) -> ReplayJob:
    """Ask for a replay and wait for its end; some engine must run."""
    answer = await installation.call("replay", **args)
    assert answer.state == "done", answer.error
    return await job_ended(installation, str((answer.result or {})["job"]))


async def job_ended(installation: Installation, job: str) -> ReplayJob:
    async def look() -> ReplayJob | None:
        found = await installation.store.replays.get(job)
        return found if found and found.ended_ms is not None else None

    found: ReplayJob = await until(look)
    return found


async def test_a_fingerprint_is_replayed_with_the_stored_keys(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 60)
    assert len({item.fingerprint for item in letters}) == 1
    keys = [item.idempotency_key for item in letters]
    async with installation.engine():
        job = await replay(installation, fingerprint=letters[0].fingerprint)
    assert (job.state, job.total, job.succeeded, job.pending) == ("done", 60, 60, 0)
    assert sorted(key for key, _ in peer.sent) == sorted(keys)
    assert {item.state for item in await installation.letters()} == {DeadLetterState.SUCCEEDED}


async def test_no_more_than_eight_are_in_flight(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 40)
    flying = most = 0

    async def write(request: web.Request) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.005)
        flying -= 1

    peer.write = write
    async with installation.engine():
        job = await replay(installation, dead_letters=[item.id for item in letters])
    assert job.succeeded == 40
    assert 2 <= most <= 8


async def test_K8_a_poison_record_fails_again_and_is_not_tried_in_a_loop(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1)
    peer.write = lambda request: web.json_response({"code": "still_bad"}, status=422)
    async with installation.engine():
        job = await replay(installation, dead_letters=[letter.id])
    assert (job.failed, job.pending) == (1, 0)
    assert len(peer.sent) == 1
    after = await installation.store.dead_letters.get(letter.id)
    assert after is not None
    assert after.state == DeadLetterState.OPEN
    (attempt,) = await installation.store.dead_letters.attempts(letter.id)
    assert (attempt.outcome, attempt.code) == ("failed", "still_bad")


async def test_K1_the_target_goes_down_halfway(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 100)
    done = 0

    def write(request: web.Request) -> web.Response | None:
        nonlocal done
        done += 1
        return web.Response(status=503) if done > 40 else None

    peer.write = write
    ids = [item.id for item in letters]
    async with installation.engine():
        job = await replay(installation, dead_letters=ids)
        assert job.state == "cancelled"
        assert job.succeeded == 40
        assert "in a row failed" in job.error
        # Far fewer than the 60 that were left were tried.
        assert job.failed <= 16
        states = [item.state for item in await installation.letters()]
        assert states.count(DeadLetterState.SUCCEEDED) == 40
        assert states.count(DeadLetterState.OPEN) == 60
        peer.write = lambda request: None
        rest = await replay(installation, fingerprint=letters[0].fingerprint)
    assert rest.succeeded == 60


async def test_K2_K3_a_lost_answer_is_unknown_and_not_sent_again(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1, target="mailbox")

    def write(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    peer.write = write
    async with installation.engine():
        job = await replay(installation, dead_letters=[letter.id])
    assert job.unknown == 1
    assert len(peer.sent) == 1
    after = await installation.store.dead_letters.get(letter.id)
    assert after is not None
    assert after.state == DeadLetterState.UNKNOWN


async def test_K2_an_answer_that_cannot_be_read_is_unknown(installation: Installation, peer: Peer) -> None:
    (letter,) = await dead_letters(installation, peer, 1, target="mailbox")
    peer.write = lambda request: web.Response(status=201, body=b"x", headers={"Content-Encoding": "br"})
    async with installation.engine():
        job = await replay(installation, dead_letters=[letter.id])
    assert (job.unknown, job.failed, len(peer.sent)) == (1, 0, 1)


async def test_outcomes_that_could_not_be_stored_are_settled_without_a_restart(
    installation: Installation, peer: Peer
) -> None:
    letters = await dead_letters(installation, peer, 20)
    async with installation.engine() as engine:
        replays: Any = engine.context.store.replays
        settle, refused = replays.settle_all, 0

        async def full(job: str, settlements: Any) -> None:
            nonlocal refused
            if not refused:
                refused = len(settlements)
                raise StoreError("The disk is full.")
            await settle(job, settlements)

        replays.settle_all = full
        job = await replay(installation, dead_letters=[item.id for item in letters])
    assert (job.state, job.succeeded, job.pending) == ("done", 20, 0)
    # What could not be stored was sent again under its own key, and so was what could not be stored after it.
    assert 0 < refused <= len(peer.sent) - 20 <= 20
    assert {key for key, _ in peer.sent} == {item.idempotency_key for item in letters}


async def test_A9_an_engine_killed_in_flight_leaves_unknown_where_repeats_do_harm(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1, target="mailbox")
    await installation.submit("replay", dead_letters=[letter.id])
    process = installation.spawn(PLATINT_FAILPOINT="replay.after_send")
    assert await asyncio.to_thread(process.wait, 30) == -9
    async with installation.engine():
        (job,) = await installation.store.replays.list()
        job = await job_ended(installation, job.id)
    assert job.unknown == 1
    assert len(peer.sent) == 1


async def test_K9_a_rate_limit_holds_the_job_and_it_goes_on(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 30)
    limited = True

    def write(request: web.Request) -> web.Response | None:
        if limited and len(peer.sent) > 10:
            return web.Response(status=429, headers={"Retry-After": "120"})
        return None

    peer.write = write
    async with installation.engine():
        answer = await installation.call("replay", dead_letters=[item.id for item in letters])
        job = str((answer.result or {})["job"])

        async def held() -> bool:
            found = await installation.store.replays.get(job)
            assert found is not None
            now = [item.state for item in await installation.letters()]
            return found.succeeded >= 8 and DeadLetterState.REPLAYING not in now and len(peer.sent) > 10

        await until(held)
        before = await installation.store.replays.get(job)
        assert before is not None
        assert before.ended_ms is None
        assert before.failed == before.unknown == 0
        limited = False
        installation.clock.shift_ms = 121_000
        ended = await job_ended(installation, job)
    assert (ended.succeeded, ended.failed) == (30, 0)


async def test_K14_an_engine_stopped_while_the_target_hangs(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 10)
    peer.write = lambda request: peer.hang.wait()
    async with installation.engine():
        answer = await installation.call("replay", dead_letters=[item.id for item in letters])
        await until(lambda: asyncio.sleep(0, len(peer.sent) == 8))
    peer.hang.set()
    keys = {key for key, _ in peer.sent}
    peer.sent.clear()
    async with installation.engine():
        ended = await job_ended(installation, str((answer.result or {})["job"]))
    assert ended.succeeded == 10
    assert keys < {key for key, _ in peer.sent} == {item.idempotency_key for item in letters}


async def test_cancelling_a_replay_leaves_the_rest_open(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 50)
    peer.write = lambda request: peer.hang.wait()
    async with installation.engine():
        answer = await installation.call("replay", dead_letters=[item.id for item in letters])
        job = str((answer.result or {})["job"])
        await until(lambda: asyncio.sleep(0, len(peer.sent) == 8))
        await installation.call("cancel_replay", job=job)
        peer.hang.set()
        ended = await job_ended(installation, job)
    assert ended.state == "cancelled"
    assert ended.succeeded <= 8
    states = {item.state for item in await installation.letters()}
    assert states <= {DeadLetterState.SUCCEEDED, DeadLetterState.OPEN}


async def test_K5_K12_an_edit_is_sent_under_its_own_key_and_may_change_the_record_key(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1)
    text = '{"id": "other", "n": 1}'
    inbox = installation.store.dead_letters
    child = await inbox.edit(letter.id, text.encode(), '["other"]', content_hash(text))
    async with installation.engine():
        job = await replay(installation, dead_letters=[child.id])
    assert job.succeeded == 1
    assert peer.sent == [(child.idempotency_key, {"id": "other", "n": 1})]
    assert child.idempotency_key != letter.idempotency_key


async def test_a_payload_that_is_no_record_fails_without_being_sent(
    installation: Installation, peer: Peer
) -> None:
    peer.pages["items"] = [['"text"', '{"n": 1}']]
    name = await installation.integrate(integration("odd", {"items": "sink"}))
    async with installation.engine():
        await installation.run(name)
        ids = [item.id for item in await installation.letters()]
        job = await replay(installation, dead_letters=ids)
    assert (job.failed, job.total) == (2, 2)
    assert peer.sent == []


async def test_replay_into_sqlite_keeps_newer_rows(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [[{"id": "a", "n": "wrong"}, {"id": "b", "n": 2}]]
    name = await installation.integrate(integration("table", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
        (letter,) = await installation.letters()
        text = '{"id": "a", "n": 1}'
        inbox = installation.store.dead_letters
        child = await inbox.edit(letter.id, text.encode(), '["a"]', content_hash(text))
        job = await replay(installation, dead_letters=[child.id])
        position = await installation.store.runs.sync_state(name, "items")
        again = await installation.run(name)
    assert job.succeeded == 1
    assert {row["_key"]: row["n"] for row in installation.table("items")} == {'["a"]': 1, '["b"]': 2}
    assert position is not None
    assert again.streams[0].state != "failed"


async def test_a_replay_whose_integration_is_gone_says_so(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 3)
    await installation.store.profiles.remove("sink")
    async with installation.engine():
        job = await replay(installation, dead_letters=[item.id for item in letters])
    assert job.state == "cancelled"
    assert "There is no profile 'sink'" in job.error
    assert {item.state for item in await installation.letters()} == {DeadLetterState.OPEN}


async def test_refused_credential_stops_the_job_and_leaves_everything_open(
    installation: Installation, peer: Peer
) -> None:
    letters = await dead_letters(installation, peer, 30)
    peer.write = lambda request: web.Response(status=401)
    async with installation.engine():
        job = await replay(installation, dead_letters=[item.id for item in letters])
    assert job.state == "cancelled"
    assert job.failed == 0
    assert "Give another key." in job.error
    assert {item.state for item in await installation.letters()} == {DeadLetterState.OPEN}


async def test_O6_a_stopped_engine_leaves_the_rest_of_the_job_for_the_next(
    installation: Installation, peer: Peer
) -> None:
    letters = await dead_letters(installation, peer, 30)
    gate: Callable[[], bool] = lambda: len(peer.sent) >= 8  # noqa: E731

    async def slow(request: web.Request) -> None:
        await asyncio.sleep(0.02)

    peer.write = slow
    async with installation.engine():
        answer = await installation.call("replay", dead_letters=[item.id for item in letters])
        await until(lambda: asyncio.sleep(0, gate()))
    job = str((answer.result or {})["job"])
    async with installation.engine():
        ended = await job_ended(installation, job)
    assert ended.succeeded == 30
    keys = [key for key, _ in peer.sent]
    assert len(set(keys)) == 30


async def test_an_older_version_is_not_sent_after_a_newer_one(installation: Installation, peer: Peer) -> None:
    peer.write = reject
    name = await installation.integrate(integration("doomed", {"items": "sink"}))
    async with installation.engine():
        for version in (1, 2):
            peer.pages["items"] = [[{"id": "a", "n": version}]]
            await installation.call("reset", integration=name, stream="items")
            await installation.run(name)
        peer.sent.clear()
        peer.write = lambda request: None
        ids = [item.id for item in await installation.letters()]
        job = await replay(installation, dead_letters=ids)
    assert (job.total, job.succeeded, job.superseded) == (2, 1, 1)
    assert [body["n"] for _, body in peer.sent] == [2]
    assert {item.state for item in await installation.letters()} == {
        DeadLetterState.SUCCEEDED,
        DeadLetterState.SUPERSEDED,
    }


async def test_a_replay_that_a_sync_overtook_is_not_sent_again(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1)
    answer = asyncio.Event()

    async def write(request: web.Request) -> web.Response | None:
        if (await request.json()) != {"id": letter_id, "n": 99}:
            await answer.wait()
            return web.Response(status=429, headers={"Retry-After": "40"})
        return None

    letter_id = peer.pages["items"][0][0]["id"]
    peer.write = write
    async with installation.engine():
        asked = await installation.call("replay", dead_letters=[letter.id])
        await until(lambda: asyncio.sleep(0, len(peer.sent)))
        peer.pages["items"] = [[{"id": letter_id, "n": 99}]]
        await installation.call("reset", integration="doomed", stream="items")
        await installation.run("doomed")
        answer.set()
        job = await job_ended(installation, str((asked.result or {})["job"]))
    assert (job.superseded, job.pending) == (1, 0)
    assert [body["n"] for _, body in peer.sent][-1] == 99, "the newer version came last"
    after = await installation.store.dead_letters.get(letter.id)
    assert after is not None and after.state == DeadLetterState.SUPERSEDED


async def test_a_command_that_a_crash_repeats_makes_nothing_twice(
    installation: Installation, peer: Peer
) -> None:
    (letter,) = await dead_letters(installation, peer, 1)
    async with installation.engine():
        asked = [
            await installation.call("replay", fingerprint=letter.fingerprint),
            await installation.call("run", integration="doomed", streams=[]),
        ]
        await job_ended(installation, str((asked[0].result or {})["job"]))
        await installation.ended(str((asked[1].result or {})["run"]))
    with sqlite3.connect(installation.paths.database) as database:
        # As if the engine had been killed after it had acted, before it could say so.
        database.execute("UPDATE commands SET state = 'pending', result = NULL, ended_ms = NULL")
    database.close()
    sent, runs = len(peer.sent), await installation.store.runs.list()
    async with installation.engine():

        async def all_done() -> bool:
            return not await installation.store.commands.pending()

        await until(all_done)
    for before in asked:
        after = await installation.store.commands.get(before.id)
        assert after is not None and (after.state, after.result) == ("done", before.result)
    assert [run.id for run in await installation.store.runs.list()] == [run.id for run in runs]
    assert len(await installation.store.replays.list()) == 1 and len(peer.sent) == sent
