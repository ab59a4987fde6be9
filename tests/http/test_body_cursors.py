"""Where a page is asked for: in the query, the body or a header, by tokens of any JSON, flags and templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, PlatintError, SystemicError
from platint_tui.core.model import Record
from platint_tui.drivers.http.origin import Origins
from platint_tui.drivers.http.pagination import Pager, Seen, State
from platint_tui.manifest import schema
from tests.http.hostile import Build, Hostile, Rig, Whole, answer
from tests.http.hostile import Seen as Arrived

BASE = "https://api.example.com"
VALUES = st.recursive(
    st.text(min_size=1) | st.integers() | st.dictionaries(st.text(), st.text(), min_size=1),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(), inner, min_size=1),
    max_leaves=5,
)


def pager(page: Mapping[str, Any]) -> Pager:
    kinds: dict[str, Any] = {
        "cursor": schema.CursorPage,
        "token_header": schema.TokenHeaderPage,
        "offset": schema.OffsetPage,
        "page": schema.NumberPage,
        "link_body": schema.LinkBodyPage,
    }
    return Pager(kinds[page["type"]].model_validate(page), Origins(BASE, [f"{BASE}:443"]))


def seen(envelope: Any, count: int = 2, headers: Mapping[str, str] | None = None) -> Seen:
    return Seen(envelope, headers or {}, f"{BASE}/items", [Record('{"id":1}', {"id": 1})] * count)


@given(st.lists(VALUES, min_size=1, max_size=5, unique_by=json.dumps))
def test_any_json_is_a_cursor_in_a_body_and_is_resumed(tokens: list[Any]) -> None:
    one = pager({"type": "cursor", "from": "last", "param": "start.key", "in": "body"})
    state: State = one.start()
    assert one.into({"x": 1}, state) == {"x": 1}
    for token in tokens:
        following = one.advance(state, seen({"last": token}))
        assert following is not None
        state = one.resume(json.loads(json.dumps(following)))
        assert one.into({"x": 1, "start": {"y": 2}}, state) == {"x": 1, "start": {"y": 2, "key": token}}
        assert one.into(None, state) == {"start": {"key": token}}
        assert one.query(state) == one.headers(state) == {}
    ends: list[Any] = [None, "", {}, []]
    for nothing in ends:
        assert one.advance(state, seen({"last": nothing})) is None


def test_a_body_that_is_a_list_takes_no_page() -> None:
    one = pager({"type": "cursor", "from": "last", "param": "key", "in": "body"})
    with pytest.raises(ConfigError, match="body"):
        one.into([1], {"n": 2, "after": "x"})


FLAGS = [
    ({"more": "m"}, {"m": True}, True),
    ({"more": "m"}, {"m": "true"}, True),
    ({"more": "m"}, {"m": "false"}, False),
    ({"more": "m"}, {"m": 0}, False),
    ({"more": "m"}, {"m": None}, False),
    ({"done": "d"}, {"d": True}, False),
    ({"done": "d"}, {"d": "False"}, True),
    ({"done": "d"}, {}, True),
    ({"size": 3}, {}, False),
    ({"size": 2}, {}, True),
    ({"size": 3, "more": "m"}, {"m": True}, True),
    ({"size": 2, "more": "m"}, {"m": False}, False),
]


@pytest.mark.parametrize(("flags", "envelope", "more"), FLAGS)
def test_flags_of_a_cursor(flags: dict[str, Any], envelope: dict[str, Any], more: bool) -> None:
    one = pager({"type": "cursor", "from": "next", "param": "after", **flags})
    assert (one.advance({"n": 1}, seen({"next": "a", **envelope})) is not None) == more


@pytest.mark.parametrize("flags", [{"more": "m"}, {"done": "d"}])
def test_more_without_a_cursor_is_an_error(flags: dict[str, Any]) -> None:
    one = pager({"type": "cursor", "from": "next", "param": "after", **flags})
    with pytest.raises(SystemicError) as caught:
        one.advance({"n": 1}, seen({"m": True, "d": False}))
    assert caught.value.code == "no_cursor"


def test_flags_of_numbers() -> None:
    offset = pager({"type": "offset", "size": 2, "more": "more"})
    assert offset.advance({"n": 1, "offset": 0}, seen({"more": True}, 1)) == {"n": 2, "offset": 1}
    assert offset.advance({"n": 1, "offset": 4}, seen({"more": True}, 0)) == {"n": 2, "offset": 6}
    assert offset.advance({"n": 1, "offset": 0}, seen({"more": False}, 2)) is None
    done = pager({"type": "offset", "size": 2, "done": "isLast"})
    assert done.advance({"n": 1, "offset": 0}, seen({"isLast": False}, 1)) == {"n": 2, "offset": 1}
    assert done.advance({"n": 1, "offset": 0}, seen({"isLast": True}, 2)) is None
    # Without the flag the records decide.
    assert done.advance({"n": 1, "offset": 0}, seen({}, 0)) is None
    number = pager({"type": "page", "size": 2, "more": "more"})
    assert number.advance({"n": 1, "page": 1}, seen({"more": True}, 0)) == {"n": 2, "page": 2}
    assert number.advance({"n": 1, "page": 1}, seen({"more": "false"}, 2)) is None


def test_numbers_in_a_body_stay_numbers() -> None:
    offset = pager({"type": "offset", "in": "body", "param": "q.from", "limit_param": "q.size", "size": 5})
    assert offset.into({"q": {"x": 1}}, {"n": 1, "offset": 10}) == {"q": {"x": 1, "from": 10, "size": 5}}
    assert offset.query({"n": 1, "offset": 10}) == {}


def test_tokens_of_a_header() -> None:
    page = {"type": "token_header", "name": "X-Next", "param": "X-Token", "in": "header", "end": ["null"]}
    one = pager(page)
    state = one.advance({"n": 1}, seen(None, headers={"x-next": "abc"}))
    assert state == {"n": 2, "after": "abc"} and one.headers(state) == {"x-token": "abc"}
    assert one.resume(state) == state and one.expires(state)
    for last in ({}, {"x-next": ""}, {"x-next": "null"}):
        assert one.advance(state, seen(None, headers=last)) is None


@pytest.mark.parametrize("token", ["a\r\nx: y", "\x00", "ü"])
def test_a_header_holds_no_other_header(token: str) -> None:
    one = pager({"type": "cursor", "from": "next", "param": "x-after", "in": "header"})
    with pytest.raises(SystemicError):
        one.headers({"n": 2, "after": token})


LINKS = [
    ([{"rel": "self", "href": "/a"}, {"rel": "next", "href": "/b?x=1"}], f"{BASE}/b?x=1"),
    ([{"rel": "self", "href": "/a"}], None),
    ({"@rel": "next", "@href": "?skip=2"}, f"{BASE}/items?skip=2"),
    ([{"rel": "next"}], None),
    (["next"], None),
    (None, None),
]


@pytest.mark.parametrize(("links", "url"), LINKS)
def test_links_by_relation(links: Any, url: str | None) -> None:
    one = pager({"type": "link_body", "path": "links", "rel": "next"})
    state = one.advance({"n": 1}, seen({"links": links}))
    assert (state or {}).get("url") == url


def reads(page: dict[str, Any], **request: Any) -> dict[str, Any]:
    return {"resources": {"items": {"read": {"page": Whole(page), "request": request}}}}


def paged_body(hostile: Hostile, pages: int) -> None:
    """`pages` pages; the key of the next one is an object, as some databases have it."""

    def serve(arrived: Arrived, writer: Any) -> None:
        start = json.loads(arrived.body).get("ExclusiveStartKey", {"id": {"N": "0"}})
        number = int(start["id"]["N"])
        body: dict[str, Any] = {"data": [{"id": number}]}
        if number + 1 < pages:
            body["LastEvaluatedKey"] = {"id": {"N": str(number + 1)}}
        writer.write(answer(200, body))

    hostile.routes["/items"] = serve


async def test_a_scan_with_cursors_in_the_body_goes_on_from_every_page(
    build: Build, hostile: Hostile
) -> None:
    paged_body(hostile, 5)
    page = {"type": "cursor", "from": "LastEvaluatedKey", "param": "ExclusiveStartKey", "in": "body"}
    rig = build(reads(page, method="POST", body={"TableName": "${resource.of}"}))
    assert [item["id"] for item in await rig.read()] == [0, 1, 2, 3, 4]
    assert json.loads(hostile.seen[1].body) == {
        "TableName": "items",
        "ExclusiveStartKey": {"id": {"N": "1"}},
    }
    pages = rig.pages
    for number, one in enumerate(pages[:-1]):
        rest = await rig.read(json.loads(json.dumps(one.position)))
        assert [item["id"] for item in rest] == list(range(number + 1, 5))


async def test_a_cursor_in_a_form(build: Build, hostile: Hostile) -> None:
    def serve(arrived: Arrived, writer: Any) -> None:
        after = arrived.form.get("cursor", "")
        writer.write(answer(200, {"data": [{"id": after or "first"}], "next": "" if after else "a&b"}))

    hostile.routes["/items"] = serve
    page = {"type": "cursor", "from": "next", "param": "cursor", "in": "body"}
    rig = build(reads(page, method="POST", encode="form", body={"limit": 2}))
    assert [item["id"] for item in await rig.read()] == ["first", "a&b"]
    assert hostile.seen[1].form == {"limit": "2", "cursor": "a&b"}


async def test_templates_place_the_page(build: Build, hostile: Hostile) -> None:
    """A query language that takes the page in its text, and a path that has it."""
    rows = list(range(5))

    def serve(arrived: Arrived, writer: Any) -> None:
        words = arrived.query["q"].split()
        start, end = int(words[3]), int(words[5])
        assert arrived.headers["x-page"] == str(start // 2 + 1)
        writer.write(answer(200, {"data": [{"id": number} for number in rows[start:end]]}))

    hostile.routes["/items/0"] = hostile.routes["/items/2"] = hostile.routes["/items/4"] = serve
    hostile.routes["/items/5"] = lambda arrived, writer: writer.write(answer(200, {"data": []}))
    page = {"type": "offset", "param": None, "limit_param": None, "size": 2}
    rig = build(
        reads(
            page,
            path="/items/${page.offset}",
            query={"q": "select * from ${page.offset} to ${page.end}"},
            headers={"X-Page": "${page.n}"},
        )
    )
    assert [item["id"] for item in await rig.read()] == rows


async def test_a_resource_of_a_family(build: Build, hostile: Hostile) -> None:
    hostile.json("/rows/my%20orders", {"data": [{"id": 1}]})
    family = {
        "key": ["id"],
        "read": {
            "request": {"path": "/rows/${resource.of}"},
            "records": "data",
            "page": {"type": "none"},
        },
    }
    listing = {"into": "rows.*", "request": {"path": "/rows"}, "records": "", "name": "name"}
    rig = build({"resources": {"rows.*": family}, "discover": {"type": "static", "listings": [listing]}})
    assert await rig.read(stream="rows.my orders") == [{"id": 1}]
    with pytest.raises(PlatintError, match="items"):
        await rig.read(stream="item")


async def refused(rig: Rig) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    return caught.value


ENCODED = [
    ("json", {"a": 1, "b": None}, b'{"a":1,"b":null}', "application/json"),
    ("ndjson", [{"a": 1}, [2]], b'{"a":1}\n[2]\n', "application/x-ndjson"),
    (
        "form",
        {"a": {"b": [1, True]}},
        b"a%5Bb%5D%5B0%5D=1&a%5Bb%5D%5B1%5D=true",
        "application/x-www-form-urlencoded",
    ),
    ("text", "one ${profile.client}", b"one client-1", "text/plain; charset=utf-8"),
    (
        "xml",
        {"q": {"@id": 'x"', "row": [1, "a<b"], "#text": "&"}},
        b'<?xml version="1.0" encoding="UTF-8"?><q id=\'x"\'><row>1</row><row>a&lt;b</row>&amp;</q>',
        "application/xml",
    ),
]


@pytest.mark.parametrize(("encode", "body", "sent", "kind"), ENCODED)
async def test_bodies(build: Build, hostile: Hostile, encode: str, body: Any, sent: bytes, kind: str) -> None:
    hostile.json("/items", {"data": []})
    page = {"type": "none"}
    await build(reads(page, method="POST", encode=encode, body=body)).read()
    assert hostile.seen[0].body == sent and hostile.seen[0].headers["content-type"] == kind
    own = {"content-type": "application/vnd.x"}
    await build(reads(page, method="POST", encode=encode, body=body, headers=own)).read()
    assert hostile.seen[1].headers["content-type"] == "application/vnd.x"


async def test_a_body_of_parts(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": []})
    body = {
        "n": 1,
        "meta": {"a": [1]},
        "up": {"filename": 'a".txt', "content": "x\ny", "content_type": "text/plain"},
    }
    await build(reads({"type": "none"}, method="POST", encode="multipart", body=body)).read()
    kind = hostile.seen[0].headers["content-type"]
    mark = kind.removeprefix("multipart/form-data; boundary=")
    assert hostile.seen[0].body.decode() == (
        f'--{mark}\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="meta"\r\nContent-Type: application/json\r\n\r\n'
        f'{{"a":[1]}}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="up"; filename="a%22.txt"\r\n'
        f"Content-Type: text/plain\r\n\r\nx\ny\r\n--{mark}--\r\n"
    )


BROKEN = [
    ("xml", {"a b": 1}),
    ("xml", {"a": 1, "b": 2}),
    ("xml", {"a": "\ufffe"}),
    ("xml", {"a": {"@b c": 1}}),
    ("ndjson", {"a": 1}),
    ("multipart", [1]),
]


@pytest.mark.parametrize(("encode", "body"), BROKEN)
async def test_bodies_that_cannot_be_written(build: Build, hostile: Hostile, encode: str, body: Any) -> None:
    assert (
        await refused(build(reads({"type": "none"}, method="POST", encode=encode, body=body)))
    ).code == "body"
    assert hostile.seen == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_parts_are_told_apart(values: dict[str, str]) -> None:
    from email.parser import BytesParser
    from email.policy import HTTP

    from platint_tui.drivers.http.encoding import encode_value

    try:
        body, kind = encode_value(values, "multipart")
    except PlatintError:
        assert any("\ud800" <= char <= "\udfff" for text in [*values, *values.values()] for char in text)
        return
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert len(list(message.iter_parts())) == len(values) or not values
