from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from drivers.postgresql_source.conftest import CDC, Shop, connected, read, replica, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platint_tui.core.errors import ConfigError, NotFound, SystemicError, TransientError
from platint_tui.core.model import Block, Page, ReadOptions
from platint_tui.drivers.postgresql import rows, table
from platint_tui.drivers.postgresql.catalog import Column
from platint_tui.drivers.postgresql.keyset import Keyset

ALL = ReadOptions(key=("id",))


def ids(pages: list[Page]) -> list[Any]:
    return [value["id"] for value in values(pages)]


KEYS = {
    "integer": "g - 20",
    "numeric(8,3)": "g * 1.5 - 20",
    "double precision": "CASE g WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE g / 7.0 END::float8",
    "text": "chr(40 + g % 80) || g || '''\\' || chr(9)",
    'text COLLATE "C"': "chr(200 + g) || g",
    "character(6)": "g::text || ' x'",
    "uuid": "md5(g::text)::uuid",
    "timestamp with time zone": "'2026-03-29 00:59:59.999999+00'::timestamptz + g * interval '17 min 1 us'",
    "date": "CASE g WHEN 5 THEN '-infinity'::date WHEN 6 THEN '0044-03-15 BC'::date ELSE '2026-01-01'::date + g END",
    "interval": "g * interval '1 mon -3 days 1.5 sec'",
    "bytea": "decode(md5(g::text), 'hex')",
    "inet": "('10.0.0.' || g)::inet",
    "mood": "(enum_range(NULL::mood))[g]",
    "bit(8)": "g::bit(8)",
    "shout": "'A' || g",
    "integer[]": "ARRAY[g % 3, g]",
}


@pytest.mark.parametrize("form", ["", "tuples", "pgcopy"])
async def test_keys_of_every_type_are_read_in_the_order_of_the_database(shop: Shop, form: str) -> None:
    moods = ", ".join(f"'m{(at * 7) % 40} '''" for at in range(40))
    await shop.run(
        f"CREATE TYPE mood AS ENUM ({moods}); CREATE DOMAIN shout AS text CHECK (value = upper(value))"
    )
    driver = shop.driver(source={"chunk": 7})
    chosen = {kind: KEYS[kind] for kind in ("numeric(8,3)", "text", "mood", "integer[]")} if form else KEYS
    for at, (kind, made) in enumerate(chosen.items()):
        await shop.run(f"CREATE TABLE t{at} (id {kind} PRIMARY KEY, n int)")
        await shop.run(f"INSERT INTO t{at} SELECT {made}, g FROM generate_series(1, 40) g")
        expected = [row[0] for row in await shop.admin.fetch(f"SELECT n FROM t{at} ORDER BY id")]
        pages = await read(driver, f"t{at}", None, replace(ALL, forms=frozenset({form} - {""})))
        assert [len(page.records) for page in pages] == [7] * 5 + [5]
        found = [value["n"] for value in values(pages)]
        assert (sorted(found), found)[not form] == (sorted(expected), expected)[not form], kind
        rest = await read(driver, f"t{at}", pages[2].position, ALL)
        assert sorted(value["n"] for value in values(rest)) == sorted(expected[21:]), kind
        assert all(isinstance(page.records, Block) == bool(form) for page in pages)


async def test_keys_of_several_columns_and_keys_that_are_no_primary_key(shop: Shop) -> None:
    await shop.run('CREATE TABLE t (b text COLLATE "C", "A \'""" int, id int, PRIMARY KEY (b, "A \'""", id))')
    await shop.run("INSERT INTO t SELECT chr(65 + g % 3), g % 5, g FROM generate_series(1, 60) g")
    driver = shop.driver(source={"chunk": 11})
    found = ids(await read(driver, "t", None, ALL))
    assert found == [row[0] for row in await shop.admin.fetch('SELECT id FROM t ORDER BY b, "A \'""", id')]
    await shop.run("CREATE TABLE u (code text, id int NOT NULL, part int NOT NULL)")
    await shop.run("CREATE UNIQUE INDEX ON u (code); CREATE UNIQUE INDEX ON u (part) WHERE part > 0")
    await shop.run("CREATE UNIQUE INDEX ON u (part, id) INCLUDE (code)")
    streams = {stream.name: stream for stream in await driver.discover()}
    assert streams["u"].key == ("part", "id") and streams["t"].key == ("b", "A '\"", "id")


async def test_rows_of_any_size_are_held_in_small_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_BYTES", 40_000)
    monkeypatch.setattr(table, "GOAL_BYTES", 10_000)
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int, v text)")
    sizes = "CASE WHEN g % 40 = 0 THEN 100000 WHEN g > 150 THEN 3000 ELSE 5 END"
    for name in ("t", "u"):
        await shop.run(f"INSERT INTO {name} SELECT g, repeat('x', {sizes}) FROM generate_series(1, 200) g")
    await shop.run("CREATE VIEW v AS SELECT * FROM t")
    for name in ("t", "u", "v"):
        pages = await read(shop.driver(), name, None, ALL)
        assert sorted(ids(pages)) == list(range(1, 201))
        assert max(page.bytes for page in pages) < 300_000 and len(pages) > 5
        for form in ("tuples", "pgcopy"):
            blocks = await read(shop.driver(), name, None, replace(ALL, forms=frozenset({form})))
            assert sorted(ids(blocks)) == list(range(1, 201))
        half = pages[len(pages) // 2]
        rest = await read(shop.driver(), name, half.position, ALL)
        assert set(ids(pages[: len(pages) // 2 + 1])) | set(ids(rest)) == set(range(1, 201))


async def test_a_view_is_read_by_a_named_key_with_ties_and_nulls(shop: Shop) -> None:
    await shop.run("CREATE TABLE base (a int, b text, id int); CREATE VIEW v AS SELECT * FROM base")
    chosen = random.Random(3)
    wanted = [(chosen.choice([None, 1, 2, 3]), chosen.choice([None, "x", "y"]), at) for at in range(200)]
    await shop.admin.copy_records_to_table("base", records=wanted)
    driver = shop.driver(source={"chunk": 7})
    for key in (("a",), ("a", "b"), ("b", "a"), ("a", "id")):
        pages = await read(driver, "v", None, ReadOptions(key=key))
        assert sorted(ids(pages)) == list(range(200)) and len(pages) > 1
        for form in ("tuples", "pgcopy"):
            blocks = await read(driver, "v", None, ReadOptions(key=key, forms=frozenset({form})))
            assert sorted(ids(blocks)) == list(range(200))
    with pytest.raises(ConfigError, match="no key by which") as caught:
        await read(driver, "v", None, ReadOptions())
    assert "`key`" in caught.value.hint
    assert len(values(await read(driver, "v", None, ReadOptions(peek=True)))) == 7
    with pytest.raises(ConfigError, match="no column 'nothing'"):
        await read(driver, "v", None, ReadOptions(key=("nothing",)))


nullable = st.none() | st.integers(0, 3)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(nullable, nullable, nullable), max_size=25), st.booleans())
async def test_conditions_of_a_keyset_part_the_rows_as_the_order_does(
    shop: Shop, wanted: list[tuple[int | None, ...]], solid: bool
) -> None:
    if solid:
        wanted = [row for row in wanted if None not in row]
    keyset = Keyset(tuple(Column(name, 23, "integer", solid) for name in "abc"), False)
    held = ", ".join(
        f"({', '.join('NULL::int' if item is None else str(item) for item in row)})" for row in wanted
    )
    if not wanted:
        return
    source = f"(VALUES {held}) AS r (a, b, c)"
    ordered = [tuple(row) for row in await shop.admin.fetch(f"SELECT a, b, c FROM {source} ORDER BY a, b, c")]
    for row in set(ordered):
        texts = [None if item is None else str(item) for item in row]
        last = len(ordered) - ordered[::-1].index(row)
        for condition, part in ((keyset.after(texts), ordered[last:]), (keyset.up_to(texts), ordered[:last])):
            found = await shop.admin.fetch(f"SELECT a, b, c FROM {source} WHERE {condition} ORDER BY a, b, c")
            assert [tuple(item) for item in found] == part


@pytest.mark.parametrize("form", ["", "tuples"])
async def test_a_table_without_a_key_is_read_by_its_blocks(shop: Shop, form: str) -> None:
    await shop.run(
        "CREATE TABLE t (id int, v text); INSERT INTO t SELECT g, repeat('x', 300) FROM generate_series(1, 4000) g"
    )
    await shop.run("DELETE FROM t WHERE id % 5 = 0; INSERT INTO t SELECT * FROM t WHERE id = 1")
    await shop.run("CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE TABLE empty (id int)")
    options = ReadOptions(forms=frozenset({form} - {""}))
    for name in ("t", "m"):
        pages = await read(shop.driver(), name, None, options)
        assert len(ids(pages)) == 3201 and len(pages) >= 3
        seen: list[Any] = []
        position, last = None, False
        while not last:
            [page] = await read(shop.driver(), name, position, options, most=1)
            seen += ids([page])
            position, last = page.position, page.last
        assert sorted(seen) == sorted(ids(pages))
    assert ids(await read(shop.driver(), "empty", None, options)) == []


async def test_partitions_without_a_key_are_read_one_after_the_other(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int, v text) PARTITION BY RANGE (id)")
    await shop.run(
        "CREATE TABLE low (v text, id int); ALTER TABLE t ATTACH PARTITION low FOR VALUES FROM (0) TO (50)"
    )
    await shop.run("CREATE TABLE high PARTITION OF t FOR VALUES FROM (50) TO (1000) PARTITION BY RANGE (id)")
    await shop.run("CREATE TABLE higher PARTITION OF high FOR VALUES FROM (50) TO (1000)")
    await shop.run("INSERT INTO t SELECT g, 'v' || g FROM generate_series(0, 999) g; ANALYZE")
    driver = shop.driver()
    pages = await read(driver, "t")
    assert sorted(ids(pages)) == list(range(1000))
    assert ids(await read(driver, "t", pages[0].position)) == ids(pages[1:])
    [stream] = await driver.discover()
    assert (stream.kind, stream.estimate, stream.key) == ("partitioned table", 1000, ())


async def test_chosen_columns_and_the_key_are_read_and_nothing_else(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b jsonb, c text); INSERT INTO t VALUES (1, 2, '{\"x\":3}', 'c')"
    )
    options = replace(ALL, columns=("a", "b.x"))
    for form in ("", "tuples", "pgcopy"):
        pages = await read(shop.driver(), "t", None, replace(options, forms=frozenset({form} - {""})))
        assert values(pages) == [{"id": 1, "a": 2, "b": {"x": 3}}]


async def test_columns_that_change_while_a_table_is_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_LOOK_EVERY", 0.0)
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT g, g FROM generate_series(1, 30) g"
    )
    found: list[Page] = []
    async for page in shop.driver(source={"chunk": 10}).read("t", None, ALL):
        found.append(page)
        if len(found) == 1:
            await shop.run("ALTER TABLE t DROP a, ADD b text DEFAULT 'new'")
    assert ids(found) == list(range(1, 31)) and values(found)[-1] == {"id": 30, "b": "new"}


# --- by a cursor ------------------------------------------------------------------------------------------


async def test_only_what_is_new_by_the_cursor_is_read_again(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
    await shop.run(
        "INSERT INTO t SELECT g, '2026-01-01'::timestamptz + g / 10 * interval '1 min' FROM generate_series(1, 100) g"
    )
    await shop.run("INSERT INTO t VALUES (201, NULL), (202, 'infinity'), (203, NULL)")
    driver = shop.driver(source={"chunk": 7, "overlap": 0.0})
    options = replace(ALL, cursor="at", mode="cursor")
    pages = await read(driver, "t", None, options)
    assert sorted(ids(pages)) == [*range(1, 101), 201, 202, 203]
    for page in pages[:-1]:  # interrupted anywhere, the same scan goes on
        rest = await read(driver, "t", page.position, options)
        assert set(ids(pages[: pages.index(page) + 1])) | set(ids(rest)) == set(ids(pages))
        assert rest[-1].position == pages[-1].position
    assert ids(await read(driver, "t", pages[-1].position, options)) == [100], "the boundary is read again"
    await shop.run(
        "UPDATE t SET at = '2026-02-01' WHERE id = 50; INSERT INTO t VALUES (300, '2026-01-01 00:10'), (301, NULL)"
    )
    later = await read(driver, "t", pages[-1].position, options)
    assert ids(later) == [100, 300, 50]
    assert ids(await read(driver, "t", later[-1].position, options)) == [50]
    overlapping = shop.driver(source={"overlap": 3600.0 * 24 * 31})
    assert len(ids(await read(overlapping, "t", later[-1].position, options))) > 90
    await shop.run("DELETE FROM t")
    none = await read(driver, "t", later[-1].position, options)
    assert ids(none) == [] and none[-1].position == later[-1].position


@pytest.mark.parametrize(
    ("kind", "values_of"),
    [
        ("bigint", "g"),
        ("numeric", "g * 0.5"),
        ("text", "to_char(g, '00000')"),
        ("date", "'2026-01-01'::date + g"),
    ],
)
async def test_cursors_of_other_types_with_and_without_a_key(shop: Shop, kind: str, values_of: str) -> None:
    await shop.run(f"CREATE TABLE t (id int PRIMARY KEY, c {kind}); CREATE TABLE u (id int, c {kind})")
    await shop.run("CREATE VIEW v AS SELECT * FROM u")
    for name in ("t", "u"):
        await shop.run(f"INSERT INTO {name} SELECT g, {values_of} FROM generate_series(1, 30) g")
        await shop.run(f"INSERT INTO {name} VALUES (99, NULL)")
    driver = shop.driver(source={"chunk": 8})
    for name, forms in (("t", ("", "tuples", "pgcopy")), ("u", ("",)), ("v", ("",))):
        for form in forms:
            options = ReadOptions(
                key=() if name != "t" else ("id",), cursor="c", forms=frozenset({form} - {""})
            )
            pages = await read(driver, name, None, options)
            assert sorted(ids(pages)) == [*range(1, 31), 99]
            assert ids(await read(driver, name, pages[-1].position, options))[-1:] == [30]
    if kind == "numeric":
        await shop.run("INSERT INTO t VALUES (100, 'NaN')")
        again = await read(driver, "t", None, ReadOptions(key=("id",), cursor="c"))
        assert again[-1].position["scan"]["since"] == "15.0"


async def test_a_cursor_must_be_named_and_be_there(shop: Shop) -> None:
    await shop.run("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(ConfigError, match="none is named"):
        await read(shop.driver(), "t", None, replace(ALL, mode="cursor"))
    with pytest.raises(ConfigError, match="no column 'gone'"):
        await read(shop.driver(), "t", None, replace(ALL, cursor="gone"))


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happens", "part", "hint"),
    [
        ("DROP TABLE t", "dropped or altered", "Discover"),
        ("REVOKE SELECT ON t FROM clerk", "may not read", 'GRANT SELECT ON "public"."t" TO "clerk"'),
        ("ALTER TABLE t DROP v", "dropped or altered", "goes on where it was"),
    ],
)
async def test_what_happens_to_a_table_while_it_is_read(
    shop: Shop, happens: str, part: str, hint: str
) -> None:
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g FROM generate_series(1, 30) g"
    )
    await shop.run("CREATE ROLE clerk LOGIN PASSWORD 'clerk-pass'")
    await shop.run("GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT ON t TO clerk")
    try:
        pages = shop.driver(source={"chunk": 10}, user="clerk", password="clerk-pass").read("t", None, ALL)
        first = await anext(aiter(pages))
        await shop.run(happens)
        with pytest.raises(ConfigError) as caught:
            await anext(aiter(pages))
        assert part in caught.value.message and hint in caught.value.hint
        if "ALTER" in happens:
            assert len(ids(await read(shop.driver(), "t", first.position, ALL))) == 20
    finally:
        await shop.run("DROP OWNED BY clerk; DROP ROLE clerk")


async def test_a_server_that_goes_away_in_the_middle(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT g FROM generate_series(1, 30) g"
    )
    pages = shop.driver(source={"chunk": 10}).read("t", None, ALL)
    first = await anext(aiter(pages))
    await shop.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'platint-tui'"
    )
    with pytest.raises(TransientError):
        await anext(aiter(pages))
    assert len(ids(await read(shop.driver(), "t", first.position, ALL))) == 20


async def test_a_text_that_is_no_utf8_is_told(shop: Shop) -> None:
    await shop.run("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    try:
        admin = await connected(shop.server, "plain")
        await admin.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'ok')")
        driver = shop.driver(database="plain")
        [*_, last] = await read(driver, "t", None, CDC)
        await admin.execute("INSERT INTO t VALUES (2, convert_from('\\xff61', 'SQL_ASCII'))")
        for mode, position in (("snapshot", None), ("cdc", last.position)):
            with pytest.raises(ConfigError, match="is not UTF-8") as caught:
                await read(driver, "t", position, replace(CDC, mode=mode))
            assert "goes on where it was" in caught.value.hint
        await driver.release("sales", "t")
        await admin.close()
    finally:
        await shop.run("DROP DATABASE plain WITH (FORCE)")


async def test_an_error_of_a_view_is_not_the_fault_of_a_record(shop: Shop) -> None:
    await shop.run("CREATE VIEW v AS SELECT 1 / (g - 5) AS id FROM generate_series(1, 9) g")
    with pytest.raises(SystemicError, match="division by zero"):
        await read(shop.driver(), "v", None, ALL)


async def test_names_mean_the_profiles_schema_first(shop: Shop) -> None:
    await shop.run("CREATE SCHEMA crm; CREATE TABLE crm.t (id int PRIMARY KEY); INSERT INTO crm.t VALUES (1)")
    await shop.run('CREATE TABLE "crm.t" (id int PRIMARY KEY); INSERT INTO "crm.t" VALUES (2)')
    assert ids(await read(shop.driver(), "crm.t")) == [2]
    assert ids(await read(shop.driver(schema="crm"), "t")) == [1]
    await shop.run('DROP TABLE "crm.t"')
    assert ids(await read(shop.driver(), "crm.t")) == [1]
    with pytest.raises(NotFound, match="no table or view 'pg_class_gone'"):
        await read(shop.driver(), "pg_class_gone")
    assert replica(await read(shop.driver(), "crm.t", None, ALL)) == {"1": '{"id":1}'}
