"""The pure and small parts: fingerprints, rows, resume rule, breaker, buffer, limits, latencies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from engine.support import Installation, ShiftClock
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import ErrorClass, RateLimited, RecordError, SystemicError
from platint_tui.core.histogram import Histogram
from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Confirmed, Fault, JsonObject, Page, Record, SyncState
from platint_tui.core.states import RunState
from platint_tui.engine.buffer import PageBuffer
from platint_tui.engine.fingerprint import fingerprint, normalise
from platint_tui.engine.limits import LimiterHub
from platint_tui.engine.rows import lookup, record_key
from platint_tui.engine.runner import run_state
from platint_tui.engine.streams import resume_rule
from platint_tui.engine.telemetry import TelemetryHub

SAME = [
    ("No such customer: 'cus_000123abc'", "No such customer: 'cus_999999fff'"),
    ("email ana@mail.example is taken", "email b.c+d@other.example is taken"),
    ("value 12.50 is above 10", "value 7 is above 1,000"),
    ("row 3f2c9d4e-1b2a-4c3d-8e9f-0a1b2c3d4e5f failed", "row 00000000-1b2a-4c3d-8e9f-0a1b2c3d4e5f failed"),
    ("since 2026-03-10T10:00:00Z", "since 1999-12-31 23:59:59+01:00"),
    ('name "Ana" is too long', 'name "B \\"x\\" C" is too long'),
    ("see https://a.example/x?y=1", "see https://b.example/"),
    ("object ch_00000012ab3f is gone", "object ch_00000099ffff is gone"),
    ("digest deadbeef01 differs", "digest 0123456789abcdef differs"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_messages_of_one_cause_are_alike(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("email is missing", "name is missing"),
        ("must be an integer", "must be a text"),
        ("field_name is required", "other_name is required"),
    ],
)
def test_messages_of_different_causes_differ(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


words = st.sampled_from(["amount", "must", "be", "above", "limit", "refused", "by", "the", "bank"])
ids = st.one_of(
    st.integers(0, 10**12).map(str),
    st.uuids().map(str),
    st.from_regex(r"[a-z0-9.+-]{1,20}@[a-z]{1,10}\.[a-z]{2,5}", fullmatch=True),
    st.text("0123456789abcdef", min_size=12, max_size=40).map(lambda text: "0" + text),
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.text("abc xyz", max_size=12).map(lambda text: f'"{text}"'),
)


@given(st.lists(words, min_size=1, max_size=6), ids, ids)
def test_an_id_at_the_end_does_not_split_an_issue(text: list[str], one: str, other: str) -> None:
    head = " ".join(text)
    kinds = {normalise(f"{head} {one}"), normalise(f"{head} {other}")}
    # Values of different kinds may differ, but no value itself survives.
    assert all(kind.startswith(head) and "<" in kind for kind in kinds)
    assert normalise(f"{head} {one}") == normalise(f"{head} {one}")


@given(st.text(max_size=300))
def test_normalising_is_stable_and_total(text: str) -> None:
    once = normalise(text)
    assert len(once) <= 6 * len(text) + 10
    assert "\n" not in once


@given(st.text(max_size=50), st.text(max_size=50))
def test_fingerprint_depends_on_code_and_field(one: str, other: str) -> None:
    def of(code: str, field: str) -> str:
        return fingerprint("p", "i", "s", Fault(ErrorClass.RECORD, code, "same", field))

    assert (of(one, "f") == of(other, "f")) == (one == other)
    assert (of("c", one) == of("c", other)) == (one == other)


def test_long_hostile_messages_are_quick() -> None:
    for text in ("a@" * 50_000, "'" * 50_000, "-" * 50_000, "1." * 50_000, "x_" * 50_000):
        assert len(normalise(text)) <= 12_000


def test_record_keys() -> None:
    value = {"id": "ä", "n": 1, "deep": {"x": 2}, "a.b": 3, "none": None, "list": []}
    raw = json.dumps(value)
    assert record_key(value, raw, ("id", "n")) == '["ä",1]'
    assert record_key(value, raw, ("deep.x",)) == "[2]"
    assert record_key(value, raw, ("a.b",)) == "[3]"
    assert record_key(value, raw, ()) != record_key(value, raw + " ", ())
    assert lookup(value, "deep.y.z") is None
    for name in ("missing", "none", "list", "deep"):
        with pytest.raises(RecordError, match=name) as caught:
            record_key(value, raw, (name,))
        assert caught.value.code == "key"


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_record_keys_are_canonical(part: Any) -> None:
    assert record_key({"id": part}, "", ("id",)) == canonical_key([part])


def state(seq: int, position: JsonObject | None) -> SyncState:
    return SyncState("i", "s", seq, position, None, "r", 0)


@pytest.mark.parametrize(
    ("stored", "held", "transactional", "position", "highest"),
    [
        (None, None, True, None, 0),
        (None, None, False, None, 0),
        (state(5, {"at": 5}), None, False, {"at": 5}, 5),
        (state(5, {"at": 5}), Confirmed(5, {"at": 5}), True, {"at": 5}, 5),
        # The engine died between the two commits: the page is repeated under a new number.
        (state(5, {"at": 5}), Confirmed(6, {"at": 6}), True, {"at": 5}, 6),
        # The target was restored from a backup, or is new.
        (state(5, {"at": 5}), Confirmed(3, {"at": 3}), True, {"at": 3}, 5),
        (state(5, {"at": 5}), None, True, None, 5),
        # The position was reset, or our own database is new.
        (None, Confirmed(9, {"at": 9}), True, None, 9),
        (state(0, None), Confirmed(9, {"at": 9}), True, None, 9),
    ],
)
def test_resume_rule(
    stored: SyncState | None,
    held: Confirmed | None,
    transactional: bool,
    position: Mapping[str, Any] | None,
    highest: int,
) -> None:
    start = resume_rule(stored, held, transactional)
    assert (start.position, start.highest) == (position, highest)
    restored = (
        transactional and stored is not None and stored.confirmed and (not held or held.seq < stored.seq)
    )
    assert bool(start.note) == bool(restored)


def test_run_states() -> None:
    s = RunState
    cases = [
        ([s.SUCCEEDED, s.SUCCEEDED], s.SUCCEEDED),
        ([s.SUCCEEDED, s.PARTIAL], s.PARTIAL),
        ([s.SUCCEEDED, s.FAILED], s.PARTIAL),
        ([s.FAILED, s.FAILED], s.FAILED),
        ([s.PARTIAL], s.PARTIAL),
        ([s.FAILED, s.RATE_LIMITED], s.RATE_LIMITED),
        ([s.SUCCEEDED, s.CANCELLED], s.CANCELLED),
        ([s.SUCCEEDED, s.INTERRUPTED, s.RATE_LIMITED], s.INTERRUPTED),
        ([s.SUCCEEDED, s.QUEUED], s.INTERRUPTED),
    ]
    for states, expected in cases:
        assert run_state(states) == expected, states


def page(records: int, size: int = 100) -> Page:
    return Page([Record("{}", {})] * records, {}, False, bytes=size)


async def test_the_buffer_is_bounded_and_gives_the_error_last() -> None:
    buffer = PageBuffer()
    for _ in range(4):
        await asyncio.wait_for(buffer.put(page(1000)), 1)
    blocked = asyncio.create_task(buffer.put(page(1000)))
    await asyncio.sleep(0.01)
    assert not blocked.done()
    assert len(await buffer.take(1000)) == 1
    await asyncio.wait_for(blocked, 1)
    await buffer.close(SystemicError("broken"))
    assert len(await buffer.take(10_000)) == 4
    with pytest.raises(SystemicError, match="broken"):
        await buffer.take(1)


async def test_small_pages_are_taken_together() -> None:
    buffer = PageBuffer()
    for _ in range(9):
        await asyncio.wait_for(buffer.put(page(100)), 1)
    assert len(await buffer.take(1)) == 1
    assert len(await buffer.take(500)) == 5
    assert len(await buffer.take(1000)) == 3
    await buffer.close()
    assert await buffer.take(1000) == []


class Sleepless(ShiftClock):
    """Sleeping moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._start = super().now_ms()
        self.slept = 0.0

    def now_ms(self) -> int:
        return self._start + self.shift_ms

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.shift_ms += max(1, round(seconds * 1000))
        await asyncio.sleep(0)


class CountedLimits:
    """GCRA as the store has it, counting how often it is asked."""

    def __init__(self, clock: Sleepless) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._blocked: dict[str, int] = {}
        self.asked = 0

    async def reserve(self, key: str, emission_ms: float, burst_ms: float, count: int) -> float:
        self.asked += 1
        now = self._clock.now_ms()
        after = max(self._due.get(key, 0.0), now) + emission_ms * count
        self._due[key] = after
        return max(0.0, after - burst_ms - now) / 1000

    async def block(self, key: str, until_ms: int) -> None:
        self._blocked[key] = max(self._blocked.get(key, 0), until_ms)

    async def blocked_until(self, key: str) -> int:
        return self._blocked.get(key, 0)


async def test_limits_hold_the_rate_and_ask_the_store_rarely() -> None:
    clock = Sleepless()
    limits = CountedLimits(clock)
    limiter = LimiterHub(limits, clock).of("live")
    times = []
    for _ in range(400):
        await limiter.acquire("read", 100, 1.0, 20)
        times.append(clock.now_ms())
    # 20 at once, then 100 a second.
    assert 3.5 <= (times[-1] - times[0]) / 1000 <= 4.5
    assert limits.asked <= 30
    for start in range(len(times) - 125):
        assert times[start + 125] - times[start] >= 1000


async def test_a_long_wait_parks_and_keeps_the_reservation() -> None:
    clock = Sleepless()
    limits = CountedLimits(clock)
    limiter = LimiterHub(limits, clock).of("live")
    await limiter.acquire("read", 1, 60.0, 1)
    with pytest.raises(RateLimited) as caught:
        await limiter.acquire("read", 1, 60.0, 1)
    assert "'read' of profile 'live'" in caught.value.message
    clock.shift_ms += caught.value.until_ms - clock.now_ms()
    asked = limits.asked
    await limiter.acquire("read", 1, 60.0, 1)
    assert limits.asked == asked


async def test_C2_a_clock_that_is_set_back_does_not_park_a_limit() -> None:
    clock = Sleepless()
    limiter = LimiterHub(CountedLimits(clock), clock).of("live")
    await limiter.acquire("read", 100, 1.0, 100)
    await limiter.block("read", 5)
    clock.shift_ms -= 3_600_000
    before = clock.now_ms()
    await limiter.acquire("read", 100, 1.0, 100)
    assert clock.now_ms() - before <= 6000


async def test_a_block_reaches_everyone_who_waits() -> None:
    clock = Sleepless()
    hub = LimiterHub(CountedLimits(clock), clock)
    one, other = hub.of("live"), hub.of("test")
    await one.acquire("read", 100, 1.0, 10)
    await one.block("read", 5)
    before = clock.now_ms()
    await one.acquire("read", 100, 1.0, 10)
    assert clock.now_ms() - before >= 5000
    await one.block("read", 3600)
    with pytest.raises(RateLimited):
        await one.acquire("read", 100, 1.0, 10)
    await other.acquire("write", 100, 1.0, 10)


async def test_limits_are_shared_through_the_store(installation: Installation) -> None:
    first = LimiterHub(installation.store.limits, installation.clock).of("live")
    second = LimiterHub(installation.store.limits, installation.clock).of("live")
    await first.block("read", 3600)
    with pytest.raises(RateLimited):
        await second.acquire("read", 100, 1.0, 10)


async def test_latencies_are_saved_once_however_often(installation: Installation) -> None:
    hub = TelemetryHub("eng_1", installation.store.metrics, installation.clock)
    hub.of("peer", "live").observe("read items", 0.010, True)
    await hub.flush()
    hub.of("peer", "live").observe("read items", 0.020, False)
    await hub.flush()
    await hub.flush()
    (row,) = await installation.store.metrics.summary(0)
    assert (row.count, row.errors, row.operation) == (2, 1, "read items")
    assert row.p50_ms == pytest.approx(10, rel=0.02)
    installation.clock.shift_ms = 300_000
    await hub.flush()
    hub.of("peer", "live").observe("read items", 0.030, True)
    await hub.flush()
    (row,) = await installation.store.metrics.summary(0)
    assert row.count == 3


def test_histograms_stay_within_two_percent() -> None:
    histogram = Histogram()
    for milliseconds in range(1, 1001):
        histogram.add(milliseconds / 1000)
    assert histogram.quantile(0.5) == pytest.approx(0.5, rel=0.02)
