"""The console as a program on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

PROGRAM = """
import asyncio, sys
from platint_tui.tui.run import run_console
async def opened():
    from platint_tui.services.workspace import open_workspace
    return await open_workspace()
sys.exit(asyncio.run(run_console(opened)))
"""
RESTORED = b"\x1b[?1049l"
"""Leaving the alternate screen."""


class Terminal:
    """A program on a pty of `size` (columns, lines). `screen` collects every byte that it wrote."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        program: str = PROGRAM,
        size: tuple[int, int] = (100, 30),
        folder: Path | None = None,
    ) -> None:
        self.screen = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **environ},
            cwd=folder,
            start_new_session=True,
        )
        os.close(slave)

    def read(self, until: bytes, seconds: float = 30.0) -> float:
        """Read until the bytes came; returns how long after the start that was."""
        deadline = time.monotonic() + seconds
        while until not in self.screen:
            assert time.monotonic() < deadline, f"{until!r} did not come; the end was {self.screen[-400:]!r}"
            self._take(0.02)
        return time.monotonic() - self.started

    def _take(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.screen += data
        return bool(data)

    def send(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Read on until the program has ended; its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the program did not end"
            self._take(0.02)
        while self._take(0.05):
            if not select.select([self.master], [], [], 0.05)[0]:
                break
        return self.process.returncode

    def close(self) -> None:
        """End the program, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
