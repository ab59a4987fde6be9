"""A real workspace over a real store, a clock that stands still, and the app over both."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent))

from console_kit import Console, make_app, ready
from seeding import FixedClock, open_workspace

from platint_tui.engine.lock import EngineLock
from platint_tui.services.workspace import Workspace
from platint_tui.tui.app import PlatintApp


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


@pytest.fixture
def console(workspace: Workspace, clock: FixedClock) -> Console:
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
