"""How fast webhooks are taken, each on the disk before its 200: `python tests/bench/bench_ingest.py`.

    python tests/bench/bench_ingest.py [--count N] [--connections N] [--rounds N] [--no-fastapi] [--fastapi-venv FOLDER]

The real `serve` process (HMAC-SHA256 checked, synchronous=FULL) against an asyncio server written by hand with the
same group commit, and against a FastAPI handler with one commit for each request. Contenders take turns; figures are
medians of one run, to be compared within it. Then the latencies of ours at half of its load, and a burst with
duplicates after which the store is counted. FastAPI is installed into a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common import ROOT, median, table

from platint_tui.core.clock import SystemClock
from platint_tui.core.model import Environment, Profile
from platint_tui.store import open_store

HERE = Path(__file__).parent
SECRET = "bench-signing-secret-0123456789"
TARGETS = {"bare": 0.7, "fastapi": 10.0}
P99_MS = 50.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], port: int, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that takes connections."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(list(command), env=environ, cwd=ROOT, stdout=said, stderr=said)
        try:
            end = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    raise SystemExit(f"{command} does not listen:\n{said.read().decode()[-3000:]}")
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            process.wait(30)


def environment(**more: str) -> dict[str, str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
    return {**names, "BENCH_SECRET": SECRET, **more}


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[int]:
    home = folder / "home"
    environ = environment(PLATINT_HOME=str(home))
    asyncio.run(add_profile(home / "data" / "platint.sqlite"))
    port = free_port()
    command = [sys.executable, "-m", "platint_tui", "serve", "--listen", f"127.0.0.1:{port}"]
    with running(command, port, environ):
        yield port


async def add_profile(path: Path) -> None:
    store = await open_store(path, clock=SystemClock(), role="console")
    references = {"webhook_secret": "env:BENCH_SECRET"}
    await store.profiles.put(Profile("bench", "github", Environment.SANDBOX, {}, references))
    await store.close()


@contextlib.contextmanager
def by_hand(folder: Path, python: str = sys.executable, *arguments: str) -> Iterator[int]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, str(HERE / "loop_ingest.py"), str(port), str(folder / "loop.sqlite"), *arguments]
    with running(command, port, environment()):
        yield port


def fastapi_python(folder: Path) -> str:
    """The interpreter of a virtual environment with FastAPI in it, made when it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing FastAPI into {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
        packages = ["fastapi", "uvicorn", "httptools"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def send(port: int, count: int, connections: int, *, rate: float = 0, start: int = 0) -> dict[str, Any]:
    options = {
        "port": port, "path": "/webhooks/bench", "count": count, "connections": connections,
        "rate": rate, "start": start, "size": 600,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "send_webhooks.py"), json.dumps(options)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the sender failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["rate"] = count / found["seconds"]
    return found


def stored(folder: Path) -> tuple[int, int]:
    """Rows, and how often they were sent."""
    with contextlib.closing(sqlite3.connect(folder / "home" / "data" / "platint.sqlite")) as database:
        return tuple(database.execute("SELECT COUNT(*), SUM(seen) FROM events").fetchone())  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-fastapi", action="store_true")
    parser.add_argument(
        "--fastapi-venv", type=Path, default=Path(tempfile.gettempdir()) / "platint-bench-fastapi"
    )
    options = parser.parse_args()
    python = "" if options.no_fastapi else fastapi_python(options.fastapi_venv)
    figures: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(options.rounds):
            folder = Path(name) / str(turn)
            with by_hand(folder / "bare") as port:
                send(port, 500, options.connections)
                figures.setdefault("bare", []).append(
                    send(port, options.count, options.connections, start=1000)
                )
            with ours(folder / "ours") as port:
                send(port, 500, options.connections)
                figures.setdefault("ours", []).append(
                    send(port, options.count, options.connections, start=1000)
                )
            if python:
                with by_hand(folder / "fastapi", python, "fastapi") as port:
                    send(port, 100, options.connections)
                    figures.setdefault("fastapi", []).append(
                        send(port, options.count // 10, options.connections, start=1000)
                    )
        rates = {who: median([item["rate"] for item in found]) for who, found in figures.items()}
        rows = [["", "requests/s", "p50 ms", "p99 ms", "ours / this"]]
        for who, found in figures.items():
            assert all(set(item["statuses"]) == {"200"} for item in found), found
            rows.append(
                [
                    who,
                    f"{rates[who]:,.0f}",
                    *(f"{median([item[name] for item in found]):.1f}" for name in ("p50", "p99")),
                    f"{rates['ours'] / rates[who]:.2f}",
                ]
            )
        table(rows)
        for who, wanted in TARGETS.items():
            if who in rates:
                ratio = rates["ours"] / rates[who]
                print(f"{who}: {ratio:.2f}, wanted {wanted}: {'ok' if ratio >= wanted else 'MISSED'}")
        folder = Path(name) / "half"
        with ours(folder) as port:
            send(port, 500, options.connections)
            half = send(port, options.count // 2, options.connections, rate=rates["ours"] / 2, start=1000)
            print(
                f"at half that load ({half['rate']:,.0f}/s): p50 {half['p50']:.1f} ms, p99 {half['p99']:.1f} ms, worst"
                f" {half['worst']:.1f} ms, wanted p99 {P99_MS:g}: {'ok' if half['p99'] < P99_MS else 'MISSED'}"
            )
        folder = Path(name) / "burst"
        with ours(folder) as port:
            first = send(port, options.count, options.connections)
            again = send(port, options.count // 4, options.connections)
            count, seen = stored(folder)
            print(
                f"a burst of {options.count:,} and {options.count // 4:,} of them again in"
                f" {first['seconds'] + again['seconds']:.1f} s: {count:,} events, sent {seen:,} times:"
                f" {'ok' if (count, seen) == (options.count, options.count + options.count // 4) else 'WRONG'}"
            )


if __name__ == "__main__":
    main()
