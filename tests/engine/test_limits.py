"""Rates are kept: in any span of time no more calls than the manifest says, by however many tasks and hubs."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import RateLimited
from platint_tui.engine.limits import LimiterHub, pace


class Scripted(SystemClock):
    """Time moves only when everybody sleeps: then to where the first of them wakes."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return int(self.ms)

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Late by up to a millisecond, as timers are; never early.
        self._sleeping.append((self.ms + max(1.0, -(-seconds * 1000 // 1)), self._count, future))
        await future

    async def run(self, *work: asyncio.Task[None]) -> None:
        """Move the time until all work is done."""
        while not all(task.done() for task in work):
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleeping:
                self._sleeping.sort(key=lambda item: item[:2])
                self.ms, _, future = self._sleeping.pop(0)
                future.set_result(None)
        for task in work:
            task.result()


class Stored:
    """GCRA as the store keeps it, shared by all hubs."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self.blocked: dict[str, int] = {}
        self.asked = 0

    async def reserve(self, key: str, emission_ms: float, burst_ms: float, count: int) -> float:
        self.asked += 1
        now = self._clock.now_ms()
        span = emission_ms * count
        after = max(self._due.get(key, 0.0), now, self.blocked.get(key, 0)) + span
        self._due[key] = after
        return max(0.0, max(after - max(burst_ms, span), self.blocked.get(key, 0)) - now) / 1000

    async def block(self, key: str, until_ms: int) -> None:
        self.blocked[key] = max(self.blocked.get(key, 0), until_ms)

    async def blocked_until(self, key: str) -> int:
        self.asked += 1
        return self.blocked.get(key, 0)


def most_in(times: list[float], period: float) -> int:
    """The most calls in any span of `period` seconds."""
    times = sorted(times)
    best = start = 0
    for end, time in enumerate(times):
        while time - times[start] >= period * 1000:
            start += 1
        best = max(best, end - start + 1)
    return best


async def drive(
    count: int, period: float, burst: int, pauses: list[float], hubs: int, tasks: int, seed: int
) -> list[float]:
    """When calls were let go: by `tasks` jobs over `hubs` processes, each pausing between its calls."""
    clock = Scripted()
    store = Stored(clock)
    limiters = [LimiterHub(store, clock).of("live") for _ in range(hubs)]
    rng = random.Random(seed)
    times: list[float] = []

    async def job(number: int) -> None:
        left = 60 // tasks + 1
        while left:
            try:
                await limiters[number % hubs].acquire("read", count, period, burst)
            except RateLimited as error:
                await clock.sleep((error.until_ms - clock.now_ms()) / 1000)
                continue
            left -= 1
            times.append(clock.ms)
            pause = rng.choice(pauses)
            if pause:
                await clock.sleep(pause)

    await clock.run(*[asyncio.create_task(job(number)) for number in range(tasks)])
    return times


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 200),
    period=st.sampled_from([0.5, 1.0, 10.0, 60.0, 600.0]),
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.03, 0.2, 1.0, 7.0]), min_size=1, max_size=4),
    hubs=st.integers(1, 3),
    tasks=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_never_more_than_the_rate_in_any_span(
    count: int, period: float, pauses: list[float], hubs: int, tasks: int, seed: int
) -> None:
    times = asyncio.run(drive(count, period, 0, pauses, hubs, tasks, seed))
    assert most_in(times, period) <= count


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 100),
    burst=st.integers(1, 60),
    pauses=st.lists(st.sampled_from([0.0, 0.01, 0.2, 1.0]), min_size=1, max_size=3),
    hubs=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_a_bucket_never_overflows(count: int, burst: int, pauses: list[float], hubs: int, seed: int) -> None:
    times = sorted(asyncio.run(drive(count, 1.0, burst, pauses, hubs, 4, seed)))
    level, last = 0.0, times[0]
    for time in times:
        level = max(0.0, level - (time - last) / 1000 * count) + 1
        last = time
        # One more than the bucket holds: a reservation may be used a moment after it was due.
        assert level <= burst + 1 + 1e-6


@pytest.mark.parametrize("count", [1, 2, 3, 10, 19, 20, 100, 1000])
@pytest.mark.parametrize("period", [1.0, 10.0, 60.0])
def test_a_rate_is_used_well(count: int, period: float) -> None:
    each, burst = pace(count, period, 0)
    assert 1 <= burst <= max(1, count // 4)
    assert period / each >= count * 0.7 - 1
    assert pace(count, period, 7) == (period / count, 7)


async def test_a_limit_without_a_rate_asks_the_store_rarely_and_obeys_a_block() -> None:
    clock = Scripted()
    store = Stored(clock)
    limiter = LimiterHub(store, clock).of("live")
    for _ in range(100):
        await limiter.acquire("calls", 0, 0.0, 0)
    assert store.asked == 1
    clock.ms += 1000
    await store.block("live/calls", clock.now_ms() + 5000)  # by another process
    before = clock.ms
    await clock.run(asyncio.create_task(limiter.acquire("calls", 0, 0.0, 0)))
    assert clock.ms - before >= 5000
    await limiter.block("calls", 3600)
    with pytest.raises(RateLimited):
        await limiter.acquire("calls", 0, 0.0, 0)


async def test_budgets_of_a_credential_are_shared_by_its_drivers() -> None:
    clock = Scripted()
    hub = LimiterHub(Stored(clock), clock)
    assert hub.budgets("live") is hub.budgets("live") and hub.budgets("live") is not hub.budgets("test")
