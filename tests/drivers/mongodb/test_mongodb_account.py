"""The profile, its probes, and what discovery finds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from cryptography.x509 import DNSName
from drivers.conftest import Observed
from drivers.mongodb.conftest import Reader, batch, fail, mongodb_driver, plan
from drivers.test_postgresql_tls import certificate
from peers.mongodb import MongodbServer
from peers.server import Peer
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.core.model import ReadOptions
from platint_tui.core.wire import tallying
from platint_tui.drivers.mongodb import MongodbDriver
from platint_tui.drivers.mongodb.connection import client_of

Database = AsyncDatabase[dict[str, Any]]


class OpenServer(MongodbServer):
    """A standalone server that asks nobody to sign in, over TLS for `localhost`."""

    def __init__(self, folder: Path) -> None:
        self.ca_file, key_file = folder / "cert.pem", folder / "key.pem"
        cert, key = certificate(DNSName("localhost"))
        self.ca_file.write_bytes(cert)
        key_file.write_bytes(key)
        self._options = [
            "--standalone",
            "--tls-cert-file",
            str(self.ca_file),
            "--tls-key-file",
            str(key_file),
        ]
        self._auth = []
        Peer.__init__(self, folder)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenServer]:
    server = OpenServer(tmp_path_factory.mktemp("mongodb-tls"))
    yield server
    server.stop()


async def checked(driver: MongodbDriver) -> dict[str, Any]:
    found = {item.id: item for item in await driver.check()}
    assert list(found) == ["connect", "read", "write", "changes"]
    await driver.close()
    return found


async def test_every_probe_says_what_it_found(shop: Database, mongodb_server: MongodbServer) -> None:
    found = await checked(mongodb_driver(mongodb_server))
    assert (
        "replica set secantus" in found["connect"].detail
        and "ada@admin with root@admin" in found["connect"].detail
    )
    assert "no collections yet" in found["read"].detail and found["write"].ok and found["changes"].ok
    assert await shop.list_collection_names() == [], "a probe makes nothing"
    await shop.orders.insert_one({})
    found = await checked(
        mongodb_driver(mongodb_server, user="app", password=mongodb_server.limited_password)
    )
    assert found["read"].ok and found["read"].detail == "1 collections" and found["changes"].ok
    assert not found["write"].ok and found["write"].error_class == "config"
    assert (
        "may not write the database 'shop'" in found["write"].detail and "readWrite" in found["write"].detail
    )
    found = await checked(
        mongodb_driver(mongodb_server, user="app", password=mongodb_server.limited_password, database="other")
    )
    assert (
        found["connect"].ok and not found["read"].ok and "role: 'read', db: 'other'" in found["read"].detail
    )


async def test_privileges_that_the_server_lists_count(
    shop: Database, driver: MongodbDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.orders.insert_one({})
    await shop.bills.insert_one({})
    listed = [
        {
            "resource": {"db": "shop", "collection": "orders"},
            "actions": ["find", "insert", "update", "remove"],
        },
        {"resource": {"db": "else", "collection": ""}, "actions": ["find"]},
        {"resource": {"cluster": True}, "actions": ["serverStatus"]},
    ]
    real = AsyncDatabase.command

    async def command(self: Any, name: Any, *more: Any, **options: Any) -> Any:
        answer = await real(self, name, *more, **options)
        if isinstance(name, dict) and "connectionStatus" in name:
            answer["authInfo"]["authenticatedUserPrivileges"] = listed
        return answer

    monkeypatch.setattr(AsyncDatabase, "command", command)
    found = {item.id: item for item in await driver.check()}
    assert found["read"].detail == "1 of 2 collections can be read"
    assert found["write"].detail == "some collections can be written"
    streams = {item.name: item for item in await driver.discover()}
    assert streams["orders"].writable and not streams["bills"].writable
    listed[:] = [{"resource": {"anyResource": True}, "actions": ["find", "insert", "update", "remove"]}]
    found = {item.id: item for item in await driver.check()}
    assert found["read"].detail == "2 collections" and found["write"].ok
    listed[:] = [{"resource": {"db": "", "collection": ""}, "actions": ["serverStatus"]}]
    found = {item.id: item for item in await driver.check()}
    assert not found["read"].ok and not found["write"].ok


async def test_a_standalone_server_over_tls(open_server: OpenServer) -> None:
    where = {"host": "localhost", "user": "", "password": ""}
    driver = mongodb_driver(open_server, tls="verify-full", ca_file=str(open_server.ca_file), **where)
    found = await checked(driver)
    assert found["connect"].detail.endswith("standalone server; nobody is signed in")
    assert found["read"].ok and found["write"].ok and not found["changes"].ok
    assert "standalone server, which keeps no changes" in found["changes"].detail
    assert "rs.initiate()" in found["changes"].detail
    target = await driver.open_target(plan(target="orders"))
    await target.write(batch([{"_id": 1}]))
    [stream] = await driver.discover()
    assert stream.modes == ("snapshot",)
    assert await Reader(driver, "orders", "snapshot").ids() == [1]
    with pytest.raises(ConfigError, match="change streams need a replica set"):
        await Reader(driver, "orders", "cdc").pages()
    await driver.close()
    driver = mongodb_driver(open_server, tls="require", **where)
    assert (await driver.discover())[0].name == "orders"
    await driver.close()
    # The certificate is for another name. Last, for the emulator waits for the end of a handshake that was given up.
    where["host"] = "127.0.0.1"
    driver = mongodb_driver(
        open_server, connect=1.5, tls="verify-full", ca_file=str(open_server.ca_file), **where
    )
    with pytest.raises(ConfigError, match="certificate is not trusted") as caught:
        await driver.discover()
    assert caught.value.code == "tls"
    await driver.close()


async def test_what_cannot_be_reached_is_said_in_time(shop: Database, mongodb_server: MongodbServer) -> None:
    for fields, kind, said in (
        ({"port": "9"}, TransientError, "cannot be reached"),
        ({"replica_set": "other"}, ConfigError, "belong to no replica set 'other'"),
    ):
        driver = mongodb_driver(mongodb_server, connect=0.5, tls="disable", **fields)
        started = time.monotonic()
        with pytest.raises(kind, match=said) as caught:
            await driver.discover()
        assert (
            time.monotonic() - started < 5
            and caught.value.hint
            and caught.value.where.startswith("mongodb://")
        )
        await driver.close()


async def test_a_wrong_password_is_told_and_never_shown(
    shop: Database, mongodb_server: MongodbServer
) -> None:
    secret = "wrong-canary-4c71"
    driver = mongodb_driver(mongodb_server, password=secret)
    with pytest.raises(CredentialError) as caught:
        await Reader(driver, "orders", "snapshot").pages()
    assert "'ada'" in caught.value.message and caught.value.hint and secret not in caught.value.sentence()
    found = await driver.check()
    assert [item.tried for item in found] == [True, False, False, False]
    await driver.close()
    nobody = mongodb_driver(mongodb_server, user="", password="")
    with pytest.raises(ConfigError, match="wants a sign-in"):
        await nobody.discover()
    await nobody.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": ""}, "'host' is empty"),
        ({"database": ""}, "'database' is empty"),
        ({"host": "mongodb://ada:canary-host-77@db.example.org/"}, "no name or address"),
        ({"host": "a,b c"}, "no name or address"),
        ({"port": "70000"}, "no port"),
        ({"database": "a.b"}, "no name of a database"),
        ({"mechanism": "MAGIC"}, "no way to sign in"),
        ({"tls": "maybe"}, "no TLS mode"),
        ({"host": "db.example.org", "mechanism": "PLAIN", "tls": "disable"}, "needs a verified server"),
        ({"host": "a.example.org,b.example.org", "srv": "yes"}, "one host name"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        mongodb_driver(_Nowhere(), **fields)  # type: ignore[arg-type]  # only its address is looked at
    assert "canary" not in caught.value.sentence()


class _Nowhere:
    host, port, user, password = "db.example.org", 27017, "ada", "canary-nowhere"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"hosts": ("db.example.org:27017",), "tls": "verify-full", "srv": False, "auth_database": ""}),
        ({"host": "localhost"}, {"hosts": ("localhost:27017",), "tls": "disable"}),
        (
            {"host": "a:27018, b ,[::1]:9", "replica_set": "rs0", "auth_database": "users"},
            {"hosts": ("a:27018", "b:27017", "[::1]:9"), "replica_set": "rs0", "auth_database": "users"},
        ),
        ({"host": "c.example.org", "srv": "yes"}, {"hosts": ("c.example.org",), "srv": True}),
        ({"mechanism": "default", "direct": "yes"}, {"mechanism": "", "direct": True}),
        ({"mechanism": "MONGODB-X509"}, {"auth_database": "$external"}),
    ],
)
def test_a_profile_becomes_an_address(fields: dict[str, str], expected: dict[str, Any]) -> None:
    driver = mongodb_driver(_Nowhere(), **fields)  # type: ignore[arg-type]  # only its address is looked at
    address = driver._address
    assert {name: getattr(address, name) for name in expected} == expected
    assert "canary" not in repr(address) and "canary" not in address.where


async def test_options_reach_the_client_and_no_connection_string_has_a_password() -> None:
    driver = mongodb_driver(_Nowhere(), mechanism="SCRAM-SHA-256", direct="yes", connect=3.0)  # type: ignore[arg-type]  # as above
    client = client_of(driver._address, Observed())
    options = client.options
    assert options.server_selection_timeout == pytest.approx(3.3)
    assert options.pool_options._credentials is not None
    assert options.pool_options._credentials.mechanism == "SCRAM-SHA-256"
    assert options.direct_connection and "canary" not in repr(client)
    await client.close()
    named = mongodb_driver(_Nowhere(), srv="yes", tls="verify-full")  # type: ignore[arg-type]  # as above
    client = client_of(named._address, Observed())
    assert "canary" not in repr(client)
    await client.close()


async def test_discovery_shows_collections_with_their_shape(
    shop: Database, driver: MongodbDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platint_tui.drivers.mongodb.discovery.SAMPLE", 20)
    await shop.create_collection(
        "orders", validator={"$jsonSchema": {"properties": {"n": {"bsonType": "int"}}}}
    )
    when = datetime(2026, 1, 1, tzinfo=UTC)
    await shop.orders.insert_many(
        [{"_id": ObjectId(), "n": number, "updatedAt": when, "mail": f"{number}@x"} for number in range(30)]
    )
    await shop.orders.create_index("mail", unique=True)
    await shop.create_collection("shown", viewOn="orders", pipeline=[{"$project": {"_id": 0, "n": 1}}])
    await shop.create_collection("measured", timeseries={"timeField": "at"})
    await shop.create_collection("last", capped=True, size=4096)
    await shop.goal.insert_one({"_id": 1, "_platint": {"version": 1}})
    streams = {item.name: item for item in await driver.discover()}
    assert list(streams) == ["goal", "last", "measured", "orders", "shown"]
    orders = streams["orders"]
    assert (orders.kind, orders.key, orders.estimate, orders.cursor) == (
        "collection",
        ("_id",),
        30,
        "updatedAt",
    )
    assert orders.modes == ("snapshot", "cursor", "cdc") and orders.readable and orders.writable
    assert [(field.name, field.native) for field in orders.fields] == [
        ("_id", "mongodb:objectId"),
        ("n", "mongodb:int"),
        ("updatedAt", "mongodb:date"),
        ("mail", "mongodb:string"),
    ]
    facts = dict(orders.facts)
    assert (
        facts["indexes"] == "_id; mail (unique)"
        and facts["sampled"] == "20 documents"
        and "validator" in facts
    )
    assert any("no index begins with updatedAt" in note for note in orders.notes) and not orders.typed
    assert (streams["shown"].kind, streams["shown"].key, streams["shown"].modes) == (
        "view",
        (),
        ("snapshot",),
    )
    assert dict(streams["shown"].facts)["view of"] == "orders" and not streams["shown"].writable
    assert (streams["measured"].kind, streams["last"].kind) == ("time series", "capped collection")
    assert not streams["last"].writable and streams["last"].modes == ("snapshot", "cdc")
    assert [field.name for field in streams["goal"].fields] == ["_id"]


async def test_a_collection_that_cannot_be_looked_at_does_not_hide_the_others(
    shop: Database, driver: MongodbDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.orders.insert_one({"a": 1})
    await fail(shop, "aggregate", errorCode=50)
    [stream] = await driver.discover()
    assert stream.fields == () and "longer than 5 seconds" in stream.notes[0] and stream.readable
    await fail(shop, "aggregate", errorCode=13)
    [stream] = await driver.discover()
    assert not stream.readable and "may not read" in stream.refused
    monkeypatch.setattr("platint_tui.drivers.mongodb.discovery._BUDGET_SECONDS", -1.0)
    [stream] = await driver.discover()
    assert "was not looked at" in stream.notes[0]
    monkeypatch.undo()
    monkeypatch.setattr("platint_tui.drivers.mongodb.discovery.MOST_BYTES", 100)
    await shop.orders.insert_many([{"x": "y" * 60} for _ in range(20)])
    [stream] = await driver.discover()
    assert dict(stream.facts)["sampled"] in ("2 documents", "3 documents")


async def test_requests_are_counted_and_timed(shop: Database, mongodb_server: MongodbServer) -> None:
    telemetry = Observed()
    driver = mongodb_driver(mongodb_server, telemetry=telemetry)
    await shop.orders.insert_many([{"_id": number} for number in range(3)])
    with tallying() as tally:
        async for _ in driver.read("orders", None, ReadOptions(mode="snapshot")):
            pass
        assert tally.requests >= 2
    assert ("find orders", True) in telemetry.calls
    target = await driver.open_target(plan())
    await target.write(batch([{"_id": 1}]))
    assert ("write goal", True) in telemetry.calls and not any(
        "update" in name for name, _ in telemetry.calls
    )
    await fail(shop, "find", times=1, errorCode=13)
    with pytest.raises(ConfigError):
        await Reader(driver, "orders", "snapshot").pages()
    assert ("find orders", False) in telemetry.calls
    await driver.close()
