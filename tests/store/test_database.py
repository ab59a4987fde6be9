"""Transactions, settings of connections, two processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from store.samples import FakeClock, commit, dead_letter, integration, process_environment, profile, running

from platint_tui.core.errors import Fenced, StoreError, SystemicError
from platint_tui.core.model import Catalogue, Trigger, Worker
from platint_tui.core.states import IssueState, RunState
from platint_tui.store import open_store
from platint_tui.store.connection import JOURNAL_SIZE_LIMIT
from platint_tui.store.ports import DeadLetterFilter, MetricRow
from platint_tui.store.sqlite import SqliteStore


async def pragmas(store: SqliteStore) -> list[dict[str, object]]:
    names = (
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "busy_timeout",
        "secure_delete",
        "trusted_schema",
        "journal_size_limit",
        "wal_autocheckpoint",
        "query_only",
    )

    def read(connection: sqlite3.Connection) -> dict[str, object]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    return [await connection.run(read) for connection in store.database.connections()]


@pytest.mark.parametrize("role", ["engine", "console", "reader"])
async def test_B25_every_connection_has_our_settings(database: Path, role: str) -> None:
    await (await open_store(database, clock=FakeClock(), role="engine")).close()
    store = await SqliteStore.open(database, clock=FakeClock(), role=role)  # type: ignore[arg-type]
    common = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "secure_delete": 2,  # FAST
        "trusted_schema": 0,
        "journal_size_limit": JOURNAL_SIZE_LIMIT,
        "wal_autocheckpoint": 0,
        "query_only": 1,
    }
    writer = {**common, "query_only": 0, "wal_autocheckpoint": 1000 if role == "engine" else 0}
    assert await pragmas(store) == ([] if role == "reader" else [writer]) + [common, common]
    if role == "engine":
        # A write that need not be durable leaves the connection as it was.
        await store.limits.block("key", 1)
        await asyncio.gather(store.limits.block("key", 1), store.limits.block("key", 2))
        assert await pragmas(store) == [writer, common, common]
    await store.close()


async def everything(store: SqliteStore) -> None:
    """Call each method that writes, and some that read."""
    await store.profiles.put(profile())
    await store.profiles.save_check("shop", True, ())
    await store.catalogues.save(Catalogue("shop", "payments", "1", 1, ()))
    run = await running(store)
    letters = [dead_letter(run.id, f'["{n}"]') for n in range(4)]
    await commit(store, run, 1, *letters)
    await commit(store, run, 2, letters[0], keys=('["3"]',))
    await store.runs.save_read_position(run.id, run.epoch, "customers", {"v": 1})
    found = await store.dead_letters.rows(await store.dead_letters.numbers(DeadLetterFilter()))
    job = await store.replays.plan([item.id for item in found], Trigger.BULK)
    claimed = await store.replays.claim(job.id, "w1", 2)
    await store.replays.settle(job.id, claimed[0].id, "failed")
    await store.replays.recover(job.id, [], True)
    await store.replays.cancel(job.id)
    child = await store.dead_letters.edit(claimed[0].id, b"{}", '["0"]', "other")
    await store.dead_letters.undo_edit(child.id)
    await store.dead_letters.discard([item.id for item in found])
    await store.dead_letters.reopen([item.id for item in found])
    await store.dead_letters.set_issue_state("f1", IssueState.ACKNOWLEDGED)
    state = await store.runs.reset_position("billing", "customers")
    assert state is not None
    await store.runs.restore_position(state)
    await store.runs.request_cancel(run.id)
    await store.runs.reap([])
    command = await store.commands.submit("run", {}, "me")
    await store.commands.finish(command.id, result={})
    await store.workers.beat(Worker("w1", "engine", "host", 1, "0", 1, 1))
    await store.workers.gone("w1")
    await store.metrics.save("w1", [MetricRow(60_000, "payments", "shop", "read", 0, 0, b"")])
    await store.limits.reserve("key", 1.0, 1.0, 1)
    await store.limits.block("key", 1)
    await store.settings.put("a", 1)
    await store.purge()
    await asyncio.gather(*(store.settings.put("a", n) for n in range(20)))
    await store.profiles.remove("shop")


async def test_B10_every_write_is_in_a_transaction_that_began_immediate(store: SqliteStore) -> None:
    writer, *readers = store.database.connections()
    said: list[list[str]] = [[], [], []]
    for connection, log in zip((writer, *readers), said, strict=True):
        await connection.set_trace_callback(log.append)
    await everything(store)
    inside = False
    written = 0
    for statement in said[0]:
        word = statement.split()[0]
        if word == "BEGIN":
            assert statement == "BEGIN IMMEDIATE"
            inside = True
        elif word in {"COMMIT", "ROLLBACK"} and statement != "ROLLBACK TO task":
            inside = False
        elif word in {"INSERT", "UPDATE", "DELETE", "SAVEPOINT"}:
            assert inside, statement
            written += 1
    assert written > 50
    for log in said[1:]:
        assert not [item for item in log if item.split()[0] in {"INSERT", "UPDATE", "DELETE"}]


async def test_no_hot_statement_scans_a_table_that_grows(store: SqliteStore) -> None:
    """What a million rows would slow down is found by asking SQLite how it would do each statement."""
    logs: list[str] = []
    for connection in store.database.connections():
        await connection.set_trace_callback(logs.append)
    await everything(store)
    for connection in store.database.connections():
        await connection.set_trace_callback(None)  # type: ignore[arg-type]
    big = (
        "dead_letters",
        "d",
        "dead_letter_bodies",
        "b",
        "replay_items",
        "i",
        "attempts",
        "run_streams",
        "s",
    )
    scans = set()
    for statement in set(logs):
        if statement.split()[0] not in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            continue
        plan = await store.database.connections()[0].run(
            lambda c, sql=statement: [row["detail"] for row in c.execute(f"EXPLAIN QUERY PLAN {sql}")]  # type: ignore[misc]
        )
        for line in plan:
            table = line.split()[1] if " " in line else ""
            by_state = "dead_letters_scope (state=?)" in line
            if table in big and (line.startswith("SCAN") or by_state):
                scans.add((line, statement))
    # `numbers` without a filter is the one that means to see all of them.
    whole = "SELECT json_group_array(number) FROM (SELECT rowid AS number FROM dead_letters WHERE 1 = 1)"
    assert {statement for _, statement in scans} <= {whole}


async def test_B3_the_first_error_is_the_one_that_is_shown(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO settings (name, value) VALUES ('a', '1')")
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("the first error")

    with pytest.raises(StoreError, match="the first error"):
        await store.database.write(fail)
    await store.settings.put("b", 1)
    assert await store.settings.get("a") is None


async def test_a_task_that_fails_takes_only_itself_back(store: SqliteStore) -> None:
    run = await running(store)

    async def fenced() -> None:
        await store.runs.save_read_position(run.id, run.epoch + 1, "customers", {})

    results = await asyncio.gather(
        *(store.settings.put(f"name {n}", n) for n in range(5)), fenced(), return_exceptions=True
    )
    assert isinstance(results[-1], Fenced)
    assert [await store.settings.get(f"name {n}") for n in range(5)] == list(range(5))


async def test_waiting_writes_share_a_commit(store: SqliteStore) -> None:
    log: list[str] = []
    await store.database.connections()[0].set_trace_callback(log.append)
    await asyncio.gather(*(store.settings.put(f"name {n}", n) for n in range(40)))
    commits = log.count("COMMIT")
    assert 1 <= commits <= 5
    assert [await store.settings.get(f"name {n}") for n in range(40)] == list(range(40))


async def test_a_cancelled_caller_leaves_whole_transactions(store: SqliteStore) -> None:
    run = await running(store)
    for seq in range(1, 60):
        task = asyncio.create_task(commit(store, run, seq, dead_letter(run.id, f'["{seq}"]')))
        for _ in range(seq % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.settings.put("last", 1)  # behind all of them in the queue
    progress = (await store.runs.list())[0].streams[0]
    assert progress.pages == progress.dead_lettered == await store.dead_letters.count(DeadLetterFilter())
    assert sum(issue.open for issue in await store.dead_letters.issues()) == progress.pages


async def test_a_long_read_does_not_hold_up_writes_or_short_reads(store: SqliteStore) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        before = int(connection.execute("SELECT COUNT(*) FROM settings").fetchone()[0])
        entered.set()
        assert leave.wait(30)
        # The same moment still, though others have written.
        assert connection.execute("SELECT COUNT(*) FROM settings").fetchone()[0] == before
        return before

    reading = asyncio.create_task(store.database.read(slow, scan=True))
    assert await asyncio.to_thread(entered.wait, 30)
    await store.settings.put("a", 1)
    assert await store.settings.get("a") == 1
    assert not reading.done()
    leave.set()
    assert await reading == 0


async def test_data_version_sees_own_writes_and_those_of_others(store: SqliteStore) -> None:
    other = await open_store(store.database.path, clock=FakeClock(), role="console")
    seen = {await store.data_version()}
    assert await store.data_version() in seen
    for writer in (store, other, store, other):
        await writer.settings.put("a", len(seen))
        seen.add(await store.data_version())
    assert len(seen) == 5
    await other.close()


async def test_closing_twice_and_using_a_closed_store(database: Path) -> None:
    store = await SqliteStore.open(database, clock=FakeClock(), role="engine")
    writes = [asyncio.create_task(store.settings.put(f"name {n}", n)) for n in range(10)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.close()
    for call in (store.settings.put("a", 1), store.settings.get("a"), store.data_version()):
        with pytest.raises(StoreError, match="closed"):
            await call
    again = await open_store(database, clock=FakeClock(), role="reader")
    assert await again.settings.get("name 9") == 9
    await again.close()


LOCK_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def helper(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=process_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_B8_B9_a_lock_held_by_another_process_is_a_sentence_and_no_loss(
    database: Path, clock: FakeClock
) -> None:
    store = await SqliteStore.open(database, clock=clock, role="engine", busy_timeout_ms=200)
    run = await running(store)
    with helper(LOCK_HOLDER, str(database)) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "locked\n"
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(StoreError) as caught:
            await commit(store, run, 1)
        assert caught.value.code == "busy" and caught.value.hint
        results = await asyncio.gather(commit(store, run, 1), commit(store, run, 2), return_exceptions=True)
        assert all(isinstance(item, StoreError) for item in results)
        assert await store.runs.sync_state("billing", "customers") is None, "reading goes on"
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        process.wait(30)
    assert await commit(store, run, 1) == 0
    await store.close()


async def test_after_a_failed_fsync_nothing_is_written_any_more(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with pytest.raises(StoreError, match="SQLITE_IOERR_FSYNC"):
        await store.database.write(fail)
    with pytest.raises(StoreError) as caught:
        await store.settings.put("a", 1)
    assert caught.value.code == "io_error"
    assert await store.settings.get("a") is None


async def test_an_error_of_the_program_passes_as_it_is(store: SqliteStore) -> None:
    run = await running(store)
    with pytest.raises(SystemicError):
        await store.runs.move_stream(run.id, run.epoch, "customers", RunState.QUEUED)


async def test_hostile_texts_are_kept(store: SqliteStore) -> None:
    run = await running(store)
    key = '["\ud800 \x00 \u202e \x1b]52;c;x\x07"]'
    letter = dead_letter(run.id, key, message="half \udfff of a pair and \x00 NUL", payload=b"\xff\xfe\x00")
    assert await commit(store, run, 1, letter) == 1
    assert await commit(store, run, 2, letter) == 0, "the same record again"
    (number,) = await store.dead_letters.numbers(DeadLetterFilter())
    found = await store.dead_letters.get(str(number))
    assert found is not None and found.occurrences == 2
    assert found.payload == b"\xff\xfe\x00"
    assert found.message == "half \\udfff of a pair and \\u0000 NUL"
    found.record_key.encode()
    assert await commit(store, run, 3, keys=(key,)) == 0
    assert await store.dead_letters.count(DeadLetterFilter(text="%")) == 0, "no wildcard"
    assert await store.dead_letters.count(DeadLetterFilter(text="HALF")) == 1
    again = await store.dead_letters.get(str(number))
    assert again is not None and again.state == "superseded"


async def test_what_cannot_be_stored_is_a_sentence(store: SqliteStore) -> None:
    for name in ("\ud800", "a\ud800b"):
        with pytest.raises(StoreError) as caught:
            await store.settings.put(name, 1)
        assert caught.value.code == "value"
    with pytest.raises(StoreError):
        await store.limits.block("key", 2**63)


async def test_json_columns_keep_what_they_were_given(store: SqliteStore) -> None:
    from decimal import Decimal

    value = {"big": 2**70, "exact": Decimal("0.12345678901234567890"), "text": "\ud800é\x00", "none": None}
    await store.settings.put("a", value)
    assert await store.settings.get("a") == value


def test_integrations_are_the_same_after_a_round_trip(database: Path) -> None:
    async def check() -> None:
        store = await open_store(database, clock=FakeClock(), role="engine")
        first = await store.integrations.put(integration())
        assert first == integration() and await store.integrations.get("billing") == first
        assert (await store.integrations.put(integration())).version == 1
        second = await store.integrations.put(integration(streams=("customers",)))
        assert second.version == 2
        assert await store.integrations.get("billing", 1) == first
        assert await store.integrations.list() == [second]
        assert (await store.integrations.put(integration())).version == 3, "back again is a change too"
        await store.close()

    asyncio.run(check())
