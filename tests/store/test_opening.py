"""Opening, creating and refusing a database file."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from store.samples import FakeClock, commit, dead_letter, process_environment, running

from platint_tui.core.errors import ConfigError, PlatintError, StoreError
from platint_tui.store import migrations, open_store
from platint_tui.store.connection import APPLICATION_ID
from platint_tui.store.migrations import steps
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore


async def refuse(path: Path, kind: type[PlatintError], role: str = "console") -> PlatintError:
    with pytest.raises(kind) as caught:
        await open_store(path, clock=FakeClock(), role=role)  # type: ignore[arg-type]
    error = caught.value
    assert error.hint and error.where, "a person must learn where and what to do"
    assert "\n" not in error.sentence()
    return error


def files_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_O1_folder_and_files_are_private_whatever_the_umask(database: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        store = await open_store(database, clock=FakeClock(), role="engine")
        await store.settings.put("theme", "dark")
    finally:
        os.umask(old)
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in database.parent.iterdir()}
    assert modes == dict.fromkeys(("platint.sqlite", "platint.sqlite-wal", "platint.sqlite-shm"), 384)
    await store.close()
    assert files_in(database.parent) == ["platint.sqlite"], "closing leaves one file"


async def test_O2_loosened_permissions_are_tightened(database: Path) -> None:
    await (await open_store(database, clock=FakeClock(), role="engine")).close()
    database.chmod(0o666)
    await (await open_store(database, clock=FakeClock(), role="console")).close()
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


async def test_O3_a_symlink_is_refused_and_not_followed(tmp_path: Path) -> None:
    goal = tmp_path / "elsewhere"
    link = tmp_path / "platint.sqlite"
    link.symlink_to(goal)
    error = await refuse(link, ConfigError)
    assert "symbolic link" in error.message
    assert not goal.exists()


async def test_B16_an_empty_file_is_not_taken_for_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "platint.sqlite"
    path.touch()
    assert "0 bytes" in (await refuse(path, ConfigError)).message
    assert path.stat().st_size == 0


async def test_B17_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "platint.sqlite"
    path.write_bytes(b"hello, this is a text file " * 100)
    before = path.read_bytes()
    assert "not a SQLite database" in (await refuse(path, ConfigError)).message
    assert path.read_bytes() == before


async def test_B17_a_damaged_header_is_refused(database: Path) -> None:
    await (await open_store(database, clock=FakeClock(), role="engine")).close()
    data = bytearray(database.read_bytes())
    data[16:100] = os.urandom(84)
    database.write_bytes(bytes(data))
    await refuse(database, PlatintError)


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "platint.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    assert "another program" in (await refuse(path, ConfigError)).message
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT COUNT(*) FROM theirs").fetchone() == (0,)
    connection.close()


async def test_B19_a_newer_database_is_refused_naming_both_versions(database: Path) -> None:
    await (await open_store(database, clock=FakeClock(), role="engine")).close()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    error = await refuse(database, ConfigError)
    assert "99" in error.message and str(len(migrations.steps())) in error.message
    assert "Upgrade" in error.hint


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "platint.sqlite").mkdir()
    await refuse(tmp_path / "platint.sqlite", ConfigError)


async def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    await refuse(tmp_path / "data" / "platint.sqlite", ConfigError)


async def test_a_folder_that_cannot_be_made() -> None:
    await refuse(Path("/proc/platint/platint.sqlite"), ConfigError)


async def test_a_reader_does_not_create(tmp_path: Path) -> None:
    error = await refuse(tmp_path / "platint.sqlite", ConfigError, role="reader")
    assert "no database" in error.message
    assert files_in(tmp_path) == []


async def test_a_reader_cannot_write(database: Path) -> None:
    await (await open_store(database, clock=FakeClock(), role="engine")).close()
    reader = await open_store(database, clock=FakeClock(), role="reader")
    assert await reader.settings.get("theme") is None
    with pytest.raises(StoreError, match="reading only"):
        await reader.settings.put("theme", "dark")
    await reader.close()


OPEN_ONCE = """
import asyncio, os, sys
from pathlib import Path
from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import PlatintError
from platint_tui.store import open_store

async def main():
    if sys.argv[3:]:
        # After the imports: another user may not be allowed to read this interpreter.
        import aiosqlite, platint_tui.store.sqlite
        platint_tui.store.migrations.steps()
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    try:
        store = await open_store(Path(sys.argv[1]), clock=SystemClock(), role=sys.argv[2])
        await store.settings.put("theme", "dark")
        await store.close()
    except PlatintError as error:
        print(type(error).__name__, error.code, error.sentence())

asyncio.run(main())
"""


def run_limited(path: Path, role: str, *more: str, **options: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ONCE, str(path), role, *more],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stdout)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another user")
def test_B22_a_folder_that_only_others_may_write() -> None:
    folder = Path("/tmp") / f"platint-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        said = run_limited(folder / "platint.sqlite", "console", "as nobody")
        assert said.startswith("ConfigError") and "Permission denied" in said
        assert files_in(folder) == []
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another user")
async def test_B22_a_database_that_only_others_may_read() -> None:
    folder = Path("/tmp") / f"platint-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        path = folder / "platint.sqlite"
        await (await open_store(path, clock=FakeClock(), role="engine")).close()
        said = run_limited(path, "console", "as nobody")
        assert said.startswith("StoreError cannot_open") and str(path) in said
    finally:
        shutil.rmtree(folder)


def test_B4_a_file_size_limit_is_a_sentence(database: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    said = run_limited(database, "console", preexec_fn=limit)
    assert said.startswith("StoreError"), said
    assert not database.exists(), "a database is there whole or not at all"


def test_B7_too_many_open_files_is_a_sentence(database: Path) -> None:
    assert run_limited(database, "engine") == ""
    code = OPEN_ONCE.replace(
        "async def main():",
        "import resource, aiosqlite, platint_tui.store.sqlite\nasync def main():\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(database), "console"],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("StoreError cannot_open"), (done.stdout, done.stderr)
    assert "ulimit -n" in done.stdout


async def test_B1_disk_full_rolls_the_page_back_and_works_again(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1)
    writer = store.database.connections()[0]
    pages = await writer.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await writer.run(lambda c: c.execute(f"PRAGMA max_page_count={pages + 2}").fetchone()[0])
    big = dead_letter(run.id, payload=b"x" * 100_000)
    with pytest.raises(StoreError) as caught:
        await commit(store, run, 2, big)
    assert caught.value.code == "disk_full" and "page" in caught.value.hint
    # What was acknowledged is there, reading goes on, nothing of the page is left.
    position = await store.runs.sync_state("billing", "customers")
    assert position is not None and position.seq == 1
    assert await store.dead_letters.count(DeadLetterFilter()) == 0
    assert await store.dead_letters.issues() == []
    await writer.run(lambda c: c.execute("PRAGMA max_page_count=1073741823").fetchone()[0])
    assert await commit(store, run, 2, big) == 1
    progress = (await store.runs.list())[0].streams[0]
    assert (progress.pages, progress.dead_lettered) == (2, 1)


async def test_B1_one_too_large_write_does_not_take_others_with_it(store: SqliteStore) -> None:
    run = await running(store)
    writer = store.database.connections()[0]
    pages = await writer.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await writer.run(lambda c: c.execute(f"PRAGMA max_page_count={pages + 4}").fetchone()[0])
    results = await asyncio.gather(
        store.settings.put("a", 1),
        commit(store, run, 1, dead_letter(run.id, payload=b"x" * 200_000)),
        store.settings.put("b", 2),
        return_exceptions=True,
    )
    assert [type(item) for item in results] == [type(None), StoreError, type(None)]
    assert (await store.settings.get("a"), await store.settings.get("b")) == (1, 2)


@pytest.mark.parametrize("how", ["deleted", "replaced", "folder_moved"])
async def test_B18_O10_a_file_that_went_away_while_open_stops_writing(database: Path, how: str) -> None:
    store = await open_store(database, clock=FakeClock(), role="engine")
    await store.settings.put("a", 1)
    if how == "deleted":
        database.unlink()
    elif how == "replaced":
        shutil.copy(database, database.with_name("copy"))
        database.with_name("copy").replace(database)
    else:
        database.parent.rename(database.parent.with_name("moved"))
    with pytest.raises(StoreError) as caught:
        await store.settings.put("b", 2)
    assert caught.value.code == "replaced" and caught.value.hint
    with pytest.raises(StoreError):
        await store.data_version()
    await store.close()


async def test_O13_a_database_that_was_upgraded_meanwhile_is_not_written(store: SqliteStore) -> None:
    other = sqlite3.connect(store.database.path)
    other.execute(f"PRAGMA user_version={len(steps()) + 1}")
    other.close()
    with pytest.raises(StoreError) as caught:
        await store.settings.put("a", 1)
    assert caught.value.code == "upgraded" and "Restart" in caught.value.hint
    results = await asyncio.gather(*(store.settings.put("a", n) for n in range(3)), return_exceptions=True)
    assert all(isinstance(item, StoreError) and item.code == "upgraded" for item in results)
    assert await store.settings.get("a") is None


async def test_A11_a_migration_that_fails_in_the_middle_leaves_the_old_version(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(database, clock=FakeClock(), role="engine")
    await store.settings.put("a", 1)
    await store.close()
    broken = "CREATE TABLE half (x TEXT);\nINSERT INTO half VALUES ('y');\nINSERT INTO nowhere VALUES (1);"
    steps = migrations.steps()
    monkeypatch.setattr(migrations, "steps", lambda: (*steps, broken))
    with pytest.raises(StoreError):
        await open_store(database, clock=FakeClock(), role="engine")
    error = await refuse(database, ConfigError, role="reader")
    assert error.code == "older_version"
    good = "CREATE TABLE half (x TEXT);\n-- a note; with a semicolon\nINSERT INTO half VALUES ('a;b');"
    monkeypatch.setattr(migrations, "steps", lambda: (*steps, good))
    store = await open_store(database, clock=FakeClock(), role="console")
    assert await store.settings.get("a") == 1
    await store.close()
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT x FROM half").fetchall() == [("a;b",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(steps) + 1,)
    connection.close()


async def test_creation_leaves_nothing_behind_when_it_fails(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "steps", lambda: ("CREATE TABLE a (x;",))
    with pytest.raises(PlatintError):
        await open_store(database, clock=FakeClock(), role="engine")
    assert files_in(database.parent) == []


def test_several_processes_create_the_same_database_at_once(database: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_ONCE, str(database), "console"],
            env=process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(5)
    ]
    assert [process.communicate(timeout=60)[0] for process in processes] == [""] * 5
    assert files_in(database.parent) == ["platint.sqlite"]
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_B12_damage_is_noticed_at_the_start_after_an_unclean_end(
    database: Path, tmp_path: Path
) -> None:
    store = await open_store(database, clock=FakeClock(), role="engine")
    for number in range(300):
        await store.settings.put(f"name {number}", "x" * 300)
    await store.close()
    # Zero a page in the middle of the table and leave a log behind, as a crash does.
    data = bytearray(database.read_bytes())
    connection = sqlite3.connect(database)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'settings'").fetchone()[0]
    connection.close()
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    database.write_bytes(bytes(data))
    database.with_name("platint.sqlite-wal").write_bytes(bytes(32))
    with pytest.raises(StoreError) as caught:
        await open_store(database, clock=FakeClock(), role="engine")
    assert caught.value.code == "damaged" and "backup" in caught.value.hint


async def test_paths_with_special_characters(tmp_path: Path) -> None:
    path = tmp_path / "a ?b#%20 ü\nd" / "platint.sqlite"
    store = await open_store(path, clock=FakeClock(), role="engine")
    await store.settings.put("a", 1)
    await store.close()
    assert files_in(path.parent) == ["platint.sqlite"]
