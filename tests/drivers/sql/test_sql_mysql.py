"""MariaDB: values that keep their digits, keys of every kind, tables made and changed, faults told apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from drivers.conftest import Tools
from drivers.sql.conftest import FOLDER, SCAN, Ask, scan, sql_context, sql_driver
from peers.mariadb import MariadbServer
from pymysql.err import OperationalError
from sqlalchemy.exc import DBAPIError

from platint_tui.core.errors import ConfigError, CredentialError, ErrorClass, Fenced, TransientError
from platint_tui.core.model import Contract, Evolution, Field, Op, ReadOptions, Row
from platint_tui.drivers.sql import SqlDriver
from platint_tui.drivers.sql.connection import address_of, translate
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.vectors import check_code

Make = Callable[..., SqlDriver]


def values_of(pages: list[Any]) -> list[dict[str, Any]]:
    return [record.value for page in pages for record in page.records]


EVERY = """
CREATE TABLE every (
  id bigint unsigned PRIMARY KEY, price decimal(30,10), flag tinyint(1), small smallint, single float, wide double,
  day date, moment datetime(6), stamp timestamp(3) NULL, span time(2), y year, bits bit(12), doc json,
  word varchar(20), kind enum('b','a'), some set('x','y'), blobby blob, ident binary(16), uid uuid, place point
) COMMENT 'all of them'
"""


async def test_every_type_is_read_exactly(make: Make, ask: Ask) -> None:
    ask(EVERY)
    ask(
        "INSERT INTO every VALUES (18446744073709551615, 12345678901234567890.0123456789, 2, -5, 0.1, 0.1,"
        " '2026-01-02', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678', '-100:00:01.5', 2026, b'101',"
        " '{\"a\": 1.10, \"b\": [null]}', 'né', 'a', 'x,y', x'00ff',"
        " x'000102030405060708090a0b0c0d0e0f', '123e4567-e89b-12d3-a456-426655440000', NULL)"
    )
    ask("INSERT INTO every (id, day, moment) VALUES (1, '0000-00-00', '0000-00-00 00:00:00')")
    zero, value = values_of(await scan(make(), "every"))
    assert (zero["day"], zero["moment"], zero["price"]) == ("0000-00-00", "0000-00-00T00:00:00.000000", None)
    assert value == {
        "id": 18446744073709551615,
        "price": Decimal("12345678901234567890.0123456789"),
        "flag": 2,
        "small": -5,
        "single": 0.1,
        "wide": 0.1,
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:05.678901",
        "stamp": "2026-01-02T03:04:05.678+00:00",
        "span": "-100:00:01.50",
        "y": 2026,
        "bits": 5,
        "doc": '{"a": 1.10, "b": [null]}',
        "word": "né",
        "kind": "a",
        "some": "x,y",
        "blobby": "AP8=",
        "ident": "AAECAwQFBgcICQoLDA0ODw==",
        "uid": "123e4567-e89b-12d3-a456-426655440000",
        "place": None,
    }


async def test_tables_and_views_are_discovered(make: Make, ask: Ask) -> None:
    ask(EVERY)
    ask("CREATE VIEW seen AS SELECT id FROM every")
    ask("CREATE TABLE loose (a int, b int NOT NULL, UNIQUE (a))")
    found = {item.name: item for item in await make().discover()}
    every = found["every"]
    natives = {field.name: field.native for field in every.fields}
    assert natives["id"] == "mysql:bigint unsigned" and natives["price"] == "mysql:decimal(30,10)"
    assert natives["flag"] == "mysql:tinyint(1)" and natives["kind"] == "mysql:enum('b','a')"
    assert (every.key, every.kind, every.typed, every.modes) == (
        ("id",),
        "table",
        True,
        ("snapshot", "cursor"),
    )
    assert "all of them" in every.notes and every.estimate == 0
    assert (found["seen"].kind, found["seen"].key) == ("view", ())
    assert found["loose"].key == () and "no key" in found["loose"].notes[0]


@pytest.mark.parametrize(
    ("columns", "key", "rows"),
    [
        ("a int, b varchar(9)", "a, b", "(1,'x'),(1,'y'),(2,'a'),(2,'b'),(3,'%%')"),
        ("a decimal(20,4)", "a", "(0.1),(0.2),(0.3),(12345678901234.5678),(12345678901234.5679)"),
        ("a varbinary(9)", "a", "(x'00'),(x'0001'),(x'ff'),(x'25'),(x'27')"),
        ("a enum('z','m','a')", "a", "('z'),('m'),('a')"),
        ("a datetime(6)", "a", "('2026-01-01'),('2026-01-01 00:00:00.000001'),('2026-01-02'),('2027-01-01')"),
        ("a bigint unsigned", "a", "(0),(9223372036854775807),(9223372036854775808),(18446744073709551615)"),
        ("a float", "a", "(0.1),(0.2),(0.30000001),(7)"),
        ("a bit(40)", "a", "(b'1'),(b'10'),(b'11'),(b'1111111111111111111111111111111')"),
        ("`we``ird%%` int", "`we``ird%%`", "(1),(2),(3),(4)"),
    ],
)
async def test_keys_of_every_kind_are_walked(make: Make, ask: Ask, columns: str, key: str, rows: str) -> None:
    ask(f"CREATE TABLE walked ({columns}, PRIMARY KEY ({key}))".replace("%%", "%"))
    ask(f"INSERT INTO walked VALUES {rows}".replace("%%", "%"))
    pages = await scan(make(chunk=1), "walked")
    found = values_of(pages)
    ((count,),) = ask("SELECT count(*) FROM walked")
    assert len(found) == len({str(item) for item in found}) == count
    for page in pages[:-1]:
        rest = values_of(await scan(make(chunk=2), "walked", page.position))
        assert rest == found[len(found) - len(rest) :]


async def test_a_cursor_finds_what_changed_and_rows_without_one(make: Make, ask: Ask) -> None:
    ask("CREATE TABLE changed (id int PRIMARY KEY, at datetime NULL, n int)")
    ask("INSERT INTO changed VALUES (1, NULL, 0), (2, NULL, 0), (3, '2026-01-01 10:00:00', 0)")
    options = replace(SCAN, cursor="at", mode="cursor")
    driver = make(chunk=1)
    first = await scan(driver, "changed", None, options)
    assert [item["id"] for item in values_of(first)] == [1, 2, 3] and first[-1].last
    ask("INSERT INTO changed VALUES (4, '2026-01-01 09:59:30', 0), (5, '2026-01-01 09:00:00', 0)")
    ask("INSERT INTO changed VALUES (6, '2026-01-01 11:00:00', 0)")
    again = await scan(driver, "changed", first[-1].position, options)
    assert [item["id"] for item in values_of(again)] == [4, 3, 6], "the overlap is a minute"
    nothing = await scan(driver, "changed", again[-1].position, options)
    assert [item["id"] for item in values_of(nothing)] == [6]


async def test_a_view_is_read_by_the_key_of_the_stream(make: Make, ask: Ask) -> None:
    ask("CREATE TABLE base (id int PRIMARY KEY)")
    ask("INSERT INTO base VALUES (1), (2), (3)")
    ask("CREATE VIEW seen AS SELECT id FROM base")
    with pytest.raises(ConfigError) as caught:
        await scan(make(), "seen")
    assert caught.value.code == "key_needed"
    assert len(values_of(await scan(make(chunk=1), "seen", None, replace(SCAN, key=("id",))))) == 3


async def test_a_reader_holds_no_transaction(make: Make, ask: Ask) -> None:
    ask("CREATE TABLE busy (id int PRIMARY KEY)")
    ask("INSERT INTO busy VALUES (1), (2), (3)")
    pages = make(chunk=1).read("busy", None, SCAN)
    async with aclosing(pages):  # type: ignore[type-var]
        await anext(aiter(pages))
        started = time.monotonic()
        ask("ALTER TABLE busy ADD COLUMN more int")
        assert time.monotonic() - started < 5


# --- the account ----------------------------------------------------------------------------------------


async def test_probes_name_the_grant(make: Make, mariadb_server: MariadbServer) -> None:
    server = mariadb_server
    assert all(item.ok for item in await make().check())
    limited = make(user=server.limited_user, password=server.limited_password)
    found = {item.id: item for item in await limited.check()}
    assert found["read"].ok and not found["write"].ok
    assert "GRANT ALTER, CREATE, DELETE, INSERT, UPDATE ON `shop`.*" in found["write"].detail


async def test_a_missing_privilege_is_a_config_error(
    make: Make, mariadb_server: MariadbServer, tools: Tools
) -> None:
    server = mariadb_server
    limited = make(user=server.limited_user, password=server.limited_password)
    with pytest.raises(ConfigError) as caught:
        await limited.open_target(tools.plan(Field("id", "integer")))
    assert "GRANT CREATE ON `shop`.*" in caught.value.hint


async def test_no_error_shows_the_password(mariadb_server: MariadbServer) -> None:
    for more in ({"password": "wrong-canary-6e"}, {"port": "9", "password": "wrong-canary-6e"}):
        driver = sql_driver(mariadb_server, **more)  # type: ignore[arg-type]
        with pytest.raises((CredentialError, TransientError)) as caught:
            await driver.discover()
        assert "canary" not in caught.value.sentence() + repr(caught.value) + str(caught.value.__cause__)
        await driver.close()


async def test_an_unknown_database_is_a_config_error(make: Make) -> None:
    with pytest.raises(ConfigError):
        await make(database="no_such_database").discover()


async def test_tls_is_asked_for_and_checked(make: Make) -> None:
    (first, *_) = await make(tls="verify-full").check()
    assert not first.ok


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1045, ErrorClass.AUTH),
        (1049, ErrorClass.CONFIG),
        (1142, ErrorClass.CONFIG),
        (1205, ErrorClass.TRANSIENT),
        (1213, ErrorClass.TRANSIENT),
        (2006, ErrorClass.TRANSIENT),
        (2013, ErrorClass.TRANSIENT),
        (1062, ErrorClass.RECORD),
        (1264, ErrorClass.RECORD),
        (1290, ErrorClass.CONFIG),
        (1114, ErrorClass.CONFIG),
        (1021, ErrorClass.CONFIG),
        (9999, ErrorClass.SYSTEMIC),
    ],
)
def test_codes_are_judged(mariadb_server: MariadbServer, code: int, kind: ErrorClass) -> None:
    address = address_of(sql_context(mariadb_server))
    error = DBAPIError("SELECT 1", None, OperationalError(code, "said"))
    assert translate(error, address).error_class == kind


@pytest.mark.parametrize("name", ["mysql", "sql"])
def test_the_manifests_are_checked(name: str) -> None:
    connector = load_connector(FOLDER / f"{name}.yaml")
    assert [check_code(connector, test) for test in connector.tests] == [()] * len(connector.tests)


async def test_the_generic_platform_names_its_dialect(make: Make) -> None:
    assert all(item.ok for item in await make(platform="sql", dialect="mariadb").check())


# --- targets --------------------------------------------------------------------------------------------

FIELDS = (Field("id", "integer"), Field("name", "string", max_length=10), Field("total", "number"))


async def test_a_new_field_gets_a_column_before_the_rows(make: Make, ask: Ask, tools: Tools) -> None:
    driver = make()
    plan = tools.plan(*FIELDS)
    (planned,) = await driver.plan_target(plan)
    assert planned.kind == "create_table" and not ask("SHOW TABLES")
    target = await driver.open_target(plan)
    rows = [
        {"id": 1, "name": "a", "total": 1.5, "extra": {"x": [1]}},
        {"id": 2, "name": "b", "extra": "text"},
    ]
    result = await target.write(tools.batch(rows, seq=1))
    assert (result.written, list(result.faults)) == (2, [])
    assert [change.kind for change in target.changes] == ["create_table", "add_column"]
    assert ask("SELECT id, name, total, extra FROM charges ORDER BY id") == (
        (1, "a", 1.5, '{"x":[1]}'),
        (2, "b", None, "text"),
    )
    again = await driver.open_target(plan)
    assert again.changes == []
    confirmed = await again.confirmed()
    assert confirmed is not None and confirmed.position == {"v": 1, "at": 1}


async def test_bad_rows_are_found_among_many(make: Make, ask: Ask, tools: Tools) -> None:
    target = await make().open_target(tools.plan(Field("id", "integer"), Field("n", "integer")))
    ask("ALTER TABLE charges ADD CONSTRAINT small CHECK (n < 1000)")
    rows = [{"id": number, "n": number} for number in range(300)]
    rows[17]["n"] = 5_000
    rows[205]["n"] = 2**70
    result = await target.write(tools.batch(rows, seq=1))
    assert result.written == 298
    assert [(index, fault.code) for index, fault in result.faults] == [(17, "4025"), (205, "1264")]
    assert result.faults[1][1].field == "n"
    assert ask("SELECT count(*) FROM charges") == ((298,),)


async def test_an_older_version_does_not_replace_a_newer_one(make: Make, ask: Ask, tools: Tools) -> None:
    target = await make().open_target(tools.plan(Field("id", "integer"), Field("name", "string")))
    new, old = "2026-01-02T00:00:00Z", "2026-01-01T23:59:59.5Z"
    await target.write(tools.batch([{"id": 1, "name": "new", "updated_at": new}]))
    both = [{"id": 1, "name": "old", "updated_at": old}, {"id": 2, "name": "two", "updated_at": old}]
    result = await target.write(tools.batch(both))
    assert (result.written, result.superseded) == (1, 1)
    assert ask("SELECT name FROM charges ORDER BY id") == (("new",), ("two",))
    gone = Row("[1]", "{}", {"id": 1}, old, "", Op.DELETE)
    assert (await target.write(tools.batch([gone]))).superseded == 1
    for first, second in ((9, 10), (-10, -9), (1.5, 1.75), (2**60, 2**60 + 1)):
        ask("DELETE FROM charges")
        await target.write(tools.batch([tools.row({"id": 1, "name": "new"}, version=second)]))
        result = await target.write(tools.batch([tools.row({"id": 1, "name": "old"}, version=first)]))
        assert result.superseded == 1, (first, second)


async def test_keys_that_differ_in_case_or_blanks_are_two_rows(make: Make, ask: Ask, tools: Tools) -> None:
    fields = (Field("id", "string", native="mysql:varchar(20)"), Field("n", "integer", native="mysql:int"))
    for typed in (False, True):
        target = await make().open_target(tools.plan(*fields, typed=typed, target=f"keys_{typed}"))
        rows = [{"id": text, "n": 1} for text in ("a", "A", "a ", "á")]
        assert (await target.write(tools.batch(rows))).written == 4
        assert ask(f"SELECT count(*) FROM keys_{typed}") == ((4,),)


async def test_a_mirror_has_the_same_columns_and_values(make: Make, ask: Ask, tools: Tools) -> None:
    ask(EVERY)
    ask(
        "INSERT INTO every VALUES (18446744073709551615, 12345678901234567890.0123456789, 2, -5, 0.1, 0.1,"
        " '2026-01-02', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678', '-100:00:01.5', 2026, b'101',"
        " '{}', 'né', 'a', 'x,y', x'00ff', x'000102030405060708090a0b0c0d0e0f', uuid(), NULL)"
    )
    ask("INSERT INTO every (id, day, moment) VALUES (1, '0000-00-00', '0000-00-00 00:00:00')")
    driver = make()
    stream = next(item for item in await driver.discover() if item.name == "every")
    plan = tools.plan(*stream.fields, target="copy", key=stream.key, typed=True, cursor=None)
    target = await driver.open_target(plan)
    (page,) = await scan(driver, "every")
    result = await target.write(tools.batch([tools.row(record.value) for record in page.records]))
    assert list(result.faults) == []
    shared = (
        "id, price, flag, small, single, wide, day, moment, stamp, span, y, word, kind, some, blobby, ident"
    )
    assert ask(f"SELECT {shared} FROM every ORDER BY id") == ask(f"SELECT {shared} FROM copy ORDER BY id")
    kinds = {row[0]: row[1] for row in ask("SHOW COLUMNS FROM copy")}
    assert kinds["price"] == "decimal(30,10)" and kinds["id"] == "bigint(20) unsigned" and "_raw" not in kinds


async def test_a_value_that_would_be_rounded_is_refused(make: Make, tools: Tools) -> None:
    fields = (Field("id", "integer"), Field("price", "number", native="postgresql:numeric(10,2)"))
    target = await make().open_target(tools.plan(*fields))
    result = await target.write(
        tools.batch([{"id": 1, "price": Decimal("1.239")}, {"id": 2, "price": Decimal("1.230")}])
    )
    assert [(index, fault.code, fault.field) for index, fault in result.faults] == [
        (0, "out_of_range", "price")
    ]


async def test_the_contract_is_kept(make: Make, ask: Ask, tools: Tools) -> None:
    evolve = Contract(types=Evolution.EVOLVE)
    target = await make().open_target(
        tools.plan(Field("id", "integer"), Field("n", "integer"), contract=evolve)
    )
    result = await target.write(tools.batch([{"id": 1, "n": 5}, {"id": 2, "n": "five"}]))
    assert list(result.faults) == [] and ask("SELECT n FROM charges ORDER BY id") == (("5",), ("five",))
    freeze = Contract(columns=Evolution.FREEZE)
    frozen = await make().open_target(tools.plan(Field("id", "integer"), Field("n", "any"), contract=freeze))
    with pytest.raises(ConfigError) as caught:
        await frozen.write(tools.batch([{"id": 3, "more": 1}]))
    assert caught.value.code == "contract"


async def test_a_table_of_somebody_else_is_left_alone(make: Make, ask: Ask, tools: Tools) -> None:
    ask("CREATE TABLE charges (id int PRIMARY KEY)")
    with pytest.raises(ConfigError) as caught:
        await make().open_target(tools.plan(*FIELDS))
    assert caught.value.code == "target_shape"


async def test_another_engine_fences_this_one(make: Make, tools: Tools) -> None:
    first = await make().open_target(tools.plan(*FIELDS))
    await first.write(tools.batch([{"id": 1}], seq=1))
    second = await make().open_target(tools.plan(*FIELDS, epoch=2))
    await second.confirmed()
    await second.write(tools.batch([{"id": 2}], seq=2))
    with pytest.raises(Fenced):
        await first.write(tools.batch([{"id": 3}], seq=2))


async def test_truncate_and_rows_behind_it_are_one_transaction(make: Make, ask: Ask, tools: Tools) -> None:
    target = await make().open_target(tools.plan(*FIELDS))
    await target.write(tools.batch([{"id": 1}, {"id": 2}], seq=1))
    rows = [Row("", "", {}, None, "", Op.TRUNCATE), tools.row({"id": 3})]
    assert (await target.write(tools.batch(rows, seq=2))).written == 2
    assert ask("SELECT id FROM charges") == ((3,),)


async def test_killed_in_the_middle_of_a_batch_nothing_of_it_is_there_or_all(
    make: Make, ask: Ask, tools: Tools, mariadb_server: MariadbServer
) -> None:
    target = await make().open_target(tools.plan(*FIELDS))
    await target.write(tools.batch([{"id": 0}], seq=1))
    rows = [{"id": number, "name": "x" * 10} for number in range(1, 20_001)]
    writing = asyncio.ensure_future(target.write(tools.batch(rows, seq=2)))
    await asyncio.sleep(0.35)
    mariadb_server.kill()
    mariadb_server.start_again()
    try:
        await writing
    except TransientError:
        ((count,),) = ask("SELECT count(*) FROM charges")
        ((seq,),) = ask("SELECT seq FROM _platint_positions")
        assert (count, seq) in ((1, 1), (20_001, 2))
        target = await make().open_target(tools.plan(*FIELDS))
        await target.confirmed()
        if seq == 1:
            await target.write(tools.batch(rows, seq=2))
    assert ask("SELECT count(*), count(DISTINCT _key) FROM charges") == ((20_001, 20_001),)
    confirmed = await target.confirmed()
    assert confirmed is not None and confirmed.seq == 2


async def test_a_lost_answer_to_the_commit_does_not_lose_what_was_refused(
    make: Make, ask: Ask, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await make().open_target(tools.plan(*FIELDS))
    await target.write(tools.batch([{"id": 0}], seq=1))
    ask("ALTER TABLE charges ADD CONSTRAINT positive CHECK (id > -1)")
    opened, lost = target._database.connection, []

    @asynccontextmanager
    async def losing(*, transaction: bool = False) -> AsyncIterator[Any]:
        async with opened(transaction=transaction) as session:
            yield session
        if transaction and not lost:
            lost.append(1)
            raise TransientError("The connection was lost after the commit.")

    monkeypatch.setattr(target._database, "connection", losing)
    result = await target.write(tools.batch([{"id": 1}, {"id": -5}], seq=2))
    assert lost and result.written == 1 and [(at, fault.code) for at, fault in result.faults] == [(1, "4025")]
    assert ask("SELECT id FROM charges ORDER BY id") == ((0,), (1,))
    assert (await target.write(tools.batch([{"id": 3}], seq=3))).written == 1


async def test_an_option_that_there_is_not_is_told(make: Make, ask: Ask) -> None:
    ask("CREATE TABLE there (id int PRIMARY KEY)")
    for options in (ReadOptions(mode="cdc"), ReadOptions(mode="cursor"), ReadOptions(cursor="nope")):
        with pytest.raises(ConfigError):
            await scan(make(), "there", None, options)
