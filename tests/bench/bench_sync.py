"""How fast a headless sync is, against the loop that somebody would write by hand and against dlt.

    python tests/bench/bench_sync.py [--records N] [--rounds N] [--dlt] [--dlt-venv FOLDER] [--memory]

All read charges of 600 bytes, 100 a page, from one demo server without latency, and write them to SQLite with
raw text, columns and position. Contenders take turns; figures are medians, and ratios of one run. `--dlt`
installs dlt into a virtual environment of its own. `--memory` also measures the peak of 10,000 and of
1,000,000 records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import Measured, Server, demo_server, measure, median, table

HERE = Path(__file__).resolve().parent
_INTEGRATION = """\
integration: bench
integration_type: data_sync
platforms:
  - {name: demo-payments, profile: bench-payments, type: api, endpoints: [charges]}
  - {name: sqlite, profile: bench-file, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
"""


@dataclass(frozen=True)
class Figure:
    """One contender's run: seconds of the work itself, of the whole process and of its CPU time, records, MB."""

    seconds: float
    wall: float
    cpu: float
    records: int
    peak_mb: float

    @property
    def rate(self) -> float:
        """Records per second of the work itself."""
        return self.records / self.seconds


def _environ(server: Server, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
    return {**kept, "PLATINT_HOME": str(home), "BENCH_KEY": server.key, "PYTHONPATH": str(HERE.parents[1])}


class Platint:
    """An installation with the two profiles and the integration; `run` is `platint-tui syncs run`."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._folder = folder
        home = folder / "home"
        home.mkdir(mode=0o700)
        self._environ = _environ(server, home)
        self._file = folder / "bench.yaml"
        self._file.write_text(_INTEGRATION)
        url = f"base_url={server.url}"
        self._call("profiles", "add", "demo-payments", "--name", "bench-payments", "--field", url,
                   "--secret-from", "api_key=env:BENCH_KEY")  # fmt: skip
        self._call(
            "profiles", "add", "sqlite", "--name", "bench-file", "--field", f"path={folder / 'bench.sqlite'}"
        )

    def _call(self, *arguments: str) -> Measured:
        return measure([sys.executable, "-m", "platint_tui", *arguments], self._environ)

    def run(self) -> Figure:
        """One run of the integration: from the beginning, or incremental when it ran before."""
        measured = self._call("syncs", "run", str(self._file), "--json")
        document = json.loads(measured.output)
        if document["state"] not in ("succeeded", "partial"):
            raise SystemExit(f"The run ended as {document['state']}: {document}")
        [stream] = document["streams"]
        seconds = (document["ended_ms"] - document["started_ms"]) / 1000
        if stream["read"] != stream["written"] + stream["dead_lettered"] + stream["superseded"]:
            raise SystemExit(f"The account does not add up: {stream}")
        return Figure(seconds, measured.wall, measured.cpu, stream["read"], measured.peak_mb)


def platint(server: Server, folder: Path) -> Figure:
    """A first run in a new installation."""
    return Platint(server, folder).run()


def loop(python: str, script: str) -> Callable[[Server, Path], Figure]:
    """A contender that is a script of its own."""

    def run(server: Server, folder: Path) -> Figure:
        place = str(folder / "loop.sqlite") if script == "loop_httpx.py" else str(folder)
        measured = measure([python, str(HERE / script), server.url, place], _environ(server, folder))
        result = json.loads(measured.output.strip().splitlines()[-1])
        return Figure(result["seconds"], measured.wall, measured.cpu, result["records"], measured.peak_mb)

    return run


def dlt_python(folder: Path) -> str:
    """The interpreter of a virtual environment with dlt in it, made when it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing dlt into {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "dlt[sqlalchemy]"], check=True)
    return str(python)


def race(
    server: Server, contenders: dict[str, Callable[[Server, Path], Figure]], rounds: int
) -> dict[str, list[Figure]]:
    """Every contender once per round, in turns, each in an empty folder."""
    results: dict[str, list[Figure]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, contender in contenders.items():
            folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
            try:
                figure = contender(server, folder)
            finally:
                shutil.rmtree(folder)
            if figure.records != server.total:
                raise SystemExit(f"{name} has {figure.records} of {server.total} records.")
            results[name].append(figure)
            print(f"round {number + 1}: {name} {figure.rate:,.0f} records/s", file=sys.stderr)
    return results


def report(results: dict[str, list[Figure]]) -> None:
    """Medians; how many times as fast platint is, as the median of the ratios within a round."""
    mine = [figure.rate for figure in results["platint"]]
    ratios = {
        name: [own / figure.rate for own, figure in zip(mine, figures, strict=True)]
        for name, figures in results.items()
    }
    rows = [("", "records/s", "seconds", "process s", "CPU s", "peak MB", "platint is")]
    for name, figures in results.items():
        rows.append(
            (
                name,
                f"{median([figure.rate for figure in figures]):,.0f}",
                f"{median([figure.seconds for figure in figures]):.2f}",
                f"{median([figure.wall for figure in figures]):.2f}",
                f"{median([figure.cpu for figure in figures]):.2f}",
                f"{median([figure.peak_mb for figure in figures]):.0f}",
                f"{median(ratios[name]):.2f} x",
            )
        )
    table(rows)


def memory() -> None:
    """Peak memory of the process that runs a small and a large sync."""
    rows = [("records", "records/s", "peak MB")]
    for records in (10_000, 1_000_000):
        with demo_server(records, warm=False) as server:
            figure = race(server, {"platint": platint}, 1)["platint"][0]
        rows.append((f"{records:,}", f"{figure.rate:,.0f}", f"{figure.peak_mb:.0f}"))
    table(rows)


def incremental(server: Server) -> None:
    """A second run with nothing new."""
    folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
    try:
        installation = Platint(server, folder)
        installation.run()
        figures = [installation.run() for _ in range(3)]
    finally:
        shutil.rmtree(folder)
    seconds = median([figure.seconds for figure in figures])
    wall = median([figure.wall for figure in figures])
    read = {figure.records for figure in figures}
    print(f"empty incremental run: {seconds:.2f} s of engine time, {wall:.2f} s of the command, read {read}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dlt", action="store_true")
    parser.add_argument("--dlt-venv", type=Path, default=Path(tempfile.gettempdir()) / "platint-bench-dlt")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    contenders: dict[str, Callable[[Server, Path], Figure]] = {
        "platint": platint,
        "httpx + sqlite3 by hand": loop(sys.executable, "loop_httpx.py"),
    }
    if options.dlt:
        contenders["dlt rest_api"] = loop(dlt_python(options.dlt_venv), "loop_dlt.py")
    with demo_server(options.records) as server:
        report(race(server, contenders, options.rounds))
        incremental(server)
    if options.memory:
        memory()


if __name__ == "__main__":
    main()
