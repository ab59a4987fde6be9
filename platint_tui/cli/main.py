"""From arguments to a command, and from any error to one sentence and an exit code."""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import resource
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from platint_tui.cli.output import note
from platint_tui.cli.parser import build_parser
from platint_tui.core.errors import ExitCode, PlatintError
from platint_tui.core.redaction import REDACTOR

Handler = Callable[[Namespace], Coroutine[Any, Any, int]]


def run(arguments: list[str], console: Callable[..., Awaitable[int]]) -> int:
    """Run one command; returns its exit code, never prints a traceback. Raises BrokenPipeError only.

    `console` opens the screen; commands that need it find it in their options.
    """
    # A core file would hold the secrets of this process.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks is shown as an escape, never an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    options.console = console
    try:
        return asyncio.run(_until_signal(_handler(options)(options)))
    except PlatintError as error:
        note(REDACTOR.redact(error.sentence()))
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("Interrupted; what was confirmed is saved.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise  # no error of ours: `main` ends quietly
    except Exception as error:
        return _crashed(error)


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    """`work`; SIGTERM and SIGHUP end it in order, as ctrl+c does (asyncio sees to that one)."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Started with nohup, it stays deaf to the end of the terminal.
        if signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


def _handler(options: Namespace) -> Handler:
    module, _, name = options.handler.partition(":")
    return cast(Handler, getattr(importlib.import_module(f"platint_tui.cli.{module}"), name))


def _crashed(error: Exception) -> int:
    from platint_tui.services.crash import write_report

    place = write_report(error, os.environ)
    told = f" The report is {place}." if place else ""
    note(f"platint-tui stopped because of an error of its own ({type(error).__name__}).{told}")
    return ExitCode.FAILED
