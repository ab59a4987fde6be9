from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from drivers.postgresql_source.conftest import CDC, Shop, read, replica, values

from platint_tui.core.errors import ConfigError, PositionLost, TransientError
from platint_tui.core.model import Op, Page, ReadOptions
from platint_tui.drivers.postgresql import feed, slots
from platint_tui.drivers.postgresql.slots import slot_name

SLOT = slot_name("sales", "t")


async def test_rows_that_change_while_the_snapshot_is_read_are_right_in_the_end(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 50) g"
    )
    driver = shop.driver(source={"chunk": 10})
    found: list[Page] = []
    async for page in driver.read("t", None, CDC):
        found.append(page)
        if len(found) == 2:  # before and behind the place that was read, and a row that moves over it
            await shop.run("UPDATE t SET v = 'new' WHERE id IN (3, 33); DELETE FROM t WHERE id IN (4, 44)")
            await shop.run("UPDATE t SET id = 7000 WHERE id = 45; UPDATE t SET id = -1 WHERE id = 46")
            await shop.run("INSERT INTO t VALUES (0, 'new')")
    assert found[0].position["scan"]["at"] == ["10"] and not any(page.last for page in found[:-1])
    assert replica(found) == await shop.table()
    assert "scan" not in found[-1].position
    happened = [when for page in found for when in page.happened]
    now = await shop.admin.fetchval("SELECT extract(epoch FROM now()) * 1000")
    assert happened and all(abs(when - float(now)) < 60_000 for when in happened)


async def test_inserts_updates_deletes_truncates_and_changed_keys(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int, part text, n numeric, PRIMARY KEY (part, id)); CREATE TABLE other (id int PRIMARY KEY)"
    )
    driver = shop.driver()
    options = replace(CDC, key=("part", "id"))
    [*_, last] = await read(driver, "t", None, options)
    await shop.run("INSERT INTO t VALUES (1, 'a', 1.50), (2, 'a', 2); INSERT INTO other VALUES (1)")
    await shop.run("UPDATE t SET n = 3 WHERE id = 2")
    await shop.run("UPDATE t SET part = 'b' WHERE id = 1")
    await shop.run("DELETE FROM t WHERE id = 2")
    await shop.run("TRUNCATE t, other; INSERT INTO t VALUES (9, 'z', NULL)")
    pages = await read(driver, "t", last.position, options)
    assert [(record.op, record.raw) for page in pages for record in page.records] == [
        (Op.UPSERT, '{"id":1,"part":"a","n":1.50}'),
        (Op.UPSERT, '{"id":2,"part":"a","n":2}'),
        (Op.UPSERT, '{"id":2,"part":"a","n":3}'),
        (Op.DELETE, '{"id":1,"part":"a"}'),
        (Op.UPSERT, '{"id":1,"part":"b","n":1.50}'),
        (Op.DELETE, '{"id":2,"part":"a"}'),
        (Op.TRUNCATE, "{}"),
        (Op.UPSERT, '{"id":9,"part":"z","n":null}'),
    ]


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX other_key", "DEFAULT"])
async def test_replica_identities(shop: Shop, identity: str) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, big text)")
    await shop.run(f"CREATE UNIQUE INDEX other_key ON t (code); ALTER TABLE t REPLICA IDENTITY {identity}")
    key = "code" if "INDEX" in identity else "id"
    options = replace(CDC, key=(key,))
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, options)
    await shop.run("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    await shop.run("INSERT INTO t SELECT g, 'c' || g, repeat('x', 9000) || g FROM generate_series(1, 5) g")
    await shop.run(
        "UPDATE t SET code = 'new' WHERE id = 2; UPDATE t SET id = 40 WHERE id = 4; DELETE FROM t WHERE id = 5"
    )
    pages = await read(driver, "t", last.position, options)
    assert replica(pages, key) == await shop.table(key=key)


async def test_large_values_that_were_not_changed_are_read_again(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, n int, big text, also jsonb)")
    await shop.run(
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL; ALTER TABLE t ALTER also SET STORAGE EXTERNAL"
    )
    await shop.run(
        "INSERT INTO t SELECT g, 0, repeat('x', 5000) || g, jsonb_build_object('k', repeat('y', 5000))"
        " FROM generate_series(1, 4) g"
    )
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    await shop.run("UPDATE t SET n = 1; UPDATE t SET n = 2 WHERE id = 2")
    await shop.run("UPDATE t SET id = 30 WHERE id = 3; DELETE FROM t WHERE id = 4")
    pages = await read(driver, "t", last.position, CDC)
    found = values(pages)
    assert all(len(value["big"]) > 5000 for value in found if "big" in value)
    assert replica(pages, held={"4": "there"}) == await shop.table()
    narrow = await read(driver, "t", last.position, replace(CDC, columns=("n",)))
    assert all(set(value) <= {"id", "n"} for value in values(narrow)) and narrow[0].requests == 0


async def test_columns_that_come_go_and_change_while_it_is_followed(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t VALUES (1, 1, 'x')")
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    await shop.run("INSERT INTO t VALUES (2, 2, 'y')")
    await shop.run(
        "CREATE TYPE mood AS ENUM ('calm', 'wild'); ALTER TABLE t ADD c mood DEFAULT 'calm', DROP b"
    )
    await shop.run(
        "INSERT INTO t VALUES (3, 3, 'wild'); ALTER TABLE t RENAME a TO d; ALTER TABLE t ALTER d TYPE text"
    )
    await shop.run("INSERT INTO t VALUES (4, '4', NULL)")
    pages = await read(driver, "t", last.position, CDC)
    found = [record.raw for page in pages for record in page.records if record.value["id"] > 1]
    assert found[:2] == ['{"id":2,"a":2,"b":"y"}', '{"id":3,"a":3,"c":"wild"}']
    assert found[-1] == '{"id":4,"d":"4","c":null}'


async def test_a_large_transaction_comes_in_parts_and_is_resumed_inside(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    driver = shop.driver(source={"chunk": 100})
    [*_, last] = await read(driver, "t", None, CDC)
    await shop.run("INSERT INTO t VALUES (0, 'first')")
    await shop.run(
        "INSERT INTO t SELECT g, 'v' FROM generate_series(1, 1000) g; UPDATE t SET v = 'w' WHERE id % 7 = 0"
    )
    await shop.run("INSERT INTO t VALUES (5000, 'last')")
    whole = await read(driver, "t", last.position, CDC)
    assert len(whole) > 10 and all(len(page.records) <= 101 for page in whole)
    inside = [page.position for page in whole if "index" in page.position]
    assert len({position["lsn"] for position in inside}) <= 2, "only ends of transactions can be confirmed"
    expected = [record.raw for page in whole for record in page.records]
    for at in (0, 4, len(whole) - 2):
        seen = sum(len(page.records) for page in whole[: at + 1])
        rest = await read(shop.driver(), "t", whole[at].position, CDC)
        assert [record.raw for page in rest for record in page.records] == expected[seen:]
    await driver.acknowledge("t", inside[3])
    rest = await read(shop.driver(), "t", inside[3], CDC)
    assert (
        replica(
            rest, held=replica(whole[: whole.index(next(p for p in whole if p.position == inside[3])) + 1])
        )
        == await shop.table()
    )


async def test_partitions_are_followed_as_one_table(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    for name, first in (("low", 0), ("high", 100)):
        await shop.run(f"CREATE TABLE {name} PARTITION OF t FOR VALUES FROM ({first}) TO ({first + 100})")
    await shop.run("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 150) g")
    driver = shop.driver()
    pages = await read(driver, "t", None, CDC)
    await shop.run(
        "UPDATE t SET id = 199 WHERE id = 5; DELETE FROM t WHERE id = 110; INSERT INTO t VALUES (0, 'w')"
    )
    pages += await read(driver, "t", pages[-1].position, CDC)
    assert replica(pages) == await shop.table() and len(await shop.table()) == 150


async def test_followed_it_waits_and_moves_on_while_the_table_is_quiet(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE busy (id serial, v text)")
    driver = shop.driver(source={"heartbeat": 0.2})
    follow = replace(CDC, follow=True)
    assert driver.follows("t", follow) and not driver.follows("t", replace(follow, mode="snapshot"))
    confirmed: list[str] = []
    came: list[int] = []
    pages = driver.read("t", None, follow)
    async with asyncio.timeout(20), contextlib.aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            assert not page.last
            await driver.acknowledge("t", page.position)
            came += [value["id"] for value in values([page])]
            if "scan" in page.position:
                continue
            await shop.run("INSERT INTO busy (v) SELECT repeat('x', 100) FROM generate_series(1, 100)")
            where = await shop.admin.fetchval("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
            confirmed.append(where)
            if len(set(confirmed)) == 4 and not came:
                await shop.run("INSERT INTO t VALUES (1)")
            if came:
                break
    assert came == [1]
    # What was confirmed is stored: the slot did not go further.
    where = await shop.admin.fetchval("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
    assert where <= page.position["lsn"]


async def test_nothing_is_confirmed_before_it_is_acknowledged(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    before = await shop.admin.fetchval("SELECT confirmed_flush_lsn FROM pg_replication_slots")
    await shop.run("INSERT INTO t VALUES (1)")
    again = await read(driver, "t", last.position, CDC)
    await read(driver, "t", again[-1].position, CDC)  # going on from a position confirms nothing either
    assert await shop.admin.fetchval("SELECT confirmed_flush_lsn FROM pg_replication_slots") == before
    await driver.acknowledge("t", again[-1].position)
    assert (
        await shop.admin.fetchval("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
        == again[-1].position["lsn"]
    )
    await driver.acknowledge("t", last.position)  # an older one does no harm


async def test_a_look_makes_nothing(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    pages = await read(shop.driver(), "t", None, replace(CDC, peek=True))
    assert values(pages) == [{"id": 1}] and await shop.slots() == []
    assert await shop.admin.fetch("SELECT 1 FROM pg_publication") == []


async def test_release_drops_slot_and_publication(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    driver = shop.driver()
    await read(driver, "t", None, CDC)
    await read(driver, "u", None, CDC)
    held = {slot.name: slot for slot in await driver.slots()}
    assert len(held) == 2 and held[SLOT].retained is not None and not held[SLOT].lost
    [found] = [stream for stream in await driver.discover() if stream.name == "t"]
    assert any(name == f"slot {SLOT}" and "of log" in said for name, said in found.facts)
    await driver.release("sales", "t")
    await driver.release("sales", "t")
    assert await shop.slots() == [slot_name("sales", "u")]
    assert len(await shop.admin.fetch("SELECT 1 FROM pg_publication")) == 1


async def test_a_stream_that_is_no_feed_any_more_gives_its_slot_up(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    options = replace(CDC, mode="snapshot")
    pages = await read(driver, "t", last.position, options)
    assert len(values(pages)) == 1 and await shop.slots() == [SLOT], (
        "nothing is given up before the page is stored"
    )
    await driver.acknowledge("t", pages[-1].position)
    assert await shop.slots() == []


SNAPSHOT = replace(CDC, mode="snapshot")


async def publications(shop: Shop) -> list[str]:
    return [row[0] for row in await shop.admin.fetch("SELECT pubname::text FROM pg_publication")]


@pytest.mark.parametrize("stored", ["feed", "scan", "nothing"])
@pytest.mark.parametrize("left", ["both", "slot", "publication"])
async def test_what_a_feed_left_goes_after_a_crash_in_between(shop: Shop, stored: str, left: str) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    [*_, feed_end] = await read(shop.driver(), "t", None, CDC)
    [*_, scan_end] = await read(shop.driver(), "t", feed_end.position, SNAPSHOT)  # stored, not acknowledged
    await read(shop.driver(), "t", None, replace(CDC, sync="other"))
    if left == "slot":
        await shop.run(f'DROP PUBLICATION "{SLOT}"')
    elif left == "publication":
        await lose(shop, "dropped")
    position = {"feed": feed_end.position, "scan": scan_end.position, "nothing": None}[stored]
    driver = shop.driver()
    for look in (replace(SNAPSHOT, peek=True), replace(SNAPSHOT, sync=""), replace(SNAPSHOT, sync="account")):
        [*_, last] = await read(driver, "t", None, look)
        await driver.acknowledge("t", last.position)
    assert (SLOT in await shop.slots()) is (left != "publication")
    assert (SLOT in await publications(shop)) is (left != "slot")
    [*_, last] = await read(driver, "t", position, SNAPSHOT)
    if last.position != position:  # the engine acknowledges only what is new
        await driver.acknowledge("t", last.position)
    others = [slot_name("other", "t")]
    assert await shop.slots() == others and await publications(shop) == others


async def test_what_a_feed_left_goes_at_the_next_attempt_when_one_fails(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    [page] = await read(driver, "t", last.position, SNAPSHOT)

    async def cut(*_: Any) -> None:
        raise TransientError("The connection was cut.")

    with monkeypatch.context() as patch:
        patch.setattr(slots, "drop", cut)
        with pytest.raises(TransientError):
            await driver.acknowledge("t", page.position)
    await driver.acknowledge("t", page.position)
    assert await shop.slots() == [] and await publications(shop) == []


async def test_a_slot_that_is_read_is_not_taken_for_left(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    feeding = shop.driver().read("t", None, replace(CDC, follow=True))
    async with contextlib.aclosing(feeding):  # type: ignore[type-var]
        async for page in feeding:
            if "scan" not in page.position:
                break
        await shop.run("INSERT INTO t VALUES (1)")
        await anext(feeding)
        driver = shop.driver()
        [*_, last] = await read(driver, "t", None, SNAPSHOT)
        await driver.acknowledge("t", last.position)
        assert await shop.slots() == [SLOT] and await publications(shop) == [SLOT]


async def test_a_user_who_may_not_drop_what_a_feed_left_is_told(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    await read(shop.driver(), "t", None, CDC)
    await shop.run("CREATE ROLE reader LOGIN PASSWORD 'reader-pass'; GRANT USAGE ON SCHEMA public TO reader")
    await shop.run("GRANT SELECT ON t TO reader")
    try:
        driver = shop.driver(user="reader", password="reader-pass")
        [page] = await read(driver, "t", None, SNAPSHOT)
        with pytest.raises(ConfigError, match="may not drop the replication slot") as caught:
            await driver.acknowledge("t", page.position)
        assert f"pg_drop_replication_slot('{SLOT}')" in caught.value.hint
    finally:
        await shop.run("DROP OWNED BY reader; DROP ROLE reader")


def test_names_are_short_readable_and_never_shared() -> None:
    names = {
        slot_name(sync, stream)
        for sync in ("a.b", "a_b", "A-b", "x" * 200)
        for stream in ("t", "public.t", "ä" * 99)
    }
    assert len(names) == 12 and all(len(name) <= 63 and name.isascii() for name in names)
    assert slot_name("Sales to DWH", "crm.orders").startswith("platint_sales_to_dwh_crm_orders_")


# --- what is lost ---------------------------------------------------------------------------------------


async def lose(shop: Shop, how: str) -> None:
    if how == "dropped":
        await shop.run(f"SELECT pg_drop_replication_slot('{SLOT}')")
    elif how == "moved on":
        await shop.run(f"SELECT pg_replication_slot_advance('{SLOT}', pg_current_wal_lsn())")
    elif how == "publication":
        await shop.run(f'DROP PUBLICATION "{SLOT}"; CREATE PUBLICATION "{SLOT}" FOR TABLE t')
    elif how == "replaced":
        await shop.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)")
    elif how == "given up":
        await shop.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        await shop.run("SELECT pg_reload_conf()")
        await shop.run("CREATE TABLE filler (v text)")
        for _ in range(3):
            await shop.run("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 2000)")
            await shop.run("SELECT pg_switch_wal()")
            await shop.run("CHECKPOINT")
        await shop.run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        await shop.run("SELECT pg_reload_conf()")


@pytest.mark.parametrize("how", ["dropped", "moved on", "publication", "replaced", "given up"])
async def test_what_is_lost_is_told_and_goes_on_as_the_integration_says(shop: Shop, how: str) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    driver = shop.driver()
    [*_, last] = await read(driver, "t", None, CDC)
    await driver.acknowledge("t", last.position)
    await shop.run("INSERT INTO t VALUES (2)")
    await lose(shop, how)
    for on_lost in ("ask", "stop"):
        with pytest.raises(PositionLost) as caught:
            await read(driver, "t", last.position, replace(CDC, on_lost=on_lost))
        assert caught.value.hint and "t" in caught.value.message
    skipped = await read(driver, "t", last.position, replace(CDC, on_lost="skip"))
    assert values(skipped) == [] and skipped[0].gaps[0].start == last.position["lsn"]
    await shop.run("INSERT INTO t VALUES (3)")
    assert [value["id"] for value in values(await read(driver, "t", skipped[-1].position, CDC))] == [3]
    again = (
        await read(driver, "t", last.position, replace(CDC, on_lost="resnapshot"))
        if how == "dropped"
        else None
    )
    if again is not None:  # its slot is there again, but further on
        assert {value["id"] for value in values(again)} == {1, 2, 3} and again[0].gaps


async def test_a_first_read_makes_slot_and_publication_anew(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    await read(shop.driver(), "t", None, CDC)
    await shop.run(f'INSERT INTO t VALUES (1); DROP PUBLICATION "{SLOT}"')
    await shop.run(f'INSERT INTO t VALUES (2); CREATE PUBLICATION "{SLOT}" FOR TABLE t WHERE (id < 2)')
    pages = await read(shop.driver(), "t", None, CDC)
    assert [value["id"] for value in values(pages)] == [1, 2] and await shop.slots() == [SLOT]
    await shop.run("INSERT INTO t VALUES (3)")
    assert values(await read(shop.driver(), "t", pages[-1].position, CDC)) == [{"id": 3}]


async def test_a_first_read_leaves_a_slot_that_somebody_reads(shop: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr(slots, "_BUSY_SECONDS", 0.2)
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    first = shop.driver().read("t", None, replace(CDC, follow=True))
    async with contextlib.aclosing(first):  # type: ignore[type-var]
        async for page in first:
            if "scan" not in page.position:
                break
        await shop.run("INSERT INTO t VALUES (1)")
        await anext(first)
        pid = await shop.admin.fetchval("SELECT active_pid FROM pg_replication_slots")
        with pytest.raises(TransientError, match=rf"is active for PID {pid}\.$"):
            await read(shop.driver(), "t", None, CDC)
        await shop.run("INSERT INTO t VALUES (2)")
        assert values([await anext(first)]) == [{"id": 2}]


@pytest.mark.parametrize("on_lost", ["ask", "stop", "skip", "resnapshot"])
@pytest.mark.parametrize("change", ["INSERT INTO t VALUES (2)", "SELECT 1"])
async def test_a_publication_that_goes_while_it_is_followed(shop: Shop, on_lost: str, change: str) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    driver = shop.driver(source={"heartbeat": 0.1})
    pages = driver.read("t", None, replace(CDC, follow=True, on_lost=on_lost))
    found: list[Page] = []

    async def follow() -> None:
        async for page in pages:
            found.append(page)
            if page.gaps:
                await shop.run("INSERT INTO t VALUES (3)")
            if len(found) == 2:
                await shop.run(f'DROP PUBLICATION "{SLOT}"; {change}')
            if any(record.value == {"id": 3} for record in page.records) and "scan" not in page.position:
                return

    async with contextlib.aclosing(pages), asyncio.timeout(10):  # type: ignore[type-var]
        if on_lost in ("ask", "stop"):
            with pytest.raises(PositionLost) as caught:
                await follow()
            assert ".." not in caught.value.sentence() and SLOT in caught.value.message
            return
        await follow()
    [gap] = [gap for page in found for gap in page.gaps]
    assert SLOT in gap.reason and ".." not in gap.reason and "lsn" in found[-1].position
    read_again = change.startswith("INSERT") and on_lost == "resnapshot"
    assert ({"id": 2} in values(found)) is read_again and {"id": 3} in values(found)


async def test_a_table_that_is_made_again_while_it_is_followed_is_read_again(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    options = replace(CDC, follow=True, on_lost="resnapshot")
    pages = shop.driver(source={"heartbeat": 0.1}).read("t", None, options)
    lost = False
    async with contextlib.aclosing(pages), asyncio.timeout(10):  # type: ignore[type-var]
        async for page in pages:
            lost = lost or bool(page.gaps)
            if "scan" not in page.position and not lost:
                await lose(shop, "replaced")
            if {"id": 7} in values([page]):
                break
    assert lost


async def test_a_feed_that_is_lost_again_and_again_ends(shop: Shop, monkeypatch: Any) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    [*_, last] = await read(shop.driver(), "t", None, CDC)

    async def unpublished(*_: Any) -> None:
        return None

    monkeypatch.setattr(slots, "publish", unpublished)
    await lose(shop, "dropped")
    await shop.run(f'DROP PUBLICATION "{SLOT}"')
    options = replace(CDC, follow=True, on_lost="resnapshot")
    with pytest.raises(PositionLost):
        async with asyncio.timeout(10):
            async for _ in shop.driver().read("t", last.position, options):
                await shop.run("INSERT INTO t SELECT count(*) FROM t")


@pytest.mark.parametrize("how", ["dropped", "replaced"])
async def test_skip_during_the_first_snapshot_reads_the_rest_of_the_table(shop: Shop, how: str) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 30)")
    driver = shop.driver(source={"chunk": 10})
    [first] = await read(driver, "t", None, CDC, most=1)
    await shop.run("DELETE FROM t WHERE id = 1")  # nobody will tell of this one
    await lose(shop, how)
    if how == "replaced":
        await shop.run("INSERT INTO t SELECT generate_series(8, 30)")
    pages = await read(driver, "t", first.position, replace(CDC, on_lost="skip"))
    [gap] = pages[0].gaps
    assert "rows that had been read before were not seen" in gap.reason and gap.start == first.position["lsn"]
    rest = range(11, 31) if how == "dropped" else range(7, 31)
    assert [value["id"] for value in values(pages)] == list(rest) and "scan" not in pages[-1].position
    await shop.run("INSERT INTO t VALUES (99)")
    assert values(await read(driver, "t", pages[-1].position, CDC)) == [{"id": 99}]


async def test_a_table_that_is_dropped_while_it_is_followed(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    driver = shop.driver(source={"heartbeat": 0.1})
    with pytest.raises(ConfigError, match="no table"):
        async for page in driver.read("t", None, replace(CDC, follow=True)):
            if "scan" not in page.position:
                await shop.run("DROP TABLE IF EXISTS t")


async def test_too_much_log_stops_the_stream(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    [*_, last] = await read(shop.driver(), "t", None, CDC)
    await shop.run("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g")
    with pytest.raises(ConfigError) as caught:
        await read(shop.driver(source={"max_retained": 1024 * 1024}), "t", last.position, CDC)
    assert SLOT in caught.value.message and "MiB" in caught.value.message
    assert "max_retained" in caught.value.hint and "pg_drop_replication_slot" in caught.value.hint
    assert len(values(await read(shop.driver(), "t", last.position, CDC))) == 3000


# --- what cannot be followed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "key", "part", "remedy"),
    [
        ("CREATE TABLE t (id int)", (), "no primary key", "REPLICA IDENTITY FULL"),
        ("CREATE TABLE t (id int)", ("id",), "is default", "REPLICA IDENTITY FULL"),
        (
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING",
            ("id",),
            "is nothing",
            "FULL",
        ),
        ("CREATE TABLE t (id int PRIMARY KEY, code text)", ("code",), "does not keep code", "FULL"),
        ("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)", ("id",), "not in the server's log", "SET LOGGED"),
        ("CREATE VIEW t AS SELECT 1 AS id", ("id",), "is no table", "snapshot"),
        (
            "CREATE TABLE t (id int NOT NULL) PARTITION BY LIST (id); ALTER TABLE t REPLICA IDENTITY FULL;"
            " CREATE TABLE part PARTITION OF t FOR VALUES IN (1)",
            ("id",),
            "part",
            "REPLICA IDENTITY FULL",
        ),
    ],
)
async def test_a_table_whose_changes_cannot_be_told_is_not_published(
    shop: Shop, made: str, key: tuple[str, ...], part: str, remedy: str
) -> None:
    await shop.run(made)
    with pytest.raises(ConfigError) as caught:
        await read(shop.driver(), "t", None, replace(CDC, key=key))
    assert part in caught.value.message and remedy in caught.value.hint
    assert await shop.slots() == [] and await shop.admin.fetch("SELECT 1 FROM pg_publication") == []


async def test_without_a_key_but_with_whole_rows_in_the_log_the_named_key_will_do(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int, v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'a'), (2, 'b')"
    )
    driver = shop.driver()
    pages = await read(driver, "t", None, CDC)
    await shop.run("UPDATE t SET v = 'c' WHERE id = 1; UPDATE t SET id = 5 WHERE id = 2")
    await shop.run("INSERT INTO t VALUES (3, 'd'); DELETE FROM t WHERE id = 3")
    pages += await read(driver, "t", pages[-1].position, CDC)
    assert replica(pages) == {"1": '{"id":1,"v":"c"}', "5": '{"id":5,"v":"b"}'}


async def test_the_owner_may_make_the_publication_for_a_user_with_few_rights(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    await shop.run("CREATE ROLE feeder LOGIN REPLICATION PASSWORD 'feeder-pass'")
    await shop.run("GRANT USAGE ON SCHEMA public TO feeder; GRANT SELECT ON t TO feeder")
    try:
        driver = shop.driver(user="feeder", password="feeder-pass")
        with pytest.raises(ConfigError) as caught:
            await read(driver, "t", None, CDC)
        assert "may not publish" in caught.value.message and await shop.slots() == []
        statement = caught.value.hint.partition("run: ")[2]
        assert statement.startswith("CREATE PUBLICATION")
        await shop.run(statement)
        pages = await read(driver, "t", None, CDC)
        await shop.run("INSERT INTO t VALUES (1)")
        assert values(await read(driver, "t", pages[-1].position, CDC)) == [{"id": 1}]
        await shop.run("ALTER ROLE feeder NOREPLICATION")
        with pytest.raises(ConfigError):
            await read(driver, "t", pages[-1].position, CDC)
        await shop.run(f"SELECT pg_drop_replication_slot('{SLOT}')")
        with pytest.raises(ConfigError, match="may not use replication") as caught:
            await read(driver, "t", None, CDC)
        assert "ALTER ROLE" in caught.value.hint
    finally:
        await shop.run("DROP OWNED BY feeder; DROP ROLE feeder")


async def test_a_slot_that_another_engine_reads_is_waited_for_and_then_told(
    shop: Shop, monkeypatch: Any
) -> None:
    monkeypatch.setattr(feed, "_BUSY_SECONDS", 0.2)
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    first = shop.driver().read("t", None, replace(CDC, follow=True))
    async with contextlib.aclosing(first):  # type: ignore[type-var]
        async for page in first:
            if "scan" not in page.position:
                break
        await shop.run("INSERT INTO t VALUES (1)")
        await anext(first)
        with pytest.raises(TransientError, match="in use"):
            await read(shop.driver(), "t", page.position, CDC)
    assert len(values(await read(shop.driver(), "t", page.position, CDC))) == 1


async def test_a_slot_that_an_old_transaction_holds_up_is_told(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    async with shop.admin.transaction():
        await shop.run("INSERT INTO t VALUES (2)")
        with pytest.raises(TransientError, match="a transaction has been open") as caught:
            await read(shop.driver(total=0.5), "t", None, CDC)
        assert "pg_stat_activity" in caught.value.hint
    found = await read(shop.driver(), "t", None, CDC)
    assert {value["id"] for value in values(found)} == {1, 2}


async def test_a_feed_needs_a_key_that_the_columns_have(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(ConfigError, match="cannot be read as"):
        await read(shop.driver(), "t", None, ReadOptions(mode="consume"))
    with pytest.raises(ConfigError, match="does not keep nothing_like_it"):
        await read(shop.driver(), "t", None, replace(CDC, key=("nothing_like_it",)))
