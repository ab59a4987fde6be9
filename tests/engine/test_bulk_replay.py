"""Bulk replays: foreseen, planned, canaries first, paced, paused, to other targets; what was foreseen comes true."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation, until
from engine.test_replay import dead_letters, job_ended, reject

from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import ReplayJob
from platint_tui.core.replays import Simulation, bulk_plan_of, simulation_of
from platint_tui.core.states import DeadLetterState, ReplayState
from platint_tui.engine import simulating
from platint_tui.services.replays import Selection
from platint_tui.store.ports import DeadLetterFilter

OPEN = {"states": ["open"]}


async def call(installation: Installation, kind: str, **args: Any) -> dict[str, Any]:
    answer = await installation.call(kind, **args)
    assert answer.state == "done", answer.error
    return dict(answer.result or {})


async def started(installation: Installation, what: Any = None, **options: Any) -> str:
    """The id of a job; it pauses when something is wrong."""
    chosen = {"where": OPEN} if what is None else {"dead_letters": what}
    options = {"pauses": True, **options}
    return str((await call(installation, "replay", **chosen, options=options))["job"])


async def in_state(installation: Installation, job: str, *states: ReplayState) -> ReplayJob:
    async def look() -> ReplayJob | None:
        found = await installation.store.replays.get(job)
        return found if found and found.state in states else None

    found: ReplayJob = await until(look)
    return found


async def simulated(installation: Installation, **args: Any) -> Simulation:
    return simulation_of(await call(installation, "simulate", **args))


async def states(installation: Installation) -> Counter[str]:
    return Counter(str(item.state) for item in await installation.letters())


def picky(request: web.Request) -> Any:
    """Refuses records whose `n` is no number, or divisible by seven."""

    async def judge() -> web.Response | None:
        n = (await request.json()).get("n")
        if not isinstance(n, int):
            return web.json_response({"code": "wrong_type"}, status=422)
        return web.json_response({"code": "unlucky"}, status=422) if n % 7 == 0 else None

    return judge()


# --- simulation -------------------------------------------------------------------------------------------


async def test_a_simulation_foresees_what_the_replay_then_does(
    installation: Installation, peer: Peer
) -> None:
    """Without a patch everything would be refused again; with it, all but what the platform never answered."""
    peer.pages["items"] = [[{"id": f"i{n}", "n": str(n) if n else "none"} for n in range(40)]]
    peer.write = picky
    name = await installation.integrate(integration("doomed", {"items": "sink"}))
    async with installation.engine():
        await installation.run(name)
        letters = await installation.letters()
        peer.sent.clear()
        (fingerprint,) = {item.fingerprint for item in letters}
        before = await simulated(installation, fingerprint=fingerprint, recorded=True)
        assert (before.total, before.passing, before.judged) == (40, 0, 40)
        assert [(item.step, item.code, item.count) for item in before.forecasts[0].reasons] == [
            ("answer", "wrong_type", 40)
        ]
        patch = [{"op": "cast", "path": "n", "to": "integer"}]
        after = await simulated(installation, fingerprint=fingerprint, patch=patch, recorded=True)
        assert peer.sent == [], "nothing is sent"
        (forecast,) = after.forecasts
        assert forecast.words() == "39 of 40 would pass" and after.judged == 0
        assert [(item.step, item.field, item.count) for item in forecast.reasons] == [("patch", "n", 1)]
        first = after.first[0]
        assert (first.target, first.request["method"]) == ("sink/sink", "POST")
        assert json.loads(first.request["body"]) == {"id": "i1", "n": 1}

        peer.write = lambda request: None
        for letter in letters:
            whole = await installation.store.dead_letters.get(letter.id)
            assert whole is not None
            value = json.loads(whole.payload)
            if value["n"] != "none":
                text = json.dumps({**value, "n": int(value["n"])})
                await installation.store.dead_letters.edit(
                    letter.id, text.encode(), letter.record_key, content_hash(text)
                )
        numbers = [item.id for item in await installation.letters() if item.parent]
        job = await job_ended(installation, await started(installation, numbers))
    assert (job.total, job.succeeded) == (39, 39) == (forecast.passing, after.passing)
    assert sorted(body["n"] for _, body in peer.sent) == list(range(1, 40))


async def test_a_simulation_tells_superseded_versions_and_odd_values(
    installation: Installation, peer: Peer
) -> None:
    peer.write = reject
    name = await installation.integrate(integration("doomed", {"items": "sink"}))
    async with installation.engine():
        for version in ("1", "2"):
            peer.pages["items"] = [[{"id": "a", "n": version}, {"id": f"b{version}", "n": 1}]]
            await installation.call("reset", integration=name, stream="items")
            await installation.run(name)
        found = await simulated(installation, where=OPEN)
        peer.write = lambda request: None
        job = await job_ended(installation, await started(installation))
    assert (found.total, found.passing, found.superseded) == (4, 3, 1)
    assert [(item.step, item.code, item.count) for item in found.warnings] == [("source", "wrong_type", 1)]
    assert (job.succeeded, job.superseded) == (3, 1)


async def test_a_simulation_into_a_table_refuses_what_the_table_refuses(
    installation: Installation, peer: Peer
) -> None:
    peer.pages["items"] = [[{"id": "a", "n": "x"}, {"id": "b", "n": 2}, {"id": "c", "n": [1]}]]
    name = await installation.integrate(integration("table", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
        found = await simulated(installation, where=OPEN)
        job = await job_ended(installation, await started(installation))
    assert (found.total, found.passing, job.succeeded, job.failed) == (2, 0, 0, 2)
    assert {(item.step, item.code, item.field) for item in found.forecasts[0].reasons} == {
        ("target", "wrong_type", "n")
    }


async def test_a_simulation_is_ended_when_nobody_waits_for_it(
    installation: Installation, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulating, "_AT_ONCE", 20)
    await dead_letters(installation, peer, 60)
    async with installation.engine() as engine:
        replays: Any = engine.context.store.replays
        whole, seen = replays.whole, 0

        async def slow(ids: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == 2:
                await call(installation, "cancel_simulation", command=command)
            return await whole(ids)

        replays.whole = slow
        command = await installation.submit("simulate", where=OPEN)

        async def ended() -> Any:
            found = await installation.store.commands.get(command)
            return found if found and found.state != "pending" else None

        row = await until(ended)
    found = simulation_of(row.result)
    assert (found.cancelled, found.total, found.checked, found.passing) == (True, 60, 40, 40)


# --- the plan ---------------------------------------------------------------------------------------------


async def test_a_plan_counts_what_goes_and_what_is_left_out(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 12)
    inbox = installation.store.dead_letters
    async with installation.engine():
        done = await started(installation, [item.id for item in letters[:3]])
        await job_ended(installation, done)
        peer.write = lambda request: request.transport.abort()  # type: ignore[union-attr]
        peer.hang.clear()
        await inbox.discard([letters[3].id])
        busy = await installation.store.replays.plan([letters[4].id], letters_trigger())
        await installation.store.replays.pause(busy.id)
        plan = bulk_plan_of(
            await call(
                installation, "plan_replay", dead_letters=[item.id for item in letters], options={"rate": 2}
            )
        )
        forced = bulk_plan_of(
            await call(
                installation,
                "plan_replay",
                dead_letters=[item.id for item in letters],
                options={"forced": True},
            )
        )
    assert (plan.total, plan.delivered, plan.closed, plan.busy) == (7, 3, 1, 1)
    (target,) = plan.targets
    assert (target.profile, target.count, target.idempotent, target.in_flight) == ("sink", 7, True, 8)
    assert len(plan.first) == 5 and plan.first[0].request["body"] == '{"id":"i5","n":5}'
    assert plan.seconds is not None and plan.seconds >= 3.5
    assert (forced.total, forced.delivered) == (10, 0) and "same key" in forced.notes[0]


async def test_what_fails_after_the_plan_is_not_sent_with_it(installation: Installation, peer: Peer) -> None:
    await dead_letters(installation, peer, 3)
    async with installation.engine():
        plan = bulk_plan_of(await call(installation, "plan_replay", where=OPEN))
    assert len(await dead_letters(installation, peer, 6)) == 6
    async with installation.engine():
        confirmed = Selection(where=DeadLetterFilter(states=(DeadLetterState.OPEN,))).as_planned(plan)
        answer = await call(installation, "replay", **confirmed.document(), trigger="bulk")
        job = await job_ended(installation, str(answer["job"]))
    assert (plan.total, job.total, job.succeeded) == (3, 3, 3)


def letters_trigger() -> Any:
    from platint_tui.core.model import Trigger

    return Trigger.MANUAL


# --- the job ----------------------------------------------------------------------------------------------


async def test_a_canary_goes_first_and_the_rest_waits_for_a_word(
    installation: Installation, peer: Peer
) -> None:
    await dead_letters(installation, peer, 30)
    async with installation.engine():
        job = await started(installation, canary=4)
        found = await in_state(installation, job, ReplayState.WAITING)
        assert (found.succeeded, found.pending, len(peer.sent), found.error) == (4, 26, 4, "")
        await call(installation, "continue_replay", job=job)
        ended = await job_ended(installation, job)
    assert (ended.state, ended.succeeded, len(peer.sent)) == (ReplayState.DONE, 30, 30)
    assert ended.operator == "test"


@pytest.mark.parametrize(("good", "sent"), [(True, 20), (False, 5)])
async def test_an_automatic_canary_goes_on_only_when_all_arrived(
    installation: Installation, peer: Peer, good: bool, sent: int
) -> None:
    await dead_letters(installation, peer, 20)
    answer = None if good else web.json_response({"code": "nope"}, status=422)
    peer.write = lambda request: answer if len(peer.sent) == 3 else None
    async with installation.engine():
        job = await started(installation, canary=5, auto=True)
        found = await in_state(installation, job, ReplayState.DONE, ReplayState.WAITING)
    assert (len(peer.sent), found.succeeded) == (sent, sent if good else 4)
    assert found.state == (ReplayState.DONE if good else ReplayState.WAITING)
    assert good or "1 of the first 5 did not arrive" in found.error


async def test_a_paused_job_sends_nothing_and_goes_on(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 60)
    gate = asyncio.Event()
    peer.write = lambda request: gate.wait() if len(peer.sent) >= 20 else None
    async with installation.engine():
        job = await started(installation)
        await until(lambda: asyncio.sleep(0, len(peer.sent) >= 20))
        await call(installation, "pause_replay", job=job)
        gate.set()

        async def still() -> bool:
            return "replaying" not in await states(installation)

        await until(still)
        paused = await in_state(installation, job, ReplayState.PAUSED)
        sent = len(peer.sent)
        assert 20 <= sent <= 28 and paused.succeeded == sent and paused.pending == 60 - sent
    # A paused job outlives its engine, and is no work for the next one.
    assert installation.finish()[0] == 0
    assert len(peer.sent) == sent
    async with installation.engine():
        await call(installation, "resume_replay", job=job)
        ended = await job_ended(installation, job)
    assert ended.succeeded == 60
    assert sorted(key for key, _ in peer.sent) == sorted(item.idempotency_key for item in letters)


async def test_K1_a_target_that_dies_pauses_the_job_and_says_so(
    installation: Installation, peer: Peer
) -> None:
    await dead_letters(installation, peer, 60)
    peer.write = lambda request: web.Response(status=503) if len(peer.sent) > 30 else None
    async with installation.engine():
        job = await started(installation)
        paused = await in_state(installation, job, ReplayState.PAUSED)
        assert "sends in a row failed" in paused.error and paused.succeeded == 30
        counted = await states(installation)
        assert counted == {"succeeded": 30, "open": 30}
        peer.write = lambda request: None
        await call(installation, "resume_replay", job=job)
        ended = await job_ended(installation, job)
        rest = await job_ended(installation, await started(installation))
    # Those that failed before it stopped have their outcome; the others went on.
    assert ended.succeeded == 60 - ended.failed and rest.succeeded == ended.failed <= 16


async def test_a_pace_is_kept(installation: Installation, peer: Peer) -> None:
    await dead_letters(installation, peer, 12)
    loop, times = asyncio.get_running_loop(), list[float]()
    peer.write = lambda request: times.append(loop.time())
    async with installation.engine():
        ended = await job_ended(installation, await started(installation, rate=20))
    assert ended.succeeded == 12
    # 11 shares of a twentieth of a second each; the margin is for the machine, never for the job.
    assert times[-1] - times[0] >= 0.5


async def test_two_consoles_replay_the_same_filter_at_once(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 80)
    async with installation.engine():
        commands = [
            await installation.submit("replay", where=OPEN, options={"canary": number})
            for number in (0, 0, 0)
        ]

        async def jobs() -> list[ReplayJob]:
            found = [await installation.store.replays.of_command(item) for item in commands]
            return [item for item in found if item and item.ended_ms] if all(found) else []

        await until(lambda: _all_of(jobs, 3))
        ended = await jobs()
    assert sum(job.total for job in ended) == 80 == sum(job.succeeded for job in ended)
    assert Counter(key for key, _ in peer.sent) == Counter(item.idempotency_key for item in letters)


async def _all_of(look: Any, count: int) -> bool:
    return len(await look()) == count


async def test_what_arrived_is_refused_unless_it_is_forced(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 3)
    ids = [item.id for item in letters]
    async with installation.engine():
        await job_ended(installation, await started(installation, ids))
        again = await installation.store.replays.get(await started(installation, ids))
        assert again is not None and again.total == 0
        peer.write = lambda request: reject(request) if len(peer.sent) == 4 else None
        forced = await job_ended(installation, await started(installation, ids, forced=True))
    assert (forced.total, forced.succeeded, forced.failed) == (3, 2, 1)
    assert Counter(key for key, _ in peer.sent) == {item.idempotency_key: 2 for item in letters}
    assert await states(installation) == {"succeeded": 3}, "it had arrived, whatever came of the second time"
    attempts = await installation.store.dead_letters.attempts(ids[0])
    assert [(item.trigger, item.operator) for item in attempts] == [("bulk", "test"), ("forced", "test")]


async def test_unknown_ones_go_only_when_they_are_asked_for(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 2, target="mailbox")

    def lose(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    peer.write = lose
    ids = [item.id for item in letters]
    async with installation.engine():
        await job_ended(installation, await started(installation, ids[:1]))
        peer.write = lambda request: None
        without = await job_ended(installation, await started(installation, ids))
        plan = bulk_plan_of(
            await call(installation, "plan_replay", dead_letters=ids, options={"unknown": True})
        )
        asked = await job_ended(installation, await started(installation, ids, unknown=True))
    assert plan.total == 1 and "answer of 1 of them was lost" in plan.notes[0]
    assert (without.total, asked.total, asked.succeeded) == (1, 1, 1)


async def test_another_target_leaves_the_dead_letters_open(installation: Installation, peer: Peer) -> None:
    letters = await dead_letters(installation, peer, 6)
    async with installation.engine():
        job = await started(installation, to_profile="warehouse", to_target="rescued")
        ended = await job_ended(installation, job)
        assert ended.succeeded == 6 and await states(installation) == {"open": 6}
        assert len(installation.table("rescued")) == 6 and peer.sent == []
        (attempt,) = await installation.store.dead_letters.attempts(letters[0].id)
        assert (attempt.target, attempt.outcome) == ("warehouse/rescued", "succeeded")
        settled = await started(installation, to_profile="warehouse", to_target="rescued", settle=True)
        await job_ended(installation, settled)
    assert await states(installation) == {"succeeded": 6}


async def test_the_mapping_of_that_time(installation: Installation, peer: Peer) -> None:
    """A dead letter knows the version of the integration that it failed with."""
    letters = await dead_letters(installation, peer, 2)
    text = integration("doomed", {"items": "sink"}).replace(
        "items: {target: sink}", "items: {target: sink, key: [id], map: {id: id, number: n}}"
    )
    await installation.integrate(text)
    async with installation.engine():
        for letter, mapping in zip(letters, ("today", "then"), strict=True):
            await job_ended(installation, await started(installation, [letter.id], mapping=mapping))
    bodies = [set(body) for _, body in peer.sent]
    assert letters[0].integration_version == 1
    assert bodies == [{"id", "number"}, {"id", "n"}]


@pytest.mark.parametrize(("order", "sent"), [("newest", [3]), ("oldest", [1, 2, 3]), ("arrived", [1, 2, 3])])
async def test_the_order_is_chosen(
    installation: Installation, peer: Peer, order: str, sent: list[int]
) -> None:
    peer.write = reject
    name = await installation.integrate(integration("doomed", {"items": "sink"}))
    async with installation.engine():
        for version in (1, 2, 3):
            peer.pages["items"] = [[{"id": "a", "n": version}, {"id": "b", "n": 10 + version}]]
            await installation.call("reset", integration=name, stream="items")
            await installation.run(name)
        peer.sent.clear()
        flying = most = 0

        async def write(request: web.Request) -> None:
            nonlocal flying, most
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0.002)
            flying -= 1

        peer.write = write
        ended = await job_ended(installation, await started(installation, order=order))
    assert [body["n"] for _, body in peer.sent if body["id"] == "a"] == sent
    assert (ended.succeeded, ended.superseded) == (2 * len(sent), 6 - 2 * len(sent))
    assert most == (1 if order == "arrived" else 2)
    if order == "arrived":
        assert [body["n"] for _, body in peer.sent] == [1, 11, 2, 12, 3, 13]


async def test_a_fix_rule_in_the_store_edits_with_keys_of_their_own(
    installation: Installation, peer: Peer
) -> None:
    from platint_tui.core.patch import patch_of
    from platint_tui.core.rules import RuleEdit

    letters = await dead_letters(installation, peer, 3)
    rules = installation.store.rules
    patch = patch_of([{"op": "set", "path": "n", "value": 5}])
    rule = await rules.add(letters[0].fingerprint, patch, operator="test")
    edits = [RuleEdit(item.id, b'{"id":"x","n":5}', item.record_key, f"h{item.number}") for item in letters]
    assert await rules.edit_all(rule.id, edits) == 3
    assert await rules.edit_all(rule.id, edits) == 0, "the originals are edited already"
    children = [item for item in await installation.letters() if item.parent]
    assert [item.id for item in children] == list(await rules.open_edits(rule.id))
    assert not {item.idempotency_key for item in children} & {item.idempotency_key for item in letters}
    assert {item.state for item in await installation.letters() if not item.parent} == {
        DeadLetterState.EDITED
    }
