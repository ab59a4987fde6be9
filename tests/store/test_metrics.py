"""Latencies, rate limits, and the small nouns."""

from __future__ import annotations

import asyncio
import random

import pytest
from store.samples import FakeClock, profile

from platint_tui.core.errors import NotFound
from platint_tui.core.histogram import Histogram
from platint_tui.core.model import Capability, Catalogue, Field, Stream, Worker
from platint_tui.store import open_store
from platint_tui.store.metrics import DAY_MS, HOUR_MS, MINUTE_MS
from platint_tui.store.ports import MetricRow
from platint_tui.store.sqlite import SqliteStore


def row(
    minute: int, *seconds: float, errors: int = 0, platform: str = "a", operation: str = "read"
) -> MetricRow:
    histogram = Histogram()
    for value in seconds:
        histogram.add(value)
    return MetricRow(minute, platform, "shop", operation, len(seconds), errors, histogram.to_bytes())


async def test_a_minute_is_replaced_as_it_goes_on(store: SqliteStore, clock: FakeClock) -> None:
    minute = clock.ms // MINUTE_MS * MINUTE_MS
    await store.metrics.save("w1", [row(minute, 0.1)])
    await store.metrics.save("w1", [row(minute, 0.1, 0.2, errors=1)])
    await store.metrics.save("w2", [row(minute, 0.4)])
    await store.metrics.save("w2", [])
    (summary,) = await store.metrics.summary(minute - 1)
    assert (summary.platform, summary.operation, summary.count, summary.errors) == ("a", "read", 3, 1)
    assert summary.error_rate == pytest.approx(1 / 3)
    assert summary.p50_ms == pytest.approx(200, rel=0.02) and summary.p99_ms == pytest.approx(400, rel=0.02)


async def test_percentiles_are_of_all_samples_within_two_percent(
    store: SqliteStore, clock: FakeClock
) -> None:
    rng = random.Random(7)
    now = clock.ms // MINUTE_MS * MINUTE_MS
    samples: list[float] = []
    for minute in range(60):
        some = [rng.lognormvariate(-3, 1) for _ in range(50)]
        samples += some
        await store.metrics.save("w1", [row(now - minute * MINUTE_MS, *some)])
    total = await store.metrics.total(now - HOUR_MS)
    samples.sort()
    assert total.count == 3000 and (total.platform, total.operation) == ("", "")
    for q, seen in ((0.5, total.p50_ms), (0.95, total.p95_ms), (0.99, total.p99_ms)):
        assert seen == pytest.approx(samples[int(q * 3000) - 1] * 1000, rel=0.02)


async def test_summaries_and_series_by_platform(store: SqliteStore, clock: FakeClock) -> None:
    minute = clock.ms // MINUTE_MS * MINUTE_MS
    await store.metrics.save(
        "w1",
        [
            row(minute, 0.1),
            row(minute, 0.1, operation="write"),
            row(minute - 5 * MINUTE_MS, 0.3, platform="b"),
            row(minute - 600 * MINUTE_MS, 9.0),
        ],
    )
    since = minute - 10 * MINUTE_MS
    keys = [(item.platform, item.operation) for item in await store.metrics.summary(since)]
    assert keys == [("a", "read"), ("a", "write"), ("b", "read")]
    both = await store.metrics.summary(since, by_operation=False)
    assert [(item.platform, item.operation, item.count) for item in both] == [("a", "", 2), ("b", "", 1)]
    points = await store.metrics.series(since, MINUTE_MS)
    assert [item.count for item in points] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2]
    assert points[0].p50_ms is None and points[-1].start_ms == minute
    assert [item.count for item in await store.metrics.series(since, MINUTE_MS, platform="b")][5] == 1
    assert sum(item.count for item in await store.metrics.series(since, 5 * MINUTE_MS)) == 3
    assert len(await store.metrics.series(0, 1)) <= 10_002, "a careless step does not fill the memory"
    empty = await store.metrics.total(clock.ms + DAY_MS)
    assert (empty.count, empty.error_rate, empty.p50_ms) == (0, 0.0, None)


async def test_limits_let_a_burst_pass_and_then_space_calls(store: SqliteStore, clock: FakeClock) -> None:
    clock.now_ms = lambda: clock.ms  # type: ignore[method-assign]
    waits = [await store.limits.reserve("k", 100, 300, 1) for _ in range(5)]
    assert waits == [0, 0, 0, 0.1, 0.2]
    assert await store.limits.reserve("other", 100, 300, 1) == 0
    clock.ms += 10_000
    assert [await store.limits.reserve("k", 100, 300, 1) for _ in range(4)] == [0, 0, 0, 0.1]
    assert await store.limits.reserve("block", 100, 100, 5) == 0, "more than the burst, as one block"
    assert await store.limits.reserve("block", 100, 100, 1) == pytest.approx(0.5)


async def test_limits_are_shared_and_blocks_are_kept(store: SqliteStore, clock: FakeClock) -> None:
    clock.now_ms = lambda: clock.ms  # type: ignore[method-assign]
    other = await open_store(store.database.path, clock=clock, role="console")
    waits = await asyncio.gather(*(where.limits.reserve("k", 100, 100, 1) for where in (store, other) * 5))
    assert sorted(waits) == [pytest.approx(n / 10) for n in range(10)]
    await other.limits.block("b", clock.ms + 5_000)
    await store.limits.block("b", clock.ms + 1_000)
    assert await store.limits.blocked_until("b") == clock.ms + 5_000, "the longer one stays"
    assert await store.limits.reserve("b", 100, 100, 1) == pytest.approx(5.0)
    assert await store.limits.reserve("b", 100, 100, 1) == pytest.approx(5.1)
    assert await store.limits.blocked_until("nope") == 0
    await other.close()


async def test_C2_a_clock_that_goes_back_does_not_block_for_days(
    store: SqliteStore, clock: FakeClock
) -> None:
    await store.limits.block("k", clock.ms + 5_000)
    await store.limits.reserve("k", 100, 100, 1)
    clock.ms -= 400 * DAY_MS
    assert await store.limits.blocked_until("k") - clock.ms < 6_000
    assert await store.limits.reserve("k", 100, 100, 1) < 6


async def test_profiles_with_their_checks_and_catalogues(store: SqliteStore) -> None:
    await store.profiles.put(profile())
    stored = await store.profiles.get("shop")
    assert stored is not None and stored.created_ms > 0
    assert stored.secrets == {"api_key": "keyring:shop/api_key"}
    await store.profiles.save_check("shop", False, [Capability("ping", False, False, "refused", None)])
    await store.profiles.save_check("shop", True, [Capability("ping", True, False, "", 1.5)])
    checks = await store.profiles.checks()
    assert checks["shop"].ok and checks["shop"].capabilities[0].latency_ms == 1.5
    stream = Stream("charges", ("id",), "created", (Field("id", "string", True, 5, "x"),), notes=("n",))
    for number in range(3):
        await store.catalogues.save(Catalogue("shop", "payments", "1", number, (stream,)))
    latest = await store.catalogues.latest("shop", 2)
    assert [item.discovered_ms for item in latest] == [2, 1] and latest[0].streams == (stream,)
    assert [item.name for item in await store.profiles.list()] == ["shop"]
    assert await store.profiles.remove("shop") and not await store.profiles.remove("shop")
    assert await store.profiles.checks() == {} and await store.catalogues.latest("shop", 9) == []
    with pytest.raises(NotFound):
        await store.profiles.save_check("shop", True, [])
    with pytest.raises(NotFound):
        await store.catalogues.save(Catalogue("shop", "payments", "1", 1, ()))


async def test_commands_are_kept_as_an_audit(store: SqliteStore) -> None:
    first = await store.commands.submit("run", {"integration": "billing"}, "me")
    second = await store.commands.submit("check", {}, "you")
    assert [item.id for item in await store.commands.pending()] == [first.id, second.id]
    await store.commands.finish(first.id, result={"run": "r"})
    await store.commands.finish(first.id, error={"message": "too late"})
    await store.commands.finish(second.id, error={"message": "no"})
    assert await store.commands.pending() == []
    done = await store.commands.get(first.id)
    assert done is not None and (done.state, done.result, done.error) == ("done", {"run": "r"}, None)
    assert [(item.state, item.error) for item in await store.commands.recent(1)] == [
        ("failed", {"message": "no"})
    ]
    assert await store.commands.get("nope") is None


async def test_workers_and_settings(store: SqliteStore) -> None:
    await store.workers.beat(Worker("w1", "engine", "host", 7, "1", 5, 5))
    await store.workers.beat(Worker("w1", "engine", "host", 7, "1", 5, 9))
    assert [(item.id, item.heartbeat_ms) for item in await store.workers.list()] == [("w1", 9)]
    await store.workers.gone("w1")
    assert await store.workers.list() == []
    assert await store.settings.get("theme") is None
    await store.settings.put("theme", {"name": "dark", "list": [1, 2.5, None]})
    await store.settings.put("theme", {"name": "light"})
    assert await store.settings.get("theme") == {"name": "light"}
