"""GraphQL: queries by connections against a real server (graphql-yoga), errors in a 200, costs, mutations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from peers.graphql import GraphqlServer

from platint_tui.core.errors import PlatintError, RateLimited, SystemicError
from tests.http.hostile import Build, Hostile, Rig, Whole

ORDERS = """
query Orders($first: Int!, $after: String, $since: String) {
  orders(first: $first, after: $after, since: $since) {
    nodes { id total updatedAt }
    pageInfo { hasNextPage endCursor }
  }
}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphqlServer]:
    server = GraphqlServer(tmp_path_factory.mktemp("graphql"))
    yield server
    server.stop()


def orders(document: str = ORDERS, path: str = "/graphql", **read: Any) -> dict[str, Any]:
    """Changes to the manifest: the items are orders of a shop."""
    request = {
        "method": "POST",
        "path": path,
        "graphql": {"document": document, "variables": {"first": 3, "since": "${cursor.start}"}},
    }
    page = {
        "type": "cursor",
        "from": "data.orders.pageInfo.endCursor",
        "more": "data.orders.pageInfo.hasNextPage",
        "param": "variables.after",
        "in": "body",
    }
    return {
        "auth": Whole({"type": "api_key", "secret": "key", "in": "header", "name": "X-Access-Token"}),
        "resources": {
            "items": {
                "read": {
                    "request": Whole(request),
                    "records": "data.orders.nodes",
                    "page": Whole(page),
                    "cursor": {"field": "updatedAt", "type": "iso8601", "side": "server"},
                    **read,
                }
            }
        },
    }


async def refused(rig: Rig) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    return caught.value


async def test_a_connection_is_read_to_its_end_and_then_what_is_new(
    shop: GraphqlServer, build: Build
) -> None:
    rig = build(orders(), base_url=shop.url, secret=shop.token)
    assert [item["total"] for item in await rig.read()] == [f"{number}.10" for number in range(7)]
    assert [len(page.records) for page in rig.pages] == [3, 3, 1]
    pages = rig.pages
    for number, page in enumerate(pages[:-1]):
        rest = await rig.read(json.loads(json.dumps(page.position)))
        assert len(rest) == 7 - 3 * (number + 1)
    assert await rig.read(json.loads(json.dumps(pages[-1].position))) == []


async def test_a_field_that_is_not_there_names_it(shop: GraphqlServer, build: Build) -> None:
    document = "{ orders(first: 3) { nodes { id price } pageInfo { hasNextPage endCursor } } }"
    error = await refused(build(orders(document), base_url=shop.url, secret=shop.token))
    assert isinstance(error, SystemicError) and 'Cannot query field "price"' in error.message


async def test_errors_beside_data_with_status_200_are_an_error(shop: GraphqlServer, build: Build) -> None:
    document = ORDERS.replace("orders(", "secret\n  orders(", 1)
    error = await refused(build(orders(document), base_url=shop.url, secret=shop.token))
    assert isinstance(error, SystemicError) and "Access denied for secret field." in error.message


async def test_a_wrong_token(shop: GraphqlServer, build: Build) -> None:
    error = await refused(build(orders(), base_url=shop.url, secret="wrong"))
    assert error.error_class == "auth" and "Invalid token" in error.message


async def test_a_throttled_answer_waits_by_its_rule(tmp_path: Any, build: Build) -> None:
    """A 200 that says THROTTLED: the manifest's rule makes a wait of it, which parks the run in the end."""
    server = GraphqlServer(tmp_path, points=15)
    try:
        rule = {
            "when": {"status": [200], "body": {"path": "errors.0.extensions.code", "equals": "THROTTLED"}},
            "class": "rate_limited",
            "action": "wait",
            "wait": {"seconds": "20s"},
        }
        rig = build({**orders(), "errors": {"rules": [rule]}}, base_url=server.url, secret=server.token)
        error = await refused(rig)
    finally:
        server.stop()
    assert isinstance(error, RateLimited)
    assert len(rig.pages) == 1 and len(rig.pages[0].records) == 3
    assert rig.clock.slept and min(rig.clock.slept) >= 20


async def test_the_document_is_sent_as_it_is_written(build: Build, hostile: Hostile) -> None:
    hostile.json("/g", {"data": {"orders": {"nodes": [], "pageInfo": {"hasNextPage": False}}}})
    document = 'query($a: String = "${b}") { orders(x: $a) { nodes { id } } }'
    changes = orders(document, "/g")
    await build(changes).read()
    assert json.loads(hostile.seen[0].body) == {"query": document, "variables": {"first": 3}}
    assert hostile.seen[0].headers["content-type"] == "application/json"
    assert hostile.seen[0].headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([{"message": "Boom"}, {"message": "Bang"}], "Boom"),
        ([{}], "errors without a message"),
        ("plain", "plain"),
    ],
)
async def test_errors_in_any_shape(build: Build, hostile: Hostile, errors: Any, said: str) -> None:
    hostile.json("/g", {"errors": errors, "data": {"orders": {"nodes": [{"id": 1}]}}})
    error = await refused(build(orders(path="/g")))
    assert isinstance(error, SystemicError) and said in error.message
