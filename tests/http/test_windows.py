"""Cursors in time: forms and rounding, windows without a gap, positions inside them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.model import Record
from platint_tui.drivers.http.cursors import DAY, TIMES, CursorRule, granularity
from platint_tui.drivers.http.positions import Scan
from tests.http.hostile import Build, Hostile, Rig, Seen, Whole, answer

NOW_MS = 1_790_000_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def written(kind: str, seconds: float) -> Any:
    """The moment `seconds` after 2026 began, as a platform writes it."""
    moment = START + timedelta(seconds=seconds)
    if kind == "iso8601":
        return moment.isoformat().replace("+00:00", "Z")
    if kind == "date":
        return moment.strftime("%Y-%m-%d")
    if kind == "rfc2822":
        return moment.strftime("%a, %d %b %Y %H:%M:%S +0000")
    return int(moment.timestamp() * (1000 if kind == "epoch_ms" else 1))


# --- values ----------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(TIMES)), st.integers(0, 10**9), st.floats(0.001, 10**6))
def test_values_move_at_least_back_and_always_on(kind: str, at: int, seconds: float) -> None:
    rule = CursorRule(("at",), kind)
    value = written(kind, at)
    lowered, raised = rule.lowered(value, seconds), rule.raised(value, seconds)
    assert type(lowered) is type(raised) is type(value)
    assert rule.comparable(lowered) <= rule.comparable(value) < rule.comparable(raised)
    if kind not in ("epoch_s", "epoch_ms"):
        assert rule.comparable(value) - rule.comparable(lowered) >= timedelta(seconds=seconds)


@given(st.sampled_from(sorted(TIMES)), st.integers(0, 10**9), st.integers(0, 2 * DAY))
def test_nothing_made_until_now_is_beyond_the_bound(kind: str, now: int, ago: int) -> None:
    rule = CursorRule(("at",), kind)
    now_ms = int((START + timedelta(seconds=now)).timestamp() * 1000)
    assert rule.comparable(written(kind, now - ago)) < rule.comparable(rule.after(now_ms))


FORMATS = [
    ("iso8601", "2026-01-02T03:04:05.678Z", "epoch_s", 1767323045),
    ("iso8601", "2026-01-02T03:04:05.678Z", "epoch_ms", 1767323045678),
    ("iso8601", "2026-01-02T03:04:05+02:00", "iso8601", "2026-01-02T03:04:05+02:00"),
    ("iso8601", "2026-01-02T03:04:05+02:00", "%Y/%m/%d %H:%M", "2026/01/02 01:04"),
    ("iso8601", "2026-01-02T03:04:05Z", "date", "2026-01-02"),
    ("iso8601", "2026-01-02T03:04:05Z", "rfc2822", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ("epoch_s", 1767323045, "iso8601", "2026-01-02T03:04:05Z"),
    ("epoch_ms", "1767323045678", "iso8601", "2026-01-02T03:04:05.678Z"),
    ("rfc2822", "Fri, 02 Jan 2026 03:04:05 +0000", "iso8601", "2026-01-02T03:04:05Z"),
    ("rfc2822", "Fri, 02 Jan 2026 05:04:05 +0200", "date", "2026-01-02"),
    ("date", "2026-01-02", "epoch_s", 1767312000),
]


@pytest.mark.parametrize(("kind", "value", "form", "sent"), FORMATS)
def test_values_as_the_platform_wants_them(kind: str, value: Any, form: str, sent: Any) -> None:
    assert CursorRule(("at",), kind, format=form).sent(value) == sent


def test_a_value_without_time_has_no_format() -> None:
    with pytest.raises(ConfigError, match="no time"):
        CursorRule(("at",), "int", format="iso8601").sent(5)


@pytest.mark.parametrize(
    ("form", "seconds"),
    [
        ("date", DAY),
        ("iso8601", 1),
        ("epoch_ms", 1),
        ("%Y-%m", DAY),
        ("%H:00", 3600),
        ("%H:%M", 60),
        ("%s", 1),
    ],
)
def test_how_exact_a_form_is(form: str, seconds: int) -> None:
    assert granularity(form) == seconds


# --- windows ---------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    st.sampled_from(["iso8601", "epoch_s", "epoch_ms", "rfc2822", "date"]),
    st.lists(st.integers(0, 300), max_size=30),
    st.integers(1, 300),
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_every_record_comes_once(
    kind: str, moments: list[int], window: int, steps: list[int], inclusive: bool, rng: random.Random
) -> None:
    """Records arrive between scans, each is read by windows of any size, whether the end is part of one or not,
    the position goes through text after every window: nothing is missed, nothing comes twice.
    """
    unit = DAY // 3 if kind == "date" else 1
    moments, steps = [at * unit for at in moments], [step * unit for step in steps]
    rule = CursorRule(("at",), kind, window=window * unit)
    store: list[Record] = []
    received: dict[str, int] = {}
    pending = sorted(moments)
    now, document = 0, None
    for step in [*steps, 400 * unit]:
        now += step
        while pending and pending[0] <= now:
            value = {"id": len(store), "at": written(kind, pending.pop(0))}
            store.append(Record(json.dumps(value), value))
        now_ms = int((START + timedelta(seconds=now)).timestamp() * 1000)
        scan = Scan.load(rule, document)
        if scan.since is None:
            scan.since = rule.at(int(START.timestamp() * 1000), -5)
        scan.first_window(now_ms)
        for _ in range(1_000):
            low, high = rule.comparable(scan.start()), rule.comparable(scan.until)
            assert low < high
            found = [
                record
                for record in store
                if low <= (at := rule.comparable(record.value["at"]))
                and (at < high or (inclusive and at == high))
            ]
            rng.shuffle(found)
            for record in scan.take(found)[0]:
                received[record.raw] = received.get(record.raw, 0) + 1
            if not scan.next_window():
                break
            scan.page = {"n": 1}
            scan = Scan.load(rule, json.loads(json.dumps(scan.document())))
        scan.finish()
        document = json.loads(json.dumps(scan.document()))
        assert not {"from", "end", "until"} & set(document)
    assert set(received) == {record.raw for record in store}
    if not inclusive:
        assert all(count == 1 for count in received.values())


def windowed(**cursor: Any) -> dict[str, Any]:
    """Changes to the manifest: a platform that takes ten days at a time."""
    base = {
        "field": "at",
        "type": "iso8601",
        "start_param": "from",
        "end_param": "to",
        "initial": "-P25D",
        "window": "P10D",
    }
    return {"resources": {"items": {"read": {"cursor": Whole({**base, **cursor})}}}}


class Archive:
    """Records with their time, filtered by `from` and `to`, two a page."""

    def __init__(self, hostile: Hostile) -> None:
        self.rows: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        hostile.routes["/items"] = self.serve

    def serve(self, seen: Seen, writer: Any) -> None:
        low, high = seen.query["from"], seen.query["to"]
        self.asked.append((low, high, seen.query.get("after", "")))
        begin, end = datetime.fromisoformat(low), datetime.fromisoformat(high)
        if end - begin > timedelta(days=10) or begin >= end:
            writer.write(answer(400, {"message": "the span is not allowed"}))
            return
        found = [row for row in self.rows if begin <= datetime.fromisoformat(row["at"]) < end]
        start = int(seen.query.get("after", "0"))
        body: dict[str, Any] = {"data": found[start : start + 2]}
        if start + 2 < len(found):
            body["next"] = str(start + 2)
        writer.write(answer(200, body))


def row(rig: Rig, number: int, days_ago: float) -> dict[str, Any]:
    moment = datetime.fromtimestamp(rig.clock.now_ms() / 1000, UTC) - timedelta(days=days_ago)
    return {"id": number, "at": moment.isoformat().replace("+00:00", "Z")}


async def test_windows_follow_each_other_up_to_now(build: Build, hostile: Hostile) -> None:
    archive = Archive(hostile)
    rig = build(windowed())
    archive.rows = [row(rig, number, days) for number, days in enumerate([24, 23, 22, 3, 0.0])]
    before = rig.clock.now_ms()
    assert [item["id"] for item in await rig.read()] == [0, 1, 2, 3, 4]
    bounds = [(low, high) for low, high, after in archive.asked if not after]
    assert len(bounds) == 3 and all(one[1] == two[0] for one, two in pairwise(bounds))
    assert datetime.fromisoformat(bounds[-1][1]).timestamp() * 1000 > before
    # The next scan starts at the greatest value seen.
    archive.asked.clear()
    assert await rig.read(rig.position) == []
    assert len(archive.asked) == 1 and archive.asked[0][0] == archive.rows[-1]["at"]


async def test_a_scan_goes_on_from_every_page_of_every_window(build: Build, hostile: Hostile) -> None:
    archive = Archive(hostile)
    rig = build(windowed())
    archive.rows = [row(rig, number, 25 - number) for number in range(25)]
    whole = [item["id"] for item in await rig.read()]
    pages = rig.pages
    assert whole == list(range(25)) and len(pages) > 10
    for number, page in enumerate(pages):
        seen = [record.value["id"] for one in pages[: number + 1] for record in one.records]
        rest = await rig.read(json.loads(json.dumps(page.position)))
        assert seen + [item["id"] for item in rest] == whole


async def test_empty_windows_end(build: Build, hostile: Hostile) -> None:
    archive = Archive(hostile)
    rig = build(windowed())
    assert await rig.read() == []
    assert len(archive.asked) == 3 and rig.pages[-1].last
    archive.rows = [row(rig, 1, 24.9)]
    assert [item["id"] for item in await rig.read(rig.position)] == [1]


async def test_windows_in_templates_and_in_another_form(build: Build, hostile: Hostile) -> None:
    asked: list[str] = []

    def serve(seen: Seen, writer: Any) -> None:
        asked.append(seen.query["filter"])
        writer.write(answer(200, {"data": []}))

    hostile.routes["/items"] = serve
    changes = windowed(start_param=None, end_param=None, side="server", format="%Y/%m/%d")
    query = {"filter": "at ge ${cursor.start} and at le ${cursor.end}"}
    changes["resources"]["items"]["read"]["request"] = {"query": query}
    rig = build(changes)
    await rig.read()
    days = [text.removeprefix("at ge ").split(" and at le ") for text in asked]
    assert len(days) == 3 and days[0][1] == days[1][0] and days[1][1] == days[2][0]
    tomorrow = datetime.fromtimestamp(rig.clock.now_ms() / 1000, UTC) + timedelta(days=1)
    assert days[-1][1] == tomorrow.strftime("%Y/%m/%d")


async def test_a_filter_in_the_body(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1, "at": 1_767_323_045}]})
    cursor = {"field": "at", "type": "epoch_s", "side": "server", "format": "iso8601"}
    read = {
        "request": {"method": "POST", "body": {"since": "${cursor.start}", "q": "x"}},
        "cursor": Whole(cursor),
    }
    rig = build({"resources": {"items": {"read": read}}})
    await rig.read()
    assert json.loads(hostile.seen[0].body) == {"q": "x"}
    assert await rig.read(rig.position) == []
    assert json.loads(hostile.seen[1].body) == {"since": "2026-01-02T03:04:05Z", "q": "x"}


@pytest.mark.parametrize("kind", ["rfc2822", "date"])
async def test_records_older_than_the_last_scan_are_dropped(
    build: Build, hostile: Hostile, kind: str
) -> None:
    rows = [{"id": number, "at": written(kind, number * DAY)} for number in range(3)]
    hostile.json("/items", {"data": rows})
    cursor = {"field": "at", "type": kind}
    rig = build({"resources": {"items": {"read": {"cursor": Whole(cursor)}}}})
    assert len(await rig.read()) == 3
    rows = [*rows, {"id": 3, "at": written(kind, 3 * DAY)}]
    hostile.json("/items", {"data": rows})
    assert [item["id"] for item in await rig.read(rig.position)] == [3]


async def test_a_position_of_before_the_window_is_read_on(build: Build, hostile: Hostile) -> None:
    archive = Archive(hostile)
    rig = build(windowed())
    archive.rows = [row(rig, number, days) for number, days in enumerate([20, 1])]
    since = row(rig, 0, 24)["at"]
    old = {"v": 1, "kind": "cursor", "since": since, "high": None, "edge": [], "page": {"n": 2, "after": "2"}}
    assert [item["id"] for item in await rig.read(old)] == [0, 1]


async def test_a_position_with_bounds_that_are_none_is_refused(build: Build) -> None:
    at = written("iso8601", 0)
    broken = {"v": 1, "kind": "cursor", "since": at, "high": at, "edge": [], "page": {"n": 1}, "from": "soon"}
    with pytest.raises(SystemicError) as caught:
        await build(windowed()).read(broken)
    assert caught.value.code == "position"


class Capped:
    """Records by their time, two a page, and no more than six for one query."""

    def __init__(self, hostile: Hostile, moments: list[int]) -> None:
        self.rows = [{"id": number, "at": at} for number, at in enumerate(sorted(moments))]
        self.queries: list[str] = []
        hostile.routes["/items"] = self.serve

    def serve(self, seen: Seen, writer: Any) -> None:
        start = int(seen.query.get("after", "0"))
        if start == 0:
            self.queries.append(seen.query.get("since", ""))
        if start + 2 > 6:
            writer.write(answer(400, {"message": "too deep"}))
            return
        found = [row for row in self.rows if row["at"] >= int(seen.query.get("since", "0"))]
        body: dict[str, Any] = {"data": found[start : start + 2]}
        if start + 2 < len(found):
            body["next"] = str(start + 2)
        writer.write(answer(200, body))


def capped() -> dict[str, Any]:
    page = {"type": "cursor", "from": "next", "param": "after", "cap": 6}
    cursor = {"field": "at", "type": "epoch_s", "start_param": "since", "order": "asc"}
    return {"resources": {"items": {"read": {"page": Whole(page), "cursor": Whole(cursor)}}}}


@pytest.mark.parametrize("same", [1, 2, 3])
async def test_a_query_that_ends_early_goes_on(build: Build, hostile: Hostile, same: int) -> None:
    platform = Capped(hostile, [1000 + number // same for number in range(20)])
    rig = build(capped())
    read = [item["id"] for item in await rig.read()]
    assert set(read) == set(range(20)) and len(platform.queries) > 3
    pages = rig.pages
    for number, page in enumerate(pages[:-1]):
        before = {record.value["id"] for one in pages[: number + 1] for record in one.records}
        rest = await rig.read(json.loads(json.dumps(page.position)))
        assert before | {item["id"] for item in rest} == set(range(20))


async def test_more_with_one_value_than_a_query_gives_is_an_error(build: Build, hostile: Hostile) -> None:
    Capped(hostile, [1000] * 20)
    with pytest.raises(SystemicError) as caught:
        await build(capped()).read()
    assert caught.value.code == "cap"


class Narrow:
    """A record each second, filtered by `from` and `to`, two a page, six for one query, twenty seconds at a
    time.
    """

    def __init__(self, hostile: Hostile) -> None:
        self.rows: list[dict[str, Any]] = []
        self.begins: list[int] = []
        hostile.routes["/items"] = self.serve

    def serve(self, seen: Seen, writer: Any) -> None:
        begin, end = int(seen.query["from"]), int(seen.query.get("to", "0"))
        start = int(seen.query.get("after", "0"))
        if not begin < end <= begin + 20 or start + 2 > 6:
            writer.write(answer(400, {"message": "too much"}))
            return
        if start == 0:
            self.begins.append(begin)
        found = [row for row in self.rows if begin <= row["at"] < end]
        body: dict[str, Any] = {"data": found[start : start + 2]}
        if start + 2 < len(found):
            body["next"] = str(start + 2)
        writer.write(answer(200, body))


async def test_windows_that_end_early_go_on_with_lag_from_every_page(build: Build, hostile: Hostile) -> None:
    platform = Narrow(hostile)
    page = {"type": "cursor", "from": "next", "param": "after", "cap": 6}
    cursor = {
        "field": "at",
        "type": "epoch_s",
        "order": "asc",
        "start_param": "from",
        "end_param": "to",
        "initial": "-PT55S",
        "window": "PT20S",
        "lag": "PT10S",
    }
    rig = build({"resources": {"items": {"read": {"page": Whole(page), "cursor": Whole(cursor)}}}})
    now = rig.clock.now_ms() // 1000
    platform.rows = [{"id": number, "at": now - 50 + number} for number in range(45)]
    wanted = set(range(45))
    whole = [item["id"] for item in await rig.read()]
    assert set(whole) == wanted
    # Inside the scan the lag is not read again: the filter only ever moves on.
    assert platform.begins == sorted(platform.begins)
    pages = rig.pages
    for number, one in enumerate(pages):
        before = {record.value["id"] for earlier in pages[: number + 1] for record in earlier.records}
        rest = await rig.read(json.loads(json.dumps(one.position)))
        assert before | {item["id"] for item in rest} == wanted
    # The next scan starts the lag before the greatest value, and brings only what is new.
    platform.begins.clear()
    platform.rows.append({"id": 99, "at": platform.rows[-1]["at"] - 9})
    platform.rows.sort(key=lambda row: row["at"])
    assert [item["id"] for item in await rig.read(json.loads(json.dumps(pages[-1].position)))] == [99]
    assert platform.begins[0] == now - 6 - 10
