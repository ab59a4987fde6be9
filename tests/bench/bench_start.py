"""How long the program takes to start.

    python tests/bench/bench_start.py [--rounds N]

`--version` against `python -c pass`, and the first paint of the console in a pseudo terminal of 100 x 30: the
time until the first byte, and until the screen shows `--word`. Medians; runs take turns.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from common import ROOT, measure, median, table

_DEADLINE = 20.0


def first_paint(command: list[str], environ: dict[str, str], wanted: bytes) -> tuple[float, float]:
    """Seconds until the first output, and until `wanted` was printed."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe(command[0], command, environ)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    seen, first = b"", 0.0
    try:
        while wanted not in seen:
            left = started + _DEADLINE - time.perf_counter()
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise SystemExit(f"{wanted!r} was not shown in {_DEADLINE:.0f} s; got {seen[-2000:]!r}")
            try:
                data = os.read(terminal, 65_536)
            except OSError:
                raise SystemExit(f"The console ended; it said {seen[-2000:]!r}") from None
            first = first or time.perf_counter() - started
            seen += data
        return first, time.perf_counter() - started
    finally:
        os.kill(pid, signal.SIGTERM)
        deadline = time.perf_counter() + 5
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.perf_counter() > deadline:
                os.kill(pid, signal.SIGKILL)
            # Reading keeps the console from blocking on a full terminal while it ends.
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    os.read(terminal, 65_536)
                except OSError:
                    time.sleep(0.01)
        os.close(terminal)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--word", default="Dashboard", help="what the first paint shows")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="platint-bench-"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
    environ = {**kept, "PLATINT_HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    program = [sys.executable, "-m", "platint_tui"]
    bare: list[float] = []
    version: list[float] = []
    helped: list[float] = []
    first: list[float] = []
    painted: list[float] = []
    try:
        for _ in range(options.rounds):
            bare.append(measure([sys.executable, "-c", "pass"], environ).wall)
            version.append(measure([*program, "--version"], environ).wall)
            helped.append(measure([*program, "--help"], environ).wall)
            byte, paint = first_paint(program, environ, options.word.encode())
            first.append(byte)
            painted.append(paint)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    zero = median(bare)
    rows = [("", "seconds", "more than python -c pass")]
    for name, values in (
        ("python -c pass", bare),
        ("--version", version),
        ("--help", helped),
        ("console: first byte", first),
        ("console: first paint", painted),
    ):
        rows.append((name, f"{median(values):.3f}", f"{median(values) - zero:+.3f}"))
    table(rows)


if __name__ == "__main__":
    main()
