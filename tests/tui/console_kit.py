"""Starting the console in a test, waiting for it, reading its screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from seeding import FixedClock
from textual.pilot import Pilot

from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import Options, PlatintApp

Console = Callable[..., AbstractAsyncContextManager[tuple[PlatintApp, Pilot[int]]]]
DEADLINE_SECONDS = 20.0


async def wait_for(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    """Let the app work until the condition holds; fails after 20 seconds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        assert not getattr(pilot.app, "crashed", False), "the console crashed"
        await pilot.pause(0.02)
    await pilot.pause()


async def ready(pilot: Pilot[int]) -> None:
    """The section on the screen has shown a snapshot."""
    app = pilot.app
    assert isinstance(app, PlatintApp)
    await wait_for(pilot, lambda: app.view is not None and app.view.state == "ready")
    await wait_for(pilot, lambda: app.status is not None)


def make_app(workspace: Workspace, clock: FixedClock, **options: object) -> PlatintApp:
    """The console over a workspace that is open already."""

    async def opened() -> Workspace:
        return workspace

    environ = {"PLATINT_HOME": str(workspace.paths.data.parent)}
    return PlatintApp(opened, clock=clock, options=Options(environ=environ, **options))  # type: ignore[arg-type]


def text_of(app: PlatintApp) -> str:
    """What is on the screen, as plain text."""
    screen = app.screen
    lines = []
    for strip in screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip).rstrip())
    return "\n".join(lines)
