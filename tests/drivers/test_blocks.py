"""Blocks: rows that go to a mirror as they came, and the records that they stand for."""

from __future__ import annotations

import json
from base64 import b64decode
from decimal import Decimal
from typing import Any

import pytest
from drivers.everything import (
    KINDS,
    NAMES,
    QUICK,
    ROWS,
    differences,
    fill_source,
    make_source,
    read_all,
    rows_of,
    source_fields,
)
from drivers.test_postgresql_target import Proxy
from drivers.warehouse import Postgres, Sqlite, Warehouse, batch, postgres, sqlite, warehouse
from hypothesis import given

from platint_tui.core.errors import BlockRefused, Fenced
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Block, Field
from platint_tui.drivers.postgresql import PostgresqlDriver
from platint_tui.drivers.postgresql.blocks import CopyBlock, TupleBlock, read_block

__all__ = ["postgres", "sqlite", "warehouse"]

_SOURCE = """
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE source (id integer PRIMARY KEY, name text, price numeric(12,2), at timestamptz, fits size, doc json);
INSERT INTO source SELECT n, 'row ' || n, n / 4.0, timestamptz '2026-01-01 00:00:00+00' + n * interval '1.5 s',
  'small', '{"n": 1, "n": 2}' FROM generate_series(1, 100) n;
"""
FIELDS = (
    Field("id", "integer", native="postgresql:integer"),
    Field("name", "string", native="postgresql:text"),
    Field("price", "number", native="postgresql:numeric(12,2)"),
    Field("at", "timestamp", native="postgresql:timestamp with time zone"),
    Field("fits", "string", native="postgresql:size"),
    Field("doc", "any", native="postgresql:json"),
)
COLUMNS = ", ".join(field.name for field in FIELDS)


async def block_of(postgres: Postgres, form: str, query: str = f"SELECT {COLUMNS} FROM source") -> Any:
    return await read_block(postgres.admin, query, (), FIELDS, form)


async def same(postgres: Postgres) -> bool:
    """Whether the mirror is the source."""
    left, right = f"SELECT {COLUMNS} FROM source", f"SELECT {COLUMNS} FROM charges"
    texts = [await postgres.rows(f"SELECT q::text FROM ({query}) q ORDER BY id") for query in (left, right)]
    return texts[0] == texts[1]


# --- what a block is ------------------------------------------------------------------------------------


@QUICK
@given(rows=ROWS)
async def test_a_block_stands_for_the_records_of_the_rows(postgres: Postgres, rows: Any) -> None:
    await make_source(postgres)
    await fill_source(postgres, rows)
    plain = [record for page in await read_all(postgres) for record in page.records]
    for form, kind in (("pgcopy", CopyBlock), ("tuples", TupleBlock)):
        blocks = [page.records for page in await read_all(postgres, form) if isinstance(page.records, Block)]
        assert blocks and all(type(block) is kind and block.form == form for block in blocks)
        records = [record for block in blocks for record in block]
        assert sum(map(len, blocks)) == len(rows) and [*blocks[0]] == list(blocks[0][:])
        assert sorted(records, key=lambda item: item.value["id"]) == plain
        assert all(block.size > 0 and block.columns == ("id", *NAMES) for block in blocks)


async def test_a_block_takes_arguments_and_may_be_empty(postgres: Postgres) -> None:
    await postgres.execute(_SOURCE)
    for form in ("pgcopy", "tuples"):
        query = f"SELECT {COLUMNS} FROM source WHERE id > $1"
        assert len(await read_block(postgres.admin, query, (97,), FIELDS, form)) == 3
        empty = await read_block(postgres.admin, query, (100,), FIELDS, form)
        assert len(empty) == 0 and list(empty) == []
    assert list(empty.tuples()) == []


async def test_json_that_strict_readers_refuse_goes_whole_or_is_refused_as_a_record(
    postgres: Postgres,
) -> None:
    await postgres.execute(_SOURCE)
    target = await postgres.mirror(*FIELDS)
    block = await block_of(postgres, "pgcopy")
    assert (await target.write(batch(blocks=[block]))).written == 100 and await same(postgres)
    rows = rows_of(list(block))
    assert rows[0].value["id"] == 1 and rows[0].raw == dumps(rows[0].value)
    result = await target.write(batch(*rows[:3]))
    assert result.written == 0 and [fault.code for _, fault in result.faults] == ["unreadable"] * 3


# --- PostgreSQL -----------------------------------------------------------------------------------------


@QUICK
@given(rows=ROWS)
async def test_every_value_of_every_type_survives_as_a_block(postgres: Postgres, rows: Any) -> None:
    await make_source(postgres)
    await fill_source(postgres, rows)
    fields = [field for field in await source_fields(postgres) if not field.native.endswith("mood[]")]
    target = await postgres.mirror(*fields, target="copy")
    assert target.takes == {"pgcopy"}
    query = f"SELECT {', '.join(field.name for field in fields)} FROM everything"
    for _ in range(2):  # straight into the table, and over what is there
        block = await read_block(postgres.admin, query, (), fields, "pgcopy")
        result = await target.write(batch(blocks=[block]))
        assert (result.written, result.superseded, list(result.faults)) == (len(rows), 0, [])
        await postgres.execute(f"ALTER TABLE copy ADD COLUMN IF NOT EXISTS {NAMES[-1]} jsonb")
        assert [item for item in await differences(postgres, "copy") if "mood[]" not in item] == []
    await postgres.close_targets()
    await postgres.execute("DROP TABLE copy")


async def test_a_block_is_copied_with_its_position(postgres: Postgres) -> None:
    await postgres.execute(_SOURCE)
    target = await postgres.mirror(*FIELDS)
    halves = [f"SELECT {COLUMNS} FROM source WHERE id {half}" for half in ("<= 60", "> 60")]
    blocks = [await block_of(postgres, "pgcopy", query) for query in halves]
    result = await target.write(batch(seq=1, blocks=blocks))
    assert (result.written, result.superseded) == (100, 0) and await same(postgres)
    assert await postgres.rows("SELECT seq FROM _platint_positions") == [(1,)]
    assert await postgres.rows(
        "SELECT count(*) FROM charges WHERE _synced_at > now() - interval '1 minute'"
    ) == [(100,)]
    late = await postgres.mirror(*FIELDS, epoch=2)
    await late.write(batch(seq=2, blocks=[blocks[0]]))
    with pytest.raises(Fenced):
        await target.write(batch(seq=2, blocks=[blocks[0]]))


async def test_a_block_replaces_rows_by_their_key_unless_they_are_newer(postgres: Postgres) -> None:
    await postgres.execute(_SOURCE)
    target = await postgres.mirror(*FIELDS, cursor="at")
    await target.write(batch(blocks=[await block_of(postgres, "pgcopy")]))
    await postgres.execute(
        "UPDATE source SET name = 'newer', at = at + interval '1 day' WHERE id <= 10;"
        " UPDATE source SET name = 'older', at = at - interval '1 day' WHERE id > 90;"
        " INSERT INTO source VALUES (500, 'fresh')"
    )
    result = await target.write(batch(blocks=[await block_of(postgres, "pgcopy")]))
    assert (result.written, result.superseded) == (91, 10)
    names = dict(
        await postgres.rows("SELECT name, count(*) FROM charges WHERE name NOT LIKE 'row%' GROUP BY 1")
    )
    assert names == {"newer": 10, "fresh": 1}
    # A row that is written by itself is compared with what came in a block, and the other way round.
    version = "2027-01-01T00:00:00+00:00"
    [first, *_] = rows_of(
        [record for record in await block_of(postgres, "tuples") if record.value["id"] == 50]
    )
    single = first._replace(value={**first.value, "doc": 1, "name": "single", "at": version}, version=version)
    older = single._replace(version="2020-01-01T00:00:00+00:00")
    result = await target.write(batch(older))
    assert (result.written, result.superseded) == (0, 1)
    assert (await target.write(batch(single))).written == 1
    result = await target.write(batch(blocks=[await block_of(postgres, "pgcopy")]))
    assert (result.written, result.superseded) == (90, 11)
    assert await postgres.rows("SELECT name FROM charges WHERE id = 50") == [("single",)]


async def test_a_block_with_a_bad_row_is_refused_whole_and_its_rows_go_one_by_one(
    postgres: Postgres, sqlite: Sqlite
) -> None:
    await postgres.execute(_SOURCE)
    await postgres.execute("UPDATE source SET doc = '{}'")
    for house, form, constraint in (
        (postgres, "pgcopy", "ALTER TABLE charges ADD CONSTRAINT few CHECK (id <> 40)"),
        (
            sqlite,
            "tuples",
            "CREATE TRIGGER few BEFORE INSERT ON charges WHEN NEW.id = 40 BEGIN SELECT RAISE(ABORT, 'few'); END",
        ),
    ):
        target = await house.mirror(*FIELDS)
        await house.execute(constraint)
        good = await block_of(postgres, form, f"SELECT {COLUMNS} FROM source WHERE id < 40")
        whole = await block_of(postgres, form)
        with pytest.raises(BlockRefused):
            await target.write(batch(seq=1, blocks=[good, whole]))
        assert await house.rows("SELECT count(*) FROM charges") == [(0,)]
        assert await target.confirmed() is None
        result = await target.write(batch(*rows_of(list(whole)), seq=1))
        assert result.written == 99 and [at for at, _ in result.faults] == [39]
        result = await target.write(batch(seq=2, blocks=[good]))
        assert (result.written, result.superseded) == (39, 0)


async def test_a_block_whose_key_comes_twice_is_refused(postgres: Postgres) -> None:
    await postgres.execute(_SOURCE)
    target = await postgres.mirror(*FIELDS)
    twice = await block_of(postgres, "pgcopy", f"SELECT {COLUMNS} FROM source UNION ALL TABLE source")
    with pytest.raises(BlockRefused):
        await target.write(batch(blocks=[twice]))
    assert await postgres.rows("SELECT count(*) FROM charges") == [(0,)]


async def test_a_block_of_other_columns_is_refused(postgres: Postgres, sqlite: Sqlite) -> None:
    await postgres.execute(_SOURCE)
    await postgres.execute("ALTER TABLE source ALTER price TYPE bigint")
    for house, form in ((postgres, "pgcopy"), (sqlite, "tuples")):
        target = await house.mirror(*FIELDS)
        fields = [*FIELDS[:2], Field("price", "integer", native="postgresql:bigint"), *FIELDS[3:]]
        block = await read_block(postgres.admin, f"SELECT {COLUMNS} FROM source", (), fields, form)
        with pytest.raises(BlockRefused):
            await target.write(batch(blocks=[block]))


async def test_blocks_are_taken_only_where_the_bytes_mean_the_same(postgres: Postgres) -> None:
    changes = [
        ("ALTER price TYPE numeric", True),
        ("ALTER price TYPE numeric(14,2)", False),
        ("ALTER at TYPE timestamp", False),
        ("ALTER doc TYPE jsonb USING doc::jsonb", False),
        ("ADD COLUMN more integer", True),
    ]
    for number, (change, taken) in enumerate(changes):
        await postgres.mirror(*FIELDS, target=f"t{number}")
        await postgres.execute(f"ALTER TABLE t{number} {change}")
        again = await postgres.mirror(*FIELDS, target=f"t{number}")
        assert again.takes == ({"pgcopy"} if taken else frozenset()), change


async def test_who_takes_no_blocks(warehouse: Warehouse) -> None:
    assert not (await warehouse.open(*FIELDS, target="kept")).takes
    assert (await warehouse.mirror(*FIELDS)).takes
    domain = Field("of", "integer", native="postgresql:positive")
    assert not (await warehouse.mirror(*FIELDS, domain, target="domain")).takes
    text_cursor = await warehouse.mirror(*FIELDS, cursor="name", target="text_cursor")
    assert bool(text_cursor.takes) == (warehouse.kind == "sqlite")
    assert not (await warehouse.mirror(*FIELDS, cursor="elsewhere", target="no_cursor")).takes


# --- SQLite ---------------------------------------------------------------------------------------------


@QUICK
@given(rows=ROWS)
async def test_every_value_is_in_sqlite_as_it_should_be(
    postgres: Postgres, sqlite: Sqlite, rows: Any
) -> None:
    await make_source(postgres)
    await fill_source(postgres, rows)
    fields = [field for field in await source_fields(postgres) if not field.native.endswith("mood[]")]
    query = f"SELECT {', '.join(field.name for field in fields)} FROM everything"
    block = await read_block(postgres.admin, query, (), fields, "tuples")
    for number in range(2):  # as a block, and row by row
        target = await sqlite.mirror(*fields, target=f"copy{number}")
        assert target.takes == {"tuples"}
        await sqlite.execute(f"DELETE FROM copy{number}")
        result = await target.write(batch(*rows_of(list(block))) if number else batch(blocks=[block]))
        assert (result.written, list(result.faults)) == (len(rows), [])
        held = await sqlite.rows(f"SELECT * FROM copy{number} ORDER BY id")
        for values, record in zip(held, sorted(block, key=lambda item: item.value["id"]), strict=True):
            for kind, stored, name in zip(["bigint", *KINDS], values, block.columns, strict=False):
                assert _is_as_it_should_be(kind, stored, record.value[name]), (
                    kind,
                    stored,
                    record.value[name],
                )


def _is_as_it_should_be(kind: str, stored: Any, wanted: Any) -> bool:
    if wanted is None or stored is None:
        return stored is wanted
    if kind == "bytea":
        return bool(stored == b64decode(wanted))
    if kind in ("json", "jsonb") or kind.endswith("[]"):
        return bool(json.loads(stored) == json.loads(dumps(wanted)))
    if isinstance(wanted, Decimal):
        exact = Decimal(repr(stored)) if isinstance(stored, float) else Decimal(stored)
        return exact == wanted and (isinstance(stored, float) == (Decimal(repr(float(wanted))) == wanted))
    if isinstance(wanted, int) and not -(2**63) <= wanted < 2**63:
        return bool(stored == str(wanted))
    return bool(stored == wanted)


async def test_blocks_in_sqlite_keep_the_newer_version(postgres: Postgres, sqlite: Sqlite) -> None:
    await postgres.execute(_SOURCE)
    target = await sqlite.mirror(*FIELDS, cursor="at")
    first = await target.write(batch(seq=1, blocks=[await block_of(postgres, "tuples")]))
    assert (first.written, first.superseded) == (100, 0)
    await postgres.execute("UPDATE source SET name = 'older', at = at - interval '1 day' WHERE id > 90")
    result = await target.write(batch(seq=2, blocks=[await block_of(postgres, "tuples")]))
    assert (result.written, result.superseded) == (90, 10)
    assert await sqlite.rows("SELECT count(*) FROM charges WHERE name = 'older'") == [(0,)]
    [(price, at, doc, fits)] = await sqlite.rows("SELECT price, at, doc, fits FROM charges WHERE id = 3")
    assert (price, at, fits) == (0.75, "2026-01-01T00:00:04.500000+00:00", "small")
    assert doc == '{"n": 1, "n": 2}'


async def test_a_block_whose_commit_is_not_answered_counts_once(
    postgres: Postgres, postgres_server: Any, tools: Any
) -> None:
    await postgres.execute(_SOURCE)
    proxy = Proxy(postgres_server.host, postgres_server.port)
    place = {"host": "127.0.0.1", "port": str(await proxy.start()), "database": postgres_server.database}
    fields = {**place, "user": postgres_server.user, "schema": "work"}
    driver = PostgresqlDriver(tools.context("postgresql", fields, password=postgres_server.password))
    target = await driver.open_target(tools.plan(*FIELDS, typed=True, cursor=None))
    for seq in (1, 2):
        proxy.lose_commit = True
        result = await target.write(batch(seq=seq, blocks=[await block_of(postgres, "pgcopy")]))
        assert (result.written, result.superseded) == (100, 0) and proxy.lost == seq
    assert await same(postgres) and await postgres.rows("SELECT seq FROM _platint_positions") == [(2,)]
    await target.close()
    proxy.cut()
