"""Elasticsearch through its manifest: a real server (7.0, no security), and one in the shapes of its description."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from peers.elastic import ElasticServer
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.model import Batch, Op, Row, TargetPlan
from platint_tui.core.ports import AppliesOps

MAPPING = {"properties": {"year": {"type": "integer"}, "@timestamp": {"type": "date"}}}
SETTINGS = {"number_of_replicas": 0, "number_of_shards": 2}


def moment(number: int) -> str:
    return f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"


@pytest.fixture
async def elastic(elastic_server: ElasticServer) -> AsyncIterator[Account]:
    async with account("elasticsearch", {"base_url": elastic_server.url}, {}) as opened:
        yield opened


async def filled(elastic: Account, server: ElasticServer, index: str, count: int) -> None:
    made = {"index": index, "settings": SETTINGS, "mappings": MAPPING}
    assert (await elastic.write("indices", "create", made)).written == 1
    rows = [{"_id": str(n), "year": n, "@timestamp": moment(n)} for n in range(count)]
    assert (await elastic.write(f"index.{index}", "upsert", *rows)).written == count
    server.refresh(index)


async def test_every_document_of_an_index(elastic: Account, elastic_server: ElasticServer) -> None:
    assert (await elastic.check())["cluster"].ok
    await filled(elastic, elastic_server, "books", 2500)
    found = {stream.name: stream for stream in await elastic.driver.discover()}
    fields = {field.name: field.type for field in found["index.books"].fields}
    assert fields["_source.year"] == "integer" and fields["_source.@timestamp"] == "timestamp"
    assert found["index.books"].key == ("_index", "_id")

    documents = await elastic.read(stream="index.books")
    assert {item["_id"] for item in documents} == {str(n) for n in range(2500)}
    assert len(elastic.pages) == 3
    rest = await elastic.read(json.loads(json.dumps(elastic.pages[0].position)), "index.books")
    assert len(rest) == 1500
    index = {item["index"]: item for item in await elastic.read(stream="indices")}["books"]
    assert index["docs.count"] == "2500" and index["pri"] == "2"


async def test_only_what_is_new_by_timestamp(elastic: Account, elastic_server: ElasticServer) -> None:
    await filled(elastic, elastic_server, "visits", 1200)
    assert len(await elastic.read(stream="timed.visits")) == 1200
    position = elastic.position
    await elastic.write("index.visits", "upsert", {"_id": "new", "@timestamp": moment(5000)})
    elastic_server.refresh("visits")
    assert [item["_id"] for item in await elastic.read(position, "timed.visits")] == ["new"]


async def test_each_row_of_a_bulk_has_its_own_outcome(
    elastic: Account, elastic_server: ElasticServer
) -> None:
    await filled(elastic, elastic_server, "mixed", 3)
    result = await elastic.write("index.mixed", "upsert", {"_id": "x", "year": "no"}, {"_id": "y", "year": 1})
    assert result.written == 1 and [index for index, _ in result.faults] == [0]
    assert result.faults[0][1].code == "mapper_parsing_exception"
    assert (await elastic.write("index.mixed", "update", {"_id": "1", "year": -1})).written == 1
    assert (await elastic.write("index.mixed", "create", {"year": 7})).written == 1
    again = await elastic.write("index.mixed", "create", {"year": 7})
    assert again.faults[0][1].code == "version_conflict_engine_exception"
    # What is not there any more counts as deleted.
    assert (await elastic.write("index.mixed", "delete", {"_id": "2"}, {"_id": "nope"})).written == 2
    elastic_server.refresh("mixed")
    left = {item["_id"]: item["_source"] for item in await elastic.read(stream="index.mixed")}
    assert left["1"]["year"] == -1 and "2" not in left and len(left) == 4
    assert (await elastic.write("indices", "delete", {"index": "mixed"}, {"index": "nope"})).written == 2
    error = await elastic.refused("index.mixed")
    assert isinstance(error, ConfigError) and error.code == "index_not_found_exception"


async def test_what_is_deleted_at_the_source_is_deleted_here(
    elastic: Account, elastic_server: ElasticServer
) -> None:
    await filled(elastic, elastic_server, "followed", 4)
    target = await elastic.driver.open_target(
        TargetPlan("s", "rows", "index.followed", ("id",), None, (), 1, "run", operation="upsert")
    )
    assert isinstance(target, AppliesOps) and target.applies == {Op.UPSERT, Op.DELETE}
    rows = [
        Row("[1]", "{}", {"_id": "1", "year": 100}, None, "a"),
        Row("[2]", "{}", {"_id": "2"}, None, "b", Op.DELETE),
        Row("[3]", "{}", {"_id": "3", "year": "no"}, None, "c"),
        Row("[9]", "{}", {"_id": "9"}, None, "d", Op.DELETE),
    ]
    result = await target.write(Batch(rows, None))
    assert (result.written, [index for index, _ in result.faults]) == (3, [2])
    elastic_server.refresh("followed")
    left = {item["_id"]: item["_source"]["year"] for item in await elastic.read(stream="index.followed")}
    assert left == {"0": 0, "1": 100, "3": 3}


def today() -> Vendor:
    """A cluster of today with security, in the shapes of the description."""

    def signed_in(asked: Asked) -> Reply | None:
        if asked.headers.get("authorization") == "ApiKey a2V5OnNlY3JldA==":
            return None
        cause = {"type": "security_exception", "reason": "unable to authenticate with provided credentials"}
        return Reply({"error": {**cause, "root_cause": [cause]}, "status": 401}, 401)

    vendor = Vendor("elasticsearch", guard=signed_in)
    version = {"number": "9.2.0", "build_flavor": "default"}
    vendor.on(
        "GET /", Reply({"cluster_name": "shop", "cluster_uuid": "u", "version": version}, checked=False)
    )
    vendor.on("GET /_security/_authenticate", Reply({"username": "ada"}, checked=False))
    vendor.on("GET /_cat/indices", Reply([{"index": "books"}], checked=False))
    streams = [{"name": "logs-shop-default"}]
    vendor.on("GET /_data_stream", Reply({"data_streams": streams}, checked=False))
    mapping: dict[str, Any] = {"x": {"mappings": MAPPING}}
    vendor.on("GET /{index}/_mapping", lambda asked, index: Reply(mapping, checked=False))
    hit = {"_index": "books", "_id": "1", "_source": {}, "sort": [1, 1]}
    vendor.on("POST /{index}/_search", lambda asked, index: Reply({"hits": {"hits": [hit]}}, checked=False))
    return vendor


async def test_requests_fit_the_description_of_today() -> None:
    secrets = {"api_key": "a2V5OnNlY3JldA=="}
    async with (
        running(today()) as vendor,
        account("elasticsearch", {"base_url": vendor.url}, secrets) as ada,
    ):
        assert all(probe.ok for probe in (await ada.check()).values())
        assert {"index.books", "timed.logs-shop-default"} <= await ada.streams()
        assert len(await ada.read(stream="data_streams")) == 1
        busy = {"error": {"type": "es_rejected_execution_exception", "reason": "queue"}, "status": 429}
        vendor.refuse("/books/_search", Reply(busy, 429))
        assert len(await ada.read(stream="index.books")) == 1
        assert ada.waited(5)


async def test_a_wrong_key_ends_the_run() -> None:
    async with (
        running(today()) as vendor,
        account("elasticsearch", {"base_url": vendor.url}, {"api_key": "bm90OnJpZ2h0"}) as stranger,
    ):
        probe = (await stranger.check())["cluster"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("indices"), CredentialError)
