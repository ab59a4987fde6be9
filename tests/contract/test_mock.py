"""The validating mock server: it answers what the description allows, and refuses the rest."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from contract.mock import (
    Call,
    Mock,
    Reply,
    basic,
    bearer,
    cursor_pages,
    header,
    link_header,
    next_link,
    number_pages,
    offset_pages,
    one_page,
    query,
    refused,
    too_many,
)

GUILDS = "GET /users/@me/guilds"


def _get(mock: Mock, path: str, **query: Any) -> httpx.Response:
    return httpx.get(mock.base + path, params=query, headers={"Authorization": "Bot token"}, trust_env=False)


def _guilds(mock: Mock) -> None:
    rows = [{"id": str(number), "name": f"guild {number}"} for number in range(1, 4)]
    mock.records(GUILDS, rows, pages=cursor_pages("after", "limit", key="id"))


def test_a_collection_is_answered_in_pages() -> None:
    with Mock("discord", auth=[bearer("token", word="Bot")]) as mock:
        _guilds(mock)
        assert mock.base.endswith("/api/v10")
        first = _get(mock, "/users/@me/guilds", limit=2).json()
        assert [row["id"] for row in first] == ["1", "2"]
        assert [row["id"] for row in _get(mock, "/users/@me/guilds", limit=2, after="2").json()] == ["3"]
        assert [call.query for call in mock.asked(GUILDS)] == [{"limit": "2"}, {"limit": "2", "after": "2"}]


def test_pages_by_link_header() -> None:
    name = "GET /repos/{owner}/{repo}/issues"
    with Mock("github") as mock:
        mock.records(name, [{"id": number, "number": number} for number in range(1, 4)], pages=link_header())
        answer = httpx.get(mock.base + "/repos/a/b/issues", params={"per_page": 2}, trust_env=False)
        assert [row["number"] for row in answer.json()] == [1, 2]
        following = httpx.get(answer.links["next"]["url"], trust_env=False)
        assert [row["number"] for row in following.json()] == [3]
        assert "next" not in following.links
        assert mock.asked(name)[0].params == {"owner": "a", "repo": "b"}


@pytest.mark.parametrize(
    ("path", "query", "status", "sentence"),
    [
        ("/users/@me/gilds", {}, 404, "no such path is described"),
        ("/users/@me/guilds", {"limitt": 2}, 400, "the query parameter limitt is unknown"),
        ("/users/@me/guilds", {"limit": "many"}, 400, "the query parameter limit"),
        ("/users/@me/guilds", {"limit": 100_000}, 400, "outside"),
        ("/guilds/abc/channels", {}, 400, "{guild_id} in the path"),
    ],
)
def test_what_is_not_described_is_refused(
    path: str, query: dict[str, Any], status: int, sentence: str
) -> None:
    with pytest.raises(AssertionError, match="does not allow") as caught, Mock("discord") as mock:
        _guilds(mock)
        assert _get(mock, path, **query).status_code == status
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("PUT", "/guilds/1/channels", {}, 405, "the path takes GET, POST"),
        ("POST", "/guilds/1/channels", {"name": "a", "colour": 1}, 422, "colour is unknown"),
        ("POST", "/guilds/1/channels", {}, 422, "name is missing"),
        ("POST", "/guilds/1/channels", {"name": 1}, 422, "name is of type integer"),
        ("POST", "/guilds/1/channels", None, 422, "the body is missing"),
    ],
)
def test_bodies_are_held_against_the_description(
    method: str, path: str, body: Any, status: int, sentence: str
) -> None:
    with Mock("discord") as mock:
        mock.on("POST /guilds/{guild_id}/channels", lambda call: Reply(201, {}))
        answer = httpx.request(method, mock.base + path, json=body, trust_env=False)
        assert answer.status_code == status
        assert len(mock.violations) == 1
        assert sentence in mock.violations[0]
        mock.forgive(sentence)


def test_forms_are_held_against_the_description() -> None:
    with Mock("stripe") as mock:
        mock.on("POST /v1/customers", lambda call: mock.make("POST /v1/customers", id="cus_1"))
        good = {"name": "A", "address[city]": "B", "metadata[key]": "value"}
        assert httpx.post(f"{mock.url}/v1/customers", data=good, trust_env=False).status_code == 200
        for bad in ({"nam": "A"}, {"address[town]": "B"}, {"balance": "much"}):
            assert httpx.post(f"{mock.url}/v1/customers", data=bad, trust_env=False).status_code == 422
        assert len(mock.violations) == 3
        mock.forgive("the form's field")


def test_what_the_scenario_answers_is_held_against_the_description() -> None:
    with (
        pytest.raises(AssertionError, match="the answer of GET /api/v10/users/@me: id is missing"),
        Mock("discord") as mock,
    ):
        mock.on("GET /users/@me", {"username": "a"})
        _get(mock, "/users/@me")


def test_refusals_and_sign_in() -> None:
    with Mock("discord", auth=[bearer("token", word="Bot")], auth_refusal=refused(401, {"code": 0})) as mock:
        _guilds(mock)
        mock.once(GUILDS, too_many({"Retry-After": "1"}, {"retry_after": 1.0}))
        assert httpx.get(mock.base + "/users/@me/guilds", trust_env=False).json() == {"code": 0}
        limited = _get(mock, "/users/@me/guilds")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
        assert _get(mock, "/users/@me/guilds").status_code == 200


def test_graphql_is_answered_by_the_schema() -> None:
    with Mock("github") as mock:
        mock.graphql(
            "/graphql", {"rateLimit": {"cost": 1, "remaining": 10, "resetAt": "2026-01-01T00:00:00Z"}}
        )
        answer = httpx.post(
            f"{mock.url}/graphql", json={"query": "{ rateLimit { remaining } }"}, trust_env=False
        )
        assert answer.json() == {"data": {"rateLimit": {"remaining": 10}}}
        answer = httpx.post(f"{mock.url}/graphql", json={"query": "{ rateLimit { left } }"}, trust_env=False)
        assert answer.status_code == 400
        assert "Cannot query field 'left'" in mock.violations[0]
        mock.forgive("left")


def _call(**query: str) -> Call:
    return Call("GET", "/x", query, list(query.items()), {"host": "h"}, None, {}, [], b"", "")


ROWS = [{"id": number} for number in range(5)]


@pytest.mark.parametrize(
    ("pages", "query", "extra", "ids"),
    [
        (number_pages("page", "size", total_pages="pages"), {"size": "2"}, {"pages": 3}, [0, 1]),
        (number_pages("page", "size", total="total"), {"page": "3", "size": "2"}, {"total": 5}, [4]),
        (number_pages("page", "size", start=0), {"page": "1", "size": "2"}, {}, [2, 3]),
        (
            offset_pages("startAt", "max", total="total", last="isLast", echo=True),
            {"startAt": "3", "max": "2"},
            {"total": 5, "isLast": True, "startAt": 3, "max": 2},
            [3, 4],
        ),
        (offset_pages("offset", "limit", more="meta.more"), {"limit": "2"}, {"meta": {"more": True}}, [0, 1]),
        (
            cursor_pages("after", "limit", next_at="paging.next"),
            {"limit": "2"},
            {"paging": {"next": "cursor-2"}},
            [0, 1],
        ),
        (
            cursor_pages("after", "limit", next_at="next"),
            {"limit": "3", "after": "cursor-3"},
            {"next": None},
            [3, 4],
        ),
        (
            cursor_pages("after", "limit", next_at="next", last=...),
            {"limit": "3", "after": "cursor-3"},
            {},
            [3, 4],
        ),
        (
            cursor_pages("after", "limit", key="id", more="more"),
            {"limit": "3", "after": "1"},
            {"more": False},
            [2, 3, 4],
        ),
        (
            next_link("next", "offset", "limit"),
            {"limit": "3"},
            {"next": "http://h/x?limit=3&offset=3"},
            [0, 1, 2],
        ),
        (
            next_link("next", "offset", "limit", relative=True),
            {"limit": "3"},
            {"next": "/x?limit=3&offset=3"},
            [0, 1, 2],
        ),
        (next_link("next", "offset", "limit"), {"limit": "3", "offset": "3"}, {"next": None}, [3, 4]),
        (one_page(), {}, {}, [0, 1, 2, 3, 4]),
    ],
)
def test_page_styles(pages: Any, query: dict[str, str], extra: dict[str, Any], ids: list[int]) -> None:
    reply, shown = pages(_call(**query), ROWS)
    assert reply.json == extra
    assert [row["id"] for row in shown] == ids


def test_ways_to_sign_in() -> None:
    call = _call(key="secret")
    call.headers["authorization"] = "Basic YTpi"
    assert basic("a", "b")(call)
    assert not basic("a", "c")(call)
    assert not header("x-token", "t")(call)
    assert query("key", "secret")(call)
    assert "key" not in call.query


def test_paths_of_no_description_are_free() -> None:
    with Mock("discord", auth=[bearer("t", word="Bot")]) as mock:
        mock.free("POST", "/oauth2/token", lambda call: {"access_token": "t", "got": call.form["grant_type"]})
        answer = httpx.post(f"{mock.url}/oauth2/token", data={"grant_type": "x"}, trust_env=False)
        assert answer.json() == {"access_token": "t", "got": "x"}


def test_a_scenario_that_lacks_an_answer_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="the scenario has no answer"), Mock("discord") as mock:
        assert _get(mock, "/users/@me").status_code == 501
