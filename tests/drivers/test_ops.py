"""Deletes and truncates at targets that are tables, in both layouts."""

from __future__ import annotations

from typing import Any

import pytest
from drivers.warehouse import ID, NAME, N, Warehouse, batch, postgres, row, sqlite, warehouse

from platint_tui.core.errors import Fenced
from platint_tui.core.model import Op
from platint_tui.core.ports import AppliesOps, ReportsChanges, TakesBlocks

__all__ = ["postgres", "sqlite", "warehouse"]


@pytest.fixture(params=["kept texts", "mirror"])
def typed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "mirror")


async def held(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return await warehouse.rows("SELECT id, name FROM charges ORDER BY id")


async def filled(warehouse: Warehouse, typed: bool, **changes: Any) -> Any:
    target = await warehouse.open(ID, NAME, N, typed=typed, **changes)
    result = await target.write(batch(*(row({"id": n, "name": f"row {n}", "n": n}) for n in range(5)), seq=1))
    assert result.written == 5
    return target


async def test_a_target_says_what_it_carries_out(warehouse: Warehouse, typed: bool) -> None:
    target = await warehouse.open(ID, NAME, typed=typed)
    assert isinstance(target, AppliesOps) and isinstance(target, TakesBlocks)
    assert isinstance(target, ReportsChanges) and target.applies == set(Op)


async def test_deleted_rows_go_and_a_row_that_is_not_there_is_gone(warehouse: Warehouse, typed: bool) -> None:
    target = await filled(warehouse, typed)
    result = await target.write(
        batch(
            row({"id": 1}, Op.DELETE),
            row({"id": 7, "name": "row 7"}),
            row({"id": 99}, Op.DELETE),
            row({"id": 3, "name": "old image"}, Op.DELETE),
            seq=2,
        )
    )
    assert (result.written, result.superseded, list(result.faults)) == (4, 0, [])
    assert [key for key, _ in await held(warehouse)] == [0, 2, 4, 7]
    assert await warehouse.rows("SELECT seq FROM _platint_positions") == [(2,)]


async def test_what_one_key_went_through_happens_in_order(warehouse: Warehouse, typed: bool) -> None:
    target = await filled(warehouse, typed)
    rows = [row({"id": 1}, Op.DELETE), row({"id": 1, "name": "again"}), row({"id": 8, "name": "x"})]
    result = await target.write(batch(*rows, row({"id": 8}, Op.DELETE)))
    assert (result.written, result.superseded) == (4, 0)
    assert (1, "again") in await held(warehouse) and len(await held(warehouse)) == 5


async def test_a_truncate_comes_before_what_follows_it(warehouse: Warehouse, typed: bool) -> None:
    target = await filled(warehouse, typed)
    result = await target.write(
        batch(row({}, Op.TRUNCATE), row({"id": 9, "name": "nine"}), row({"id": 2}, Op.DELETE), seq=2)
    )
    assert (result.written, result.superseded) == (3, 0)
    assert await held(warehouse) == [(9, "nine")]


async def test_an_older_delete_does_not_delete(warehouse: Warehouse, typed: bool) -> None:
    target = await warehouse.open(ID, NAME, N, typed=typed, cursor="n")
    first = [row({"id": n, "name": "x", "n": 10}, version=10) for n in range(3)]
    assert (await target.write(batch(*first))).written == 3
    result = await target.write(
        batch(
            row({"id": 0}, Op.DELETE, version=9),
            row({"id": 1}, Op.DELETE, version=10),
            row({"id": 2, "name": "y", "n": 4}, version=4),
            row({"id": 5}, Op.DELETE, version=1),
        )
    )
    assert (result.written, result.superseded) == (2, 2)
    assert [key for key, _ in await held(warehouse)] == [0, 2]


async def test_a_row_that_others_refer_to_is_a_fault_and_the_others_go(
    warehouse: Warehouse, typed: bool
) -> None:
    target = await filled(warehouse, typed)
    if warehouse.kind == "sqlite":
        await warehouse.execute(
            "CREATE TRIGGER keep BEFORE DELETE ON charges WHEN OLD.id = 2 BEGIN SELECT RAISE(ABORT, 'kept'); END"
        )
    else:
        key, value = ("id", "2") if typed else ("_key", "'[2]'")
        kind = (await warehouse.columns())[key]
        await warehouse.execute(
            f"CREATE TABLE other (ref {kind} REFERENCES charges ({key})); INSERT INTO other VALUES ({value})"
        )
    rows = [row({"id": n}, Op.DELETE) for n in range(4)]
    result = await target.write(batch(*rows, row({"id": 6, "name": "six"}), seq=2))
    assert result.written == 4
    assert [(at, fault.code, fault.error_class) for at, fault in result.faults] == [
        (2, "constraint", "record")
    ]
    assert [key for key, _ in await held(warehouse)] == [2, 4, 6]
    assert await warehouse.rows("SELECT seq FROM _platint_positions") == [(2,)]


async def test_a_table_that_others_refer_to_is_emptied_row_by_row(postgres: Warehouse, typed: bool) -> None:
    target = await filled(postgres, typed)
    key = "id" if typed else "_key"
    kind = (await postgres.columns())[key]
    await postgres.execute(f"CREATE TABLE other (ref {kind} REFERENCES charges ({key}))")
    assert (await target.write(batch(row({}, Op.TRUNCATE), row({"id": 1, "name": "one"})))).written == 2
    assert await held(postgres) == [(1, "one")]


async def test_a_key_of_another_type_is_a_fault(warehouse: Warehouse) -> None:
    target = await filled(warehouse, True)
    result = await target.write(batch(row({"id": "one"}, Op.DELETE), row({"id": 1}, Op.DELETE)))
    assert result.written == 1
    assert [(at, fault.code, fault.field) for at, fault in result.faults] == [(0, "wrong_type", "id")]


async def test_deletes_of_an_older_engine_are_fenced_off(warehouse: Warehouse, typed: bool) -> None:
    first = await filled(warehouse, typed)
    second = await warehouse.open(ID, NAME, N, typed=typed, epoch=2)
    await second.write(batch(row({"id": 20, "name": "new"}), seq=2))
    with pytest.raises(Fenced):
        await first.write(batch(row({}, Op.TRUNCATE), seq=2))
    assert len(await held(warehouse)) == 6
