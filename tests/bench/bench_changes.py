"""Whether changes of PostgreSQL keep up with pgbench, and how old they are when they are stored.

    python tests/bench/bench_changes.py [--seconds N] [--clients N] [--rate N]

pgbench writes its usual transactions (four changes each) on a server of its own; a sync in real time brings the three
tables that it updates into another database of that server. Told are the transactions a second, the lag of the records
(commit at the source to commit at the target), how long after the end of pgbench both sides agree, and the peak memory.
`--rate` holds pgbench to that many transactions a second; without it, it goes as fast as the machine lets it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, table

sys.path.insert(0, str(ROOT / "tests"))
from peers.postgres import PostgresServer

TABLES = ("pgbench_accounts", "pgbench_tellers", "pgbench_branches")
INTEGRATION = f"""\
integration: bench
platforms:
  - {{name: postgresql, profile: bench-source, type: sync, endpoints: [{", ".join(TABLES)}]}}
  - {{name: postgresql, profile: bench-target, type: sync}}
sync_frequency: real_time
streams:
  pgbench_accounts: {{mode: cdc}}
  pgbench_tellers: {{mode: cdc}}
  pgbench_branches: {{mode: cdc}}
"""
KEYS = {
    "pgbench_accounts": ("aid", "abalance"),
    "pgbench_tellers": ("tid", "tbalance"),
    "pgbench_branches": ("bid", "bbalance"),
}


class Installation:
    """A PLATINT_HOME of its own with both profiles."""

    def __init__(self, server: PostgresServer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
        home = self.folder / "home"
        home.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
        self.environ = {
            **kept,
            "PLATINT_HOME": str(home),
            "BENCH_PG": server.password,
            "PYTHONPATH": str(ROOT),
        }
        self.file = self.folder / "bench.yaml"
        self.file.write_text(INTEGRATION)
        for profile, database in (("bench-source", "bench"), ("bench-target", "copy")):
            fields = {"host": server.host, "port": str(server.port), "database": database,
                      "user": server.user, "tls": "disable"}  # fmt: skip
            given = [word for name, value in fields.items() for word in ("--field", f"{name}={value}")]
            self.call(
                "profiles",
                "add",
                "postgresql",
                "--name",
                profile,
                *given,
                "--secret-from",
                "password=env:BENCH_PG",
            )
        self.call("discover", "bench-source")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "platint_tui", *arguments],
            env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, *arguments: str) -> str:
        """What a command prints. Ends the program when it fails."""
        done = self.start(*arguments)
        output, said = done.communicate(timeout=120)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {said}")
        return output


def query(server: PostgresServer, database: str, text: str) -> str:
    """The answer of psql."""
    address = ["-h", server.host, "-p", str(server.port), "-U", server.user]
    done = subprocess.run(
        [server.tool("psql"), "-X", "-A", "-t", *address, "-c", text, database],
        env={**os.environ, **server.client_environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def digest(server: PostgresServer, database: str) -> list[str]:
    """What both sides must agree about."""
    return [
        query(server, database, f"SELECT count(*), sum({value}), sum({key}::bigint * {value}) FROM {name}")
        for name, (key, value) in KEYS.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--rate", type=int, default=0)
    options = parser.parse_args()
    server = PostgresServer()
    try:
        for name in ("bench", "copy"):
            server.psql(f"CREATE DATABASE {name}")
        bench = [server.tool("pgbench"), "-h", server.host, "-p", str(server.port), "-U", server.user]
        environ = {**os.environ, **server.client_environment}
        subprocess.run([*bench, "-i", "-q", "bench"], env=environ, check=True, capture_output=True)
        installation = Installation(server)
        running = installation.start("syncs", "run", str(installation.file))
        deadline = time.monotonic() + 120
        while True:
            try:
                if digest(server, "copy") == digest(server, "bench"):
                    break
            except subprocess.CalledProcessError:
                pass  # the tables are not made yet
            if time.monotonic() > deadline or running.poll() is not None:
                raise SystemExit(
                    f"The snapshot does not come: {running.communicate()[1] if running.poll() else ''}"
                )
            time.sleep(0.2)
        load = ["-c", str(options.clients), "-T", str(options.seconds)]
        load += ["-R", str(options.rate)] if options.rate else []
        done = subprocess.run(
            [*bench, *load, "bench"], env=environ, check=True, capture_output=True, text=True
        )
        ended = time.monotonic()
        while digest(server, "copy") != digest(server, "bench"):
            if time.monotonic() - ended > 120:
                raise SystemExit("The two sides do not agree two minutes after the end.")
            time.sleep(0.05)
        caught_up = time.monotonic() - ended
        time.sleep(2.5)  # latencies are saved every second
        lags = json.loads(installation.call("metrics", "--json"))["lags"]
        running.send_signal(2)
        running.communicate(timeout=60)
        installation.call("syncs", "cancel", "1")
        installation.call("syncs", "remove", "bench", "--yes")
        shutil.rmtree(installation.folder)
    finally:
        server.stop()
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    rows = [("", "records", "lag p50 ms", "p95 ms", "p99 ms")]
    for sync, item in lags.items():
        rows.append(
            (sync, f"{item['count']:,}", *(f"{item[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")))
        )
    print(
        f"pgbench: {found.group(1) if found else '?'} transactions/s; both agree {caught_up:.2f} s after its end"
    )
    print(
        f"peak memory of the largest process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB"
    )
    table(rows)


if __name__ == "__main__":
    main()
