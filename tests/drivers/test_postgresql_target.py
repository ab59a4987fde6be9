from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from platint_tui.core.errors import ConfigError, CredentialError, Fenced, TransientError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import Field
from platint_tui.drivers.postgresql import PostgresqlDriver
from platint_tui.manifest.schema import Probe

MAY = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
ID = Field("id", "string", required=True)


@pytest.fixture
async def admin(postgres_server: Any) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection of the test's own, and a schema per test that goes at its end."""
    connection = await asyncpg.connect(postgres_server.dsn, ssl=False)
    await connection.execute("DROP SCHEMA IF EXISTS work CASCADE; CREATE SCHEMA work; SET search_path = work")
    yield connection
    await connection.execute("DROP SCHEMA work CASCADE")
    await connection.close()


@pytest.fixture
def fields(postgres_server: Any) -> dict[str, str]:
    server = postgres_server
    names = {"host": server.host, "port": str(server.port), "database": server.database, "user": server.user}
    return {**names, "schema": "work"}


@pytest.fixture
async def driver(
    tools: Any, fields: dict[str, str], admin: asyncpg.Connection[Any], postgres_server: Any
) -> AsyncIterator[PostgresqlDriver]:
    opened = PostgresqlDriver(tools.context("postgresql", fields, password=postgres_server.password))
    yield opened
    await opened.close()


class Targets:
    """Opens targets and closes them at the end."""

    def __init__(self, driver: PostgresqlDriver, tools: Any) -> None:
        self.driver, self.tools, self.opened = driver, tools, []  # type: ignore[var-annotated]

    async def open(self, *fields: Field, **changes: Any) -> Any:
        target = await self.driver.open_target(self.tools.plan(*fields, **changes))
        self.opened.append(target)
        return target


@pytest.fixture
async def targets(driver: PostgresqlDriver, tools: Any) -> AsyncIterator[Targets]:
    opener = Targets(driver, tools)
    yield opener
    for target in opener.opened:
        await target.close()


async def rows(admin: asyncpg.Connection[Any], sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await admin.fetch(sql)]


async def test_rows_and_position_are_written_together(targets: Targets, admin: Any, tools: Any) -> None:
    declared = [ID, Field("n", "integer"), Field("fee", "number"), Field("paid", "boolean")]
    declared += [Field("at", "timestamp"), Field("meta", "object"), Field("tags", "array")]
    target = await targets.open(*declared)
    assert await target.confirmed() is None
    first = {"id": "1", "n": 2**62, "fee": Decimal("0.1234567890123456789"), "paid": True, "more": "x"}
    first |= {"at": "2026-01-02T03:04:05.678+02:00", "meta": {"a": [2**70]}, "tags": [1, None]}
    second = {"id": "2", "fee": 5, "at": 1_700_000_000, "more": {"y": 1}}
    third = {"id": "3", "fee": 0.1, "at": 1_700_000_000_000, "n": None}
    batch = tools.batch(
        [tools.row(value, raw=f'{{"raw":{value["id"]}}}') for value in (first, second, third)], seq=1
    )
    result = await target.write(batch)
    assert (result.written, result.superseded, list(result.faults)) == (3, 0, [])
    found = await admin.fetch("SELECT * FROM charges ORDER BY id")
    assert found[0]["fee"] == Decimal("0.1234567890123456789") and found[0]["n"] == 2**62 and found[0]["paid"]
    assert found[0]["at"] == datetime(2026, 1, 2, 1, 4, 5, 678_000, UTC)
    assert json.loads(found[0]["meta"]) == {"a": [2**70]} and json.loads(found[0]["tags"]) == [1, None]
    assert found[1]["at"] == found[2]["at"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found[2]["fee"] == Decimal("0.1")
    assert [json.loads(row["more"]) if row["more"] else None for row in found] == ["x", {"y": 1}, None]
    assert (found[0]["_key"], found[0]["_raw"], found[0]["_run"]) == ('["1"]', '{"raw":1}', "run_1")
    held = await target.confirmed()
    assert held is not None and (held.seq, held.position) == (1, {"v": 1, "at": 1})
    types = dict(await rows(admin, "SELECT column_name::text, data_type::text FROM information_schema.columns"
                                   " WHERE table_schema = 'work' AND table_name = 'charges'"))  # fmt: skip
    assert types["n"] == "bigint" and types["fee"] == "numeric" and types["meta"] == types["more"] == "jsonb"
    assert types["at"] == "timestamp with time zone" and types["id"] == "text" and types["paid"] == "boolean"


@pytest.mark.parametrize(
    ("value", "field", "code"),
    [
        ({"id": "x", "n": "5"}, "n", "wrong_type"),
        ({"id": "x", "n": 2**63}, "n", "out_of_range"),
        ({"id": "x", "at": "soon"}, "at", "wrong_type"),
        ({"id": "x", "at": 10**30}, "at", "wrong_type"),
        ({"id": "x", "s": "123456"}, "s", "too_long"),
        ({"id": "x", "s": "a\0b"}, "s", "invalid_text"),
        ({"id": "x", "new": "a\0b"}, "new", "invalid_text"),
        ({"id": "x", "o": {"a\0": 1}}, "o", "invalid_text"),
        ({"id": "x", "s": "\ud800"}, "", "invalid_text"),
        ({"n": 1}, "id", "missing_field"),
    ],
)
async def test_H14_I7_a_bad_row_is_a_fault_and_the_others_are_written(
    targets: Targets, admin: Any, tools: Any, value: dict[str, Any], field: str, code: str
) -> None:
    declared = [ID, Field("n", "integer"), Field("s", "string", max_length=5), Field("at", "timestamp")]
    target = await targets.open(*declared, Field("o", "object"))
    batch = [{"id": f"{n}", "n": n, "o": {"path": "\\u0000"}} for n in range(20)]
    result = await target.write(tools.batch([*batch[:7], tools.row(value, raw="{}"), *batch[7:]], seq=1))
    assert result.written == 20
    [(index, fault)] = result.faults
    assert (index, fault.field, fault.code, fault.error_class) == (7, field, code, "record")
    assert await rows(admin, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [
        (20, 1)
    ]


async def test_H14_rows_that_a_constraint_refuses_are_found_by_halving(
    targets: Targets, admin: Any, tools: Any
) -> None:
    target = await targets.open(ID, Field("n", "integer"))
    await admin.execute("ALTER TABLE charges ADD CONSTRAINT small CHECK (n < 100), ALTER n SET NOT NULL")
    values: list[dict[str, Any]] = [{"id": f"{n}", "n": n} for n in range(103)]
    values[50] = {"id": "50"}
    result = await target.write(tools.batch(values, seq=1))
    assert result.written == 99
    assert [(index, fault.code) for index, fault in result.faults] == [
        (n, "constraint") for n in (50, 100, 101, 102)
    ]
    assert result.faults[0][1].field == "n"
    assert await rows(admin, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [
        (99, 1)
    ]


async def test_H7_H5_versions_guard_and_repeats_replace(targets: Targets, admin: Any, tools: Any) -> None:
    target = await targets.open(ID)
    new, old = "2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00Z"
    await target.write(tools.batch([{"id": "1", "name": "new", "updated_at": new, "gone": 1}], seq=1))
    late = [{"id": "1", "name": "old", "updated_at": old}, {"id": "2", "name": "two", "updated_at": old}]
    result = await target.write(tools.batch(late, seq=2))
    assert (result.written, result.superseded) == (1, 1)
    same = [{"id": "1", "name": "same", "updated_at": new}, {"id": "1", "name": "twice", "updated_at": new}]
    result = await target.write(tools.batch(same, seq=3))
    assert (result.written, result.superseded) == (2, 0)
    found = await rows(admin, "SELECT id, name #>> '{}', gone FROM charges ORDER BY id")
    assert found == [("1", "twice", None), ("2", "two", None)]


async def test_H10_new_keys_get_columns_whatever_they_are_called(
    targets: Targets, admin: Any, tools: Any
) -> None:
    hostile = [
        'a"b',
        "drop table",
        "Id",
        "_key",
        "_RAW",
        "x" * 100,
        "",
        "é",
        "tab\there",
        "a\0b",
        "ctid",
        "xmin",
    ]
    value = {"id": "1", **{key: number for number, key in enumerate(hostile)}}
    for run in ("run_1", "run_2"):
        target = await targets.open(ID, run=run)
        assert (await target.write(tools.batch([tools.row(value, raw="{}")]))).written == 1
    names = dict(await rows(admin, "SELECT key, name FROM _platint_columns"))
    assert names['a"b'] == 'a"b' and names["Id"] == "Id" and names["ctid"] != "ctid"
    assert len(names) == len(hostile) + 1 and len(set(names.values())) == len(names)


async def test_two_streams_add_columns_to_one_table(targets: Targets, admin: Any, tools: Any) -> None:
    first, second = await targets.open(ID), await targets.open(ID, stream="other")
    await first.write(tools.batch([{"id": "1", "extra": 1}], seq=1))
    await second.write(tools.batch([{"id": "2", "extra": 2}], seq=1))
    assert await rows(admin, "SELECT extra FROM charges ORDER BY id") == [("1",), ("2",)]


async def test_a_table_made_for_another_type_refuses_single_rows(
    targets: Targets, admin: Any, tools: Any
) -> None:
    target = await targets.open(ID, Field("n", "integer"))
    await target.write(tools.batch([{"id": "1", "n": 1}], seq=1))
    changed = await targets.open(ID, Field("n", "string"), run="run_2")
    result = await changed.write(tools.batch([{"id": "2", "n": "two"}, {"id": "3"}], seq=2))
    assert result.written == 1 and [(i, f.code, f.field) for i, f in result.faults] == [
        (0, "wrong_type", "n")
    ]


async def test_an_older_engine_is_fenced_off(targets: Targets, admin: Any, tools: Any) -> None:
    first = await targets.open(ID, epoch=1)
    await first.write(tools.batch([{"id": "1"}], seq=1))
    second = await targets.open(ID, epoch=2)
    replay = await targets.open(ID, epoch=0, run="job_1")
    await second.write(tools.batch([{"id": "2"}], seq=2))
    with pytest.raises(Fenced):
        await first.write(tools.batch([{"id": "1", "late": True}], seq=2))
    with pytest.raises(Fenced):
        await targets.open(ID, epoch=1)
    assert (await replay.write(tools.batch([{"id": "9"}]))).written == 1
    assert (await second.write(tools.batch([{"id": "3"}], seq=3))).written == 1
    assert await rows(admin, "SELECT seq, epoch FROM _platint_positions") == [(3, 2)]
    assert await rows(admin, "SELECT count(*) FROM charges") == [(4,)]


async def test_the_position_belongs_to_the_table(targets: Targets, admin: Any, tools: Any) -> None:
    target = await targets.open(ID)
    await target.write(tools.batch([{"id": "1"}], seq=5))
    assert await (await targets.open(ID, target="charges_2")).confirmed() is None
    assert await target.confirmed() is not None
    await admin.execute("DROP TABLE charges")
    again = await targets.open(ID, run="run_2")
    assert await again.confirmed() is None
    assert (await again.write(tools.batch([{"id": "1"}], seq=1))).written == 1


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE charges (id text PRIMARY KEY, amount int)", "no column _key"),
        ("CREATE VIEW charges AS SELECT 1 AS _key", "a view"),
        ("CREATE SEQUENCE charges", "a sequence"),
        (
            "CREATE TABLE charges (_key text, _raw text, _version text, _synced_at timestamptz, _run text)",
            "_version is text",
        ),
        (
            "CREATE TABLE charges (_key text, _raw text, _version jsonb, _synced_at timestamptz, _run text)",
            "primary key",
        ),
        (
            "CREATE TABLE charges (_key text PRIMARY KEY, _raw text, _version jsonb, _synced_at timestamptz,"
            " _run text, id point);"
            " CREATE TABLE _platint_columns (target text, key text, name text, PRIMARY KEY (target, key));"
            " INSERT INTO _platint_columns VALUES ('charges', 'id', 'id')",
            "of the type point",
        ),
        ("CREATE TABLE _platint_positions (a int)", "columns are not those of this program"),
    ],
)
async def test_a_target_of_another_shape_is_one_sentence_and_untouched(
    driver: PostgresqlDriver, admin: Any, tools: Any, sql: str, reason: str
) -> None:
    await admin.execute(sql)
    shape = (
        "SELECT table_name::text, column_name::text FROM information_schema.columns"
        " WHERE table_schema = 'work' ORDER BY 1, 2"
    )
    before = await rows(admin, shape)
    with pytest.raises(ConfigError) as caught:
        await driver.open_target(tools.plan(ID))
    assert reason in caught.value.message and caught.value.hint and caught.value.code == "target_shape"
    assert await rows(admin, shape) == before


async def test_sign_in_and_place_errors_are_sentences(
    tools: Any, fields: dict[str, str], admin: Any, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    monkeypatch.setenv("PGSSLMODE", "disable")
    good = {"password": postgres_server.password}

    async def failure(changes: dict[str, str], secrets: dict[str, str]) -> Exception:
        driver = PostgresqlDriver(tools.context("postgresql", {**fields, **changes}, **secrets))
        [capability] = await driver.check()
        assert not capability.ok and "Traceback" not in capability.detail
        assert postgres_server.password not in capability.detail
        with pytest.raises(Exception) as caught:
            await driver.open_target(tools.plan(ID))
        return caught.value

    assert isinstance(await failure({}, {"password": "wrong-password"}), CredentialError)
    assert isinstance(await failure({}, {}), CredentialError)
    assert isinstance(await failure({"user": "nobody_here"}, good), CredentialError)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert isinstance(await failure({"port": str(closed.getsockname()[1])}, good), TransientError)
    assert isinstance(await failure({"host": "no-such-host.invalid"}, good), TransientError)
    for changes, part in (
        ({"database": "none"}, "no database 'none'"),
        ({"tls": "require"}, "does not offer the TLS"),
        ({"tls": "verify-full", "ca_file": "/nonexistent.pem"}, "certificate authorities"),
    ):
        error = await failure(changes, good)
        assert isinstance(error, ConfigError) and part in error.sentence()
    driver = PostgresqlDriver(tools.context("postgresql", {**fields, "schema": "none"}, **good))
    with pytest.raises(ConfigError, match="no schema 'none'"):
        await driver.open_target(tools.plan(ID))


async def test_missing_rights_are_a_sentence(
    tools: Any, fields: dict[str, str], admin: asyncpg.Connection[Any]
) -> None:
    await admin.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'reader-pass-1'")
    await admin.execute("GRANT USAGE ON SCHEMA work TO reader")
    try:
        context = tools.context("postgresql", {**fields, "user": "reader"}, password="reader-pass-1")
        with pytest.raises(ConfigError, match="permission denied") as caught:
            await PostgresqlDriver(context).open_target(tools.plan(ID))
        assert "Grant the user" in caught.value.hint
        driver = PostgresqlDriver(context)
        assert "PostgreSQL" in await driver._probe(Probe(id="may", query="SELECT 1"))
        for query in (MAY, "SELECT NULL"):
            with pytest.raises(ConfigError, match="answers no"):
                await driver._probe(Probe(id="may", query=query))
    finally:
        await admin.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"host": ""}, "'host' is empty"),
        ({"database": ""}, "'database' is empty"),
        ({"port": "70000"}, "no port"),
        ({"port": "x"}, "no port"),
        ({"tls": "yes"}, "no TLS mode"),
    ],
)
def test_a_bad_profile_is_one_sentence(tools: Any, changes: dict[str, str], part: str) -> None:
    fields = {"host": "db.example", "port": "5432", "database": "d", "user": "u", **changes}
    with pytest.raises(ConfigError, match=part):
        PostgresqlDriver(tools.context("postgresql", fields))


async def test_a_lost_connection_is_opened_again(targets: Targets, admin: Any, tools: Any) -> None:
    target = await targets.open(ID)
    await target.write(tools.batch([{"id": "1"}], seq=1))
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'platint-tui'"
    await admin.execute(kill)
    assert (await target.write(tools.batch([{"id": "2", "new": 1}], seq=2))).written == 1
    assert await rows(admin, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [(2, 2)]


class Proxy:
    """Stands between driver and server; can lose the answer to the next commit, or cut everything."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.lose_commit = False
        self.lost = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(*self._address)
        self._writers += [writer, inner_writer]
        losing = False

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, outwards: bool) -> None:
            nonlocal losing
            try:
                while data := await source.read(65_536):
                    if outwards and self.lose_commit and b"COMMIT;" in data:
                        losing, self.lose_commit = True, False
                    if losing and not outwards:
                        self.lost += 1
                        writer.transport.abort()
                        break
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            sink.close()

        await asyncio.gather(copy(reader, inner_writer, True), copy(inner_reader, writer, False))


@pytest.fixture
async def proxy(postgres_server: Any) -> AsyncIterator[Proxy]:
    opened = Proxy(postgres_server.host, postgres_server.port)
    yield opened
    opened.cut()


async def test_a_commit_whose_answer_is_lost_counts_once(
    tools: Any, fields: dict[str, str], admin: Any, postgres_server: Any, proxy: Proxy
) -> None:
    place = {**fields, "port": str(await proxy.start())}
    driver = PostgresqlDriver(tools.context("postgresql", place, password=postgres_server.password))
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}], seq=1))
    proxy.lose_commit = True
    result = await target.write(tools.batch([{"id": "2", "new": 1}, {"id": "3", "new": 2}], seq=2))
    assert proxy.lost == 1 and result.written == 2
    proxy.lose_commit = True
    assert (await target.write(tools.batch([{"id": "9", "newer": 1}]))).written == 1
    assert (await target.write(tools.batch([{"id": "4", "new": 1}], seq=3))).written == 1
    assert await rows(admin, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [(5, 3)]
    await target.close()


async def test_the_database_gone_for_good_is_transient_and_nothing_is_written(
    tools: Any, fields: dict[str, str], admin: Any, postgres_server: Any, proxy: Proxy
) -> None:
    place = {**fields, "port": str(await proxy.start())}
    driver = PostgresqlDriver(tools.context("postgresql", place, password=postgres_server.password))
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}], seq=1))
    proxy.cut()
    with pytest.raises(TransientError, match="cannot be reached"):
        await target.write(tools.batch([{"id": "2"}], seq=2))
    await target.close()
    assert tools.telemetry.calls[-3:] == [("write charges", False)] * 3
    assert await rows(admin, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [(1, 1)]


async def test_check_discover_and_scan(
    driver: PostgresqlDriver, targets: Targets, admin: Any, tools: Any
) -> None:
    [capability] = await driver.check()
    assert capability.ok and "PostgreSQL" in capability.detail
    # Other test files leave schemas of their own on this server; their tables have the schema in the name.
    assert [item for item in await driver.discover() if "." not in item.name] == []
    assert [item async for item in driver.scan_keys("charges")] == []
    target = await targets.open(ID, Field("n", "integer"))
    await target.write(tools.batch([{"id": f"{n}", "n": n} for n in range(4_500)], seq=1))
    await admin.execute("CREATE TABLE other (a int PRIMARY KEY, b text NOT NULL); ANALYZE charges")
    ours, other = [item for item in await driver.discover() if "." not in item.name]
    assert (ours.name, ours.writable, ours.readable, ours.estimate) == ("charges", True, False, 4_500)
    assert [(item.name, item.type) for item in ours.fields] == [("id", "string"), ("n", "integer")]
    assert (other.name, other.readable, other.writable, other.key) == ("other", True, False, ("a",))
    found = {key: digest async for key, digest in driver.scan_keys("charges")}
    assert len(found) == 4_500 and found['["7"]'] == content_hash('{"id": "7", "n": 7}')
    assert await driver.describe_target("charges") is None


async def test_engines_that_start_at_once_make_the_tables_once(
    targets: Targets, admin: Any, tools: Any
) -> None:
    opened = await asyncio.gather(*(targets.open(ID, stream=f"s{n}", target=f"t{n % 2}") for n in range(6)))
    for target in opened:
        await target.write(tools.batch([{"id": "1"}], seq=1))
    assert await rows(admin, "SELECT count(*) FROM _platint_positions") == [(6,)]
