"""The command `platint-tui`. Nothing heavy is imported before the arguments are known."""

from __future__ import annotations

import os
import sys
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = _main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has left; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _main(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        from platint_tui import __version__

        sys.stdout.write(f"platint-tui {__version__}\n")
        return 0
    from platint_tui.cli.main import run

    return run(arguments, _console)


async def _console(*arguments: Any, **options: Any) -> int:
    """The console; handed to the command line, which never imports it."""
    from platint_tui.tui.run import run_console

    return await run_console(*arguments, **options)


if __name__ == "__main__":
    sys.exit(main())
