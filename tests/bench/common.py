"""What the benchmarks share: the demo server in its own process, measured child processes, medians."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = 100


@dataclass(frozen=True)
class Server:
    """The demo payments platform: its address and its key."""

    url: str
    key: str
    total: int


@dataclass(frozen=True)
class Measured:
    """One finished child: wall clock and CPU in seconds, peak memory in MB, and its standard output."""

    wall: float
    cpu: float
    peak_mb: float
    output: str
    code: int


@contextlib.contextmanager
def demo_server(records: int, *, warm: bool = True) -> Iterator[Server]:
    """A calm demo server without latency. `warm`: its pages are made before, so that it is no part of a figure."""
    names = ("payments_key", "crm_client_id", "crm_client_secret", "chat_token")
    credentials = {name: f"bench_{secrets.token_hex(12)}" for name in names}
    settings = {"records": records, "misbehave": False, "latency": [0, 0], "credentials": credentials}
    process = subprocess.Popen(
        [sys.executable, "-m", "platint_tui.demo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        url = json.loads(process.stdout.readline())["payments"]
        server = Server(url, credentials["payments_key"], records)
        if warm:
            _warm(server)
        yield server
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def _warm(server: Server) -> None:
    after = ""
    while True:
        query = f"?limit={PAGE}" + (f"&starting_after={after}" if after else "")
        request = urllib.request.Request(f"{server.url}/v1/charges{query}", headers={"X-Api-Key": server.key})
        with urllib.request.urlopen(request) as answer:
            page = json.load(answer)
        if not page["has_more"]:
            return
        after = page["data"][-1]["id"]


def measure(command: Sequence[str], environ: dict[str, str] | None = None) -> Measured:
    """Run a command to its end, its standard error kept for a failure."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environ, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
        if process.returncode not in (0, 3):
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-4000:]}")
        return Measured(wall, usage.ru_utime + usage.ru_stime, _peak_mb(usage), text, process.returncode)


def _peak_mb(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Columns, right aligned but for the first."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
