from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from platint_tui.core.errors import ConfigError, Fenced, SystemicError, TransientError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import Field
from platint_tui.drivers.sqlite import SqliteDriver
from platint_tui.drivers.sqlite import file as sqlite_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.sqlite3"


@pytest.fixture
async def driver(tools: Any, path: Path) -> AsyncIterator[SqliteDriver]:
    opened = SqliteDriver(tools.context("sqlite", {"path": str(path)}))
    yield opened
    await opened.close()


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


ID = Field("id", "string", required=True)


async def test_rows_and_position_are_written_together(driver: SqliteDriver, path: Path, tools: Any) -> None:
    target = await driver.open_target(tools.plan(ID, Field("amount", "integer"), Field("meta", "object")))
    assert await target.confirmed() is None
    rows = [{"id": f"ch_{n}", "amount": n, "meta": {"n": [n]}, "paid": n == 1} for n in range(3)]
    result = await target.write(tools.batch(rows, seq=1))
    assert (result.written, result.superseded, list(result.faults)) == (3, 0, [])
    found = query(path, "SELECT id, amount, meta, paid, _key, _raw, _run FROM charges ORDER BY id")
    assert found[1] == ("ch_1", 1, '{"n":[1]}', 1, '["ch_1"]', json.dumps(rows[1]), "run_1")
    position = query(path, "SELECT sync, stream, seq, epoch, position, run FROM _platint_positions")
    assert position == [("sales", "charges", 1, 1, '{"v":1,"at":1}', "run_1")]
    held = await target.confirmed()
    assert held is not None and (held.seq, held.position) == (1, {"v": 1, "at": 1})
    assert tools.telemetry.calls == [("write charges", True)]


async def test_the_file_is_private_and_durable(driver: SqliteDriver, path: Path, tools: Any) -> None:
    old = os.umask(0)
    try:
        await driver.open_target(tools.plan(ID))
    finally:
        os.umask(old)
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = await driver._file.run(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    assert settings == ["wal", 2]


@pytest.mark.parametrize(
    ("value", "field", "code"),
    [
        ({"id": "1", "n": "5"}, "n", "wrong_type"),
        ({"id": "1", "n": True}, "n", "wrong_type"),
        ({"id": "1", "n": 1.5}, "n", "wrong_type"),
        ({"id": "1", "n": Decimal("0.1234567890123456789")}, "n", "wrong_type"),
        ({"id": "1", "s": 5}, "s", "wrong_type"),
        ({"id": "1", "s": {"x": 1}}, "s", "wrong_type"),
        ({"id": "1", "s": "123456"}, "s", "too_long"),
        ({"id": "1", "b": 1}, "b", "wrong_type"),
        ({"id": "1", "f": "1.5"}, "f", "wrong_type"),
        ({"id": "1", "o": []}, "o", "wrong_type"),
        ({"id": "1", "a": {}}, "a", "wrong_type"),
        ({"id": "1", "t": []}, "t", "wrong_type"),
        ({"n": 1}, "id", "missing_field"),
        ({"id": None}, "id", "missing_field"),
    ],
)
async def test_H14_a_row_that_breaks_the_contract_is_a_fault_and_the_others_are_written(
    driver: SqliteDriver, path: Path, tools: Any, value: dict[str, Any], field: str, code: str
) -> None:
    fields = [ID, Field("n", "integer"), Field("s", "string", max_length=5), Field("b", "boolean")]
    fields += [Field("f", "number"), Field("o", "object"), Field("a", "array"), Field("t", "timestamp")]
    target = await driver.open_target(tools.plan(*fields))
    good = {"id": "2", "n": 5, "s": "12345", "b": False, "f": 1, "o": {}, "a": [], "t": 1.5}
    result = await target.write(tools.batch([{"id": "0"}, tools.row(value, raw="{}"), good], seq=1))
    assert result.written == 2
    [(index, fault)] = result.faults
    assert (index, fault.field, fault.code, fault.error_class) == (1, field, code, "record")
    assert query(path, "SELECT id FROM charges ORDER BY id") == [("0",), ("2",)]
    assert query(path, "SELECT seq FROM _platint_positions") == [(1,)]


async def test_a_whole_number_with_decimals_is_an_integer(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID, Field("n", "integer")))
    await target.write(tools.batch([{"id": "1", "n": 5.0}]))
    assert query(path, "SELECT n, typeof(n) FROM charges") == [(5, "integer")]


async def test_I1_I2_numbers_that_no_column_holds_are_kept_as_text(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    fields = [ID, Field("n", "integer"), Field("f", "number"), Field("t", "timestamp")]
    target = await driver.open_target(tools.plan(*fields))
    value = {
        "id": "1",
        "n": 2**64,
        "f": Decimal("0.1234567890123456789"),
        "t": 2**63,
        "x": -(2**63) - 1,
        "y": 2**63 - 1,
    }
    result = await target.write(tools.batch([tools.row(value, raw="{}")]))
    assert result.written == 1 and not result.faults
    assert query(path, "SELECT n, f, t, x, y FROM charges") == [
        (
            "18446744073709551616",
            "0.1234567890123456789",
            "9223372036854775808",
            "-9223372036854775809",
            2**63 - 1,
        )
    ]


async def test_I6_half_a_surrogate_pair_is_a_fault_of_its_row_only(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    rows = [{"id": "1"}, tools.row({"id": "2", "x": "\ud800"}, raw="{}"), {"id": "3"}]
    result = await target.write(tools.batch(rows, seq=1))
    assert result.written == 2 and [(i, f.code) for i, f in result.faults] == [(1, "invalid_text")]
    assert query(path, "SELECT id FROM charges ORDER BY 1") == [("1",), ("3",)]


async def test_I7_nul_in_text_is_stored(driver: SqliteDriver, path: Path, tools: Any) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1", "x": "a\0b"}]))
    assert query(path, "SELECT x FROM charges") == [("a\0b",)]


async def test_H7_an_older_version_does_not_replace_a_newer_one(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    new, old = "2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00Z"
    await target.write(tools.batch([{"id": "1", "name": "new", "updated_at": new}], seq=1))
    result = await target.write(
        tools.batch(
            [{"id": "1", "name": "old", "updated_at": old}, {"id": "2", "name": "two", "updated_at": old}],
            seq=2,
        )
    )
    assert (result.written, result.superseded) == (1, 1)
    result = await target.write(tools.batch([{"id": "1", "name": "same", "updated_at": new}], seq=3))
    assert (result.written, result.superseded) == (1, 0)
    assert query(path, "SELECT id, name FROM charges ORDER BY id") == [("1", "same"), ("2", "two")]


async def test_H7_superseded_rows_are_counted_when_rows_are_tried_alone(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1", "updated_at": 5}], seq=1))
    bad = tools.row({"id": "3", "x": "\ud800"}, raw="{}")
    result = await target.write(tools.batch([{"id": "1", "updated_at": 4}, bad, {"id": "4"}], seq=2))
    assert (result.written, result.superseded, len(result.faults)) == (1, 1, 1)


async def test_H5_a_repeated_record_replaces_itself_and_drops_fields_that_went_away(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1", "a": 1, "b": 2}]))
    await target.write(tools.batch([{"id": "1", "a": 3}]))
    assert query(path, "SELECT id, a, b FROM charges") == [("1", 3, None)]


async def test_H10_new_keys_get_columns_whatever_they_are_called(
    driver: SqliteDriver, path: Path, tools: Any
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
        "\u202e",
        "a\0b",
        "ID",
        "select",
    ]
    target = await driver.open_target(tools.plan(ID))
    value = {"id": "1", **{key: number for number, key in enumerate(hostile)}}
    assert (await target.write(tools.batch([tools.row(value, raw="{}")], seq=1))).written == 1
    names = dict(query(path, "SELECT key, name FROM _platint_columns WHERE target = 'charges'"))
    assert (
        names['a"b'] == 'a"b' and names["é"] == "é" and names["Id"] != "Id" and len(set(names.values())) == 14
    )
    for number, key in enumerate(hostile):
        column = names[key].replace('"', '""')
        assert query(path, f'SELECT "{column}" FROM charges') == [(number,)]
    again = await driver.open_target(tools.plan(ID, run="run_2"))
    assert (await again.write(tools.batch([tools.row(value, raw="{}")]))).written == 1
    assert dict(query(path, "SELECT key, name FROM _platint_columns")) == names


async def test_more_keys_than_columns_stay_in_the_raw_text(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    value = {"id": "1", **{f"k{n}": n for n in range(1_500)}}
    for _ in range(2):
        assert (await target.write(tools.batch([value]))).written == 1
    assert len(query(path, "PRAGMA table_info(charges)")) == 1_000
    assert json.loads(query(path, "SELECT _raw FROM charges")[0][0]) == value


async def test_columns_that_others_added_are_left_alone(driver: SqliteDriver, path: Path, tools: Any) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}]))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ALTER TABLE charges ADD COLUMN note TEXT")
    connection.execute("UPDATE charges SET note = 'mine'")
    connection.close()
    again = await driver.open_target(tools.plan(ID))
    await again.write(tools.batch([{"id": "1", "note": "theirs"}]))
    assert query(path, "SELECT note FROM charges") == [("mine",)]


async def test_a_constraint_of_the_table_refuses_single_rows(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID, Field("n", "integer")))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE UNIQUE INDEX one_n ON charges (n)")
    connection.close()
    result = await target.write(
        tools.batch([{"id": "1", "n": 1}, {"id": "2", "n": 1}, {"id": "3", "n": 3}], seq=1)
    )
    assert result.written == 2 and [(i, f.code) for i, f in result.faults] == [(1, "constraint")]
    assert query(path, "SELECT seq FROM _platint_positions") == [(1,)]


async def test_a_trigger_that_rolls_back_stops_the_batch_whole(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "CREATE TRIGGER no BEFORE INSERT ON charges WHEN NEW.id = '2' BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
    )
    connection.close()
    with pytest.raises(SystemicError, match="rolls the whole transaction back"):
        await target.write(tools.batch([{"id": "1"}, {"id": "2"}], seq=1))
    assert query(path, "SELECT count(*) FROM charges") == [(0,)] and await target.confirmed() is None
    assert (await target.write(tools.batch([{"id": "1"}], seq=1))).written == 1


async def test_an_older_engine_is_fenced_off(driver: SqliteDriver, path: Path, tools: Any) -> None:
    first = await driver.open_target(tools.plan(ID, epoch=1))
    await first.confirmed()
    await first.write(tools.batch([{"id": "1"}], seq=1))
    second = await driver.open_target(tools.plan(ID, epoch=2))
    await second.write(tools.batch([{"id": "2"}], seq=2))
    with pytest.raises(Fenced):
        await first.write(tools.batch([{"id": "1", "name": "late"}], seq=2))
    with pytest.raises(Fenced):
        await driver.open_target(tools.plan(ID, epoch=1))
    assert query(path, "SELECT seq, epoch FROM _platint_positions") == [(2, 2)]
    assert query(path, "SELECT count(*) FROM charges") == [(2,)]


async def test_a_new_run_starts_with_a_low_epoch_again(driver: SqliteDriver, tools: Any) -> None:
    first = await driver.open_target(tools.plan(ID, epoch=7, run="run_9"))
    await first.write(tools.batch([{"id": "1"}], seq=1))
    second = await driver.open_target(tools.plan(ID, epoch=1, run="run_1"))
    assert (await second.write(tools.batch([{"id": "2"}], seq=2))).written == 1
    with pytest.raises(Fenced):
        await first.write(tools.batch([{"id": "3"}], seq=2))


async def test_a_replay_writes_rows_beside_a_running_sync(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    running = await driver.open_target(tools.plan(ID))
    await running.write(tools.batch([{"id": "1"}], seq=1))
    replay = await driver.open_target(tools.plan(ID, epoch=0, run="job_1"))
    assert (await replay.write(tools.batch([{"id": "9"}]))).written == 1
    assert (await running.write(tools.batch([{"id": "2"}], seq=2))).written == 1
    assert query(path, "SELECT seq, run FROM _platint_positions") == [(2, "run_1")]


async def test_the_position_belongs_to_the_table(driver: SqliteDriver, path: Path, tools: Any) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}], seq=5))
    other = await driver.open_target(tools.plan(ID, target="charges_2"))
    assert await other.confirmed() is None
    assert await target.confirmed() is not None
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TABLE charges")
    connection.close()
    again = await driver.open_target(tools.plan(ID, run="run_2"))
    assert await again.confirmed() is None
    assert (await again.write(tools.batch([{"id": "1"}], seq=1))).written == 1


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE charges (id TEXT PRIMARY KEY, amount INTEGER)", "no column _key"),
        ("CREATE VIEW charges AS SELECT 1 AS _key", "a view"),
        ("CREATE TABLE Charges (_key TEXT, _raw, _version, _synced_at, _run)", "primary key is not _key"),
        ("CREATE TABLE x (a); CREATE INDEX charges ON x (a)", "an index"),
        ("CREATE TABLE _platint_positions (a)", "columns are not those of this program"),
    ],
)
async def test_a_target_of_another_shape_is_one_sentence_and_untouched(
    driver: SqliteDriver, path: Path, tools: Any, sql: str, reason: str
) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()
    before = query(path, "SELECT type, name, sql FROM sqlite_master ORDER BY name")
    with pytest.raises(ConfigError) as caught:
        await driver.open_target(tools.plan(ID))
    assert reason in caught.value.message and caught.value.hint and caught.value.code == "target_shape"
    assert query(path, "SELECT type, name, sql FROM sqlite_master ORDER BY name") == before


@pytest.mark.parametrize(
    "name", ["", "sqlite_x", "_platint_positions", "x" * 64, "a\nb", "\x1b[31m", "pg_class"]
)
async def test_an_impossible_table_name_is_one_sentence(driver: SqliteDriver, tools: Any, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await driver.open_target(tools.plan(ID, target=name))
    assert "\x1b" not in caught.value.sentence() and "\n" not in caught.value.sentence()


async def test_a_hostile_table_name_is_only_a_name(driver: SqliteDriver, path: Path, tools: Any) -> None:
    name = 'x"; DROP TABLE y; --'
    target = await driver.open_target(tools.plan(ID, target=name))
    await target.write(tools.batch([{"id": "1"}], seq=1))
    assert [item async for item in driver.scan_keys(name)] == [('["1"]', content_hash('{"id": "1"}'))]


async def test_B17_a_file_that_is_no_database_is_untouched(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    path.write_bytes(b"These are notes, not a database. " * 100)
    with pytest.raises(ConfigError, match="not a usable SQLite database") as caught:
        await driver.open_target(tools.plan(ID))
    assert caught.value.where == str(path) and path.read_bytes().startswith(b"These are notes")


async def test_the_database_of_another_program_is_refused(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 1196444487")
    connection.execute("CREATE TABLE x (a)")
    connection.close()
    with pytest.raises(ConfigError, match="belongs to another program"):
        await driver.open_target(tools.plan(ID))


async def test_places_that_cannot_be_a_database(tools: Any, tmp_path: Path) -> None:
    for place, reason in (
        (tmp_path, "a folder"),
        (tmp_path / "no" / "db.sqlite3", "does not exist"),
        (Path("relative.sqlite3"), "must be absolute"),
        (Path("/proc/db.sqlite3"), "cannot be written"),
    ):
        driver = SqliteDriver(tools.context("sqlite", {"path": str(place)}))
        with pytest.raises(ConfigError, match=reason):
            await driver.open_target(tools.plan(ID))
        [capability] = await driver.check()
        assert not capability.ok or reason == "cannot be written"
        await driver.close()
    with pytest.raises(ConfigError, match="names no database file"):
        SqliteDriver(tools.context("sqlite", {}))


async def test_B8_a_locked_database_is_transient_and_nothing_is_written(
    driver: SqliteDriver, path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    target = await driver.open_target(tools.plan(ID))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="locked"):
        await target.write(tools.batch([{"id": "1"}], seq=1))
    other.execute("ROLLBACK")
    other.close()
    assert (await target.write(tools.batch([{"id": "1"}], seq=1))).written == 1
    assert tools.telemetry.calls == [("write charges", False)] * 3 + [("write charges", True)]


async def test_B1_B3_a_full_disk_keeps_what_was_confirmed_and_works_again(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "0"}], seq=1))
    pages = await driver._file.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await driver._file.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    big = [{"id": str(n), "text": "x" * 900} for n in range(1, 100)]
    with pytest.raises(ConfigError, match="disk is full") as caught:
        await target.write(tools.batch(big, seq=2))
    assert caught.value.code == "disk_full"
    assert query(path, "SELECT count(*), (SELECT seq FROM _platint_positions) FROM charges") == [(1, 1)]
    await driver._file.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert (await target.write(tools.batch(big, seq=2))).written == 99


async def test_B4_a_file_size_limit_is_one_sentence(tools: Any, path: Path) -> None:
    driver = SqliteDriver(tools.context("sqlite", {"path": str(path)}))
    target = await driver.open_target(tools.plan(ID))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
    try:
        with pytest.raises(ConfigError):
            await target.write(tools.batch([{"id": str(n), "text": "x" * 900} for n in range(1000)], seq=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert (await target.write(tools.batch([{"id": "1"}], seq=1))).written == 1
    await driver.close()
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_B18_a_removed_file_is_noticed_before_anything_is_lost(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}], seq=1))
    path.unlink()
    with pytest.raises(SystemicError, match="removed or replaced"):
        await target.write(tools.batch([{"id": "2"}], seq=2))


async def test_a_damaged_position_is_one_sentence(driver: SqliteDriver, path: Path, tools: Any) -> None:
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": "1"}], seq=1))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE _platint_positions SET position = '{'")
    connection.close()
    with pytest.raises(SystemicError, match="damaged"):
        await target.confirmed()


async def test_two_streams_write_into_one_file(driver: SqliteDriver, path: Path, tools: Any) -> None:
    import asyncio

    async def fill(name: str) -> None:
        target = await driver.open_target(tools.plan(ID, stream=name, target=name))
        for seq in range(1, 11):
            await target.write(tools.batch([{"id": f"{seq}-{n}"} for n in range(20)], seq=seq))

    await asyncio.gather(*(fill(f"stream_{n}") for n in range(4)))
    assert query(path, "SELECT seq FROM _platint_positions") == [(10,)] * 4
    assert len([key async for key, _ in driver.scan_keys("stream_3")]) == 200


async def test_check_creates_nothing_and_discover_lists_tables(
    driver: SqliteDriver, path: Path, tools: Any
) -> None:
    [capability] = await driver.check()
    assert capability.ok and "will be made" in capability.detail and not path.exists()
    assert await driver.discover() == ()
    target = await driver.open_target(tools.plan(ID, Field("n", "integer")))
    await target.write(tools.batch([{"id": "1", "n": 1}]))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a INTEGER PRIMARY KEY, b TEXT NOT NULL)")
    connection.close()
    [capability] = await driver.check()
    assert capability.ok and "SQLite" in capability.detail
    ours, other = await driver.discover()
    assert (ours.name, ours.writable, ours.readable, ours.estimate) == ("charges", True, False, 1)
    assert [field.name for field in ours.fields] == ["id", "n"]
    assert (other.name, other.writable, other.key) == ("other", False, ("a",))
    assert other.fields[1] == Field("b", "string", required=True)
    assert await driver.describe_target("charges") is None


async def test_reading_from_sqlite_is_refused_with_a_sentence(driver: SqliteDriver) -> None:
    with pytest.raises(ConfigError, match="targets only"):
        async for _ in driver.read("charges", None):
            pass


async def test_keys_are_scanned_in_chunks(driver: SqliteDriver, tools: Any) -> None:
    assert [item async for item in driver.scan_keys("charges")] == []
    target = await driver.open_target(tools.plan(ID))
    await target.write(tools.batch([{"id": f"{n}"} for n in range(4_500)]))
    keys = [key async for key, _ in driver.scan_keys("charges")]
    assert keys == [f'["{n}"]' for n in range(4_500)]


_WRITER = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from conftest import Tools
from platint_tui.drivers.sqlite import SqliteDriver
from platint_tui.core.model import Field

async def main():
    tools = Tools()
    driver = SqliteDriver(tools.context("sqlite", {"path": sys.argv[1]}))
    target = await driver.open_target(tools.plan(Field("id", "string")))
    held = await target.confirmed()
    seq = held.seq if held else 0
    while True:
        seq += 1
        await target.write(tools.batch([{"id": f"{seq}-{n}"} for n in range(50)], seq=seq))
        print(seq, flush=True)

asyncio.run(main())
"""


def test_A3_A4_kill_9_loses_no_acknowledged_page_and_no_page_is_half(path: Path) -> None:
    acknowledged = 0
    for stop_at in (1, 3, 7, 2, 11):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(Path(__file__).parent), str(Path.cwd())],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(stop_at):
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        [(seq, rows)] = query(path, "SELECT seq, (SELECT count(*) FROM charges) FROM _platint_positions")
        assert seq >= acknowledged and rows == seq * 50
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
