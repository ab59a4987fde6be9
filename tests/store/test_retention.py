"""What is removed, what never is, and clocks that jump."""

from __future__ import annotations

import pytest
from store.samples import FakeClock, commit, dead_letter, running

from platint_tui.core.histogram import Histogram
from platint_tui.core.model import Run, Trigger
from platint_tui.core.states import IssueState, RunState
from platint_tui.store.metrics import DAY_MS, HOUR_MS, MINUTE_MS
from platint_tui.store.ports import DeadLetterFilter, MetricRow
from platint_tui.store.sqlite import SqliteStore

ANY = DeadLetterFilter()


async def end(store: SqliteStore, run: Run) -> None:
    for item in run.streams:
        await store.runs.move_stream(run.id, run.epoch, item.stream, RunState.SUCCEEDED)
    await store.runs.finish(run.id, run.epoch, RunState.SUCCEEDED)


async def later(store: SqliteStore, clock: FakeClock, days: int) -> int:
    """Days pass as days do: with a look at the clock each; returns what all purges together removed."""
    gone = 0
    for _ in range(days):
        clock.ms += DAY_MS
        gone += await store.purge()
    return gone


async def settle_clock(store: SqliteStore, clock: FakeClock) -> None:
    await store.purge()
    clock.ms += HOUR_MS
    await store.purge()


async def test_C1_a_clock_that_jumps_removes_nothing_until_a_second_look_agrees(
    store: SqliteStore, clock: FakeClock
) -> None:
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    await store.dead_letters.discard([(await store.dead_letters.rows([1]))[0].id])
    await end(store, run)
    await settle_clock(store, clock)
    start = clock.ms
    clock.ms = start + 400 * DAY_MS
    assert await store.purge() == 0
    clock.ms += 5 * MINUTE_MS
    assert await store.purge() == 0, "too soon to agree"
    clock.ms = start + MINUTE_MS  # set right again
    assert await store.purge() == 0
    assert await store.dead_letters.count(ANY) == 1
    clock.ms = start + 400 * DAY_MS
    assert await store.purge() == 0
    clock.ms += 2 * HOUR_MS
    assert await store.purge() == 1, "two looks agree: it was switched off for long"
    clock.ms = start - 400 * DAY_MS
    assert await store.purge() == 0
    assert await store.dead_letters.count(ANY) == 0


async def test_old_things_go_and_what_waits_for_somebody_stays(store: SqliteStore, clock: FakeClock) -> None:
    await settle_clock(store, clock)
    first = await running(store)
    letters = [dead_letter(first.id, f'["{n}"]', fingerprint=f"f{n}") for n in range(6)]
    await commit(store, first, 1, *letters)
    ids = [item.id for item in await store.dead_letters.rows(range(1, 7))]
    # 1 open, 2 discarded, 3 succeeded, 4 unknown, 5 with an open edit, 6 discarded and ignored as an issue
    await store.dead_letters.discard([ids[1], ids[5]])
    await store.dead_letters.set_issue_state("f5", IssueState.IGNORED)
    job = await store.replays.plan([ids[2], ids[3]], Trigger.BULK)
    await store.replays.claim(job.id, "w1", 2)
    await store.replays.settle(job.id, ids[2], "succeeded")
    await store.replays.settle(job.id, ids[3], "unknown")
    await store.dead_letters.edit(ids[4], b"{}", '["4"]', "h")
    await end(store, first)
    second = await running(store)
    await end(store, second)
    third = await running(store)
    command = await store.commands.submit("run", {}, "me")
    await store.commands.finish(command.id)
    waiting = await store.commands.submit("run", {}, "me")
    assert await later(store, clock, 29) == 0
    assert await later(store, clock, 3) == 3
    assert list(await store.dead_letters.numbers(ANY, newest_first=False)) == [1, 4, 5, 7]
    issues = {item.fingerprint: (item.open, item.total) for item in await store.dead_letters.issues()}
    assert issues == {"f0": (1, 1), "f3": (1, 1), "f4": (1, 1), "f5": (0, 0)}
    await later(store, clock, 62)
    assert [run.id for run in await store.runs.list()] == [third.id]
    assert [item.id for item in await store.commands.recent()] == [waiting.id]
    assert await store.replays.list() == []
    assert await store.dead_letters.count(ANY) == 4
    again = await commit(store, third, 2, letters[5])
    assert again == 1
    issues_now = {item.fingerprint: item.state for item in await store.dead_letters.issues()}
    assert issues_now["f5"] == "ignored", "what is ignored stays so for those to come"


async def test_K13_what_an_unfinished_replay_works_on_is_not_removed(
    store: SqliteStore, clock: FakeClock
) -> None:
    await settle_clock(store, clock)
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id), dead_letter(run.id, '["b"]'))
    ids = [item.id for item in await store.dead_letters.rows([1, 2])]
    job = await store.replays.plan(ids, Trigger.BULK)
    await store.replays.claim(job.id, "w1", 2)
    await store.replays.settle(job.id, ids[0], "succeeded")
    assert await later(store, clock, 120) == 0
    await store.replays.settle(job.id, ids[1], "succeeded")
    assert await later(store, clock, 1) == 1, "the first is old enough, the job is done"
    assert list(await store.dead_letters.numbers(ANY)) == [2]


async def test_an_original_stays_as_long_as_its_edits(store: SqliteStore, clock: FakeClock) -> None:
    await settle_clock(store, clock)
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    child = await store.dead_letters.edit("1", b"{}", '["a"]', "h")
    await later(store, clock, 40)
    assert await store.dead_letters.count(ANY) == 2
    await store.dead_letters.discard([child.id])
    await later(store, clock, 31)
    assert await store.dead_letters.count(ANY) == 0
    assert await store.dead_letters.issues() == []


@pytest.mark.parametrize("days", [1, 200])
async def test_ages_are_a_setting(store: SqliteStore, clock: FakeClock, days: int) -> None:
    await store.settings.put("retention", {"dead_letters_days": days, "nonsense": "x", "runs_days": -5})
    await settle_clock(store, clock)
    run = await running(store)
    await commit(store, run, 1, dead_letter(run.id))
    await store.dead_letters.discard([(await store.dead_letters.rows([1]))[0].id])
    assert await later(store, clock, 40) == int(days == 1)


async def test_many_rows_go_in_small_transactions(store: SqliteStore, clock: FakeClock) -> None:
    await settle_clock(store, clock)
    run = await running(store)
    await commit(store, run, 1, *(dead_letter(run.id, f'["{n}"]') for n in range(1300)))
    await commit(store, run, 2, keys=tuple(f'["{n}"]' for n in range(1300)))
    assert await later(store, clock, 31) == 1300


async def test_latencies_are_rolled_up_and_nothing_is_lost_or_counted_twice(
    store: SqliteStore, clock: FakeClock
) -> None:
    await settle_clock(store, clock)
    begin = clock.ms // DAY_MS * DAY_MS
    total = 0
    for day in range(40):
        rows = []
        for minute in range(0, 24 * 60, 97):
            histogram = Histogram()
            for _ in range(3):
                histogram.add(0.05)
            rows.append(
                MetricRow(
                    begin + day * DAY_MS + minute * MINUTE_MS, "a", "p", "read", 3, 1, histogram.to_bytes()
                )
            )
        for worker in ("w1", "w2"):
            await store.metrics.save(worker, rows)
            total += 3 * len(rows)
        clock.ms = begin + (day + 1) * DAY_MS
        await store.purge()
        whole = await store.metrics.total(begin - DAY_MS)
        assert (whole.count, whole.errors) == (total, total // 3)
        assert whole.p95_ms == pytest.approx(50, rel=0.02)

    def spans(connection: object) -> dict[int, int]:
        rows = connection.execute("SELECT span_ms, COUNT(*) FROM metrics GROUP BY span_ms")  # type: ignore[attr-defined]
        return dict(tuple(row) for row in rows)

    kept = await store.database.read(spans)
    per_day = 2 * len(range(0, 24 * 60, 97))
    assert kept[MINUTE_MS] <= 2 * per_day and kept[HOUR_MS] <= 30 * 24 and kept[DAY_MS] in {8, 9, 10}
    points = await store.metrics.series(begin, DAY_MS)
    assert [point.count for point in points[:40]] == [3 * per_day] * 40
