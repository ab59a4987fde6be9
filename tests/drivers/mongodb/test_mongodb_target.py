from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from drivers.mongodb.conftest import batch, fail, mongodb_driver, plan, rows
from peers.mongodb import MongodbServer
from pymongo.asynchronous.database import AsyncDatabase

from platint_tui.core.errors import ConfigError, CredentialError, TransientError
from platint_tui.core.model import Batch, Contract, Evolution, Field, Op, Row, TargetPlan
from platint_tui.drivers.mongodb import MongodbDriver, MongodbTarget

Database = AsyncDatabase[dict[str, Any]]
ONE, TWO = ObjectId(), ObjectId()


def _hashable(value: Any) -> Any:
    return (
        value.to_decimal()
        if isinstance(value, Decimal128)
        else str(value)
        if isinstance(value, dict)
        else value
    )


async def opened(driver: MongodbDriver, *fields: Field, **changes: Any) -> MongodbTarget:
    return await driver.open_target(plan(*fields, **changes))


async def held(shop: Database, name: str = "goal") -> dict[Any, dict[str, Any]]:
    """The documents by `_id`, without what the target keeps of them."""
    found = {item["_id"]: item async for item in shop[name].find()}
    for item in found.values():
        assert set(item.pop("_platint")) == {"version", "run", "synced_at"}
    return found


def native(name: str, kind: str) -> Field:
    return Field(name, "any", native=f"mongodb:{kind}")


async def test_a_document_comes_back_as_it_was(shop: Database, driver: MongodbDriver) -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    document = {
        "_id": ONE,
        "price": Decimal128("9.90"),
        "at": when,
        "big": Int64(5),
        "more": {"ref": TWO, "list": [when, Decimal128("1.5"), float("nan")], "a.b": 1, "$c": 2},
        "a.b": 1,
        "$c": 2,
        "": None,
    }
    await shop.orders.insert_one(document)
    stream = next(item for item in await driver.discover() if item.name == "orders")
    [page] = [page async for page in driver.read("orders", None)]
    target = await driver.open_target(plan(*stream.fields))
    assert target.transactional is False and await target.confirmed() is None
    values = [record.value for record in page.records]
    result = await target.write(batch(values))
    assert (result.written, result.superseded, list(result.faults)) == (1, 0, [])
    again = await shop.goal.find_one({"_id": ONE})
    assert again is not None
    own = again.pop("_platint")
    assert repr(again) == repr(await shop.orders.find_one({"_id": ONE}))
    assert own["run"] == "run_1" and own["version"] is None and own["synced_at"].year >= 2026
    # What the target keeps is no part of the record when the collection is read in its turn.
    [copied] = [page async for page in driver.read("goal", None)]
    assert [record.value for record in copied.records] == values
    assert (await target.write(batch([{"_id": str(ONE)}], op=Op.DELETE))).written == 1
    assert await held(shop) == {}
    await target.close()


async def test_the_key_is_the_id(shop: Database, driver: MongodbDriver) -> None:
    target = await opened(driver, native("_id", "objectId"), target="by_id")
    await target.write(batch([{"_id": str(ONE)}, {"_id": "text"}]))
    assert set(await held(shop, "by_id")) == {ONE, "text"}
    target = await opened(driver, Field("id", "string"), key=("id",), target="by_key")
    await target.write(batch([{"id": "a", "n": 1}, {"id": 5}, {"id": Decimal("1.5")}], key="id"))
    assert await held(shop, "by_key") == {
        "a": {"_id": "a", "id": "a", "n": 1},
        5: {"_id": 5, "id": 5},
        1.5: {"_id": 1.5, "id": Decimal128("1.5")},
    }
    target = await opened(driver, native("_id", "objectId"), key=("id",), target="mapped")
    made = [Row(f'["{ONE}"]', "{}", {"_id": str(ONE), "n": 1}, None, "")]
    await target.write(Batch(made, None))
    assert set(await held(shop, "mapped")) == {ONE}
    target = await opened(driver, key=("day", "user"), target="both")
    made = [Row('["2026",5]', "{}", {"day": "2026", "user": 5}, None, "")]
    await target.write(Batch(made, None))
    assert set(await held(shop, "both")) == {'["2026",5]'}
    await target.write(Batch([Row('["2026",5]', "{}", {}, None, "", Op.DELETE)], None))
    assert await held(shop, "both") == {}
    target = await opened(driver, native("_id", "object"), target="objects")
    await target.write(batch([{"_id": '{"day":{"$date":{"$numberLong":"0"}},"n":1}'}]))
    found = await shop.objects.find_one()
    assert found is not None and found["_id"] == {"day": datetime(1970, 1, 1, tzinfo=UTC), "n": 1}
    result = await target.write(Batch([Row('["x"]', "{}", {"_id": "y"}, None, "")], None))
    assert [(index, fault.code, fault.field) for index, fault in result.faults] == [(0, "key", "_id")]


async def test_an_older_version_does_not_replace_a_newer_one(shop: Database, driver: MongodbDriver) -> None:
    target = await opened(driver, cursor="at")
    new, old = "2026-01-02T12:00:00.500Z", "2026-01-02T12:00:00Z"
    assert (await target.write(batch([{"_id": 1, "n": "new"}], version=new))).written == 1
    result = await target.write(batch([{"_id": 1, "n": "old"}, {"_id": 2, "n": "old"}], version=old))
    assert (result.written, result.superseded) == (1, 1)
    result = await target.write(batch([{"_id": 1, "n": "same"}], version=new))
    assert (result.written, result.superseded) == (1, 0)
    assert {key: item["n"] for key, item in (await held(shop)).items()} == {1: "same", 2: "old"}
    result = await target.write(batch([{"_id": 1, "n": "none"}], version=None))
    assert (result.written, result.superseded) == (1, 0), "without a version nothing is compared"
    await shop.goal.insert_one({"_id": 3, "n": "of others"})
    assert (await target.write(batch([{"_id": 3, "n": "ours"}], version="$old"))).written == 1


async def test_refused_rows_come_back_and_the_others_are_written(
    shop: Database, driver: MongodbDriver
) -> None:
    await shop.create_collection(
        "goal",
        validator={"$jsonSchema": {"properties": {"n": {"bsonType": "int"}}, "required": ["n"]}},
    )
    await shop.goal.create_index("mail", unique=True, partialFilterExpression={"mail": {"$exists": True}})
    target = await opened(driver)
    values: list[dict[str, Any]] = [{"_id": number, "n": number} for number in range(12)]
    values[1]["mail"] = "a@example.org"
    values[3]["mail"] = "a@example.org"
    values[5]["n"] = "no number"
    del values[6]["n"]
    values[7]["text"] = "\ud800"
    values[8]["text"] = "x" * (16 * 1024 * 1024)
    values[9]["many"] = 10**40 + 1
    values[10]["_platint"] = {}
    result = await target.write(batch(values))
    faults = {index: (fault.code, fault.field) for index, fault in result.faults}
    assert faults == {
        3: ("duplicate_key", "mail"),
        5: ("validation", "n"),
        6: ("validation", "n"),
        7: ("invalid_text", ""),
        8: ("too_large", ""),
        9: ("out_of_range", "many"),
        10: ("reserved", "_platint"),
    }
    assert result.written == 5 and set(await held(shop)) == {0, 1, 2, 4, 11}
    told = dict(result.faults)
    assert "mail_1" in told[3].message and told[3].hint and told[5].error_class == "record"


async def test_one_command_that_is_refused_as_a_whole_is_halved(
    shop: Database, driver: MongodbDriver
) -> None:
    target = await opened(driver)
    # All eight, the first four, the first two, the first.
    await fail(shop, "update", times=4, errorCode=2)
    result = await target.write(batch([{"_id": number} for number in range(8)]))
    assert [(index, fault.code) for index, fault in result.faults] == [(0, "not_storable")]
    assert result.written == 7 and set(await held(shop)) == set(range(1, 8))


async def test_deletes_and_truncates_go_in_order(shop: Database, driver: MongodbDriver) -> None:
    target = await opened(driver)
    assert target.applies == {Op.UPSERT, Op.DELETE, Op.TRUNCATE}
    await shop.goal.insert_one({"_id": "of others"})
    await target.write(batch([{"_id": 1}, {"_id": 2}]))
    gone = rows([{"_id": 1}, {"_id": "never there"}], op=Op.DELETE)
    result = await target.write(Batch([*gone, *rows([{"_id": 3}])], None))
    assert (result.written, result.superseded) == (3, 0)
    emptied = Row("", "{}", {}, None, "", Op.TRUNCATE)
    result = await target.write(Batch([*rows([{"_id": 4}]), emptied, *rows([{"_id": 5}])], None))
    assert result.written == 3
    assert {item["_id"] async for item in shop.goal.find()} == {"of others", 5}
    twice = [*rows([{"_id": 6, "n": 1}]), *rows([{"_id": 6, "n": 2}]), *rows([{"_id": 6}], op=Op.DELETE)]
    assert (await target.write(Batch([*twice, *rows([{"_id": 6, "n": 3}])], None))).written == 4
    found = await shop.goal.find_one({"_id": 6})
    assert found is not None and found["n"] == 3, "rows of one key keep their order"


async def test_what_may_pass_is_tried_again_and_lost_answers_do_no_harm(
    shop: Database, driver: MongodbDriver, mongodb_server: MongodbServer
) -> None:
    target = await opened(driver, cursor="v")
    await fail(shop, "update", times=1, errorCode=112)
    assert (await target.write(batch([{"_id": 1}], version=1))).written == 1
    await fail(shop, "update", times=2, closeConnection=True)
    assert (await target.write(batch([{"_id": 2}], version=1))).written == 1
    await fail(shop, "update", times=1, writeConcernError={"code": 64, "errmsg": "waiting timed out"})
    result = await target.write(batch([{"_id": 3}, {"_id": 4}], version=1))
    assert result.written + result.superseded == 2
    impatient = mongodb_driver(mongodb_server, attempts=1)
    await fail(shop, "update", times=2, errorCode=11602)
    with pytest.raises(TransientError, match="no longer the primary"):
        await (await opened(impatient)).write(batch([{"_id": 5}]))
    await fail(shop, "update", times=2, errorCode=112)
    with pytest.raises(TransientError, match="could not do it now"):
        await (await opened(impatient)).write(batch([{"_id": 5}]))
    await impatient.close()
    await shop.client.admin.command("configureFailPoint", "failCommand", mode="off")
    await fail(shop, "delete", errorCode=13)
    with pytest.raises(ConfigError, match="may not write the database 'shop'") as caught:
        await target.write(batch([{"_id": 5}], op=Op.DELETE))
    assert "readWrite" in caught.value.hint
    assert set(await held(shop)) == {1, 2, 3, 4}


async def test_the_contract_of_typed_rows_is_kept(shop: Database, driver: MongodbDriver) -> None:
    fields = (Field("_id", "integer"), Field("n", "integer"))
    values = [{"_id": 1, "n": 1}, {"_id": 2, "n": 2, "new": 3}]

    def wanted(columns: Evolution, **more: Any) -> TargetPlan:
        return plan(*fields, typed=True, contract=Contract(columns=columns, **more))

    target = await driver.open_target(wanted(Evolution.DEAD_LETTER))
    result = await target.write(batch(values))
    assert [(index, fault.code, fault.field) for index, fault in result.faults] == [(1, "contract", "new")]
    target = await driver.open_target(wanted(Evolution.DISCARD_VALUE))
    assert (await target.write(batch(values))).written == 2
    assert (await held(shop))[2] == {"_id": 2, "n": 2}
    target = await driver.open_target(wanted(Evolution.FREEZE))
    with pytest.raises(ConfigError, match="'new' is new"):
        await target.write(batch(values))
    target = await driver.open_target(wanted(Evolution.EVOLVE))
    assert (await target.write(batch(values))).written == 2
    assert (await held(shop))[2]["new"] == 3
    with pytest.raises(ConfigError, match="no collection 'elsewhere'"):
        await driver.open_target(plan(target="elsewhere", contract=Contract(tables=Evolution.FREEZE)))


async def test_what_would_be_made_is_said_before(shop: Database, driver: MongodbDriver) -> None:
    [change] = await driver.plan_target(plan())
    assert (change.kind, change.target, change.statement) == (
        "create_collection",
        "goal",
        'db.createCollection("goal")',
    )
    assert await shop.list_collection_names() == []
    await shop.goal.insert_one({"_id": 1})
    [change] = await driver.plan_target(plan())
    assert change.kind == "replace_documents" and "did not write" in change.detail
    await shop.goal.drop()
    target = await opened(driver)
    assert target.changes == []
    await target.write(batch([{"_id": 1}]))
    await target.write(batch([{"_id": 2}]))
    assert [item.detail for item in target.changes] == ["The collection 'goal' was made."]
    assert (await opened(driver)).changes == []
    assert await driver.plan_target(plan()) == []
    assert await driver.describe_target("goal") is None


async def test_what_cannot_be_written_by_key_is_refused(shop: Database, driver: MongodbDriver) -> None:
    await shop.create_collection("shown", viewOn="orders", pipeline=[])
    await shop.create_collection("measured", timeseries={"timeField": "at"})
    await shop.create_collection("last", capped=True, size=4096)
    for name, kind in (("shown", "view"), ("measured", "time series"), ("last", "capped collection")):
        with pytest.raises(ConfigError, match=f"'{name}' is a {kind}"):
            await driver.open_target(plan(target=name))
    for name in ("", "a$b", "system.users", "x" * 201, "tab\t"):
        with pytest.raises(ConfigError, match="cannot be the name of a collection"):
            await driver.open_target(plan(target=name))
    with pytest.raises(ConfigError, match="by upsert, not by create"):
        await driver.open_target(plan(operation="create"))


async def test_who_may_not_write_is_told_the_role(shop: Database, mongodb_server: MongodbServer) -> None:
    driver = mongodb_driver(
        mongodb_server, user=mongodb_server.limited_user, password=mongodb_server.limited_password
    )
    target = await opened(driver)
    with pytest.raises(ConfigError, match="The user 'app' may not write the database 'shop'") as caught:
        await target.write(batch([{"_id": 1}]))
    assert "grantRolesToUser('app', [{role: 'readWrite', db: 'shop'}])" in caught.value.hint
    await driver.close()
    refused = mongodb_driver(mongodb_server, password="wrong-canary-91")
    with pytest.raises(CredentialError):
        await opened(refused)
    await refused.close()
