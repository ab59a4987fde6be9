"""Replay jobs: plan, claim, settle, recover, cancel."""

from __future__ import annotations

import asyncio

import pytest
from store.samples import commit, dead_letter, running

from platint_tui.core.errors import NotFound, SystemicError
from platint_tui.core.model import DeadLetter, ReplayJob, Trigger
from platint_tui.core.replays import Order, ReplayOptions
from platint_tui.core.states import DeadLetterState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore


async def inbox(store: SqliteStore, count: int) -> list[str]:
    run = await running(store)
    await commit(store, run, 1, *(dead_letter(run.id, f'["{n}"]') for n in range(count)))
    numbers = await store.dead_letters.numbers(DeadLetterFilter(), newest_first=False)
    return [item.id for item in await store.dead_letters.rows(numbers)]


async def job_of(store: SqliteStore, job: ReplayJob) -> ReplayJob:
    found = await store.replays.get(job.id)
    assert found is not None
    assert found.total >= found.succeeded + found.failed + found.unknown + found.superseded + found.pending
    return found


async def letter_of(store: SqliteStore, identity: str) -> DeadLetter:
    found = await store.dead_letters.get(identity)
    assert found is not None
    return found


async def test_a_job_from_plan_to_end(store: SqliteStore) -> None:
    ids = await inbox(store, 4)
    job = await store.replays.plan([*ids, ids[0], "nope"], Trigger.BULK)
    assert (job.total, job.pending, job.state, job.ended_ms) == (4, 4, "running", None), "K7: each once"
    assert [item.id for item in await store.replays.unfinished()] == [job.id]
    claimed = await store.replays.claim(job.id, "w1", 10)
    assert [item.id for item in claimed] == ids
    assert all(item.state == "replaying" and item.attempts == 1 and item.payload for item in claimed)
    for identity, outcome in zip(ids, ("succeeded", "failed", "unknown", "superseded"), strict=True):
        (attempt,) = await store.dead_letters.attempts(identity)
        assert (attempt.outcome, attempt.trigger, attempt.job) == ("sending", Trigger.BULK, job.id)
        await store.replays.settle(job.id, identity, outcome, code="c", message="m", response={"status": 1})
    done = await job_of(store, job)
    assert (done.succeeded, done.failed, done.unknown, done.superseded, done.pending) == (1, 1, 1, 1, 0)
    assert done.state == "done" and done.ended_ms is not None
    states = [(await letter_of(store, item)).state for item in ids]
    assert states == ["succeeded", "open", "unknown", "superseded"]
    (attempt,) = await store.dead_letters.attempts(ids[1])
    assert (attempt.outcome, attempt.code, attempt.message, attempt.response) == (
        "failed",
        "c",
        "m",
        {"status": 1},
    )
    assert attempt.ended_ms is not None
    (issue,) = await store.dead_letters.issues()
    assert (issue.open, issue.total) == (2, 4)
    assert await store.replays.unfinished() == [] and len(await store.replays.list()) == 1


async def test_settling_twice_or_nonsense_is_refused(store: SqliteStore) -> None:
    ids = await inbox(store, 1)
    job = await store.replays.plan(ids, Trigger.MANUAL)
    with pytest.raises(SystemicError):
        await store.replays.settle(job.id, ids[0], "succeeded")
    await store.replays.claim(job.id, "w1", 1)
    with pytest.raises(SystemicError):
        await store.replays.settle(job.id, ids[0], "sending")
    await store.replays.settle(job.id, ids[0], "failed")
    with pytest.raises(SystemicError):
        await store.replays.settle(job.id, ids[0], "succeeded")


async def test_a_job_with_nothing_to_do_has_ended(store: SqliteStore) -> None:
    job = await store.replays.plan(["nope"], Trigger.MANUAL)
    assert (job.total, job.state) == (0, "done") and job.ended_ms is not None


async def test_K6_no_dead_letter_is_in_two_jobs_or_claimed_twice(store: SqliteStore) -> None:
    ids = await inbox(store, 50)
    jobs = await asyncio.gather(*(store.replays.plan(ids, Trigger.BULK) for _ in range(3)))
    assert sorted(job.total for job in jobs) == [0, 0, 50]
    job = max(jobs, key=lambda item: item.total)
    claims = await asyncio.gather(*(store.replays.claim(job.id, f"w{n}", 7) for n in range(12)))
    claimed = [item.id for some in claims for item in some]
    assert sorted(claimed) == sorted(ids)


async def test_A10_the_key_is_the_same_at_every_attempt(store: SqliteStore) -> None:
    ids = await inbox(store, 1)
    key = (await letter_of(store, ids[0])).idempotency_key
    seen = []
    for worker, outcome in (("w1", "failed"), ("w2", "dead"), ("w3", "released"), ("w4", "unknown")):
        unfinished = await store.replays.unfinished()
        job = unfinished[0] if unfinished else await store.replays.plan(ids, Trigger.MANUAL)
        (claimed,) = await store.replays.claim(job.id, worker, 1)
        seen.append(claimed.idempotency_key)
        if outcome == "dead":
            assert await store.replays.recover(job.id, ["w9"], idempotent=True) == 1
        else:
            await store.replays.settle(job.id, ids[0], outcome)
    assert seen == [key] * 4
    attempts = await store.dead_letters.attempts(ids[0])
    assert [(item.number, item.outcome, item.trigger) for item in attempts] == [
        (1, "failed", "manual"),
        (2, "unknown", "manual"),
        (3, "unknown", "resume"),
    ], "what was released was no attempt"
    assert {item.idempotency_key for item in attempts} == {key}


async def test_K14_items_of_a_dead_worker_are_unknown_where_a_repeat_may_do_harm(store: SqliteStore) -> None:
    ids = await inbox(store, 3)
    job = await store.replays.plan(ids, Trigger.BULK)
    await store.replays.claim(job.id, "dead", 1)
    await store.replays.claim(job.id, "alive", 1)
    assert await store.replays.recover(job.id, ["alive"], idempotent=False) == 1
    assert [(await letter_of(store, item)).state for item in ids] == ["unknown", "replaying", "open"]
    found = await job_of(store, job)
    assert (found.unknown, found.pending) == (1, 2)
    # A person decided: sent again on purpose.
    await store.replays.cancel(job.id)
    again = await store.replays.plan(ids[:1], Trigger.MANUAL)
    assert again.total == 1
    (claimed,) = await store.replays.claim(again.id, "w1", 1)
    await store.replays.settle(again.id, claimed.id, "released")
    assert (await letter_of(store, ids[0])).state == "unknown", "not sent, so as unknown as before"


async def test_released_items_come_again(store: SqliteStore) -> None:
    ids = await inbox(store, 1)
    job = await store.replays.plan(ids, Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    await store.replays.settle(job.id, ids[0], "released")
    letter = await letter_of(store, ids[0])
    assert (letter.state, letter.attempts) == ("open", 0)
    assert await store.dead_letters.attempts(ids[0]) == []
    (again,) = await store.replays.claim(job.id, "w1", 1)
    assert again.attempts == 1


async def test_cancelling_lets_what_is_in_flight_settle(store: SqliteStore) -> None:
    ids = await inbox(store, 4)
    job = await store.replays.plan(ids, Trigger.BULK)
    await store.replays.claim(job.id, "w1", 2)
    await store.replays.cancel(job.id, "the target is down")
    found = await job_of(store, job)
    assert (found.state, found.pending, found.error) == ("cancelling", 2, "the target is down")
    assert await store.replays.claim(job.id, "w1", 10) == []
    await store.replays.settle(job.id, ids[0], "succeeded")
    await store.replays.settle(job.id, ids[1], "released")
    found = await job_of(store, job)
    assert (found.state, found.pending, found.succeeded) == ("cancelled", 0, 1)
    assert [(await letter_of(store, item)).state for item in ids] == ["succeeded", "open", "open", "open"]
    await store.replays.cancel(job.id)
    assert await job_of(store, job) == found
    assert (await store.replays.plan(ids, Trigger.BULK)).total == 3, "free for another job"
    with pytest.raises(NotFound):
        await store.replays.cancel("nope")


async def test_a_crash_while_cancelling_ends_the_job(store: SqliteStore) -> None:
    ids = await inbox(store, 2)
    job = await store.replays.plan(ids, Trigger.BULK)
    await store.replays.claim(job.id, "dead", 1)
    await store.replays.cancel(job.id)
    assert await store.replays.recover(job.id, [], idempotent=True) == 1
    assert (await job_of(store, job)).state == "cancelled"
    assert (await letter_of(store, ids[0])).state == "open"


@pytest.mark.parametrize("how", ["discard", "edit", "supersede"])
async def test_items_that_left_the_inbox_are_not_sent(store: SqliteStore, how: str) -> None:
    ids = await inbox(store, 2)
    job = await store.replays.plan(ids, Trigger.BULK)
    if how == "discard":
        await store.dead_letters.discard(ids[:1])
    elif how == "edit":
        await store.dead_letters.edit(ids[0], b"{}", "k", "h")
    else:
        (run,) = await store.runs.list()
        await commit(store, run, 2, keys=('["0"]',))
    assert [item.id for item in await store.replays.claim(job.id, "w1", 10)] == ids[1:]
    await store.replays.settle(job.id, ids[1], "succeeded")
    found = await job_of(store, job)
    assert (found.succeeded, found.superseded, found.pending) == (1, int(how == "supersede"), 0)
    assert found.state == "done"


async def test_what_is_being_sent_cannot_be_discarded_or_superseded(store: SqliteStore) -> None:
    ids = await inbox(store, 1)
    job = await store.replays.plan(ids, Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    assert await store.dead_letters.discard(ids) == 0
    with pytest.raises(SystemicError):
        await store.dead_letters.edit(ids[0], b"{}", "k", "h")
    (run,) = await store.runs.list()
    await commit(store, run, 2, keys=('["0"]',))
    assert (await letter_of(store, ids[0])).state == DeadLetterState.REPLAYING
    await store.replays.settle(job.id, ids[0], "succeeded")
    assert (await letter_of(store, ids[0])).state == DeadLetterState.UNKNOWN, "which came last is not known"
    (attempt,) = await store.dead_letters.attempts(ids[0])
    assert (attempt.outcome, attempt.code) == ("unknown", "overtaken")
    assert (await store.replays.plan(ids, Trigger.MANUAL)).total == 0, "never sent over the newer one"


async def versions(store: SqliteStore, count: int, key: str = '["a"]') -> list[str]:
    """Dead letters of `count` versions of one record, oldest first."""
    run = await running(store)
    for number in range(count):
        await commit(store, run, number + 1, dead_letter(run.id, key, f"v{number}"))
    numbers = await store.dead_letters.numbers(DeadLetterFilter(), newest_first=False)
    return [item.id for item in await store.dead_letters.rows(numbers)]


async def states(store: SqliteStore, ids: list[str]) -> list[str]:
    return [(await letter_of(store, item)).state.value for item in ids]


async def test_versions_of_a_record_go_one_by_one_and_the_newest_first(store: SqliteStore) -> None:
    ids = await versions(store, 3)
    job = await store.replays.plan(ids, Trigger.BULK)
    assert [item.id for item in await store.replays.claim(job.id, "w1", 10)] == [ids[2]]
    assert await store.replays.claim(job.id, "w1", 10) == [], "nothing beside it"
    await store.replays.settle(job.id, ids[2], "failed")
    assert [item.id for item in await store.replays.claim(job.id, "w1", 10)] == [ids[1]]
    await store.replays.settle(job.id, ids[1], "succeeded")
    assert await states(store, ids) == ["superseded", "succeeded", "open"], "the newer one may still come"
    found = await job_of(store, job)
    assert (found.succeeded, found.failed, found.superseded, found.state) == (1, 1, 1, "done")


async def test_an_edit_has_the_age_of_its_original(store: SqliteStore) -> None:
    ids = await versions(store, 2)
    child = (await store.dead_letters.edit(ids[0], b"{}", '["a"]', "fixed")).id
    job = await store.replays.plan([child, ids[1]], Trigger.BULK)
    assert [item.id for item in await store.replays.claim(job.id, "w1", 10)] == [ids[1]]
    await store.replays.settle(job.id, ids[1], "succeeded")
    assert await states(store, [ids[0], child, ids[1]]) == ["edited", "superseded", "succeeded"]


async def test_a_version_that_is_read_again_is_the_newest(store: SqliteStore) -> None:
    ids = await versions(store, 2)
    (run,) = await store.runs.list()
    await commit(store, run, 3, dead_letter(run.id, '["a"]', "v0"))
    job = await store.replays.plan(ids, Trigger.BULK)
    assert [item.id for item in await store.replays.claim(job.id, "w1", 10)] == [ids[0]]
    await store.replays.settle(job.id, ids[0], "succeeded")
    assert await states(store, ids) == ["succeeded", "superseded"]


async def test_a_repeated_command_finds_its_job(store: SqliteStore) -> None:
    ids = await inbox(store, 2)
    job = await store.replays.plan(ids, Trigger.BULK, command="cmd_1")
    assert await store.replays.plan(ids, Trigger.BULK, command="cmd_1") == job
    assert await store.replays.of_command("cmd_1") == job
    await store.replays.cancel(job.id)
    assert (await store.replays.plan(ids, Trigger.BULK, command="cmd_1")).id == job.id
    assert len(await store.replays.list()) == 1
    assert (await store.replays.plan(ids, Trigger.BULK)).total == 2, "another wish is another job"


async def test_content_that_was_corrected_before_says_so(store: SqliteStore) -> None:
    ids = await inbox(store, 1)
    child = (await store.dead_letters.edit(ids[0], b"{}", '["0"]', "fixed")).id
    job = await store.replays.plan([child], Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    await store.replays.settle(job.id, child, "succeeded")
    (run,) = await store.runs.list()
    assert await commit(store, run, 2, dead_letter(run.id, '["0"]'), dead_letter(run.id, '["1"]')) == 2
    numbers = await store.dead_letters.numbers(DeadLetterFilter(states=(DeadLetterState.OPEN,)))
    other, same = await store.dead_letters.rows(numbers)
    assert same.hint.startswith("Add it. Dead letter 1 had the same content")
    assert "dead letter 2" in same.hint and other.hint == "Add it."


async def test_records_without_a_key_do_not_wait_for_each_other(store: SqliteStore) -> None:
    ids = await versions(store, 3, key="")
    job = await store.replays.plan(ids, Trigger.BULK)
    assert len(await store.replays.claim(job.id, "w1", 10)) == 3
    await store.replays.settle(job.id, ids[2], "succeeded")
    assert await states(store, ids) == ["replaying", "replaying", "succeeded"]


@pytest.mark.parametrize("how", ["released", "failed", "unknown", "recovered", "recovered unsafe"])
async def test_what_was_overtaken_on_its_way_is_not_sent_again(store: SqliteStore, how: str) -> None:
    ids = await versions(store, 1)
    job = await store.replays.plan(ids, Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    (run,) = await store.runs.list()
    await commit(store, run, 2, keys=('["a"]',))
    assert await store.replays.newer_written(job.id) == {ids[0]}
    if how.startswith("recovered"):
        assert await store.replays.recover(job.id, [], idempotent=how == "recovered") == 1
    else:
        await store.replays.settle(job.id, ids[0], how)
    assert await states(store, ids) == ["superseded"]
    found = await job_of(store, job)
    assert (found.superseded, found.pending, found.state) == (1, 0, "done")


async def test_unknown_and_discarded_ones_do_not_come_back_over_a_newer_version(store: SqliteStore) -> None:
    ids = await versions(store, 3)
    job = await store.replays.plan(ids[:1], Trigger.MANUAL)
    await store.replays.claim(job.id, "w1", 1)
    await store.replays.settle(job.id, ids[0], "unknown")
    await store.dead_letters.discard(ids[1:2])
    child = (await store.dead_letters.edit(ids[2], b"{}", '["b"]', "fixed")).id
    (run,) = await store.runs.list()
    await commit(store, run, 9, keys=('["a"]',))
    assert await states(store, ids) == ["superseded", "discarded", "edited"]
    assert await store.dead_letters.reopen(ids[1:2]) == 0
    with pytest.raises(SystemicError):
        await store.dead_letters.undo_edit(child)


@pytest.mark.parametrize(
    ("arrived", "options"),
    [
        (False, ReplayOptions(order=Order.ARRIVED)),
        (True, ReplayOptions(forced=True)),
        (False, ReplayOptions()),
    ],
    ids=["as arrived", "forced", "newest"],
)
async def test_versions_of_a_record_are_not_on_their_way_in_two_jobs_at_once(
    store: SqliteStore, arrived: bool, options: ReplayOptions
) -> None:
    run = await running(store)
    for seq in (1, 2):
        await commit(store, run, seq, dead_letter(run.id, '["a"]', f"version {seq}"))
    numbers = await store.dead_letters.numbers(DeadLetterFilter(), newest_first=False)
    ids = [item.id for item in await store.dead_letters.rows(numbers)]
    assert len(ids) == 2
    if arrived:
        first = await store.replays.plan(ids, Trigger.BULK, options=ReplayOptions(order=Order.OLDEST))
        for identity in ids:
            await store.replays.claim(first.id, "w0", 1)
            await store.replays.settle(first.id, identity, "succeeded")
    one = await store.replays.plan(ids[:1], Trigger.BULK, options=options)
    two = await store.replays.plan(ids[1:], Trigger.BULK, options=options)
    assert [item.id for item in await store.replays.claim(two.id, "w1", 5)] == ids[1:]
    assert not await store.replays.claim(one.id, "w2", 5)
    await store.replays.settle(two.id, ids[1], "failed")
    assert [item.id for item in await store.replays.claim(one.id, "w2", 5)] == ids[:1]
