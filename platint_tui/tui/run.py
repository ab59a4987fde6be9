"""Starting the console from the command line. Importing this module loads no screen library."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean

if TYPE_CHECKING:
    from platint_tui.core.clock import Clock
    from platint_tui.services.workspace import Workspace

_DEVELOPER_VARIABLES = ("TEXTUAL", "TEXTUAL_LOG", "TEXTUAL_DEBUG", "TEXTUAL_PRESS", "TEXTUAL_SCREENSHOT")


async def run_console(
    open: Callable[[], Awaitable[Workspace]],
    *,
    read_only: bool = False,
    banner: str = "",
    demo_code: int | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Show the console until the person leaves; returns the exit code of the program.

    `open` opens the installation and is called after the first frame is on the screen; what it opened is
    closed here. An error of `open` ends the console with its sentence on stderr and its exit code; a crash
    ends it with one sentence, a redacted report in a private file, and 1; SIGTERM, SIGHUP and SIGINT end it
    with 143, 129 and 130. `demo_code` is the exit code by which the welcome asks the caller for the demo.
    """
    for name in _DEVELOPER_VARIABLES:
        # The developer tools of the screen library would send what is shown to another program.
        os.environ.pop(name, None)
    from platint_tui.tui import paste
    from platint_tui.tui.app import Options, PlatintApp

    paste.install()

    environ = os.environ if environ is None else environ
    opened: list[Workspace] = []

    async def open_behind() -> Workspace:
        workspace = await open()
        opened.append(workspace)
        return workspace

    options = Options(
        read_only=read_only,
        banner=banner,
        environ=environ,
        demo_code=demo_code,
    )
    app = PlatintApp(open_behind, clock=clock, options=options)
    try:
        await app.run_async()
    finally:
        for workspace in opened:
            with contextlib.suppress(Exception):
                await workspace.close()
    if app.crashed:
        place = f" The report is {app.crash_report}." if app.crash_report else ""
        _say(f"platint-tui stopped because of an error of its own.{place}")
        return 1
    if app.failure is not None:
        _say(app.failure.sentence())
    return app.return_code or 0


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(clean(REDACTOR.redact(sentence)) + "\n")
