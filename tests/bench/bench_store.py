# ruff: noqa: E402 - the paths come first, so that it runs as a script
"""What a full inbox costs: `python tests/bench/bench_store.py [DEAD_LETTERS]` (default 1,000,000).

Prints times of this run and the ratio of a page commit with a full inbox to one with an empty inbox.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from store.samples import commit, dead_letter, running

from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Run, Trigger
from platint_tui.core.states import DeadLetterState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore

FILTERS = {
    "all": DeadLetterFilter(),
    "open": DeadLetterFilter(states=(DeadLetterState.OPEN,)),
    "one fingerprint": DeadLetterFilter(fingerprint="f7"),
    "one platform": DeadLetterFilter(platform="b"),
    "one integration": DeadLetterFilter(integration="billing"),
    "a text": DeadLetterFilter(text="record 77"),
}


async def timed(work: Awaitable[object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def pages(store: SqliteStore, run: Run, first: int, letters: int) -> float:
    """Median milliseconds of 300 pages of 100 written keys with `letters` new dead letters each."""
    keys = tuple(f'["cus_{n}"]' for n in range(-100, 0))
    times = [
        await timed(
            commit(
                store,
                run,
                seq,
                *(dead_letter(run.id, f'["new_{seq}_{n}"]') for n in range(letters)),
                keys=keys,
            )
        )
        for seq in range(first, first + 300)
    ]
    return statistics.median(times)


async def fill(store: SqliteStore, run: Run, first: int, count: int) -> float:
    start = time.perf_counter()
    for number in range(0, count, 1000):
        letters = [
            dead_letter(
                run.id,
                f'["cus_{n:09}"]',
                fingerprint=f"f{n % 50}",
                platform="abc"[n % 3],
                message=f"The field 'email' of record {n} is not an address.",
                payload=b'{"id": "cus_%09d", "text": "%s"}' % (n, b"x" * 300),
            )
            for n in range(number, min(number + 1000, count))
        ]
        await commit(store, run, first + number // 1000, *letters)
    return count / (time.perf_counter() - start)


async def main(count: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "platint.sqlite", clock=SystemClock(), role="engine")
        run = await running(store)
        empty = [await pages(store, run, 1 + 300 * n, n) for n in range(2)]
        print(f"{count:,} dead letters stored at {await fill(store, run, 1000, count):,.0f}/s")
        os.sync()  # else the disk is still busy with what was filled in
        first = 1001 + count // 1000
        full = [await pages(store, run, first + 300 * n, n) for n in range(2)]
        for number in range(2):
            print(
                f"page with {number} new dead letters: {empty[number]:.2f} ms with an empty inbox, "
                f"{full[number]:.2f} ms with a full one (x {full[number] / empty[number]:.2f})"
            )
        for name, where in FILTERS.items():
            print(f"numbers, {name:16} {await timed(store.dead_letters.numbers(where)):8.1f} ms")
        numbers = await store.dead_letters.numbers(DeadLetterFilter())
        for place in (0, len(numbers) // 2, len(numbers) - 50):
            print(
                f"50 rows at {place:<13} {await timed(store.dead_letters.rows(numbers[place : place + 50])):8.1f} ms"
            )
        print(f"issues                   {await timed(store.dead_letters.issues()):8.1f} ms")
        ids = [item.id for item in await store.dead_letters.rows(numbers[:10_000])]
        print(f"plan of 10,000           {await timed(store.replays.plan(ids, Trigger.BULK)):8.1f} ms")
        print(f"discard of 10,000        {await timed(store.dead_letters.discard(ids)):8.1f} ms")
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
