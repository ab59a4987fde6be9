"""From arguments to a command, and from any error to one sentence and an exit code."""

from __future__ import annotations

import asyncio
import importlib
import os
import resource
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
    """Run one command; returns its exit code. Never raises, never prints a traceback.

    `console` opens the screen; commands that need it find it in their options.
    """
    # A core file would hold the secrets of this process.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    options.console = console
    try:
        return asyncio.run(_handler(options)(options))
    except PlatintError as error:
        note(REDACTOR.redact(error.sentence()))
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        note("Interrupted; what was confirmed is saved.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _crashed(error)


def _handler(options: Namespace) -> Handler:
    module, _, name = options.handler.partition(":")
    return cast(Handler, getattr(importlib.import_module(f"platint_tui.cli.{module}"), name))


def _crashed(error: Exception) -> int:
    from platint_tui.services.crash import write_report

    place = write_report(error, os.environ)
    told = f" The report is {place}." if place else ""
    note(f"platint-tui stopped because of an error of its own ({type(error).__name__}).{told}")
    return ExitCode.FAILED
