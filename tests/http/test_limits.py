"""Limits on real connections: what a platform announces is obeyed, by every job under the same credential."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import CredentialError, RateLimited
from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.budgets import Budget
from platint_tui.drivers.http.driver import HttpDriver
from platint_tui.engine.limits import LimiterHub
from platint_tui.manifest.loader import load_text
from tests.engine.test_limits import Stored
from tests.http.hostile import MANIFEST, SECRET, Build, Hostile, Notes, Seen, answer, merged


class Moving(SystemClock):
    """Sleeping moves the time, so that no test waits for it."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        target = self.ms + int(seconds * 1000) + 1
        await asyncio.sleep(0)
        self.ms = max(self.ms, target)


Jobs = Callable[..., HttpDriver]


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
async def job(hostile: Hostile, clock: Moving) -> AsyncIterator[Jobs]:
    """Drivers of one credential in one process; `hub` is another process over the same store."""
    store = Stored(clock)
    ours = LimiterHub(store, clock)
    async with AsyncExitStack() as stack:

        def make(changes: Mapping[str, Any], profile: str = "live", other: bool = False) -> HttpDriver:
            connector = load_text(json.dumps(merged(MANIFEST, changes)), "hostile.yaml")
            account = Profile(profile, "hostile", Environment.DEVELOPMENT, {"base_url": hostile.url}, {})
            hub = LimiterHub(store, clock) if other else ours
            context = DriverContext(
                connector,
                account,
                {"key": Secret(SECRET)},
                hub.of(profile),
                Notes(),
                clock,
                random.Random(7),
                budgets=hub.budgets(profile),
            )
            driver = HttpDriver(context)
            stack.push_async_callback(driver.close)
            return driver

        yield make


async def records(driver: HttpDriver, stream: str = "items") -> list[Any]:
    return [record.value async for page in driver.read(stream, None) for record in page.records]


class Strict:
    """A platform with `size` calls in each span of `seconds`, which counts the calls beyond."""

    def __init__(
        self, hostile: Hostile, clock: Moving, size: int, seconds: float, form: str = "epoch_s"
    ) -> None:
        self._clock, self._size, self._seconds, self._form = clock, size, seconds, form
        self._reset = 0
        self._left = 0
        self.beyond = 0
        self._random = random.Random(3)
        hostile.routes["/items"] = self.handle

    async def handle(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        now = self._clock.now_ms()
        if now >= self._reset:
            self._reset, self._left = now // 1000 * 1000 + int(self._seconds * 1000), self._size
        allowed = self._left > 0
        self._left = max(0, self._left - 1)
        headers = {"X-Left": str(self._left), "X-Reset": self.said(now)}
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)  # answers overtake each other
        if not allowed:
            self.beyond += 1
            writer.write(answer(429, {}, {**headers, "Retry-After": "1"}))
            return
        number = int(seen.query.get("after", "0"))
        page = {"data": [{"id": number}], "next": str(number + 1) if number < 14 else None}
        writer.write(answer(200, page, headers))

    def said(self, now: int) -> str:
        moment = datetime.fromtimestamp(self._reset / 1000, UTC)
        return {
            "epoch_s": str(self._reset // 1000),
            "epoch_ms": str(self._reset),
            "seconds": str((self._reset - now + 999) // 1000),
            "milliseconds": str(self._reset - now),
            "iso8601": moment.isoformat().replace("+00:00", "Z"),
            "clock": f"00:{(self._reset - now + 999) // 1000 // 60:02}:{(self._reset - now + 999) // 1000 % 60:02}",
            "retry_after": str((self._reset - now + 999) // 1000),
        }[self._form]


def announced(form: str = "epoch_s", **changes: Any) -> dict[str, Any]:
    headers = {"remaining": "X-Left", "reset": "X-Reset", "reset_format": form}
    return {"limits": [{"id": "all", "headers": headers, **changes}]}


@pytest.mark.parametrize(
    "form", ["epoch_s", "epoch_ms", "seconds", "milliseconds", "iso8601", "clock", "retry_after"]
)
async def test_announced_zero_is_obeyed(hostile: Hostile, clock: Moving, job: Jobs, form: str) -> None:
    strict = Strict(hostile, clock, 4, 20, form)
    assert len(await records(job(announced(form)))) == 15
    assert strict.beyond == 0 and len(hostile.seen) == 15
    assert sum(clock.slept) >= 3 * 19


@pytest.mark.parametrize("size", [6, 7, 11, 40])
async def test_one_budget_for_six_jobs(hostile: Hostile, clock: Moving, job: Jobs, size: int) -> None:
    strict = Strict(hostile, clock, size, 20)
    read = await asyncio.gather(*[records(job(announced())) for _ in range(6)])
    assert [len(found) for found in read] == [15] * 6
    assert strict.beyond == 0 and len(hostile.seen) == 90


async def test_one_rate_and_one_number_of_slots_for_six_jobs(
    hostile: Hostile, clock: Moving, job: Jobs
) -> None:
    busy = most = 0

    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        for _ in range(20):
            await asyncio.sleep(0)
        busy -= 1
        number = int(seen.query.get("after", "0"))
        writer.write(answer(200, {"data": [{"id": number}], "next": str(number + 1) if number < 3 else None}))

    hostile.routes["/items"] = handle
    started = clock.ms
    changes = {"limits": [{"id": "all", "rate": "2/1s", "concurrency": 2}]}
    await asyncio.gather(*[records(job(changes)) for _ in range(6)])
    assert most <= 2 and len(hostile.seen) == 24
    assert clock.ms - started >= 11_000


async def test_a_long_wait_parks_every_job_without_a_request(
    hostile: Hostile, clock: Moving, job: Jobs
) -> None:
    Strict(hostile, clock, 3, 600)
    with pytest.raises(RateLimited) as caught:
        await records(job(announced()))
    assert 590_000 <= caught.value.until_ms - clock.now_ms() <= 601_000
    assert "'all'" in caught.value.message and caught.value.hint
    sent = len(hostile.seen)
    for other in (False, True):  # another job of this process, and one of another process
        with pytest.raises(RateLimited) as again:
            await records(job(announced(), other=other))
        assert abs(again.value.until_ms - caught.value.until_ms) < 2000
    assert len(hostile.seen) == sent
    clock.ms = caught.value.until_ms
    with pytest.raises(RateLimited):
        await records(job(announced()))
    assert len(hostile.seen) == sent + 3
    # Another credential has a budget of its own.
    hostile.json("/items", {"data": [], "next": None})
    assert await records(job(announced(), profile="second")) == []


async def test_an_hour_is_waited_for_whole_though_runs_look_again_sooner(
    hostile: Hostile, clock: Moving, job: Jobs
) -> None:
    Strict(hostile, clock, 1, 3600)
    with pytest.raises(RateLimited):
        await records(job(announced()))
    for _ in range(3):
        clock.ms += 900_000
        with pytest.raises(RateLimited):
            await records(job(announced()))
    assert len(hostile.seen) == 1


@pytest.mark.parametrize(
    ("headers", "rate", "seconds"),
    [
        ({"X-Left": "0", "X-Reset": "soon"}, None, 60),
        ({"X-Left": "0"}, None, 60),
        ({"X-Left": "0"}, "100/50s", 50),
        ({"X-Left": "-3", "Retry-After": "45"}, None, 45),
        ({"X-Left": "0", "X-Reset": "1800864000"}, None, 86_400),
        ({"X-Left": "0", "X-Reset": "4102444800"}, None, 60),
        ({"X-Left": "0", "X-Reset": "1e300"}, None, 60),
        ({"X-Left": "plenty", "X-Reset": "4102444800"}, None, None),
        ({"X-Left": "", "X-Reset": ""}, None, None),
        ({"X-Left": "1", "X-Reset": "4102444800"}, None, None),
        ({"X-Left": "0", "X-Reset": "1000000000"}, None, None),
    ],
)
async def test_G14_odd_announcements(
    hostile: Hostile,
    clock: Moving,
    job: Jobs,
    headers: dict[str, str],
    rate: str | None,
    seconds: float | None,
) -> None:
    pages = [{"data": [], "next": "1"}, {"data": [], "next": None}]
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, pages.pop(0), headers))
    changes = announced("epoch_s", rate=rate) if rate else announced("epoch_s")
    started = clock.ms
    if seconds is None:
        await records(job(changes))
        assert len(hostile.seen) == 2
        return
    with pytest.raises(RateLimited) as caught:
        await records(job(changes))
    assert caught.value.until_ms - started == pytest.approx(seconds * 1000, abs=1000)
    assert len(hostile.seen) == 1


@pytest.mark.parametrize("usage", ["{0}/40", "api-usage={0}/40; per-app-api-usage=17/250(appName=sample)"])
async def test_a_leaky_bucket_that_tells_its_level(
    hostile: Hostile, clock: Moving, job: Jobs, usage: str
) -> None:
    level, last, beyond = 36.0, clock.ms, 0

    def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal level, last, beyond
        level = max(0.0, level - (clock.ms - last) / 1000 * 2) + 1
        last = clock.ms
        beyond += level > 40
        number = int(seen.query.get("after", "0"))
        page = {"data": [{"id": number}], "next": str(number + 1) if number < 20 else None}
        writer.write(answer(200, page, {"X-Usage": usage.format(int(level + 0.999))}))

    hostile.routes["/items"] = handle
    changes = {"limits": [{"id": "all", "rate": "2/1s", "burst": 40, "headers": {"usage": "X-Usage"}}]}
    assert len(await records(job(changes))) == 21
    assert beyond == 0 and clock.slept


class Points:
    """A platform that counts points: each query costs, and they come back with the time."""

    def __init__(self, hostile: Hostile, clock: Moving, cost: float) -> None:
        self._clock, self._cost = clock, cost
        self._left, self._at = 1000.0, clock.ms
        self.beyond = 0
        hostile.routes["/items"] = self.handle

    async def handle(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self._left = min(1000.0, self._left + (self._clock.ms - self._at) / 1000 * 50)
        self._at = self._clock.ms
        refused = self._cost > self._left
        if refused:
            self.beyond += 1
        else:
            self._left -= self._cost
        throttle = {"currentlyAvailable": int(self._left), "restoreRate": 50.0}
        told = {"requestedQueryCost": self._cost, "throttleStatus": throttle}
        await asyncio.sleep(0)
        number = int(seen.query.get("after", "0"))
        page: dict[str, Any] = {"extensions": {"cost": told}}
        if refused:
            page["errors"] = [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
        else:
            page |= {"data": [{"id": number}], "next": str(number + 1) if number < 9 else None}
        writer.write(answer(200, page))


def points() -> dict[str, Any]:
    told = {
        "available": "extensions.cost.throttleStatus.currentlyAvailable",
        "cost": "extensions.cost.requestedQueryCost",
        "restore_rate": "extensions.cost.throttleStatus.restoreRate",
    }
    throttled = {
        "when": {"body": {"path": "errors.0.extensions.code", "equals": "THROTTLED"}},
        "class": "rate_limited",
        "action": "wait",
    }
    return {"limits": [{"id": "cost", "body": told}], "errors": {"rules": [throttled]}}


@pytest.mark.parametrize(("cost", "jobs"), [(10, 6), (180, 1), (180, 6), (999, 2)])
async def test_a_budget_of_points_is_never_overdrawn(
    hostile: Hostile, clock: Moving, job: Jobs, cost: float, jobs: int
) -> None:
    platform = Points(hostile, clock, cost)
    read = await asyncio.gather(*[records(job(points())) for _ in range(jobs)])
    assert [len(found) for found in read] == [10] * jobs
    assert platform.beyond == 0 and len(hostile.seen) == 10 * jobs


async def test_calls_that_tell_no_cost_do_not_wait_for_each_other(
    hostile: Hostile, clock: Moving, job: Jobs
) -> None:
    together, met = 0, asyncio.Event()

    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal together
        if "after" in seen.query:
            together += 1
            if together == 3:
                met.set()
            async with asyncio.timeout(10):
                await met.wait()
        writer.write(answer(200, {"data": [], "next": None if "after" in seen.query else "1"}))

    hostile.routes["/items"] = handle
    await asyncio.gather(*[records(job(points())) for _ in range(3)])
    assert together == 3


async def test_a_budget_that_others_used_up_is_waited_for(hostile: Hostile, clock: Moving, job: Jobs) -> None:
    """The first call cannot know; after the refusal the next one goes when there is enough."""
    platform = Points(hostile, clock, 400)
    platform._left = 100.0
    assert len(await records(job(points()))) == 10
    assert platform.beyond == 1


async def test_limits_match_by_operation_stream_family_and_endpoint(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [], "next": None})
    hostile.json("/elsewhere/things/a", {"data": [], "next": None})
    page = {"records": "data", "page": {"type": "none"}}
    changes = {
        "transport": {"endpoints": {"second": {"base_url": "${profile.base_url}/elsewhere"}}},
        "discover": {
            "type": "static",
            "listings": [
                {"into": "things.*", "request": {"path": "/things"}, "records": "data", "name": "name"}
            ],
        },
        "resources": {
            "things.*": {
                "key": ["id"],
                "read": {
                    "request": {"path": "/things/${resource.of}", "endpoint": "second", "weight": 5},
                    **page,
                },
            }
        },
        "limits": [
            {"id": "all", "rate": "100/1s"},
            {"id": "reads", "rate": "50/1s", "burst": 3, "match": {"op": "read"}},
            {"id": "writes", "rate": "1/1s", "match": {"op": "write"}},
            {"id": "items", "rate": "9/1s", "match": {"resources": ["items"]}},
            {"id": "family", "rate": "8/1s", "match": {"resources": ["things.*"]}},
            {"id": "one", "rate": "7/1s", "match": {"resources": ["things.a"]}},
            {"id": "other", "rate": "6/1s", "match": {"resources": ["things.b"]}},
            {"id": "second", "rate": "5/1s", "match": {"endpoint": "second"}},
        ],
    }
    rig = build(changes)
    await rig.read()
    assert [item[0] for item in rig.limits.acquired] == ["all", "reads", "items"]
    assert rig.limits.acquired[:2] == [("all", 100, 1.0, 0), ("reads", 50, 1.0, 3)]
    rig.limits.acquired.clear()
    await rig.read(stream="things.a")
    assert [item[0] for item in rig.limits.acquired] == ["all", "reads", "family", "one", "second"]
    assert rig.limits.weights[-1] == 5


async def test_G12_a_wait_is_shared_where_the_manifest_has_no_limit(build: Build, hostile: Hostile) -> None:
    replies = [answer(429, {}, {"Retry-After": "7"}), answer(200, {"data": [], "next": None})]
    hostile.routes["/items"] = lambda seen, writer: writer.write(replies.pop(0))
    rig = build({"limits": []})
    await rig.read()
    assert rig.limits.blocked == [("calls", 7.0)]


async def test_a_parked_run_says_what_the_platform_said(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "Quota of the tenant"}, status=429, headers={"Retry-After": "1200"})
    with pytest.raises(RateLimited) as caught:
        await build().read()
    told = caught.value.message
    assert told.startswith("Hostile answered 429: Quota of the tenant. ") and "asked to wait 20 min." in told


async def test_G17_a_refused_stream_names_what_it_needs(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "no"}, status=403)
    with pytest.raises(CredentialError) as caught:
        await build({"resources": {"items": {"needs": ["items:read", "audit"]}}}).read()
    assert caught.value.hint.endswith("Reading items needs: items:read, audit.")


def test_answers_that_overtake_each_other_do_not_raise_a_budget() -> None:
    budget = Budget()
    budget.announce(3, 1000, 60_000)
    budget.announce(5, 1010, 60_400)
    assert budget.available(1020) == 3
    budget.flying = 2
    assert budget.available(1020) == 1
    budget.announce(9, 1030, 120_000)
    assert budget.available(1040) == 7
    assert budget.available(120_000) is None


async def test_a_call_that_fails_gives_back_its_place(hostile: Hostile, clock: Moving, job: Jobs) -> None:
    hostile.raw("/items", b"")
    with pytest.raises(Exception, match="closed the connection"):
        await records(job(announced(concurrency=1)))
    hostile.json("/items", {"data": [], "next": None})
    assert await records(job(announced(concurrency=1))) == []
