"""Several processes on one database, and processes that die in the middle."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from store import store_process
from store.samples import FakeClock, commit, dead_letter, process_environment, running

from platint_tui.core.model import Trigger
from platint_tui.store import open_store
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore


def start(mode: str, database: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, store_process.__file__, mode, str(database), *map(str, arguments)],
        env=process_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(process: subprocess.Popen[str]) -> list[str]:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return said.split()


async def test_A3_A4_killed_before_every_statement_of_a_page(database: Path) -> None:
    """Position, counters, dead letters and issues agree whichever statement was the last one."""
    (killed,) = lines(start("statements", database))
    assert int(killed) > 10
    assert await store_process.verify(database) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_A14_killed_at_random_while_committing_and_checkpointing(database: Path, seed: int) -> None:
    """What was acknowledged is there after kill -9; the next process takes the run over."""
    rng = random.Random(seed)
    acknowledged = 0
    for _ in range(3):
        process = start("commit", database)
        assert process.stdout is not None
        wanted = acknowledged + rng.randrange(1, 400)
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= wanted:
                break
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split()[:-1])])
        process.communicate()
        stored = await store_process.verify(database, acknowledged=acknowledged)
        assert stored <= acknowledged + 2
    assert (await one_run(database)).epoch >= 3


async def one_run(database: Path):  # type: ignore[no-untyped-def]
    store = await open_store(database, clock=FakeClock(), role="reader")
    (run,) = await store.runs.list()
    await store.close()
    return run


async def test_K6_two_processes_never_get_the_same_item(store: SqliteStore) -> None:
    run = await running(store)
    await commit(store, run, 1, *(dead_letter(run.id, f'["{n}"]') for n in range(200)))
    rows = await store.dead_letters.rows(await store.dead_letters.numbers(DeadLetterFilter()))
    job = await store.replays.plan([item.id for item in rows], Trigger.BULK)
    processes = [start("claim", store.database.path, job.id) for _ in range(3)]
    claimed = [line for process in processes for line in lines(process)]
    assert sorted(claimed) == sorted(item.id for item in rows)
    done = await store.replays.get(job.id)
    assert done is not None and (done.succeeded, done.state) == (200, "done")


async def test_O4_an_engine_and_two_consoles_at_once(database: Path) -> None:
    store = await open_store(database, clock=FakeClock(), role="engine")
    run = await running(store)  # type: ignore[arg-type]
    processes = [start("console", database, 60) for _ in range(2)]
    seq, versions = 0, set()
    while any(process.poll() is None for process in processes):
        seq += 1
        await commit(store, run, seq, dead_letter(run.id, f'["{seq}"]'))  # type: ignore[arg-type]
        versions.add(await store.data_version())
    submitted = [line for process in processes for line in lines(process)]
    pending = await store.commands.pending()
    assert sorted(item.id for item in pending) == sorted(submitted) and len(submitted) == 120
    assert len(versions) > 1
    state = await store.runs.sync_state("billing", "customers")
    assert state is not None and state.seq == seq
    assert await store.dead_letters.count(DeadLetterFilter()) == seq
    await store.close()


async def test_O4_two_consoles_queue_one_run(store: SqliteStore) -> None:
    processes = [start("create", store.database.path, 5) for _ in range(3)]
    made = [line for process in processes for line in lines(process)]
    assert len(made) == 1 and [run.id for run in await store.runs.list()] == made


async def test_a_second_opening_in_one_process_keeps_the_locks_of_the_first(database: Path) -> None:
    store = await open_store(database, clock=FakeClock(), role="console")
    await store.commands.submit("first", {}, "ada")
    engine = await open_store(database, clock=FakeClock(), role="engine")
    await engine.close()
    # Without those locks another process would take itself for the last one, and remove the log that is in use.
    other = start("console", database, 1)
    assert lines(other)
    await store.commands.submit("second", {}, "ada")
    with contextlib.closing(sqlite3.connect(database)) as looking:
        kinds = {row[0] for row in looking.execute("SELECT kind FROM commands")}
    assert {"first", "second"} <= kinds
    await store.close()
