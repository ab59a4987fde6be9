# ruff: noqa: E402 - the paths come first, so that it runs as a script
"""The console on a full inbox: `python tests/bench/bench_inbox.py [DEAD_LETTERS] [FOLDER]` (default 1,000,000).

Opens the real console on a store with that many dead letters of one issue and prints what its keys cost, from the
press to the drawn rows, and how long the screen's loop was ever held. The yardsticks: the first rows within 150 ms of
the key, a filter within 300 ms of its end. With a folder the store is kept there, and used again the next time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[1] / "tui"),
    str(Path(__file__).parents[2]),
]

from bench.bench_store import COMMON, RARE, letter
from console_kit import make_app, ready
from seeding import open_workspace
from store.samples import commit, running

from platint_tui.core.clock import SystemClock
from platint_tui.engine.lock import EngineLock
from platint_tui.services.letterfilters import letter_filter
from platint_tui.services.workspace import Workspace
from platint_tui.store.ports import DeadLetterFilter
from platint_tui.tui.screens.deadletters.section import DeadLettersSection
from platint_tui.tui.widgets.filterbar import FilterBar


async def fill(workspace: Workspace, count: int) -> None:
    """Dead letters of one fingerprint, 2,000 a page."""
    if await workspace.store.dead_letters.count(DeadLetterFilter()) >= count:
        return
    run = await running(workspace.store)
    for seq in range(1, -(-count // 2000) + 1):
        first = (seq - 1) * 2000
        letters = [replace(letter(run, n), fingerprint="f1") for n in range(first, min(count, first + 2000))]
        await commit(workspace.store, run, seq, *letters)


FILTERS = {
    "a start of keys": "key:cus_00077*",
    "a word of few": RARE,
    "a word of a tenth": COMMON,
    "two words": "name77 name78",
    "a key and a word": "key:cus_0001* name77",
}
"""What is looked for; a person's typing is given another 130 ms of rest before."""


class Watch:
    """The longest time that the loop did not come round."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.worst = max(self.worst, now - before)
            before = now

    def take(self) -> float:
        """Milliseconds since the last call."""
        worst, self.worst = self.worst, 0.0
        return worst * 1000


async def measure(home: Path, count: int) -> None:
    """Print the table."""
    clock = SystemClock()
    workspace = await open_workspace(home, clock)  # type: ignore[arg-type]
    lock = EngineLock(workspace.paths.engine_lock)
    lock.try_acquire()
    await fill(workspace, count)
    app = make_app(workspace, clock, section="deadletters")  # type: ignore[arg-type]
    watch = Watch()
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        task = asyncio.create_task(watch.run())
        view = app.view
        assert isinstance(view, DeadLettersSection)
        table = view.items_pane.table
        watch.take()

        async def press(what: str, *keys: str) -> None:
            start = time.perf_counter()
            await pilot.press(*keys)
            while view.level != "items" or (table.cursor_row is None and table.count):
                await asyncio.sleep(0.001)
            await table.settled()
            took = (time.perf_counter() - start) * 1000
            print(
                f"{what:34} {took:8.0f} ms   loop held at most {watch.take():6.0f} ms   {table.count:,} rows"
            )

        await press("open the issue: first rows", "enter")
        await press("to the last row", "G")
        await press("half a page up", "ctrl+u")
        await press("to the first row", "g")
        table.go_to(count // 2)
        await press("jump into the middle", "down")
        await press("mark a row", "space")
        bar = view.query_one("#filter-items", FilterBar)
        for what, typed in FILTERS.items():
            where = replace(letter_filter(typed, clock.now_ms()), fingerprint="f1")
            expected = await workspace.store.dead_letters.count(where)
            await asyncio.sleep(0.5)
            watch.take()
            start = time.perf_counter()
            bar.put(typed)
            while table.count != expected:
                await asyncio.sleep(0.001)
            await table.settled()
            took = (time.perf_counter() - start) * 1000
            print(
                f"{'filter: ' + what:34} {took:8.0f} ms   loop held at most {watch.take():6.0f} ms   "
                f"{table.count:,} rows"
            )
            await press("  and take it away", "escape")
            while table.count != count:
                await asyncio.sleep(0.001)
        task.cancel()
    lock.release()
    await workspace.close()


def main() -> None:
    """Run it in a folder of its own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if len(sys.argv) > 2:
        asyncio.run(measure(Path(sys.argv[2]), count))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), count))


if __name__ == "__main__":
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    main()
