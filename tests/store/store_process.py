"""A process that works on a store, for tests that need several of them, or that kill one.

`store_process.py MODE DATABASE [ARGUMENTS]`; what was acknowledged is printed, one line each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from store.samples import commit, dead_letter, running

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import PlatintError
from platint_tui.core.model import Run
from platint_tui.core.states import RunState
from platint_tui.store.sqlite import SqliteStore


async def resume(store: SqliteStore, worker: str) -> tuple[Run, int]:
    """The run to go on with, taken over from a dead process where there is one, and its next page."""
    await store.runs.reap([worker])
    run = await store.runs.claim(worker)
    if run is None:
        run = await running(store, worker=worker)
    else:
        await store.runs.move_stream(run.id, run.epoch, "customers", RunState.RUNNING)
    state = await store.runs.sync_state("billing", "customers")
    return run, (state.seq if state is not None else 0) + 1


async def page(store: SqliteStore, run: Run, seq: int) -> None:
    """Page `seq`: two new dead letters, one seen before, one superseded."""
    await commit(
        store,
        run,
        seq,
        dead_letter(run.id, f'["{seq}a"]'),
        dead_letter(run.id, f'["{seq}b"]', fingerprint="f2", payload=b"x" * 5000),
        dead_letter(run.id, '["always"]'),
        keys=(f'["{seq - 1}b"]',),
    )


async def commit_until_killed(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock(), role="engine")
    run, seq = await resume(store, f"w{os.getpid()}")
    while True:
        await page(store, run, seq)
        print(seq, flush=True)
        seq += 1


async def die_at_statement(path: Path, number: int) -> None:
    """Commit one page, killed just before the `number`-th statement of its transaction begins."""
    store = await SqliteStore.open(path, clock=SystemClock(), role="engine")
    run, seq = await resume(store, f"w{os.getpid()}")
    left = number

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    await store.database.connections()[0].set_trace_callback(count)
    await page(store, run, seq)
    os._exit(0)


def die_at_every_statement(path: Path) -> None:
    """One child a statement, until one survives its page; prints how many were killed."""
    number = 0
    while True:
        number += 1
        child = os.fork()
        if child == 0:
            asyncio.run(die_at_statement(path, number))
        _, status = os.waitpid(child, 0)
        asyncio.run(verify(path))
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            print(number - 1, flush=True)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


async def verify(path: Path, *, acknowledged: int = 0) -> int:
    """Raise AssertionError unless position, counters, dead letters and issues agree; returns the position."""
    store = await SqliteStore.open(path, clock=SystemClock(), role="reader")

    def check(connection) -> int:  # type: ignore[no-untyped-def]
        def one(sql: str) -> int:
            return int(connection.execute(sql).fetchone()[0] or 0)

        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
        seq = one("SELECT MAX(seq) FROM positions WHERE stream = 'customers'")
        assert one("SELECT SUM(pages) FROM run_streams") == seq
        assert one("SELECT SUM(dead_lettered) FROM run_streams") == 3 * seq
        assert one("SELECT SUM(occurrences) FROM dead_letters") == 3 * seq
        rows = one("SELECT COUNT(*) FROM dead_letters")
        assert rows == (2 * seq + 1 if seq else 0)
        assert one("SELECT COUNT(*) FROM dead_letter_bodies") == rows
        assert one("SELECT COUNT(*) FROM dead_letters WHERE state = 'superseded'") == max(0, seq - 1)
        assert one("SELECT SUM(total) FROM issues") == rows
        assert one("SELECT SUM(open) FROM issues") == one(
            "SELECT COUNT(*) FROM dead_letters WHERE state IN ('open', 'replaying', 'unknown')"
        )
        return seq

    seq = await store.database.read(check)
    await store.close()
    assert seq >= acknowledged, f"page {acknowledged} was acknowledged, the store has {seq}"
    return seq


async def claim_items(path: Path, job: str) -> None:
    """Claim and settle items of a job until none is left; prints each."""
    store = await SqliteStore.open(path, clock=SystemClock(), role="console")
    while True:
        claimed = await store.replays.claim(job, f"w{os.getpid()}", 3)
        if not claimed:
            break
        for letter in claimed:
            print(letter.id, flush=True)
            await store.replays.settle(job, letter.id, "succeeded")
    await store.close()


async def submit_commands(path: Path, count: int) -> None:
    """A console: writes small rows and polls."""
    store = await SqliteStore.open(path, clock=SystemClock(), role="console")
    for number in range(count):
        command = await store.commands.submit("run", {"number": number}, f"console {os.getpid()}")
        await store.limits.reserve("shared", 1, 1, 1)
        await store.data_version()
        print(command.id, flush=True)
    await store.close()


async def create_runs(path: Path, count: int) -> None:
    """Try to queue the same integration again and again; prints the runs that were made."""
    from store.samples import integration

    store = await SqliteStore.open(path, clock=SystemClock(), role="console")
    for _ in range(count):
        try:
            print((await store.runs.create(integration(), (), "manual")).id, flush=True)
        except PlatintError as error:
            assert error.code == "already_running", error
    await store.close()


def main() -> None:
    mode, path, *rest = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    if mode == "commit":
        asyncio.run(commit_until_killed(path))
    elif mode == "statements":
        die_at_every_statement(path)
    elif mode == "claim":
        asyncio.run(claim_items(path, rest[0]))
    elif mode == "console":
        asyncio.run(submit_commands(path, int(rest[0])))
    elif mode == "create":
        asyncio.run(create_runs(path, int(rest[0])))


if __name__ == "__main__":
    main()
