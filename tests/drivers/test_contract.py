"""The schema contract of a stream at targets that are tables, and what of it is planned and told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
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

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Contract, Evolution, Field
from platint_tui.core.ports import PlansTarget

__all__ = ["postgres", "sqlite", "warehouse"]

EVOLVE, FREEZE, DISCARD, DEAD = (
    Evolution.EVOLVE,
    Evolution.FREEZE,
    Evolution.DISCARD_VALUE,
    Evolution.DEAD_LETTER,
)
MORE = Field("more", "number", native="postgresql:numeric(6,2)")


@pytest.fixture(params=[False, True], ids=["kept texts", "mirror"])
def typed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def count(warehouse: Warehouse) -> int:
    [(number,)] = await warehouse.rows("SELECT count(*) FROM charges")
    return int(number)


def assert_says(error: ConfigError, part: str, *words: str) -> None:
    """One sentence with the table, the column and what came, and the line that allows it."""
    sentence = error.sentence()
    assert error.code == "contract" and f"{part}: evolve" in error.hint and "\n" not in sentence
    for word in ("charges", *words):
        assert word in sentence, sentence


# --- tables ---------------------------------------------------------------------------------------------


async def test_a_frozen_table_is_not_made(warehouse: Warehouse, typed: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        await warehouse.open(ID, NAME, typed=typed, contract=Contract(tables=FREEZE))
    assert_says(caught.value, "tables", "no table 'charges'")
    assert await warehouse.columns() == {}
    await warehouse.open(ID, NAME, typed=typed)
    again = await warehouse.open(ID, NAME, typed=typed, contract=Contract(tables=FREEZE))
    assert (await again.write(batch(row({"id": 1, "name": "x"})))).written == 1


# --- columns --------------------------------------------------------------------------------------------


async def test_columns_evolve_by_records_and_by_declaration(warehouse: Warehouse, typed: bool) -> None:
    target = await warehouse.open(ID, NAME, typed=typed)
    target.changes.clear()
    assert (await target.write(batch(row({"id": 1, "name": "x", "extra": [1]})))).written == 1
    assert [(item.kind, item.field) for item in target.changes] == [("add_column", "extra")]
    await target.write(batch(row({"id": 2, "name": "y", "extra": [2]})))
    assert len(target.changes) == 1
    wider = await warehouse.open(ID, NAME, MORE, typed=typed)
    assert [(item.kind, item.field) for item in wider.changes] == [("add_column", "more")]
    assert "more" in wider.changes[0].detail and "ALTER TABLE" in wider.changes[0].statement
    assert (await wider.write(batch(row({"id": 3, "name": "z", "more": Decimal("1.50")})))).written == 1
    found = await warehouse.columns()
    assert found["more"] == ("numeric(6,2)" if warehouse.kind == "postgresql" else "")
    rows = await warehouse.rows("SELECT id, extra, more FROM charges ORDER BY id")
    assert [json.loads(extra) if extra else None for _, extra, _ in rows] == [[1], [2], None]
    assert float(rows[2][2]) == 1.5


async def test_frozen_columns_stop_the_stream_before_anything_is_written(
    warehouse: Warehouse, typed: bool
) -> None:
    target = await warehouse.open(ID, NAME, typed=typed, contract=Contract(columns=FREEZE))
    assert (await target.write(batch(row({"id": 1, "name": "x"}), seq=1))).written == 1
    with pytest.raises(ConfigError) as caught:
        await target.write(batch(row({"id": 2, "name": "x"}), row({"id": 3, "extra": 5}), seq=2))
    assert_says(caught.value, "columns", "extra", "an integer")
    assert await count(warehouse) == 1
    assert await warehouse.rows("SELECT seq FROM _platint_positions") == [(1,)]
    with pytest.raises(ConfigError) as caught:
        await warehouse.open(ID, NAME, MORE, typed=typed, contract=Contract(columns=FREEZE))
    assert_says(caught.value, "columns", "more")
    assert "extra" not in await warehouse.columns() and "more" not in await warehouse.columns()
    assert (await target.write(batch(row({"id": 2, "name": "y"}), seq=2))).written == 1


async def test_values_without_a_column_are_discarded(warehouse: Warehouse, typed: bool) -> None:
    contract = Contract(columns=DISCARD)
    await warehouse.open(ID, NAME, typed=typed)
    target = await warehouse.open(ID, NAME, MORE, typed=typed, contract=contract)
    for number in range(2):
        values = {"id": number, "name": "x", "extra": 5, "more": 1}
        assert (await target.write(batch(row(values)))).written == 1
    assert {"extra", "more"}.isdisjoint(await warehouse.columns()) and not target.changes
    assert await count(warehouse) == 2


async def test_rows_with_a_new_key_become_dead_letters(warehouse: Warehouse, typed: bool) -> None:
    await warehouse.open(ID, NAME, typed=typed)
    target = await warehouse.open(ID, NAME, MORE, typed=typed, contract=Contract(columns=DEAD))
    rows = [row({"id": 0, "name": "x"}), row({"id": 1, "extra": 5}), row({"id": 2, "more": 5})]
    for _ in range(2):
        result = await target.write(batch(*rows))
        assert result.written == 1
        found = [(at, fault.code, fault.field, fault.error_class) for at, fault in result.faults]
        assert found == [(1, "new_column", "extra", "record"), (2, "new_column", "more", "record")]
    assert await count(warehouse) == 1


@pytest.mark.parametrize("how", [FREEZE, DISCARD, DEAD])
async def test_the_first_rows_form_a_table_that_nothing_is_declared_for(
    warehouse: Warehouse, how: Evolution
) -> None:
    target = await warehouse.open(contract=Contract(columns=how))
    assert (await target.write(batch(row({"id": 1, "name": "x"})))).written == 1
    assert {"id", "name"} <= set(await warehouse.columns())
    if how is FREEZE:
        with pytest.raises(ConfigError):
            await target.write(batch(row({"id": 2, "extra": 1})))
    else:
        assert (await target.write(batch(row({"id": 2, "extra": 1})))).written == (1 if how is DISCARD else 0)
    assert "extra" not in await warehouse.columns()


# --- types ----------------------------------------------------------------------------------------------


async def test_values_of_another_type_are_dead_letters_unless_said_otherwise(
    warehouse: Warehouse, typed: bool
) -> None:
    target = await warehouse.open(ID, NAME, N, typed=typed)
    result = await target.write(batch(row({"id": 1, "n": "one"}), row({"id": 2, "n": 2})))
    assert result.written == 1
    assert [(at, fault.code, fault.field) for at, fault in result.faults] == [(0, "wrong_type", "n")]


async def test_values_of_another_type_are_discarded_but_not_the_key(
    warehouse: Warehouse, typed: bool
) -> None:
    target = await warehouse.open(ID, NAME, N, typed=typed, contract=Contract(types=DISCARD))
    rows = [row({"id": 1, "name": 5, "n": "one"}), row({"id": 2, "n": 2}), row({"id": "x", "n": 3})]
    result = await target.write(batch(*rows))
    assert (result.written, [(at, fault.field) for at, fault in result.faults]) == (2, [(2, "id")])
    assert await warehouse.rows("SELECT id, name, n FROM charges ORDER BY id") == [
        (1, None, None),
        (2, None, 2),
    ]


async def test_frozen_types_stop_the_stream_before_anything_is_written(
    warehouse: Warehouse, typed: bool
) -> None:
    target = await warehouse.open(ID, NAME, N, typed=typed, contract=Contract(types=FREEZE))
    with pytest.raises(ConfigError) as caught:
        await target.write(batch(row({"id": 1, "n": 1}), row({"id": 2, "n": "two"}), seq=1))
    assert_says(caught.value, "types", "'n'", "a text")
    assert await count(warehouse) == 0 and await target.confirmed() is None


WIDER = [
    ("integer", [1], 2**40, "bigint"),
    ("integer", [1], 2**80, "numeric"),
    ("bigint", [2**62], Decimal("0.5"), "numeric"),
    ("smallint", [1], 40_000, "bigint"),
    ("double precision", [0.1, 0.12345678901234568], Decimal("0.1234567890123456789"), "numeric"),
    ("numeric(6,2)", [Decimal("1.25")], Decimal("1.255"), "numeric"),
    ("character varying(3)", ["abc"], "abcd", "text"),
    ("integer", [7], "seven", "text"),
    ("boolean", [True], "maybe", "text"),
    ("timestamp with time zone", ["2026-01-02T03:04:05+00:00"], {"a": 1}, "jsonb"),
    ("bytea", ["AP8="], {"a": 1}, "jsonb"),
    ("date", ["2026-01-02"], 5, "jsonb"),
    ("text", ["5"], 5, "text"),
    ("integer[]", [[1, None]], "none", "text"),
]


async def test_types_evolve_without_loss(postgres: Postgres) -> None:
    for number, (kind, before, value, wider) in enumerate(WIDER):
        name = f"t{number}"
        field = Field("x", "any", native=f"postgresql:{kind}")
        target = await postgres.mirror(ID, field, contract=Contract(types=EVOLVE), stream=name, target=name)
        first = [row({"id": at, "x": item}) for at, item in enumerate(before)]
        assert (await target.write(batch(*first))).written == len(first)
        result = await target.write(batch(row({"id": 10, "x": None}), row({"id": 11, "x": value}), seq=1))
        assert (result.written, list(result.faults)) == (2, []), kind
        assert (await postgres.columns(name))["x"] == wider
        made = [item.kind for item in target.changes]
        assert made == (["create_table"] if wider == kind else ["create_table", "change_type"])
        found = [text for (text,) in await postgres.rows(f"SELECT x::text FROM {name} ORDER BY id")]
        for item, text in zip([*before, None, value], found, strict=True):
            assert _same(item, text, wider), (kind, item, text)
        await postgres.close_targets()


def _same(item: Any, text: str | None, kind: str) -> bool:
    if item is None or text is None:
        return item is text
    if kind == "jsonb":
        return bool(json.loads(text) == item)
    if kind in ("numeric", "bigint"):
        return Decimal(text) == Decimal(repr(item) if isinstance(item, float) else item)
    return text in (item, str(item), str(item).lower(), "{1,NULL}")


async def test_in_sqlite_every_column_holds_every_type(sqlite: Sqlite, typed: bool) -> None:
    target = await sqlite.open(ID, NAME, N, typed=typed, contract=Contract(types=EVOLVE))
    rows = [row({"id": 1, "n": "one"}), row({"id": 2, "n": {"a": 1}}), row({"id": 3, "n": 1.5})]
    assert (await target.write(batch(*rows))).written == 3
    assert await sqlite.rows("SELECT n FROM charges ORDER BY id") == [("one",), ('{"a":1}',), (1.5,)]
    assert [item.kind for item in target.changes] == ["create_table"]


async def test_a_declared_change_of_type_is_seen_before_the_data(postgres: Postgres, typed: bool) -> None:
    await postgres.open(ID, N, typed=typed)
    wide = Field("n", "integer", native="postgresql:bigint")
    with pytest.raises(ConfigError) as caught:
        await postgres.open(ID, wide, typed=typed, contract=Contract(types=FREEZE))
    assert_says(caught.value, "types", "'n' is integer", "bigint now")
    kept = await postgres.open(ID, wide, typed=typed)
    assert not kept.changes and (await postgres.columns())["n"] == "integer"
    result = await kept.write(batch(row({"id": 1, "n": 2**40}), row({"id": 2, "n": 5})))
    assert [(at, fault.code) for at, fault in result.faults] == [(0, "out_of_range")]
    changed = await postgres.open(ID, wide, typed=typed, contract=Contract(types=EVOLVE))
    assert [(item.kind, item.field) for item in changed.changes] == [("change_type", "n")]
    assert (await postgres.columns())["n"] == "bigint"
    narrow = await postgres.open(ID, N, typed=typed, contract=Contract(types=FREEZE))
    assert not narrow.changes


# --- plans ----------------------------------------------------------------------------------------------


async def test_a_plan_is_what_opening_does_and_changes_nothing(warehouse: Warehouse, typed: bool) -> None:
    assert isinstance(warehouse.driver, PlansTarget)
    shape = (
        "SELECT name, sql FROM sqlite_master"
        if warehouse.kind == "sqlite"
        else ("SELECT relname::text FROM pg_class WHERE relnamespace = 'work'::regnamespace")
    )
    plan = warehouse.tools.plan(ID, NAME, typed=typed, epoch=0, run="")
    planned = await warehouse.driver.plan_target(plan)
    if warehouse.kind == "sqlite":
        assert not warehouse.path.exists()  # type: ignore[attr-defined]  # only files have one
    else:
        assert await warehouse.rows(shape) == []
    assert [(item.kind, item.target) for item in planned] == [("create_table", "charges")]
    assert planned[0].statement.startswith("CREATE TABLE") and "id" in planned[0].statement
    target = await warehouse.open(ID, NAME, typed=typed)
    assert target.changes == list(planned)
    assert await warehouse.driver.plan_target(plan) == ()
    before = await warehouse.rows(shape)
    more = warehouse.tools.plan(ID, NAME, MORE, typed=typed)
    planned = await warehouse.driver.plan_target(more)
    assert [(item.kind, item.field) for item in planned] == [("add_column", "more")]
    assert await warehouse.rows(shape) == before
    assert (await warehouse.open(ID, NAME, MORE, typed=typed)).changes == list(planned)


async def test_a_plan_raises_what_opening_raises(warehouse: Warehouse) -> None:
    await warehouse.open(ID, NAME)
    for changes, code in (
        ({"contract": Contract(columns=FREEZE)}, "contract"),
        ({"target": "other", "contract": Contract(tables=FREEZE)}, "contract"),
        ({"target": "_platint_positions"}, "target_name"),
    ):
        with pytest.raises(ConfigError) as caught:
            await warehouse.driver.plan_target(warehouse.tools.plan(ID, NAME, MORE, **changes))
        assert caught.value.code == code
    await warehouse.execute("CREATE TABLE theirs (id integer)")
    with pytest.raises(ConfigError) as caught:
        await warehouse.driver.plan_target(warehouse.tools.plan(ID, target="theirs"))
    assert caught.value.code == "target_shape"


async def test_a_mirror_has_room_for_so_many_columns(warehouse: Warehouse) -> None:
    target = await warehouse.mirror(ID, NAME)
    many = {f"k{number}": number for number in range(1_100)}
    with pytest.raises(ConfigError, match="1000 columns") as caught:
        await target.write(batch(row({"id": 1, **many})))
    assert caught.value.code == "column_limit" and await count(warehouse) == 0
    wide = [Field(f"k{number}", "integer", native="postgresql:integer") for number in range(1_100)]
    kept = await warehouse.mirror(ID, *wide, target="wide")
    assert (await kept.write(batch(row({"id": 1, **many})))).written == 1
    assert "_raw" in await warehouse.columns("wide")


async def test_a_row_that_no_page_holds_is_a_fault_and_the_others_are_written(postgres: Postgres) -> None:
    target = await postgres.open(ID)
    wide = {f"key{number}": f"some text of key {number}" for number in range(900)}
    result = await target.write(batch(row({"id": 0}), row({"id": 1, **wide}), row({"id": 2}), seq=1))
    assert result.written == 2
    assert [(at, fault.code, "too big" in fault.message) for at, fault in result.faults] == [
        (1, "not_storable", True)
    ]


async def test_columns_that_were_dropped_count_in_postgresql(postgres: Postgres) -> None:
    target = await postgres.mirror(ID, NAME)
    names = [f"c{number}" for number in range(1_590)]
    await postgres.execute("ALTER TABLE charges " + ", ".join(f"ADD {name} integer" for name in names))
    await postgres.execute("ALTER TABLE charges " + ", ".join(f"DROP {name}" for name in names))
    with pytest.raises(ConfigError, match="1600") as caught:
        await target.write(batch(row({"id": 1, **{f"k{number}": 1 for number in range(20)}})))
    assert caught.value.code == "column_limit" and await count(postgres) == 0
