"""Mirrors: tables with the columns, the types and the key of the table that is read, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from drivers.everything import (
    QUICK,
    ROWS,
    differences,
    fill_source,
    make_source,
    read_all,
    rows_of,
    source_fields,
)
from drivers.warehouse import (
    ID,
    NAME,
    N,
    Postgres,
    Sqlite,
    Warehouse,
    batch,
    postgres,
    row,
    sqlite,
    warehouse,
)
from hypothesis import given

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.jsontext import canonical_key
from platint_tui.core.model import Field, Op, Row

__all__ = ["postgres", "sqlite", "warehouse"]


def field(name: str, native: str, kind: str = "any") -> Field:
    return Field(name, kind, native=native if ":" in native else f"postgresql:{native}")


# --- which table is one ---------------------------------------------------------------------------------


async def test_a_mirror_has_the_columns_and_the_key_and_nothing_else(postgres: Postgres) -> None:
    fields = [
        ID,
        field("price", "numeric(12,2)", "number"),
        field("at", "timestamp(3) with time zone", "timestamp"),
        field("tags", "text[]", "array"),
        field("mood", "mood", "string"),
        field("shape", "polygon", "string"),
        field("place", "xml", "string"),
    ]
    target = await postgres.mirror(*fields)
    assert await postgres.columns() == {
        "id": "integer",
        "price": "numeric(12,2)",
        "at": "timestamp(3) with time zone",
        "tags": "text[]",
        "mood": "text",
        "shape": "text",
        "place": "text",
        "_version": "jsonb",
        "_synced_at": "timestamp with time zone",
    }
    needed = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'charges'::regclass AND attnotnull AND attnum > 0"
    assert sorted(name for (name,) in await postgres.rows(needed)) == ["_synced_at", "id"]
    assert await postgres.rows("SELECT target, layout, key::text FROM _platint_tables") == [
        ("charges", "mirror", '["id"]')
    ]
    assert (await target.write(batch(row({"id": 1, "price": None})))).written == 1
    assert await postgres.rows("SELECT id, _synced_at > now() - interval '1 minute' FROM charges") == [
        (1, True)
    ]


COUNTERPARTS = [
    ("mongodb:decimal128", "numeric"),
    ("mongodb:objectId", "text"),
    ("mongodb:date", "timestamp with time zone"),
    ("mysql:decimal(10,2)", "numeric(10,2)"),
    ("mysql:bigint(20) unsigned", "numeric(20,0)"),
    ("mysql:varbinary(16)", "bytea"),
    ("mysql:datetime(6)", "timestamp without time zone"),
    ("mysql:timestamp", "timestamp with time zone"),
    ("mysql:enum('a','b')", "text"),
    ("mysql:json", "jsonb"),
    ("mssql:uniqueidentifier", "uuid"),
    ("mssql:bit", "boolean"),
    ("oracle:number(10)", "numeric(10,0)"),
    ("unheard:of", "text"),
    ("postgresql:interval; DROP TABLE charges", "text"),
]


async def test_types_of_other_databases_have_a_counterpart(postgres: Postgres) -> None:
    fields = [Field(f"x{at}", "string", native=native) for at, (native, _) in enumerate(COUNTERPARTS)]
    await postgres.mirror(ID, *fields)
    found = await postgres.columns()
    assert [found[item.name] for item in fields] == [kind for _, kind in COUNTERPARTS]


async def test_without_a_key_or_with_a_column_unknown_it_is_no_mirror(warehouse: Warehouse) -> None:
    for number, changes in enumerate(({"key": ()}, {"key": ("nested.id",)}, {"typed": False})):
        await warehouse.open(ID, NAME, target=f"t{number}", **{"typed": True, **changes})
        assert {"_key", "_raw"} <= set(await warehouse.columns(f"t{number}"))
    await warehouse.mirror(ID, field("doc", "json"), key=("doc",), target="t9")
    assert "_raw" in await warehouse.columns("t9")


async def test_a_table_of_the_other_layout_stays_as_it_is(warehouse: Warehouse) -> None:
    first = await warehouse.open(ID, NAME)
    await first.write(batch(row({"id": 1, "name": "x"}), seq=1))
    second = await warehouse.mirror(ID, NAME)
    assert not second.takes and "_raw" in await warehouse.columns()
    assert (await second.write(batch(row({"id": 1, "name": "y"}), seq=2))).written == 1
    assert await warehouse.rows("SELECT name FROM charges") == [("y",)]


async def test_a_mirror_stays_one_when_the_columns_are_not_known_for_once(warehouse: Warehouse) -> None:
    first = await warehouse.mirror()
    await first.write(batch(row({"id": 1, "name": "x", "n": 1}), seq=1))
    again = await warehouse.open(run="run_2")
    assert (await again.write(batch(row({"id": 2, "name": "y", "n": 2}), seq=2))).written == 1
    assert "_raw" not in await warehouse.columns()
    assert await warehouse.rows("SELECT id, name, n FROM charges ORDER BY id") == [(1, "x", 1), (2, "y", 2)]
    held = await again.confirmed()
    assert held is not None and held.seq == 2


async def test_somebody_elses_table_is_no_mirror(warehouse: Warehouse) -> None:
    await warehouse.execute("CREATE TABLE charges (id integer PRIMARY KEY, name text, n integer)")
    with pytest.raises(ConfigError) as caught:
        await warehouse.mirror()
    assert caught.value.code == "target_shape"
    assert list(await warehouse.columns()) == ["id", "name", "n"]


async def test_a_mirror_with_another_key_is_refused(warehouse: Warehouse) -> None:
    await warehouse.mirror()
    with pytest.raises(ConfigError, match="is id, that of the stream 'charges' is id, name") as caught:
        await warehouse.mirror(key=("id", "name"))
    assert caught.value.code == "target_shape"
    if warehouse.kind == "postgresql":
        await warehouse.execute("ALTER TABLE charges DROP CONSTRAINT charges_pkey")
        with pytest.raises(ConfigError, match="primary key is not id"):
            await warehouse.mirror()


async def test_a_mapping_that_puts_other_values_under_the_keys_name_is_noticed(warehouse: Warehouse) -> None:
    target = await warehouse.mirror()
    swapped = Row("[1]", "{}", {"id": 7, "name": "x", "n": 1}, None, "")
    with pytest.raises(ConfigError) as caught:
        await target.write(batch(swapped, seq=1))
    assert caught.value.code == "target_key" and await target.confirmed() is None
    assert await warehouse.rows("SELECT count(*) FROM charges") == [(0,)]


async def test_a_table_that_was_dropped_is_made_again(warehouse: Warehouse) -> None:
    first = await warehouse.mirror()
    await first.write(batch(row({"id": 1, "name": "x"}), seq=3))
    await warehouse.execute("DROP TABLE charges")
    plain = await warehouse.open(ID, NAME, run="run_2")
    assert await plain.confirmed() is None and "_raw" in await warehouse.columns()
    assert await warehouse.rows("SELECT * FROM _platint_tables") == []


# --- what is in it --------------------------------------------------------------------------------------


async def test_rows_are_replaced_by_their_key_unless_older(warehouse: Warehouse) -> None:
    at = field("at", "timestamp with time zone", "timestamp")
    target = await warehouse.mirror(ID, NAME, at, cursor="at")
    new, old = "2026-01-01T12:00:00.500000+00:00", "2026-01-01T12:00:00+00:00"
    await target.write(batch(row({"id": 1, "name": "new", "at": new}, version=new)))
    late = [row({"id": 1, "name": "old", "at": old}, version=old), row({"id": 2, "name": "two"})]
    result = await target.write(batch(*late))
    assert (result.written, result.superseded) == (1, 1)
    assert (await target.write(batch(row({"id": 1, "name": "same", "at": new}, version=new)))).written == 1
    assert await warehouse.rows("SELECT id, name FROM charges ORDER BY id") == [(1, "same"), (2, "two")]


async def test_a_bad_row_is_found_among_good_ones(warehouse: Warehouse) -> None:
    day, tags = field("day", "date"), field("tags", "integer[]", "array")
    target = await warehouse.mirror(ID, NAME, N, day, tags)
    bad: dict[str, Any] = {
        "n": 2**40,
        "name": "a\0b",
        "day": "now",
        "tags": ["x"],
    }
    rows = [row({"id": at, "name": "good", "day": "2026-01-02", "tags": [1]}) for at in range(40)]
    places = dict(zip((3, 11, 20, 39), bad, strict=True))
    for at, name in places.items():
        rows[at] = row({**rows[at].value, name: bad[name]})
    rows.append(row({"id": None, "name": "no key"}, key="name"))
    result = await target.write(batch(*rows, seq=1))
    refused = [at for at, _ in result.faults]
    if warehouse.kind == "postgresql":
        assert refused == [*places, 40] and result.written == 36
        await warehouse.execute("ALTER TABLE charges ADD CONSTRAINT few CHECK (id < 100)")
    else:
        assert refused == [40] and result.written == 40  # it holds them all, but for the key
        await warehouse.execute(
            "CREATE TRIGGER few BEFORE INSERT ON charges WHEN NEW.id >= 100 BEGIN SELECT RAISE(ABORT, 'few'); END"
        )
    more = [row({"id": at, "name": "x"}) for at in range(95, 105)]
    result = await target.write(batch(*more, row({"id": 0}, Op.DELETE), seq=2))
    assert [(at, fault.code) for at, fault in result.faults] == [(at, "constraint") for at in range(5, 10)]
    assert result.written == 6


async def test_the_account_lists_the_keys_as_the_source_writes_them(warehouse: Warehouse) -> None:
    keys = [
        (field("a", "bigint", "integer"), [2**62, -5]),
        (field("a", "uuid", "string"), ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
        (
            field("a", "timestamp with time zone", "timestamp"),
            ["2026-01-02T03:04:05.600000+00:00", "infinity"],
        ),
        (field("a", "bytea", "string"), [b64encode(bytes(range(99))).decode()]),
        (field("a", "boolean", "boolean"), [True, False]),
        (field("a", "numeric(30,0)", "number"), [10**25, 7]),
    ]
    for number, (key, values) in enumerate(keys):
        name = f"t{number}"
        target = await warehouse.mirror(key, field("b", "text", "string"), key=("a", "b"), target=name)
        wanted = {canonical_key([value, 'x"y']) for value in values}
        rows = [
            Row(canonical_key([value, 'x"y']), "{}", {"a": value, "b": 'x"y'}, None, "") for value in values
        ]
        assert (await target.write(batch(*rows))).written == len(values)
        found = {item async for item in warehouse.driver.scan_keys(name)}
        assert found == {(item, None) for item in wanted}
    assert [item async for item in warehouse.driver.scan_keys("nowhere")] == []


async def test_many_keys_are_listed_once_each(warehouse: Warehouse) -> None:
    target = await warehouse.mirror()
    await target.write(batch(*(row({"id": at, "name": "x"}) for at in range(4_500))))
    found = [key async for key, _ in warehouse.driver.scan_keys("charges")]
    assert found == [f"[{at}]" for at in range(4_500)]


async def test_a_mirror_is_discovered_as_a_target(sqlite: Sqlite) -> None:
    await sqlite.mirror()
    [stream] = await sqlite.driver.discover()
    assert stream.writable and stream.key == ("id",) and not stream.notes
    assert [item.name for item in stream.fields] == ["id", "name", "n"]


async def test_a_full_disk_of_the_server_is_a_typed_error(postgres: Postgres) -> None:
    target = await postgres.mirror()
    await postgres.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
        " CREATE TRIGGER disk BEFORE INSERT ON charges FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises((ConfigError, SystemicError), match="disk of the database server is full") as caught:
        await target.write(batch(row({"id": 1}), seq=1))
    assert caught.value.code == "53100"
    assert await postgres.rows("SELECT count(*) FROM _platint_positions") == [(0,)]


# --- every value survives -------------------------------------------------------------------------------


@QUICK
@given(rows=ROWS)
async def test_every_value_of_every_type_survives_to_a_mirror(postgres: Postgres, rows: Any) -> None:
    await make_source(postgres)
    await fill_source(postgres, rows)
    target = await postgres.mirror(*await source_fields(postgres), target="copy")
    pages = await read_all(postgres)
    assert not any(page.bad for page in pages)
    records = [record for page in pages for record in page.records]
    result = await target.write(batch(row({}, Op.TRUNCATE), *rows_of(records)))
    assert (result.written, list(result.faults)) == (len(rows) + 1, [])
    await postgres.close_targets()
    assert await differences(postgres, "copy") == []


@QUICK
@given(rows=ROWS)
async def test_every_value_of_every_type_survives_to_a_table_that_keeps_texts(
    postgres: Postgres, rows: Any
) -> None:
    await make_source(postgres)
    await fill_source(postgres, rows)
    target = await postgres.open(*await source_fields(postgres), target="copy")
    records = [record for page in await read_all(postgres) for record in page.records]
    result = await target.write(batch(row({}, Op.TRUNCATE), *rows_of(records)))
    assert (result.written, list(result.faults)) == (len(rows) + 1, [])
    await postgres.close_targets()
    assert await differences(postgres, "copy") == []
    kept = await postgres.rows("SELECT _raw FROM copy ORDER BY id")
    assert [raw for (raw,) in kept] == [
        record.raw for record in sorted(records, key=lambda item: item.value["id"])
    ]
