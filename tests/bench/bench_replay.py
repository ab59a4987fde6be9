# ruff: noqa: E402 - the paths come first, so that it runs as a script
"""Replay of dead letters to a local endpoint: `python tests/bench/bench_replay.py [DEAD_LETTERS] [ROUNDS]`.

10,000 by default, 50 in flight, a durable outcome each (synchronous=FULL, group commit), three rounds, medians. Beside
it, on the same endpoint and in the same rounds, a hand-written loop over aiohttp and one over plain httpx, both with
the same group commit. The bars: 0.55 of the aiohttp loop, 10 times the httpx loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from common import ROOT, measure, median, table

from platint_tui.core.clock import SystemClock
from platint_tui.core.errors import ErrorClass
from platint_tui.core.ids import digest
from platint_tui.core.model import Counters, Environment, Fault, NewDeadLetter, Profile, Trigger
from platint_tui.core.paths import find_paths
from platint_tui.core.states import RunState
from platint_tui.manifest.integration import load_integration
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.store import open_store

HERE = Path(__file__).parent
HTTPX_SHARE = 20
"""Plain httpx is given a part of the dead letters only: all of them would take minutes."""
MANIFEST = """
manifest: 1
platform: endpoint
name: Endpoint
version: 1.0.0
category: other
docs: https://example.org/
driver: http
profile: {fields: [{id: base_url, type: url, required: true}]}
auth: {type: none}
transport:
  base_url: '${profile.base_url}'
  allowed_hosts: ['${profile.base_url}']
errors:
  policy: {attempts: 3, base: 10ms, factor: 2, cap: 1s, jitter: full, budget: 30s}
  rules:
    - {when: {status: [422]}, class: record, action: dead_letter}
    - {when: {status: ['500-599'], network: true}, class: transient, action: retry}
check: [{id: ok, request: {path: /}}]
discover: {type: static}
resources:
  events:
    key: [id]
    read: {request: {method: GET, path: /events}, records: data, page: {type: none}}
  sink:
    key: [id]
    write: {upsert: {method: POST, path: /sink, idempotency: {header: Idempotency-Key}}}
tests: [{name: x, kind: error, exchange: x.yaml, expect: {class: record, action: dead_letter}}]
"""
INTEGRATION = """
integration: bench
integration_type: data_sync
platforms:
  - {name: endpoint, profile: source, type: api, endpoints: [events]}
  - {name: endpoint, profile: target, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
streams:
  events: {target: sink}
"""


def body(number: int) -> str:
    """An event of about 300 bytes."""
    return json.dumps(
        {
            "id": f"evt_{number:08}",
            "type": "invoice.paid",
            "created": 1_790_000_000 + number,
            "customer": {
                "id": f"cus_{number % 977}",
                "email": f"customer{number}@example.com",
                "country": "DE",
            },
            "lines": [{"sku": "A-100", "count": number % 7, "price": "12.50"}, {"sku": "B-7", "count": 1}],
            "note": "the third reminder was sent before the payment arrived",
        },
        separators=(",", ":"),
    )


@contextlib.contextmanager
def endpoint() -> Iterator[str]:
    """The endpoint's address while its process runs."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "loop_replay_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def prepare(home: Path, url: str, count: int) -> str:
    """An installation with `count` open dead letters and a planned job over them; the job's id."""
    environ = {**os.environ, "PLATINT_HOME": str(home)}
    paths = find_paths(environ)
    paths.connectors.mkdir(parents=True, exist_ok=True)
    (paths.connectors / "endpoint.yaml").write_text(MANIFEST)
    registry = Registry(default_dirs(None, paths.connectors, environ))
    store = await open_store(paths.database, clock=SystemClock(), role="console")
    try:
        for name in ("source", "target"):
            await store.profiles.put(
                Profile(name, "endpoint", Environment.SANDBOX, {"base_url": url}, {}, (url,))
            )
        known = await store.integrations.put(load_integration(INTEGRATION, registry))
        await store.runs.create(known, (), "manual")
        run = await store.runs.claim("bench")
        assert run is not None
        await store.runs.move_stream(run.id, run.epoch, "events", RunState.RUNNING)
        fault = Fault(ErrorClass.RECORD, "nope", "The platform refused this record.")
        for seq, first in enumerate(range(0, count, 2000), 1):
            letters = []
            for number in range(first, min(count, first + 2000)):
                text = body(number)
                letters.append(
                    NewDeadLetter(
                        "target", "endpoint", "bench", "events", run.id, "1.0.0", f'["evt_{number:08}"]',
                        text.encode(), digest(text), digest("key", text), "f1", fault,
                    )
                )  # fmt: skip
            await store.runs.commit_page(
                run.id, run.epoch, "events", seq=seq, confirmed={"v": 1}, counters=Counters(), dead_letters=letters,
                written_keys=(),
            )  # fmt: skip
        await store.runs.move_stream(run.id, run.epoch, "events", RunState.PARTIAL)
        await store.runs.finish(run.id, run.epoch, RunState.PARTIAL)
        numbers = await store.dead_letters.numbers(_everything(), newest_first=False)
        job = await store.replays.plan(await store.replays.ids(numbers), Trigger.BULK)
        assert job.total == count
        return job.id
    finally:
        await store.close()


def _everything():  # type: ignore[no-untyped-def]
    from platint_tui.store.ports import DeadLetterFilter

    return DeadLetterFilter()


def ours(home: Path, url: str, count: int) -> tuple[float, float]:
    """Dead letters a second, from the first claim to the last outcome on disk, and peak MB."""
    asyncio.run(prepare(home, url, count))
    environ = {**os.environ, "PLATINT_HOME": str(home)}
    done = measure([sys.executable, "-m", "platint_tui", "serve", "--until-idle"], environ)
    with contextlib.closing(sqlite3.connect(find_paths(environ).database)) as database:
        state, succeeded, ended = database.execute(
            "SELECT state, succeeded, ended_ms FROM replay_jobs"
        ).fetchone()
        started, attempts = database.execute("SELECT MIN(started_ms), COUNT(*) FROM attempts").fetchone()
    assert (state, succeeded, attempts) == ("done", count, count), (state, succeeded, attempts)
    return count / ((ended - started) / 1000), done.peak_mb


def peer(script: str, folder: Path, url: str, count: int, *more: str) -> float:
    """Events a second of a hand-written loop."""
    path = folder / f"{script}.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, key TEXT, body TEXT)")
        database.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(f"evt_{number:08}", digest("key", str(number)), body(number)) for number in range(count)],
        )
        database.commit()
    found = json.loads(measure([sys.executable, str(HERE / script), f"{url}/sink", str(path), *more]).output)
    path.unlink()
    return float(found["sent"]) / float(found["seconds"])


def main() -> None:
    """Print the table and the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    mine, aiohttp, httpx, peaks = [], [], [], []
    with endpoint() as url, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            rate, peak = ours(Path(folder) / f"home{number}", url, count)
            mine.append(rate)
            peaks.append(peak)
            aiohttp.append(peer("loop_replay_aiohttp.py", Path(folder), url, count))
            few = str(max(1, count // HTTPX_SHARE))
            httpx.append(peer("loop_replay_httpx.py", Path(folder), url, count, few))
    table(
        [
            ("who", "dead letters/s", "rounds"),
            ("platint-tui", f"{median(mine):,.0f}", " ".join(f"{item:,.0f}" for item in mine)),
            ("aiohttp loop", f"{median(aiohttp):,.0f}", " ".join(f"{item:,.0f}" for item in aiohttp)),
            ("httpx loop", f"{median(httpx):,.0f}", " ".join(f"{item:,.0f}" for item in httpx)),
        ]
    )
    print(f"of the aiohttp loop  {median(mine) / median(aiohttp):.2f}  (bar 0.55)")
    print(f"of the httpx loop    {median(mine) / median(httpx):.1f}  (bar 10)")
    print(f"peak memory          {median(peaks):.0f} MB")


if __name__ == "__main__":
    assert ROOT.is_dir()
    main()
