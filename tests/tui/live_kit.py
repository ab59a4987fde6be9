"""The console over a whole installation at work: demo platforms as real servers, a real engine, a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from console_kit import ready
from textual.pilot import Pilot

from platint_tui.core.states import FINAL_RUN_STATES
from platint_tui.services import demo, runs, syncs
from platint_tui.services.engine import local_engine
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import Options, PlatintApp


@asynccontextmanager
async def installation(home: Path, *, records: int = 400) -> AsyncIterator[Workspace]:
    """Demo platforms that behave, their profiles and integrations, and an engine inside this process."""
    environ = {"PLATINT_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home)}
    async with demo.running(demo.DemoOptions(records=records, calm=True), environ) as served:
        workspace = await demo.open_demo(served)
        try:
            async with local_engine(workspace) as mine:
                assert mine
                yield workspace
        finally:
            await workspace.close()


async def sync(workspace: Workspace, name: str = "demo-to-crm") -> None:
    """Run an integration to its end."""
    started = await syncs.run(workspace, name)
    async for run in runs.watch(workspace, started.id, start_engine=False):
        if run.state in FINAL_RUN_STATES:
            return


@asynccontextmanager
async def open_console(
    workspace: Workspace, section: str, size: tuple[int, int] = (120, 40), *, read_only: bool = False
) -> AsyncIterator[tuple[PlatintApp, Pilot[int]]]:
    """The console on this workspace, with data on the screen."""

    async def opened() -> Workspace:
        return workspace

    options = Options(environ=workspace.environ, section=section, read_only=read_only)
    app = PlatintApp(opened, clock=workspace.clock, options=options)
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        yield app, pilot
