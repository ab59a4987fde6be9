"""Opening the console: on this installation, or on the demo's."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from platint_tui.cli.output import note
from platint_tui.core.errors import PlatintError, UsageError
from platint_tui.core.paths import find_paths
from platint_tui.services import demo as demos
from platint_tui.services import discovery, profiles, syncs
from platint_tui.services.demo import DemoOptions
from platint_tui.services.engine import report, stop_child_engine
from platint_tui.services.workspace import Workspace, open_workspace

RUN_DEMO = 75
"""Exit code by which the console asks for the demo."""


async def open_console(options: Namespace) -> int:
    """Open the console on this installation; returns its exit code."""
    if options.version:
        from platint_tui import __version__

        sys.stdout.write(f"platint-tui {__version__}\n")
        return 0
    need_terminal()
    passphrase = _passphrase_beforehand()

    async def open() -> Workspace:
        return await open_workspace(
            connectors=options.connectors, read_only=options.read_only, passphrase=passphrase
        )

    code: int = await options.console(open, read_only=options.read_only, demo_code=RUN_DEMO)
    return await run_demo(options, DemoOptions()) if code == RUN_DEMO else code


def need_terminal() -> None:
    """Raise UsageError when there is no terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The console needs a terminal.",
            hint="Without one, use a command: `platint-tui --help` lists them.",
        )
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        raise UsageError(
            f"This terminal (TERM={kind}) cannot show the console.",
            hint="Use a command: `platint-tui --help` lists them.",
        )


def _passphrase_beforehand() -> Callable[[], str] | None:
    """The vault file's passphrase, asked for while the terminal is still a line; None without such a file."""
    from platint_tui.vault import PASSPHRASE_FILE, vault_file

    if not vault_file(find_paths(os.environ).config).exists() or os.environ.get(PASSPHRASE_FILE):
        return None
    text = getpass.getpass("Passphrase of the vault file (empty: leave it locked): ")
    return (lambda: text) if text else None


async def run_demo(options: Namespace, wanted: DemoOptions) -> int:
    """Serve the demo platforms while the console is open on the demo's installation; returns its exit code."""
    need_terminal()
    async with contextlib.AsyncExitStack() as stack:
        work: list[asyncio.Task[None]] = []
        opened: list[Workspace] = []

        async def open() -> Workspace:
            demo = await stack.enter_async_context(demos.running(wanted))
            workspace = await demos.open_demo(demo, getattr(options, "connectors", None))
            opened.append(workspace)
            work.append(asyncio.create_task(_start_work(workspace)))
            return workspace

        try:
            code: int = await options.console(open, banner="demo")
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            for workspace in opened:
                # The platforms end with the demo, so its engine does too; positions are kept with --keep.
                await stop_child_engine(workspace)
    for task in work:
        if not task.cancelled() and task.exception() is not None:
            note(report(task.exception() or PlatintError("")))
    return code


async def _start_work(workspace: Workspace) -> None:
    """Both syncs, then tests and discovery of the demo's accounts, through the engine as anybody's."""
    for name in demos.INTEGRATIONS:
        await syncs.run(workspace, name)
    for profile in ("demo-payments", "demo-crm", "demo-chat", "demo-warehouse"):
        await profiles.test(workspace, profile)
        await discovery.discover(workspace, profile)
