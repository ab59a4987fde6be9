"""A real workspace over a real store, a clock that stands still, and the app over both."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent))

from seeding import FixedClock, open_workspace

from platint_tui.engine.lock import EngineLock
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import Options, PlatintApp

Started = Callable[..., "asynccontextmanager[tuple[PlatintApp, Pilot[int]]]"]
DEADLINE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown local; here that is UTC. Nothing moves by itself."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def workspace(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Workspace]:
    """An empty installation. The engine lock is held, so that no engine is started by a test."""
    made = await open_workspace(tmp_path / "home", clock)
    lock = EngineLock(made.paths.engine_lock)
    assert lock.try_acquire()
    yield made
    lock.release()
    await made.close()


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

    return PlatintApp(opened, clock=clock, options=Options(environ={}, **options))  # type: ignore[arg-type]


@pytest.fixture
def console(workspace: Workspace, clock: FixedClock) -> Callable[..., object]:
    """`async with console(size=(80, 24), section="syncs") as (app, pilot)`: a console that shows data."""

    @asynccontextmanager
    async def start(
        size: tuple[int, int] = (120, 40), **options: object
    ) -> AsyncIterator[tuple[PlatintApp, Pilot[int]]]:
        app = make_app(workspace, clock, **options)
        async with app.run_test(size=size) as pilot:
            await ready(pilot)
            yield app, pilot

    return start


def text_of(app: PlatintApp) -> str:
    """What is on the screen, as plain text."""
    screen = app.screen
    lines = []
    for strip in screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip).rstrip())
    return "\n".join(lines)


__all__ = ["Awaitable", "make_app", "os", "ready", "text_of", "wait_for"]
