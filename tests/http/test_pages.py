"""Pages and positions (H): no loop, no gap, no record twice in an incremental run, no stranger's address."""

from __future__ import annotations

import json
from typing import Any

import pytest

from platint_tui.core.errors import PlatintError, SystemicError
from platint_tui.core.redaction import REDACTOR
from tests.http.hostile import SECRET, Build, Hostile, Rig, Seen, Whole, answer


def with_page(page: dict[str, Any], cursor: dict[str, Any] | None = None, **read: Any) -> dict[str, Any]:
    """Changes to the manifest for another kind of paging; the old page is replaced whole."""
    return {"resources": {"items": {"read": {"page": Whole(page), "cursor": cursor, **read}}}}


async def refused(rig: Rig, position: Any = None) -> SystemicError:
    with pytest.raises(PlatintError) as caught:
        await rig.read(position)
    assert isinstance(caught.value, SystemicError)
    return caught.value


# --- walking ---------------------------------------------------------------------------------------------


async def test_cursor_from_the_body(build: Build, hostile: Hostile) -> None:
    hostile.json(
        "/items", {"data": [{"id": 1}, {"id": 2}], "next": "b c&d"}, {"data": [{"id": 3}], "next": ""}
    )
    rig = build()
    assert [item["id"] for item in await rig.read()] == [1, 2, 3]
    assert hostile.seen[0].query == {"limit": "2"}
    assert hostile.seen[1].query == {"limit": "2", "after": "b c&d"}
    assert hostile.seen[0].headers["authorization"] == f"Bearer {SECRET}"
    assert [page.last for page in rig.pages] == [False, True]
    assert rig.notes.seen == [("read items", True)] * 2


async def test_cursor_of_the_last_record_with_a_flag(build: Build, hostile: Hostile) -> None:
    hostile.json(
        "/items",
        {"data": [{"id": 1}, {"id": {"x": 1}}, {"id": 2}], "has_more": True},
        {"data": [], "has_more": False},
    )
    page = {"type": "cursor", "from": "last_record.id", "param": "after", "more": "has_more"}
    assert len(await build(with_page(page)).read()) == 3
    assert hostile.seen[1].query["after"] == "2"


async def test_link_header(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        number = int(seen.query.get("page", "1"))
        links = [f'<{hostile.url}/items?page=9&limit=2>; rel="last"']
        if number < 3:
            links.insert(0, f'</items?page={number + 1}&limit=2>; rel="next"; title="a, b; c"')
        writer.write(answer(200, [{"id": number}], {"Link": ", ".join(links)}))

    hostile.routes["/items"] = handle
    rig = build(with_page({"type": "link_header"}, records=""))
    assert [item["id"] for item in await rig.read()] == [1, 2, 3]


async def test_link_in_the_body(build: Build, hostile: Hostile) -> None:
    hostile.json(
        "/items",
        {"data": [{"id": 1}], "links": {"next": f"{hostile.url}/items?p=2"}},
        {"data": [{"id": 2}], "links": {"next": None}},
    )
    rig = build(with_page({"type": "link_body", "path": "links.next"}))
    assert len(await rig.read()) == 2


async def test_the_credential_in_a_query_is_not_stored_with_a_link(build: Build, hostile: Hostile) -> None:
    next_url = f"{hostile.url}/items?api_key={SECRET}&p=2"
    hostile.json("/items", {"data": [{"id": 1}], "next": next_url}, {"data": [{"id": 2}], "next": None})
    changes = with_page({"type": "link_body", "path": "next"})
    changes["auth"] = Whole({"type": "api_key", "secret": "key", "in": "query", "name": "api_key"})
    rig = build(changes)
    await rig.read()
    assert SECRET not in json.dumps([page.position for page in rig.pages])
    assert hostile.seen[1].target.count(SECRET) == 1 and hostile.seen[1].query["p"] == "2"


async def test_offset_and_H13_totals_that_lie(build: Build, hostile: Hostile) -> None:
    rows = [{"id": number} for number in range(7)]

    def handle(seen: Seen, writer: Any) -> None:
        start = int(seen.query["offset"])
        # The total says 2, the page size shrinks on the way: neither decides.
        size = 1 if start == 3 else 3
        writer.write(answer(200, {"data": rows[start : start + size], "total": 2}))

    hostile.routes["/items"] = handle
    rig = build(with_page({"type": "offset", "limit_param": None, "size": 3, "total": "total"}))
    assert [item["id"] for item in await rig.read()] == list(range(7))
    rig = build(with_page({"type": "offset", "limit_param": None, "size": 3}))
    assert [item["id"] for item in await rig.read()] == list(range(7))


async def test_page_numbers_and_H13_the_page_after_the_last(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        number = int(seen.query["page"])
        if number > 2:
            writer.write(answer(400, {"message": "no such page"}))
        else:
            writer.write(answer(200, {"data": [{"id": number * 2}, {"id": number * 2 + 1}], "pages": 2}))

    hostile.routes["/items"] = handle
    page = {"type": "page", "size_param": "size", "size": 2, "total_pages": "pages"}
    assert len(await build(with_page(page)).read()) == 4
    assert hostile.seen[0].query == {"limit": "2", "page": "1", "size": "2"}


async def test_one_page(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "next": "x"})
    rig = build(with_page({"type": "none"}))
    assert len(await rig.read()) == 1 and rig.pages[0].last


async def test_a_resource_that_is_one_record(build: Build, hostile: Hostile) -> None:
    text = b'\xef\xbb\xbf {"id": 1.50, "name": "x"} '
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, text))
    rig = build(with_page({"type": "none"}, records="", single=True))
    assert await rig.read() == [{"id": 1.5, "name": "x"}]
    assert rig.pages[0].records[0].raw == '{"id": 1.50, "name": "x"}' and rig.pages[0].last
    for body in (b'{"id": 1}, {"id": 2}', b"[]"):
        hostile.routes["/items"] = lambda seen, writer, body=body: writer.write(answer(200, body))
        try:
            assert await rig.read() == [] and len(rig.pages[0].bad) == 1
        except SystemicError as error:
            assert error.code == "json"


# --- what must stop --------------------------------------------------------------------------------------


async def test_H1_repeated_cursor(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "next": "same"})
    rig = build()
    error = await refused(rig)
    assert error.code == "repeated_cursor" and "page 3" in error.message
    assert len(hostile.seen) == 2


async def test_H2_cursors_in_a_circle(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        following = {"": "a", "a": "b", "b": "c", "c": "a"}[seen.query.get("after", "")]
        writer.write(answer(200, {"data": [{"id": 1}], "next": following}))

    hostile.routes["/items"] = handle
    assert (await refused(build())).code == "repeated_cursor"
    assert len(hostile.seen) == 4


@pytest.mark.parametrize(
    "link",
    [
        "{other}/items?page=2",
        "https://{host}/items",
        "//evil.example/items",
        "http://user@{host}/items",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:{port}/items",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://[::1]:{port}/items",
        "http://{host}\r\n.evil.example/",
        "http://{host}%2eevil.example/",
        "http:///items",
        "http://{host}:99999/",
    ],
)
async def test_H3_H4_next_links_elsewhere(build: Build, hostile: Hostile, other: Hostile, link: str) -> None:
    host = f"127.0.0.1:{hostile.port}"
    target = link.format(other=other.url, host=host, port=hostile.port)
    hostile.json("/items", {"data": [{"id": 1}], "next": target})
    error = await refused(build(with_page({"type": "link_body", "path": "next"})))
    assert error.code == "origin"
    assert len(hostile.seen) == 1 and other.seen == []


async def test_a_stored_link_is_checked_again(build: Build, hostile: Hostile, other: Hostile) -> None:
    position = {
        "v": 1,
        "kind": "cursor",
        "since": None,
        "high": None,
        "page": {"n": 2, "url": f"{other.url}/x"},
    }
    error = await refused(build(with_page({"type": "link_body", "path": "next"})), position)
    assert error.code == "origin" and other.seen == []


async def test_H8_H14_one_bad_record_among_others(build: Build, hostile: Hostile) -> None:
    elements = b'{"id": 1}, 7, {"id": 2, "id": 3}, {"id": NaN}, {"n": "\\ud800"}, {"id": 4}'
    body = b'{"data": [' + elements + b'], "next": null}'
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, body))
    rig = build()
    assert [item["id"] for item in await rig.read()] == [1, 4]
    assert [bad.raw for bad in rig.pages[0].bad] == [
        "7",
        '{"id": 2, "id": 3}',
        '{"id": NaN}',
        '{"n": "\\ud800"}',
    ]


@pytest.mark.parametrize("data", ["null", "{}", '{"a": []}', '"text"', "3"])
async def test_H11_records_that_are_no_list(build: Build, hostile: Hostile, data: str) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, f'{{"data": {data}}}'.encode()))
    assert (await refused(build())).code == "records_path"


async def test_H12_empty_pages_that_announce_more(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: Any) -> None:
        number = int(seen.query.get("after", "0"))
        writer.write(
            answer(
                200, {"data": [{"id": 1}] if number == 5 else [], "next": number + 1 if number < 5 else None}
            )
        )

    hostile.routes["/items"] = handle
    assert len(await build().read()) == 1

    def endless(seen: Seen, writer: Any) -> None:
        writer.write(answer(200, {"data": [], "next": int(seen.query.get("after", "0")) + 1}))

    hostile.routes["/items"] = endless
    assert (await refused(build())).code == "empty_pages"
    assert len(hostile.seen) < 120


async def test_more_without_a_cursor_is_no_end(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "more": True})
    page = {"type": "cursor", "from": "next", "param": "after", "more": "more"}
    assert (await refused(build(with_page(page)))).code == "no_cursor"


async def test_a_credential_in_a_next_link_is_not_stored(build: Build, hostile: Hostile) -> None:
    REDACTOR.add(SECRET)
    link = f"/items?page=2&key={SECRET}&access_token=of-the-platform&page_token=2"
    hostile.json("/items", {"data": [{"id": 1}], "next": link}, {"data": [{"id": 2}]})
    rig = build(with_page({"type": "link_body", "path": "next"}))
    assert [item["id"] for item in await rig.read()] == [1, 2]
    assert hostile.seen[1].query == {"page": "2", "page_token": "2"}
    first = rig.pages[0].position["page"]
    assert first["url"] == f"{hostile.url}/items?page=2&page_token=2"
    # One that is stored already is not used any more.
    hostile.seen.clear()
    await rig.read({**rig.pages[0].position, "page": {**first, "url": f"{hostile.url}{link}"}})
    assert hostile.seen[0].query == {"page": "2", "page_token": "2"}


async def test_a_short_page_that_announces_more_is_no_end(build: Build, hostile: Hostile) -> None:
    pages = {
        "": {"data": [{"id": 1}, {"id": 2}], "next": "a", "more": True},
        "a": {"data": [{"id": 3}], "next": "b", "more": True},
        "b": {"data": [{"id": 4}, {"id": 5}], "next": "c", "more": False},
    }
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, pages[seen.query.get("after", "")])
    )
    page = {"type": "cursor", "from": "next", "param": "after", "more": "more", "size": 2}
    assert [item["id"] for item in await build(with_page(page)).read()] == [1, 2, 3, 4, 5]
    hostile.json("/items", {"data": [{"id": 1}], "more": True}, {"data": [{"id": 2}], "more": False})
    offset = {"type": "offset", "limit_param": "n", "size": 2, "more": "more", "short_ends": True}
    assert [item["id"] for item in await build(with_page(offset)).read()] == [1, 2]


async def test_a_flag_that_is_not_there_any_more_is_no_end(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "next": "a", "hasMore": True})
    page = {"type": "cursor", "from": "next", "param": "after", "more": "paging.more"}
    error = await refused(build(with_page(page)))
    assert error.code == "no_more" and "'paging.more'" in error.message
    last = {"type": "cursor", "from": "last_record.id", "param": "after", "more": "more"}
    assert (await refused(build(with_page(last)))).code == "no_more"
    # By numbers the records show the end.
    hostile.json("/items", {"data": [{"id": 1}, {"id": 2}]}, {"data": [{"id": 3}]}, {"data": []})
    numbers = {"type": "page", "size": 2, "more": "more"}
    assert [item["id"] for item in await build(with_page(numbers)).read()] == [1, 2, 3]


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": [{"id": 1}]}, {"data": [], "next": "a", "more": None}]
)
async def test_no_flag_and_no_cursor_is_the_end(build: Build, hostile: Hostile, body: Any) -> None:
    hostile.json("/items", body)
    page = {"type": "cursor", "from": "next", "param": "after", "more": "more"}
    await build(with_page(page)).read()
    assert len(hostile.seen) == 1


async def test_max_pages(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", *[{"data": [{"id": number}], "next": number} for number in range(9)])
    page = {"type": "cursor", "from": "next", "param": "after", "max_pages": 3}
    assert (await refused(build(with_page(page)))).code == "max_pages"
    assert len(hostile.seen) == 3


# --- positions -------------------------------------------------------------------------------------------

CURSOR = {"field": "at", "type": "iso8601", "start_param": "since", "order": "asc", "missing": "include"}


class Shop:
    """A platform with records by time, a `>=` filter and cursor pages of two."""

    def __init__(self, hostile: Hostile, newest_first: bool = False, filters: bool = True) -> None:
        self.rows: list[dict[str, Any]] = []
        self.newest_first = newest_first
        self.filters = filters
        hostile.routes["/items"] = self.handle

    def handle(self, seen: Seen, writer: Any) -> None:
        rows = sorted(self.rows, key=lambda row: (row["at"], row["id"]), reverse=self.newest_first)
        if self.filters and "since" in seen.query:
            kind = type(rows[0]["at"]) if rows else str
            rows = [row for row in rows if row["at"] >= kind(seen.query["since"])]
        start = int(seen.query.get("after", "0"))
        following = start + 2 if start + 2 < len(rows) else None
        writer.write(answer(200, {"data": rows[start : start + 2], "next": following}))

    def add(self, number: int, at: Any) -> None:
        self.rows.append({"id": number, "at": at})


@pytest.mark.parametrize("change", [{"type": "epoch_s"}, {"field": "made"}])
@pytest.mark.parametrize("page", [0, -1])
async def test_a_position_of_another_cursor_is_refused(
    build: Build, hostile: Hostile, change: dict[str, Any], page: int
) -> None:
    rows = [{"id": number, "at": 1_790_000_000_000 + number, "made": 1_790_000_000} for number in range(3)]
    hostile.json("/items", {"data": rows[:2], "next": "a"}, {"data": rows[2:]})
    cursor = {**CURSOR, "type": "epoch_ms"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    await rig.read()
    stored = json.loads(json.dumps(rig.pages[page].position))
    assert stored["cursor"] == ["at", "epoch_ms"]
    newer = build({"resources": {"items": {"read": {"cursor": {**cursor, **change}}}}})
    hostile.seen.clear()
    error = await refused(newer, stored)
    assert error.code == "position" and "at epoch_ms" in error.message and not hostile.seen
    # A position of before it was noted is taken as it is.
    del stored["cursor"]
    await rig.read(stored)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_an_incremental_run_brings_what_is_new(
    build: Build, hostile: Hostile, newest_first: bool
) -> None:
    shop = Shop(hostile, newest_first)
    for number in range(5):
        shop.add(number, f"2026-01-01T00:00:0{number // 2}Z")
    cursor = {**CURSOR, "order": "desc" if newest_first else "asc"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    assert len(await rig.read()) == 5
    position = rig.position
    assert position["high"] == "2026-01-01T00:00:02Z" and position["page"] is None
    hostile.seen.clear()
    assert await rig.read(position) == []
    assert hostile.seen[0].query["since"] == "2026-01-01T00:00:02Z"
    assert rig.position == position
    # At the boundary itself, and after it; one record changed under the same time.
    shop.add(5, "2026-01-01T00:00:02Z")
    shop.add(6, "2026-01-01T00:00:03Z")
    shop.rows[4]["name"] = "changed"
    assert sorted(item["id"] for item in await rig.read(position)) == [4, 5, 6]
    assert await rig.read(rig.position) == []


async def test_the_position_moves_at_the_end_of_a_scan_only(build: Build, hostile: Hostile) -> None:
    shop = Shop(hostile, newest_first=True)
    for number in range(6):
        shop.add(number, 100 + number)
    cursor = {**CURSOR, "type": "int", "order": "desc"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    await rig.read()
    first = rig.pages[0].position
    assert first["since"] is None and first["high"] == 105 and first["page"] == {"after": 2, "n": 2}
    # Continued from the middle, nothing is missing.
    assert [item["id"] for item in await rig.read(first)] == [3, 2, 1, 0]
    assert rig.position["high"] == 105


async def test_lag_reads_the_overlap_again_and_drops_what_is_known(build: Build, hostile: Hostile) -> None:
    shop = Shop(hostile)
    for number in range(4):
        shop.add(number, 1_700_000_000 + number)
    cursor = {**CURSOR, "type": "epoch_s", "lag": "10s"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    assert len(await rig.read()) == 4
    hostile.seen.clear()
    shop.add(9, 1_699_999_999)
    assert [item["id"] for item in await rig.read(rig.position)] == [9]
    assert hostile.seen[0].query["since"] == "1699999993"
    assert await rig.read(rig.position) == []


async def test_a_filter_of_our_own_where_the_platform_has_none(build: Build, hostile: Hostile) -> None:
    shop = Shop(hostile, newest_first=True, filters=False)
    for number in range(9):
        shop.add(number, 100 + number)
    cursor = {"field": "at", "type": "int", "order": "desc"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    assert len(await rig.read()) == 9
    hostile.seen.clear()
    shop.add(9, 109)
    assert [item["id"] for item in await rig.read(rig.position)] == [9]
    # Newest first: the scan ends where the known records begin.
    assert len(hostile.seen) == 2


@pytest.mark.parametrize(
    ("initial", "kind"), [("-P30D", "iso8601"), ("P30D", "epoch_s"), ("-30d", "epoch_ms")]
)
async def test_initial(build: Build, hostile: Hostile, initial: str, kind: str) -> None:
    hostile.json("/items", {"data": [], "next": None})
    cursor = {**CURSOR, "type": kind, "initial": initial, "end_param": "until"}
    rig = build({"resources": {"items": {"read": {"cursor": cursor}}}})
    await rig.read()
    query = hostile.seen[0].query
    if kind == "iso8601":
        assert query["since"].endswith("Z") and query["since"] < query["until"]
    else:
        unit = 1000 if kind == "epoch_ms" else 1
        assert (int(query["until"]) - int(query["since"])) // unit == pytest.approx(30 * 86400, abs=2)


@pytest.mark.parametrize("policy", ["include", "exclude", "raise"])
@pytest.mark.parametrize("value", [None, "never", 7, {"a": 1}])
async def test_records_without_a_cursor_value(
    build: Build, hostile: Hostile, policy: str, value: Any
) -> None:
    rows = [{"id": 1, "at": "2026-01-01"}, {"id": 2, "at": value}]
    hostile.json("/items", {"data": rows, "next": None})
    rig = build({"resources": {"items": {"read": {"cursor": {**CURSOR, "missing": policy}}}}})
    if policy == "raise":
        error = await refused(rig)
        assert error.code == "cursor_missing" and "missing: include" in error.hint
        assert error.message.startswith(
            f"A record of 'items' from 127.0.0.1:{hostile.port} has no usable value"
        )
        told = "it is missing" if value is None else f"it is {json.dumps(value, separators=(',', ':'))}"
        assert error.message.endswith(f"cursor field 'at' (iso8601): {told}.")
        return
    found = await rig.read()
    assert len(found) == (2 if policy == "include" else 1)
    assert len(rig.pages[0].bad) == (0 if policy == "include" else 1)
    assert rig.position["high"] == "2026-01-01"


async def test_H6_an_interrupted_offset_scan_starts_again_from_the_greatest_value(
    build: Build, hostile: Hostile
) -> None:
    rows = [{"id": number, "at": number} for number in range(6)]

    def handle(seen: Seen, writer: Any) -> None:
        since = int(seen.query.get("since", "0"))
        matching = [row for row in rows if row["at"] >= since]
        start = int(seen.query["offset"])
        writer.write(answer(200, {"data": matching[start : start + 2]}))

    hostile.routes["/items"] = handle
    page = {"type": "offset", "limit_param": None, "size": 2}
    rig = build(with_page(page, cursor={**CURSOR, "type": "int"}))
    await rig.read()
    middle = rig.pages[0].position
    del rows[0]  # everything moves up by one
    assert [item["id"] for item in await rig.read(middle)] == [2, 3, 4, 5]


async def test_a_position_of_another_kind_is_refused(build: Build) -> None:
    for position in (
        {"v": 2},
        {"kind": "cdc"},
        {"v": 1, "kind": "cursor", "since": 1, "high": None, "page": {"n": "x"}},
    ):
        assert (await refused(build(), position)).code == "position"


# --- partitions ------------------------------------------------------------------------------------------


class Forge:
    """Repositories with issues, `Link` pages of two."""

    def __init__(self, hostile: Hostile) -> None:
        self.hostile = hostile
        self.issues: dict[str, list[dict[str, Any]]] = {}
        self.repos = 0
        hostile.routes["/repos"] = self.list_repos

    def add_repo(self, name: str, *times: int) -> None:
        self.issues[name] = [{"id": f"{name}-{at}", "at": at} for at in times]
        self.hostile.routes[f"/repos/{name}/issues"] = self.list_issues

    def list_repos(self, seen: Seen, writer: Any) -> None:
        self.page(seen, writer, [{"id": number, "name": name} for number, name in enumerate(self.issues)])

    def list_issues(self, seen: Seen, writer: Any) -> None:
        since = int(seen.query.get("since", "0"))
        rows = self.issues[seen.path.split("/")[2]]
        self.page(seen, writer, [row for row in rows if row["at"] >= since])

    def page(self, seen: Seen, writer: Any, rows: list[Any]) -> None:
        start = int(seen.query.get("start", "0"))
        query = "&".join(f"{name}={value}" for name, value in seen.query.items() if name != "start")
        headers = {}
        if start + 2 < len(rows):
            headers["Link"] = f'<{self.hostile.url}{seen.path}?{query}&start={start + 2}>; rel="next"'
        writer.write(answer(200, rows[start : start + 2], headers))


FORGE = {
    "resources": {
        "repos": {
            "key": ["name"],
            "read": {"request": {"path": "/repos"}, "records": "", "page": {"type": "link_header"}},
        },
        "issues": {
            "key": ["id"],
            "parent": {"resource": "repos"},
            "read": {
                "request": {"path": "/repos/${parent.name}/issues"},
                "records": "",
                "page": {"type": "link_header"},
                "cursor": {"field": "at", "type": "int", "start_param": "since", "order": "asc"},
            },
        },
    }
}


async def test_partitions_keep_a_position_each(build: Build, hostile: Hostile) -> None:
    forge = Forge(hostile)
    forge.add_repo("one", 1, 2, 3)
    forge.add_repo("two")
    forge.add_repo("three", 50)
    rig = build(FORGE)
    assert [item["id"] for item in await rig.read(stream="issues")] == ["one-1", "one-2", "one-3", "three-50"]
    position = rig.position
    assert position["kind"] == "partition" and position["cursor"] == ["at", "int"]
    assert {key: item["high"] for key, item in position["partitions"].items()} == {
        '["one"]': 3,
        '["two"]': None,
        '["three"]': 50,
    }
    assert [page.last for page in rig.pages] == [False] * 4 + [True]
    assert sum(page.requests for page in rig.pages) == len(hostile.seen)
    assert await rig.read(position, "issues") == []
    forge.issues["one"].append({"id": "one-4", "at": 4})
    forge.add_repo("four", 7)
    assert [item["id"] for item in await rig.read(position, "issues")] == ["one-4", "four-7"]
    with pytest.raises(SystemicError, match="another cursor"):
        await rig.read({**position, "cursor": ["made", "int"]}, "issues")


async def test_partitions_continue_after_every_page(build: Build, hostile: Hostile) -> None:
    forge = Forge(hostile)
    for name, count in (("a", 5), ("b", 0), ("c", 3), ("d", 2)):
        forge.add_repo(name, *range(1, count + 1))
    rig = build(FORGE)
    whole = [item["id"] for item in await rig.read(stream="issues")]
    pages = list(rig.pages)
    end = rig.position
    seen = 0
    for page in pages:
        seen += len(page.records)
        rest = await rig.read(json.loads(json.dumps(page.position)), "issues")
        if not page.last:
            assert [item["id"] for item in rest] == whole[seen:]
        assert rig.position["partitions"] == end["partitions"]


async def test_many_partitions_share_one_position(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.http.partitions.MAX_PARTITIONS", 3)
    forge = Forge(hostile)
    for number in range(6):
        forge.add_repo(f"r{number}", 10 + number, 20 + number)
    rig = build(FORGE)
    whole = [item["id"] for item in await rig.read(stream="issues")]
    assert len(whole) == 12
    pages, end = list(rig.pages), rig.position
    assert end["shared"] and end["since"] == 20 and end["partitions"] == {}
    seen = 0
    for page in pages[:-1]:
        seen += len(page.records)
        rest = await rig.read(json.loads(json.dumps(page.position)), "issues")
        assert [item["id"] for item in rest] == whole[seen:]
    # The next scan reads from the lowest on: nothing is skipped.
    forge.issues["r0"].append({"id": "new", "at": 21})
    assert "new" in [item["id"] for item in await rig.read(end, "issues")]


async def test_a_parent_that_vanished_in_the_middle_skips_nothing(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.http.partitions.MAX_PARTITIONS", 1)
    forge = Forge(hostile)
    for number in range(4):
        forge.add_repo(f"r{number}", 10 + number)
    rig = build(FORGE)
    await rig.read(stream="issues")
    middle = json.loads(json.dumps(rig.pages[2].position))
    assert middle["current"] == '["r2"]'
    del forge.issues["r2"]
    assert [item["id"] for item in await rig.read(middle, "issues")] == ["r0-10", "r1-11", "r3-13"]


BAD_PARENTS = [
    ({"name": None}, "the parent in 'repos' has no single value in its key field 'name'"),
    ({"name": {"x": 1}}, "the parent in 'repos' has no single value in its key field 'name'"),
    ({"name": ".."}, "the parent in 'repos' cannot be asked for (A value would turn"),
    ("no object", "the parent in 'repos' is no record (a record is an object"),
]


@pytest.mark.parametrize(("parent", "reason"), BAD_PARENTS)
async def test_one_bad_parent_stops_no_other(
    build: Build, hostile: Hostile, parent: Any, reason: str
) -> None:
    forge = Forge(hostile)
    forge.add_repo("one", 1, 2, 3)
    forge.add_repo("two", 5)
    hostile.json("/repos", [{"name": "one"}, parent, {"name": "two"}])
    rig = build(FORGE)
    assert [item["id"] for item in await rig.read(stream="issues")] == ["one-1", "one-2", "one-3", "two-5"]
    bad = [item for page in rig.pages for item in page.bad]
    assert len(bad) == 1 and json.loads(bad[0].raw) == parent
    assert bad[0].reason.startswith(reason) and bad[0].reason.endswith("; its 'issues' were not read")
    # It may be the last one, and it is read from the beginning when it can be.
    hostile.json("/repos", [{"name": "one"}, parent])
    assert await rig.read(rig.position, "issues") == [] and any(page.bad for page in rig.pages)
    hostile.json("/repos", [{"name": "one"}, {"name": "two"}])
    assert [item["id"] for item in await rig.read(rig.position, "issues")] == ["two-5"]


async def test_a_shared_position_waits_for_a_bad_parent(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.http.partitions.MAX_PARTITIONS", 1)
    forge = Forge(hostile)
    for name, at in (("one", 10), ("two", 20), ("three", 5)):
        forge.add_repo(name, at)
    hostile.json("/repos", [{"name": "one"}, {"name": "two"}, {"name": None}])
    rig = build(FORGE)
    await rig.read(stream="issues")
    assert rig.position["shared"] and rig.position["since"] is None
    hostile.json("/repos", [{"name": "one"}, {"name": "two"}, {"name": "three"}])
    assert "three-5" in [item["id"] for item in await rig.read(rig.position, "issues")]
    assert rig.position["since"] == 5


async def test_one_bad_grandparent_stops_no_other(build: Build, hostile: Hostile) -> None:
    forge = Forge(hostile)
    forge.add_repo("one", 1)
    hostile.json("/orgs", [{"id": "a"}, {"id": ".."}, "none"])
    hostile.json("/orgs/a/repos", [{"name": "one"}])
    changes = json.loads(json.dumps(FORGE))
    changes["resources"]["orgs"] = {
        "key": ["id"],
        "read": {"request": {"path": "/orgs"}, "records": "", "page": {"type": "link_header"}},
    }
    changes["resources"]["repos"]["parent"] = {"resource": "orgs"}
    changes["resources"]["repos"]["read"]["request"]["path"] = "/orgs/${parent.id}/repos"
    rig = build(changes)
    assert [item["id"] for item in await rig.read(stream="issues")] == ["one-1"]
    bad = [item.reason for page in rig.pages for item in page.bad]
    assert len(bad) == 2 and all("'orgs'" in reason and "its 'repos'" in reason for reason in bad)


async def test_one_partition_may_be_ignored(build: Build, hostile: Hostile) -> None:
    forge = Forge(hostile)
    forge.add_repo("one", 1)
    forge.add_repo("closed", 2)
    hostile.json("/repos/closed/issues", {"message": "Issues are disabled"}, status=410)
    rules = [{"when": {"status": [410]}, "class": "record", "action": "ignore"}]
    rig = build({**FORGE, "errors": {"rules": rules}})
    assert [item["id"] for item in await rig.read(stream="issues")] == ["one-1"]
