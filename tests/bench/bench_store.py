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
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from store.samples import commit, dead_letter, running

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ErrorClass
from platint_tui.core.model import NewDeadLetter, Run, Trigger
from platint_tui.core.states import DeadLetterState
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.store.sqlite import SqliteStore

OPEN = (DeadLetterState.OPEN,)
HOUR_MS = 3_600_000
RARE, COMMON = "zyx77777", "gmail"


def filters(now_ms: int) -> dict[str, DeadLetterFilter]:
    """Each field alone, then as people combine them; texts that one, some, or all dead letters have."""
    return {
        "all": DeadLetterFilter(),
        "open": DeadLetterFilter(states=OPEN),
        "a fingerprint": DeadLetterFilter(fingerprint="f7"),
        "a platform": DeadLetterFilter(platform="b"),
        "an integration": DeadLetterFilter(integration="billing"),
        "a profile": DeadLetterFilter(profile="shop"),
        "a code": DeadLetterFilter(code="too_long"),
        "bin systemic": DeadLetterFilter(bin="systemic"),
        "direction event": DeadLetterFilter(direction="event"),
        "since an hour": DeadLetterFilter(since_ms=now_ms - HOUR_MS),
        "a key": DeadLetterFilter(key="cus_000500000"),
        "keys by their start": DeadLetterFilter(key="cus_0005*"),
        "a rare word": DeadLetterFilter(text=RARE),
        "a start of words": DeadLetterFilter(text="cus_0005"),
        "two words": DeadLetterFilter(text="name77 name78"),
        "a word of a tenth": DeadLetterFilter(text=COMMON),
        "a word of all": DeadLetterFilter(text="email"),
        "open, platform, code": DeadLetterFilter(states=OPEN, platform="b", code="too_long"),
        "open, platform, since": DeadLetterFilter(states=OPEN, platform="b", since_ms=now_ms - HOUR_MS),
        "open, bin, word": DeadLetterFilter(states=OPEN, bin="systemic", text="name77"),
        "fingerprint, word": DeadLetterFilter(fingerprint="f7", states=OPEN, text=COMMON),
        "stream, key, since": DeadLetterFilter(stream="customers", key="cus_0005*", since_ms=0),
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
    """Store as many, 1,000 a page: of 50 causes, 3 platforms, every 20th an outage, every 50th of an event."""
    start = time.perf_counter()
    for number in range(0, count, 1000):
        letters = [letter(run, n) for n in range(number, min(number + 1000, count))]
        await commit(store, run, first + number // 1000, *letters)
    return count / (time.perf_counter() - start)


def letter(run: Run, number: int) -> NewDeadLetter:
    """One of about 400 bytes with some 25 words."""
    host = COMMON if number % 10 == 0 else f"host{number % 300}"
    words = " ".join(f"name{number * prime % 20_011}" for prime in (7, 31, 101, 397, 1009))
    special = RARE if number == 77_777 else ""
    payload = (
        f'{{"id":"cus_{number:09}","email":"{words.split()[0]}@{host}.example","name":"{words}","balance":{number},'
        f'"created":{1_700_000_000 + number},"note":"{special}","metadata":{{"order":"ord_{number * 7919 % 10**9}"}},'
        f'"description":"{"a text that is the same for all of them, " * 3}"}}'
    )
    made = dead_letter(
        run.id,
        f'["cus_{number:09}"]',
        fingerprint=f"f{number % 50}",
        platform="abc"[number % 3],
        message=f"The field 'email' of record {number} is not an address.",
        payload=payload.encode(),
    )
    if number % 20 == 0:
        made = replace(made, fault=replace(made.fault, error_class=ErrorClass.TRANSIENT, code="unreachable"))
    elif number % 50 == 1:
        made = replace(made, fault=replace(made.fault, code="too_long"), direction="event")
    return made


async def first_rows(store: SqliteStore, where: DeadLetterFilter) -> None:
    """What the first paint needs."""
    await store.dead_letters.rows(await store.dead_letters.newest(where, 50))


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
        print(f"{'':24} {'found':>9} {'first 50':>9} {'all':>9}")
        worst = 0.0
        for name, where in filters(SystemClock().now_ms()).items():
            first_ms = min([await timed(first_rows(store, where)) for _ in range(3)])
            all_ms = min([await timed(store.dead_letters.numbers(where)) for _ in range(3)])
            found = len(await store.dead_letters.numbers(where))
            worst = max(worst, first_ms)
            print(f"{name:24} {found:9,} {first_ms:6.1f} ms {all_ms:6.1f} ms")
        print(f"slowest first rows {worst:.1f} ms of 150 ms")
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
