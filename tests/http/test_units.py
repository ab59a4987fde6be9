"""Parsers and state machines of the driver, against everything that Hypothesis can think of."""

from __future__ import annotations

import gzip
import json
import random
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platint_tui.core.backoff import parse_retry_after
from platint_tui.core.errors import PlatintError, SystemicError, TransientError
from platint_tui.core.model import Record
from platint_tui.core.redaction import REDACTOR
from platint_tui.drivers.http.body import gunzip
from platint_tui.drivers.http.links import find_link, parse_links
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.pagination import Pager, Seen, without
from platint_tui.drivers.http.partitions import Partitions
from platint_tui.drivers.http.positions import CursorRule, Scan
from platint_tui.drivers.http.requests import form_pairs, with_query
from platint_tui.drivers.http.shown import masked_url
from platint_tui.manifest import schema

# The machine may be busy with other tests.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
TARGET = st.text("abcdefghijklmnopqrstuvwxyz/:?&=,;%0123456789 ", max_size=30)


@given(st.text(max_size=300))
def test_any_link_header_is_read_without_an_error(value: str) -> None:
    for link in parse_links(value):
        assert f"<{link.target}>" in value
    find_link(value, "next")


@given(st.lists(st.tuples(TARGET, TOKEN, st.text('abc ,;=\\"<>', max_size=10)), max_size=5))
def test_link_headers_round_trip(links: list[tuple[str, str, str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    value = ", ".join(f"<{target}>; rel={rel} ;Title = {quoted(title)}" for target, rel, title in links)
    assert [(link.target, link.params["rel"], link.params["title"]) for link in parse_links(value)] == links
    for _, rel, _ in links:
        assert find_link(value, rel.upper()) == next(target for target, other, _ in links if other == rel)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            '<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page=5>; rel="last"',
            True,
        ),
        ('<https://api.github.com/x?page=2>;rel="prev NEXT"', True),
        ("<https://api.github.com/x?page=2>;rel=next", True),
        ('<https://api.github.com/x?page=2>; rel="prev"; rel="next"', False),
        ('<https://api.github.com/x?page=2>; rel="next"; anchor="#foo"', False),
        ('<https://api.github.com/x?page=2>; title="rel=next"', False),
        ('https://api.github.com/x?page=2; rel="next"', False),
        ("", False),
    ],
)
def test_link_headers_of_rfc_8288(value: str, found: bool) -> None:
    assert (find_link(value, "next") is not None) is found


@given(st.text(max_size=60))
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, 1_700_000_000_000)
    assert seconds is None or seconds >= 0


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(0, 4_000_000_000_000))
def test_retry_after_dates(moment: datetime, now_ms: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    found = parse_retry_after(format_datetime(moment, usegmt=True), now_ms)
    assert found == pytest.approx(max(0.0, moment.timestamp() - now_ms / 1000), abs=0.01)


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(0, 20))
def test_gzip_bodies_of_any_number_of_members(parts: list[bytes], padding: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts) + b"\0" * padding
    assert gunzip(data, 100_000, "host") == b"".join(parts)


def test_gzip_members_lie_anywhere_in_a_long_body() -> None:
    rng = random.Random(4)
    parts = [rng.randbytes(rng.choice([0, 1, 70_000, 200_000])) for _ in range(40)]
    data = b"".join(gzip.compress(part) + b"\0" * rng.choice([0, 3, 140_000]) for part in parts)
    assert gunzip(data, 32 * 1024 * 1024, "host") == b"".join(parts)


def test_G8_a_body_of_very_many_tiny_gzip_members_is_no_work_for_minutes() -> None:
    member = gzip.compress(b"")
    started = time.process_time()
    assert gunzip(member * (8 * 1024 * 1024 // len(member)), 1000, "host") == b""
    assert time.process_time() - started < 20  # about 1.5; copying the rest for each took more than a minute


@given(st.binary(min_size=1, max_size=500), st.data())
def test_F9_every_cut_of_a_gzip_body_is_seen(body: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(body)
    cut = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises((TransientError, SystemicError)):
        gunzip(packed[:cut], 100_000, "host")


@given(st.binary(max_size=300))
def test_any_bytes_as_gzip_are_an_error_or_a_body(data: bytes) -> None:
    try:
        gunzip(data, 100_000, "host")
    except PlatintError:
        pass


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_G8_the_cap_is_exact(size: int, cap: int) -> None:
    packed = gzip.compress(b"a" * size)
    if size <= cap:
        assert len(gunzip(packed, cap, "host")) == size
    else:
        with pytest.raises(SystemicError):
            gunzip(packed, cap, "host")


BASE = "https://api.example.com:443"


@given(st.text(max_size=60))
def test_H3_whatever_a_platform_sends_stays_on_the_origin(reference: str) -> None:
    origins = Origins("https://api.example.com/v1", [BASE])
    for text in (reference, "//" + reference, "https://" + reference, "http:" + reference, "/" + reference):
        try:
            followed = origins.follow("https://api.example.com/v1/items", text, "next page")
        except SystemicError as error:
            assert error.code == "origin"
        else:
            # Case of scheme and host do not matter, everything else must be ours.
            assert followed.lower().startswith(
                ("https://api.example.com/", "https://api.example.com:443/", "https://api.example.com?")
            ) or (followed.lower() in ("https://api.example.com", "https://api.example.com:443"))


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=5))
def test_a_query_parameter_is_taken_out_whole(query: dict[str, str]) -> None:
    url = with_query("https://h/x", {**query, "api_key": "s3cret"})
    rest = without(url, frozenset({"api_key"}))
    others = [(name, value) for name, value in query.items() if name.lower() != "api_key"]
    assert parse_qsl(urlsplit(rest).query, keep_blank_values=True) == others


KEPT = [
    "page=2",
    "%24skiptoken=a%2Bb",
    "page_token=x%20y",
    "PageToken=PT",
    "token=p2",
    "next_cursor=",
    "q=a?",
]


@pytest.mark.parametrize(
    "secret",
    ["private_token=abc", "Access_Token=abc", "client%5Fsecret=abc", "password=x", "k=known%2Bvalue-1"],
)
@pytest.mark.parametrize("at", range(len(KEPT) + 1))
def test_a_credential_in_a_link_is_taken_out(secret: str, at: int) -> None:
    REDACTOR.add("known+value-1")
    pairs = [*KEPT[:at], secret, *KEPT[at:]]
    assert without(f"https://h/x?{'&'.join(pairs)}", frozenset()) == f"https://h/x?{'&'.join(KEPT)}"
    assert without(f"https://h/x?{secret}", frozenset()) == "https://h/x"


def test_masked_urls() -> None:
    assert (
        masked_url("https://h/x?token=abc&page=2&Api-Key=1#f") == "https://h/x?token=•••&page=2&Api-Key=•••"
    )
    assert masked_url("https://h/x") == "https://h/x"
    masked = "sig=•••&se=2026&code=•••&key=•••&access%5Ftoken=•••&page_token=p2"
    assert masked_url("https://h/x?sig=a&se=2026&code=b&key=c&access%5Ftoken=d&page_token=p2") == (
        f"https://h/x?{masked}"
    )


@given(
    st.recursive(
        st.text(max_size=3) | st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_form_fields_have_distinct_names(value: Any) -> None:
    names = [name for name, _ in form_pairs({"a": value, "b": {"c": value}})]
    assert len(names) == len(set(names))


# --- positions and pagers ----------------------------------------------------------------------------------

VALUES = {
    "int": st.integers(-5, 30),
    "epoch_s": st.integers(1_700_000_000, 1_700_000_030),
    "epoch_ms": st.integers(1_700_000_000_000, 1_700_000_030_000),
    "string": st.sampled_from(["a", "b", "ba", "c", "é"]),
    "iso8601": st.sampled_from(
        [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00+01:00",
            "2026-01-02T00:00:00.5Z",
            "2026-01-03",
        ]
    ),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[CursorRule, list[list[Any]]]:
    """A cursor, and the values of records that are added before each of a few scans."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    lag = draw(st.sampled_from([0.0, 5.0])) if kind not in ("int", "string") else 0.0
    rule = CursorRule(
        ("at",), kind, draw(st.sampled_from(["asc", "desc", "none"])), lag, "include", draw(st.booleans())
    )
    rounds = draw(st.lists(st.lists(VALUES[kind], max_size=6), min_size=1, max_size=4))
    return rule, rounds


@settings(max_examples=300)
@given(histories(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_nothing_is_missed_and_nothing_old_comes_twice(
    history: tuple[CursorRule, list[list[Any]]], size: int, rng: random.Random
) -> None:
    """Scans with a `>=` filter, each continued through text after every page, against a platform that only grows."""
    rule, rounds = history
    store: list[Record] = []
    document: Any = None
    received: dict[str, int] = {}
    top: Any = None
    expected: set[str] = set()
    for added in rounds:
        scan = Scan.load(rule, document)
        floor = None if scan.start() is None else rule.comparable(scan.start())
        for value in added:
            raw = json.dumps({"n": len(store), "at": value})
            store.append(Record(raw, json.loads(raw)))
            # What comes late, below the filter, is out of reach of any cursor.
            if floor is None or rule.comparable(value) >= floor:
                expected.add(raw)
        matching = [
            record
            for record in store
            if not rule.server_side or floor is None or rule.comparable(record.value["at"]) >= floor
        ]
        if rule.order != "none":
            matching.sort(
                key=lambda record: rule.comparable(record.value["at"]), reverse=rule.order == "desc"
            )
        else:
            rng.shuffle(matching)
        for start in range(0, max(1, len(matching)), size):
            records, bad = scan.take(matching[start : start + size])
            assert bad == []
            for record in records:
                received[record.raw] = received.get(record.raw, 0) + 1
            scan.page = {"n": 1}
            scan = Scan.load(rule, json.loads(json.dumps(scan.document())))
        scan.finish()
        document = json.loads(json.dumps(scan.document()))
    assert set(received) == expected
    # Edges stay far below their bound here, so each text came exactly once.
    assert all(count == 1 for count in received.values())
    values = [record.value["at"] for record in store]
    top = max(values, key=rule.comparable) if values else None
    assert document["page"] is None
    if top is not None and set(received) == {record.raw for record in store}:
        assert rule.comparable(document["high"]) == rule.comparable(top)


PAGES: list[schema.Page] = [
    schema.CursorPage.model_validate({"type": "cursor", "from": "next", "param": "after"}),
    schema.OffsetPage(type="offset", size=2),
    schema.NumberPage(type="page", size=2),
    schema.LinkBodyPage(type="link_body", path="next"),
    schema.LinkHeaderPage(type="link_header"),
]
ANSWERS = st.lists(
    st.tuples(
        st.one_of(
            st.none(),
            st.integers(0, 5),
            st.sampled_from(["", "a", "b", "/x?p=1", "/y", "//evil/"]),
            st.just([]),
        ),
        st.integers(0, 3),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(st.sampled_from(PAGES), ANSWERS)
def test_H1_every_pager_ends_or_refuses(page: schema.Page, answers: list[tuple[Any, int]]) -> None:
    """Whatever a platform answers, for ever: each page is a new one, or the scan ends with a typed error."""
    pager = Pager(page, Origins("https://api.example.com", [BASE]))
    state = pager.start()
    asked = set()
    for following, count in [*answers, *[(None, 0)] * 3]:
        key = json.dumps([pager.query(state), pager.url(state)])
        assert key not in asked
        asked.add(key)
        state = pager.resume(json.loads(json.dumps(state)))
        headers = {"link": f'<{following}>; rel="next"'} if isinstance(following, str) else {}
        elements = [Record("{}", {})] * count
        try:
            found = pager.advance(
                state, Seen({"next": following}, headers, "https://api.example.com/v1", elements)
            )
        except SystemicError:
            return
        if found is None:
            return
        state = found
    raise AssertionError("three empty answers without a next page are an end")


def _partition(partitions: Partitions, key: str, *times: str) -> None:
    scan = partitions.scan(key)
    scan.take([Record(json.dumps(value), value) for value in ({"at": time} for time in times)])
    scan.finish()
    partitions.complete(key, scan)


def test_a_quiet_partition_holds_the_shared_position_back() -> None:
    """What appears in it after it was read, and before the end of the scan, belongs to the next scan."""
    rule = CursorRule(("at",), "iso8601")
    stored = {"v": 1, "kind": "partition", "partitions": {}, "shared": True, "since": "2026-01-01T09:00:00Z"}
    partitions = Partitions.load(rule, stored)
    starts = []
    for _ in range(2):
        _partition(partitions, "quiet")
        _partition(partitions, "busy", "2026-01-01T10:08:00Z")
        partitions.finish()
        partitions = Partitions.load(rule, partitions.document())
        starts.append(partitions.scan("quiet").start())
    # In the first scan a record of 10:05 may have come to the quiet one behind the reader's back; by the second
    # it was read at a time when 10:08 had been seen.
    assert starts == ["2026-01-01T09:00:00Z", "2026-01-01T10:08:00Z"]
