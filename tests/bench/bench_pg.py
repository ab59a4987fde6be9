"""How fast a table of PostgreSQL goes to another PostgreSQL and to SQLite, through the ordinary command line.

    python tests/bench/bench_pg.py [--rows N] [--rounds N]

The table has ten columns (int8 key, text, numeric, timestamptz, bool, float, uuid, date, small jsonb, varchar).
To PostgreSQL the other contender is `psql -c 'COPY TO' | psql -c 'COPY FROM'` into an empty table with the same
primary key; to SQLite a loop by hand, an asyncpg cursor and executemany with synchronous=FULL and a commit every
5,000 rows. Each round reads everything into empty targets; figures are medians, ratios those within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, Measured, measure, median, table

sys.path.insert(0, str(ROOT / "tests"))

from peers.postgres import PASSWORD, USER, PostgresServer

HERE = Path(__file__).resolve().parent
SOURCE, TARGET = "bench_source", "bench_target"
_COLUMNS = (
    "id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz, paid boolean, score double precision,"
    " ref uuid, day date, doc jsonb, code varchar(20)"
)
_FILL = """
INSERT INTO orders SELECT n, 'customer number ' || n, (n * 37 % 1000000)::numeric / 100,
  timestamptz '2024-01-01 00:00:00+00' + n * interval '1.234567 s', n % 3 = 0, n * 0.123456789, gen_random_uuid(),
  date '2020-01-01' + (n % 2000)::integer, jsonb_build_object('a', n, 'b', 'x' || n), 'code-' || (n % 1000)
FROM generate_series(1, {rows}) n
"""
_INTEGRATION = """\
integration: {name}
integration_type: data_sync
platforms:
  - {{name: postgresql, profile: bench-source, type: sync, endpoints: [orders]}}
  - {{name: {platform}, profile: {profile}, type: sync}}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
"""


@dataclass(frozen=True)
class Figure:
    """Seconds of one contender's work, of its whole process, and the peak of its memory in MB (0: not measured)."""

    seconds: float
    wall: float
    peak_mb: float = 0.0


class Platint:
    """An installation with profiles of the source and both targets; `run` is `platint-tui syncs run`."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._folder = folder
        home = folder / "home"
        home.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
        self._environ = {**kept, "PLATINT_HOME": str(home), "BENCH_KEY": PASSWORD, "PYTHONPATH": str(ROOT)}
        for name, database in (("bench-source", SOURCE), ("bench-target", TARGET)):
            place = [
                f"host={server.host}",
                f"port={server.port}",
                f"database={database}",
                f"user={USER}",
                "tls=disable",
            ]
            fields = [word for item in place for word in ("--field", item)]
            self._call(
                "profiles",
                "add",
                "postgresql",
                "--name",
                name,
                *fields,
                "--secret-from",
                "password=env:BENCH_KEY",
            )
        file = f"path={folder / 'bench.sqlite'}"
        self._call("profiles", "add", "sqlite", "--name", "bench-file", "--field", file)
        self._call("discover", "bench-source")

    def _call(self, *arguments: str) -> Measured:
        return measure([sys.executable, "-m", "platint_tui", *arguments], self._environ)

    def run(self, platform: str, profile: str, rows: int) -> Figure:
        """One run of an integration with an empty target."""
        name = f"bench-{platform}"
        file = self._folder / f"{name}.yaml"
        file.write_text(_INTEGRATION.format(name=name, platform=platform, profile=profile))
        measured = self._call("syncs", "run", str(file), "--json")
        document = json.loads(measured.output)
        [stream] = document["streams"]
        if document["state"] != "succeeded" or stream["written"] != rows:
            raise SystemExit(f"The run ended as {document}")
        seconds = (document["ended_ms"] - document["started_ms"]) / 1000
        return Figure(seconds, measured.wall, measured.peak_mb)


@contextmanager
def databases(rows: int) -> Iterator[PostgresServer]:
    """A server with the filled source and an empty target."""
    server = PostgresServer({"shared_buffers": "512MB", "max_wal_size": "8GB"})
    try:
        for name in (SOURCE, TARGET):
            server.psql(f"CREATE DATABASE {name}")
        in_database(
            server,
            SOURCE,
            f"CREATE TABLE orders ({_COLUMNS})",
            _FILL.format(rows=rows),
            "VACUUM ANALYZE orders",
        )
        yield server
    finally:
        server.stop()


def in_database(server: PostgresServer, database: str, *statements: str) -> None:
    """Run statements in one of the databases."""
    command = [server.tool("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    for statement in statements:
        quiet = {"PGDATABASE": database, "PGOPTIONS": "-c client_min_messages=warning"}
        environ = {**server.client_environment, **quiet}
        subprocess.run([*command, "-c", statement], env=environ, check=True, stdin=subprocess.DEVNULL)


def by_psql(server: PostgresServer) -> Figure:
    """COPY through a pipe."""
    in_database(server, TARGET, f"CREATE TABLE by_hand ({_COLUMNS})")
    psql = f"{server.tool('psql')} -X -q -d"
    line = f"{psql} {SOURCE} -c 'COPY orders TO STDOUT' | {psql} {TARGET} -c 'COPY by_hand FROM STDIN'"
    started = time.perf_counter()
    subprocess.run(["/bin/sh", "-c", line], env=server.client_environment, check=True)
    wall = time.perf_counter() - started
    return Figure(wall, wall)


def by_loop(server: PostgresServer, folder: Path) -> Figure:
    """The loop by hand, in a process of its own."""
    dsn = f"postgresql://{USER}:{PASSWORD}@{server.host}:{server.port}/{SOURCE}"
    measured = measure([sys.executable, str(HERE / "loop_asyncpg.py"), dsn, str(folder / "loop.sqlite")])
    return Figure(float(measured.output), measured.wall, measured.peak_mb)


def check(server: PostgresServer, folder: Path, rows: int) -> None:
    """Both targets hold what the source holds."""
    columns = ", ".join(item.split()[0] for item in _COLUMNS.split(", "))
    digest = f"SELECT md5(string_agg(q::text, '' ORDER BY id)) FROM (SELECT {columns} FROM {{}}) q"
    command = [server.tool("psql"), "-X", "-q", "-A", "-t", "-c"]
    environ = server.client_environment
    left, right = (
        subprocess.run(
            [*command, digest.format("orders")],
            env={**environ, "PGDATABASE": database},
            check=True,
            capture_output=True,
        ).stdout
        for database in (SOURCE, TARGET)
    )
    with closing(sqlite3.connect(folder / "bench.sqlite")) as connection:
        (found,) = connection.execute("SELECT count(*) FROM orders").fetchone()
    if left != right or found != rows:
        raise SystemExit("A target does not hold what the source holds.")


def show(title: str, ours: Sequence[Figure], theirs: Sequence[Figure], other: str, rows: int) -> None:
    """Medians, and how many times as fast ours is."""
    ratio = median([b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)])
    lines = [(title, "rows/s", "seconds", "process s", "peak MB", "platint is")]
    for name, figures, said in (("platint", ours, ""), (other, theirs, f"{ratio:.2f} x")):
        seconds = median([figure.seconds for figure in figures])
        wall, peak = (median([getattr(figure, what) for figure in figures]) for what in ("wall", "peak_mb"))
        shown = f"{peak:.0f}" if peak else "-"
        lines.append((name, f"{rows / seconds:,.0f}", f"{seconds:.2f}", f"{wall:.2f}", shown, said))
    table(lines)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    to_postgres: tuple[list[Figure], list[Figure]] = ([], [])
    to_sqlite: tuple[list[Figure], list[Figure]] = ([], [])
    with databases(options.rows) as server:
        for number in range(options.rounds):
            folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
            try:
                in_database(server, TARGET, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
                installation = Platint(server, folder)
                to_postgres[0].append(installation.run("postgresql", "bench-target", options.rows))
                to_postgres[1].append(by_psql(server))
                to_sqlite[0].append(installation.run("sqlite", "bench-file", options.rows))
                to_sqlite[1].append(by_loop(server, folder))
                check(server, folder, options.rows)
            finally:
                shutil.rmtree(folder)
            print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr)
    show("to PostgreSQL", *to_postgres, "psql | psql", options.rows)
    show("to SQLite", *to_sqlite, "asyncpg + sqlite3 by hand", options.rows)


if __name__ == "__main__":
    main()
