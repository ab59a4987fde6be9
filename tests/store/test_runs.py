"""Runs: creating, claiming, fencing, positions, reaping."""

from __future__ import annotations

import asyncio

import pytest
from store.samples import FakeClock, commit, dead_letter, integration, running

from platint_tui.core.errors import ConfigError, Fenced, NotFound, SystemicError
from platint_tui.core.model import Run
from platint_tui.core.states import RunState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore


async def get(store: SqliteStore, run: Run) -> Run:
    found = await store.runs.get(run.id)
    assert found is not None
    return found


async def end(store: SqliteStore, run: Run, state: RunState = RunState.SUCCEEDED) -> None:
    for item in (await get(store, run)).streams:
        if item.state == RunState.RUNNING:
            await store.runs.move_stream(run.id, run.epoch, item.stream, state)
    await store.runs.finish(run.id, run.epoch, state)


async def test_one_active_run_per_integration(store: SqliteStore) -> None:
    known = await store.integrations.put(integration())
    first = await store.runs.create(known, ("charges",), "manual")
    assert (first.state, first.wanted, first.number) == (RunState.QUEUED, ("charges",), 1)
    with pytest.raises(ConfigError) as caught:
        await store.runs.create(known, (), "manual")
    assert caught.value.code == "already_running" and "Run 1" in caught.value.message
    with pytest.raises(NotFound, match="no stream 'nope'"):
        await store.runs.create(integration("other"), ("nope",), "manual")
    results = await asyncio.gather(
        *(store.runs.create(integration("third"), (), "manual") for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(item, Run) for item in results) == 1


async def test_claims_are_in_order_and_never_twice(store: SqliteStore) -> None:
    for name in ("a", "b", "c"):
        await store.runs.create(integration(name), (), "manual")
    claims = await asyncio.gather(*(store.runs.claim(f"w{n}") for n in range(5)))
    assert [run.integration for run in claims if run] == ["a", "b", "c"]
    assert all(run is None or (run.epoch == 1 and run.state == RunState.RUNNING) for run in claims)


async def test_list_and_get(store: SqliteStore) -> None:
    runs = []
    for _ in range(5):
        run = await running(store)
        await end(store, run)
        runs.append(run)
    assert [run.number for run in await store.runs.list()] == [5, 4, 3, 2, 1]
    assert [run.number for run in await store.runs.list(limit=2, before=4)] == [3, 2]
    assert await store.runs.list(integration="nope") == []
    assert len(await store.runs.list(states=(RunState.SUCCEEDED,))) == 5
    assert await store.runs.list(states=(RunState.FAILED,)) == []
    found = await store.runs.get("3")
    assert found is not None and found.id == runs[2].id
    for name in ("99", "run_nope", "9" * 40):
        assert await store.runs.get(name) is None
    assert [run.epoch for run in await store.runs.list()] == [5, 4, 3, 2, 1], "epochs never repeat"


async def test_the_fence_holds_for_every_write_of_an_engine(store: SqliteStore) -> None:
    old = await running(store, worker="dead")
    await store.runs.reap(["w2"])
    writes = (
        lambda: commit(store, old, 1),
        lambda: store.runs.move_stream(old.id, old.epoch, "customers", RunState.SUCCEEDED),
        lambda: store.runs.finish(old.id, old.epoch, RunState.FAILED),
        lambda: store.runs.save_read_position(old.id, old.epoch, "customers", {}),
    )
    for write in writes:  # before another one has claimed it
        with pytest.raises(Fenced):
            await write()
    new = await store.runs.claim("w2")
    assert new is not None and new.id == old.id and new.epoch > old.epoch
    for write in writes:
        with pytest.raises(Fenced):
            await write()
    assert await store.runs.sync_state("billing", "customers") is None
    with pytest.raises(NotFound):
        await store.runs.finish("run_nope", 1, RunState.FAILED)


async def test_a_page_is_one_transaction(store: SqliteStore) -> None:
    run = await running(store)
    assert await commit(store, run, 1, dead_letter(run.id), dead_letter(run.id, '["b"]')) == 2
    # A page that was committed before: nothing of it counts again.
    for seq in (1, 0):
        with pytest.raises(SystemicError) as caught:
            await commit(store, run, seq, dead_letter(run.id, '["c"]'))
        assert caught.value.code == "seq"
    assert await commit(store, run, 5) == 0, "a batch of several pages moves on by more than one"
    with pytest.raises(NotFound):
        await store.runs.move_stream(run.id, run.epoch, "nope", RunState.RUNNING)
    with pytest.raises(SystemicError, match="not running"):
        await commit(store, run, 6, stream="nope")
    progress = (await get(store, run)).streams[0]
    assert (progress.read, progress.written, progress.dead_lettered, progress.pages) == (20, 18, 2, 2)
    state = await store.runs.sync_state("billing", "customers")
    assert state is not None
    assert (state.seq, state.confirmed, state.run) == (5, {"v": 1, "since": 5}, run.id)
    assert await store.dead_letters.count(DeadLetterFilter()) == 2


async def test_stream_states_follow_their_machine(store: SqliteStore) -> None:
    run = await running(store)
    await store.runs.move_stream(run.id, run.epoch, "customers", RunState.RUNNING, total=100)
    await store.runs.move_stream(
        run.id, run.epoch, "customers", RunState.RATE_LIMITED, resume_at_ms=5, error="wait", error_code="x"
    )
    parked = (await get(store, run)).streams[0]
    assert (parked.total, parked.resume_at_ms, parked.error, parked.ended_ms) == (100, 5, "wait", None)
    await store.runs.move_stream(run.id, run.epoch, "customers", RunState.RUNNING)
    assert (await get(store, run)).streams[0].resume_at_ms is None
    await store.runs.move_stream(run.id, run.epoch, "customers", RunState.SUCCEEDED)
    ended = (await get(store, run)).streams[0]
    assert ended.started_ms is not None and ended.ended_ms is not None and ended.total == 100
    for state in (RunState.RUNNING, RunState.SUCCEEDED, RunState.QUEUED):
        with pytest.raises(SystemicError):
            await store.runs.move_stream(run.id, run.epoch, "customers", state)
    with pytest.raises(SystemicError, match="not running"):
        await commit(store, run, 1)


async def test_a_parked_run_comes_back_when_its_time_has_come(store: SqliteStore, clock: FakeClock) -> None:
    run = await running(store)
    due = clock.now_ms() + 60_000
    for stream, at in (("customers", due + 60_000), ("charges", due)):
        await store.runs.move_stream(run.id, run.epoch, stream, RunState.RATE_LIMITED, resume_at_ms=at)
    await store.runs.finish(run.id, run.epoch, RunState.RATE_LIMITED)
    assert await store.runs.claim("w2") is None
    clock.ms = due
    again = await store.runs.claim("w2")
    assert again is not None and again.id == run.id and again.epoch == run.epoch + 1


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RATE_LIMITED, RunState.INTERRUPTED])
async def test_cancelling_what_nobody_works_on_is_immediate(store: SqliteStore, state: RunState) -> None:
    if state == RunState.QUEUED:
        run = await store.runs.create(integration(), (), "manual")
    else:
        run = await running(store)
        await store.runs.finish(run.id, run.epoch, state)
    assert await store.runs.request_cancel(run.id)
    cancelled = await get(store, run)
    assert cancelled.state == RunState.CANCELLED and cancelled.ended_ms is not None
    assert {item.state for item in cancelled.streams} == {RunState.CANCELLED}
    assert not await store.runs.request_cancel(run.id), "it has ended"
    assert await store.runs.claim("w1") is None


async def test_cancelling_a_running_run_asks_its_engine(store: SqliteStore) -> None:
    run = await running(store)
    assert not await store.runs.cancel_requested(run.id)
    assert await store.runs.request_cancel(run.id)
    assert await store.runs.cancel_requested(run.id)
    assert (await get(store, run)).state == RunState.RUNNING
    await store.runs.finish(run.id, run.epoch, RunState.CANCELLED)
    assert {item.state for item in (await get(store, run)).streams} == {RunState.CANCELLED}
    with pytest.raises(NotFound):
        await store.runs.request_cancel("run_nope")


async def test_reaping_hands_over_the_runs_of_the_dead(store: SqliteStore) -> None:
    dead = await running(store, "a", worker="dead")
    alive = await running(store, "b", worker="alive")
    stopped = await running(store, "c", worker="alive")
    cancelled = await running(store, "d", worker="dead")
    await commit(store, dead, 1, dead_letter(dead.id, integration="a"))
    await store.runs.move_stream(dead.id, dead.epoch, "charges", RunState.SUCCEEDED)
    await store.runs.finish(stopped.id, stopped.epoch, RunState.INTERRUPTED)
    await store.runs.request_cancel(cancelled.id)
    reaped = await store.runs.reap(["alive"])
    assert [(run.integration, run.state) for run in reaped] == [
        ("a", RunState.QUEUED),
        ("c", RunState.QUEUED),
        ("d", RunState.CANCELLED),
    ]
    assert await store.runs.reap(["alive"]) == []
    assert (await get(store, alive)).worker == "alive"
    again = await store.runs.claim("w2")
    assert again is not None and again.id == dead.id and again.worker == "w2"
    assert [item.state for item in again.streams] == [RunState.QUEUED, RunState.SUCCEEDED]
    assert again.streams[0].pages == 1, "what is committed stays counted"
    await store.runs.move_stream(again.id, again.epoch, "customers", RunState.RUNNING)
    assert await commit(store, again, 2) == 0


async def test_positions_are_reset_restored_and_remembered(store: SqliteStore) -> None:
    assert await store.runs.sync_state("billing", "customers") is None
    assert await store.runs.reset_position("billing", "customers") is None
    first = await running(store)
    for seq in (1, 2):
        await commit(store, first, seq)
    await store.runs.save_read_position(first.id, first.epoch, "customers", {"since": 9})
    await end(store, first)
    second = await running(store)
    await commit(store, second, 3)
    await end(store, second)
    state = await store.runs.reset_position("billing", "customers")
    assert state is not None and (state.seq, state.read) == (3, {"since": 9})
    assert await store.runs.sync_state("billing", "customers") is None
    assert await store.runs.sync_states() == []
    history = await store.runs.position_history("billing", "customers")
    assert [(item.seq, item.run) for item in history] == [(3, second.id), (2, first.id)]
    await store.runs.restore_position(state)
    again = await store.runs.sync_state("billing", "customers")
    assert again is not None
    assert (again.seq, again.confirmed, again.read) == (state.seq, state.confirmed, state.read)
    third = await running(store)
    await commit(store, third, 4)
    assert [item.seq for item in await store.runs.position_history("billing", "customers", 2)] == [4, 3]


async def test_a_restored_position_repeats_no_page_number(store: SqliteStore) -> None:
    first = await running(store)
    await commit(store, first, 3)
    old = await store.runs.reset_position("billing", "customers")
    await commit(store, first, 8)
    assert old is not None
    await store.runs.restore_position(old)
    now = await store.runs.sync_state("billing", "customers")
    assert now is not None
    assert (now.seq, now.confirmed) == (8, old.confirmed), "from there again, under new page numbers"
    with pytest.raises(SystemicError):
        await commit(store, first, 8)


async def test_a_repeated_command_finds_its_run(store: SqliteStore) -> None:
    made = await store.runs.create(integration(), (), "manual", command="cmd_1")
    assert await store.runs.create(integration(), (), "manual", command="cmd_1") == made
    with pytest.raises(ConfigError):
        await store.runs.create(integration(), (), "manual", command="cmd_2")
    await store.runs.request_cancel(made.id)
    again = await store.runs.create(integration(), (), "manual", command="cmd_1")
    assert (again.id, again.state) == (made.id, RunState.CANCELLED), "not a second run, even after its end"


async def test_C2_a_run_that_was_parked_in_the_future_is_due(store: SqliteStore, clock: FakeClock) -> None:
    run = await running(store)
    at = clock.now_ms() + 3_600_000
    await store.runs.move_stream(run.id, run.epoch, "customers", RunState.RATE_LIMITED, resume_at_ms=at)
    await store.runs.finish(run.id, run.epoch, RunState.RATE_LIMITED)
    assert await store.runs.claim("w2") is None, "a long wait is a wait"
    clock.ms -= 7_200_000
    again = await store.runs.claim("w2")
    assert again is not None and again.streams[0].resume_at_ms is None, "nothing to wait for is left"
    await store.runs.move_stream(again.id, again.epoch, "customers", RunState.RUNNING)
    at = clock.now_ms() + 3_600_000
    await store.runs.move_stream(again.id, again.epoch, "customers", RunState.RATE_LIMITED, resume_at_ms=at)
    await store.runs.finish(again.id, again.epoch, RunState.RATE_LIMITED)
    assert await store.runs.claim("w2") is None, "parked again by the clock of now"


async def test_C2_a_clock_that_goes_back_changes_no_order(store: SqliteStore, clock: FakeClock) -> None:
    first = await running(store)
    await commit(store, first, 1, dead_letter(first.id))
    await end(store, first)
    clock.ms -= 400 * 86_400_000
    second = await running(store)
    await commit(store, second, 2, dead_letter(second.id, '["b"]'))
    assert [run.id for run in await store.runs.list()] == [second.id, first.id]
    found = await store.dead_letters.rows(await store.dead_letters.numbers(DeadLetterFilter()))
    assert [item.run for item in found] == [second.id, first.id]
