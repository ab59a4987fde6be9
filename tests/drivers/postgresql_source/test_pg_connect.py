from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from drivers.postgresql_source.conftest import CDC, Shop, connector, driver_on, read
from peers.postgres import PostgresServer

from platint_tui.core.errors import ConfigError, CredentialError, PlatintError
from platint_tui.drivers.postgresql import PostgresqlDriver, connection, discovery


@pytest.fixture
def quiet_server() -> Iterator[PostgresServer]:
    """A server without what logical replication needs."""
    server = PostgresServer({"wal_level": "replica", "max_replication_slots": "1"})
    yield server
    server.stop()


async def outcomes(driver: PostgresqlDriver) -> dict[str, tuple[bool, str]]:
    return {item.id: (item.ok, item.detail) for item in await driver.check()}


async def test_everything_that_this_user_can_do_is_told(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int)")
    found = await outcomes(shop.driver())
    assert all(ok for ok, _ in found.values()) and list(found) == [
        "connect", "read", "create", "wal_level", "replication", "slots",
    ]  # fmt: skip
    await shop.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await shop.run("SELECT pg_reload_conf()")
    try:
        ok, detail = (await outcomes(shop.driver()))["slots"]
        assert not ok and "synchronous_standby_names" in detail
    finally:
        await shop.run("ALTER SYSTEM RESET synchronous_standby_names")
        await shop.run("SELECT pg_reload_conf()")
    assert found["connect"][1].startswith("PostgreSQL 1") and "All 1 tables" in found["read"][1]


async def test_every_right_that_is_missing_is_told_with_its_remedy(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE clerk LOGIN PASSWORD 'clerk-pass'")
    try:
        driver = shop.driver(user="clerk", password="clerk-pass")
        found = await outcomes(driver)
        remedies = {
            "read": "GRANT SELECT ON ALL",
            "create": "GRANT USAGE, CREATE ON",
            "replication": "ALTER ROLE",
        }
        for name, remedy in remedies.items():
            ok, detail = found[name]
            assert not ok and remedy in detail and '"clerk"' in detail
        assert found["connect"][0] and found["wal_level"][0]
        with pytest.raises(ConfigError, match="may not read") as caught:
            await read(driver, "t")
        assert 'GRANT SELECT ON "public"."t" TO "clerk"' in caught.value.hint
        [stream] = await driver.discover()
        assert 'GRANT SELECT ON "public"."t" TO "clerk"' in stream.refused and "cdc" not in stream.modes
        assert any("no change feed" in note for note in stream.notes)
    finally:
        await shop.run("DROP ROLE clerk")


async def test_a_schema_that_is_not_there_is_told_and_an_empty_one_is_fine(shop: Shop) -> None:
    found = await outcomes(shop.driver(schema="nosch"))
    for name in ("read", "create"):
        ok, detail = found[name]
        assert not ok and 'There is no schema "nosch"' in detail and "CREATE SCHEMA" in detail
    await shop.run("CREATE SCHEMA nosch")
    ok, detail = (await outcomes(shop.driver(schema="nosch")))["read"]
    assert ok and detail == 'All 0 tables and views of "nosch" can be read.'


async def test_hints_name_only_modes_of_tls_that_the_profile_has(shop: Shop) -> None:
    offered = next(field for field in connector().profile.fields if field.id == "tls").choices
    first, *_ = await shop.driver(tls="require").check()
    assert not first.ok and "does not offer the TLS" in first.detail and "tls may be disable" in first.detail
    with pytest.raises(ConfigError) as caught:
        shop.driver(tls="strict")
    for mode in connection.TLS_MODES:
        assert mode in offered or mode not in first.detail + caught.value.hint


async def test_a_server_without_logical_replication(quiet_server: PostgresServer) -> None:
    quiet_server.psql("CREATE TABLE t (id int PRIMARY KEY)")
    driver = driver_on(quiet_server, database="postgres")
    found = await outcomes(driver)
    ok, detail = found["wal_level"]
    assert not ok and "ALTER SYSTEM SET wal_level = logical" in detail and "restart" in detail
    with pytest.raises(ConfigError, match="wal_level is replica") as caught:
        await read(driver, "t", None, CDC)
    assert "ALTER SYSTEM" in caught.value.hint
    assert quiet_server.psql("SELECT count(*) FROM pg_publication") == "0"
    [stream] = await driver.discover()
    assert stream.modes == ("snapshot", "cursor")
    quiet_server.psql("SELECT pg_create_physical_replication_slot('theirs')")
    ok, detail = (await outcomes(driver))["slots"]
    assert not ok and "max_replication_slots" in detail


@pytest.mark.parametrize(
    ("changes", "kind", "part"),
    [
        ({"password": "wrong"}, CredentialError, "sign-in"),
        ({"database": "none_such"}, ConfigError, "no database 'none_such'"),
        ({"user": "nobody_here"}, CredentialError, "sign-in"),
    ],
)
async def test_a_sign_in_that_fails_is_told_and_the_rest_is_not_tried(
    shop: Shop, changes: dict[str, Any], kind: type[PlatintError], part: str
) -> None:
    driver = shop.driver(**changes)
    first, *others = await driver.check()
    assert not first.ok and part in first.detail and not any(item.tried for item in others)
    for work in (
        driver.discover(),
        read(driver, "t"),
        read(driver, "t", None, CDC),
        driver.release("a", "b"),
    ):
        with pytest.raises(kind, match=part):
            await work


async def test_tables_and_views_are_described_without_reading_them(shop: Shop) -> None:
    await shop.run("""
        CREATE SCHEMA crm; CREATE TYPE crm.mood AS ENUM ('calm'); CREATE DOMAIN amount AS numeric(12,2);
        CREATE TABLE orders (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20) NOT NULL, price amount,
            created_at timestamptz NOT NULL, updated_at timestamptz, mood crm.mood, tags text[], body jsonb,
            double bigint GENERATED ALWAYS AS (id * 2) STORED
        );
        COMMENT ON COLUMN orders.price IS 'net, in euros';
        CREATE INDEX ON orders (created_at);
        INSERT INTO orders (name, created_at) SELECT 'n', now() FROM generate_series(1, 300);
        CREATE VIEW recent AS SELECT * FROM orders; CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders;
        CREATE TABLE crm.people (id int NOT NULL UNIQUE); ALTER TABLE crm.people REPLICA IDENTITY FULL;
        CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY); CREATE TABLE "_platint_positions" (a int);
        ANALYZE;
    """)
    driver = shop.driver()
    # Somebody holds the table: looking at it must not wait for that.
    async with shop.admin.transaction():
        await shop.run("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        streams = {stream.name: stream for stream in await driver.discover()}
    assert list(streams) == ["kept", "orders", "recent", "scratch", "crm.people"]
    orders = streams["orders"]
    fields = {field.name: field for field in orders.fields}
    assert {name: (field.type, field.native) for name, field in fields.items()} == {
        "id": ("integer", "postgresql:bigint"),
        "name": ("string", "postgresql:character varying(20)"),
        "price": ("number", "postgresql:numeric(12,2)"),
        "created_at": ("timestamp", "postgresql:timestamp with time zone"),
        "updated_at": ("timestamp", "postgresql:timestamp with time zone"),
        "mood": ("string", "postgresql:crm.mood"),
        "tags": ("array", "postgresql:text[]"),
        "body": ("any", "postgresql:jsonb"),
        "double": ("integer", "postgresql:bigint"),
    }
    assert fields["name"].required and fields["name"].max_length == 20 and not fields["updated_at"].required
    assert fields["price"].description == "net, in euros" and not fields["double"].required
    assert (orders.key, orders.estimate, orders.kind, orders.typed) == (("id",), 300, "table", True)
    assert orders.modes == ("snapshot", "cursor", "cdc") and orders.cursors == (
        "updated_at",
        "created_at",
        "id",
    )
    assert ("replica identity", "default") in orders.facts and any(name == "size" for name, _ in orders.facts)
    said = " | ".join(orders.notes)
    assert (
        "updated_at has no index" in said
        and "rows without updated_at" in said
        and "computed columns double" in said
    )
    assert (streams["recent"].kind, streams["recent"].key, streams["recent"].estimate) == ("view", (), None)
    assert "cdc" not in streams["recent"].modes and streams["kept"].kind == "materialized view"
    assert streams["crm.people"].modes == ("snapshot", "cursor", "cdc")
    assert "cdc" not in streams["scratch"].modes and any(
        "SET LOGGED" in note for note in streams["scratch"].notes
    )


async def test_very_many_tables_are_listed_up_to_a_bound(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST_RELATIONS", 3)
    await shop.run("".join(f"CREATE TABLE t{at} (id int);" for at in range(5)))
    streams = await shop.driver().discover()
    assert [stream.name for stream in streams] == ["t0", "t1", "t2", "*"]
    assert streams[-1].incomplete and "first 3" in streams[-1].notes[0]


async def test_columns_that_the_server_computes_are_left_out_of_a_feed(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO t VALUES (1)"
    )
    driver = shop.driver()
    pages = await read(driver, "t", None, CDC)
    await shop.run("INSERT INTO t VALUES (2)")
    pages += await read(driver, "t", pages[-1].position, CDC)
    assert [record.raw for page in pages for record in page.records] == ['{"id":1}', '{"id":2}']
    plain = await read(driver, "t", None, replace(CDC, mode="snapshot"))
    assert plain[0].records[0].raw == '{"id":1,"twice":2}'


async def test_tables_that_inherit_are_streams_of_their_own(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE more (PRIMARY KEY (id)) INHERITS (t)")
    await shop.run("INSERT INTO t VALUES (1); INSERT INTO more VALUES (1), (2)")
    driver = shop.driver()
    streams = {stream.name: stream for stream in await driver.discover()}
    assert any("inherit" in note for note in streams["t"].notes)
    pages = await read(driver, "t", None, CDC)
    await shop.run("INSERT INTO t VALUES (3); INSERT INTO more VALUES (4)")
    pages += await read(driver, "t", pages[-1].position, CDC)
    assert [record.raw for page in pages for record in page.records] == ['{"id":1}', '{"id":3}']
    assert len((await read(driver, "more"))[0].records) == 3


async def test_rows_that_a_policy_hides_are_told(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    await shop.run("CREATE ROLE clerk LOGIN PASSWORD 'clerk-pass'")
    await shop.run("GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT ON t TO clerk")
    try:
        [stream] = await shop.driver(user="clerk", password="clerk-pass").discover()
        assert any("row security" in note for note in stream.notes)
    finally:
        await shop.run("DROP OWNED BY clerk; DROP ROLE clerk")
