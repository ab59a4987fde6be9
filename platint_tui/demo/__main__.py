"""`python -m platint_tui.demo`: settings as a line of JSON on stdin, addresses as a line of JSON on stdout.

Serves until stdin is closed. Credentials come by stdin only, so they are in no argument list or environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading

from platint_tui.core.errors import PlatintError
from platint_tui.demo.server import DemoServer, parse_settings


async def serve(text: str) -> None:
    """Serve until stdin ends or SIGTERM or SIGINT comes."""
    server = DemoServer(parse_settings(text))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        # Not through sys.stdin: its lock, held by a daemon thread, would abort the interpreter's shutdown.
        while os.read(sys.stdin.fileno(), 65_536):
            pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)

    urls = await server.start()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        threading.Thread(target=wait_for_end, daemon=True).start()
        await stop.wait()
    finally:
        await server.stop()


def main() -> int:
    """Run; returns the exit code."""
    try:
        asyncio.run(serve(sys.stdin.buffer.readline().decode("utf-8", "replace")))
    except PlatintError as error:
        sys.stderr.write(error.sentence() + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
